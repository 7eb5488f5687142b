"""Where edges cross and what they run over: points, rectangles, and curves as lines of points. Lengths in points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
Line = list[Point]
Rectangle = tuple[float, float, float, float]  # left, low, right, high
NEAR = 14  # edges that meet so close to a node that both share do not cross there: they come together
INSIDE = 1.5  # an edge runs over a box when it is so far inside


class Curve:
    """A laid-out edge as points, with the rectangle around them."""

    def __init__(self, tail: str, head: str, line: Line):
        self.tail, self.head, self.line = tail, head, line
        self.around = around(line)
        self.segments: list[tuple[Point, Point, Rectangle]] = [
            (p, q, (min(p[0], q[0]), min(p[1], q[1]), max(p[0], q[0]), max(p[1], q[1])))
            for p, q in itertools.pairwise(line)
        ]


def around(points: Iterable[Point]) -> Rectangle:
    """The least rectangle that holds some points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def within(point: Point, box: Rectangle, slack: float) -> bool:
    """Whether a point lies in a box that is wider by `slack` on every side."""
    return box[0] - slack < point[0] < box[2] + slack and box[1] - slack < point[1] < box[3] + slack


def apart(a: Rectangle, b: Rectangle) -> bool:
    return a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def runs_through(curve: Curve, name: str, box: Rectangle) -> bool:
    """Whether an edge runs over a box that is not at one of its ends."""
    return name not in (curve.tail, curve.head) and runs_over(curve, box)


def runs_over(curve: Curve, box: Rectangle) -> bool:
    """Whether some point of a curve lies well inside a box."""
    return not apart(curve.around, box) and any(within(point, box, -INSIDE) for point in curve.line)


def along(control: Sequence[Point], steps: int = 8) -> Line:
    """Points along Bezier curves that hang together: the end of one is the beginning of the next."""
    line = []
    for start in range(0, len(control) - 3, 3):
        a, b, c, d = control[start : start + 4]
        for step in range(steps + 1):
            t = step / steps
            u = 1 - t
            k, l, m, n = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            x, y = (k * a[i] + l * b[i] + m * c[i] + n * d[i] for i in (0, 1))
            line.append((x, y))
    return line


def crossings(curves: Iterable[Curve], boxes: dict[str, Rectangle], most: float = math.inf) -> int:
    """How often edges cross; counted no further than just above `most`."""
    found = 0
    for one, other in itertools.combinations(curves, 2):
        found += _cross(one, other, boxes)
        if found > most:
            break
    return found


def _cross(one: Curve, other: Curve, boxes: dict[str, Rectangle]) -> int:
    """How often two edges cross; where they meet at a node that both share does not count."""
    if apart(one.around, other.around):
        return 0
    shared = [boxes[name] for name in {one.tail, one.head} & {other.tail, other.head}]
    found = 0
    for p, q, here in one.segments:
        if apart(here, other.around):
            continue
        for r, s, there in other.segments:
            meeting = None if apart(here, there) else _meet(p, q, r, s)
            if meeting is not None and not any(within(meeting, box, NEAR) for box in shared):
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
