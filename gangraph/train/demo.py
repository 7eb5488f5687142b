"""`make demo`: train the spec `digits`, then show with numbers that the samples are good.

Takes minutes on two cores, downloads nothing, and leaves `runs/digits`; begun before, it goes on. Exit 1 when a
threshold is missed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gangraph.errors import GangraphError, RunError

if TYPE_CHECKING:
    from gangraph.train.metrics import Table

SPEC = "digits"
OUT = Path("runs") / SPEC
SAMPLES = 1000
FILES = ("samples.png", "losses.png", "diagram.svg", "spec.yaml", "program.py")


def demo(out: Path = OUT, iterations: int | None = None) -> Table:
    """Train, measure `SAMPLES` samples, write `samples.png` and `table.txt` into the run folder."""
    # Threads that wait asleep: on cores that others use too, waiting awake costs several times the work. OpenMP reads
    # this once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from gangraph.train.loop import load_run, sample_run, train
    from gangraph.train.metrics import evaluate_digits
    from gangraph.train.samples import samples

    resume = (out / "spec.yaml").exists()
    print(f"{'Going on with' if resume else 'Training'} specs/{SPEC}.yaml on digits that ship in a package -> {out}/")
    began = time.monotonic()
    result = train(SPEC, out=out, iterations=iterations, resume=resume)
    minutes = (time.monotonic() - began) / 60
    if result.stopped:
        raise RunError("`make demo` goes on from there")

    gan, _ = load_run(out)
    made, _ = samples(gan, gan.views[0], SAMPLES, None, seed=1)
    table = evaluate_digits(made, SPEC)
    sample_run(out, 100, out=out / "samples.png")
    (out / "table.txt").write_text(f"{table}\n")
    print(
        f"\n{result.step} iterations, {minutes:.1f} minutes. {SAMPLES} samples, and what a classifier says of them:\n"
    )
    print(f"{table}\n")
    print("Look at", ", ".join(str(out / name) for name in FILES if (out / name).exists()))
    return table


def main() -> int:
    try:
        return 0 if demo().good else 1
    except GangraphError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
