"""Sections -> plain text, LaTeX (amsmath, amssymb) or MathML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from gangraph.equations.pieces import Equation, Section

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", **{c: f"\\{c}" for c in "{}$&#%_"},
}  # fmt: skip
PROSE = {"‖·‖": r"$\lVert\cdot\rVert$", "[·]": r"[$\cdot$]", "σ": r"$\sigma$", "×": r"$\times$", "−": "$-$"}
PROSE |= {"∨": r"$\lor$", "∧": r"$\land$", "¬": r"$\lnot$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$"}
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
    lines = ['<div class="equations">', f"<h2>{html.escape(name)}</h2>"]
    for section in sections:
        lines.append(f"<h3>{html.escape(section.title)}</h3>")
        lines += map(mathml, section.equations)
        if section.notes:
            lines += ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in section.notes), "</ul>"]
    return "\n".join([*lines, "</div>"])


def mathml(equation: Equation) -> str:
    """One equation as `<math>`: its lines are rows of a table, aligned at the relation."""
    first, *more = (row.latex for row in equation.rows)
    pairs = [(f"{equation.left.latex} {equation.relation.latex}", first), *(("", rf"\qquad {row}") for row in more)]
    rows = "".join(
        f'<mtr><mtd columnalign="right">{_converted(left)}</mtd><mtd columnalign="left">{_converted(right)}</mtd></mtr>'
        for left, right in pairs
    )
    table = f'<mtable displaystyle="true">{rows}</mtable>'
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">{table}</math>'


def _converted(latex: str) -> str:
    """LaTeX -> the inside of a `<math>`; words are one identifier, not a row of letters."""
    from latex2mathml.converter import convert

    if not latex:
        return ""
    made = convert(latex)
    inner = made[made.index(">") + 1 : made.rindex("</math>")]
    return _LETTERS.sub(lambda m: f"<mi>{re.sub('<[^>]*>', '', m[0])}</mi>", inner)


FORMATS = {"text": as_text, "latex": as_latex, "mathml": as_mathml}
