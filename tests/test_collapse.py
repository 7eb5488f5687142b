"""Which alarm rings when samples lose their variety, and that none does otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from standin import Input, StandIn, image
from support import written
from torch import Tensor

from gangraph.compiler import compile, load
from gangraph.train import loop
from gangraph.train.collapse import Judge, Watch, alarms, collapse, judge_of
from gangraph.train.data import Data, fit
from gangraph.train.sets import Want, open_set


def digits() -> tuple[Judge, Tensor, np.ndarray]:
    """A judge of 8 x 8 digits, and 600 digits that it may have seen, with their classes."""
    judge = judge_of(StandIn(), fit("digits8", StandIn().streams, {}, 16))
    found = open_set("digits8", Want())
    assert judge is not None and found.pictures is not None and found.labels is not None
    chosen = np.random.default_rng(5).permutation(found.count)[:600]
    pixels = np.stack([found.pictures(int(i))[0] for i in chosen])[:, None]
    return judge, torch.from_numpy(pixels).float() / 127.5 - 1, found.labels[chosen]


class Points(StandIn):
    """A system of points in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = {"data": {"x": Input("vector", (2,))}}

    def view_shape(self, view: str) -> tuple[int, ...]:
        return (2,)


def ringing(judge: Judge, samples: Tensor) -> set[str]:
    return set(alarms(judge.figures(samples)))


def test_real_digits_ring_nothing_and_are_the_scale() -> None:
    judge, real, _ = digits()
    figures = judge.figures(real)
    assert figures["spread"] == pytest.approx(1, abs=0.05)
    assert figures["classes"] == pytest.approx(figures["classes_real"], abs=0.5) and figures["classes_real"] > 9
    assert {k for k in figures if k.startswith("within/")} == {f"within/{k}" for k in range(10)}
    assert all(0.8 < v < 1.2 for k, v in figures.items() if k.startswith("within/"))
    assert ringing(judge, real) == set()


def test_samples_that_are_all_alike() -> None:
    judge, real, _ = digits()
    noise = torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert ringing(judge, real[:1] + 0.02 * noise) == {"spread", "classes", "within"}


def test_a_collapse_between_classes_that_are_as_varied_as_real_ones() -> None:
    judge, real, labels = digits()
    assert ringing(judge, real[torch.from_numpy(np.isin(labels, (3, 4, 7)))]) == {"classes"}


def test_a_collapse_within_one_class_of_ten() -> None:
    judge, real, labels = digits()
    sevens = torch.from_numpy(np.flatnonzero(labels == 7))
    collapsed = real.clone()
    collapsed[sevens] = real[sevens[0]] + 0.02 * torch.randn(len(sevens), 1, 8, 8)
    assert ringing(judge, collapsed) == {"within"}
    assert alarms(judge.figures(collapsed))["within"].text.startswith("two samples of class 7 are 0.")


def test_points_at_few_modes_and_points_without_width() -> None:
    judge = judge_of(Points(), fit("mixture", Points().streams, {}, 64))
    found = open_set("mixture", Want())
    assert judge is not None and found.points is not None and found.modes is not None and found.labels is not None
    points, modes = torch.from_numpy(found.points[-400:]), torch.from_numpy(found.modes)
    assert ringing(judge, points) == set()
    few = found.points[np.isin(found.labels, (0, 2, 4, 6))][:400]
    assert ringing(judge, torch.from_numpy(few)) == {"modes"}
    assert judge.figures(torch.from_numpy(few))["modes"] == 4
    assert ringing(judge, modes.repeat(50, 1)) == {"within"}
    assert ringing(judge, points * 0.6) == set()  # near no mode is bad, and no collapse


def test_a_classifier_that_cannot_tell_real_pictures_is_not_asked() -> None:
    gan = StandIn()
    gan.streams = {"data": {"x": image(1, 8, 8)}}
    judge = judge_of(gan, fit("photos", gan.streams, {}, 16))
    assert judge is not None and judge.tell is None
    assert set(judge.figures(torch.randn(64, 1, 8, 8))) == {"spread"}


def test_ranges_of_samples_and_of_inputs_do_not_matter() -> None:
    judge, real, _ = digits()
    gan = StandIn()
    gan.streams = {"data": {"x": Input("image", (1, 8, 8), range=(0, 1))}}
    gan.view_range = lambda view: (0.0, 1.0)  # type: ignore[method-assign]
    narrow = judge_of(gan, fit("digits8", gan.streams, {}, 16))
    assert narrow is not None
    assert narrow.figures((real + 1) / 2) == pytest.approx(judge.figures(real), rel=1e-4)


# --- views of an input and noise ----------------------------------------------------------------------------------

STYLED = """\
gangraph: 1
name: styled
inputs: {x: "image(3, 8, 8)"}
draws: {z: normal(4)}
networks:
  G:
    inputs: [x, z]
    output: ["concat(x, tile(z, x))", "Conv2d(3, 3, padding=1)", Tanh()]
  D: [Flatten(), Linear(1)]
losses:
  adv: hinge(real=D(x), fake=D(G(x, z)))
players:
  D: {networks: [D], optimizer: Adam(lr=1e-3)}
  G: {networks: [G], optimizer: Adam(lr=1e-3)}
schedule: {D: adv.discriminator, G: adv.generator}
sample: {images: "G(x, SCALE * z)"}
train: {batch: 4, data: photos}
"""


@pytest.mark.parametrize(("scale", "rings"), [("1", False), ("1e-3", True)])
def test_noise_that_does_nothing_to_a_translation_rings(tmp_path: Path, scale: str, rings: bool) -> None:
    gan, data = translation(written(tmp_path, STYLED.replace("SCALE", scale)))
    report = collapse(gan, data)
    assert set(report.figures) == {"per_input"}
    assert (set(report.alarms) == {"per_input"}) == rings
    assert ("alarm collapse/per_input: noise moves a sample 0.00" in str(report)) == rings


@pytest.mark.parametrize("name", ["bicyclegan", "drit", "munit", "cgan", "stackgan-1", "stargan-v2"])
def test_noise_is_seen_in_whichever_rows_a_view_takes(name: str) -> None:
    """Two of these sample from one half of a batch only."""
    assert collapse(*translation(name)).figures["per_input"] > 0.05


def test_one_picture_for_every_label_and_noise_rings() -> None:
    gan, data = translation("cgan")
    with torch.no_grad():
        for p in gan.networks["G"].parameters():
            p.normal_()
        varied = collapse(gan, data)
        for p in gan.networks["G"].parameters():
            p.mul_(1e-3)
    report = collapse(gan, data)
    assert report.figures["spread"] < 0.05 < varied.figures["spread"]
    assert "spread" in report.alarms and "classes" in report.alarms


@pytest.mark.parametrize("name", ["cyclegan", "stargan"])
def test_a_translation_without_noise_has_no_figures(name: str) -> None:
    assert collapse(*translation(name)).figures == {}


def translation(source: Any) -> tuple[Any, Data]:
    torch.manual_seed(0)
    gan = compile(load(source, tiny=True))
    return gan, fit(gan.spec.train["data"], gan.streams, gan.prepare, 4)


# --- runs ---------------------------------------------------------------------------------------------------------


def test_an_alarm_begins_when_it_lasts_and_nothing_gets_better() -> None:
    watch = Watch()
    heard = [sorted(watch.hear({"spread": v})) for v in (0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.4, 0.1, 0.9, 0.1, 0.1, 0.1)]
    assert [i for i, names in enumerate(heard) if names == ["spread"]] == [4, 11]
    assert watch.ringing == {"spread"}


HASTY = """\
gangraph: 1
name: hasty
extends: gan
schedule:
  G: {minimize: adv.generator, repeat: 20}   # far ahead of D, which then only chases it from mode to mode
"""


def trained(source: Any, out: Path, iterations: int) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl at the marks."""
    torch.manual_seed(0)
    gan = compile(load(source, batch_size=128))
    loop.train(gan, out=out, iterations=iterations, quiet=True, diagram=lambda spec: None)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "alarms" in row]


def test_a_run_that_collapses_is_told_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks = trained(written(tmp_path, HASTY), tmp_path / "run", 120)
    assert len(marks) == 12
    said = [line for line in capsys.readouterr().err.splitlines() if "alarm" in line]
    assert len([line for line in said if "alarm collapse/spread: two samples are 0." in line]) == 1
    assert "spread" in marks[-1]["alarms"] and marks[0]["alarms"] == [] and marks[-1]["collapse/modes"] <= 1


def test_a_run_that_does_not_collapse_is_told_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks = trained("gan", tmp_path / "run", 1500)
    assert marks[-1]["collapse/modes"] == 8 and marks[-1]["collapse/spread"] > 0.8
    assert all(row["alarms"] == [] for row in marks)
    assert "alarm" not in capsys.readouterr().err


def test_a_resumed_run_remembers_which_alarms_it_has_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(iterations: int) -> list[str]:
        gan = StandIn()
        gan.sample = lambda view, n, batch=None, seed=0: torch.zeros(n, 1, 8, 8)  # type: ignore[method-assign]
        resume = (tmp_path / "run").exists()
        loop.train(gan, out=tmp_path / "run", iterations=iterations, resume=resume, quiet=True, diagram=lambda s: None)
        return [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines() if "alarm" in line]

    assert train(2) == []
    assert train(4) == ["alarm collapse/spread", "alarm collapse/classes", "alarm collapse/within"]
    assert train(8) == []
