"""Picture -> laid out and rendered: the order of declaration with the fewest crossings, then SVG, PNG or PDF.

Graphviz's layout hangs on the order in which nodes and edges are declared. A few dozen shuffles with a fixed seed are
laid out, and the one with the fewest crossings is taken, so the same spec gives the same picture.
"""

from __future__ import annotations

import html
import itertools
import math
import os
import random
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from gangraph.draw.dot import Positions, print_dot, things, titles
from gangraph.draw.picture import Picture
from gangraph.frozen import frozen

SHUFFLES, SEED = 300, 8
ENOUGH = 40  # shuffles, where nothing crosses
WORK = 16_000_000  # shuffles times the square of the points of all edges: a few seconds
Point = tuple[float, float]
Line = list[Point]
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

    def dot(self, player: str | None = None, at: Positions | None = None) -> str:
        return print_dot(self.picture, self.order, player, at)


def arrange(picture: Picture, shuffles: int | None = None) -> Plan:
    """The plan whose layout crosses least, the plain one among them; with one shuffle, the plain one."""
    best = Plan(picture)
    if shuffles == 1:
        return best
    graph, chance = lay_out(best.dot()), random.Random(SEED)
    least = measure(graph).cost
    points = sum(len(e.attr["pos"].split()) for e in graph.edges())
    tries = shuffles or min(SHUFFLES, WORK // max(1, points) ** 2)
    for number in range(1, tries):
        if least[0] == 0 and number >= ENOUGH:
            break
        plan = _shuffled(picture, chance, rows=number % 2 == 1) if number < tries * 0.6 else _stirred(best, chance)
        cost = measure(lay_out(plan.dot()), least[0]).cost
        if cost <= least:
            best, least = plan, cost
    return best


def _shuffled(picture: Picture, chance: random.Random, rows: bool) -> Plan:
    """Another order; with `rows` also of the terms in a player's table, which are only added."""

    def shuffled(items: Sequence[T]) -> tuple[T, ...]:
        return tuple(chance.sample(items, len(items)))

    if rows:
        mixed = [replace(p, moves=tuple(replace(m, terms=shuffled(m.terms)) for m in p.moves)) for p in picture.players]
        picture = replace(picture, players=tuple(mixed))
    count, nodes = things(picture), things(picture) - len(picture.edges)
    return Plan(picture, (*shuffled(range(nodes)), *shuffled(range(nodes, count))))


def _stirred(plan: Plan, chance: random.Random) -> Plan:
    """The same with a few nodes and edges declared at other places."""
    count = things(plan.picture)
    order = list(plan.order or range(count))
    for _ in range(chance.choice((1, 2, 4))):
        order.insert(chance.randrange(count), order.pop(chance.randrange(count)))
    return Plan(plan.picture, tuple(order))


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
    through = sum(_through(curve, name, box) for curve in curves for name, box in boxes.items())
    crossings = 0
    for one, other in itertools.combinations(curves, 2):
        crossings += _cross(one, other, boxes)
        if crossings + 2 * through > most:
            break
    _, _, width, height = map(float, graph.graph_attr["bb"].split(","))
    return Measure(through, crossings, width, height)


Rectangle = tuple[float, float, float, float]


class Curve:
    """A laid-out edge as points, with the rectangle around them."""

    def __init__(self, tail: str, head: str, line: Line):
        self.tail, self.head, self.line = tail, head, line
        xs, ys = [p[0] for p in line], [p[1] for p in line]
        self.around: Rectangle = (min(xs), min(ys), max(xs), max(ys))
        self.segments: list[tuple[Point, Point, Rectangle]] = [
            (p, q, (min(p[0], q[0]), min(p[1], q[1]), max(p[0], q[0]), max(p[1], q[1])))
            for p, q in itertools.pairwise(line)
        ]


def _box(node: Any) -> Rectangle:
    x, y = map(float, node.attr["pos"].split(","))
    width, height = float(node.attr["width"]) * 36, float(node.attr["height"]) * 36
    return x - width, y - height, x + width, y + height


def _within(point: Point, box: Rectangle, slack: float) -> bool:
    return box[0] - slack < point[0] < box[2] + slack and box[1] - slack < point[1] < box[3] + slack


def _apart(a: Rectangle, b: Rectangle) -> bool:
    return a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def _through(curve: Curve, name: str, box: Rectangle) -> bool:
    """Whether an edge runs over a node that is not its own."""
    if name in (curve.tail, curve.head) or _apart(curve.around, box):
        return False
    return any(_within(point, box, -1.5) for point in curve.line)


def _polyline(pos: str, steps: int = 5) -> Line:
    """Points along an edge's Bezier curves, with its ends at the arrows' tips."""
    ends = {word[0]: _point(word[2:]) for word in pos.split() if word[0] in "es"}
    control = [_point(word) for word in pos.split() if word[0] not in "es"]
    line = [ends["s"]] if "s" in ends else []
    for start in range(0, len(control) - 3, 3):
        a, b, c, d = control[start : start + 4]
        for step in range(steps + 1):
            t = step / steps
            u = 1 - t
            k, l, m, n = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            x, y = (k * a[i] + l * b[i] + m * c[i] + n * d[i] for i in (0, 1))
            line.append((x, y))
    return line + ([ends["e"]] if "e" in ends else [])


def _point(text: str) -> Point:
    x, y = text.split(",")[:2]
    return float(x), float(y)


def _cross(one: Curve, other: Curve, boxes: dict[str, Rectangle]) -> int:
    """How often two edges cross; where they meet at a node that both share does not count."""
    if _apart(one.around, other.around):
        return 0
    shared = [boxes[name] for name in {one.tail, one.head} & {other.tail, other.head}]
    found = 0
    for p, q, here in one.segments:
        for r, s, there in other.segments:
            meeting = None if _apart(here, there) else _meet(p, q, r, s)
            if meeting is not None and not any(_within(meeting, box, 14) for box in shared):
                found += 1
    return found


def _meet(p: Point, q: Point, r: Point, s: Point) -> Point | None:
    """Where two segments cross, if they do."""
    dx, dy, ex, ey = q[0] - p[0], q[1] - p[1], s[0] - r[0], s[1] - r[1]
    area = dx * ey - dy * ex
    if abs(area) < 1e-9:
        return None
    t = ((r[0] - p[0]) * ey - (r[1] - p[1]) * ex) / area
    u = ((r[0] - p[0]) * dy - (r[1] - p[1]) * dx) / area
    return (p[0] + t * dx, p[1] + t * dy) if 0 <= t < 1 and 0 <= u < 1 else None


# --- SVG


def clean_svg(svg: str, picture: Picture) -> str:
    """The SVG of a picture, with titles that people understand in place of the names of nodes."""
    said = titles(picture)

    def title(match: re.Match[str]) -> str:
        return f'<g id="{match[1]}"{match[2]}>\n<title>{html.escape(said.get(match[1], ""))}</title>'

    named = re.sub(r'<g id="(\w+)"([^>]*)>\s*<title>[^<]*</title>', title, svg)
    return tidy_svg(named, f"{picture.name}: {picture.title}" if picture.title else picture.name)


def tidy_svg(svg: str, title: str) -> str:
    """Graphviz's SVG without declaration and comments, with short numbers, under a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL).replace(' xml:space="preserve"', "")
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d)\d+", r"\1", tag[0]), svg)  # tags, never text
    first = re.compile(r'(<g [^>]*class="graph"[^>]*>\s*)<title>[^<]*</title>')
    return first.sub(lambda m: f"{m[1]}<title>{html.escape(title)}</title>", svg, count=1)
