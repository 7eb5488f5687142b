"""A spec as a picture, drawn from the compiler's own facts.

    describe   Spec                    -> Picture   boxes, losses, players, edges: what is said
    changes    Picture, Picture        -> Picture   two games as one, with marks of what is new, gone or another
    tables     Spec                    -> Table     the views of one network, of the schedule, of the weights
    dot        Picture, Table          -> DOT       how it looks: colours, glyphs, lines
    render     DOT                     -> SVG ...   where it stands: the order that crosses least, Graphviz's layout
    mermaid    Picture                 -> Mermaid   the same game for a page that draws it itself

The interactive page around the picture is `gangraph.page`.

For the spec `gan`, whose graph says `fake: G(z)`, the picture has a box that says so, and its edges:

>>> from gangraph.compiler import load
>>> from gangraph.draw.describe import describe
>>> print(describe(load("gan", tiny=True)))
gan
  input x: vector 2 ->
  draw z: N(0, 1) 16 ->
  call fake: G(z) -> 2 by G
  call : D(x) -> 1 by D
  call : D(fake) -> 1 by D
  loss adv: non_saturating; discriminator by D; generator by G
  player D
    D: 337, called ×2
    1. D, fresh batch
      +1  adv.discriminator
  player G
    G: 578, called ×1
    2. G
      +1  adv.generator
  z -> fake
  x -> D(x)
  fake -> D(fake)
  D(x) -> adv (real)
  D(fake) -> adv (fake)
  adv (discriminator) -> D (t0)
  adv (generator) -> G (t0)

The package may be called itself: `gangraph.draw(spec)` is `gangraph.draw.draw(spec)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from gangraph.errors import RunError, nearest
from gangraph.verb import callable_itself

if TYPE_CHECKING:
    from gangraph.compiler import Spec

FORMATS = ("svg", "png", "pdf", "dot", "mmd", "html")
VIEWS = ("game", "network", "schedule", "weights")
MOST = 100  # iterations of a schedule

__all__ = ["FORMATS", "VIEWS", "draw", "write"]


@overload
def draw(
    spec: Spec | str | Path,
    format: Literal["svg", "dot", "mmd", "html"] = "svg",
    view: str = "game",
    network: str | None = None,
    player: str | None = None,
    quick: bool = False,
    before: Spec | str | Path | None = None,
    iterations: int | None = None,
    stage: str | None = None,
) -> str: ...
@overload
def draw(
    spec: Spec | str | Path,
    format: str,
    view: str = "game",
    network: str | None = None,
    player: str | None = None,
    quick: bool = False,
    before: Spec | str | Path | None = None,
    iterations: int | None = None,
    stage: str | None = None,
) -> str | bytes: ...
def draw(
    spec: Spec | str | Path,
    format: str = "svg",
    view: str = "game",
    network: str | None = None,
    player: str | None = None,
    quick: bool = False,
    before: Spec | str | Path | None = None,
    iterations: int | None = None,
    stage: str | None = None,
) -> str | bytes:
    """A view of a spec: text for `svg`, `dot`, `mmd` and `html`, bytes for `png` and `pdf`.

    `network` says whose layers the view `network` shows; `player` lights up the path of one player's gradient in the
    game; `quick` takes the first layout instead of looking for the one with the fewest crossings; `before` is another
    spec, from which the game shows what is kept, added, removed and changed; `iterations` makes the view `schedule` say
    how often each phase runs in so many; `stage` is another stage than the last.
    """
    from gangraph.compiler import load

    _known("format", format, FORMATS)
    _known("view", view, VIEWS)
    if network is not None and view != "network":
        raise RunError(f"--network goes with --view network, not with --view {view}")
    if player is not None and view != "game":
        raise RunError(f"--player goes with --view game, not with --view {view}")
    if iterations is not None and view != "schedule":
        raise RunError(f"--iterations goes with --view schedule, not with --view {view}")
    if iterations is not None and not 1 <= iterations <= MOST:
        raise RunError(f"--iterations is a number from 1 to {MOST}, not {iterations}")
    if before is not None and (view != "game" or player is not None):
        raise RunError("changes are drawn in the game of all players: leave view and player out")
    loaded = load(spec)
    if format == "html":
        if before is not None:
            raise RunError(f"changes are drawn as {', '.join(f for f in FORMATS if f != 'html')}, not as a page")
        if view != "game" or player is not None or stage is not None:
            raise RunError("a page has every view, player and stage: leave --view, --network, --player and --stage out")
        from gangraph.page import page

        return page(loaded, 1 if quick else None)
    if stage is not None:
        stages = [graph.resolved.stage for graph in loaded.graphs]
        if stages == [""]:
            raise RunError(f"{loaded.name} has no stages")
        _known("stage", stage, stages)
        loaded = loaded.at(stages.index(stage))
    if view != "game":
        return _table(loaded, format, view, network, iterations)
    return _game(loaded, format, player, quick, load(before) if before is not None else None)


def write(spec: Spec | str | Path, path: str | Path, **options: Any) -> None:
    """Draws into a file, whose suffix says the format; whole or not at all."""
    from gangraph.files import write

    path = Path(path)
    format = path.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        raise RunError(f"{path}: pictures are written as {', '.join('.' + f for f in FORMATS)}, by suffix")
    drawn = draw(spec, format, **options)
    write(path, drawn)


def _game(spec: Spec, format: str, player: str | None, quick: bool, before: Spec | None) -> str | bytes:
    """The game, in the light of one player, or with what changed since another spec."""
    from gangraph.draw.changes import Marks, merge
    from gangraph.draw.describe import describe
    from gangraph.draw.mermaid import print_mermaid
    from gangraph.draw.render import arrange, clean_svg, render

    picture = describe(spec)
    marks: Marks | None = None
    if before is not None:
        picture, marks = merge(describe(before), picture)
    if player is not None:
        tables = {member: p.name for p in picture.players for member in (p.name, *p.members) if p.name}
        _known("player", player, tables)
        player = tables[player]
    if format == "mmd":
        return print_mermaid(picture, marks)
    plan = arrange(picture, 1 if quick else None, marks)
    if format == "dot":
        return plan.dot(player)
    drawn = render(plan, format, player)
    return clean_svg(drawn.decode(), picture) if format == "svg" else drawn


def _table(spec: Spec, format: str, view: str, network: str | None, iterations: int | None) -> str | bytes:
    from gangraph.draw import tables
    from gangraph.draw.dot import print_table
    from gangraph.draw.render import render_dot, tidy_svg

    if format == "mmd":
        raise RunError(f"the view {view} is a table, and Mermaid has none: write it as .svg, .png, .pdf or .dot")
    if view == "network":
        if network is None:
            raise RunError(f"--view network needs --network, one of {', '.join(spec.graph.networks)}")
        _known("network", network, spec.graph.networks)
        table = tables.network(spec, network)
    elif iterations is not None:
        table = tables.timeline(spec, iterations)
    else:
        table = tables.schedule(spec) if view == "schedule" else tables.weights(spec)
    dot = print_table(table)
    if format == "dot":
        return dot
    drawn = render_dot(dot, format)
    return tidy_svg(drawn.decode(), table.title) if format == "svg" else drawn


def _known(what: str, name: str, known: Any) -> None:
    if name not in known:
        raise RunError(f"no {what} is called '{name}' ({nearest(name, known) or 'there are ' + ', '.join(known)})")


callable_itself(__name__)
