"""Schedules -> problems: what can be known to be wrong, or worth a warning, before a tensor exists."""

from __future__ import annotations

from gangraph.errors import Problem
from gangraph.schedule import Schedule


def check(schedules: tuple[Schedule, ...]) -> list[Problem]:
    """Every problem of a spec whose values have been inferred; warnings that `meant` declares are left out."""
    return []
