"""A run -> Evaluation: the metrics of its spec; whether its samples are what was asked for; how varied they are.

Networks are in evaluation mode, and averages stand for those that they follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gangraph.errors import RunError
from gangraph.frozen import frozen
from gangraph.ir import Node
from gangraph.train.collapse import Report, collapse
from gangraph.train.data import Data, fit
from gangraph.train.loop import data_of, load_run
from gangraph.train.separability import separability
from gangraph.train.told import told

LEAST = 16  # samples of a batch


@frozen
class Measure:
    """One metric: its mean, the standard error of that mean, and over how many samples or batches it was taken."""

    name: str
    value: float
    error: float | None  # None: of a single batch
    count: int
    of: str  # "samples" or "batches"
    real: float | None = None  # the same of real items
    note: str = ""  # what else there is to know of it

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.2g}"
        return f"{self.value:.4g}{error}" + ("" if self.real is None else f" (real {self.real:.4g})")

    @property
    def over(self) -> str:
        return ", ".join(filter(None, (f"{self.count} {self.of}", self.note)))

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "value": None if math.isnan(self.value) else self.value,
            "error": self.error,
            self.of: self.count,
        }
        found |= {"note": self.note} if self.note else {}
        return found if self.real is None else found | {"real": self.real}


@frozen
class Evaluation:
    run: str
    step: int
    measures: tuple[Measure, ...]
    variety: Report

    def __getitem__(self, name: str) -> float:
        return next(m.value for m in self.measures if m.name == name)

    def __str__(self) -> str:
        rows = [("metric", "value", "over"), *((m.name, str(m), m.over) for m in self.measures)]
        rows += [(f"collapse/{name}", f"{value:.4g}", "") for name, value in self.variety.figures.items()]
        wide = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = [f"{name:<{wide[0]}}  {value:>{wide[1]}}  {over}".rstrip() for name, value, over in rows]
        rung = map(str, self.variety.alarms.values())
        return "\n".join([f"{self.run} after {self.step} iterations", *lines, *rung])

    def data(self) -> dict[str, Any]:
        rows = {m.name: m.data() for m in self.measures}
        rung = {name: alarm.text for name, alarm in self.variety.alarms.items()}
        return {
            "run": self.run, "step": self.step, "metrics": rows, "collapse": self.variety.figures, "alarms": rung
        }  # fmt: skip


def evaluate_run(run: str | Path, n: int = 1000, seed: int = 0, data: str | None = None) -> Evaluation:
    """The metrics of a run's spec over `n` samples, in batches of the run's size or of `LEAST`; and its variety.

    Raises `RunError`. Data are those that the run was trained on, if no others are said, in another order; the noise is
    a stream of its own. The same seed gives the same numbers.
    """
    if n < 1:
        raise RunError(f"-n is {n}, and must be 1 or more")
    gan, state = load_run(run)
    saved = state["run"]
    source = data_of(run, saved, data)
    real = fit(source, gan.streams, gan.prepare, saved["batch"], saved["seed"], fewer=True)
    variety = collapse(gan, real, saved["seed"])
    found = measure(gan, source, n, saved["batch"], seed)
    if not found and not variety.figures:
        raise RunError(f"the spec of {run} has no `metrics`: nothing says what to measure")
    return Evaluation(str(run), int(gan.clocks["step"]), found, variety)


def measure(gan: Any, source: str, n: int, batch: int, seed: int = 0) -> tuple[Measure, ...]:
    """Over `n` samples, each metric of a compiled spec (in whole batches), and what a classifier takes them for."""
    batch = max(batch, LEAST)  # a metric may ask for the moments of a batch
    data = fit(source, gan.streams, gan.prepare, batch, seed + 1, fewer=True) if gan.streams else None
    batch = data.rows or batch if data else batch
    metrics = tuple(_measured(gan, data, math.ceil(n / batch), batch, seed))
    return metrics + tuple(_measure(f"told/{view}", [right], real) for view, right, real in told(gan, source, n, seed))


def _measured(gan: Any, data: Data | None, turns: int, batch: int, seed: int) -> Iterator[Measure]:
    for name in gan.metrics:
        inputs = gan.view_inputs(name)
        values = []
        for i in range(turns):
            given = data.batch(i) if data and inputs else {}
            missing = [x for x in inputs if x not in given]
            if missing:
                raise RunError(f"the metric {name} is made from {', '.join(missing)}: data are needed")
            values.append(gan.sample(name, batch, batch=given or None, seed=seed + i))
        node = gan.graph.metrics[name]
        if node.op == "separability":
            yield _separability(name, torch.cat(values), node, data, seed)
            continue
        yield _measure(name, values)


def _separability(name: str, rows: Tensor, node: Node, data: Data | None, seed: int) -> Measure:
    """Of latents and what is seen of them, side by side."""
    latent, seen = (argument.type for argument in node.args)
    pictures = rows[:, latent.size :].reshape(-1, *seen.shape)
    found = separability(rows[:, : latent.size], pictures, seen.range or (-1.0, 1.0), data, seed) if data else None
    note = str(found) if found else "not measured: the data have no classes or attributes, or look otherwise"
    return Measure(name, found.score if found else math.nan, None, len(rows), "samples", note=note)


def _measure(name: str, values: list[Tensor], real: float | None = None) -> Measure:
    """A metric with a sample axis is averaged over samples, one without over batches."""
    of = "samples" if values[0].ndim else "batches"
    found = torch.cat([v.reshape(-1) for v in values]).double()
    error = float(found.std() / math.sqrt(len(found))) if len(found) > 1 else None
    return Measure(name, float(found.mean()), error, len(found), of, real)
