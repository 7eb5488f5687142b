"""The operators of the language on arrays, each by its definition.

Own axes count from 1, because the sample axis is 0. Operands meet at the sample axis and run from there: missing axes
are added on the right (design, alignment).
"""

from __future__ import annotations

import inspect
import math
import operator as python
from collections.abc import Callable
from typing import Any

import autograd.numpy as np

from gangraph.reference import primitives as p
from gangraph.reference.convolution import correlate
from gangraph.reference.resampling import MODES, on_maps, padded
from gangraph.reference.tape import constant
from gangraph.reference.values import Live, Value, integer, is_number, number

# --- how operands meet --------------------------------------------------------------------------------------------


def aligned(*operands: Any) -> tuple[list[Any], bool, int]:
    """Arrays (and numbers) ready for NumPy's broadcasting; whether the result is shared; its order."""
    values = [v for v in operands if isinstance(v, Value)]
    rank = max(len(v.shape) for v in values)
    arrays = []
    for v in operands:
        if isinstance(v, Value):
            arrays.append(np.reshape(v.data, (v.samples, *v.shape, *(1,) * (rank - len(v.shape)))))
        else:
            arrays.append(number(v))
    lengths = {v.samples for v in values if not v.shared}
    if len(lengths) > 1:
        raise ValueError(f"values of {' and '.join(map(str, sorted(lengths)))} samples meet")
    return arrays, all(v.shared for v in values), max(v.order for v in values)


def entrywise(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator that works entry by entry."""

    def operate(*operands: Any) -> Value:
        arrays, shared, order = aligned(*operands)
        return Value(function(*arrays), shared, order)

    return operate


def real(x: Any) -> Any:
    """Integers and truth values as real numbers."""
    return x if np.result_type(constant(x)).kind == "f" else constant(x).astype(float)


# --- entry by entry -----------------------------------------------------------------------------------------------


def square(x: Any) -> Any:
    return x * x


def power(a: Any, b: Any) -> Any:
    """a**b; a square is a product."""
    if not isinstance(b, int | float):
        return real(a) ** b if not isinstance(a, int | float) else float(a) ** b
    return square(real(a)) if b == 2 else np.power(real(a), float(b))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, alpha (exp(x) - 1) elsewhere."""
    positive = constant(x) > 0
    return np.where(positive, x, alpha * p.exp_minus_one(np.where(positive, 0.0, x)))


def selu(x: Any) -> Any:
    """Klambauer et al. 2017, equation 2, with their constants."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def gelu(x: Any) -> Any:
    """x times the standard normal distribution function of x."""
    return x * 0.5 * (1 + p.erf(x / math.sqrt(2)))


def silu(x: Any) -> Any:
    return x * p.sigmoid(x)


def mish(x: Any) -> Any:
    return x * np.tanh(p.softplus(x))


def compare(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """1.0 or 0.0, a constant."""
    return lambda a, b: function(constant(a), constant(b)).astype(float)


def maximum(a: Any, b: Any) -> Any:
    """Entry by entry; equal ones share the gradient in halves."""
    x, y = np.broadcast_arrays(constant(a), constant(b))
    share = np.where(x == y, 0.5, (x > y).astype(float))
    return a * share + b * (1 - share)


def minimum(a: Any, b: Any) -> Any:
    return -maximum(-1 * a, -1 * b)


def lerp(a: Any, b: Any, t: Any) -> Any:
    return a + t * (b - a)


def where(condition: Any, a: Any, b: Any) -> Any:
    chosen = constant(condition) != 0
    zeros = np.zeros(np.broadcast_shapes(np.shape(chosen), np.shape(a), np.shape(b)))
    return np.where(chosen, zeros + a, zeros + b)


ENTRYWISE: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": p.absolute, "square": square, "sin": np.sin, "cos": np.cos,
    "acos": np.arccos, "sigmoid": p.sigmoid, "tanh": np.tanh, "relu": p.relu, "softplus": p.softplus, "silu": silu,
    "gelu": gelu, "elu": elu, "selu": selu, "mish": mish,
}  # fmt: skip


def _sigmoid(x: float) -> float:
    return float(p.sigmoid(float(x)))


HOST: dict[str, Callable[..., Any]] = {
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "abs": abs, "square": lambda x: x * x, "sin": math.sin,
    "cos": math.cos, "acos": math.acos, "sigmoid": _sigmoid, "tanh": math.tanh, "relu": lambda x: max(x, 0.0),
    "softplus": lambda x: float(p.softplus(float(x))), "clamp": lambda v, low, high: min(max(v, low), high),
    "lerp": lambda a, b, t: a + t * (b - a), "max": max, "min": min,
    "+": python.add, "-": python.sub, "*": python.mul, "/": python.truediv, "//": python.floordiv, "%": python.mod,
    "**": python.pow, "<": python.lt, "<=": python.le, ">": python.gt, ">=": python.ge, "==": python.eq,
    "!=": python.ne, "neg": python.neg,
    "silu": lambda x: x * _sigmoid(x), "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "elu": lambda x: x if x > 0 else math.expm1(x), "selu": lambda x: float(selu(np.array(float(x)))),
    "mish": lambda x: x * math.tanh(float(p.softplus(float(x)))),
}  # fmt: skip
SIGNS: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: np.floor_divide(constant(a), constant(b)), "%": np.mod, "**": power,
    "<": compare(python.lt), "<=": compare(python.le), ">": compare(python.gt), ">=": compare(python.ge),
    "==": compare(python.eq), "!=": compare(python.ne), "neg": lambda a: -1 * a,
}  # fmt: skip


def on_numbers(name: str, *numbers: Any) -> Any:
    """An operator on numbers of the host; what reads a clock or a state stays marked."""
    result = HOST[name](*map(number, numbers))
    return Live(result) if any(isinstance(n, Live) for n in numbers) else result


# --- reductions of own axes ---------------------------------------------------------------------------------------


def axes_of(v: Value, dim: Any) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(1, len(v.shape) + 1))
    found = tuple(map(integer, dim if isinstance(dim, tuple) else (dim,)))
    if 0 in found:
        raise ValueError("the samples are reduced by expect and total")
    return found


def mean(x: Any, axes: Any) -> Any:
    return np.sum(x, axis=axes) / math.prod(x.shape[a] for a in axes)


def norm(x: Any, axes: Any) -> Any:
    return p.root(np.sum(x * x, axis=axes))


def logsumexp(x: Any, axes: Any) -> Any:
    top = np.max(constant(x), axis=axes, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=axes)) + np.squeeze(top, axis=axes)


def std(x: Any, axes: Any) -> Any:
    """The unbiased deviation, as PyTorch's."""
    count = math.prod(x.shape[a] for a in axes)
    centred = x - np.sum(x, axis=axes, keepdims=True) / count
    return p.root(np.sum(centred * centred, axis=axes) / (count - 1))


def largest(x: Any, axes: Any) -> Any:
    """The largest entry; equal ones share the gradient."""
    values = constant(x)
    ties = (values == np.max(values, axis=axes, keepdims=True)).astype(float)
    return np.sum(x * (ties / np.sum(ties, axis=axes, keepdims=True)), axis=axes)


def smallest(x: Any, axes: Any) -> Any:
    return -1 * largest(-1 * x, axes)


REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "mean": mean, "sum": lambda x, axes: np.sum(x, axis=axes), "norm": norm, "logsumexp": logsumexp, "std": std,
    "max": largest, "min": smallest,
}  # fmt: skip


def reduce(name: str, v: Value, dim: Any = None) -> Value:
    axes = axes_of(v, dim)
    x = real(v.data)
    if not axes:
        x, axes = np.reshape(x, (*x.shape, 1)), (x.ndim,)
    return v.but(REDUCTIONS[name](x, axes))


# --- the rest: one function an operator ---------------------------------------------------------------------------


def leaky_relu(v: Value, slope: Any = 0.01) -> Value:
    return v.but(p.leaky_relu(v.data, float(number(slope))))


def stop(v: Value) -> Value:
    return Value(constant(v.data), v.shared)


def reverse(v: Value, s: Any = 1) -> Value:
    return v.but(p.reversal(v.data, float(number(s))))


def clamp(v: Value, low: Any, high: Any) -> Value:
    return v.but(p.within(v.data, number(low), number(high)))


def expect(v: Value) -> Value:
    """The mean over the samples."""
    assert not v.shared, "expect of a shared value"
    return Value(np.sum(real(v.data), axis=0, keepdims=True) / v.samples, True, v.order)


def total(v: Value) -> Value:
    assert not v.shared, "total of a shared value"
    return Value(np.sum(real(v.data), axis=0, keepdims=True), True, v.order)


def samples_of(v: Value) -> Value:
    assert not v.shared, "samples_of a shared value"
    return Value(np.reshape(v.data, (1, *v.data.shape)), True, v.order)


def cross_entropy(logits: Value, target: Any) -> Value:
    """- log softmax at the target, along the first own axis."""
    x = logits.data
    log_p = x - np.reshape(logsumexp(x, (1,)), (x.shape[0], 1, *x.shape[2:]))
    if is_number(target):
        return logits.but(-1 * log_p[:, integer(target)])
    arrays, shared, order = aligned(logits, target)
    del arrays
    classes = np.arange(x.shape[1]).reshape(1, -1, *(1,) * (x.ndim - 2))
    at = (constant(target.data)[:, None] == classes).astype(float)
    return Value(-1 * np.sum(log_p * at, axis=1), shared, order)


def _together(values: tuple[Any, ...]) -> tuple[list[Any], bool, int]:
    """Arrays with the same number of samples: shared ones are repeated."""
    shared = all(v.shared for v in values)
    n = next((v.samples for v in values if not v.shared), 1)
    arrays = [v.data * np.ones((n, *(1,) * len(v.shape))) if v.shared and n > 1 else v.data for v in values]
    return arrays, shared, max(v.order for v in values)


def concat(*values: Any, dim: Any = 1) -> Value:
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    values = tuple(  # a list of numbers is a constant vector
        Value(np.array([[float(number(n)) for n in v]]), True) if isinstance(v, tuple) else v for v in values
    )
    arrays, shared, order = _together(values)
    return Value(np.concatenate(arrays, axis=integer(dim)), shared, order)


def stack(*values: Any, dim: Any = 1) -> Value:
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    axis = integer(dim)
    arrays, shared, order = _together(values)
    wide = [np.reshape(a, (*a.shape[:axis], 1, *a.shape[axis:])) for a in arrays]
    return Value(np.concatenate(wide, axis=axis), shared, order)


def tile(v: Value, like: Value) -> Value:
    """A vector at every place of a map."""
    (x, _), shared, order = _together((v, like))
    spread = np.reshape(x, (*x.shape, *(1,) * (len(like.shape) - 1))) * np.ones((1, 1, *like.shape[1:]))
    return Value(spread, shared, max(order, v.order))


def reshape(v: Value, *shape: Any) -> Value:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    known = math.prod(integer(n) for n in sizes if integer(n) != -1)
    whole = [math.prod(v.shape) // known if integer(n) == -1 else integer(n) for n in sizes]
    return v.but(np.reshape(v.data, (v.samples, *whole)))


def transpose(v: Value, i: Any, j: Any) -> Value:
    return v.but(np.swapaxes(v.data, integer(i), integer(j)))


def matmul(a: Value, b: Value) -> Value:
    """Rows times columns of the last two own axes; a vector is a row."""
    x, y = a.data, b.data
    if len(a.shape) == 1:
        x = np.reshape(x, (a.samples, 1, a.shape[0]))
    made = np.matmul(x, y)
    if len(a.shape) == 1:
        made = np.reshape(made, (made.shape[0], made.shape[2]))
    return Value(made, a.shared and b.shared, max(a.order, b.order))


def softmax(v: Value, dim: Any) -> Value:
    (axis,) = axes_of(v, dim)
    e = np.exp(v.data - np.max(constant(v.data), axis=axis, keepdims=True))
    return v.but(e / np.sum(e, axis=axis, keepdims=True))


def log_softmax(v: Value, dim: Any) -> Value:
    (axis,) = axes_of(v, dim)
    shifted = v.data - np.max(constant(v.data), axis=axis, keepdims=True)
    return v.but(shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)))


def argmax(v: Value, dim: Any = 1) -> Value:
    return Value(np.argmax(constant(v.data), axis=axes_of(v, dim)[0]), v.shared)


def argmin(v: Value, dim: Any = 1) -> Value:
    return Value(np.argmin(constant(v.data), axis=axes_of(v, dim)[0]), v.shared)


def one_hot(v: Value, n: Any) -> Value:
    """The new axis is the first own one."""
    classes = np.arange(integer(n)).reshape(1, -1, *(1,) * len(v.shape))
    return Value((constant(v.data)[:, None] == classes).astype(float), v.shared)


def select(values: Any, label: Value) -> Value:
    """The entry of a list, or of the first own axis, that each sample's label picks."""
    v = stack(*values) if isinstance(values, tuple) else values
    chosen = one_hot(label, v.shape[0])
    at = np.reshape(chosen.data, (*chosen.data.shape, *(1,) * (len(v.shape) - 1)))
    return Value(np.sum(v.data * at, axis=1), v.shared and label.shared, v.order)


def resize(v: Value, height: Any, width: Any, mode: str = "bilinear") -> Value:
    matrices = [MODES[mode](n, integer(out)) for n, out in zip(v.shape[1:], (height, width), strict=True)]
    return v.but(on_maps(v.data, matrices))


def pad(v: Value, sizes: Any, mode: str = "zeros") -> Value:
    left, right, top, bottom = map(integer, sizes)
    return v.but(padded(v.data, [(top, bottom), (left, right)], mode))


def take(v: Value, order: Value | tuple[Any, ...], dim: Any = 0) -> Value:
    """Samples, or entries of an own axis, in another order: those that the integers name."""
    axis = integer(dim)
    if isinstance(order, tuple):
        return v.but(v.data[(slice(None),) * axis + ([integer(n) for n in order],)])
    chosen = constant(order.data).astype(int)
    if axis == 0:
        return v.but(v.data[chosen])
    return v.but(v.data[(slice(None),) * axis + (chosen[0],)])


def zeros(*shape: Any) -> Value:
    return Value(np.zeros((1, *map(integer, shape))), True)


def ones(*shape: Any) -> Value:
    return Value(np.ones((1, *map(integer, shape))), True)


def batch_concat(values: tuple[Value, ...]) -> Value:
    return Value(np.concatenate([v.data for v in values], axis=0), False, max(v.order for v in values))


def batch_repeat(v: Value, n: Any) -> Value:
    return v.but(np.concatenate([v.data] * integer(n), axis=0))


def split(v: Value, n: Any, dim: Any = 1) -> tuple[Value, ...]:
    """Equal parts of an own axis, in order."""
    axis, parts = integer(dim), integer(n)
    size = v.data.shape[axis] // parts
    assert size * parts == v.data.shape[axis], f"split of {v} into {parts}"
    return tuple(v.but(v.data[(slice(None),) * axis + (slice(i * size, (i + 1) * size),)]) for i in range(parts))


def batch_split(v: Any, n: Any) -> tuple[Any, ...]:
    """Equal parts of the samples; of a list, a list for each part."""
    if isinstance(v, tuple):
        return tuple(zip(*(batch_split(item, n) for item in v), strict=True))
    return split(v, n, 0)


def separability(latent: Value, seen: Value) -> Value:
    """What it is measured from: a latent and a picture as one row for each sample."""
    rows = [np.reshape(v.data, (v.data.shape[0], -1)) for v in (latent, seen)]
    return Value(np.concatenate(rows, axis=1), False)


def copies(v: Value, n: Any) -> tuple[Value, ...]:
    """A list of a value, n times."""
    return (v,) * integer(n)


def convolve(x: Value, w: Value, stride: Any = 1, padding: Any = 0, groups: Any = 1) -> Value:
    """Correlation with kernels that are values: one for all samples, or one for each."""
    s, border, g = integer(stride), integer(padding), integer(groups)
    around = padded(x.data, [(border, border)] * 2)
    out, into = w.shape[0] // g, w.shape[1]
    rows = []
    for i in range(1 if w.shared else w.samples):
        image = around if w.shared or x.samples == 1 else around[i : i + 1]
        parts = [
            correlate(image[:, k * into : (k + 1) * into], w.data[i, k * out : (k + 1) * out], (s, s), (1, 1))
            for k in range(g)
        ]
        rows.append(np.concatenate(parts, axis=1))
    return Value(np.concatenate(rows, axis=0), x.shared and w.shared, max(x.order, w.order))


def extreme(name: str, *values: Any, dim: Any = None) -> Value:
    """`max(v)` over own axes, `max(a, b)` entry by entry."""
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    if len(values) == 1:
        return reduce(name, values[0], dim)
    function = entrywise(maximum if name == "max" else minimum)
    made = values[0]
    for v in values[1:]:
        made = function(made, v)
    return made  # type: ignore[no-any-return]


def unary(name: str) -> Callable[..., Any]:
    return lambda v: v.but(ENTRYWISE[name](real(v.data)))


def reducer(name: str) -> Callable[..., Any]:
    return lambda v, dim=None: reduce(name, v, dim)


def extremes(name: str) -> Callable[..., Any]:
    return lambda *values, dim=None: extreme(name, *values, dim=dim)


OPERATORS: dict[str, Callable[..., Any]] = {name: unary(name) for name in ENTRYWISE}
OPERATORS |= {name: reducer(name) for name in ("mean", "sum", "norm", "logsumexp", "std")}
OPERATORS |= {name: extremes(name) for name in ("max", "min")}
OPERATORS |= {name: entrywise(function) for name, function in SIGNS.items()}
OPERATORS |= {"lerp": entrywise(lerp), "where": entrywise(where)}
OPERATORS |= {
    f.__name__: f
    for f in (
        leaky_relu, stop, reverse, clamp, expect, total, samples_of, cross_entropy, concat, stack, tile, reshape,
        transpose, matmul, softmax, log_softmax, argmax, argmin, one_hot, select, resize, pad, take, zeros, ones,
        batch_concat, batch_repeat, split, batch_split, copies, convolve, separability,
    )
}  # fmt: skip
# Operators that take a list whole, where others are applied to each of its entries.
WHOLE_LISTS = {"concat", "stack", "select", "batch_concat", "batch_split", "max", "min"}
PARAMETERS: dict[str, tuple[str, ...]] = {
    "lerp": ("a", "b", "t"),
    "where": ("condition", "a", "b"),
} | dict.fromkeys(ENTRYWISE, ("v",))


def positional(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """Arguments by name put in their places, for operators that take them so."""
    names = PARAMETERS.get(name)
    if names is None:
        names = tuple(inspect.signature(OPERATORS[name]).parameters)
    given = list(arguments)
    for at, key in enumerate(names):
        if key in keywords and at == len(given):
            given.append(keywords.pop(key))
    return tuple(given)
