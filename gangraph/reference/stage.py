"""One stage of a resolved spec, with its members by name, and what expanding it has shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gangraph.families import Member
from gangraph.resolve import Move, Resolved

Shape = tuple[int, ...]


class Stage:
    def __init__(self, resolved: Resolved):
        self.resolved = resolved
        self.file = resolved.spec.file
        self.bound = dict(resolved.bound)
        self.symbols = frozenset(v for values in resolved.index.values() for v in values if isinstance(v, str))
        self.sizes, self.constants, self.families = resolved.sizes, resolved.constants, resolved.families
        self.inputs = by_name(resolved.inputs)
        self.draws = by_name(resolved.draws)
        self.values = by_name(resolved.values)
        self.losses = by_name(resolved.losses)
        self.networks = by_name(resolved.networks)
        self.averages = by_name(resolved.averages)
        self.players = by_name(resolved.players)
        self.closure: frozenset[str] = frozenset()  # what is made one time an iteration
        self.by: frozenset[str] = frozenset()  # what some `grad` differentiates by
        self.depth = 0  # how many `grad`s stand inside each other

    def phases(self) -> list[tuple[Move, Move | None]]:
        """Every phase in order, with the group that it is a member of."""
        found: list[tuple[Move, Move | None]] = []
        stack = list(self.resolved.schedule)
        while stack:
            move = stack.pop(0)
            if move.kind == "phase":
                found.append((move, None))
            elif move.kind == "group":
                found += [(member, move) for member in move.moves]
            stack = [*(move.moves if move.kind == "sequence" else ()), *stack]
        return found

    def members(self, name: str) -> list[str]:
        """A network's name, or all of a family."""
        return list(self.families[name].values()) if name in self.families else [name]


def by_name(members: tuple[Member, ...]) -> dict[str, Member]:
    return {name: member for member in members for name in member.names}


@dataclass
class Structure:
    """What a network turned out to hold, in the order of its expansion: parameters, buffers, networks that it calls."""

    parameters: dict[str, tuple[Shape, str]] = field(default_factory=dict)  # shape, and the layer's name
    buffers: dict[str, Any] = field(default_factory=dict)  # as they begin
    order: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, name: str) -> None:
        if (kind, name) not in self.order:
            self.order.append((kind, name))


@dataclass
class Expansion:
    """All networks of a spec, expanded."""

    networks: dict[str, Structure] = field(default_factory=dict)
    counting: bool = False  # whether a layer draws outside named values: the second call there has another draw

    def of(self, name: str) -> Structure:
        return self.networks.setdefault(name, Structure())

    def parameters(self, name: str) -> dict[str, tuple[Shape, str]]:
        """Those of a network and of what it contains, each once."""
        found: dict[str, Any] = {}
        for kind, item, structure in self._walk(name, set()):
            if kind == "parameter":
                found.setdefault(item, structure.parameters[item])
        return found

    def buffers(self, name: str) -> list[str]:
        return list(dict.fromkeys(item for kind, item, _ in self._walk(name, set()) if kind == "buffer"))

    def contained(self, name: str) -> list[str]:
        return [name, *dict.fromkeys(item for kind, item, _ in self._walk(name, set()) if kind == "call")]

    def _walk(self, name: str, seen: set[str]) -> Any:
        if name in seen or name not in self.networks:
            return
        seen.add(name)
        structure = self.networks[name]
        for kind, item in structure.order:
            yield kind, item, structure
            if kind == "call":
                yield from self._walk(item, seen)
