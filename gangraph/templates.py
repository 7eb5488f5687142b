"""What an expression can be besides a number or a node: networks that nothing has run through, lists, losses.

A template makes new parameters each time it is applied; a `Named` network is one network however often it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from gangraph.errors import Fact, Place
from gangraph.frozen import frozen
from gangraph.ir import Node

if TYPE_CHECKING:
    from gangraph.layers import Layer
    from gangraph.spec import Chain, GraphNetwork


class Scope:
    """Names that an expression can see: a frame, and the frames around it.

    `index` holds index variables that a family's key has bound; `families` the local families of a graph. A scope
    with `inside` is a block's: the spec's names are out of sight.
    """

    __slots__ = ("families", "frame", "index", "inside", "parent", "standard", "where", "wrappers")

    def __init__(
        self,
        frame: dict[str, Any],
        parent: Scope | None = None,
        index: dict[str, Any] | None = None,
        inside: bool = False,
        where: Where | None = None,
        standard: bool | None = None,
        wrappers: tuple[Any, ...] | None = None,
    ):
        self.frame, self.parent = frame, parent
        self.index: dict[str, Any] = index if index is not None else (parent.index if parent else {})
        self.inside: bool = inside or (parent.inside if parent else False)
        self.where: Where | None = where or (parent.where if parent else None)
        self.standard: bool = standard if standard is not None else parent is not None and parent.standard
        self.wrappers: tuple[Any, ...] = wrappers if wrappers is not None else parent.wrappers if parent else ()
        self.families: dict[str, dict[tuple[Any, ...], str]] = {}

    def find(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.frame:
                return scope.frame[name]
            scope = scope.parent
        return MISSING

    def family(self, name: str) -> tuple[Scope, dict[tuple[Any, ...], str]] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.families:
                return scope, scope.families[name]
            scope = scope.parent
        return None

    def names(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.frame
            yield from scope.families
            scope = scope.parent


MISSING = object()


@dataclass
class Where:
    """Where in a module an application stands: it gives each its path."""

    module: Any  # ir.Module, or None at the level of the spec
    prefix: str = ""
    count: int = 0
    root: Any = None  # the expression that is the whole item: it bears the prefix itself

    def path(self, expr: Any) -> str:
        if self.root is not None and expr is self.root:
            return self.prefix
        self.count += 1
        return join(self.prefix, str(self.count - 1))


def join(*parts: str) -> str:
    return ".".join(filter(None, parts))


class Thunk:
    """A value that is evaluated at its first use."""

    __slots__ = ("busy", "make", "value")

    def __init__(self, make: Any):
        self.make, self.value, self.busy = make, MISSING, False


class Template:
    """A network without identity; `title` is what its author calls it."""


@dataclass(eq=False)
class LayerTemplate(Template):
    layer: Layer

    @property
    def title(self) -> str:
        return self.layer.title


@dataclass(eq=False)
class BlockTemplate(Template):
    """A block of the library (or of the spec) with its parameters bound, or a network written in place."""

    title: str
    body: Chain | GraphNetwork
    scope: Scope


@dataclass(eq=False)
class Wrapped(Template):
    """SpectralNorm, Equalized or WeightNorm around a template: it reaches every weight inside."""

    wrapper: Any
    inner: Any

    @property
    def title(self) -> str:
        return type(self.wrapper).__name__


def unwrapped(template: Any, wrappers: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """What wrappers stand around, and they with those further out, the innermost first; of one kind that alone."""
    while isinstance(template, Wrapped):
        outer = (w for w in wrappers if type(w) is not type(template.wrapper))
        wrappers, template = (template.wrapper, *outer), template.inner
    return template, wrappers


def same(a: Any, b: Any) -> bool:
    """Whether two templates, or values that are given to blocks, make the same layers."""
    if isinstance(a, LayerTemplate) and isinstance(b, LayerTemplate):
        return str(a.layer) == str(b.layer)
    if isinstance(a, Wrapped) and isinstance(b, Wrapped):
        return bool(a.wrapper == b.wrapper) and same(a.inner, b.inner)
    if isinstance(a, BlockTemplate) and isinstance(b, BlockTemplate):
        mine, its = a.scope.frame, b.scope.frame
        return a.body is b.body and mine.keys() == its.keys() and all(map(same, mine.values(), its.values()))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@frozen
class Named:
    """A network by its name; `source` is the network that an average follows."""

    name: str
    source: str | None = None

    def __str__(self) -> str:
        return self.name


@frozen
class View:
    """A network called in another way: constants for parameters, another mode, other statistics, a prefix."""

    of: Any  # Named, or a template inside a block
    frozen: bool = False
    training: bool | None = None
    statistics: str | None = None
    still: bool = False
    entry: str | None = None
    values: tuple[Any, ...] | None = None  # in place of its parameters, in the order of `weights`

    @property
    def options(self) -> dict[str, Any]:
        found = {
            "frozen": self.frozen or None,
            "training": self.training,
            "statistics": self.statistics,
            "still": self.still or None,
            "entry": self.entry,
        }
        return {k: v for k, v in found.items() if v is not None}


class Outputs(tuple[Node, ...]):
    """Several outputs of one call; `mu, logvar: E(x)` or `E(x).mu`."""

    names: tuple[str, ...]

    def __new__(cls, nodes: Any, names: tuple[str, ...]) -> Outputs:
        made = super().__new__(cls, nodes)
        made.names = names
        return made


@frozen
class TwoSided:
    """A loss with a side for each player; `family` is how its author wrote it."""

    said: ClassVar[str] = "a loss with two sides"

    discriminator: Any
    generator: Any
    family: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    at: Place = field(default_factory=Place)

    def side(self, name: str) -> Any:
        return self.discriminator if name == "discriminator" else self.generator


@frozen
class Init:
    """An initializer: its name, its arguments, a factor."""

    said: ClassVar[str] = "an initializer"

    name: str
    arguments: tuple[tuple[str, float], ...] = ()
    scale: float = 1.0

    def check(self, dimensions: int) -> None:
        """Refuses a tensor of one axis where inputs and outputs are counted."""
        if dimensions < 2 and self.name.startswith(("xavier", "kaiming", "orthogonal", "fan")):
            raise Fact(f"{self} begins matrices and kernels, and no list of numbers", "as zeros(), normal(0, 0.02)")

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v:g}" for k, v in self.arguments)
        return (f"{self.scale:g} * " if self.scale != 1 else "") + f"{self.name}({inside})"
