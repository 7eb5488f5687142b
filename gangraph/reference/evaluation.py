"""One evaluation: the values that its objectives need, then the losses, each once (semantics 1 to 5).

An `Evaluation` is made for one run of a phase or group, reads the game's parameters, batch, draws, pools and states,
and moves the game's buffers and pools. A `Rehearsal` does the same on made-up arrays, to see what a phase needs, and
how networks expand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import autograd.numpy as np

from gangraph.expressions import Call, Expr, Name
from gangraph.reference import operators as o
from gangraph.reference.blocks import Blocks, Named, Run, View, parameter
from gangraph.reference.expressions import CLOCKS, each_side
from gangraph.reference.scopes import MISSING, Place, Scope
from gangraph.reference.stage import Expansion, Stage
from gangraph.reference.tape import Tape, constant, same
from gangraph.reference.values import Dropped, Live, Outputs, TwoSided, Value, integer, number, present
from gangraph.spec import Chain, GivenNetwork, TwoSides

if TYPE_CHECKING:
    from gangraph.reference.game import Reference

SIDES = ("discriminator", "generator")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Evaluation(Blocks):
    """`label` is the evaluation's name and its number among those of this name, for the look-up of draws."""

    def __init__(self, game: Reference, stage: Stage, label: tuple[str, int] = ("", 1), tape: Tape | None = None):
        self.game, self.stage, self.label, self.tape = game, stage, label, tape
        self.symbols = stage.symbols
        self.made: dict[str, Any] = {}  # inputs, draws and named values
        self.losses: dict[str, Any] = {}
        self.log: dict[str, Value] = {}  # every loss and side that was evaluated
        self.fixed_numbers: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}
        self.calls: dict[tuple[str, str], int] = {}
        self.templates: dict[str, Any] = {}
        self.within_once = False
        self.past = False  # between phases: a loss is its latest number

    def scope(self, bound: dict[str, Any] | None = None, **more: Any) -> Scope:
        """The spec's own names, with indices bound."""
        return Scope(index=self.stage.bound | (bound or {}), **more)

    # --- names of the spec

    def spec_name(self, name: str, scope: Scope) -> Any:
        stage = self.stage
        if name in stage.sizes:
            return stage.sizes[name]
        if name in stage.constants:
            return self.constant_value(name)
        if name in stage.inputs or name in stage.draws or name in stage.values:
            return self.named_value(name)
        if name in stage.losses:
            return self.loss(name, scope.knowing)
        if name in stage.networks:
            return Named(name)
        if name in stage.averages:
            return Named(self.average_source(name), name)
        if name in stage.file.state:
            return self.state_value(name)
        if name in stage.families:
            return tuple(self.spec_name(member, scope) for member in stage.families[name].values())
        if name in CLOCKS:
            return Live(self.game.clocks[name])
        if name == "N":
            return Live(self.game.N)
        return MISSING

    def spec_family(self, name: str) -> dict[tuple[Any, ...], str] | None:
        return self.stage.families.get(name)

    def spec_index(self) -> dict[str, tuple[Any, ...]]:
        return self.stage.resolved.index

    def definition(self, name: str, standard: bool) -> Any:
        return self.stage.resolved.library.find(name, standard)

    def fixed_name(self, name: str) -> Any:
        if name in self.stage.sizes:
            return self.stage.sizes[name]
        if name in self.stage.constants and name not in self.fixed_numbers:
            self.fixed_numbers[name] = None
            self.fixed_numbers[name] = self.fixed(self.stage.constants[name], self.scope())
        return self.fixed_numbers.get(name)

    def constant_value(self, name: str) -> Any:
        if name not in self.constants:
            self.constants[name] = self.value(self.stage.constants[name], self.scope())
        return self.constants[name]

    def state_value(self, name: str) -> Any:
        kept = self.game.state[name]
        return Value(kept[None], True) if isinstance(kept, np.ndarray) and kept.shape else Live(float(kept))

    def average_source(self, name: str) -> str:
        member = self.stage.averages[name]
        call = member.body
        assert isinstance(call, Call)
        found = self.value(call.arguments[0], self.scope(member.bound))
        assert isinstance(found, Named)
        return found.name

    # --- inputs, draws, values

    def named_value(self, name: str) -> Any:
        """Each named value at most once; a once value at most once an iteration."""
        if name not in self.made:
            once = name in self.stage.closure
            if once and name in self.game.held:
                self.made[name] = self.game.held[name]
            else:
                before, self.within_once = self.within_once, once
                reading = self.game.reading
                found = self.make(name)
                self.within_once = before
                self.made |= found
                if once:
                    self.game.reading = reading  # what is held is of the first batch, whoever makes it
                    self.game.held |= {k: v for k, v in found.items() if k not in self.stage.inputs}
        return self.made[name]

    def make(self, name: str) -> dict[str, Any]:
        if name in self.stage.inputs:
            return {name: self.marked(self.input(name), name)}
        if name in self.stage.draws:
            return {name: self.marked(self.draw(name), name)}
        member = self.stage.values[name]
        scope = self.scope(member.bound, home=member.names[0])
        if isinstance(member.body, Chain):
            value = self.chain(member.body, None, scope, Place(None))
        else:
            value = self.value(member.body, scope)
        if len(member.names) == 1:
            return {name: self.marked(value, name)}
        return {n: self.marked(v, n) for n, v in zip(member.names, value, strict=True)}

    def marked(self, value: Any, name: str) -> Any:
        """A value under a name is a place of its own for `grad`."""
        if isinstance(value, tuple):
            # a parameter, the only value with a point in its name, is itself under any name
            items = [(isinstance(v, Value) and "." in (v.name or ""), v) for v in value]
            found = [v if own else self.marked(v, f"{name}[{i}]") for i, (own, v) in enumerate(items)]
            made = Outputs(found)
            made.names = getattr(value, "names", ())
            return made if made.names else tuple(found)
        if not isinstance(value, Value):
            return value
        data = value.data
        if constant(data).dtype.kind == "f":
            data = self.tape.mark(data) if self.tape and name in self.stage.by else same(data)
        return Value(data, value.shared, value.order, name)

    def named(self, value: Any, name: str) -> Any:
        return self.marked(value, name)

    def input(self, name: str) -> Value:
        array = np.asarray(self.game.input(name))
        return Value(array.astype(float) if array.dtype.kind in "fb" else array.astype(int))

    def declared(self, name: str) -> tuple[str, bool, Any, tuple[int, ...]]:
        """A draw's kind, whether it is shared, its number of samples, and its own axes."""
        member = self.stage.draws[name]
        call = member.body
        assert isinstance(call, Call) and isinstance(call.function, Name)
        kind, scope = call.function.id, self.scope(member.bound)
        arguments, keywords = self.arguments(call, scope)
        shared = bool(keywords.get("shared", False))
        samples = integer(keywords.get("samples", self.game.N))
        given = {"bernoulli": arguments[1:], "integer": arguments[2:]}.get(kind, arguments)
        if kind == "permutation" and arguments:
            shared = True
        return kind, shared, samples, tuple(map(integer, given))

    def draw(self, name: str) -> Value:
        kind, shared, samples, shape = self.declared(name)
        array = np.asarray(self.found(name))
        array = array.astype(int if kind in ("integer", "permutation") else float)
        wanted = shape if shared else (samples, *shape)
        if tuple(array.shape) != wanted:
            raise ValueError(f"the draw {name} is {list(wanted)}, and {list(array.shape)} is given")
        return Value(array[None] if shared else array, shared)

    def found(self, name: str) -> Any:
        """A draw by its longest key: `PHASE.k/NAME`, `PHASE/NAME`, `NAME`; a once draw has its bare name only."""
        phase, count = self.label
        keys = [name]
        if phase and not self.within_once:
            keys = [f"{phase}.{count}/{name}"] * (count > 1) + [f"{phase}/{name}", name]
        for key in keys:
            if key in self.game.draws:
                return self.game.draws[key]
        raise KeyError(f"no draw is given for {keys[0]}")

    def layer_draw(self, name: str, shape: tuple[int, ...]) -> Any:
        array = np.asarray(self.found(name), dtype=float)
        if tuple(array.shape) != tuple(shape):
            raise ValueError(f"the draw {name} is {list(shape)}, and {list(array.shape)} is given")
        return array

    def rounded(self, total: Any) -> Any:
        noise = self.game.noise
        return total if noise is None else total * (1 + 2.0**-52 * noise.standard_normal(np.shape(constant(total))))

    def uneven(self, sums: Any) -> Any:
        return self.rounded(sums) if self.game.uneven else sums

    def do_replay(self, expr: Call, scope: Scope) -> Value:
        """Shrivastava et al. 2017, section 2.3: store and return while not full; else, with probability, exchange."""
        names = ("v", "size", "swap", "per")
        given = dict(zip(names, expr.arguments, strict=False)) | dict(expr.keywords)
        v = self.value(given["v"], scope)
        size = integer(self.value(given["size"], scope))
        if "per" in given and self.value(given["per"], scope) != "sample":
            raise NotImplementedError("replay with another `per` than sample")
        if size == 0:
            return o.stop(v)
        samples = constant(v.data)
        swaps, slots = self.pool_draws(scope.home, len(samples))
        pool, shown = list(self.game.pools.get(scope.home, [])), []
        for sample, swap, slot in zip(samples, swaps, slots, strict=True):
            if len(pool) < size:
                pool.append(sample)
                shown.append(sample)
            elif swap:
                shown.append(pool[int(slot)])
                pool[int(slot)] = sample
            else:
                shown.append(sample)
        self.keep_pool(scope.home, pool)
        return Value(np.stack(shown))

    def pool_draws(self, pool: str, count: int) -> tuple[Any, Any]:
        return self.found(f"{pool}/swap"), self.found(f"{pool}/slot")

    def keep_pool(self, name: str, pool: list[Any]) -> None:
        if self.game.writing:
            self.game.pools[name] = pool

    # --- networks

    def network(self, name: str) -> tuple[Any, bool, str | None]:
        if name not in self.templates:
            member = self.stage.networks[name]
            body = member.body
            frozen, mode = (bool(body.frozen), body.mode) if isinstance(body, GivenNetwork) else (False, None)
            self.templates[name] = (self.network_of(body, self.scope(member.bound), name), frozen, mode)
        return self.templates[name]  # type: ignore[no-any-return]

    def head(self, home: str, network: str) -> str:
        """VALUE/NETWORK, for the k-th call there VALUE/NETWORK.k."""
        count = self.calls[home, network] = self.calls.get((home, network), 0) + 1
        return f"{home}/{network}" if count == 1 else f"{home}/{network}.{count}"

    def parameter(self, run: Run, name: str, shape: tuple[int, ...], kind: str) -> Any:
        if run.given is not None and name in run.given:
            given = run.given[name]
            return parameter(np.reshape(given.data, given.shape), shape, name)
        if run.average is not None:
            return parameter(self.game.averages[run.average][name], shape, name)
        array = parameter(self.game.boxes[name], shape, name)
        return constant(array) if run.frozen else array

    def buffers(self, run: Run) -> dict[str, Any]:
        return self.game.average_buffers[run.average] if run.average is not None else self.game.buffers

    def buffer_name(self, run: Run, name: str) -> str:
        kept = run.statistics and name.rsplit(".", 1)[-1] in STATISTICS
        return f"{name}_{run.statistics}" if kept else name

    def buffer(self, run: Run, name: str, shape: tuple[int, ...], start: float) -> Any:
        return self.buffers(run)[self.buffer_name(run, name)]

    def keep(self, run: Run, name: str, array: Any) -> None:
        self.buffers(run)[self.buffer_name(run, name)] = constant(array)

    def in_place(self, network: str, values: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self.game.expansion.parameters(network), values, strict=True))

    def parameter_value(self, name: str) -> Any:
        if name not in self.game.boxes:
            return MISSING
        array = self.game.boxes[name]
        return Value(np.reshape(array, (1, *array.shape)), True, name=name)

    def do_parameter(self, expr: Call, scope: Scope) -> Any:
        (name,), _ = self.arguments(expr, scope)
        return self.parameter_value(name)

    def do_weights(self, expr: Call, scope: Scope) -> tuple[Any, ...]:
        """All parameters of a network, or the weights of its layers of some kinds."""
        network = self.value(expr.arguments[0], scope)
        kinds = {kind.id for kind in expr.arguments[1:] if isinstance(kind, Name)}
        found = self.game.expansion.parameters(network.name)
        chosen = [n for n, (_, kind) in found.items() if not kinds or (kind in kinds and n.endswith(".weight"))]
        return tuple(self.parameter_value(name) for name in chosen)

    def gradient(self, y: Value, x: Value) -> Value:
        assert self.tape is not None
        target = self.game.boxes.get(x.name or "", x.data)  # a parameter, where it is read
        (found,) = self.tape.gradient(y.data, [target], y.order)
        if found is None:
            raise ValueError(f"no path leads from {x.name} to what is differentiated by it")
        return Value(np.reshape(found, x.data.shape), x.shared, y.order + 1)

    # --- losses

    def loss(self, name: str, knowing: bool = False) -> Any:
        """A loss, a two-sided one with its sides to be evaluated when they are read."""
        if self.past:
            return self._latest(name)
        if name not in self.losses:
            member = self.stage.losses[name]
            scope = self.scope(member.bound, home=name, dropping=True)
            if isinstance(member.body, TwoSides):
                body = member.body
                self.losses[name] = self._sided(name, lambda side: self.value(getattr(body, side), scope))
            else:
                self.losses[name] = self._named(self.value(member.body, scope), name)
        found = self.losses[name]
        if knowing:
            found = present(found)
        return Live(float(constant(found.data).reshape(()))) if knowing and isinstance(found, Value) else found

    def _named(self, value: Any, name: str) -> Any:
        if isinstance(value, Dropped):
            return Dropped(lambda: self._named(value.whole(), name))
        return self._sided(name, value.side) if isinstance(value, TwoSided) else self.scalar(value, name)

    def _sided(self, name: str, side: Callable[[str], Any]) -> TwoSided:
        return each_side(lambda s: self._named(side(s), f"{name}.{s}"))

    def _latest(self, name: str) -> Any:
        if name in self.game.latest:
            return Live(self.game.latest[name])
        return each_side(lambda side: Live(self.game.latest[f"{name}.{side}"]))

    def scalar(self, value: Any, name: str = "") -> Any:
        """A loss is a number; own axes of length 1 fall away."""
        if isinstance(value, tuple):
            return tuple(self.scalar(v, f"{name}[{i}]" if name else "") for i, v in enumerate(value))
        if not isinstance(value, Value):
            value = Value(np.array([float(number(value))]), True)
        assert value.shared and constant(value.data).size == 1, f"{name} is no number: {value}"
        found = Value(np.reshape(value.data, (1,)), True, value.order)
        if name:
            found = self.log[name] = self.marked(found, name)
        return found

    def objective(self, move: Any) -> Value:
        scope = self.scope(move.bound, home=move.name, dropping=True)
        found = self.scalar(self.value(move.minimize, scope))
        assert isinstance(found, Value)
        return found

    def condition(self, expr: Expr | None, bound: dict[str, Any], home: str, default: Any) -> Any:
        """A number for the schedule: `when`, `repeat`, `accumulate`."""
        return default if expr is None else number(self.value(expr, self.scope(bound, home=home, knowing=True)))

    def shown(self, name: str) -> Value:
        """A view, with the pictures of a row along the first own axis, or a metric."""
        bodies = {str(k): body for k, body in (*self.stage.file.sample.items(), *self.stage.file.metrics.items())}
        scope, body = self.scope(home=name), bodies[name]
        value = self.chain(body, None, scope, Place(None)) if isinstance(body, Chain) else self.value(body, scope)
        return o.stack(*value) if isinstance(value, tuple) else value

    def forget(self) -> None:
        """Lets go of all arrays, and of the record behind them."""
        for kept in (self.made, self.losses, self.log, self.constants, self.templates):
            kept.clear()

    def numbers(self) -> dict[str, float]:
        """Every loss that was evaluated."""
        return {name: float(constant(value.data).reshape(())) for name, value in self.log.items()}


class Showing(Evaluation):
    """An evaluation of views and metrics: in evaluation mode, and averages stand for the networks that they follow.

    A call that says its mode is of the network itself.
    """

    def _run(self, view: View, outer: Run | None, home: str, frozen: bool, mode: str | None) -> Run:
        run = super()._run(view, outer, home, frozen, mode)
        if view.training is None and (outer is None or outer.forced is None):
            run.training, run.forced = False, None
            if outer is None and run.average is None:
                followers = (a for a in self.stage.averages if self.average_source(a) == run.network)
                run.average = next(followers, None)
        return run


class Rehearsal(Evaluation):
    """An evaluation on made-up arrays: what is needed, what contains what, what `grad` differentiates by.

    With `everything` also terms that are dropped and sides that are not read are expanded: they make parameters.
    """

    def __init__(self, game: Reference, stage: Stage, everything: bool = False):
        super().__init__(game, stage)
        self.trial = everything
        self.expansion: Expansion = game.expansion
        self.by: set[str] = set()
        self.depth = 0
        self.reading: list[str] = []  # the named values that are being made
        self.made_of: dict[str, set[str]] = {}

    def named_value(self, name: str) -> Any:
        for outer in self.reading:
            self.made_of.setdefault(outer, set()).add(name)
        if name in self.made:
            for outer in self.reading:
                self.made_of[outer] |= self.made_of.get(name, set())
            return self.made[name]
        self.reading.append(name)
        try:
            self.made |= self.make(name)
        finally:
            self.reading.pop()
        return self.made[name]

    def input(self, name: str) -> Value:
        member = self.stage.inputs[name]
        call = member.body
        assert isinstance(call, Call) and isinstance(call.function, Name)
        kind = call.function.id
        arguments, keywords = self.arguments(call, self.scope(member.bound))
        shape = {"label": (), "labels": arguments[1:]}.get(kind, arguments)
        samples = integer(keywords.get("samples", self.game.N))
        whole = (samples, *map(integer, shape))
        return Value(np.zeros(whole, int) if kind in ("label", "labels") else np.zeros(whole))

    def draw(self, name: str) -> Value:
        kind, shared, samples, shape = self.declared(name)
        whole = (1, *shape) if shared else (samples, *shape)
        return Value(np.zeros(whole, int if kind in ("integer", "permutation") else float), shared)

    def layer_draw(self, name: str, shape: tuple[int, ...]) -> Any:
        self.expansion.counting |= name.split("/")[0] not in self.stage.values
        return np.ones(shape)

    def pool_draws(self, pool: str, count: int) -> tuple[Any, Any]:
        return np.zeros(count), np.zeros(count, int)

    def keep_pool(self, name: str, pool: list[Any]) -> None:
        pass

    def in_place(self, network: str, values: tuple[Any, ...]) -> dict[str, Any]:
        return {}  # it may be that nothing has shown its parameters yet

    def called(self, outer: str | None, inner: str) -> None:
        self.expansion.of(inner)
        if outer is not None:
            self.expansion.of(outer).add("call", inner)

    def parameter(self, run: Run, name: str, shape: tuple[int, ...], kind: str) -> Any:
        structure = self.expansion.of(run.network)
        known = structure.parameters.setdefault(name, (tuple(shape), kind))
        structure.add("parameter", name)
        if known[0] != tuple(shape):
            raise ValueError(f"{name} is {list(known[0])} in one call and {list(shape)} in another")
        return np.zeros(shape)

    def buffer(self, run: Run, name: str, shape: tuple[int, ...], start: float) -> Any:
        structure = self.expansion.of(run.network)
        for key in dict.fromkeys((name, self.buffer_name(run, name))):
            structure.buffers[key] = np.full(shape, float(start))
            structure.add("buffer", key)
        return np.full(shape, float(start))

    def keep(self, run: Run, name: str, array: Any) -> None:
        pass

    def parameter_value(self, name: str) -> Any:
        for structure in self.expansion.networks.values():
            if name in structure.parameters:
                return Value(np.zeros((1, *structure.parameters[name][0])), True, name=name)
        return MISSING

    def do_weights(self, expr: Call, scope: Scope) -> tuple[Any, ...]:
        """Of a network that nothing has called yet, a number in their place."""
        return super().do_weights(expr, scope) or (Value(np.zeros((1, 1)), True),)

    def state_value(self, name: str) -> Any:
        if name in self.game.state:
            return super().state_value(name)
        start = self.value(self.stage.file.state[name].start, self.scope())
        return start if isinstance(start, Value) else Live(float(number(start)))

    def gradient(self, y: Value, x: Value) -> Value:
        self.by.add(str(x.name))
        self.depth = max(self.depth, y.order + 1)
        return Value(np.zeros(x.data.shape), x.shared, y.order + 1)

    def all(self) -> None:
        """Every value, loss and view, in the order of declaration."""
        stage = self.stage
        for name in [*stage.inputs, *stage.draws, *stage.values]:
            self.named_value(name)
        for name in stage.losses:
            force(self.loss(name))
        for move, _ in stage.phases():
            self.objective(move)
        for name in [*stage.file.sample, *stage.file.metrics]:
            self.shown(str(name))
        for name, state in stage.file.state.items():
            for expr in state.rules.values():
                self.value(expr, self.scope(home=str(name)))


def force(value: Any) -> None:
    if isinstance(value, TwoSided):
        for side in SIDES:
            value.side(side)
