"""Expressions -> pieces: one method for each kind of expression, and one `_write_` for each word with a notation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gangraph import ops
from gangraph.equations.facts import SIDES, Facts
from gangraph.equations.pieces import (
    ATOM,
    BREAK,
    COMPARISON,
    EMPTY,
    FRACTION,
    LAST,
    NOT,
    OR,
    POWER,
    PREFIX,
    PRODUCT,
    SUM,
    Note,
    Piece,
    above,
    below,
    form,
    fraction,
    joined,
    listed,
    note,
    part_of,
    power,
    product,
    reluctant,
    together,
)
from gangraph.equations.sources import Source, sources
from gangraph.equations.symbols import (
    index_set,
    lettered,
    number,
    operator,
    spelled,
    symbol,
    upright,
    weight,
    words,
)
from gangraph.equations.trees import called, entries, given, head, split
from gangraph.expressions import (
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
    parse,
    show,
    simple,
    within,
)
from gangraph.library import Definition

SIGNS = {
    "<": ("<", "<"), "<=": (r"\le", "≤"), ">": (">", ">"), ">=": (r"\ge", "≥"), "==": ("=", "="), "!=": (r"\ne", "≠"),
}  # fmt: skip
NOTES = {
    "n": "%s is the number of entries of a sample's value, so that a norm over %s is a mean.",
    "batch": "$N$ is the batch size.",
    "norm": r"$\lVert\cdot\rVert|‖·‖$ of a sample's value is over its own axes.",
    "sigma": r"$\sigma|σ$ is the sigmoid; the scores are logits.",
    "bce": r"$\mathrm{BCE}(p, t) = -t \log p - (1 - t) \log(1 - p)|BCE(p, t) = −t log p − (1 − t) log(1 − p)$,"
    " entry by entry.",
    "ce": r"$\mathrm{CE}(v, t) = -\log \mathrm{softmax}(v)_{t}|CE(v, t) = −log softmax(v)_t$"
    " is the cross entropy of logits.",
    "stop": r"$\mathrm{sg}[\cdot]|sg[·]$ is a constant: no gradient passes.",
    "frozen": r"$\mathrm{sg}[f](v)|sg[f](v)$ calls a network whose parameters are constants;"
    " the gradient passes to $v$.",
    "reverse": r"$\mathrm{GRL}(v)|GRL(v)$ is $v$; its gradient is multiplied by $-1|−1$.",
    "reverse by": r"$\mathrm{GRL}_{s}(v)|GRL_s(v)$ is $v$; its gradient is multiplied by $-s|−s$.",
    "total": "A sum with a count above it runs over so many samples, drawn from what stands below it.",
    "pool": "%s gives an earlier sample of $v$, of %s at most that are kept, or the present one, as a constant.",
    "half": "Slices are half-open: $a_{0:2}$ has the entries 0 and 1.",
    "concat": "$[a; b]$ joins values along their first own axis: entries of vectors, channels of pictures.",
    "concat by": "$[a; b]_{k}|[a; b]_k$ joins values along their $k$-th own axis.",
    "batch_concat": r"$[a; b]_{\mathrm{batch}}|[a; b]_batch$ joins batches, one sample after the other.",
    "split": r"$\mathrm{split}(v, n)|split(v, n)$ gives $n$ equal parts of $v$ along its first own axis.",
    "batch_split": r"$\mathrm{batch\_split}(v, n)|batch_split(v, n)$ gives $n$ equal parts of a batch.",
    "permutation": r"%s are the permutations of %s.",
    "select": "$v_{y}|v[y]$ is the entry of $v$ that the number $y$ names.",
    "take": "$v_{p}|v[p]$ is $v$ with its samples, or its entries, in the order $p$.",
    "upto": "A network with the name of a layer below it gives what that layer makes.",
    "statistics": "A network with a name above it normalizes with statistics of its own, kept under that name.",
    "mode": "A network marked eval or train is in evaluation mode, or in training mode.",
    "still": "A network marked still leaves its running statistics as they are.",
    "given": "A network with values above it has them in place of its parameters.",
    "parameter": r"%s is a parameter of a network, by its path.",
    "entry": "%s is the %s-th output of a network %s, or the %s-th entry of a list, counted from 0.",
    "theta": "%s runs over the weights %s.",
    "step": "%s is the number of the iteration, from 0.",
    "epoch": "%s is the number of the epoch, from 0.",
    "epoch_step": "%s is the number of the iteration in its epoch, from 0.",
    "epoch_steps": "%s is how many iterations an epoch has.",
    "images": "%s is how many samples were drawn so far.",
    "stage": "%s is the number of the stage, from 0.",
    "stage_step": "%s is the number of the iteration in its stage, from 0.",
    "stage_images": "%s is how many samples were drawn so far in the stage.",
}
SHAPE = ("channels", "height", "width", "length", "shape")  # attributes that are no outputs of a network
STOPPED = r"\mathrm{sg}\left[%s\right]", "sg[%s]"
DIVERGENCE = r"D_{\mathrm{KL}}\left(%s \,\middle\Vert\, %s\right)", "D_KL(%s ‖ %s)"


def _notation(latex: str, text: str, notes: str = "") -> Callable[[Writer, Call], Piece | None]:
    """A method that puts a word's arguments into a template, if there are as many as it has room for."""

    def write(self: Writer, expr: Call) -> Piece | None:
        if expr.keywords or len(expr.arguments) != text.count("%s"):
            return None
        for key in notes.split():
            self.say(key)
        return form(latex, text, *map(self.piece, expr.arguments))

    return write


@dataclass
class Writer:
    """Expressions -> pieces. Remembers the symbols and notes that it used."""

    facts: Facts
    symbols: dict[str, Piece] = field(default_factory=dict)  # constants and sizes, by name
    values: dict[str, None] = field(default_factory=dict)  # names of values that stand in formulas
    functions: dict[str, Definition] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)  # by the keys of NOTES
    weights: dict[str, Piece] = field(default_factory=dict)  # of which networks and layers, as the spec says it
    each: str | None = None  # the index of the entries of a list, inside a sum over them
    first: int = 0  # of these entries, in the first list that the sum has a slice of
    parameters: frozenset[str] = frozenset()  # of the function that is being written
    standing: dict[str, Piece] = field(default_factory=dict)  # what a blank stands for: `_` of a chain, `p` of a rule

    def copy(self) -> Writer:
        """A writer with a memory of its own."""
        memory: Any = {key: dict(getattr(self, key)) for key in ("symbols", "values", "functions", "notes", "weights")}
        return dataclasses.replace(self, **memory)

    def with_(self, name: str, piece: Piece) -> Writer:
        """A writer with the same memory, in which a name is a piece."""
        return dataclasses.replace(self, standing={**self.standing, name: piece})

    def say(self, key: str, *pieces: Piece) -> None:
        self.notes[key] = note(NOTES[key], *pieces)

    def symbol(self, name: str, indices: Iterable[Piece] = ()) -> Piece:
        if name in self.facts.plain:
            return lettered(upright(name), (), indices)
        return symbol(name, indices, self.facts.families)

    def constant(self, name: str) -> Piece:
        return weight(name) if name in self.facts.weights - self.facts.plain else self.symbol(name)

    def terms(self, expr: Expr) -> tuple[tuple[str, Piece], ...]:
        return tuple((sign, self.piece(term)) for sign, term in split(expr))

    def piece(self, expr: Expr) -> Piece:
        match expr:
            case Number(value=value):
                return number(value)
            case String(value=word):
                return upright(word)
            case Truth(value=truth):
                return upright(str(truth))
            case Name(id=name):
                return self._name(name)
            case Index():
                return self._index(expr)
            case Attribute():
                return self._attribute(expr)
            case Binary(operator="+" | "-") | Negative():
                return joined(self.terms(expr))
            case Binary():
                return self._binary(expr)
            case Call():
                return self._call(expr)
            case List(items=items):
                return form("[%s]", "[%s]", listed(map(self.piece, items)))
            case IfElse():
                return self._cases(expr)
            case Compare():
                return self._compare(expr)
            case Logic(operator=word, operands=operands):
                made = [self.piece(o) for o in operands]
                return _either(made) if word == "or" else listed([p.within(NOT) for p in made], r" \land ", " ∧ ", OR)
            case Not(operand=operand):
                return form(r"\lnot %s", "¬%s", self.piece(operand).within(ATOM), strength=NOT)
        return upright(show(expr))

    # --- names

    def _name(self, name: str) -> Piece:
        facts = self.facts
        expr = Name(facts.resolved.spec.place, name)
        if name in self.standing:
            return self.standing[name]
        if name in self.parameters or name in facts.variables:
            return self.symbol(name)
        if name in facts.loss_names:
            return self.loss(expr)
        if name in facts.networks:
            return self.network(expr)
        if name in facts.graph.constants or name in facts.sizes:
            self.symbols[name] = self.constant(name) if name in facts.graph.constants else self.symbol(name)
            return self.symbols[name]
        if name in ops.CLOCKS:
            self.say(name, spelled(name))
            return spelled(name)
        if name == "N":
            return self._batch()
        if name in facts.rules:
            self.values[name] = None
        return self.symbol(name, self._entry(expr))

    def _batch(self) -> Piece:
        self.say("batch")
        return Piece("N", "N")

    def _entry(self, expr: Expr) -> list[Piece]:
        """The index of an entry, where the expression is a list that is summed."""
        return [self.symbol(self.each)] if self.each is not None and self.facts.several(expr) else []

    def index(self, item: Expr) -> Piece:
        if isinstance(item, Slice):
            self.say("half")
            return listed([self.piece(side) if side else Piece("", "") for side in (item.low, item.high)], ":", ":")
        if isinstance(item, Name) and item.id not in self.facts.sizes:
            return spelled(item.id)
        return self.piece(simple(item))

    def _index(self, expr: Index) -> Piece:
        name, taken = head(expr), self.facts.cut(expr) if self.each is not None else None
        if taken is not None and self.each is not None:
            entry, by = Name(expr.at, self.each), taken.start - self.first
            items = [
                self.index(Binary(expr.at, "+" if by > 0 else "-", entry, Number(expr.at, abs(by))) if by else entry)
            ]
        else:
            items = list(map(self.index, expr.items))
        if name is None:
            return part_of(self.piece(expr.value), listed(items, ",", ","))
        family = name in self.facts.families and name not in self.parameters
        if family and name in self.facts.loss_names:
            return self.loss(expr)
        if family and name in self.facts.networks:
            return self.network(expr)
        if name in self.facts.rules and name not in self.facts.loss_names:
            self.values[name] = None
        return self.symbol(name, [*items, *(self._entry(expr) if family and taken is None else ())])

    def _attribute(self, expr: Attribute) -> Piece:
        name = head(expr.value)
        if expr.name in SIDES and name in self.facts.loss_names and name not in self.parameters:
            return self.loss(expr.value, expr.name)
        if show(expr) in self.facts.parameters:
            return self._parameter(expr)
        value = self.piece(expr.value)
        return operator(expr.name, value) if expr.name in SHAPE else part_of(value, self.symbol(expr.name))

    def _parameter(self, expr: Expr) -> Piece:
        """`θ_{D,w}`; of the parts of a path, `weight` is left out."""
        path: list[Piece] = []
        while isinstance(expr, Attribute):
            path[:0] = [] if expr.name == "weight" else [spelled(expr.name)]
            expr = expr.value
        made = Piece(r"\theta", "θ") + below(self.network(expr), *path)
        self.say("parameter", made)
        return made

    def loss(self, expr: Expr, side: str | None = None) -> Piece:
        """`ℒ_adv^gen`."""
        name = head(expr) or ""
        items = [self.index(i) for i in expr.items] if isinstance(expr, Index) else []
        if not items and name in self.facts.families and self.each is not None:
            items = [spelled(v) for v in self.each.split(",")]
        made = lettered(Piece(r"\mathcal{L}", "ℒ"), words(name), items)
        return made + above(upright(SIDES[side])) if side else made

    def network(self, function: Expr, marks: tuple[Piece, ...] = (), entry: tuple[Piece, ...] = ()) -> Piece:
        """The letter of a network, through its views: `D_X`, `E_0`, `G^{eval}`."""
        if not isinstance(function, Call) or not isinstance(function.function, Name):
            items = [self.index(i) for i in function.items] if isinstance(function, Index) else []
            made = self.symbol(head(function) or "", [*items, *entry])
            return made + above(listed(marks)) if marks else made
        word, (inner, *rest) = function.function.id, given(function)
        if word == "frozen":
            self.say("frozen")
            return form(*STOPPED, self.network(inner, marks, entry))
        if word == "upto":
            layer = rest[0].value if isinstance(rest[0], String) else show(rest[0])
            self.say("upto")
            return part_of(self.network(inner, marks, entry), upright(layer))
        self.say(word if word in ("statistics", "given", "still") else "mode")
        if word in ("statistics", "given"):
            mark = self.piece(rest[0])
        else:
            mark = upright({"evaluation": "eval", "training": "train"}.get(word, word))
        return self.network(inner, (*marks, mark), entry)

    # --- signs

    def _binary(self, expr: Binary) -> Piece:
        left, right = self.piece(expr.left), self.piece(expr.right)
        a, b = left.within(FRACTION), right.within(POWER)
        match expr.operator:
            case "**":
                return power(left, right)
            case "*":  # a number stands in front
                last = isinstance(expr.right, Number) and not isinstance(expr.left, Number)
                return product(right, left) if last else product(left, right)
            case "/":
                return fraction(left, right)
            case "//":
                return form(r"\lfloor %s / %s \rfloor", "⌊%s / %s⌋", a, b)
        return form(r"%s \bmod %s", "%s mod %s", a, b, strength=PRODUCT)

    def _compare(self, expr: Compare) -> Piece:
        made, *operands = [self.piece(o).within(SUM) for o in expr.operands]
        for sign, operand in zip(expr.operators, operands, strict=True):
            latex, text = SIGNS[sign]
            made = form(f"%s {latex} %s", f"%s {text} %s", made, operand, strength=COMPARISON)
        return made

    def _cases(self, expr: Expr) -> Piece:
        """A choice; one inside the other branch continues it, and tests that lead to the same are joined."""
        if isinstance(expr, IfElse) and (known := self.facts.truth(expr.test)) is not None:
            return self.piece(expr.then if known else expr.otherwise)
        branches: list[tuple[Piece, list[Piece]]] = []
        while isinstance(choice := _choice(expr), IfElse):
            then, test, expr = self.piece(choice.then), self.piece(choice.test), choice.otherwise
            if branches and branches[-1][0] == then:
                branches[-1][1].append(test)
            else:
                branches.append((then, [test]))
        rows = [form(r"%s & \text{if } %s", "%s if %s", then, _either(tests)) for then, tests in branches]
        rows.append(form(r"%s & \text{otherwise}", "else %s", self.piece(expr)))
        return form(r"\begin{cases} %s \end{cases}", "{%s}", listed(rows, r" \\ "))

    # --- calls

    def _call(self, expr: Call) -> Piece:
        if self.facts.is_network(expr.function):
            entry = (spelled(self.each),) if self.each and self.facts.several(expr) else ()
            return self._applied(self.network(expr.function, entry=entry), expr)
        if not isinstance(expr.function, Name):
            return self._applied(self.piece(expr.function).within(ATOM), expr)
        word = expr.function.id
        method: Callable[[Call], Piece | None] | None = getattr(self, f"_write_{word}", None)
        if method is not None and word not in self.facts.resolved.library.own and (made := method(expr)) is not None:
            return made
        definition = self.facts.definition(word)
        if definition is not None and definition.kind == "functions":
            self.functions[word] = definition
        if word in self.parameters:
            return self._applied(self.symbol(word), expr)
        return operator(word, *self._arguments(expr))

    def _arguments(self, expr: Call) -> list[Piece]:
        named = [form("%s = %s", "%s = %s", upright(key), self.piece(value)) for key, value in expr.keywords]
        return [*map(self.piece, expr.arguments), *named]

    def _applied(self, function: Piece, expr: Call) -> Piece:
        """`G(z, y)`; a network without inputs is a parameter, and has no brackets."""
        if not given(expr):
            return function
        inside = listed(map(self.piece, given(expr)), f",{BREAK} ", f",{BREAK} ")
        tall = r"\left" in inside.latex or r"\frac" in inside.latex
        return function + form(r"\left(%s\right)" if tall else "(%s)", "(%s)", inside)

    # --- expectations and sums

    def _over(self, expr: Expr) -> Piece:
        """The subscript of an expectation: `x ∼ p_data, z ∼ N(0, I)`; members of one stream are drawn together, and
        what has one law stands before it once.
        """
        groups: dict[str, list[Source]] = {}
        for source in sources(self.facts, expr):
            groups.setdefault(source.key, []).append(source)
        for group in groups.values():
            group.sort(key=lambda source: self.facts.declared.get(source.name, 0))
        drawn: dict[Piece, list[Piece]] = {}
        for group in groups.values():
            letters, law = self._drawn(group)
            drawn.setdefault(law, []).append(letters)
        return listed((form(r"%s \sim %s", "%s ∼ %s", listed(letters), law) for law, letters in drawn.items()), r",\ ")

    def _drawn(self, group: list[Source]) -> tuple[Piece, Piece]:
        """What is drawn together, and from what."""
        letters, first = [self.symbol(s.name, map(self.index, s.items)) for s in group], group[0]
        if first.law is not None:
            return together(letters), self._law(first.law)
        if len(first.streams) != 1:
            return together(letters), Piece("p", "p") + below(listed(letters))
        (stream,) = first.streams
        return together(letters), Piece("p", "p") + below(upright(stream) if stream == "data" else self.symbol(stream))

    def _law(self, call: Call) -> Piece:
        """The distribution of a draw; sizes are left out."""
        at, named, arguments = call.at, dict(call.keywords), call.arguments
        zero, one = Number(at, 0), Number(at, 1)
        if called(call, "normal"):
            spread, std = Piece("I", "I"), named.get("std", one)
            if self.facts.number(std) != 1:
                spread = product(self.piece(Binary(at, "**", std, Number(at, 2))), spread)
            return form(r"\mathcal{N}(%s, %s)", "𝒩(%s, %s)", self.piece(named.get("mean", zero)), spread)
        if called(call, "uniform"):
            ends = self.piece(named.get("low", zero)), self.piece(named.get("high", one))
            return form(r"\mathcal{U}(%s, %s)", "U(%s, %s)", *ends)
        if called(call, "integer"):
            ends = self.piece(arguments[0]), self.piece(simple(Binary(at, "-", arguments[1], one)))
            return form(r"\mathcal{U}\{%s, \dots, %s\}", "U{%s, …, %s}", *ends)
        if called(call, "permutation"):
            count = self.piece(arguments[0]) if arguments else self._batch()
            made = Piece(r"\mathfrak{S}", "𝔖") + below(count)
            self.say("permutation", made, form(r"%s \text{ entries}", "%s entries", count))
            return made
        return (
            operator("Bernoulli", self.piece(arguments[0])) if called(call, "bernoulli") else self._write_replay(call)
        )

    def _write_expect(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 1:
            return None
        over, inner = self._over(expr.arguments[0]), self.piece(expr.arguments[0])
        return (
            Piece(r"\mathbb{E}", "𝔼")
            + (below(over) if over.text else over)
            + form(rf"{LAST}\left[%s\right]", f"{LAST}[%s]", inner)
        )

    def _write_total(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 1:
            return None
        self.say("total")
        over, inner = self._over(expr.arguments[0]), self.piece(expr.arguments[0]).within(FRACTION)
        length = self.facts.length(expr.arguments[0])
        count = self.piece(parse(length, expr.at)) if length else self._batch()
        lower, upper = below(over), above(count)
        sign = Piece(rf"\sum{lower.latex}{upper.latex}", f"Σ{upper.text}{lower.text}")
        return form("%s %s", "%s %s", sign, inner, strength=PRODUCT)

    def _write_average(self, expr: Call) -> Piece:
        made, (inner,) = self._write_add(expr), expr.arguments
        if (items := self._entries(inner)) is not None:
            return fraction(made, number(len(items)))
        count = len(self.facts.entries(inner))
        return product(Piece(rf"\tfrac{{1}}{{{count}}}", f"1/{count}"), made)

    def _write_add(self, expr: Call) -> Piece:
        """A sum of what is listed, or over the entries of a list, the members of a family, a network's weights."""
        (inner,) = expr.arguments
        if (items := self._entries(inner)) is not None:
            return joined([term for item in items for term in self.terms(item)])
        family, each = self.facts.family(inner), self.each
        entries = self.facts.entries(inner)
        if (weights := next((e for e in within(inner) if called(e, "weights")), None)) is not None:
            over = form(r"%s \in %s", "%s ∈ %s", self._weight, self._weights(weights))
        elif family is not None:
            each, over = self._range(family)
        else:
            each = self.facts.letters[0]
            over = index_set(each, list(entries)) if len(entries) > 1 else Piece(each, each)
            letter = Piece(each, each)
            self.say("entry", Piece("D", "D") + below(letter), letter, Piece("D", "D"), letter)
        held = dataclasses.replace(self, each=each, first=entries.start).piece(inner).within(FRACTION)
        return form("%s %s", "%s %s", Piece(r"\sum", "Σ") + below(over), held, strength=PRODUCT)

    def _entries(self, inner: Expr) -> list[Expr] | None:
        """What is written as a list, or in lists; none of a family, or of lists that a network makes."""
        items = list(inner.items) if isinstance(inner, List) else entries(inner)
        return items if items and not any(map(self.facts.several, items)) else None

    def _range(self, family: str) -> tuple[str, Piece]:
        """Index letters of a family, and `d ∈ {0, 1}` for each."""
        declared = [p.items for rule in self.facts.rules.get(family, []) for p in rule.patterns if p.family == family]
        names, sets = [], []
        for axis, keys in enumerate(zip(*self.facts.families[family], strict=False)):
            item = declared[0][axis] if declared else None
            name = item.id if isinstance(item, Name) and item.id in self.facts.variables else self.facts.letters[axis]
            names.append(name)
            sets.append(index_set(name, list(dict.fromkeys(keys))))
        return ",".join(names), listed(sets, r",\ ")

    def _weights(self, expr: Call) -> Piece:
        made = Piece(r"\theta", "θ") + below(self.piece(expr.arguments[0]))
        kinds = ", ".join(a.id for a in expr.arguments[1:] if isinstance(a, Name))
        return made + form("^{%s}", "^{%s}", upright(kinds)) if kinds else made

    def _write_weights(self, expr: Call) -> Piece:
        self.weights[show(expr)] = self._weights(expr)
        self.say("theta", self._weight, listed(list(self.weights.values()), r",\ "))
        return self._weight

    @property
    def _weight(self) -> Piece:
        """The letter that runs over weights."""
        letter = next(c for c in "WwUPVQ_" if c not in self.facts.taken)
        return self.symbol(letter)

    # --- norms and distances

    def _norm(self, inner: Expr, order: int, square: bool = False, mean: bool = False) -> Piece:
        size = self.symbol(next(letter for letter in "nmdM_" if letter not in self.facts.taken))
        if mean or not any(called(e, "weights") or show(e) in self.facts.parameters for e in within(inner)):
            self.say(*(("n", size, size) if mean else ("norm",)))
        held = reluctant(self.piece(inner))
        made = form(rf"\left\lVert %s \right\rVert_{{{order}}}", f"‖%s‖{'₁₂'[order - 1]}", held)
        made += Piece("^{2}", "²") if square else Piece("", "")
        return form(rf"\tfrac{{1}}{{{size.latex}}}%s", f"%s/{size.text}", made, strength=FRACTION) if mean else made

    def _write_l1(self, expr: Call) -> Piece | None:
        return self._norm(_difference(expr), 1, mean=True) if len(expr.arguments) == 2 else None

    def _write_l2(self, expr: Call) -> Piece | None:
        return self._norm(_difference(expr), 2, square=True, mean=True) if len(expr.arguments) == 2 else None

    def _write_norm(self, expr: Call) -> Piece | None:
        return self._norm(expr.arguments[0], 2) if len(expr.arguments) == 1 and not expr.keywords else None

    def _write_sum(self, expr: Call, mean: bool = False) -> Piece | None:
        """A sum or mean of squares or absolute values is a norm."""
        match expr:
            case (
                Call(arguments=(Binary(operator="**", left=inner, right=Number(value=2)),), keywords=())
                | Call(arguments=(Call(function=Name(id="square"), arguments=(inner,), keywords=()),), keywords=())
            ):
                return self._norm(inner, 2, square=True, mean=mean)
            case Call(arguments=(Call(function=Name(id="abs"), arguments=(inner,), keywords=()),), keywords=()):
                return self._norm(inner, 1, mean=mean)
        return None

    def _write_mean(self, expr: Call) -> Piece | None:
        return self._write_sum(expr, mean=True)

    _write_kl_normal = _notation(
        DIVERGENCE[0] % (r"\mathcal{N}(%s, \exp(%s))", r"\mathcal{N}(0, I)"),
        DIVERGENCE[1] % ("𝒩(%s, exp(%s))", "𝒩(0, I)"),
    )
    _write_kl_bernoulli = _notation(
        DIVERGENCE[0] % ((r"\mathrm{Bernoulli}\left(%s\right)",) * 2), DIVERGENCE[1] % (("Bernoulli(%s)",) * 2)
    )
    _write_bce = _notation(r"\mathrm{BCE}\left(%s, %s\right)", "BCE(%s, %s)", notes="bce")
    _write_bce_logits = _notation(r"\mathrm{BCE}\left(\sigma(%s), %s\right)", "BCE(σ(%s), %s)", notes="sigma bce")

    def _write_cross_entropy(self, expr: Call) -> Piece:
        self.say("ce")
        return operator("CE", *self._arguments(expr))

    # --- gradients

    _write_stop = _notation(*STOPPED, notes="stop")

    def _write_reverse(self, expr: Call) -> Piece:
        named = dict(zip(("v", "s"), expr.arguments, strict=False)) | dict(expr.keywords)
        strength = self.piece(named["s"]) if "s" in named else None
        self.say("reverse" if strength is None else "reverse by")
        return operator("GRL", self.piece(named["v"]), index=strength)

    def _write_grad(self, expr: Call) -> Piece:
        named = dict(zip(("y", "x"), expr.arguments, strict=False)) | dict(expr.keywords)
        y, x = self.piece(named["y"]), self.piece(named["x"])
        return form("%s %s", "%s %s", Piece(r"\nabla", "∇") + below(x), y.within(ATOM), strength=PREFIX)

    def _write_replay(self, expr: Call) -> Piece:
        named = dict(zip(("v", "size"), expr.arguments, strict=False)) | dict(expr.keywords)
        size = self.piece(named["size"])
        self.say("pool", operator("Pool", Piece("v", "v"), index=size), size)
        return operator("Pool", self.piece(named["v"]), index=size)

    # --- entry by entry

    _write_exp = _notation(r"\exp\left(%s\right)", "exp(%s)")
    _write_abs = _notation(r"\left|%s\right|", "|%s|")
    _write_sigmoid = _notation(r"\sigma(%s)", "σ(%s)", notes="sigma")
    _write_relu = _notation(r"\max(0,\ %s)", "max(0, %s)")

    def _write_log(self, expr: Call) -> Piece:
        held = self.piece(expr.arguments[0]).within(ATOM)
        return form(r"\log %s", "log%s" if held.text.startswith("(") else "log %s", held, strength=PRODUCT)

    def _write_sqrt(self, expr: Call) -> Piece:
        inner = self.piece(expr.arguments[0])
        return Piece(rf"\sqrt{{{inner.latex}}}", f"√{inner.within(ATOM).text}")

    def _write_square(self, expr: Call) -> Piece:
        return power(self.piece(expr.arguments[0]), number(2))

    def _write_where(self, expr: Call) -> Piece | None:
        return self._cases(expr) if len(expr.arguments) == 3 else None

    def _write_take(self, expr: Call) -> Piece | None:
        if len(expr.arguments) != 2 or expr.keywords:
            return None
        self.say("take")
        return self._picked(expr)

    def _write_select(self, expr: Call) -> Piece:
        self.say("select")
        return self._picked(expr)

    def _picked(self, expr: Call) -> Piece:
        value, place = map(self.piece, given(expr))
        return form("{%s}_{%s}", "%s[%s]", value.within(ATOM), place)

    def _write_concat(self, expr: Call) -> Piece:
        dim = dict(expr.keywords).get("dim")
        by = dim is not None and self.facts.number(dim) != 1
        self.say("concat by" if by else "concat")
        return self._joined(expr) + (below(self.piece(dim)) if dim is not None and by else EMPTY)

    def _write_batch_concat(self, expr: Call) -> Piece:
        self.say("batch_concat")
        return self._joined(expr) + below(upright("batch"))

    def _write_split(self, expr: Call) -> None:
        self.say("split")

    def _write_batch_split(self, expr: Call) -> None:
        self.say("batch_split")

    def _joined(self, expr: Call) -> Piece:
        (first, *rest) = expr.arguments
        if not rest and not isinstance(first, List):  # a list by its name, or as it is made
            return operator("concat", self.piece(first))
        items = first.items if isinstance(first, List) and not rest else expr.arguments
        return form(r"\left[%s\right]", "[%s]", listed(map(self.piece, items), ";", "; "))


def _choice(expr: Expr) -> Expr:
    """A call of `where` is a choice too."""
    return IfElse(expr.at, *expr.arguments) if called(expr, "where") and len(expr.arguments) == 3 else expr


def _either(tests: list[Piece]) -> Piece:
    return tests[0] if len(tests) == 1 else listed([test.within(NOT) for test in tests], r" \lor ", " ∨ ", OR)


def _difference(expr: Call) -> Expr:
    return Binary(expr.at, "-", *expr.arguments)
