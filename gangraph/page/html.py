"""Facts -> HTML: one file with style, script, diagram and data inside, and a policy that lets nothing else in.

Texts of a spec reach the page in three ways: through a template that escapes them, as JSON whose `<` is escaped, and
inside the SVG and MathML that our own printers made. Of these two only known elements and attributes are let through.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree

import jinja2
from markupsafe import Markup

from gangraph.draw.dot import COLOURS, DATA, DATA_TINT, HEAD_TINT, INK, LIVE, PAPER, QUIET
from gangraph.equations.formats import inline, mathml
from gangraph.equations.pieces import Note, Section
from gangraph.errors import Problem
from gangraph.frozen import frozen
from gangraph.page.facts import Facts, Stage
from gangraph.page.names import Part
from gangraph.page.steps import Moment, colour
from gangraph.page.texts import Text
from gangraph.page.things import Row, Thing

SVG, MATHML = "http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"
# What our printers make: elements, then attributes. The page gives a diagram its size.
ALLOWED = {
    SVG: (
        "svg g title path polygon polyline ellipse text",
        "id class viewBox transform d points cx cy rx ry x y fill stroke stroke-width stroke-dasharray stroke-linecap "
        "text-anchor font-family font-size font-weight font-style",
    ),
    MATHML: (
        "math mtable mtr mtd mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover "
        "mfenced mstyle mpadded mphantom menclose",
        "display displaystyle columnalign rowspacing columnspacing mathvariant stretchy fence form separator accent "
        "width height depth lspace rspace linethickness scriptlevel minsize maxsize movablelimits symmetric",
    ),
}
GROUP = {SVG: "g", MATHML: "mrow"}  # what any other element becomes


@frozen
class Wrong:
    """What is wrong with the files as they are now, and their texts."""

    problems: tuple[Problem, ...]
    texts: tuple[Text, ...]


def print_page(facts: Facts | None, live: int = 0, wrong: Wrong | None = None) -> str:
    """The page. A `live` one has a number, and its server says when there is another.

    With `wrong`, the facts are from before; without facts, there never were any.
    """
    script, style = _file("page.js"), _file("page.css") + "".join(_colours())
    policy = [f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:"]
    policy += ["connect-src 'self'"] * bool(live)
    stages = facts.stages if facts else ()
    numbers = {key: i for i, key in enumerate(dict.fromkeys(key for stage in stages for key in stage.things))}
    texts = [("spec", t) for t in (wrong.texts if wrong else facts.spec if facts else ())]
    texts += [("program", facts.program)] if facts else []
    return _template().render(
        policy="; ".join([*policy, "base-uri 'none'; form-action 'none'"]),
        style=Markup(style),
        script=Markup(script),
        data=Markup(_json(_data(facts, numbers, live, wrong)).replace("<", "\\u003c")),
        facts=facts,
        games=[(stage, _diagram(stage.svg), _buttons(stage)) for stage in stages],
        equations=[(s, _formula(s), list(map(_note, s.notes))) for s in facts.equations] if facts else [],
        texts=[(kind, text, _lines(text, numbers)) for kind, text in texts],
        problems=wrong.problems if wrong else (),
        beside=_beside(wrong.problems if wrong else facts.warnings if facts else ()),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base"] = lambda name: PurePath(name).name  # a page that is given away names no folders
    return environment.get_template("page.html.jinja")


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _buttons(stage: Stage) -> list[tuple[str, str, str]]:
    """Name, class and glyph of every player."""
    return [(p.name, colour([p]), COLOURS[p.colour % len(COLOURS)].glyph) for p, _ in stage.players]


# --- markup of our own printers


def _formula(section: Section) -> Markup:
    """The equations of a section, aligned; nothing where there are none."""
    if not section.equations:
        return Markup("")
    return _math(mathml(section))


def _note(note: Note) -> Markup:
    return Markup("").join(part if isinstance(part, str) else _math(inline(part)) for part in note)


def _math(source: str) -> Markup:
    return Markup(ElementTree.tostring(parsed(source, MATHML), encoding="unicode"))


def parsed(markup: str, space: str) -> ElementTree.Element:
    """SVG or MathML with nothing but what our printers make."""
    elements, attributes = (words.split() for words in ALLOWED[space])
    root = ElementTree.fromstring(markup)
    for element in root.iter():
        name = element.tag.removeprefix(f"{{{space}}}")
        element.tag = name if name in elements else GROUP[space]
        for attribute in [a for a in element.attrib if a not in attributes]:
            del element.attrib[attribute]
    return root


def _diagram(svg: str) -> Markup:
    """The SVG for the page: it takes the size of its place, and its ground has no tooltip."""
    root = parsed(svg, SVG)
    graph = root.find("g")
    assert graph is not None
    for title in graph.findall("title"):
        graph.remove(title)
    root.set("id", "picture")
    return Markup(ElementTree.tostring(root, encoding="unicode"))


# --- data of the script


def _data(facts: Facts | None, numbers: dict[str, int], live: int, wrong: Wrong | None) -> dict[str, Any]:
    if facts is None:
        return {"name": "", "live": live}

    def parts(found: tuple[Part, ...]) -> list[Any]:
        return [p if isinstance(p, str) else [p.text, [numbers[k] for k in p.keys if k in numbers]] for p in found]

    def rows(found: tuple[Row, ...]) -> list[Any]:
        return [[label, parts(said)] for label, said in found]

    def thing(one: Thing, stage: Stage) -> dict[str, Any]:
        tables = {p.name: colour([p]) for p, _ in stage.players}
        found = {"kind": one.kind, "name": one.name, "rows": rows(one.rows), "marks": one.marks}
        found |= {"colour": tables[one.player]} if one.player in tables else {}
        found |= {"equations": one.equations} if one.equations else {}
        return found | ({"layers": one.layers} if one.layers else {})

    pool: dict[str, int] = {}  # the things of all stages, each once: most are the same in several

    def pooled(one: Thing, stage: Stage) -> int:
        return pool.setdefault(_json(thing(one, stage)), len(pool))

    def moment(one: Moment) -> dict[str, Any]:
        things = [numbers[k] for k in one.keys if k in numbers]
        return {"name": one.name, "rows": rows(one.rows), "lights": one.lights, "things": things, "lines": one.lines}

    def data(stage: Stage) -> dict[str, Any]:
        return {
            "name": stage.name,
            "rows": rows(stage.rows),
            "things": [[numbers[key], pooled(one, stage)] for key, one in stage.things.items()],
            "marks": {mark: [numbers[k] for k in keys] for mark, keys in stage.marks.items()},
            "edges": stage.edges,
            "players": [
                {"name": p.name, "mark": p.id, "colour": colour([p]), "lights": lights} for p, lights in stage.players
            ],
            "steps": [
                {"name": stop.name, "note": stop.note, "moments": [*map(moment, stop.moments)]} for stop in stage.steps
            ],
            "elsewhere": stage.elsewhere,
        }

    texts = [*(() if wrong else facts.spec), facts.program]
    return {
        "name": facts.name,
        "live": live,
        "stages": [data(stage) for stage in facts.stages],
        "things": [json.loads(one) for one in pool],
        "regions": [[[r.first, r.last, [numbers[k] for k in r.keys]] for r in text.regions] for text in texts],
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _lines(text: Text, numbers: dict[str, int]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """For every line the numbers of its things, and its pieces: text, style, numbers of things."""

    def said(keys: tuple[str, ...]) -> str:
        return " ".join(str(numbers[k]) for k in keys if k in numbers)

    return [
        (said(keys), [(p.text, p.style, said(p.keys)) for p in text.pieces(number)])
        for number, keys in enumerate(text.keys(), 1)
    ]


def _beside(problems: Iterable[Problem]) -> dict[tuple[str, int], list[Problem]]:
    """The problems and warnings at each line of a file."""
    found: dict[tuple[str, int], list[Problem]] = {}
    for problem in problems:
        found.setdefault((problem.place.file, problem.place.line), []).append(problem)
    return found


# --- colours


def _mixed(one: str, other: str, share: float) -> str:
    """A colour with a share of another: two `#rrggbb`."""
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * (1 - share) + b * share):02x}" for a, b in pairs)


DARK, LIGHT = "#16191d", "#e8eaed"  # ground and text of the dark page


def _colours() -> list[str]:
    """What the colours of a diagram are on a dark page, and the classes of the players."""
    rules = []
    fills = {PAPER: _mixed(DARK, LIGHT, 0.06), DATA_TINT: _mixed(DARK, LIGHT, 0.1), HEAD_TINT: _mixed(DARK, LIGHT, 0.2)}
    strokes = {LIVE: "#9aa1a9", DATA: "#a9b0b8", QUIET: "#c3c8ce"}
    for number, c in enumerate(COLOURS):
        bright = _mixed(c.line, LIGHT, 0.3)
        strokes[c.line] = bright
        if c.ink == INK:  # the head of a table, whose text turns light
            fills[c.line] = _mixed(c.line, DARK, 0.45)
        fills[c.tint] = _mixed(DARK, c.line, 0.33)
        rules.append(
            f".c{number} {{ --line: light-dark({c.line}, {bright}); --tint: light-dark({c.tint}, {fills[c.tint]}); }}"
        )
    for light, dark in fills.items():
        rules.append(f'#picture :not(text)[fill="{light.lower()}"] {{ fill: light-dark({light}, {dark}); }}')
    for light, dark in strokes.items():
        rules.append(f'#picture [stroke="{light.lower()}"] {{ stroke: light-dark({light}, {dark}); }}')
        rules.append(f'#picture .edge [fill="{light.lower()}"] {{ fill: light-dark({light}, {dark}); }}')
    rules.append(
        f'#picture text:not([fill]), #picture text[fill="{INK.lower()}"] {{ fill: light-dark({INK}, {LIGHT}); }}'
    )
    return [f"{rule}\n" for rule in rules]
