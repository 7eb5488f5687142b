"""What changed between two specs: nothing for equal meaning, and each kind of change under its own heading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gangraph
from gangraph import _paths
from gangraph.diff import Difference, diff

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


def test_the_data_is_json() -> None:
    found = diff(gangraph.load("cyclegan"), gangraph.load("unit"))
    assert json.loads(json.dumps(found.data())) == found.data()


def test_tiny_changes_sizes_and_no_term_of_any_objective() -> None:
    for name in GALLERY:
        found = diff(gangraph.load(name), gangraph.load(name, tiny=True))
        assert {c.section for c in found.changes} <= {"sizes", "constants", "parameters", "stages", "train"}, name
