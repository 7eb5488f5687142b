"""Program -> Text: the emitted program, read with Python's own parser.

A statement is about what it assigns, by the name that the emitter gives to a value; a method about its phase or value;
a class about the networks that are made of it. A call in place has no name: it is known by its network and arguments.
Every stage is read for itself, and each in its own methods.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections.abc import Container, Iterable, Iterator

from gangraph.code import identifier
from gangraph.compiler import Spec
from gangraph.emit import Program
from gangraph.frozen import frozen
from gangraph.ir import Node
from gangraph.page.dataflow import Dataflow
from gangraph.page.names import Keys, phase_key, player_key
from gangraph.page.texts import Region, Span, Text
from gangraph.statements import attribute

Lines = tuple[int, int]
MOVES = ("iteration", "finish")  # the methods that say what an iteration does


@frozen
class ProgramText:
    """What the program says of one stage: the lines where each evaluation stands, ends in its objectives and is played,
    and the methods that only other stages run.
    """

    regions: tuple[Region, ...]
    spans: tuple[Span, ...]
    functions: dict[str, Lines]
    objectives: dict[str, tuple[int, ...]]
    plays: dict[str, tuple[int, ...]]
    elsewhere: tuple[Lines, ...]


@frozen
class Parsed:
    """The parsed program: its game, its other classes, and the classes that the lines of each name."""

    game: ast.ClassDef
    classes: dict[str, ast.ClassDef]
    inside: dict[str, tuple[str, ...]]


def parse_program(program: Program) -> Parsed:
    tree = ast.parse(program.source)
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    game = classes.pop(program.title)
    inside = {n: tuple(c for c in _names(node) if c in classes and c != n) for n, node in classes.items()}
    return Parsed(game, classes, inside)


def program_text(source: str, stages: Iterable[ProgramText]) -> Text:
    """The program with what it says of every stage."""
    read = list(stages)
    regions = dict.fromkeys(region for stage in read for region in stage.regions)
    spans = dict.fromkeys(span for stage in read for span in stage.spans)
    return Text("", tuple(source.split("\n")), tuple(regions), (*spans, *_styles(source)))


def read_program(
    spec: Spec, flow: Dataflow, things: Container[str], parsed: Parsed, others: Iterable[str]
) -> ProgramText:
    """The program of a spec as one stage runs it; `others` are the names of the other stages."""
    return _Reader(spec, flow, things).read(parsed, [f"_{identifier(stage)}" for stage in others])


class _Reader:
    def __init__(self, spec: Spec, flow: Dataflow, things: Container[str]):
        self.graph, self.flow, self.things = spec.graph, flow, things
        self.lines = tuple(spec.program.source.split("\n"))
        graph = spec.graph
        self.values = self._identifiers([*flow.keys.values(), *graph.values, *graph.state])
        self.attributes = {attribute(n): n for n in (*graph.networks, *graph.constants) if n in things}
        self.evaluations = {s.name: tuple(phase_key(p.name) for p in s.phases) for s in graph.steps() if s.phases}
        self.stage = stage = f"_{identifier(graph.resolved.stage)}" if graph.resolved.stage else ""
        self.methods = {
            f"{kind}_{identifier(name)}{suffix}": (name, keys)
            for suffix in ("", stage)
            for kind, names in (("evaluate", self.evaluations), ("made", {n: (n,) for n in flow.keys.values()}))
            for name, keys in names.items()
        }
        self.signatures: dict[tuple[str, ...], str] = {}
        for call, key in flow.calls:
            self.signatures.setdefault(self._signature(call), key)
        self.classes: dict[str, Keys] = {}
        self.regions: list[Region] = []
        self.spans: list[Span] = []
        self.functions: dict[str, Lines] = {}
        self.objectives: dict[str, list[int]] = {}
        self.plays: dict[str, list[int]] = {}

    def _identifiers(self, names: Iterable[str]) -> dict[str, str]:
        return {identifier(n.replace(".", "_")): n for n in names if n in self.things and not n.startswith("call ")}

    def _signature(self, call: Node) -> tuple[str, ...]:
        """The network of a call, then its arguments that are things."""
        keys = (self.flow.keys.get(id(a), self.flow.keys.get(id(a.args[0])) if a.args else None) for a in call.args)
        return (call.fields["source"], *(key for key in keys if key))

    def read(self, parsed: Parsed, others: list[str]) -> ProgramText:
        methods = [part for part in parsed.game.body if isinstance(part, ast.FunctionDef)]
        elsewhere = tuple(self._elsewhere(methods, others))
        known = {method.name for method in methods}
        self._networks(parsed)
        for part in parsed.game.body:
            if isinstance(part, ast.FunctionDef):
                picks = bool(self.stage) and part.name + self.stage in known
                if not picks and (part.lineno, part.end_lineno) not in elsewhere:
                    self._method(part)
            elif isinstance(part, ast.Assign) and isinstance(
                part.targets[0], ast.Name
            ):  # a constant that never changes
                self._region(part, [self.attributes.get(part.targets[0].id, "")])
        objectives, plays = ({k: tuple(v) for k, v in found.items()} for found in (self.objectives, self.plays))
        return ProgramText(tuple(self.regions), tuple(self.spans), self.functions, objectives, plays, elsewhere)

    def _elsewhere(self, methods: list[ast.FunctionDef], others: list[str]) -> Iterator[Lines]:
        """The methods of other stages: named like one of this stage, or like one that picks, with their suffix."""
        known = {method.name for method in methods}
        for method in methods:
            for suffix in others if method.name not in self.methods else ():
                name = method.name.removesuffix(suffix)
                if name != method.name and name in known:
                    yield method.lineno, method.end_lineno or method.lineno
                    break

    # --- regions and spans

    def _region(self, node: ast.stmt | ast.expr, keys: Iterable[str], first: int = 0) -> None:
        kept = tuple(k for k in dict.fromkeys(keys) if k in self.things)
        if kept:
            self.regions.append(Region(first or node.lineno, node.end_lineno or node.lineno, kept))

    def _span(self, node: ast.expr, keys: Iterable[str], inset: int = 0) -> None:
        """Links what stands on one line; `inset` leaves out the quotes of a string."""
        kept = tuple(k for k in keys if k in self.things)
        if kept and node.lineno == node.end_lineno and node.end_col_offset is not None:
            line = self.lines[node.lineno - 1].encode()  # Python counts bytes
            start, end = (len(line[:n].decode()) for n in (node.col_offset, node.end_col_offset))
            self.spans.append(Span(node.lineno, start + inset, end - inset, "name", kept))

    # --- networks and their classes

    def _networks(self, parsed: Parsed) -> None:
        """Statements of `build`, and the classes that each network is made of."""
        build = next(n for n in parsed.game.body if isinstance(n, ast.FunctionDef) and n.name == "build")
        networks = {identifier(name): name for name in self.graph.networks}
        made: dict[str, dict[str, None]] = {}
        for statement in build.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                network = networks.get(statement.targets[0].id)
                if network is not None:
                    self._region(statement, [network])
                    self._span(statement.targets[0], [network])
                    stack = [c for c in _names(statement.value) if c in parsed.classes]
                    while stack:
                        top = stack.pop()
                        if network not in made.setdefault(top, {}):
                            made[top][network] = None
                            stack += parsed.inside[top]
        for name, keys in made.items():
            self._region(parsed.classes[name], keys)

    # --- methods

    def _method(self, method: ast.FunctionDef) -> None:
        name, keys = self.methods.get(method.name, ("", ()))
        if keys:
            self._region(method, keys)
            self._body(method.body, name, dict(self.values))
            if name in self.evaluations:
                self.functions[name] = (method.lineno, method.end_lineno or method.lineno)
                return
        for node in ast.walk(method):
            if isinstance(node, ast.Dict):
                self._table(node, method.name)
            elif isinstance(node, ast.Call) and method.name in (f"{m}{s}" for m in MOVES for s in ("", self.stage)):
                self._move(node)
            elif isinstance(node, ast.Assign) and method.name.startswith("constants"):
                self._attribute(node, node.targets[0])

    def _attribute(self, statement: ast.stmt, target: ast.expr) -> None:
        if isinstance(target, ast.Attribute) and target.attr in self.attributes:
            self._region(statement, [self.attributes[target.attr]])

    def _table(self, table: ast.Dict, method: str) -> None:
        """The entries of a table by name: players, phases, averages, states."""
        key_of = player_key if method.startswith(("optimizers", "rules")) else str
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                known = (key_of(key.value),) if method != "__init__" else (phase_key(key.value),)
                self._region(value, known, first=key.lineno)
                self._span(key, known, inset=1)

    def _move(self, call: ast.Call) -> None:
        """`self.play("D", self.evaluate_D)` and `self.follow("G_ema", 0.999)`."""
        first = call.args[0] if call.args else None
        if isinstance(call.func, ast.Attribute) and isinstance(first, ast.Constant) and isinstance(first.value, str):
            if call.func.attr == "play" and first.value in self.evaluations:
                self.plays.setdefault(first.value, []).append(call.lineno)
                self._region(call, self.evaluations[first.value])
                self._span(first, self.evaluations[first.value], inset=1)
            elif call.func.attr == "follow":
                self._region(call, [first.value])
                self._span(first, [first.value], inset=1)

    # --- statements

    def _body(self, statements: list[ast.stmt], evaluation: str, variables: dict[str, str]) -> None:
        for statement in statements:
            if isinstance(statement, ast.With | ast.If):
                self._body(statement.body, evaluation, variables)
                continue
            self._linked(statement, variables)
            if isinstance(statement, ast.Assign):
                self._assigned(statement, evaluation, variables)
            elif isinstance(statement, ast.Return) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield)
            ):
                self.objectives.setdefault(evaluation, []).append(statement.lineno)

    def _assigned(self, statement: ast.Assign, evaluation: str, variables: dict[str, str]) -> None:
        target = statement.targets[0]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        names = [t.id for t in targets if isinstance(t, ast.Name)]
        if any(name.startswith("objective") for name in names):
            lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
            self.objectives.setdefault(evaluation, []).extend(lines)
        for name in names:
            if name not in variables:
                key = self.signatures.get(self._called(statement.value, variables))
                variables |= {name: key} if key else {}
        first = statement.lineno
        while re.match(r"\s*# \S+: ", self.lines[first - 2]):  # the loss as its author wrote it
            first -= 1
        self._region(statement, [variables[n] for n in names if n in variables], first)
        for written in targets:
            if isinstance(written, ast.Name) and written.id in variables:
                self._span(written, [variables[written.id]])

    def _called(self, value: ast.expr, variables: dict[str, str]) -> tuple[str, ...]:
        """The signature of a call as the program writes it: `self.D(x)`, `View(self.D, frozen=True)(x)`."""
        if not isinstance(value, ast.Call):
            return ()
        function = value.func
        if isinstance(function, ast.Call) and function.args:
            function = function.args[0]
        if not isinstance(function, ast.Attribute) or function.attr not in self.attributes:
            return ()
        arguments = [variables[a.id] for a in value.args if isinstance(a, ast.Name) and a.id in variables]
        return (self.attributes[function.attr], *arguments)

    def _linked(self, statement: ast.stmt, variables: dict[str, str]) -> None:
        """Links at the names that a statement reads."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in variables:
                self._span(node, [variables[node.id]])
            elif isinstance(node, ast.Attribute) and node.attr in self.attributes:
                self._span(node, [self.attributes[node.attr]])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in self.things:
                self._span(node, [node.value], inset=1)


def _names(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


def _styles(source: str) -> Iterator[Span]:
    kinds = {tokenize.COMMENT: "comment", tokenize.STRING: "string", tokenize.NUMBER: "number"}
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        style = kinds.get(token.type) or ("keyword" if keyword.iskeyword(token.string) else "")
        if style:
            for line in range(token.start[0], token.end[0] + 1):
                start = token.start[1] if line == token.start[0] else 0
                end = token.end[1] if line == token.end[0] else len(lines[line - 1])
                yield Span(line, start, end, style)
