"""What is looked at after training: metrics over trained networks, and views that are rows of pictures."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import gangraph
from gangraph.__main__ import main
from gangraph.errors import RunError
from gangraph.train import evaluate_run, sample_run, train
from gangraph.train.evaluate import measure
from gangraph.train.separability import entropy, left_open

SPEC = """
gangraph: 1
name: measured
inputs: {x: "image(1, 8, 8)"}
draws: {z: normal(3), other: normal(3)}
index: {k: range(3)}
networks:
  G: [Linear(64), BatchNorm1d(), Dropout(0.5), Tanh(), "reshape(_, 1, 8, 8)"]
  D: [Flatten(), Linear(1)]
graph:
  fake: G(z)
  way[k]: G(lerp(z, other, k / 2))     # that no loss reads
losses: {adv: "hinge(real=D(x), fake=D(fake))"}
averages: {G_ema: "average(G, decay=0.5)"}
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: adv.generator}
sample: {fakes: fake, interpolation: way, beside: "[x, fake]"}
metrics:
  far: mean(abs(way[0] - way[2]))
  level:
  - fake
  - expect(mean(_))
  ratio: expect(mean(fake**2)) / expect(mean(x**2))
train: {batch: 10, iterations: 4, data: digits8}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    (folder / "measured.yaml").write_text(SPEC)
    train(folder / "measured.yaml", out=folder / "run", quiet=True)
    return folder / "run"


def test_metrics_read_averages_in_evaluation_mode(tmp_path: Path) -> None:
    (tmp_path / "measured.yaml").write_text(SPEC)
    gan = gangraph.compile(tmp_path / "measured.yaml")
    batch = {"x": torch.rand(10, 1, 8, 8) * 2 - 1}
    gan.step(batch, seed=1)
    before = {name: value.clone() for name, value in gan.game.networks.state_dict().items()}
    level, far, ratio = (gan.sample(name, 10, batch, seed=7) for name in ("level", "far", "ratio"))

    average = gan.averages["G_ema"]
    assert not all(torch.equal(a, p) for a, p in zip(average.parameters(), gan.networks["G"].parameters(), strict=True))
    gan.game.begin(batch, None, 7)
    z, other = (gan.game.draws().normal(name, 10, 3) for name in ("z", "other"))
    with torch.no_grad():
        fake, end = (average.eval()(v, gan.game.draws().call("G", "fake")) for v in (z, other))
    assert torch.allclose(level, fake.mean()) and level.shape == ()
    assert torch.allclose(far, (fake - end).abs().mean(dim=(1, 2, 3))) and far.shape == (10,)
    assert torch.allclose(ratio, fake.square().mean() / batch["x"].square().mean())
    after = gan.game.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_is_measured(run: Path) -> None:
    found = evaluate_run(run, n=35, seed=3)
    far, level, ratio = found.measures
    assert (far.count, far.of, level.count, level.of, ratio.of) == (48, "samples", 3, "batches", "batches")
    assert found.step == 4 and str(found).splitlines()[2].split()[:2] == ["far", f"{far.value:.4g}"]
    assert evaluate_run(run, n=35, seed=3) == found and evaluate_run(run, n=35, seed=4) != found

    gan, _ = gangraph.train.loop.load_run(run)
    each = torch.cat([gan.sample("far", 16, seed=3 + i) for i in range(3)]).double()
    assert far.value == pytest.approx(float(each.mean()))
    assert far.error == pytest.approx(float(each.std()) / math.sqrt(48))


def test_the_command_prints_a_table_or_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["evaluate", str(run), "-n", "10"], ["evaluate", str(run), "-n", "10", "--json"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    table, _, data = capsys.readouterr().out.partition("{")
    assert "after 4 iterations" in table
    assert [line.split()[0] for line in table.splitlines()[2:6]] == ["far", "level", "ratio", "collapse/spread"]
    assert json.loads("{" + data)["metrics"]["level"] == {
        "value": pytest.approx(evaluate_run(run, n=10)["level"]),
        "error": None,
        "batches": 1,
    }


def test_a_view_that_is_a_list_is_a_row_of_pictures(run: Path, tmp_path: Path) -> None:
    rows = np.load(sample_run(run, n=6, view="interpolation", out=tmp_path / "way.npz"))["interpolation"]
    assert rows.shape == (6, 3, 1, 8, 8)
    gan, _ = gangraph.train.loop.load_run(run)
    assert np.array_equal(rows[:, 0], gan.sample("fakes", 6))  # the way begins at z, which fakes are made of

    picture = np.asarray(Image.open(sample_run(run, n=6, view="interpolation", out=tmp_path / "way.png")))
    assert picture.shape == (
        8 * (6 * 10 + 2),
        8 * (3 * 10 + 2),
    )  # three columns, two pixels apart, eight times as large
    assert (run / "samples" / "000004-beside.png").is_file()


def test_figures_of_variety_come_without_metrics_and_ring(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text("gangraph: 1\nname: bare\nextends: gan\n")
    train(tmp_path / "bare.yaml", out=tmp_path / "run", iterations=1, quiet=True)
    found = evaluate_run(tmp_path / "run")
    assert found.variety.figures["modes_known"] == 8 and found.variety.figures["spread"] < 0.5
    assert "alarm collapse/spread: " in str(found) and list(found.data()["alarms"]) == ["spread"]


def test_a_run_of_which_nothing_can_be_said_is_told_so(tmp_path: Path) -> None:
    sample, _, _ = SPEC.partition("sample:")
    (tmp_path / "bare.yaml").write_text(sample + "train: {batch: 10, iterations: 1, data: digits8}\n")
    train(tmp_path / "bare.yaml", out=tmp_path / "run", quiet=True)
    with pytest.raises(RunError, match="has no `metrics`"):
        evaluate_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("fake", r"a metric is one number, or one for each sample, not \[N, 1, 8, 8\] in \[-1, 1\]"),
        ("D", "stands without brackets|something to measure|network"),
        ("expect(mean(fkae))", "nothing is called 'fkae' here"),
    ],
)
def test_metrics_that_cannot_be(tmp_path: Path, metric: str, message: str) -> None:
    (tmp_path / "measured.yaml").write_text(SPEC.replace("mean(abs(way[0] - way[2]))", metric))
    with pytest.raises(gangraph.SpecError, match=message):
        gangraph.load(tmp_path / "measured.yaml")


def test_a_metric_is_not_called_like_a_view(tmp_path: Path) -> None:
    (tmp_path / "measured.yaml").write_text(SPEC.replace("  far:", "  fakes:"))
    with pytest.raises(gangraph.SpecError, match="fakes is a view under sample"):
        gangraph.load(tmp_path / "measured.yaml")


PATHS = """
gangraph: 1
name: paths
inputs: {x: vector(4)}
draws: {a: normal(4), b: normal(4), t: uniform()}
networks: {G: Linear(4), D: Linear(1)}
losses: {adv: "wasserstein(real=D(x), fake=D(G(a)))"}
players:
  D: {networks: [D], optimizer: SGD(lr=0)}
  G: {networks: [G], optimizer: SGD(lr=0)}
schedule: {D: adv.discriminator, G: adv.generator}
sample: {fakes: G(a)}
metrics:
  start: norm(slerp(a, b, 0) - direction(a))
  end: norm(slerp(a, b, 1) - direction(b))
  length: norm(slerp(a, b, t)) - 1
  speed: norm(slerp(a, b, t + 1e-4) - slerp(a, b, t)) / 1e-4 - acos(sum(direction(a) * direction(b)))
  path: path_length(G(slerp(a, b, t)), G(slerp(a, b, t + 1e-3)), 1e-3)
  shorter: path_length(G(slerp(a, b, t)), G(slerp(a, b, t + 1e-4)), 1e-4)
train: {batch: 20}
"""


def test_paths_on_the_sphere_and_their_length(tmp_path: Path) -> None:
    """StyleGAN's sheet, section 10, 6 and 7: ends, constant speed, no length of a constant, whatever the step."""
    (tmp_path / "paths.yaml").write_text(PATHS)
    gan = gangraph.compile(tmp_path / "paths.yaml").to(torch.float64)
    for name, most in {"start": 1e-12, "end": 1e-12, "length": 1e-12, "speed": 1e-6}.items():
        assert float(gan.sample(name, 20, seed=1).abs().max()) < most, name
    path, shorter = (gan.sample(name, 20, seed=1) for name in ("path", "shorter"))
    assert torch.allclose(path, shorter, rtol=0.05) and float(path.min()) > 0
    with torch.no_grad():
        gan.networks["G"].weight.zero_()
    assert float(gan.sample("path", 20).abs().max()) == 0


def test_a_spec_that_the_checkpoint_was_not_made_from_is_told(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (copy / "spec.yaml").write_text((copy / "spec.yaml").read_text().replace("normal(3)", "normal(4)"))
    with pytest.raises(RunError, match=r"run/spec\.yaml is not what .*run was trained from\. What differs"):
        evaluate_run(copy)


def test_a_run_of_few_items_is_measured_and_data_may_be_said(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / "few").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(tmp_path / "few" / f"{i}.png")
    (tmp_path / "measured.yaml").write_text(SPEC)
    train(tmp_path / "measured.yaml", data=str(tmp_path / "few"), out=tmp_path / "run", quiet=True)
    found = evaluate_run(tmp_path / "run", n=24)
    assert [m.count for m in found.measures] == [24, 2, 2]
    (tmp_path / "few").rename(tmp_path / "moved")
    beside: dict[str, Any] = {"view": "beside", "out": tmp_path / "x.npz"}
    for asked in (evaluate_run, lambda run, **options: sample_run(run, **options, **beside)):
        with pytest.raises(RunError, match="which is not there any more: --data says where it is"):
            asked(tmp_path / "run")
        asked(tmp_path / "run", data=str(tmp_path / "moved"))
    assert evaluate_run(tmp_path / "run", n=24, data=str(tmp_path / "moved")) == found


@pytest.mark.parametrize("options", [[], ["--seed", "5"]])
def test_the_command_samples_from_a_seed_and_says_where(
    options: list[str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["sample", str(run), "-o", str(tmp_path / "x.npz"), "--view", "fakes", "-n", "3", *options])
    assert capsys.readouterr().out == f"{tmp_path / 'x.npz'}\n"
    seeded = sample_run(run, n=3, view="fakes", out=tmp_path / "y.npz", seed=5)
    assert (seeded.read_bytes() == (tmp_path / "x.npz").read_bytes()) == bool(options)


def test_the_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"gangraph {gangraph.__version__}\n"


# --- commands that would write something else than was asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "mine.yaml", "-o", "mine.yaml"], "mine.yaml is the spec itself"),
        (["check", "mine.yaml", "--set", "width=8", "--set", "width=9"], "width is set twice"),
        (["new", "", "--extends", "gan"], "'' is no name for a system"),
        (["new", "a.yaml", "--extends", "gan"], "'a.yaml' is no name for a system"),
        (["train", "mine.yaml", "--seed", str(2**63)], "is not in the range"),
    ],
)
def test_a_wrong_command_writes_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "gangraph: 1\nname: mine\nextends: gan\n"
    Path("mine.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"] and Path("mine.yaml").read_text() == text


@pytest.mark.parametrize("command", ["compile gan -o", "draw gan -o", "sample {run} -o"])
def test_a_file_is_no_folder_and_its_folder_is_made(
    command: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").mkdir()
    made = tmp_path / "none" / "such" / "x.png"
    for path, code in ((tmp_path / "x.png", 1), (Path("/"), 1), (Path(), 1), (made, 0)):
        with pytest.raises(SystemExit) as ended:
            main([*command.format(run=run).split(), str(path)])
        err = capsys.readouterr().err
        assert ended.value.code == code and err.count("\n") == code, err
    assert made.is_file() and not list(tmp_path.rglob("*.part"))


def test_what_a_terminal_cannot_show_is_escaped() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(
        [sys.executable, "-m", "gangraph", "math", "gan"], env=environment, capture_output=True, check=True
    )
    assert b"\\u2112" in shown.stdout and not shown.stderr


# --- separability


def test_a_plane_tells_all_or_nothing_of_an_attribute() -> None:
    """StyleGAN's sheet, section 10, 9: a perfect SVM leaves nothing open; of what is independent, log 2 nats."""
    generator = np.random.default_rng(0)
    latents = generator.normal(size=(4000, 8))

    def asked(yes: NDArray[Any], of: NDArray[Any] = latents) -> float:
        return left_open(of, np.stack([1 - yes, yes], 1))[0]

    assert asked(1 / (1 + np.exp(-2 * (latents @ np.arange(8.0))))) < 0.01
    assert asked(generator.uniform(size=4000)) == pytest.approx(math.log(2), abs=0.01)
    rings = (latents**2).sum(1) - 7.34  # of the same answer on both sides of any plane
    assert asked(1 / (1 + np.exp(-2 * rings))) > 0.6
    assert left_open(latents, np.tile([0.1, 0.9], (4000, 1))) == (0, 0)
    assert left_open(latents, generator.uniform(size=(4000, 3)))[1] == pytest.approx(math.log(3), abs=0.01)
    few = generator.normal(size=(60, 80))  # a plane separates what it was taught, and is asked about the rest
    assert asked(generator.uniform(size=60), few) > 0.5
    y, x = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 0])
    shares = [(2 / 8, 2 / 3), (1 / 8, 1 / 3), (1 / 8, 1 / 5), (4 / 8, 4 / 5)]
    assert entropy(y, x) == pytest.approx(-sum(both * math.log(given) for both, given in shares))


SEPARATED = """
gangraph: 1
name: separated
inputs: {x: vector(2)}
draws: {z: uniform(2), other: uniform(2)}
networks: {G: Linear(2), D: Linear(1)}
graph: {fake: G(6 * z - 3)}
losses: {adv: "wasserstein(real=D(x), fake=D(fake))"}
players:
  D: {networks: [D], optimizer: SGD(lr=0)}
  G: {networks: [G], optimizer: SGD(lr=0)}
schedule: {D: adv.discriminator, G: adv.generator}
sample: {fakes: fake}
metrics: {own: "separability(z, fake)", others: "separability(other, fake)"}
train: {batch: 50}
"""


def test_latents_of_what_is_seen_are_separable_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "separated.yaml").write_text(SEPARATED)
    gan = gangraph.compile(tmp_path / "separated.yaml")
    with torch.no_grad():
        gan.networks["G"].weight.copy_(torch.eye(2))
        gan.networks["G"].bias.zero_()
    own, others = measure(gan, "mixture", 1000, 50)[:2]
    assert own.count == 1000 and own.error is None and "of 8 classes" in own.note, own
    assert own.value < 3 and others.value > 6, (own, others)  # of eight around a circle, no plane cuts off one alone
    row = gan.sample("own", 3, seed=1)
    assert torch.equal(6 * row[:, :2] - 3, row[:, 2:])


def test_what_has_no_kinds_is_not_measured(tmp_path: Path) -> None:
    large = SPEC.replace("8, 8", "25, 25").replace("Linear(64)", "Linear(625)").replace("digits8", "faces")
    (tmp_path / "faces.yaml").write_text(large.replace("metrics:\n", "metrics:\n  apart: separability(z, fake)\n"))
    train(tmp_path / "faces.yaml", out=tmp_path / "run", iterations=1, quiet=True)
    found = evaluate_run(tmp_path / "run", n=20)
    assert math.isnan(found["apart"]) and "have no classes or attributes" in str(found)
    assert json.loads(json.dumps(found.data()))["metrics"]["apart"]["value"] is None
