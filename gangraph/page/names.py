"""The keys of things, and texts with links to them.

The key of a thing is its name, in all stages. Phases and players have namespaces of their own, and a call in place has
no name: their keys have a word in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gangraph.compiler import Spec
from gangraph.draw.picture import Box
from gangraph.families import SIDES, family_of, side_of, whole_loss
from gangraph.frozen import frozen

Keys = tuple[str, ...]

# A name, perhaps of a member or of a side; not a keyword of a call.
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*\b(?:\[[^\[\]]*\])?(?:\.(?:discriminator|generator)\b)?(?!=(?!=))")


@frozen
class Link:
    """A text that leads to things."""

    text: str
    keys: Keys


Part = str | Link


def call_key(box: Box) -> str:
    return f"call of {', '.join(box.networks)} at {box.place}"


def phase_key(name: str) -> str:
    return f"phase {name}"


def player_key(name: str) -> str:
    return f"player {name}"


def sides_of(loss: str) -> Keys:
    return tuple(f"{loss}.{side}" for side in SIDES)


def merged(keys: Iterable[Iterable[str]]) -> Keys:
    """The keys of several, each once."""
    return tuple(dict.fromkeys(key for some in keys for key in some))


class Names:
    """What a name in an expression of a spec stands for, in one stage."""

    def __init__(self, spec: Spec):
        graph, resolved = spec.graph, spec.graph.resolved
        names = [*resolved.sizes, *resolved.constants, *graph.inputs, *graph.draws, *graph.values]
        names += [*graph.networks, *graph.losses, *graph.state, *graph.averages, *(m.name for m in resolved.losses)]
        self.known: dict[str, dict[str, None]] = {}
        for name in names:
            family = family_of(whole_loss(name)) + (f".{side_of(name)}" if side_of(name) else "")
            for written in (name, family):
                self.known.setdefault(written, {})[name] = None

    def find(self, written: str) -> Keys:
        """The keys of a name; all members of a family where its index is not bound."""
        family = re.sub(r"\[.*\]", "", written)
        return tuple(self.known.get(written) or self.known.get(family) or ())

    def linked(self, text: str) -> tuple[Part, ...]:
        """A text with a link at every name."""
        parts: list[Part] = []
        end = 0
        for match in NAME.finditer(text):
            keys = self.find(match[0])
            if keys:
                parts += [text[end : match.start()], Link(match[0], keys)]
                end = match.end()
        return tuple(part for part in (*parts, text[end:]) if part)

    def about(self, text: str, name: str) -> bool:
        """Whether a text names something, by its name or through its family."""
        return any(name in self.find(match[0]) for match in NAME.finditer(text))
