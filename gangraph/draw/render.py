"""Picture -> laid out and rendered: the order of declaration with the fewest crossings, then SVG, PNG or PDF.

Graphviz's layout hangs on the order in which nodes and edges are declared. A few dozen shuffles with a fixed seed are
laid out, and the one with the fewest crossings is taken, so the same spec gives the same picture.
"""

from __future__ import annotations

import html
import math
import os
import random
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from gangraph.draw.changes import Marks
from gangraph.draw.dot import Positions, print_dot, things, titles
from gangraph.draw.geometry import Curve, Line, Point, Rectangle, along, crossings, runs_through
from gangraph.draw.picture import Box, Loss, Move, Picture, Player
from gangraph.frozen import frozen

SHUFFLES, SEED = 300, 14
ENOUGH = 40  # shuffles, where nothing crosses
WILD = 0.3  # of the shuffles; the others are small changes of the best so far
WORK = 24_000_000  # shuffles times the square of the points of all edges: a few seconds
T = TypeVar("T")


@frozen
class Measure:
    """What is counted in a laid-out picture: the less the better, in this order."""

    through: int  # edges that run through a node that is not theirs
    crossings: int
    width: float  # in points
    height: float

    @property
    def cost(self) -> tuple[float, float]:
        return (self.crossings + 2 * self.through, self.width * self.height)


@frozen
class Plan:
    """A picture with the order in which its nodes and edges are declared."""

    picture: Picture
    order: tuple[int, ...] = ()
    marks: Marks | None = None  # of a picture that shows changes

    def dot(self, player: str | None = None, at: Positions | None = None) -> str:
        return print_dot(self.picture, self.order, player, at, self.marks)


def arrange(picture: Picture, shuffles: int | None = None, marks: Marks | None = None) -> Plan:
    """The plan whose layout crosses least, the plain one among them; with one shuffle, the plain one."""
    plain = best = Plan(picture, marks=marks)
    if shuffles == 1:
        return best
    graph, chance = lay_out(best.dot()), random.Random(SEED)
    least = measure(graph).cost
    points = sum(len(e.attr["pos"].split()) for e in graph.edges())
    tries = shuffles or min(SHUFFLES, WORK // max(1, points) ** 2)
    for number in range(1, tries):
        if least[0] == 0 and number >= ENOUGH:
            break
        plan = _shuffled(plain, chance, rows=number % 2 == 1) if number < tries * WILD else _stirred(best, chance)
        cost = measure(lay_out(plan.dot()), least[0]).cost
        if cost <= least:
            best, least = plan, cost
    return best


def follow(plan: Plan, picture: Picture) -> Plan | None:
    """A picture with the nodes, rows and edges of another's, in the order of that plan; none where they differ."""
    rows = {(p.id, t.port): n for p in plan.picture.players for m in p.moves for n, t in enumerate(m.terms)}
    if _skeleton(picture) != _skeleton(plan.picture):
        return None

    def placed(player: Player, move: Move) -> Move:
        return replace(move, terms=tuple(sorted(move.terms, key=lambda term: rows[player.id, term.port])))

    players = tuple(replace(p, moves=tuple(placed(p, m) for m in p.moves)) for p in picture.players)
    return replace(plan, picture=replace(picture, players=players))


def _skeleton(picture: Picture) -> tuple[object, ...]:
    """What stands in an order: the names of nodes, the rows that edges enter, and the ends of edges."""
    rows = tuple((p.id, m.port, frozenset(t.port for t in m.terms)) for p in picture.players for m in p.moves)
    nodes: list[Box | Loss | Player] = [*picture.boxes, *picture.losses, *picture.players]
    ends = [(e.tail, e.head, e.tail_port, e.head_port) for e in picture.edges]
    return [(n.id, n.name) for n in nodes], rows, ends


def _shuffled(plan: Plan, chance: random.Random, rows: bool) -> Plan:
    """Another order; with `rows` also of the terms in a player's table, which are only added."""

    def shuffled(items: Sequence[T]) -> tuple[T, ...]:
        return tuple(chance.sample(items, len(items)))

    picture = plan.picture
    if rows:
        mixed = [replace(p, moves=tuple(replace(m, terms=shuffled(m.terms)) for m in p.moves)) for p in picture.players]
        picture = replace(picture, players=tuple(mixed))
    count, nodes = things(picture), things(picture) - len(picture.edges)
    return replace(plan, picture=picture, order=(*shuffled(range(nodes)), *shuffled(range(nodes, count))))


def _stirred(plan: Plan, chance: random.Random) -> Plan:
    """The same with a few nodes and edges declared at other places, or with a term in another row."""
    players = list(plan.picture.players)
    long = [(p, m) for p, player in enumerate(players) for m, move in enumerate(player.moves) if len(move.terms) > 1]
    if long and chance.random() < 0.25:
        p, m = chance.choice(long)
        moves = list(players[p].moves)
        moves[m] = replace(moves[m], terms=_moved(moves[m].terms, chance))
        players[p] = replace(players[p], moves=tuple(moves))
        return replace(plan, picture=replace(plan.picture, players=tuple(players)))
    order = plan.order or tuple(range(things(plan.picture)))
    for _ in range(chance.choice((1, 2, 4))):
        order = _moved(order, chance)
    return replace(plan, order=order)


def _moved(items: Sequence[T], chance: random.Random) -> tuple[T, ...]:
    """The same items with one at another place."""
    found = list(items)
    found.insert(chance.randrange(len(found)), found.pop(chance.randrange(len(found))))
    return tuple(found)


def lay_out(dot: str) -> Any:
    """A graph with positions, by Graphviz's `dot` inside this process."""
    import pygraphviz

    graph = pygraphviz.AGraph(string=dot)
    with _silent():
        graph.layout("dot")
    return graph


def render(plan: Plan, format: str, player: str | None = None) -> bytes:
    """The picture in a format of Graphviz; the view of one player keeps every place."""
    import pygraphviz

    graph = lay_out(plan.dot())
    if player is not None:
        graph = pygraphviz.AGraph(string=plan.dot(player, positions(graph)))
        graph.has_layout = True
    return _drawn(graph, format)


def render_dot(dot: str, format: str) -> bytes:
    """DOT, laid out and rendered as it is."""
    return _drawn(lay_out(dot), format)


def _drawn(graph: Any, format: str) -> bytes:
    if format == "png":
        graph.graph_attr["dpi"] = "144"
    with _silent():
        drawn: bytes = graph.draw(format=format, prog="nop2")
    return drawn


@contextmanager
def _silent() -> Iterator[None]:
    """Without what Graphviz's libraries write to stderr about the fonts of the machine; errors are exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def positions(graph: Any) -> Positions:
    """Where everything stands, by id."""
    nodes = {n.attr["id"]: {k: n.attr[k] for k in ("pos", "width", "height")} for n in graph.nodes()}
    edges = {e.attr["id"]: {"pos": e.attr["pos"]} for e in graph.edges()}
    return nodes | edges


# --- measuring


def measure(graph: Any, most: float = math.inf) -> Measure:
    """Crossings, edges through nodes, and the size of a laid-out graph; no further than a cost of `most`."""
    boxes = {str(n): _box(n) for n in graph.nodes()}
    curves = [Curve(str(e[0]), str(e[1]), _polyline(e.attr["pos"])) for e in graph.edges()]
    through = sum(runs_through(curve, name, box) for curve in curves for name, box in boxes.items())
    crossed = crossings(curves, boxes, most - 2 * through)
    _, _, width, height = map(float, graph.graph_attr["bb"].split(","))
    return Measure(through, crossed, width, height)


def _box(node: Any) -> Rectangle:
    x, y = map(float, node.attr["pos"].split(","))
    width, height = float(node.attr["width"]) * 36, float(node.attr["height"]) * 36
    return x - width, y - height, x + width, y + height


def _polyline(pos: str) -> Line:
    """Points along an edge's Bezier curves, with its ends at the arrows' tips."""
    ends = {word[0]: _point(word[2:]) for word in pos.split() if word[0] in "es"}
    curve = along([_point(word) for word in pos.split() if word[0] not in "es"])
    return [*([ends["s"]] if "s" in ends else []), *curve, *([ends["e"]] if "e" in ends else [])]


def _point(text: str) -> Point:
    x, y = text.split(",")[:2]
    return float(x), float(y)


# --- SVG


def clean_svg(svg: str, picture: Picture) -> str:
    """The SVG of a picture, with titles that people understand in place of the names of nodes.

    Nodes and edges have the ids of the picture, cells of a table `NODE-ROW`: `p0-n1`, `p0-t0`, `n8-s_generator`.
    """
    said = titles(picture)

    def title(match: re.Match[str]) -> str:
        return f'<g id="{match[1]}"{match[2]}>\n<title>{html.escape(said.get(match[1], ""))}</title>'

    cells = re.sub(
        r'<g id="a_(\w+)&#45;(\w+)"><a [^>]*>(.*?)</a>\s*</g>', r'<g id="\1-\2">\3</g>', svg, flags=re.DOTALL
    )
    named = re.sub(r'<g id="(\w+)"([^>]*)>\s*<title>[^<]*</title>', title, cells)
    return tidy_svg(named, f"{picture.name}: {picture.title}" if picture.title else picture.name)


def tidy_svg(svg: str, title: str) -> str:
    """Graphviz's SVG without declaration and comments, with short numbers, under a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL).replace(' xml:space="preserve"', "")
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d)\d+", r"\1", tag[0]), svg)  # tags, never text
    first = re.compile(r'(<g [^>]*class="graph"[^>]*>\s*)<title>[^<]*</title>')
    return first.sub(lambda m: f"{m[1]}<title>{html.escape(title)}</title>", svg, count=1)
