"""A spec as an interactive page: one HTML file that needs no network and no server.

    facts    Spec     -> Facts   what is said: things, lights of the diagram, steps, equations, texts
    html     Facts    -> HTML    one file, in which a text of a spec is never markup
    serve    path     -> server  the page of a file that is being written, on this machine only

`names` are the keys of things, `dataflow` says what is made of what, `things` what there is to say of each; `spectext`
and `programtext` say which line is about what, and `steps` walks through an iteration.

>>> import gangraph
>>> facts = find_facts(gangraph.load("gan", tiny=True))
>>> fake = facts.stages[-1].things["fake"]
>>> fake.kind, fake.marks, dict(fake.rows)["shape"]
('value', ('n2',), ('N × 2',))
>>> [region.first for text in facts.spec for region in text.regions if "fake" in region.keys]
[24]
"""

from __future__ import annotations

from gangraph.compiler import Spec
from gangraph.page.facts import Facts, find_facts
from gangraph.page.html import Wrong, print_page

__all__ = ["Facts", "Wrong", "find_facts", "page", "print_page"]


def page(spec: Spec, shuffles: int | None = None) -> str:
    """The page of a spec, as HTML. `shuffles` bounds the search for the best layout of the diagram."""
    return print_page(find_facts(spec, shuffles))
