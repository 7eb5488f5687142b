"""Names, numbers and index sets of a spec -> letters, subscripts and signs: `mu2` is μ₂, `cycle` a weight λ_cycle."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from typing import Any

from gangraph.equations.pieces import BREAK, DOTS, EMPTY, PREFIX, PRODUCT, Piece, below, form, listed, power

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "eps": "ε", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
VARIANTS = {"epsilon": r"\varepsilon", "eps": r"\varepsilon", "phi": r"\varphi"}  # LaTeX's forms of ε and φ
SPECIAL = {
    "\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim ", " ": r"\ ", "'": r"\prime ", '"': r"\prime\prime ",
    "<": r"\lt ", ">": r"\gt ", "`": r"\prime ", **{c: f"\\{c}" for c in "{}$&#%_"},
}  # fmt: skip
ACCENTS = {"hat": (r"\hat", "\u0302"), "til": (r"\tilde", "\u0303"), "tilde": (r"\tilde", "\u0303")}
PARTS = {0.5: Piece(r"\tfrac{1}{2}", "½"), 0.25: Piece(r"\tfrac{1}{4}", "¼")}


def escape(text: str) -> str:
    """Any text as the inside of `\\mathrm{}`: nothing in it is a command."""
    return "".join(SPECIAL.get(c, c) for c in text if c.isprintable())


def upright(word: str) -> Piece:
    return Piece(rf"\mathrm{{{escape(word)}}}", word)


def spelled(word: str) -> Piece:
    """One word of a name: a Greek letter, an italic letter, a number, or upright."""
    if word in GREEK:
        return Piece(VARIANTS.get(word, f"\\{word}"), GREEK[word])
    if word.isascii() and (word.isdigit() or (len(word) == 1 and word.isalnum())):
        return Piece(word, word)
    return upright(word)


def words(name: str) -> list[Piece]:
    """A name in words, as they stand below a letter."""
    return [spelled(part) for part in name.split("_") if part] or [upright(name)]


def lettered(letter: Piece, words: Iterable[Piece], indices: Iterable[Piece] = (), count: str = "") -> Piece:
    """A letter with what stands below it: a count (in text close by), words of its name, indices."""
    subs, last = list(words), list(indices)
    first = [Piece(count, count)] if count else []
    text = "_".join([letter.text + count, *(s.text for s in subs)])
    return Piece(letter.latex + below(*first, *subs, *last).latex, text + below(*last).text)


def symbol(name: str, indices: Iterable[Piece] = (), families: Container[str] = ()) -> Piece:
    """A name of the spec as a letter with subscripts: `x_ref2`, `D_X`, `E[0]`, `mu2`.

    Where a family `w` has a member 2, `w2` stays one word. Where a name ends in `hat` or `tilde`, its letter wears it.
    """
    head, *rest = [part for part in name.split("_") if part] or ["_"]
    counted = re.fullmatch(r"([^\W\d]+?)(\d+)", head)
    count = ""
    if counted and counted[1] not in families:
        head, count = counted.groups()
    letter = spelled(head)
    if rest and rest[-1] in ACCENTS and len(letter.text) == 1:
        command, mark = ACCENTS[rest.pop()]
        letter = Piece(f"{command}{{{letter.latex}}}", unicodedata.normalize("NFC", letter.text + mark))
    return lettered(letter, map(spelled, rest), indices, count)


def weight(name: str) -> Piece:
    """How much something counts: Greek letters and letters as they are, words under a λ."""
    head = name.split("_")[0]
    return symbol(name) if head in GREEK or len(head) == 1 else lettered(Piece(r"\lambda", "λ"), words(name))


def number(value: float) -> Piece:
    """A number as a paper prints it: 1/2, 0.01, 10^{-5}."""
    if isinstance(value, bool):
        return upright(str(value))
    if value < 0:
        return form("-%s", "−%s", number(-value), strength=PREFIX)
    if value in PARTS:
        return PARTS[value]
    mantissa, _, exponent = f"{value:.12g}".partition("e")
    if not exponent and 0 < value < 1e-3:
        mantissa, _, exponent = f"{value:.12e}".partition("e")
        mantissa = f"{float(mantissa):g}"
    if not exponent:
        return Piece(mantissa, mantissa)
    ten = power(Piece("10", "10"), number(int(exponent)))
    return ten if mantissa == "1" else form(rf"{mantissa} \cdot %s", f"{mantissa}·%s", ten, strength=PRODUCT)


def operator(name: str, *arguments: Piece, index: Piece | None = None) -> Piece:
    """`name(a, b)` with an upright name."""
    head = upright(name) + (below(index) if index else EMPTY)
    return head + form(r"\left(%s\right)", "(%s)", listed(arguments, f",{BREAK} ", f",{BREAK} "))


def member_of(letter: str, members: Iterable[Piece]) -> Piece:
    """`d ∈ {0, 1}`."""
    return form(r"%s \in \{%s\}", "%s ∈ {%s}", spelled(letter), listed(members))


def index_set(name: str, values: list[Any]) -> Piece:
    """An index and its values; of many the first two and the last."""
    shown = [spelled(v) if isinstance(v, str) else number(v) for v in values]
    return member_of(name, [*shown[:2], DOTS, shown[-1]] if len(shown) > 4 else shown)
