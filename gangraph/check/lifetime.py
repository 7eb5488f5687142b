"""Values that are made once an iteration: nobody may train through one that is older than what it should train.

The schedule is walked once as if every phase ran, a repeated one twice. A value remembers the step and the batch at
which it was made; a phase that comes to it later asks what has been stepped, or fetched, since.
"""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.check.case import Finding, Stage, below
from gangraph.expressions import Expr
from gangraph.graph import Phase, State, Step, least, steps_in
from gangraph.ir import Node, leaves, visit
from gangraph.routing import passing
from gangraph.schedule import Evaluation, once_nodes


def lifetimes(stage: Stage) -> Iterator[Finding]:
    """Values older than what they should train or than the batch, and losses read before they are evaluated."""
    yield from _Clockwork(stage).run()


class _Clockwork:
    def __init__(self, stage: Stage):
        self.stage = stage
        self.once = once_nodes(stage.graph)
        self.now = 0
        self.batch = 0
        self.fetcher = ("", "")  # what took the present batch: a key, and of which step
        self.made: dict[int, tuple[int, int]] = {}  # once value -> when, and in which batch
        self.stepped: dict[str, tuple[int, str]] = {}  # network -> when, and by which phase
        self.evaluated: set[str] = set()
        self.certain: set[str] = set()  # those that no condition can leave out
        self.found: dict[object, Finding] = {}
        self.batched = self._batched()

    def run(self) -> Iterator[Finding]:
        self._steps(self.stage.graph.schedule)
        for state in self.stage.graph.state.values():
            self._update(state)
        return iter(self.found.values())

    def _batched(self) -> set[int]:
        """Values that an input feeds."""
        found: set[int] = set()
        for node in self.stage.nodes:
            if node.op == "input" or not found.isdisjoint(map(id, node.args)):
                found.add(id(node))
        return found

    def _note(self, key: object, finding: Finding) -> None:
        self.found.setdefault(key, finding)

    # --- the schedule

    def _steps(self, steps: tuple[Step, ...], certain: bool = True) -> None:
        for step in steps:
            always = certain and step.when is None and least(step.repeat) > 0
            for expr in (step.when, step.repeat):
                self._conditions(step, expr)
            for _ in range(1 if step.repeat in (None, 0, 1) else 2):
                self.now += 1
                if step.fresh:
                    self.batch, self.fetcher = self.batch + 1, ("batch: fresh", step.name)
                if step.kind == "sequence":
                    self._steps(step.steps, always)
                elif step.kind in ("phase", "group"):
                    self._evaluate(step, self.stage.schedule.evaluations[step.name], always)

    def _conditions(self, step: Step, expr: object) -> None:
        for node in below([expr] if isinstance(expr, Node) else []):
            if node.op == "latest" and not _among(node, self.evaluated):
                fact = f"{node.name} is read before it has been evaluated in this iteration"
                help = "`when` and `repeat` read losses of earlier phases; in a group, members read those of their own"
                self._note(
                    (step.name, node.name),
                    Finding(
                        node.at if step.place.file != node.at.file else step.place, f"schedule.{step.name}", fact, help
                    ),
                )

    def _update(self, state: State) -> None:
        """A state that is updated at the end reads what losses were."""
        if state.becomes is None:
            return
        at, path, name = state.becomes.at, f"state.{state.name}", f"left_out({state.name})"
        for node in below([state.becomes]):
            if node.op != "latest" or _among(node, self.certain):
                continue
            if _among(node, self.evaluated):
                fact = f"{node.name} is not evaluated when `when` leaves its phase out, and the run stops there"
                help = f"update {state.name} after that phase: `in: [PHASE]`"
                self._note((path, node.name), Finding(at, path, fact, help, name, warning=True))
            else:
                fact = f"{state.name} reads {node.name}, which no phase evaluates"
                whole = self.stage.graph.losses.get(node.name or "")
                gone = whole is not None and whole.args[0].op == "dropped"
                help = "its factor is 0" if gone else "minimize it in a phase"
                self._note((path, node.name), Finding(at, path, fact, help))

    def _evaluate(self, step: Step, evaluation: Evaluation, always: bool) -> None:
        held = [n for n in evaluation.nodes if id(n) in self.once]
        for node in held:
            self._read(node, step)
        accumulated = any(p.accumulate not in (None, 1) for p in evaluation.phases)
        if accumulated and evaluation.inputs:  # every further evaluation reads a batch of its own
            self.batch, self.fetcher = self.batch + 1, ("accumulate", step.name)
            for node in held:
                self._read(node, step)
        losses = {n.name or "" for n in evaluation.losses}
        self.evaluated |= losses
        self.certain |= losses if always else set()
        for phase in evaluation.phases:
            self._train(phase)
        for phase in evaluation.phases:
            self.now += 1
            for network in self.stage.names(self.stage.owned[phase.name]):
                self.stepped[network] = (self.now, phase.name)

    def _read(self, node: Node, step: Step) -> None:
        """A phase needs a once value: it is made now, or must be of the present batch."""
        stack = [node]
        while stack:
            top = stack.pop()
            if id(top) not in self.made:
                self.made[id(top)] = (self.now, self.batch)
                stack += self._parts(top)
            elif id(top) in self.batched and self.made[id(top)][1] != self.batch:
                fact = (
                    f"{top.name} is made once an iteration and of an earlier batch than the one that {step.name} reads"
                )
                key, by = self.fetcher
                help = (
                    f"leave out `{key}` {'here' if by == step.name else f'of {by}'}, or take {top.name} out of `once`"
                )
                self._note(("batch", id(top)), Finding(step.place, f"schedule.{step.name}", fact, help))

    def _parts(self, node: Node) -> list[Node]:
        """The once values that a once value is made of directly."""
        nearest = visit(node.args, lambda n: () if id(n) in self.once else n.args)
        return [n for n in nearest if id(n) in self.once]

    def _train(self, phase: Phase) -> None:
        """Follows the gradient of a phase through once values, down to what it trains."""
        if not self.once:
            return
        live = self.stage.schedule.routing.routes[phase.name].live
        stack: list[tuple[Node, Node | None]] = [(phase.objective, None)]
        seen: set[int] = set()
        while stack:
            node, above = stack.pop()
            if id(node) in seen or id(node) not in live:
                continue
            seen.add(id(node))
            if id(node) in self.once:
                above = node
            if above is not None and node.op == "call":
                self._old(phase, above, node)
            stack += [(a, above) for a in passing(node)]

    def _old(self, phase: Phase, value: Node, call: Node) -> None:
        since = self.made.get(id(value), (self.now, 0))[0]
        for network in self.stage.contained(call.fields["source"]):
            when, by = self.stepped.get(network, (0, ""))
            if when > since:
                fact = f"{value.name} is older than {network}: {by} has stepped it since {value.name} was made"
                help = f"take {value.name} out of `once`, or train both in one group (`together`)"
                self._note((phase.name, id(value)), Finding(phase.place, f"schedule.{phase.name}", fact, help))
                return


def _among(node: Node, losses: set[str]) -> bool:
    """Whether a loss, or the discriminator's side of it, is among those."""
    return node.name in losses or f"{node.name}.discriminator" in losses


def idle_once(stages: list[Stage]) -> Iterator[Finding]:
    """Entries of `once` that others imply, or that no second evaluation reads, in every stage."""
    verdicts: dict[str, list[tuple[Expr, str | None]]] = {}
    for stage in stages:
        for expr, reason in _idle(stage):
            verdicts.setdefault(str(expr), []).append((expr, reason))
    for text, found in verdicts.items():
        expr, reason = found[0]
        if reason and all(r for _, r in found):
            yield Finding(expr.at, "once", f"{text} {reason}", "leave it out", f"once({text})", warning=True)


def _idle(stage: Stage) -> Iterator[tuple[Expr, str | None]]:
    """Each entry, with why it changes nothing, if it does not."""
    entries = [(expr, _entry_nodes(stage, str(expr))) for expr in stage.graph.resolved.spec.file.once]
    if not entries:
        return
    bits: dict[int, int] = {}
    for i, (_, nodes) in enumerate(entries):
        for node in nodes:
            bits[id(node)] = bits.get(id(node), 0) | 1 << i
    within: dict[int, int] = {}  # node -> the entries that it is made of
    for node in stage.nodes:
        mask = bits.get(id(node), 0)
        for argument in node.args:
            mask |= within[id(argument)]
        within[id(node)] = mask
    readers = _readers(stage, within, len(entries))
    for i, (expr, nodes) in enumerate(entries):
        above = next(
            (e for j, (e, others) in enumerate(entries) if j != i and any(within[id(n)] >> i & 1 for n in others)), None
        )
        if above is not None:
            yield expr, f"is made once anyway, because {above} is made of it"
        else:
            alone = "is read by one phase only" if readers[i] else "is read by no phase"
            yield (
                expr,
                None if readers[i] > 1 or not nodes else f"{alone}, so it is made once anyway" if readers[i] else alone,
            )


def _entry_nodes(stage: Stage, text: str) -> list[Node]:
    graph = stage.graph
    names = graph.resolved.families[text].values() if text in graph.resolved.families else [text]
    return [node for name in names for node in leaves(graph.draws.get(name) or graph.values.get(name))]


def _readers(stage: Stage, within: dict[int, int], count: int) -> list[int]:
    """How many evaluations read each entry; a repeated one counts as two."""
    repeated = {step.name for step in _repeated(stage.graph.schedule)}
    found = [0] * count
    for name, evaluation in stage.schedule.evaluations.items():
        mask = 0
        for node in evaluation.nodes:
            mask |= within.get(id(node), 0)
        for i in range(count):
            found[i] += (2 if name in repeated else 1) * (mask >> i & 1)
    return found


def _repeated(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        if step.repeat not in (None, 0, 1) or any(p.accumulate not in (None, 1) for p in step.phases):
            yield from steps_in([step])
        else:
            yield from _repeated(step.steps)
