"""The tree of an equation: pieces of formula in two forms, signed sums of them, equations, sections.

>>> form(r"\\max(0,\\ %s)", "max(0, %s)", Piece("x", "x"))
Piece(latex='\\\\max(0,\\\\ x)', text='max(0, x)', strength=9)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gangraph.frozen import frozen

BREAK, LATE, LAST = MARKS = "\ue000\ue001\ue002"  # where a formula may break, and where only if no better place is
KINDS = ("objective", "loss", "state", "where", "functions", "with", "notes")  # of sections, in their order
OR, NOT, COMPARISON, SUM, FRACTION, PRODUCT, PREFIX, POWER, ATOM = range(1, 10)  # how strongly a piece holds together
RAISED = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@frozen
class Piece:
    """A formula in both forms; `strength` says when it needs brackets."""

    latex: str
    text: str
    strength: int = ATOM

    def within(self, strength: int) -> Piece:
        """The piece, in brackets where it holds together less than that."""
        return self if self.strength >= strength else form(r"\left(%s\right)", "(%s)", self)

    def __add__(self, other: Piece) -> Piece:
        return form("%s%s", "%s%s", self, other)


Note = tuple[str | Piece, ...]  # prose, and formulas in it
EMPTY, DOTS, EQUAL = Piece("", ""), Piece(r"\dots", "…"), Piece("=", "=")


@frozen
class Equation:
    """`left = terms`, a sum of signed pieces; `condition` stands behind it, after the word `for` or `when`."""

    left: Piece
    terms: tuple[tuple[str, Piece], ...]
    relation: Piece = EQUAL
    condition: Piece | None = None
    word: str = "for"

    @property
    def right(self) -> Piece:
        """What stands right of the relation."""
        made = joined(self.terms)
        if self.condition is None:
            return made
        behind = form(rf"{BREAK} \qquad \text{{{self.word} }} %s", f"{BREAK}   {self.word} %s", whole(self.condition))
        return made + behind


@frozen
class Section:
    """A title and the equations under it."""

    title: str
    equations: tuple[Equation, ...]
    notes: tuple[Note, ...] = ()
    kind: str = "loss"  # one of KINDS
    stages: tuple[str, ...] = ()  # where it holds; in all if there are none


def note(said: str, *pieces: Piece) -> Note:
    """Prose with formulas: pieces at its `%s`, and those between dollars, `latex|text` or what both forms say alike.

    >>> note("$n$ is %s", Piece("1", "1"))
    (Piece(latex='n', text='n', strength=9), ' is ', Piece(latex='1', text='1', strength=9))
    """
    made, left = [], iter(pieces)
    for part in filter(None, re.split(r"(\$[^$]*\$|%s)", said)):
        latex, _, text = part.strip("$").partition("|")
        made.append(next(left) if part == "%s" else Piece(latex, text or latex) if part.startswith("$") else part)
    return tuple(made)


def plain(formula: str) -> str:
    """A formula without the marks of breaks."""
    return formula.translate(dict.fromkeys(map(ord, MARKS)))


def whole(piece: Piece) -> Piece:
    """A piece that does not break."""
    return Piece(plain(piece.latex), plain(piece.text), piece.strength)


def reluctant(piece: Piece) -> Piece:
    """A piece that breaks last."""
    marks = str.maketrans(MARKS, LAST * 3)
    return Piece(piece.latex.translate(marks), piece.text.translate(marks), piece.strength)


def form(latex: str, text: str, *parts: Piece, strength: int = ATOM) -> Piece:
    """Parts at the `%s` of a template for each form."""
    return Piece(latex % tuple(p.latex for p in parts), text % tuple(p.text for p in parts), strength)


def listed(pieces: Iterable[Piece], latex: str = ", ", text: str = ", ", strength: int = ATOM) -> Piece:
    """Pieces with a separator between them."""
    parts = list(pieces)
    return Piece(latex.join(p.latex for p in parts), text.join(p.text for p in parts), strength)


def together(pieces: list[Piece]) -> Piece:
    """A piece as it is; several as a tuple."""
    return pieces[0] if len(pieces) == 1 else form("(%s)", "(%s)", listed(pieces))


def below(*indices: Piece) -> Piece:
    """A subscript, or nothing."""
    inside = whole(listed(indices, ",", ","))
    return Piece(f"_{{{inside.latex}}}", f"_{braced(inside.text)}") if indices else EMPTY


def above(mark: Piece) -> Piece:
    """A superscript."""
    return Piece(f"^{{{plain(mark.latex)}}}", f"^{braced(plain(mark.text))}")


def braced(text: str) -> str:
    return text if re.fullmatch(r"[\w\u0300-\u036f]+", text) else f"{{{text}}}"


def part_of(whole: Piece, index: Piece) -> Piece:
    """`whole_index`, where the whole may have a subscript of its own."""
    return form("{%s}%s", "%s%s", whole.within(ATOM), below(index))


def product(left: Piece, right: Piece) -> Piece:
    """Side by side, with a dot where two numbers would run together; in a line of text a fraction in front needs
    brackets.
    """
    a, b = left.within(FRACTION), right.within(FRACTION)
    a = Piece(a.latex, left.within(PRODUCT).text)
    dot = b.text[:1].isdigit() or b.text[:1] in "½¼"
    return form(r"%s \cdot %s" if dot else r"%s\,%s", "%s·%s" if dot else "%s %s", a, b, strength=PRODUCT)


def fraction(top: Piece, bottom: Piece) -> Piece:
    """A fraction; in a line of text its parts may need brackets."""
    above_, below_ = plain(top.latex), plain(bottom.latex)
    text = f"{top.within(FRACTION).text}{LATE} / {bottom.within(POWER).text}"
    return Piece(rf"\frac{{{above_}}}{{{below_}}}", text, FRACTION)


def power(base: Piece, exponent: Piece) -> Piece:
    """A power; a base that has an exponent already is a group."""
    held = base.within(ATOM)
    digits = exponent.text.removeprefix("−").isdigit()
    raised = exponent.text.translate(RAISED) if digits else above(exponent).text
    latex = f"{{{held.latex}}}" if "^" in held.latex else held.latex
    return Piece(f"{latex}^{{{exponent.latex}}}", held.text + raised, POWER)


def joined(terms: Iterable[tuple[str, Piece]]) -> Piece:
    """A signed sum, which may break before its signs; the first one stands close, or is left out."""
    (sign, piece), *rest = terms
    if not rest and sign == "+":
        return piece
    made = form("%s", "%s", piece.within(FRACTION)) if sign == "+" else form("-%s", "−%s", piece.within(FRACTION))
    for sign, piece in rest:
        made += form(f"{BREAK} {sign} %s", f"{BREAK} {'+' if sign == '+' else '−'} %s", piece.within(FRACTION))
    return Piece(made.latex, made.text, SUM if rest else PREFIX)
