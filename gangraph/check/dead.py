"""What is written and has no effect: names, losses and values that nobody reads, phases that never run."""

from __future__ import annotations

from collections.abc import Iterator

from gangraph import ops
from gangraph.check.case import Case, Finding
from gangraph.check.opposition import never
from gangraph.check.read import read_by
from gangraph.errors import Place, nearest
from gangraph.expressions import names
from gangraph.families import family_of
from gangraph.graph import Phase, Step
from gangraph.ir import Node
from gangraph.layers import LAYERS, WRAPPERS
from gangraph.spec import expressions

CORE = frozenset(
    {
        *ops.OPERATORS,
        *ops.SPECIAL,
        *ops.INITIALIZERS,
        *ops.SCALAR_FUNCTIONS,
        *ops.CONSTANTS,
        *ops.VIEWS,
        *LAYERS,
        *WRAPPERS,
    }
)


def unread_names(case: Case) -> Iterator[Finding]:
    """Sizes, constants, indices, inputs, draws and tensors of state that nobody reads; values, as a warning."""
    read = case.read
    words = {"sizes": "size", "constants": "constant", "index": "index", "state": "state"}
    for section, word in words.items():
        for name, place in _declared(case, section).items():
            state = case.stages[-1].graph.state.get(name) if section == "state" else None
            if section == "state" and (state is None or state.node.type.host):
                continue  # training logs it; or it is a problem itself
            if case.own(place) and name not in read.names:
                yield Finding(place, f"{section}.{name}", f"nobody reads the {word} {name}", "use it, or remove it")
    last = case.stages[-1].graph.resolved
    for section in ("inputs", "draws", "values"):
        for member in getattr(last, section):
            heads = [family_of(name) for name in member.names]
            if not case.own(member.place) or any(head in read.names or head.startswith("_") for head in heads):
                continue
            help = "use it, or remove it"
            if section == "values":
                path, fact = f"graph.{heads[0]}", f"nobody reads the value {', '.join(dict.fromkeys(heads))}"
                yield Finding(member.place, path, fact, help, f"unread({heads[0]})", warning=True)
            else:
                yield Finding(member.place, f"{section}.{heads[0]}", f"nobody reads {heads[0]}", help)


def formulas(case: Case) -> Iterator[Finding]:
    """Functions, families and blocks of the spec's own read all their parameters, and beside them the library alone.

    Also those that nobody calls, of which nothing else is ever said.
    """
    declared = {family_of(name): place for s in case.stages for name, place in s.graph.resolved.places.items()}
    for library in {id(s.graph.resolved.library): s.graph.resolved.library for s in case.stages}.values():
        for word in library.own.values():
            if word.kind == "layers" or not case.own(word.at):
                continue
            path, parameters = f"{word.kind}.{word.name}", [name for name, _ in word.parameters]
            body, known = word.read(), {*CORE, *library.names(), *parameters, "_"}
            read = read_by(body)
            if word.name in declared:
                there = declared[word.name].seen_from(word.at)
                yield Finding(word.at, path, f"what is called {word.name} in {there} hides it", "choose another name")
            for name in sorted(read - known):
                at = next((n.at for e in expressions(body) for n in names(e) if n.id == name), word.at)
                hint = nearest(name, known) or f"its parameters are {', '.join(parameters)}"
                yield Finding(at, path, f"nothing is called '{name}' in here", hint)
            misspelt = not read <= known
            read |= {name for _, default in word.parameters if default is not None for name in read_by(default)}
            for name in parameters:
                if name not in read and not misspelt:
                    fact = f"{word.name} does not read its parameter {name}"
                    yield Finding(word.at, path, fact, "use it, or leave it out")


def _declared(case: Case, section: str) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for stage in case.stages:
        for name in getattr(stage.graph.resolved.spec.file, section):
            found.setdefault(str(name), getattr(name, "place", case.spec.place))
    return found


def losses(case: Case) -> Iterator[Finding]:
    """Losses that no phase minimizes and nothing else reads."""
    read = case.read
    for member in case.stages[-1].graph.resolved.losses:
        head = family_of(member.name)
        if case.own(member.place) and head not in read.losses and member.name not in read.losses:
            fact = f"nobody minimizes the loss {member.name}, and nothing reads it"
            help = "write it into a phase of the schedule, or remove it"
            yield Finding(member.place, f"losses.{member.name}", fact, help)


def inner_values(case: Case) -> Iterator[Finding]:
    """Values of a network written as a graph that none of its outputs reads, and inputs of networks."""
    for (place, name), read in case.inner_values.items():
        if not read:
            network = name.split(".")[0]
            help = "its layers would hold parameters that nothing trains: remove it, or let an output read it"
            yield Finding(place, f"networks.{name}", f"no output of {network} reads this value", help)
    for network, ignored in case.ignored_inputs.items():
        fact = f"{network} makes nothing of its input {' and '.join(ignored)}"
        place = case.stages[-1].graph.networks[network].at
        help = "read it, or leave it out"
        yield Finding(place, f"networks.{network}", fact, help, f"unread({network})", warning=True)


def phases(case: Case) -> Iterator[Finding]:
    """Moves that can never run, in any stage; a spec that has none."""
    if not any(stage.phases for stage in case.stages):
        help = "players say who owns what, and the schedule who minimizes what"
        yield Finding(
            case.spec.place,
            "schedule",
            "nobody is trained: no phase minimizes anything",
            help,
            "untrained(schedule)",
            warning=True,
        )
    runs: dict[str, bool] = {}
    seen: dict[str, tuple[Step | Phase, str]] = {}
    for stage in case.stages:
        for step in stage.graph.steps():
            moves: list[Step | Phase] = [step, *(p for p in step.phases if step.kind == "group")]
            for move in moves:
                why = _never(move)
                runs[move.name] = runs.get(move.name, False) or why is None
                if why:
                    seen[move.name] = (move, why)
    for name, (move, why) in seen.items():
        if not runs[name] and case.own(move.place):
            yield Finding(move.place, f"schedule.{name}", f"{name} never runs: {why}")


def _never(move: Step | Phase) -> str | None:
    if move.when is False or (isinstance(move.when, Node) and (move.when.value is False or move.when.value == 0)):
        return "its `when` is false"
    if isinstance(move.when, Node) and move.when.value is None and never(move.when):
        return "its `when` is false at every clock"
    return "its `repeat` is 0" if move.repeat == 0 else None
