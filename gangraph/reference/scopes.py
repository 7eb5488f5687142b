"""What an expression can see, and where what it applies gets its names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gangraph.reference.values import Thunk

MISSING = object()


@dataclass
class Place:
    """A place in a network: an item of a chain, or a value, whose calls are numbered from 0 along its path."""

    run: Any  # the call of a network that this is part of; None at the level of the spec
    prefix: str = ""
    root: Any = None  # the expression that is the whole item: it bears the prefix itself
    count: int = 0

    def path(self, expr: Any) -> str:
        if self.root is not None and expr is self.root:
            return self.prefix
        self.count += 1
        return join(self.prefix, str(self.count - 1))


def join(*parts: str) -> str:
    return ".".join(filter(None, parts))


@dataclass
class Scope:
    """Names, innermost first. `inside` a block the spec's names are out of sight."""

    frame: dict[str, Any] = field(default_factory=dict)
    parent: Scope | None = None
    index: dict[str, Any] = field(default_factory=dict)
    families: dict[str, dict[tuple[Any, ...], str]] = field(default_factory=dict)
    inside: bool = False
    standard: bool = False  # a definition of the library does not see the spec's own definitions
    home: str = ""  # the value, loss or phase that this is written in: the first part of a layer draw's name
    dropping: bool = False  # in objectives and losses a term with the factor 0 is not there
    knowing: bool = False  # in conditions a loss is a number
    place: Place | None = None
    wrappers: tuple[Any, ...] = ()

    def inner(self, frame: dict[str, Any] | None = None, **changes: Any) -> Scope:
        """A scope inside this one."""
        kept = {
            name: getattr(self, name)
            for name in ("index", "inside", "standard", "home", "dropping", "knowing", "place", "wrappers")
        }
        return Scope(frame or {}, self, **(kept | changes))

    def find(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.frame:
                found = scope.frame[name]
                return found.force() if isinstance(found, Thunk) else found
            if name in scope.families:
                return tuple(scope.member(name, key) for key in scope.families[name])
            scope = scope.parent
        return MISSING

    def unforced(self, name: str) -> Any:
        """What stands under a name, without evaluating it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.frame:
                return scope.frame[name]
            if name in scope.families:
                return scope.families
            scope = scope.parent
        return MISSING

    def holder(self, family: str) -> Scope | None:
        """The scope that declares a family; None too where a plain name hides it."""
        scope: Scope | None = self
        while scope is not None:
            if family in scope.families:
                return scope
            if family in scope.frame:
                return None
            scope = scope.parent
        return None

    def member(self, family: str, key: tuple[Any, ...]) -> Any:
        found = self.frame[self.families[family][key]]
        return found.force() if isinstance(found, Thunk) else found
