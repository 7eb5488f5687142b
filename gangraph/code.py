"""Python text in pieces: literals that may become parameters, brackets where they are needed, lines that fit.

A piece of text is a `Code`: parts and the strength with which it binds. A part is a string, or a `Slot`: a literal
that differs between two uses of one class becomes a parameter of that class.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import Any

WIDTH = 120
IF, OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, ATOM = range(10)


@dataclass(frozen=True)
class Slot:
    """A literal, with the name that it would have as a parameter."""

    hint: str
    value: Any


@dataclass(frozen=True)
class Use:
    """The construction of a block's class: `group` is the class, `slots` are all its literals."""

    group: int
    slots: tuple[Slot, ...]


Part = str | Slot | Use


@dataclass(frozen=True)
class Code:
    parts: tuple[Part, ...]
    strength: int = ATOM

    def __add__(self, other: Code | str) -> Code:
        return Code((*self.parts, *((other,) if isinstance(other, str) else other.parts)), self.strength)

    def at(self, strength: int) -> Code:
        """In brackets, where it binds less than its surroundings."""
        return self if self.strength >= strength else Code(("(", *self.parts, ")"))

    def plain(self) -> str:
        """As text, every slot with its own value."""
        return "".join(p if isinstance(p, str) else literal(p.value) if isinstance(p, Slot) else "" for p in self.parts)


def text(value: str, strength: int = ATOM) -> Code:
    return Code((value,), strength)


def join(separator: str, codes: list[Code] | tuple[Code, ...], strength: int = ATOM) -> Code:
    parts: list[Part] = []
    for i, code in enumerate(codes):
        if i:
            parts.append(separator)
        parts += code.parts
    return Code(tuple(parts), strength)


def call(function: str | Code, *arguments: Code | str, **keywords: Any) -> Code:
    head = text(function) if isinstance(function, str) else function.at(ATOM)
    given = [text(a) if isinstance(a, str) else a for a in arguments]
    given += [text(f"{k}=") + (v if isinstance(v, Code) else text(literal(v))) for k, v in keywords.items() if v is not None]
    return Code((*head.parts, "(", *join(", ", given).parts, ")"))


def literal(value: Any) -> str:
    """A value as Python writes it: short floats, tuples for lists."""
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return f"{value:.1f}"
        shown = repr(value)
        return shown
    if isinstance(value, list | tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


RESERVED = frozenset(keyword.kwlist) | {"self", "torch", "nn", "F", "draws", "super", "range", "len", "list", "dict", "max", "min", "abs"}


def identifier(name: str, taken: set[str] | frozenset[str] = frozenset()) -> str:
    """A name of the spec as a Python name: `fake[0]` is `fake_0`, `D[d, n]` is `D_0_1`."""
    made = "".join(c if c.isalnum() or c == "_" else "_" for c in name.replace("]", "").replace(", ", "_"))
    made = made if made and not made[0].isdigit() else f"_{made}"
    while made in RESERVED or made in taken:
        made += "_"
    return made


def class_name(name: str) -> str:
    """`resnet_generator` is `ResnetGenerator`."""
    words = "".join(c if c.isalnum() else "_" for c in name).split("_")
    return "".join(w[:1].upper() + w[1:] for w in words if w) or "Network"


def fit(line: str, indent: int, width: int = WIDTH) -> list[str]:
    """A line in as many lines as it needs, broken at the last bracket that helps, as a formatter would."""
    pad = " " * indent
    comment = ""
    if "  # " in line:
        line, _, comment = line.partition("  # ")
        comment = "  # " + comment
    if len(pad + line + comment) <= width or (len(pad + line) <= width and not comment):
        return [pad + line + comment]
    if comment and len(pad + line) <= width:
        return [pad + line + comment] if len(pad + line + comment) <= width else [pad + line]
    opened = _last_bracket(line)
    if opened is None:
        return _at_operators(line, indent, comment, width)
    start, end = opened
    head, inner, tail = line[: start + 1], line[start + 1 : end], line[end:]
    items = _split(inner)
    if len(items) == 1 or " for " in inner and not items[1:]:
        body = fit(inner.strip(), indent + 4, width)
        if len(items) == 1 and not inner.rstrip().endswith(",") and tail.startswith(")") is False:
            pass
        return [pad + head + comment, *body, pad + tail]
    single = " " * (indent + 4) + ", ".join(items)
    if len(single) <= width and not inner.rstrip().endswith(","):
        return [pad + head + comment, single, pad + tail]
    lines = [pad + head + comment]
    for item in items:
        lines += fit(item + ",", indent + 4, width)
    return [*lines, pad + tail]


def _last_bracket(line: str) -> tuple[int, int] | None:
    """The outermost bracket at the end of a line: where it opens and closes."""
    depth, end = 0, None
    quote = ""
    spans = []
    stack: list[int] = []
    for i, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            stack.append(i)
        elif char in ")]}" and stack:
            start = stack.pop()
            if not stack:
                spans.append((start, i))
    del depth, end
    for start, end_ in reversed(spans):
        if end_ - start > 1 and end_ >= len(line) - 2:
            return start, end_
    return None


def _at_operators(line: str, indent: int, comment: str, width: int) -> list[str]:
    """`name = a + b + ...` in brackets, one operand a line."""
    pad = " " * indent
    name, equals, right = line.partition(" = ")
    if not equals or name.startswith("return"):
        name, equals, right = ("return", " ", line[7:]) if line.startswith("return ") else ("", "", line)
    pieces = _split(right, operators=True)
    if len(pieces) == 1:
        return [pad + line + comment]
    lines = [pad + name + equals + "(" + comment]
    for piece in pieces:
        lines += fit(piece.strip(), indent + 4, width)
    return [*lines, pad + ")"]


def _split(inner: str, operators: bool = False) -> list[str]:
    """Split at top-level commas (or at top-level + and -)."""
    pieces, depth, quote, start = [], 0, "", 0
    i = 0
    while i < len(inner):
        char = inner[i]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth == 0 and not operators and char == ",":
            pieces.append(inner[start:i].strip())
            start = i + 1
        elif depth == 0 and operators and inner[i : i + 3] in (" + ", " - "):
            pieces.append(inner[start:i].strip())
            start = i + 1
        i += 1
    last = inner[start:].strip()
    return [*pieces, last] if last else pieces
