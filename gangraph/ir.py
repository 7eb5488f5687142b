"""The values that the stages hand on: types, nodes, modules.

A `Node` is one value of the dataflow: an operator, its arguments, its type. Networks are `Module` trees: a layer, or
a block with a body of nodes of its own. A node is itself (compared by identity): two calls that read alike are two
calls. Nothing here knows torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gangraph.errors import Fact, Place
from gangraph.frozen import frozen
from gangraph.layers import Layer, wrapped_parameters

Shape = tuple[int, ...]
Range = tuple[float, float]


@frozen
class Length:
    """An integer made from the batch size N: its text, and its values for a few N.

    Two lengths are equal when they agree for all of these batch sizes; the first is the batch of `train`.
    """

    text: str = field(compare=False)
    values: tuple[int, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def now(self) -> int:
        return self.values[0]

    def combine(self, operator: str, other: Length | int, swapped: bool = False) -> Length:
        values = other.values if isinstance(other, Length) else (other,) * len(self.values)
        pairs = zip(values, self.values, strict=True) if swapped else zip(self.values, values, strict=True)
        functions = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "//": int.__floordiv__, "%": int.__mod__}
        if operator not in functions:
            raise Fact(f"{self.text} {operator} {other}: a number of samples takes + - * // and %")
        left, right = map(bracketed, (other, self) if swapped else (self, other))
        try:
            return Length(f"{left} {operator} {right}", tuple(functions[operator](a, b) for a, b in pairs))
        except ZeroDivisionError:
            raise Fact(f"{left} {operator} {right} divides by zero") from None


def bracketed(value: object) -> str:
    """A number of samples as an operand."""
    text = str(value)
    return text if text.replace("_", "").isalnum() else f"({text})"


def batch(size: int) -> Length:
    """N, with the batch sizes on which lengths are compared: the given one and multiples of it."""
    return Length("N", (size, 2 * size, 3 * size))


@frozen
class Type:
    """What is known of a value before it exists.

    `shape` are the own axes; `samples` is the length of the sample axis in front of them, None for a shared value.
    `host` marks a number that the program holds as a Python float: a constant, a clock, a size.
    """

    shape: Shape = ()
    samples: Length | None = None
    dtype: str = "float"  # "float", "int" or "bool"
    classes: int | None = None  # of a label
    range: Range | None = None  # None: unknown or unbounded
    domain: str | None = None  # the stream a value belongs to
    kind: str | None = None  # "probability" once through a sigmoid or softmax
    host: bool = False

    def __str__(self) -> str:
        axes = ([self.samples.text] if self.samples else []) + [str(n) for n in self.shape]
        text = f"[{', '.join(axes)}]" if axes else ("number" if self.host else "scalar")
        if self.range:
            text += f" in [{self.range[0]:g}, {self.range[1]:g}]"
        return text

    def but(self, **changes: Any) -> Type:
        return replace(self, **changes)

    @property
    def plain(self) -> bool:
        """Whether nothing but shape, samples and domain is known, which arithmetic hands on."""
        return self.dtype == "float" and self.range is None and self.kind is None and self.classes is None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


HOST = Type(host=True)


@dataclass(eq=False, slots=True)
class Node:
    """One value: `op` applied to `args`.

    Operators of the language are named in `ops.OPERATORS`; the others are
    "input" "draw" "constant" "clock" "state" "parameter" "number" "length" "latest" "p" (leaves), "call" (a named
    network; `fields` holds `network` and `view`), "apply" (a child module of the body that the node stands in),
    "output" (one of several outputs), "chunk" "slice" "spread" (parts, and a shared value for each sample), "alias",
    "ifelse" "and" "or" "not", "grad", "replay", "loss" (a loss or a side by name), "dropped" (a term with factor 0),
    "data_mean", "separability".
    """

    op: str
    args: tuple[Node, ...]
    type: Type
    at: Place
    fields: dict[str, Any] = field(default_factory=dict)
    name: str | None = None  # the name by which a spec or block knows it
    value: Any = None  # of a host number that is known before anything runs
    passes: tuple[Node, ...] | None = field(default=None, init=False)  # kept for `routing.passing`

    def __str__(self) -> str:
        label = self.name or ""
        inside = ", ".join(a.name or a.op for a in self.args)
        what = self.fields.get("network") or self.fields.get("path") or self.op
        return f"{label + ': ' if label else ''}{what}({inside}) -> {self.type}"

    __repr__ = __str__


@dataclass(eq=False)
class Module:
    """A network's structure for inputs of certain shapes: a layer, or a block with a body.

    `path` is its name in its parent (`down[3].1`). `parts` are its children and the named networks that it calls, in
    the order of expansion, which is the order of parameters. `values` are its named nodes, also those that no output
    reads.
    """

    path: str
    title: str  # the block's or the layer's name
    at: Place
    layer: Layer | None = None
    wrappers: tuple[Any, ...] = ()
    shape: Shape = ()  # own axes of the input of a layer
    parts: list[Module | str] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    several: bool = False  # whether the outputs are several (names) or a list
    output_names: tuple[str, ...] = ()
    labels: dict[str, Node] = field(default_factory=dict)
    values: list[Node] = field(default_factory=list)
    cut: dict[str | None, tuple[int, ...]] = field(default_factory=dict, repr=False)  # inputs, by where a call ends
    _parameters: dict[str, Shape] | None = field(default=None, repr=False)

    @property
    def children(self) -> list[Module]:
        return [part for part in self.parts if not isinstance(part, str)]

    @property
    def calls(self) -> list[str]:
        return [part for part in self.parts if isinstance(part, str)]

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> Iterator[str]:
        pad = "  " * depth
        if self.layer is not None:
            yield f"{pad}{self.path}: {self.layer} {list(self.shape)}"
            return
        yield f"{pad}{self.path}: {self.title}"
        for child in self.children:
            yield from child._lines(depth + 1)

    def layers(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Every layer below, with its whole path, in the order of expansion."""
        for child in self.children:
            path = f"{prefix}.{child.path}" if prefix and child.path else prefix or child.path
            if child.layer is not None:
                yield path, child
            else:
                yield from child.layers(path)

    def own_parameters(self, name: str) -> Iterator[tuple[str, Shape]]:
        """`NETWORK.LAYER.weight` and shape of every parameter that belongs to this module, in order."""
        top = [("", self)] if self.layer is not None else list(self.layers())
        for path, module in top:
            for parameter, shape in module.parameters().items():
                yield ".".join(filter(None, (name, path, parameter))), shape

    def parameters(self) -> dict[str, Shape]:
        """The tensors of a layer by name, in order; found once, as a layer and its shape stay what they are."""
        if self._parameters is None:
            assert self.layer is not None
            self._parameters = wrapped_parameters(self.layer, self.wrappers, self.shape)
        return self._parameters

    @property
    def random(self) -> bool:
        """Whether a draw is made somewhere inside (in the module's own layers)."""
        if self.layer is not None:
            return bool(self.layer.random)
        return any(child.random for child in self.children)

    @property
    def stateful(self) -> bool:
        if self.layer is not None:
            return bool(self.layer.stateful) or any(getattr(w, "stateful", False) for w in self.wrappers)
        return any(child.stateful for child in self.children)

    @property
    def batch_coupled(self) -> bool:
        if self.layer is not None:
            return bool(self.layer.batch_coupled)
        return any(child.batch_coupled for child in self.children)


@dataclass
class Network:
    """A network by name: identity, parameters, and one `Module` for every kind of call.

    `variants` are keyed by the shapes of the inputs (and, where the structure depends on it, the stage); all of them
    have the same parameters.
    """

    name: str
    at: Place
    frozen: bool = False
    mode: str | None = None  # "train" where a frozen part is called in training mode
    external: bool = False
    template: Any = None  # of the first stage; None where every stage composes it anew
    variants: dict[Any, Module] = field(default_factory=dict)
    _called: tuple[str, ...] | None = field(default=None, repr=False)  # these two are found once for what there is
    _parameters: tuple[tuple[str, Shape], ...] | None = field(default=None, repr=False)

    @property
    def module(self) -> Module:
        return next(iter(self.variants.values()))

    def add(self, key: Any, module: Module) -> None:
        self.variants[key] = module
        self._called = self._parameters = None

    @property
    def called(self) -> tuple[str, ...]:
        """Named networks that some variant calls, in order."""
        if self._called is None:
            self._called = tuple(dict.fromkeys(name for m in self.variants.values() for name in all_calls(m)))
        return self._called

    def parameters(self) -> tuple[tuple[str, Shape], ...]:
        """The tensors of its own layers, in order, by their whole names."""
        if self._parameters is None:
            found: dict[str, Shape] = {}
            for module in self.variants.values():
                found.update(module.own_parameters(self.name))
            self._parameters = tuple(found.items())
        return self._parameters


def all_calls(module: Module) -> Iterator[str]:
    yield from module.calls
    for child in module.children:
        yield from all_calls(child)


def leaves(value: Any) -> list[Node]:
    """The nodes of a value, of a list, of a list of lists."""
    if isinstance(value, Node):
        return [value]
    return [node for item in value for node in leaves(item)] if isinstance(value, tuple) else []


def visit(
    roots: Iterable[Node], into: Callable[[Node], Iterable[Node]], seen: set[int] | None = None
) -> Iterator[Node]:
    """The roots and every node that `into` leads to, each once, a node before what it leads to, the last of them first.

    With `seen`, nodes of an earlier visit are left out.
    """
    seen = set() if seen is None else seen
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            stack += into(node)


def walk(roots: list[Node] | tuple[Node, ...], stop: Collection[int] = frozenset()) -> list[Node]:
    """Every node that the roots are made of, arguments before the node, left to right, each once.

    What is below a node whose id is in `stop` is left out; that node itself is not.
    """
    seen: set[Node] = set()
    made: list[Node] = []
    path: list[Node] = []
    stack: list[Node | None] = list(roots[::-1])
    while stack:
        node = stack.pop()
        if node is None:
            made.append(path.pop())
            continue
        if node in seen:
            continue
        seen.add(node)
        if not node.args or (stop and id(node) in stop):
            made.append(node)
            continue
        path.append(node)
        stack.append(None)  # closes the node when its arguments have been placed
        stack.extend(node.args[::-1])
    return made
