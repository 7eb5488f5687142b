"""An entry of a table: what a spec calls by its name, its arguments checked by their types and bounds.

Layers and wrappers are entries. A misuse raises `Fact`, one sentence that names the entry, what it got and what would
fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field
from functools import lru_cache
from typing import Any, ClassVar, Self, cast

from gangraph.errors import Fact, nearest
from gangraph.frozen import frozen

Sizes = int | tuple[int, ...]  # one number for all axes, or one each
Sides = int | tuple[int, ...]  # one number, or left, right, top, bottom
Initializer = object  # None, or an initializer: opaque here, and left out of the constructor's text
Bias = object  # True, False, or an initializer

ANY = -1
INFINITY = math.inf

# What fields may be beyond their type, by name. Other whole numbers are at least 1, other numbers anything finite.
BOUNDS: dict[str, tuple[float, float]] = {
    "padding": (0, INFINITY),
    "output_padding": (0, INFINITY),
    "dim": (-INFINITY, INFINITY),
    "eps": (0, INFINITY),
    "momentum": (0, 1),
    "p": (0, 1),
    "std": (0, INFINITY),
}


@frozen
class Construct:
    """The text of a constructor as data: the emitter prints it, and may turn literals into parameters.

    `arguments` are (name in the constructor, value, positional?), without those that equal the constructor's default;
    a value may be another Construct. `block` is the file in codegen/blocks that defines `function` if torch does not.
    """

    function: str
    arguments: tuple[tuple[str, object, bool], ...] = ()
    block: str | None = None

    def __str__(self) -> str:
        return f"{self.function}({', '.join(_argument(*argument) for argument in self.arguments)})"

    def blocks(self) -> Iterator[str]:
        """The files in codegen/blocks that this text needs."""
        if self.block:
            yield self.block
        for _, value, _ in self.arguments:
            if isinstance(value, Construct):
                yield from value.blocks()


@lru_cache(maxsize=4096, typed=True)
def _entry(cls: type[Entry], count: int, names: tuple[str, ...], *values: Any) -> Entry:
    """The entry of these arguments, the first `count` of them without names; made once, for it cannot change."""
    return cls._made(values[:count], dict(zip(names, values[count:], strict=True)))


def _argument(name: str, value: object, positional: bool) -> str:
    text = str(value) if isinstance(value, Construct) else repr(value)
    return text if positional else f"{name}={text}"


@frozen
class Entry:
    """What a spec calls by a name of this table: its fields are the arguments, checked by their types and `BOUNDS`."""

    axes: ClassVar[int] = ANY  # those behind the channels, where their number is fixed
    block: ClassVar[str | None] = None  # the file in codegen/blocks, where torch has no such module
    names: ClassVar[dict[str, str]] = {}  # torch's names of fields: "dim=" is given by keyword, "" not at all

    @classmethod
    def from_call(cls, args: Sequence[object], kwargs: Mapping[str, object]) -> Self:
        """The entry for evaluated arguments; raises Fact for an unknown, repeated, surplus, missing or wrong one."""
        values = (*args, *kwargs.values())
        plain = all(type(v) in (int, float, bool, str) for v in values)
        made: Callable[..., Any] = _entry if plain else _entry.__wrapped__
        return cast(Self, made(cls, len(args), tuple(kwargs), *values))

    @classmethod
    def _made(cls, args: Sequence[object], kwargs: Mapping[str, object]) -> Self:
        fields, written = dataclasses.fields(cls), f"it is {cls.signature()}"
        names = [field.name for field in fields]
        if len(args) > len(names):
            raise Fact(f"{cls.__name__} takes {len(names)} arguments at most, got {len(args)}", written)
        for name in kwargs:
            if name not in names:
                hint = nearest(name, names)
                raise Fact(f"{cls.__name__} has no argument '{name}'", f"{hint} {written}" if hint else written)
            if name in names[: len(args)]:
                inferred = "input channels are inferred, never written; " if names[0] == "width" else ""
                raise Fact(f"{cls.__name__} got its argument '{name}' twice", inferred + written)
        values: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        for field in fields:
            if field.name not in values and field.default is MISSING:
                raise Fact(f"{cls.__name__} needs its argument '{field.name}'", written)
        return cls(**values)

    @classmethod
    def signature(cls) -> str:
        """As a person writes it: `Linear(width, bias=True, weight=None)`."""
        fields = [f.name if f.default is MISSING else f"{f.name}={f.default!r}" for f in dataclasses.fields(cls)]
        return f"{cls.__name__}({', '.join(fields)})"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _frozen(getattr(self, field.name)))
        self.validate()

    def __str__(self) -> str:
        """As the spec would write it, defaults left out."""
        written = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            text = repr(thawed(value)) if isinstance(value, int | float | str | tuple) else str(value)
            if field.default is MISSING:
                written.append(text)
            elif value != field.default:
                written.append(f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(written)})"

    def validate(self) -> None:
        """Raises Fact where a field cannot be, whatever the input."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                self._check(field, value)

    def _check(self, field: Field[Any], value: Any) -> None:
        low, high = BOUNDS.get(field.name, (-INFINITY if field.type == "float" else 1, INFINITY))
        match str(field.type).removesuffix(" | None"):
            case "int":
                wanted, values = "a whole number", [value]
            case "float":
                wanted, values = "a number", [value]
            case "Sizes":
                several = {ANY: " or a list of them", 1: ""}.get(self.axes, f" or a list of {self.axes}")
                axes = self.axes if self.axes != ANY else len(value) if isinstance(value, tuple) else 1
                wanted, values = f"a whole number{several}", each(value, axes)
            case "Sides":
                wanted, values, low = "a whole number or [left, right, top, bottom]", each(value, 4), -INFINITY
            case "bool":
                wanted, values = "True or False", [] if isinstance(value, bool) else [None]
            case "Initializer":
                wanted, values = "an initializer such as normal(0, 0.02)", [None] if _is_plain(value) else []
            case "Bias":
                wanted = "True, False or an initializer such as zeros()"
                values = [] if isinstance(value, bool) or not _is_plain(value) else [None]
            case _:
                return
        number = is_number if field.type == "float" else is_int
        if not all(map(number, values)):
            exact = isinstance(value, float) and value.is_integer() and number is is_int
            help = "divide with // to stay exact" if exact else None
            if field.type == "Bias" and is_int(value):
                help = "the width of the input is inferred, never written"
            raise self._wrong(field.name, wanted, help)
        if not all(low <= v <= high for v in values):
            limits = f", at least {low:g}" if high == INFINITY else f" from {low:g} to {high:g}"
            raise self._wrong(field.name, wanted + limits)

    def _choice(self, name: str, choices: Sequence[str]) -> None:
        value = getattr(self, name)
        if value not in choices:
            hint = nearest(value, choices) if isinstance(value, str) else None
            raise self._wrong(name, "one of " + ", ".join(map(repr, choices)), hint)

    def _wrong(self, name: str, wanted: str, help: str | None = None) -> Fact:
        return Fact(f"{type(self).__name__}: {name} is {wanted}, got {thawed(getattr(self, name))!r}", help)

    def _construct(self, function: str, leading: Sequence[tuple[str, object]]) -> Construct:
        """Leading arguments, then the fields not at their default: by position what comes first or has no default."""
        arguments = [(name, value, True) for name, value in leading]
        for index, field in enumerate(dataclasses.fields(self)):
            name, value = self.names.get(field.name, field.name), getattr(self, field.name)
            value = value is not False if field.type == "Bias" else value
            if name and value != field.default:
                positional = field.default is MISSING or (index == 0 and not leading)
                arguments.append((name.rstrip("="), value, positional and not name.endswith("=")))
        return Construct(function, tuple(arguments), self.block)


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, int | float | str | tuple)


def each(value: Any, count: int) -> list[Any]:
    """One entry for each of `count`; [None], which no check lets pass, where the list has another length."""
    values = list(value) if isinstance(value, tuple) else [value] * count
    return values if len(values) == count > 0 else [None]


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def thawed(value: object) -> object:
    return list(map(thawed, value)) if isinstance(value, tuple) else value
