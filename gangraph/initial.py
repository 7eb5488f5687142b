"""`init` -> rules: which layers' weights and biases begin how, from the general pattern to the special one."""

from __future__ import annotations

from gangraph.code import literal
from gangraph.errors import Fact, nearest
from gangraph.evaluate import placed
from gangraph.expressions import Expr
from gangraph.graph import Graph
from gangraph.infer import known
from gangraph.layers import LAYERS
from gangraph.templates import Init

WEIGHTED = tuple(name for name, layer in LAYERS.items() if layer.weighted)


def rules(graph: Graph) -> list[tuple[str, str, Init]]:
    """(modules, parameter, initializer) in the order in which they apply; the text of the modules reads `networks`."""
    found = []
    for key, expr in graph.resolved.spec.file.init.items():
        found += [
            (rank, target, parameter, evaluated(graph, expr)) for rank, target, parameter in _targets(graph, str(key))
        ]
    found.sort(key=lambda item: item[0])
    return [(target, parameter, init) for _, target, parameter, init in found]


def check_init(graph: Graph) -> list[tuple[str, Fact]]:
    """Patterns of `init` that mean nothing, with what is wrong."""
    wrong = []
    for key, expr in graph.resolved.spec.file.init.items():
        try:
            targets = _targets(graph, str(key))
            evaluated(graph, expr)
            if not targets:
                raise Fact(f"no layer of the networks is meant by '{key}'")
        except Fact as fact:
            wrong.append((str(key), placed(fact, getattr(key, "place", expr.at))))
    return wrong


def evaluated(graph: Graph, expr: Expr) -> Init:
    value = known(graph.resolved, expr)
    if not isinstance(value, Init):
        raise placed(
            Fact(f"{expr} is not an initializer", "as in normal(0, 0.02), zeros(), xavier_normal(gain=0.02)"), expr.at
        )
    return value


def _targets(graph: Graph, key: str) -> list[tuple[int, str, str]]:
    """What a pattern means: its rank, the modules as text, and the parameter."""
    head, _, parameter = key.rpartition(".")
    if parameter not in ("weight", "bias"):
        help = "a pattern ends in weight or bias: weight, Conv2d.weight, D.bias, D.LAYER.weight"
        raise Fact(f"'{key}' means no parameter", help)
    kinds = _kinds(graph, list(graph.networks))
    weighted = [k for k in WEIGHTED if k in kinds]
    if not head:
        return [(0, f"layers_of(networks, {_classes(weighted)})", parameter)] if weighted else []
    if head in LAYERS:
        return [(1, f"layers_of(networks, {_classes([head])})", parameter)] if head in kinds else []
    family = graph.resolved.families.get(head)
    names = list(family.values()) if family else [head]
    if all(n in graph.networks for n in names):
        found = []
        for name in names:
            own = [k for k in WEIGHTED if k in _kinds(graph, graph.contained(name))]
            if own:
                found.append((2, f"layers_of(networks[{literal(name)}], {_classes(own)})", parameter))
        return found
    for name, network in graph.networks.items():
        if head.startswith(f"{name}."):
            inner = head[len(name) + 1 :]
            if network.module and any(
                path == inner or path.startswith(f"{inner}.") for path, _ in network.module.layers()
            ):
                return _layer_targets(graph, name, inner, parameter)
    known = [*graph.networks, *graph.resolved.families, *LAYERS]
    raise Fact(f"'{head}' is neither a network, nor one of its layers, nor a type of layers", nearest(head, known))


def _layer_targets(graph: Graph, name: str, inner: str, parameter: str) -> list[tuple[int, str, str]]:
    """Layers of a network by their path: counted among those of the same kinds."""
    kinds = [k for k in WEIGHTED if k in _kinds(graph, [name])]
    layers = [(path, m) for path, m in graph.networks[name].module.layers() if m.title in kinds]
    numbers = [i for i, (path, _) in enumerate(layers) if path == inner or path.startswith(f"{inner}.")]
    return [
        (3, f"list(layers_of(networks[{literal(name)}], {_classes(kinds)}))[{i} : {i + 1}]", parameter) for i in numbers
    ]


def _kinds(graph: Graph, networks: list[str]) -> set[str]:
    found = set()
    for name in networks:
        for module in graph.networks[name].variants.values():
            found |= {m.title for _, m in module.layers()}
    return found


def _classes(names: list[str]) -> str:
    return ", ".join(f"nn.{n}" for n in names)
