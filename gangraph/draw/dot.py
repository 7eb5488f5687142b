"""Picture -> DOT: one visual rule for one meaning.

Colour and glyph say the player, line style says the gradient: solid where one passes, dotted where none does. What
comes out is text that Graphviz reads; a name or formula of a spec is escaped where it enters, in `_text` and `quoted`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gangraph.draw.describe import wrap
from gangraph.draw.picture import Box, Edge, Loss, Picture, Player
from gangraph.draw.tables import Table

FONT = "DejaVu Sans,Verdana,Geneva,sans-serif"  # of equal widths
INK, QUIET, DATA, LIVE = "#1A1A1A", "#444444", "#555555", "#767676"
PAPER, DATA_TINT, HEAD_TINT = "#FFFFFF", "#F2F2F2", "#E6E6E6"
FADED = {"line": "#C4C4C4", "border": "#BBBBBB", "text": "#6B6B6B", "tint": "#F2F2F2"}


@dataclass(frozen=True)
class Colour:
    """A player's: its glyph, its line, its tint, and the text on the line's colour."""

    glyph: str
    line: str
    tint: str
    ink: str = "#FFFFFF"


# The first four are told apart in every pair under simulated deuteranopia, and by their glyphs in grey.
COLOURS = (
    Colour("▲", "#0072B2", "#D9EAF4"),
    Colour("●", "#D55E00", "#FBE5D6"),
    Colour("■", "#009E73", "#D6F0E8"),
    Colour("◆", "#CC79A7", "#F6E4EE", INK),
    Colour("★", "#8C6D00", "#F3EBCB"),
    Colour("▼", "#56B4E9", "#DDF0FB", INK),
    Colour("✚", "#5B4BA8", "#E4E0F5"),
    Colour("◗", "#4D4D4D", "#E3E3E3"),
)
NOBODY = Colour("❄", DATA, DATA_TINT)

Positions = Mapping[str, Mapping[str, str]]  # of nodes and edges, by id: attributes that a layout has found


def print_dot(picture: Picture, order: Sequence[int] = (), player: str | None = None, at: Positions | None = None) -> str:
    """The DOT text of a picture.

    `order` is a permutation of its nodes and edges, which decides where Graphviz puts them; `at` the positions that
    are kept then, so that the view of one `player` stands like the whole.
    """
    return Printer(picture, player, at).text(order)


def things(picture: Picture) -> int:
    """How many nodes and edges `order` permutes."""
    return len(picture.boxes) + len(picture.losses) + len(picture.players) + len(picture.edges)


def titles(picture: Picture) -> dict[str, str]:
    """What hovering over a node or edge says, by id."""
    named = {item.id: item.name or getattr(item, "text", "") for item in (*picture.boxes, *picture.losses, *picture.players)}
    found = {b.id: f"{b.name} = {b.text}" if b.name else b.text for b in picture.boxes}
    found |= {x.id: f"{x.name}: {x.text}" if x.text else x.name for x in picture.losses}
    found |= {p.id: p.name or "nobody trains these" for p in picture.players}
    return found | {f"e{i}": f"{named[e.tail]} → {named[e.head]}" for i, e in enumerate(picture.edges)}


class Printer:
    """One picture, printed in any order of declaration."""

    def __init__(self, picture: Picture, player: str | None = None, at: Positions | None = None):
        self.picture, self.player, self.at = picture, player, at or {}
        self.colours = {p.name: COLOURS[p.colour % len(COLOURS)] if p.colour >= 0 else NOBODY for p in picture.players}

        nodes = [*map(self.box, picture.boxes), *map(self.loss, picture.losses), *map(self.table, picture.players)]
        self.nodes, self.edges = nodes, [self.edge(i, e) for i, e in enumerate(picture.edges)]

    def text(self, order: Sequence[int] = ()) -> str:
        """The DOT text, with nodes and edges in an order: a permutation of nodes, then edges, by number."""
        picture, nodes, statements = self.picture, self.nodes, [*self.nodes, *self.edges]
        chosen = order or range(len(statements))
        many = len(nodes) > 30
        attributes = {
            "rankdir": "LR", "splines": "true", "ranksep": "0.25" if many else "0.4", "nodesep": "0.14",
            "outputorder": "edgesfirst", "bgcolor": "transparent", "pad": "0.1", "fontname": FONT,
        }  # fmt: skip
        lines = [f"digraph {quoted(picture.name)} {{", f"  graph [{_attributes(attributes)}];"]
        lines.append(f"  node [{_attributes({'fontname': FONT, 'fontsize': '11', 'fontcolor': INK, 'margin': '0.08,0.045', 'height': '0.2', 'width': '0.2'})}];")
        lines.append(f"  edge [{_attributes({'arrowsize': '0.6', 'penwidth': '1.1', 'color': LIVE})}];")
        lines += [f"  {statements[i]};" for i in chosen if i < len(nodes)]
        lines += [f"  {statements[i]};" for i in chosen if i >= len(nodes)]
        readers = {e.head for e in picture.edges if e.tail in {x.id for x in picture.losses}}
        lines += [_rank("same", [x.id for x in picture.losses if x.id not in readers])]
        lines += [_rank("max", [p.id for p in picture.players])]
        return "\n".join([*filter(None, lines), "}", ""])

    # --- nodes

    def box(self, box: Box) -> str:
        shape = "ellipse" if box.kind == "draw" else "box"
        colour, faded = self._colour(box.players), self._faded(box.paths)
        border = colour.line if box.kind == "call" else DATA
        tint = colour.tint if box.kind == "call" else PAPER if box.kind == "value" else DATA_TINT
        styles = ["filled"] + ["rounded"] * (box.kind in ("call", "value"))
        frozen = self.player is not None and not faded and box.kind == "call" and self.player not in box.players
        styles += ["dotted"] if not box.live else ["dashed"] if frozen else []
        if faded:
            border, tint = FADED["border"], FADED["tint"]
        glyphs = "".join(self.colours[p].glyph for p in box.players) or ("❄" if box.kind == "call" else "")
        facts = ("❄ " if frozen else "") + box.facts
        label = self._label(f"{glyphs} {box.text}".strip(), f"{'⊘ ' if box.cut else ''}{box.name}" if box.name else "", facts, box.kind)
        wide = self.player is not None and self.player in box.paths
        return self._node(box.id, {
            "shape": shape, "style": ",".join(styles), "color": border, "fillcolor": tint, "label": label,
            "penwidth": "2" if wide or not box.live else "1.4", "fontcolor": FADED["text"] if faded else INK,
            "class": box.kind, "margin": "0.02,0.02" if shape == "ellipse" else "0.08,0.045",
        })  # fmt: skip

    @staticmethod
    def _label(text: str, name: str, facts: str, kind: str) -> str:
        """Call and name, or name and type; the shape below."""
        small = [_font(line, 9) for line in wrap(text, 34)]
        last = [_font(line, 9) for line in wrap(facts, 34) if line]
        if not name:
            return f"<{_lines([*map(_text, wrap(text, 34)), *last])}>"
        bold = f"<B>{_text(name)}</B>"
        return f"<{_lines([*small, bold, *last] if kind == 'call' else [bold, *small, *last])}>"

    def loss(self, loss: Loss) -> str:
        faded = self._faded(loss.paths)
        if loss.sides:
            return self._node(loss.id, {"shape": "plain", "label": self._two_sides(loss, faded), "class": "loss"})
        colour = self._colour(loss.players)
        border = FADED["border"] if faded else colour.line
        tint = FADED["tint"] if faded else colour.tint if len(loss.players) == 1 else PAPER
        glyphs = "".join(self.colours[p].glyph for p in loss.players)
        head = f"<B>{_text(f'{glyphs} {loss.name}'.strip())}</B>"
        below = [_font(line, 9) for line in wrap(loss.text, 34)]
        label = f"<{_lines([head, *filter(None, below)])}>"
        return self._node(loss.id, {
            "shape": "box", "style": "filled" if loss.live else "filled,dotted", "color": border, "fillcolor": tint, "label": label,
            "penwidth": "2", "fontcolor": FADED["text"] if faded else INK, "class": "loss",
        })  # fmt: skip

    def _two_sides(self, loss: Loss, faded: bool) -> str:
        """A table: what enters in rows on the left, a row for each side on the right."""
        ink = FADED["text"] if faded else INK
        head = f'<TR><TD COLSPAN="2" BGCOLOR="{HEAD_TINT}" ALIGN="LEFT"><B>{_text(loss.name)}</B>  {_font(loss.text, 9)}</TD></TR>'
        left = [f'<TD PORT="a_{name}" ALIGN="LEFT">{_font(f"{name} = {text}" if text else name, 9)}</TD>' for name, text in loss.arguments]
        right = []
        for side in loss.sides:
            colour = self._colour(side.players)
            tint = FADED["tint"] if self.player is not None and self.player not in side.players else colour.tint
            glyphs = "".join(self.colours[p].glyph for p in side.players)
            lines = [f"{glyphs} {side.name}".strip(), *(wrap(side.text, 34) if side.text else [])]
            text = _left([_font(line, 9) for line in lines])
            span = "" if left else ' COLSPAN="2"'
            align = "RIGHT" if left else "LEFT"
            right.append(f'<TD PORT="s_{side.name}" ALIGN="{align}" BGCOLOR="{tint}"{span}>{text}</TD>')
        rows = []
        for i in range(max(len(left), len(right))):
            cells = [left[i] if i < len(left) else "<TD></TD>"] if left else []
            cells += [right[i] if i < len(right) else "<TD></TD>"]
            rows.append(f"<TR>{''.join(cells)}</TR>")
        border = FADED["border"] if faded else QUIET
        opening = f'<TABLE BORDER="2" COLOR="{border}" BGCOLOR="{PAPER}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">'
        return f'<<FONT COLOR="{ink}">{opening}{head}{"".join(rows)}</TABLE></FONT>>'

    def table(self, player: Player) -> str:
        """A player's table: its networks, its phases, their terms."""
        colour = self.colours[player.name]
        faded = self.player is not None and self.player != player.name
        line, tint, ink = ("#999999", "#EBEBEB", FADED["text"]) if faded else (colour.line, colour.tint, INK)
        title = f"{colour.glyph} {player.name}" if player.name else "❄ trained by nobody"
        rows = [f'<TR><TD COLSPAN="2" BGCOLOR="{line}"><FONT COLOR="{colour.ink}"><B>{_text(title)}</B></FONT></TD></TR>']
        for network in player.networks:
            first, *more = wrap(network.text, 40)
            text = _left([f"<B>{_text(network.name)}</B> {_font(first, 9)}", *(_font(line, 9) for line in more)])
            rows.append(f'<TR><TD COLSPAN="2" ALIGN="LEFT" BGCOLOR="{tint}">{text}</TD></TR>')
        for move in player.moves:
            text = _left([f"<I>{_font(part, 9)}</I>" for part in wrap(move.text, 44)])
            rows.append(f'<TR><TD COLSPAN="2" ALIGN="LEFT" BGCOLOR="{tint}" PORT="{move.port}">{text}</TD></TR>')
            for term in move.terms:
                text = _left([_font(part, 10) for part in wrap(term.text, 34)])
                weight = _font(term.weight, 10)
                rows.append(f'<TR><TD ALIGN="RIGHT" PORT="{term.port}">{weight}</TD><TD ALIGN="LEFT">{text}</TD></TR>')
        opening = f'<TABLE BORDER="2" COLOR="{line}" BGCOLOR="{PAPER}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">'
        label = f'<<FONT COLOR="{ink}">{opening}{"".join(rows)}</TABLE></FONT>>'
        return self._node(player.id, {"shape": "plain", "label": label, "class": "player"})

    def _node(self, id: str, attributes: dict[str, str]) -> str:
        kept = dict(self.at.get(id, {}))
        fixed = {"fixedsize": "true"} if kept and attributes["shape"] != "plain" else {}
        return f"{id} [{_attributes({'id': id, **attributes, **kept, **fixed})}]"

    def _colour(self, players: Iterable[str]) -> Colour:
        """The one player's; where there are several or none, a dark or a grey line."""
        found = [self.colours[p] for p in players]
        return found[0] if len(found) == 1 else Colour("", QUIET, DATA_TINT) if found else NOBODY

    def _faded(self, paths: frozenset[str]) -> bool:
        return self.player is not None and self.player not in paths

    # --- edges

    def edge(self, number: int, edge: Edge) -> str:
        losses = {x.id: x for x in self.picture.losses}
        tail, head = edge.tail, edge.head
        if edge.tail in losses:
            tail += f":s_{edge.tail_port}:e" if edge.tail_port and losses[edge.tail].sides else ":e"
        if edge.head in losses and losses[edge.head].sides:
            side = any(s.name == edge.head_port for s in losses[edge.head].sides)
            head += f":{'s' if side else 'a'}_{edge.head_port}:w" if edge.head_port else ":w"
        elif edge.head_port:
            head += f":{edge.head_port}:w"
        attributes = {"id": f"e{number}", "class": "edge"}
        colours = ":".join(self.colours[p].line for p in edge.players)
        if colours:
            attributes |= {"color": colours, "penwidth": "1.6"}
        if not edge.live:
            attributes |= {"style": "dotted", "penwidth": "1.8"}
        if edge.cut:
            attributes |= {"dir": "both", "arrowtail": "tee"}
        if self.player is not None and self.player in edge.paths:
            attributes |= {"color": self.colours[self.player].line, "penwidth": "2.4"}
        elif self.player is not None:
            attributes |= {"color": FADED["line"], "penwidth": "0.8"}
        return f"{tail} -> {head} [{_attributes(attributes | dict(self.at.get(f'e{number}', {})))}]"


def print_table(table: Table) -> str:
    """The DOT text of a table: one node."""
    head = "".join(_cell(text, i, table, True) for i, text in enumerate(table.header))
    rows = [f"<TR>{head}</TR>"]
    rows += [f"<TR>{''.join(_cell(text, i, table, False) for i, text in enumerate(row))}</TR>" for row in table.rows]
    title = f'<TR><TD COLSPAN="{len(table.header)}" BGCOLOR="{HEAD_TINT}" ALIGN="LEFT"><B>{_text(table.title)}</B></TD></TR>'
    opening = f'<TABLE BORDER="2" COLOR="{QUIET}" BGCOLOR="{PAPER}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4">'
    node = _attributes({"shape": "plain", "label": f"<{opening}{title}{''.join(rows)}</TABLE>>", "fontname": FONT, "fontsize": "11", "fontcolor": INK})
    return f'digraph {quoted(table.title)} {{\n  graph [bgcolor="transparent", pad="0.1"];\n  table [{node}];\n}}\n'


def _cell(text: str, column: int, table: Table, head: bool) -> str:
    align = "RIGHT" if column in table.right else "LEFT"
    number = table.colours[column] if table.colours else -1
    tint = f' BGCOLOR="{COLOURS[number % len(COLOURS)].tint}"' if number >= 0 and head else ""
    glyph = f"{COLOURS[number % len(COLOURS)].glyph} " if number >= 0 and head else ""
    lines = [_font(line, 9) for line in wrap(glyph + text, 40)]
    return f'<TD ALIGN="{align}"{tint}>{_left([f"<B>{x}</B>" if head and x else x for x in lines])}</TD>'


def _rank(kind: str, ids: list[str]) -> str:
    return f"  {{ rank={kind}; {'; '.join(ids)}; }}" if ids else ""


def _attributes(attributes: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value if value.startswith('<') else quoted(value)}" for name, value in attributes.items())


def quoted(text: str) -> str:
    """A DOT string: quotes are escaped, and a backslash stands for itself."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ") + '"'


def _text(text: str) -> str:
    """Text inside an HTML-like label."""
    return html.escape(text)


def _font(text: str, size: int) -> str:
    """Text of another size; empty where there is none, for Graphviz refuses an empty font."""
    return f'<FONT POINT-SIZE="{size}">{_text(text)}</FONT>' if text else ""


def _lines(lines: list[str], align: str = "CENTER") -> str:
    """Several lines as rows of a table, for lines of mixed sizes run into each other without."""
    rows = "".join(f'<TR><TD ALIGN="{align}">{line}</TD></TR>' for line in lines)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0.6">{rows}</TABLE>'


def _left(lines: list[str]) -> str:
    """What stands in a cell, from the left: a line, or several."""
    return lines[0] if len(lines) == 1 else _lines(lines, "LEFT")
