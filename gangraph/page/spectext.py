"""Spec -> Texts: its files, the file itself first, then its parents.

Every key of a file stands at a place, and what it declares knows that place: this makes the regions. Every name in an
expression knows its place too: this makes the links.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from gangraph.compiler import Spec
from gangraph.document import Mapping, Sequence, Tree, read_text
from gangraph.errors import Place
from gangraph.expressions import Attribute, Expr, Index, Name, show, within
from gangraph.families import SIDES
from gangraph.page.names import Keys, Names, phase_key, player_key, sides_of
from gangraph.page.texts import Region, Span, Text, yaml_styles
from gangraph.resolve import Move, Resolved, moves_in
from gangraph.spec import expressions


def spec_texts(spec: Spec, names: Iterable[Names], things: Container[str]) -> tuple[Text, ...]:
    """The files of a spec, with the things of all its stages; `names` are those of each."""
    trees = [spec.parsed.tree, *(tree for _, tree in spec.parsed.stage_trees)]
    files = {place.file for tree in trees for place in _places(tree)}
    declared = _declared(spec, things)
    found: dict[tuple[Place, str], dict[str, None]] = {}
    for resolved, known in zip(spec.resolved, names, strict=True):
        for place, text, keys in _links(resolved, known):
            found.setdefault((place, text), {}).update(dict.fromkeys(keys))
    links = [(place, text, tuple(keys)) for (place, text), keys in found.items()]
    return tuple(
        _text(name, lines, declared, links) for name, lines in spec.parsed.sources.files.items() if name in files
    )


def _places(tree: Tree) -> Iterator[Place]:
    if isinstance(tree, Mapping):
        yield from (key.place for key in tree.keys.values())
        for value in tree.entries.values():
            yield from _places(value)
    elif isinstance(tree, Sequence):
        for item in tree.items:
            yield from _places(item)


def _text(
    name: str, lines: tuple[str, ...], declared: dict[Place, Keys], links: Iterable[tuple[Place, str, Keys]]
) -> Text:
    regions, spans = [], list(yaml_styles(lines))
    for place, key, keys, last in _entries(read_text("\n".join(lines), name).root, len(lines), declared, ()):
        regions.append(Region(place.line, _trimmed(lines, place.line, last), keys))
        spans += _named(lines, place, key, keys)
    for place, text, keys in links:
        spans += _named(lines, place, text, keys) if place.file == name else ()
    return Text(name, lines, tuple(regions), tuple(spans))


def _named(lines: tuple[str, ...], place: Place, text: str, keys: Keys) -> Iterator[Span]:
    """A name at its place; none where the file says it in another way (an escape, a folded line)."""
    start = place.column - 1
    if place.line <= len(lines) and lines[place.line - 1].startswith(text, start):
        yield Span(place.line, start, start + len(text), "name", keys)


def _trimmed(lines: tuple[str, ...], first: int, last: int) -> int:
    """The last line without the empty lines and comments behind an entry."""
    while last > first and lines[last - 1].strip()[:1] in ("", "#"):
        last -= 1
    return last


# --- what is declared where


def _declared(spec: Spec, things: Container[str]) -> dict[Place, Keys]:
    """The things that a key declares, by its place."""
    found: dict[Place, dict[str, None]] = {}
    for resolved in spec.resolved:
        for place, keys in _declarations(resolved):
            found.setdefault(place, {}).update(dict.fromkeys(k for k in keys if k in things))
    return {place: tuple(keys) for place, keys in found.items() if keys}


def _declarations(resolved: Resolved) -> Iterator[tuple[Place, Iterable[str]]]:
    for name, place in resolved.places.items():
        yield place, (name, *sides_of(name))
    for member in resolved.players:
        yield member.place, [player_key(member.name)]
    for move in moves_in(resolved.schedule):
        yield move.place, [phase_key(m.name) for m in moves_in([move])]


def _entries(
    tree: Mapping, last: int, declared: dict[Place, Keys], above: Keys
) -> Iterator[tuple[Place, str, Keys, int]]:
    """Every key that declares something: its place, its text, what it declares, and the last line of its entry."""
    keys = sorted(tree.keys.items(), key=lambda item: item[1].place)
    for i, (text, key) in enumerate(keys):
        following = keys[i + 1][1].place.line - 1 if i + 1 < len(keys) else last
        end = max(following, key.place.line)
        found = declared.get(key.place, ())
        if text in SIDES and not found:  # a side of a loss that is written as two
            found = tuple(k for k in above if k.endswith(f".{text}"))
        if found:
            yield key.place, key.text, found, end
        value = tree.entries[text]
        if isinstance(value, Mapping):
            yield from _entries(value, end, declared, found)


# --- what is named where


def _links(resolved: Resolved, names: Names) -> Iterator[tuple[Place, str, Keys]]:
    for expr in _written(resolved):
        for inner in within(expr):
            text = _name(inner)
            keys = names.find(text) if text else ()
            if keys:
                yield inner.at, text, keys


def _name(expr: Expr) -> str:
    """The text of a name, of a member, of a side."""
    if isinstance(expr, Attribute) and expr.name in SIDES:
        return f"{_name(expr.value)}.{expr.name}"
    if isinstance(expr, Index) and isinstance(expr.value, Name):
        return show(expr)
    return expr.id if isinstance(expr, Name) else ""


def _written(resolved: Resolved) -> Iterator[Expr]:
    """The expressions that read names of the spec. A network that has names of its own is left out."""
    yield from resolved.constants.values()
    for member in (*resolved.values, *resolved.losses, *resolved.averages):
        yield from expressions(member.body)
    for member in (*resolved.networks, *resolved.inputs, *resolved.draws):
        yield from [member.body] if isinstance(member.body, Expr) else []
    for member in resolved.players:
        yield from _fields(member.body)
    for move in moves_in(resolved.schedule):
        yield from _fields(move)
    file = resolved.spec.file
    for holder in file.state.values():
        yield from _fields(holder)
    for value in (*file.once, *file.sample.values()):
        yield from [value] if isinstance(value, Expr) else []


def _fields(holder: Any) -> Iterator[Expr]:
    """The expressions in the fields of a player or move."""
    for value in vars(holder).values():
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        yield from (item for item in items if isinstance(item, Expr) and not isinstance(item, Move))
