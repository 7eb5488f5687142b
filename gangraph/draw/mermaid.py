"""Picture -> Mermaid: the game as a flowchart that pages like GitHub's draw themselves.

Mermaid has no tables, so a player's rows are the lines of its box, and the weight of a term stands at its edge.
"""

from __future__ import annotations

from gangraph.draw.dot import COLOURS, DATA, DATA_TINT, INK, PAPER, QUIET
from gangraph.draw.picture import Box, Edge, Loss, Picture, Player

SHAPES = {"input": ("[", "]"), "draw": ("([", "])"), "call": ("(", ")"), "value": ("(", ")")}


def print_mermaid(picture: Picture) -> str:
    """The text of a Mermaid flowchart."""
    glyphs = {p.name: COLOURS[p.colour % len(COLOURS)].glyph for p in picture.players if p.name}
    lines = ["flowchart LR"]
    lines += [_box(box, glyphs) for box in picture.boxes]
    lines += [f"  {loss.id}[{_label([f'{_glyphs(loss.players, glyphs)}{loss.name}', loss.text, *_sides(loss, glyphs)])}]" for loss in picture.losses]
    lines += [_player(player, glyphs) for player in picture.players]
    lines += [_edge(edge, picture) for edge in picture.edges]
    lines += [f"  classDef data fill:{DATA_TINT},stroke:{DATA},color:{INK}", f"  classDef plain fill:{PAPER},stroke:{QUIET},color:{INK}"]
    for p in picture.players:
        if p.name:
            colour = COLOURS[p.colour % len(COLOURS)]
            lines.append(f"  classDef c{p.colour} fill:{colour.tint},stroke:{colour.line},color:{INK}")
    colours = {p.name: f"c{p.colour}" for p in picture.players if p.name}
    classes: dict[str, list[str]] = {}
    for item in (*picture.boxes, *picture.losses):
        own = colours[item.players[0]] if len(item.players) == 1 else "data" if isinstance(item, Box) and item.kind != "value" else "plain"
        classes.setdefault(own, []).append(item.id)
    for player in picture.players:
        classes.setdefault(colours.get(player.name, "data"), []).append(player.id)
    lines += [f"  class {','.join(ids)} {name}" for name, ids in classes.items()]
    quiet = [item.id for item in (*picture.boxes, *picture.losses) if not item.live]
    lines += [f"  style {id} stroke-dasharray:3 3" for id in quiet]
    return "\n".join([*lines, ""])


def _box(box: Box, glyphs: dict[str, str]) -> str:
    opening, closing = SHAPES[box.kind]
    text = f"{_glyphs(box.players, glyphs)}{box.text}"
    name = f"{'⊘ ' if box.cut else ''}{box.name}" if box.name else ""
    return f"  {box.id}{opening}{_label([text, name, box.facts] if box.kind == 'call' else [name, text, box.facts])}{closing}"


def _player(player: Player, glyphs: dict[str, str]) -> str:
    rows = [f"{glyphs.get(player.name, '❄')} {player.name or 'trained by nobody'}"]
    rows += [f"{n.name}: {n.text}" for n in player.networks] + [m.text for m in player.moves]
    return f"  {player.id}[{_label(rows)}]"


def _sides(loss: Loss, glyphs: dict[str, str]) -> list[str]:
    return [" ".join(filter(None, (f"{_glyphs(s.players, glyphs)}{s.name}", s.text))) for s in loss.sides]


def _edge(edge: Edge, picture: Picture) -> str:
    arrow = "-->" if edge.live else "-.->"
    words = edge.head_port if edge.head in {x.id for x in picture.losses} else ""
    for player in picture.players:
        for move in player.moves:
            for term in move.terms:
                if (player.id, term.port) == (edge.head, edge.head_port):
                    words = f"{term.weight} {edge.tail_port}".strip()
    return f"  {edge.tail} {arrow}{f'|{_label([words])}|' if words else ''} {edge.head}"


def _glyphs(players: tuple[str, ...], glyphs: dict[str, str]) -> str:
    found = "".join(glyphs[p] for p in players if p in glyphs)
    return f"{found} " if found else ""


def _label(lines: list[str]) -> str:
    """Lines of text in quotes; whatever Mermaid or HTML would read as markup is written as a number."""
    return '"' + "<br/>".join("".join(c if c.isalnum() or c in " .,:=×−+*/()" else f"#{ord(c)};" for c in line) for line in lines if line) + '"'
