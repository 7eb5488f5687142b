"""Spec -> Facts: all that its page says, as values; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Iterable

from gangraph.compiler import Spec
from gangraph.draw.describe import describe
from gangraph.draw.picture import Picture, Player
from gangraph.draw.render import Plan, arrange, clean_svg, follow, render
from gangraph.equations.merge import sections
from gangraph.equations.pieces import Section
from gangraph.errors import Problem
from gangraph.frozen import frozen
from gangraph.page.dataflow import find_dataflow
from gangraph.page.names import Keys, Names, call_key, merged, phase_key, player_key
from gangraph.page.programtext import Lines, Parsed, ProgramText, parse_program, program_text, read_program
from gangraph.page.spectext import spec_texts
from gangraph.page.steps import Lights, Stop, find_steps, player_lights
from gangraph.page.texts import Text
from gangraph.page.things import Row, Thing, find_things, stage_rows


@frozen
class Stage:
    """What a page says of one stage; a system without stages has one that has no name."""

    name: str
    rows: tuple[Row, ...]  # how long it runs, and what it does first
    svg: str
    things: dict[str, Thing]
    marks: dict[str, Keys]  # what a group of the SVG stands for, by its id
    edges: tuple[tuple[str, str], ...]  # tail and head of `e0`, `e1`, ...
    players: tuple[tuple[Player, Lights], ...]
    steps: tuple[Stop, ...]
    elsewhere: tuple[Lines, ...]  # of the program, what other stages run


@frozen
class Facts:
    """A page before it is HTML."""

    name: str
    title: str  # the paper's
    credit: str  # its authors, venue and year
    notes: tuple[str, ...]
    warnings: tuple[Problem, ...]
    equations: tuple[Section, ...]
    spec: tuple[Text, ...]  # with the things of all stages, as the program
    program: Text
    stages: tuple[Stage, ...]


def find_facts(spec: Spec, shuffles: int | None = None) -> Facts:
    """The facts of a spec. `shuffles` bounds the search for the layout with the fewest crossings."""
    equations, parsed = sections(spec), parse_program(spec.program)
    found: list[tuple[Stage, Names, ProgramText]] = []
    plan: Plan | None = None
    for number in reversed(range(len(spec.graphs))):  # the last stage first, which the others follow
        view = spec.at(number)
        picture = describe(view)
        plan = (plan and follow(plan, picture)) or arrange(picture, shuffles)
        found.insert(0, _stage(view, plan, equations, parsed))
    stages, names, programs = zip(*found, strict=True)
    paper = spec.parsed.file.paper
    return Facts(
        spec.name,
        str(paper.title or ""),
        ", ".join(filter(None, (", ".join(map(str, paper.authors)), str(paper.venue or ""), str(paper.year or "")))),
        _texts(spec.parsed.file.notes),
        spec.warnings,
        equations,
        spec_texts(spec, names, {key for stage in stages for key in stage.things}),
        program_text(spec.program.source, programs),
        stages,
    )


def _stage(spec: Spec, plan: Plan, equations: tuple[Section, ...], parsed: Parsed) -> tuple[Stage, Names, ProgramText]:
    """The last stage of a spec, what its names stand for, and how the program runs it."""
    picture, names = plan.picture, Names(spec)
    flow = find_dataflow(spec, picture)
    things = find_things(spec, picture, flow, names, equations)
    stages = [schedule.graph.resolved.stage for schedule in spec.program.schedules]
    name = spec.graph.resolved.stage
    program = read_program(spec, flow, things, parsed, [other for other in stages if other != name])
    stage = Stage(
        name,
        stage_rows(spec.graph.resolved, len(stages)),
        clean_svg(render(plan, "svg").decode(), picture),
        things,
        _marks(picture, things),
        tuple((e.tail, e.head) for e in picture.edges),
        tuple((p, player_lights(p, picture)) for p in picture.players if p.name),
        find_steps(spec, picture, names, program),
        program.elsewhere,
    )
    return stage, names, program


def _texts(notes: str | Iterable[str]) -> tuple[str, ...]:
    return (notes,) if isinstance(notes, str) else tuple(map(str, notes))


def _marks(picture: Picture, things: dict[str, Thing]) -> dict[str, Keys]:
    """The things of boxes, losses, tables, and of their rows."""
    found: dict[str, Keys] = {box.id: (call_key(box),) if box.place else box.members for box in picture.boxes}
    for loss in picture.losses:
        found[loss.id] = loss.members
        for side in loss.sides:
            found[f"{loss.id}-s_{side.name}"] = tuple(f"{name}.{side.name}" for name in loss.members)
    losses = {loss.id: loss for loss in picture.losses}
    for player in picture.players:
        found[player.id] = tuple(map(player_key, player.members))
        for number, owned in enumerate(player.networks):
            found[f"{player.id}-n{number}"] = owned.members
        for move in player.moves:
            found[f"{player.id}-{move.port}"] = tuple(map(phase_key, move.phases))
    for edge in picture.edges:  # a term stands for the losses that enter it
        if edge.tail in losses and edge.head_port:
            suffix = f".{edge.tail_port}" if edge.tail_port else ""
            for cell in (f"{edge.head}-{edge.head_port}", f"{edge.head}-{edge.head_port}_"):
                if edge.head_port.startswith("t"):
                    named = tuple(name + suffix for name in losses[edge.tail].members)
                    found[cell] = merged((found.get(cell, ()), named))
    return {mark: kept for mark, keys in found.items() if (kept := tuple(k for k in keys if k in things))}
