"""Does the program mean the spec? Program and reference on the same weights, batches and draws.

`verify(spec)` compares the compiled program with `gangraph.reference`, which shares no code with it, over cases that
Hypothesis chooses, and shrinks what differs:

1. every loss, as if it alone were evaluated;
2. every phase's gradient, and exactly which parameters it reaches; looking changes nothing;
3. whole iterations: parameters, layer state, averages, pools, state, clocks, how many batches were taken;
4. the program without the planner's savings (`no_grad`, graphs freed early) gives the same;
5. the emitted file, run by itself, gives the same bit for bit;
6. in float32 losses and gradients are as near as their conditioning lets them be (`rounding`);
7. every view and metric, in evaluation mode and from the averages;
8. (of an edited program) first weights and noise are those of the spec's own program.

    explore      Hypothesis, and the processes that share the work
    cases        what a comparison starts from
    edges        cases around which a condition turns
    bench        the programs, and what the reference says to a case
    properties   the comparisons
    report       differences, and the table

All but 6 are in float64. Losses, gradients, views and metrics agree to 1e-9. After a step a tensor may also be off by a
multiple of what rounding alone does to it, measured with a twin of the reference whose parameters and gradients carry
noise of 1e-16: where a gradient is zero in exact arithmetic, Adam makes full steps of rounding noise.

The package may be called itself: `gangraph.verify(spec)` is `gangraph.verify.verify(spec)`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangraph.compiler import load
from gangraph.errors import RunError
from gangraph.verb import callable_itself
from gangraph.verify.explore import Explorer, Progress
from gangraph.verify.report import PROPERTIES, Difference, Report, Row

if TYPE_CHECKING:
    from gangraph.compiler import Spec
    from gangraph.loader import Compiled

__all__ = ["PROPERTIES", "Difference", "Report", "Row", "verify", "verify_with_bar"]

OWN, EDITED = (1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 6, 7, 8)
MOST_WORKERS = 4  # for six cases


def verify(
    spec: Spec | Compiled | str | Path,
    cases: int = 6,
    seed: int = 0,
    program: str | Path | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    **options: Any,
) -> Report:
    """Compares a spec's program with the reference, in `cases` cases for each property.

    `program` is the file of an edited program, which is then run with the rights of whoever asks. `options` are those
    of `gangraph.load`. With `workers`, cases that take long are shared out among so many processes, of one thread each;
    the answer is the same. Raises `SpecError` for a spec that is wrong, `RunError` for a program that cannot be loaded.
    """
    import torch
    from threadpoolctl import threadpool_limits

    if cases < 1:
        raise RunError(f"cases is {cases}, and must be 1 or more")
    loaded = load(spec, **options)
    source = None
    if program is not None:
        try:
            source = Path(program).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{program} cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from None
    from gangraph.declared import declared
    from gangraph.verify.bench import Bench, Subject

    taken = declared(loaded.graphs)
    assert loaded.program  # refuses what is declared wrongly
    # The reference's arrays are small: threads of NumPy's would wait for each other longer than they compute.
    with torch.random.fork_rng(devices=[]), threadpool_limits(1, "blas"):
        bench = Bench(loaded, source)
        subject = Subject(bench, source)
        # an edited program is held to the spec, not to its planner; that it runs alone is how it is run here
        rows = {n: Row(n) for n in (OWN if source is None else EDITED)}
        Explorer(subject, cases, seed, progress or (lambda number: None)).explore(rows, workers)
    return Report(loaded.name, rows, taken)


def verify_with_bar(spec: Spec, cases: int, seed: int, program: Path | None) -> Report:
    """`verify` with a progress bar on stderr, where somebody is looking, on as many cores as torch may use."""
    import torch
    from rich.console import Console
    from rich.progress import Progress as Bar

    total = cases * len(OWN if program is None else EDITED)
    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"verifying {spec.name}", total=total)

        def progress(number: int) -> None:
            bar.update(task, advance=1, description=f"verifying {spec.name}: {PROPERTIES[number]}")

        return verify(spec, cases, seed, program, progress, workers=min(torch.get_num_threads(), MOST_WORKERS))


callable_itself(__name__)
