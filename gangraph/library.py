"""The standard library and a spec's own additions, by name: functions, families and blocks with their signatures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gangraph import _paths, ops
from gangraph.errors import Fact, Place, nearest
from gangraph.expressions import Call, Expr, Name, parse
from gangraph.layers import LAYERS, WRAPPERS
from gangraph.spec import Key, Lazy, LibrarySpec, Sources, read_library

KINDS = ("functions", "families", "blocks", "layers")


@dataclass(eq=False)
class Definition:
    """A function, family or block: parameters with their defaults (expressions), and the body."""

    kind: str  # one of KINDS
    name: str
    parameters: tuple[tuple[str, Expr | None], ...]
    body: Any  # Expr, TwoSides, Chain or GraphNetwork; or Lazy until its first use
    at: Place
    standard: bool = True

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(n if d is None else f'{n}={d}' for n, d in self.parameters)})"

    def read(self) -> Any:
        if isinstance(self.body, Lazy):
            self.body = self.body.get()
        return self.body

    def bind(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """Given arguments by name; those that the caller leaves out are missing here."""
        names = [name for name, _ in self.parameters]
        if len(arguments) > len(names):
            raise Fact(f"{self.name} takes {len(names)} arguments, not {len(arguments)}", self.signature)
        bound = dict(zip(names, arguments, strict=False))
        for name, value in keywords.items():
            if name not in names:
                raise Fact(f"{self.name} has no argument '{name}'", nearest(name, names) or self.signature)
            if name in bound:
                raise Fact(f"{self.name} gets '{name}' twice")
            bound[name] = value
        missing = [name for name, default in self.parameters if default is None and name not in bound]
        if missing:
            raise Fact(f"{self.name} misses its argument '{missing[0]}'", self.signature)
        return bound


def signature(key: str, place: Place) -> tuple[str, tuple[tuple[str, Expr | None], ...]]:
    """`unet(levels, out=3)` -> its name and parameters."""
    try:
        expr = parse(key, place)
    except Fact:
        expr = Name(place, "")
    good = (
        isinstance(expr, Call) and isinstance(expr.function, Name) and all(isinstance(a, Name) for a in expr.arguments)
    )
    if not good:
        raise Fact(f"{key} is not a signature", "it looks like NAME(a, b=0)")
    assert isinstance(expr, Call) and isinstance(expr.function, Name)
    parameters: list[tuple[str, Expr | None]] = [(a.id, None) for a in expr.arguments if isinstance(a, Name)]
    parameters += list(expr.keywords)
    names = [name for name, _ in parameters]
    if len(set(names)) != len(names):
        raise Fact(f"{key} names a parameter twice")
    return expr.function.id, tuple(parameters)


_TORCH = re.compile(r"(torch\.)?nn\.[A-Z]\w*")


def _declarable(name: str, body: Any) -> None:
    if name in LAYERS or name in WRAPPERS:
        raise Fact(f"{name} is a layer of the language", "declare another one, or leave it out")
    if not _TORCH.fullmatch(body.torch):
        raise Fact(f"{body.torch} is not a layer of torch", "as in torch: nn.Unfold")


_ENTRY = re.compile(r"^  (\w+)\(", re.MULTILINE)  # how a file of the standard library writes a signature


@cache
def _shelf() -> dict[str, Path]:
    """Which file of the standard library defines a name, told without reading it as YAML: a spec needs few of them."""
    files = sorted((_paths.specs() / "library").glob("*.yaml"))
    return {name: path for path in files for name in _ENTRY.findall(path.read_text(encoding="utf-8"))}


class Library:
    """Names -> definitions; a spec's own hide those of the standard library, which never sees them.

    A file of the standard library is read at the first use of one of its names, those of the folder `extra` at once.
    """

    def __init__(self, sources: Sources, extra: Path | None = None):
        self.standard: dict[str, Definition] = {}
        self.own: dict[str, Definition] = {}
        self.sources, self._shelf = sources, dict(_shelf())
        for path in sorted(extra.glob("*.yaml")) if extra else ():
            self._add(read_library(path, sources), self.standard, standard=True)

    def add(self, part: LibrarySpec) -> None:
        """A spec's own functions, families, blocks and layers. Raises `Fact` with its place."""
        self._add(part, self.own, standard=False)

    def _add(self, part: LibrarySpec, into: dict[str, Definition], standard: bool) -> None:
        for kind in KINDS:
            for key, body in getattr(part, kind, {}).items():
                place = key.place if isinstance(key, Key) else Place()
                try:
                    name, parameters = signature(key, place)
                    if name in ops.OPERATORS or name in ops.SPECIAL:
                        raise Fact(f"{name} is a word of the core and cannot be defined anew")
                    if kind == "layers":
                        _declarable(name, body)
                    if name in into or (into is self.standard and name in self._shelf):
                        raise Fact(f"{name} is defined twice")
                except Fact as fact:
                    fact.place, fact.path = place, kind
                    raise
                into[name] = Definition(kind, name, parameters, body, place, standard)

    def find(self, name: str, standard_only: bool) -> Definition | None:
        found = None if standard_only else self.own.get(name)
        if found is None and name in self._shelf:
            path = self._shelf[name]
            self._shelf = {other: file for other, file in self._shelf.items() if file != path}
            self._add(read_library(path, self.sources), self.standard, standard=True)
        return found or self.standard.get(name)

    def names(self) -> list[str]:
        return [*self.own, *self.standard, *self._shelf]
