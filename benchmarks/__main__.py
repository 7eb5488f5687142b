"""Measures everything and writes docs/performance.md. Run by `make bench`."""

import os
import platform
from pathlib import Path

import torch

from benchmarks import compile as compiling
from benchmarks import step

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

TEXT = """\
# Performance

This page is written by `make bench`. Its numbers are from one run; nothing asserts them, and seconds on another machine
are others. The ratios are what to look at.

Measured on {machine}.

## A step, beside the same step written by hand

`benchmarks/handwritten/` has the same iteration in plain PyTorch, written as people write it: `zero_grad` and
`backward` for each loss, `detach` on what a discriminator sees, and `no_grad` or `requires_grad_(False)` where the
official code of that system has them. Both programs get the same weights, batches and draws. Before anything is timed,
both take two steps in float64, and losses, parameters, buffers and averages must agree to {tolerance:.0e}; the last
column has the greatest difference that was found (relative where the number is greater than 1).

{steps}

Time is the median of {rounds} rounds. In a round ours, the one by hand and a second instance of the one by hand take
one step each, in turn, in one process. The ratios are those of a round, in brackets the least and the greatest; by hand
over itself says how much of that is noise. Memory is the highest point of a step in the record of torch's own
allocator, less weights, buffers and the optimizers' moments, which both have alike; what convolution kernels take for
themselves is not in that record.

## The compiler

{compiler}

Medians of {runs} runs, with the bytecode of the modules there, as after an installation. The system named is the one of
the gallery that takes longest to check.
"""


def main() -> None:
    results = []
    for case in step.CASES:
        print(f"measuring {case.name}", flush=True)
        results.append(step.measure(case))
    print("measuring the compiler", flush=True)
    steps, compiler = step.table(results), compiling.table(compiling.measure())
    print("\n".join(["", *steps, "", *compiler]))
    page = TEXT.format(
        machine=machine(),
        tolerance=step.TOLERANCE,
        steps="\n".join(steps),
        rounds=step.ROUNDS,
        compiler="\n".join(compiler),
        runs=compiling.RUNS,
    )
    PAGE.write_text(page)
    print(f"\nwritten: {PAGE.relative_to(PAGE.parent.parent)}")


def machine() -> str:
    """What a reader must know of the machine, in general words."""
    cores = os.cpu_count()
    where = "a GPU is there and not used" if torch.cuda.is_available() else "no GPU"
    return (
        f"{cores} cores ({platform.machine()}), torch with {torch.get_num_threads()} of them, {where}, "
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}"
    )


if __name__ == "__main__":
    main()
