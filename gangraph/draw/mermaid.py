"""Picture -> Mermaid: the game as a flowchart that pages like GitHub's draw themselves.

Mermaid has no tables, so a player's rows are the lines of its box, and the weight of a term stands at its edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gangraph.draw.dot import COLOURS, DATA, DATA_TINT, INK, MARKS, PAPER, QUIET
from gangraph.draw.picture import Box, Loss, Picture, Player

SHAPES = {"input": ("[", "]"), "draw": ("([", "])"), "call": ("(", ")"), "value": ("(", ")")}
ARROWS = {"kept": "-->", "added": "==>", "removed": "-.->"}


def print_mermaid(picture: Picture, marks: Mapping[str, str] | None = None) -> str:
    """The text of a Mermaid flowchart. With `marks` it shows changes: what is gone is dashed, what is new is thick."""
    glyphs = {p.name: COLOURS[p.colour % len(COLOURS)].glyph for p in picture.players if p.name}
    weights = {(p.id, term.port): term.weight for p in picture.players for move in p.moves for term in move.terms}
    losses = {loss.id for loss in picture.losses}
    lines = ["flowchart LR"]
    lines += [_box(box, glyphs) for box in picture.boxes]
    lines += [_loss(loss, glyphs) for loss in picture.losses]
    lines += [_player(player, glyphs, MARKS[marks[player.id]].glyph if marks else "") for player in picture.players]
    for number, edge in enumerate(picture.edges):
        weight = weights.get((edge.head, edge.head_port), "")
        words = edge.head_port if edge.head in losses else f"{weight} {edge.tail_port}".strip()
        arrow = ARROWS[marks[f"e{number}"]] if marks else "-->" if edge.live else "-.->"
        lines.append(f"  {edge.tail} {arrow}{f'|{_label([words])}|' if words else ''} {edge.head}")
    return "\n".join([*lines, *(_changed(picture, marks) if marks else _classes(picture)), ""])


def _box(box: Box, glyphs: dict[str, str]) -> str:
    opening, closing = SHAPES[box.kind]
    text = _glyphs(box.players, glyphs) + box.text
    name = f"{'⊘ ' if box.cut else ''}{box.name}" if box.name else ""
    lines = [text, name] if box.kind == "call" else [name, text]
    return f"  {box.id}{opening}{_label([*lines, box.facts])}{closing}"


def _loss(loss: Loss, glyphs: dict[str, str]) -> str:
    sides = [" ".join(filter(None, (_glyphs(s.players, glyphs) + s.name, s.text))) for s in loss.sides]
    return f"  {loss.id}[{_label([_glyphs(loss.players, glyphs) + loss.name, loss.text, *sides])}]"


def _player(player: Player, glyphs: dict[str, str], sign: str = "") -> str:
    rows = [f"{sign} {glyphs.get(player.name, '❄')} {player.name or 'trained by nobody'}".strip()]
    rows += [*(f"{n.name}: {n.text}" for n in player.networks), *player.rules]
    rows += [line for m in player.moves for line in (m.text, *map(" ".join, m.idle))]
    return f"  {player.id}[{_label(rows)}]"


def _changed(picture: Picture, marks: Mapping[str, str]) -> Iterator[str]:
    """What is kept, added, removed and changed: colours, and dashes around what is gone."""
    for mark, look in MARKS.items():
        dashes = ",stroke-dasharray:5 3" if mark == "removed" else ""
        yield f"  classDef {mark} fill:{look.tint},stroke:{look.line},color:{look.ink}{dashes}"
    ids = [*(b.id for b in picture.boxes), *(x.id for x in picture.losses), *(p.id for p in picture.players)]
    yield from (f"  class {id} {marks[id]}" for id in ids)


def _classes(picture: Picture) -> Iterator[str]:
    """The colours, and what has which; dashes where no gradient arrives."""
    looks = {"data": (DATA_TINT, DATA), "plain": (PAPER, QUIET)}
    numbers = {p.name: p.colour for p in picture.players if p.name}
    looks |= {f"c{n}": (COLOURS[n % len(COLOURS)].tint, COLOURS[n % len(COLOURS)].line) for n in numbers.values()}
    yield from (f"  classDef {name} fill:{tint},stroke:{line},color:{INK}" for name, (tint, line) in looks.items())

    def look(players: tuple[str, ...], other: str) -> str:
        return f"c{numbers[players[0]]}" if len(players) == 1 and players[0] in numbers else other

    classes: dict[str, list[str]] = {}
    for box in picture.boxes:
        classes.setdefault(look(box.players, "plain" if box.kind == "value" else "data"), []).append(box.id)
    for loss in picture.losses:
        classes.setdefault(look(loss.players, "plain"), []).append(loss.id)
    for player in picture.players:
        classes.setdefault(look((player.name,), "data"), []).append(player.id)
    yield from (f"  class {','.join(ids)} {name}" for name, ids in classes.items())
    quiet = [b.id for b in picture.boxes if not b.live] + [x.id for x in picture.losses if not x.live]
    yield from (f"  style {id} stroke-dasharray:3 3" for id in quiet)


def _glyphs(players: tuple[str, ...], glyphs: dict[str, str]) -> str:
    found = "".join(glyphs[p] for p in players if p in glyphs)
    return f"{found} " if found else ""


def _label(lines: list[str]) -> str:
    """Lines of text in quotes; whatever Mermaid, Markdown or HTML would read as markup is written as a number."""

    def safe(line: str) -> str:
        return "".join(c if c.isalnum() or c in " ,:=×−/()" else f"#{ord(c)};" for c in line)

    parts = [part for line in lines for part in line.splitlines()]
    return '"' + "<br/>".join(map(safe, parts)) + '"'
