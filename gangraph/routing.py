"""Graph -> Routing: for every phase, which parameters its gradient reaches, and which values must carry one.

Ownership is all there is: a phase differentiates its objective by its own networks' parameters. This walk says in
advance what `torch.autograd.grad(..., allow_unused=True)` will give a tensor for: a gradient passes an operator to
its arguments unless a `stop` (or an integer, or a comparison) cuts it; the derivative of a layer does not read its
bias, that of an activation reads its input.
"""

from __future__ import annotations

from collections.abc import Iterable

from gangraph import ops
from gangraph.frozen import frozen
from gangraph.graph import Graph, Phase
from gangraph.ir import Module, Node, visit, walk
from gangraph.templates import join

Found = tuple[frozenset[str], frozenset[int]]  # parameters by name, and ids of the leaves that are reached
Names = frozenset[str]  # of parameters


@frozen
class Route:
    """One phase: the parameters that it may train, those that its objective reaches, and the values with a gradient."""

    phase: str
    owned: tuple[str, ...]
    reached: tuple[str, ...]
    live: frozenset[int]  # ids of nodes that an owned parameter feeds

    @property
    def missed(self) -> tuple[str, ...]:
        return tuple(p for p in self.owned if p not in set(self.reached))


@frozen
class Routing:
    """Where every gradient goes, phase by phase."""

    graph: Graph
    routes: dict[str, Route]

    def __str__(self) -> str:
        lines = [f"stage {self.graph.resolved.stage}"] if self.graph.resolved.stage else []
        for name, route in self.routes.items():
            phase = next(p for p in self.graph.phases() if p.name == name)
            lines.append(f"{name}: {phase.player} minimizes {phase.text}")
            for network in phase.networks:
                inside = [p for p in route.owned if p.startswith(f"{network}.")]
                hit = [p for p in route.reached if p.startswith(f"{network}.")]
                lines.append(f"  {network}: reaches {len(hit)} of {len(inside)} parameters")
        return "\n".join(lines)


def route_gradients(graph: Graph) -> Routing:
    """The route of every phase of a stage."""
    reach = Reach(graph)
    return Routing(graph, {phase.name: _route(reach, phase) for phase in graph.phases()})


def _route(reach: Reach, phase: Phase) -> Route:
    owned = tuple(reach.graph.parameters(phase.networks))
    reached = reach.parameters([phase.objective])
    return Route(phase.name, owned, tuple(p for p in owned if p in reached), reach.live([phase.objective], set(owned)))


class Reach:
    """Walks gradients backward through a graph and the bodies of its networks; each body once for each use.

    What one of the `stops`, operators by name, makes is a leaf.
    """

    def __init__(self, graph: Graph, stops: frozenset[str] = frozenset()):
        self.graph, self.stops = graph, stops
        self._bodies: dict[tuple[int, tuple[int, ...], str], Found] = {}
        self._seconds: dict[tuple[int, tuple[int, ...], frozenset[int], str, Names], Found] = {}
        self._owners: dict[str, frozenset[str]] = {}  # network -> its parameters, those of networks inside included

    def parameters(self, roots: list[Node]) -> frozenset[str]:
        return self.walk(roots, "")[0]

    # --- first derivatives

    def walk(self, roots: Iterable[Node], prefix: str) -> Found:
        """Parameters and leaves that a gradient from the roots reaches, in one body (or at the level of the spec)."""
        parameters: set[str] = set()
        leaves: set[int] = set()
        seen: set[int] = set()
        wanted: dict[int, set[int]] = {}  # calls with several outputs: those that are read
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node.op == "output":
                whole, index = node.args[0], node.fields["index"]
                got = wanted.setdefault(id(whole), set())
                if index not in got:
                    got.add(index)
                    if whole.op == "chunk":
                        stack.extend(whole.args)
                    else:
                        self._through(whole, (index,), prefix, parameters, stack)
                continue
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.op in ("input", "draw", "state", "p") or node.op in self.stops:
                leaves.add(id(node))
            elif node.op == "parameter":
                parameters.add(node.name or "")
            elif node.op in ("call", "apply"):
                self._through(node, (0,), prefix, parameters, stack)
            elif node.op == "grad":
                more, read = self._grad(node, prefix)
                parameters |= more
                stack += read
            else:
                stack += passing(node)
            if node.name is not None and node.op != "parameter":
                leaves.add(id(node))
        return frozenset(parameters), frozenset(leaves)

    def _through(
        self, node: Node, outputs: tuple[int, ...], prefix: str, parameters: set[str], stack: list[Node]
    ) -> None:
        found, read = self.body(node, outputs, prefix)
        if node.op != "call" or _uses_own(node):
            parameters |= found
        stack += [a for i, a in enumerate(node.args) if i in read and differentiable(a)]
        if "given" in node.fields:
            stack += given(node, found)

    def body(self, node: Node, outputs: tuple[int, ...], prefix: str) -> tuple[frozenset[str], set[int]]:
        """What a gradient at some outputs of a call reaches: parameters, and inputs by position."""
        module: Module = node.fields["module"]
        inner = node.fields["source"] if node.op == "call" else join(prefix, module.path)
        if module.layer is not None:
            names = frozenset(join(inner, p) for p in module.parameters())
            return names, set() if module.layer.integers else set(range(len(node.args)))
        entry = node.fields["view"].get("entry") if node.op == "call" else None
        roots = [labelled(module, entry)] if entry else [module.outputs[i] for i in outputs]
        key = (id(module), (-1,) if entry else outputs, inner + (entry or ""))
        if key not in self._bodies:
            self._bodies[key] = self.walk(roots, inner)
        found, leaves = self._bodies[key]
        return found, {i for i, e in enumerate(module.inputs) if id(e) in leaves}

    # --- derivatives of derivatives

    def _grad(self, node: Node, prefix: str) -> tuple[frozenset[str], list[Node]]:
        y, x = node.args
        return self.second([y], frozenset({id(x)}), prefix, by(x))

    def second(
        self, roots: list[Node], xs: frozenset[int], prefix: str, names: Names
    ) -> tuple[frozenset[str], list[Node]]:
        """What the derivative of the roots by the xs (or parameters) reads: parameters, and nodes of the same body."""
        path = self.depending(roots, xs, names, prefix)
        parameters: set[str] = set()
        read: list[Node] = []
        for node in path.values():
            if id(node) in xs:
                continue
            if node.op in ("call", "apply"):
                found, inputs = self._second_body(node, path, xs, prefix, names)
                if node.op != "call" or _uses_own(node):
                    parameters |= found
                read += [node.args[i] for i in inputs]
                if "given" in node.fields:
                    read += given(node, found)
                    if any(id(a) in path or id(a) in xs for a in given(node)):  # what it multiplies
                        read += node.args
            elif node.op == "grad":
                read += list(node.args)
            elif node.op in ("mul", "matmul", "convolve"):
                for i, argument in enumerate(node.args):
                    if id(argument) in path:
                        read += [a for j, a in enumerate(node.args) if j != i]
            elif node.op == "div":
                read += [node.args[1]] + ([node.args[0]] if id(node.args[1]) in path else [])
            elif node.op == "lerp":
                read += [node.args[2]] + (list(node.args[:2]) if id(node.args[2]) in path else [])
            elif not _affine(node):
                read += list(node.args)
        return frozenset(parameters), [n for n in read if differentiable(n)]

    def _second_body(
        self, node: Node, path: dict[int, Node], xs: frozenset[int], prefix: str, names: Names
    ) -> tuple[frozenset[str], set[int]]:
        module: Module = node.fields["module"]
        inner = node.fields["source"] if node.op == "call" else join(prefix, module.path)
        names = names & self._held(node, prefix) if names else names
        if module.layer is not None:
            layer = module.layer
            factors = {join(inner, n) for n in module.parameters() if n != "bias"}
            by_input = any(id(a) in path or id(a) in xs for a in node.args)
            by_factor = not names.isdisjoint(factors)
            bent = not layer.linear or bool(by_factor and module.wrappers)  # reads its own parameters and inputs again
            read = factors if bent or (by_input and layer.weighted) else set()
            return frozenset(read), set(range(len(node.args))) if bent or by_factor else set()
        entries = zip(module.inputs, node.args, strict=False)  # behind them stands what is given for its parameters
        inputs = frozenset(id(e) for e, a in entries if id(a) in path or id(a) in xs)
        entry = node.fields["view"].get("entry") if node.op == "call" else None
        roots = [labelled(module, entry)] if entry else module.outputs
        key = (id(module), (-1,) if entry else (), inputs, inner, names)
        if key not in self._seconds:
            parameters, nodes = self.second(roots, inputs, inner, names)
            more, leaves = self.walk(nodes, inner)
            self._seconds[key] = (parameters | more, leaves)
        found, leaves = self._seconds[key]
        return found, {i for i, e in enumerate(module.inputs) if id(e) in leaves}

    def depending(
        self, roots: list[Node], xs: frozenset[int], names: Names = frozenset(), prefix: str = ""
    ) -> dict[int, Node]:
        """The nodes between the xs and the roots: those that the xs, or parameters by name, feed with a gradient."""
        below = walk(roots)
        holders = {id(n) for n in below if not names.isdisjoint(self._held(n, prefix))} if names else set()
        fed = self._coloured(below, xs | holders)
        return {id(n): n for n in below if id(n) in fed}

    def _held(self, node: Node, prefix: str) -> Names:
        """The parameters that a call or a layer uses as its own."""
        if node.op != "apply" and not (node.op == "call" and _uses_own(node)):
            return frozenset()
        outputs = tuple(range(len(node.fields["module"].outputs)))
        return self.body(node, outputs, prefix)[0]

    def live(self, roots: list[Node], owned: set[str]) -> frozenset[int]:
        """Nodes between owned parameters and the roots: fed by one, and on the way of a gradient."""
        below = walk(roots)
        owners = {id(n) for n in below if n.op in ("parameter", "call") and self._owns(n, owned)}
        needed = {id(root) for root in roots}
        for node in reversed(below):
            if id(node) in needed:
                needed.update(map(id, passing(node)))
        return frozenset(self._coloured(below, owners) & needed)

    def _owns(self, node: Node, owned: set[str]) -> bool:
        if node.op == "parameter":
            return node.name in owned
        if node.op != "call" or not _uses_own(node):
            return False
        source = node.fields["source"]
        if source not in self._owners:
            self._owners[source] = frozenset(self.graph.parameters([source]))
        return not owned.isdisjoint(self._owners[source])

    def _coloured(self, below: list[Node], seeds: set[int] | frozenset[int]) -> set[int]:
        """Ids of the nodes that a seed feeds through arguments that pass a gradient; arguments stand before nodes."""
        found = set(seeds)
        for node in below:
            key = id(node)
            if key not in found and not found.isdisjoint(map(id, passing(node))):
                found.add(key)
        return found


def by(x: Node) -> Names:
    """The name of what is differentiated by, if it is a parameter."""
    return frozenset({x.name}) if x.op == "parameter" and x.name else frozenset()


def _uses_own(call: Node) -> bool:
    """Whether a call reads the parameters of its network itself: not as constants, and not those of an average."""
    return not call.fields["view"].get("frozen") and call.fields["source"] == call.fields["network"]


def given(node: Node, names: Names | None = None) -> list[Node]:
    """The values that stand in place of a network's parameters in a call, or of some of them."""
    return [v for n, v in in_place(node).items() if (names is None or n in names) and differentiable(v)]


def in_place(call: Node) -> dict[str, Node]:
    """What stands in place of a network's parameters in a call, by the names of these."""
    names = call.fields.get("given", ())
    return dict(zip(names, call.args[len(call.args) - len(names) :], strict=True))


def passing(node: Node) -> tuple[Node, ...]:
    """The arguments to which a gradient at a node passes; of a call, all that could pass one on."""
    if node.passes is None:
        node.passes = _passing(node)
    return node.passes


def _passing(node: Node) -> tuple[Node, ...]:
    if node.op in ("replay", "dropped"):
        return ()
    operator = ops.OPERATORS.get(node.op)
    blocked = operator.blocked if operator else ()
    if node.op == "select":
        blocked = (len(node.args) - 1,)
    if node.op in ("call", "apply"):
        blocked = _cut(node.fields["module"], (node.fields.get("view") or {}).get("entry"))
    if not blocked and all(map(differentiable, node.args)):
        return node.args
    return tuple(a for i, a in enumerate(node.args) if i not in blocked and differentiable(a))


def _cut(module: Module, entry: str | None) -> tuple[int, ...]:
    """The inputs of a body to which no gradient passes from its outputs, or from the label at which a call ends."""
    if entry not in module.cut:
        roots = [labelled(module, entry)] if entry else module.outputs
        read = {id(node) for node in visit(roots, passing)}
        module.cut[entry] = tuple(i for i, node in enumerate(module.inputs) if id(node) not in read)
    return module.cut[entry]


def differentiable(node: Node) -> bool:
    return node.type.dtype == "float" and not node.type.host


def _affine(node: Node) -> bool:
    operator = ops.OPERATORS.get(node.op)
    if operator is None:
        return node.op in ("slice", "chunk", "output", "alias", "loss", "spread")
    return operator.affine


def labelled(module: Module, path: str) -> Node:
    """The node behind a label; labels inside inner blocks are paths."""
    if path in module.labels:
        return module.labels[path]
    for child in module.children:
        if child.layer is None and path.startswith(f"{child.path}."):
            return labelled(child, path[len(child.path) + 1 :])
    raise AssertionError(f"{module.title} has no label {path}")
