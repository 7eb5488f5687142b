"""Players, objectives and schedule -> who owns what, what each phase minimizes, and when it runs."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from gangraph import ops
from gangraph.errors import Fact, Place, nearest
from gangraph.evaluate import Silent
from gangraph.expressions import Binary, Call, Expr, Index, Name, Negative, show
from gangraph.families import SIDES, Member
from gangraph.graph import (
    Average,
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
from gangraph.ir import HOST, Node, Type, visit, walk
from gangraph.resolve import Move, member_of, moves_in
from gangraph.spec import StateSpec
from gangraph.templates import MISSING, Named, TwoSided
from gangraph.values import Values, place_of

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

_EVALUATED = ("input", "draw", "call", "parameter", "replay")  # what only an evaluation has

_ARITHMETIC = ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "clock", "length")


class Players(Values):
    """Adds to the values of a stage its players, averages, moves and the becoming of its state."""

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
        if arguments.get("nesterov") and arguments.get("dampening"):
            raise Fact("Nesterov's momentum has no dampening", "leave one of them out").at(expr.at)
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
        """An expression of `p`, each parameter in turn: of any shape, so that what reduces it reduces all of it."""
        p = Node("p", (), Type(), expr.at, name="p")
        made = ops.tensor_of(self.value(expr, self.scope(bound, {"p": p})), "an expression of p")

        def shaped(node: Node) -> bool:
            return p in visit([node], lambda n: () if n.op in ops.REDUCTIONS and len(n.args) == 1 else n.args)

        if made.type.shape or not shaped(made):
            raise Fact(f"{show(expr)} does not have the shape of p", "it is what a parameter becomes").at(expr.at)
        for node in walk([made]):
            if node.op in ops.REDUCTIONS and len(node.args) == 1 and shaped(node.args[0]):
                node.fields["axes"] = None
            if not (node.args or node.type.host or node.op in ("p", "state")) or node.op in ("call", "loss", "grad"):
                what = f"reads {node.name}" if node.name else "calls a network"
                raise Fact(f"{show(expr)} {what}", "a rule is of p, constants, clocks and state alone").at(expr.at)
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
        if any(m.fresh or m.accumulate is not None for m in moves_in((move,))):
            _count_of_batches(repeat, move.repeat, "repeat")
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
        twice = [n for i, n in enumerate(names) if n in names[:i]]
        if twice:
            raise Fact(f"{twice[0]} stands twice", "`repeat` makes a move several times").at(move.names[-1].at)
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
        _count_of_batches(accumulate, move.accumulate, "accumulate")
        terms = self._terms(move.minimize, move.bound)
        idle = tuple(t for t in terms if t.value == 0)
        return Phase(
            move.name, name, networks, objective, tuple(t for t in terms if t not in idle), move.said(move.minimize),
            when, move.place, self._count(move.repeat, move.bound, "repeat"), move.fresh, accumulate, idle,
        )  # fmt: skip

    def _objective(self, expr: Expr, bound: dict[str, Any]) -> Node:
        with self.having(dropping=True):
            value = self.value(expr, self.scope(bound))
        if isinstance(value, TwoSided):
            raise Fact(f"{show(expr)} has two sides", "say which: .discriminator or .generator").at(expr.at)
        if isinstance(value, tuple):
            raise Fact(f"{show(expr)} is a list of {len(value)}", "reduce it with add(...)").at(expr.at)
        if isinstance(value, Node) and value.op == "dropped":
            raise Fact("no term of the objective is left: every factor is 0").at(expr.at)
        node = self.node(value)
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
                    f"state.{name}", place_of(name, self.resolved), partial(self._becoming, str(name), state, steps)
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
                        stage = f" in the stage {self.resolved.stage}" if self.resolved.stage else ""
                        raise Fact(f"no phase is called '{phase}'{stage}", nearest(phase, steps)).at(at)
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

    def _force_objectives(self) -> None:
        """Evaluates what phases minimize, which may be all that calls a network."""
        for move in moves_in(self.resolved.schedule):
            if move.minimize is not None:
                with suppress(Fact, Silent):  # told when the phase is made
                    self._objective(move.minimize, move.bound)


def _count_of_batches(count: Node | int | None, expr: Expr | None, word: str) -> None:
    """How many batches an iteration takes is told before it begins: raises Fact where losses decide it."""
    for node in visit([count] if isinstance(count, Node) else [], lambda n: n.args):
        if node.op == "latest":
            fact = f"`{word}` reads {node.name}, and how many batches an iteration takes is known before it begins"
            raise Fact(fact, "`when` may read losses").at(expr.at if expr else node.at)
