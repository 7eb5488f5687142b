"""Expr -> value: names looked up, operators applied, functions and families unfolded.

A value is a number, text, truth value, None, a list (tuple), a `Node`, a network (see `templates`) or a loss with two
sides. Facts that are wrong get the place of the innermost expression; when a function or block of the library is
entered, the caller's place comes first and the library's line is kept in the trail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gangraph import ops
from gangraph.errors import Fact, Place, nearest
from gangraph.expressions import (
    UNREAD,
    Attribute,
    Binary,
    Call,
    Compare,
    Expr,
    IfElse,
    Index,
    List,
    Logic,
    Name,
    Negative,
    Not,
    Number,
    Slice,
    String,
    Truth,
    show,
    too_large,
)
from gangraph.families import SIDES
from gangraph.ir import HOST, Length, Node, Type, bracketed
from gangraph.layers import LAYERS
from gangraph.templates import MISSING, Init, Named, Outputs, Scope, Template, Thunk, TwoSided, View

ELSEWHERE = {  # what other libraries call it
    "detach": "stop", "no_grad": "stop", "stop_gradient": "stop", "cat": "concat", "view": "reshape",
    "permute": "transpose", "iteration": "step", "iterations": "step", "L1Loss": "l1", "MSELoss": "l2", "mse": "l2",
    "BCELoss": "bce", "BCEWithLogitsLoss": "bce_logits", "bce_with_logits": "bce_logits",
    "randn": "normal", "rand": "uniform",
    "batch_size": "N", "true": "True", "yes": "True", "false": "False", "no": "False",
}  # fmt: skip

COPIES = 1000  # of a value in a list, at most


class Silent(Exception):
    """A value could not be made because one that it reads was wrong, which has been said."""


class Evaluator:
    """Evaluates expressions; `apply` and the spec's own names come from the subclasses."""

    dropping = False  # in losses and objectives a term with the factor 0 is not there
    knowing = False  # in `when`, `repeat` and state: losses are numbers
    measuring = False  # in metrics: `separability` may stand there

    @contextmanager
    def having(self, **modes: bool) -> Iterator[None]:
        """With `dropping`, `knowing` or `measuring` set, which are then as they were."""
        before = {name: getattr(self, name) for name in modes}
        vars(self).update(modes)
        try:
            yield
        finally:
            vars(self).update(before)

    # --- to be given by subclasses

    def spec_name(self, name: str, scope: Scope, at: Place) -> Any:
        raise NotImplementedError

    def callable_word(self, name: str, scope: Scope) -> Any:
        """A function, family, block or layer by name, else MISSING."""
        raise NotImplementedError

    def make(self, word: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Call) -> Any:
        raise NotImplementedError

    def apply(
        self, network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr, scope: Scope
    ) -> Any:
        raise NotImplementedError

    def known_names(self, scope: Scope) -> list[str]:
        raise NotImplementedError

    # --- expressions

    def value(self, expr: Expr, scope: Scope) -> Any:
        try:
            return _METHODS[type(expr)](self, expr, scope)
        except Fact as fact:
            raise fact.at(expr.at) from None
        except OverflowError:
            raise Fact("the number is too large").at(expr.at) from None

    def _number(self, expr: Number, scope: Scope) -> Any:
        return expr.value

    def _string(self, expr: String, scope: Scope) -> Any:
        return expr.value

    def _truth(self, expr: Truth, scope: Scope) -> Any:
        return expr.value

    def _list(self, expr: List, scope: Scope) -> Any:
        return tuple(self.value(item, scope) for item in expr.items)

    def _name(self, expr: Name, scope: Scope) -> Any:
        name = expr.id
        if name == UNREAD:
            raise Silent
        if name in scope.index:
            return scope.index[name]
        found = scope.find(name)
        if found is not MISSING:
            return self.force(found, name)
        family = scope.family(name)
        if family is not None:
            holder, members = family
            return tuple(self.force(holder.frame[member], member) for member in members.values())
        if not scope.inside:
            found = self.spec_name(name, scope, expr.at)
            if found is not MISSING:
                return found
        if name in ops.CONSTANTS:
            return ops.CONSTANTS[name]
        if name == "N" and not scope.inside:
            return self.batch_length()
        raise self.unknown(name, scope)

    def batch_length(self) -> Length:
        raise Fact("N, the batch size, is not known here")

    def unknown(self, name: str, scope: Scope) -> Fact:
        if name in ops.CLOCKS and scope.inside:
            return Fact(f"a block or function does not see the clock {name}", "give it as a parameter or an input")
        word = self.callable_word(name, scope)
        if word is not MISSING or name in ops.OPERATORS:
            return Fact(f"{name} stands without brackets", f"write {name}(...)")
        elsewhere = ELSEWHERE.get(name)
        if name in ("nn", "torch", "F"):
            return Fact(f"nothing is called '{name}' here", "layers and operators stand alone: Conv2d(64, 3), relu(v)")
        hint = f"it is `{elsewhere}` here" if elsewhere else nearest(name, self.known_names(scope))
        return Fact(f"nothing is called '{name}' here", hint)

    def force(self, found: Any, name: str) -> Any:
        if not isinstance(found, Thunk):
            return found
        if found.value is MISSING:
            if found.busy:
                raise Fact(f"{name} is made from itself")
            found.busy = True
            try:
                found.value = found.make()
            finally:
                found.busy = False
        return found.value

    def _binary(self, expr: Binary, scope: Scope) -> Any:
        left, right = self.value(expr.left, scope), self.value(expr.right, scope)
        return self.operate(ops.BINARY[expr.operator], (left, right), {}, expr)

    def _negative(self, expr: Negative, scope: Scope) -> Any:
        return self.operate("neg", (self.value(expr.operand, scope),), {}, expr)

    def _compare(self, expr: Compare, scope: Scope) -> Any:
        operands = [self.value(o, scope) for o in expr.operands]
        results = []
        for sign, left, right in zip(expr.operators, operands, operands[1:], strict=False):
            texts = isinstance(left, str), isinstance(right, str)
            numbers = [isinstance(s, Node | float | int) and not isinstance(s, bool) for s in (left, right)]
            if any(texts) and any(numbers):
                help = "stages are counted from 0" if "stage" in show(expr) else None
                raise Fact(f'a number is never "{left if texts[0] else right}"', help)
            if sign in ("==", "!=") and (isinstance(left, str | bool | None) or isinstance(right, str | bool | None)):
                results.append((left == right) == (sign == "=="))
            else:
                results.append(self.operate(ops.BINARY[sign], (left, right), {}, expr))
            if self.truth(results[-1]) is False:
                return results[-1]
        if len(results) > 1 and any(isinstance(r, Node) and not r.type.host for r in results):
            pairs = zip(expr.operators, expr.operands, expr.operands[1:], strict=False)
            help = " * ".join(f"({show(left)} {sign} {show(right)})" for sign, left, right in pairs)
            raise Fact(f"{show(expr)} compares tensors twice in one go", f"each by itself: {help}")
        return results[0] if len(results) == 1 else self.logic("and", results, expr)

    def _logic(self, expr: Logic, scope: Scope) -> Any:
        values = []
        for operand in expr.operands:
            value = self.value(operand, scope)
            values.append(value)
            truth = self.truth(value)
            if truth is not None and truth == (expr.operator == "or"):
                break
        return self.logic(expr.operator, values, expr)

    def logic(self, operator: str, values: list[Any], expr: Expr) -> Any:
        """The operand that decides, as in Python, or a node where the run decides."""
        *front, last = values
        unknown = [v for v in front if self.truth(v) is None]  # what is known and does not decide is left out
        if not unknown:
            return last
        truth = self.truth(last)
        if truth is not None and all(isinstance(v, Node) and v.op in ops.CONDITIONS for v in unknown):
            last = self._hosted(last)  # beside conditions, which are 1 or 0 themselves, 1 or 0 says nothing more
            if not isinstance(last, Node) or last.value in (0, 1):
                if truth == (operator == "or"):
                    return truth
                values, unknown = unknown, unknown[:-1]
                last = values[-1]
        nodes = tuple(self.host(v, f"`{operator}`") for v in (*unknown, last))
        return Node(operator, nodes, HOST, expr.at) if len(nodes) > 1 else nodes[0]

    def truth(self, value: Any) -> bool | None:
        """The truth of what is known now; None for a number that the run will know."""
        if isinstance(value, Node):
            return bool(value.value) if value.type.host and value.value is not None else None
        if isinstance(value, Length):
            return None if len({bool(v) for v in value.values}) > 1 else bool(value.now)
        if isinstance(value, Template | Named | View):
            return True
        return bool(value)

    def host(self, value: Any, what: str) -> Node:
        """A number of the program: not a tensor (but a loss that has been evaluated, where that is meant)."""
        node = self.node(value)
        if node.type.host or (self.knowing and node.type.shape == () and node.type.samples is None):
            return node
        raise Fact(
            f"{what} is for numbers known before the evaluation, not for {node.type}",
            "on tensors it is where(condition, a, b)",
        )

    def _not(self, expr: Not, scope: Scope) -> Any:
        value = self.value(expr.operand, scope)
        truth = self.truth(value)
        return Node("not", (self.host(value, "`not`"),), HOST, expr.at) if truth is None else not truth

    def _if(self, expr: IfElse, scope: Scope) -> Any:
        test = self.value(expr.test, scope)
        truth = self.truth(test)
        if truth is not None:
            return self.value(expr.then if truth else expr.otherwise, scope)
        node = self.host(test, "`if`")
        branches = self.node(self.value(expr.then, scope)), self.node(self.value(expr.otherwise, scope))
        if not all(b.type.host for b in branches):
            return self.operate("where", (node, *branches), {}, expr)
        return Node("ifelse", (node, *branches), HOST, expr.at)

    def _attribute(self, expr: Attribute, scope: Scope) -> Any:
        value = self.value(expr.value, scope)
        return self.attribute(value, expr)

    def attribute(self, value: Any, expr: Attribute) -> Any:
        name = expr.name
        if isinstance(value, Outputs) and name in value.names:
            return value[value.names.index(name)]
        if isinstance(value, TwoSided):
            if name in SIDES:
                return value.side(name)
            raise Fact(f"a two-sided loss has the sides discriminator and generator, not '{name}'")
        if isinstance(value, tuple) and value and all(isinstance(v, TwoSided) for v in value):
            return tuple(self.attribute(v, expr) for v in value)
        if isinstance(value, Node) and not value.type.host:
            shape = value.type.shape
            axes = {"channels": 0, "length": 1} if len(shape) < 3 else {"channels": 0, "height": 1, "width": 2}
            if name == "shape":
                return (value.type.samples or Length("1", (1, 1, 1)), *shape)
            if name in axes and axes[name] < len(shape):
                return shape[axes[name]]
            raise Fact(
                f"a value of {value.type} has no '{name}'",
                "channels, height, width (C x H x W), length (C x L), shape[i]",
            )
        if isinstance(value, Outputs):
            raise Fact(f"the call has the outputs {', '.join(value.names)}, not '{name}'", nearest(name, value.names))
        raise Fact(f"'.{name}' does not stand behind this")

    def _index(self, expr: Index, scope: Scope) -> Any:
        if isinstance(expr.value, Name):
            member = self.member(expr.value.id, expr, scope)
            if member is not MISSING:
                return member
        value = self.value(expr.value, scope)
        return self.pick(value, expr, scope)

    def member(self, family: str, expr: Index, scope: Scope) -> Any:
        """`fake[d]`, `x[celeba]`: a member of a family, else MISSING."""
        local = scope.family(family)
        if local is None and (scope.inside or scope.find(family) is not MISSING):
            return MISSING
        members = local[1] if local else self.spec_family(family)
        if members is None or any(isinstance(item, Slice) for item in expr.items):
            return MISSING  # a slice is of the list of members
        indices = tuple(self.index_value(item, scope) for item in expr.items)
        if indices not in members:
            known = ", ".join(members.values()) if len(members) < 12 else f"{len(members)} members"
            raise Fact(f"{family} has no member [{', '.join(map(str, indices))}]", f"it has {known}")
        if local:
            return self.force(local[0].frame[members[indices]], members[indices])
        hidden = scope.find(members[indices])  # in `when`: the loss as a number
        if hidden is not MISSING:
            return self.force(hidden, members[indices])
        return self.spec_name(members[indices], scope, expr.at)

    def spec_family(self, name: str) -> dict[tuple[Any, ...], str] | None:
        return None

    def index_symbols(self) -> set[str]:
        return set()

    def index_value(self, item: Expr, scope: Scope) -> Any:
        if isinstance(item, Name):
            if item.id in scope.index:
                return scope.index[item.id]
            if item.id in self.index_symbols():
                return item.id
        value = self.value(item, scope)
        return ops.integer(value, "an index", None) if not isinstance(value, str) else value

    def pick(self, value: Any, expr: Index, scope: Scope) -> Any:
        """An entry or slice of a list or of a value; the sample axis is axis 0."""
        if isinstance(value, tuple):
            if len(expr.items) != 1:
                raise Fact("a list has one axis")
            item = expr.items[0]
            if isinstance(item, Slice):
                low = ops.integer(self.value(item.low, scope), "a bound", None) if item.low else None
                high = ops.integer(self.value(item.high, scope), "a bound", None) if item.high else None
                return tuple(value)[low:high]
            index = ops.integer(self.value(item, scope), "an index", None)
            if not -len(value) <= index < len(value):
                raise Fact(f"the list has {len(value)} entries, so there is no [{index}]")
            return value[index]
        node = ops.tensor_of(value, "a list or a value")
        return self.slice(node, expr, scope)

    def slice(self, node: Node, expr: Index, scope: Scope) -> Node:
        shape = list(node.type.shape)
        samples = node.type.samples
        if len(expr.items) > len(shape) + 1:
            raise Fact(
                f"{node.type} has {len(shape) + 1} axes, the samples included, and {len(expr.items)} indices stand here"
            )
        items: list[Any] = []
        kept = []
        for axis, item in enumerate(expr.items):
            size: Any = samples if axis == 0 else shape[axis - 1]
            if isinstance(item, Slice):
                low = self.value(item.low, scope) if item.low else 0
                high = self.value(item.high, scope) if item.high else size
                if axis == 0:
                    samples = (
                        self._sample_slice(node, low, high) if samples is not None or item.low or item.high else None
                    )
                    items.append((low if item.low else None, high if item.high else None))
                    continue
                low, high = ops.integer(low, "a bound", None), ops.integer(high, "a bound", None)
                length = len(range(*slice(low, high).indices(size)))
                if length < 1:
                    raise Fact(f"[{low}:{high}] of an axis of {size} is empty")
                items.append((low if item.low else None, high if item.high else None))
                kept.append(length)
            else:
                if axis == 0:
                    raise Fact(
                        "one sample cannot be picked by number",
                        "take a slice, as in v[0:N // 2], or v[:, i] for an own axis",
                    )
                index = ops.integer(self.value(item, scope), "an index", None)
                if not -size <= index < size:
                    raise Fact(f"an axis of {size} has no [{index}]")
                items.append(index)
        kept += shape[len(expr.items) - 1 :] if expr.items else shape
        keeps = node.type.shape == tuple(kept)
        type_ = node.type.but(
            shape=tuple(kept), samples=samples, classes=node.type.classes, domain=node.type.domain if keeps else None
        )
        return Node("slice", (node,), type_, expr.at, {"items": tuple(items)})

    def _sample_slice(self, node: Node, low: Any, high: Any) -> Length:
        size = node.type.samples
        if size is None:
            raise Fact("a shared value has one sample, and cannot be cut along the samples")
        lows = low.values if isinstance(low, Length) else (ops.integer(low, "a bound", None),) * len(size.values)
        highs = high.values if isinstance(high, Length) else (ops.integer(high, "a bound", None),) * len(size.values)
        counts = tuple(len(range(n)[slice(a, b)]) for n, a, b in zip(size.values, lows, highs, strict=True))
        if min(counts) < 1:
            raise Fact(f"[{low}:{high}] of {size} samples is empty for a batch of {self.batch_length().now}")
        if lows[0] < 0 and highs == size.values:
            return Length(f"min({-lows[0]}, {size})", counts)
        first, last = (_bound(b, bs, size) for b, bs in ((low, lows), (high, highs)))
        return Length(last if first == "0" else f"{bracketed(last)} - {bracketed(first)}", counts)

    # --- calls

    def _slice(self, expr: Slice, scope: Scope) -> Any:
        raise Fact("a slice cuts a list or the axis of a value, and here an index is one number")

    def _call(self, expr: Call, scope: Scope) -> Any:
        function = expr.function
        if isinstance(function, Name):
            found = self._callee(function, scope)
            if found is MISSING:
                return self._core_call(function.id, expr, scope)
        else:
            found = self.value(function, scope)
        if isinstance(found, Template | Named | View):
            arguments, keywords = self.arguments(expr, scope)
            return self.apply(found, present(arguments), {k: present(v) for k, v in keywords.items()}, expr, scope)
        arguments, keywords = self.arguments(expr, scope)
        if callable(getattr(found, "bind", None)):
            return self.make(found, arguments, keywords, expr)
        what = function.id if isinstance(function, Name) else str(function)
        raise Fact(f"{what} is {'a value' if isinstance(found, Node) else _kind(found)}, and cannot be called")

    def arguments(self, expr: Call, scope: Scope) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(self.value(a, scope) for a in expr.arguments), {k: self.value(v, scope) for k, v in expr.keywords}

    def arguments_of(self, name: str, expr: Call, scope: Scope) -> dict[str, Any]:
        """The arguments of one of `ops.SPECIAL`, by name."""
        return {k: present(v) for k, v in ops.SPECIAL[name].bind(*self.arguments(expr, scope)).items()}

    def _callee(self, function: Name, scope: Scope) -> Any:
        """What a name in front of brackets is: local and spec names hide the library, the core hides nothing."""
        name = function.id
        found = scope.find(name)
        if found is not MISSING:
            return self.force(found, name)
        family = scope.family(name)
        if family is not None or (not scope.inside and self.spec_family(name)):
            raise Fact(f"{name} is a family of networks or values", f"say which one: {name}[...]")
        if not scope.inside:
            found = self.spec_name(name, scope, function.at)
            if found is not MISSING:
                return found
        if name in ops.OPERATORS or name in ops.SPECIAL or name in ops.SCALAR_FUNCTIONS:
            return MISSING
        return self.callable_word(name, scope)

    def _core_call(self, name: str, expr: Call, scope: Scope) -> Any:
        special = getattr(self, f"_do_{name}", None)
        if special is not None:
            return special(expr, scope)
        arguments, keywords = self.arguments(expr, scope)
        if name in ops.SCALAR_FUNCTIONS:
            if keywords:
                raise Fact(f"{name} takes no argument by name")
            if name == "log2" and arguments and isinstance(arguments[0], Node) and arguments[0].value is None:
                raise Fact("log2 is for integers that are known before the run")
            try:
                return ops.SCALAR_FUNCTIONS[name](*arguments)
            except TypeError:
                raise Fact(f"{name} does not take {len(arguments)} arguments") from None
            except ValueError as error:
                raise Fact(f"{name}: {error}") from None
        if name in ops.INITIALIZERS and (arguments == () or name not in ops.OPERATORS):
            return self.initializer(name, arguments, keywords)
        if name in ops.OPERATORS:
            return self.operate(name, arguments, keywords, expr)
        raise self.unknown(name, scope)

    def initializer(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Init:
        bound = ops.Signature(name, ops.INITIALIZERS[name]).bind(arguments, keywords)
        numbers = {k: float(ops.static_number(v, k)) for k, v in bound.items()}
        if numbers.get("std", 0) < 0:
            raise Fact(f"std is {numbers['std']:g}, and a standard deviation is at least 0")
        if name == "uniform" and numbers["low"] > numbers["high"]:
            raise Fact(f"uniform from {numbers['low']:g} to {numbers['high']:g}: the first is the lower one")
        return Init(name, tuple(numbers.items()))

    def operate(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], expr: Expr) -> Any:
        """An operator on evaluated arguments: folded, mapped over lists and sides, or made a node."""
        operator = ops.OPERATORS[name]
        if not keywords and not self.dropping and name in _PLAIN and _VALUES.issuperset(map(type, arguments)):
            plain = self._plain(operator, arguments, expr)
            if plain is not None:
                return plain
        if not arguments and not keywords:
            layer = next((title for title in LAYERS if title.lower() == name.replace("_", "")), None)
            help = f"the layer is {layer}()" if layer else f"{name}({operator.signature})"
            raise Fact(f"{name} is applied to nothing", help)
        several = name not in ("max", "min") or len(arguments) > 1
        if operator.host is not None and several and not keywords and _NUMBERS.issuperset(map(type, arguments)):
            return self._fold(operator, arguments)
        if any(isinstance(a, Length) for a in arguments):
            lengths = self._lengths(name, arguments)
            if lengths is not None:
                return lengths
        sided = [a for a in (*arguments, *keywords.values()) if isinstance(a, TwoSided)]
        if sided:
            return self._each_side(name, arguments, keywords, expr, sided[0])
        if any(isinstance(a, Init) for a in arguments):
            return self._scaled_init(name, arguments)
        if name in ("max", "min") and len(arguments) == 1 and isinstance(arguments[0], tuple):
            arguments = arguments[0]
        if operator.maps and any(isinstance(a, tuple) for a in arguments) and name not in ("reshape",):
            mapped = self._map(lambda *a: self.operate(name, a, keywords, expr), name, arguments)
            if mapped is not MISSING:
                return mapped
        bound = operator.bind(
            tuple(self._hosted(a) for a in arguments), {k: self._hosted(v) for k, v in keywords.items()}
        )
        if self.dropping:
            kept = self._dropped(operator, bound, expr)
            if kept is not MISSING:
                return kept
        bound = {key: present(value) for key, value in bound.items()}
        if name == "lerp" and isinstance(bound["t"], Node) and bound["t"].type.host and bound["t"].value in (0, 1):
            side = ops.node_of(bound["b"] if bound["t"].value == 1 else bound["a"])
            whole = operator.rule(**bound)[1]
            if (side.type.shape, side.type.samples, side.type.host) == (whole.shape, whole.samples, whole.host):
                return side
            if not side.type.host:  # a number is mixed with what has the samples and axes
                return Node("spread", (side,), whole, expr.at)
        if (
            name == "pow"
            and isinstance(bound["b"], Node)
            and bound["b"].value == 2
            and not ops.node_of(bound["a"]).type.host
        ):
            return self.operate("square", (bound["a"],), {}, expr)
        nodes, type_, fields = operator.rule(**bound)
        node = Node(name, nodes, type_, expr.at, fields)
        if type_.host and operator.host is not None and all(n.value is not None for n in nodes):
            node.value = self._fold(operator, tuple(n.value for n in nodes))
        return node

    def _plain(self, operator: ops.Operator, arguments: tuple[Any, ...], expr: Expr) -> Node | None:
        """The common case, without detours: an entry by entry operator on tensors and numbers."""
        nodes = [a if isinstance(a, Node) else Node("number", (), HOST, expr.at, value=a) for a in arguments]
        if all(n.type.host for n in nodes) or any(n.op == "dropped" for n in nodes):
            return None
        made, type_, fields = operator.rule(*nodes)
        return Node(operator.name, made, type_, expr.at, fields)

    def _fold(self, operator: ops.Operator, arguments: tuple[Any, ...]) -> Any:
        assert operator.host is not None
        try:
            result = operator.host(*arguments)
        except ZeroDivisionError:
            raise Fact(f"{f' {ops.SIGNS.get(operator.name)} '.join(map(str, arguments))} divides by zero") from None
        except (ValueError, TypeError):
            raise Fact(f"{operator.name} of {', '.join(map(str, arguments))} is not a number") from None
        except OverflowError:
            raise Fact("the number is too large") from None
        if isinstance(result, complex):
            raise Fact(f"{operator.name} of {', '.join(map(str, arguments))} is not a real number")
        if too_large(result):
            raise Fact("the number is too large")
        return result

    def _lengths(self, name: str, arguments: tuple[Any, ...]) -> Any:
        sign = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}.get(name)
        if sign is None or len(arguments) != 2:
            return None
        left, right = arguments
        if isinstance(left, Length) and isinstance(right, Length | int):
            return left.combine(sign, right)
        if isinstance(right, Length) and isinstance(left, int):
            return right.combine(sign, left, swapped=True)
        return None

    def _hosted(self, value: Any) -> Any:
        """Numbers become nodes where an operator reads values; everything else stays."""
        if type(value) in _NUMBERS:
            return Node("number", (), HOST, Place(), value=value)
        if isinstance(value, Length):
            return Node("length", (), HOST, Place(), {"text": value.text}, value=None)
        return value

    def node(self, value: Any) -> Node:
        return ops.node_of(present(self._hosted(value)))

    def _map(self, function: Callable[..., Any], name: str, arguments: tuple[Any, ...]) -> Any:
        lists = [a for a in arguments if isinstance(a, tuple)]
        if not all(all(isinstance(v, Node | tuple | TwoSided) for v in a) for a in lists):
            return MISSING
        if len({len(a) for a in lists}) != 1:
            raise Fact(f"{name} meets lists of {' and '.join(str(len(a)) for a in lists)} entries")
        rows = [tuple(a[i] if isinstance(a, tuple) else a for a in arguments) for i in range(len(lists[0]))]
        return tuple(function(*row) for row in rows)

    def _each_side(
        self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], expr: Expr, first: TwoSided
    ) -> TwoSided:
        def side(which: str) -> Any:
            return self.operate(
                name, tuple(a.side(which) if isinstance(a, TwoSided) else a for a in arguments), keywords, expr
            )

        several = [a for a in arguments if isinstance(a, TwoSided)]
        merged: dict[str, Any] = {}
        for loss in several:
            for key, value in loss.arguments.items():
                merged[key] = (*merged.get(key, ()), *(value if isinstance(value, tuple) else (value,)))
        return TwoSided(side("discriminator"), side("generator"), first.family, merged, expr.at)

    def _scaled_init(self, name: str, arguments: tuple[Any, ...]) -> Init:
        if name == "mul" and len(arguments) == 2:
            init, factor = sorted(arguments, key=lambda a: not isinstance(a, Init))
            if isinstance(init, Init) and not isinstance(factor, Init):
                return Init(init.name, init.arguments, init.scale * ops.static_number(factor, "a factor"))
        raise Fact("an initializer may be multiplied by a number, and nothing else")

    def _dropped(self, operator: ops.Operator, bound: dict[str, Any], expr: Expr) -> Any:
        """A term whose factor is a constant 0 is not there, nor what is 0 where it is; its node is what it would be."""
        name, values = operator.name, list(bound.values())

        def zero(value: Any) -> bool:
            return (
                isinstance(value, Node) and value.type.host and value.value == 0 and not isinstance(value.value, bool)
            )

        gone = [isinstance(v, Node) and v.op == "dropped" for v in values]
        if not any(gone) and not (name == "mul" and any(map(zero, values))):
            return MISSING
        nodes, type_, fields = operator.rule(**{key: present(value) for key, value in bound.items()})
        if name in ("add", "sub") and not all(gone):
            left, right = values
            kept = left if gone[1] else right if name == "add" else self.operate("neg", (right,), {}, expr)
            found = ops.node_of(kept).type
            return kept if (found.shape, found.samples, found.host) == (type_.shape, type_.samples, False) else MISSING
        if name not in ("add", "sub", "mul", "expect", "total", "mean", "sum") and not (name == "div" and gone[0]):
            known = [0 if g else getattr(v, "value", None) for g, v in zip(gone, values, strict=True)]
            if not gone[0] or operator.host is None or None in known or self._fold(operator, tuple(known)) != 0:
                return MISSING
        if type_.host:
            return MISSING
        return Node("dropped", (), type_, expr.at, {"whole": Node(name, nodes, type_, expr.at, fields)})

    # --- lists

    def _do_add(self, expr: Call, scope: Scope) -> Any:
        return self._reduce("add", expr, scope)

    def _do_average(self, expr: Call, scope: Scope) -> Any:
        return self._reduce("average", expr, scope)

    def _reduce(self, name: str, expr: Call, scope: Scope) -> Any:
        arguments, keywords = self.arguments(expr, scope)
        if keywords or len(arguments) != 1 or not isinstance(arguments[0], tuple) or not arguments[0]:
            raise Fact(f"{name} reduces a list or a family", f"write {name}([a, b]) or {name}(family)")
        values = _flat(arguments[0])
        total: Any = values[0]
        for value in values[1:]:
            total = self.operate("add", (total, value), {}, expr)
        return total if name == "add" else self.operate("div", (total, len(values)), {}, expr)

    def _do_split(self, expr: Call, scope: Scope) -> Any:
        bound = self.arguments_of("split", expr, scope)
        node = ops.tensor_of(bound["v"])
        parts, axis = ops.integer(bound["n"], "the number of parts", 1), ops.integer(bound["dim"], "dim", 1)
        if axis > node.type.rank or node.type.shape[axis - 1] % parts:
            raise Fact(f"split of {node.type} into {parts} equal parts does not come out even")
        shape = list(node.type.shape)
        shape[axis - 1] //= parts
        return self._parts(node, node.type.but(shape=tuple(shape)), {"n": parts, "axis": axis}, parts, expr)

    def _do_copies(self, expr: Call, scope: Scope) -> Any:
        bound = self.arguments_of("copies", expr, scope)
        count = ops.integer(bound["n"], "the number of copies", 1)
        if count > COPIES:
            raise Fact(f"{count} copies are too many", f"a list has at most {COPIES}")
        return (ops.tensor_of(bound["v"]),) * count

    def _do_separability(self, expr: Call, scope: Scope) -> Any:
        """What it is measured from, side by side; `evaluate` has all samples, and measures."""
        bound = self.arguments_of("separability", expr, scope)
        if not self.measuring:
            raise Fact("separability is a metric by itself", "write it under metrics")
        latent, seen = ops.tensor_of(bound["latent"], "a latent"), ops.tensor_of(bound["seen"], "what is seen of it")
        samples = ops.same_samples([latent.type, seen.type], "separability")
        if latent.type.samples is None or seen.type.samples is None or latent.type.dtype != "float":
            raise Fact(f"separability is that of a latent and a picture of each sample, not {latent.type}, {seen.type}")
        return Node("separability", (latent, seen), Type((latent.type.size + seen.type.size,), samples), expr.at)

    def _do_batch_split(self, expr: Call, scope: Scope) -> Any:
        bound = self.arguments_of("batch_split", expr, scope)
        parts = ops.integer(bound["n"], "the number of parts", 1)
        if isinstance(bound["v"], tuple):
            columns = [self._batch_split(ops.tensor_of(v), parts, expr) for v in bound["v"]]
            return tuple(zip(*columns, strict=True))
        return self._batch_split(ops.tensor_of(bound["v"]), parts, expr)

    def _batch_split(self, node: Node, parts: int, expr: Expr) -> tuple[Node, ...]:
        if node.type.samples is None:
            raise Fact("batch_split cuts samples, and this value is shared by all of them")
        if any(n % parts for n in node.type.samples.values):
            raise Fact(f"{node.type.samples} samples cannot be cut into {parts} equal parts")
        text = node.type.samples.text
        text = text.removeprefix(f"{parts} * ") if text.startswith(f"{parts} * ") else f"{bracketed(text)} // {parts}"
        length = Length(text, tuple(n // parts for n in node.type.samples.values))
        return self._parts(node, node.type.but(samples=length), {"n": parts, "axis": 0}, parts, expr)

    def _parts(self, node: Node, type_: Type, fields: dict[str, Any], parts: int, expr: Expr) -> tuple[Node, ...]:
        whole = Node("chunk", (node,), type_, expr.at, fields)
        return tuple(Node("output", (whole,), type_, expr.at, {"index": i}) for i in range(parts))

    def _do_grad(self, expr: Call, scope: Scope) -> Any:
        if scope.where is not None and scope.where.module is not None:
            raise Fact("grad is not for the inside of a network", "use it in a loss, a function or the game's graph")
        bound = self.arguments_of("grad", expr, scope)
        y = ops.tensor_of(bound["y"], "a value to differentiate")
        several = isinstance(bound["x"], tuple)
        made = tuple(
            self._grad(y, ops.tensor_of(x, "a value to differentiate by"), expr)
            for x in (bound["x"] if several else (bound["x"],))
        )
        return made if several else made[0]

    def _grad(self, y: Node, x: Node, expr: Expr) -> Node:
        if x.name is None and x.op not in ("input", "draw", "parameter"):
            raise Fact("grad is by a named value, an input, a draw or a parameter", "give the value a name under graph")
        return Node("grad", (y, x), x.type.but(range=None, domain=None), expr.at)


def _bound(bound: Any, values: tuple[int, ...], size: Length) -> str:
    """Where a slice of samples begins or ends, as a number of samples: not before the first, nor behind the last."""
    if values[0] < 0:
        return f"{bracketed(size)} - {-values[0]}"
    beyond = any(n > whole for n, whole in zip(values, size.values, strict=True))
    return f"min({bound}, {size})" if beyond else str(bound)


def present(value: Any) -> Any:
    """Terms whose factor is 0 as what they would be, where they cannot be left out."""
    if isinstance(value, tuple):
        found = tuple(map(present, value))
        return found if any(a is not b for a, b in zip(value, found, strict=True)) else value  # with its names
    return value.fields["whole"] if isinstance(value, Node) and value.op == "dropped" else value


def _flat(values: tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += _flat(value) if isinstance(value, tuple) else [value]
    return found


def _kind(value: Any) -> str:
    kinds = {str: "a text", bool: "a truth value", type(None): "None", tuple: "a list", TwoSided: "a two-sided loss"}
    return kinds.get(type(value), "a number")


_NUMBERS = frozenset({int, float, bool})
_VALUES = frozenset({int, float, Node})
_PLAIN = frozenset(
    {"add", "sub", "mul", "div", "neg", "exp", "log", "sqrt", "abs", "square", "sigmoid", "tanh", "relu", "softplus"}
)
_METHODS: dict[type, Callable[[Any, Any, Scope], Any]] = {
    Number: Evaluator._number,
    String: Evaluator._string,
    Truth: Evaluator._truth,
    Name: Evaluator._name,
    List: Evaluator._list,
    Binary: Evaluator._binary,
    Negative: Evaluator._negative,
    Not: Evaluator._not,
    Logic: Evaluator._logic,
    Compare: Evaluator._compare,
    IfElse: Evaluator._if,
    Attribute: Evaluator._attribute,
    Index: Evaluator._index,
    Slice: Evaluator._slice,
    Call: Evaluator._call,
}
