"""Networks, expanded where they are applied: blocks become modules, and shapes are known in the same walk.

A template is applied once for each call that stands in a chain or value; a named network has one structure for all
its calls, which must agree on the shapes of its parameters.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gangraph import ops
from gangraph.errors import Fact, Place, nearest
from gangraph.evaluate import Evaluator
from gangraph.expressions import Call, Expr, Name, names
from gangraph.families import Rule, expand_keys
from gangraph.ir import HOST, Length, Module, Network, Node, Shape, Type, walk
from gangraph.layers import LAYERS, WRAPPERS, Declared
from gangraph.library import Definition, Library
from gangraph.spec import Chain, GivenNetwork, GraphNetwork, Line, TwoSides
from gangraph.templates import (
    MISSING,
    BlockTemplate,
    Init,
    LayerTemplate,
    Named,
    Outputs,
    Scope,
    Template,
    Thunk,
    TwoSided,
    View,
    Where,
    Wrapped,
    join,
    unwrapped,
)

DEEPEST = 60  # blocks inside blocks


class Expander(Evaluator):
    """Evaluates networks; `library` has the blocks, `networks` every network by name."""

    library: Library
    networks: dict[str, Network]
    depth = 0

    # --- making

    def callable_word(self, name: str, scope: Scope) -> Any:
        found = self.library.find(name, standard_only=scope.standard)
        if (found is None or found.standard) and (name in LAYERS or name in WRAPPERS):
            return _Maker(name)
        return MISSING if found is None else found

    def known_names(self, scope: Scope) -> list[str]:
        words = [
            *(name for name in ops.OPERATORS if name not in ops.BINARY.values()),
            *ops.SPECIAL,
            *ops.SCALAR_FUNCTIONS,
            *ops.VIEWS,
            *LAYERS,
            *WRAPPERS,
            *self.library.names(),
        ]
        return list({*words, *scope.names()})

    def make(self, word: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Call) -> Any:
        if isinstance(word, _Maker):
            return self._make_layer(word.name, arguments, keywords)
        assert isinstance(word, Definition)
        if word.kind == "blocks":
            return self._make_block(word, arguments, keywords)
        if word.kind == "layers":
            return self._make_declared(word, arguments, keywords)
        return self._unfold(word, arguments, keywords, call)

    def _make_layer(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Template:
        if name in WRAPPERS:
            if not arguments or not isinstance(arguments[0], Template | Named):
                raise Fact(f"{name} wraps a network: {name}(Conv2d(...))")
            if isinstance(arguments[0], Named):
                raise Fact(
                    f"{name} does not reach into {arguments[0]}, a network with a name of its own",
                    "wrap it where it is defined",
                )
            if isinstance(arguments[0], LayerTemplate) and not arguments[0].layer.weighted:
                raise Fact(f"{name} acts on a weight, and {arguments[0].layer} has none that it knows")
            wrapper = WRAPPERS[name].from_call(
                [self._field(a) for a in arguments[1:]], {k: self._field(v) for k, v in keywords.items()}
            )
            return Wrapped(wrapper, arguments[0])
        layer = LAYERS[name].from_call(
            [self._field(a) for a in arguments], {k: self._field(v) for k, v in keywords.items()}
        )
        for parameter, dimensions in (("bias", 1), ("init", len(getattr(layer, "shape", ())))):
            if isinstance(init := getattr(layer, parameter, None), Init):
                init.check(dimensions)
        return LayerTemplate(layer)

    def _make_declared(self, word: Definition, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Template:
        scope = self._parameters(
            word, tuple(map(self._field, arguments)), {k: self._field(v) for k, v in keywords.items()}
        )
        body, known = word.read(), {}

        def rule(shape: Shape) -> tuple[Shape, dict[str, Shape]]:
            if shape not in known:
                inner = Scope({"_": Node("input", (), Type(shape), word.at)}, scope)
                parameters = {str(name): self._sizes(expr, inner) for name, expr in body.parameters.items()}
                known[shape] = self._sizes(body.shape, inner), parameters
            return known[shape]

        given = tuple((name, self._field(scope.frame[name])) for name, _ in word.parameters)
        return LayerTemplate(Declared(word.name, str(body.torch).removeprefix("torch."), given, rule))

    def _sizes(self, expr: Expr, scope: Scope) -> Shape:
        """A shape that a declaration says: a list of numbers, or `_`, the shape of the input."""
        value = self.value(expr, scope)
        if isinstance(value, Node) and not value.type.host:
            return value.type.shape
        sizes = value if isinstance(value, tuple) else (value,)
        try:
            return tuple(ops.integer(size, "a size", 1) for size in sizes)
        except Fact as fact:
            raise fact.at(expr.at) from None

    def _field(self, value: Any) -> Any:
        """A layer's field: known before the run."""
        if isinstance(value, Node) and value.type.host and value.value is not None:
            return value.value
        if isinstance(value, Length | Node | TwoSided | Template | Named | View):
            what = value.name or value.op if isinstance(value, Node) else str(value)
            raise Fact(f"a layer's field is a number or text that is known before the run, not {what}")
        return tuple(map(self._field, value)) if isinstance(value, tuple) else value

    def _make_block(self, word: Definition, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        for value in (*arguments, *keywords.values()):
            if (isinstance(value, Node) and not (value.type.host and value.value is not None)) or isinstance(
                value, Length | TwoSided
            ):
                raise Fact(
                    f"{word.name}: a block's parameter is a number, text or network that is known before the run",
                    f"a value goes into the second brackets: {word.name}(...)(value)",
                )
        arguments = tuple(self._field(a) if isinstance(a, Node) else a for a in arguments)
        keywords = {k: self._field(v) if isinstance(v, Node) else v for k, v in keywords.items()}
        scope = self._parameters(word, arguments, keywords)
        body = word.read()
        if isinstance(body, GivenNetwork):
            raise Fact(f"{word.name}: frozen parts are declared under networks")
        if isinstance(body, GraphNetwork | Chain):
            return BlockTemplate(word.name, body, scope)
        made = self.value(body, scope)
        if not isinstance(made, Template | Named | View):
            raise Fact(f"the block {word.name} is not a network")
        return made

    def _parameters(self, word: Definition, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Scope:
        """The scope of a definition's body: its parameters, then the core and the library."""
        scope = Scope({}, index={}, inside=True, standard=word.standard)
        bound = word.bind(arguments, keywords)
        for name, default in word.parameters:
            scope.frame[name] = bound[name] if name in bound else self.value(default, scope) if default else None
        return scope

    def _unfold(self, word: Definition, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Call) -> Any:
        """A function or family with its arguments in place; lists map through."""
        lists = [a for a in (*arguments, *keywords.values()) if isinstance(a, tuple)]
        if lists and word.kind == "families":
            _refuse_outputs(word, word.bind(arguments, keywords))
        if lists and not _reduces(word) and all(all(isinstance(v, Node | tuple) for v in a) for a in lists):
            if len({len(a) for a in lists}) != 1:
                raise Fact(f"{word.name} meets lists of {' and '.join(str(len(a)) for a in lists)} entries")
            made = []
            for i in range(len(lists[0])):
                row = tuple(a[i] if isinstance(a, tuple) else a for a in arguments)
                made.append(
                    self._unfold(word, row, {k: v[i] if isinstance(v, tuple) else v for k, v in keywords.items()}, call)
                )
            return tuple(made)
        self._enter(word.name)
        try:
            scope = self._parameters(word, arguments, keywords)
            body = word.read()
            if isinstance(body, TwoSides):
                sides = self.value(body.discriminator, scope), self.value(body.generator, scope)
                return TwoSided(*sides, family=word.name, arguments=dict(scope.frame), at=call.at)
            return self.value(body, scope)
        except Fact as fact:
            raise self._from_library(fact, call, word.name) from None
        finally:
            self.depth -= 1

    def _enter(self, name: str) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            self.depth -= 1
            raise Fact(f"{name} is made of itself, or more than {DEEPEST} levels deep", "a block may not use itself")

    def _from_library(self, fact: Fact, call: Expr, title: str) -> Fact:
        """A fact that was found inside a definition: the caller's place first, the definition's line in the trail."""
        fact.at(call.at)
        if fact.place != call.at:
            fact.place, fact.trail = call.at, (f"{fact.place} in {title}", *fact.trail)
        return fact

    def _from_block(self, fact: Fact, call: Expr, title: str) -> Fact:
        """A fact from inside a block: its line if the caller's file has it, else the caller's."""
        inner = fact.at(call.at).place or call.at
        if inner.file != call.at.file:
            return self._from_library(fact, call, title)
        if inner != call.at:
            fact.trail = (*fact.trail, f"{call.at} uses {title}")
        return fact

    def _from_network(self, fact: Fact, call: Expr, name: str, title: str, types: list[Type]) -> Fact:
        """A fact from inside a network: the line of the spec that defines it, and in the trail who calls it how."""
        if fact.place is None:
            return fact.at(call.at)  # the call itself does not fit
        inner, trail = fact.place, fact.trail
        home = self.networks[name].at
        if inner.file != home.file:
            inner, trail = home, (f"{inner} in {title}", *trail)
        shapes = ", ".join(map(str, types))
        fact.place, fact.trail = inner, (*trail, f"{call.at} calls {name} with {shapes}")
        fact.path = fact.path or f"networks.{name}"
        return fact

    # --- applying

    def apply(
        self, network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr, scope: Scope
    ) -> Any:
        if isinstance(network, View):
            return self._apply_view(network, arguments, keywords, call, scope)
        if isinstance(network, Named):
            return self.call_named(network, {}, arguments, keywords, call, scope)
        where = scope.where or Where(None)
        return self.expand(network, scope.wrappers, arguments, keywords, call, where, where.path(call))

    def expand(
        self,
        template: Any,
        wrappers: tuple[Any, ...],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        call: Expr,
        where: Where,
        path: str,
    ) -> Any:
        """A template applied to values at a path of the module that is being made."""
        template, wrappers = unwrapped(template, wrappers)
        if isinstance(template, Named):
            return self.call_named(template, {}, arguments, keywords, call, Scope({}, where=where, inside=True))
        if isinstance(template, LayerTemplate):
            if keywords:
                raise Fact(f"{template.title} has no input by name")
            return self._apply_layer(template, wrappers, arguments, call, where, path)
        assert isinstance(template, BlockTemplate), template
        self._enter(template.title)
        try:
            return self._apply_block(template, wrappers, arguments, keywords, call, where, path)
        except Fact as fact:
            raise self._from_block(fact, call, template.title) from None
        finally:
            self.depth -= 1

    def _apply_layer(
        self,
        template: LayerTemplate,
        wrappers: tuple[Any, ...],
        arguments: tuple[Any, ...],
        call: Expr,
        where: Where,
        path: str,
    ) -> Node:
        layer = template.layer
        if len(arguments) != layer.inputs:
            raise Fact(f"{layer} is applied to {layer.inputs} value{'s' * (layer.inputs != 1)}, not {len(arguments)}")
        counted = (self._counted(self._hosted(a), call) for a in arguments)
        nodes = tuple(ops.tensor_of(a, f"a value for {template.title}") for a in counted)
        shape = nodes[0].type.shape if nodes else ()
        if nodes and layer.integers != (nodes[0].type.dtype == "int"):
            wanted, of = ("integers", "") if layer.integers else ("real numbers", " of labels")
            raise Fact(f"{template.title} reads {wanted}, not {nodes[0].type}{of}")
        if layer.integers:
            ops.label_of(nodes[0])
        if layer.classes is not None and (given := nodes[0].type.classes or 0) > layer.classes:
            raise Fact(f"{layer} has no rows for a label of {given} classes", f"it needs {given}")
        used = tuple(w for w in wrappers if layer.weighted)
        module = Module(path, template.title, call.at, layer, used, shape)
        out = layer.output(shape)
        if where.module is None:
            self._outside(module)
        else:
            where.module.parts.append(module)
        samples = nodes[0].type.samples if nodes else None
        if nodes and nodes[0].type.samples is None and (layer.batch_coupled or layer.needs_samples):
            help = "let it meet what each sample has first, as in `shared + own`"
            raise Fact(f"{layer} needs samples, and this value is shared by all of them", help)
        if samples is not None and layer.batch_coupled:
            layer.check_samples(samples.now, shape)
        kind = (
            "probability"
            if layer.probability
            else nodes[0].type.kind
            if nodes and layer.linear and not module.parameters()
            else None
        )
        range_ = layer.range(nodes[0].type.range if nodes else None)
        type_ = Type(out, samples, range=range_, kind=kind)
        return Node("apply", nodes, type_, call.at, {"module": module, "path": path})

    def _counted(self, value: Any, call: Expr) -> Any:
        """A comparison as the ones and zeros that a network reads."""
        if isinstance(value, tuple):
            return tuple(self._counted(item, call) for item in value)
        bare = isinstance(value, Node) and value.type.dtype == "bool" and not value.type.host
        return self.operate("mul", (value, 1), {}, call) if bare else value

    def _outside(self, module: Module) -> None:
        """A layer at the level of the spec: nobody would own what it holds."""
        held = (
            "parameters" if module.parameters() else "state" if module.stateful else "draws" if module.random else None
        )
        if held:
            raise Fact(
                f"{module.title} holds {held} and stands outside of any network", "give it a name under networks"
            )

    def _apply_block(
        self,
        template: BlockTemplate,
        wrappers: tuple[Any, ...],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        call: Expr,
        where: Where,
        path: str,
    ) -> Any:
        module = Module(path, template.title, call.at)
        if where.module is not None:
            where.module.parts.append(module)
        nodes = self._fill(module, template, wrappers, arguments, keywords)
        if where.module is None:
            for _, layer in module.layers():
                self._outside(layer)
        return self._applied(module, nodes, call)

    def _applied(
        self,
        module: Module,
        arguments: tuple[Node, ...],
        call: Expr,
        op: str = "apply",
        fields: dict[str, Any] | None = None,
    ) -> Any:
        """The node (or nodes) of one application of a module with a body."""
        fields = {"module": module, "path": module.path} | (fields or {})
        outputs = [o.type for o in module.outputs]
        if not module.several:
            return Node(op, arguments, outputs[0], call.at, fields)
        whole = Node(op, arguments, outputs[0], call.at, fields | {"several": True})
        parts = [Node("output", (whole,), t, call.at, {"index": i}) for i, t in enumerate(outputs)]
        return Outputs(parts, module.output_names) if module.output_names else tuple(parts)

    def _fill(
        self,
        module: Module,
        template: BlockTemplate,
        wrappers: tuple[Any, ...],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> tuple[Node, ...]:
        """Walks a body for inputs of known shapes; returns the arguments as nodes, in the order of the inputs."""
        body = template.body
        scope = Scope({}, template.scope, where=Where(module), wrappers=wrappers)
        if isinstance(body, Chain):
            if keywords or len(arguments) != 1:
                raise Fact(f"{template.title} has one input, and {len(arguments) + len(keywords)} values stand here")
            argument = ops.tensor_of(self._hosted(arguments[0]), f"a value for {template.title}")
            entry = self._entry(module, "x", argument)
            result = self.chain(body, entry, scope, Where(module))
            self._finish(module, result)
            return (argument,)
        nodes = self._bind_inputs(module, template, body, arguments, keywords, scope)
        self._graph(module, body, scope, template)
        return nodes

    def _entry(self, module: Module, name: str, argument: Node) -> Node:
        type_ = argument.type if not argument.type.host else HOST
        entry = Node("input", (), type_, module.at, name=name)
        module.inputs.append(entry)
        return entry

    def _bind_inputs(
        self,
        module: Module,
        template: BlockTemplate,
        body: GraphNetwork,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        scope: Scope,
    ) -> tuple[Node, ...]:
        declared = [(i.name, i.optional) for i in body.inputs or []]
        names = [name for name, _ in declared]
        if len(arguments) > len(names):
            raise Fact(
                f"{template.title} has {len(names)} inputs ({', '.join(names)}), and {len(arguments)} values stand here"
            )
        given = dict(zip(names, arguments, strict=False))
        for name, value in keywords.items():
            if name not in names or name in given:
                raise Fact(f"{template.title} has the inputs {', '.join(names)}, not another '{name}'")
            given[name] = value
        nodes: list[Node] = []
        for name, default in declared:
            if name not in given or given[name] is None:
                if default is False and name not in given:
                    raise Fact(f"{template.title} has the inputs {', '.join(names)}, and '{name}' is missing")
                scope.frame[name] = None
                continue
            value = given[name]
            if isinstance(value, tuple):
                entries = []
                for i, item in enumerate(value):
                    argument = ops.node_of(self._hosted(item))
                    nodes.append(argument)
                    entries.append(self._entry(module, f"{name}[{i}]", argument))
                scope.frame[name] = tuple(entries)
                continue
            argument = ops.node_of(self._hosted(value), f"a value for the input '{name}' of {template.title}")
            nodes.append(argument)
            scope.frame[name] = self._entry(module, name, argument)
        return tuple(nodes)

    def _graph(self, module: Module, body: GraphNetwork, scope: Scope, template: BlockTemplate) -> None:
        index = {} if scope.inside else self.spec_index()
        index |= {name: self._index_values(expr, scope) for name, expr in body.index.items()}
        rules = [Rule.of(key, value) for key, value in body.graph.items()]
        members, families = expand_keys(
            rules, index, lambda expr, bound: self.index_value(expr, Scope({}, scope, index=scope.index | bound))
        )
        scope.families = families
        for member in members:
            single = len(member.names) == 1
            inner = Scope({}, scope, index=scope.index | member.bound)
            if single:
                scope.frame[member.names[0]] = Thunk(
                    lambda m=member, s=inner: self._body_value(module, m.names[0], m.body, s)
                )
            else:
                several = Thunk(
                    lambda m=member, s=inner: self.several(
                        m.names, self._body_value(module, m.names[0], m.body, s, bare=True)
                    )
                )
                for i, name in enumerate(member.names):
                    scope.frame[name] = Thunk(
                        lambda t=several, n=name, i=i: self._named(self.force(t, n)[i], n, module)
                    )
        for member in members:
            for name in member.names:
                self.force(scope.frame[name], name)
        if body.outputs is not None:
            for expr in body.outputs:
                if isinstance(expr, Name) and expr.id not in {*scope.frame, *scope.families}:
                    hint = nearest(expr.id, scope.frame)
                    raise Fact(f"no value in {template.title} is called '{expr.id}'", hint).at(expr.at)
            results = tuple(self.value(e, scope) for e in body.outputs)
            self._finish(module, results, tuple(map(str, body.outputs)))
            return
        if body.output is None:
            raise Fact(f"{template.title} has no output", "`output: VALUE` or `outputs: [names]`")
        self._finish(module, self._body_value(module, "", body.output, scope, bare=True))

    def _index_values(self, expr: Expr, scope: Scope) -> tuple[Any, ...]:
        values = self.value(expr, scope)
        if not isinstance(values, tuple) or not all(isinstance(v, int | str) for v in values):
            raise Fact("an index is a list of numbers or names, or a range").at(expr.at)
        return values

    def several(self, names: tuple[str, ...], value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple) or len(value) != len(names):
            count = len(value) if isinstance(value, tuple) else 1
            raise Fact(f"{', '.join(names)} are {len(names)} names, and the value has {count} part{'s' * (count != 1)}")
        return tuple(value)

    def _body_value(self, module: Module, name: str, body: Expr | Chain, scope: Scope, bare: bool = False) -> Any:
        where = Where(module, name)
        if isinstance(body, Chain):
            result = self.chain(body, None, scope, where)
        else:
            result = self.value(body, Scope({}, scope, where=where))
            if isinstance(result, Template | Named | View):
                raise Fact("this is a network that nothing runs through", "apply it: (...)(value)").at(body.at)
        return result if bare else self._named(result, name, module)

    def _named(self, value: Any, name: str, module: Module) -> Any:
        if isinstance(value, Node) and not value.type.host:
            if value.name is not None or value.op == "input":
                value = Node("alias", (value,), value.type, value.at)
            value.name = name
            module.values.append(value)
        return value

    def _finish(self, module: Module, result: Any, names: tuple[str, ...] = ()) -> None:
        nodes = list(result) if isinstance(result, tuple) else [result]
        for i, node in enumerate(nodes):
            if isinstance(node, tuple):
                which = names[i] if i < len(names) else "an entry"
                raise Fact(f"{which} is a list, and stands among other outputs", "`output: LIST` is one list of values")
        module.outputs = [ops.tensor_of(self._hosted(n), "an output") for n in nodes]
        module.several = isinstance(result, tuple)
        module.output_names = names

    # --- chains

    def chain(self, chain: Chain, value: Node | None, scope: Scope, where: Where) -> Any:
        """Runs a value through the lines of a chain; without one, the first item is the value it begins with."""
        state = _Chain(value)
        self._lines(chain.lines, state, scope, where)
        if state.value is None:
            raise Fact("the chain is empty").at(chain.at)
        return state.value

    def _lines(self, lines: tuple[Line, ...], state: _Chain, scope: Scope, where: Where) -> None:
        for line in lines:
            if line.loop is not None:
                assert line.over is not None
                values = self.value(line.over, Scope({"_": state.value}, scope))
                if not isinstance(values, tuple):
                    raise Fact(f"{line.over} is not a list or a range").at(line.over.at)
                if len(values) > 10_000:
                    raise Fact(f"a loop over {len(values)} things").at(line.over.at)
                for item in values:
                    self._lines(line.body, state, Scope({line.loop: item}, scope), where)
            elif line.label is not None:
                self._labelled(line, state, scope, where)
            else:
                for expr in line.items:
                    self._item(expr, state, scope, where)

    def _labelled(self, line: Line, state: _Chain, scope: Scope, where: Where) -> None:
        single = (
            len(line.body) == 1
            and line.body[0].loop is None
            and line.body[0].label is None
            and len(line.body[0].items) == 1
        )
        prefix = join(where.prefix, line.label or "")
        if single:
            self._item(line.body[0].items[0], state, scope, where, path=prefix)
        else:
            self._lines(line.body, state, scope, Where(where.module, prefix))
        if where.module is not None and isinstance(state.value, Node):
            if prefix in where.module.labels:
                raise Fact(f"the label {line.label} stands twice here", "a label names one place").at(line.at)
            where.module.labels[prefix] = state.value
            state.labelled = True

    def _item(self, expr: Expr, state: _Chain, scope: Scope, where: Where, path: str | None = None) -> None:
        begins = state.value is None
        number = where.count
        place = path if path is not None else join(where.prefix, str(number))
        inner = Where(where.module, place, root=expr)
        before = len(where.module.parts) if where.module is not None else 0
        item_scope = Scope({"_": state.value} if not begins else {}, scope, where=inner)
        item = self.value(expr, item_scope)
        if item is None:
            return
        if isinstance(item, Template | Named | View):
            if begins:
                raise Fact("a chain begins with a value, and this is a network", "write the value first").at(expr.at)
            try:
                if isinstance(item, Template):
                    item = self.expand(item, scope.wrappers, (state.value,), {}, expr, inner, place)
                else:
                    item = self.apply(item, (state.value,), {}, expr, item_scope)
            except Fact as fact:
                raise state.explain(fact.at(expr.at)) from None
        elif len(state.history) > 1 and not state.labelled and all(n.id != "_" for n in names(expr)):
            last = state.history[-1][0]
            raise Fact(f"this drops {last}, which stands before it", 'a list is one expression: "[a, b]"').at(expr.at)
        grown = where.module is not None and len(where.module.parts) > before
        if path is None and (not begins or grown):
            where.count += 1
        if isinstance(item, tuple) and not begins and not isinstance(item, Outputs) and len(item) == 1:
            item = item[0]
        state.value, state.labelled = item, False
        state.history.append((expr, item))

    # --- named networks and views

    def call_named(
        self,
        network: Named,
        view: dict[str, Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        call: Expr,
        scope: Scope,
        values: tuple[Any, ...] | None = None,
    ) -> Any:
        """A call of a network by name: its structure for these shapes, and one node for the call.

        `values` in place of its parameters stand behind its arguments, and the parameters' names under `given`.
        """
        source = network.source or network.name
        nodes, module = self.structure(source, arguments, keywords, call)
        holder = scope.where.module if scope.where else None
        if holder is not None:
            if network.source is not None:
                raise Fact(f"{network.name} is an average, and no part of a network", "call it in the game's graph")
            holder.parts.append(source)
        fields: dict[str, Any] = {"network": network.name, "source": source, "view": dict(view)}
        if holder is not None:
            fields["position"] = len(holder.parts) - 1
        if values is not None:
            if holder is not None:
                raise Fact("given is not for the inside of a network", "use it in a loss or in the game's graph")
            fields["given"], values = self._in_place_of(source, values, call)
            nodes = (*nodes, *values)
        entry = view.get("entry")
        if entry is not None:
            found = _labels(module).get(entry)
            if found is None:
                known = ", ".join(_labels(module)) or "none"
                raise Fact(f"{network.name} has no label '{entry}'", f"its labels are: {known}")
            return Node("call", nodes, found.type, call.at, fields | {"module": module})
        return self._applied(module, nodes, call, "call", fields)

    def structure(
        self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr
    ) -> tuple[tuple[Node, ...], Module]:
        """The module of a named network for these arguments; new for shapes that no call has had."""
        network = self.networks[name]
        template = self.definition(name)
        arguments = tuple(self._counted(a, call) for a in arguments)
        keywords = {key: self._counted(a, call) for key, a in keywords.items()}
        flat = [self._hosted(a) for a in (*arguments, *keywords.values())]
        types = tuple(
            tuple(n.type for n in map(self.node, f)) if isinstance(f, tuple) else f if f is None else self.node(f).type
            for f in flat
        )
        key = (self.variant_key(name), len(arguments), tuple(keywords), types)
        if key in network.variants:
            module = network.variants[key]
            nodes = tuple(self.node(n) for f in flat for n in (f if isinstance(f, tuple) else (f,)) if n is not None)
            return nodes, module
        if name in self.expanding:
            raise Fact(f"{name} is made of itself: {' -> '.join([*self.expanding, name])}")
        self.expanding.append(name)
        dropping, self.dropping = self.dropping, False
        try:
            module = Module("", name, network.at)
            nodes = self._open(name, module, template, arguments, keywords, call)
            _reads_its_own(module)
        except Fact as fact:
            types_ = [n.type for f in flat for n in (f if isinstance(f, tuple) else (f,)) if isinstance(n, Node)]
            raise self._from_network(fact, call, name, module.title, types_) from None
        finally:
            self.expanding.pop()
            self.dropping = dropping
        self._agree(network, module)
        network.add(key, module)
        return nodes, module

    def _open(
        self, name: str, module: Module, template: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr
    ) -> tuple[Node, ...]:
        """The body of a named network: the template's own body, or a single layer."""
        template, wrappers = unwrapped(template, ())
        if isinstance(template, BlockTemplate):
            module.title = template.title
            return self._fill(module, template, wrappers, arguments, keywords)
        assert isinstance(template, LayerTemplate), template
        nodes = tuple(ops.tensor_of(self._hosted(a)) for a in arguments)
        entries = tuple(self._entry(module, "x", n) for n in nodes)
        try:
            result = self.expand(template, wrappers, entries, {}, call, Where(module), "")
        except Fact as fact:
            raise fact.at(self.networks[name].at) from None
        self._finish(module, result)
        return nodes

    def _agree(self, network: Network, module: Module) -> None:
        if not network.variants:
            return
        first = dict(network.module.own_parameters(network.name))
        for name, shape in module.own_parameters(network.name):
            if name in first and first[name] != shape:
                raise Fact(
                    f"{network.name} is called with shapes that need different parameters: "
                    f"{name} is {list(first[name])} and {list(shape)}",
                    "all calls of a network share its parameters",
                )
            if name not in first:
                raise Fact(f"{network.name} is called with shapes that need another parameter, {name}")

    def _apply_view(
        self, view: View, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr, scope: Scope
    ) -> Any:
        if not isinstance(view.of, Named):
            raise Fact("a view is of a network with a name", "give it one under networks")
        return self.call_named(view.of, view.options, arguments, keywords, call, scope, view.values)

    def _in_place_of(self, name: str, values: tuple[Any, ...], call: Expr) -> tuple[tuple[str, ...], tuple[Node, ...]]:
        """Values for the parameters of a network, and the names of these."""
        parameters = self.weights_of((name,), (), call.at)
        if len(values) != len(parameters):
            raise Fact(f"weights({name}) are {len(parameters)}, and {len(values)} values stand in their place")
        found = tuple(ops.tensor_of(self._hosted(v), "a value in place of a parameter") for v in values)
        for parameter, value in zip(parameters, found, strict=True):
            if value.type.samples is not None or value.type.shape != parameter.type.shape:
                raise Fact(f"{parameter.name} is {parameter.type}, and {value.type} stands in its place")
        return tuple(p.name or "" for p in parameters), found

    def _core_call(self, name: str, expr: Call, scope: Scope) -> Any:
        return self.view(name, expr, scope) if name in ops.VIEWS else super()._core_call(name, expr, scope)

    def view(self, kind: str, expr: Call, scope: Scope) -> View:
        bound = ops.VIEWS[kind].bind(*self.arguments(expr, scope))
        inner = bound["N"]
        if not isinstance(inner, Named | View):
            raise Fact(f"{kind} is a view of a network with a name", f"as in {kind}(D)(x)")
        view = inner if isinstance(inner, View) else View(inner)
        if kind == "frozen":
            return dataclasses.replace(view, frozen=True)
        if kind == "still":
            return dataclasses.replace(view, still=True)
        if kind in ("training", "evaluation"):
            return dataclasses.replace(view, training=kind == "training")
        if kind == "given":
            values = bound["values"]
            if not isinstance(values, tuple):
                raise Fact("given(N, values) takes a list of values, in the order of weights(N)")
            return dataclasses.replace(view, frozen=True, values=values)
        text = bound["name" if kind == "statistics" else "label"]
        if (
            not isinstance(text, str)
            or not text.replace(".", "").replace("_", "").replace("[", "").replace("]", "").isalnum()
        ):
            raise Fact(
                f'{kind} takes a name in quotes, as in {kind}(N, "{"prior" if kind == "statistics" else "conv3"}")'
            )
        return (
            dataclasses.replace(view, statistics=text)
            if kind == "statistics"
            else dataclasses.replace(view, entry=text)
        )

    # --- to be given by the walk over the spec

    expanding: list[str]

    def definition(self, name: str) -> Any:
        raise NotImplementedError

    def weights_of(self, networks: tuple[str, ...], types: tuple[str, ...], at: Place) -> tuple[Node, ...]:
        """The parameters of networks and of those inside them, or the weights of their layers of some types."""
        raise NotImplementedError

    def variant_key(self, name: str) -> Any:
        return None

    def spec_index(self) -> dict[str, tuple[Any, ...]]:
        return {}


SCORES = ("real", "fake", "shown")  # arguments of a family that somebody judged


class _Maker:
    """A layer or wrapper by name."""

    def __init__(self, name: str):
        self.name = name

    def bind(self) -> None:
        """Makes the evaluator take this for something that brackets call."""


class _Chain:
    """The value so far, and the line that is being read."""

    def __init__(self, value: Any):
        self.value, self.labelled = value, False  # whether a name is left for it
        self.history: list[tuple[Expr | None, Any]] = [(None, value)]

    def explain(self, fact: Fact) -> Fact:
        """Adds the trail of shapes to a fact, once."""
        if not fact.explained:
            shown = [(e, v) for e, v in self.history if isinstance(v, Node)][-4:]
            parts = [f"{v.type}" if e is None or i == 0 else f"{e} -> {v.type}" for i, (e, v) in enumerate(shown)]
            fact.explained = True
            if len(shown) > 1:
                fact.trail = (*fact.trail, f"shapes: {' -> '.join(parts)}")
        return fact


def _reduces(word: Definition) -> bool:
    """Whether a formula reduces lists itself, with `add` or `average`; else it is mapped over them."""
    body = word.read()
    formulas = (body.discriminator, body.generator) if isinstance(body, TwoSides) else (body,)
    return any(name.id in ("add", "average") for formula in formulas for name in names(formula))


def _reads_its_own(module: Module) -> None:
    """A network is made of its inputs: it cannot read what the game draws or makes."""
    own = set(map(id, module.inputs))
    for node in walk([*module.outputs, *module.values]):
        if node.op in ("input", "draw") and id(node) not in own:
            help = f"list it among the inputs of {module.path or module.title}, and give it where that is called"
            raise Fact(f"{module.title} reads {node.name}, which is none of its inputs", help)


def _refuse_outputs(word: Definition, given: dict[str, Any]) -> None:
    """Scores are lists of scales, all of them or none; several outputs by name are of different kinds."""
    scores = {name: value for name, value in given.items() if isinstance(value, tuple | Node) and name in SCORES}
    for name, value in scores.items():
        if isinstance(value, Outputs) and value.names:
            fact = f"{name} of {word.name} is a call with the outputs {', '.join(value.names)}"
            raise Fact(fact, f"take the score, as in {name}=D(...).{value.names[0]}")
    lists = {name: value for name, value in scores.items() if isinstance(value, tuple)}
    single = [name for name in scores if name not in lists]
    for name, value in lists.items() if single else ():
        raise Fact(f"{name} of {word.name} is a list of {len(value)}, and {single[0]} is one value")


def _labels(module: Module, prefix: str = "") -> dict[str, Node]:
    found = {join(prefix, name): node for name, node in module.labels.items()}
    for child in module.children:
        if child.layer is None:
            found |= _labels(child, join(prefix, child.path))
    return found
