"""Program -> live modules: what trains is the emitted source itself, loaded under its own name.

`Compiled` adds to the program what a person looks at: losses one by one, gradients of one phase, every draw of the
next iteration. None of it changes the program.
"""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from gangraph.code import identifier
from gangraph.compiler import Spec
from gangraph.emit import Emitter
from gangraph.frozen import frozen
from gangraph.graph import Graph
from gangraph.ir import Length, Node, walk
from gangraph.noise import Drawn, count_at, evaluate_length, runs
from gangraph.phases import StageWriter
from gangraph.prepare import steps
from gangraph.schedule import Evaluation, Schedule, inner_leaves, ordered
from gangraph.statements import PhaseWriter, registered

Batch = dict[str, Tensor]


@frozen
class InputType:
    """What an input expects: own axes, classes of a label, range; `samples(N)` is the length of its sample axis."""

    kind: str
    shape: tuple[int, ...]
    classes: int | None
    range: tuple[float, float] | None
    length: Length | None

    def samples(self, n: int) -> int:
        return evaluate_length(self.length.text, n) if self.length else 1


def load_program(spec: Spec) -> Compiled:
    """Loads the emitted source of a spec; tracebacks show its lines."""
    source = spec.program.source
    name = f"<gangraph {spec.name} {spec.hash}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    module = types.ModuleType(f"gangraph_program_{identifier(spec.name)}")
    module.__file__ = name
    sys.modules[module.__name__] = module
    exec(_code(source, name), module.__dict__)
    return Compiled(spec, module)


@lru_cache(maxsize=8)
def _code(source: str, name: str) -> types.CodeType:
    return compile(source, name, "exec")


class Compiled:
    """A program that is ready to train, and to be looked at."""

    def __init__(self, spec: Spec, module: types.ModuleType):
        self.spec, self.module = spec, module
        self.game = getattr(module, spec.program.title)()
        self._kept: dict[str, Any] = {}

    @cached_property
    def _losses(self) -> list[list[tuple[list[str], Any]]]:
        """Of each stage, functions that evaluate losses, and which."""
        stages = []
        for code, groups in _inspection(self.spec, any(True for _ in self.networks.buffers())):
            scope: dict[str, Any] = dict(self.module.__dict__)
            exec(code, scope)
            stages.append([(names, getattr(scope["Losses"], f"losses_{i}")) for i, names in enumerate(groups)])
        return stages

    # --- what it is

    @property
    def source(self) -> str:
        """The emitted program."""
        return self.spec.program.source

    def _repr_html_(self) -> str:
        """In a notebook a compiled spec shows itself as the spec does."""
        return self.spec._repr_html_()

    def _repr_svg_(self) -> str:
        return self.spec._repr_svg_()

    def _repr_latex_(self) -> str:
        return self.spec._repr_latex_()

    def begin_from(self, items: Callable[[str, int], Tensor]) -> None:
        """Sets what begins at a mean of the data (`data_mean` under `init`); `items(input, n)` is n items, [n, ...].

        Before training: optimizers, averages, state and clocks begin anew. `train` does so.
        """
        if hasattr(self.game, "begin_from"):
            self.game.begin_from(items)

    @property
    def networks(self) -> nn.ModuleDict:
        networks: nn.ModuleDict = self.game.networks
        return networks

    @property
    def averages(self) -> nn.ModuleDict:
        averages: nn.ModuleDict = self.game.averages
        return averages

    @property
    def graph(self) -> Graph:
        """The graph of the present stage."""
        return self.spec.graphs[self.clocks["stage"]]

    @property
    def schedule(self) -> Schedule:
        return self.spec.schedules[self.clocks["stage"]]

    @property
    def phases(self) -> list[str]:
        """Names of the phases of the present stage, in order; members of a group one by one."""
        return [phase.name for phase in self.graph.phases()]

    @property
    def streams(self) -> dict[str, dict[str, InputType]]:
        """Inputs by stream: what is drawn together."""
        graph = self.graph
        return {
            stream: {name: input_type(graph.inputs[name]) for name in names}
            for stream, names in graph.resolved.streams.items()
        }

    @property
    def inputs(self) -> dict[str, InputType]:
        return {name: t for stream in self.streams.values() for name, t in stream.items()}

    @property
    def prepare(self) -> dict[str, list[tuple[str, tuple[Any, ...], dict[str, Any]]]]:
        """Steps of preparation by stream: (name, arguments, keywords)."""
        return steps(self.graph)

    @property
    def views(self) -> list[str]:
        """Names of what `sample` draws."""
        return list(self.graph.views)

    @property
    def metrics(self) -> list[str]:
        """Names of what `evaluate` measures."""
        return list(self.graph.metrics)

    def view_inputs(self, view: str) -> list[str]:
        """The inputs that a view or a metric reads."""
        nodes = ordered([self.graph.shown[view]], self.graph.order, {})
        return [n.name for n in nodes if n.op == "input" and n.name in self.graph.inputs and n.name]

    def view_noise(self, view: str) -> list[str]:
        """The normal and uniform draws that a view reads."""
        nodes = ordered([self.graph.views[view]], self.graph.order, {})
        return [n.name for n in nodes if n.op == "draw" and n.name and n.fields["kind"] in ("normal", "uniform")]

    def view_labels(self, view: str) -> dict[str, InputType]:
        """The draws of integers that a view reads."""
        nodes = ordered([self.graph.views[view]], self.graph.order, {})
        return {n.name: input_type(n) for n in nodes if n.op == "draw" and n.name and n.fields["kind"] == "integer"}

    def view_shape(self, view: str) -> tuple[int, ...]:
        """The shape of one sample of a view."""
        return self.graph.views[view].type.shape

    def view_range(self, view: str) -> tuple[float, float]:
        """Where the entries of a view lie, from black to white; [-1, 1] where that is not known."""
        low, high = self.graph.views[view].type.range or (-1.0, 1.0)
        return (low, high) if low < high else (-1.0, 1.0)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.game.state
        return state

    @property
    def clocks(self) -> _Clocks:
        return _Clocks(self.game)

    # --- running

    def fetches(self) -> int:
        """How many batches the next iteration takes; where `when` reads a loss, how many at most."""
        self.game.constants()
        return int(self.game.fetches())

    @property
    def left(self) -> int:
        """How many batches of those that it was given the last iteration did not take."""
        return len(self.game.coming) if self.game.several else 0

    def step(
        self, batch: Batch | list[Batch] | None = None, draws: Batch | None = None, seed: int | None = None
    ) -> dict[str, Tensor]:
        """One whole iteration: `{"PHASE/LOSS": value, "PHASE": objective}` as each evaluation saw them.

        `draws` are by name; with a seed what is not among them is drawn from it, without one that is a KeyError. With
        neither, all is drawn from torch's own seed and the number of the iteration. `epoch` stands still until
        `clocks["epoch_steps"]` is set to the iterations of an epoch. A batch that lacks an input is a KeyError, one of
        another shape, or too few of them, a ValueError.
        """
        self._checked(batch)
        log: dict[str, Tensor] = self.game.step(batch, draws, seed)
        return log

    def view_row(self, view: str) -> int:
        """How many pictures a view draws for each sample: more than one where it is a list."""
        node = self.graph.views[view]
        return node.type.shape[0] if node.op == "stack" else 1

    def sample(
        self, view: str, n: int, batch: Batch | None = None, seed: int = 0, draws: Batch | None = None
    ) -> Tensor:
        """`n` samples of a view on the CPU, [n, ...]; of a metric one number, or [n]. `draws` gives some of them.

        Nothing changes. Raises KeyError for a view that the present stage does not have.
        """
        if view not in self.graph.shown:
            raise KeyError(f"no view or metric is called {view}; there are {', '.join(self.graph.shown)}")
        made: Tensor = self.game.sample(view, n, batch, seed, draws)
        return made.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Networks, averages, pools, state, optimizers, clocks: all that the next iteration depends on."""
        kept: dict[str, Any] = self.game.state_dict()
        return kept

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.game.load_state_dict(saved)

    def to(self, *args: Any, **kwargs: Any) -> Compiled:
        """Moves everything to a device or dtype."""
        self.game.to(*args, **kwargs)
        return self

    @property
    def sync(self) -> Any:
        """With many processes: what gives the mean of a tensor over them."""
        return self.game.sync

    @sync.setter
    def sync(self, function: Any) -> None:
        self.game.sync = function

    # --- looking

    def draw(self, batch_size: int, generator: torch.Generator | int | None = None) -> dict[str, Tensor]:
        """Every draw of the next iteration: by bare name, and as `PHASE/NAME`, `PHASE.3/NAME` for each evaluation.

        An integer in place of a generator is the seed; without one it is torch's own, so that two calls draw the same.
        """
        if isinstance(generator, torch.Generator):
            seed = int(torch.randint(2**62, (), generator=generator))
        else:
            seed = generator if generator is not None else torch.initial_seed()
        made: dict[str, Tensor] = {}
        draws = self.module.Draws(self.game.like, seed)
        wanted = dict(self._draws(batch_size))
        for key, make in wanted.items():
            made[key] = make(draws, key)
            bare = key.split("/", 1)[1] if key.split("/")[0] in self._labels else key
            if bare not in made:
                made[bare] = make(draws, bare)
        of_losses = walk(list(self.graph.losses.values()))  # also of those that no phase of this stage minimizes
        made |= {k: m(draws, k) for k, m in Drawn(self.graph, "", batch_size, "").nodes(of_losses) if k not in made}
        return made

    def _draws(self, n: int) -> Iterator[tuple[str, Any]]:
        """(key, how to make it) for every draw of an iteration."""
        self._labels: set[str] = set()
        schedule = self.schedule
        for held in schedule.held.values():
            yield from Drawn(self.graph, "", n, held.node.name or "").nodes(list(held.nodes))
        counts: dict[str, int] = {}
        self.game.N = n
        self.game.constants()
        for step, times in runs(schedule.steps, self.game):
            evaluation = schedule.evaluations[step.name]
            for _ in range(times):
                counts[step.name] = counts.get(step.name, 0) + 1
                label = step.name if counts[step.name] == 1 else f"{step.name}.{counts[step.name]}"
                self._labels.add(label)
                nodes = [node for node in evaluation.nodes if id(node) not in evaluation.held]
                yield from Drawn(self.graph, f"{label}/", n, step.name).nodes(nodes)

    def losses(self, batch: Batch | None, draws: Batch | None = None, seed: int | None = None) -> dict[str, Tensor]:
        """Each loss or side as if it alone were evaluated at the present weights; nothing changes."""
        found: dict[str, Tensor] = {}
        with self._untouched(batch, draws, seed):
            for names, function in self._losses[self.clocks["stage"]]:
                self.game.held, self.game.counts = {}, {}
                self.game.batch = self._present(batch)
                values = function(self.game, self.game.draws())
                found |= {name: value.detach() for name, value in zip(names, values, strict=True)}
                self._restore(self._kept)
        return found

    def gradients(
        self, phase: str, batch: Batch | None, draws: Batch | None = None, seed: int | None = None
    ) -> dict[str, Tensor]:
        """What this phase would hand to its optimizer if it ran now, by parameter; nothing changes.

        Keys are the names NETWORK.LAYER.weight of exactly the parameters that the step would change.
        """
        return self.gradients_together(phase, batch, draws, seed)[phase]

    def gradients_together(
        self, phase: str, batch: Batch | None, draws: Batch | None = None, seed: int | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """The gradients of all phases that are evaluated with this one: of the members of its group, or its own."""
        evaluation = self._evaluation(phase)
        with self._untouched(batch, draws, seed):
            function = getattr(self.game, f"evaluate_{identifier(evaluation.name)}")
            accumulate = count_at(evaluation.phases[0].accumulate, self.game)
            totals: dict[str, Any] = {p.name: None for p in evaluation.phases}
            for turn in range(accumulate):
                label = evaluation.name if turn == 0 else f"{evaluation.name}.{turn + 1}"
                if turn and self.schedule.reads(evaluation.name, held=False):
                    self.game.fetch()
                _, found = self.game.evaluated(evaluation.name, function(self.game.draws(label)), evaluation.retain)
                totals = {p: self.module.added(total, found[p]) for p, total in totals.items()}
            # By what the program steps, not by what the spec says: an edited program may step another network.
            known = {id(p): name for name, p in reversed(self.named_parameters().items())}
            made = {}
            for p, total in totals.items():
                names = [known[id(owned)] for owned in self.game.trained(p)]
                ruled = self.game.ruled(p, self.game.mean(total, accumulate))
                made[p] = {name: g.detach() for name, g in zip(names, ruled, strict=True) if g is not None}
            return made

    def parameter_names(self, phase: str) -> list[str]:
        """Names of the parameters that a phase may step, in the order of `trained`."""
        found: dict[str, None] = {}
        for network in next(p for p in self.graph.phases() if p.name == phase).networks:
            found |= dict.fromkeys(registered(self.spec.graphs, network))
        return list(found)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter by its name in the spec: `G.down[3].1.weight`."""
        found: dict[str, nn.Parameter] = {}
        for name in self.graph.networks:
            found.update(zip(registered(self.spec.graphs, name), self.networks[name].parameters(), strict=True))
        return found

    def _evaluation(self, phase: str) -> Evaluation:
        for evaluation in self.schedule.evaluations.values():
            if any(p.name == phase for p in evaluation.phases):
                return evaluation
        raise KeyError(f"no phase is called {phase}; the phases are {', '.join(self.phases)}")

    def _present(self, batch: Any) -> Any:
        first = batch[0] if isinstance(batch, list | tuple) else batch
        return first if first is None else dict(first)

    def _checked(self, batch: Any) -> None:
        """A batch that does not fit is one clear error."""
        for one in batch if isinstance(batch, list | tuple) else [batch] if batch is not None else []:
            for name, type_ in self.inputs.items():
                if name not in one:
                    raise KeyError(f"the batch has no '{name}'; the inputs are {', '.join(self.inputs)}")
                if tuple(one[name].shape[1:]) != type_.shape:
                    wanted = ", ".join(["N", *map(str, type_.shape)])
                    raise ValueError(f"the input {name} is [{wanted}], and the batch brings {list(one[name].shape)}")

    @contextmanager
    def _untouched(self, batch: Any, draws: Any, seed: int | None) -> Iterator[None]:
        """Begins an iteration to look at; then layer state, pools and state are put back."""
        self._checked(batch)
        game, names = self.game, ("batch", "held", "latest", "counts", "given", "seed", "N", "coming", "several")
        before = {name: getattr(game, name) for name in names}
        self._kept = kept = self._keep()
        game.begin(batch, draws, seed)
        for pool in game.pools.values():
            pool.writing = False
        try:
            yield
        finally:
            self._restore(kept)
            for pool in game.pools.values():
                pool.writing = True
            vars(game).update(before)

    def _keep(self) -> dict[str, Any]:
        modules = [*self.networks.modules(), *self.averages.modules()]
        return {
            "buffers": [(m, name, b, b.clone()) for m in modules for name, b in m._buffers.items() if b is not None],
            "state": dict(self.game.state),
            "pools": {name: list(pool.samples) for name, pool in self.game.pools.items()},
        }

    def _restore(self, kept: dict[str, Any]) -> None:
        with torch.no_grad():
            for module, name, buffer, value in kept["buffers"]:
                module._buffers[name] = buffer
                buffer.copy_(value)
        self.game.state.clear()
        self.game.state.update(kept["state"])
        for name, samples in kept["pools"].items():
            self.game.pools[name].samples = samples


class _Clocks(dict[str, int]):
    """The clocks, to read and to set; setting "stage" enters it."""

    def __init__(self, game: Any):
        super().__init__(game.clocks)
        self.game = game

    def __setitem__(self, name: str, value: int) -> None:
        if name not in self.game.clocks:
            raise KeyError(f"no clock is called {name}; the clocks are {', '.join(self.game.clocks)}")
        if name == "stage":
            self.game.turn(value)
        else:
            self.game.clocks[name] = value
        super().__setitem__(name, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value


def input_type(node: Node) -> InputType:
    return InputType(node.fields["kind"], node.type.shape, node.type.classes, node.type.range, node.type.samples)


@lru_cache(maxsize=8)
def _inspection(spec: Spec, stateful: bool) -> list[tuple[types.CodeType, list[list[str]]]]:
    """For each stage: functions that evaluate losses, written like phases and kept out of the program, and which ones.

    One evaluates all of them, unless one loss might change what another sees, by a layer's state or by draws: the
    second call of a network at one place has other draws than the first.
    """
    emitter = Emitter(spec.schedules)
    emitter.builds()
    stages = []
    for schedule in spec.schedules:
        stage = StageWriter(emitter, schedule)
        losses = schedule.graph.losses
        every = ordered(list(losses.values()), schedule.graph.order, {})
        places = [key.split("/")[0] for key, _ in Drawn(schedule.graph, "", 1, "").nodes(every) if "/" in key]
        counted = any(place not in schedule.graph.values for place in places)
        groups = [[name] for name in losses] if stateful or counted else [list(losses)]
        lines = ["class Losses:", "    pass"]
        for number, names in enumerate(groups):
            writer = PhaseWriter(stage)
            nodes = ordered([losses[name] for name in names], schedule.graph.order, {})
            body = writer.statements(nodes, set(), frozenset(inner_leaves(nodes, stage.reach)))
            found = ", ".join(f"{writer.code(losses[name]).plain()} + self.full(0.0)" for name in names)
            lines += [f"    def losses_{number}(self, draws):", *writer.prologue, *body, f"        return [{found}]"]
        code = compile("\n".join(lines), f"<gangraph losses of {spec.name}>", "exec")
        stages.append((code, groups))
    return stages
