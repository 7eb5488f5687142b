"""`@frozen`: a dataclass whose fields are set once, at half the price of `dataclass(frozen=True)`.

`dataclass(frozen=True)` compiles six methods for each class and sets each field through `object.__setattr__`; with some
200 classes and ten thousand nodes that is what a short command spends its time on. Here `__init__` alone is compiled,
the other methods are shared, and that nobody assigns to a field is what mypy holds, not the running program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def frozen(cls: type[T], /) -> type[T]: ...
@overload
def frozen(*, eq: bool) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T] | None = None, /, *, eq: bool = True) -> Any:
    """The class as a dataclass that is compared and hashed by its fields; `eq=False`: by identity.

    >>> @frozen
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1), Point(1) == Point(1, 0), len({Point(1), Point(1), Point(2)})
    (Point(x=1, y=0), True, 2)
    """

    def made(cls: type[T]) -> type[T]:
        cls.__doc__ = cls.__doc__ or cls.__name__  # else `dataclass` writes the signature there, at length
        result: Any = dataclass(eq=False, repr=False)(cls)
        entries = fields(result)
        shared: dict[str, Any] = {"__repr__": _repr}
        if eq:
            compared = [entry.name for entry in entries if entry.compare]
            key = attrgetter(*compared) if compared else lambda value: ()

            def equal(self: Any, other: Any) -> bool:
                return self is other or (bool(key(self) == key(other)) if type(self) is type(other) else NotImplemented)

            shared |= {"__eq__": equal, "__hash__": lambda self: hash(key(self))}
        for name, method in shared.items():
            if name not in cls.__dict__:
                setattr(result, name, method)
        return cls

    return made(cls) if cls is not None else made


def _repr(self: Any) -> str:
    shown = (f"{entry.name}={getattr(self, entry.name)!r}" for entry in fields(self) if entry.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
