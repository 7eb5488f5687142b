"""Two specs -> Difference: what changed between them by meaning, section by section.

What is compared is what the compiler made of the files, not their text: another order of keys, another spelling of an
expression and a parent's file change nothing. A family is compared rule by rule, with its index in brackets.

>>> import gangraph
>>> print(gangraph.diff("gan", "gan-minimax"))
losses
  adv: non_saturating(real=D(x), fake=D(fake)) -> minimax(real=D(x), fake=D(fake))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gangraph.document import Mapping, Scalar, Sequence, Tree
from gangraph.errors import Fact
from gangraph.expressions import parse_line, show
from gangraph.families import family_of
from gangraph.frozen import frozen
from gangraph.graph import Graph, Phase, Player, Step
from gangraph.ir import Node
from gangraph.templates import join
from gangraph.verb import callable_itself
from gangraph.writer import host_text

if TYPE_CHECKING:
    from pathlib import Path

    from gangraph.compiler import Spec

Facts = dict[str, dict[str, str]]  # section -> name -> what is known of it

SECTIONS = (
    "sizes", "constants", "index", "inputs", "prepare", "draws", "once", "networks", "parameters", "init", "values",
    "losses", "state", "averages", "players", "objectives", "schedule", "sample", "stages", "train", "functions",
    "families", "blocks", "layers",
)  # fmt: skip


@frozen
class Change:
    """One thing that is new (`before` is None), gone (`after` is None) or another."""

    section: str
    name: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name}: {self.after}"
        if self.after is None:
            return f"- {self.name}: {self.before}"
        return f"{self.name}: {self.before} -> {self.after}"


@frozen
class Difference:
    """Every change from one spec to another, in the order of `SECTIONS`. Empty, and false, where there is none."""

    a: str
    b: str
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def lines(self) -> list[str]:
        """One heading a section, one line a change."""
        found: list[str] = []
        for section in SECTIONS:
            own = [change for change in self.changes if change.section == section]
            found += [section, *(f"  {change}" for change in own)] if own else []
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines()) or f"{self.a} and {self.b} mean the same"

    def data(self) -> dict[str, Any]:
        """The same for a machine: section -> name -> {kind, before, after}."""
        sections: dict[str, dict[str, Any]] = {}
        for c in self.changes:
            sections.setdefault(c.section, {})[c.name] = {"kind": c.kind, "before": c.before, "after": c.after}
        return {"a": self.a, "b": self.b, "equal": not self.changes, "changes": sections}


def diff(a: Spec | str | Path, b: Spec | str | Path) -> Difference:
    """What changed from one spec to the other; each a path, the name of a system of the gallery, or loaded."""
    from gangraph.compiler import load

    a, b = load(a), load(b)
    before, after = facts(a), facts(b)
    changes = []
    for section in SECTIONS:
        old, new = before[section], after[section]
        for name in [*old, *(n for n in new if n not in old)]:
            if old.get(name) != new.get(name):
                changes.append(Change(section, name, old.get(name), new.get(name)))
        if section == "values":  # the order of evaluation: layers with state see it
            kept = [name for name in old if name in new], [name for name in new if name in old]
            changes += [Change(section, "order", ", ".join(kept[0]), ", ".join(kept[1]))] if kept[0] != kept[1] else []
    return Difference(a.name, b.name, tuple(changes))


# --- what a spec means --------------------------------------------------------------------------------------------


def facts(spec: Spec) -> Facts:
    """Everything that is compared: section -> name -> text. Whatever stages change stands under `stages`."""
    graph = spec.graph
    tree = spec.parsed.tree
    found: Facts = {section: {} for section in SECTIONS}
    found["sizes"] = {k: str(v) for k, v in graph.resolved.sizes.items()}
    found["constants"] = {k: show(v) for k, v in graph.resolved.constants.items()}
    for section, key in (("index", "index"), ("draws", "draws"), ("init", "init"), ("sample", "sample")):
        found[section] = dict(_leaves(tree.get(key)))
    found["inputs"] = dict(_inputs(tree.get("inputs")))
    for section in ("networks", "prepare", "state", "averages", "functions", "families", "blocks", "layers"):
        found[section] = dict(_written(tree.get(section)))
    found["values"], found["losses"] = dict(_written(tree.get("graph"))), dict(_written(tree.get("losses")))
    found["once"] = dict.fromkeys(graph.once, "made one time an iteration")
    found["parameters"] = dict(_parameters(graph))
    found["players"] = dict(line for player in graph.players.values() for line in _player(player, graph))
    found["objectives"] = dict(line for phase in graph.phases() for line in _objective(phase))
    found["schedule"] = dict(_schedule(graph.schedule, graph))
    found["stages"] = dict(_stages(spec))
    found["train"] = {k: str(v) for k, v in spec.train.items()}
    return found


def _leaves(tree: Tree | None) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        yield from ((key, spelled(value)) for key, value in tree.entries.items())


def _inputs(tree: Tree | None) -> Iterator[tuple[str, str]]:
    """Inputs by name; the stream stands behind the type."""
    for key, value in tree.entries.items() if isinstance(tree, Mapping) else ():
        if isinstance(value, Mapping):
            yield from ((name, f"{spelled(inner)} of {key}") for name, inner in value.entries.items())
        else:
            yield key, spelled(value)


def _written(tree: Tree | None) -> Iterator[tuple[str, str]]:
    """Entries of a section; those that are mappings, part by part."""
    for key, value in tree.entries.items() if isinstance(tree, Mapping) else ():
        yield from _parts(key, value)


def _parts(path: str, tree: Tree) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping) and tree.entries:
        for key, value in tree.entries.items():
            yield from _parts(f"{path}.{key}", value)
    else:
        yield path, spelled(tree)


def spelled(tree: Tree) -> str:
    """A tree as text, its expressions in one spelling: `a+b` and `a + b` are the same."""
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{key}: {spelled(value)}" for key, value in tree.entries.items()) + "}"
    if isinstance(tree, Sequence):
        return "[" + ", ".join(map(spelled, tree.items)) + "]"
    return _expression(tree)


def _expression(scalar: Scalar) -> str:
    if scalar.null:
        return "~"
    try:
        return ", ".join(map(show, parse_line(scalar.text, scalar.place)))
    except Fact:
        return scalar.text


def _parameters(graph: Graph) -> Iterator[tuple[str, str]]:
    """The count of each network's parameters, and its shapes: what a checkpoint would notice. Long families as one."""
    families: dict[str, list[str]] = {}
    for name in graph.networks:
        families.setdefault(family_of(name), []).append(name)
    for family, members in families.items():
        if len(members) > 4:
            yield family, f"{_count(graph, members)} in {len(members)} networks"
            continue
        for name in members:
            module = graph.structure(name)
            ends = f", makes {', '.join(map(_shape, module.outputs))}" if module else ""
            yield name, f"{_count(graph, [name])} in {len(graph.parameters([name]))} tensors{ends}"


def _count(graph: Graph, networks: list[str]) -> str:
    return f"{graph.count(networks):,}"


def _named(networks: tuple[str, ...], graph: Graph) -> str:
    """Networks by name; a family whose members are all there is named once."""
    whole = {
        member: family
        for family, members in graph.resolved.families.items()
        if set(members.values()) <= set(networks)
        for member in members.values()
    }
    return ", ".join(dict.fromkeys(whole.get(name, name) for name in networks))


def _shape(node: Node) -> str:
    return " x ".join(map(str, node.type.shape)) or "a number"


def _player(player: Player, graph: Graph) -> Iterator[tuple[str, str]]:
    yield f"{player.name}.networks", _named(player.networks, graph)
    for part, optimizer in player.optimizers.items():
        yield join(player.name, "optimizer", part), str(optimizer)
    for part, (rule, bound) in player.gradient.items():
        yield join(player.name, "gradient", part), f"{rule}({host_text(bound)})"
    for which, rules in (("before", player.before), ("after", player.after)):
        for part, node in rules.items():
            yield join(player.name, which, part), formula(node)


def formula(node: Node) -> str:
    """A rule on `p`, as operators of their arguments."""
    if node.value is not None:
        return f"{node.value:g}"
    inside = ", ".join(map(formula, node.args))
    return f"{node.op}({inside})" if inside else node.name or node.op


def _objective(phase: Phase) -> Iterator[tuple[str, str]]:
    """Every term of a phase with its weight: what it is written as, and what it is where that is known."""
    weights: dict[str, list[str]] = {}
    for term in phase.terms:
        known = term.value is not None and term.weight.removeprefix("-") != f"{abs(term.value):g}"
        weights.setdefault(term.loss, []).append(f"{term.weight} = {term.value:g}" if known else term.weight)
    for loss, factors in weights.items():
        yield f"{phase.name}: {loss}", f"weight {' + '.join(factors)}"


def _schedule(steps: tuple[Step, ...], graph: Graph, inside: str = "") -> Iterator[tuple[str, str]]:
    """Every move: what kind it is, whose, when; and the order of those side by side."""
    if len(steps) > 1:
        yield (f"order in {inside}" if inside else "order"), ", ".join(step.name for step in steps)
    for step in steps:
        yield step.name, ", ".join([_kind(step, graph), *_conditions(step)])
        if step.kind == "group":
            yield f"order in {step.name}", ", ".join(phase.name for phase in step.phases)
            yield from ((phase.name, ", ".join([_trains(phase, graph), *_when(phase.when)])) for phase in step.phases)
        yield from _schedule(step.steps, graph, step.name)


def _kind(step: Step, graph: Graph) -> str:
    if step.kind == "phase":
        return _trains(step.phases[0], graph)
    return f"{step.kind} {', '.join(step.names)}".strip()


def _trains(phase: Phase, graph: Graph) -> str:
    text = f"{phase.player} trains {_named(phase.networks, graph)}"
    return text + (f", accumulates {host_text(phase.accumulate)}" if phase.accumulate is not None else "")


def _conditions(step: Step) -> Iterator[str]:
    yield from _when(step.when)
    if step.repeat is not None:
        yield f"{host_text(step.repeat)} times"
    if step.fresh:
        yield "on a fresh batch"


def _when(condition: Any) -> list[str]:
    return [f"when {host_text(condition)}"] if condition is not None else []


def _stages(spec: Spec) -> Iterator[tuple[str, str]]:
    """The stages in their order, and the keys of each as they are written."""
    if spec.parsed.stage_trees:
        yield "order", ", ".join(graph.resolved.stage for graph in spec.graphs)
    for key, tree in spec.parsed.stage_trees:
        yield from _parts(str(key), tree)


callable_itself(__name__)
