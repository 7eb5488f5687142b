"""Picture -> Mermaid: the game as a flowchart that pages like GitHub's draw themselves.

Mermaid has no tables, so a player's rows are the lines of its box, and the weight of a term stands at its edge.
"""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.draw.dot import COLOURS, DATA, DATA_TINT, INK, PAPER, QUIET
from gangraph.draw.picture import Box, Edge, Loss, Picture, Player

SHAPES = {"input": ("[", "]"), "draw": ("([", "])"), "call": ("(", ")"), "value": ("(", ")")}


def print_mermaid(picture: Picture) -> str:
    """The text of a Mermaid flowchart."""
    glyphs = {p.name: COLOURS[p.colour % len(COLOURS)].glyph for p in picture.players if p.name}
    weights = {(p.id, term.port): term.weight for p in picture.players for move in p.moves for term in move.terms}
    losses = {loss.id for loss in picture.losses}
    lines = ["flowchart LR"]
    lines += [_box(box, glyphs) for box in picture.boxes]
    lines += [_loss(loss, glyphs) for loss in picture.losses]
    lines += [_player(player, glyphs) for player in picture.players]
    for edge in picture.edges:
        weight = weights.get((edge.head, edge.head_port), "")
        lines.append(_edge(edge, edge.head_port if edge.head in losses else f"{weight} {edge.tail_port}".strip()))
    return "\n".join([*lines, *_classes(picture), ""])


def _box(box: Box, glyphs: dict[str, str]) -> str:
    opening, closing = SHAPES[box.kind]
    text = _glyphs(box.players, glyphs) + box.text
    name = f"{'⊘ ' if box.cut else ''}{box.name}" if box.name else ""
    lines = [text, name] if box.kind == "call" else [name, text]
    return f"  {box.id}{opening}{_label([*lines, box.facts])}{closing}"


def _loss(loss: Loss, glyphs: dict[str, str]) -> str:
    sides = [" ".join(filter(None, (_glyphs(s.players, glyphs) + s.name, s.text))) for s in loss.sides]
    return f"  {loss.id}[{_label([_glyphs(loss.players, glyphs) + loss.name, loss.text, *sides])}]"


def _player(player: Player, glyphs: dict[str, str]) -> str:
    rows = [f"{glyphs.get(player.name, '❄')} {player.name or 'trained by nobody'}"]
    rows += [*(f"{n.name}: {n.text}" for n in player.networks), *player.rules, *(m.text for m in player.moves)]
    return f"  {player.id}[{_label(rows)}]"


def _edge(edge: Edge, words: str) -> str:
    arrow = "-->" if edge.live else "-.->"
    return f"  {edge.tail} {arrow}{f'|{_label([words])}|' if words else ''} {edge.head}"


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

    return '"' + "<br/>".join(safe(line) for line in lines if line) + '"'
