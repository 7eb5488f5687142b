"""Spec, things -> texts: the lines of the spec and of the program, and which things each line is about.

The two texts know nothing of each other. Both say which things they declare where, and that is the mapping: a line of
one has its counterpart wherever the other declares the same thing.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import field

from gangraph.frozen import frozen
from gangraph.page.names import Keys, merged


@frozen
class Region:
    """Lines that declare things: the entry of a spec, a statement, a method, a class. Lines count from 1."""

    first: int
    last: int
    keys: Keys


@frozen
class Span:
    """Characters of a line, from 0: in a style, or naming things."""

    line: int
    start: int
    end: int
    style: str = ""
    keys: Keys = ()


@frozen
class Piece:
    text: str
    style: str = ""
    keys: Keys = ()


@frozen
class Text:
    """A file: its lines, with what they are about."""

    name: str
    lines: tuple[str, ...]
    regions: tuple[Region, ...] = ()
    spans: tuple[Span, ...] = ()
    _at: dict[int, list[Span]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for span in sorted(self.spans, key=lambda s: (s.line, not s.keys, s.start)):  # names win over styles
            taken = self._at.setdefault(span.line, [])
            if all(span.end <= other.start or other.end <= span.start for other in taken):
                bisect.insort(taken, span, key=lambda s: s.start)

    def keys(self) -> list[Keys]:
        """For every line the things of the smallest region around it; none for an empty line."""
        found: list[Keys] = [()] * len(self.lines)
        for (first, last), regions in itertools.groupby(
            sorted(self.regions, key=lambda r: (r.first - r.last, r.first)), key=lambda r: (r.first, r.last)
        ):
            found[first - 1 : last] = [merged(r.keys for r in regions)] * (last - first + 1)
        return [keys if line.strip() else () for keys, line in zip(found, self.lines, strict=True)]

    def pieces(self, line: int) -> Iterator[Piece]:
        """A line cut at its spans."""
        text, end = self.lines[line - 1], 0
        for span in self._at.get(line, ()):
            if span.start > end:
                yield Piece(text[end : span.start])
            yield Piece(text[span.start : span.end], span.style, span.keys)
            end = span.end
        if end < len(text):
            yield Piece(text[end:])


# A quoted text or a comment of YAML; a key.
_QUOTED = re.compile(r"""(?:(?<=[\s\[{,(:])|^)("(?:\\.|[^"\\])*"|'(?:''|[^'])*')|(?:(?<=\s)|^)(#.*)""")
_KEY = re.compile(r"""(?:^|(?<=[{,])|(?<=-))\s*([^\s#"'{}\[\]:,-](?:[^#"'{}\[\]:]|\[[^\[\]{}]*\])*?)(?=:(?:\s|$))""")


def yaml_styles(lines: Iterable[str]) -> Iterator[Span]:
    """Comments, quoted texts and keys."""
    for number, line in enumerate(lines, 1):
        comment = len(line)
        for match in _QUOTED.finditer(line):
            style = "string" if match[1] else "comment"
            comment = match.start(2) if match[2] else comment
            yield Span(number, match.start(1 if match[1] else 2), match.end(), style)
        for match in _KEY.finditer(line[:comment]):
            yield Span(number, match.start(1), match.end(1), "key")
