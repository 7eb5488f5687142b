"""Networks: templates applied to arrays, blocks expanded from the shapes of what they are applied to.

A layer or block call is a template, and each application makes parameters of its own, named by where it stands. A name
under `networks` is one network however often it is used (design, templates and identity).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gangraph.expressions import Expr
from gangraph.families import Rule, expand_keys
from gangraph.frozen import frozen
from gangraph.reference.expressions import Interpreter, Network
from gangraph.reference.layers import Layer
from gangraph.reference.scopes import Place, Scope, join
from gangraph.reference.values import Outputs, Thunk, number
from gangraph.spec import Chain, GivenNetwork, GraphNetwork, Line


@dataclass(eq=False)
class LayerTemplate(Network):
    layer: Layer


@dataclass(eq=False)
class BlockTemplate(Network):
    title: str
    body: Any  # Chain or GraphNetwork
    scope: Scope


@dataclass(eq=False)
class Wrapped(Network):
    wrapper: Any
    inner: Any


@frozen
class Named(Network):
    """A network of the spec; `average` where it is an average of it."""

    name: str
    average: str | None = None


@frozen
class View(Network):
    of: Named
    frozen: bool = False
    training: bool | None = None
    statistics: str | None = None
    still: bool = False
    until: str | None = None
    given: Any = None


class Reached(Exception):
    """No error: the value of `upto` has been found."""

    def __init__(self, value: Any):
        self.value = value


@dataclass
class Run:
    """One call of a network with a name."""

    network: str
    home: str
    head: str  # VALUE/NETWORK, the beginning of its draws' names
    training: bool
    forced: bool | None = None  # a mode that holds for the networks inside too
    frozen: bool = False
    average: str | None = None
    statistics: str | None = None
    still: bool = False
    until: str | None = None
    given: dict[str, Any] | None = None
    parts: int = 0


@dataclass
class LayerSite:
    """Where a layer stands: see `layers.Site`."""

    world: Blocks
    run: Run
    path: str
    wrappers: tuple[Any, ...] = ()
    kind: str = ""

    @property
    def training(self) -> bool:
        return self.run.training

    def name(self, part: str) -> str:
        return join(self.run.network, self.path, part)

    def parameter(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.world.parameter(self.run, self.name(name), shape, self.kind)

    def weight(self, layer: Any, shape: tuple[int, ...], bias: bool) -> tuple[Any, Any]:
        w = self.parameter("weight", shape)
        b = self.parameter("bias", (layer.width,)) if bias else None
        for depth, wrapper in zip(range(len(self.wrappers) - 1, -1, -1), self.wrappers, strict=True):
            w, b = wrapper.use(w, b, layer, self, "first." * depth)
        return w, b

    def buffer(self, name: str, shape: tuple[int, ...], start: float) -> Any:
        return self.world.buffer(self.run, self.name(name), shape, start)

    def keep(self, name: str, array: Any) -> None:
        if not self.run.still:
            self.world.keep(self.run, self.name(name), array)

    def draw(self, shape: tuple[int, ...]) -> Any:
        return self.world.layer_draw(join(self.run.head, self.path), shape)

    def rounded(self, total: Any) -> Any:
        return self.world.rounded(total)


class Blocks(Interpreter):
    """Applies networks. Arrays, draws and the networks' definitions are the evaluation's."""

    # --- to be given

    def parameter(self, run: Run, name: str, shape: tuple[int, ...], kind: str) -> Any:
        raise NotImplementedError

    def buffer(self, run: Run, name: str, shape: tuple[int, ...], start: float) -> Any:
        raise NotImplementedError

    def keep(self, run: Run, name: str, array: Any) -> None:
        raise NotImplementedError

    def layer_draw(self, name: str, shape: tuple[int, ...]) -> Any:
        raise NotImplementedError

    def rounded(self, total: Any) -> Any:
        """A sum, as a game that rounds otherwise has it."""
        return total

    def uneven(self, sums: Any) -> Any:
        """Sums that are made alike, as a game has them that rounds each otherwise."""
        return sums

    def network(self, name: str) -> tuple[Any, bool, str | None]:
        """A network's template, whether it is declared frozen, and its mode."""
        raise NotImplementedError

    def head(self, home: str, network: str) -> str:
        raise NotImplementedError

    def called(self, outer: str | None, inner: str) -> None:
        """A network called another (or the spec called it)."""

    def named(self, value: Any, name: str) -> Any:
        return value

    def spec_index(self) -> dict[str, tuple[Any, ...]]:
        return {}

    def in_place(self, network: str, values: tuple[Any, ...]) -> dict[str, Any]:
        """Values for the parameters of a network, by the names of these."""
        raise NotImplementedError

    # --- making

    def template(self, layer: Any) -> Any:
        return LayerTemplate(layer)

    def wrapped(self, wrapper: Any, inner: Any) -> Any:
        assert not isinstance(inner, Named), "a wrapper does not reach into a network with a name of its own"
        return Wrapped(wrapper, inner)

    def block(self, definition: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        return self.network_of(definition.read(), self._parameters(definition, arguments, keywords), definition.name)

    def _parameters(self, definition: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Scope:
        """The scope of a definition's body: its parameters; a default may read those in front of it."""
        bound = definition.bind(arguments, keywords)
        scope = Scope(inside=True, standard=definition.standard)
        for name, default in definition.parameters:
            scope.frame[name] = number(bound[name]) if name in bound else self.value(default, scope)
        return scope

    def taken_from_torch(self, definition: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        from gangraph.reference.declared import Declared

        values = self._parameters(definition, arguments, keywords).frame
        return LayerTemplate(Declared(str(definition.read().torch), values))

    def network_of(self, body: Any, scope: Scope, title: str) -> Any:
        if isinstance(body, GivenNetwork):
            body = body.definition
        if isinstance(body, Expr):
            return self.value(body, scope)
        return BlockTemplate(title, body, scope)

    def view(self, kind: str, arguments: tuple[Any, ...]) -> Any:
        inner = arguments[0]
        view = inner if isinstance(inner, View) else View(inner)
        changes: dict[str, Any] = {
            "frozen": {"frozen": True},
            "still": {"still": True},
            "training": {"training": True},
            "evaluation": {"training": False},
            "statistics": {"statistics": arguments[-1]},
            "upto": {"until": arguments[-1]},
            "given": {"given": arguments[-1]},
        }[kind]
        return replace(view, **changes)

    # --- applying

    def apply(
        self, network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr, scope: Scope
    ) -> Any:
        if isinstance(network, Named | View):
            return self.call_named(network, arguments, keywords, scope)
        place = scope.place or Place(None)
        return self.expand(network, scope.wrappers, arguments, keywords, scope, place.path(call))

    def expand(
        self, template: Any, wrappers: tuple[Any, ...], arguments: tuple[Any, ...], keywords: dict[str, Any],
        scope: Scope, path: str,
    ) -> Any:  # fmt: skip
        """A template applied to values at a path. Wrappers stand innermost first; of a kind the innermost wins."""
        run = scope.place.run if scope.place else None
        while isinstance(template, Wrapped):
            outer = [w for w in wrappers if type(w) is not type(template.wrapper)]
            wrappers, template = (template.wrapper, *outer), template.inner
        if isinstance(template, Named | View):
            return self.call_named(template, arguments, keywords, scope)
        if run is None:
            run = Run("", scope.home, "", True)
        run.parts += 1
        if isinstance(template, LayerTemplate):
            layer = template.layer
            site = LayerSite(self, run, path, wrappers if layer.weighted else (), type(layer).__name__)
            (value,) = arguments or (None,)
            made = layer(value, site)  # of nothing, for a Parameter
            return made.but(self.uneven(made.data)) if layer.weighted else made
        assert isinstance(template, BlockTemplate), template
        return self.fill(template, wrappers, arguments, keywords, run, path)

    def fill(
        self, template: BlockTemplate, wrappers: tuple[Any, ...], arguments: tuple[Any, ...],
        keywords: dict[str, Any], run: Run, path: str,
    ) -> Any:  # fmt: skip
        """The body of a block, on these values."""
        scope = template.scope.inner(place=Place(run, path), wrappers=wrappers, home=run.home, dropping=False)
        body = template.body
        if isinstance(body, Chain):
            (value,) = arguments
            return self.chain(body, value, scope, Place(run, path))
        given = dict(zip([i.name for i in body.inputs or []], arguments, strict=False)) | keywords
        for entry in body.inputs or []:
            if given.get(entry.name) is None and not entry.optional:
                raise TypeError(f"{template.title} misses its input {entry.name}")
            scope.frame[entry.name] = given.get(entry.name)
        return self.graph(body, scope, run, path)

    def graph(self, body: GraphNetwork, scope: Scope, run: Run, path: str) -> Any:
        index = {} if scope.inside else dict(self.spec_index())
        index |= {str(name): self.value(expr, scope) for name, expr in body.index.items()}
        rules = [Rule.of(key, value) for key, value in body.graph.items()]
        members, scope.families = expand_keys(
            rules, index, lambda expr, bound: self.index_value(expr, scope.inner(index=scope.index | bound))
        )

        def whole(member: Any) -> Any:
            inner = scope.inner(index=scope.index | member.bound)
            return self.body_value(member.body, inner, Place(run, join(path, member.names[0])))

        def part(made: Thunk, at: int | None, name: str) -> Any:
            return self.named(made.force() if at is None else made.force()[at], f"{run.network}:{name}")

        for member in members:
            made = Thunk(partial(whole, member))
            for i, name in enumerate(member.names):
                scope.frame[name] = Thunk(partial(part, made, i if len(member.names) > 1 else None, name))
        for member in members:
            for name in member.names:
                scope.frame[name].force()
        if body.outputs is not None:
            outputs = Outputs(self.value(expr, scope) for expr in body.outputs)
            outputs.names = tuple(map(str, body.outputs))
            return outputs
        return self.body_value(body.output, scope, Place(run, path))

    def body_value(self, body: Any, scope: Scope, place: Place) -> Any:
        if isinstance(body, Chain):
            return self.chain(body, None, scope, place)
        return self.value(body, scope.inner(place=place))

    # --- chains

    def chain(self, chain: Chain, value: Any, scope: Scope, place: Place) -> Any:
        """Items left to right; a network is applied to the value so far, a value takes its place, None is left out."""
        return self.lines(chain.lines, value, scope, place)

    def lines(self, lines: tuple[Line, ...], value: Any, scope: Scope, place: Place) -> Any:
        for line in lines:
            if line.loop is not None:
                assert line.over is not None
                seen = {} if value is None else {"_": value}
                for item in self.value(line.over, scope.inner(seen, place=place)):
                    value = self.lines(line.body, value, scope.inner({line.loop: item}), place)
            elif line.label is not None:
                value = self.labelled(line, value, scope, place)
            else:
                for expr in line.items:
                    value = self.item(expr, value, scope, place)
        return value

    def labelled(self, line: Line, value: Any, scope: Scope, place: Place) -> Any:
        """On a single item a label is its name, on several a prefix."""
        prefix = join(place.prefix, line.label or "")
        body = line.body
        single = len(body) == 1 and body[0].loop is None and body[0].label is None and len(body[0].items) == 1
        if single:
            value = self.item(body[0].items[0], value, scope, place, prefix)
        else:
            value = self.lines(body, value, scope, Place(place.run, prefix))
        if place.run is not None and place.run.until == prefix:
            raise Reached(value)
        return value

    def item(self, expr: Expr, value: Any, scope: Scope, place: Place, path: str | None = None) -> Any:
        """Items are numbered as they come to stand, but for the value that a chain begins with and what has a label."""
        at = path if path is not None else join(place.prefix, str(place.count))
        inner = scope.inner({} if value is None else {"_": value}, place=Place(place.run, at, root=expr))
        before = place.run.parts if place.run else 0
        found = self.value(expr, inner)
        if found is None:
            return value
        if isinstance(found, Network):
            if isinstance(found, Named | View):
                found = self.call_named(found, (value,), {}, inner)
            else:
                found = self.expand(found, scope.wrappers, (value,), {}, inner, at)
        grown = place.run is not None and place.run.parts > before
        if path is None and (value is not None or grown):
            place.count += 1
        return found

    # --- networks with a name

    def call_named(self, network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], scope: Scope) -> Any:
        view = network if isinstance(network, View) else View(network)
        named = view.of
        outer: Run | None = scope.place.run if scope.place else None
        if outer is not None and not outer.network:
            outer = None
        if outer is not None:
            outer.parts += 1
        self.called(outer.network if outer else None, named.name)
        template, frozen, mode = self.network(named.name)
        run = self._run(view, outer, outer.home if outer else scope.home, frozen, mode)
        try:
            return self._body(template, run, arguments, keywords)
        except Reached as found:
            if run.until is None:
                raise
            return found.value

    def _run(self, view: View, outer: Run | None, home: str, frozen: bool, mode: str | None) -> Run:
        forced = view.training
        if forced is None and outer is not None:
            forced = outer.forced
        if forced is None and (view.of.average or frozen):
            forced = mode == "train"
        given = None if view.given is None else self.in_place(view.of.name, view.given)
        run = Run(
            view.of.name, home, self.head(home, view.of.average or view.of.name), forced is not False, forced,
            view.frozen, view.of.average, view.statistics, view.still, view.until, given,
        )  # fmt: skip
        if outer is not None:
            run.frozen |= outer.frozen
            run.still |= outer.still
            run.average = run.average or outer.average
            run.statistics = run.statistics or outer.statistics
            run.given = run.given or outer.given
        return run

    def _body(self, template: Any, run: Run, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        wrappers: tuple[Any, ...] = ()
        while isinstance(template, Wrapped):
            outer = [w for w in wrappers if type(w) is not type(template.wrapper)]
            wrappers, template = (template.wrapper, *outer), template.inner
        if isinstance(template, BlockTemplate):
            return self.fill(template, wrappers, arguments, keywords, run, "")
        return self.expand(template, wrappers, arguments, keywords, Scope(place=Place(run), home=run.home), "")


def parameter(array: Any, shape: tuple[int, ...], name: str) -> Any:
    """An array that has the shape that its layer expects of it."""
    if tuple(array.shape) != tuple(shape):
        raise ValueError(f"{name} is {list(array.shape)}, and its layer has {list(shape)}")
    return array
