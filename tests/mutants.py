"""Faults in emitted programs, made by rule: what people get wrong, once at each place where it can be got wrong.

A rule looks at one node of a program's syntax tree and says what a careless hand would write there instead.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

PLAYED = ("evaluate_", "made_")  # the methods of a game that compute its values
Edit = tuple[ast.AST, str]  # a node, and the text that takes its place
Edits = tuple[Edit, ...]


@dataclass(frozen=True)
class Mutant:
    """A program with one fault: in which method of which class, and what stands there before and after."""

    rule: str
    method: str
    line: int
    old: str
    new: str
    source: str
    edits: Edits = field(compare=False, repr=False)

    @property
    def place(self) -> ast.AST:
        """The first node that is changed."""
        return self.edits[0][0]

    @property
    def key(self) -> str:
        return f"{self.method}: {self.rule}: {self.old} -> {self.new}"


def mutants_of(program: Program, part: str = "game") -> Iterator[Mutant]:
    """Every mutant of a part of a program: `game`, with its networks; `shown`, views and metrics; `runtime`."""
    rules = {"game": RULES, "shown": RULES | dict.fromkeys(TRAINING, nothing), "runtime": RULES | CARELESS}[part]
    for method in program.parts[part]:
        for node in program.nodes(method):
            for name, rule in rules.items():
                for edits in rule(program, method, node):
                    if any(program.text(place) != new for place, new in edits):
                        yield program.mutant(name, method, edits)


RUNTIME = {"Game", "Evaluation", "Draws", "Pool", "View", "Entry", "Reversal"}  # the same in every program
FIRST = {"Parameter", "OwnDraws"}  # has first weights and nothing else; draws where no game does
SILENT = ("fetches", "initialize", "call_draws")  # no iteration runs them, or first weights come from them
SHOWN = ("view_", "metric_")


class Program:
    """A program's text, with what rules ask of it."""

    def __init__(self, source: str, title: str):
        self.source = source.encode()  # positions of the tree are in bytes
        tree = ast.parse(source)
        self.classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef) and n.name not in RUNTIME | FIRST}
        self.game = self.classes[title]
        self.parents: dict[ast.AST, ast.AST] = {}
        for above in ast.walk(tree):
            self.parents |= dict.fromkeys(ast.iter_child_nodes(above), above)
        own = [m for c in self.classes.values() for m in c.body if isinstance(m, ast.FunctionDef)]
        runtime = [n for n in tree.body if getattr(n, "name", "") in RUNTIME]
        self.parts: dict[str, list[ast.FunctionDef]] = {
            "game": [m for m in own if not m.name.startswith(SILENT + SHOWN)],
            "shown": [m for m in own if m.name.startswith(SHOWN)],
            "runtime": [m for n in runtime for m in getattr(n, "body", []) if isinstance(m, ast.FunctionDef)],
        }
        self.methods = self.parts["game"]
        self.made = {m.name: m for m in self.game.body if isinstance(m, ast.FunctionDef)}
        found = re.findall(r'self\.(\w+) = self\.networks\["(.*?)"\]', self.text(self.made["__init__"]))
        self.named: dict[str, str] = dict(found)  # attribute of the game -> the network in the spec
        makers = {t.id: n.value for n in ast.walk(self.made["build"]) for t, n in _assigned(n)}
        entries = next(n for n in ast.walk(self.made["build"]) if isinstance(n, ast.Dict))
        built = {_literal(k): makers.get(self.text(v)) for k, v in zip(entries.keys, entries.values, strict=True) if k}
        calls = {attribute: built[name] for attribute, name in self.named.items()}
        self.networks = {a: self.text(c.func) if isinstance(c, ast.Call) else "" for a, c in calls.items()}  # its class

    def text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.source[start:end].decode()

    @cached_property
    def lines(self) -> list[str]:
        return self.source.decode().split("\n")

    @cached_property
    def constants(self) -> dict[str, object]:
        """Numbers of the game by their attribute."""
        return {t.id: _literal(n.value) for n in self.game.body for t, n in _assigned(n)}

    def term(self, node: ast.AST) -> str:
        """The text as an operand: a tree does not keep brackets."""
        plain = isinstance(node, ast.Name | ast.Constant | ast.Call | ast.Attribute | ast.Subscript)
        return self.text(node) if plain else f"({self.text(node)})"

    def _span(self, node: ast.AST) -> tuple[int, int]:
        if not hasattr(node, "lineno"):
            return 0, 0
        start, end = (self._starts[line - 1] for line in (node.lineno, node.end_lineno))
        return start + node.col_offset, end + node.end_col_offset

    @cached_property
    def _starts(self) -> list[int]:
        return list(itertools.accumulate(map(len, self.source.splitlines(keepends=True)), initial=0))

    def nodes(self, method: ast.FunctionDef) -> Iterator[ast.AST]:
        """What runs in a method, in the order of the text; without docstrings and rules for first weights."""
        for statement in method.body:
            if isinstance(statement, ast.Expr) and re.match(r'"|super\(\)|initialize\(', self.text(statement)):
                if self.text(statement).startswith("super().__init__(") and isinstance(statement.value, ast.Call):
                    for argument in statement.value.args:
                        yield from self._below(argument)
                continue
            yield from self._below(statement)

    def _below(self, top: ast.AST) -> Iterator[ast.AST]:
        """A node and all below it, down to functions that make first weights."""
        stack = [top]
        while stack:
            node = stack.pop(0)
            if not (isinstance(node, ast.Lambda) and "nn.init." in self.text(node)):
                yield node
                stack += ast.iter_child_nodes(node)

    def repeated(self, method: ast.FunctionDef) -> bool:
        """Whether an iteration runs an evaluation more than once."""
        plays = [n for n in ast.walk(self.game) if isinstance(n, ast.Call) and self.text(n.func) == "self.play"]
        mine = [n for n in plays if self.text(n.args[1]) == f"self.{method.name}"]
        looped = any(isinstance(above, ast.For) for n in mine for above in self.within(n))
        return len(mine) > 1 or looped or any(k.arg == "accumulate" for n in mine for k in n.keywords)

    def moody(self, kind: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a class of networks has layers that depend on the mode."""
        if kind not in self.classes or kind in seen:
            return False
        text = self.text(self.classes[kind])
        moods = r"BatchNorm(?!.*track_running_stats=False)|Dropout|track_running_stats=True|SpectralNorm"
        inner = set(re.findall(r"\b[A-Z]\w+\b", text)) & self.classes.keys()
        return re.search(moods, text) is not None or any(self.moody(name, seen | {kind}) for name in inner)

    def within(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def mutant(self, rule: str, method: ast.FunctionDef, edits: Edits) -> Mutant:
        text = self.source
        for node, new in sorted(edits, key=lambda edit: -self._span(edit[0])[0]):
            start, end = self._span(node)
            text = text[:start] + new.encode() + text[end:]
        place = edits[0][0]
        owner = self.parents[method]
        name = method.name if owner is self.game else f"{getattr(owner, 'name', '')}.{method.name}"
        old, new = (" / ".join(re.sub(r"\s+", " ", t) for t in texts) for texts in zip(*self._said(edits), strict=True))
        return Mutant(rule, name, place.lineno, old, new, text.decode(), edits)

    def _said(self, edits: Edits) -> Iterator[tuple[str, str]]:
        """The statement of each edit, before and after."""
        for node, new in edits:
            statement = next(n for n in (node, *self.within(node)) if isinstance(n, ast.stmt))
            start, end = self._span(statement)
            a, b = self._span(node)
            before = self.source
            if end - start > 400:  # only what is near
                start, end = max(start, a - 60), min(end, b + 60)
            yield before[start:end].decode(), (before[start:a] + new.encode() + before[b:end]).decode()


def _assigned(node: ast.AST) -> Iterator[tuple[ast.Name, ast.Assign]]:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        yield node.targets[0], node


def _literal(node: ast.AST) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _number(node: ast.AST) -> bool:
    """A number, or a constant of the game."""
    return (isinstance(node, ast.Constant) and isinstance(node.value, int | float)) or _own(node) is not None


def _own(node: ast.AST) -> str | None:
    """The attribute of `self.attribute`."""
    plain = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if plain else None


def _method(node: ast.AST, *names: str) -> ast.expr | None:
    """What a method of one of these names is called on."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names
    return node.func.value if called else None


def _called(program: Program, node: ast.AST) -> str | None:
    """The network of `self.NETWORK(...)` in the game."""
    name = _own(node.func) if isinstance(node, ast.Call) else None
    return name if name in program.networks else None


# --- the rules: program, method, node -> what stands there instead

Rule = Callable[[Program, ast.FunctionDef, ast.AST], Iterator[Edits]]


def flipped_sign(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        sign = "-" if isinstance(node.op, ast.Add) else "+"
        yield ((node, f"{program.term(node.left)} {sign} {program.term(node.right)}"),)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield ((node, program.term(node.operand)),)


def dropped_or_doubled_term(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield ((node, program.term(node.left)),)
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        yield ((node, f"{program.term(node.left)} {sign} 2 * {program.term(node.right)}"),)
    if isinstance(node, ast.Yield) and node.value is not None:
        yield ((node.value, f"2 * ({program.text(node.value)})"),)


def changed_weight(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        for side in (node.left, node.right):
            if _number(side):
                yield ((side, f"(1.5 * {program.text(side)})"),)


def real_and_fake_swapped(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if not isinstance(node, ast.Assign) or not method.name.startswith("evaluate_"):
        return
    known = {t.id for n in ast.walk(method) for t, _ in _assigned(n)}
    for a, b in (("real", "fake"), ("shown", "fake"), ("latent", "reference"), ("X", "Y")):
        pair = {f"{stem}{x}": f"{stem}{y}" for stem in _stems(known, a, b) for x, y in ((a, b), (b, a))}
        edits = tuple(
            (n, pair[n.id]) for n in ast.walk(node.value) if isinstance(n, ast.Name) and pair.get(n.id) in known
        )
        if edits:
            yield edits


def _stems(names: set[str], *ends: str) -> list[str]:
    return sorted({n[: -len(e)] for n in names for e in ends if n.endswith(f"_{e}")})


def sum_for_mean(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    reduced = _method(node, "mean", "sum")
    if reduced is not None and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        other = "sum" if node.func.attr == "mean" else "mean"
        yield ((node.func, f"{program.term(reduced)}.{other}"),)


def wrong_axis(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.keyword) and node.arg == "dim" and _number(node.value):
        yield ((node.value, "0"),)
    if isinstance(node, ast.keyword) and node.arg == "dim" and isinstance(node.value, ast.Tuple):
        yield ((node.value, program.text(node.value.elts[-1])),)


def missing_or_added_stop(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    stopped = _method(node, "detach")
    if stopped is not None and _method(program.parents[program.parents[node]], "requires_grad_") is None:
        yield ((node, program.term(stopped)),)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and method.name.startswith(PLAYED):
        value = program.text(node.value)
        if isinstance(node.targets[0], ast.Tuple) and not value.endswith((".shape", "detach()")):
            yield ((node.value, f"tuple(v.detach() for v in {value})"),)
        elif re.match(r"self\.(?!input\b|clocks|held)\w+\(|View\(", value) and not value.endswith("detach()"):
            yield ((node.value, f"{value}.detach()"),)
    if isinstance(node, ast.withitem) and program.text(node.context_expr) == "torch.enable_grad()":
        yield ((node.context_expr, "torch.no_grad()"),)


def wrong_network(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """The gradient goes into another network: another one is called, or this one as a constant, or no longer as one."""
    name = _called(program, node)
    if name is not None and isinstance(node, ast.Call):
        others = [n for n, kind in program.networks.items() if n != name and kind == program.networks[name]]
        for other in others[:1]:
            yield ((node.func, f"self.{other}"),)
        constants = f"{{k: p.detach() for k, p in self.{name}.named_parameters()}}"
        yield ((node.func, f"(lambda *a: torch.func.functional_call(self.{name}, {constants}, a))"),)
    if isinstance(node, ast.keyword) and node.arg == "frozen" and program.text(node.value) == "True":
        yield ((node.value, "False"),)
    if isinstance(node, ast.Call) and program.text(node.func) == "Evaluation" and isinstance(node.args[0], ast.Dict):
        for a, b in itertools.pairwise(node.args[0].values):
            yield ((a, program.text(b)), (b, program.text(a)))


def wrong_owner(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """A phase trains what another one should, or only some of its networks; an optimizer leaves one out."""
    phases = list(_phases(program, node))
    for (_, _, a), (_, _, b) in itertools.pairwise(phases):
        if program.text(a) != program.text(b):
            yield ((a, program.text(b)),)
    owners = [tuple_ for _, _, tuple_ in phases]
    if method.name.startswith("optimizers") and isinstance(node, ast.Tuple) and len(node.elts) == 3:
        owners.append(node.elts[1])
    for tuple_ in owners:
        if isinstance(tuple_, ast.Tuple) and len(tuple_.elts) > 1:
            yield ((tuple_, f"({', '.join(program.text(e) for e in tuple_.elts[1:])},)"),)


def update_of_a_frozen_network(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """A phase and its optimizer also train a network of which nobody should, or of another player."""
    phases = list(_phases(program, node))
    owned = {program.text(e) for _, _, t in phases for e in getattr(t, "elts", ())}
    names = [program.text(k) for k in _network_names(program)]
    for _, player, tuple_ in phases:
        own = {program.text(e) for e in getattr(tuple_, "elts", ())}
        group = _group(program, player)
        candidates = [n for n in names if n not in owned] or [n for n in names if n not in own][:1]
        for name in candidates if group is not None and isinstance(tuple_, ast.Tuple) else ():
            more = [(t, f"({', '.join([*map(program.text, t.elts), name])},)") for t in (tuple_, group)]
            yield tuple(more)


def _phases(program: Program, node: ast.AST) -> Iterator[tuple[str, str, ast.AST]]:
    """In `__init__`: every phase's name, player and networks."""
    if isinstance(node, ast.Dict) and len(node.values) and isinstance(program.parents[node], ast.Assign | ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(value, ast.Tuple) and len(value.elts) == 3 and isinstance(value.elts[0], ast.Constant):
                yield str(_literal(key)) if key else "", str(value.elts[0].value), value.elts[1]


def _network_names(program: Program) -> list[ast.expr]:
    entries = next(n for n in ast.walk(program.made["build"]) if isinstance(n, ast.Dict))
    return [k for k in entries.keys if k is not None]


def _group(program: Program, player: str) -> ast.Tuple | None:
    """The networks of a player's first optimizer."""
    for node in ast.walk(program.made["optimizers"]):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and _literal(key) == player and isinstance(value, ast.List):
                    group = value.elts[0]
                    return group.elts[1] if isinstance(group, ast.Tuple) else None  # type: ignore[return-value]
    return None


def wrong_mode(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """A network with layers that depend on it runs in the other mode."""
    name = _called(program, node)
    if name is not None and isinstance(node, ast.Call) and program.moody(program.networks[name]):
        yield ((node.func, f"(lambda *a: (self.{name}.eval()(*a), self.{name}.train())[0])"),)
    if isinstance(node, ast.keyword) and node.arg == "training":
        yield ((node.value, str(program.text(node.value) != "True")),)
    if isinstance(node, ast.keyword) and node.arg == "still":
        yield ((node.value, "False"),)
    if isinstance(node, ast.Expr) and program.text(node).endswith("].eval()"):
        yield ((node, "pass"),)


def phases_swapped(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.Expr) and program.text(node).startswith("self.play("):
        yield ((node, "pass"),)
    if method.name.startswith("iteration") and node is method.body[-1]:
        moves = [s for s in method.body if "self.play(" in program.text(s)]
        for a, b in itertools.pairwise(moves):
            yield ((a, program.text(b)), (b, program.text(a)))


def stale_or_fresh(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """A draw that an earlier phase or iteration has used; a value that is made one time, made anew by each phase."""
    once = method.name.startswith("made_")
    name = _drawn(program, node)
    if name is not None and program.parents[method] is program.game:
        kept = f'self.__dict__.setdefault("stale " + {name}, {program.text(node)})'
        yield ((node, kept),)
        sites = [n for m in program.methods for n in ast.walk(m) if _drawn(program, n) == name]
        if not once and node is sites[0] and (len(sites) > 1 or program.repeated(method)):
            yield tuple((n, f'self.held.setdefault("stale " + {name}, {program.text(n)})') for n in sites)
    if once and isinstance(node, ast.If) and "not in self.held" in program.text(node.test):
        again = [(n, "pass") for n in node.body if program.text(n) == "draws = draws.once()"]
        yield ((node.test, "True"), *again)
    if isinstance(node, ast.keyword) and node.arg == "fresh":
        yield ((node.value, "False"),)


def _drawn(program: Program, node: ast.AST) -> str | None:
    """The name of a draw, as the text has it, of `draws.KIND(NAME, ...)`."""
    maker = _method(node, "normal", "uniform", "bernoulli", "integer", "permutation")
    if maker is None or program.text(maker) != "draws" or not isinstance(node, ast.Call):
        return None
    return program.text(node.args[0])


def missing_root(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    inner = _method(node, "sqrt", "square")
    if inner is not None:
        yield ((node, program.term(inner)),)
    if _method(node, "norm") is not None:
        yield ((node, f"{program.text(node)}.square()"),)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield ((node, program.term(node.left)),)


def rate_or_beta_changed(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if not method.name.startswith(("optimizers", "constants")):
        return
    if isinstance(node, ast.Dict) and isinstance(program.parents[node], ast.Tuple):
        for key, value in zip(node.keys, node.values, strict=True):
            for part in value.elts if isinstance(value, ast.Tuple) else [value]:
                if isinstance(part, ast.Constant) and isinstance(part.value, bool):
                    yield ((part, str(not part.value)),)
                elif key is not None and _literal(key) == "betas":
                    yield ((part, f"0.4 + 0.5 * ({program.text(part)})"),)
                else:
                    yield ((part, f"{1000 if _literal(key) == 'eps' else 1.5} * ({program.text(part)})"),)  # type: ignore[arg-type]
    if method.name.startswith("constants") and isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ((node, f"{node.value + 1 if isinstance(node.value, int) else 1.5 * node.value}"),)


def average_with_another_weight(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.Call) and program.text(node.func) == "self.follow":
        yield ((node.args[1], f"0.5 * ({program.text(node.args[1])})"),)
        yield ((node, "None"),)
    if isinstance(node, ast.Return) and method.name == "averaged" and isinstance(node.value, ast.Dict):
        for value in node.value.values:
            if isinstance(value, ast.Tuple) and isinstance(value.elts[1], ast.Constant):
                yield ((value.elts[1], str(not value.elts[1].value)),)


def pool_bypassed(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.Call) and program.text(node.func).startswith("self.pools["):
        yield ((node, f"{program.text(node.args[0])}.detach()"),)
    if method.name == "pooled" and isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ((node, str(node.value - 1)),)


def off_by_one(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.Call) and program.text(node.func) == "range":
        yield ((node.args[-1], f"1 + ({program.text(node.args[-1])})"),)
    if isinstance(node, ast.keyword) and node.arg == "accumulate":
        yield ((node.value, f"{program.text(node.value)} - 1"),)


ACTIVATIONS = {"ReLU": "Tanh", "Tanh": "Sigmoid", "Sigmoid": "Tanh", "ELU": "ReLU", "Softplus": "ReLU"}
NUMBERS = {  # argument of a layer -> another value
    "stride": lambda v: 1 if v == 2 else v + 1,
    "padding": lambda v: v - 1 if v else 1,
    "output_padding": lambda v: v - 1 if v else 1,
    "dilation": lambda v: v + 1,
    "scale_factor": lambda v: v + 1,
    "eps": lambda v: 0.1,
    "momentum": lambda v: 0.5 * v,
    "gain": lambda v: 1.5 * v,
}


def layer_changed(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if not isinstance(node, ast.Call) or method.name not in ("__init__", "build"):
        return
    kind = program.text(node.func).removeprefix("nn.")
    if kind in ACTIVATIONS and not node.args:
        yield ((node, f"nn.{ACTIVATIONS[kind]}()"),)
    if kind in ("LeakyReLU", "Dropout", "Dropout2d", "Noise") and node.args and isinstance(node.args[0], ast.Constant):
        yield ((node.args[0], f"{0.05 + 0.5 * node.args[0].value:g}"),)
    for argument in node.keywords:
        value = _literal(argument.value)
        if argument.arg in NUMBERS and type(value) in (int, float):
            yield ((argument.value, f"{NUMBERS[argument.arg](value):g}"),)
        if argument.arg == "padding_mode":
            yield ((argument.value, '"circular"'),)


def condition_changed(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    turned = {ast.Lt: ">", ast.Gt: "<", ast.LtE: ">", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "=="}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in turned:
        right = program.text(node.comparators[0])
        yield ((node, f"({program.term(node.left)} {turned[type(node.ops[0])]} {right})"),)
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.Or) else " or "
        yield ((node, word.join(f"({program.text(v)})" for v in node.values)),)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield ((node, program.term(node.operand)),)


def left_out(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """A statement that does something: a call, or a value that is kept."""
    kept = isinstance(node, ast.Assign | ast.AugAssign) and any(
        isinstance(t, ast.Attribute | ast.Subscript)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for t in (target.elts if isinstance(target, ast.Tuple) else [target])
    )
    if kept or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ((node, "pass"),)


def turned(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    """A branch where the other should be taken."""
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Constant):
        yield ((node.test, f"(not ({program.text(node.test)}))"),)
    for test in node.ifs if isinstance(node, ast.comprehension) else []:
        yield ((test, f"(not ({program.text(test)}))"),)


def another_number(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = node.value
        yield ((node, str(not value if isinstance(value, bool) else value + 1)),)


def arguments_swapped(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    for a, b in itertools.pairwise(node.args) if isinstance(node, ast.Call) else ():
        if not isinstance(a, ast.Starred) and not isinstance(b, ast.Starred):
            yield ((a, program.text(b)), (b, program.text(a)))


def nothing(program: Program, method: ast.FunctionDef, node: ast.AST) -> Iterator[Edits]:
    return iter(())


TRAINING = ("missing or added stop", "stale or fresh")  # what means nothing in a view, which is looked at by itself
CARELESS: dict[str, Rule] = {  # what may happen anywhere in the runtime, which does not know of losses
    "left out": left_out,
    "the other branch": turned,
    "another number": another_number,
    "arguments swapped": arguments_swapped,
}
RULES: dict[str, Rule] = {
    "flipped sign": flipped_sign,
    "dropped or doubled term": dropped_or_doubled_term,
    "changed weight": changed_weight,
    "real and fake swapped": real_and_fake_swapped,
    "sum for mean": sum_for_mean,
    "mean over the wrong axis": wrong_axis,
    "missing or added stop": missing_or_added_stop,
    "gradient into the wrong network": wrong_network,
    "wrong owned parameters": wrong_owner,
    "update of a frozen network": update_of_a_frozen_network,
    "wrong mode": wrong_mode,
    "phases swapped or left out": phases_swapped,
    "stale or fresh": stale_or_fresh,
    "missing root or square": missing_root,
    "rate or beta changed": rate_or_beta_changed,
    "average with another weight": average_with_another_weight,
    "pool bypassed": pool_bypassed,
    "off by one in a repeat": off_by_one,
    "layer changed": layer_changed,
    "condition changed": condition_changed,
}
