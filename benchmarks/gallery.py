"""Does each system of the gallery learn? Trains it small, from a fixed seed, and evaluates it before and after.

`python -m benchmarks.gallery` (or `make gallery`) does so for every entry of gallery.yaml, or for those that are named,
prints a row for each, and writes docs/learning.md, where rows that were not measured this time stay.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from safetensors.torch import save_file

from gangraph.compiler import Spec, load
from gangraph.train.collapse import Report, collapse
from gangraph.train.data import fit
from gangraph.train.evaluate import Measure, evaluate_run, measure
from gangraph.train.loop import compiled, load_external, load_run, train

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "learning.md"
SAMPLES = 400
SEED = 0
HEAD = "| system | sizes | batch | iterations | seconds | metric | before | after |"
TEXT = f"""\
# Learning

This page is written by `make gallery`. Each system is trained small on an embedded data set, from a fixed seed, on a
processor of two cores that others use too. What `gangraph evaluate` says of it stands here, before the first iteration
and after the last one: the metrics of its spec (`metrics:`), over {SAMPLES} samples, what a classifier takes samples
for, and how varied they are. `benchmarks/gallery.yaml` has the settings.

| metric | what |
|---|---|
| `error`, `cycle`, `pair` | 1 where no better than the mean of the batch, 0 where it is exact (`unexplained`) |
| `diversity` | mean distance between two outputs for one input |
| `estimate` | of a known divergence or distance, over its value; the penalty of WGAN-GP lets it be 1.1 |
| `told/VIEW` | share of samples that a classifier takes for what was asked, a class, attributes or a domain; of reals |
| `path`, `separability` | how entangled the latent spaces z and w are, less is better (StyleGAN, section 4) |
| `collapse/modes` | known modes that samples lie near, of all; `near` is the share of the samples that lie near any |
| `collapse/spread` | mean distance of two samples : of two real items |
| `collapse/classes` | effective number of classes that a classifier sees; of real items in brackets |
| `collapse/per_input` | mean distance of two samples from one input : from two inputs |

{HEAD}
|{"---|" * 8}
"""


@dataclass(frozen=True)
class Plan:
    """One entry of gallery.yaml: the sizes and constants that are set, and how long to train on what."""

    iterations: int = 0  # 0: not trained, and `note` says why
    note: str = ""  # what has to be said of the figures
    spec: str = ""  # a file beside this one, where it is not the system's own
    data: str | None = None
    batch: int | None = None
    tiny: bool = False
    sizes: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    after: str = ""  # another entry, which is trained first
    weights: dict[str, str] = field(default_factory=dict)  # networks from outside, and which of the other's they are

    def load(self, name: str) -> Spec:
        source = HERE / self.spec if self.spec else name
        return load(source, sizes=self.sizes, constants=self.constants, tiny=self.tiny, batch_size=self.batch)


def learn(name: str, known: dict[str, Plan]) -> list[str]:
    """The rows of one system: a row for each of its metrics."""
    plan = known[name]
    spec = plan.load(name)
    data, batch = plan.data or str(spec.train["data"]), int(spec.train["batch"])
    with tempfile.TemporaryDirectory() as folder:
        weights = tuple(brought(known, plan, Path(folder)))
        gan = compiled(spec, SEED)
        load_external(gan, weights)
        real = fit(data, gan.streams, gan.prepare, batch, SEED)
        before = figures(measure(gan, data, SAMPLES, batch, SEED), collapse(gan, real, SEED))
        start = time.perf_counter()
        run = trained(name, plan, Path(folder), weights)
        seconds = time.perf_counter() - start
        after = evaluate_run(run, n=SAMPLES, seed=SEED)
    sizes = ", ".join(f"{k}={v}" for k, v in (plan.sizes | plan.constants).items()) or plan.spec or "the spec's"
    if plan.tiny:
        sizes = "tiny" if not (plan.sizes or plan.constants) else f"tiny, {sizes}"
    head = f"| {name} | {sizes} | {batch} | {plan.iterations} | {seconds:.0f}"
    found = figures(after.measures, after.variety)
    return [f"{head} | {metric} | {before.get(metric, '-')} | {value} |" for metric, value in found.items()]


def trained(name: str, plan: Plan, folder: Path, weights: Sequence[tuple[str, str]] = ()) -> Path:
    """The run of an entry, below a folder."""
    run = folder / name
    spec, iterations = plan.load(name), plan.iterations
    result = train(spec, plan.data, run, iterations, seed=SEED, weights=dict(weights), quiet=True)
    if result.stopped:  # it ends well when it is interrupted, and is no measurement
        sys.exit(f"{name} was interrupted after {result.step} of {iterations} iterations")
    return run


def brought(known: dict[str, Plan], plan: Plan, folder: Path) -> Iterator[tuple[str, str]]:
    """The networks that an entry takes from another, which is trained for it: each name, and a file of its weights."""
    if not plan.after:
        return
    other, _ = load_run(trained(plan.after, known[plan.after], folder))
    for name, its in plan.weights.items():
        file = folder / f"{name}.safetensors"
        save_file({k: v.contiguous() for k, v in other.networks[its].state_dict().items()}, file)
        yield name, str(file)


def figures(measures: tuple[Measure, ...], variety: Report) -> dict[str, str]:
    """What is shown, by name."""
    shown = {m.name: f"{m.value:.3g}" + ("" if m.real is None else f" ({m.real:.3g})") for m in measures}
    for name in ("modes", "near", "spread", "classes", "per_input"):
        if name in variety.figures:
            shown[f"collapse/{name}"] = f"{variety.figures[name]:.3g}"
    for name, text in (("modes", " of {:.0f}"), ("classes", " ({:.3g})")):
        if f"collapse/{name}" in shown:
            scale = variety.figures["modes_known" if name == "modes" else "classes_real"]
            shown[f"collapse/{name}"] += text.format(scale)
    return shown


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
    notes = "".join(f"- `{name}`: {plan.note}\n" for name, plan in known.items() if plan.note)
    print(HEAD)
    for name in names:
        if known[name].iterations:
            rows[name] = learn(name, known)
            print("\n".join(rows[name]), flush=True)
        page = TEXT + "".join(f"{line}\n" for system in known for line in rows.get(system, ()))
        PAGE.write_text(f"{page}\n{notes}" if notes else page, encoding="utf-8")


if __name__ == "__main__":
    main()
