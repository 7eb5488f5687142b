"""What changed between two specs: nothing for equal meaning, and each kind of change under its own heading."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import gangraph
from benchmarks.legible import legible
from gangraph import _paths
from gangraph.__main__ import main
from gangraph.diff import Difference, diff
from gangraph.draw import draw
from gangraph.draw.changes import merge
from gangraph.draw.describe import describe
from gangraph.draw.picture import Picture
from gangraph.errors import RunError

GALLERY = sorted(path.stem for path in _paths.specs().glob("*.yaml"))
BASE = """
gangraph: 1
name: base
sizes: {n: 2, width: 8}
constants: {weight: 3}
inputs: {x: vector(n)}
draws: {z: normal(n), t: uniform()}
networks:
  G: mlp([width, n])
  D: mlp([width, 1])
graph:
  fake: G(z)
  between: lerp(x, fake, t)
losses:
  adv: hinge(real=D(x), fake=D(fake))
  far: expect(l2(between, x))
players:
  D: {networks: [D], optimizer: Adam(lr=1e-3), after: "clamp(p, -1, 1)"}
  G: {networks: [G], optimizer: "Adam(lr=1e-3, betas=[0.5, 0.9])", gradient: clip_norm(5)}
schedule:
  D: {minimize: adv.discriminator, repeat: 2, batch: fresh}
  G: adv.generator + weight * far
averages: {G_ema: "average(G, decay=0.99)"}
sample: {points: G_ema(z)}
train: {batch: 8, iterations: 100}
"""


def load(folder: Path, *changes: tuple[str, str]) -> gangraph.Spec:
    text = BASE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = folder / "spec.yaml"
    file.write_text(text)
    return gangraph.load(file)


def changed(folder: Path, *changes: tuple[str, str]) -> Difference:
    return diff(load(folder), load(folder, *changes))


@pytest.mark.parametrize("name", GALLERY)
def test_a_spec_is_equal_to_itself_and_to_its_settled_text(name: str, tmp_path: Path) -> None:
    spec = gangraph.load(name)
    file = tmp_path / "again.yaml"
    file.write_text(spec.text)
    found = diff(spec, gangraph.load(file))
    assert not found
    assert found.lines() == []
    assert str(found) == f"{spec.name} and {spec.name} mean the same"


def test_spelling_and_order_of_keys_change_nothing(tmp_path: Path) -> None:
    spelled = (
        ("weight * far", "weight  *  (far)"),
        ("{n: 2, width: 8}", "{width: 8, n: 2}"),
        ("lerp(x, fake, t)", "lerp(x,fake,t)"),
    )
    assert not changed(tmp_path, *spelled)
    assert not changed(
        tmp_path,
        (
            "  adv: hinge(real=D(x), fake=D(fake))\n  far: expect(l2(between, x))",
            "  far: expect(l2(between, x))\n  adv: hinge(real=D(x), fake=D(fake))",
        ),
    )


CHANGES = [
    ("sizes", "width: 8", "width: 16", "width: 8 -> 16"),
    ("parameters", "width, n])", "width, width, n])", "G: 42 in 4 tensors, makes 2 -> 114 in 6 tensors, makes 2"),
    ("networks", "mlp([width, n])", "mlp([width, width, n])", "G: mlp([width, n]) -> mlp([width, width, n])"),
    ("constants", "weight: 3", "weight: 4", "weight: 3 -> 4"),
    ("objectives", "weight: 3", "weight: 4", "G: far: weight weight = 3 -> weight weight = 4"),
    ("objectives", "adv.generator +", "2 * adv.generator +", "G: adv.generator: weight 1 -> weight 2"),
    ("inputs", "x: vector(n)", "x: 'vector(n, range=[0, 1])'", "x: vector(n) -> vector(n, range=[0, 1])"),
    ("draws", "z: normal(n)", "z: uniform(n)", "z: normal(n) -> uniform(n)"),
    ("values", "lerp(x, fake, t)", "lerp(fake, x, t)", "between: lerp(x, fake, t) -> lerp(fake, x, t)"),
    ("losses", "l2(between", "l1(between", "far: expect(l2(between, x)) -> expect(l1(between, x))"),
    ("once", "losses:", "once: [z]\nlosses:", "+ z: made one time an iteration"),
    ("players", ", betas=[0.5, 0.9]", "", "G.optimizer: Adam(lr=0.001, betas=[0.5, 0.9]) -> Adam(lr=0.001)"),
    ("players", "clamp(p, -1, 1)", "clamp(p, -2, 2)", "D.after: clamp(p, -1, 1) -> clamp(p, -2, 2)"),
    ("players", "clip_norm(5)", "clip_norm(1)", "G.gradient: clip_norm(5) -> clip_norm(1)"),
    ("schedule", "repeat: 2, ", "", "D: D trains D, 2 times, on a fresh batch -> D trains D, on a fresh batch"),
    ("averages", "decay=0.99", "decay=0.9", "G_ema: average(G, decay=0.99) -> average(G, decay=0.9)"),
    ("sample", "points: G_ema(z)", "points: G_ema(2 * z)", "points: G_ema(z) -> G_ema(2 * z)"),
    ("train", "iterations: 100", "iterations: 200", "iterations: 100 -> 200"),
    ("init", "losses:", "init: {bias: zeros()}\nlosses:", "+ bias: zeros()"),
    ("stages", "losses:", "stages: {one: {iterations: 5}, two: {reset: [G]}}\nlosses:", "+ one.iterations: 5"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "old", "new", "line"), CHANGES)
def test_a_change_stands_under_its_heading(section: str, old: str, new: str, line: str, tmp_path: Path) -> None:
    found = changed(tmp_path, (old, new))
    lines = found.lines()
    start = lines.index(section)
    own = [text.strip() for text in lines[start + 1 :]]
    assert line in own
    assert found.data()["changes"][section]
    assert not found.data()["equal"]


def test_the_order_of_evaluation_is_a_change(tmp_path: Path) -> None:
    graph = "  fake: G(z)\n  between: lerp(x, fake, t)\n", "  between: lerp(x, fake, t)\n  fake: G(z)\n"
    assert changed(tmp_path, graph).lines() == ["values", "  order: fake, between -> between, fake"]


def test_the_order_of_phases_is_a_change(tmp_path: Path) -> None:
    old = "  D: {minimize: adv.discriminator, repeat: 2, batch: fresh}\n  G: adv.generator + weight * far\n"
    first, second = old.splitlines(keepends=True)
    assert changed(tmp_path, (old, second + first)).lines() == ["schedule", "  order: D, G -> G, D"]


def test_added_and_removed_are_told_apart() -> None:
    found = diff(gangraph.load("dcgan"), gangraph.load("wgan-gp"))
    kinds = {(c.section, c.name): c.kind for c in found.changes}
    assert kinds["losses", "penalty"] == "added"
    assert kinds["train", "epochs"] == "removed"
    assert kinds["networks", "G"] == "changed"
    assert "  + D: penalty: weight gp = 10" in found.lines()


# --- as a picture


def pictured(a: str, b: str) -> tuple[Picture, dict[str, str]]:
    merged, marks = merge(describe(gangraph.load(a)), describe(gangraph.load(b)))
    named = {box.id: box.name or box.text for box in merged.boxes}
    named |= {loss.id: loss.name for loss in merged.losses} | {p.id: p.name for p in merged.players}
    return merged, {name: marks[id] for id, name in named.items()}


@pytest.mark.parametrize("name", GALLERY)
def test_every_edge_of_a_picture_ends_at_something(name: str) -> None:
    """Also where several boxes say the same, as the calls of drit in place do."""
    for a, b in (("drit", name), (name, "drit")):
        merged, _ = pictured(a, b)
        things = {thing.id for thing in (*merged.boxes, *merged.losses, *merged.players)}
        assert {end for edge in merged.edges for end in (edge.tail, edge.head)} <= things


def test_a_picture_of_equal_specs_keeps_everything() -> None:
    merged, marks = merge(*[describe(gangraph.load("cyclegan"))] * 2)
    assert set(marks.values()) == {"kept"} and len(marks) > 40
    alone = describe(gangraph.load("cyclegan"))
    assert (merged.boxes, merged.losses, merged.players) == (alone.boxes, alone.losses, alone.players)
    assert merged.edges == alone.edges


def test_a_picture_says_what_is_added_changed_and_kept() -> None:
    merged, marks = pictured("dcgan", "wgan-gp")
    assert marks["+\u00a0between"] == marks["+\u00a0penalty"] == marks["+\u00a0D(between)"] == "added"
    assert marks["±\u00a0adv"] == marks["±\u00a0z"] == "changed" and marks["fake"] == marks["D(x)"] == "kept"
    (adv,) = [loss for loss in merged.losses if loss.name.endswith("adv")]
    assert adv.text == "−\u00a0non_saturating\n+\u00a0wasserstein"
    (critic,) = [player for player in merged.players if player.name == "D"]
    assert [term.text for term in critic.moves[0].terms] == ["adv.discriminator", "+\u00a0penalty"]


def test_a_picture_turned_round_removes_what_it_added() -> None:
    one, other = (merge(describe(gangraph.load(a)), describe(gangraph.load(b)))
                  for a, b in (("dcgan", "wgan-gp"), ("wgan-gp", "dcgan")))  # fmt: skip
    counts = [Counter(marks.values()) for _, marks in (one, other)]
    assert counts[0]["added"] == counts[1]["removed"] > 0 and counts[0]["kept"] == counts[1]["kept"] > 0
    assert counts[0]["removed"] == counts[1]["added"]


@pytest.mark.parametrize(
    "pair", [("dcgan", "wgan-gp"), ("bicyclegan", "cyclegan"), ("stargan-v2", "stargan-v2-masked"), ("gan", "gan")]
)
def test_a_picture_of_changes_is_legible_and_does_not_speak_by_colour_alone(pair: tuple[str, str]) -> None:
    svg = draw(pair[1], before=pair[0], quick=True)
    assert isinstance(svg, str)
    found = legible(svg)
    assert not found.cut and not found.overlapping and not found.struck
    merged, marks = merge(*(describe(gangraph.load(name)) for name in pair))
    gone = {id for id, mark in marks.items() if mark == "removed" and ":" not in id}
    groups = re.findall(r'<g id="(\w+)" class="(?:node|edge)">(.*?)</g>', svg, re.DOTALL)
    assert gone == {id for id, drawn in groups if "stroke-dasharray" in drawn}
    text = draw(pair[1], "mmd", before=pair[0])
    assert isinstance(text, str) and text.count(" removed\n") == sum(not id.startswith("e") for id in gone)
    assert len(merged.edges) == len([id for id, _ in groups if id.startswith("e")])


def test_the_picture_is_written_by_suffix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["diff", "gan", "gan-minimax", "-o", str(tmp_path / "changes.dot")])
    assert end.value.code == 0 and not capsys.readouterr().out
    assert "minimax" in (tmp_path / "changes.dot").read_text()
    with pytest.raises(RunError, match="leave view and player out"):
        draw("gan", view="weights", before="gan-minimax")


def test_the_data_is_json() -> None:
    found = diff(gangraph.load("cyclegan"), gangraph.load("unit"))
    assert json.loads(json.dumps(found.data())) == found.data()


def test_tiny_changes_sizes_and_no_term_of_any_objective() -> None:
    for name in GALLERY:
        found = diff(gangraph.load(name), gangraph.load(name, tiny=True))
        assert {c.section for c in found.changes} <= {
            "sizes",
            "constants",
            "parameters",
            "schedule",
            "stages",
            "train",
        }, name
