"""Spec -> equations: the objective of every player, as its paper would print it, in LaTeX, MathML or plain text.

The expressions of the file are the source, and the compiler's facts say what cannot be read off them: which terms an
objective keeps, which networks a side of a loss reaches, what an expectation runs over. One walk writes every formula
in two forms, LaTeX and terminal text, as a `Piece`; MathML is made from the LaTeX.

>>> import gangraph
>>> print(equations(gangraph.load("gan-minimax")).split("\\n\\n")[3])
adv
  min_G max_D V_adv = 𝔼_{x ∼ p_data}[log σ(D(x))] + 𝔼_{z ∼ N(0, I)}[log(1 − σ(D(fake)))]
          ℒ_adv^dis = −V_adv
          ℒ_adv^gen = 𝔼_{z ∼ N(0, I)}[log(1 − σ(D(fake)))]
"""

from __future__ import annotations

import dataclasses
import functools
import html
import itertools
import math
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gangraph import ops
from gangraph.errors import Fact
from gangraph.expressions import (
    Attribute,
    Binary,
    Call,
    Compare,
    Expr,
    IfElse,
    Index,
    List,
    Logic,
    Name,
    Negative,
    Not,
    Number,
    Slice,
    String,
    Truth,
    names,
    parse,
    show,
)
from gangraph.families import Member, member_name
from gangraph.graph import Graph, Phase
from gangraph.ir import Network, Node
from gangraph.library import Definition
from gangraph.resolve import Move
from gangraph.routing import Reach
from gangraph.spec import Chain, Line, TwoSides

if TYPE_CHECKING:
    from gangraph.compiler import Spec

WIDTH = 100  # a sum that is longer breaks over lines
FORMATS = ("text", "latex", "mathml")
KINDS = ("objective", "loss", "where", "functions", "with", "notes")  # of sections, in their order
SIDES = {"discriminator": "dis", "generator": "gen"}
SUM, PRODUCT, PREFIX, POWER, ATOM = 5, 6, 7, 8, 9  # how strongly a piece holds together

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
}  # fmt: skip
GREEK |= {"eps": "ε", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ"}
GREEK |= {"Phi": "Φ", "Psi": "Ψ", "Omega": "Ω"}
SIGNS = {
    "<": ("<", "<"),
    "<=": (r"\le", "≤"),
    ">": (">", ">"),
    ">=": (r"\ge", "≥"),
    "==": ("=", "="),
    "!=": (r"\ne", "≠"),
}
NOTES = {
    "n": "n is the number of entries of a sample's value, so that a norm over n is a mean.",
    "sigma": "σ is the sigmoid; the scores are logits.",
    "stop": "sg[·] is a constant: no gradient passes.",
    "frozen": "sg[E](v) calls a network whose parameters are constants; the gradient passes to v.",
    "total": "A sum with a count above it runs over so many samples, drawn from what stands below it.",
    "pool": "Pool_n(v) gives one of the n latest samples of v or the present one, as a constant.",
    "half": "Slices are half-open: a_{0:n} has the entries 0 to n − 1.",
    "theta": "W runs over the weights of a network's layers.",
    "norm": "‖·‖ is over a sample's own axes.",
}


# --- pieces -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """A formula in both forms; `strength` says when it needs brackets."""

    latex: str
    text: str
    strength: int = ATOM

    def within(self, strength: int) -> Piece:
        """The piece, in brackets where it holds together less than that."""
        return self if self.strength >= strength else Piece(rf"\left({self.latex}\right)", f"({self.text})")


@dataclass(frozen=True)
class Equation:
    """`left = terms`, a sum of signed pieces; `condition` stands behind it, after the word `for` or `when`."""

    left: Piece
    terms: tuple[tuple[str, Piece], ...]
    relation: Piece = Piece("=", "=")
    condition: Piece | None = None
    word: str = "for"

    @property
    def rows(self) -> list[list[tuple[str, Piece]]]:
        """The terms, in lines of at most `WIDTH` characters of text."""
        rows: list[list[tuple[str, Piece]]] = [[]]
        width = 0
        for sign, piece in self.terms:
            length = len(piece.text) + 3
            if rows[-1] and width + length > WIDTH:
                rows.append([])
                width = 0
            rows[-1].append((sign, piece))
            width += length
        return rows


@dataclass(frozen=True)
class Section:
    """A title and the equations under it."""

    title: str
    equations: tuple[Equation, ...]
    notes: tuple[str, ...] = ()
    kind: str = "loss"  # one of KINDS


def escape(text: str) -> str:
    """Any text as the inside of `\\mathrm{}`: nothing in it is a command."""
    special = {
        "\\": r"\backslash ",
        "^": r"\hat{\ }",
        "~": r"\sim ",
        " ": r"\ ",
        "'": r"\prime ",
        '"': r"\prime\prime ",
    }
    special |= {"<": r"\lt ", ">": r"\gt ", "`": r"\prime "}
    return "".join(special.get(c, f"\\{c}" if c in "{}$&#%_" else c) for c in text if c.isprintable())


def upright(word: str) -> Piece:
    return Piece(rf"\mathrm{{{escape(word)}}}", word)


def spelled(word: str) -> Piece:
    """One word of a name: a Greek letter, an italic letter, a number, or upright."""
    if word in GREEK:
        return Piece(
            {"epsilon": r"\varepsilon", "eps": r"\varepsilon", "phi": r"\varphi"}.get(word, f"\\{word}"), GREEK[word]
        )
    if (len(word) == 1 and word.isascii() and word.isalnum()) or (word.isascii() and word.isdigit()):
        return Piece(word, word)
    return upright(word)


def symbol(
    name: str, indices: Iterable[Piece] = (), above: Piece | None = None, families: Container[str] = ()
) -> Piece:
    """A name of the spec as a letter with subscripts: `x_ref2`, `D_X`, `E[0]`, `mu2`.

    Where a family `w` has a member 2, `w2` stays one word.
    """
    indices = tuple(indices)
    head, *rest = [part for part in name.split("_") if part] or ["_"]
    digits = re.fullmatch(r"([^\W\d]+?)(\d+)", head)
    digits = None if digits and digits[1] in families else digits
    subs = [spelled(word) for word in rest]
    if digits:
        head, number = digits.groups()
        subs.insert(0, Piece(number, number))
    found = spelled(head)
    tail = "_".join([found.text + (subs[0].text if digits else ""), *(s.text for s in subs[1 if digits else 0 :])])
    below = [*subs, *indices]
    latex = found.latex + (f"_{{{','.join(s.latex for s in below)}}}" if below else "")
    text = tail + _below([i.text for i in indices])
    if above is not None:
        latex, text = f"{latex}^{{{above.latex}}}", f"{text}^{_braced(above.text)}"
    return Piece(latex, text)


def _below(indices: list[str]) -> str:
    return f"_{_braced(','.join(indices))}" if indices else ""


def _braced(text: str) -> str:
    return text if re.fullmatch(r"\w+", text) else f"{{{text}}}"


def number(value: float) -> Piece:
    """A number as a paper prints it: 1/2, 0.01, 10^{-5}."""
    if isinstance(value, bool):
        return upright(str(value))
    if value < 0:
        inner = number(-value)
        return Piece(f"-{inner.latex}", f"−{inner.text}", PREFIX)
    for bottom in (2, 4):
        if not float(value).is_integer() and (value * bottom).is_integer() and value * bottom == 1:
            return Piece(rf"\tfrac{{1}}{{{bottom}}}", {2: "½", 4: "¼"}[bottom])
    mantissa, _, exponent = f"{value:.12g}".partition("e")
    if not exponent and value and abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.12e}".partition("e")
        mantissa = f"{float(mantissa):g}"
    if not exponent:
        return Piece(mantissa, mantissa)
    power = int(exponent)
    latex, text = f"10^{{{power}}}", f"10^{_braced(str(power).replace('-', '−'))}"
    if mantissa == "1":
        return Piece(latex, text, POWER)
    return Piece(rf"{mantissa} \cdot {latex}", f"{mantissa}·{text}", PRODUCT)


def calligraphic(letter: str, *arguments: Piece, brackets: tuple[str, str] = ("(", ")")) -> Piece:
    """A distribution: `N(0, I)`, `U(−1, 1)`, `U{1, …, 5}`."""
    left, right = ("\\{" if b == "{" else "\\}" if b == "}" else b for b in brackets)
    inside = ", ".join(a.latex for a in arguments), ", ".join(a.text for a in arguments)
    return Piece(rf"\mathcal{{{letter}}}{left}{inside[0]}{right}", f"{letter}{brackets[0]}{inside[1]}{brackets[1]}")


def operator(name: str, *arguments: Piece, below: Piece | None = None, brackets: tuple[str, str] = ("(", ")")) -> Piece:
    """`name(a, b)` with an upright name."""
    inside = [a.latex for a in arguments], [a.text for a in arguments]
    sub = (f"_{{{below.latex}}}", f"_{_braced(below.text)}") if below else ("", "")
    left, right = brackets
    return Piece(
        rf"\mathrm{{{escape(name)}}}{sub[0]}\left{left}{', '.join(inside[0])}\right{right}",
        f"{name}{sub[1]}{left}{', '.join(inside[1])}{right}",
    )


def product(left: Piece, right: Piece) -> Piece:
    """Side by side, with a dot where two numbers would run together."""
    a, b = left.within(PRODUCT), right.within(PRODUCT)
    dot = b.text[:1].isdigit() or b.text[:1] in "½¼"
    return Piece(
        f"{a.latex} {chr(92)}cdot {b.latex}" if dot else rf"{a.latex}\,{b.latex}",
        f"{a.text}·{b.text}" if dot else f"{a.text} {b.text}",
        PRODUCT,
    )


def fraction(top: Piece, bottom: Piece) -> Piece:
    return Piece(
        rf"\frac{{{top.latex}}}{{{bottom.latex}}}", f"{top.within(PRODUCT).text} / {bottom.within(POWER).text}", PRODUCT
    )


def joined(terms: Iterable[tuple[str, Piece]]) -> Piece:
    """A signed sum in one line."""
    listed = list(terms)
    if len(listed) == 1 and listed[0][0] == "+":
        return listed[0][1]
    latex, text = _row(listed, first=True)
    return Piece(latex, text, SUM if len(listed) > 1 else PREFIX)


def _row(terms: Iterable[tuple[str, Piece]], first: bool) -> tuple[str, str]:
    latex, text, terms = "", "", list(terms)
    for i, (sign, piece) in enumerate(terms):
        held = piece if first and terms == [("+", piece)] else piece.within(PRODUCT)
        lead = i == 0 and first
        latex += ("-" if sign == "-" else "") + held.latex if lead else f" {sign} {held.latex}"
        shown = "−" if sign == "-" else "+"
        text += (shown if sign == "-" else "") + held.text if lead else f" {shown} {held.text}"
    return latex.strip(), text.strip()


# --- expressions --------------------------------------------------------------------------------------------------


def children(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with every part changed; keywords and operators stay."""
    match expr:
        case Call():
            keywords = tuple((k, change(v)) for k, v in expr.keywords)
            return dataclasses.replace(
                expr, function=change(expr.function), arguments=tuple(map(change, expr.arguments)), keywords=keywords
            )
        case Binary():
            return dataclasses.replace(expr, left=change(expr.left), right=change(expr.right))
        case Negative() | Not():
            return dataclasses.replace(expr, operand=change(expr.operand))
        case Logic() | Compare():
            return dataclasses.replace(expr, operands=tuple(map(change, expr.operands)))
        case IfElse():
            return dataclasses.replace(
                expr, test=change(expr.test), then=change(expr.then), otherwise=change(expr.otherwise)
            )
        case Attribute():
            return dataclasses.replace(expr, value=change(expr.value))
        case Index():
            return dataclasses.replace(expr, value=change(expr.value), items=tuple(map(change, expr.items)))
        case Slice():
            return dataclasses.replace(expr, low=expr.low and change(expr.low), high=expr.high and change(expr.high))
        case List():
            return dataclasses.replace(expr, items=tuple(map(change, expr.items)))
    return expr


def substitute(expr: Expr, bound: dict[str, Expr]) -> Expr:
    """Names replaced by expressions; indices are simplified, so that `1 - (1 - d)` is `d`."""
    if not bound:
        return expr

    def change(e: Expr) -> Expr:
        if isinstance(e, Name):
            return bound.get(e.id, e)
        made = children(e, change)
        return dataclasses.replace(made, items=tuple(map(simple, made.items))) if isinstance(made, Index) else made

    return change(expr)


def simple(expr: Expr) -> Expr:
    """A sum of names and integers, collected; anything else as it is."""
    found = _linear(expr)
    if found is None:
        return expr
    at = expr.at
    made: Expr | None = None
    for name, count in sorted(((n, c) for n, c in found.items() if c and n), key=lambda item: item[1] < 0):
        term: Expr = Name(at, name) if abs(count) == 1 else Binary(at, "*", Number(at, abs(count)), Name(at, name))
        if made is None and count < 0:
            made = Binary(at, "-", Number(at, found.pop("", 0)), term)
        else:
            made = term if made is None else Binary(at, "+" if count > 0 else "-", made, term)
    rest = found.get("", 0)
    if made is None:
        return Number(at, rest)
    return made if not rest else Binary(at, "+" if rest > 0 else "-", made, Number(at, abs(rest)))


def _linear(expr: Expr) -> dict[str, int] | None:
    match expr:
        case Number(value=int() as value):
            return {"": value}
        case Name(id=name):
            return {name: 1}
        case Binary(operator="+" | "-", left=left, right=right):
            a, b = _linear(left), _linear(right)
            if a is None or b is None:
                return None
            sign = 1 if expr.operator == "+" else -1
            return {k: a.get(k, 0) + sign * b.get(k, 0) for k in {**a, **b}}
        case Binary(operator="*", left=Number(value=int() as value), right=Name(id=name)):
            return {name: value}
    return None


def called(expr: Expr, *words: str) -> bool:
    """Whether the expression is a call of one of these words, with arguments by position only."""
    return (
        isinstance(expr, Call) and isinstance(expr.function, Name) and expr.function.id in words and not expr.keywords
    )


def has_word(expr: Expr, *words: str) -> bool:
    return any(name.id in words for name in names(expr))


def split(expr: Expr, sign: str = "+") -> list[tuple[str, Expr]]:
    """The terms of a sum, with their signs."""
    if isinstance(expr, Binary) and expr.operator in ("+", "-"):
        return split(expr.left, sign) + split(expr.right, sign if expr.operator == "+" else _flip(sign))
    if isinstance(expr, Negative):
        return split(expr.operand, _flip(sign))
    return [(sign, expr)]


def _flip(sign: str) -> str:
    return "-" if sign == "+" else "+"


# --- what the spec declares ---------------------------------------------------------------------------------------


class NotGeneric(Exception):
    """Members of a family differ by more than their index."""


@dataclass(frozen=True)
class Rule:
    """A key of the graph or of the losses: `names` as written, and the members that it declares."""

    members: tuple[Member, ...]

    @property
    def first(self) -> Member:
        return self.members[0]

    @property
    def variables(self) -> list[str]:
        return list(self.first.bound)

    def bindings(self, member: Member) -> dict[str, Expr]:
        at = member.place
        return {k: Number(at, v) if isinstance(v, int) else Name(at, v) for k, v in member.bound.items()}

    def matched(self, family: str, items: tuple[Expr, ...]) -> dict[str, Expr]:
        """Index variables for a member that is asked for by expressions."""
        pattern = next(p for p in self.first.patterns if p.family == family)
        found = {}
        for wanted, given in zip(pattern.items, items, strict=True):
            if not isinstance(wanted, Name):
                raise NotGeneric
            found[wanted.id] = given
        return found


@dataclass(frozen=True)
class Source:
    """What an expectation runs over: an input, a draw or a pool."""

    name: str
    items: tuple[Expr, ...]
    stream: str | None = None
    law: Call | None = None  # of a draw, or of a pool


class Facts:
    """Names of one stage, and what they stand for."""

    def __init__(self, graph: Graph):
        self.graph, self.resolved = graph, graph.resolved
        self.families = self.resolved.families
        self.rules: dict[str, list[Rule]] = {}
        self.losses = _rules(self.resolved.losses)
        self.values = _rules(self.resolved.values)
        for rule in (*self.values, *self.losses):
            for family in dict.fromkeys(p.family for p in rule.first.patterns):
                self.rules.setdefault(family, []).append(rule)
        self.loss_names = {p.family for rule in self.losses for p in rule.first.patterns}
        self.inputs = {p.family for m in self.resolved.inputs for p in m.patterns}
        self.draws = {p.family for m in self.resolved.draws for p in m.patterns}
        self.networks = {name.split("[")[0] for name in (*graph.networks, *graph.averages)}
        self.variables = set(self.resolved.index)

    def definition(self, name: str) -> Definition | None:
        """A function, family or block that a name in front of brackets means."""
        hidden = name in self.networks or name in self.rules or name in ops.OPERATORS
        return None if hidden else self.resolved.library.find(name, standard_only=False)

    def member(self, family: str, items: tuple[Expr, ...]) -> str | None:
        """The name of a member whose indices are known."""
        values = tuple(self.index(item) for item in items)
        return None if None in values else member_name(family, values)

    def index(self, item: Expr) -> Any:
        if isinstance(item, Name) and item.id not in self.resolved.sizes:
            return None if item.id in self.variables else item.id
        if isinstance(item, String):
            return item.value
        value = self.number(item)
        return int(value) if value is not None and float(value).is_integer() else None

    def number(self, expr: Expr, bound: dict[str, float] | None = None) -> float | None:
        """A number that is known before the run."""
        try:
            return self._number(expr, bound or {})
        except (TypeError, ValueError, ArithmeticError):
            return None

    def _number(self, expr: Expr, bound: dict[str, float]) -> float:
        match expr:
            case Number(value=value):
                return value
            case Name(id=name) if name in bound:
                return bound[name]
            case Name(id=name) if name in self.graph.constants:
                known = self.graph.constants[name].value
                if known is None:
                    raise ValueError
                return float(known) if not isinstance(known, int) else known
            case Name(id=name):
                return float(self.resolved.sizes[name]) if name in self.resolved.sizes else _raise()
            case Negative(operand=operand):
                return -self._number(operand, bound)
            case Binary(operator=sign, left=left, right=right):
                host = ops.OPERATORS[ops.BINARY[sign]].host
                assert host is not None
                return host(self._number(left, bound), self._number(right, bound))
            case Call(function=Name(id=word), arguments=arguments, keywords=()):
                values = [self._number(a, bound) for a in arguments]
                if word in ("expect", "mean", "total", "sum") and len(values) == 1:
                    return values[0] if bound else _raise()
                function = ops.OPERATORS[word].host if word in ops.OPERATORS else ops.SCALAR_FUNCTIONS.get(word)
                if function is None:
                    raise ValueError
                return function(*values)
        raise ValueError

    def several(self, expr: Expr) -> bool:
        """Whether an expression is a list, so that what is done to it is done to each entry."""
        match expr:
            case List():
                return True
            case Name(id=name):
                return name in self.families or isinstance(self.graph.values.get(name), tuple)
            case Index(value=Name(id=name)) if name in self.families:
                member = self.member(name, expr.items)
                return isinstance(self.graph.values.get(member or ""), tuple)
            case Call(function=Name(id=word)) if word not in self.networks:
                if word in ("weights", "split", "batch_split"):
                    return True
                if word in ("add", "average", "concat", "stack", "batch_concat", "max", "min", "len"):
                    return False
                return any(map(self.several, (*expr.arguments, *(v for _, v in expr.keywords))))
            case Call():
                network = self.network(expr.function)
                return network is not None and network.module.several and not network.module.output_names
            case Binary(left=left, right=right):
                return self.several(left) or self.several(right)
            case Negative(operand=value) | Attribute(value=value):
                return self.several(value)
        return False

    def network(self, function: Expr) -> Network | None:
        """The network that a call means, through its views."""
        while isinstance(function, Call) and function.arguments:
            function = function.arguments[0]
        name = function.id if isinstance(function, Name) else None
        if isinstance(function, Index) and isinstance(function.value, Name) and function.value.id in self.families:
            name = self.member(function.value.id, function.items) or next(
                iter(self.families[function.value.id].values())
            )
        name = self.graph.averages[name].source if name in self.graph.averages else name
        return self.graph.networks.get(name or "")

    def length(self, expr: Expr) -> str | None:
        """The number of samples of the first named value in an expression."""
        known = {**self.graph.inputs, **self.graph.draws, **self.graph.values}
        for e in _walk(expr):
            name = e.id if isinstance(e, Name) else None
            if isinstance(e, Index) and isinstance(e.value, Name) and e.value.id in self.families:
                name = self.member(e.value.id, e.items)
            node = known.get(name or "")
            if isinstance(node, Node) and node.type.samples is not None:
                return node.type.samples.text
        return None

    # --- sources

    def sources(self, expr: Expr) -> list[Source]:
        """Every input, draw and pool that an expression is made of, in the order in which it is met."""
        found: dict[str, Source] = {}
        self._visit(expr, found, set())
        return list(found.values())

    def _visit(self, expr: Expr, found: dict[str, Source], seen: set[str]) -> None:
        match expr:
            case Name(id=name):
                self._reach(name, (), found, seen)
            case Index(value=Name(id=name)) if name in self.families:
                self._reach(name, expr.items, found, seen)
            case Call(function=function):
                if not isinstance(function, Name | Index | Call):
                    self._visit(function, found, seen)
                for argument in (*expr.arguments, *(v for _, v in expr.keywords)):
                    self._visit(argument, found, seen)
            case _:
                for part in parts(expr):
                    self._visit(part, found, seen)

    def _reach(self, name: str, items: tuple[Expr, ...], found: dict[str, Source], seen: set[str]) -> None:
        key = f"{name}[{', '.join(map(show, items))}]" if items else name
        if key in seen:
            return
        seen.add(key)
        if name in self.inputs or name in self.draws:
            found[key] = self._source(name, items)
        elif name in self.rules and name in self.families and not items:
            for rule in self.rules[name]:
                for member in rule.members:
                    self._body(member.body, rule.bindings(member), name, (), found, seen)
        elif name in self.rules:
            self._member(name, items, found, seen)

    def _member(self, name: str, items: tuple[Expr, ...], found: dict[str, Source], seen: set[str]) -> None:
        known = self.member(name, items) if items else name
        for rule in self.rules[name]:
            for member in rule.members:
                if known in member.names:
                    self._body(member.body, rule.bindings(member), name, items, found, seen)
                    return
        if len(self.rules[name]) != 1:
            raise NotGeneric
        rule = self.rules[name][0]
        self._body(rule.first.body, rule.matched(name, items), name, items, found, seen)

    def _body(
        self,
        body: Any,
        bound: dict[str, Expr],
        name: str,
        items: tuple[Expr, ...],
        found: dict[str, Source],
        seen: set[str],
    ) -> None:
        if isinstance(body, Call) and called_any(body, "replay"):
            pool = substitute(body, bound)
            assert isinstance(pool, Call)
            found[f"{name}[{', '.join(map(show, items))}]"] = Source(name, items, law=pool)
            return
        for expr in expressions(body):
            self._visit(substitute(expr, bound), found, seen)

    def _source(self, name: str, items: tuple[Expr, ...]) -> Source:
        members = list(self.families[name].values()) if name in self.families else [name]
        known = self.member(name, items) if items else None
        if name in self.draws:
            drawn = next(m for m in self.resolved.draws if (known or members[0]) in m.names)
            assert isinstance(drawn.body, Call)
            return Source(name, items, law=drawn.body)
        streams = {self.graph.inputs[m].fields["stream"] for m in ([known] if known else members)}
        return Source(name, items, stream=str(streams.pop()) if len(streams) == 1 else None)


def _raise() -> float:
    raise ValueError


def called_any(expr: Expr, word: str) -> bool:
    return isinstance(expr, Call) and isinstance(expr.function, Name) and expr.function.id == word


def parts(expr: Expr) -> list[Expr]:
    found: list[Expr] = []
    children(expr, lambda e: found.append(e) or e)  # type: ignore[func-returns-value]
    return found


def expressions(body: Any) -> Iterator[Expr]:
    """Every expression of a body: a value's, a chain's, both sides of a loss."""
    if isinstance(body, TwoSides):
        yield from (body.discriminator, body.generator)
    elif isinstance(body, Chain):
        for line in body.lines:
            yield from _line_expressions(line)
    elif isinstance(body, Expr):
        yield body


def _line_expressions(line: Line) -> Iterator[Expr]:
    yield from line.items
    for inner in line.body:
        yield from _line_expressions(inner)


def _rules(members: tuple[Member, ...]) -> tuple[Rule, ...]:
    groups: dict[int, list[Member]] = {}
    for member in members:
        groups.setdefault(id(member.body), []).append(member)
    return tuple(Rule(tuple(group)) for group in groups.values())


# --- from the file's expressions to formulas ----------------------------------------------------------------------


@dataclass
class Writer:
    """Expressions -> pieces. Remembers the symbols and notes that it used."""

    facts: Facts
    symbols: dict[str, Piece] = field(default_factory=dict)  # constants and sizes, by name
    values: dict[str, None] = field(default_factory=dict)  # names of values that stand in formulas
    functions: dict[str, Definition] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    networks: dict[str, None] = field(default_factory=dict)
    each: str | None = None  # the index of the entries of a list, inside a sum over them
    parameters: frozenset[str] = frozenset()  # of the function that is being written

    def symbol(self, name: str, indices: Iterable[Piece] = (), above: Piece | None = None) -> Piece:
        return symbol(name, indices, above, self.facts.families)

    # --- unfolding: what has two sides, or takes expectations, is written out

    def unfolded(self, expr: Expr, side: str | None = None) -> Expr:
        """Loss families, and functions with expectations of their own, replaced by their bodies."""
        if isinstance(expr, Attribute) and expr.name in SIDES:
            return expr if self._is_loss(expr.value) else self.unfolded(expr.value, expr.name)
        if side and self._is_loss(expr) and self._sided(expr):
            return Attribute(expr.at, expr, side)
        if isinstance(expr, Call) and isinstance(expr.function, Name):
            definition = self.facts.definition(expr.function.id)
            if definition is not None and definition.kind == "families":
                return self._family(definition, expr, side or "discriminator")
            if (
                definition is not None
                and definition.kind == "functions"
                and has_word(definition.read(), "expect", "total")
            ):
                return self.unfolded(substitute(definition.read(), self._bound(definition, expr)), side)
        return children(expr, lambda e: self.unfolded(e, side))

    def _family(self, definition: Definition, call: Call, side: str) -> Expr:
        body = definition.read()
        whole = body.discriminator if side == "discriminator" else body.generator
        return _without_score_means(substitute(whole, self._bound(definition, call)))

    def _bound(self, definition: Definition, call: Call) -> dict[str, Expr]:
        bound = definition.bind(call.arguments, dict(call.keywords))
        for name, default in definition.parameters:
            if name not in bound and default is not None:
                bound[name] = substitute(default, bound)
        return bound

    def _is_loss(self, expr: Expr) -> bool:
        name = expr.value if isinstance(expr, Index) else expr
        return isinstance(name, Name) and name.id in self.facts.loss_names and name.id not in self.parameters

    def _sided(self, expr: Expr) -> bool:
        name = expr.value if isinstance(expr, Index) else expr
        return isinstance(name, Name) and any(key.split("[")[0] == name.id for key in self.facts.graph.sided)

    # --- settling: signs outside, known zeros gone

    def settled(self, expr: Expr, dropping: bool = True) -> Expr:
        """The same in the form that papers print."""
        e = children(expr, lambda inner: self.settled(inner, dropping))
        at = e.at
        if isinstance(e, Number) and e.value < 0:
            return Negative(at, Number(at, -e.value))
        if isinstance(e, Negative) and isinstance(e.operand, Negative):
            return e.operand.operand
        if isinstance(e, Binary):
            return self._settled_binary(e, dropping)
        if called(e, "softplus"):
            assert isinstance(e, Call)
            (v,) = e.arguments
            self.notes["sigma"] = None
            flipped = isinstance(v, Negative)
            sigma = Call(at, Name(at, "sigmoid"), (v.operand if isinstance(v, Negative) else v,))
            seen: Expr = sigma if flipped else Binary(at, "-", Number(at, 1), sigma)
            return Negative(at, Call(at, Name(at, "log"), (seen,)))
        if (
            called(e, "expect", "total", "mean", "sum", "add", "average")
            and isinstance(e, Call)
            and len(e.arguments) == 1
        ):
            inner = _signed(e.arguments[0])
            if isinstance(inner, Negative):
                return Negative(at, dataclasses.replace(e, arguments=(inner.operand,)))
        if called(e, "lerp") and isinstance(e, Call) and len(e.arguments) == 3:
            a, b, t = e.arguments
            if self.facts.number(t) in (0, 1):
                return b if self.facts.number(t) else a
            rest = Binary(at, "-", Number(at, 1), t)
            return Binary(at, "+", Binary(at, "*", rest, a), Binary(at, "*", t, b))
        if called(e, "add") and isinstance(e, Call) and isinstance(e.arguments[0], List) and e.arguments[0].items:
            return functools.reduce(lambda total, item: Binary(at, "+", total, item), e.arguments[0].items)
        return e

    def _settled_binary(self, e: Binary, dropping: bool) -> Expr:
        at, left, right = e.at, e.left, e.right
        if e.operator in ("*", "/"):
            left, right = _signed(left), _signed(right)
        if e.operator in ("+", "-"):
            if _is_zero(right):
                return left
            if _is_zero(left):
                return right if e.operator == "+" else self.settled(Negative(at, right), dropping)
            if isinstance(right, Negative):
                return Binary(at, "-" if e.operator == "+" else "+", left, right.operand)
        if e.operator in ("*", "/"):
            if dropping and e.operator == "*" and any(self.facts.number(f) == 0 for f in (left, right)):
                return Number(at, 0)
            if isinstance(left, Negative):
                return self.settled(Negative(at, Binary(at, e.operator, left.operand, right)), dropping)
            if isinstance(right, Negative):
                return self.settled(Negative(at, Binary(at, e.operator, left, right.operand)), dropping)
            if isinstance(right, Number) and right.value == 1:
                return left
            if e.operator == "*" and isinstance(left, Number) and left.value == 1:
                return right
        return e

    # --- writing

    def terms(self, expr: Expr) -> tuple[tuple[str, Piece], ...]:
        return tuple((sign, self.piece(term)) for sign, term in split(expr))

    def piece(self, expr: Expr) -> Piece:
        match expr:
            case Number(value=value):
                return number(value)
            case String(value=value):
                return upright(value)
            case Truth(value=value):
                return upright(str(value))
            case Name(id=name):
                return self._name(name)
            case Index():
                return self._index(expr)
            case Attribute():
                return self._attribute(expr)
            case Binary(operator="+" | "-") | Negative():
                return joined(self.terms(expr))
            case Binary():
                return self._binary(expr)
            case Call():
                return self._call(expr)
            case List(items=items):
                inside = [self.piece(i) for i in items]
                return Piece(f"[{', '.join(p.latex for p in inside)}]", f"[{', '.join(p.text for p in inside)}]")
            case IfElse():
                return self._cases(expr.test, expr.then, expr.otherwise)
            case Compare():
                return self._compare(expr)
            case Logic():
                sign = (r" \land ", " ∧ ") if expr.operator == "and" else (r" \lor ", " ∨ ")
                inside = [self.piece(o).within(3) for o in expr.operands]
                return Piece(sign[0].join(p.latex for p in inside), sign[1].join(p.text for p in inside), 2)
            case Not(operand=operand):
                inner = self.piece(operand).within(3)
                return Piece(rf"\lnot {inner.latex}", f"¬{inner.text}", 3)
        return Piece(*(upright(show(expr)).latex, show(expr)))

    def _name(self, name: str) -> Piece:
        facts = self.facts
        if name in self.parameters or name in facts.variables:
            return self.symbol(name)
        if name in facts.loss_names:
            return self.loss(name, (), None)
        if name in facts.networks:
            return self.network(Name(facts.resolved.spec.place, name))
        if name in facts.graph.constants:
            self.symbols[name] = constant(name)
            return self.symbols[name]
        if name in facts.resolved.sizes:
            self.symbols[name] = self.symbol(name)
            return self.symbols[name]
        if name in ops.CLOCKS or name == "N":
            return upright(name) if len(name) > 1 else Piece("N", "N")
        if name in facts.rules:
            self.values[name] = None
        several = self.each is not None and facts.several(Name(facts.resolved.spec.place, name))
        return self.symbol(name, (self.symbol(self.each or ""),) if several else ())

    def index_piece(self, item: Expr) -> Piece:
        if isinstance(item, Slice):
            self.notes["half"] = None
            low, high = (self.piece(side) if side else Piece("", "") for side in (item.low, item.high))
            return Piece(f"{low.latex}:{high.latex}", f"{low.text}:{high.text}")
        if isinstance(item, Name) and item.id not in self.facts.resolved.sizes:
            return spelled(item.id)
        return self.piece(simple(item))

    def _index(self, expr: Index) -> Piece:
        items = [self.index_piece(i) for i in expr.items]
        if isinstance(expr.value, Name):
            name = expr.value.id
            if name in self.facts.families and name not in self.parameters:
                if name in self.facts.loss_names:
                    return self.loss(name, expr.items, None)
                if name in self.facts.networks:
                    return self.network(expr)
                if name in self.facts.rules:
                    self.values[name] = None
                if self.each is not None and self.facts.several(expr):
                    items.append(self.symbol(self.each))
                return self.symbol(name, items)
            if name in self.facts.rules and name not in self.facts.loss_names:
                self.values[name] = None
            return self.symbol(name, items)
        inner = self.piece(expr.value).within(ATOM)
        return Piece(
            f"{{{inner.latex}}}_{{{','.join(i.latex for i in items)}}}", inner.text + _below([i.text for i in items])
        )

    def _attribute(self, expr: Attribute) -> Piece:
        value = expr.value
        if expr.name in SIDES and self._is_loss(value):
            name, items = (value.value, value.items) if isinstance(value, Index) else (value, ())
            assert isinstance(name, Name)
            return self.loss(name.id, items, expr.name)
        if expr.name not in ("channels", "height", "width", "length", "shape"):  # one of several outputs
            made = self.piece(value).within(ATOM)
            output = self.symbol(expr.name)
            return Piece(f"{{{made.latex}}}_{{{output.latex}}}", made.text + _below([output.text]))
        return operator(expr.name, self.piece(value))

    def loss(self, name: str, items: tuple[Expr, ...], side: str | None) -> Piece:
        """`ℒ_adv^gen`."""
        subs = [upright(name), *map(self.index_piece, items)]
        if not items and name in self.facts.families and self.each is not None:
            subs += [spelled(v) for v in self.each.split(",")]
        above = (rf"^{{\mathrm{{{SIDES[side]}}}}}", f"^{SIDES[side]}") if side else ("", "")
        text = "_".join(["ℒ", name]) + _below([s.text for s in subs[1:]]) + above[1]
        return Piece(rf"\mathcal{{L}}_{{{','.join(s.latex for s in subs)}}}{above[0]}", text)

    def _binary(self, expr: Binary) -> Piece:
        if expr.operator == "**":
            base, power = self.piece(expr.left), self.piece(expr.right)
            held = base.within(ATOM)
            return Piece(f"{_raisable(held)}^{{{power.latex}}}", f"{held.text}{_raised(power)}", POWER)
        left, right = self.piece(expr.left), self.piece(expr.right)
        if expr.operator == "*":
            return product(left, right)
        if expr.operator == "/":
            return fraction(left, right)
        if expr.operator == "//":
            whole = fraction(left, right)
            return Piece(
                rf"\lfloor {left.within(PRODUCT).latex} / {right.within(POWER).latex} \rfloor", f"⌊{whole.text}⌋"
            )
        a, b = left.within(PRODUCT), right.within(POWER)
        return Piece(rf"{a.latex} \bmod {b.latex}", f"{a.text} mod {b.text}", PRODUCT)

    def _compare(self, expr: Compare) -> Piece:
        found = self.piece(expr.operands[0]).within(SUM)
        latex, text = found.latex, found.text
        for sign, operand in zip(expr.operators, expr.operands[1:], strict=True):
            right = self.piece(operand).within(SUM)
            latex, text = f"{latex} {SIGNS[sign][0]} {right.latex}", f"{text} {SIGNS[sign][1]} {right.text}"
        return Piece(latex, text, 4)

    def _cases(self, test: Expr, then: Expr, otherwise: Expr) -> Piece:
        """A choice; one inside the other branch continues it."""
        latex, text = [], []
        rest: tuple[Expr, Expr, Expr] | None = (test, then, otherwise)
        while rest is not None:
            test, then, otherwise = rest
            a, c = self.piece(then), self.piece(test)
            latex.append(rf"{a.latex} & \text{{if }} {c.latex}")
            text.append(f"{a.text} if {c.text}")
            rest = _choice(otherwise)
        b = self.piece(otherwise)
        lines = r" \\ ".join([*latex, rf"{b.latex} & \text{{otherwise}}"])
        return Piece(rf"\begin{{cases}} {lines} \end{{cases}}", f"{{{', '.join([*text, f'else {b.text}'])}}}")

    # --- networks

    def network(self, function: Expr, above: tuple[Piece, ...] = (), each: bool = False) -> Piece:
        """The letter of a network: `D_X`, `E_0`, `G^{eval}`."""
        name, items = (function.value, function.items) if isinstance(function, Index) else (function, ())
        assert isinstance(name, Name)
        self.networks[name.id] = None
        subs = [self.index_piece(i) for i in items]
        if each and self.each:
            subs.append(spelled(self.each))
        mark = Piece(", ".join(a.latex for a in above), ", ".join(a.text for a in above)) if above else None
        return self.symbol(name.id, subs, mark)

    def _callee(self, function: Expr, above: tuple[Piece, ...] = (), each: bool = False) -> Piece:
        if not isinstance(function, Call) or not isinstance(function.function, Name):
            return self.network(function, above, each)
        word, (inner, *rest) = function.function.id, function.arguments
        rest += [v for _, v in function.keywords]
        if word == "frozen":
            self.notes["frozen"] = None
            made = self._callee(inner, above, each)
            return Piece(rf"\mathrm{{sg}}\left[{made.latex}\right]", f"sg[{made.text}]")
        if word == "upto":
            made = self._callee(inner, above, each)
            layer = upright(str(rest[0].value if isinstance(rest[0], String) else rest[0]))
            return Piece(f"{{{made.latex}}}_{{{layer.latex}}}", f"{made.text}_{_braced(layer.text)}")
        mark = {"evaluation": "eval", "training": "train"}.get(word, word)
        if word in ("statistics", "given"):
            return self._callee(
                inner, (*above, upright(rest[0].value) if isinstance(rest[0], String) else self.piece(rest[0])), each
            )
        return self._callee(inner, (*above, upright(mark)), each)

    # --- calls

    def _call(self, expr: Call) -> Piece:
        if self._calls_network(expr.function):
            each = self.each is not None and self.facts.several(expr)
            return self._applied(self._callee(expr.function, each=each), expr)
        if not isinstance(expr.function, Name):
            return self._applied(self.piece(expr.function).within(ATOM), expr)
        word = expr.function.id
        method = getattr(self, f"_write_{word}", None)
        if method is not None and word not in self.facts.resolved.library.own:
            made = method(expr)
            if made is not None:
                return made  # type: ignore[no-any-return]
        definition = self.facts.definition(word)
        if definition is not None and definition.kind == "functions":
            self.functions[word] = definition
        if word in self.parameters:
            return self._applied(self.symbol(word), expr)
        return operator(word, *self._arguments(expr))

    def _calls_network(self, function: Expr) -> bool:
        if isinstance(function, Call):
            inside = isinstance(function.function, Name) and function.function.id in ops.VIEWS and function.arguments
            return bool(inside) and self._calls_network(function.arguments[0])
        name = function.value if isinstance(function, Index) else function
        return isinstance(name, Name) and name.id in self.facts.networks

    def _arguments(self, expr: Call) -> list[Piece]:
        given = [self.piece(a) for a in expr.arguments]
        for key, value in expr.keywords:
            made = self.piece(value)
            given.append(Piece(rf"\mathrm{{{escape(key)}}} = {made.latex}", f"{key} = {made.text}"))
        return given

    def _applied(self, head: Piece, expr: Call) -> Piece:
        given = [self.piece(a) for a in (*expr.arguments, *(v for _, v in expr.keywords))]
        left, right = (
            (r"\left(", r"\right)") if any(r"\left" in g.latex or r"\frac" in g.latex for g in given) else ("(", ")")
        )
        return Piece(
            f"{head.latex}{left}{', '.join(g.latex for g in given)}{right}",
            f"{head.text}({', '.join(g.text for g in given)})",
        )

    def _over(self, expr: Expr) -> Piece:
        """The subscript of an expectation: `x ∼ p_data, z ∼ N(0, I)`; members of one stream are drawn together."""
        groups: dict[str, list[Source]] = {}
        for source in self.facts.sources(expr):
            groups.setdefault(
                f"stream {source.stream}" if source.stream else f"{source.name} {list(map(show, source.items))}", []
            ).append(source)
        made = [self._drawn(group) for group in groups.values()]
        return Piece(r",\ ".join(p.latex for p in made), ", ".join(p.text for p in made))

    def _drawn(self, group: list[Source]) -> Piece:
        letters = [self.symbol(s.name, map(self.index_piece, s.items)) for s in group]
        name, first = letters[0], group[0]
        if len(letters) > 1:
            name = Piece(f"({', '.join(p.latex for p in letters)})", f"({', '.join(p.text for p in letters)})")
        if first.law is not None:
            law = self._law(first.law)
        else:
            stream = {None: letters[0], "data": upright("data")}.get(first.stream, self.symbol(str(first.stream)))
            law = Piece(f"p_{{{stream.latex}}}", f"p_{_braced(stream.text)}")
        return Piece(rf"{name.latex} \sim {law.latex}", f"{name.text} ∼ {law.text}")

    def _law(self, call: Call) -> Piece:
        """The distribution of a draw; sizes are left out."""
        assert isinstance(call.function, Name)
        at, given = call.at, dict(call.keywords)
        zero, one = Number(at, 0), Number(at, 1)
        kind, arguments = call.function.id, call.arguments
        if kind == "normal":
            mean, std = given.get("mean", zero), given.get("std", one)
            spread = (
                Piece("I", "I")
                if self.facts.number(std) == 1
                else product(self.piece(Binary(at, "**", std, Number(at, 2))), Piece("I", "I"))
            )
            return calligraphic("N", self.piece(mean), spread)
        if kind == "uniform":
            return calligraphic("U", self.piece(given.get("low", zero)), self.piece(given.get("high", one)))
        if kind == "integer":
            last = simple(Binary(at, "-", arguments[1], one))
            return calligraphic(
                "U", self.piece(arguments[0]), Piece(r"\dots", "…"), self.piece(last), brackets=("{", "}")
            )
        if kind == "permutation":
            count = self.piece(arguments[0]) if arguments else Piece("N", "N")
            return Piece(rf"\mathfrak{{S}}_{{{count.latex}}}", f"𝔖_{_braced(count.text)}")
        return operator("Bernoulli", self.piece(arguments[0])) if kind == "bernoulli" else self._write_replay(call)

    def _write_expect(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 1:
            return None
        over, inner = self._over(expr.arguments[0]), self.piece(expr.arguments[0])
        sub = (f"_{{{over.latex}}}", f"_{{{over.text}}}") if over.text else ("", "")
        return Piece(rf"\mathbb{{E}}{sub[0]}\left[{inner.latex}\right]", f"𝔼{sub[1]}[{inner.text}]")

    def _write_total(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 1:
            return None
        self.notes["total"] = None
        over, inner = self._over(expr.arguments[0]), self.piece(expr.arguments[0]).within(PRODUCT)
        length = self.facts.length(expr.arguments[0])
        count = self.piece(parse(length, expr.at)) if length else Piece("N", "N")
        return Piece(
            rf"\sum_{{{over.latex}}}^{{{count.latex}}} {inner.latex}",
            f"Σ^{_braced(count.text)}_{{{over.text}}} {inner.text}",
            PRODUCT,
        )

    def _write_add(self, expr: Call) -> Piece | None:
        (inner,) = expr.arguments
        if isinstance(inner, List):
            return joined([("+", self.piece(item)) for item in inner.items])
        return self._sum(inner)

    def _write_average(self, expr: Call) -> Piece | None:
        (inner,) = expr.arguments
        if isinstance(inner, List):
            return fraction(joined([("+", self.piece(item)) for item in inner.items]), number(len(inner.items)))
        made, count = self._sum(inner), self._count(inner)
        return product(Piece(rf"\tfrac{{1}}{{{count}}}", f"1/{count}"), made)

    def _sum(self, inner: Expr) -> Piece:
        """A sum over the entries of a list, or the members of a family."""
        weights = next((e for e in _walk(inner) if called_any(e, "weights")), None)
        family = self._family_of(inner)
        before = self.each
        try:
            if isinstance(weights, Call):
                over = self._weights(weights)
                sub = (rf"W \in {over.latex}", f"W ∈ {over.text}")
            elif family is not None:
                variables, sets = self._range(family)
                self.each = ",".join(variables)
                sub = (r",\ ".join(s.latex for s in sets), ", ".join(s.text for s in sets))
            else:
                self.each = next(letter for letter in "klmij" if letter not in self.facts.variables)
                sub = (self.each, self.each)
            held = self.piece(inner).within(PRODUCT)
        finally:
            self.each = before
        return Piece(rf"\sum_{{{sub[0]}}} {held.latex}", f"Σ_{_braced(sub[1])} {held.text}", PRODUCT)

    def _family_of(self, inner: Expr) -> str | None:
        return next(
            (
                n.id
                for n in names(inner)
                if n.id in self.facts.families and n.id not in self.facts.networks and not _picked(inner, n)
            ),
            None,
        )

    def _range(self, family: str) -> tuple[list[str], list[Piece]]:
        """Index letters of a family, and `d ∈ {0, 1}` for each."""
        rules = self.facts.rules.get(family, [])
        keys = list(self.facts.families[family])
        first = next((p for rule in rules for p in rule.first.patterns if p.family == family), None)
        made = []
        free = [letter for letter in "klmij" if letter not in self.facts.variables]
        for axis in range(len(keys[0])):
            item = first.items[axis] if first and axis < len(first.items) else None
            name = item.id if isinstance(item, Name) and item.id in self.facts.variables else free[axis]
            made.append((name, index_set(name, list(dict.fromkeys(key[axis] for key in keys)))))
        return [name for name, _ in made], [piece for _, piece in made]

    def _count(self, inner: Expr) -> int:
        family = self._family_of(inner)
        if family is not None:
            return len(self.facts.families[family])
        for e in _walk(inner):
            if (
                isinstance(e, Call)
                and self.facts.several(e)
                and (network := self.facts.network(e.function)) is not None
            ):
                return len(network.module.outputs)
            if isinstance(e, Name) and isinstance(self.facts.graph.values.get(e.id), tuple):
                return len(self.facts.graph.values[e.id])
        return 1

    def _weights(self, expr: Call) -> Piece:
        self.notes["theta"] = None
        network = self.piece(expr.arguments[0])
        kinds = ", ".join(a.id for a in expr.arguments[1:] if isinstance(a, Name))
        above = (rf"^{{{upright(kinds).latex}}}", f"^{{{kinds}}}") if kinds else ("", "")
        return Piece(rf"\theta_{{{network.latex}}}{above[0]}", f"θ_{_braced(network.text)}{above[1]}")

    def _write_weights(self, expr: Call) -> Piece:
        return Piece("W", "W")

    # --- norms and distances

    def _norm(self, inner: Expr, order: int, square: bool = False, mean: bool = False) -> Piece:
        if mean:
            self.notes["n"] = None
        else:
            self.notes["norm"] = None
        body = self.piece(inner)
        above = ("^{2}", "²") if square else ("", "")
        scale = (r"\tfrac{1}{n}", "/n") if mean else ("", "")
        text = f"‖{body.text}‖{'₁' if order == 1 else '₂'}{above[1]}{scale[1]}"
        return Piece(
            rf"{scale[0]}\left\lVert {body.latex} \right\rVert_{{{order}}}{above[0]}", text, PRODUCT if mean else ATOM
        )

    def _write_l1(self, expr: Call) -> Piece | None:
        return self._norm(_difference(expr), 1, mean=True) if len(expr.arguments) == 2 else None

    def _write_l2(self, expr: Call) -> Piece | None:
        return self._norm(_difference(expr), 2, square=True, mean=True) if len(expr.arguments) == 2 else None

    def _write_norm(self, expr: Call) -> Piece | None:
        return self._norm(expr.arguments[0], 2) if len(expr.arguments) == 1 and not expr.keywords else None

    def _write_sum(self, expr: Call) -> Piece | None:
        return self._reduced(expr, mean=False)

    def _write_mean(self, expr: Call) -> Piece | None:
        return self._reduced(expr, mean=True)

    def _reduced(self, expr: Call, mean: bool) -> Piece | None:
        """A sum or mean of squares or absolute values is a norm."""
        if len(expr.arguments) != 1 or expr.keywords:
            return None
        (inner,) = expr.arguments
        if (
            isinstance(inner, Binary)
            and inner.operator == "**"
            and isinstance(inner.right, Number)
            and inner.right.value == 2
        ):
            return self._norm(inner.left, 2, square=True, mean=mean)
        if called(inner, "square") and isinstance(inner, Call):
            return self._norm(inner.arguments[0], 2, square=True, mean=mean)
        if called(inner, "abs") and isinstance(inner, Call):
            return self._norm(inner.arguments[0], 1, mean=mean)
        return None

    def _write_kl_normal(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 2:
            return None
        mean, log = (self.piece(a) for a in expr.arguments)
        left = rf"\mathcal{{N}}({mean.latex}, e^{{{log.latex}}})", f"N({mean.text}, exp({log.text}))"
        return _divergence(Piece(*left), Piece(r"\mathcal{N}(0, I)", "N(0, I)"))

    def _write_kl_bernoulli(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 2:
            return None
        p, q = (operator("Bernoulli", self.piece(a)) for a in expr.arguments)
        return _divergence(p, q)

    def _write_bce(self, expr: Call) -> Piece | None:
        return operator("BCE", *self._arguments(expr)) if len(expr.arguments) == 2 else None

    def _write_bce_logits(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 2:
            return None
        self.notes["sigma"] = None
        score, target = (self.piece(a) for a in expr.arguments)
        return operator("BCE", Piece(rf"\sigma({score.latex})", f"σ({score.text})"), target)

    def _write_cross_entropy(self, expr: Call) -> Piece | None:
        return operator("CE", *self._arguments(expr))

    # --- gradients

    def _write_stop(self, expr: Call) -> Piece:
        self.notes["stop"] = None
        return operator("sg", self.piece(expr.arguments[0]), brackets=("[", "]"))

    def _write_reverse(self, expr: Call) -> Piece:
        below = self.piece(expr.arguments[1]) if len(expr.arguments) > 1 else None
        return operator("GRL", self.piece(expr.arguments[0]), below=below)

    def _write_grad(self, expr: Call) -> Piece | None:
        given = dict(zip(("y", "x"), expr.arguments, strict=False)) | dict(expr.keywords)
        y, x = self.piece(given["y"]), self.piece(given["x"])
        held = y.within(ATOM)
        return Piece(rf"\nabla_{{{x.latex}}} {held.latex}", f"∇_{_braced(x.text)} {held.text}", PREFIX)

    def _write_replay(self, expr: Call) -> Piece:
        self.notes["pool"] = None
        given = dict(zip(("v", "size", "swap", "per"), expr.arguments, strict=False)) | dict(expr.keywords)
        return operator("Pool", self.piece(given["v"]), below=self.piece(given["size"]))

    # --- elementwise

    def _write_exp(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0])
        return Piece(rf"\exp\left({inner.latex}\right)", f"exp({inner.text})")

    def _write_log(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0])
        held = inner.within(ATOM)
        return Piece(rf"\log {held.latex}", f"log{'' if held.text.startswith('(') else ' '}{held.text}", PRODUCT)

    def _write_sqrt(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0])
        return Piece(rf"\sqrt{{{inner.latex}}}", f"√{inner.within(ATOM).text}")

    def _write_square(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0]).within(ATOM)
        return Piece(f"{_raisable(inner)}^{{2}}", f"{inner.text}²", POWER)

    def _write_abs(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0])
        return Piece(rf"\left|{inner.latex}\right|", f"|{inner.text}|")

    def _write_sigmoid(self, expr: Call) -> Piece:
        self.notes["sigma"] = None
        inner = self.piece(expr.arguments[0])
        return Piece(rf"\sigma({inner.latex})", f"σ({inner.text})")

    def _write_relu(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0])
        return Piece(rf"\max(0,\ {inner.latex})", f"max(0, {inner.text})")

    def _write_where(self, expr: Call) -> Piece | None:
        return self._cases(*expr.arguments) if len(expr.arguments) == 3 else None

    def _write_take(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 2 or expr.keywords:
            return None
        value, order = self.piece(expr.arguments[0]).within(ATOM), self.piece(expr.arguments[1])
        return Piece(f"{{{value.latex}}}_{{{order.latex}}}", f"{value.text}[{order.text}]")

    _write_select = _write_take

    def _write_concat(self, expr: Call) -> Piece | None:
        items = (
            expr.arguments[0].items
            if len(expr.arguments) == 1 and isinstance(expr.arguments[0], List)
            else expr.arguments
        )
        inside = [self.piece(i) for i in items]
        return Piece(rf"\left[{';'.join(p.latex for p in inside)}\right]", f"[{'; '.join(p.text for p in inside)}]")

    _write_batch_concat = _write_concat


def _choice(expr: Expr) -> tuple[Expr, Expr, Expr] | None:
    if isinstance(expr, IfElse):
        return expr.test, expr.then, expr.otherwise
    if called(expr, "where") and isinstance(expr, Call) and len(expr.arguments) == 3:
        test, then, otherwise = expr.arguments
        return test, then, otherwise
    return None


def _raisable(base: Piece) -> str:
    """The base of a power; one that has an exponent already is a group."""
    return f"{{{base.latex}}}" if "^" in base.latex else base.latex


def _raised(power: Piece) -> str:
    digits = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return power.text.translate(digits) if power.text.isdigit() else f"^{_braced(power.text)}"


def _signed(expr: Expr) -> Expr:
    """A sum of nothing but negative terms, with its sign in front."""
    terms = split(expr)
    if isinstance(expr, Negative) or len(terms) == 1 or any(sign == "+" for sign, _ in terms):
        return expr
    at = expr.at
    return Negative(at, functools.reduce(lambda total, term: Binary(at, "+", total, term), [term for _, term in terms]))


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, Number) and expr.value == 0


def _difference(expr: Call) -> Expr:
    return Binary(expr.at, "-", *expr.arguments)


def _divergence(p: Piece, q: Piece) -> Piece:
    return Piece(rf"D_{{\mathrm{{KL}}}}\left({p.latex} \,\middle\Vert\, {q.latex}\right)", f"D_KL({p.text} ‖ {q.text})")


def _walk(expr: Expr) -> Iterator[Expr]:
    yield expr
    for part in parts(expr):
        yield from _walk(part)


def _picked(expr: Expr, name: Name) -> bool:
    """Whether a family's name stands in front of an index."""
    return any(isinstance(e, Index) and e.value is name for e in _walk(expr))


def _without_score_means(expr: Expr) -> Expr:
    """`expect(mean(v))` of a family's score is printed as the mean over both."""

    def change(e: Expr) -> Expr:
        made = children(e, change)
        if called(made, "expect") and isinstance(made, Call) and called(made.arguments[0], "mean"):
            inner = made.arguments[0]
            assert isinstance(inner, Call)
            return dataclasses.replace(made, arguments=inner.arguments)
        return made

    return change(expr)


def constant(name: str) -> Piece:
    """A weight: Greek letters and letters as they are, words under a λ."""
    head = name.split("_")[0]
    if head in GREEK or len(head) == 1:
        return symbol(name)
    return Piece(rf"\lambda_{{{upright(name).latex}}}", f"λ_{name}")


def index_set(name: str, values: list[Any]) -> Piece:
    shown = [spelled(str(v)) if isinstance(v, str) else number(v) for v in values]
    if len(shown) > 4:
        shown = [*shown[:2], Piece(r"\dots", "…"), shown[-1]]
    return _set(spelled(name), shown)


def _set(letter: Piece, members: list[Piece]) -> Piece:
    inside = ", ".join(p.latex for p in members), ", ".join(p.text for p in members)
    return Piece(rf"{letter.latex} \in \{{{inside[0]}\}}", f"{letter.text} ∈ {{{inside[1]}}}")


# --- sections -----------------------------------------------------------------------------------------------------


class _Stage:
    """The sections of one stage."""

    def __init__(self, graph: Graph):
        self.graph, self.facts = graph, Facts(graph)
        self.writer = Writer(self.facts)
        self.reach = Reach(graph)
        self.moves = {move.name: move for move in _moves(self.facts.resolved.schedule)}
        self.shown_losses: dict[str, None] = {}
        self.maps: dict[str, str] = {}

    def sections(self) -> tuple[Section, ...]:
        found = [self._objective(phase) for phase in self.graph.phases()]
        found += [section for rule in self.facts.losses if (section := self._loss(rule)).equations]
        values = self._values()
        functions = self._functions()
        found += [Section("where", tuple(values), kind="where")] if values else []
        found += [Section("functions", tuple(functions), kind="functions")] if functions else []
        table = self._table()
        found += [Section("with", tuple(table), kind="with")] if table else []
        notes = tuple(self._notes())
        return (*found, Section("notes", (), notes, "notes")) if notes else tuple(found)

    # --- objectives

    def _objective(self, phase: Phase) -> Section:
        move = self.moves[phase.name]
        at = phase.place
        bound: dict[str, Expr] = {
            k: Number(at, v) if isinstance(v, int) else Name(at, v) for k, v in move.bound.items()
        }
        terms = []
        for term in phase.terms:
            sign = "-" if term.weight.startswith("-") else "+"
            weight = substitute(parse(term.weight.removeprefix("-"), at), bound)
            loss = self.writer.unfolded(substitute(parse(term.loss, at), bound))
            if isinstance(weight, Number) and weight.value == 1:
                piece = self.writer.piece(loss)
            else:
                piece = product(self.writer.piece(weight), self.writer.piece(loss).within(PRODUCT))
            terms.append((sign, piece))
        trained = self.letters(phase.networks)
        player = self.writer.symbol(phase.name.split("[")[0], map(spelled, _inside(phase.name)))
        left = Piece(
            rf"\min_{{{trained.latex}}} \mathcal{{J}}_{{{player.latex}}}",
            f"min_{_braced(trained.text)} J_{player.text}",
        )
        when = self.writer.piece(substitute(move.when, bound)) if move.when is not None else None
        formula = Equation(left, tuple(terms), condition=when, word="when")
        return Section(self._heading(phase, move), (formula,), kind="objective")

    def _heading(self, phase: Phase, move: Move) -> str:
        title = phase.name if phase.player == phase.name else f"{phase.name} (a move of {phase.player})"
        return (
            f"{title}, {self.writer.piece(move.repeat).text} times an iteration" if move.repeat is not None else title
        )

    def letters(self, networks: Iterable[str]) -> Piece:
        """Networks as letters; of a long family the first and the last."""
        families: dict[str, list[str]] = {}
        for name in networks:
            families.setdefault(name.split("[")[0], []).append(name)
        made: list[Piece] = []
        for family, members in families.items():
            self.writer.networks[family] = None
            shown = [self.writer.symbol(family, map(spelled, _inside(name))) for name in members]
            made += shown if len(shown) < 4 else [shown[0], Piece(r"\dots", "…"), shown[-1]]
        return Piece(r",\,".join(p.latex for p in made), ", ".join(p.text for p in made))

    # --- losses

    def _loss(self, rule: Rule) -> Section:
        """A loss's definition: once for a whole rule where its members differ by their index only."""
        title = rule.first.patterns[0].family if rule.variables else rule.first.name
        if rule.variables and len(rule.members) > 1:
            kept = dataclasses.replace(
                self.writer,
                symbols=dict(self.writer.symbols),
                values=dict(self.writer.values),
                notes=dict(self.writer.notes),
            )
            try:
                items = rule.first.patterns[0].items
                return Section(title, tuple(self._define(rule, rule.first, items, {}, self._condition(rule))))
            except NotGeneric:
                self.writer.values, self.writer.symbols, self.writer.notes = kept.values, kept.symbols, kept.notes
        made: list[Equation] = []
        for member in rule.members:
            bound = rule.bindings(member)
            items = tuple(substitute(i, bound) for i in member.patterns[0].items)
            made += self._define(rule, member, items, bound, None)
        return Section(title, tuple(made))

    def _define(
        self, rule: Rule, member: Member, items: tuple[Expr, ...], bound: dict[str, Expr], condition: Piece | None
    ) -> list[Equation]:
        name, body = member.patterns[0].family, member.body
        if member.name not in self.graph.sided:
            whole = self.writer.unfolded(substitute(body, bound))
            return [
                Equation(
                    self.writer.loss(name, items, None),
                    self.writer.terms(self.writer.settled(whole)),
                    condition=condition,
                )
            ]
        for each in rule.members:
            self._note_maps(each)
        sides = {side: self._side(body, side, bound) for side in SIDES}
        if not isinstance(body, TwoSides) and self._zero_sum(body):
            if condition is not None:
                raise NotGeneric
            return self._game(member, name, items, sides, condition)
        return [
            Equation(
                self.writer.loss(name, items, side), self.writer.terms(self.writer.settled(expr)), condition=condition
            )
            for side, expr in sides.items()
        ]

    def _side(self, body: Any, side: str, bound: dict[str, Expr]) -> Expr:
        whole = getattr(body, side) if isinstance(body, TwoSides) else body
        return self.writer.unfolded(substitute(whole, bound), side)

    def _game(
        self, member: Member, name: str, items: tuple[Expr, ...], sides: dict[str, Expr], condition: Piece | None
    ) -> list[Equation]:
        """A zero-sum loss: one value, which one player lowers and the other raises."""
        value = self.writer.symbol("V", [upright(name), *map(self.writer.index_piece, items)])
        value = Piece(value.latex, f"V_{name}" + _below([self.writer.index_piece(i).text for i in items]))
        generator, discriminator = (self._players(member.name, side) for side in ("generator", "discriminator"))
        left = Piece(
            rf"\min_{{{generator.latex}}} \max_{{{discriminator.latex}}} {value.latex}",
            f"min_{_braced(generator.text)} max_{_braced(discriminator.text)} {value.text}",
        )
        whole = self.writer.settled(Negative(member.place, sides["discriminator"]))
        return [
            Equation(left, self.writer.terms(whole), condition=condition),
            Equation(self.writer.loss(name, items, "discriminator"), (("-", value),)),
            Equation(
                self.writer.loss(name, items, "generator"), self.writer.terms(self.writer.settled(sides["generator"]))
            ),
        ]

    def _players(self, loss: str, side: str) -> Piece:
        """Networks that some phase trains by a side of a loss, and that its gradient reaches."""
        reached = self.reach.parameters([self.graph.losses[f"{loss}.{side}"]])
        found: dict[str, None] = {}
        for phase in self.graph.phases():
            if self._reads(phase.objective, f"{loss}.{side}"):
                found |= {n: None for n in phase.networks if not reached.isdisjoint(self.graph.parameters([n]))}
        return self.letters(found) if found else Piece(r"\theta", "θ")

    def _reads(self, objective: Node, loss: str) -> bool:
        stack, seen = [objective], set()
        while stack:
            node = stack.pop()
            if node.op == "loss" and node.name == loss:
                return True
            if id(node) not in seen:
                seen.add(id(node))
                stack += node.args
        return False

    def _zero_sum(self, body: Expr) -> bool:
        """Whether the generator's side is the other's turned round, as far as the fake's score goes."""
        match body:
            case Call(function=Name(id=word)) if (definition := self.facts.definition(word)) is not None:
                return definition.kind == "families" and zero_sum(self.facts, body, definition)
            case Call(function=Name(id="add" | "average"), arguments=(inner,)):
                return all(map(self._zero_sum, inner.items)) if isinstance(inner, List) else self._zero_sum(inner)
            case Binary(operator="+" | "-", left=left, right=right):
                return self._zero_sum(left) and self._zero_sum(right)
            case Binary(operator="*" | "/", left=left, right=right):
                return any(
                    self._zero_sum(a) and self.facts.number(b) is not None for a, b in ((left, right), (right, left))
                )
        return False

    def _note_maps(self, member: Member) -> None:
        """Discriminators whose score is a map of patches."""
        for score in self.graph.sided[member.name].arguments.values():
            for node in score if isinstance(score, tuple) else (score,):
                if isinstance(node, Node) and node.type.size > 1:
                    self.maps.setdefault(" × ".join(map(str, node.type.shape)), "")

    def _condition(self, rule: Rule) -> Piece:
        """`d ∈ {0, 1}` for every index of a rule; a range that is written with sizes stays so."""
        made = []
        for variable in rule.variables:
            values = list(dict.fromkeys(member.bound[variable] for member in rule.members))
            written = self.facts.resolved.spec.file.index.get(variable)
            whole = tuple(values) == self.facts.resolved.index.get(variable)
            if whole and isinstance(written, Call) and called(written, "range") and len(list(names(written))) > 1:
                made.append(self._range_of(variable, written))
            else:
                made.append(index_set(variable, values))
        return Piece(r",\ ".join(p.latex for p in made), ", ".join(p.text for p in made))

    def _range_of(self, variable: str, written: Call) -> Piece:
        low, high = written.arguments if len(written.arguments) == 2 else (Number(written.at, 0), written.arguments[0])
        last = simple(Binary(written.at, "-", high, Number(written.at, 1)))
        return _set(spelled(variable), [self.writer.piece(low), Piece(r"\dots", "…"), self.writer.piece(last)])

    # --- what they are made of

    def _values(self) -> list[Equation]:
        """Definitions of the values that stand in formulas, and of those that these read, as declared."""
        made: dict[int, list[Equation]] = {}
        while True:
            wanted = [(i, rule) for i, rule in enumerate(self.facts.values) if i not in made and self._used(rule)]
            if not wanted:
                return [equation for _, equations in sorted(made.items()) for equation in equations]
            for i, rule in wanted:
                made[i] = [self._value(rule)]

    def _used(self, rule: Rule) -> bool:
        return any(p.family in self.writer.values for p in rule.first.patterns)

    def _value(self, rule: Rule) -> Equation:
        member = rule.first
        generic = len(rule.members) > 1
        bound = {} if generic else rule.bindings(member)
        left = []
        for pattern in member.patterns:
            items = [self.writer.index_piece(substitute(i, bound)) for i in pattern.items]
            left.append(self.writer.symbol(pattern.family, items))
        name = left[0]
        if len(left) > 1:
            name = Piece(f"({', '.join(p.latex for p in left)})", f"({', '.join(p.text for p in left)})")
        condition = self._condition(rule) if generic else None
        if isinstance(member.body, Chain):
            return Equation(name, (("+", self._chain(member.body, bound)),), condition=condition)
        body = self.writer.settled(substitute(member.body, bound), dropping=False)
        drawn = called_any(body, "replay")
        return Equation(name, self.writer.terms(body), Piece(r"\sim", "∼") if drawn else Piece("=", "="), condition)

    def _chain(self, chain: Chain, bound: dict[str, Expr]) -> Piece:
        """A value that runs through layers, as calls inside one another; a loop is left to dots."""
        value = Piece(r"\cdot", "·")
        for number, line in enumerate(_flat(chain.lines)):
            if line is None:
                value = Piece(rf"\cdots({value.latex})", f"…({value.text})")
                continue
            expr = substitute(line, bound)
            if number == 0 or has_word(expr, "_"):
                made = self.writer.piece(substitute(expr, {"_": Name(expr.at, "_value")}))
                value = Piece(
                    made.latex.replace(self.writer.symbol("_value").latex, value.latex),
                    made.text.replace(self.writer.symbol("_value").text, value.text),
                )
            else:
                made = self.writer.piece(expr)
                value = Piece(f"{made.latex}({value.latex})", f"{made.text}({value.text})")
        return value

    def _functions(self) -> list[Equation]:
        """Functions that have no notation of their own."""
        made: dict[str, Equation] = {}
        while True:
            missing = [d for name, d in self.writer.functions.items() if name not in made]
            if not missing:
                return list(made.values())
            for definition in missing:
                parameters = [name for name, _ in definition.parameters]
                inner = dataclasses.replace(self.writer, parameters=frozenset(parameters))
                body = inner.settled(definition.read(), dropping=False)
                made[definition.name] = Equation(operator(definition.name, *map(symbol, parameters)), inner.terms(body))

    def _table(self) -> list[Equation]:
        """Symbols of constants and sizes, with their values."""
        made: dict[str, Equation] = {}
        while True:
            missing = [name for name in self.writer.symbols if name not in made]
            if not missing:
                order = [*self.graph.constants, *self.facts.resolved.sizes]
                return [made[name] for name in sorted(made, key=order.index)]
            for name in missing:
                made[name] = Equation(self.writer.symbols[name], self._valued(name))

    def _valued(self, name: str) -> tuple[tuple[str, Piece], ...]:
        node = self.graph.constants.get(name)
        value = node.value if node is not None else self.facts.resolved.sizes[name]
        if value is not None:
            return (("+", number(value) if isinstance(value, int | float) else upright(str(value))),)
        return self.writer.terms(self.writer.settled(self.facts.resolved.constants[name], dropping=False))

    # --- notes

    def _notes(self) -> Iterator[str]:
        yield from (NOTES[key] for key in NOTES if key in self.writer.notes)
        for shape in self.maps:
            yield f"A score of shape {shape} stands for its mean."
        random = [
            name for name, network in self.graph.networks.items() if any(m.random for m in network.variants.values())
        ]
        if random:
            yield f"Expectations also run over the noise inside {_listed(random)}."
        yield from self._composed()
        fixed = [name for name, network in self.graph.networks.items() if network.frozen]
        if fixed:
            yield f"Nobody trains {_listed(fixed)}."

    def _composed(self) -> Iterator[str]:
        """Networks that are trained through others that they are parts of, or that are made of."""
        trained = {name for phase in self.graph.phases() for name in phase.networks}
        for name in self.graph.networks:
            inside = [n for n in self.graph.contained(name) if n != name and n in trained]
            holders = [n for n in self.graph.networks if n in trained and n != name and name in self.graph.contained(n)]
            if name not in trained and (inside or holders):
                yield f"{name} is {'a part of' if holders else 'composed of'} {_listed(holders or inside)}."


def zero_sum(facts: Facts, call: Call, definition: Definition) -> bool:
    """A family whose two sides add up to what no fake moves, tried on scores; `shown` must be the fake itself."""
    given = definition.bind(call.arguments, dict(call.keywords))
    if given.get("shown") not in (None, given.get("fake")) or not {"real", "fake"} <= set(given):
        return False
    body = definition.read()

    def both(real: float, fake: float) -> float:
        bound = {"real": real, "fake": fake}
        for name, default in definition.parameters:
            if name not in bound:
                expr = given.get(name, default)
                value = facts.number(expr, bound) if expr is not None else None
                bound[name] = math.nan if value is None else value
        values = [facts.number(side, bound) for side in (body.discriminator, body.generator)]
        return math.nan if None in values else sum(v for v in values if v is not None)

    scores = (-1.7, -0.3, 0.4, 1.9)
    return all(abs(both(r, f) - both(r, scores[0])) < 1e-9 for r, f in itertools.product(scores, scores))


def _inside(name: str) -> list[str]:
    """`D[0, fine]` -> ["0", "fine"]."""
    _, _, inner = name.partition("[")
    return [part.strip() for part in inner.rstrip("]").split(",")] if inner else []


def _listed(words: list[str]) -> str:
    if len(words) > 6:
        words = [*words[:5], f"{len(words) - 5} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _moves(moves: tuple[Move, ...]) -> Iterator[Move]:
    for move in moves:
        yield move
        yield from _moves(move.moves)


def _flat(lines: tuple[Line, ...]) -> Iterator[Expr | None]:
    """Items of a chain in order; None stands for a loop."""
    for line in lines:
        if line.loop is not None:
            yield None
        elif line.label is not None:
            yield from _flat(line.body)
        else:
            yield from line.items


# --- formats ------------------------------------------------------------------------------------------------------


def sections(spec: Spec) -> tuple[Section, ...]:
    """The equations of a spec. What all stages say alike is said once, the rest stage by stage."""
    stages = {graph.resolved.stage: _Stage(graph).sections() for graph in spec.graphs}
    found: dict[tuple[str, str], dict[str, tuple[Section, list[str]]]] = {}
    for stage, made in stages.items():
        for section in made:
            variants = found.setdefault((section.kind, section.title), {})
            variants.setdefault(_text([section]), (section, []))[1].append(stage)
    keys = sorted(found, key=lambda key: KINDS.index(key[0]))
    return tuple(section for key in keys for section in _variants(list(found[key].values()), len(stages)))


def _variants(variants: list[tuple[Section, list[str]]], stages: int) -> Iterator[Section]:
    """The forms of one section in several stages; of a table of values only the last, of notes all together."""
    last, _ = variants[-1]
    if last.kind == "notes":
        notes = dict.fromkeys(note for section, _ in variants for note in section.notes)
        yield dataclasses.replace(last, notes=tuple(notes))
        return
    for section, where in variants[-1:] if last.kind == "with" else variants:
        whole = len(where) == stages
        yield section if whole else dataclasses.replace(section, title=f"{section.title}, {_stages(where)}")


def _stages(names: list[str]) -> str:
    return (
        f"in {names[0]}"
        if len(names) == 1
        else f"in {names[0]} and {names[1]}"
        if len(names) == 2
        else f"in {names[0]} to {names[-1]}"
    )


def equations(spec: Spec, format: str = "text") -> str:
    """The objective of every player and what it is made of: plain text, LaTeX (amsmath, amssymb) or MathML."""
    if format not in FORMATS:
        raise Fact(f"no format is called '{format}'", ", ".join(FORMATS))
    made = sections(spec)
    if format == "latex":
        return _latex(spec.name, made)
    return _text(made, spec.name) if format == "text" else _mathml(spec.name, made)


def _text(made: Iterable[Section], name: str = "") -> str:
    blocks = [name] if name else []
    for section in made:
        width = max((len(e.left.text) for e in section.equations), default=0)
        lines = [section.title]
        for equation in section.equations:
            for i, row in enumerate(equation.rows):
                shown = _row(row, first=i == 0)[1]
                head = f"{equation.left.text:>{width}} {equation.relation.text} " if i == 0 else " " * (width + 5)
                lines.append(f"  {head}{shown}")
            if equation.condition is not None:
                lines[-1] += f"   {equation.word} {equation.condition.text}"
        lines += [f"  {note}" for note in section.notes]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _latex(name: str, made: Iterable[Section]) -> str:
    blocks = [f"% {name}. Needs the packages amsmath and amssymb."]
    for section in made:
        if section.equations:
            rows = " \\\\\n".join(line for equation in section.equations for line in _latex_rows(equation))
            blocks.append(f"\\paragraph{{{_prose(section.title)}}}\n\\begin{{align*}}\n{rows}\n\\end{{align*}}")
        if section.notes:
            items = "\n".join(f"\\item {_prose(note)}" for note in section.notes)
            blocks.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
    return "\n\n".join(blocks)


def _latex_rows(equation: Equation) -> list[str]:
    lines = []
    for i, row in enumerate(equation.rows):
        shown = _row(row, first=i == 0)[0]
        lines.append(
            f"  {equation.left.latex} &{equation.relation.latex} {shown}" if i == 0 else rf"  &\qquad {{}}{shown}"
        )
    if equation.condition is not None:
        lines[-1] += rf" \qquad \text{{{equation.word} }} {equation.condition.latex}"
    return lines


PROSE = {"‖·‖": r"$\lVert\cdot\rVert$", "[·]": r"[$\cdot$]", "σ": r"$\sigma$", "×": r"$\times$", "−": "$-$"}


def _prose(text: str) -> str:
    """A title or note as LaTeX text."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
    made = "".join(special.get(c, f"\\{c}" if c in "{}$&#%_" else c) for c in text)
    for sign, latex in PROSE.items():
        made = made.replace(sign, latex)
    return made


def _mathml(name: str, made: Iterable[Section]) -> str:
    lines = ['<div class="equations">', f"<h2>{html.escape(name)}</h2>"]
    for section in made:
        lines.append(f"<h3>{html.escape(section.title)}</h3>")
        lines += [mathml(equation) for equation in section.equations]
        if section.notes:
            lines += ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in section.notes), "</ul>"]
    return "\n".join([*lines, "</div>"])


def mathml(equation: Equation) -> str:
    """One equation as `<math>`: its lines are rows of a table, aligned at the relation."""
    rows = []
    for i, row in enumerate(equation.rows):
        shown = _row(row, first=i == 0)[0]
        left = _converted(f"{equation.left.latex} {equation.relation.latex}") if i == 0 else ""
        last = i == len(equation.rows) - 1 and equation.condition is not None
        tail = rf"\qquad \text{{{equation.word} }} {equation.condition.latex}" if last and equation.condition else ""
        right = _converted(f"{'' if i == 0 else chr(92) + 'qquad '}{shown} {tail}")
        rows.append(f'<mtr><mtd columnalign="right">{left}</mtd><mtd columnalign="left">{right}</mtd></mtr>')
    inside = f'<mtable displaystyle="true">{"".join(rows)}</mtable>'
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">{inside}</math>'


_LETTERS = re.compile(r'(?:<mi mathvariant="normal">[^<&]</mi>){2,}')


def _converted(latex: str) -> str:
    """LaTeX -> the inside of a `<math>`; words are one identifier, not a row of letters."""
    from latex2mathml.converter import convert

    made = convert(latex)
    inner = made[made.index(">") + 1 : made.rindex("</math>")]
    return _LETTERS.sub(lambda m: f"<mi>{re.sub('<[^>]*>', '', m[0])}</mi>", inner)
