"""Evaluations -> methods: what each phase computes, as one function with a statement for each value and loss."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gangraph import ops
from gangraph.code import ATOM, WIDTH, fit, identifier, literal
from gangraph.fetches import fetches
from gangraph.graph import Graph, Optimizer, Player, Step, network_of
from gangraph.ir import Node, leaves, walk
from gangraph.players import OPTIMIZERS
from gangraph.routing import Reach
from gangraph.schedule import Evaluation, Held, Schedule, held_name, inner_leaves, ordered
from gangraph.statements import PhaseWriter, attribute, registered
from gangraph.writer import shape_comment

if TYPE_CHECKING:
    from gangraph.emit import Emitter


ENTRYWISE = ops.HOSTS | {"alias", "stop", "where", "leaky_relu", "clamp"}
AXISLESS = ENTRYWISE | {"loss", "mean", "sum", "max", "min", "norm", "expect", "total", "grad", "ifelse"}


class StageWriter:
    """Writes the methods of one stage."""

    def __init__(self, emitter: Emitter, schedule: Schedule):
        self.emitter, self.schedule, self.graph = emitter, schedule, schedule.graph
        self.parts: dict[str, tuple[str, list[int]]] = {}  # a part of a network: where its parameters stand in it

    def write(self) -> list[str]:
        methods: list[str] = []
        methods += self._table_methods()
        methods += self._constants()
        for held in self.schedule.held.values():
            methods.append(self._held(held))
        for evaluation in self.schedule.evaluations.values():
            methods.append(self._evaluation(evaluation))
        methods.append(self._iteration())
        methods += self._finish()
        methods.append(self._fetches())
        methods += self._views()
        return methods

    @cached_property
    def reach(self) -> Reach:
        return Reach(self.graph)

    @cached_property
    def vectors(self) -> frozenset[int]:
        """Values of one entry whose axis something reads: all but arithmetic with numbers, losses and gradients."""
        graph = self.graph
        kept = [n for s in graph.state.values() for n in (s.becomes, *s.within.values()) if isinstance(n, Node)]
        roots = leaves(tuple(graph.values.values()))
        roots += [*graph.losses.values(), *(p.objective for p in graph.phases()), *graph.shown.values(), *kept]
        found = {id(node) for node in kept}
        for node in reversed(walk(roots)):
            if node.op not in AXISLESS or node.type.rank > 1 or (id(node) in found and node.op in ENTRYWISE):
                found |= {id(argument) for argument in node.args}
        return frozenset(found)

    def value(self, value: Any) -> str:
        """A number of the program, or a list of them, as text."""
        if isinstance(value, tuple):
            return "(" + ", ".join(map(self.value, value)) + ")"
        return PhaseWriter(self).code(value).plain() if isinstance(value, Node) else literal(value)

    # --- tables

    def _pools(self) -> dict[str, tuple[int, float]]:
        named = self.graph.named().values()
        return {n.fields["pool"]: (n.fields["size"], n.fields["swap"]) for n in named if n.op == "replay"}

    def _table_methods(self) -> list[str]:
        made = []
        if self.graph.state:
            entries = [f"{literal(name)}: {self.value(state.start)}" for name, state in self.graph.state.items()]
            made.append(self._method("starts", [], fit("return {" + ", ".join(entries) + "}", 8)))
        pools = self._pools()
        if pools:
            entries = [f"{literal(k)}: {literal(v)}" for k, v in pools.items()]
            doc = "Replay pools: size, and how often a stored sample is shown."
            made.append(self._method("pooled", [], fit("return {" + ", ".join(entries) + "}", 8), doc))
        if self.graph.averages:
            entries = [
                f"{literal(a.name)}: ({literal(a.source)}, {literal(a.zeros)})" for a in self.graph.averages.values()
            ]
            made.append(
                self._method(
                    "averaged",
                    [],
                    fit("return {" + ", ".join(entries) + "}", 8),
                    "Averages: the network that each follows, and whether it begins at zero.",
                )
            )
        made.append(self._optimizers())
        rules = self._rules()
        if rules:
            made.append(rules)
        if self.parts:
            made.append(self._parts())
        return made

    def _method(self, name: str, arguments: list[str], body: list[str], doc: str = "") -> str:
        head = f"    def {name}({', '.join(['self', *arguments])}):"
        return "\n".join([head, *_docstring(doc), *body])

    def _optimizers(self) -> str:
        lines = ["        return {"]
        for player in self.graph.players.values():
            groups = self._groups(player)
            if len(groups) == 1:
                lines += fit(f"{literal(player.name)}: [{groups[0]}],", 12)
            else:
                lines += [
                    f"            {literal(player.name)}: [",
                    *(line for g in groups for line in fit(f"{g},", 16)),
                    "            ],",
                ]
        lines.append("        }")
        return self._method(
            "optimizers",
            [],
            lines,
            "For each player: its optimizers, over which networks, with the arguments of this step.",
        )

    def _groups(self, player: Player) -> list[str]:
        chosen = self._chosen(player, player.optimizers)
        groups = [(o, chosen[key]) for key, o in player.optimizers.items() if chosen[key]]
        return [f"({_optimizer(o)}, {literal(names)}, {self._arguments(o)})" for o, names in groups]

    def _chosen(self, player: Player, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """For each form of a rule, what it is for: networks that it has to itself, and parts of others."""
        found: dict[str, tuple[str, ...]] = {}
        governed = self.graph.governed(player, keys)
        for key, parameters in governed.items():
            names = []
            for network in [key] if key in self.graph.networks else [network_of(key)] if key else player.networks:
                own = registered([self.graph], network)
                here = [i for i, p in enumerate(own) if p in parameters]
                if len(here) == len(own):
                    names.append(network)
                elif here:
                    whole = key or network
                    base = set(self.graph.part(whole))
                    others = [k for k, p in governed.items() if k != key and not base.isdisjoint(p)]
                    names.append(f"{whole} without {', '.join(others)}" if others else whole)
                    self.parts[names[-1]] = (network, here)
            found[key] = tuple(names)
        return found

    def _parts(self) -> str:
        """Those that a rule or optimizer names, once all of them are known."""
        entries = [
            f"{literal(part)}: {_picked(f'list(self.{attribute(network)}.parameters())', places)},"
            for part, (network, places) in self.parts.items()
        ]
        lines = ["        return {", *(line for entry in entries for line in fit(entry, 12)), "        }"]
        return self._method("parts", [], lines, "Parts of networks that have an optimizer or rules of their own.")

    def _arguments(self, optimizer: Optimizer) -> str:
        given = [
            f'"{k}": {self.value(optimizer.arguments[k])}'
            for k in OPTIMIZERS[optimizer.name]
            if k in optimizer.arguments and k != "form"
        ]
        return f"{{{', '.join(given)}}}"

    def _rules(self) -> str | None:
        entries = []
        for player in self.graph.players.values():
            parts = []
            if player.gradient:
                chosen = self._chosen(player, player.gradient)
                inner = [
                    f"({literal(kind)}, {literal(chosen[n])}, {self.value(bound)})"
                    for n, (kind, bound) in player.gradient.items()
                    if chosen[n]
                ]
                parts.append(f'"gradient": [{", ".join(inner)}]')
            for which in ("before", "after"):
                rules = getattr(player, which)
                if rules:
                    chosen = self._chosen(player, rules)
                    inner = [
                        f"({literal(chosen[n])}, lambda p: {self._of_p(rule)})"
                        for n, rule in rules.items()
                        if chosen[n]
                    ]
                    parts.append(f'"{which}": [{", ".join(inner)}]')
            if parts:
                entries.append(f"{literal(player.name)}: {{{', '.join(parts)}}}")
        if not entries:
            return None
        return self._method(
            "rules",
            [],
            fit("return {" + ", ".join(entries) + "}", 8),
            "What players do to their gradients, and to their parameters before and after a step.",
        )

    def _of_p(self, rule: Node) -> str:
        writer = PhaseWriter(self)
        for node in walk([rule]):
            if node.op == "p":
                writer.names[id(node)] = "p"
        return writer.code(rule).plain()

    def _constants(self) -> list[str]:
        lines = []
        for name, node in self.graph.constants.items():
            if not self.emitter.static(name):
                definition = node.fields["definition"]
                lines += fit(f"self.{attribute(name)} = {self.value(definition)}", 8)
        return [self._method("constants", [], lines, "Constants that follow the clocks.")] if lines else []

    # --- evaluations

    def _held(self, held: Held) -> str:
        name = held_name(held.node)
        writer = PhaseWriter(self)
        writer.value_of = name
        body = writer.statements(
            [n for n in held.nodes if n is not held.node],
            {id(h.node) for h in self.schedule.held.values() if h is not held},
            frozenset(),
        )
        last = writer.assigned(held.node, "value")
        inner = [*writer.prologue, *body, *last]
        mode = "torch.enable_grad()" if held.graded else "torch.no_grad()"
        lines = [
            f"        if {literal(name)} not in self.held:",
            *(
                ["            draws = draws.once()"]
                if any("draws." in line or "draws)" in line for line in inner)
                else []
            ),
            f"            with {mode}:",
            *(" " * 8 + line for line in inner),
            f"            self.held[{literal(name)}] = value",
            f"        return self.held[{literal(name)}]",
        ]
        if held.node.op == "draw":
            lines = [line for line in lines if "with torch" not in line]
            lines = [line.replace(" " * 16, " " * 12, 1) for line in lines]
        return self._method(f"made_{identifier(name)}", ["draws"], lines, f"{name}, made one time an iteration.")

    def _evaluation(self, evaluation: Evaluation) -> str:
        writer = PhaseWriter(self, evaluation)
        body = writer.statements(list(evaluation.nodes), set(evaluation.held), evaluation.leaves, evaluation.parts)
        finals = []
        objectives = []
        for phase in evaluation.phases:
            writer.value_of = phase.name
            code = writer.scalar(phase.objective).plain()
            variable = writer.fresh(f"objective_{phase.name}" if len(evaluation.phases) > 1 else "objective")
            if phase.objective.op == "loss" and id(phase.objective) in writer.names:
                objectives.append(f"{literal(phase.name)}: {writer.names[id(phase.objective)]}")
                continue
            finals += fit(f"{variable} = {code}", 8)
            objectives.append(f"{literal(phase.name)}: {variable}")
        seen = {n.name: (writer.names[id(n)], n.type.host) for n in evaluation.losses if id(n) in writer.names}
        losses = [f"{literal(name)}: {f'self.full({v})' if host else v}" for name, (v, host) in seen.items()]
        more = []
        whens = [
            f"{literal(p.name)}: {writer.code(p.when).plain()}" for p in evaluation.phases if isinstance(p.when, Node)
        ]
        whens += [f"{literal(p.name)}: {p.when}" for p in evaluation.phases if isinstance(p.when, bool)]
        if whens:
            more.append(f"when={{{', '.join(whens)}}}")
        if evaluation.states:
            states = []
            for state, node in evaluation.states:
                code = writer.code(node).plain()
                number = self.graph.state[state].node.type.host and not node.type.host
                states.append(f"{literal(state)}: {f'({code}).item()' if number else code}")
            more.append(f"state={{{', '.join(states)}}}")
        given = ["{" + ", ".join(objectives) + "}", "{" + ", ".join(losses) + "}", *more]
        returned = fit(f"return Evaluation({', '.join(given)})", 8)
        doc = "; ".join(
            f"{', '.join(p.networks) if len(p.networks) < 6 else p.player}: {p.text}" for p in evaluation.phases
        )
        return self._method(
            f"evaluate_{identifier(evaluation.name)}", ["draws"], [*writer.prologue, *body, *finals, *returned], doc
        )

    # --- the iteration

    def _iteration(self) -> str:
        lines: list[str] = []
        for step in self.schedule.steps:
            lines += self._step(step, 8)
        return self._method("iteration", [], lines or ["        pass"], "The moves of one iteration, in order.")

    def _step(self, step: Step, indent: int) -> list[str]:
        pad = " " * indent
        lines: list[str] = []
        inner = indent
        if step.when is False:
            return []
        if isinstance(step.when, Node):
            lines.append(f"{pad}if {self.value(step.when)}:")
            inner += 4
        if step.repeat is not None and step.repeat != 1:
            count = self.value(step.repeat)
            lines.append(f"{' ' * inner}for _ in range({count}):")
            inner += 4
        body: list[str] = []
        space = " " * inner
        if step.kind in ("phase", "group"):
            body += fit(self._play(step), inner)
        elif step.kind == "sequence":
            if step.fresh:
                body.append(f"{space}self.fetch()")
            for child in step.steps:
                body += self._step(child, inner)
        elif step.kind == "reset":
            body.append(f"{space}self.reset({', '.join(map(literal, step.names))})")
        else:
            body += self._updates(step.names, inner)
        return [*lines, *(body or [f"{space}pass"])]

    def _play(self, step: Step) -> str:
        evaluation = self.schedule.evaluations[step.name]
        arguments = [literal(step.name), f"self.evaluate_{identifier(step.name)}"]
        phase = step.phases[0]
        if step.fresh or phase.fresh:
            arguments.append("fresh=True")
        if step.kind == "phase" and phase.accumulate not in (None, 1):
            arguments.append(f"accumulate={self.value(phase.accumulate)}")
            if not self.schedule.reads(step.name, held=False):
                arguments.append("same=True")
        if evaluation.retain:
            arguments.append("retain=True")
        return f"self.play({', '.join(arguments)})"

    def _updates(self, names: tuple[str, ...], indent: int) -> list[str]:
        pad = " " * indent
        averages = [n for n in names if n in self.graph.averages]
        states = [n for n in names if n in self.graph.state]
        lines = [f"{pad}self.follow({literal(n)}, {self.value(self.graph.averages[n].decay)})" for n in averages]
        return lines + self._state_updates(states, indent)

    def _state_updates(self, names: list[str], indent: int) -> list[str]:
        entries = []
        for name in names:
            becomes = self.graph.state[name].becomes
            if becomes is None:
                continue
            entries.append(f"{literal(name)}: {self.value(becomes)}")
        return fit(f"self.state.update({{{', '.join(entries)}}})", indent) if entries else []

    def _finish(self) -> list[str]:
        """States without phases of their own, and averages that no move updated."""
        states, averages = self.graph.at_end()
        lines = self._state_updates(states, 8) + self._updates(tuple(averages), 8)
        return [self._method("finish", [], lines, "State and averages at the end of an iteration.")] if lines else []

    def _fetches(self) -> str:
        lines = fit(f"return {fetches(self.schedule, self.value)}", 8)
        return self._method("fetches", [], lines, "How many batches the next iteration takes.")

    # --- views

    def _views(self) -> list[str]:
        made = []
        for name, root in self.graph.shown.items():
            writer = PhaseWriter(self, drawing=True)
            writer.value_of = name
            nodes = ordered([root], self.graph.order, {})
            derived = any(n.op == "grad" for n in nodes)  # a derivative is taken where nothing else has a gradient
            leaves = frozenset(inner_leaves(nodes, self.reach)) if derived else frozenset()
            body = writer.statements([n for n in nodes if n is not root or n.op == "input"], set(), leaves)
            code = writer.code(root).at(ATOM) + ".detach()" if derived else writer.code(root)
            method = self._method(
                shown_method(self.graph, name),
                ["draws"],
                [*writer.prologue, *body, *fit(f"return {code.plain()}", 8)],
                f"{name}: {_shown_type(self.graph, name)}.",
            )
            made.append(f"    @torch.enable_grad()\n{method}" if derived else method)
        return made


def _docstring(doc: str) -> list[str]:
    """A method's docstring: on one line, or wrapped."""
    pad, text = " " * 8, doc.replace("\\", "\\\\").replace('"', "'")
    lines = textwrap.wrap(text, WIDTH - 14, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return [f'{pad}"""{line}"""' for line in lines]
    return [f'{pad}"""{lines[0]}', *(pad + line for line in lines[1:]), f'{pad}"""']


def _shown_type(graph: Graph, name: str) -> str:
    type_ = graph.shown[name].type
    if graph.shown[name].op == "separability":
        return "of each sample its latent, then what is seen of it"
    number = "a number for each sample" if type_.samples else "a number"
    return number if name in graph.metrics else shape_comment(type_.shape, type_.samples)


def shown_method(graph: Graph, name: str) -> str:
    """The method that makes a view or measures a metric."""
    return f"{'view' if name in graph.views else 'metric'}_{identifier(name)}"


def _optimizer(optimizer: Optimizer) -> str:
    return "AdamTF" if optimizer.arguments.get("form") == "tf" else f"torch.optim.{optimizer.name}"


def _picked(values: str, places: list[int]) -> str:
    """Some entries of a list, as slices of it."""
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    return " + ".join(f"{values}[{first}:{last}]" for first, last in runs)
