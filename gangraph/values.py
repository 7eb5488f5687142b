"""Declarations -> nodes: each name of a stage has its value at first use, and is wrong once.

Names that are wrong silence what reads them, so that all problems of a stage are found in one run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gangraph import ops
from gangraph.errors import Fact, Place, Problem, nearest
from gangraph.evaluate import Silent
from gangraph.expand import Expander
from gangraph.expressions import Attribute, Call, Expr, Name, show
from gangraph.families import SIDES, Member
from gangraph.graph import State, network_of
from gangraph.ir import HOST, Length, Network, Node, Type
from gangraph.layers import LAYERS
from gangraph.resolve import Resolved
from gangraph.spec import Chain, GivenNetwork, GraphNetwork, StateSpec, TwoSides
from gangraph.templates import (
    MISSING,
    BlockTemplate,
    Named,
    Scope,
    Template,
    Thunk,
    TwoSided,
    View,
    Where,
    join,
    same,
)

_WRONG = object()


class _Path:
    """`D.mix` on the way to `D.mix.weight`."""

    def __init__(self, network: str, path: str):
        self.network, self.path = network, path


def place_of(name: Any, resolved: Resolved) -> Place:
    return getattr(name, "place", resolved.spec.place)


class Values(Expander):
    """What stands under names: constants, inputs, draws, state, networks, values and losses of one stage."""

    beginning = False  # under `init`

    def __init__(self, resolved: Resolved, networks: dict[str, Network]):
        self.resolved, self.networks, self.library = resolved, networks, resolved.library
        self.file, self.sources = resolved.spec.file, resolved.spec.sources
        self.problems: list[Problem] = []
        self.expanding: list[str] = []
        self.names: dict[str, Any] = {}
        self.top = Scope({}, index=dict(resolved.bound))
        self.symbols = {v for values in resolved.index.values() for v in values if isinstance(v, str)}
        self.definitions: dict[str, Thunk] = {}
        self.constants: dict[str, Node] = {}
        self.states: dict[str, State] = {}
        self.sided: dict[str, TwoSided] = {}
        self.losses: dict[str, Node] = {}
        self.order: dict[int, int] = {}
        self.clocks: dict[str, Node] = {}
        self.composed: dict[str, bool] = {}
        self.parameter_nodes: dict[str, Node] = {}
        self.declared = [name for name, word in self.library.own.items() if word.kind == "layers"]

    # --- names

    def spec_name(self, name: str, scope: Scope, at: Place) -> Any:
        found = self.names.get(name, MISSING)
        if found is not MISSING:
            return self.force(found, name)
        family = self.resolved.families.get(name)
        if family is not None:
            return tuple(self.spec_name(member, scope, at) for member in family.values())
        if name in ops.CLOCKS:
            if name == "stage":
                return self.resolved.stage_index
            if name not in self.clocks:
                self.clocks[name] = Node("clock", (), HOST, at, name=name)
            return self.clocks[name]
        return MISSING

    def spec_family(self, name: str) -> dict[tuple[Any, ...], str] | None:
        return self.resolved.families.get(name)

    def index_symbols(self) -> set[str]:
        return self.symbols

    def spec_index(self) -> dict[str, tuple[Any, ...]]:
        return dict(self.resolved.index)

    def batch_length(self) -> Length:
        return self.resolved.batch

    def unknown(self, name: str, scope: Scope) -> Fact:
        if scope.inside and (name in self.names or name in self.resolved.families):
            return Fact(f"a block or function does not see the spec's {name}", "give it as a parameter or an input")
        if name in self.resolved.spec.sources.removed:
            return Fact(f"nothing is called '{name}' here", f"{self.resolved.spec.sources.removed[name]} removes it")
        if len(self.problems) > 50:  # likenesses among many names take their time, and nobody reads so many
            return Fact(f"nothing is called '{name}' here")
        return super().unknown(name, scope)

    def known_names(self, scope: Scope) -> list[str]:
        own = [] if scope.inside else [*self.names, *self.resolved.families, *ops.CLOCKS, *scope.index]
        return [*super().known_names(scope), *own]

    def force(self, found: Any, name: str) -> Any:
        if isinstance(found, Thunk) and found.value is _WRONG:
            raise Silent
        return super().force(found, name)

    def problem(self, fact: Fact, path: str, place: Place) -> None:
        place = fact.place or place
        path = fact.path or path
        self.problems.append(self.sources.problem(place, path, fact, fact.trail))

    def attempt(self, path: str, place: Place, make: Callable[[], Any]) -> Any:
        """What `make` gives, or MISSING with the problem noted."""
        try:
            return make()
        except Fact as fact:
            self.problem(fact, path, place)
        except Silent:
            pass
        return MISSING

    def declare(self, name: str, path: str, place: Place, make: Callable[[], Any]) -> None:
        """A name whose value is made at first use; once wrong, whatever reads it keeps silent."""

        def guarded() -> Any:
            value = self.attempt(path, place, make)
            if value is MISSING:
                thunk.value = _WRONG
                raise Silent
            return value

        thunk = Thunk(guarded)
        self.names[name] = thunk

    # --- the walk

    def _forced(self, name: str) -> Any:
        try:
            return self.force(self.names[name], name)
        except Silent:
            return MISSING

    def _declare_all(self, section: str, members: tuple[Member, ...], make: Callable[[Member], Any]) -> list[str]:
        found = []
        for member in members:
            if len(member.names) == 1:
                self.declare(member.name, f"{section}.{member.name}", member.place, partial(make, member))
                found.append(member.name)
                continue
            whole = Thunk(partial(self._made_several, member, make))
            for i, name in enumerate(member.names):
                path = f"{section}.{', '.join(member.names)}"
                self.declare(name, path, member.place, partial(self._named_part, whole, name, i))
                found.append(name)
        return found

    def _made_several(self, member: Member, make: Callable[[Member], Any]) -> tuple[Any, ...]:
        return self.several(member.names, make(member))

    def _named_part(self, whole: Thunk, name: str, i: int) -> Any:
        return self._name_node(self._part(whole, name, i), name)

    def _part(self, whole: Thunk, name: str, i: int) -> Any:
        if whole.value is _WRONG:
            raise Silent
        try:
            return self.force(whole, name)[i]
        except Fact:
            whole.value = _WRONG
            raise

    def scope(self, bound: dict[str, Any] | None = None, frame: dict[str, Any] | None = None) -> Scope:
        """The spec's own names, with indices bound, and other names in front of them."""
        return Scope(frame or {}, self.top, index=self.top.index | (bound or {}), where=Where(None))

    # --- declarations

    def _constant(self, name: str, expr: Expr) -> Any:
        value = self.value(expr, self.scope())
        if isinstance(value, str | tuple | bool) or value is None:
            return value
        node = self.node(value)
        if not node.type.host:
            raise Fact(f"a constant is a number, not {node.type}", "a value goes under graph").at(expr.at)
        made = Node("constant", (), HOST, expr.at, {"definition": node}, name=name, value=node.value)
        self.constants[name] = made
        return made

    def _typed(self, member: Member, words: tuple[str, ...], what: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        expr = member.body
        if not isinstance(expr, Call) or not isinstance(expr.function, Name) or expr.function.id not in words:
            hint = (
                nearest(expr.function.id, words) if isinstance(expr, Call) and isinstance(expr.function, Name) else None
            )
            raise Fact(f"{what} is one of {', '.join(words)}, not {show(expr)}", hint).at(expr.at)
        arguments, keywords = self.arguments(expr, self.scope(member.bound))
        return expr.function.id, arguments, keywords

    def _input(self, member: Member) -> Node:
        kind, arguments, keywords = self._typed(member, ops.INPUT_TYPES, "an input")
        signatures = {
            "image": "C, H, W",
            "vector": "n",
            "label": "K",
            "labels": "K, *shape",
            "tensor": "*shape",
            "mask": "*shape",
        }
        samples = self._samples(keywords.pop("samples", None))
        range_ = keywords.pop("range", None)
        if keywords:
            raise Fact(
                f"{kind} has no argument '{next(iter(keywords))}'", f"{kind}({signatures[kind]}, range=, samples=)"
            ).at(member.body.at)
        sizes = [ops.integer(a, f"a size of {kind}", 1) for a in arguments]
        fixed = {"image": 3, "vector": 1, "label": 1}.get(kind)
        if (fixed is not None and len(sizes) != fixed) or (not sizes and kind != "tensor"):
            raise Fact(f"{kind} takes {signatures[kind]}, not {len(sizes)} sizes").at(member.body.at)
        stream = next(s for s, names in self.resolved.streams.items() if member.name in names)
        classes = sizes[0] if kind in ("label", "labels") else None
        shape = tuple(sizes[1:] if classes else sizes)
        bounds = self._range(range_, kind)
        type_ = Type(
            shape, samples, "int" if classes else "float", classes, bounds, stream if stream != "data" else None
        )
        node = Node("input", (), type_, member.place, {"kind": kind, "stream": stream}, name=member.name)
        self._name_node(node, member.name)
        return node

    def _range(self, given: Any, kind: str) -> tuple[float, float] | None:
        if given is None:
            return {"image": (-1.0, 1.0), "mask": (0.0, 1.0)}.get(kind)
        if not isinstance(given, tuple) or len(given) != 2:
            raise Fact("range is [low, high]")
        low, high = (float(ops.static_number(v, "a bound of range")) for v in given)
        if low >= high:
            raise Fact(f"range=[{low:g}, {high:g}]: the first is the lower one")
        return low, high

    def _samples(self, given: Any) -> Length:
        if given is None:
            return self.resolved.batch
        if isinstance(given, int) and not isinstance(given, bool) and given > 0:
            return Length(str(given), (given,) * 3)
        if not isinstance(given, Length):
            raise Fact("samples is a number of samples, like 2 * N")
        if min(given.values) < 1:
            raise Fact(f"samples={given} is {given.now} for a batch of {self.resolved.batch.now}")
        return given

    def _draw(self, member: Member) -> Node:
        kind, arguments, keywords = self._typed(member, ops.DRAW_TYPES, "a draw")
        at = member.body.at
        shared = keywords.pop("shared", False)
        samples = keywords.pop("samples", None)
        if not isinstance(shared, bool):
            raise Fact("shared is True or False").at(at)
        if shared and samples is not None:
            raise Fact("a shared draw has no samples").at(at)
        length = None if shared else self._samples(samples)
        defaults = {"normal": {"mean": 0, "std": 1}, "uniform": {"low": 0, "high": 1}}.get(kind, {})
        fields: dict[str, Any] = {"kind": kind}
        for name in list(keywords):
            if name not in defaults:
                raise Fact(
                    f"{kind} has no argument '{name}'",
                    ", ".join([*defaults, "shared", "samples"]) + " go by keyword",
                ).at(at)
        fields |= {k: ops.static_number(keywords.get(k, v), k) for k, v in defaults.items()}
        dtype, classes, bounds = "float", None, None
        if kind == "bernoulli":
            if not arguments:
                raise Fact("bernoulli takes its probability first").at(at)
            fields["p"] = ops.static_number(arguments[0], "the probability")
            if not 0 <= fields["p"] <= 1:
                raise Fact(f"a probability lies in [0, 1], not {fields['p']}").at(at)
            arguments, bounds = arguments[1:], (0.0, 1.0)
        elif kind == "integer":
            if len(arguments) < 2:
                raise Fact("integer takes low and high, and high is not drawn").at(at)
            fields["low"], fields["high"] = (ops.integer(a, "a bound", None) for a in arguments[:2])
            if fields["low"] >= fields["high"]:
                help = "high is not drawn"
                raise Fact(f"integer({fields['low']}, {fields['high']}) has nothing to draw", help).at(at)
            arguments, dtype = arguments[2:], "int"
            if fields["low"] < 0:
                bounds = (fields["low"], fields["high"] - 1)
            else:
                classes = fields["high"]
        elif kind == "permutation":
            dtype = "int"
            if arguments:
                fields["n"], length = ops.integer(arguments[0], "the count", 1), None
                arguments = (fields["n"],)
        elif kind == "uniform":
            if fields["low"] >= fields["high"]:
                raise Fact(f"uniform from {fields['low']:g} to {fields['high']:g}: the first is the lower one").at(at)
            bounds = (float(fields["low"]), float(fields["high"]))
        elif kind == "normal" and fields["std"] < 0:
            raise Fact("std is at least 0").at(at)
        try:
            shape = tuple(ops.integer(a, f"a size of {kind}", 1) for a in arguments)
        except Fact as fact:
            named = [field for field in ("mean", "std", "low", "high") if field in fields]
            fact.help = fact.help or (f"sizes stand first, and {' and '.join(named)} by name" if named else None)
            raise
        type_ = Type(shape, length, dtype, classes, bounds)
        node = Node("draw", (), type_, member.place, fields, name=member.name)
        self._name_node(node, member.name)
        return node

    def _state(self, name: str, state: StateSpec) -> Node:
        start = self.value(state.start, self.scope())
        if isinstance(start, int | float) and not isinstance(start, bool):
            type_ = HOST
        else:
            node = ops.node_of(self._hosted(start), "a start")
            if node.op not in ("zeros", "ones") and not node.type.host:
                raise Fact("a state starts as a number, zeros(...) or ones(...)").at(state.start.at)
            type_ = node.type
        made = Node("state", (), type_, state.start.at, name=name)
        self.states[name] = State(name, made, start, None, {})
        return made

    def _network(self, member: Member) -> None:
        name = member.name
        self.names[name] = Named(name)
        body = member.body
        given = isinstance(body, GivenNetwork)
        if name not in self.networks:
            mode = body.mode if given else None
            self.networks[name] = Network(
                name, member.place, given and body.frozen, mode, given and body.weights == "external"
            )

        def make() -> Any:
            inner = body.definition if given else body
            scope = self.scope(member.bound)
            if isinstance(inner, Chain | GraphNetwork):
                self.composed[name] = True
                return BlockTemplate(name, inner, scope)
            made = self.value(inner, scope)
            if isinstance(made, Named | View):
                raise Fact(
                    f"{name} would be {made}, which has a name already",
                    "use that name, or give the definition again",
                ).at(inner.at)
            if not isinstance(made, Template):
                raise Fact(f"{name} is not a network", "as in Conv2d(64, 3), a block, or a list of layers").at(inner.at)
            network = self.networks[name]
            network.template = network.template or made
            if not same(network.template, made):
                raise Fact(
                    f"{name} would be another network than in the stages before",
                    "compose it (a list or a graph) of networks that stay, or give it another name",
                ).at(inner.at)
            return made

        thunk = Thunk(MISSING)

        def guarded() -> Any:
            try:
                return make()
            except Fact as fact:
                self.problem(fact, f"networks.{name}", member.place)
                thunk.value = _WRONG
                raise Silent from None

        thunk.make = guarded
        self.definitions[name] = thunk

    def definition(self, name: str) -> Any:
        found = self.definitions.get(name)
        if found is None:
            raise Fact(f"nothing is called '{name}' here")
        return self.force(found, name)

    def variant_key(self, name: str) -> Any:
        return self.resolved.stage_index if name in self.composed and self.networks[name] else None

    def _graph_value(self, member: Member) -> Any:
        body = member.body
        single = len(member.names) == 1
        with self.having(dropping=False):
            if isinstance(body, Call) and isinstance(body.function, Name) and body.function.id == "replay":
                result = self._replay(member.name, body, member.bound)
            else:
                result = self._expr_or_chain(body, member.bound)
        if isinstance(result, Template | Named | View):
            raise Fact("this is a network that nothing runs through", "apply it: (...)(value)").at(body.at)
        if isinstance(result, TwoSided):
            raise Fact("a two-sided loss goes under losses").at(body.at)
        return self._name_node(result, member.name) if single else result

    def _expr_or_chain(self, body: Any, bound: dict[str, Any]) -> Any:
        if isinstance(body, Chain):
            return self.chain(body, None, self.scope(bound), Where(None))
        return self.value(body, self.scope(bound))

    def _name_node(self, value: Any, name: str) -> Any:
        """Gives a value its name; a bare name for another one is a node of its own."""
        if isinstance(value, tuple):
            for i, item in enumerate(value):
                if isinstance(item, Node) and item.name is None and not item.type.host:
                    self._name_node(item, f"{name}[{i}]")
            return value
        if isinstance(value, int | float | Length):
            value = self._hosted(value)
        if isinstance(value, Node):
            if value.name is not None and value.name != name:
                value = Node("alias", (value,), value.type, value.at)
            value.name = name
            self.order[id(value)] = len(self.order)
            return value
        raise Fact(f"{name} is not a value")

    def _replay(self, name: str, expr: Call, bound: dict[str, Any]) -> Node:
        given = self.arguments_of("replay", expr, self.scope(bound))
        node = ops.tensor_of(given["v"])
        if node.type.samples is None:
            raise Fact("a pool keeps samples, and this value is shared by all of them").at(expr.at)
        if given["per"] != "sample":
            raise Fact(f'per="{given["per"]}" is not known', 'a pool works per="sample"').at(expr.at)
        swap = ops.static_number(given["swap"], "swap")
        if not 0 <= swap <= 1:
            raise Fact(f"swap is a probability, not {swap}").at(expr.at)
        fields = {"size": ops.integer(given["size"], "the pool's size"), "swap": swap, "pool": name}
        return Node("replay", (node,), node.type, expr.at, fields)

    def _do_replay(self, expr: Call, scope: Scope) -> Any:
        raise Fact("a pool lives under a name of its own", "write `NAME: replay(...)` under graph")

    # --- parameters in expressions

    def _do_weights(self, expr: Call, scope: Scope) -> Any:
        if not expr.arguments or expr.keywords:
            raise Fact("weights(N, Conv2d, Linear) takes a network and types of layers")
        network = self.value(expr.arguments[0], scope)
        types = [a.id if isinstance(a, Name) else "" for a in expr.arguments[1:]]
        for word, argument in zip(types, expr.arguments[1:], strict=True):
            if word not in LAYERS and word not in self.declared:
                known = [*LAYERS, *self.declared]
                raise Fact(f"{argument} is not a type of layers", nearest(word, known)).at(argument.at)
        names = [n.name for n in (network if isinstance(network, tuple) else (network,)) if isinstance(n, Named)]
        found = self.weights_of(tuple(names), tuple(types), expr.at)
        if not found:
            raise Fact(
                f"{', '.join(names) or expr.arguments[0]} has no such weights",
                "a network that no value calls before has no shapes yet" if names else None,
            )
        group = (tuple(names), tuple(types), len(found))
        for node in found:
            node.fields.setdefault("groups", {})[group] = None
        return found

    def weights_of(self, networks: tuple[str, ...], types: tuple[str, ...], at: Place) -> tuple[Node, ...]:
        return tuple(
            self._parameter(join(inner, path, parameter), shape, at)
            for name in networks
            for inner in self._inside(name)
            for path, module in self._modules(inner)
            for parameter, shape in module.parameters().items()
            if not types or (module.title in types and parameter == "weight")
        )

    def _inside(self, name: str) -> list[str]:
        found: list[str] = []
        stack = [name]
        while stack:
            top = stack.pop(0)
            if top not in found and top in self.networks:
                found.append(top)
                if not self.networks[top].variants:
                    self._force_calls()
                stack += self.networks[top].called
        return found

    def _force_calls(self) -> None:
        """Evaluates the graph, so that a network whose weights are read has its shapes."""
        for member in self.resolved.values:
            for value in member.names:
                thunk = self.names.get(value)
                if isinstance(thunk, Thunk) and not thunk.busy:
                    self._forced(value)

    def _modules(self, name: str) -> list[tuple[str, Any]]:
        network = self.networks[name]
        found: dict[str, Any] = {}
        for module in network.variants.values():
            found.update(module.layers())
        return list(found.items())

    def _parameter(self, name: str, shape: tuple[int, ...], at: Place) -> Node:
        if name not in self.parameter_nodes:
            self.parameter_nodes[name] = Node("parameter", (), Type(shape), at, name=name)
        return self.parameter_nodes[name]

    def _do_parameter(self, expr: Call, scope: Scope) -> Any:
        arguments, keywords = self.arguments(expr, scope)
        if len(arguments) != 1 or keywords or not isinstance(arguments[0], str):
            raise Fact('parameter takes a name in quotes, as in parameter("G.0.weight")')
        return self._find_parameter(arguments[0], expr.at)

    def _find_parameter(self, name: str, at: Place) -> Node:
        head = network_of(name)
        if head not in self.networks:
            raise Fact(f"no network is called '{head}'", nearest(head, self.networks))
        if not self.networks[head].variants:
            self._force_calls()
        known = dict(self.networks[head].parameters())
        if name not in known:
            raise Fact(
                f"{head} has no parameter '{name}'",
                nearest(name, known) or f"its parameters are {', '.join(list(known)[:6])} ...",
            )
        return self._parameter(name, known[name], at)

    def _do_data_mean(self, expr: Call, scope: Scope) -> Any:
        if not self.beginning:
            raise Fact("data_mean is read under init", "the mean of a batch is expect(x)")
        bound = self.arguments_of("data_mean", expr, scope)
        x, n = bound["x"], ops.integer(bound["n"], "a number of items", 1)
        if not isinstance(x, Node) or x.op != "input" or x.type.dtype != "float":
            raise Fact("data_mean is of an input of real numbers", "as in data_mean(x, 500)")
        type_ = Type(x.type.shape, range=x.type.range)
        return Node("data_mean", (), type_, expr.at, {"input": x.name, "n": n})

    def attribute(self, value: Any, expr: Attribute) -> Any:
        if isinstance(value, Named):
            value = _Path(value.name, "")
        if isinstance(value, _Path):
            inner = _Path(value.network, ".".join(filter(None, (value.path, expr.name))))
            known = dict(self.networks[inner.network].parameters())
            full = f"{inner.network}.{inner.path}"
            return self._find_parameter(full, expr.at) if full in known or expr.name in ("weight", "bias") else inner
        return super().attribute(value, expr)

    # --- losses

    def _loss(self, member: Member) -> Any:
        body = member.body
        with self.having(dropping=True):
            scope = self.scope(member.bound)
            if isinstance(body, TwoSides):
                value: Any = TwoSided(
                    self.value(body.discriminator, scope), self.value(body.generator, scope), at=member.place
                )
            else:
                value = self.value(body, scope)
        places = {} if isinstance(body, Expr) else {s: getattr(body, s).at for s in SIDES}
        return self._as_loss(value, member.name, body.at if isinstance(body, Expr) else member.place, places)

    def _as_loss(self, value: Any, name: str, at: Place, places: dict[str, Place] | None = None) -> Any:
        if isinstance(value, TwoSided):
            sides = {
                side: self._as_loss(value.side(side), f"{name}.{side}", (places or {}).get(side, at)) for side in SIDES
            }
            made = TwoSided(sides["discriminator"], sides["generator"], value.family, value.arguments, value.at)
            self.sided[name] = made
            return made
        if isinstance(value, tuple):
            raise Fact(f"the loss {name} is a list of {len(value)}", "reduce it with add(...) or average(...)").at(at)
        node, gone = self.node(value), isinstance(value, Node) and value.op == "dropped"
        if node.type.samples is not None:
            raise Fact(
                f"the loss {name} is {node.type}, one for each sample",
                f"write expect({'mean(...)' if node.type.size > 1 else '...'})",
            ).at(at)
        if node.type.size > 1:
            raise Fact(
                f"the loss {name} is {node.type}, not one number",
                "reduce its own axes: write mean(...) or sum(...) inside expect",
            ).at(at)
        made_node = Node("loss", (node,), Type() if not node.type.host else node.type, at, name=name)
        self.losses[name] = made_node if not gone else Node("loss", (value,), made_node.type, at, name=name)
        return made_node if not gone else Node("dropped", (), made_node.type, at, {"whole": made_node})


def known(resolved: Resolved, expr: Expr, arguments: bool = False, beginning: bool = False) -> Any:
    """What an expression over sizes and constants is, where no value is needed; with `arguments`, those of a call.

    `beginning`: it stands under `init`, and may read means of the data.
    """
    values = Values(resolved, {})
    values.names.update(resolved.sizes)
    for name, constant in resolved.constants.items():
        values.declare(name, f"constants.{name}", constant.at, partial(values._constant, name, constant))
    if beginning:
        values.beginning = True
        values._declare_all("inputs", resolved.inputs, values._input)
    if arguments:
        assert isinstance(expr, Call)
        return values.arguments(expr, values.scope())
    value = values.value(expr, values.scope())
    return value.value if isinstance(value, Node) and value.value is not None else value
