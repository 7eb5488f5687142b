"""An evaluation -> statements: variables for what is named or used twice, `no_grad` where it is due."""

from __future__ import annotations

import itertools
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from gangraph import _paths
from gangraph.code import ATOM, WIDTH, Code, call, fit, identifier, join, literal, text, variable
from gangraph.expressions import Expr, show
from gangraph.families import whole_loss
from gangraph.graph import Graph, network_of
from gangraph.ir import Module, Node, leaves, visit, walk
from gangraph.networks import argument_codes, call_arguments, view_text
from gangraph.routing import in_place
from gangraph.schedule import Evaluation, held_name
from gangraph.writer import Writer, shape_comment

if TYPE_CHECKING:
    from gangraph.phases import StageWriter

IMPURE = frozenset({"call", "input", "loss", "grad", "chunk", "replay", "alias"})  # written each time, or named apart


@cache
def game_names() -> frozenset[str]:
    """What every program has already; networks and constants of these names get an underscore."""
    text = (_paths.codegen() / "runtime" / "game.py").read_text(encoding="utf-8")
    return frozenset(re.findall(r"(?:^    def |self\.|^    (?=\w+ = ))(\w+)", text, re.M))


def attribute(name: str) -> str:
    """A network's or constant's name as an attribute of the program."""
    return identifier(name, game_names())


class PhaseWriter(Writer):
    """Writes the statements of an evaluation: variables for what is named or used twice, `no_grad` where it is due."""

    def __init__(self, stage: StageWriter, evaluation: Evaluation | None = None, drawing: bool = False):
        super().__init__()
        self.stage, self.evaluation = stage, evaluation
        self.vectors = stage.vectors
        self.drawing = drawing
        self.taken = {"draws", *stage.emitter.classes.names}
        self.value_of = evaluation.name if evaluation else ""
        self.owner = call_places(stage.graph)
        self.arguments: dict[int, str] = {}
        self.lists: dict[Any, str] = {}  # variables for weights of a network's layers
        self.prologue: list[str] = []  # what stands in front of the statements
        self.differentiated: set[int] = set()  # the x of inner derivatives
        self.gradients: dict[int, list[Node]] = {}  # the derivatives of a value
        self.written: dict[str, str] = {}  # variables, by the expression that they hold

    def fresh(self, name: str) -> str:
        made = variable(name, self.taken)
        self.taken.add(made)
        return made

    # --- statements

    def statements(
        self, nodes: list[Node], held: set[int], leaves: frozenset[int], ready: tuple[Node, ...] = ()
    ) -> list[str]:
        uses: dict[int, int] = {}
        for node in nodes:
            if id(node) not in held:
                for argument in node.args:
                    uses[id(argument)] = uses.get(id(argument), 0) + 1
        lines: list[tuple[bool, list[str]]] = []
        parts: dict[int, dict[int, Node]] = {}
        for node in nodes:
            if node.op == "output":
                parts.setdefault(id(node.args[0]), {})[node.fields["index"]] = node
        self._name_arguments()
        self.differentiated = {id(n.args[1]) for n in nodes if n.op == "grad"}
        self.gradients = {}
        for node in nodes:
            if node.op == "grad":
                self.gradients.setdefault(id(node.args[0]), []).append(node)
        last = self._last(nodes, ready)
        for node in nodes:
            lines += self._statement(node, held, leaves, uses, parts)
            for part in last.get(id(node), ()):
                lines.append((True, fit(f"yield {self.code(part).plain()}", 8)))
        return self._blocks(lines)

    def _last(self, nodes: list[Node], ready: tuple[Node, ...]) -> dict[int, list[Node]]:
        """Parts of the objective by the node behind which each can be differentiated."""
        places = {id(n): i for i, n in enumerate(nodes)}
        found: dict[int, list[Node]] = {}
        for part in ready:
            place = max(places[id(n)] for n in walk([part]) if id(n) in places)
            found.setdefault(id(nodes[place]), []).append(part)
        return found

    def _statement(
        self,
        node: Node,
        held: set[int],
        leaves: frozenset[int],
        uses: dict[int, int],
        parts: dict[int, dict[int, Node]],
    ) -> list[tuple[bool, list[str]]]:
        """The lines for one node, if it gets a variable, with whether they may stand outside `no_grad`."""
        if id(node) in self.names or (node.type.host and node.op != "loss") or node.op in ("number", "dropped"):
            return []
        shape = shape_comment(node.type.shape, node.type.samples)
        if id(node) in held:
            made = f"self.made_{identifier(held_name(node))}(draws)"
            if node.name is None:
                return [(True, self._several(node, made, parts.get(id(node), {}), "held", leaves))]
            variable = self.names[id(node)] = self.fresh(node.name)
            return [(True, [*fit(f"{variable} = {made}  # {shape}", 8), *self._leaf(node, variable, leaves)])]
        if node.op == "input" and node.name in self.stage.graph.inputs:
            variable = self.names[id(node)] = self.fresh(node.name or "x")
            line = fit(f"{variable} = self.input({literal(node.name)})  # {shape}", 8)
            return [(True, [*line, *self._leaf(node, variable, leaves)])]
        if node.op == "output":
            self._output_name(node)
        if node.op in ("parameter", "state", "output"):
            return []
        if self.evaluation is None and node.op == "alias" and self._passed_on(node, leaves):
            self.names[id(node)] = self.names[id(node.args[0])]
            return []
        several = node.op == "chunk" or node.fields.get("several")
        named = node.name is not None and node.op != "p"
        if not (named or node.op in ("call", "loss", "grad") or uses.get(id(node), 0) > 1 or several):
            return []
        quiet = self._quiet(node)
        if node.op == "grad" and (several_by := self._by_several(node)):
            return [(not quiet, several_by)]
        remark = self._remark(node) if node.op == "loss" else []
        return [(not quiet, remark + self.assigned(node, self._wish(node), parts.get(id(node)), leaves))]

    def _passed_on(self, node: Node, leaves: frozenset[int]) -> bool:
        """Whether a view's member of a family is only another variable: `coarse[j]: w2[j] if j < 4 else w[j]`."""
        apart = id(node) in self.differentiated or id(node) in leaves
        return not apart and "[" in (node.name or "") and id(node.args[0]) in self.names

    def _blocks(self, lines: list[tuple[bool, list[str]]]) -> list[str]:
        """Statements with `with torch.no_grad():` over those that carry no gradient and call a network."""
        made: list[str] = []
        for graded, group in itertools.groupby(lines, key=lambda item: item[0]):
            texts = [line for _, many in group for line in many]
            if graded or not texts:
                made += texts
            else:
                made += ["        with torch.no_grad():", *("    " + line for line in texts)]
        return made

    def _quiet(self, node: Node) -> bool:
        """Whether a statement calls a network whose result carries no gradient here."""
        if self.evaluation is None or id(node) in self.evaluation.tracked or node.op == "grad":  # which walks a graph
            return False
        inside = [node]
        seen = set()
        while inside:
            top = inside.pop()
            if id(top) in seen:
                continue
            seen.add(id(top))
            if top.op in ("call", "parameter"):
                return True
            inside += [a for a in top.args if id(a) not in self.names]
        return False

    def assigned(
        self, node: Node, wish: str, parts: dict[int, Node] | None = None, leaves: frozenset[int] = frozenset()
    ) -> list[str]:
        code = self.scalar(node).plain() if node.op == "loss" else self.write(node).plain()
        said = (node.type.shape or node.type.samples) and node.op != "loss" and not node.fields.get("several")
        comment = f"  # {shape_comment(node.type.shape, node.type.samples)}" if said else ""
        if node.op == "alias" and id(node) in self.differentiated:
            code = self.code(node.args[0], ATOM).plain() + f".view_as({self.code(node.args[0]).plain()})"
        if (node.op == "chunk" or node.fields.get("several")) and parts:
            return self._several(node, code, parts, wish, leaves)
        again = node.op not in IMPURE and "draws" not in code and not code.isidentifier() and wish != "value"
        again = again and id(node) not in leaves
        if again and code in self.written:
            self.names[id(node)] = self.written[code]
            return []
        variable = wish if wish == "value" else self.fresh(wish)
        self.names[id(node)] = variable
        if again:
            self.written[code] = variable
        return [*fit(f"{variable} = {code}{comment}", 8), *self._leaf(node, variable, leaves)]

    def _by_several(self, node: Node) -> list[str]:
        """One statement for all derivatives of a value, where what they are by is at hand."""
        together = self.gradients[id(node.args[0])]
        by = [n.args[1] for n in together]
        named = [n.name for n in together if n.name]
        if len(together) < 2 or (named and (len(named) < len(together) or len(together) > 8)):
            return []
        if not all(id(x) in self.names or x.op == "parameter" for x in by):
            return []
        whole = self._all_of(by)
        listed = text(whole) if whole else Code(("[", *join(", ", [self.code(x) for x in by]).parts, "]"))
        if named:
            variables = [self.fresh(name) for name in named]
            self.names |= {id(n): variable for n, variable in zip(together, variables, strict=True)}
            return fit(f"{', '.join(variables)} = {self.derivative(node, listed).plain()}", 8)
        variable = self.fresh("gradients")
        self.names |= {id(n): f"{variable}[{i}]" for i, n in enumerate(together)}
        return fit(f"{variable} = {self.derivative(node, listed).plain()}", 8)

    def _all_of(self, parameters: list[Node]) -> str | None:
        """All parameters of one network, in torch's order."""
        network = network_of(parameters[0].name or "")
        if network not in self.stage.graph.networks:
            return None
        whole = [x.name for x in parameters] == registered([self.stage.graph], network)
        return f"list(self.{attribute(network)}.parameters())" if whole else None

    def _remark(self, node: Node) -> list[str]:
        """The loss as its author wrote it."""
        name = whole_loss(node.name or "")
        body = next((m.body for m in self.stage.graph.resolved.losses if m.name == name), None)
        side = (node.name or "").rpartition(".")[2]
        expr = body if isinstance(body, Expr) else getattr(body, side, None)
        line = f"        # {name}: {show(expr)}" if isinstance(expr, Expr) else ""
        return [line] if 0 < len(line) <= WIDTH else []

    def _several(self, node: Node, code: str, parts: dict[int, Node], wish: str, leaves: frozenset[int]) -> list[str]:
        """The parts of one call, and those by which an inner derivative is taken, apart."""
        lines = fit(f"{self._targets(node, parts, wish)} = {code}", 8)
        for part in parts.values():
            if id(part) in leaves:
                source = self.names[id(part)]
                variable = source if source.isidentifier() else self.fresh(part.name or "part")
                lines.append(f"        {variable} = {source}.detach().requires_grad_()")
                self.names[id(part)] = variable
        return lines

    def _targets(self, node: Node, parts: dict[int, Node], wish: str) -> str:
        """Variables for the parts of one call: their names, or one name for all."""
        count = node.fields["n"] if node.op == "chunk" else len(node.fields["module"].outputs)
        names = [parts[i].name if i in parts else None for i in range(count)]
        if any(names) and count <= 8:
            variables = [self.fresh(n) if n else "_" for n in names]
            self.names |= {id(part): variables[i] for i, part in parts.items()}
            return ", ".join(variables) if count > 1 else f"({variables[0]},)"
        variable = self.fresh(wish)
        self.names[id(node)] = variable
        self.names |= {id(part): f"{variable}[{i}]" for i, part in parts.items()}
        return variable

    def _leaf(self, node: Node, variable: str, leaves: frozenset[int]) -> list[str]:
        """The x of an inner derivative that nothing owned feeds."""
        return [f"        {variable} = {variable}.detach().requires_grad_()"] if id(node) in leaves else []

    def _output_name(self, node: Node) -> None:
        whole = node.args[0]
        if id(node) not in self.names and id(whole) in self.names:
            self.names[id(node)] = f"{self.names[id(whole)]}[{node.fields['index']}]"

    def _wish(self, node: Node) -> str:
        if node.name:
            return node.name.replace(".", "_")
        if id(node) in self.arguments:
            return self.arguments[id(node)]
        if node.op == "call":
            return f"{node.fields['network']}_out"
        return {"grad": "gradient", "chunk": "parts"}.get(node.op, "h")

    def _name_arguments(self) -> None:
        """Arguments of families are called after the loss and the parameter: `gan_y_real`."""
        for name, sided in self.stage.graph.sided.items():
            for parameter, value in sided.arguments.items():
                for i, node in enumerate(value if isinstance(value, tuple) else (value,)):
                    if isinstance(node, Node) and node.name is None:
                        number = f"_{i}" if isinstance(value, tuple) else ""
                        target = node.args[0] if node.op == "output" else node
                        self.arguments.setdefault(id(target), identifier(f"{name}_{parameter}{number}"))

    def scalar(self, node: Node) -> Code:
        """A loss or objective as one number."""
        inner = node.args[0] if node.op == "loss" else node
        code = self.code(inner)
        squeezed = inner.type.rank > 0 and inner.op != "dropped" and not code.plain().endswith((".mean()", ".sum()"))
        return code.at(ATOM) + ".squeeze()" if squeezed else code

    # --- leaves

    def leaf(self, node: Node) -> Code:
        name = node.name or ""
        if node.op == "constant":
            return text(f"self.{attribute(name)}")
        if node.op == "clock":
            return text(f"self.clocks[{literal(name)}]")
        if node.op == "state":
            return text(f"self.state[{literal(name)}]")
        if node.op == "latest":
            return text(f"self.last({literal(name)})")
        if node.op == "dropped":
            return text("0.0")
        if node.op == "loss":
            return self.scalar(node)
        if node.op == "replay":
            return (
                text(f"self.pools[{literal(node.fields['pool'])}](")
                + self.code(node.args[0])
                + f", {literal(node.fields['pool'])}, draws)"
            )
        if node.op == "p":
            return text("p")
        raise AssertionError(f"no text for {node.op} {node}")

    def _draw(self, node: Node) -> Code:
        f, name = node.fields, literal(node.name)
        sizes = [
            *([self.samples(node.type.samples.text)] if node.type.samples else []),
            *(text(str(n)) for n in node.type.shape),
        ]
        kind = f["kind"]
        if kind in ("normal", "uniform"):
            defaults = {"mean": 0, "std": 1, "low": 0, "high": 1}
            given = {k: f[k] for k in ("mean", "std", "low", "high") if k in f and f[k] != defaults[k]}
            return call(f"draws.{kind}", name, *sizes, **given)
        if kind == "bernoulli":
            return call("draws.bernoulli", name, literal(f["p"]), *sizes)
        if kind == "integer":
            return call("draws.integer", name, str(f["low"]), str(f["high"]), *sizes)
        return call(
            "draws.permutation",
            name,
            str(f["n"]) if "n" in f else self.samples(node.type.samples.text if node.type.samples else "N"),
        )

    def _parameter(self, node: Node) -> Code:
        network, path = parameter_path(self.stage.graph, node.name or "")
        if listed := self._of_layers(node, network):
            return listed
        parameters = f"self.{attribute(network)}.parameters()"
        return text(f"list({parameters})[{path}]" if path else f"next(iter({parameters}))")

    def _of_layers(self, node: Node, network: str) -> Code | None:
        """One of the weights of a network's layers, which stand in a list of the function that is being written."""
        for group in node.fields.get("groups", ()):
            networks, types, count = group
            if networks == (network,) and types and count > 1:
                if group not in self.lists:
                    kinds = ", ".join(f"nn.{kind}" for kind in types)
                    source = f"[layer.weight for layer in layers_of(self.{attribute(network)}, {kinds})]"
                    self.lists[group] = self.fresh(f"weights_{network}")
                    self.prologue += fit(f"{self.lists[group]} = {source}", 8)
                place = registered([self.stage.graph], network, types).index(node.name or "")
                return text(f"{self.lists[group]}[{place}]")
        return None

    def _add(self, node: Node) -> Code:
        """A sum; one over all weights of a network is a loop."""
        return self._over_weights(node) or self._binary(node)

    def _over_weights(self, node: Node) -> Code | None:
        terms, rest = [], node
        while rest.op == "add" and id(rest) not in self.names:
            terms.append(rest.args[1])
            rest = rest.args[0]
        terms.append(rest)
        parameters = [[n for n in walk([t]) if n.op == "parameter"] for t in terms]
        if len(terms) < 2 or any(len(p) != 1 for p in parameters):
            return None
        shared = set.intersection(*(set(p[0].fields.get("groups", {})) for p in parameters))
        group = next((g for g in shared if g[2] == len(terms) and len(g[0]) == 1), None)
        if group is None:
            return None
        (network,), types, _ = group
        target = f"self.{attribute(network)}"
        each, source = (
            ("layer.weight", f"layers_of({target}, {', '.join(f'nn.{t}' for t in types)})")
            if types
            else ("p", f"{target}.parameters()")
        )
        texts = set()
        for term, (parameter,) in zip(terms, parameters, strict=True):
            self.names[id(parameter)] = each
            texts.add(self.code(term).plain())
            del self.names[id(parameter)]
        return text(f"sum({texts.pop()} for {each.split('.')[0]} in {source})") if len(texts) == 1 else None

    def _grad(self, node: Node) -> Code:
        return self.derivative(node, self.code(node.args[1])) + "[0]"

    def derivative(self, node: Node, by: Code) -> Code:
        y = node.args[0]
        differentiable = self.evaluation is None or id(node) in self.evaluation.tracked
        inner = self.code(y, ATOM)
        summed = inner + ".sum()" if y.type.shape or y.type.samples else inner
        option = {"create_graph": True} if differentiable else {"retain_graph": True}
        return call("torch.autograd.grad", summed, by, **option)

    def zeros(self, node: Node) -> Code:
        return text(f"self.full({'0.0' if node.op == 'zeros' else '1.0'}, {', '.join(map(str, node.type.shape))})")

    def dtype(self) -> str:
        return "self.like.dtype"

    # --- calls

    def applied(self, node: Node) -> Code:
        arguments = call_arguments(self, node)
        if node.op == "apply":
            return self._in_place(node.fields["module"], arguments)
        network, view = node.fields["network"], dict(node.fields["view"])
        source = node.fields["source"]
        graph = self.stage.graph
        target = f"self.{attribute(network)}" if network == source else f"self.averages[{literal(network)}]"
        if self.drawing and network == source and "training" not in view:
            average = next((a.name for a in graph.averages.values() if a.source == source), None)
            target = f"self.averages[{literal(average)}]" if average else target
        method = self.stage.emitter.classes.method(node.fields["module"])
        if graph.networks[source].frozen and graph.networks[source].mode != "train" and "training" not in view:
            view.setdefault("training", False)
        if self.drawing and view.get("training") is False:  # as `sample` has it
            del view["training"]
        if view:
            target = view_text(target, view, method, self._given(node))
        elif method != "forward":
            target += f".{method}"
        if self.stage.emitter.classes.random(node.fields["module"]):
            arguments.append(
                text(f"draws.call({literal(network)}, {literal(self.owner.get(id(node), self.value_of))})")
            )
        return call(target, *arguments)

    def _given(self, node: Node) -> str:
        """The list of values in place of a network's parameters, in the order in which torch has these."""
        if "given" not in node.fields:
            return ""
        values = in_place(node)
        order = registered([self.stage.graph], node.fields["source"])
        return f"[{', '.join(self.code(values[name]).plain() for name in order)}]"

    def _in_place(self, module: Module, arguments: list[Code]) -> Code:
        """A layer or block that holds nothing: its function, else a module that is made where it stands."""
        classes, layer = self.stage.emitter.classes, module.layer
        if layer is None:
            return call(classes.constructed(Code((classes.place(module),))), *arguments)
        if layer.function is None:
            return call(classes.layer(module), *arguments)
        return call(f"F.{layer.function}", *arguments, *argument_codes(layer.construct(module.shape)))


@lru_cache(maxsize=8)
def call_places(graph: Graph) -> dict[int, str]:
    """Where each call of a network stands: in a named value, else in a loss, else in a phase."""
    found: dict[int, str] = {}

    def within(node: Node) -> list[Node]:
        return [a for a in node.args if not (a.name is not None and id(a) in graph.order) and a.op != "loss"]

    def collect(place: str, roots: list[Node]) -> None:
        for node in visit(roots, within):
            if node.op == "call":
                found.setdefault(id(node), place)

    groups: dict[str, list[Node]] = {}
    for name, value in graph.values.items():
        for node in leaves(value):
            groups.setdefault(_shared_name(graph, node, name), []).append(node)
    for name, nodes in groups.items():
        collect(name, nodes)
    sides: dict[str, list[Node]] = {}
    for name, node in graph.losses.items():
        sides.setdefault(whole_loss(name), []).extend(node.args)
    for name, nodes in sides.items():
        collect(name, nodes)
    for phase in graph.phases():
        collect(phase.name, [phase.objective, *([phase.when] if isinstance(phase.when, Node) else [])])
    for name, node in graph.shown.items():
        collect(name, [node])
    return found


def _shared_name(graph: Graph, node: Node, name: str) -> str:
    """The parts of one call (`mu, logvar: E(x)`) bear one name: the first."""
    if node.op != "output":
        return name
    for other, value in graph.values.items():
        if isinstance(value, Node) and value.op == "output" and value.args[0] is node.args[0]:
            return other
    return name


def parameter_path(graph: Graph, name: str) -> tuple[str, int]:
    """A parameter by its name in the spec: its network, and its place among the parameters of that network's module."""
    for network in graph.networks:
        if name.startswith(f"{network}."):
            names = registered([graph], network)
            if name in names:
                return network, names.index(name)
    raise AssertionError(name)


def registered(graphs: tuple[Graph, ...] | list[Graph], network: str, types: tuple[str, ...] = ()) -> list[str]:
    """The parameters of a network's module as torch registers them, contained networks in place, each once.

    With types of layers, the weights of these.
    """
    found: dict[str, None] = {}

    def visit(name: str, module: Any, prefix: str) -> None:
        for part in module.parts:
            if isinstance(part, str):
                for inner in registered(graphs, part, types):
                    found[inner] = None
                continue
            path = ".".join(filter(None, (prefix, part.path)))
            if part.layer is None:
                visit(name, part, path)
                continue
            for parameter in part.parameters():
                if not types or (part.title in types and parameter == "weight"):
                    found[".".join(filter(None, (name, path, parameter)))] = None

    for module in dict.fromkeys(graphs[0].networks[network].variants.values()):
        visit(network, module, "")
    return list(found)
