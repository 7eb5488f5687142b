"""Mutants that mean what their program means, decided by rule, each with its reason."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable
from functools import cached_property
from types import SimpleNamespace

from mutants import RUNTIME as RUNTIME_CLASSES
from mutants import SHOWN, Mutant, Program

from gangraph.compiler import Spec


class Flow:
    """Through which networks a value of a program carries a gradient, read off its text."""

    def __init__(self, program: Program, spec: Spec):
        self.program, self.graph = program, spec.graphs[-1]

    @cached_property
    def phases(self) -> dict[str, set[str]]:
        """The parameters that each phase owns."""
        return {p.name: set(self.graph.parameters(p.networks)) for p in self.graph.phases()}

    @cached_property
    def evaluations(self) -> dict[str, set[str]]:
        """Parameters that the phases of each evaluation own, by method."""
        found: dict[str, set[str]] = {}
        for name, method in self.program.made.items():
            if name.startswith("evaluate_"):
                calls = [n for n in ast.walk(method) if isinstance(n, ast.Call)]
                made = next(n.args[0] for n in calls if self.program.text(n.func) == "Evaluation")
                assert isinstance(made, ast.Dict)
                keys = [k.value for k in made.keys if isinstance(k, ast.Constant)]
                found[name] = set().union(*(self.phases[str(k)] for k in keys))
        return found

    def objectives(self, phase: str) -> list[tuple[str, ast.AST]]:
        """Where a phase's objective is computed: the method, and the value."""
        found = []
        for name in self.evaluations:
            for node in ast.walk(self.program.made[name]):
                if isinstance(node, ast.Call) and self.program.text(node.func) == "Evaluation":
                    made = node.args[0]
                    assert isinstance(made, ast.Dict)
                    found += [(name, v) for k, v in zip(made.keys, made.values, strict=True) if _value(k) == phase]
        return found

    def owned(self, method: str) -> set[str]:
        """What is trained by the phases that run a method."""
        if method in self.evaluations:
            return self.evaluations[method]
        readers = [n for n, m in self.program.made.items() if f"self.{method}(" in self.program.text(m)]
        return set().union(*(self.owned(name) for name in readers))

    def reaches(self, method: str, node: ast.AST) -> set[str]:
        """Parameters to which a gradient flows from a value in a method."""
        text = self.program.text
        held = isinstance(node, ast.Name) or (isinstance(node, ast.Call) and text(node.func).startswith("self.made_"))
        if not held and self.still(node):  # what has been made elsewhere keeps its gradient there
            return set()
        if isinstance(node, ast.Name):
            assigned = [n for n in ast.walk(self.program.made[method]) if _assigns(n, node)]
            return set().union(*(self.reaches(method, n.value) for n in assigned))  # type: ignore[attr-defined]
        found: set[str] = set()
        if isinstance(node, ast.Call):
            called = text(node.func)
            if called.endswith((".detach", ".requires_grad_")) or called.startswith("self.pools["):
                return set()
            view = re.match(r"View\(self\.(\w+)|self\.(\w+)$", called)
            network = self.program.named.get(view[1] or view[2]) if view else None
            if network is not None and "frozen=True" not in called:
                found |= set(self.graph.parameters([network]))
            if called.startswith("self.made_"):
                name = called.removeprefix("self.")
                value = next(n.value for n in ast.walk(self.program.made[name]) if _assigns(n, "value"))
                return self.reaches(name, value)
        if isinstance(node, ast.Attribute) and text(node).removeprefix("self.") in self.program.named:
            return set(self.graph.parameters([self.program.named[node.attr]]))
        for inner in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.Call) and inner is node.func and isinstance(inner, ast.Attribute | ast.Name)):
                found |= self.reaches(method, inner)
            elif isinstance(inner, ast.Attribute) and not text(inner).startswith("self."):
                found |= self.reaches(method, inner.value)
        return found

    def text(self, method: str) -> str:
        return self.program.text(self.program.made[method])

    def still(self, node: ast.AST) -> bool:
        """Whether a node stands under no_grad."""
        blocks = [n for n in self.program.within(node) if isinstance(n, ast.With)]
        return any("no_grad" in self.program.text(item.context_expr) for n in blocks for item in n.items)


def _value(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _assigns(node: ast.AST, name: ast.Name | str) -> bool:
    """Whether a statement gives a name its value, before the name is read there."""
    if not isinstance(node, ast.Assign):
        return False
    wanted = name if isinstance(name, str) else name.id
    earlier = isinstance(name, str) or node.lineno < name.lineno
    targets = [t for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)]
    return earlier and any(t.id == wanted for t in targets)


# --- the rules


def untrained(flow: Flow, mutant: Mutant) -> bool:
    """A stop, where nothing that the phase trains lies behind the value."""
    if mutant.rule != "missing or added stop" or mutant.method not in flow.program.made:
        return False
    place = mutant.place.func.value if _stops(mutant.place) else mutant.place  # type: ignore[attr-defined]
    if "enable_grad" in flow.program.text(place):
        block = next(n for n in flow.program.within(place) if isinstance(n, ast.With))
        place = next(n.value for n in ast.walk(block) if _assigns(n, "value"))  # type: ignore[attr-defined]
    places = [place]
    if mutant.method.startswith("made_"):  # what it hands on counts
        places += [n.value for n in ast.walk(flow.program.made[mutant.method]) if _assigns(n, "value")]  # type: ignore[attr-defined]
    unstopped = not _stops(mutant.place)
    found = [flow.reaches(mutant.method, p) & flow.owned(mutant.method) for p in places]
    return not all(found) if unstopped else not found[0]


def _stops(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "detach"


def frozen(flow: Flow, mutant: Mutant) -> bool:
    """A network called as a constant, or no longer as one, that the phase does not train, or not through this call."""
    match = re.search(r"self\.(\w+), (frozen=False|\{k: p\.detach)", mutant.new)
    if mutant.rule != "gradient into the wrong network" or match is None or mutant.method not in flow.program.made:
        return False
    own = set(flow.graph.parameters([flow.program.named[match[1]]])) & flow.owned(mutant.method)
    return not own or flow.still(mutant.place)


def unreached(flow: Flow, mutant: Mutant) -> bool:
    """A network that a phase owns too, and to which its objective has no gradient."""
    if mutant.rule == "wrong owned parameters" and not mutant.method.startswith("optimizers"):
        return _more_owned(flow, mutant)
    if mutant.rule != "update of a frozen network":
        return False
    phase, added = flow.program.parents[mutant.place], str(ast.literal_eval(mutant.edits[0][1])[-1])
    entry = next(n for n in flow.program.within(mutant.place) if isinstance(n, ast.Dict))
    name = next(str(k.value) for k, v in zip(entry.keys, entry.values, strict=True) if v is phase)  # type: ignore[union-attr]
    if set(flow.graph.parameters([added])) <= flow.phases[name]:  # as a part of a network that it trains
        return True
    player = next(p.player for p in flow.graph.phases() if p.name == name)
    others = [p.name for p in flow.graph.phases() if p.player == player and p.name != name]
    if any(set(flow.graph.parameters([added])) & flow.phases[other] for other in others):  # a second step for it there
        return False
    for method, evaluation in flow.objectives(name):
        if flow.reaches(method, evaluation) & set(flow.graph.parameters([added])):
            return False
    return True


def _more_owned(flow: Flow, mutant: Mutant) -> bool:
    """All that the phase owns, and more, which its objective does not reach."""
    phase = flow.program.parents[mutant.place]
    entry = next(n for n in flow.program.within(mutant.place) if isinstance(n, ast.Dict))
    name = next(str(k.value) for k, v in zip(entry.keys, entry.values, strict=True) if v is phase)  # type: ignore[union-attr]
    now = set(flow.graph.parameters([str(n) for n in ast.literal_eval(mutant.edits[0][1])]))
    if not flow.phases[name] <= now:
        return False
    reached = set().union(*(flow.reaches(method, value) for method, value in flow.objectives(name)))
    return not reached & (now - flow.phases[name])


def first_batch(flow: Flow, mutant: Mutant) -> bool:
    """The first evaluation of an iteration fetches a batch in any case."""
    if mutant.rule != "stale or fresh" or "fresh=False" not in mutant.new:
        return False
    move = next(n for n in flow.program.within(mutant.place) if isinstance(n, ast.stmt))
    return move is flow.program.made[mutant.method].body[1]


def remade(flow: Flow, mutant: Mutant) -> bool:
    """A value that each phase makes anew, without noise and layer state, while no phase has stepped what makes it."""
    if mutant.rule != "stale or fresh" or mutant.edits[0][1] != "True":
        return False
    made = flow.program.text(flow.program.made[mutant.method])
    below = {n for n in flow.program.made if f"self.{n}(" in made and n.startswith("made_")}
    text = made + "".join(flow.program.text(flow.program.made[n]) for n in below)
    networks = [n for n in flow.program.networks if f"self.{n}(" in text or f"View(self.{n}" in text]
    if re.search(r"draws\.(?!once)|self\.pools\[", text) or any(
        flow.program.moody(flow.program.networks[n]) for n in networks
    ):
        return False
    readers = [
        n for n in flow.evaluations if re.search(rf"self\.({'|'.join([mutant.method, *below])})\(", flow.text(n))
    ]
    moves = re.findall(r"self\.play\(\"[^\"]*\", self\.(\w+)", flow.text("iteration"))
    between = [m for i, m in enumerate(moves[:-1]) if any(r in moves[i + 1 :] for r in readers)]
    held = set(flow.graph.parameters([flow.program.named[n] for n in networks]))
    return "for _ in" not in flow.text("iteration") and not any(flow.evaluations[m] & held for m in between)


def one_place(flow: Flow, mutant: Mutant) -> bool:
    """A stride, where the layer gives one place, or a transposed one gets one."""
    argument = flow.program.parents[mutant.place]
    if mutant.rule != "layer changed" or getattr(argument, "arg", None) != "stride":
        return False
    shapes = re.findall(r"# \[(.*)\]", "\n".join(flow.program.lines[: mutant.line]))
    transposed = "ConvTranspose" in flow.program.lines[mutant.line - 1]
    return any(shape.endswith(", 1, 1") for shape in (shapes[-2:-1] if transposed else shapes[-1:]))


def nothing_added(flow: Flow, mutant: Mutant) -> bool:
    """A term that is 0."""
    node = mutant.place
    term = flow.program.text(node.right).removeprefix("self.") if isinstance(node, ast.BinOp) else ""
    return mutant.rule in ("flipped sign", "dropped or doubled term") and flow.program.constants.get(term) == 0


def whole(flow: Flow, mutant: Mutant) -> bool:
    """A sum over one axis of which the sum over all that is left is taken, or a mean of means."""
    if mutant.rule != "mean over the wrong axis":
        return False
    first, *above = itertools.islice(flow.program.within(flow.program.parents[mutant.place]), 6)
    around = list(itertools.dropwhile(lambda n: isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult), above))
    if not isinstance(first, ast.Call) or not isinstance(first.func, ast.Attribute) or len(around) < 2:
        return False
    outer = around[1]
    same = isinstance(around[0], ast.Attribute) and around[0].attr == first.func.attr
    return same and isinstance(outer, ast.Call) and not outer.args and not outer.keywords


def unused(flow: Flow, mutant: Mutant) -> bool:
    """What a copied block does only for an option that nobody gives it."""
    if mutant.method == "Filter2d.__init__" and "[pad] * (" in mutant.new:
        return not re.search(r"\bFilter2d\(.*\bpad=\d", "\n".join(flow.program.lines))
    tests = [flow.program.text(n.test) for n in flow.program.within(mutant.place) if isinstance(n, ast.If)]
    options = [option for test in tests for option in re.findall(r"^self\.(\w+) > 1$", test)]
    made = re.findall(rf"\b{mutant.method.split('.')[0]}\(.*", "\n".join(flow.program.lines))
    return any(not any(f"{option}=" in call for call in made[1:]) for option in options)


def negligible(flow: Flow, mutant: Mutant) -> bool:
    """The epsilon of 1e-12 that spectral norm adds to the norm of a vector."""
    node = mutant.place
    added = isinstance(node, ast.BinOp) and flow.program.text(node.right) == "self.eps"
    given = re.search(r"SpectralNorm\([^#]*?\beps=1e-0", "\n".join(flow.program.lines))
    return mutant.method == "SpectralNorm.use" and added and given is None


def normed(flow: Flow, mutant: Mutant) -> bool:
    """u of spectral norm as a function of W v: u' W v is |W v| then too, whose gradient is the same."""
    node = mutant.place
    return mutant.method == "SpectralNorm.use" and flow.program.text(node) == "product.detach()"


def odd(flow: Flow, mutant: Mutant) -> bool:
    """Half of an odd side, with or without one taken from it first."""
    if mutant.method != "Filter2d.__init__" or not re.search(r" -> .*\(len\(kernel(\[0\])?\)\) // 2", mutant.key):
        return False
    rows = re.findall(r"Filter2d\(\(\(([^)]*)\)", "\n".join(flow.program.lines))
    return bool(rows) and all(len(row.split(",")) % 2 for row in rows)


def exclusive(flow: Flow, mutant: Mutant) -> bool:
    """Two moves in the other order of which no iteration runs both."""
    nodes = [node for node, _ in mutant.edits]
    if mutant.rule != "phases swapped or left out" or not all(isinstance(n, ast.If) for n in nodes):
        return False
    tests = [compile(flow.program.text(n.test), "condition", "eval") for n in nodes]  # type: ignore[attr-defined]
    clocks = {"step", "epoch", "epoch_step"}
    games = [SimpleNamespace(clocks=dict.fromkeys(clocks, t), **flow.program.constants) for t in range(200)]
    return not any(all(eval(test, {"self": game}) for test in tests) for game in games) if len(tests) > 1 else False


def of_one_process(flow: Flow, mutant: Mutant) -> bool:
    """What is done to gradients where there are several."""
    loops = [n for n in flow.program.within(mutant.place) if isinstance(n, ast.For)]
    return any("self.sync" in flow.program.text(n.iter) for n in loops) and "(not (self.sync))" not in mutant.new


RUNTIME = {  # mutants of the runtime by their key, and why they change nothing
    r"strict=True.* -> .*strict=False": "what is paired is equally long",
    r"Game\.mean: .* -> .*\) and \(count == 1": "the mean of one is itself",
    r"Game\.note: missing or added stop": "a number that is logged is the same with its history",
    r"Game\.setup: .*self\.(seed|given|several|batch|coming|held|latest|counts)\b": "each iteration says it anew",
    r"Game\.advance: left out: self\.constants\(\)": "each iteration says them anew",
    r"Game\.fetch: .* -> .*(coming\) < 1\) or|coming\[1\]|coming\) > 2)": "without a list there is one batch",
    r"Game\.to: left out: self\.state": "the one tensor among the states is 0 then, in any precision",
    r"^\S+: [\w ]+: raise \w+\(f": "the text of an error",
    r"Draws\.find: another number: .*rsplit\(\"\.\", 2\)": "names of phases have no dots",
}
RULES: dict[str, Callable[[Flow, Mutant], bool]] = {
    "no trained parameter lies behind the value": untrained,
    "the phase does not train the network through this call": frozen,
    "no gradient of the phase reaches the network, or the phase trains it already": unreached,
    "the first evaluation of an iteration fetches a batch in any case": first_batch,
    "nothing has changed since the value was made": remade,
    "the layer gives one place, which a stride does not move": one_place,
    "the term is 0": nothing_added,
    "no iteration runs both moves": exclusive,
    "an option of the block that nobody gives": unused,
    "the rest is reduced in the same way": whole,
    "an epsilon of 1e-12 beside a norm": negligible,
    "the gradient of u' W v is that of |W v|, whether or not u is a constant": normed,
    "half of an odd number": odd,
}


def reason(flow: Flow, mutant: Mutant) -> str | None:
    """Why a mutant changes nothing; None where no rule says so."""
    if mutant.method.startswith(SHOWN) and "functional_call" in mutant.new:
        return "no gradient is taken of what is shown"
    if mutant.method.startswith(SHOWN) and ".eval()(*a)" in mutant.new:
        return "what is shown is in evaluation mode already"
    moved = re.search(r"View\((self\.\w+), training=True, still=False\)", mutant.new)
    if mutant.method.startswith(SHOWN) and moved:
        read = re.search(rf"{re.escape(moved[1])}(\(|, (?!training=True))", flow.text(mutant.method))
        return None if read else "what is shown puts layer state back, and calls in training mode do not read it"
    if mutant.method.split(".")[0] in RUNTIME_CLASSES:
        found = next((why for pattern, why in RUNTIME.items() if re.search(pattern, mutant.key)), None)
        return "there is one process" if of_one_process(flow, mutant) else found
    return next((text for text, rule in RULES.items() if rule(flow, mutant)), None)
