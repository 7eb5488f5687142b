"""Schedule -> how many batches an iteration takes, as an expression of the program's clocks.

Every fresh run takes one, every further turn of an accumulation that reads the batch, and who reads inputs where no
batch is there yet. A condition on a loss is not known before: such a step counts as if it ran, and what is left over is
the next iteration's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gangraph.graph import Step, least
from gangraph.ir import Node
from gangraph.schedule import Schedule


def fetches(schedule: Schedule, value: Callable[[Any], str]) -> str:
    """The number of batches; `value` writes a number of the schedule.

    >>> from gangraph.compiler import load
    >>> schedule = load("wgan-gp").schedules[0]
    >>> fetches(schedule, str)
    '5'
    """
    counter = _Counter(schedule, value)
    counter.count(schedule.steps)
    return counter.bare(" + ".join(counter.terms) or "0")


class _Counter:
    def __init__(self, schedule: Schedule, value: Callable[[Any], str]):
        self.schedule, self.value = schedule, value
        self.terms: list[str] = []
        self.sure = False  # whether a batch has surely been fetched
        self.brackets: dict[str, str] = {}  # what needs them as a factor, without them
        self.firsts: list[str] = []  # while nothing else fetches: one batch, if any of these runs
        self.fetched: set[str] = set()  # conditions under which one has been

    def bare(self, text: str) -> str:
        return self.brackets.get(text, text)

    def count(self, steps: tuple[Step, ...], times: str = "", runs: str = "") -> None:
        """Steps inside of others: `times` is how often these run, `runs` whether they do, 0 or 1. Nothing is 1."""
        for step in steps:
            many, some = self._how_often(step, times, runs)
            accumulate = step.phases[0].accumulate if step.kind == "phase" else None
            if step.fresh:
                self.terms.append(many or "1")
                self.sure = self.sure or not some
                self.fetched.update([some] if step.repeat is None else [])
            elif step.phases and not self.sure and some not in self.fetched and self.schedule.reads(step.name):
                self._first(some)
            if accumulate not in (None, 1) and self.schedule.reads(step.name, held=False):
                self.terms.append(_times(many, f"({self.value(accumulate)} - 1)"))
            self.count(step.steps, many, some)

    def _how_often(self, step: Step, many: str, some: str) -> tuple[str, str]:
        when = self.value(step.when) if isinstance(step.when, Node) else "self.last("
        if "self.last(" not in when:
            many, some = _times(many, f"int({when})"), _times(some, f"int({when})")
        if step.repeat is not None and step.repeat != 1:
            code = self.value(step.repeat)
            self.brackets[f"({code})"] = code
            many = _times(many, f"({code})" if isinstance(step.repeat, Node) else code)
            some = some if least(step.repeat) > 0 else _times(some, f"int({code} > 0)")
        return many, some

    def _first(self, some: str) -> None:
        """Who reads inputs takes a batch where there is none."""
        if some and len(self.terms) == bool(self.firsts):
            self.firsts.append(some)
            self.terms = [self.firsts[0] if len(self.firsts) == 1 else f"max({', '.join(self.firsts)})"]
        else:
            before = self.bare(" + ".join(self.terms))
            self.terms.append(_times(some, f"int(not ({before}))") if self.terms else some or "1")
        self.sure = not some
        self.fetched.add(some)


def _times(left: str, right: str) -> str:
    return f"{left} * {right}" if left else right
