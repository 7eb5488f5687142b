r"""Two pictures -> one, with a mark for everything that is new, gone or another: what `gangraph diff -o` draws.

Things are the same if they bear the same name: boxes without one, and terms, if they say the same. The signs stand in
the texts, `+`, `−`, and `±` where both have a thing that says something else; the marks are for colours and lines.

>>> from gangraph.compiler import load
>>> from gangraph.draw.describe import describe
>>> merged, marks = merge(describe(load("gan", tiny=True)), describe(load("gan-minimax", tiny=True)))
>>> (adv,) = merged.losses
>>> adv.text.splitlines(), marks[adv.id]
(['−\xa0non_saturating', '+\xa0minimax'], 'changed')
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from gangraph.draw.picture import Box, Edge, Loss, Move, Owned, Picture, Player, Side, Term

SIGNS = {"added": "+", "removed": "−", "changed": "±"}
Marks = dict[str, str]  # added, removed, changed or kept, by the id of a node or edge, or by `p0:t1` of a row
T = TypeVar("T")
Key = Callable[[T], Hashable]


def merge(before: Picture, after: Picture) -> tuple[Picture, Marks]:
    """One picture of both games: the second, with what only the first has."""
    return _Merger(before, after).merged()


class _Merger:
    def __init__(self, before: Picture, after: Picture):
        self.before, self.after = before, after
        self.marks: Marks = {}
        self.ids: dict[str, str] = {}  # of a node of `before` -> in the merged picture
        self.ports: dict[tuple[str, str], str] = {}  # of a row of `before`, by merged id -> in the merged picture

    def merged(self) -> tuple[Picture, Marks]:
        a, b = self.before, self.after
        boxes = tuple(self._box(*pair) for pair in _pairs(a.boxes, b.boxes, lambda box: box.name or box.text))
        losses = tuple(self._loss(*pair) for pair in _pairs(a.losses, b.losses, lambda loss: loss.name))
        players = tuple(self._player(*pair) for pair in _pairs(a.players, b.players, lambda player: player.name))
        edges = tuple(self._edges())
        return Picture(f"{a.name} → {b.name}", "what changed", boxes, losses, players, edges), self.marks

    # --- nodes

    def _met(self, old: Box | Loss | Player | None, new: Box | Loss | Player | None, same: bool) -> tuple[str, str]:
        """The id and the mark of a node that one or both have."""
        id = new.id if new is not None else f"r{old.id}" if old is not None else ""
        if old is not None:
            self.ids[old.id] = id
        self.marks[id] = mark = _mark(old, new, same)
        return id, mark

    def _box(self, old: Box | None, new: Box | None) -> Box:
        one, two = old or new, new or old
        assert one is not None and two is not None
        id, mark = self._met(old, new, (one.text, one.facts) == (two.text, two.facts))
        text, facts = _both(one.text, two.text), _both(one.facts, two.facts)
        if two.name:
            return replace(two, id=id, name=_signed(mark, two.name), text=text, facts=facts)
        return replace(two, id=id, text=_signed(mark, text), facts=facts)

    def _loss(self, old: Loss | None, new: Loss | None) -> Loss:
        one, two = old or new, new or old
        assert one is not None and two is not None
        sides = tuple(_side(*pair) for pair in _pairs(one.sides, two.sides, lambda side: side.name))
        same = one.text == two.text and sides == two.sides
        id, mark = self._met(old, new, same)
        rows = dict(one.arguments) | dict(two.arguments)
        text = _both(one.text, two.text)
        return replace(two, id=id, name=_signed(mark, two.name), text=text, arguments=tuple(rows.items()), sides=sides)

    def _player(self, old: Player | None, new: Player | None) -> Player:
        one, two = old or new, new or old
        assert one is not None and two is not None
        id, _ = self._met(old, new, True)
        networks = tuple(
            self._owned(id, *pair, _mark(old, new, True)) for pair in self._rows(old, new, lambda p: p.networks, _name)
        )
        rules = tuple(_rule(*pair) for pair in self._rows(old, new, lambda p: p.rules, lambda rule: rule.split(":")[0]))
        moves: list[Move] = []
        for pair in self._rows(old, new, lambda p: p.moves, lambda move: move.phases):
            moves.append(self._move(id, len(moves), sum(len(m.terms) for m in moves), *pair))
        return replace(two, id=id, networks=networks, rules=rules, moves=tuple(moves))

    @staticmethod
    def _rows(
        old: Player | None, new: Player | None, rows: Callable[[Player], tuple[T, ...]], key: Key[T]
    ) -> Iterator[tuple[T | None, T | None]]:
        return _pairs(rows(old) if old else (), rows(new) if new else (), key)

    def _owned(self, id: str, old: Owned | None, new: Owned | None, whole: str) -> Owned:
        one, two = old or new, new or old
        assert one is not None and two is not None
        counts = [re.sub(r", called ×\d+", "", owned.text) for owned in (one, two)]
        mark = _mark(old, new, counts[0] == counts[1])
        text = two.text if mark != "changed" else _both(one.text, two.text)
        name = _signed(mark, two.name)
        self.marks[f"{id}:{name}"] = mark if whole == "kept" else whole
        return replace(two, name=name, text=text)

    def _move(self, id: str, number: int, above: int, old: Move | None, new: Move | None) -> Move:
        one, two = old or new, new or old
        assert one is not None and two is not None
        port = f"m{number}"
        terms = []
        pairs = _pairs(old.terms if old else (), new.terms if new else (), lambda term: term.text)
        for count, (was, now) in enumerate(pairs, above):
            terms.append(self._term(id, f"t{count}", was, now))
        if old is not None:
            self.ports[id, old.port] = port
        if new is not None:
            self.ports[id, f"+{new.port}"] = port
        self.marks[f"{id}:{port}"] = mark = _mark(old, new, one.text == two.text)
        text = _both(one.text, two.text) if mark == "changed" else _signed(mark, two.text)
        return Move(text, two.phases, tuple(terms), port, two.idle)

    def _term(self, id: str, port: str, old: Term | None, new: Term | None) -> Term:
        one, two = old or new, new or old
        assert one is not None and two is not None
        if old is not None:
            self.ports[id, old.port] = port
        if new is not None:
            self.ports[id, f"+{new.port}"] = port
        self.marks[f"{id}:{port}"] = mark = _mark(old, new, one.weight == two.weight)
        return Term(_both(one.weight, two.weight), _signed(mark, two.text), port)

    # --- edges

    def _edges(self) -> Iterator[Edge]:
        players = {p.id for p in (*self.before.players, *self.after.players)}

        def placed(edge: Edge, ids: dict[str, str], new: str) -> Edge:
            tail, head = ids.get(edge.tail, edge.tail), ids.get(edge.head, edge.head)
            port = self.ports[head, new + edge.head_port] if edge.head in players else edge.head_port
            return replace(edge, tail=tail, head=head, head_port=port)

        old = [placed(edge, self.ids, "") for edge in self.before.edges]
        new = [placed(edge, {}, "+") for edge in self.after.edges]
        pairs = _pairs(old, new, _ends)
        for number, (was, now) in enumerate(pairs):
            self.marks[f"e{number}"] = _mark(was, now, True)
            edge = now or was
            assert edge is not None
            yield edge


def _pairs(old: Iterable[T], new: Iterable[T], key: Key[T]) -> Iterator[tuple[T | None, T | None]]:
    """What two sequences have, side by side where the keys agree: in the order of the second, the rest behind."""
    left: defaultdict[Hashable, list[T]] = defaultdict(list)
    for item in old:
        left[key(item)].append(item)
    for item in new:
        same = left[key(item)]
        yield same.pop(0) if same else None, item
    yield from ((item, None) for items in left.values() for item in items)


def _mark(old: object, new: object, same: bool) -> str:
    return "added" if old is None else "removed" if new is None else "kept" if same else "changed"


def _signed(mark: str, text: str) -> str:
    """A text behind the sign of its mark, from which no line breaks it."""
    return f"{SIGNS[mark]}\u00a0{text}" if mark in SIGNS and text else text


def _both(old: str, new: str) -> str:
    """A text that both have, or the old line above the new one."""
    return new if old == new else "\n".join(_signed(mark, t) for mark, t in (("removed", old), ("added", new)) if t)


def _side(old: Side | None, new: Side | None) -> Side:
    one, two = old or new, new or old
    assert one is not None and two is not None
    return replace(two, text=_both(one.text, two.text))


def _rule(old: str | None, new: str | None) -> str:
    return _both(old or "", new or "")


def _ends(edge: Edge) -> Hashable:
    return edge.tail, edge.head, edge.tail_port, edge.head_port


def _name(owned: Owned) -> str:
    return owned.name
