"""What values mean: probabilities and logits, ranges, domains.

A discriminator's output is a probability once it has been through a sigmoid. A value belongs to the domain of the
stream that it comes from, or, where a network has made it, to that of the reals beside which it is judged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from gangraph.check.case import Finding, Formula, Sided, Stage, below, nearest_calls
from gangraph.errors import Place
from gangraph.ir import Module, Node, Range, visit

CALLS = frozenset({"call"})
FORMULA = CALLS | {"loss"}  # where a formula ends: a loss that it reads is another one
DISTANCES = frozenset({"abs", "square", "pow", "norm"})
UNBOUNDED_SCORES = ("wasserstein", "hinge")
FAR = 1e9  # an end of a range beyond it is none


# --- probabilities --------------------------------------------------------------------------------------------------


def probabilities(stage: Stage) -> Iterator[Finding]:
    """A probability where a logit is expected or a logit where a probability is; a squashed score of Wasserstein's."""
    for sided in stage.sided:
        if sided.loss.family in UNBOUNDED_SCORES:
            for score in (*sided.real, *sided.fake):
                bounds = _origin(score).type.range
                bounded = f"lies in {_interval(bounds)}" if bounds and max(map(abs, bounds)) < FAR else ""
                how = "went through a sigmoid" if _kind(score) == "probability" else bounded
                if how:
                    fact = f"{sided.loss.family} takes unbounded scores, and {said(score)} {how}"
                    help = "let the critic end in a linear layer"
                    yield Finding(sided.loss.at, sided.path, fact, help, f"probability({sided.name})", warning=True)
                    break
    done: set[int] = set()
    for formula in stage.formulas:
        for node in below([formula.root], FORMULA, done):
            yield from _misfit(node, formula)


def _misfit(node: Node, formula: Formula) -> Iterator[Finding]:
    path, head = formula.path, formula.name
    if node.op in ("softplus", "sigmoid", "cross_entropy", "log_softmax"):
        score = _score(node.args[0])
        if score is not None and _kind(score) == "probability":
            squash = "softmax" if node.op in ("cross_entropy", "log_softmax") else "sigmoid"
            fact = f"a logit is expected here, and {said(score)} is a probability: it went through a {squash}"
            help = f"leave the {squash} out of the network; the loss has it inside"
            yield Finding(place(node, formula), path, fact, help, f"probability({head})")
    if node.op == "log":
        score = _score(node.args[0])
        if score is not None and _linear_end(score):
            fact = f"the logarithm of {said(score)}, which can be negative: the network ends in a linear layer"
            help = "end it in Sigmoid(), or use a loss of logits: non_saturating, bce_logits"
            yield Finding(place(node, formula), path, fact, help, f"probability({head})")
    if node.op in ("log", "sqrt") and node.args[0].type.range and -FAR < node.args[0].type.range[0] < 0:
        what = f"{said(node.args[0])}, which lies in {_interval(node.args[0].type.range)}"
        fact = f"{'the logarithm' if node.op == 'log' else 'the root'} of {what}, and can be negative"
        help = "give it another range: the last layer of a network, a shift, or clamp"
        yield Finding(place(node, formula), path, fact, help, f"probability({head})", warning=True)


def place(node: Node, formula: Formula) -> Place:
    """The node's place where the formula's own file writes it, else the formula's (the node is the library's)."""
    return node.at if node.at.file == formula.at.file else formula.at


def _score(node: Node) -> Node | None:
    """The score behind signs, factors and shifts: `1 - D(x)`, `-D(x) + eta`."""
    while node.op in ("neg", "add", "sub", "mul", "alias", "mean", "stop"):
        inner = [a for a in node.args if not a.type.host]
        if len(inner) != 1:
            return None
        node = inner[0]
    return node if node.op in ("call", "output", "apply", "slice") or node.type.kind else None


def _kind(node: Node) -> str | None:
    while node.op in ("alias", "mean", "reshape", "stop") and node.type.kind is None:
        node = node.args[0]
    return node.type.kind


def _linear_end(score: Node) -> bool:
    """Whether a network's last layer makes numbers of either sign."""
    call = score.args[0] if score.op == "output" and score.args[0].op != "chunk" else score
    if call.op != "call":
        return False
    index = score.fields.get("index", 0) if score.op == "output" else 0
    module: Module = call.fields["module"]
    if call.fields["view"].get("entry"):
        return False
    end = module.outputs[index]
    while end.op in ("alias", "reshape") or (end.op == "apply" and end.fields["module"].title == "Flatten"):
        end = end.args[0]
    if end.op != "apply":
        return False
    last: Module = end.fields["module"]
    while last.layer is None and not last.several and last.outputs[0].op == "apply":
        last = last.outputs[0].fields["module"]
    return last.layer is not None and last.layer.weighted and last.title.startswith(("Conv", "Linear"))


def said(node: Node) -> str:
    """What the user calls a value."""
    if node.name:
        return node.name
    call = node.args[0] if node.op == "output" else node
    if call.op == "call":
        return f"{call.fields['network']}({', '.join(a.name or '...' for a in call.args)})"
    return "this value"


# --- ranges and domains ---------------------------------------------------------------------------------------------


def ranges(stage: Stage) -> Iterator[Finding]:
    """Reals and fakes of unequal ranges in front of one discriminator; an unbounded range is legal."""
    for sided in stage.sided:
        for real, fake in _judged(stage, sided):
            a, b = real.type.range, _origin(fake).type.range
            if a and b and not _alike(a, b):
                judge = next(iter(stage.names(sided.judges)), "the discriminator")
                pair = f"{said(real)} in {_interval(a)} beside {said(fake)} in {_interval(b)}"
                fact = f"{judge} sees {pair}, and tells them apart by that"
                end = "Tanh()" if a[0] < 0 else "Sigmoid()"
                help = f"end the generator in {end}, or declare the input's range: image(..., range={_interval(b)})"
                yield Finding(sided.loss.at, sided.path, fact, help, f"ranges({judge})")
                break


def _judged(stage: Stage, sided: Sided) -> Iterator[tuple[Node, Node]]:
    """Reals and fakes that stand at the same place of a judge."""
    real_calls = [c for c in nearest_calls(sided.real) if stage.bits[c.fields["source"]] & sided.judges]
    fake_calls = [
        c for c in nearest_calls((*sided.fake, *sided.shown)) if stage.bits[c.fields["source"]] & sided.judges
    ]
    for real in real_calls:
        for fake in fake_calls:
            if real is not fake and real.fields["network"] == fake.fields["network"]:
                for a, b in zip(real.args, fake.args, strict=False):
                    if a is not b and a.type.shape == b.type.shape:
                        yield from _beyond_judges(a, b)


def _beyond_judges(real: Node, fake: Node) -> Iterator[tuple[Node, Node]]:
    """A head judges the features of a trunk: what the trunk sees is what is judged."""
    calls = [n if n.op == "call" else n.args[0] if n.op == "output" else n for n in map(_origin, (real, fake))]
    if all(c.op == "call" for c in calls) and calls[0].fields["network"] == calls[1].fields["network"]:
        for a, b in zip(calls[0].args, calls[1].args, strict=False):
            if a is not b:
                yield a, b
        return
    yield real, fake


def _origin(node: Node) -> Node:
    """The value behind names, pools and cuts."""
    while node.op in ("alias", "replay", "stop", "reverse"):
        node = node.args[0]
    return node


def _alike(a: Range, b: Range) -> bool:
    if any(abs(end) > FAR for end in (*a, *b)):
        return True
    width = max(a[1] - a[0], b[1] - b[0])
    return abs(a[0] - b[0]) <= 0.25 * width and abs(a[1] - b[1]) <= 0.25 * width


def _interval(range_: Range) -> str:
    return f"[{range_[0]:g}, {range_[1]:g}]"


def domains(stage: Stage) -> Iterator[Finding]:
    """A difference between values of two domains in a loss: a swapped cycle or identity term."""
    of = domains_of(stage)
    named = stage.graph.order.keys()

    def within(node: Node) -> tuple[Node, ...]:
        return () if id(node) in named or node.op in ("call", "grad", "loss") else node.args[::-1]

    for formula in stage.formulas:
        path, head = formula.path, formula.name
        for node in visit([formula.root], within):
            if node.op == "sub" and id(node) not in named and not any(a.type.host for a in node.args):
                a, b = node.args
                left, right = of.get(id(a)), of.get(id(b))
                if left and right and left != right:
                    pair = f"{said(a)} belongs to {left} and {said(b)} to {right}"
                    fact = f"{pair}, and this is the difference between them"
                    help = "compare values of one domain"
                    yield Finding(place(node, formula), path, fact, help, f"domains({head})")


def distances(stage: Stage) -> Iterator[Finding]:
    """Values that a loss compares entry by entry: of unequal ranges; of samples that do not belong together."""
    apart = _streams(stage) if len(stage.graph.resolved.streams) > 1 else {}
    of = domains_of(stage) if apart else {}
    for formula in stage.formulas:
        path, head = formula.path, formula.name
        for a, b in _compared(formula.root):
            if _origin(a) is _origin(b):
                fact = f"{said(a)} is compared with itself: the difference is 0"
                help = "compare it with what it should be"
                yield Finding(formula.at, path, fact, help, f"unpaired({head})", warning=True)
                continue
            if _stretched(a, b):
                shapes = " and ".join(f"{said(v)} is {v.type}" for v in (a, b))
                fact = f"{shapes}: one is repeated along axes of the other, and they are compared entry by entry"
                help = "compare values of one shape; axes are aligned from the left"
                yield Finding(formula.at, path, fact, help, f"stretched({head})", warning=True)
            x, y = _origin(a).type.range, _origin(b).type.range
            if x and y and not _alike(x, y):
                pair = f"{said(a)} in {_interval(x)} and {said(b)} in {_interval(y)}"
                fact = f"{pair} are compared entry by entry"
                help = "give both one range: the last layer of a network, or the input's range=[low, high]"
                yield Finding(formula.at, path, fact, help, f"ranges({head})", warning=True)
            left, right = apart.get(id(a)), apart.get(id(b))
            if left and right and not left & right and of.get(id(a)) in (None, of.get(id(b))):
                pair = f"{said(a)} is made of {' and '.join(sorted(left))}, {said(b)} of {' and '.join(sorted(right))}"
                fact = f"{pair}: they are sampled apart, and compared entry by entry"
                help = "compare values of one stream, or what a mean over the samples leaves"
                yield Finding(formula.at, path, fact, help, f"unpaired({head})", warning=True)


def _compared(root: Node) -> Iterator[tuple[Node, Node]]:
    """The two sides of every distance in a formula, through names and up to calls of networks."""
    for node in visit([root], lambda node: () if node.op in ("call", "grad", "loss") else node.args[::-1]):
        if node.op in DISTANCES:
            inner = _origin(node.args[0])
            if inner.op == "sub" and not any(a.type.host for a in inner.args):
                yield inner.args[0], inner.args[1]


def _stretched(a: Node, b: Node) -> bool:
    """Whether a sample of one is repeated along axes of the other, but for a mean of this, or given axes."""
    if a.type.shape == b.type.shape or not (a.type.shape and b.type.shape):
        return False
    if a.type.samples is None or b.type.samples is None or "reshape" in (a.op, b.op):
        return False
    return not any(node is b for node in below([a], CALLS)) and not any(node is a for node in below([b], CALLS))


def targets(stage: Stage) -> Iterator[Finding]:
    """Cross entropies of what may be below 0."""
    done: set[int] = set()
    for formula in stage.formulas:
        path, head = formula.path, formula.name
        for node in below([formula.root], FORMULA, done):
            target = _target(node)
            bounds = _origin(target).type.range if target is not None else None
            if target is not None and bounds and -FAR < bounds[0] < 0:
                fact = f"{said(target)} lies in {_interval(bounds)}, and the target of a cross entropy in [0, 1]"
                help = "give it that range: the input's range=[0, 1], a shift and a scale"
                yield Finding(place(node, formula), path, fact, help, f"ranges({head})", warning=True)


def _target(node: Node) -> Node | None:
    """The t of `t * log(p)`, and of `softplus(x) - x * t`."""
    if node.op == "mul" and (logs := [a for a in node.args if _origin(a).op == "log"]):
        return next((a for a in node.args if a is not logs[0]), None)
    if node.op == "sub" and (node.args[0].op, node.args[1].op) == ("softplus", "mul"):
        (logit,), factors = node.args[0].args, node.args[1].args
        return next((a for a in factors if a is not logit), None) if logit in factors else None
    return None


def pairs(stage: Stage) -> Iterator[Finding]:
    """Scores and labels, a fake and what it is judged beside: made of nothing in common, they are of two samples."""
    made = _streams(stage, draws=True)

    def apart(a: Node, b: Node) -> bool:
        return bool(made.get(id(a)) and made.get(id(b)) and not made[id(a)] & made[id(b)])

    def of(node: Node) -> str:
        return " and ".join(sorted(name.lstrip("~") for name in made[id(node)]))

    done: set[int] = set()
    for formula in stage.formulas:
        path, head = formula.path, formula.name
        for node in below([formula.root], FORMULA, done):
            if node.op == "cross_entropy" and len(node.args) == 2 and apart(*node.args):
                scores, labels = node.args
                fact = (
                    f"{said(scores)} is made of {of(scores)}, the labels of {of(labels)}: they do not belong together"
                )
                help = "compare with the labels that the samples have, or were made for"
                yield Finding(place(node, formula), path, fact, help, f"unpaired({head})", warning=True)
    for sided in stage.sided:
        calls = [[c for c in nearest_calls(s) if len(c.args) > 1] for s in (sided.real, (*sided.fake, *sided.shown))]
        for one, other in itertools.product(*calls):
            if one.fields["network"] != other.fields["network"]:
                continue
            judged = (
                itertools.permutations(_rows(one), 2) if one is other else itertools.product(_rows(one), _rows(other))
            )
            for real, fake in judged:
                for i, j in itertools.combinations(range(min(len(real), len(fake))), 2):
                    wrong = [row for row in (real, fake) if apart(row[i], row[j])]
                    turned = len(wrong) == 2 and not apart(real[i], fake[j]) and not apart(fake[i], real[j])
                    if len(wrong) == 1 or turned:
                        a, b = wrong[-1][i], wrong[-1][j]
                        network = other.fields["network"]
                        fact = f"{network} judges {said(a)}, made of {of(a)}, beside {said(b)}, made of {of(b)}"
                        help = "a fake is judged beside what it was made for, a real beside what belongs to it"
                        yield Finding(sided.loss.at, sided.path, fact, help, f"unpaired({sided.name})", warning=True)


def _rows(call: Node) -> list[tuple[Node, ...]]:
    """The arguments of a call, of each part where batches are judged in one pass: `D(batch_concat([fake, x]), ...)`."""
    joined = [_origin(a) for a in call.args]
    if all(a.op == "batch_concat" for a in joined) and len({len(a.args) for a in joined}) == 1:
        return list(zip(*(a.args for a in joined), strict=True))
    return [call.args]


def _streams(stage: Stage, draws: bool = False) -> dict[int, frozenset[str]]:
    """Node -> the streams whose samples its own are made of, one by one; a pool's samples are earlier ones.

    With `draws` also the draws and pools, as `~NAME`.
    """
    found: dict[int, frozenset[str]] = {}
    for node in stage.nodes:
        mixed = node.type.samples is None or node.op == "replay"
        made = frozenset().union(*(found[id(a)] for a in node.args)) if not mixed else frozenset()
        if node.op == "input":
            made = frozenset({node.fields["stream"]})
        elif draws and node.op in ("draw", "replay") and node.type.samples is not None:
            made = frozenset({f"~{node.name}"})
        found[id(node)] = made
    return found


def domains_of(stage: Stage) -> dict[int, str]:
    """Node -> its stream: inputs by declaration, generated values by the reals beside which they are judged.

    What a network makes of several streams is of the domain of that argument which is made of the reals' stream.
    """
    judged: dict[int, set[str]] = {}
    makers: dict[str, set[str]] = {}
    decided: dict[str, set[int]] = {}  # the arguments that say the domain, by network
    streams = _streams(stage) if len(stage.graph.resolved.streams) > 1 else {}
    for sided in stage.sided:
        for real, fake in _judged(stage, sided):
            domain = real.type.domain
            made = _origin(fake)
            if domain is None or made.type.domain is not None:
                continue
            judged.setdefault(id(made), set()).add(domain)
            call = made.args[0] if made.op == "output" else made
            if call.op == "call":
                source = call.fields["source"]
                makers.setdefault(source, set()).add(domain)
                if len({streams.get(id(a)) for a in call.args}) > 1:
                    decided.setdefault(source, set()).update(
                        i for i, a in enumerate(call.args) if streams.get(id(a)) == frozenset({domain})
                    )
    found: dict[int, str] = {}
    for node in stage.nodes:
        call = node.args[0] if node.op == "output" and node.args else node
        known = judged.get(id(node))
        if known is None and call.op == "call":
            known = makers.get(call.fields["source"])
            for i in decided.get(call.fields["source"], ()) if known is not None else ():
                known = set(streams[id(call.args[i])]) or known
        if known is None and node.op in ("alias", "replay", "stop", "reverse", "slice"):
            inner = found.get(id(node.args[0]))
            known = {inner} if inner and node.type.shape == node.args[0].type.shape else None
        if known is not None and len(known) == 1:
            found[id(node)] = next(iter(known))
        elif known is None and node.type.domain and node.op not in ("mean", "sum", "max", "min", "norm", "std"):
            found[id(node)] = node.type.domain
    return found
