"""Sections -> plain text, LaTeX (amsmath, amssymb) or MathML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, fromstring, tostring

from gangraph.equations.pieces import Equation, Section

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", **{c: f"\\{c}" for c in "{}$&#%_"},
}  # fmt: skip
PROSE = {"‖·‖": r"$\lVert\cdot\rVert$", "[·]": r"[$\cdot$]", "σ": r"$\sigma$", "×": r"$\times$", "−": "$-$"}
PROSE |= {"∨": r"$\lor$", "∧": r"$\land$", "¬": r"$\lnot$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$"}
BELOW = {"msub": "munder", "msubsup": "munderover"}
# For browsers that know no `columnalign`; in a cell of mathematics Chromium moves nothing for a mere `right`.
STYLE = (
    ".equations math>mtable>mtr>mtd{text-align:left}"
    ".equations math>mtable>mtr>mtd:first-child{text-align:right;text-align:-webkit-right}"
)
_LETTERS = re.compile(r'(?:<mi mathvariant="normal">[^<&]</mi>){2,}')


def as_text(sections: Iterable[Section], name: str = "") -> str:
    blocks = [name] if name else []
    for section in sections:
        width = max((len(e.left.text) for e in section.equations), default=0)
        lines = [section.title]
        for equation in section.equations:
            first, *more = (row.text for row in equation.rows)
            lines.append(f"  {equation.left.text:>{width}} {equation.relation.text} {first}")
            lines += [f"  {'':{width + 5}}{row}" for row in more]
        lines += [f"  {note}" for note in section.notes]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_latex(sections: Iterable[Section], name: str) -> str:
    blocks = [f"% {name}. Needs the packages amsmath and amssymb."]
    for section in sections:
        if section.equations:
            rows = " \\\\\n".join(line for equation in section.equations for line in _aligned(equation))
            blocks.append(f"\\paragraph{{{_prose(section.title)}}}\n\\begin{{align*}}\n{rows}\n\\end{{align*}}")
        if section.notes:
            items = "\n".join(f"\\item {_prose(note)}" for note in section.notes)
            blocks.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
    return "\n\n".join(blocks)


def aligned(section: Section) -> list[str]:
    """The rows of an `align*` for one section, its title first."""
    rows = [line for equation in section.equations for line in _aligned(equation)]
    return [rf"  & \textbf{{{_prose(section.title)}}}", *rows]


def _aligned(equation: Equation) -> list[str]:
    first, *more = (row.latex for row in equation.rows)
    start = f"  {equation.left.latex} &{equation.relation.latex} {first}"
    return [start, *(rf"  &\qquad {{}}{row}" for row in more)]


def _prose(text: str) -> str:
    """A title or note as LaTeX text."""
    made = "".join(SPECIAL.get(c, c) for c in text)
    for sign, latex in PROSE.items():
        made = made.replace(sign, latex)
    return made


def as_mathml(sections: Iterable[Section], name: str) -> str:
    lines = ['<div class="equations">', f"<style>{STYLE}</style>", f"<h2>{html.escape(name)}</h2>"]
    for section in sections:
        lines.append(f"<h3>{html.escape(section.title)}</h3>")
        lines += [mathml(*section.equations)] if section.equations else []
        if section.notes:
            lines += ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in section.notes), "</ul>"]
    return "\n".join([*lines, "</div>"])


def mathml(*equations: Equation) -> str:
    """Equations as one `<math>`: their lines are rows of a table, aligned at the relations."""
    pairs: list[tuple[str, str]] = []
    for equation in equations:
        first, *more = (row.latex for row in equation.rows)
        pairs.append((f"{equation.left.latex} {equation.relation.latex}", first))
        pairs += [("", rf"\qquad {row}") for row in more]
    rows = "".join(
        f'<mtr><mtd columnalign="right">{_converted(left)}</mtd><mtd columnalign="left">{_converted(right)}</mtd></mtr>'
        for left, right in pairs
    )
    table = f'<mtable displaystyle="true">{rows}</mtable>'
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">{table}</math>'


def _converted(latex: str) -> str:
    """LaTeX -> the inside of a `<math>`; words are one identifier, not a row of letters. What a sum or a minimum runs
    over stands below it, and a logarithm keeps a distance from what it is of.
    """
    from latex2mathml.converter import convert

    if not latex:
        return ""
    made = convert(latex)
    inner = made[made.index(">") + 1 : made.rindex("</math>")]
    words = _LETTERS.sub(lambda m: f"<mi>{re.sub('<[^>]*>', '', m[0])}</mi>", inner)
    root = fromstring(f"<mrow>{words}</mrow>")
    for element in list(root.iter()):
        if element.tag in BELOW and element[0].text in ("\N{N-ARY SUMMATION}", "min", "max"):
            element.tag = BELOW[element.tag]
        for place, child in reversed(list(enumerate(element))):
            behind = element[place + 1] if place + 1 < len(element) else None
            if child.text == "log" and behind is not None and behind.tag != "mo":
                element.insert(place + 1, Element("mspace", width="0.17em"))
    return "".join(tostring(child, encoding="unicode") for child in root)


FORMATS = {"text": as_text, "latex": as_latex, "mathml": as_mathml}
