"""Two-sided losses: do the sides somewhere pull the score of the fake in opposite directions?

The sides are formulas of scores. They are evaluated on plain floats, one number a sample, over a grid and random
batches, and their derivatives by the score of one fake are compared. Labels are never minded, nor which way is up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

from gangraph import ops
from gangraph.check.case import ARITHMETIC, SAME, Sided, nearest_calls
from gangraph.ir import Node

Value = float | list[float]  # a shared number, or one for each sample

BATCH = 4
GRID = (-4.0, -2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0, 4.0, -15.0, 15.0, 60.0)
TRIES = 24
STEP = 1e-4


def pull(sided: Sided) -> str | None:
    """What is wrong with the two sides of a loss: a fact, or None."""
    if not (sided.fake and sided.phases["generator"]):
        return None
    if not sided.shown:
        return "the discriminator's side reads no score of a fake"
    shown = "discriminator", sided.shown
    d_moves = g_moves = None
    for d, g in _slopes(sided, shown, ("generator", sided.fake)):
        if d * g < 0:
            return _told(sided)
        d_moves, g_moves = d_moves or d, g_moves or g
    if not g_moves:
        return None  # the generator's side is flat, or could not be evaluated: another check's affair
    if not d_moves:
        return "the discriminator's side does not change with the score of a fake"
    return "both sides pull the score of the fake the same way, wherever it is"


def _told(sided: Sided) -> str | None:
    """Whether the discriminator's side somewhere pulls a real and a fake apart."""
    same = False
    for real, fake in _slopes(sided, ("discriminator", sided.real), ("discriminator", sided.shown)):
        if real * fake < 0:
            return None
        same = same or real * fake > 0
    if not same:
        return None
    return "the discriminator's side pulls the scores of reals and fakes the same way, wherever they are"


def alike(sided: Sided) -> object:
    """A key: losses of one family with scores of one kind have one verdict."""
    if sided.loss.family is None or len(sided.real) != 1 or len(sided.fake) != 1 or len(sided.shown) != 1:
        return sided
    scores = (*sided.real, *sided.fake, *sided.shown)
    kinds = tuple((n.type.range, n.type.kind, n.type.samples is None) for n in scores)
    rest = {k: v for k, v in sided.loss.arguments.items() if not isinstance(v, Node) or v.type.host}
    others = tuple(sorted((k, str(v.value if isinstance(v, Node) else v)) for k, v in rest.items()))
    played = bool(sided.phases["generator"])
    return (sided.loss.family, kinds, sided.shown == sided.fake, played, others)


def _slopes(
    sided: Sided, one: tuple[str, Sequence[Node]], other: tuple[str, Sequence[Node]]
) -> Iterator[tuple[float, float]]:
    """Derivatives of two sides by a score each, at many points; those where there is none are left out.

    What both sides read is compared with itself: a code and what it was made from pull an energy opposite ways.
    """
    rng = random.Random(0)
    stops = (*sided.real, *sided.fake, *sided.shown)
    first, second = (Formula(sided.loss.side(side), stops) for side, _ in (one, other))
    leaves = {id(n): n for n in (*first.leaves, *second.leaves)}
    places = {id(n): i for nodes in (sided.fake, sided.shown) for i, n in enumerate(nodes)}
    for point in (*GRID, *(None,) * TRIES):
        values = {key: _at(node, [rng.gauss(0, 2) for _ in range(BATCH)], rng) for key, node in leaves.items()}
        count = 1 + max(places.values(), default=-1)  # the first fake of one side is the first of the other
        scores = [[rng.gauss(0, 2) if point is None else point for _ in range(BATCH)] for _ in range(count)]
        values |= {key: _at(leaves[key], scores[i], rng) for key, i in places.items() if key in leaves}
        for mine in one[1]:
            a = _slope(first, values, mine)
            for its in _beside(mine, other[1]) if a is not None else ():
                b = _slope(second, values, its)
                if a is not None and b is not None:
                    yield a, b


def _beside(score: Node, others: Sequence[Node]) -> Sequence[Node]:
    """The scores that one is compared with: itself, else those of the same judge, else all."""
    if score in others:
        return (score,)
    return [other for other in others if _judges(other) == _judges(score)] or others


def _judges(score: Node) -> set[str]:
    """The networks whose score it is."""
    return {call.fields["source"] for call in nearest_calls([score])}


def _at(node: Node, numbers: list[float], rng: random.Random) -> Value:
    """Numbers that a leaf can take: within its range, host numbers small and positive."""
    if node.type.host:
        return rng.uniform(0.1, 1)
    low, high = node.type.range or (-float("inf"), float("inf"))
    if node.type.kind == "probability":
        low, high = 0.0, 1.0
    if low > -1e9 and high < 1e9:
        numbers = [low + (high - low) * (0.5 + 0.49 * n / (1 + abs(n))) for n in numbers]
    elif low > -1e9:
        numbers = [low + 0.01 + abs(n) for n in numbers]
    return numbers if node.type.samples is not None else numbers[0]


def _slope(formula: Formula, values: dict[int, Value], leaf: Node) -> float | None:
    """The derivative by the first sample's score, or None where it does not exist."""
    here = values.get(id(leaf))
    if here is None:
        return 0.0  # this side does not read it
    ends = []
    for step in (-STEP, STEP):
        moved = [here[0] + step, *here[1:]] if isinstance(here, list) else here + step
        try:
            ends.append(formula.at(values | {id(leaf): moved}))
        except (ArithmeticError, ValueError):
            return None
    slope = (ends[1] - ends[0]) / (2 * STEP)
    return slope if abs(slope) > 1e-7 else 0.0


class Formula:
    """A formula as a list of steps over floats; `leaves` is what it reads, `stop` what it reads as it is."""

    def __init__(self, root: Node, stop: Iterable[Node]):
        self.root, stops = root, {id(node) for node in stop}
        self.leaves: list[Node] = []
        self.steps: list[tuple[Node, tuple[Node, ...]]] = []
        seen: set[int] = set()
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                self.steps.append((node, _arguments(node)))
            elif id(node) not in seen:
                seen.add(id(node))
                arguments = _arguments(node)
                whole = node.op in ARITHMETIC or node.op == "constant" or (node.type.host and node.value is not None)
                if id(node) in stops or not whole:
                    self.leaves.append(node)
                else:
                    stack.append((node, True))
                    stack += [(a, False) for a in arguments]

    def at(self, values: dict[int, Value]) -> float:
        """The formula's value; raises ArithmeticError or ValueError where it has none."""
        values = dict(values)
        for node, arguments in self.steps:
            values[id(node)] = _value(node, [values[id(a)] for a in arguments])
        result = values[id(self.root)]
        return result if not isinstance(result, list) else sum(result) / len(result)


def _arguments(node: Node) -> tuple[Node, ...]:
    if node.type.host and node.value is not None:
        return ()
    return (node.fields["definition"],) if node.op == "constant" else node.args


def _value(node: Node, arguments: list[Value]) -> Value:
    if node.type.host and node.value is not None:
        return float(node.value)
    if node.op in SAME or node.op == "constant":
        return arguments[0]
    if node.op == "expect":
        values = arguments[0] if isinstance(arguments[0], list) else [arguments[0]]
        return sum(values) / len(values)
    if node.op == "total":
        return sum(arguments[0]) if isinstance(arguments[0], list) else arguments[0]
    if node.op in ("max", "min") and len(arguments) == 1:
        return arguments[0]
    return _each(_function(node), arguments)


def _function(node: Node) -> Callable[..., float]:
    special: dict[str, Callable[..., float]] = {
        "norm": abs,
        "where": lambda c, a, b: a if c else b,
        "ifelse": lambda c, a, b: a if c else b,
        "leaky_relu": lambda v: v if v > 0 else v * node.fields["slope"],
        "and": lambda *v: next((a for a in v if not a), v[-1]),
        "or": lambda *v: next((a for a in v if a), v[-1]),
        "not": lambda v: float(not v),
    }
    found = special.get(node.op) or ops.OPERATORS[node.op].host
    assert found is not None, node
    return found


def _each(function: Callable[..., float], arguments: list[Value]) -> Value:
    """A function of numbers, sample by sample."""
    width = max((len(a) for a in arguments if isinstance(a, list)), default=0)
    if not width:
        return _real(function(*arguments))
    columns = [
        a if isinstance(a, list) and len(a) == width else [a[0] if isinstance(a, list) else a] * width
        for a in arguments
    ]
    return [_real(function(*row)) for row in zip(*columns, strict=True)]


def _real(value: float) -> float:
    if isinstance(value, complex) or value != value:
        raise ValueError("not a real number")
    return float(value)


# --- conditions of clocks -------------------------------------------------------------------------------------------


def never(condition: Node) -> bool:
    """Whether a condition of clocks is false at every clock that was tried: numbers near those that it names."""
    formula = Formula(condition, ())
    if any(leaf.op != "clock" for leaf in formula.leaves) or not formula.leaves:
        return False
    named = sorted(
        {abs(int(node.value)) for node, _ in formula.steps if node.type.host and isinstance(node.value, int | float)}
    )[:12]
    near = {n + m + d for n in [0, *named] for m in [0, *named] for d in range(-1, 3)}
    near |= {n + m for n in named for m in range(64)} | {n * k for n in named for k in range(8)}
    tried = sorted(n for n in {*near, *range(256)} if n >= 0)
    rng = random.Random(0)
    points: list[dict[int, Value]] = [dict.fromkeys(map(id, formula.leaves), float(n)) for n in tried]
    if len(formula.leaves) > 1:
        points += [{id(leaf): float(rng.choice(tried)) for leaf in formula.leaves} for _ in range(4000)]
    for point in points:
        try:
            if formula.at(dict(point)):
                return False
        except (ArithmeticError, ValueError):
            return False
    return True
