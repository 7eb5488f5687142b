"""What the game view says, before anybody decides where it stands: boxes, losses, players, and the edges between.

Everything here is text, names and truth values. A `Picture` is made by `describe`, printed as DOT by `dot` and as
Mermaid by `mermaid`.
"""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.errors import Place
from gangraph.frozen import frozen


@frozen
class Role:
    """What one member of a box or loss does in an iteration."""

    member: str  # its name; of a loss with two sides that of a side; "" for a call in place
    runs: tuple[tuple[str, str], ...]  # evaluations that compute it; how: gradient, no gradient, or held
    phases: frozenset[str]  # whose gradient passes


@frozen
class Box:
    """An input, a draw, or a value. `kind`: input, draw, call (a network makes it) or value (no network does)."""

    id: str
    kind: str
    name: str  # "" for a call in place
    text: str  # the expression, as its author wrote it; the type of an input or draw
    facts: str  # shape and range
    members: tuple[str, ...]  # the names that are folded here
    players: tuple[str, ...]  # whose network makes it
    live: bool  # whether some gradient arrives here, or could if something trained stood behind it
    cut: bool  # a `stop`, or a pool
    paths: frozenset[str]  # the players whose gradient passes
    roles: tuple[Role, ...] = ()
    networks: tuple[str, ...] = ()  # those whose call this is
    place: Place | None = None  # of a call in place: where it stands in the spec


@frozen
class Side:
    """One side of a two-sided loss, with the players who minimize it."""

    name: str
    text: str
    players: tuple[str, ...]


@frozen
class Loss:
    """A loss; one with two sides has a row for each argument and one for each side."""

    id: str
    name: str
    text: str  # the formula, or the families of a two-sided loss: `least_squares(a=0, b=1, c=1)`
    members: tuple[str, ...]
    players: tuple[str, ...]  # who minimizes it
    live: bool
    paths: frozenset[str]
    arguments: tuple[tuple[str, str], ...] = ()  # row, and its formula or what stands there instead of an edge
    sides: tuple[Side, ...] = ()
    roles: tuple[Role, ...] = ()


@frozen
class Term:
    """A summand of an objective: `+cyc = 1` of `cycle[via]`. `port` names its row."""

    weight: str
    text: str
    port: str


@frozen
class Move:
    """Phases of a player with the same objective: a row of its table, with the terms below."""

    text: str
    phases: tuple[str, ...]
    terms: tuple[Term, ...]
    port: str
    idle: tuple[tuple[str, str], ...] = ()  # weight and text of terms whose weight is 0: nothing computes them


@frozen
class Owned:
    """A network in its owner's table."""

    name: str
    members: tuple[str, ...]
    text: str
    calls: int  # boxes that it makes


@frozen
class Player:
    """A player's table; without a name, that of the networks that nobody trains."""

    id: str
    name: str
    colour: int  # the number of its colour and glyph; -1 for none
    members: tuple[str, ...]  # the players that are folded here
    networks: tuple[Owned, ...]
    moves: tuple[Move, ...]
    rules: tuple[str, ...] = ()  # what is done to gradients and parameters at a step, as the spec says it


@frozen
class Edge:
    """From what is read to what reads it; a port is a row of a loss or player."""

    tail: str
    head: str
    tail_port: str = ""
    head_port: str = ""
    players: tuple[str, ...] = ()  # whose colours it bears
    live: bool = True
    cut: bool = False  # whether the gradient is cut where this edge begins
    paths: frozenset[str] = frozenset()
    phases: frozenset[str] = frozenset()


@frozen
class Picture:
    """The game of one stage."""

    name: str
    title: str
    boxes: tuple[Box, ...]
    losses: tuple[Loss, ...]
    players: tuple[Player, ...]
    edges: tuple[Edge, ...]

    def __str__(self) -> str:
        return "\n".join([self.name, *self._lines()])

    def _lines(self) -> Iterator[str]:
        named = {b.id: b.name or b.text for b in self.boxes}
        named |= {x.id: x.name for x in self.losses} | {p.id: p.name or "nobody" for p in self.players}
        for box in self.boxes:
            state = "" if box.live else ", no gradient"
            made = f" by {', '.join(box.players)}" if box.players else ""
            yield f"  {box.kind} {box.name}: {box.text} -> {box.facts}{made}{state}".rstrip()
        for loss in self.losses:
            sides = "".join(f"; {s.name} by {', '.join(s.players)}" for s in loss.sides)
            yield f"  loss {loss.name}: {loss.text}{sides}"
        for player in self.players:
            yield f"  player {player.name or 'nobody'}"
            yield from (f"    {n.name}: {n.text}" for n in player.networks)
            yield from (f"    {rule}" for rule in player.rules)
            for move in player.moves:
                yield f"    {move.text}"
                yield from (f"      {t.weight}  {t.text}" for t in move.terms)
                yield from (f"      {weight}  {text}, not computed" for weight, text in move.idle)
        for edge in self.edges:
            ports = (f" ({edge.tail_port})" if edge.tail_port else "", f" ({edge.head_port})" if edge.head_port else "")
            arrow = "->" if edge.live else "..>"
            yield f"  {named[edge.tail]}{ports[0]} {arrow} {named[edge.head]}{ports[1]}"
