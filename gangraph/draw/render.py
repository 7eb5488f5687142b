"""Picture -> laid out and rendered: the order of declaration with the fewest crossings, then SVG, PNG or PDF.

Graphviz's layout hangs on the order in which nodes and edges are declared. Some shuffles with a fixed seed are laid
out; the best of them are declared as they stand, from top to bottom, and changed a little, again and again, while half
of them drop out after every round. The terms in a player's table follow the heights of the losses that they read. The
plan with the fewest crossings is taken, so a spec always gives the same picture.
"""

from __future__ import annotations

import html
import itertools
import math
import os
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean
from typing import Any, TypeVar

from gangraph.draw.changes import Marks
from gangraph.draw.dot import Positions, print_dot, things, titles
from gangraph.draw.geometry import Curve, Line, Point, Rectangle, along, around, crossings, runs_through
from gangraph.draw.picture import Box, Loss, Move, Picture, Player, Term
from gangraph.frozen import frozen

SHUFFLES, SEED = 300, 1
STARTS = 8  # of the shuffles, that are changed a little
WILD = 0.15  # the share of the shuffles that know nothing of each other
WORK = 24_000_000  # shuffles times the square of the points of all edges: a few seconds
DOTS = ('stroke-dasharray="1,5"', 'stroke-dasharray="0.1,3.6" stroke-linecap="round"')  # Graphviz's, and ours
BROKEN = re.compile(
    r'<(path|polygon|ellipse) fill="(#\w+)" ([^>]*stroke-width="([\d.]+)" stroke-dasharray="[^>]*?)'
    r'((?:d|points|cx)="[^>]*")/>'
)  # a filled shape with a broken border
T = TypeVar("T")


@frozen
class Measure:
    """What is counted in a laid-out picture: the less the better, in this order."""

    through: int  # edges that run through a node that is not theirs
    crossings: int
    width: float  # in points
    height: float


Cost = tuple[float, float]  # crossings, close to a table too; the area


@frozen
class Plan:
    """A picture with the order in which its nodes and edges are declared."""

    picture: Picture
    order: tuple[int, ...] = ()
    marks: Marks | None = None  # of a picture that shows changes

    def dot(self, player: str | None = None, at: Positions | None = None) -> str:
        return print_dot(self.picture, self.order, player, at, self.marks)


@frozen
class _Tried:
    """A plan that was laid out: its cost, and how high each node stands."""

    plan: Plan
    cost: Cost
    heights: dict[str, float]


def arrange(picture: Picture, shuffles: int | None = None, marks: Marks | None = None) -> Plan:
    """The plan whose layout crosses least, the plain one among them; with one shuffle, the plain one."""
    plain = Plan(picture, marks=marks)
    if shuffles == 1:
        return plain
    graph, chance = lay_out(plain.dot()), random.Random(SEED)
    points = sum(len(e.attr["pos"].split()) for e in graph.edges())
    left = (shuffles or min(SHUFFLES, WORK // max(1, points) ** 2)) - 1
    wild = min(left, max(STARTS, int(left * WILD)))
    tried = [_measured(plain, graph), *(_try(_shuffled(plain, chance, rows=n % 2 == 1)) for n in range(wild))]
    pool, left = sorted(tried, key=lambda one: one.cost)[:STARTS], left - wild
    while pool[0].cost[0] > 0:
        share = left // len(pool).bit_length() // len(pool)  # as many for each round, whose number is that of the bits
        pool = sorted((_climbed(one, share, chance) for one in pool), key=lambda one: one.cost)
        if len(pool) == 1:
            break
        pool, left = pool[: len(pool) // 2], left - share * len(pool)
    return pool[0].plan


def _try(plan: Plan, most: float = math.inf) -> _Tried:
    return _measured(plan, lay_out(plan.dot()), most)


def _measured(plan: Plan, graph: Any, most: float = math.inf) -> _Tried:
    heights = {n.attr["id"]: float(n.attr["pos"].split(",")[1]) for n in graph.nodes()}
    found = measure(graph, most)
    crossed = found.crossings + 2 * found.through + _tangled(plan.picture, heights)
    return _Tried(plan, (crossed, found.width * found.height), heights)


def _climbed(best: _Tried, tries: int, chance: random.Random) -> _Tried:
    """The best of a plan and of small changes, each of the best so far."""
    for _ in range(tries):
        if best.cost[0] == 0:
            break
        tried = _try(_stirred(best, chance), best.cost[0])
        best = tried if tried.cost <= best.cost else best
    return best


def _tangled(picture: Picture, heights: dict[str, float]) -> int:
    """How many pairs of terms in a phase stand in another order than the losses that they read.

    Their edges cross so close to the table that nothing else counts it.
    """
    places = _places(picture, heights)
    rows = [
        [places[p.id, t.port] for t in m.terms if (p.id, t.port) in places] for p in picture.players for m in p.moves
    ]
    return sum(one > other for row in rows for one, other in itertools.combinations(row, 2))


def _untangled(picture: Picture, heights: dict[str, float]) -> Picture:
    """The picture with the terms of every phase in the order of the losses that they read, from top to bottom."""
    places = _places(picture, heights)

    top = (math.inf, 0.0)  # a number reads no loss
    return _with_terms(picture, lambda p, m: sorted(m.terms, key=lambda term: places.get((p.id, term.port), top)))


def _with_terms(picture: Picture, change: Callable[[Player, Move], Iterable[Term]]) -> Picture:
    """The picture with other terms in every move."""
    players = [replace(p, moves=tuple(replace(m, terms=tuple(change(p, m))) for m in p.moves)) for p in picture.players]
    return replace(picture, players=tuple(players))


def _places(picture: Picture, heights: dict[str, float]) -> dict[tuple[str, str], tuple[float, float]]:
    """Where each row of a table is read from: how deep on the mean, and by which side of a loss."""
    sides = {(x.id, side.name): number for x in picture.losses for number, side in enumerate(x.sides)}
    ends: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for edge in picture.edges:
        end = (-heights[edge.tail], sides.get((edge.tail, edge.tail_port), 0))
        ends.setdefault((edge.head, edge.head_port), []).append(end)
    return {row: (fmean(h for h, _ in found), fmean(s for _, s in found)) for row, found in ends.items()}


def follow(plan: Plan, picture: Picture) -> Plan | None:
    """A picture with the nodes, rows and edges of another's, in the order of that plan; none where they differ."""
    rows = {(p.id, t.port): n for p in plan.picture.players for m in p.moves for n, t in enumerate(m.terms)}
    if _skeleton(picture) != _skeleton(plan.picture):
        return None

    ordered = _with_terms(picture, lambda p, m: sorted(m.terms, key=lambda term: rows[p.id, term.port]))
    return replace(plan, picture=ordered)


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
        picture = _with_terms(picture, lambda _, move: shuffled(move.terms))
    count, nodes = things(picture), things(picture) - len(picture.edges)
    return replace(plan, picture=picture, order=(*shuffled(range(nodes)), *shuffled(range(nodes, count))))


def _stirred(best: _Tried, chance: random.Random) -> Plan:
    """The same with a few nodes at other heights."""
    heights = dict(best.heights)
    for _ in range(chance.choice((1, 1, 2, 3))):
        one, other = chance.sample(sorted(heights), 2)
        heights[one] = heights[other] + chance.choice((-0.5, 0.5))
    return _ordered(best.plan, heights)


def _ordered(plan: Plan, heights: dict[str, float]) -> Plan:
    """Nodes, terms and edges declared from top to bottom, which is how Graphviz then begins."""
    nodes: list[Box | Loss | Player] = [*plan.picture.boxes, *plan.picture.losses, *plan.picture.players]
    edges = plan.picture.edges
    first = sorted(range(len(nodes)), key=lambda i: -heights[nodes[i].id])
    then = sorted(range(len(edges)), key=lambda i: (-heights[edges[i].tail], -heights[edges[i].head]))
    picture = _untangled(plan.picture, heights)
    return replace(plan, picture=picture, order=(*first, *(len(nodes) + i for i in then)))


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
    """Graphviz's SVG without declaration and comments, with short numbers and round dots, under a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL).replace(' xml:space="preserve"', "")
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d)\d+", r"\1", tag[0]), svg)  # tags, never text
    svg = BROKEN.sub(_apart, svg).replace(*DOTS)
    first = re.compile(r'(<g [^>]*class="graph"[^>]*>\s*)<title>[^<]*</title>')
    return first.sub(lambda m: f"{m[1]}<title>{html.escape(title)}</title>", svg, count=1)


def _apart(shape: re.Match[str]) -> str:
    """A shape whose fill keeps away from its broken border, so that gaps show the page, a white one or a dark one."""
    kind, fill, border, inset, outline = shape.groups()
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", outline)]
    if kind == "ellipse":
        x, y, width, height = numbers[0], numbers[1], 2 * numbers[2], 2 * numbers[3]
    else:
        left, low, right, high = around(zip(numbers[::2], numbers[1::2], strict=True))
        x, y, width, height = (left + right) / 2, (low + high) / 2, right - left, high - low
    across, down = (1 - 2 * float(inset) / size for size in (width, height))
    place = f"matrix({across:.3f} 0 0 {down:.3f} {x - across * x:.1f} {y - down * y:.1f})"
    return f'<{kind} fill="none" {border}{outline}/>\n<{kind} fill="{fill}" transform="{place}" {outline}/>'
