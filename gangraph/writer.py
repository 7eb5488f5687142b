"""Node -> Code: each operator as the PyTorch text that it becomes.

A writer knows the variables that hold some nodes; whatever has none is written in place. What a leaf, a call or a
module becomes is said by its subclasses: inside a network, or in a phase of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Any

from gangraph import ops
from gangraph.code import (
    AND,
    ATOM,
    COMPARE,
    IF,
    NOT,
    OR,
    POWER,
    PRODUCT,
    SUM,
    UNARY,
    Code,
    call,
    join,
    literal,
    text,
)
from gangraph.ir import Node, Shape

STRENGTHS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT, "**": POWER}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Writer:
    """Writes nodes; `names` maps the id of a node to the variable that holds it."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.vectors: frozenset[int] = frozenset()  # means of one entry whose axis is read; of the others it is dropped

    # --- said by subclasses

    def leaf(self, node: Node) -> Code:
        raise NotImplementedError

    def applied(self, node: Node) -> Code:
        raise NotImplementedError

    def whole(self, value: float | int, hint: str) -> Code:
        """A size: a literal, or in a class a slot."""
        return text(literal(value))

    def zeros(self, node: Node) -> Code:
        raise NotImplementedError

    def dtype(self) -> str:
        """The dtype of real numbers, as text."""
        raise NotImplementedError

    # --- expressions

    def code(self, node: Node, strength: int = IF) -> Code:
        name = self.names.get(id(node))
        if name is not None:
            return text(name)
        return self.write(node).at(strength)

    def write(self, node: Node) -> Code:
        method = getattr(self, f"_{node.op}", None)
        if method is not None:
            found: Code = method(node)
            return found
        if node.op in ops.SIGNS:
            return self._binary(node)
        operator = ops.OPERATORS.get(node.op)
        if operator is not None:
            return self._operator(node, operator)
        if node.op in ("call", "apply"):
            return self.applied(node)
        return self.leaf(node)

    def _operator(self, node: Node, operator: ops.Operator) -> Code:
        template = operator.host_text if node.type.host and operator.host_text else operator.text
        if template is None:
            raise AssertionError(f"no text for {node.op}")
        arguments = (
            self.aligned(node) if len(node.args) > 1 and not node.type.host else [self.code(a) for a in node.args]
        )
        if node.type.dtype == "float":
            arguments = list(map(self.number, arguments, node.args))
        return self.fill(template, arguments, node.fields)

    def fill(self, template: str, arguments: list[Code], fields: dict[str, Any]) -> Code:
        """`{0}` is an argument as an atom, `{0!s}` as it is, `{slope}` a field."""
        made = text("")
        for before, key, _, conversion in Formatter().parse(template):
            made = made + before
            if key is None:
                continue
            if key.isdigit():
                made = made + arguments[int(key)].at(IF if conversion else ATOM)
            else:
                made = made + literal(fields[key])
        loose = template.startswith("-") or " " in template.split("(")[0]
        operators = {" @ ": PRODUCT, " ** ": POWER, " + ": SUM}
        strength = next(
            (s for sign, s in operators.items() if sign in template.split("(")[0]), UNARY if loose else ATOM
        )
        return Code(made.parts, strength)

    def aligned(self, node: Node) -> list[Code]:
        """Arguments with the missing axes added on the right, so that they meet at the sample axis."""
        rank = max((a.type.rank for a in node.args if not a.type.host), default=0)
        found = []
        for argument in node.args:
            missing = rank - argument.type.rank
            code = self.code(argument)
            plain = argument.type.host or not missing or (argument.type.samples is None and not argument.type.rank)
            found.append(code if plain else code.at(ATOM) + f"[..., {', '.join(['None'] * missing)}]")
        return found

    def number(self, code: Code, node: Node) -> Code:
        """A comparison counts as 1 or 0 in arithmetic, and integers as real numbers of the program's dtype."""
        whole = node.type.dtype in ("bool", "int") and not node.type.host
        return code.at(ATOM) + f".to({self.dtype()})" if whole else code

    def _binary(self, node: Node) -> Code:
        sign = ops.SIGNS[node.op]
        left, right = self.aligned(node) if not node.type.host else [self.code(a) for a in node.args]
        if node.op not in ops.COMPARISONS:
            left, right = self.number(left, node.args[0]), self.number(right, node.args[1])
        if sign == "//" and not node.type.host:  # no gradient passes, and torch has none
            left, right = (
                code if a.type.host or a.type.dtype in ("bool", "int") else code.at(ATOM) + ".detach()"
                for code, a in zip((left, right), node.args, strict=True)
            )
        if sign in _FLIPPED and node.args[0].type.host and not node.args[1].type.host:
            left, right, sign = right, left, _FLIPPED[sign]
        if sign == "%" and node.args[0].type.host and not node.args[1].type.host:  # which torch cannot differentiate
            a, b = left.at(PRODUCT), right.at(PRODUCT)
            return join("", [a, text(" - "), b, text(" * ("), a, text(" / "), b.at(ATOM), text(").floor()")], SUM)
        if sign in "+-" and _is(node.args[1], 0) and not node.args[0].type.host:
            return left
        if sign == "*" and not node.type.host and (ones := [_is(a, 1) for a in node.args]) != [False, False]:
            return left if ones[1] else right
        strength = STRENGTHS.get(sign, COMPARE)
        if sign == "**":
            base, power = left.at(ATOM), right.at(UNARY)
            simple = all(c.plain().replace(".", "").replace("_", "").lstrip("-").isalnum() for c in (base, power))
            return join("**" if simple else " ** ", [base, power], POWER)
        return join(f" {sign} ", [left.at(strength if strength != COMPARE else SUM), right.at(strength + 1)], strength)

    def _number(self, node: Node) -> Code:
        strength = UNARY if isinstance(node.value, int | float) and node.value < 0 else ATOM
        return Code(text(literal(node.value)).parts, strength)

    def _length(self, node: Node) -> Code:
        return self.samples(node.fields["text"]).at(ATOM)

    def samples(self, length: str) -> Code:
        """A number of samples, as text in N."""
        return text(length.replace("N", "self.N"), ATOM if length.isalnum() else SUM)

    def _neg(self, node: Node) -> Code:
        inner = self.number(self.code(node.args[0]), node.args[0])
        if inner.strength == UNARY and inner.plain().startswith("-"):  # two signs cancel
            first, *rest = inner.parts
            assert isinstance(first, str)
            return Code(tuple(filter(None, (first[1:], *rest))))
        return Code(("-", *inner.at(UNARY).parts), UNARY)

    def _softplus(self, node: Node) -> Code:
        """log(1 + exp(x)), exact for every x; of -x it is the familiar -logsigmoid(x)."""
        inner = node.args[0]
        negated = (
            self.number(self.code(inner.args[0]), inner.args[0])
            if inner.op == "neg" and id(inner) not in self.names
            else Code(("-", *self.number(self.code(inner, UNARY), inner).at(UNARY).parts), UNARY)
        )
        made = call("number", "F.logsigmoid", negated) if node.type.host else call("F.logsigmoid", negated)
        return Code(("-", *made.parts), UNARY)

    def _where(self, node: Node) -> Code:
        if node.args[0].type.host:
            return self._ifelse(node)
        condition, a, b = self.aligned(node)
        if node.args[0].type.dtype != "bool":
            condition = join(" ", [condition.at(SUM), text("!= 0")], COMPARE)
        if not all(branch.type.host for branch in node.args[1:]):
            if node.type.dtype == "float":
                a, b = self.number(a, node.args[1]), self.number(b, node.args[2])
            return call("torch.where", condition, a, b)
        if (node.args[1].value, node.args[2].value) == (1, 0):
            return condition.at(ATOM) + f".to({self.dtype()})"
        filled = call("torch.full_like", condition, b, dtype=text(self.dtype()))
        return call(filled + ".masked_fill", condition, a)  # torch.where would make integers of integers

    def _lerp(self, node: Node) -> Code:
        """Written out: torch.lerp takes no operands of two precisions, as autocast makes them."""
        codes = [self.code(x) for x in node.args] if node.type.host else self.aligned(node)
        a, b, t = map(self.number, codes, node.args)
        parts = [a.at(SUM), text(" + "), t.at(PRODUCT), text(" * ("), b.at(SUM), text(" - "), a.at(PRODUCT), text(")")]
        return join("", parts, SUM)

    def _matmul(self, node: Node) -> Code:
        left, right = (self.number(self.code(a), a) for a in node.args)
        return join(" @ ", [left.at(PRODUCT), right.at(POWER)], PRODUCT)

    def _max(self, node: Node) -> Code:
        if node.type.host:
            return call(node.op, *[self.code(a) for a in node.args])
        if "pair" in node.fields:
            arguments = self.aligned(node)
            if node.type.dtype == "float":
                arguments = list(map(self.number, arguments, node.args))
            host = next((i for i, a in enumerate(node.args) if a.type.host), None)
            if host is not None:
                bound = arguments[host]
                return call(
                    arguments[1 - host].at(ATOM) + ".clamp",
                    join("", [text("min=" if node.op == "max" else "max="), bound]),
                )
            return call(node.fields["pair"], *arguments)
        return self._reduced(node)

    _min = _max

    # --- reductions

    def _reduced(self, node: Node) -> Code:
        inner, axes = node.args[0], node.fields["axes"]
        code, method = self.number(self.code(inner), inner).at(ATOM), node.fields["method"]
        if axes is None:  # all, of whatever shape
            return code + (".flatten().logsumexp(dim=0)" if method == "logsumexp" else f".{method}()")
        if not axes:
            return self.number(self.code(inner), inner) if method != "norm" else code + ".abs()"
        shared = inner.type.samples is None
        whole = len(axes) == inner.type.rank
        if whole and shared and method in ("mean", "sum", "amax", "amin", "norm", "std"):
            return code + f".{method}()"
        if whole and inner.type.rank > 1 and not shared:
            return code + f".flatten(1).{method}(dim=1)"
        dims = tuple(a - 1 for a in axes) if shared else axes
        return code + f".{method}(dim={literal(dims if len(dims) > 1 else dims[0])})"

    _mean = _sum = _norm = _logsumexp = _std = _reduced

    def _expect(self, node: Node) -> Code:
        inner, method = node.args[0], "mean" if node.op == "expect" else "sum"
        same = inner.op == method and id(inner) not in self.names and inner.type.rank == 0
        if same:  # the mean of means of equally many is the mean of all, and so for sums
            source = inner.args[0]
            return self.number(self.code(source), source).at(ATOM) + f".{method}()"
        code = self.number(self.code(inner), inner).at(ATOM)
        number = inner.type.size == 1 and inner.type.rank <= 1 and id(node) not in self.vectors
        return code + (f".{method}()" if number else f".{method}(dim=0)")

    _total = _expect

    def _cross_entropy(self, node: Node) -> Code:
        shared = node.type.samples is None
        if len(node.args) == 1:
            inner = call(self.code(node.args[0], ATOM) + ".log_softmax", dim=0 if shared else 1)
            return Code(("-", *inner.parts, f"[{'' if shared else ':, '}{node.fields['target']}]"), UNARY)
        if shared:
            logits, label = (self.code(a, ATOM) + "[None]" for a in node.args)
            return call("F.cross_entropy", logits, label, reduction="none") + "[0]"
        return call("F.cross_entropy", *self._together(node.args), reduction="none")

    # --- structure

    def _concat(self, node: Node) -> Code:
        parts: list[Code] = []
        tensors = iter(self._together(node.args))
        many = node.type.samples is not None
        first = next((a for a in node.args if a.type.samples is not None), node.args[0])
        for item in node.fields["items"]:
            if item is None:
                parts.append(next(tensors))
            else:
                constant = self.code(first, ATOM) + f".new_tensor([{', '.join(literal(float(x)) for x in item)}])"
                parts.append(constant + f".expand(len({self.code(first).plain()}), {len(item)})" if many else constant)
        axis = node.fields["axis"] - (0 if many else 1)
        return Code((*call("torch.cat", Code(("[", *join(", ", parts).parts, "]"))).parts[:-1], f", dim={axis})"))

    def _stack(self, node: Node) -> Code:
        inner = join(", ", self._together(node.args))
        axis = node.fields["axis"] - (0 if node.type.samples is not None else 1)
        return Code(("torch.stack([", *inner.parts, f"], dim={axis})"))

    def _together(self, nodes: tuple[Node, ...] | list[Node]) -> list[Code]:
        """Values of one shape; where some have samples, shared ones are repeated for each."""
        first = next((n for n in nodes if n.type.samples is not None), None)
        found = []
        for node in nodes:
            code = self.code(node)
            if first is not None and node.type.samples is None:
                sizes = [f"len({self.code(first).plain()})", *["-1"] * node.type.rank]
                code = code.at(ATOM) + f".expand({', '.join(sizes)})"
            found.append(code)
        return found

    def _tile(self, node: Node) -> Code:
        vector, image = self.number(self.code(node.args[0]), node.args[0]).at(ATOM), self.code(node.args[1])
        height, *rest = node.fields["map"]
        if image.parts and len(image.parts) == 1 and isinstance(image.parts[0], str) and image.parts[0].isidentifier():
            size = (
                text(f", *{image.plain()}.shape[2:]")
                if node.args[1].type.samples is not None
                else text(f", *{image.plain()}.shape[1:]")
            )
        else:
            size = join("", [text(", "), join(", ", [self.whole(n, "size") for n in (height, *rest)])])
        nones = ", ".join(["None"] * len(node.fields["map"]))
        keep = "-1, -1" if node.type.samples is not None else "-1"
        if node.type.samples is not None and node.args[0].type.samples is None:
            keep = f"len({image.plain()}), -1"
        return vector + f"[..., {nones}].expand({keep}" + size + ")"

    def _reshape(self, node: Node) -> Code:
        inner = node.args[0]
        code, old, new = self.code(inner, ATOM), inner.type.shape, node.fields["shape"]
        sizes = [self.whole(n, "size") for n in new]
        if node.type.samples is None:
            rest = node.fields.get("rest")  # a size that follows from the others, as the number of samples may be
            return call(code + ".reshape", *[s if i != rest else "-1" for i, s in enumerate(sizes)])
        same = next(
            (i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
        )
        if len(new) == same + 1 < len(old):
            return call(code + ".flatten", str(same + 1))
        if len(old) == same + 1 < len(new):
            return call(code + ".unflatten", str(same + 1), join("", [text("("), join(", ", sizes[same:]), text(")")]))
        return call(code + ".reshape", self.samples(node.type.samples.text), *sizes)

    def _transpose(self, node: Node) -> Code:
        shift = 0 if node.type.samples is not None else 1
        a, b = (axis - shift for axis in node.fields["axes"])
        return self.code(node.args[0], ATOM) + f".transpose({a}, {b})"

    def _softmax(self, node: Node) -> Code:
        dim = node.fields["dim"] - (0 if node.args[0].type.samples is not None else 1)
        return self.number(self.code(node.args[0]), node.args[0]).at(ATOM) + f".{node.op}(dim={dim})"

    _log_softmax = _argmax = _argmin = _softmax

    def _one_hot(self, node: Node) -> Code:
        code = call("F.one_hot", self.code(node.args[0]), self.whole(node.fields["n"], "classes"))
        axis = 0 if node.type.samples is None else 1
        moved = code + f".movedim(-1, {axis})" if node.type.rank > 1 else code
        return moved + f".to({self.dtype()})"

    def _select(self, node: Node) -> Code:
        *values, label = node.args
        index = self.code(label)
        shared = all(v.type.samples is None for v in values)
        picked = label.type.samples is None  # one entry for all samples
        if node.fields["listed"]:
            inner = join(", ", self._together(values))
            source = Code(("torch.stack([", *inner.parts, "])" if shared else "], dim=1)"))
        else:
            source = self.code(values[0], ATOM)
        if shared:
            return source + "[" + index + "]"
        if picked:
            return source + "[:, " + index + "]"
        size = index.plain() if index.plain().isidentifier() else f"({index.plain()})"
        return source + f"[torch.arange(len({size}), device={size}.device), " + index + "]"

    def _resize(self, node: Node) -> Code:
        mode = node.fields["mode"]
        size = text(f"size={literal(node.fields['size'])}")
        corners = False if mode == "bilinear" else None
        return self._on_batch(node, lambda image: call("F.interpolate", image, size, mode=mode, align_corners=corners))

    def _pad(self, node: Node) -> Code:
        mode = node.fields["mode"] if node.fields["mode"] != "constant" else None
        return self._on_batch(node, lambda image: call("F.pad", image, literal(node.fields["sizes"]), mode=mode))

    def _on_batch(self, node: Node, write: Callable[[Code], Code]) -> Code:
        """A function of a batch of maps, also for one map that is shared."""
        image = self.number(self.code(node.args[0]), node.args[0])
        return write(image) if node.type.samples is not None else write(image.at(ATOM) + "[None]") + "[0]"

    def _take(self, node: Node) -> Code:
        if "entries" in node.fields:
            before = ":, " * (node.fields["dim"] - (1 if node.args[0].type.samples is None else 0))
            return self.code(node.args[0], ATOM) + f"[{before}{list(node.fields['entries'])}]"
        value, order = self.code(node.args[0], ATOM), self.code(node.args[1])
        if node.fields["dim"] == 0:
            return value + "[" + order + "]"
        return call(value + ".index_select", str(node.fields["dim"]), order)

    def _zeros(self, node: Node) -> Code:
        return self.zeros(node)

    _ones = _zeros

    def _slice(self, node: Node) -> Code:
        items = []
        shared = node.args[0].type.samples is None
        for axis, item in enumerate(node.fields["items"]):
            if axis == 0 and shared:
                continue
            if isinstance(item, tuple):
                low, high = (
                    self.samples(str(b)).plain() if axis == 0 and b is not None else "" if b is None else str(b)
                    for b in item
                )
                low = "" if low == "0" else low
                spaced = any(mark in low + high for mark in " .")
                items.append(
                    f"{low} : {high}".strip() if spaced and low else f": {high}" if spaced else f"{low}:{high}"
                )
            else:
                items.append(str(item))
        return self.code(node.args[0], ATOM) + f"[{', '.join(items)}]"

    def _separability(self, node: Node) -> Code:
        rows = [self.code(n, ATOM) + ("" if n.type.rank == 1 else ".flatten(1)") for n in node.args]
        return Code(("torch.cat([", *join(", ", rows).parts, "], dim=1)"))

    def _chunk(self, node: Node) -> Code:
        axis = node.fields["axis"] - (1 if node.args[0].type.samples is None else 0)
        return call(self.code(node.args[0], ATOM) + ".chunk", str(node.fields["n"]), dim=axis if axis else None)

    def _output(self, node: Node) -> Code:
        return self.code(node.args[0], ATOM) + f"[{node.fields['index']}]"

    def _spread(self, node: Node) -> Code:
        """A value with the samples and axes of one that it stands for."""
        inner = node.args[0]
        missing = node.type.rank - inner.type.rank
        code = self.code(inner, ATOM) + (
            f"[..., {', '.join(['None'] * missing)}]"
            if missing and inner.type.rank + (inner.type.samples is not None)
            else ""
        )
        samples = [self.samples(node.type.samples.text)] if node.type.samples is not None else []
        return call(code + ".expand", *samples, *(self.whole(n, "size") for n in node.type.shape))

    def _alias(self, node: Node) -> Code:
        return self.code(node.args[0])

    def _batch_concat(self, node: Node) -> Code:
        return Code(("torch.cat([", *join(", ", [self.code(a) for a in node.args]).parts, "])"))

    def _batch_repeat(self, node: Node) -> Code:
        ones = ", ".join(["1"] * node.type.rank)
        return self.code(node.args[0], ATOM) + f".repeat({node.fields['n']}{', ' if ones else ''}{ones})"

    def _convolve(self, node: Node) -> Code:
        f = node.fields
        given = {
            k: v
            for k, v, default in (("stride", f["stride"], 1), ("padding", f["padding"], 0), ("groups", f["groups"], 1))
            if v != default
        }
        function = "convolve" if f["each"] else "F.conv2d"
        return call(function, *(self.number(self.code(a), a) for a in node.args), **given)

    # --- numbers of the program

    def _and(self, node: Node) -> Code:
        return join(" and ", [self.code(a, AND + 1) for a in node.args], AND)

    def _or(self, node: Node) -> Code:
        return join(" or ", [self.code(a, OR + 1) for a in node.args], OR)

    def _not(self, node: Node) -> Code:
        return Code(("not ", *self.code(node.args[0], NOT).parts), NOT)

    def _ifelse(self, node: Node) -> Code:
        """`a if test else b`, by a number."""
        test, then, other = (self.code(a) for a in node.args)
        return Code((*then.at(OR).parts, " if ", *test.at(OR).parts, " else ", *other.parts), IF)


def _is(node: Node, value: int) -> bool:
    """Whether a node is this number, as it stands in a formula."""
    return node.op == "number" and node.value == value and not isinstance(node.value, bool)


def shape_comment(shape: Shape, samples: Any) -> str:
    return f"[{', '.join([*([str(samples)] if samples else []), *map(str, shape)])}]"


class _Host(Writer):
    """Numbers of the program as a person writes them in a spec: `epoch_step % 3 == 2`."""

    def leaf(self, node: Node) -> Code:
        return text(node.name or node.op)

    def samples(self, length: str) -> Code:
        return text(length, ATOM if length.isalnum() else SUM)


def host_text(value: Any) -> str:
    """A number of the program (a node, or known already) as text."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(host_text, value)) + "]"
    if isinstance(value, Node):
        return _Host().code(value).plain()
    return f"{value:g}" if isinstance(value, float) else str(value)
