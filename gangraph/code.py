"""Python text in pieces: literals that may become parameters, brackets where they are needed, lines that fit.

A piece of text is a `Code`: parts and the strength with which it binds. A part is a string, or a `Slot`: a literal
that differs between two uses of one class becomes a parameter of that class.
"""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Container
from typing import Any

from gangraph.frozen import frozen

WIDTH = 120
IF, OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, ATOM = range(10)


@frozen
class Slot:
    """A literal, with the name that it would have as a parameter."""

    hint: str
    value: Any


@frozen
class Use:
    """The construction of a block's class: `group` is the class, `slots` are all its literals."""

    group: int
    slots: tuple[Slot, ...]


@frozen
class Note:
    """A remark at a line's end; it is left out where uses of one class disagree."""

    text: str


Part = str | Slot | Use | Note


@frozen
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
    given += [
        text(f"{k}=") + (v if isinstance(v, Code) else text(literal(v))) for k, v in keywords.items() if v is not None
    ]
    return Code((*head.parts, "(", *join(", ", given).parts, ")"))


def literal(value: Any) -> str:
    """A value as Python writes it: short floats, tuples for lists."""
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return f"{value:.1f}"
        return repr(value)
    if isinstance(value, list | tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


# What a program defines at its top; no variable of it may be called so.
PROGRAM = frozenset(
    """
    Game Evaluation Draws Pool View Entry Reversal reverse convolve AdamTF still layers_of begin initialize
    keep_statistics added main number
    OwnDraws OWN Parameter Dropout Noise Filter2d MinibatchStd SpectralNorm Equalized WeightNorm GRU LSTM
    """.split()  # noqa: SIM905 - a list of words is easier to read
)
BUILTIN = frozenset(
    {"self", "torch", "nn", "F", "draws", "super", "range", "len", "list", "dict", "max", "min", "abs", "sum"}
)
RESERVED = frozenset(keyword.kwlist) | BUILTIN | PROGRAM
# What torch.nn.Module is already; no attribute of one may be called so.
MODULE = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval
    extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules
    mtia named_buffers named_children named_modules named_parameters parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule
    share_memory state_dict to to_empty train training type xpu zero_grad
    """.split()  # noqa: SIM905 - a list of words is easier to read
)


def identifier(name: str, taken: set[str] | frozenset[str] = frozenset()) -> str:
    """A name of the spec as a Python name: `fake[0]` is `fake_0`, `D[d, n]` is `D_0_1`."""
    made = "".join(c if c.isalnum() or c == "_" else "_" for c in name.replace("]", "").replace(", ", "_"))
    made = made if made and not made[0].isdigit() else f"_{made}"
    while made in RESERVED or made in taken:
        made += "_"
    return made


def unique(wanted: str, taken: Container[str], separator: str = "") -> str:
    """The name, or the first of `name2`, `name3`, ... that is free."""
    names = itertools.chain([wanted], (f"{wanted}{separator}{n}" for n in itertools.count(2)))
    return next(name for name in names if name not in taken)


def variable(name: str, taken: Container[str]) -> str:
    """A free variable for a name of the spec."""
    wanted = identifier(name)
    return unique(wanted, taken, "_" if wanted[-1:].isdigit() else "")


def class_name(name: str) -> str:
    """`resnet_generator` is `ResnetGenerator`; `3d` is `Network3d`."""
    words = "".join(c if c.isalnum() else "_" for c in name).split("_")
    made = "".join(w[:1].upper() + w[1:] for w in words if w)
    return made if made.isidentifier() and not keyword.iskeyword(made) else f"Network{made}"


def fit(line: str, indent: int, width: int = WIDTH) -> list[str]:
    """A line in as many lines as it needs, broken where a formatter would break it."""
    pad = " " * indent
    line, mark, comment = line.partition("  # ")
    comment = mark + comment
    if len(pad + line + comment) <= width:
        return [pad + line + comment]
    if len(pad + line) <= width:
        return [pad + line]
    return _at_operators(line, indent, width) or _at_bracket(line, indent, width) or [pad + line]


def _at_bracket(line: str, indent: int, width: int) -> list[str] | None:
    """Broken inside its last bracket: on one line where that fits, else one item a line."""
    pad = " " * indent
    opened = _last_bracket(line)
    if opened is None or indent + opened[0] >= width:
        opened = _chain_bracket(line, width - indent)
    if opened is None:
        return None
    start, end = opened
    head, inner, tail = line[: start + 1], line[start + 1 : end], line[end:]
    items = _split(inner)
    called = start > 0 and (line[start - 1].isalnum() or line[start - 1] in "_)]")
    single = " " * (indent + 4) + inner.strip()
    if len(items) == 1 and not inner.rstrip().endswith(","):
        body = (
            [single]
            if len(single) <= width
            else _operands(inner.strip(), indent + 4, width) or fit(inner.strip(), indent + 4, width)
        )
        return [pad + head, *body, pad + tail]
    if called and len(single) <= width and not inner.rstrip().endswith(","):
        return [pad + head, single, pad + tail]
    lines = [pad + head]
    for item in items:
        lines += _item(item + ",", indent + 4, width)
    return [*lines, pad + tail]


def _item(item: str, indent: int, width: int) -> list[str]:
    """An item of a collection or call; a value behind a key breaks at its operators without brackets."""
    if len(item) + indent <= width:
        return [" " * indent + item]
    key, colon, value = item.partition(": ")
    if colon and key.startswith('"'):
        operands = _operands(value, indent, width)
        if operands:
            return [" " * indent + f"{key}: {operands[0].strip()}", *operands[1:]]
    made = fit(item, indent, width)
    if len(made) == 1 and (operands := _operands(item.removesuffix(","), indent, width)):
        return [*operands[:-1], f"{operands[-1]},"]
    return made


def _brackets(line: str) -> list[tuple[int, int]]:
    """The outermost brackets of a line outside quotes, in order: where each opens and closes."""
    found: list[tuple[int, int]] = []
    depth, quote, start = 0, "", 0
    for i, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            start = start if depth else i
            depth += 1
        elif char in ")]}" and depth:
            depth -= 1
            if not depth:
                found.append((start, i))
    return found


def _last_bracket(line: str) -> tuple[int, int] | None:
    """The outermost bracket at the end of a line."""
    for start, end in reversed(_brackets(line)):
        tail = line[end + 1 :]
        bare = not line[:start].rpartition(" ")[2] and tail.strip(",.").endswith("()") and tail.count("(") == 1
        if (len(tail) < 2 or bare) and end - start > 1:  # bare: `(a + b).sum()`
            return start, end
    return None


def _chain_bracket(line: str, width: int) -> tuple[int, int] | None:
    """The last outermost bracket that opens within the width, where only `.name(...)` or `[...]` follow."""
    for start, end in reversed(_brackets(line)):
        if line[end + 1 : end + 2] not in ("", ",", ".", "[", "("):
            return None  # what follows is another operand
        if start < width and end - start > 1:
            return start, end
    return None


def _pieces(expression: str) -> list[str]:
    """The operands of the weakest operators outside brackets."""
    weakest = ((" if ", " else "), (" or ",), (" and ",), (" + ", " - "), (" * ", " / "))
    apart = (_split(expression, operators) for operators in weakest)
    return next((pieces for pieces in apart if len(pieces) > 1), [expression])


def _operands(expression: str, indent: int, width: int) -> list[str] | None:
    """One operand of the weakest operators a line; None where no operator stands outside brackets."""
    pieces = _pieces(expression)
    return [line for piece in pieces for line in fit(piece, indent, width)] if len(pieces) > 1 else None


def _at_operators(line: str, indent: int, width: int) -> list[str] | None:
    """`name = a + b` in brackets, on one line or one operand a line."""
    pad = " " * indent
    word = line.partition(" ")[0]
    if word in ("return", "yield"):
        name, right = f"{word} ", line[len(word) + 1 :]
    else:
        name, equals, right = line.partition(" = ")
        name += equals
        if not equals or not name[:-3].replace(".", "").replace("_", "").replace(", ", "").isalnum():
            return None
    operands = _operands(right, indent + 4, width)
    opened = _last_bracket(line)
    if operands is None or (opened and len(_pieces(right)) == 2 and indent + opened[0] < width):
        return None  # one operator, and a bracket at the end: a formatter opens that
    inner = [f"{pad}    {right}"] if indent + 4 + len(right) <= width else operands
    return [f"{pad}{name}(", *inner, f"{pad})"]


def _split(inner: str, operators: tuple[str, ...] = ()) -> list[str]:
    """Split at commas outside brackets, or before the given operators."""
    pieces, depth, quote, start = [], 0, "", 0
    for i, char in enumerate(inner):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif depth == 0 and i >= start and (inner.startswith(operators, i) if operators else char == ","):
            pieces.append(inner[start:i].strip())
            start = i + 1
    last = inner[start:].strip()
    return [*pieces, last] if last else pieces
