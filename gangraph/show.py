"""What `gangraph show` prints: the system at a glance, the value of any stage, or the facts as data."""

from __future__ import annotations

from typing import Any

from gangraph.compiler import Spec
from gangraph.draw.words import circumstances
from gangraph.expressions import show
from gangraph.graph import Graph, Step
from gangraph.ir import Node
from gangraph.rules import player_rules
from gangraph.schedule import Schedule

STAGES = ("document", "spec", "resolved", "graph", "routing", "schedule", "program")


def after_stage(spec: Spec, stage: str) -> str:
    """The value of a stage as a person would write it on a whiteboard."""
    values: dict[str, Any] = {
        "document": (spec.parsed,),
        "spec": (spec.text,),
        "resolved": spec.resolved,
        "graph": spec.graphs,
        "routing": spec.routings,
        "schedule": spec.schedules,
    }
    if stage == "program":
        return str(spec.program)
    return "\n\n".join(str(value).rstrip("\n") for value in values[stage])


def overview(spec: Spec) -> str:
    """Networks with shapes and parameters, players with what they own, the weight of every term, the timeline."""
    graph, schedule = spec.graph, spec.schedules[-1]
    lines = [spec.name + (f": {spec.parsed.file.paper.title}" if spec.parsed.file.paper.title else "")]
    if len(spec.graphs) > 1:
        lines.append(f"stages: {', '.join(g.resolved.stage for g in spec.graphs)}; what follows is the last")
    lines += ["", "networks"]
    names = [*graph.networks]
    width = max(map(len, names), default=0)
    for name in names:
        lines.append(f"  {name:<{width}}  {graph.count([name]):>12,} parameters  {_signature(graph, name)}")
    lines += ["", "players"]
    bodies = {member.name: member.body for member in graph.resolved.players}
    for player in graph.players.values():
        optimizers = ", ".join(f"{n + ': ' if n else ''}{o}" for n, o in player.optimizers.items())
        count = f"{graph.count(list(player.networks)):,} parameters"
        lines.append(f"  {player.name}: {', '.join(player.networks)}; {count}; {optimizers}")
        rules = player_rules(bodies[player.name])
        lines += [f"    {key}: {show(expr)}" for key, expr in rules if not key.startswith("optimizer")]
    lines += ["", "objectives (weight  term)"]
    for phase in graph.phases():
        lines.append(f"  {phase.name} ({phase.player})")
        lines += [f"    {t.weight if t.value is None else f'{t.value:g}':>10}  {t.loss}" for t in phase.terms]
    lines += _states(graph)
    lines += ["", "one iteration"]
    lines += [f"  {line}" for step in schedule.steps for line in _timeline(step, schedule, 0)]
    return "\n".join(lines)


def _states(graph: Graph) -> list[str]:
    """Where each state starts, what it becomes, and after what."""
    lines = []
    for name, state in graph.resolved.spec.file.state.items():
        lines.append(f"  {name} starts as {show(state.start)}")
        for phase, expr in state.rules.items():
            lines.append(f"    becomes {show(expr)} {f'after {phase}' if phase else 'at the end of an iteration'}")
    return ["", "state", *lines] if lines else []


def _signature(graph: Graph, name: str) -> str:
    module = graph.structure(name)
    if module is None:
        return "not used in this stage"
    inputs = ", ".join(_shape(n) for n in module.inputs)
    return f"{inputs} -> {', '.join(_shape(n) for n in module.outputs)}"


def _shape(node: Node) -> str:
    return "x".join(map(str, node.type.shape)) or "1"


def _timeline(step: Step, schedule: Schedule, depth: int) -> list[str]:
    pad = "  " * depth
    extra = circumstances([step, *(step.phases if step.kind == "phase" else ())], {})
    head = f"{pad}{step.name}" + (f" ({extra})" if extra else "")
    if step.kind == "sequence":
        return [head, *(line for child in step.steps for line in _timeline(child, schedule, depth + 1))]
    if step.kind in ("update", "reset"):
        return [f"{head}: {step.kind} {', '.join(step.names)}"]
    evaluation = schedule.evaluations[step.name]
    rows = list(schedule.parts(step.name).items())
    rows += [
        ("steps" if len(evaluation.phases) == 1 else f"steps, as {p.name}", list(p.networks)) for p in evaluation.phases
    ]
    return [head] + [f"{pad}  {title}: {', '.join(names)}" for title, names in rows if names]


def data(spec: Spec) -> dict[str, Any]:
    """The facts as JSON: networks, players, inputs, phases."""
    graph = spec.graph
    return {
        "name": spec.name,
        "hash": spec.hash,
        "stages": [g.resolved.stage for g in spec.graphs if g.resolved.stage],
        "batch": graph.resolved.batch.now,
        "networks": {
            name: {
                "parameters": graph.count([name]),
                "outputs": [list(n.type.shape) for n in module.outputs] if (module := graph.structure(name)) else [],
                "frozen": network.frozen,
            }
            for name, network in graph.networks.items()
        },
        "players": {
            p.name: {
                "networks": list(p.networks),
                "parameters": graph.count(list(p.networks)),
                "optimizers": {k or "all": str(o) for k, o in p.optimizers.items()},
            }
            for p in graph.players.values()
        },
        "inputs": {
            name: {
                "kind": n.fields["kind"],
                "stream": n.fields["stream"],
                "shape": list(n.type.shape),
                "samples": str(n.type.samples),
                "range": n.type.range,
                "classes": n.type.classes,
            }
            for name, n in graph.inputs.items()
        },
        "draws": {
            name: {"kind": n.fields["kind"], "shape": list(n.type.shape), "samples": str(n.type.samples)}
            for name, n in graph.draws.items()
        },
        "phases": [
            {
                "name": p.name,
                "player": p.player,
                "networks": list(p.networks),
                "terms": [{"loss": t.loss, "weight": t.weight, "value": t.value} for t in p.terms],
            }
            for p in graph.phases()
        ],
        "averages": {a.name: a.source for a in graph.averages.values()},
    }
