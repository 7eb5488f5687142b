"""Resolved -> Graph: every value gets a type, every network its layers, every phase its objective.

One walk: expressions become nodes, blocks are expanded where they are applied, and shapes are inferred on the way.
All problems of a stage are found in one run; a value that is wrong silences what reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from gangraph import ops
from gangraph.errors import Fact, Place, Problem, SpecError, nearest
from gangraph.evaluate import Silent
from gangraph.expand import Expander
from gangraph.expressions import Attribute, Binary, Call, Expr, Index, Name, Negative, show
from gangraph.families import SIDES, Member
from gangraph.graph import (
    Average,
    Graph,
    Optimizer,
    Phase,
    Player,
    State,
    Step,
    Term,
    network_of,
    parameters_below,
    steps_in,
)
from gangraph.ir import HOST, Length, Network, Node, Type, visit, walk
from gangraph.layers import LAYERS
from gangraph.resolve import Move, Resolved, member_of, moves_in
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

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "Adam": ("lr", "betas", "eps", "weight_decay", "amsgrad", "form"),
    "AdamW": ("lr", "betas", "eps", "weight_decay", "amsgrad"),
    "NAdam": ("lr", "betas", "eps", "weight_decay", "momentum_decay"),
    "RAdam": ("lr", "betas", "eps", "weight_decay"),
    "Adamax": ("lr", "betas", "eps", "weight_decay"),
    "Adagrad": ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"),
    "Adadelta": ("lr", "rho", "eps", "weight_decay"),
    "RMSprop": ("lr", "alpha", "eps", "weight_decay", "momentum", "centered"),
    "SGD": ("lr", "momentum", "dampening", "weight_decay", "nesterov"),
}


def infer_shapes(stages: tuple[Resolved, ...]) -> tuple[Graph, ...]:
    """Every stage of a spec; networks of the same name are one network in all of them."""
    networks: dict[str, Network] = {}
    graphs, problems = [], [*stages[0].spec.problems]
    for resolved in stages:
        inference = _Inference(resolved, networks)
        try:
            graphs.append(inference.run())
        except RecursionError:
            problems.append(
                resolved.spec.sources.problem(
                    resolved.spec.place, "graph", "values or expressions are nested too deep to follow"
                )
            )
        problems += inference.problems
    if not problems:
        problems += _uncalled(stages[0], networks)
    if problems:
        raise SpecError(problems)
    return tuple(graphs)


def known(resolved: Resolved, expr: Expr, arguments: bool = False, beginning: bool = False) -> Any:
    """What an expression over sizes and constants is, where no value is needed; with `arguments`, those of a call.

    `beginning`: it stands under `init`, and may read means of the data.
    """
    inference = _Inference(resolved, {})
    inference.names.update(resolved.sizes)
    for name, constant in resolved.constants.items():
        inference.declare(name, f"constants.{name}", constant.at, partial(inference._constant, name, constant))
    if beginning:
        inference.beginning = True
        inference._declare_all("inputs", resolved.inputs, inference._input)
    if arguments:
        assert isinstance(expr, Call)
        return inference.arguments(expr, inference.scope())
    value = inference.value(expr, inference.scope())
    return value.value if isinstance(value, Node) and value.value is not None else value


def _uncalled(resolved: Resolved, networks: dict[str, Network]) -> list[Problem]:
    """A network without a call has no shapes, so no parameters."""
    return [
        resolved.spec.sources.problem(
            network.at,
            f"networks.{name}",
            Fact(f"nothing calls the network {name}", "use it in the graph, or remove it"),
        )
        for name, network in networks.items()
        if not network.variants
    ]


class _Inference(Expander):
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
            try:
                return make()
            except Fact as fact:
                self.problem(fact, path, place)
            except Silent:
                pass
            thunk.value = _WRONG
            raise Silent

        thunk = Thunk(guarded)
        self.names[name] = thunk

    # --- the walk

    def run(self) -> Graph:
        r = self.resolved
        self.names.update(r.sizes)
        for name, expr in r.constants.items():
            self.declare(name, f"constants.{name}", expr.at, partial(self._constant, name, expr))
        inputs = self._declare_all("inputs", r.inputs, self._input)
        draws = self._declare_all("draws", r.draws, self._draw)
        for name, state in self.file.state.items():
            self.declare(name, f"state.{name}", _place(name, r), partial(self._state, str(name), state))
        for member in r.networks:
            self._network(member)
        for member in r.averages:
            self.names[member.name] = Thunk(partial(self._average_name, member))
        values = self._declare_all("graph", r.values, self._graph_value)
        for member in r.losses:
            self.declare(member.name, f"losses.{member.name}", member.place, partial(self._loss, member))
        made = {
            name: self._forced(name)
            for name in [*r.constants, *(str(n) for n in self.file.state), *inputs, *draws, *values]
        }
        for member in r.losses:
            self._forced(member.name)
        averages = {
            m.name: a
            for m in r.averages
            if (a := self.attempt(f"averages.{m.name}", m.place, partial(self._average, m))) is not MISSING
        }
        players = {
            m.name: p
            for m in r.players
            if (p := self.attempt(f"players.{m.name}", m.place, partial(self._player, m))) is not MISSING
        }
        schedule = self._steps(r.schedule, players, "schedule")
        if not self.problems:
            self._becomings(schedule)
        views = self._views()
        once = self._once()
        return Graph(
            r,
            {n: made[n] for n in inputs if made[n] is not MISSING},
            {n: made[n] for n in draws if made[n] is not MISSING},
            self.networks,
            {n: made[n] for n in values if made[n] is not MISSING},
            self.losses,
            self.sided,
            self.constants,
            self.states,
            averages,
            players,
            schedule,
            views,
            self._metrics(),
            once,
            self.order,
        )

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

    def scope(
        self, bound: dict[str, Any] | None = None, frame: dict[str, Any] | None = None, where: Where | None = None
    ) -> Scope:
        return Scope(frame or {}, self.top, index=self.top.index | (bound or {}), where=where or Where(None))

    # --- declarations

    def _constant(self, name: str, expr: Expr) -> Node:
        value = self.value(expr, self.scope())
        if isinstance(value, str | tuple | bool) or value is None:
            return value  # type: ignore[return-value]
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
            classes = fields["high"] if fields["low"] >= 0 else None
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

    def _force_objectives(self) -> None:
        """Evaluates what phases minimize, which may be all that calls a network."""
        for move in moves_in(self.resolved.schedule):
            if move.minimize is not None:
                with suppress(Fact, Silent):  # told when the phase is made
                    self._objective(move.minimize, move.bound)

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
        node = self.node(value)
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
        self.losses[name] = made_node
        return made_node

    # --- players and schedule

    def _owned(self, exprs: tuple[Expr, ...] | list[Expr], bound: dict[str, Any], what: str) -> tuple[str, ...]:
        """Networks by name; a family's name means all of its members."""
        found: list[str] = []
        for expr in exprs:
            try:
                value = self.value(expr, self.scope(bound))
            except Fact:
                if not isinstance(expr, Name):
                    raise
                hint = nearest(show(expr), self.networks) or f"the networks are {', '.join(self.networks)}"
                raise Fact(f"no network named '{show(expr)}'", hint).at(expr.at) from None
            for item in value if isinstance(value, tuple) else (value,):
                if not isinstance(item, Named):
                    raise Fact(f"{what} names networks, and {show(expr)} is none").at(expr.at)
                if item.source is not None:
                    raise Fact(f"{item.name} is an average, and nobody trains an average").at(expr.at)
                if item.name in found:
                    raise Fact(f"{item.name} is named twice").at(expr.at)
                found.append(item.name)
        return tuple(found)

    def _player(self, member: Member) -> Player:
        body, bound = member.body, member.bound
        path = f"players.{member.name}"
        networks = self.attempt(path, member.place, lambda: self._owned(body.networks, bound, "a player"))
        optimizers = {"": self.attempt(path, member.place, lambda: self._optimizer(body.optimizer, bound))}
        if networks is MISSING or optimizers[""] is MISSING:
            raise Silent
        rules: dict[str, dict[str, Any]] = {"gradient": {}, "before": {}, "after": {}}
        if body.gradient is not None:
            rules["gradient"][""] = self._gradient_rule(body.gradient, bound)
        for which in ("before", "after"):
            if getattr(body, which) is not None:
                rules[which][""] = self._rule(getattr(body, which), bound)
        for key, expr in body.parts.items():
            kind, _, part = key.partition(".")
            for name in self._part_names(part, networks, getattr(key, "place", member.place)):
                if kind == "optimizer":
                    optimizers[name] = self._optimizer(expr, bound)
                else:
                    rules[kind][name] = (
                        self._gradient_rule(expr, bound) if kind == "gradient" else self._rule(expr, bound)
                    )
        return Player(
            member.name, networks, optimizers, rules["gradient"], rules["before"], rules["after"], member.place
        )

    def _part_names(self, part: str, networks: tuple[str, ...], place: Place) -> list[str]:
        """`optimizer.F`: a network of the player, a family of them, or a part of one (`after.D.mix`)."""
        family = self.resolved.families.get(part)
        names = list(family.values()) if family else [part]
        inside = {inner for n in networks for inner in self._inside(n)}
        for name in names:
            if name in inside:
                continue
            if network_of(name) not in inside:
                raise Fact(f"{part} is not a network of this player", nearest(part, inside)).at(place)
            network = self.networks[network_of(name)]
            if not network.variants:
                self._force_objectives()
            if not parameters_below(network, name):
                known = [path.rpartition(".")[0] for path, _ in network.parameters()]
                hint = nearest(name, known) or f"its layers are {', '.join(list(dict.fromkeys(known))[:6])} ..."
                raise Fact(f"no parameter is in {part}", hint).at(place)
        return names

    def _optimizer(self, expr: Expr, bound: dict[str, Any]) -> Optimizer:
        if not isinstance(expr, Call) or not isinstance(expr.function, Name):
            raise Fact(f"an optimizer is written like Adam(lr=2e-4), not {show(expr)}").at(expr.at)
        name = expr.function.id
        if name not in OPTIMIZERS:
            help = nearest(name, OPTIMIZERS) or ", ".join(OPTIMIZERS)
            raise Fact(f"no optimizer is called '{name}'", help).at(expr.at)
        if expr.arguments:
            raise Fact(f"{name} takes its arguments by name", f"{name}(lr={show(expr.arguments[0])})").at(expr.at)
        arguments: dict[str, Any] = {}
        for key, inner in expr.keywords:
            if key not in OPTIMIZERS[name]:
                raise Fact(
                    f"{name} has no argument '{key}'", nearest(key, OPTIMIZERS[name]) or ", ".join(OPTIMIZERS[name])
                ).at(inner.at)
            arguments[key] = self._optimizer_argument(key, self.value(inner, self.scope(bound)), inner)
        if "lr" not in arguments:
            raise Fact(
                f"{name} needs its learning rate", f"{name}(lr=...): a paper's rate is never PyTorch's default"
            ).at(expr.at)
        if arguments.get("form") == "tf":
            for key in ("weight_decay", "amsgrad"):
                if key in arguments:
                    raise Fact(f"TensorFlow's Adam has no {key}", "leave it, or the form, out").at(expr.at)
        return Optimizer(name, arguments)

    def _optimizer_argument(self, key: str, value: Any, expr: Expr) -> Any:
        if key == "form":
            if value not in ("torch", "tf"):
                raise Fact('form is "torch", which it is without this, or "tf"').at(expr.at)
            return value
        if key in ("amsgrad", "centered", "nesterov"):
            if not isinstance(value, bool):
                raise Fact(f"{key} is True or False").at(expr.at)
            return value
        if key == "betas":
            if not isinstance(value, tuple) or len(value) != 2:
                raise Fact("betas are two numbers, as in betas=[0.5, 0.999]").at(expr.at)
            return tuple(self._optimizer_argument("beta", v, expr) for v in value)
        node = self.node(value)
        if not node.type.host:
            raise Fact(f"{key} is a number, of constants, clocks and state, not {node.type}").at(expr.at)
        number = node.value
        if number is not None:
            bad = number < 0 or (key in ("beta", "alpha", "rho") and number >= 1)
            if bad:
                help = "betas lie in [0, 1), rates are at least 0"
                raise Fact(f"{key} = {number} is out of its range", help).at(expr.at)
        return float(number) if number is not None and node.op != "constant" else node

    def _gradient_rule(self, expr: Expr, bound: dict[str, Any]) -> tuple[str, Node]:
        if (
            not isinstance(expr, Call)
            or not isinstance(expr.function, Name)
            or expr.function.id not in ("clip_norm", "clip_value")
            or len(expr.arguments) != 1
        ):
            raise Fact(f"a gradient rule is clip_norm(bound) or clip_value(bound), not {show(expr)}").at(expr.at)
        node = self.node(self.value(expr.arguments[0], self.scope(bound)))
        if not node.type.host or (node.value is not None and node.value <= 0):
            raise Fact("the bound is a number above 0").at(expr.at)
        return expr.function.id, node

    def _rule(self, expr: Expr, bound: dict[str, Any]) -> Node:
        """An expression of `p`, each parameter in turn."""
        p = Node("p", (), Type(), expr.at, name="p")
        made = ops.tensor_of(self.value(expr, self.scope(bound, {"p": p})), "an expression of p")
        if p not in visit([made], lambda n: () if n.op in ops.REDUCTIONS and len(n.args) == 1 else n.args):
            raise Fact(f"{show(expr)} does not have the shape of p", "it is what a parameter becomes").at(expr.at)
        return made

    def _average_name(self, member: Member) -> Named:
        expr = member.body
        ok = (
            isinstance(expr, Call)
            and isinstance(expr.function, Name)
            and expr.function.id == "average"
            and expr.arguments
        )
        if not ok:
            raise Fact(f"an average is written average(NETWORK, decay=0.999), not {show(expr)}").at(expr.at)
        source = self.value(expr.arguments[0], self.scope(member.bound))
        if not isinstance(source, Named) or source.source is not None:
            raise Fact(f"average follows a network, and {show(expr.arguments[0])} is none").at(expr.at)
        return Named(member.name, source.name)

    def _average(self, member: Member) -> Average:
        named = self.force(self.names[member.name], member.name)
        expr = member.body
        keywords = dict(expr.keywords)
        for key in keywords:
            if key not in ("decay", "start"):
                raise Fact(f"average has no argument '{key}'", "decay, start").at(keywords[key].at)
        if "decay" not in keywords or len(expr.arguments) != 1:
            raise Fact("an average needs its decay", "average(G, decay=0.999)").at(expr.at)
        decay = self.node(self.value(keywords["decay"], self.scope(member.bound)))
        if not decay.type.host or (decay.value is not None and not 0 <= decay.value <= 1):
            raise Fact("decay is a number in [0, 1]").at(keywords["decay"].at)
        start = self.value(keywords["start"], self.scope()) if "start" in keywords else "copy"
        if start not in ("copy", "zeros"):
            raise Fact(f'start="{start}" is not known', 'start="zeros", or nothing for a copy').at(keywords["start"].at)
        return Average(member.name, named.source, decay, start == "zeros")

    def _steps(self, moves: tuple[Move, ...], players: dict[str, Player], path: str) -> tuple[Step, ...]:
        made = []
        for move in moves:
            step = self.attempt(f"{path}.{move.name}", move.place, partial(self._step, move, players, path))
            if step is not MISSING:
                made.append(step)
        return tuple(made)

    def _step(self, move: Move, players: dict[str, Player], path: str) -> Step:
        inner = f"{path}.{move.name}"
        when, repeat = self._condition(move.when, move.bound, own=False), self._count(move.repeat, move.bound, "repeat")
        common: dict[str, Any] = {"when": when, "repeat": repeat, "fresh": move.fresh}
        if move.kind == "phase":
            return Step("phase", move.name, move.place, (self._phase(move, players, False),), **common)
        if move.kind == "group":
            members = []
            for member in move.moves:
                phase = self.attempt(
                    f"{inner}.{member.name}", member.place, partial(self._phase, member, players, True)
                )
                if phase is not MISSING:
                    members.append(phase)
            return Step("group", move.name, move.place, tuple(members), **common)
        if move.kind == "sequence":
            return Step("sequence", move.name, move.place, steps=self._steps(move.moves, players, inner), **common)
        names = tuple(n for expr in move.names for n in self._update_names(expr, move, players))
        return Step(move.kind, move.name, move.place, names=names, **common)

    def _update_names(self, expr: Expr, move: Move, players: dict[str, Player]) -> list[str]:
        text = show(expr)
        if isinstance(expr, Index):
            text = member_of(expr, self.top.index | move.bound, self)
        known: dict[str, Any] = (
            dict(players) if move.kind == "reset" else {**{m.name: m for m in self.resolved.averages}, **self.states}
        )
        families = self.resolved.player_families if move.kind == "reset" else self.resolved.families
        names = list(families[text].values()) if text in families else [text]
        for name in names:
            if name not in known:
                what = "player" if move.kind == "reset" else "average or state"
                raise Fact(f"no {what} is called '{name}'", nearest(name, known)).at(expr.at)
        return names

    def _condition(self, expr: Expr | None, bound: dict[str, Any], own: bool) -> Node | bool | None:
        """`when`: a number of the program; of a group's member it reads this evaluation, else the latest."""
        if expr is None:
            return None
        with self.having(knowing=True):
            value = self.value(expr, self.scope(bound, None if own else self._latest()))
            node = self.host(value, "`when`") if self.truth(value) is None else None
        if isinstance(value, str):
            raise Fact(f"`when` is a condition, and {show(expr)} is a text").at(expr.at)
        truth = self.truth(value)
        known = value.value if isinstance(value, Node) else value
        counted = isinstance(value, Node) and known is None and value.op in _ARITHMETIC
        if counted or (isinstance(known, int | float) and known not in (0, 1)):
            fact = Fact(f"`when` is a condition, and {show(expr)} is a number", "compare it, as in step % 16 == 0")
            raise fact.at(expr.at)
        return truth if truth is not None else node

    def _latest(self) -> dict[str, Any]:
        """Losses as numbers: what they were in the latest evaluation."""
        found: dict[str, Any] = {}
        for name, node in self.losses.items():
            if "." not in name:
                found[name] = Node("latest", (), HOST, node.at, name=name)
        for name in self.sided:
            sides = [Node("latest", (), HOST, self.losses[f"{name}.{s}"].at, name=f"{name}.{s}") for s in SIDES]
            found[name] = TwoSided(sides[0], sides[1])
        return found

    def _count(self, expr: Expr | None, bound: dict[str, Any], what: str) -> Node | int | None:
        if expr is None:
            return None
        with self.having(knowing=True):
            value = self.value(expr, self.scope(bound, self._latest()))
        least = 0 if what == "repeat" else 1
        try:
            if isinstance(value, Node) and value.value is None:
                ops.whole(self.host(value, f"`{what}`"), f"`{what}`", least)
                return value
            return ops.integer(value, f"`{what}`", least)
        except Fact as fact:
            raise fact.at(expr.at) from None

    def _phase(self, move: Move, players: dict[str, Player], member: bool) -> Phase:
        name = move.name
        if move.player is not None:
            name = member_of(move.player, self.top.index | move.bound, self)
        if name not in players:
            if any(name == m.name for m in self.resolved.players):  # it is wrong, which has been said
                assert move.minimize is not None
                self._objective(move.minimize, move.bound)
                raise Silent
            at = move.player.at if move.player is not None else move.place
            hint = nearest(name, players)
            raise Fact(
                f"no player is called '{name}'",
                hint or "a phase is called like its player, or names it: `player: NAME`",
            ).at(at)
        player = players[name]
        networks = player.networks
        if move.networks is not None:
            networks = self._owned(move.networks, move.bound, "a phase")
            inside = {inner for n in player.networks for inner in self._inside(n)}
            for network, expr in zip(networks, move.networks, strict=False):
                if network not in inside:
                    raise Fact(
                        f"{network} is not a network of the player {name}", f"it owns {', '.join(player.networks)}"
                    ).at(expr.at)
        assert move.minimize is not None
        objective = self._objective(move.minimize, move.bound)
        when = self._condition(move.when, move.bound, own=True) if member else None
        accumulate = self._count(move.accumulate, move.bound, "accumulate")
        terms = self._terms(move.minimize, move.bound)
        idle = tuple(t for t in terms if t.value == 0)
        return Phase(
            move.name, name, networks, objective, tuple(t for t in terms if t not in idle), show(move.minimize), when,
            move.place, self._count(move.repeat, move.bound, "repeat"), move.fresh, accumulate, idle,
        )  # fmt: skip

    def _objective(self, expr: Expr, bound: dict[str, Any]) -> Node:
        with self.having(dropping=True):
            value = self.value(expr, self.scope(bound))
        if isinstance(value, TwoSided):
            raise Fact(f"{show(expr)} has two sides", "say which: .discriminator or .generator").at(expr.at)
        if isinstance(value, tuple):
            raise Fact(f"{show(expr)} is a list of {len(value)}", "reduce it with add(...)").at(expr.at)
        node = self.node(value)
        if node.op == "dropped":
            raise Fact("no term of the objective is left: every factor is 0").at(expr.at)
        if node.type.samples is not None or node.type.size > 1 or node.type.host:
            what = "a number that no network makes" if node.type.host else f"{node.type}, not one number"
            raise Fact(
                f"the objective is {what}",
                None if node.type.host else "an objective is made of losses: expect(mean(...))",
            ).at(expr.at)
        return node

    def _terms(self, expr: Expr, bound: dict[str, Any]) -> list[Term]:
        """The summands of an objective with the weights in front of them."""
        found: list[Term] = []

        def visit(e: Expr, factors: tuple[tuple[str, Expr], ...], sign: int) -> None:
            if isinstance(e, Binary) and e.operator in ("+", "-"):
                visit(e.left, factors, sign)
                visit(e.right, factors, sign if e.operator == "+" else -sign)
            elif isinstance(e, Negative):
                visit(e.operand, factors, -sign)
            elif isinstance(e, Binary) and e.operator == "*" and self._is_weight(e.left, bound):
                visit(e.right, (*factors, ("*", e.left)), sign)
            elif isinstance(e, Binary) and e.operator == "*" and self._is_weight(e.right, bound):
                visit(e.left, (*factors, ("*", e.right)), sign)
            elif isinstance(e, Binary) and e.operator == "/" and self._is_weight(e.right, bound):
                visit(e.left, (*factors, ("/", e.right)), sign)
            else:
                number: float | None = float(sign)
                text = ""
                for operator, factor in factors:
                    value = self._weight(factor, bound)
                    if number is not None:
                        number = (
                            None
                            if value is None
                            else number * value
                            if operator == "*"
                            else number / value
                            if value
                            else None
                        )
                    shown = show(factor, 6 if operator == "*" else 7)  # a product below a line stands in brackets
                    text = f"{text} {operator} {shown}" if text else shown if operator == "*" else f"1 / {shown}"
                found.append(Term(show(e), ("-" if sign < 0 else "") + (text or "1"), number))

        visit(expr, (), 1)
        return found

    def _weight(self, expr: Expr, bound: dict[str, Any]) -> float | None:
        value = self.value(expr, self.scope(bound))
        node = self._hosted(value)
        return float(node.value) if isinstance(node, Node) and isinstance(node.value, int | float) else None

    def _is_weight(self, expr: Expr, bound: dict[str, Any]) -> bool:
        try:
            value = self._hosted(self.value(expr, self.scope(bound)))
        except (Fact, Silent):
            return False
        return isinstance(value, Node) and value.type.host

    def _becomings(self, schedule: tuple[Step, ...]) -> None:
        """What each state becomes, where the phases and losses are known."""
        steps: dict[str, str] = {}
        for step in steps_in(schedule):
            steps |= {step.name: step.kind} | {p.name: "phase" for p in step.phases}
        for name, state in self.file.state.items():
            if str(name) in self.states:
                self.attempt(
                    f"state.{name}", _place(name, self.resolved), partial(self._becoming, str(name), state, steps)
                )

    def _becoming(self, name: str, state: StateSpec, steps: dict[str, str]) -> None:
        known = self.states[name]
        with self.having(knowing=True):
            within: dict[str, Node] = {}
            entries = state.within
            if entries is not None:
                pairs = (
                    [(show(e), state.becomes, e.at) for e in entries]
                    if isinstance(entries, list)
                    else [(k, e, e.at) for k, e in entries.items()]
                )
                for phase, expr, at in pairs:
                    if phase not in steps:
                        raise Fact(f"no phase is called '{phase}'", nearest(phase, steps)).at(at)
                    if expr is None:
                        raise Fact(f"what {name} becomes is missing", "`becomes: EXPRESSION`").at(at)
                    within[phase] = self._becomes(known, expr, None)
                becomes = None
            else:
                if state.becomes is None:
                    raise Fact(f"what {name} becomes is missing", "`becomes: EXPRESSION`")
                becomes = self._becomes(known, state.becomes, self._latest())
                if any(n.op in _EVALUATED for n in walk([becomes])):
                    raise Fact(
                        f"what {name} becomes at the end of an iteration is made of losses, states and clocks",
                        "`in: [PHASES]` makes it of the values of those phases",
                    ).at(state.becomes.at)
        self.states[name] = State(name, known.node, known.start, becomes, within)

    def _becomes(self, state: State, expr: Expr, frame: dict[str, Any] | None) -> Node:
        node = self.node(self.value(expr, self.scope(None, frame)))
        if not state.node.type.host and (node.type.samples is not None or node.type.shape != state.node.type.shape):
            raise Fact(f"{state.name} is {state.node.type} and would become {node.type}").at(expr.at)
        if state.node.type.host and (node.type.samples is not None or node.type.size != 1):
            raise Fact(f"{state.name} is a number and would become {node.type}").at(expr.at)
        return node

    # --- the rest

    def _views(self) -> dict[str, Node]:
        found = {}
        for name, expr in self.file.sample.items():
            value = self.attempt(f"sample.{name}", expr.at, partial(self._view, expr))
            if value is not MISSING:
                found[str(name)] = value
        return found

    def _view(self, expr: Expr) -> Node:
        """What a view draws for each sample: a picture, or a row of them where it is a list."""
        value = self.value(expr, self.scope())
        if isinstance(value, tuple):
            row = tuple(ops.tensor_of(v, "something to draw") for v in value)
            if len({node.type.shape for node in row}) > 1:
                raise Fact(f"the pictures of a row have one shape, not {', '.join(str(n.type) for n in row)}")
            value = self.operate("stack", row, {}, expr) if len(row) > 1 else row[0]
        return ops.tensor_of(value, "something to draw")

    def _metrics(self) -> dict[str, Node]:
        found = {}
        for name, body in self.file.metrics.items():
            value = self.attempt(f"metrics.{name}", body.at, partial(self._metric, str(name), body))
            if value is not MISSING:
                found[str(name)] = value
        return found

    def _metric(self, name: str, body: Any) -> Node:
        if name in self.file.sample:
            raise Fact(f"{name} is a view under sample", "a metric has a name of its own")
        with self.having(measuring=True):
            node = ops.tensor_of(self._expr_or_chain(body, {}), "something to measure")
        below = {n.op for n in walk([node]) if n is not node}
        if "separability" in below:
            raise Fact("separability is a metric by itself", "nothing is made of it")
        if node.type.size != 1 and node.op != "separability":
            raise Fact(f"a metric is one number, or one for each sample, not {node.type}", "write mean(...) around it")
        if "grad" in below or node.op == "grad":
            raise Fact("a metric takes no derivative", "grad is for losses")
        return node

    def _once(self) -> tuple[str, ...]:
        found: list[str] = []
        for expr in self.file.once:
            self.attempt("once", expr.at, partial(self._once_names, expr, found))
        return tuple(found)

    def _once_names(self, expr: Expr, found: list[str]) -> None:
        text = member_of(expr, self.top.index, self) if isinstance(expr, Name | Index) else show(expr)
        names = list(self.resolved.families[text].values()) if text in self.resolved.families else [text]
        known = {n for m in (*self.resolved.draws, *self.resolved.values) for n in m.names}
        for name in names:
            if name not in known:
                raise Fact(f"no draw or value is called '{name}'", nearest(name, known)).at(expr.at)
        found += names


_EVALUATED = ("input", "draw", "call", "parameter", "replay")  # what only an evaluation has


_ARITHMETIC = ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "clock", "length")


class _Path:
    """`D.mix` on the way to `D.mix.weight`."""

    def __init__(self, network: str, path: str):
        self.network, self.path = network, path


_WRONG = object()


def _place(name: Any, resolved: Resolved) -> Place:
    return getattr(name, "place", resolved.spec.place)
