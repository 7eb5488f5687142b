"""The operators of the language: for each its signature, its type rule and the PyTorch text that it becomes.

An operator receives nodes (host numbers included), numbers, texts and lists, and says which nodes it reads, what type
comes out, and which static fields its text needs. Own axes count from 1, because the sample axis is 0, also for a
shared value, which has length 1 there. Whatever does not fit is a `Fact`.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable
from typing import Any

from gangraph.errors import Fact, Place, nearest
from gangraph.frozen import frozen
from gangraph.ir import HOST, Length, Node, Range, Shape, Type, bracketed, walk

Made = tuple[tuple[Node, ...], Type, dict[str, Any]]
Rule = Callable[..., Made]


@frozen
class Signature:
    """A word of the language with its arguments, as a person writes them: `v, size, swap=0.5`."""

    name: str
    signature: str

    @functools.cached_property
    def parameters(self) -> list[tuple[str, Any]]:
        """Names with their defaults."""
        found = []
        for part in filter(None, (p.strip() for p in self.signature.split(","))):
            name, equals, default = part.partition("=")
            found.append((name, _literal(default) if equals else _REQUIRED))
        return found

    def bind(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name. Raises `Fact` for a missing, unknown or surplus one."""
        parameters = self.parameters
        if len(arguments) == len(parameters) and not keywords and parameters and "*" not in self.signature:
            return {name: value for (name, _), value in zip(parameters, arguments, strict=True)}
        bound: dict[str, Any] = {}
        starred = next((i for i, (name, _) in enumerate(parameters) if name.startswith("*")), None)
        if starred is not None:
            bound[parameters[starred][0][1:]] = arguments[starred:]
            parameters, arguments = parameters[:starred] + parameters[starred + 1 :], arguments[:starred]
        names = [name for name, _ in parameters]
        if len(arguments) > len(names):
            raise Fact(
                f"{self.name} takes {len(names)} arguments, not {len(arguments)}", f"{self.name}({self.signature})"
            )
        bound |= dict(zip(names, arguments, strict=False))
        for name, value in keywords.items():
            if name not in names:
                raise Fact(
                    f"{self.name} has no argument '{name}'", nearest(name, names) or f"{self.name}({self.signature})"
                )
            if name in bound:
                raise Fact(f"{self.name} gets '{name}' twice")
            bound[name] = value
        for name, default in parameters:
            if name not in bound:
                if default is _REQUIRED:
                    raise Fact(f"{self.name} misses its argument '{name}'", f"{self.name}({self.signature})")
                bound[name] = default
        return bound


@frozen
class Operator(Signature):
    """One operator. `text` is a template: `{0}` is an argument in brackets where it needs them, `{0!s}` as it is."""

    rule: Rule
    text: str | None = None
    maps: bool = True  # a list in place of a value: apply to each, zip several
    blocked: tuple[int, ...] = ()  # arguments that no gradient reaches
    affine: bool = False  # the derivative does not read the arguments
    host: Callable[..., float] | None = None  # the same for numbers known before anything runs
    host_text: str | None = None


_REQUIRED = object()


def _literal(text: str) -> Any:
    """A default: a number, truth value or None, else a word."""
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text


OPERATORS: dict[str, Operator] = {}


def operator(signature: str, **options: Any) -> Callable[[Rule], Rule]:
    """Registers a rule under the name that its signature begins with."""
    name, _, rest = signature.partition("(")

    def register(rule: Rule) -> Rule:
        OPERATORS[name] = Operator(name, rest.rstrip(")"), rule, **options)
        return rule

    return register


# --- alignment ----------------------------------------------------------------------------------------------------


def node_of(value: Any, what: str = "a value") -> Node:
    if isinstance(value, Node):
        return value
    if isinstance(value, Length):
        raise Fact(f"{value} is a number of samples, and {what} was expected")
    if value is None:
        raise Fact(f"None stands where {what} was expected")
    if isinstance(value, tuple):
        raise Fact(
            f"a list stands where {what} was expected", "reduce it with `add` or `average`, or take one with [i]"
        )
    said = repr(value) if isinstance(value, int | float | str) else getattr(value, "said", "a network")
    sides = "take a side: .discriminator or .generator" if hasattr(value, "discriminator") else None
    raise Fact(f"{said} stands where {what} was expected", sides)


def tensor_of(value: Any, what: str = "a value") -> Node:
    node = node_of(value, what)
    if node.type.host:
        raise Fact(f"a number stands where {what} was expected")
    return node


def integer(value: Any, what: str, least: int | None = 0) -> int:
    if isinstance(value, Node) and value.type.host and isinstance(value.value, int | float):
        value = value.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, Length):
        raise Fact(f"{what} cannot be {value}", "a batch may be of another size, and this is settled before the run")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fact(f"{what} must be an integer that is known before the run, not {_said(value)}")
    if least is not None and value < least:
        raise Fact(f"{what} must be at least {least}, not {value}")
    return value


WHOLE = frozenset({"add", "sub", "mul", "floordiv", "mod", "neg", "abs", "max", "min"})  # of integers an integer


def whole(node: Node, what: str, least: int | None) -> None:
    """Refuses a number of the run that may be no integer, or that chooses one that is too small."""
    if node.op == "ifelse":
        for chosen in node.args[1:]:
            whole(chosen, what, least)
    elif node.value is not None:
        integer(node, what, least)
    elif node.op == "constant":  # which follows a clock
        whole(node.fields["definition"], what, least)
    elif node.op in WHOLE:
        for part in node.args:
            whole(part, what, None)
    elif node.op != "clock":
        help = "// divides integers into an integer" if node.op == "div" else None
        raise Fact(f"{what} must be an integer, which this need not be", help)


def static_number(value: Any, what: str) -> float:
    if isinstance(value, Node) and value.type.host and value.value is not None:
        value = value.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Fact(f"{what} must be a number that is known before the run, not {_said(value)}")
    return value


def _said(value: Any) -> str:
    if isinstance(value, Node):
        return f"the value {value.name or value.op} of {value.type}"
    if isinstance(value, tuple):
        return f"the list [{', '.join(map(_said, value))}]"
    return "None" if value is None else repr(value) if isinstance(value, str) else str(value)


def same_samples(types: list[Type], what: str) -> Length | None:
    """The number of samples of values that meet; shared values take part in any."""
    found: Length | None = None
    for type_ in types:
        if type_.samples is None:
            continue
        if found is None:
            found = type_.samples
        elif found != type_.samples:
            raise Fact(
                f"{what} mixes values of {found} and of {type_.samples} samples",
                "values meet only with equally many samples: take a slice in axis 0, or batch_repeat",
            )
    return found


def aligned(types: list[Type], what: str) -> tuple[Shape, Length | None]:
    """Own axes and samples of operands that meet at the sample axis; missing axes are added on the right."""
    first, last = types[0], types[-1]
    if len(types) == 2 and first.shape == last.shape and first.samples == last.samples and not first.host:
        return first.shape, first.samples
    rank = max((t.rank for t in types), default=0)
    padded = [t.shape + (1,) * (rank - t.rank) for t in types if not t.host]
    shape = []
    for axis, sizes in enumerate(zip(*padded, strict=True) if padded else ()):
        wide = {n for n in sizes if n != 1}
        if len(wide) > 1:
            shapes = " and ".join(str(t) for t in types if not t.host)
            help = "own axes are equal or 1; a vector meets a map at its channels" if rank > 1 else None
            raise Fact(f"{what} cannot meet {shapes}: axis {axis + 1} is {' and '.join(map(str, sorted(wide)))}", help)
        shape.append(wide.pop() if wide else 1)
    return tuple(shape), same_samples(types, what)


def common(types: list[Type], attribute: str) -> Any:
    """What all (non-host) types agree on, else None."""
    found = {getattr(t, attribute) for t in types if not t.host}
    return found.pop() if len(found) == 1 else None


def _dtype(types: list[Type]) -> str:
    """Of values that are joined: real numbers make real numbers of the others."""
    return "float" if any(t.dtype == "float" for t in types) else types[0].dtype


def _real(type_: Type) -> Type:
    """What is made of a value by arithmetic: real numbers, also of integers and comparisons."""
    return type_ if type_.dtype == "float" else type_.but(dtype="float", classes=None)


def _domain(types: list[Type]) -> str | None:
    found = {t.domain for t in types if t.domain}
    return found.pop() if len(found) == 1 else None


def elementwise(name: str, nodes: list[Node], dtype: str = "float", range: Range | None = None) -> Made:
    types = [n.type for n in nodes]
    tensors = [t for t in types if not t.host]
    if not tensors:
        return tuple(nodes), HOST, {}
    first = tensors[0]
    if first.plain and dtype == "float" and range is None and all(t is first for t in tensors):
        return tuple(nodes), first, {}
    shape, samples = aligned(types, name)
    return tuple(nodes), Type(shape, samples, dtype, range=range, domain=_domain(types)), {}


# --- one value ----------------------------------------------------------------------------------------------------


def _unary(name: str, text: str, host: Callable[[float], float], range: Range | None = None) -> None:
    def rule(v: Any) -> Made:
        nodes, type_, fields = elementwise(name, [node_of(v)], range=range)
        return nodes, type_.but(kind="probability") if name == "sigmoid" else type_, fields

    hosts = {"sqrt": "{0} ** 0.5", "abs": "abs({0!s})", "square": "{0} ** 2"}
    function = f"F.{name}" if text.startswith("F.") else f"torch.{name}"
    host_text = hosts.get(name, f"number({function}, {{0!s}})")
    OPERATORS[name] = Operator(name, "v", rule, text, host=host, host_text=host_text)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


_unary("exp", "{0}.exp()", math.exp)
_unary("log", "{0}.log()", math.log)
_unary("sqrt", "{0}.sqrt()", math.sqrt)
_unary("abs", "{0}.abs()", abs)
_unary("square", "{0}.square()", lambda x: x * x)
_unary("sin", "{0}.sin()", math.sin, (-1, 1))
_unary("cos", "{0}.cos()", math.cos, (-1, 1))
_unary("acos", "{0}.acos()", math.acos)
_unary("sigmoid", "{0}.sigmoid()", _sigmoid, (0, 1))
_unary("tanh", "{0}.tanh()", math.tanh, (-1, 1))
_unary("relu", "{0}.relu()", lambda x: max(x, 0.0))
_unary("softplus", "-F.logsigmoid(-{0})", _softplus)  # exact, where F.softplus turns linear beyond 20
_unary("silu", "F.silu({0!s})", lambda x: x * _sigmoid(x))
_unary("gelu", "F.gelu({0!s})", lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))))
_unary("elu", "F.elu({0!s})", lambda x: x if x > 0 else math.expm1(x))
_unary("selu", "F.selu({0!s})", lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)))
_unary("mish", "F.mish({0!s})", lambda x: x * math.tanh(_softplus(x)))


@operator("leaky_relu(v, slope=0.01)", text="F.leaky_relu({0!s}, {slope})")
def _leaky_relu(v: Any, slope: Any) -> Made:
    nodes, type_, _ = elementwise("leaky_relu", [tensor_of(v)])
    return nodes, type_, {"slope": static_number(slope, "the slope")}


@operator("stop(v)", text="{0}.detach()", blocked=(0,))
def _stop(v: Any) -> Made:
    node = tensor_of(v)
    return (node,), node.type, {}


@operator("reverse(v, s=1)", text="reverse({0!s}, {1!s})", blocked=(1,), affine=True)
def _reverse(v: Any, s: Any) -> Made:
    node = tensor_of(v)
    factor = node_of(s if isinstance(s, Node) else Node("number", (), HOST, Place(), value=s), "the factor")
    if factor.type.shape or factor.type.samples is not None:
        raise Fact(f"reverse takes one number as its factor, not {factor.type}")
    return (node, factor), node.type, {}


@operator(
    "clamp(v, low, high)",
    text="{0}.clamp({1!s}, {2!s})",
    blocked=(1, 2),
    host=lambda v, a, b: min(max(v, a), b),
    host_text="min(max({0!s}, {1!s}), {2!s})",
)
def _clamp(v: Any, low: Any, high: Any) -> Made:
    nodes = [node_of(v), node_of(low, "the lower bound"), node_of(high, "the upper bound")]
    if not all(n.type.host for n in nodes[1:]):
        raise Fact("the bounds of clamp are numbers")
    bounds = tuple(n.value for n in nodes[1:])
    if None not in bounds and bounds[0] > bounds[1]:
        raise Fact(f"clamp from {bounds[0]} to {bounds[1]}: the lower bound is above the upper one")
    made = elementwise("clamp", nodes)
    return (
        made[0],
        made[1].but(range=None if None in bounds or made[1].host else (float(bounds[0]), float(bounds[1]))),
        {},
    )


# --- two values ---------------------------------------------------------------------------------------------------


def _scaled(type_: Type, other: Type, value: Any, name: str) -> Range | None:
    """The range of a value after one constant is added, subtracted or multiplied."""
    if type_.range is None or not other.host or value is None:
        return None
    low, high = type_.range
    steps = {"add": (low + value, high + value), "sub": (low - value, high - value), "mul": (low * value, high * value)}
    if name == "div" and value:
        steps["div"] = (low / value, high / value)
    found = steps.get(name)
    return (min(found), max(found)) if found else None


def _binary(
    name: str,
    host: Callable[[Any, Any], Any],
    affine: bool = False,
    dtype: str = "float",
    blocked: tuple[int, ...] = (),
) -> None:
    def rule(a: Any, b: Any) -> Made:
        left, right = node_of(a), node_of(b)
        if name in ("div", "floordiv", "mod") and right.type.host and right.value == 0:
            raise Fact(f"`{SIGNS[name]}` divides by zero")
        nodes, type_, fields = elementwise(f"`{SIGNS[name]}`", [left, right], dtype)
        if not type_.host:
            range_ = _scaled(left.type, right.type, right.value, name)
            if range_ is None and name in ("add", "mul"):
                range_ = _scaled(right.type, left.type, left.value, name)
            if range_ is not None:
                type_ = type_.but(range=range_)
        return nodes, type_, fields

    OPERATORS[name] = Operator(name, "a, b", rule, affine=affine, host=host, blocked=blocked)


SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "pow": "**"}
SIGNS |= {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_binary("add", lambda a, b: a + b, affine=True)
_binary("sub", lambda a, b: a - b, affine=True)
_binary("mul", lambda a, b: a * b)
_binary("div", lambda a, b: a / b)
_binary("floordiv", lambda a, b: a // b, blocked=(0, 1))  # constant between its steps
_binary("mod", lambda a, b: a % b)
_binary("pow", lambda a, b: _power(a, b))
_binary("lt", lambda a, b: a < b, dtype="bool", blocked=(0, 1))
_binary("le", lambda a, b: a <= b, dtype="bool", blocked=(0, 1))
_binary("gt", lambda a, b: a > b, dtype="bool", blocked=(0, 1))
_binary("ge", lambda a, b: a >= b, dtype="bool", blocked=(0, 1))
_binary("eq", lambda a, b: a == b, dtype="bool", blocked=(0, 1))
_binary("ne", lambda a, b: a != b, dtype="bool", blocked=(0, 1))
BINARY = {sign: name for name, sign in SIGNS.items()}
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
CONDITIONS = COMPARISONS | {"not"}  # what is 1 or 0


@operator("neg(v)", affine=True, host=lambda v: -v)
def _neg(v: Any) -> Made:
    nodes, type_, fields = elementwise("`-`", [node_of(v)])
    range_ = nodes[0].type.range
    return nodes, type_.but(range=(-range_[1], -range_[0]) if range_ else None), fields


@operator("where(condition, a, b)", blocked=(0,), affine=True)
def _where(condition: Any, a: Any, b: Any) -> Made:
    test = node_of(condition)
    if test.type.host:  # of clocks: the whole of one, or of the other
        if node_of(a).type.host or node_of(b).type.host:
            raise Fact("where by a clock picks one of two values", "of numbers it is `a if condition else b`")
        one, other = tensor_of(a).type, tensor_of(b).type
        if (one.shape, one.samples) != (other.shape, other.samples):
            raise Fact(f"where by a clock picks one of two alike, not {one} or {other}")
    nodes = [test, node_of(a), node_of(b)]
    nodes_, type_, fields = elementwise("where", nodes)
    ranges = {n.type.range for n in nodes[1:]}
    return nodes_, type_.but(range=ranges.pop() if len(ranges) == 1 else None), fields


@operator(
    "lerp(a, b, t)",
    host=lambda a, b, t: a + t * (b - a),
)
def _lerp(a: Any, b: Any, t: Any) -> Made:
    nodes = [node_of(a), node_of(b), node_of(t)]
    made = elementwise("lerp", nodes)
    ranges = {n.type.range for n in nodes[:2]}
    return made[0], made[1].but(range=ranges.pop() if len(ranges) == 1 else None), {}


# --- reductions ---------------------------------------------------------------------------------------------------


def _axes(type_: Type, dim: Any, name: str) -> tuple[int, ...] | None:
    """Own axes to reduce, counted with the sample axis as 0; None is all."""
    if dim is None:
        return None
    found = tuple(integer(d, "dim") for d in (dim if isinstance(dim, tuple) else (dim,)))
    for axis in found:
        if axis == 0:
            raise Fact(f"{name} reduces a sample's own axes, not the samples", "write expect(v) or total(v)")
        if axis > type_.rank:
            raise Fact(f"{name}(dim={axis}) of {type_}: its own axes are 1 to {type_.rank}")
    if len(set(found)) < len(found):
        raise Fact(f"{name}(dim={list(found)}) names an axis twice")
    return found


def _reduced(name: str, v: Any, dim: Any, method: str) -> Made:
    """Own axes reduced to one number."""
    node = tensor_of(v)
    axes = _axes(node.type, dim, name)
    kept = () if axes is None else tuple(n for i, n in enumerate(node.type.shape) if i + 1 not in axes)
    range_ = node.type.range if name in ("mean", "max", "min") else None
    type_ = Type(kept, node.type.samples, range=range_, domain=node.type.domain)
    axes = tuple(range(1, node.type.rank + 1)) if axes is None else axes
    return (node,), type_, {"axes": axes, "method": method}


def _reduction(name: str, affine: bool = False) -> None:
    def rule(v: Any, dim: Any) -> Made:
        made = _reduced(name, v, dim, name)
        ((node,), _, fields) = made
        single = name == "std" and math.prod(node.type.shape[axis - 1] for axis in fields["axes"]) < 2
        if single and not any(n.op == "p" for n in walk([node])):
            many = node.type.samples is not None
            help = "std(samples_of(v), dim=1) is that of all samples" if many else None
            raise Fact(f"std of {node.type} is that of one number, which has none", help)
        return made

    OPERATORS[name] = Operator(name, "v, dim=None", rule, affine=affine)


_reduction("mean", affine=True)
_reduction("sum", affine=True)
_reduction("norm")
_reduction("logsumexp")
_reduction("std")
REDUCTIONS = frozenset({"mean", "sum", "max", "min", "norm", "logsumexp", "std"})


@operator("max(*values, dim=None)", maps=False, host=lambda *v: max(v))
def _max(values: tuple[Any, ...], dim: Any) -> Made:
    return _extreme("max", values, dim)


@operator("min(*values, dim=None)", maps=False, host=lambda *v: min(v))
def _min(values: tuple[Any, ...], dim: Any) -> Made:
    return _extreme("min", values, dim)


def _extreme(name: str, values: tuple[Any, ...], dim: Any) -> Made:
    """`max(v)` over own axes, `max(a, b)` entry by entry; equal ones share the gradient."""
    if len(values) == 1 and not isinstance(values[0], tuple):
        return _reduced(name, values[0], dim, f"a{name}")
    if dim is not None:
        raise Fact(f"{name} of several values has no dim")
    if len(values) != 2 and not all(node_of(v).type.host for v in values):
        raise Fact(f"{name} of tensors takes one value or two, not {len(values)}")
    made = elementwise(name, [node_of(v) for v in values])
    return made[0], made[1], {"pair": "torch.maximum" if name == "max" else "torch.minimum"}


@operator("expect(v)", affine=True)
def _expect(v: Any) -> Made:
    node = tensor_of(v)
    if node.type.samples is None:
        raise Fact("expect takes the mean over samples, and this value is shared by all of them", "leave expect out")
    return (node,), Type(node.type.shape, range=node.type.range), {}


@operator("total(v)", affine=True)
def _total(v: Any) -> Made:
    node = tensor_of(v)
    if node.type.samples is None:
        raise Fact("total sums over samples, and this value is shared by all of them", "leave total out")
    return (node,), Type(node.type.shape), {}


@operator("samples_of(v)", text="{0}", affine=True, maps=False)
def _samples_of(v: Any) -> Made:
    node = tensor_of(v)
    if node.type.samples is None:
        raise Fact("samples_of makes a shared value of a batch, and this value is shared already")
    return (node,), Type((node.type.samples.now, *node.type.shape), range=node.type.range), {}


def _listed(values: Any, name: str) -> tuple[Node, ...]:
    if not isinstance(values, tuple) or not values:
        raise Fact(f"{name} reduces a list or a family", f"{name}([a, b]), or {name} of a family's name")
    return tuple(node_of(v) for v in values)


@operator("cross_entropy(logits, target)", blocked=(1,))
def _cross_entropy(logits: Any, target: Any) -> Made:
    node = tensor_of(logits, "logits")
    if node.type.rank < 1:
        raise Fact(f"cross_entropy reduces the first own axis, and the logits are {node.type}")
    classes, rest = node.type.shape[0], node.type.shape[1:]
    if isinstance(target, Node) and target.type.host:
        target = integer(target, "the target")
    if isinstance(target, int):
        if not 0 <= target < classes:
            raise Fact(f"the target {target} is not one of the {classes} classes of the logits")
        return (node,), Type(rest, node.type.samples), {"target": target}
    label = label_of(target)
    if label.type.dtype != "int" or label.type.shape != rest:
        raise Fact(
            f"cross_entropy of logits {node.type} needs a label of {list(rest) or 'one integer a sample'}, "
            f"not {label.type}"
        )
    if label.type.classes is not None and label.type.classes > classes:
        raise Fact(f"the label has {label.type.classes} classes and the logits {classes}")
    return (node, label), Type(rest, same_samples([node.type, label.type], "cross_entropy")), {}


# --- structure ----------------------------------------------------------------------------------------------------


@operator("concat(*values, dim=1)", maps=False, affine=True)
def _concat(values: tuple[Any, ...], dim: Any) -> Made:
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    axis = integer(dim, "dim", 1)
    constants = [v for v in values if isinstance(v, tuple) and all(isinstance(x, int | float) for x in v)]
    nodes = [v if v in constants else tensor_of(v) for v in values]
    tensors = [n for n in nodes if isinstance(n, Node)]
    if not tensors:
        raise Fact("concat needs a value")
    rank = tensors[0].type.rank
    if axis > rank:
        raise Fact(f"concat(dim={axis}) of {tensors[0].type}")
    width = 0
    for node in nodes:
        shape = node.type.shape if isinstance(node, Node) else (len(node),)
        if len(shape) != rank or any(
            a != b for i, (a, b) in enumerate(zip(shape, tensors[0].type.shape, strict=True)) if i + 1 != axis
        ):
            text = ", ".join(str(n.type) if isinstance(n, Node) else f"[{len(n)}]" for n in nodes)
            cure = "tile(vector, like=map) spreads a vector over a map" if rank != len(shape) else None
            if any(n.type.dtype == "int" for n in tensors):
                cure = "one_hot(label, K) makes a vector of a label"
            raise Fact(f"concat in axis {axis} cannot meet {text}", cure)
        width += shape[axis - 1]
    shape = (*tensors[0].type.shape[: axis - 1], width, *tensors[0].type.shape[axis:])
    types = [n.type for n in tensors]
    items = tuple(None if isinstance(n, Node) else tuple(n) for n in nodes)
    range_ = common(types, "range") if len(tensors) == len(nodes) else None
    made = Type(shape, same_samples(types, "concat"), _dtype(types), range=range_, domain=_domain(types))
    return tuple(tensors), made, {"axis": axis, "items": items}


@operator("stack(*values, dim=1)", maps=False, affine=True)
def _stack(values: tuple[Any, ...], dim: Any) -> Made:
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    nodes = [tensor_of(v) for v in values]
    axis = integer(dim, "dim", 1)
    shapes = {n.type.shape for n in nodes}
    if len(shapes) != 1:
        raise Fact(f"stack needs values of one shape, not {', '.join(str(n.type) for n in nodes)}")
    shape = shapes.pop()
    if axis > len(shape) + 1:
        raise Fact(f"stack(dim={axis}) of {nodes[0].type}")
    types = [n.type for n in nodes]
    made = Type((*shape[: axis - 1], len(nodes), *shape[axis - 1 :]), same_samples(types, "stack"), _dtype(types))
    return tuple(nodes), made.but(range=common(types, "range")), {"axis": axis}


@operator("tile(v, like)", blocked=(1,), affine=True)
def _tile(v: Any, like: Any) -> Made:
    vector, image = tensor_of(v), tensor_of(like)
    if vector.type.rank != 1 or image.type.rank < 2:
        raise Fact(f"tile spreads a vector over a map, not {vector.type} over {image.type}")
    shape = (vector.type.shape[0], *image.type.shape[1:])
    samples = same_samples([vector.type, image.type], "tile")
    return (vector, image), Type(shape, samples, range=vector.type.range), {"map": image.type.shape[1:]}


@operator("reshape(v, *shape)", maps=False, affine=True)
def _reshape(v: Any, shape: tuple[Any, ...]) -> Made:
    node = tensor_of(v)
    sizes = [integer(n, "a size", -1) for n in (shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)]
    if sizes.count(-1) > 1 or 0 in sizes:
        raise Fact(f"reshape to {sizes}: at most one size may be -1, none 0")
    known = math.prod(n for n in sizes if n != -1)
    rest = sizes.index(-1) if -1 in sizes else None
    if -1 in sizes:
        if not known or node.type.size % known:
            raise Fact(f"{node.type} has {node.type.size} entries a sample, which {known} does not divide")
        sizes[sizes.index(-1)] = node.type.size // known
    if math.prod(sizes) != node.type.size:
        raise Fact(f"{node.type} has {node.type.size} entries a sample, and {sizes} has {math.prod(sizes)}")
    return (node,), node.type.but(shape=tuple(sizes)), {"shape": tuple(sizes), "rest": rest}


@operator("transpose(v, i, j)", affine=True)
def _transpose(v: Any, i: Any, j: Any) -> Made:
    node = tensor_of(v)
    a, b = integer(i, "an axis", 1), integer(j, "an axis", 1)
    if max(a, b) > node.type.rank:
        raise Fact(f"transpose({a}, {b}) of {node.type}: its own axes are 1 to {node.type.rank}")
    shape = list(node.type.shape)
    shape[a - 1], shape[b - 1] = shape[b - 1], shape[a - 1]
    return (node,), node.type.but(shape=tuple(shape)), {"axes": (a, b)}


@operator("matmul(a, b)")
def _matmul(a: Any, b: Any) -> Made:
    left, right = tensor_of(a), tensor_of(b)
    bad = Fact(f"matmul cannot meet {left.type} and {right.type}")
    if right.type.rank < 2 or left.type.rank < 1 or (left.type.rank == 1 and right.type.rank > 2):
        raise bad
    if left.type.shape[-1] != right.type.shape[-2]:
        raise bad
    if left.type.rank == 1 and right.type.samples is not None:
        raise Fact(
            f"matmul of a vector and a matrix of each sample: {left.type} and {right.type}",
            "reshape the vector to 1 x n",
        )
    before = left.type.shape[:-2], right.type.shape[:-2]  # own axes in front of the matrices
    fits = len(before[0]) == len(before[1]) and all(a == b or 1 in (a, b) for a, b in zip(*before, strict=False))
    if left.type.rank > 1 and not fits:
        raise bad
    wide = tuple(map(max, *before)) if left.type.rank > 1 else ()
    shape = (*wide, *left.type.shape[-2:-1], right.type.shape[-1])
    return (left, right), Type(shape, same_samples([left.type, right.type], "matmul")), {}


@operator("softmax(v, dim)")
def _softmax(v: Any, dim: Any) -> Made:
    node = tensor_of(v)
    (axis,) = _axes(node.type, dim, "softmax") or (1,)
    return (node,), _real(node.type).but(range=(0.0, 1.0), domain=None, kind="probability"), {"dim": axis}


@operator("log_softmax(v, dim)")
def _log_softmax(v: Any, dim: Any) -> Made:
    node = tensor_of(v)
    (axis,) = _axes(node.type, dim, "log_softmax") or (1,)
    return (node,), _real(node.type).but(range=None, domain=None), {"dim": axis}


@operator("argmax(v, dim=1)", blocked=(0,))
def _argmax(v: Any, dim: Any) -> Made:
    return _arg("argmax", v, dim)


@operator("argmin(v, dim=1)", blocked=(0,))
def _argmin(v: Any, dim: Any) -> Made:
    return _arg("argmin", v, dim)


def _arg(name: str, v: Any, dim: Any) -> Made:
    node = tensor_of(v)
    (axis,) = _axes(node.type, dim, name) or (1,)
    kept = tuple(n for i, n in enumerate(node.type.shape) if i + 1 != axis)
    return (
        (node,),
        Type(kept, node.type.samples, "int", classes=node.type.shape[axis - 1]),
        {"dim": axis},
    )


def label_of(value: Any) -> Node:
    """Classes by number."""
    node = tensor_of(value, "a label")
    if node.type.dtype == "int" and node.type.range is not None and node.type.range[0] < 0:
        raise Fact(f"a label counts from 0, and {node.name or 'this'} from {node.type.range[0]:g}")
    return node


@operator("one_hot(v, n)", blocked=(0,))
def _one_hot(v: Any, n: Any) -> Made:
    node = label_of(v)
    count = integer(n, "the number of classes", 1)
    if node.type.dtype != "int":
        raise Fact(f"one_hot takes integers, not {node.type}")
    if node.type.classes is not None and node.type.classes > count:
        raise Fact(f"one_hot of a label of {node.type.classes} classes needs at least that many places, not {count}")
    return (node,), Type((count, *node.type.shape), node.type.samples, range=(0.0, 1.0)), {"n": count}


@operator("select(values, label)", maps=False, affine=True)
def _select(values: Any, label: Any) -> Made:
    index = label_of(label)
    if index.type.dtype != "int" or index.type.rank:
        raise Fact(f"select picks by one integer a sample, not by {index.type}")
    if isinstance(values, tuple):
        nodes = [tensor_of(v) for v in values]
        shapes = {n.type.shape for n in nodes}
        if len(shapes) != 1:
            raise Fact("select picks among values of one shape")
        count, shape = len(nodes), shapes.pop()
    else:
        nodes = [tensor_of(values)]
        if not nodes[0].type.rank:
            raise Fact(f"select picks from a list or along the first own axis, not from {nodes[0].type}")
        count, shape = nodes[0].type.shape[0], nodes[0].type.shape[1:]
    if index.type.classes is not None and index.type.classes != count:
        raise Fact(f"the label has {index.type.classes} classes, and {count} values stand to be selected")
    types = [n.type for n in nodes]
    made = Type(shape, same_samples([*types, index.type], "select"), _dtype(types))
    return (*nodes, index), made, {"listed": isinstance(values, tuple)}


@operator("resize(v, height, width, mode=bilinear)", affine=True)
def _resize(v: Any, height: Any, width: Any, mode: Any) -> Made:
    node = tensor_of(v)
    if node.type.rank != 3:
        raise Fact(f"resize takes C x H x W, not {node.type}")
    if mode not in ("bilinear", "nearest", "area"):
        raise Fact(f"resize has the modes bilinear, nearest and area, not {mode}")
    size = (integer(height, "the height", 1), integer(width, "the width", 1))
    return (node,), _real(node.type).but(shape=(node.type.shape[0], *size)), {"size": size, "mode": mode}


@operator("pad(v, sizes, mode=zeros)", affine=True)
def _pad(v: Any, sizes: Any, mode: Any) -> Made:
    node = tensor_of(v)
    if node.type.rank != 3 or not isinstance(sizes, tuple) or len(sizes) != 4:
        raise Fact(f"pad takes C x H x W and [left, right, top, bottom], not {node.type}")
    left, right, top, bottom = (integer(s, "a pad", None) for s in sizes)
    if mode not in ("zeros", "reflect", "replicate", "circular"):
        raise Fact(f"pad has the modes zeros, reflect, replicate and circular, not {mode}")
    channels, height, width = node.type.shape
    if height + top + bottom < 1 or width + left + right < 1:
        raise Fact(f"pad of {list(sizes)} leaves nothing of {node.type}")
    sides = {"left": (left, width), "right": (right, width), "top": (top, height), "bottom": (bottom, height)}
    for side, (more, size) in sides.items():
        if mode in ("reflect", "circular") and more > size - (mode == "reflect"):
            raise Fact(f"pad has {more} at the {side}, and {mode} makes at most {size - (mode == 'reflect')} of {size}")
    shape = (channels, height + top + bottom, width + left + right)
    return (
        (node,),
        _real(node.type).but(shape=shape),
        {"sizes": (left, right, top, bottom), "mode": {"zeros": "constant"}.get(mode, mode)},
    )


@operator("take(v, p, dim=0)", maps=False, blocked=(1,), affine=True)
def _take(v: Any, p: Any, dim: Any) -> Made:
    node, axis = tensor_of(v), integer(dim, "dim")
    if isinstance(p, tuple):
        if not 0 < axis <= node.type.rank:
            raise Fact(f"take({node.type}, ..., dim={axis}) does not fit", "listed entries are those of an own axis")
        size = node.type.shape[axis - 1]
        entries = tuple(integer(n, "an entry", 0) for n in p)
        if not entries or max(entries) >= size:
            raise Fact(f"axis {axis} of {node.type} has the entries 0 to {size - 1}, not {list(entries)}")
        shape = (*node.type.shape[: axis - 1], len(entries), *node.type.shape[axis:])
        return (node,), node.type.but(shape=shape), {"dim": axis, "entries": entries}
    order = tensor_of(p, "a permutation")
    if order.type.dtype != "int":
        raise Fact(f"take reorders by integers, not by {order.type}")
    if axis == 0 and order.type.rank == 0:
        drawn = order.args[0] if order.op == "alias" else order
        if drawn.op == "draw" and drawn.fields["kind"] == "permutation" and order.type.samples != node.type.samples:
            said = f"{order.name or 'the permutation'} is of {order.type.samples} samples"
            raise Fact(f"{said}, and the value is {node.type}", "permutation(samples=...) is of another count")
        return (node, order), node.type.but(samples=order.type.samples), {"dim": 0}
    if axis == 0 or axis > node.type.rank or order.type.rank != 1 or order.type.samples is not None:
        help = "the integers of an own axis are one list, which all samples share: integer(..., shared=True), or [2, 0]"
        raise Fact(f"take({node.type}, {order.type}, dim={axis}) does not fit", help)
    shape = (*node.type.shape[: axis - 1], order.type.shape[0], *node.type.shape[axis:])
    return (node, order), node.type.but(shape=shape), {"dim": axis}


@operator("ones(*shape)", maps=False)
@operator("zeros(*shape)", maps=False)
def _filled(shape: tuple[Any, ...]) -> Made:
    return (), Type(tuple(integer(n, "a size", 1) for n in shape)), {}


# --- the batch ----------------------------------------------------------------------------------------------------


@operator("batch_concat(values)", maps=False, affine=True)
def _batch_concat(values: Any) -> Made:
    nodes = _listed(values, "batch_concat")
    shapes = {n.type.shape for n in nodes}
    if len(shapes) != 1 or any(n.type.samples is None for n in nodes):
        raise Fact(f"batch_concat needs values of one shape, with samples: {', '.join(str(n.type) for n in nodes)}")
    total = nodes[0].type.samples
    assert total is not None
    for node in nodes[1:]:
        assert node.type.samples is not None
        total = total.combine("+", node.type.samples)
    if all(n.type.samples == nodes[0].type.samples for n in nodes) and nodes[0].type.samples is not None:
        total = Length(f"{len(nodes)} * {bracketed(nodes[0].type.samples)}", total.values)
    types = [n.type for n in nodes]
    counts = [t.classes for t in types if t.classes is not None]
    classes = max(counts) if len(counts) == len(types) else None
    made = Type(types[0].shape, total, _dtype(types), classes, common(types, "range"), _domain(types))
    return nodes, made.but(kind=common(types, "kind")), {}


@operator("batch_repeat(v, n)", affine=True)
def _batch_repeat(v: Any, n: Any) -> Made:
    node, count = tensor_of(v), integer(n, "the count", 1)
    if node.type.samples is None:
        raise Fact("batch_repeat repeats samples, and this value is shared by all of them")
    return (node,), node.type.but(samples=node.type.samples.combine("*", count, swapped=True)), {"n": count}


def convolution_size(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


@operator("convolve(x, w, stride=1, padding=0, groups=1)")
def _convolve(x: Any, w: Any, stride: Any, padding: Any, groups: Any) -> Made:
    image, kernel = tensor_of(x), tensor_of(w, "a kernel")
    if image.type.rank != 3 or kernel.type.rank != 4:
        raise Fact(f"convolve takes C x H x W and a kernel out x in x k x k, not {image.type} and {kernel.type}")
    s, p, g = integer(stride, "the stride", 1), integer(padding, "the padding"), integer(groups, "groups", 1)
    out, into, kh, kw = kernel.type.shape
    if out % g:
        raise Fact(f"a kernel {kernel.type} makes {out} channels, which are no {g} groups of equally many")
    if image.type.shape[0] != into * g:
        raise Fact(f"a kernel {kernel.type} with groups={g} reads {into * g} channels, not {image.type.shape[0]}")
    height, width = convolution_size(image.type.shape[1], kh, s, p), convolution_size(image.type.shape[2], kw, s, p)
    if height < 1 or width < 1:
        raise Fact(f"a kernel of {kh} x {kw} is larger than {image.type}")
    samples = same_samples([image.type, kernel.type], "convolve")
    fields = {"stride": s, "padding": p, "groups": g, "each": kernel.type.samples is not None}
    return (image, kernel), Type((out, height, width), samples), fields


LONGEST_RANGE = 100_000

SCALAR_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "log2": lambda n: _log2(n),
    "range": lambda *n: _range(*(integer(i, "a bound of range", None) for i in n)),
    "len": lambda v: len(v) if isinstance(v, tuple) else _no_len(v),
}


def _power(a: Any, b: Any) -> Any:
    """`a**b`, of integers only as far as somebody might mean it."""
    if isinstance(a, int) and isinstance(b, int) and b > 0 and a.bit_length() * b > 1024:
        raise OverflowError
    return a**b


def _range(*bounds: int) -> tuple[int, ...]:
    found = range(*bounds)
    if len(found) > LONGEST_RANGE:
        raise Fact(f"a range of {len(found)} numbers, and {LONGEST_RANGE} are the most")
    return tuple(found)


def _log2(n: Any) -> int | float:
    number = static_number(n, "the argument of log2")
    if number <= 0:
        raise Fact(f"log2 of {number}")
    exact = math.log2(number)
    return int(exact) if exact.is_integer() else exact


def _no_len(v: Any) -> int:
    raise Fact("len counts a list or a family")


HOSTS = frozenset(name for name, operator in OPERATORS.items() if operator.host is not None)  # also of plain numbers
CONSTANTS: dict[str, float] = {"pi": math.pi}
CLOCKS = ("step", "epoch", "epoch_step", "epoch_steps", "images", "stage", "stage_step", "stage_images")
INPUT_TYPES = ("image", "vector", "tensor", "label", "labels", "mask")
DRAW_TYPES = ("normal", "uniform", "bernoulli", "integer", "permutation")


def _signatures(*written: str) -> dict[str, Signature]:
    return {(parts := text.rstrip(")").partition("("))[0]: Signature(parts[0], parts[2]) for text in written}


VIEWS = _signatures(
    "frozen(N)", "evaluation(N)", "training(N)", "statistics(N, name)", "still(N)", "upto(N, label)",
    "given(N, values)",
)  # fmt: skip
SPECIAL = _signatures(
    "grad(y, x)", "replay(v, size, swap=0.5, per=sample)", "weights(N, *layers)", "parameter(name)", "add(list)",
    "average(list)", "split(v, n, dim=1)", "batch_split(v, n)", "copies(v, n)", "data_mean(x, n)",
    "separability(latent, seen)",
)  # fmt: skip
INITIALIZERS = {
    "normal": "mean=0, std=1",
    "uniform": "low=0, high=1",
    "zeros": "",
    "ones": "",
    "constant": "value",
    "xavier_normal": "gain=1",
    "xavier_uniform": "gain=1",
    "kaiming_normal": "slope=0",
    "kaiming_uniform": "slope=0",
    "orthogonal": "gain=1",
    "fan_uniform": "gain=1",
}
