"""Picture -> DOT: one visual rule for one meaning.

Colour and glyph say the player, line style says the gradient: solid where one passes, dotted where none does. What
comes out is text that Graphviz reads; a name or formula of a spec is escaped where it enters, in `_text` and `quoted`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from gangraph.draw.picture import Box, Edge, Loss, Picture, Player
from gangraph.draw.tables import Table
from gangraph.draw.words import wrap
from gangraph.frozen import frozen

FONT = "DejaVu Sans,Verdana,Geneva,sans-serif"  # of equal widths
INK, QUIET, DATA, LIVE = "#1A1A1A", "#444444", "#6B6B6B", "#767676"
PAPER, DATA_TINT, HEAD_TINT = "#FFFFFF", "#F2F2F2", "#E6E6E6"
GRAPH = {
    "rankdir": "LR",
    "splines": "true",
    "ranksep": "0.4",
    "nodesep": "0.14",
    "outputorder": "edgesfirst",
    "bgcolor": "transparent",
    "pad": "0.1",
}
# Above so many nodes. A value that is read by hundreds on the way would keep Graphviz busy for hours without limits.
LARGE = (
    (30, {"ranksep": "0.25"}),
    (60, {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1"}),
    (150, {"nslimit": "0.1", "nslimit1": "0.1", "mclimit": "0.02", "splines": "line"}),
)
NODE = {"fontname": FONT, "fontsize": "11", "fontcolor": INK, "margin": "0.066,0.04", "height": "0.2", "width": "0.2"}
EDGE = {"arrowsize": "0.6", "penwidth": "1.1", "color": LIVE}
TABLE = f'BGCOLOR="{PAPER}" BORDER="2" CELLBORDER="0" CELLSPACING="0"'


@frozen
class Colour:
    """A player's: its glyph, its line, its tint, and the text on the line's colour."""

    glyph: str
    line: str
    tint: str
    ink: str = "#FFFFFF"


# Told apart in every pair by readers who lack one kind of cones, by their glyphs in grey, and on white as on black.
COLOURS = (
    Colour("▲", "#0072B2", "#D9EAF4"),
    Colour("●", "#D55E00", "#FBE5D6"),
    Colour("■", "#009E73", "#D6F0E8"),
    Colour("◆", "#CC79A7", "#F6E4EE", INK),
    Colour("★", "#849C54", "#E8EDDF", INK),
    Colour("▼", "#8484F0", "#E6E6FC", INK),
    Colour("✚", "#9C5424", "#EFE0D6"),
    Colour("◗", "#546C6C", "#DCE3E3"),
)
NOBODY = Colour("❄", DATA, DATA_TINT)
FADED = Colour("", "#BBBBBB", DATA_TINT, "#6B6B6B")  # what the view of one player leaves out; `ink` is its text
FADED_EDGE, FADED_HEAD = f"{LIVE}90", "#8A8A8A"  # an edge that the ground shines through is pale on a dark page too

# A picture of changes: what is kept is pale, what is gone is dashed. `tint` fills, `ink` writes.
MARKS = {
    "kept": Colour("", "#BBBBBB", "#F7F7F7", "#6B6B6B"),
    "added": Colour("+", "#1A7F37", "#DDF4E4", INK),
    "removed": Colour("−", "#B3261E", "#FBE9E7", INK),
    "changed": Colour("±", "#9A6700", "#FFF4CC", INK),
}

Positions = Mapping[str, Mapping[str, str]]  # of nodes and edges, by id: attributes that a layout has found


def things(picture: Picture) -> int:
    """How many nodes and edges an order permutes."""
    return len(picture.boxes) + len(picture.losses) + len(picture.players) + len(picture.edges)


def titles(picture: Picture) -> dict[str, str]:
    """What hovering over a node or edge says, by id."""
    named = {b.id: b.name or b.text for b in picture.boxes}
    named |= {x.id: x.name for x in picture.losses} | {p.id: p.name for p in picture.players}
    found = {b.id: f"{b.name} = {b.text}" if b.name else b.text for b in picture.boxes}
    found |= {x.id: f"{x.name}: {x.text}" if x.text else x.name for x in picture.losses}
    found |= {p.id: p.name or "nobody trains these" for p in picture.players}
    return found | {f"e{i}": f"{named[e.tail]} → {named[e.head]}" for i, e in enumerate(picture.edges)}


def print_dot(
    picture: Picture,
    order: Sequence[int] = (),
    player: str | None = None,
    at: Positions | None = None,
    marks: Mapping[str, str] | None = None,
) -> str:
    """The DOT text of a picture.

    `order` is a permutation of its nodes and edges, which decides where Graphviz puts them; `at` the positions that
    are kept then, so that the view of one `player` stands like the whole. With `marks` the picture shows changes.
    """
    printer = _Printer(picture, player, at or {}) if marks is None else _Changes(picture, marks)
    return printer.text(order)


class _Printer:
    def __init__(self, picture: Picture, player: str | None, at: Positions):
        self.picture, self.player, self.at = picture, player, at
        self.colours = {p.name: COLOURS[p.colour % len(COLOURS)] if p.colour >= 0 else NOBODY for p in picture.players}
        self.losses = {x.id: x for x in picture.losses}

    def text(self, order: Sequence[int]) -> str:
        picture = self.picture
        nodes = [*map(self.box, picture.boxes), *map(self.loss, picture.losses), *map(self.table, picture.players)]
        statements = [*nodes, *(self.edge(i, e) for i, e in enumerate(picture.edges))]
        chosen = order or range(len(statements))
        graph = dict(GRAPH)
        for most, attributes in LARGE:
            graph |= attributes if len(nodes) > most else {}
        lines = [f"digraph {quoted(picture.name)} {{"]
        lines += [f"  {kind} [{_attributes(a)}];" for kind, a in (("graph", graph), ("node", NODE), ("edge", EDGE))]
        lines += [f"  {statements[i]};" for i in chosen if i < len(nodes)]
        lines += [f"  {statements[i]};" for i in chosen if i >= len(nodes)]
        readers = {e.head for e in picture.edges if e.tail in self.losses}
        lines += [_rank("same", [x.id for x in picture.losses if x.id not in readers])]
        lines += [_rank("max", [p.id for p in picture.players])]
        return "\n".join([*filter(None, lines), "}", ""])

    # --- nodes

    def box(self, box: Box) -> str:
        shape = "ellipse" if box.kind == "draw" else "box"
        faded, made = self._faded(box.paths), box.kind == "call"
        colour = self._colour(box.players) if made else NOBODY
        frozen = self.player is not None and not faded and made and self.player not in box.players
        styles = ["filled"] + ["rounded"] * (box.kind in ("call", "value"))
        styles += ["dotted"] if not box.live else ["dashed"] if frozen else []
        tint = FADED.tint if faded else PAPER if box.kind == "value" else colour.tint
        glyphs = "❄\u00a0" if frozen else self._glyphs(box.players) or ("❄\u00a0" if made else "")
        name = f"{'⊘ ' if box.cut else ''}{box.name}" if box.name else ""
        wide = not box.live or (self.player is not None and not faded)
        return self._node(
            box.id,
            shape=shape,
            style=",".join(styles),
            color=FADED.line if faded else colour.line,
            fillcolor=tint,
            fontcolor=FADED.ink if faded else INK,
            penwidth="2" if wide else "1.4",
            margin="0.02,0.02" if shape == "ellipse" else NODE["margin"],
            label=_box_label(glyphs + box.text, name, box.facts, made),
        )

    def loss(self, loss: Loss) -> str:
        faded = self._faded(loss.paths)
        if loss.sides:
            return self._node(loss.id, shape="plain", label=self._two_sides(loss, faded))
        colour = FADED if faded else self._colour(loss.players)
        head = f"<B>{_text(self._glyphs(loss.players) + loss.name)}</B>"
        return self._node(
            loss.id,
            shape="box",
            style="filled" if loss.live else "filled,dotted",
            color=colour.line,
            fillcolor=colour.tint if len(loss.players) == 1 else PAPER,
            fontcolor=FADED.ink if faded else INK,
            penwidth="2",
            label=f"<{_lines([head, *(_font(line) for line in wrap(loss.text, 34) if line)])}>",
        )

    def _two_sides(self, loss: Loss, faded: bool) -> str:
        """A table: what enters in rows on the left, a row for each side on the right."""
        first, *more = map(_font, wrap(loss.text, 34))
        title = _left([f"<B>{_text(loss.name)}</B>  {first}", *more])
        body = f'<TR><TD COLSPAN="2" BGCOLOR="{HEAD_TINT}" ALIGN="LEFT">{title}</TD></TR>'
        entering = [(name, f"{name} = {text}" if text else name) for name, text in loss.arguments]
        words = [(name, _left([*map(_font, wrap(text, 34))])) for name, text in entering]
        left = [f'<TD PORT="a_{name}" ALIGN="LEFT">{text}</TD>' for name, text in words]
        right = []
        for side in loss.sides:
            out = self.player is not None and self.player not in side.players
            tint = (FADED if out else self._colour(side.players)).tint
            lines = [self._glyphs(side.players) + side.name, *(wrap(side.text, 34) if side.text else [])]
            where = 'ALIGN="RIGHT"' if left else 'ALIGN="LEFT" COLSPAN="2"'
            row = _row(loss.id, f"s_{side.name}")
            right.append(f'<TD {row} PORT="s_{side.name}" {where} BGCOLOR="{tint}">{_left([*map(_font, lines)])}</TD>')
        for i in range(max(len(left), len(right))):
            cells = [cells[i] if i < len(cells) else "<TD></TD>" for cells in (left, right) if cells]
            body += f"<TR>{''.join(cells)}</TR>"
        return _table(body, FADED.line if faded else QUIET, FADED.ink if faded else INK)

    def table(self, player: Player) -> str:
        """A player's table: its networks, its phases, their terms."""
        colour = self.colours[player.name]
        faded = self.player is not None and self.player != player.name
        line, tint = (FADED_HEAD, FADED.tint) if faded else (colour.line, colour.tint)
        title = f"{colour.glyph} {player.name}" if player.name else "❄ trained by nobody"
        head = f'<FONT COLOR="{PAPER if faded else colour.ink}"><B>{_text(title)}</B></FONT>'
        rows = [f'<TD COLSPAN="2" BGCOLOR="{line}">{head}</TD>']
        for number, network in enumerate(player.networks):
            first, *more = map(_font, wrap(network.text, 40))
            text = _left([f"<B>{_text(network.name)}</B> {first}", *more])
            row = _row(player.id, f"n{number}")
            rows.append(f'<TD {row} COLSPAN="2" ALIGN="LEFT" BGCOLOR="{tint}">{text}</TD>')
        for rule in player.rules:
            text = _left([_font(part) for part in wrap(rule, 44)])
            rows.append(f'<TD COLSPAN="2" ALIGN="LEFT" BGCOLOR="{tint}">{text}</TD>')
        for move in player.moves:
            text = _left([f"<I>{_font(part)}</I>" for part in wrap(move.text, 44)])
            row = _row(player.id, move.port)
            rows.append(f'<TD {row} COLSPAN="2" ALIGN="LEFT" BGCOLOR="{tint}" PORT="{move.port}">{text}</TD>')
            for term in move.terms:
                text = _left([_font(part) for part in wrap(term.text, 34)])
                row, weight = _row(player.id, term.port), _font(term.weight)
                cell = f'<TD {row} ALIGN="RIGHT" PORT="{term.port}">{weight}</TD>'
                rows.append(f'{cell}<TD {_row(player.id, f"{term.port}_")} ALIGN="LEFT">{text}</TD>')
            rows += [_idle(*pair) for pair in move.idle]
        body = "".join(f"<TR>{row}</TR>" for row in rows)
        return self._node(player.id, shape="plain", label=_table(body, line, FADED.ink if faded else INK))

    def _node(self, id: str, **attributes: str) -> str:
        kept = dict(self.at.get(id, {}))
        fixed = {"fixedsize": "true"} if kept and attributes["shape"] != "plain" else {}
        return f"{id} [{_attributes({'id': id, **attributes, **kept, **fixed})}]"

    def _colour(self, players: Iterable[str]) -> Colour:
        """The one player's; where there are several a dark line, where there is none a grey one."""
        found = [self.colours[p] for p in players]
        return found[0] if len(found) == 1 else Colour("", QUIET, DATA_TINT) if found else NOBODY

    def _glyphs(self, players: Iterable[str]) -> str:
        """The glyphs in front of a text, from which no line breaks them."""
        found = "".join(self.colours[p].glyph for p in players)
        return f"{found}\u00a0" if found else ""

    def _faded(self, paths: frozenset[str]) -> bool:
        return self.player is not None and self.player not in paths

    # --- edges

    def edge(self, number: int, edge: Edge) -> str:
        """Grey between values, in the colours of the players who read it at a loss; dotted without a gradient."""
        attributes = {"id": f"e{number}"}
        if edge.players:
            attributes |= {"color": ":".join(self.colours[p].line for p in edge.players), "penwidth": "1.6"}
        if not edge.live:
            attributes |= {"style": "dotted", "penwidth": "1.8"}
        if edge.cut:
            attributes |= {"dir": "both", "arrowtail": "tee"}
        if self.player is not None and self.player in edge.paths:
            attributes |= {"color": self.colours[self.player].line, "penwidth": "2.4"}
        elif self.player is not None:
            attributes |= {"color": FADED_EDGE, "penwidth": "1.1" if edge.live else "1.6"}
        attributes |= self.at.get(f"e{number}", {})
        return self._statement(edge, attributes)

    def _statement(self, edge: Edge, attributes: dict[str, str]) -> str:
        """An edge with its ends; between losses and players a column is free, where such edges keep apart."""
        attributes |= {"minlen": "2"} if edge.tail in self.losses and edge.head not in self.losses else {}
        return f"{self._tail(edge)} -> {self._head(edge)} [{_attributes(attributes)}]"

    def _tail(self, edge: Edge) -> str:
        loss = self.losses.get(edge.tail)
        port = f":s_{edge.tail_port}" if loss and loss.sides and edge.tail_port else ""
        return f"{edge.tail}{port}:e" if loss else edge.tail

    def _head(self, edge: Edge) -> str:
        loss = self.losses.get(edge.head)
        if loss is None:
            return f"{edge.head}:{edge.head_port}:w" if edge.head_port else edge.head
        kind = "s" if edge.head_port in {s.name for s in loss.sides} else "a"
        port = f":{kind}_{edge.head_port}" if edge.head_port else ""
        return f"{edge.head}{port}:w" if loss.sides else edge.head


class _Changes(_Printer):
    """A picture of changes: colour, line and sign say what is kept, added, removed and changed, and nothing else."""

    def __init__(self, picture: Picture, marks: Mapping[str, str]):
        super().__init__(picture, None, {})
        self.marks = marks

    def table(self, player: Player) -> str:
        """A player's table; rows that changed stand out of those that are kept."""
        head, sign = self._look(player.id), self._sign(player.id)
        title = f"{sign}{self.colours[player.name].glyph} {player.name or 'trained by nobody'}"
        line = FADED_HEAD if self.marks[player.id] == "kept" else head.line
        rows = [f'<TD COLSPAN="2" BGCOLOR="{line}"><FONT COLOR="{PAPER}"><B>{_text(title)}</B></FONT></TD>']
        for network in player.networks:
            look = self._look(f"{player.id}:{network.name}")
            first, *more = map(_font, wrap(network.text, 40))
            rows.append(_cell_of([f"<B>{_text(network.name)}</B> {first}", *more], look))
        rows += [
            _cell_of([*map(_font, wrap(rule, 44))], MARKS["changed" if "\u00a0" in rule else "kept"])
            for rule in player.rules
        ]
        for move in player.moves:
            look = self._look(f"{player.id}:{move.port}")
            rows.append(_cell_of([f"<I>{_font(part)}</I>" for part in wrap(move.text, 44)], look, move.port))
            for term in move.terms:
                look = self._look(f"{player.id}:{term.port}")
                weight = _cell_of([*map(_font, term.weight.splitlines())], look, term.port, 1)
                rows.append(weight + _cell_of([*map(_font, wrap(term.text, 34))], look, span=1))
            rows += [_idle(*pair) for pair in move.idle]
        body = "".join(f"<TR>{row}</TR>" for row in rows)
        return self._node(
            player.id, shape="plain", label=_table(body, head.line, head.ink, dashed=self._gone(player.id))
        )

    def _two_sides(self, loss: Loss, faded: bool) -> str:
        look = self._look(loss.id)
        title = [f"<B>{_text(loss.name)}</B>", *map(_font, wrap(loss.text, 34) if loss.text else [])]
        rows = [_cell_of(title, look)]
        left = [_cell_of([_font(name)], look, f"a_{name}", 1) for name, _ in loss.arguments]
        right = [
            _cell_of(
                [*map(_font, [s.name, *(wrap(s.text, 34) if s.text else [])])], look, f"s_{s.name}", 1 + (not left)
            )
            for s in loss.sides
        ]
        rest = _cell_of([""], look, span=1)
        for i in range(max(len(left), len(right))):
            rows.append("".join(cells[i] if i < len(cells) else rest for cells in (left, right) if cells))
        body = "".join(f"<TR>{row}</TR>" for row in rows)
        return _table(body, look.line, look.ink, dashed=self._gone(loss.id))

    def edge(self, number: int, edge: Edge) -> str:
        mark = self.marks[f"e{number}"]
        width = {"kept": "1.1", "added": "2.2"}.get(mark, "1.4")
        colour = FADED_EDGE if mark == "kept" else MARKS[mark].line
        attributes = {"id": f"e{number}", "color": colour, "penwidth": width}
        attributes |= {"style": "dashed"} if mark == "removed" else {}
        return self._statement(edge, attributes)

    def _node(self, id: str, **attributes: str) -> str:
        look = self._look(id)
        if attributes["shape"] != "plain":
            styles = ["filled"] + ["rounded"] * ("rounded" in attributes["style"]) + ["dashed"] * self._gone(id)
            attributes |= {"style": ",".join(styles), "color": look.line, "fillcolor": look.tint, "fontcolor": look.ink}
            attributes |= {"penwidth": "1.2" if self.marks[id] == "kept" else "2"}
        return super()._node(id, **attributes)

    def _look(self, id: str) -> Colour:
        return MARKS[self.marks[id]]

    def _sign(self, id: str) -> str:
        sign = self._look(id).glyph
        return f"{sign}\u00a0" if sign else ""

    def _gone(self, id: str) -> bool:
        return self.marks[id] == "removed"


def _idle(weight: str, text: str) -> str:
    """The pale cells of a term whose weight is 0."""
    words = _left([_font(part) for part in wrap(text, 34)])
    pale = [f'<FONT COLOR="{FADED.ink}">{said}</FONT>' for said in (_font(weight), words)]
    return f'<TD ALIGN="RIGHT">{pale[0]}</TD><TD ALIGN="LEFT">{pale[1]}</TD>'


def _cell_of(lines: list[str], look: Colour, port: str = "", span: int = 2) -> str:
    """A cell of a table of changes, over one column or both."""
    where = (f' PORT="{port}"' if port else "") + (' COLSPAN="2"' if span == 2 else "")
    text = f'<FONT COLOR="{look.ink}">{_left(lines)}</FONT>' if any(lines) else ""
    return f'<TD ALIGN="LEFT" BGCOLOR="{look.tint}"{where}>{text}</TD>'


def print_table(table: Table) -> str:
    """The DOT text of a table: one node."""
    cell = f'<TD COLSPAN="{len(table.header)}" BGCOLOR="{HEAD_TINT}" ALIGN="LEFT">'
    rows = [f"{cell}<B>{_text(table.title)}</B></TD>"]
    rows.append("".join(_cell(text, i, table, True) for i, text in enumerate(table.header)))
    rows += ["".join(_cell(text, i, table, False) for i, text in enumerate(row)) for row in table.rows]
    label = _table("".join(f"<TR>{row}</TR>" for row in rows), QUIET, INK, 4)
    graph, node = _attributes({"bgcolor": "transparent", "pad": "0.1"}), NODE | {"shape": "plain", "label": label}
    return f"digraph {quoted(table.title)} {{\n  graph [{graph}];\n  table [{_attributes(node)}];\n}}\n"


def _cell(text: str, column: int, table: Table, head: bool) -> str:
    align = "RIGHT" if column in table.right else "LEFT"
    number = table.colours[column] if head and table.colours else -1
    colour = COLOURS[number % len(COLOURS)] if number >= 0 else None
    lines = [*map(_font, wrap(f"{colour.glyph} {text}" if colour else text, 40))]
    shown = f'<BR ALIGN="{align}"/>'.join(f"<B>{line}</B>" if head and line else line for line in lines)
    last = f'<BR ALIGN="{align}"/>' if len(lines) > 1 else ""
    tint = f' BGCOLOR="{colour.tint}"' if colour else ""
    return f'<TD ALIGN="{align}"{tint}>{shown}{last}</TD>'


# --- text


def quoted(text: str) -> str:
    """A DOT string: quotes are escaped, and a backslash stands for itself."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ") + '"'


def _attributes(attributes: Mapping[str, str]) -> str:
    said = {name: value if name == "label" else quoted(value) for name, value in attributes.items()}
    return ", ".join(f"{name}={value}" for name, value in said.items())


def _rank(kind: str, ids: list[str]) -> str:
    return f"  {{ rank={kind}; {'; '.join(ids)}; }}" if ids else ""


def _text(text: str) -> str:
    """Text inside an HTML-like label."""
    return html.escape(text)


def _font(text: str) -> str:
    """Small text, of a size whose widths Graphviz knows: of 10 points it takes them for less than they are.

    Empty where there is none, for Graphviz refuses an empty font.
    """
    return f'<FONT POINT-SIZE="9">{_text(text)}</FONT>' if text else ""


def _table(body: str, line: str, ink: str, padding: int = 3, dashed: bool = False) -> str:
    style = ' STYLE="dashed"' if dashed else ""
    return f'<<FONT COLOR="{ink}"><TABLE {TABLE} CELLPADDING="{padding}" COLOR="{line}"{style}>{body}</TABLE></FONT>>'


def _box_label(text: str, name: str, facts: str, made: bool) -> str:
    """A call above the name of its value, a type below the name of an input; the shape last."""
    last = [_font(line) for line in wrap(facts, 34) if line]
    if not name:
        return f"<{_lines([*map(_text, wrap(text, 34)), *last])}>"
    small, bold = [*map(_font, wrap(text, 34))], f"<B>{_text(name)}</B>"
    return f"<{_lines([*small, bold, *last] if made else [bold, *small, *last])}>"


def _row(node: str, name: str) -> str:
    """What gives a cell an id in the SVG, which Graphviz does for cells with a tooltip only."""
    return f'ID="{node}-{name}" TITLE=" "'


def _lines(lines: list[str], align: str = "CENTER") -> str:
    """Several lines as rows of a table, for lines of mixed sizes run into each other without."""
    rows = "".join(f'<TR><TD ALIGN="{align}">{line}</TD></TR>' for line in lines)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{rows}</TABLE>'


def _left(lines: list[str]) -> str:
    """What stands in a cell, from the left: a line, or several."""
    return lines[0] if len(lines) == 1 else _lines(lines, "LEFT")
