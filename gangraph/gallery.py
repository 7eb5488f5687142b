"""The gallery as a list, and the starting file of a new spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gangraph import _paths
from gangraph.document import Mapping, Scalar, Sequence
from gangraph.errors import Place, Problem, SpecError
from gangraph.spec import find, read_spec


def rows() -> list[dict[str, Any]]:
    """Name, paper, players and one line of every system, by name; nothing is inferred."""
    found = []
    for path in sorted(_paths.specs().glob("*.yaml")):
        parsed = read_spec(path)
        file = parsed.file
        players = [str(p) for p in file.players]
        notes = parsed.tree.get("notes")
        first = notes.items[0] if isinstance(notes, Sequence) and notes.items else notes
        line = str(first) if isinstance(first, Scalar) else ""
        found.append(
            {
                "name": parsed.name,
                "title": str(file.paper.title),
                "year": int(file.paper.year) if str(file.paper.year).isdecimal() else None,
                "players": players,
                "line": line,
            }
        )
    return found


def starting_file(name: str, extends: str) -> str:
    """A spec that says only what it extends, with the places where a variant usually begins as comments."""
    path = find(extends)
    parsed = read_spec(path)
    inside = path.parent == _paths.specs()
    here, target = Path.cwd().resolve(), path.resolve()
    if not inside and not target.is_relative_to(here):
        raise SpecError([Problem(Place(str(path)), "", "a parent stands in the new spec's own folder or below it")])
    sizes = parsed.tree.get("sizes")
    shown = ", ".join(f"{k}: {v}" for k, v in sizes.entries.items()) if isinstance(sizes, Mapping) else ""
    losses = "\n".join(
        f"#   {key}: {value}"
        for key, value in getattr(parsed.tree.get("losses"), "entries", {}).items()
        if isinstance(value, Scalar)
    )
    players = "\n".join(f"#   {key}: ..." for key in getattr(parsed.tree.get("players"), "entries", {}))
    return "\n".join(
        [
            "gangraph: 1",
            f"name: {name}",
            f"extends: {parsed.name if inside else target.relative_to(here)}",
            "# What is written here replaces what the parent says, key by key; `~` removes.",
            f"# sizes: {{{shown}}}",
            "# losses:",
            *([losses] if losses else []),
            "# players:",
            *([players] if players else []),
            "",
        ]
    )
