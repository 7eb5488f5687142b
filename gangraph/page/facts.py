"""Spec -> Facts: all that its page says, as values; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Iterable

from gangraph.compiler import Spec
from gangraph.draw.describe import describe
from gangraph.draw.picture import Picture, Player
from gangraph.draw.render import arrange, clean_svg, render
from gangraph.equations.merge import sections
from gangraph.equations.pieces import Section
from gangraph.errors import Problem
from gangraph.frozen import frozen
from gangraph.page.dataflow import find_dataflow
from gangraph.page.names import Keys, Names, call_key, merged, phase_key, player_key
from gangraph.page.programtext import program_text
from gangraph.page.spectext import spec_texts
from gangraph.page.steps import Lights, Stop, find_steps, player_lights
from gangraph.page.texts import Text
from gangraph.page.things import Thing, find_things


@frozen
class Facts:
    """A page before it is HTML."""

    name: str
    title: str  # the paper's
    credit: str  # its authors, venue and year
    notes: tuple[str, ...]
    warnings: tuple[Problem, ...]
    svg: str
    things: dict[str, Thing]
    marks: dict[str, Keys]  # what a group of the SVG stands for, by its id
    edges: tuple[tuple[str, str], ...]  # tail and head of `e0`, `e1`, ...
    players: tuple[tuple[Player, Lights], ...]
    steps: tuple[Stop, ...]
    equations: tuple[Section, ...]
    spec: tuple[Text, ...]
    program: Text


def find_facts(spec: Spec, shuffles: int | None = None) -> Facts:
    """The facts of a spec. `shuffles` bounds the search for the layout with the fewest crossings."""
    plan = arrange(describe(spec), shuffles)
    picture, names, equations = plan.picture, Names(spec), sections(spec)
    flow = find_dataflow(spec, picture)
    things = find_things(spec, picture, flow, names, equations)
    program = program_text(spec, flow, things)
    paper = spec.parsed.file.paper
    stage = f"stage {spec.graph.resolved.stage}" if spec.graph.resolved.stage else ""
    return Facts(
        spec.name,
        ", ".join(filter(None, (str(paper.title or ""), stage))),
        ", ".join(filter(None, (", ".join(map(str, paper.authors)), str(paper.venue or ""), str(paper.year or "")))),
        _texts(spec.parsed.file.notes),
        spec.warnings,
        clean_svg(render(plan, "svg").decode(), picture),
        things,
        _marks(picture, things),
        tuple((e.tail, e.head) for e in picture.edges),
        tuple((p, player_lights(p, picture)) for p in picture.players if p.name),
        find_steps(spec, picture, names, program),
        equations,
        spec_texts(spec, names, things),
        program.text,
    )


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
