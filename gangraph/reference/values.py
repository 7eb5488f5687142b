"""What an expression can be: a value of the dataflow, a number that moves with the run, a loss with two sides.

An array always has the sample axis in front. A shared value has length 1 there, so that it meets any number of
samples by NumPy's own rule; the flag says which of the two an array of one sample is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as np


class Value:
    """An array [samples, own axes...]. `order` counts the derivatives that it is made of, one inside the other."""

    __slots__ = ("data", "name", "order", "shared")

    def __init__(self, data: Any, shared: bool = False, order: int = 0, name: str | None = None):
        self.data, self.shared, self.order, self.name = data, shared, order, name

    @property
    def shape(self) -> tuple[int, ...]:
        """The own axes."""
        return tuple(self.data.shape[1:])

    @property
    def samples(self) -> int:
        return int(self.data.shape[0])

    def but(self, data: Any) -> Value:
        """Another array of the same kind."""
        return Value(data, self.shared, self.order)

    def __repr__(self) -> str:
        return f"Value({self.name or ''}, {'shared' if self.shared else self.samples} x {list(self.shape)})"


class Live:
    """A number that a clock, a state or the batch decides: never a constant, whatever it is now."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __repr__(self) -> str:
        return f"Live({self.value})"


class Thunk:
    """Something that is evaluated where it is first read, and once."""

    __slots__ = ("busy", "expr", "made", "make", "scope", "value")

    def __init__(self, make: Callable[[], Any], expr: Any = None, scope: Any = None):
        self.make: Callable[[], Any] | None = make
        self.expr, self.scope = expr, scope
        self.made, self.busy, self.value = False, False, None

    def force(self) -> Any:
        if not self.made:
            if self.busy:
                raise RecursionError(f"{self.expr} is made of itself")
            self.busy = True
            assert self.make is not None
            try:
                self.value = self.make()
            finally:
                self.busy = False
            self.made = True
            self.make = self.scope = None  # whatever they held may go
        return self.value


class Dropped:
    """A term whose factor is a constant 0 (semantics 3): it is not there. `whole` is what it would be."""

    def __init__(self, whole: Callable[[], Any]):
        self.whole = whole


def present(value: Any) -> Any:
    """Terms that are not there as what they would be, where they cannot be left out."""
    if isinstance(value, tuple):
        found = tuple(map(present, value))
        return found if any(a is not b for a, b in zip(value, found, strict=True)) else value
    return value.whole() if isinstance(value, Dropped) else value


class TwoSided:
    """A loss with a side for each player, each evaluated when it is read."""

    def __init__(self, discriminator: Thunk, generator: Thunk):
        self.sides = {"discriminator": discriminator, "generator": generator}

    def side(self, name: str) -> Any:
        return self.sides[name].force()


class Outputs(tuple):  # type: ignore[type-arg]
    """Several outputs with names: `mu, logvar: E(x)` or `E(x).mu`."""

    names: tuple[str, ...] = ()


def number(value: Any) -> Any:
    """A host number without its mark."""
    return value.value if isinstance(value, Live) else value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | Live | np.floating | np.integer)


def integer(value: Any) -> int:
    """A size, an axis, a count."""
    plain = number(value)
    if isinstance(plain, float) and not plain.is_integer():
        raise ValueError(f"{plain} is not an integer")
    return int(plain)
