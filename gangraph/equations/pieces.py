"""The tree of an equation: pieces of formula in two forms, signed sums of them, equations, sections.

>>> form(r"\\max(0,\\ %s)", "max(0, %s)", Piece("x", "x"))
Piece(latex='\\\\max(0,\\\\ x)', text='max(0, x)', strength=9)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gangraph.frozen import frozen

WIDTH = 110  # an equation that is longer breaks over lines
KINDS = ("objective", "loss", "where", "functions", "with", "notes")  # of sections, in their order
OR, NOT, COMPARISON, SUM, PRODUCT, PREFIX, POWER, ATOM = range(2, 10)  # how strongly a piece holds together


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
    def rows(self) -> list[Piece]:
        """What stands right of the relation, in lines that, with what stands left of it, have at most `WIDTH`
        characters of text, where terms allow it.
        """
        rows: list[list[tuple[str, Piece]]] = [[]]
        room = max(WIDTH - len(self.left.text), WIDTH // 2)
        width = 0
        for sign, piece in self.terms:
            length = len(piece.text) + 3
            if rows[-1] and width + length > room:
                rows.append([])
                width = 0
            rows[-1].append((sign, piece))
            width += length
        made = [joined(row, first=i == 0) for i, row in enumerate(rows)]
        if self.condition is not None:
            behind = form(rf"\text{{{self.word} }} %s", f"{self.word} %s", self.condition)
            if len(made[-1].text) + len(behind.text) > room:
                made.append(behind)
            else:
                made[-1] += form(r" \qquad %s", "   %s", behind)
        return made


@frozen
class Section:
    """A title and the equations under it."""

    title: str
    equations: tuple[Equation, ...]
    notes: tuple[str, ...] = ()
    kind: str = "loss"  # one of KINDS
    stages: tuple[str, ...] = ()  # where it holds; in all if there are none


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
    inside = listed(indices, ",", ",")
    return Piece(f"_{{{inside.latex}}}", f"_{braced(inside.text)}") if indices else EMPTY


def above(mark: Piece) -> Piece:
    """A superscript."""
    return Piece(f"^{{{mark.latex}}}", f"^{braced(mark.text)}")


def braced(text: str) -> str:
    return text if re.fullmatch(r"\w+", text) else f"{{{text}}}"


def part_of(whole: Piece, index: Piece) -> Piece:
    """`whole_index`, where the whole may have a subscript of its own."""
    return form("{%s}%s", "%s%s", whole.within(ATOM), below(index))


def product(left: Piece, right: Piece) -> Piece:
    """Side by side, with a dot where two numbers would run together."""
    a, b = left.within(PRODUCT), right.within(PRODUCT)
    dot = b.text[:1].isdigit() or b.text[:1] in "½¼"
    return form(r"%s \cdot %s" if dot else r"%s\,%s", "%s·%s" if dot else "%s %s", a, b, strength=PRODUCT)


def fraction(top: Piece, bottom: Piece) -> Piece:
    """A fraction; in a line of text its parts may need brackets."""
    return Piece(
        rf"\frac{{{top.latex}}}{{{bottom.latex}}}", f"{top.within(PRODUCT).text} / {bottom.within(POWER).text}", PRODUCT
    )


def power(base: Piece, exponent: Piece) -> Piece:
    """A power; a base that has an exponent already is a group."""
    held = base.within(ATOM)
    digits = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    raised = exponent.text.translate(digits) if exponent.text.isdigit() else above(exponent).text
    latex = f"{{{held.latex}}}" if "^" in held.latex else held.latex
    return Piece(f"{latex}^{{{exponent.latex}}}", held.text + raised, POWER)


def joined(terms: Iterable[tuple[str, Piece]], first: bool = True) -> Piece:
    """A signed sum in one line; one that goes on from the line above begins with its sign."""
    signed = list(terms)
    if first and len(signed) == 1 and signed[0][0] == "+":
        return signed[0][1]
    shown = {"+": "+", "-": "−"}
    held = [form(f" {sign} %s", f" {shown[sign]} %s", piece.within(PRODUCT)) for sign, piece in signed]
    made = listed(held, "", "", SUM if len(signed) > 1 else PREFIX)
    latex, text = made.latex[1:], made.text[1:]
    if first:  # its sign stands close, or is left out
        latex, text = (latex[2:], text[2:]) if signed[0][0] == "+" else (f"-{latex[2:]}", f"−{text[2:]}")
    return Piece(latex, text, made.strength)
