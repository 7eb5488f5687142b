"""Spec -> sections: what all stages say alike is said once, the rest stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gangraph.equations.formats import as_text
from gangraph.equations.pieces import KINDS, Equation, Note, Piece, Section
from gangraph.equations.stage import BEGINNING, Stage
from gangraph.equations.symbols import upright

if TYPE_CHECKING:
    from gangraph.compiler import Spec

ABSENT = "No objective reads "  # what a note begins with that is no news where another stage's objectives do


def sections(spec: Spec) -> tuple[Section, ...]:
    """The equations of a spec, in the order of `KINDS`."""
    found: dict[tuple[str, str], dict[str, tuple[Section, list[str]]]] = {}
    for graph in spec.graphs:
        for section in Stage(graph).sections():
            variants = found.setdefault((section.kind, section.title), {})
            variants.setdefault(as_text([section]), (section, []))[1].append(graph.resolved.stage)
    keys = sorted(found, key=lambda key: KINDS.index(key[0]))
    return tuple(section for key in keys for section in _variants(list(found[key].values()), len(spec.graphs)))


def _variants(variants: list[tuple[Section, list[str]]], stages: int) -> Iterator[Section]:
    """The forms of one section in several stages; of a table of values one, of notes all together."""
    last, _ = variants[-1]
    if last.kind == "with":
        yield dataclasses.replace(last, equations=tuple(_table(variants)))
        return
    if last.kind == "notes":
        said: dict[Note, list[str]] = {}
        for section, where in variants:
            for note in section.notes:
                said.setdefault(note, []).extend(where)
        notes = [note for note, where in said.items() if len(where) == stages or note[0] != ABSENT]
        yield dataclasses.replace(last, notes=tuple(notes))
        return
    started: set[Piece] = set()  # states go on from one stage to the next
    for section, where in variants:
        begins = [e for e in section.equations if e.condition == BEGINNING]
        again = [e for e in begins if e.left in started]
        section = dataclasses.replace(section, equations=tuple(e for e in section.equations if e not in again))
        started |= {e.left for e in begins}
        if len(where) < stages:
            section = dataclasses.replace(section, title=f"{section.title}, in {_stages(where)}", stages=tuple(where))
        yield section


def _table(variants: list[tuple[Section, list[str]]]) -> Iterator[Equation]:
    """The values of all stages, in the order of the last; where a symbol has several, each with its stages."""
    rows: dict[Piece, dict[Equation, list[str]]] = {e.left: {} for e in variants[-1][0].equations}
    for section, where in variants:
        for equation in section.equations:
            rows.setdefault(equation.left, {}).setdefault(equation, []).extend(where)
    for values in rows.values():
        for equation, where in values.items():
            stages = upright(_stages(where)) if len(values) > 1 else None
            yield dataclasses.replace(equation, condition=stages, word="in")


def _stages(names: list[str]) -> str:
    between = {1: "", 2: f" and {names[-1]}"}.get(len(names), f" to {names[-1]}")
    return f"{names[0]}{between}"
