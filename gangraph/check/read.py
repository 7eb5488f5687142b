"""Resolved -> Read: the names that a spec reads, for the checks of what nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gangraph.document import Scalar
from gangraph.errors import Fact, Place
from gangraph.expressions import Expr, Index, Name, Number, String, names, parse_line, parts, show
from gangraph.families import family_of
from gangraph.resolve import Resolved
from gangraph.spec import Chain, GivenNetwork, GraphNetwork, Line, Model


def read_by(body: Any) -> set[str]:
    """The names that a definition's body reads, without those that it gives itself."""
    read = Read(())
    read.add(body)
    return read.names


class Read:
    """Names that the spec's expressions read, in all stages: `names`, and members of families of losses in `losses`."""

    def __init__(self, stages: Iterable[Resolved]):
        self.names: set[str] = set()
        self.losses: set[str] = set()
        self.symbols: set[Any] = set()
        self._done: set[tuple[int, frozenset[str]]] = set()
        for resolved in stages:
            self.symbols |= {v for values in resolved.index.values() for v in values}
            self.names |= resolved.bound.keys()
            self._file(resolved.spec.file)
            self._any(resolved.keys, frozenset())

    def _file(self, file: Any) -> None:
        for section in type(file).model_fields:
            entries = getattr(file, section)
            if section in ("functions", "families", "blocks", "layers", "once", "meant", "paper"):
                continue
            if section in ("sizes", "constants", "index", "state", "losses", "graph") and isinstance(entries, dict):
                for key, value in entries.items():
                    self._key(key)
                    heads = {part.strip() for part in re.sub(r"\[.*?\]", "", key).split(",")}
                    self._any(value, frozenset(heads if len(heads) == 1 else ()))  # one of several may need another
            elif section == "tiny":
                self._any(entries, frozenset())
            else:
                self._any(entries, frozenset())

    def add(self, value: Any) -> None:
        self._any(value, frozenset())

    def _key(self, key: str, hidden: frozenset[str] = frozenset()) -> None:
        """Index variables in a key like `h[k]`."""
        if "[" in key:
            try:
                items = parse_line(key, getattr(key, "place", Place()))
            except Fact:
                return
            for item in items:
                if isinstance(item, Index):
                    for inner in item.items:
                        self.names |= {n.id for n in names(inner)} - hidden

    def _any(self, value: Any, hidden: frozenset[str]) -> None:
        """Whatever holds expressions; `hidden` are names that mean something else here, or the thing itself."""
        if isinstance(value, Expr):
            self._expr(value, hidden)
        elif isinstance(value, Chain):
            self._any(value.lines, hidden)
        elif isinstance(value, Line):
            inner = hidden | ({value.loop} if value.loop else set())
            self._any((value.over, value.items), hidden)
            self._any(value.body, inner)
        elif isinstance(value, GraphNetwork):
            local = {i.name for i in value.inputs or []} | {
                family_of(part).strip() for key in value.graph for part in key.split(",")
            }
            local |= {str(name) for name in value.index or ()}
            self._any((value.index, value.graph, value.output, value.outputs), hidden | local)
        elif isinstance(value, GivenNetwork):
            self._any(value.definition, hidden)
        elif isinstance(value, Model):
            self._any([getattr(value, name) for name in type(value).model_fields], hidden)
        elif isinstance(value, dict):
            for key in value:
                self._key(key if hasattr(key, "place") else str(key), hidden)
            self._any(list(value.values()), hidden)
        elif isinstance(value, list | tuple):
            for item in value:
                self._any(item, hidden)
        elif isinstance(value, Scalar):
            try:
                for expr in parse_line(value.text, value.place):
                    self._expr(expr, hidden)
            except Fact:
                pass

    def _expr(self, expr: Expr, hidden: frozenset[str]) -> None:
        if (id(expr), hidden) in self._done:  # stages share most of their expressions
            return
        self._done.add((id(expr), hidden))
        stack: list[Any] = [expr]
        while stack:
            node = stack.pop()
            if isinstance(node, Name):
                if node.id not in hidden:
                    self.names.add(node.id)
                    self.losses.add(node.id)
            elif isinstance(node, Index) and isinstance(node.value, Name):
                if node.value.id not in hidden:
                    self.names.add(node.value.id)
                if node.value.id not in hidden or len(hidden) == 1:
                    self._member(node)
                stack += node.items
            else:
                stack += parts(node)

    def _member(self, node: Index) -> None:
        """`adv[latent]` reads one member of a family; with a variable in brackets, perhaps all."""
        assert isinstance(node.value, Name)
        fixed = all(
            isinstance(i, Number | String) or (isinstance(i, Name) and i.id in self.symbols) for i in node.items
        )
        self.losses.add(f"{node.value.id}[{', '.join(map(show, node.items))}]" if fixed else node.value.id)
