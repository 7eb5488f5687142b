"""Spec -> what a notebook shows of it: its diagram, and below that its equations.

Nothing here asks for a notebook: the methods that notebooks look for, on a spec and on a compiled one, call it.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gangraph.compiler import Spec


def as_html(spec: Spec) -> str:
    """The diagram and, to be folded away, the objectives as MathML: no script, and no text of the spec is markup."""
    from gangraph.equations import equations

    title = f"<summary>{html.escape(spec.name)}: the objectives</summary>"
    return f'<div>{spec.diagram}<details open="open">{title}{equations(spec, "mathml")}</details></div>'


def as_latex(spec: Spec) -> str:
    """The equations in one `align*`, which MathJax sets: a title in the line above those of its section."""
    from gangraph.equations.formats import aligned
    from gangraph.equations.merge import sections

    rows = [row for section in sections(spec) if section.equations for row in aligned(section)]
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"
