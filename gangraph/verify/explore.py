"""Hypothesis chooses the cases, and shrinks the one that differs; processes may share the work."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from gangraph.errors import RunError
from gangraph.frozen import frozen
from gangraph.verify.report import Difference, Row

if TYPE_CHECKING:
    from gangraph.verify.bench import Bench, Subject
    from gangraph.verify.cases import Case

ITERATIONS = 3
WORTH = 4.0  # seconds after which other processes are asked: they take some to begin
Progress = Callable[[int], None]  # told the number of a property after each of its cases
Found = list[tuple[int, float, list[Difference]]]  # of each property: the deviation in a case, and what differs there


@frozen
class Task:
    """A case, and the properties that are looked at in it."""

    case: Case
    numbers: tuple[int, ...]
    chosen: bool = True  # by Hypothesis, which then may find a smaller one


class Explorer:
    """Tries `count` cases of a subject, shared out among its stages."""

    def __init__(self, subject: Subject, count: int, seed: int, progress: Progress):
        self.subject, self.count, self.seed, self.progress = subject, count, seed, progress

    def explore(self, rows: dict[int, Row], workers: int) -> None:
        """Fills in the rows; of what differs in a property the smallest case that Hypothesis finds is kept."""
        tasks = [task for stage in range(self.stages) for task in self.tasks(stage, tuple(rows))]
        for task, found in zip(tasks, self._found(tasks, rows, workers), strict=True):
            for number, deviation, differences in found:
                row = rows[number]
                if row.differences:  # another process had not heard of them
                    continue
                row.cases += 1
                row.deviation = max(row.deviation, deviation)
                if differences:
                    smaller = self._shrunk(number, task.case.stage) if task.chosen else []
                    row.differences = smaller or differences

    @property
    def stages(self) -> int:
        return len(self.subject.bench.spec.resolved)

    def tasks(self, stage: int, numbers: tuple[int, ...]) -> Iterator[Task]:
        """The cases of a stage, and those around which a condition of its schedule turns."""
        from gangraph.verify.cases import MOMENTS, Case
        from gangraph.verify.edges import edges

        cases: list[Case] = []
        self._ask(stage, cases.append)
        yield from (Task(case, numbers) for case in cases)
        if ITERATIONS in numbers:
            bench = self.subject.bench
            named = range(len(MOMENTS), len(MOMENTS) + len(bench.edited_times))  # moments that an edited program names
            around = [Case(bench.batch_sizes[0], stage, moment=i) for i in named] + edges(bench, stage, self.count)
            if stage + 1 < self.stages:  # over its end, into the next one
                around.append(Case(bench.usual, stage, turns=3, left=2))
            yield from (Task(case, (ITERATIONS,), False) for case in around)

    def _ask(self, stage: int, test: Callable[[Case], None]) -> None:
        """Shows a test the cases of a stage, always the same; where it fails, smaller ones, until none does."""
        import hypothesis
        from hypothesis import HealthCheck, Phase, Verbosity, given, settings

        @hypothesis.seed(1000 * self.seed + stage)
        @settings(
            max_examples=-(-self.count // self.stages),
            database=None,
            deadline=None,
            verbosity=Verbosity.quiet,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(case_strategy(self.subject.bench, stage, varied=not self.subject.edited))
        def asked(case: Case) -> None:
            test(case)

        asked()

    def _shrunk(self, number: int, stage: int) -> list[Difference]:
        from gangraph.verify.properties import compare

        found: list[Difference] = []

        def holds(case: Case) -> None:
            compared = compare(number, self.subject, case)
            if compared.differences:
                found[:] = compared.differences
                raise AssertionError

        try:
            self._ask(stage, holds)
        except AssertionError:
            return found
        return []

    # --- in several processes

    def _found(self, tasks: list[Task], rows: dict[int, Row], workers: int) -> Iterator[Found]:
        """What is found in each task, in turn: here, and when that has taken a while, in other processes too."""
        begun = time.perf_counter()
        for done, task in enumerate(tasks):
            if workers > 1 and time.perf_counter() - begun > WORTH:
                yield from self._shared(tasks[done:], workers)
                return
            wanted = tuple(n for n in task.numbers if not rows[n].differences)
            yield _tried(Task(task.case, wanted, task.chosen), self.subject, self.progress)

    def _shared(self, tasks: list[Task], workers: int) -> list[Found]:
        """The same of all tasks: other processes take the first ones that are left, this one the last."""
        import torch

        context = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork
        told = context.SimpleQueue()
        spec = self.subject.bench.spec
        source = self.subject.source if self.subject.edited else None
        pool = ProcessPoolExecutor(workers - 1, context, _begin, (told, spec.parsed, spec.overrides, source))
        left = deque(range(len(tasks)))
        found: dict[int, Found] = {}
        given: dict[int, Future[Found]] = {}

        def give(number: int | None = None) -> None:
            """Tells what was done meanwhile, and keeps the others busy: one has the next task while it does one."""
            for done in ([number] if number else []) + [told.get() for _ in iter(told.empty, True)]:
                self.progress(done)
            while left and sum(not future.done() for future in given.values()) < workers:
                i = left.popleft()
                given[i] = pool.submit(_worked, tasks[i])

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            give()
            while left:
                i = left.pop()
                found[i] = _tried(tasks[i], self.subject, give)
                give()
            found |= {i: future.result() for i, future in given.items()}
            give()
            return [found[i] for i in range(len(tasks))]
        except BrokenProcessPool:
            raise RunError(
                "a process that verified has ended before its work: is there memory for all of them?"
            ) from None
        finally:
            torch.set_num_threads(threads)
            pool.shutdown(wait=False, cancel_futures=True)


def _tried(task: Task, subject: Subject, progress: Progress) -> Found:
    from gangraph.verify.properties import compare

    found: Found = []
    for number in task.numbers:
        compared = compare(number, subject, task.case)
        found.append((number, compared.deviation, compared.differences))
        progress(number)
    return found


_here: dict[str, Any] = {}  # of a process that works for another: its subject, and where it tells of cases


def _begin(told: Any, parsed: Any, overrides: dict[str, Any], source: str | None) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    from gangraph.compiler import Spec
    from gangraph.verify.bench import Bench, Subject

    torch.set_num_threads(1)
    threadpool_limits(1, "blas")
    _here.update(told=told, subject=Subject(Bench(Spec(parsed, overrides), source), source))


def _worked(task: Task) -> Found:
    return _tried(task, _here["subject"], _here["told"].put)


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
