"""What is wrong, where, and what to do: every message of gangraph has one layout.

Inner code raises a `Fact`; the border that knows the place turns it into a `Problem`; a stage collects its
problems and raises them together as one `SpecError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from gangraph.frozen import frozen


class Place(NamedTuple):
    """A position in a file; line and column count from 1."""

    file: str = "<spec>"
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def seen_from(self, other: Place) -> str:
        """`line 7`, with its file where that is not the other's."""
        return f"line {self.line}" + (f" of {self.file}" if self.file != other.file else "")

    def right(self, columns: int) -> Place:
        return Place(self.file, self.line, self.column + columns)


@frozen
class Problem:
    """One thing that is wrong (or, as a warning, that an honest design may have meant)."""

    place: Place
    path: str  # where in the spec, as a dotted path: `players.G.networks`
    fact: str
    help: str | None = None
    warning: str | None = None  # the name by which `meant` may declare it; None: an error
    source: str | None = None  # the line of the file, for the caret
    trail: tuple[str, ...] = ()  # further places: a library's line, the shapes on the way

    def __str__(self) -> str:
        head = f"{self.place} {self.path}: " if self.path else f"{self.place} "
        text = head + ("warning: " if self.warning else "") + self.fact
        if self.help:
            text += f" ({self.help})"
        if self.warning:
            text += f" [meant: {self.warning}]"
        if self.source is not None:
            caret = " " * (self.place.column - 1) + "^"
            text += f"\n    {self.source}\n    {caret}"
        return text + "".join(f"\n    {line}" for line in self.trail)


class GangraphError(Exception):
    """Whatever the user can mend: its text is the whole message."""


class SpecError(GangraphError):
    """A spec that is wrong; `problems` holds everything that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]):
        first = {(p.place, p.fact): p for p in reversed(list(problems))}  # a family's members err as one
        self.problems = tuple(sorted(first.values(), key=lambda p: (p.place, p.fact)))
        super().__init__("\n".join(map(str, self.problems)))


class RunError(GangraphError):
    """A run that cannot begin or go on: data, files, devices, numbers that are not finite."""


class Fact(Exception):
    """A wrong fact found by code that does not know its place."""

    place: Place | None = None  # once somebody knows it
    path: str | None = None
    trail: tuple[str, ...] = ()
    explained = False  # whether the trail has the shapes on the way

    def __init__(self, message: str, help: str | None = None):
        super().__init__(message)
        self.message = message
        self.help = help

    def at(self, place: Place) -> Fact:
        """The fact with this place, unless one is known that lies further in."""
        self.place = self.place or place
        return self


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The hint for a misspelt name: `did you mean 'G_ab'?`, or None when nothing is near.

    >>> nearest("netwroks", ["networks", "losses"])
    "did you mean 'networks'?"
    """
    words = sorted(known)
    turned = [k for k in words if len(k) == len(name) and sorted(k.lower()) == sorted(name.lower())]
    found = turned or difflib.get_close_matches(name, words, n=3, cutoff=0.6)
    if len(name) <= 3:  # two of three letters are no likeness
        found = [k for k in found if k[:1].lower() == name[:1].lower()]
    return f"did you mean '{found[0]}'?" if found else None
