"""`make demo`: train the spec `digits`, then show with numbers that the samples are good.

Takes minutes on two cores, downloads nothing, and leaves `runs/digits`. Exit 1 when a threshold is missed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gangraph.errors import GangraphError
from gangraph.train.loop import load_run, sample_run, samples, train
from gangraph.train.metrics import Table, evaluate_digits

SPEC = "digits"
COUNT = 1000


def demo(out: Path = Path("runs/digits"), iterations: int | None = None) -> Table:
    """Train, measure `COUNT` samples, write `samples.png` and `table.txt` into the run folder."""
    from rich import print as show

    fresh = not out.exists()
    show(f"[bold]{'Training' if fresh else 'Going on with'}[/] specs/{SPEC}.yaml -> {out}")
    began = time.monotonic()
    result = train(SPEC, out=out, iterations=iterations, resume=not fresh)
    minutes = (time.monotonic() - began) / 60
    gan, _ = load_run(result.folder)
    made, _ = samples(gan, gan.views[0], COUNT, None, seed=1)
    table = evaluate_digits(made, SPEC)
    sample_run(result.folder, 100, out=result.folder / "samples.png")
    (result.folder / "table.txt").write_text(f"{table}\n")
    print(f"\n{result.step} iterations, {minutes:.1f} minutes. {COUNT} samples, and what a classifier says of them:\n")
    print(f"{table}\n")
    print(f"Look at {result.folder}/samples.png, {result.folder}/losses.png and {result.folder}/program.py")
    return table


def main() -> int:
    try:
        return 0 if demo().good else 1
    except GangraphError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
