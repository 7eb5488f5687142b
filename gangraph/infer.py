"""Resolved -> Graph: every value gets a type, every network its layers, every phase its objective.

One walk: expressions become nodes, blocks are expanded where they are applied, and shapes are inferred on the way.
All problems of a stage are found in one run; a value that is wrong silences what reads it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from gangraph import ops
from gangraph.errors import Fact, Problem, SpecError, nearest
from gangraph.expressions import Expr, Index, Name, show
from gangraph.graph import Graph
from gangraph.ir import Network, Node, walk
from gangraph.players import Players
from gangraph.resolve import Resolved, member_of
from gangraph.templates import MISSING, Thunk
from gangraph.values import place_of


def infer_shapes(stages: tuple[Resolved, ...]) -> tuple[Graph, ...]:
    """Every stage of a spec; networks of the same name are one network in all of them."""
    networks: dict[str, Network] = {}
    graphs, problems = [], [*stages[0].spec.problems]
    for resolved in stages:
        inference = _Inference(resolved, networks)
        try:
            graphs.append(inference.run())
        except RecursionError:
            problems.append(
                resolved.spec.sources.problem(
                    resolved.spec.place, "graph", "values or expressions are nested too deep to follow"
                )
            )
        problems += inference.problems
    if not problems:
        problems += _uncalled(stages[0], networks)
    if problems:
        raise SpecError(problems)
    return tuple(graphs)


def _uncalled(resolved: Resolved, networks: dict[str, Network]) -> list[Problem]:
    """A network without a call has no shapes, so no parameters."""
    return [
        resolved.spec.sources.problem(
            network.at,
            f"networks.{name}",
            Fact(f"nothing calls the network {name}", "use it in the graph, or remove it"),
        )
        for name, network in networks.items()
        if not network.variants
    ]


class _Inference(Players):
    """The walk over one stage."""

    def run(self) -> Graph:
        r = self.resolved
        self.names.update(r.sizes)
        for name, expr in r.constants.items():
            self.declare(name, f"constants.{name}", expr.at, partial(self._constant, name, expr))
        inputs = self._declare_all("inputs", r.inputs, self._input)
        draws = self._declare_all("draws", r.draws, self._draw)
        for name, state in self.file.state.items():
            self.declare(name, f"state.{name}", place_of(name, r), partial(self._state, str(name), state))
        for member in r.networks:
            self._network(member)
        for member in r.averages:
            self.names[member.name] = Thunk(partial(self._average_name, member))
        values = self._declare_all("graph", r.values, self._graph_value)
        for member in r.losses:
            self.declare(member.name, f"losses.{member.name}", member.place, partial(self._loss, member))
        made = {
            name: self._forced(name)
            for name in [*r.constants, *(str(n) for n in self.file.state), *inputs, *draws, *values]
        }
        for member in r.losses:
            self._forced(member.name)
        averages = {
            m.name: a
            for m in r.averages
            if (a := self.attempt(f"averages.{m.name}", m.place, partial(self._average, m))) is not MISSING
        }
        players = {
            m.name: p
            for m in r.players
            if (p := self.attempt(f"players.{m.name}", m.place, partial(self._player, m))) is not MISSING
        }
        schedule = self._steps(r.schedule, players, "schedule")
        if not self.problems:
            self._becomings(schedule)
        views = self._views()
        once = self._once()
        return Graph(
            r,
            {n: made[n] for n in inputs if made[n] is not MISSING},
            {n: made[n] for n in draws if made[n] is not MISSING},
            self.networks,
            {n: made[n] for n in values if made[n] is not MISSING},
            self.losses,
            self.sided,
            self.constants,
            self.states,
            averages,
            players,
            schedule,
            views,
            self._metrics(),
            once,
            self.order,
        )

    def _views(self) -> dict[str, Node]:
        found = {}
        for name, expr in self.file.sample.items():
            value = self.attempt(f"sample.{name}", expr.at, partial(self._view, expr))
            if value is not MISSING:
                found[str(name)] = value
        return found

    def _view(self, expr: Expr) -> Node:
        """What a view draws for each sample: a picture, or a row of them where it is a list."""
        value = self.value(expr, self.scope())
        if isinstance(value, tuple):
            row = tuple(ops.tensor_of(v, "something to draw") for v in value)
            if not row:
                raise Fact("a row of no pictures", "name what it shows, or remove it")
            if len({node.type.shape for node in row}) > 1:
                raise Fact(f"the pictures of a row have one shape, not {', '.join(str(n.type) for n in row)}")
            value = self.operate("stack", row, {}, expr) if len(row) > 1 else row[0]
        return ops.tensor_of(value, "something to draw")

    def _metrics(self) -> dict[str, Node]:
        found = {}
        for name, body in self.file.metrics.items():
            value = self.attempt(f"metrics.{name}", body.at, partial(self._metric, str(name), body))
            if value is not MISSING:
                found[str(name)] = value
        return found

    def _metric(self, name: str, body: Any) -> Node:
        if name in self.file.sample:
            raise Fact(f"{name} is a view under sample", "a metric has a name of its own")
        with self.having(measuring=True):
            node = ops.tensor_of(self._expr_or_chain(body, {}), "something to measure")
        below = {n.op for n in walk([node]) if n is not node}
        if "separability" in below:
            raise Fact("separability is a metric by itself", "nothing is made of it")
        if node.type.size != 1 and node.op != "separability":
            raise Fact(f"a metric is one number, or one for each sample, not {node.type}", "write mean(...) around it")
        return node

    def _once(self) -> tuple[str, ...]:
        found: list[str] = []
        for expr in self.file.once:
            self.attempt("once", expr.at, partial(self._once_names, expr, found))
        return tuple(found)

    def _once_names(self, expr: Expr, found: list[str]) -> None:
        text = member_of(expr, self.top.index, self) if isinstance(expr, Name | Index) else show(expr)
        names = list(self.resolved.families[text].values()) if text in self.resolved.families else [text]
        known = {n for m in (*self.resolved.draws, *self.resolved.values) for n in m.names}
        for name in names:
            if name not in known:
                raise Fact(f"no draw or value is called '{name}'", nearest(name, known)).at(expr.at)
        found += names
