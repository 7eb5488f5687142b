"""A spec played by its semantics: losses, gradients, whole iterations, in float64 and without torch.

>>> from gangraph.reference.game import Reference
>>> from gangraph.resolve import resolve
>>> from gangraph.spec import read_spec
>>> reference = Reference(resolve(read_spec("gan"), tiny=True))
>>> list(reference.parameters)[:2]
['G.0.weight', 'G.0.bias']
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from gangraph.expressions import Call, Expr, Name, parse
from gangraph.reference.evaluation import Evaluation, Rehearsal, Showing, force
from gangraph.reference.expressions import CLOCKS
from gangraph.reference.optimizers import OPTIMIZERS, clipped_norm, clipped_value
from gangraph.reference.stage import Expansion, Stage
from gangraph.reference.tape import Tape, constant
from gangraph.reference.values import Dropped, Live, Value, integer, number, present
from gangraph.resolve import Move, Resolved

Arrays = dict[str, Any]
T = TypeVar("T")


@dataclass
class Result:
    """What one evaluation of a phase or group gave: gradients by member, and what it saw."""

    gradients: dict[str, Arrays]
    objectives: dict[str, float]
    losses: dict[str, float]
    conditions: dict[str, bool]
    states: Arrays  # what they become


class Reference:
    """The game of a resolved spec. `parameters`, `buffers`, `averages`, `state`, `pools`, `clocks` may be set."""

    def __init__(self, spec: Any, parameters: Arrays | None = None, buffers: Arrays | None = None):
        resolved: Iterable[Resolved] = getattr(spec, "resolved", spec)
        self.stages = [Stage(r) for r in resolved]
        self.clocks: dict[str, int] = dict.fromkeys(CLOCKS, 0) | {"epoch_steps": 1}
        self.draws: Arrays = {}
        self.state: Arrays = {}
        self.pools: dict[str, list[Any]] = {}
        self.held: dict[str, Any] = {}
        self.latest: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.averages: dict[str, Arrays] = {}
        self.average_buffers: dict[str, Arrays] = {}
        self.kept: dict[
            tuple[str, str], tuple[str, dict[str, Any]]
        ] = {}  # player, parameter -> optimizer, what it keeps
        self.boxes: Arrays = {}
        self.coming: list[Arrays] = []
        self.batch: Arrays | None = None
        self.reading = False
        self.several = False
        self.writing = True  # looking asks pools and does not write them
        self._needs: dict[Any, Any] = {}
        self.noise: Any = None  # for a twin: a generator of noise of rounding's size
        self.zeros = True  # for a twin: gradients that are zero stay so, and steps from them
        self.uneven = False  # for a twin: equal sums are rounded differently
        self.N = self.stages[0].resolved.batch.now
        self.expansion = Expansion()
        for number_, stage in enumerate(self.stages):
            self.clocks["stage"] = number_
            self._expand(stage)
        self.clocks["stage"] = 0
        self.parameters = self._given(parameters)
        starts = {k: v for s in self.expansion.networks.values() for k, v in s.buffers.items()}
        self.buffers: Arrays = starts | {k: np.asarray(v, dtype=float) for k, v in (buffers or {}).items()}
        for name in starts:  # statistics of a view begin as the network's
            base = name.rsplit("_", 1)[0]
            running = name.rsplit(".", 1)[-1].startswith(("running", "num_batches"))
            if running and base in self.buffers and name not in (buffers or {}):
                self.buffers[name] = self.buffers[base]
        self._enter()

    # --- what it is made of

    @property
    def stage(self) -> Stage:
        return self.stages[self.clocks["stage"]]

    @property
    def phases(self) -> list[str]:
        return [move.name for move, _ in self.stage.phases()]

    def _expand(self, stage: Stage) -> None:
        """Every network, by a run through everything on made-up arrays."""
        self.N = stage.resolved.batch.now
        with np.errstate(all="ignore"):
            rehearsal = Rehearsal(self, stage, everything=True)
            rehearsal.all()
        stage.by, stage.depth = frozenset(rehearsal.by), rehearsal.depth
        once = {member for expr in stage.file.once for member in self._names(stage, expr)}
        stage.closure = frozenset(once | {n for name in once for n in rehearsal.made_of.get(name, set())})

    def _names(self, stage: Stage, expr: Expr, bound: dict[str, Any] | None = None) -> list[str]:
        """A name, a member of a family, or all members."""
        if isinstance(expr, Name):
            return stage.members(expr.id)
        evaluation = Evaluation(self, stage)
        scope = evaluation.scope(bound)
        assert hasattr(expr, "items") and hasattr(expr, "value"), expr
        key = tuple(evaluation.index_value(item, scope) for item in expr.items)
        return [stage.families[expr.value.id][key]]

    def _given(self, parameters: Arrays | None) -> Arrays:
        """The parameters in the order of expansion, with the shapes that their layers expect."""
        found = self.expansion.networks.values()
        shapes = {n: shape for structure in found for n, (shape, _) in structure.parameters.items()}
        if parameters is None:
            return {name: np.zeros(shape) for name, shape in shapes.items()}
        missing, surplus = set(shapes) - set(parameters), set(parameters) - set(shapes)
        if missing or surplus:
            raise KeyError(f"parameters missing: {sorted(missing)}; not in the spec: {sorted(surplus)}")
        for name, shape in shapes.items():
            if tuple(np.shape(parameters[name])) != shape:
                raise ValueError(f"{name} is {list(np.shape(parameters[name]))}, and its layer has {list(shape)}")
        return {name: np.asarray(parameters[name], dtype=float) for name in shapes}

    def _enter(self) -> None:
        """A stage begins: new averages start as copies, new states at their start."""
        stage = self.stage
        evaluation = Rehearsal(self, stage)
        for name, spec in stage.file.state.items():
            if str(name) not in self.state:
                start = evaluation.value(spec.start, evaluation.scope())
                self.state[str(name)] = constant(start.data)[0] if isinstance(start, Value) else float(number(start))
        for name, member in stage.averages.items():
            if name not in self.averages:
                source = evaluation.average_source(name)
                begin = dict(_keywords(member.body)).get("start")
                zeros = begin is not None and evaluation.value(begin, evaluation.scope()) == "zeros"
                names = self.expansion.parameters(source)
                self.averages[name] = {n: self.parameters[n] * (0.0 if zeros else 1.0) for n in names}
                self.average_buffers[name] = {n: self.buffers[n] for n in self.expansion.buffers(source)}

    def owned(self, stage: Stage, move: Move) -> list[str]:
        """The parameters that a phase trains, each once, in order."""
        player = stage.players[self.player(stage, move)]
        networks = move.networks if move.networks is not None else player.body.networks
        bound = move.bound if move.networks is not None else player.bound
        names = [n for expr in networks for n in self._names(stage, expr, bound)]
        return list(dict.fromkeys(p for n in names for p in self.expansion.parameters(n)))

    def player(self, stage: Stage, move: Move) -> str:
        if move.player is None:
            return move.name
        if isinstance(move.player, Name):
            return move.player.id
        evaluation = Evaluation(self, stage)
        scope = evaluation.scope(move.bound)
        key = tuple(evaluation.index_value(item, scope) for item in move.player.items)  # type: ignore[attr-defined]
        return stage.resolved.player_families[move.player.value.id][key]  # type: ignore[attr-defined]

    # --- batches

    def fetch(self) -> None:
        if not self.coming:
            raise IndexError("no further batch is given")
        self.batch = self.coming.pop(0) if self.several else self.coming[0]

    def input(self, name: str) -> Any:
        if self.batch is None:
            self.fetch()
        self.reading = True
        assert self.batch is not None
        return self.batch[name]

    def _begin(self, batch: Any, draws: Arrays | None) -> None:
        self.several = isinstance(batch, list | tuple)
        self.coming = list(batch) if self.several else [batch] if batch is not None else []
        self.batch, self.held, self.latest, self.counts = None, {}, {}, {}
        self.draws = draws or {}
        self.N = self._batch_size(self.coming[0]) if self.coming else self.stage.resolved.batch.now

    def _batch_size(self, batch: Arrays) -> int:
        for name, member in self.stage.inputs.items():
            if not any(key == "samples" for key, _ in _keywords(member.body)):
                return len(batch[name])
        for name, member in self.stage.inputs.items():  # of several samples for each: the N with which they are as many
            for self.N in range(1, len(batch[name]) + 1):
                evaluation = Evaluation(self, self.stage)
                length = evaluation.value(dict(_keywords(member.body))["samples"], evaluation.scope())
                if isinstance(length, Live) and integer(length) == len(batch[name]):
                    return self.N
        return self.stage.resolved.batch.now

    # --- one evaluation

    @contextmanager
    def _recording(self, phases: bool = True) -> Iterator[Tape]:
        """Parameters are recorded: the phases' gradients go to them, and some `grad` may."""
        stage = self.stage
        with Tape.recording(stage.depth) as tape, np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            self.tape, self.recording_phases = tape, phases
            self.boxes = {name: self._boxed(name) for name in self.parameters}
            try:
                yield tape
            finally:
                self.boxes, self.held = {}, {}

    def _boxed(self, name: str) -> Any:
        array = self.parameters[name]
        if self.recording_phases:
            array = self.tape.parameter(array)
        return self.tape.mark(array) if name in self.stage.by else array

    def needed(self, key: Any, read: Any) -> tuple[list[str], set[str]]:
        """The named values that something reads, in the order of declaration, and the losses."""
        place = (self.clocks["stage"], key)
        if place not in self._needs:
            with np.errstate(all="ignore"):
                rehearsal = Rehearsal(self, self.stage)
                boxes, self.boxes = self.boxes, {}
                try:
                    read(rehearsal)
                finally:
                    self.boxes = boxes
            order = [n for n in self.stage.values if n in rehearsal.made]
            self._needs[place] = order, set(rehearsal.log)
        return self._needs[place]  # type: ignore[no-any-return]

    def _evaluation(
        self, label: tuple[str, int], key: Any, read: Any, kind: type[Evaluation] = Evaluation
    ) -> Evaluation:
        """An evaluation in which the values are made; the losses come when they are read."""
        order, _ = self.needed(key, read)
        evaluation = kind(self, self.stage, label, self.tape)
        for name in order:
            evaluation.named_value(name)
        return evaluation

    def evaluate(self, move: Move, label: tuple[str, int]) -> Result:
        """A phase, or a group with all its members: objectives, then conditions, then what states read."""
        stage = self.stage
        members = list(move.moves) if move.kind == "group" else [move]
        states = {name: self._states_after(name) for name in (move.name, *(m.name for m in members))}

        def read(evaluation: Evaluation) -> None:
            for member in members:
                evaluation.objective(member)
            for member in members if move.kind == "group" else ():
                evaluation.condition(member.when, member.bound, member.name, True)
            for found in states.values():
                for state, expr in found.items():
                    self._become(evaluation, state, expr)

        evaluation = self._evaluation(label, move.name, read)
        objectives = {m.name: evaluation.objective(m) for m in members}
        conditions = {
            m.name: bool(evaluation.condition(m.when, m.bound, m.name, True)) if move.kind == "group" else True
            for m in members
        }
        becoming = {s: self._become(evaluation, s, e) for found in states.values() for s, e in found.items()}
        gradients = {}
        for member in members:
            names = self.owned(stage, member)
            found = self.tape.gradient(objectives[member.name].data, [self.boxes[n] for n in names], None)
            reached = {n: constant(g) for n, g in zip(names, found, strict=True) if g is not None}
            gradients[member.name] = reached if self.zeros else self._noisy(reached)
        values = {name: float(constant(v.data).reshape(())) for name, v in objectives.items()}
        result = Result(gradients, values, evaluation.numbers(), conditions, becoming)
        evaluation.forget()
        return result

    def _shake(self) -> None:
        """A twin's parameters, off in the last bit: every sum is rounded anew."""
        if self.noise is not None:
            for name, p in self.parameters.items():
                self.parameters[name] = p * (1 + 2.0**-52 * self.noise.standard_normal(p.shape))

    def _noisy(self, gradients: Arrays) -> Arrays:
        """Gradients as another order of sums might round them: off by 1e-16 of the phase's largest entry."""
        largest = max((float(np.max(np.abs(g))) for g in gradients.values() if g.size), default=0.0)
        return {n: g + 1e-16 * largest * self.noise.standard_normal(np.shape(g)) for n, g in gradients.items()}

    # --- looking

    def losses(self, batch: Any, draws: Arrays | None = None) -> dict[str, float]:
        """Each loss and side as if it alone were evaluated now; nothing changes."""
        found: dict[str, float] = {}
        for together in self._groups(self._sides()):
            with self._untouched(batch, draws), self._recording(phases=False):

                def read(evaluation: Evaluation, chosen: list[tuple[str, str | None]] = together) -> list[Any]:
                    values = [(evaluation.loss(name), side) for name, side in chosen]
                    return [v.side(side) if side and not isinstance(v, Dropped) else v for v, side in values]

                values = read(self._evaluation(("", 1), f"losses {together}", read))
                for (name, side), value in zip(together, values, strict=True):
                    for i, one in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
                        text = ".".join(filter(None, (name, side))) + (f"[{i}]" if i is not None else "")
                        found[text] = 0.0 if isinstance(one, Dropped) else float(constant(one.data).reshape(()))
        return found

    def shown(self, batch: Any, draws: Arrays | None = None) -> Arrays:
        """Each view and metric, [n, ...] or one number, as if it alone were looked at now; nothing changes."""
        found: Arrays = {}
        for together in self._groups([str(n) for n in (*self.stage.file.sample, *self.stage.file.metrics)]):
            with self._untouched(batch, draws), self._recording(phases=False):

                def read(evaluation: Evaluation, names: list[str] = together) -> list[Value]:
                    return [evaluation.shown(name) for name in names]

                values = read(self._evaluation(("", 1), f"shown {together}", read, Showing))
                for name, value in zip(together, values, strict=True):
                    found[name] = constant(value.data)[0] if value.shared else constant(value.data)
        return found

    def _groups(self, names: list[T]) -> list[list[T]]:
        """What one evaluation is asked: all, unless one might change what another sees, by a layer's state or draws."""
        return [[name] for name in names] if self.buffers or self.expansion.counting else [names]

    def _sides(self) -> list[tuple[str, str | None]]:
        """Names of losses, two-sided ones with each side."""
        rehearsal = Rehearsal(self, self.stage)
        found: list[tuple[str, str | None]] = []
        with np.errstate(all="ignore"):
            for name in self.stage.losses:
                value = present(rehearsal.loss(name))
                found += [(name, s) for s in value.sides] if hasattr(value, "sides") else [(name, None)]
        return found

    def gradients(self, phase: str, batch: Any, draws: Arrays | None = None) -> Arrays:
        """What this phase would hand to its optimizer if it ran now, by parameter, after the player's rule."""
        return self.gradients_together(phase, batch, draws)[phase]

    def gradients_together(self, phase: str, batch: Any, draws: Arrays | None = None) -> dict[str, Arrays]:
        """The same of all phases that are evaluated with this one: of the members of its group, or its own."""
        move, group = next((m, g) for m, g in self.stage.phases() if m.name == phase)
        with self._untouched(batch, draws), self._recording():
            result, _ = self._evaluations(group or move, log=None)
            members = group.moves if group else [move]
            return {m.name: self._ruled(m, result.gradients[m.name]) for m in members}

    @contextmanager
    def _untouched(self, batch: Any, draws: Arrays | None) -> Iterator[None]:
        names = ("buffers", "average_buffers", "pools", "state", "counts", "latest", "draws", "coming", "batch", "N")
        before = {name: getattr(self, name) for name in names}
        for name in ("buffers", "pools", "state"):
            setattr(self, name, dict(before[name]))
        self.average_buffers = {k: dict(v) for k, v in self.average_buffers.items()}
        self._begin(batch, draws)
        self.writing = False
        try:
            yield
        finally:
            self.writing = True
            for name, value in before.items():
                setattr(self, name, value)

    # --- a whole iteration

    def step(self, batch: Any = None, draws: Arrays | None = None) -> dict[str, float]:
        """One iteration; `batch` is a dict, or a list of them taken in order. Returns what each evaluation saw."""
        self._begin(batch, draws)
        self.log: dict[str, float] = {}
        self.pulled: dict[str, Arrays] = {}  # by phase and turn: the gradients that its step was made of
        self._shake()
        with self._recording():
            self._play(self.stage.resolved.schedule)
        self._finish()
        self._advance()
        return self.log

    def _number(self, expr: Expr | None, move: Move, default: Any) -> Any:
        """A number of the schedule, read before anything is fetched or drawn."""
        if expr is None:
            return default
        evaluation = Evaluation(self, self.stage)
        evaluation.past = True
        return evaluation.condition(expr, move.bound, move.name, default)

    def _play(self, moves: tuple[Move, ...]) -> None:
        for move in moves:
            if not self._number(move.when, move, True):
                continue
            for _ in range(integer(self._number(move.repeat, move, 1))):
                if move.kind in ("phase", "group"):
                    self._phase(move)
                    continue
                if move.fresh:
                    self.fetch()
                if move.kind == "sequence":
                    self._play(move.moves)
                elif move.kind == "update":
                    self._update([n for expr in move.names for n in self._names(self.stage, expr, move.bound)])
                else:
                    self._reset(move.names, move.bound)

    def _evaluations(self, move: Move, log: dict[str, float] | None) -> tuple[Result, int]:
        """The evaluations that are accumulated: the last one's numbers, the mean of all gradients."""
        count = integer(self._number(move.accumulate, move, 1)) if move.kind == "phase" else 1
        sums: dict[str, Arrays] = {}
        for turn in range(count):
            if (move.fresh and turn == 0) or (turn and self.reading):
                self.fetch()
            self.reading = False
            self.counts[move.name] = self.counts.get(move.name, 0) + 1
            result = self.evaluate(move, (move.name, self.counts[move.name]))
            for member, found in result.gradients.items():
                into = sums.setdefault(member, {})
                for name, g in found.items():
                    into[name] = into[name] + g if name in into else g
            self.latest |= result.losses
            if log is not None:
                self._note(move, result, log)
        result.gradients = {m: {n: g / count for n, g in found.items()} for m, found in sums.items()}
        return result, count

    def _note(self, move: Move, result: Result, log: dict[str, float]) -> None:
        count = self.counts[move.name]
        suffix = f".{count}" if count > 1 else ""
        log |= {f"{move.name}{suffix}/{loss}": value for loss, value in result.losses.items()}
        log |= {f"{member}{suffix}": value for member, value in result.objectives.items()}
        for member in move.moves if move.kind == "group" else ():
            _, read = self.needed(f"member {member.name}", lambda e, m=member: e.objective(m))
            log |= {f"{member.name}{suffix}/{loss}": v for loss, v in result.losses.items() if loss in read}

    def _phase(self, move: Move) -> None:
        result, _ = self._evaluations(move, self.log)
        for member in move.moves if move.kind == "group" else (move,):
            if result.conditions[member.name]:
                found = self._ruled(member, result.gradients[member.name])
                self.pulled[f"{member.name}.{self.counts[move.name]}"] = found
                self._move(member, found)
        self.state |= result.states

    # --- a step

    def _parts(self, move: Move, key: str, names: list[str]) -> list[tuple[Expr, list[str]]]:
        """A rule of the player, and the parameters that each form is for: the one meant for the fewest has them."""
        player = self.stage.players[self.player(self.stage, move)]
        rest, found = list(names), []
        parts = [(part, expr) for part, expr in player.body.parts.items() if part.split(".")[0] == key]
        special = [(self._meant(part.partition(".")[2], player.bound), expr) for part, expr in parts]
        for meant, expr in sorted(special, key=lambda pair: len(pair[0])):
            found.append((expr, [n for n in rest if n in meant]))
            rest = [n for n in rest if n not in meant]
        general = getattr(player.body, key)
        return [*found, (general, rest)] if general is not None else found

    def _meant(self, text: str, bound: dict[str, Any]) -> set[str]:
        """The parameters of a network, a family, or a layer of a network."""
        head = text.split("[")[0].split(".")[0]
        if text in self.expansion.networks or head in self.stage.families:
            expr = parse(text)
            names = self._names(self.stage, expr, bound)
            return {p for n in names for p in self.expansion.parameters(n)}
        every = [p for structure in self.expansion.networks.values() for p in structure.parameters]
        return {p for p in every if p == text or p.startswith(f"{text}.")}

    def _ruled(self, move: Move, gradients: Arrays) -> Arrays:
        """`clip_norm`, over all gradients of the phase; `clip_value`."""
        found = dict(gradients)
        for expr, names in self._parts(move, "gradient", list(gradients)):
            assert isinstance(expr, Call) and isinstance(expr.function, Name)
            bound = float(self._number(expr.arguments[0], move, None))
            rule = {"clip_norm": clipped_norm, "clip_value": clipped_value}[expr.function.id]
            if names:
                found |= rule({n: gradients[n] for n in names}, bound)
        return found

    def _change(self, move: Move, key: str, names: list[str]) -> None:
        """`before` and `after`: every parameter that the phase trains, reached or not."""
        for expr, chosen in self._parts(move, key, names):
            for name in chosen:
                evaluation = Evaluation(self, self.stage)
                value = Value(self.parameters[name][None], True)
                made = evaluation.value(expr, evaluation.scope(move.bound).inner({"p": value}))
                self.parameters[name] = constant(made.data)[0]

    def _move(self, move: Move, gradients: Arrays) -> None:
        names = self.owned(self.stage, move)
        player = self.player(self.stage, move)
        self._change(move, "before", names)
        for expr, chosen in self._parts(move, "optimizer", names):
            assert isinstance(expr, Call) and isinstance(expr.function, Name)
            arguments = {k: self._argument(v, move) for k, v in expr.keywords}
            function = OPTIMIZERS[expr.function.id]
            if expr.arguments:
                arguments["lr"] = self._argument(expr.arguments[0], move)
            for name in chosen:
                if name in gradients:
                    kind, kept = self.kept.get((player, name), ("", {}))
                    if kind != expr.function.id:  # a stage may bring another one
                        kept = {}
                    self.kept[player, name] = (expr.function.id, kept)
                    made = function(kept, self.parameters[name], gradients[name], **arguments)
                    self.parameters[name] = np.asarray(made)
        self._change(move, "after", names)
        for name in names:
            self.boxes[name] = self._boxed(name)

    def _argument(self, expr: Expr, move: Move) -> Any:
        evaluation = Evaluation(self, self.stage)
        evaluation.past = True
        player = self.stage.players[self.player(self.stage, move)]
        value = evaluation.value(expr, evaluation.scope(player.bound, knowing=True))
        return tuple(map(number, value)) if isinstance(value, tuple) else number(value)

    def _reset(self, exprs: Iterable[Expr], bound: dict[str, Any]) -> None:
        """Forgets what the optimizers of players have gathered."""
        place = self.stage.resolved.spec.place
        players = {n for e in exprs for n in self._players(Move("phase", "", place, bound, player=e))}
        self.kept = {key: kept for key, kept in self.kept.items() if key[0] not in players}

    # --- states, averages, clocks

    def _states_after(self, phase: str) -> dict[str, Expr]:
        """The states that are updated after a phase, with what they become."""
        found: dict[str, Expr] = {}
        for name, spec in self.stage.file.state.items():
            within = spec.within
            if within is None:
                continue
            entries = within.items() if isinstance(within, dict) else [(str(expr), spec.becomes) for expr in within]
            for key, expr in entries:
                family = str(key) not in self.phases and str(key) == phase.split("[")[0]
                if expr is not None and (str(key) == phase or family):
                    found[str(name)] = expr
        return found

    def _become(self, evaluation: Evaluation, name: str, expr: Expr) -> Any:
        value = evaluation.value(expr, evaluation.scope(home=name))
        if not isinstance(value, Value):
            return float(number(value))
        array = constant(value.data)
        old = self.state.get(name)
        return float(array.reshape(())) if not isinstance(old, np.ndarray) or not old.shape else array[0]

    def _update(self, names: list[str]) -> None:
        """States and averages that a move or the end of the iteration updates, all from what was before."""
        new: Arrays = {}
        for name in names:
            if name in self.stage.averages:
                self._follow(name)
            else:
                evaluation = Evaluation(self, self.stage)
                evaluation.past = True
                becomes = self.stage.file.state[name].becomes
                assert becomes is not None, f"the state {name} does not say what it becomes"
                new[name] = self._become(evaluation, name, becomes)
        self.state |= new

    def _follow(self, name: str) -> None:
        """average <- decay average + (1 - decay) network; buffers are copied."""
        member = self.stage.averages[name]
        evaluation = Evaluation(self, self.stage)
        given = dict(zip(("of", "decay"), member.body.arguments, strict=False)) | dict(member.body.keywords)
        decay = float(number(evaluation.value(given["decay"], evaluation.scope(member.bound))))
        for p, old in self.averages[name].items():
            self.averages[name][p] = decay * old + (1 - decay) * self.parameters[p]
        for b in self.average_buffers[name]:
            self.average_buffers[name][b] = self.buffers[b]

    def _finish(self) -> None:
        """State updates, then averages, that no move made."""
        moved = {n for m in _moves(self.stage.resolved.schedule) if m.kind == "update" for e in m.names
                 for n in self._names(self.stage, e, m.bound)}  # fmt: skip
        states = [str(n) for n, s in self.stage.file.state.items() if s.within is None and str(n) not in moved]
        self._update(states)
        self._update([n for n in self.stage.averages if n not in moved])

    def _advance(self) -> None:
        """The clocks; the next stage, when this one has had its iterations or images."""
        for clock in ("step", "stage_step", "epoch_step"):
            self.clocks[clock] += 1
        for clock in ("images", "stage_images"):
            self.clocks[clock] += self.N
        if 1 < self.clocks["epoch_steps"] <= self.clocks["epoch_step"]:
            self.clocks |= {"epoch": self.clocks["epoch"] + 1, "epoch_step": 0}
        keys, place = self.stage.resolved.keys, Move("phase", "", self.stage.resolved.spec.place, self.stage.bound)
        over = any(
            expr is not None and self.clocks[clock] >= self._number(expr, place, 0)
            for expr, clock in ((keys.iterations, "stage_step"), (keys.images, "stage_images"))
        )
        if over and self.clocks["stage"] + 1 < len(self.stages):
            self.turn(self.clocks["stage"] + 1)

    def turn(self, stage: int) -> None:
        """Enters a stage."""
        self.clocks |= {"stage": stage, "stage_step": 0, "stage_images": 0}
        self._enter()
        self._reset(self.stage.resolved.keys.reset, self.stage.bound)

    def _players(self, move: Move) -> list[str]:
        """A player, or all of a family of players."""
        families = self.stage.resolved.player_families
        if isinstance(move.player, Name) and move.player.id in families:
            return list(families[move.player.id].values())
        return [self.player(self.stage, move)]

    def start(self, parameters: Arrays, buffers: Arrays) -> Reference:
        """A new game of the same spec, from these weights and buffers."""
        made = self.copy()
        made.clocks = dict.fromkeys(CLOCKS, 0) | {"epoch_steps": 1}
        made.parameters, made.buffers = made._given(parameters), made.buffers | buffers
        made.state, made.pools, made.averages, made.average_buffers, made.kept = {}, {}, {}, {}, {}
        made._enter()
        return made

    def twin(self, seed: Any = 0, zeros: bool = False, uneven: bool = False) -> Reference:
        """The same game, rounded otherwise: how far it gets from this one is what rounding alone does.

        A gradient that is zero in exact arithmetic may come out as noise, of which Adam makes a step, or as zero
        (`zeros`), so that numbers stay where a kink is. A map that is flat in exact arithmetic may stay so, or be
        `uneven`, which norms make larger.
        """
        made = self.copy()
        made.noise, made.zeros, made.uneven = np.random.default_rng(seed), zeros, uneven
        made._shake()
        return made

    def copy(self) -> Reference:
        """Another game that goes on from here."""
        made = copy.copy(self)
        for name in ("parameters", "buffers", "state", "pools", "clocks", "latest"):
            setattr(made, name, dict(getattr(self, name)))
        made.averages = {k: dict(v) for k, v in self.averages.items()}
        made.average_buffers = {k: dict(v) for k, v in self.average_buffers.items()}
        made.kept = {k: (kind, dict(kept)) for k, (kind, kept) in self.kept.items()}
        return made


def _keywords(expr: Any) -> tuple[tuple[str, Expr], ...]:
    return expr.keywords if isinstance(expr, Call) else ()


def _moves(moves: tuple[Move, ...]) -> Iterator[Move]:
    for move in moves:
        yield move
        yield from _moves(move.moves)


__all__ = ["Reference", "force"]
