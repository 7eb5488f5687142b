"""Hypothesis chooses the cases of a property, and shrinks the one that differs; processes may share the work."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from gangraph.errors import RunError
from gangraph.verify.report import Difference, Row

if TYPE_CHECKING:
    from gangraph.compiler import Spec
    from gangraph.verify.bench import Bench, Subject
    from gangraph.verify.cases import Case

ITERATIONS = 3
LONGEST = (3, 6, 2, 1)  # the properties that take longest, which begin first
Progress = Callable[[int], None]  # told the number of a property after each of its cases


def explore(row: Row, subject: Subject, count: int, seed: int, progress: Progress) -> None:
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

    from gangraph.verify.bench import VARIANTS
    from gangraph.verify.cases import DATA, POOLS, WEIGHTS, Case

    def varied_as(number: int) -> tuple[tuple[str, str], ...]:  # other sizes are tried only when they are asked for
        return bench.variants[number % len(bench.variants)] if number else ()

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
        changed=st.integers(0, VARIANTS - 1 if varied else 0).map(varied_as),
    )


# --- in several processes


def explored(spec: Spec, rows: list[Row], count: int, seed: int, progress: Progress, workers: int) -> list[Row]:
    """The rows, each filled in by one of several processes, which read the spec anew."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork
    told = context.SimpleQueue()
    urgent = sorted(rows, key=lambda row: (*LONGEST, row.number).index(row.number))
    pool = ProcessPoolExecutor(workers, context, _begin, (told, spec.parsed, spec.overrides))
    try:
        waiting = {pool.submit(_worked, row, count, seed) for row in urgent}
        done = set()
        while waiting:
            ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            done |= ready
            while not told.empty():
                progress(told.get())
        return sorted((future.result() for future in done), key=lambda row: row.number)
    except BrokenProcessPool:
        raise RunError("a process that verified has ended before its work: is there memory for all of them?") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_here: dict[str, Any] = {}  # of a process that works for another: its subject, and where it tells of cases


def _begin(told: Any, parsed: Any, overrides: dict[str, Any]) -> None:
    import torch

    from gangraph.compiler import Spec
    from gangraph.verify.bench import Bench, Subject

    torch.set_num_threads(1)
    _here.update(told=told, subject=Subject(Bench(Spec(parsed, overrides))))


def _worked(row: Row, count: int, seed: int) -> Row:
    explore(row, _here["subject"], count, seed, _here["told"].put)
    return row
