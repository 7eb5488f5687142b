"""Finished SVG -> Legible: what a reader would stumble over, measured from the picture as it is shown.

Nothing here asks the layout: boxes, edges and texts are read from the SVG, and the widths of texts are those of
DejaVu Sans, the font that pictures name first. Lengths are in points.

`python -m benchmarks.legible` measures `docs/pictures` and writes the table of `docs/diagrams.md`.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from gangraph.draw.geometry import (
    Curve,
    Point,
    Rectangle,
    along,
    apart,
    around,
    crossings,
    runs_over,
    runs_through,
    within,
)

SVG = "{http://www.w3.org/2000/svg}"
DOCS = Path(__file__).resolve().parent.parent / "docs"
LARGE = 200  # the size of the font that measures: so large that no width is rounded
BORDER = 1  # half of the widest border: a text must not reach into it
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Text:
    """A line of text with the rectangle of its ink."""

    words: str
    ink: Rectangle


@dataclass(frozen=True)
class Node:
    """A box of the picture: the rectangle around its outlines, its texts, and whether it is an ellipse."""

    id: str
    box: Rectangle
    texts: tuple[Text, ...]
    ellipse: bool


@dataclass(frozen=True)
class Legible:
    """What was counted; of texts the words of each that is hard to read."""

    nodes: int
    edges: int
    crossings: int
    through: int  # edges that run over a box that is not theirs
    cut: tuple[str, ...]  # texts that leave their box, or the picture
    overlapping: tuple[str, ...]  # pairs of texts
    struck: tuple[str, ...]  # texts that an edge runs over
    width: float
    height: float


def legible(svg: str) -> Legible:
    """Measures one picture that `gangraph draw` made."""
    root = fromstring(svg)
    graph = next(_groups(root, "graph"))
    left, top, width, height = _numbers(root.get("viewBox", ""))
    dx, dy = _numbers(graph.get("transform", "").partition("translate")[2])
    picture = (left - dx, top - dy, left - dx + width, top - dy + height)
    nodes = [_node(group) for group in _groups(graph, "node")]
    boxes = {node.id: node.box for node in nodes}
    curves = [_curve(group, boxes) for group in _groups(graph, "edge")]
    texts = [text for node in nodes for text in node.texts]
    return Legible(
        len(nodes),
        len(curves),
        crossings(curves, boxes),
        sum(runs_through(curve, name, box) for curve in curves for name, box in boxes.items()),
        tuple(t.words for node in nodes for t in node.texts if not _holds(node, t.ink) or not _inside(t.ink, picture)),
        tuple(f"{a.words} | {b.words}" for a, b in itertools.combinations(texts, 2) if not apart(a.ink, b.ink)),
        tuple(text.words for text in texts if any(runs_over(curve, text.ink) for curve in curves)),
        width,
        height,
    )


# --- reading the SVG


def _groups(root: Element, kind: str) -> Iterator[Element]:
    return (group for group in root.iter(f"{SVG}g") if group.get("class", "").split()[:1] == [kind])


def _numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]


def _points(text: str) -> list[Point]:
    numbers = _numbers(text)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _node(group: Element) -> Node:
    outlines: list[Point] = []
    for shape in group.iter():
        if shape.tag in (f"{SVG}polygon", f"{SVG}polyline", f"{SVG}path"):
            outlines += _points(shape.get("points") or shape.get("d", ""))
        elif shape.tag == f"{SVG}ellipse":
            x, y, rx, ry = (float(shape.get(key, "0")) for key in ("cx", "cy", "rx", "ry"))
            outlines += [(x - rx, y - ry), (x + rx, y + ry)]
    texts = tuple(_text(text) for text in group.iter(f"{SVG}text") if (text.text or "").strip())
    return Node(group.get("id", ""), around(outlines), texts, group.find(f".//{SVG}ellipse") is not None)


def _text(element: Element) -> Text:
    words = element.text or ""
    x, y, size = (float(element.get(key, "0")) for key in ("x", "y", "font-size"))
    font = _font(element.get("font-weight") == "bold", element.get("font-style") == "italic")
    scale = size / LARGE
    start = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
    x -= start * scale * font.getlength(words)
    left, top, right, bottom = (scale * side for side in font.getbbox(words, anchor="ls"))
    return Text(words, (x + left, y + top, x + right, y + bottom))


@functools.cache
def _font(bold: bool, italic: bool) -> Any:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    style = ("-" if bold or italic else "") + "Bold" * bold + "Oblique" * italic
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{style}.ttf"
    return ImageFont.truetype(path, LARGE, layout_engine=ImageFont.Layout.BASIC)


def _curve(group: Element, boxes: dict[str, Rectangle]) -> Curve:
    """An edge; of parallel lines in several colours the first stands for all. Its ends are at the nearest boxes."""
    path = group.find(f".//{SVG}path")
    assert path is not None
    line = along(_points(path.get("d", "")))
    arrows = [_points(shape.get("points", "")) for shape in group.iter(f"{SVG}polygon")]
    if arrows:
        head = min(arrows, key=lambda arrow: min(math.dist(line[-1], corner) for corner in arrow))
        line.append(max(head, key=lambda corner: math.dist(line[-1], corner)))
    ends = [min(boxes, key=lambda name: _distance(end, boxes[name])) for end in (line[0], line[-1])]
    return Curve(*ends, line)


def _distance(point: Point, box: Rectangle) -> float:
    """The square of the distance of a point from a box."""
    x, y = point
    return max(box[0] - x, 0, x - box[2]) ** 2 + max(box[1] - y, 0, y - box[3]) ** 2


# --- what holds what


def _holds(node: Node, ink: Rectangle) -> bool:
    """Whether a text stands inside the border of its node."""
    if not node.ellipse:
        return all(within(corner, node.box, -BORDER) for corner in ((ink[0], ink[1]), (ink[2], ink[3])))
    left, low, right, high = node.box
    rx, ry = (right - left) / 2 - BORDER, (high - low) / 2 - BORDER
    x = max(abs(side - (left + right) / 2) for side in (ink[0], ink[2]))
    y = max(abs(side - (low + high) / 2) for side in (ink[1], ink[3]))
    return (x / rx) ** 2 + (y / ry) ** 2 <= 1


def _inside(ink: Rectangle, picture: Rectangle) -> bool:
    return within((ink[0], ink[1]), picture, 0) and within((ink[2], ink[3]), picture, 0)


# --- the table


def table() -> str:
    """A row for each picture of the gallery."""
    heads = ("picture", "nodes", "edges", "crossings", "over boxes", "over text", "cut", "overlapping")
    lines = [f"| {' | '.join([*heads, 'width x height, pt'])} |", f"|{'---|' * (len(heads) + 1)}"]
    for path in sorted((DOCS / "pictures").glob("*.svg")):
        m = legible(path.read_text(encoding="utf-8"))
        counts = (m.nodes, m.edges, m.crossings, m.through, len(m.struck), len(m.cut), len(m.overlapping))
        lines.append(f"| {path.stem} | {' | '.join(map(str, counts))} | {m.width:.0f} x {m.height:.0f} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """`docs/diagrams.md` with its table made anew."""
    before, mark, rest = page.partition("<!-- legible -->\n")
    _, end, after = rest.partition("<!-- /legible -->")
    assert mark and end, "docs/diagrams.md has no place for its table"
    return f"{before}{mark}{table()}\n{end}{after}"


if __name__ == "__main__":
    page = DOCS / "diagrams.md"
    page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
