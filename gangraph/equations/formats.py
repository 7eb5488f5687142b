"""Sections -> plain text, LaTeX (amsmath, amssymb) or MathML."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, fromstring, tostring

from gangraph.equations.breaks import PAGE, width
from gangraph.equations.breaks import lines as broken_lines
from gangraph.equations.pieces import Piece, Section, plain

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", **{c: f"\\{c}" for c in "{}$&#%_"},
}  # fmt: skip
PROSE = {"σ": r"$\sigma$", "×": r"$\times$", "−": "$-$"}
PROSE |= {"∨": r"$\lor$", "∧": r"$\land$", "¬": r"$\lnot$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$"}
MATHML = "http://www.w3.org/1998/Math/MathML"
SIGNS = {"~": "\N{TILDE OPERATOR}", **{c: c for c in ":;¬⌊⌋"}}  # that the converter takes for letters
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
        lefts = [plain(e.left.text) for e in section.equations]
        widest = int(max((width(left, "text") for left in lefts), default=0))
        lines = [section.title]
        for left, (equation, first, more) in zip(lefts, broken_lines(section, "text"), strict=True):
            space = " " * (widest - int(width(left, "text")))
            lines.append(f"  {space}{left} {equation.relation.text} {first}")
            lines += [f"  {'':{widest + 5}}{line}" for line in more]
        for note in section.notes:
            said = "".join(part if isinstance(part, str) else plain(part.text) for part in note)
            lines += textwrap.wrap(said, PAGE["text"], initial_indent="  ", subsequent_indent="    ")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_latex(sections: Iterable[Section], name: str) -> str:
    blocks = [f"% {name}. Needs the packages amsmath and amssymb."]
    for section in sections:
        if section.equations:
            rows = " \\\\\n".join(_aligned(section))
            blocks.append(f"\\paragraph{{{_prose(section.title)}}}\n\\begin{{align*}}\n{rows}\n\\end{{align*}}")
        if section.notes:
            items = "\n".join(f"\\item {''.join(map(_said, note))}" for note in section.notes)
            blocks.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
    return "\n\n".join(blocks)


def aligned(section: Section) -> list[str]:
    """The rows of an `align*` for one section, its title first."""
    return [rf"  & \textbf{{{_prose(section.title)}}}", *_aligned(section)]


def _aligned(section: Section) -> Iterator[str]:
    for equation, first, more in broken_lines(section, "latex"):
        yield f"  {plain(equation.left.latex)} &{equation.relation.latex} {first}"
        yield from (rf"  &\qquad {{}}{line}" for line in more)


def _prose(text: str) -> str:
    """A title or the words of a note as LaTeX text."""
    made = "".join(SPECIAL.get(c, c) for c in text)
    for sign, latex in PROSE.items():
        made = made.replace(sign, latex)
    return made


def _said(part: str | Piece) -> str:
    """A part of a note as LaTeX text."""
    return _prose(part) if isinstance(part, str) else f"${plain(part.latex)}$"


def as_mathml(sections: Iterable[Section], name: str) -> str:
    lines = ['<div class="equations">', f"<style>{STYLE}</style>", f"<h2>{html.escape(name)}</h2>"]
    for section in sections:
        lines.append(f"<h3>{html.escape(section.title)}</h3>")
        lines += [mathml(section)] if section.equations else []
        if section.notes:
            lines += ["<ul>", *(f"<li>{''.join(map(inline, note))}</li>" for note in section.notes), "</ul>"]
    return "\n".join([*lines, "</div>"])


def mathml(section: Section) -> str:
    """Equations as one `<math>`: their lines are rows of a table, aligned at the relations."""
    pairs: list[tuple[str, str]] = []
    for equation, first, more in broken_lines(section, "latex"):
        pairs.append((f"{plain(equation.left.latex)} {equation.relation.latex}", first))
        pairs += [("", rf"\qquad {line}") for line in more]
    rows = "".join(
        f'<mtr><mtd columnalign="right">{_converted(left)}</mtd><mtd columnalign="left">{_converted(right)}</mtd></mtr>'
        for left, right in pairs
    )
    table = f'<mtable displaystyle="true">{rows}</mtable>'
    return f'<math xmlns="{MATHML}" display="block">{table}</math>'


def inline(part: str | Piece) -> str:
    """A part of a note: escaped text, or one `<math>`."""
    return (
        html.escape(part) if isinstance(part, str) else f'<math xmlns="{MATHML}">{_converted(plain(part.latex))}</math>'
    )


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
        if element.text in SIGNS:
            element.tag, element.text = "mo", SIGNS[element.text]
        if element.tag in BELOW and element[0].text in ("\N{N-ARY SUMMATION}", "min", "max"):
            element.tag = BELOW[element.tag]
        for place, child in reversed(list(enumerate(element))):
            behind = element[place + 1] if place + 1 < len(element) else None
            if child.text == "log" and behind is not None and behind.tag != "mo":
                element.insert(place + 1, Element("mspace", width="0.17em"))
    return "".join(tostring(child, encoding="unicode") for child in root)


FORMATS = {"text": as_text, "latex": as_latex, "mathml": as_mathml}
