"""Schedules -> problems: what can be known to be wrong, or worth a warning, before a tensor exists.

Each check is a function that yields what it found; `meant` takes back what has a name. What a spec inherits is its
parent's affair: a thing that nobody reads is a problem where it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from gangraph.check import coupled, dead, keys, kinds, lifetime, owners, sides, times
from gangraph.check.case import Case, Finding, Stage
from gangraph.errors import Fact, Problem, nearest
from gangraph.expressions import Call, Name, show
from gangraph.families import family_of
from gangraph.schedule import Schedule

MEANT = {
    "shared": "several players train this network",
    "cooperative": "the two sides of this loss pull the same way",
    "one_sided": "nobody plays the other side of this loss",
    "unreached": "some parameters of this network are never trained",
    "constant": "this loss passes no gradient to a phase that minimizes it",
    "unread": "nobody reads this value, or an input of this network",
    "untrained": "a spec without phases",
    "once": "this entry of `once` changes nothing",
    "probability": "this loss takes the probability, or the score, that it gets",
    "ranges": "this network sees reals and fakes of unequal ranges, or this loss compares such values",
    "domains": "this loss compares values of two domains",
    "unpaired": "this loss compares samples that do not belong together, or judges them side by side",
    "batch_coupled": "samples see each other in this network under a penalty",
    "stretched": "this loss compares values of different shapes",
    "averaged": "this loss takes the derivative of a mean over the batch by what each sample has",
    "random": "this network is frozen at random weights",
    "accumulate": "accumulation changes this phase's objective",
    "left_out": "this state reads a loss of a phase that a condition may leave out",
}


def check(schedules: tuple[Schedule, ...]) -> list[Problem]:
    """Every problem of a spec whose values have been inferred; warnings that `meant` declares are left out."""
    case = Case(schedules)
    first: dict[object, Finding] = {}  # of several with one name, one is enough
    for finding in (finding for rule in RULES for finding in rule(case)):
        first.setdefault((finding.name, finding.path) if finding.name else finding, finding)
    found = list(first.values())
    problems = []
    for finding in _as_families(sorted(_unmeant(case, found), key=lambda f: f.place)):
        problem = case.sources.problem(finding.place, finding.path, Fact(finding.fact, _help(finding)))
        problems.append(replace(problem, warning=finding.name if finding.warning else None))
    return list(dict.fromkeys(problems))


def _as_families(findings: Iterable[Finding]) -> list[Finding]:
    """Members of a family of which the same is to be said are one finding."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.place, _headed(finding.fact), finding.name and _headed(finding.name)), []).append(
            finding
        )
    made = []
    for first, *others in groups.values():
        if others:
            fact = f"{first.fact}, and the same of {len(others)} more of the family"
            first = replace(first, fact=fact, name=first.name and _headed(first.name))
        made.append(first)
    return made


def _headed(text: str) -> str:
    """A text with families in place of their members."""
    return re.sub(r"(?<=\w)\[[^\]]*\]", "", text)


def _help(finding: Finding) -> str | None:
    if finding.name is None or finding.warning:
        return finding.help
    meant = f'if it is meant: `meant: ["{finding.name}"]`'
    return f"{finding.help}; {meant}" if finding.help else meant


# --- meant ----------------------------------------------------------------------------------------------------------


def _unmeant(case: Case, found: list[Finding]) -> Iterator[Finding]:
    """What `meant` does not declare; and entries of `meant` that declare nothing."""
    families = {
        family: list(members.values()) for s in case.stages for family, members in s.graph.resolved.families.items()
    }
    declared: set[str] = set()
    for expr in case.spec.file.meant:
        known = expr.function.id if isinstance(expr, Call) and isinstance(expr.function, Name) else show(expr)
        if known not in MEANT or not isinstance(expr, Call) or len(expr.arguments) != 1 or expr.keywords:
            hint = nearest(known, MEANT) if known not in MEANT else f'as in "{known}(NAME)"'
            yield Finding(
                expr.at, "meant", f"no warning is called '{show(expr)}'", hint or f"the warnings are {', '.join(MEANT)}"
            )
            continue
        subject = show(expr.arguments[0])
        texts = {f"{known}({name})" for name in [subject, *families.get(subject, ())]}
        declared |= texts
        if case.own(expr) and not any(f.name in texts for f in found):
            yield Finding(expr.at, "meant", f"{show(expr)} declares nothing: no such thing was found", "remove it")
    yield from (f for f in found if f.name not in declared)


def stagewise(rule: Callable[[Stage], Iterator[Finding]]) -> Callable[[Case], Iterator[Finding]]:
    def every(case: Case) -> Iterator[Finding]:
        for stage in case.stages:
            yield from rule(stage)

    return every


RULES: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    dead.unread_names,
    dead.formulas,
    dead.losses,
    dead.inner_values,
    dead.phases,
    keys.stage_keys,
    keys.recipes,
    keys.ignored_options,
    owners.owners,
    owners.reached,
    sides.sides,
    sides.opposition,
    lambda case: lifetime.idle_once(case.stages),
    *map(
        stagewise,
        (
            lifetime.lifetimes,
            times.numbers,
            kinds.probabilities,
            kinds.ranges,
            kinds.domains,
            kinds.distances,
            kinds.targets,
            kinds.pairs,
            coupled.penalties,
            coupled.accumulations,
        ),
    ),
)
