"""The two sides of the comparison: programs, and what the reference says to the same beginning, worked out once."""

from __future__ import annotations

import ast
import bisect
import contextlib
import copy
import sys
import types
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gangraph.compiler import Spec
from gangraph.emit import emit
from gangraph.errors import RunError, SpecError
from gangraph.expressions import Number
from gangraph.frozen import frozen
from gangraph.graph import Graph
from gangraph.ir import Node, walk
from gangraph.loader import Compiled, load_program
from gangraph.noise import number_at
from gangraph.ops import COMPARISONS
from gangraph.reference import Reference
from gangraph.schedule import plan_schedule
from gangraph.verify import cases
from gangraph.verify.cases import MOMENTS, Arrays, Case
from gangraph.verify.edges import edges

ROUND = 8  # iterations in a row, at most, that a case takes to see a phase that plays every few of them twice
DIVERGED = 1e30  # beyond it, numbers compare nothing but noise
TWINS = 8  # games that round otherwise, at most
TIMES = ("step", "epoch", "images", "stage_images")  # clocks that a case may set
EDITED = 4  # times of an edited program, at most
LATEST = 30  # the power of 2 beyond which no time is tried
CHOICES = (COMPARISONS - {"eq", "ne"}) | {"max", "min", "clamp"}  # of two numbers, and at some time of the other one
ROUNDED = frozenset({"eq", "ne", "floordiv", "mod"})  # which turn again and again
VARIANTS = 3
KEPT = 40  # beginnings whose answers are kept: shrinking, and other programs, ask for them again


class Bench:
    """A spec, its reference, and the beginnings that were made for its cases."""

    def __init__(self, spec: Spec, edited: str | None = None):
        self.spec, self.reference = spec, Reference(spec)
        self.edited = edited  # the text of a program that is looked at beside the spec's own
        self._beginnings: OrderedDict[Case, Beginning] = OrderedDict()
        self._others: dict[tuple[tuple[str, str], ...], Bench] = {}

    @cached_property
    def own(self) -> Compiled:
        """The spec's program, which says what is drawn and how many batches are taken."""
        return load_program(self.spec).to(torch.float64)

    def made(self, module: Any = None) -> Compiled:
        """Another instance of the spec's program, or of an edited one."""
        return Compiled(self.spec, module or self.own.module).to(torch.float64)

    @cached_property
    def unplanned(self) -> str:
        """The text of a program that computes everything with gradients and holds it to the end."""
        return emit(tuple(plan_schedule(routing, planned=False) for routing in self.spec.routings)).source

    def at(self, case: Case) -> Beginning:
        if case not in self._beginnings:
            self._beginnings[case] = Beginning(self, case)
            if len(self._beginnings) > KEPT:
                self._beginnings.popitem(last=False)
        return self._beginnings[case]

    @cached_property
    def factors(self) -> dict[str, float]:
        """What a layer multiplies a parameter by before it uses it, by the parameter: those of equalized ones."""
        layers: list[Any] = [m for network in self.own.networks.values() for m in network.modules()]
        found: dict[int, float] = {}
        for layer in layers:
            if type(layer).__name__ == "Equalized":
                found |= {id(layer.weight): layer.scale, id(layer.bias): layer.lr_mul}
        return {n: found[id(p)] for n, p in self.own.named_parameters().items() if id(p) in found}

    # --- the range of cases

    @property
    def usual(self) -> int:
        """The batch of `train`."""
        return self.spec.resolved[0].batch.now

    @cached_property
    def batch_sizes(self) -> list[int]:
        """The smallest batch that the spec allows, that of `train`, and twice that where it allows it."""
        sizes = [self.usual]
        with contextlib.suppress(SpecError):  # `samples_of` makes an axis of the batch, which may have to be so long
            self._check(2 * self.usual)
            sizes.append(2 * self.usual)
        for n in range(1, self.usual):
            try:
                self._try(n)
            except (SpecError, ValueError, RuntimeError):  # the check's reason, or torch's
                continue
            return [n, *sizes]
        return sizes

    def _check(self, n: int) -> None:
        Spec(self.spec.parsed, {**self.spec.overrides, "batch_size": n})

    def _try(self, n: int) -> None:
        """Whether the check and torch let a batch of n through."""
        self._check(n)
        own, case = self.made(), Case(n)
        batches, draws = given(own, case, 0)
        with contextlib.suppress(KeyError):  # a draw that is missing is a difference, not a batch that is too small
            own.step(tensors(batches), tensors(draws))

    @cached_property
    def variants(self) -> list[tuple[tuple[str, str], ...]]:
        """`VARIANTS` at most: the spec as it is, with other constants, with other sizes, so far as check allows."""
        resolved = self.spec.resolved[0]
        constants = {name: f"{value * 1.5:.6g}" for name, value in _numbers(resolved.constants).items() if value}
        sizes = {name: str(value + 1) for name, value in resolved.sizes.items() if isinstance(value, int)}
        found: list[tuple[tuple[str, str], ...]] = [()]
        for values in (constants, sizes):
            changed: tuple[tuple[str, str], ...] = ()
            spec = None
            for more in [tuple(values.items()), *(((name, value),) for name, value in values.items())]:
                if len(changed) < len(values):  # all at once, or else one by one
                    with contextlib.suppress(SpecError):
                        spec = self._with((*changed, *more))
                        changed = (*changed, *more)
            if spec is not None:
                found.append(changed)
                self._others[changed] = Bench(spec)
        return found

    def _with(self, changed: tuple[tuple[str, str], ...]) -> Spec:
        overrides, known = dict(self.spec.overrides), self.spec.resolved[0].sizes
        for name, value in changed:
            section = "sizes" if name in known else "constants"
            overrides[section] = {**(overrides.get(section) or {}), name: value}
        spec = Spec(self.spec.parsed, overrides)
        if spec.parsed.file.layers:
            _ = spec.program  # of declared layers only torch knows what fits
        return spec

    @cached_property
    def edited_times(self) -> list[int]:
        """Numbers that only an edited program has: they may be times."""
        if self.edited is None:
            return []
        return sorted(integers(self.edited) - integers(self.spec.program.source))[:EDITED]

    @cached_property
    def moments(self) -> list[dict[str, int]]:
        """When an iteration begins: the usual times; and around each turn of the schedule, a rate or another number."""
        turns: dict[tuple[str, int], None] = {}
        turns |= {("step", n): None for n in self.edited_times}
        for part in walk([node for graph in self.spec.graphs for node in _timed(graph)]):
            if part.op in CHOICES | ROUNDED and part.type.host:
                below = list(walk([part]))
                for clock in sorted({str(n.name) for n in below if n.op == "clock" and n.name in TIMES}):
                    numbers = [n.value for n in below if isinstance(n.value, int) and 1 < n.value < 2**LATEST]
                    times = numbers if part.op in ROUNDED else self._turn(part, clock)
                    turns |= {(clock, t): None for t in times}
        rows = [[(c, at) for at in (t, t - 1, max(t - 2, 0), 5 * t // 4, 3 * t // 4)] for c, t in list(turns)[:8]]
        around = [moment for column in zip(*rows, strict=True) for moment in column]  # each turn's own time first
        return [*MOMENTS, *({**MOMENTS[0], clock: at} for clock, at in dict.fromkeys(around))]

    def late(self, case: Case) -> dict[str, int]:
        """The clocks of a stage that has so many iterations left."""
        left, (_, iterations, images, _) = case.left or 0, self.own.game.stages[case.stage]
        steps = {} if iterations is None else {"stage_step": max(0, iterations - left)}
        return steps if images is None else steps | {"stage_images": max(0, images - left * case.batch_size)}

    @cached_property
    def turns(self) -> list[int]:
        """How many iterations in a row: two, or as many as a phase that plays every few of them needs to play twice."""
        conditions = [s.when for graph in self.spec.graphs for s in graph.steps()]
        every = [n for n in walk([when for when in conditions if isinstance(when, Node)]) if n.op == "mod"]
        rounds = [a.value for n in every for a in n.args if isinstance(a.value, int) and 1 < a.value < ROUND]
        return [2, *(r + 1 for r in [max(rounds, default=0)] if r)]

    @cached_property
    def edges(self) -> list[Case]:
        """Cases on both sides of where what a loss or a state decides turns."""
        return [case for stage in range(len(self.spec.graphs)) for case in edges(self, stage)]

    def _turn(self, choice: Node, clock: str) -> list[int]:
        """The times, if any, at which a choice between numbers begins to go the other way."""
        game = copy.deepcopy(self.own.game)

        def way(time: int, other: Node) -> bool:
            game.clocks[clock] = time
            game.constants()
            a, b = (number_at(side, game) for side in (choice.args[0], other))
            return bool(a < b if choice.op in ("lt", "ge") else a <= b)

        found = []
        for other in choice.args[1:]:
            with contextlib.suppress(ArithmeticError, AttributeError, NameError, TypeError):  # of a state, or too late
                begins = way(0, other)
                last = next((2**k for k in range(LATEST) if way(2**k, other) != begins), None)
                times = range(last or 0)
                found += [bisect.bisect_left(times, True, key=lambda t: way(t, other) != begins)] if last else []
        return found

    def of(self, case: Case) -> Bench:
        """The bench of the spec as this case changes it, made when it is asked for."""
        if not case.changed:
            return self
        if case.changed not in self._others:  # of a process that did not choose the case
            self._others[case.changed] = Bench(self._with(case.changed))
        return self._others[case.changed]


def integers(source: str) -> set[int]:
    """The numbers of a program that may be times."""
    found = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {n for n in found if isinstance(n, int) and 1 < n < 2**LATEST}


def _timed(graph: Graph) -> Iterator[Node]:
    """Everything of a schedule and of the numbers it reads that may follow the clocks."""
    found: list[object] = [s.when for s in graph.steps()] + [s.repeat for s in graph.steps()]
    found += [p.when for p in graph.phases()] + [p.repeat for p in graph.phases()]
    found += [c.fields.get("definition") for c in graph.constants.values()] + [a.decay for a in graph.averages.values()]
    found += [v for p in graph.players.values() for o in p.optimizers.values() for v in o.arguments.values()]
    return (node for node in found if isinstance(node, Node))


def _numbers(constants: dict[str, Any]) -> dict[str, float]:
    return {name: float(e.value) for name, e in constants.items() if isinstance(e, Number)}


class Subject:
    """The program that is examined: the spec's own, or the text of another one."""

    def __init__(self, bench: Bench, source: str | None = None):
        self.bench, self.edited = bench, source is not None
        self.source = source if source is not None else bench.spec.program.source
        self.module: Any = executed(self.source, "gangraph_verified") if self.edited else None
        if self.edited and not hasattr(self.module, bench.spec.program.title):
            raise RunError(f"the program has no class {bench.spec.program.title}, which this spec's has")

    def of(self, bench: Bench) -> Subject:
        return self if bench is self.bench else Subject(bench)

    def start(self, beginning: Beginning, dtype: Any = torch.float64) -> Compiled:
        """The program at a beginning."""
        return beginning.enter(self.made()).to(dtype)

    def resumed(self, gan: Compiled) -> Compiled:
        """Another instance, which goes on from what this one keeps; copied, as a file would be."""
        made = self.made()
        made.load_state_dict(copy.deepcopy(gan.state_dict()))
        for name, player in made.game.players.items():
            for new, old in zip(player, gan.game.players[name], strict=True):
                _as_kept(new.state_dict()["state"], old.state_dict()["state"])
        return made

    def made(self) -> Compiled:
        return self.bench.made(self.module)

    def other(self, source: str, beginning: Beginning) -> Any:
        """Another text's game in the state of this program's."""
        title = self.bench.spec.program.title
        game = getattr(executed(source, "gangraph_other"), title)().to(torch.float64)
        game.load_state_dict(self.start(beginning).state_dict())
        return game


def _as_kept(loaded: dict[int, dict[str, Any]], kept: dict[int, dict[str, Any]]) -> None:
    """What an optimizer has loaded, as it was: torch casts to the weights' precision what NAdam keeps in float32."""
    for number, state in loaded.items():
        state |= {k: v.to(kept[number][k].dtype) for k, v in state.items() if torch.is_tensor(v)}


@frozen
class After:
    """What a reference is after an iteration."""

    log: dict[str, float]
    state: dict[str, Any]
    left: int  # batches that were not taken
    clocks: dict[str, int]
    pulled: dict[str, Arrays]  # the gradients of each step


class Beginning:
    """A case made: weights, layer state, batches and draws, and what the reference says to them."""

    def __init__(self, bench: Bench, case: Case, program: Compiled | None = None):
        self.bench, self.case = bench, case
        self.clocks = bench.moments[case.moment] | (bench.late(case) if case.left is not None else {})
        generator = np.random.default_rng(case.seed)
        own = bench.own
        self.parameters = self._weights(generator)
        if case.way:
            others = self._weights(np.random.default_rng(case.other))
            self.parameters = {n: cases.between(p, others[n], case.way) for n, p in self.parameters.items()}
        self.buffers: Arrays = {}
        for name, b in buffers(bench, own):
            new = b.is_floating_point()
            self.buffers[name] = cases.layer_state(name, tuple(b.shape), generator) if new else array(b)
        self.pools: dict[str, Any] = {}
        for name, pool in own.game.pools.items() if case.pools != "empty" else ():
            node = own.graph.values.get(name)
            if node is not None and node.type.dtype == "float":
                count = pool.size - (case.pools == "nearly full")
                self.pools[name] = generator.uniform(-1, 1, (count, *node.type.shape))
        gan = self.enter(program or bench.made())
        self.turns: list[tuple[list[Arrays], Arrays]] = []
        for turn in range(case.turns):
            self.turns.append(given(gan, case, turn))
            if turn + 1 < case.turns:
                try:
                    gan.step(*map(tensors, self.turns[-1]))
                except (RuntimeError, ArithmeticError) as error:
                    raise RunError(f"{bench.spec.name} stops in an iteration ({self.said}): {error}") from None
        batches, self.noise = self.turns[0]
        # By the text of a program: losses and gradients that it gave here.
        self.seen: dict[str, dict[tuple[str, str], Any]] = {}
        # Of the spec's own program: what its first iteration gave, and left.
        self.stepped: tuple[dict[str, float], Arrays] | None = None
        self.batch = batches[0] if batches else cases.batch(own.inputs, case, 0)
        if not batches:  # a loss alone, or a phase, may read one all the same
            self.noise = noise(self.enter(bench.made()), case, 0, case.batch_size)

    def _weights(self, generator: np.random.Generator) -> Arrays:
        kind, factors = self.case.weights, self.bench.factors
        named = self.bench.own.named_parameters().items()
        return {n: cases.weights(n, tuple(p.shape), kind, generator, factors.get(n, 1.0)) for n, p in named}

    @property
    def said(self) -> str:
        """The case in words, with its time."""
        return ", ".join([str(self.case), *(f"{clock} {value}" for clock, value in self.clocks.items() if value)])

    def enter(self, gan: Compiled) -> Compiled:
        """A program with these weights, this layer state, at this stage and time."""
        with torch.no_grad():
            for name, p in gan.named_parameters().items():
                p.copy_(torch.from_numpy(self.parameters[name]))
            for name, b in buffers(self.bench, gan):
                b.copy_(torch.from_numpy(np.asarray(self.buffers[name])))
            for name, average in gan.averages.items():
                source = gan.networks[gan.graph.averages[name].source] if name in gan.graph.averages else None
                if source is not None and not gan.graph.averages[name].zeros:
                    average.load_state_dict(source.state_dict())
        if self.case.stage:
            gan.clocks["stage"] = self.case.stage
        for clock, value in self.clocks.items():
            gan.clocks[clock] = value
        for name, samples in self.pools.items():
            gan.game.pools[name].samples = list(torch.from_numpy(samples.copy()))
        return gan

    def start(self) -> Reference:
        reference = self.bench.reference.start(self.parameters, self.buffers)
        if self.case.stage:
            reference.turn(self.case.stage)
        reference.clocks |= self.clocks
        reference.pools |= {name: list(samples.copy()) for name, samples in self.pools.items()}
        return reference

    @cached_property
    def exact(self) -> Answers:
        return Answers(self)

    @cached_property
    def twins(self) -> list[Answers]:
        """What games say that round otherwise. One alone may fall on the same side of a kink."""
        return [Answers(self, number) for number in range(TWINS)]

    @property
    def diverged(self) -> bool:
        """Whether a loss is so large that nothing is left to compare."""
        return not all(abs(value) < DIVERGED for value in self.exact.losses.values())


class Answers:
    """What a reference, or a twin of it that rounds otherwise, says to a beginning; each answer is worked out once."""

    def __init__(self, beginning: Beginning, twin: int | None = None):
        self.beginning, self.twin = beginning, twin
        self._gradients: dict[str, Arrays] = {}

    @cached_property
    def game(self) -> Reference:
        game, number = self.beginning.start(), self.twin
        if number is None:
            return game
        return game.twin((self.beginning.case.seed, number), zeros=number % 2 == 1, uneven=number % 4 >= 2)

    def shaken(self, arrays: Arrays) -> Arrays:
        """Data as this side has them."""
        return arrays if self.twin is None else cases.shaken(arrays, self.twin)

    @cached_property
    def losses(self) -> dict[str, float]:
        return self.game.losses(self.shaken(self.beginning.batch), self.shaken(self.beginning.noise))

    def gradients(self, phase: str) -> Arrays:
        if phase not in self._gradients:
            batch, noise = self.shaken(self.beginning.batch), self.shaken(self.beginning.noise)
            self._gradients |= self.game.gradients_together(phase, batch, noise)
        return self._gradients[phase]

    @cached_property
    def iterations(self) -> list[After]:
        game, found = self.game.copy(), []
        for batches, draws in self.beginning.turns:
            log = game.step([self.shaken(b) for b in batches], self.shaken(draws))
            state = everything(self.beginning.bench, game)
            found.append(After(log, state, len(game.coming), dict(game.clocks), game.pulled))
        return found


def given(gan: Compiled, case: Case, turn: int) -> tuple[list[Arrays], Arrays]:
    """The batches and draws of the next iteration; one that takes no batch is of the spec's own size."""
    batches = [cases.batch(gan.inputs, case, 100 * turn + i) for i in range(gan.fetches())]
    return batches, noise(gan, case, turn, case.batch_size if batches else gan.game.batch_size)


def noise(gan: Compiled, case: Case, turn: int, batch_size: int) -> Arrays:
    """The draws of the next iteration."""
    seed = 1000 * case.seed + turn
    draws = gan.draw(batch_size, seed)
    others = gan.draw(batch_size, seed + 500)  # what is drawn once has its bare name only: who draws it anew in an
    for evaluation in gan.schedule.evaluations:  # evaluation finds something else
        draws |= {k: v for name, v in others.items() if (k := f"{evaluation}/{name}") not in draws}
    found = {k: array(v) for k, v in draws.items()}
    for name, node in gan.graph.draws.items():  # fair coins: of rare ones, two iterations seldom show a difference
        if node.fields["kind"] == "bernoulli" and 0 < node.fields["p"] < 1:
            for key in [k for k in found if k.rpartition("/")[2] == name]:
                generator = np.random.default_rng([seed, zlib.crc32(key.encode())])
                found[key] = np.asarray(generator.integers(0, 2, found[key].shape), found[key].dtype)
    return cases.noise(found, case)


# --- all that an iteration moves, by its name in the spec


def everything(bench: Bench, side: Compiled | Reference) -> dict[str, Any]:
    """Parameters, layer state, averages, state and pools of a program or a reference: name -> array."""
    found: dict[str, Any] = {}
    names = {n for n, _ in buffers(bench, bench.own)}
    if isinstance(side, Reference):
        found |= {n: side.parameters[n] for n in bench.own.named_parameters()}
        found |= {n: np.asarray(b, float) for n, b in side.buffers.items() if n in names}
        pools = side.pools
    else:
        found |= {n: array(p) for n, p in side.named_parameters().items()}
        found |= {n: array(b) for n, b in buffers(bench, side)}
        pools = {name: pool.samples for name, pool in side.game.pools.items()}
    for name in side.averages:
        found |= {f"{name}: {n}": array(value) for n, value in _average(bench, side, name)}
    found |= {f"state {name}": np.asarray(array(value), float) for name, value in side.state.items()}
    found |= {f"pool {name}": np.stack([array(s) for s in samples]) for name, samples in pools.items() if samples}
    return found


def _average(bench: Bench, side: Compiled | Reference, name: str) -> Iterator[tuple[str, Any]]:
    source = next(g.averages[name].source for g in bench.spec.graphs if name in g.averages)
    names, kept = bench.reference.expansion.parameters(source), bench.reference.expansion.buffers(source)
    if isinstance(side, Reference):
        yield from ((n, side.averages[name][n]) for n in names)
        yield from ((n, side.average_buffers[name][n]) for n in kept)
    else:
        yield from zip(names, side.averages[name].parameters(), strict=True)
        yield from _paired(kept, side.averages[name].named_buffers(), name)


def buffers(bench: Bench, gan: Compiled) -> list[tuple[str, Any]]:
    """Layer state by its name in the reference."""
    found: dict[str, Any] = {}
    for network, module in gan.networks.items():
        names = bench.reference.expansion.buffers(network)
        found |= dict(_paired(names, module.named_buffers(), network))
    return list(found.items())


def _paired(names: Iterable[str], held: Any, network: str) -> Iterator[tuple[str, Any]]:
    """The buffers of a module by their names in the reference: of each kind, in the order of the layers."""
    kinds: dict[str, list[Any]] = {}
    for name, buffer in held:
        kinds.setdefault(name.rsplit(".", 1)[-1], []).append(buffer)
    ours: dict[str, list[str]] = {}
    for name in names:
        ours.setdefault(name.rsplit(".", 1)[-1], []).append(name)
    counts = {k: len(v) for k, v in kinds.items()}, {k: len(v) for k, v in ours.items()}
    if counts[0] != counts[1]:
        raise RunError(f"{network} keeps {counts[0]} in the program and {counts[1]} in the reference")
    for kind, mine in ours.items():
        yield from zip(mine, kinds[kind], strict=True)


# --- between the two


def array(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if hasattr(value, "detach") else np.asarray(value)


def tensors(values: Any) -> Any:
    """Arrays as tensors, in a dict or a list of dicts."""
    if isinstance(values, list):
        return [tensors(value) for value in values]
    return {name: torch.from_numpy(np.array(value)) for name, value in values.items()}


def executed(source: str, name: str) -> types.ModuleType:
    """A program as a module of its own."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    try:
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        said = f"{error.msg}, line {error.lineno}" if isinstance(error, SyntaxError) else error
        raise RunError(f"the program does not load: {type(error).__name__}: {said}") from None
    finally:
        del sys.modules[name]
    return module
