"""Does each system of the gallery learn? Trains it small, from a fixed seed, and measures the metrics of its own spec.

`python -m benchmarks.gallery` (or `make gallery`) does so for every entry of gallery.yaml, or for those that are named,
prints a row for each, and writes docs/learning.md, where rows that were not measured this time stay.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from gangraph.compiler import Spec, load
from gangraph.train.evaluate import Measure, evaluate_run, measure
from gangraph.train.loop import compiled, train

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "learning.md"
SAMPLES = 400
SEED = 0
HEAD = "| system | sizes | batch | iterations | seconds | metric | before | after |"
TEXT = f"""\
# Learning

This page is written by `make gallery`. Each system is trained small on an embedded data set, from a fixed seed, on two
cores. The metrics are those of its spec (`metrics:`), over {SAMPLES} samples, before the first iteration and after the
last one. `benchmarks/gallery.yaml` has the settings. What `unexplained(...)` makes is 1 where a reconstruction is no
better than the mean of the batch, and 0 where it is exact; a diversity is the mean distance between two outputs for one
input.

{HEAD}
|{"---|" * 8}
"""


@dataclass(frozen=True)
class Plan:
    """One entry of gallery.yaml: the sizes and constants that are set, and how long to train on what."""

    iterations: int
    data: str | None = None
    batch: int | None = None
    tiny: bool = False
    sizes: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def load(self, name: str) -> Spec:
        return load(name, sizes=self.sizes, constants=self.constants, tiny=self.tiny, batch_size=self.batch)


def learn(name: str, plan: Plan) -> list[str]:
    """The rows of one system: a row for each of its metrics."""
    spec = plan.load(name)
    data, batch = plan.data or str(spec.train["data"]), int(spec.train["batch"])
    before = {m.name: m for m in measure(compiled(spec, SEED), data, SAMPLES, batch, SEED)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train(spec, data=data, out=Path(folder) / "run", iterations=plan.iterations, seed=SEED, quiet=True)
        seconds = time.perf_counter() - start
        after = evaluate_run(Path(folder) / "run", n=SAMPLES, seed=SEED)
    sizes = ", ".join(f"{k}={v}" for k, v in (plan.sizes | plan.constants).items()) or "the spec's"
    if plan.tiny:
        sizes = "tiny" if not (plan.sizes or plan.constants) else f"tiny, {sizes}"
    head = f"| {name} | {sizes} | {batch} | {plan.iterations} | {seconds:.0f}"
    return [f"{head} | {m.name} | {_shown(before[m.name])} | {_shown(m)} |" for m in after.measures]


def _shown(measure: Measure) -> str:
    return f"{measure.value:.3g}"


def kept() -> dict[str, list[str]]:
    """The rows of the page by system."""
    rows: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else ():
        if (found := re.match(r"\| ([\w-]+) \|", line)) and line != HEAD:
            rows.setdefault(found[1], []).append(line)
    return rows


def plans() -> dict[str, Plan]:
    entries = YAML(typ="safe").load((HERE / "gallery.yaml").read_text(encoding="utf-8"))
    return {name: Plan(**entry) for name, entry in entries.items()}


def main() -> None:
    known = plans()
    names = sys.argv[1:] or list(known)
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"gallery.yaml has no {', '.join(unknown)}: {', '.join(known)}")
    rows = kept()
    print(HEAD)
    for name in names:
        rows[name] = learn(name, known[name])
        print("\n".join(rows[name]), flush=True)
        page = TEXT + "\n".join(line for system in known for line in rows.get(system, ())) + "\n"
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
