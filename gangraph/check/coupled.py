"""Samples of a batch that see each other: under a derivative of each one, and where a batch accumulates in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gangraph.check.case import Finding, Stage, below, modules
from gangraph.check.kinds import CALLS, place, said
from gangraph.graph import Phase
from gangraph.ir import Module, Node, visit, walk
from gangraph.routing import passing


def penalties(stage: Stage) -> Iterator[Finding]:
    """Between the y and the x of an inner derivative: layers that mix samples, or without second derivative."""
    if not any(node.op == "grad" for node in stage.nodes):
        return
    again = _differentiated(stage)
    done: set[int] = set()
    for formula in stage.formulas:
        path, head = formula.path, formula.name
        for node in below([formula.root], done=done):
            if node.op == "grad":
                calls = list(_between(*node.args))
                found = [*_unmade(stage, node), *_averaged(node, head)]
                if id(node) in again:
                    found += _without_second(stage, node, calls)
                if node.args[1].type.samples is not None:
                    found += _mixed(stage, node, calls)
                for finding in found:
                    yield replace(finding, place=place(node, formula), path=path)


def _unmade(stage: Stage, node: Node) -> Iterator[Finding]:
    y, x = node.args
    if not _depends(stage, y, x):
        fact = f"no gradient passes from {said(y)} to {said(x)}"
        help = "the first is not made of the second, or `stop`, a pool or an integer is between them"
        yield Finding(node.at, "", fact, help)


def _averaged(node: Node, head: str) -> Iterator[Finding]:
    y, x = node.args
    if x.type.samples is not None and any(n.op == "expect" for n in below([y], CALLS)):
        fact = f"the derivative of a mean over the batch by {said(x)} is N times smaller than each sample's own"
        help = "differentiate what each sample has, D(x) in place of expect(D(x)), or a total"
        yield Finding(node.at, "", fact, help, f"averaged({head})", warning=True)


def _without_second(stage: Stage, node: Node, calls: list[Node]) -> Iterator[Finding]:
    for call in calls:
        once = next((m for m in _layers(stage, call) if m.layer and not m.layer.differentiable_twice), None)
        if once is not None:
            what = f"{call.fields['network']} has {once.title}, which has no second derivative"
            fact = f"{what}, and the objective differentiates this derivative again"
            yield Finding(node.at, "", fact, f"use another layer than {once.title} under grad")


def _mixed(stage: Stage, node: Node, calls: list[Node]) -> Iterator[Finding]:
    for call in calls:
        network, mixing = call.fields["network"], _mixing(stage, call)
        if mixing is not None:
            what = f"through {mixing.title} in {network} the samples of a batch see each other"
            fact = f"a derivative for each sample, and {what}"
            help = "use a norm of one sample: InstanceNorm2d, GroupNorm(1)"
            yield Finding(node.at, "", fact, help, f"batch_coupled({network})", warning=True)


def _depends(stage: Stage, y: Node, x: Node) -> bool:
    """Whether a gradient passes from y to x."""
    if x.op == "parameter":
        return bool(stage.feeds[id(y)] & stage.bits.get((x.name or "").split(".")[0], 0))
    return any(node is x for node in visit([y], passing))


def _between(y: Node, x: Node) -> Iterator[Node]:
    """The calls on the way from x to y."""
    fed: dict[int, bool] = {}
    stack = [(y, False)]
    while stack:
        node, done = stack.pop()
        if done:
            fed[id(node)] = node is x or any(fed.get(id(a), False) for a in node.args)
            if node.op == "call" and fed[id(node)] and node is not x:
                yield node
        elif id(node) not in fed:
            fed[id(node)] = False
            stack.append((node, True))
            stack += [(a, False) for a in node.args if node is not x]


def _layers(stage: Stage, call: Node) -> list[Module]:
    """All modules that a call runs through, those of the networks inside included."""
    found = list(modules(call.fields["module"]))
    for name in stage.contained(call.fields["source"])[1:]:
        for module in stage.graph.networks[name].variants.values():
            found += modules(module)
    return found


def _mixing(stage: Stage, call: Node) -> Module | None:
    """The first layer of a call through which samples see each other."""
    if not _training(stage, call):
        return None
    return next((m for m in _layers(stage, call) if m.layer and m.layer.batch_coupled), None)


def _training(stage: Stage, call: Node) -> bool:
    mode = call.fields["view"].get("training")
    network = stage.graph.networks[call.fields["source"]]
    if mode is not None:
        return bool(mode)
    return not (network.frozen or call.fields["source"] != call.fields["network"]) or network.mode == "train"


def _differentiated(stage: Stage) -> set[int]:
    """Derivatives through which the gradient of some phase passes."""
    return {id(node) for phase in stage.phases for node in _trained_through(stage, phase) if node.op == "grad"}


def _trained_through(stage: Stage, phase: Phase) -> Iterator[Node]:
    live = stage.schedule.routing.routes[phase.name].live
    return visit([phase.objective], lambda node: [a for a in passing(node) if id(a) in live])


def accumulations(stage: Stage) -> Iterator[Finding]:
    """Phases whose gradient accumulates although their objective is not a mean over samples."""
    for phase in stage.phases:
        if phase.accumulate not in (None, 1):
            reasons = not_additive(stage, phase)
            if reasons:
                fact = f"accumulation changes this objective, which is no mean over samples: {reasons[0]}"
                help = "its parts see another batch than the whole would"
                yield Finding(
                    phase.place, f"schedule.{phase.name}", fact, help, f"accumulate({phase.name})", warning=True
                )


def not_additive(stage: Stage, phase: Phase) -> list[str]:
    """Why an objective over a batch is not the mean of the same over its parts (accumulation, many processes)."""
    reasons: list[str] = []
    pooled: set[int] = set()  # numbers that were made of all samples
    for node in walk([phase.objective]):
        behind = [a for a in node.args if id(a) in pooled]
        mixing = _mixing(stage, node) if node.op == "call" else None
        if mixing is not None:
            reasons.append(f"{node.fields['network']} has {mixing.title}, through which samples see each other")
        if node.op in ("total", "samples_of"):
            reasons.append(f"`{node.op}` takes the samples together")
        if behind and not _additive(node, behind):
            reasons.append(f"`{node.op}` of an expectation")
        if behind or node.op in ("expect", "total", "samples_of"):
            pooled.add(id(node))
    return list(dict.fromkeys(reasons))


def _additive(node: Node, behind: list[Node]) -> bool:
    if node.op in ("loss", "alias", "neg", "stop"):
        return True
    if node.op in ("add", "sub"):
        return all(a.type.samples is None for a in node.args)
    if node.op in ("mul", "div"):
        others = [a for a in node.args if a not in behind]
        return (
            len(behind) == 1
            and all(a.type.host for a in others)
            and not (node.op == "div" and behind[0] is node.args[1])
        )
    return False
