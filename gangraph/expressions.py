"""Text -> Expr: the one expression language, as a tree of our own with a place on every node.

Python's parser reads the syntax, and only that: what comes out are the frozen nodes below, which nothing evaluates
but gangraph's own stages.

>>> print(parse("cycle * expect(l1(rec, x[0:N // 2])) if on else 0"))
cycle * expect(l1(rec, x[0:N // 2])) if on else 0
"""

from __future__ import annotations

import ast
import functools
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from keyword import iskeyword
from typing import Any

from gangraph.errors import Fact, Place
from gangraph.frozen import frozen

UNREAD = "\0"  # stands where a file has something that cannot be read; no file has it
LONGEST = 20_000
BITS = 63  # of an integer, as tensors have them
_ASSIGNED = re.compile(r"[^=<>!]=[^=]")
_HIDES = re.compile(r"""(?:[^#'"]|'[^']*'|"[^"]*")*#""")
_WARNED = re.compile(r"\\|\d[A-Za-z_]")  # what Python's parser may warn of: an escape, `0x for`


def too_large(value: float) -> bool:
    """Whether a number is one that no tensor holds."""
    return value.bit_length() > BITS if isinstance(value, int) else math.isinf(value)


BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
STRENGTH = {"if": 0, "or": 1, "and": 2, "not": 3, "compare": 4, "+": 5, "-": 5, "*": 6, "/": 6, "//": 6, "%": 6}
STRENGTH |= {"unary": 7, "**": 8, "atom": 9}


@frozen
class Expr:
    at: Place = field(compare=False, repr=False)

    def __str__(self) -> str:
        return show(self)


@frozen
class Number(Expr):
    value: int | float


@frozen
class String(Expr):
    value: str


@frozen
class Truth(Expr):
    """`True`, `False` or `None`."""

    value: bool | None


@frozen
class Name(Expr):
    id: str


@frozen
class Call(Expr):
    function: Expr
    arguments: tuple[Expr, ...]
    keywords: tuple[tuple[str, Expr], ...] = ()


@frozen
class Binary(Expr):
    operator: str
    left: Expr
    right: Expr


@frozen
class Negative(Expr):
    operand: Expr


@frozen
class Not(Expr):
    operand: Expr


@frozen
class Logic(Expr):
    operator: str  # "and" or "or"
    operands: tuple[Expr, ...]


@frozen
class Compare(Expr):
    operators: tuple[str, ...]
    operands: tuple[Expr, ...]


@frozen
class IfElse(Expr):
    test: Expr
    then: Expr
    otherwise: Expr


@frozen
class Attribute(Expr):
    value: Expr
    name: str


@frozen
class Slice(Expr):
    low: Expr | None
    high: Expr | None


@frozen
class Index(Expr):
    """`a[i]`, `a[0:N // 2]`, `a[:, 0:5]`, `D[d, n]`."""

    value: Expr
    items: tuple[Expr, ...]


@frozen
class List(Expr):
    items: tuple[Expr, ...]


def parse(text: str, at: Place | None = None) -> Expr:
    """One expression. Raises `Fact` (with its place as `fact.place`) where the text is none."""
    items = parse_line(text, at)
    if len(items) != 1:
        raise Fact(f"{text.strip()} is {len(items)} expressions, one was expected").at(at or Place())
    if text.rstrip().endswith(","):
        raise Fact(f"{text.strip()} ends in a comma").at(at or Place())
    return items[0]


def parse_line(text: str, at: Place | None = None) -> tuple[Expr, ...]:
    """The items of a chain's line: expressions between commas."""
    return _parse_cached(text, at or Place())


@functools.lru_cache(maxsize=50_000)
def _parse_cached(text: str, at: Place) -> tuple[Expr, ...]:
    if not text.strip():
        raise Fact("an expression was expected, and nothing stands here").at(at)
    if len(text) > LONGEST:
        raise Fact(f"an expression of {len(text)} characters is too long").at(at)
    if text == UNREAD or (text.isidentifier() and text.isascii() and not iskeyword(text)):
        return (Name(at, text),)
    lead = len(text) - len(text.lstrip())
    hides = _HIDES.match(text) if "\n" not in text.rstrip() else None  # in one line: YAML may have folded several
    if hides:
        help = "a comment in a text of several lines needs `|` in place of `>` or quotes"
        raise Fact("`#` hides what follows it in this expression", help).at(at.right(hides.end() - 1))
    try:
        body = _syntax(text.strip())
        reader = _Converter(text.strip(), at.right(lead))
        if isinstance(body, ast.Tuple) and not _in_brackets(text.strip()):
            return tuple(map(reader.convert, body.elts))
        return (reader.convert(body),)
    except SyntaxError as error:
        place = at.right(lead + (error.offset or 1) - 1) if (error.lineno or 1) == 1 else at
        raise _syntax_fact(text.strip(), error).at(place) from None
    except (ValueError, RecursionError, MemoryError):
        raise Fact(f"{text.strip()[:40]} ... cannot be read as an expression").at(at) from None


def _syntax(text: str) -> ast.expr:
    """Python's tree of an expression."""
    if not _WARNED.search(text):
        return ast.parse(text, mode="eval").body
    with warnings.catch_warnings():  # what Python only warns of is an error here
        warnings.simplefilter("ignore")
        return ast.parse(text, mode="eval").body


def _in_brackets(text: str) -> bool:
    """Whether a tuple stands in brackets of its own: `(a, b)`, and not `(a), b`."""
    inside = _syntax(f"[{text}\n]")
    return isinstance(inside, ast.List) and len(inside.elts) == 1 and isinstance(inside.elts[0], ast.Tuple)


def _syntax_fact(text: str, error: SyntaxError) -> Fact:
    for word in re.findall(r"\w+", text):
        if iskeyword(word) and word not in (
            "if",
            "else",
            "and",
            "or",
            "not",
            "in",
            "for",
            "True",
            "False",
            "None",
            "is",
        ):
            return Fact(f"{word} is a Python keyword and cannot be a name", f"call it {word}_ or another word")
    if text.strip().lstrip("+-").lower() in (".inf", ".nan"):
        return Fact(f"{text} is no number", "numbers are finite")
    if text.count("(") > text.count(")") or text.count("[") > text.count("]"):
        return Fact(f"{text} does not parse: a bracket is not closed")
    if text.count("(") < text.count(")") or text.count("[") < text.count("]"):
        return Fact(f"{text} does not parse: a bracket closes that was never opened")
    reason = (error.msg or "invalid syntax").split("(")[0].strip().lower()
    if "perhaps you forgot a comma" in reason:
        reason = "two things stand side by side; a comma or an operator is missing"
    if _ASSIGNED.search(text.split("(")[0]):
        reason = "`=` gives an argument inside a call; a comparison is `==`"
    return Fact(f"{text} does not parse: {reason}")


class _Converter:
    """Python's tree into ours; what the language does not have is a `Fact` with its place."""

    def __init__(self, text: str, at: Place):
        self.text, self.start = text, at
        self.ascii = text.isascii()

    def at(self, node: ast.expr) -> Place:
        if node.lineno != 1:
            return self.start
        column = node.col_offset
        if not self.ascii:
            column = len(self.text.encode()[:column].decode(errors="ignore"))
        return self.start.right(column) if column else self.start

    def convert(self, node: ast.expr) -> Expr:
        method = _READ.get(type(node))
        if method is None:
            what = type(node).__name__
            words = {"Lambda": "a lambda", "ListComp": "a comprehension", "Dict": "a dict", "Tuple": "a tuple"}
            fact = Fact(f"{ast.unparse(node)} is {words.get(what, what)}, which the language does not have")
            raise fact.at(self.at(node))
        return method(self, node)

    def _constant(self, node: ast.Constant) -> Expr:
        value = node.value
        if value is None or isinstance(value, bool):
            return Truth(self.at(node), value)
        if isinstance(value, int | float):
            if too_large(value):
                raise Fact("the number is too large").at(self.at(node))
            return Number(self.at(node), value)
        if isinstance(value, str):
            return String(self.at(node), value)
        raise Fact(f"{ast.unparse(node)} is not a number, string or truth value").at(self.at(node))

    def _name(self, node: ast.Name) -> Expr:
        return Name(self.at(node), node.id)

    def _call(self, node: ast.Call) -> Expr:
        keywords: list[tuple[str, Expr]] = []
        for keyword in node.keywords:
            if keyword.arg is None:
                raise Fact("`**` in a call is not in the language").at(self.at(keyword.value))
            if any(keyword.arg == name for name, _ in keywords):
                raise Fact(f"the argument {keyword.arg} is given twice").at(self.at(keyword.value))
            keywords.append((keyword.arg, self.convert(keyword.value)))
        arguments = tuple(self.convert(argument) for argument in node.args)
        return Call(self.at(node), self.convert(node.func), arguments, tuple(keywords))

    def _binop(self, node: ast.BinOp) -> Expr:
        operator = BINARY.get(type(node.op))
        if operator is None:
            signs = " ".join(BINARY.values())
            help = "a power is written **" if isinstance(node.op, ast.BitXor) else f"there are {signs}"
            fact = Fact(f"{ast.unparse(node)} uses an operator that the language does not have", help)
            raise fact.at(self.at(node))
        return Binary(self.at(node), operator, self.convert(node.left), self.convert(node.right))

    def _unaryop(self, node: ast.UnaryOp) -> Expr:
        operand = self.convert(node.operand)
        if isinstance(node.op, ast.Not):
            return Not(self.at(node), operand)
        if isinstance(node.op, ast.USub):
            return (
                Number(self.at(node), -operand.value)
                if isinstance(operand, Number)
                else Negative(self.at(node), operand)
            )
        if isinstance(node.op, ast.UAdd):
            return operand
        raise Fact("`~` is not in the language").at(self.at(node))

    def _boolop(self, node: ast.BoolOp) -> Expr:
        operator = "and" if isinstance(node.op, ast.And) else "or"
        return Logic(self.at(node), operator, tuple(map(self.convert, node.values)))

    def _compare(self, node: ast.Compare) -> Expr:
        operators = []
        for operator in node.ops:
            if type(operator) not in COMPARE:
                raise Fact(f"{ast.unparse(node)}: comparisons are < <= > >= == !=").at(self.at(node))
            operators.append(COMPARE[type(operator)])
        return Compare(self.at(node), tuple(operators), tuple(map(self.convert, [node.left, *node.comparators])))

    def _ifexp(self, node: ast.IfExp) -> Expr:
        return IfElse(self.at(node), self.convert(node.test), self.convert(node.body), self.convert(node.orelse))

    def _attribute(self, node: ast.Attribute) -> Expr:
        return Attribute(self.at(node), self.convert(node.value), node.attr)

    def _subscript(self, node: ast.Subscript) -> Expr:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Index(self.at(node), self.convert(node.value), tuple(map(self.convert, inner)))

    def _slice(self, node: ast.Slice) -> Expr:
        if node.step is not None:
            raise Fact("slices have no step").at(self.start)
        low = self.convert(node.lower) if node.lower else None
        high = self.convert(node.upper) if node.upper else None
        return Slice(self.start, low, high)

    def _list(self, node: ast.List) -> Expr:
        return List(self.at(node), tuple(map(self.convert, node.elts)))


_READ: dict[type[ast.expr], Callable[[_Converter, Any], Expr]] = {
    ast.Constant: _Converter._constant,
    ast.Name: _Converter._name,
    ast.Call: _Converter._call,
    ast.BinOp: _Converter._binop,
    ast.UnaryOp: _Converter._unaryop,
    ast.BoolOp: _Converter._boolop,
    ast.Compare: _Converter._compare,
    ast.IfExp: _Converter._ifexp,
    ast.Attribute: _Converter._attribute,
    ast.Subscript: _Converter._subscript,
    ast.Slice: _Converter._slice,
    ast.List: _Converter._list,
}


def show(expr: Expr, strength: int = 0) -> str:
    """An expression as text, with no more brackets than it needs."""
    text, own = _show(expr)
    return f"({text})" if own < strength else text


def _show(expr: Expr) -> tuple[str, int]:
    atom = STRENGTH["atom"]
    match expr:
        case Number(value=value):
            text = (
                repr(value)
                if not (isinstance(value, float) and value.is_integer() and abs(value) < 1e15)
                else f"{value:g}"
            )
            return text, STRENGTH["unary"] if value < 0 else atom
        case String(value=value):
            return f'"{value}"', atom
        case Truth(value=value):
            return str(value), atom
        case Name(id=name):
            return name, atom
        case Call():
            parts = [show(a) for a in expr.arguments] + [f"{k}={show(v)}" for k, v in expr.keywords]
            return f"{show(expr.function, atom)}({', '.join(parts)})", atom
        case Binary(operator="**"):
            power = STRENGTH["**"]
            return f"{show(expr.left, power + 1)}**{show(expr.right, STRENGTH['unary'])}", power
        case Binary():
            own = STRENGTH[expr.operator]
            return f"{show(expr.left, own)} {expr.operator} {show(expr.right, own + 1)}", own
        case Negative(operand=operand):
            return f"-{show(operand, STRENGTH['unary'])}", STRENGTH["unary"]
        case Not(operand=operand):
            return f"not {show(operand, STRENGTH['not'])}", STRENGTH["not"]
        case Logic():
            own = STRENGTH[expr.operator]
            return f" {expr.operator} ".join(show(o, own + 1) for o in expr.operands), own
        case Compare():
            own = STRENGTH["compare"]
            text = show(expr.operands[0], own + 1)
            for operator, operand in zip(expr.operators, expr.operands[1:], strict=True):
                text += f" {operator} {show(operand, own + 1)}"
            return text, own
        case IfElse():
            return f"{show(expr.then, 1)} if {show(expr.test, 1)} else {show(expr.otherwise)}", 0
        case Attribute():
            return f"{show(expr.value, atom)}.{expr.name}", atom
        case Index():
            return f"{show(expr.value, atom)}[{', '.join(map(show, expr.items))}]", atom
        case Slice():
            return f"{show(expr.low) if expr.low else ''}:{show(expr.high) if expr.high else ''}", atom
        case List():
            return f"[{', '.join(map(show, expr.items))}]", atom
    raise AssertionError(expr)


def parts(expr: Expr) -> tuple[Expr, ...]:
    """The expressions that an expression is made of."""
    match expr:
        case Name() | Number() | String() | Truth():
            return ()
        case Binary():
            return expr.left, expr.right
        case Call():
            return expr.function, *expr.arguments, *(value for _, value in expr.keywords)
        case Index():
            return expr.value, *expr.items
        case List():
            return expr.items
        case Negative() | Not():
            return (expr.operand,)
        case Logic() | Compare():
            return expr.operands
        case IfElse():
            return expr.test, expr.then, expr.otherwise
        case Attribute():
            return (expr.value,)
        case Slice():
            return tuple(side for side in (expr.low, expr.high) if side is not None)
    raise AssertionError(expr)


def within(expr: Expr) -> Iterator[Expr]:
    """An expression and everything in it, from the outside in."""
    yield expr
    for part in parts(expr):
        yield from within(part)


def mapped(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with every part changed; keywords and operators stay."""

    def new(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(new, value))
        return change(value) if isinstance(value, Expr) else value

    return replace(expr, **{key: new(value) for key, value in vars(expr).items() if key != "at"})


def names(expr: Expr) -> Iterator[Name]:
    """Every name that an expression reads, from left to right."""
    stack = [expr]
    while stack:
        node = stack.pop()
        if isinstance(node, Name):
            yield node
        else:
            stack += parts(node)[::-1]


def substitute(expr: Expr, bound: dict[str, Expr]) -> Expr:
    """Names replaced by expressions; indices are simplified, so that `1 - (1 - d)` is `d`."""
    if not bound:
        return expr

    def change(e: Expr) -> Expr:
        if isinstance(e, Name):
            return bound.get(e.id, e)
        made = mapped(e, change)
        return replace(made, items=tuple(map(simple, made.items))) if isinstance(made, Index) else made

    return change(expr)


def simple(expr: Expr) -> Expr:
    """A sum of names and integers, collected; anything else as it is."""
    found, at = _linear(expr), expr.at
    if found is None:
        return expr
    rest = found.pop("", 0)
    terms: list[tuple[int, Expr]] = [(n, _times(n, Name(at, name))) for name, n in found.items() if n]
    terms.sort(key=lambda term: term[0] < 0)
    if not terms or terms[0][0] < 0:
        terms.insert(0, (rest, Number(at, rest)))
    elif rest:
        terms.append((rest, Number(at, abs(rest))))
    return functools.reduce(
        lambda total, term: Binary(at, "+" if term[0] > 0 else "-", total, term[1]), terms[1:], terms[0][1]
    )


def _times(count: int, name: Name) -> Expr:
    return name if abs(count) == 1 else Binary(name.at, "*", Number(name.at, abs(count)), name)


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
