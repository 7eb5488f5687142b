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
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gangraph.compiler import load
from gangraph.verify.report import PROPERTIES, Difference, Report, Row

if TYPE_CHECKING:
    from gangraph.compiler import Spec
    from gangraph.verify.bench import Bench, Subject
    from gangraph.verify.cases import Case

__all__ = ["PROPERTIES", "Difference", "Report", "Row", "verify", "verify_with_bar"]

ITERATIONS = 3
OWN, EDITED = (1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 7, 8)
Progress = Callable[[int], None]  # told the number of a property after each of its cases


def verify(
    spec: Spec | str | Path,
    cases: int = 6,
    seed: int = 0,
    program: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Report:
    """Compares a spec's program with the reference, in `cases` cases for each property.

    `program` is the file of an edited program, which is then run with the rights of whoever asks. `options` are those
    of `gangraph.load`. Raises `SpecError` for a spec that is wrong, `RunError` for a program that cannot be loaded.
    """
    import torch

    loaded = load(spec, **options)
    source = Path(program).read_text(encoding="utf-8") if program is not None else None
    from gangraph.declared import declared
    from gangraph.verify.bench import Bench, Subject

    taken = declared(loaded.graphs)
    assert loaded.program  # refuses what is declared wrongly
    with torch.random.fork_rng(devices=[]):
        bench = Bench(loaded)
        subject = Subject(bench, source)
        # an edited program is held to the spec, not to its planner; that it runs alone is how it is run here
        rows = {n: Row(n) for n in (OWN if source is None else EDITED)}
        for row in rows.values():
            _explore(row, subject, cases, seed, progress or (lambda number: None))
    return Report(loaded.name, rows, taken)


def _explore(row: Row, subject: Subject, count: int, seed: int, progress: Progress) -> None:
    """Tries cases of a property, in every stage; of a difference the smallest case that Hypothesis finds is kept."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, Verbosity, given, settings

    from gangraph.verify.edges import edges
    from gangraph.verify.properties import compare

    stages = len(subject.bench.spec.resolved)
    options = settings(
        max_examples=-(-count // stages),
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    found: list[Difference] = []
    for stage in range(stages):

        @hypothesis.seed(1000 * seed + stage)
        @options
        @given(case_strategy(subject.bench, stage, varied=not subject.edited))
        def holds(case: Case) -> None:
            compared = compare(row.number, subject, case)
            if not found:
                row.cases += 1
                progress(row.number)
            row.deviation = max(row.deviation, compared.deviation)
            if compared.differences:
                found[:] = compared.differences
                raise AssertionError

        for edge in edges(subject.bench, stage, count) if row.number == ITERATIONS else ():  # where conditions show
            holds = hypothesis.example(edge)(holds)
        try:
            holds()
        except AssertionError:
            row.differences = found
            return


def case_strategy(bench: Bench, stage: int, varied: bool) -> Any:
    """Cases of a stage as a strategy; the simplest come first."""
    from hypothesis import strategies as st

    from gangraph.verify.cases import DATA, POOLS, WEIGHTS, Case

    return st.builds(
        Case,
        batch_size=st.sampled_from(bench.batch_sizes),
        stage=st.just(stage),
        weights=st.sampled_from(WEIGHTS),
        data=st.sampled_from(DATA),
        moment=st.sampled_from(range(len(bench.moments))),
        pools=st.sampled_from(POOLS if bench.own.game.pools else POOLS[:1]),
        turns=st.sampled_from(bench.turns),
        seed=st.integers(0, 2**16),
        changed=st.sampled_from(bench.variants if varied else [()]),
    )


def verify_with_bar(spec: Spec, cases: int, seed: int, program: Path | None) -> Report:
    """`verify` with a progress bar on stderr, where somebody is looking."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    total = cases * len(OWN if program is None else EDITED)
    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"verifying {spec.name}", total=total)

        def progress(number: int) -> None:
            bar.update(task, advance=1, description=f"verifying {spec.name}: {PROPERTIES[number]}")

        return verify(spec, cases, seed, program, progress)


class _Package(ModuleType):
    """A package that is also the verb it is named after."""

    def __call__(self, spec: Spec | str | Path, **options: Any) -> Report:
        return verify(spec, **options)


sys.modules[__name__].__class__ = _Package
