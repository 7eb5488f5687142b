"""The loop, the run folder, checkpoints and metrics, on a stand-in for the compiled object."""

from __future__ import annotations

import copy
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from standin import Input, Spec, StandIn, image
from torch import Tensor

import gangraph.train
from gangraph import _paths, files
from gangraph.__main__ import main
from gangraph.compiler import compile
from gangraph.compiler import load as load_spec
from gangraph.errors import RunError
from gangraph.train import loop, pictures, sample_run
from gangraph.train.checkpoint import Checkpoints, load, save
from gangraph.train.data import fit
from gangraph.train.loop import Result, load_external
from gangraph.train.metrics import evaluate_digits
from gangraph.train.run import Run
from gangraph.train.samples import samples


def train(gan: Any, out: Path, **options: Any) -> Result:
    return loop.train(gan, out=out, quiet=True, diagram=lambda spec: "<svg/>", **options)


def refused(*args: Any, **options: Any) -> str:
    with pytest.raises(RunError) as error:
        train(*args, **options)
    return str(error.value)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def last(out: Path) -> dict[str, Any]:
    state = Checkpoints(out / "checkpoints").latest()
    assert state is not None
    return state


# --- a run --------------------------------------------------------------------------------------------------------


def test_a_run_folder_holds_all_there_is_to_know(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "standin"
    assert train(StandIn(), out) == Result(out, 10)
    assert (out / "spec.yaml").read_text() == Spec().text
    assert (out / "program.py").read_text() == StandIn.source
    assert (out / "diagram.svg").exists()
    assert [p.name for p in sorted((out / "samples").iterdir())] == [f"{i:06d}.png" for i in range(1, 11)]
    assert size(out / "losses.png")[0] > 500
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert {"D", "G", "D/adv.discriminator", "epoch", "images"} <= set(rows[0])
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["000009.safetensors", "000010.safetensors"]
    assert not list(out.rglob("*.part"))


GALLERY = sorted(path.stem for path in _paths.specs().glob("*.yaml"))


@pytest.mark.parametrize("name", GALLERY)
def test_five_and_five_equal_ten_for_the_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On the data that each spec names; what comes from outside is random."""
    monkeypatch.setattr(loop, "MARKS", 1)  # samples and a checkpoint at the end only: half of the time
    spec = load_spec(name, tiny=True)
    outside = {n: "random" for n, network in spec.graph.networks.items() if network.external}
    assert five_and_five(tmp_path, spec, outside)


@pytest.mark.parametrize("name", ["discogan", "pix2pix", "stylegan", "wgan-gp"])
def test_samples_leave_a_system_as_it_is(name: str) -> None:
    """Three of these sample in training mode, where batch norm would move its statistics."""
    gan = compile(load_spec(name, tiny=True))
    data = loop.fit(gan.spec.train["data"], gan.streams, gan.prepare, 4)
    before = copy.deepcopy(gan.state_dict())
    for view in gan.views:
        samples(gan, view, 4, data, 0)
    assert same(before, gan.state_dict())


@pytest.mark.parametrize("pause", [3, 5])
def test_a_run_resumes_within_and_between_stages(tmp_path: Path, pause: int) -> None:
    """Stages of 3 iterations, of 6, and the rest; the pictures grow with each."""
    spec = load_spec("stylegan", tiny=True)
    spec = load_spec("stylegan", tiny=True, sizes={"span": 3 * spec.train["batch"]})
    assert five_and_five(tmp_path, spec, {}, pause)
    assert last(tmp_path / "ten")["gan"]["clocks"]["stage"] == 2


def five_and_five(folder: Path, spec: Any, outside: dict[str, str], pause: int = 5) -> bool:
    def fresh(seed: int) -> Any:
        torch.manual_seed(seed)
        return compile(spec)

    train(fresh(0), folder / "ten", iterations=10, weights=outside)
    train(fresh(0), folder / "five", iterations=pause, weights=outside)
    train(fresh(1), folder / "five", iterations=10, resume=True)
    return same(last(folder / "ten")["gan"], last(folder / "five")["gan"])


@pytest.mark.parametrize("burst", [1, 3])
def test_five_and_five_equal_ten(tmp_path: Path, burst: int) -> None:
    train(StandIn(burst=burst), tmp_path / "ten", seed=7)
    train(StandIn(burst=burst), tmp_path / "five", seed=7, iterations=5)
    train(StandIn(seed=99, burst=burst), tmp_path / "five", resume=True, iterations=10)
    ten, five = last(tmp_path / "ten"), last(tmp_path / "five")
    assert same(ten["gan"], five["gan"])
    assert ten["cursor"] == five["cursor"]
    assert (tmp_path / "ten/metrics.jsonl").read_text() == (tmp_path / "five/metrics.jsonl").read_text()
    for picture in (tmp_path / "ten/samples").iterdir():
        assert picture.read_bytes() == (tmp_path / "five/samples" / picture.name).read_bytes()


def test_two_processes_average_their_gradients_and_resume(tmp_path: Path) -> None:
    """Each compiles RUN/spec.yaml for itself; the samples of a batch are shared out between them."""
    torch.manual_seed(0)
    gan = compile(load_spec("digits", tiny=True))
    assert train(gan, tmp_path / "run", iterations=2, devices=2) == Result(tmp_path / "run", 2)
    assert train(gan, tmp_path / "run", iterations=3, devices=2, resume=True) == Result(tmp_path / "run", 3)
    assert "was begun with --devices 2" in refused(gan, tmp_path / "run", iterations=4, resume=True)


MEAN = """
gangraph: 1
name: mean
inputs: {x: "image(1, 8, 8, range=[0, 1])"}
draws: {z: normal(4)}
networks:
  G: [Linear(64), "reshape(_, 1, 8, 8)", {pixels: "sigmoid(_ + Parameter(1, 8, 8)())"}]
  D: [Flatten(), Linear(1)]
init: {G.pixels.weight: "logit(clamp(data_mean(x, 300), 0.01, 0.99))"}
averages: {G_mean: "average(G, decay=0.9)"}
graph: {fake: G(z)}
losses: {adv: "non_saturating(real=D(x), fake=D(fake))"}
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: adv.generator}
sample: {images: G_mean(z)}
train: {batch: 16, iterations: 2, data: digits8}
"""


def test_what_begins_at_a_mean_of_the_data_begins_there_once(tmp_path: Path) -> None:
    (tmp_path / "mean.yaml").write_text(MEAN)
    gan = compile(load_spec(tmp_path / "mean.yaml"))
    before = {k: v.clone() for k, v in gan.networks.state_dict().items()}
    train(gan, tmp_path / "run", iterations=1)
    began = load(sorted((tmp_path / "run" / "checkpoints").iterdir())[0])["gan"]
    found = [v for k, v in began["networks"].items() if tuple(v.shape) == (1, 8, 8)]
    kept = [v for k, v in began["averages"].items() if tuple(v.shape) == (1, 8, 8)]
    items = fit("digits8", gan.streams, gan.prepare, 16).first(300)["x"].double().numpy()
    mean = np.clip(items.mean(axis=0), 0.01, 0.99)
    assert 0.01 < mean.max() < 0.99 and np.ptp(mean) > 0.3
    assert np.allclose(found[0].numpy(), np.log(mean / (1 - mean)), atol=1e-5)
    assert torch.equal(found[0], kept[0])
    assert [k for k, v in began["networks"].items() if not torch.equal(v, before[k])] == ["G.pixels.weight"]
    train(compile(load_spec(tmp_path / "mean.yaml")), tmp_path / "run", iterations=2, resume=True)
    moved = [v for v in last(tmp_path / "run")["gan"]["networks"].values() if tuple(v.shape) == (1, 8, 8)]
    assert not torch.equal(moved[0], found[0])


def test_a_run_of_a_spec_that_leaves_something_of_its_parent_unread_can_be_sampled(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "gangraph: 1\nname: one\nextends: gan\nconstants: {one: 1}\nschedule: {D: one * adv.discriminator}\n"
    )
    train(load_spec(tmp_path / "one.yaml"), tmp_path / "run", iterations=1)
    sample_run(tmp_path / "run", n=4, out=tmp_path / "points.npz")
    assert np.load(tmp_path / "points.npz")["points"].shape == (4, 2)


def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(StandIn(), tmp_path / name, seed=seed, iterations=3)
    a, b, c = (last(tmp_path / name)["gan"] for name in "abc")
    assert same(a, b) and not same(a, c)


def test_clocks_count_epochs_of_the_data(tmp_path: Path) -> None:
    gan = StandIn()
    train(gan, tmp_path / "run", iterations=230)  # 1,797 digits in batches of 16: 112 a epoch
    assert {h["epoch_steps"] for h in gan.heard} == {112}
    assert [(h["epoch"], h["epoch_step"]) for h in (gan.heard[i] for i in (0, 111, 112, 229))] == [
        (0, 0),
        (0, 111),
        (1, 0),
        (2, 5),
    ]


RARE = """
gangraph: 1
name: rare
inputs: {x: vector(64)}
draws: {z: normal(8)}
networks: {G: "mlp([8, 64])", D: "mlp([8, 1])"}
losses: {adv: "non_saturating(real=D(x), fake=D(G(z)))"}
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule:
  D: adv.discriminator
  more: {player: D, minimize: adv.discriminator, batch: fresh, when: adv.discriminator > 100}
  G: adv.generator
train: {data: digits8, batch: 16, iterations: 5}
"""


def test_batches_that_a_condition_leaves_are_those_of_the_next_iteration(tmp_path: Path) -> None:
    (tmp_path / "rare.yaml").write_text(RARE)
    gan = compile(load_spec(tmp_path / "rare.yaml"))
    assert gan.fetches() == 2
    train(gan, tmp_path / "run")
    assert last(tmp_path / "run")["cursor"]["fetched"] == 5


def test_an_iteration_that_stops_is_told_with_its_number(tmp_path: Path) -> None:
    left_out = "state: {k: {start: 0, becomes: k + adv.generator}}\nmeant: [left_out(k)]\n"
    text = (
        RARE.replace("  G: adv.generator", "  G: {minimize: adv.generator * (1 + 0.01 * k), when: step < 2}") + left_out
    )
    (tmp_path / "rare.yaml").write_text(text)
    message = refused(compile(load_spec(tmp_path / "rare.yaml")), tmp_path / "run")
    assert message.startswith("iteration 2 stops: adv.generator is read before any phase")


@pytest.mark.parametrize("pause", range(1, 6))
def test_epochs_begin_at_the_same_step_when_a_run_resumes(tmp_path: Path, pause: int) -> None:
    """An epoch has two batches here; a resumed run may begin with one."""
    first, second = StandIn(burst=2), StandIn(burst=2)
    train(first, tmp_path / "run", batch_size=800, iterations=pause)
    train(second, tmp_path / "run", iterations=8, resume=True)
    whole = StandIn(burst=2)
    train(whole, tmp_path / "whole", batch_size=800, iterations=8)
    assert first.heard + second.heard == whole.heard


@pytest.mark.parametrize(
    ("plan", "steps"), [({"iterations": 4}, 4), ({"images": 50}, 4), ({"epochs": 2}, 2 * 3), ({"epochs": 1}, 3)]
)
def test_a_run_is_as_long_as_the_spec_says(tmp_path: Path, plan: dict[str, int], steps: int) -> None:
    batch = 16 if "images" in plan else 599
    gan = StandIn(Spec(train={"batch": batch, "data": "digits8", **plan}))
    assert train(gan, tmp_path / "run").step == steps


def test_the_package_is_the_verb_too(tmp_path: Path) -> None:
    result = gangraph.train(StandIn(), out=tmp_path / "run", iterations=1, quiet=True, diagram=lambda spec: "<svg/>")  # type: ignore[operator]
    assert result.step == 1


def test_the_objectives_are_told_where_nobody_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop.train(StandIn(), out=tmp_path / "run", iterations=2, diagram=lambda spec: "<svg/>")
    shown = capsys.readouterr().out
    assert [line.split()[:3] for line in shown.splitlines()] == [["standin", f"{k}/2", "D"] for k in (1, 2)]


@pytest.mark.parametrize(("columns", "objectives"), [(80, True), (60, False), (44, False)])
def test_a_narrow_terminal_keeps_bar_count_and_time(
    columns: int, objectives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("COLUMNS", str(columns)), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    gan = StandIn(Spec(name="disentanglement"))
    loop.train(gan, out=tmp_path / "run", iterations=2, diagram=lambda spec: "<svg/>")
    lines = [
        line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out).splitlines() if "2/2" in line
    ]
    assert lines and all(len(line.rstrip()) <= columns for line in lines)
    assert re.search(r"━{8,} 2/2 0:00:\d\d left 0:00:00", lines[-1])
    assert ("D 1." in lines[-1]) == objectives and lines[-1].startswith("dis")


# --- a run that was stopped ---------------------------------------------------------------------------------------

RUN = """
import sys, time
sys.path.insert(0, {tests!r})
from standin import StandIn
from gangraph.train import checkpoint, loop

loop.SAVE_EVERY = 0.0  # a checkpoint after every iteration: most kills fall into a write
gan = StandIn()
print("begun", flush=True)
diagram = lambda spec: "<svg/>"
done = loop.train(gan, out={out!r}, iterations={iterations}, resume={resume}, quiet=True, diagram=diagram)
print("stopped", done.stopped)
"""


def start(out: Path, iterations: int, resume: bool = False) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent)
    code = RUN.format(tests=tests, out=str(out), iterations=iterations, resume=resume)
    environment = os.environ | {"PYTHONPATH": str(Path(tests).parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_killed_run_resumes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    for moment in (0.0, 0.3):
        process = start(out, 100_000, resume=out.exists())
        step = sorted(p.name for p in (out / "checkpoints").glob("0*")) if out.exists() else []
        wait_for(out / "checkpoints" / "000003.safetensors" if not step else out / "spec.yaml", process)
        time.sleep(moment)
        process.kill()
        process.communicate()
    reached = last(out)["cursor"]["fetched"]
    train(StandIn(), out, iterations=reached + 2, resume=True)
    train(StandIn(), tmp_path / "whole", iterations=reached + 2)
    assert same(last(out)["gan"], last(tmp_path / "whole")["gan"])
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_interrupted_saves_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    process = start(out, 100_000)
    wait_for(out / "checkpoints" / "000003.safetensors", process)
    process.send_signal(number)
    shown, errors = process.communicate(timeout=60)
    step = last(out)["gan"]["clocks"]["step"]
    assert shown == f"begun\nstopped {int(number)}\n"
    assert f"stopped after iteration {step} of 100000, and saved: --resume goes on" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("stopped", [0, 2, 15])
def test_the_command_says_where_the_run_lies_or_exits_as_it_was_interrupted(
    stopped: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "train", lambda *args, **options: Result(tmp_path / "a run", 2, stopped))
    with pytest.raises(SystemExit) as ended:
        main(["train", "gan", "--tiny"])
    assert ended.value.code == (128 + stopped if stopped else 0)
    assert (f"gangraph evaluate '{tmp_path}/a run'" in capsys.readouterr().out) == (not stopped)


def test_resuming_what_has_not_begun_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/spec.yaml").write_text("gangraph: 1\n")  # killed before the first checkpoint
    assert train(StandIn(), tmp_path / "run", resume=True, iterations=2).step == 2
    assert "has no checkpoint yet" in capsys.readouterr().err


def test_a_finished_run_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(StandIn(), tmp_path / "run", iterations=2)
    before = (tmp_path / "run/checkpoints/000002.safetensors").read_bytes()
    assert train(StandIn(), tmp_path / "run", iterations=2, resume=True).step == 2
    assert "is at iteration 2 already" in capsys.readouterr().err
    assert (tmp_path / "run/checkpoints/000002.safetensors").read_bytes() == before


def test_lines_of_metrics_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    train(StandIn(), tmp_path / "run", iterations=3)
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "D": 0}\n{"step": 5, "D": 0}\n{"step": 6, "D"')
    train(StandIn(), tmp_path / "run", iterations=4, resume=True)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4] and rows[3]["D"] > 0


def test_lines_of_metrics_that_training_did_not_write_are_left_out(tmp_path: Path) -> None:
    train(StandIn(), tmp_path / "run", iterations=2)
    with (tmp_path / "run/metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe no text\n{"step": 2, "alarms": 5, "collapse/spread": "x"}\n[1]\n')
    train(StandIn(), tmp_path / "run", iterations=3, resume=True)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]


def test_one_process_trains_in_a_folder_at_a_time(tmp_path: Path) -> None:
    train(StandIn(), tmp_path / "run", iterations=2)
    other = Run(tmp_path / "run")
    other.lock()
    assert "is being trained by another process" in refused(StandIn(), tmp_path / "run", iterations=3, resume=True)
    other.unlock()
    assert train(StandIn(), tmp_path / "run", iterations=3, resume=True).step == 3


def test_a_folder_that_is_removed_meanwhile_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Thief(StandIn):
        def step(self, *args: Any, **options: Any) -> Any:
            if self.clocks["step"] == 2:
                shutil.rmtree(tmp_path / "run")
            return super().step(*args, **options)

    assert "is gone: somebody removed it" in refused(Thief(), tmp_path / "run", iterations=5)


def test_a_run_goes_on_with_its_own_batch_and_seed(tmp_path: Path) -> None:
    train("gan", tmp_path / "run", iterations=1, batch_size=8, seed=1)
    assert train("gan", tmp_path / "run", iterations=2, resume=True).step == 2
    assert last(tmp_path / "run")["run"] | {"batch": 8, "seed": 1} == last(tmp_path / "run")["run"]
    assert "was begun with --seed 1, and cannot" in refused("gan", tmp_path / "run", iterations=3, resume=True, seed=0)


def test_a_run_goes_on_with_its_own_length_precision_and_weights(tmp_path: Path) -> None:
    class Killed(StandIn):
        def step(self, *args: Any, **options: Any) -> Any:
            if self.clocks["step"] == 3:
                raise KeyboardInterrupt
            return super().step(*args, **options)

    begun = {"iterations": 12, "precision": "bf16-mixed", "weights": {"G": "random"}}
    with pytest.raises(KeyboardInterrupt):
        train(Killed(), tmp_path / "run", **begun)
    assert train(StandIn(), tmp_path / "run", resume=True).step == 12
    train(StandIn(), tmp_path / "whole", **begun)
    assert same(last(tmp_path / "run"), last(tmp_path / "whole"))
    assert train(StandIn(), tmp_path / "run", resume=True, iterations=13).step == 13
    assert train(StandIn(), tmp_path / "run", resume=True).step == 13


def test_a_folder_of_data_may_move_and_no_other_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def filled(name: str, count: int) -> Path:
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("L", (8, 8), 10 * i).save(tmp_path / name / f"{i}.png")
        return tmp_path / name

    old, run = filled("old", 20), tmp_path / "run"
    filled("other", 19)
    monkeypatch.chdir(tmp_path)
    for out in ("run", "whole"):
        train(StandIn(), tmp_path / out, data="old", iterations=3 if out == "run" else 5)
    monkeypatch.chdir("/")
    train(StandIn(), run, resume=True, iterations=4, data=f"{tmp_path}/other/../old")
    assert last(run)["run"]["data"] == f"{tmp_path}/other/../old"
    new = old.rename(tmp_path / "new")
    gone = f"{run} was trained on {tmp_path}/other/../old, which is not there any more: --data says where it is"
    assert refused(StandIn(), run, resume=True, iterations=5) == gone
    message = refused(StandIn(), run, resume=True, iterations=5, data=f"{tmp_path}/other")
    assert "other is something else (20 items then, 19 now)" in message
    train(StandIn(), run, resume=True, iterations=5, data=str(new))
    assert same(last(run)["gan"], last(tmp_path / "whole")["gan"])
    assert "has changed" not in capsys.readouterr().err
    Image.new("L", (8, 8)).save(new / "more.png")
    train(StandIn(), run, resume=True, iterations=6)
    assert f"{new} has changed since {run} was saved (20 items then, 21 now)" in capsys.readouterr().err


def test_a_run_of_a_spec_without_a_batch_size_goes_on(tmp_path: Path) -> None:
    """What is set as it is already is another text of the spec."""
    path = tmp_path / "plain.yaml"
    path.write_text("gangraph: 1\nname: plain\nextends: gan\ntrain: {batch: ~}\ntiny: {train: {batch: ~}}\n")
    train(path, tmp_path / "run", iterations=1)
    assert train(path, tmp_path / "run", iterations=2, resume=True).step == 2


def test_a_program_that_has_been_trained_does_not_begin_anew(tmp_path: Path) -> None:
    gan = StandIn()
    train(gan, tmp_path / "first", iterations=2)
    assert "has been trained for 2 iterations" in refused(gan, tmp_path / "second", iterations=4)


def test_a_program_that_was_edited_is_kept_and_measures_that_are_gone_are_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(StandIn(), tmp_path / "run", iterations=3)
    edited = (tmp_path / "run/program.py").read_text() + "# mine\n"
    (tmp_path / "run/program.py").write_text(edited)
    (tmp_path / "run/metrics.jsonl").unlink()
    train(StandIn(), tmp_path / "run", iterations=4, resume=True)
    assert (tmp_path / "run/program.before.py").read_text() == edited
    assert (tmp_path / "run/program.py").read_text() == edited.removesuffix("# mine\n")
    said = capsys.readouterr().err
    assert "program.py was another one: it is kept as program.before.py" in said
    assert "has nothing of the 3 iterations before: it begins anew" in said


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_folder_in_use_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert "is not empty: --resume goes on with that run" in refused(StandIn(), tmp_path)
    assert "is not the folder of a run" in refused(StandIn(), tmp_path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    assert train(StandIn(), tmp_path, iterations=1).step == 1


def test_a_changed_spec_is_refused_with_the_fields_that_differ(tmp_path: Path) -> None:
    train(StandIn(), tmp_path / "run", iterations=1)
    other = StandIn(Spec(hash="1", changed={"sizes.Z": "100", "once": "[z]"}))
    other.spec.changed |= {"name": "other", "notes[0]": "new", "train.iterations": "30"}  # which no state depends on
    assert refused(other, tmp_path / "run", resume=True).splitlines()[1:] == [
        "  once: (absent) -> [z]",
        "  sizes.Z: 4 -> 100",
    ]


def test_a_spec_of_another_name_and_length_goes_on(tmp_path: Path) -> None:
    text = "gangraph: 1\nname: one\nextends: gan\ntrain: {batch: 2 * 8, iterations: 1, data: mixture}\n"
    (tmp_path / "one.yaml").write_text(text)
    train(tmp_path / "one.yaml", tmp_path / "run")
    (tmp_path / "one.yaml").write_text(text.replace("one", "two").replace("iterations: 1", "iterations: 2"))
    assert train(tmp_path / "one.yaml", tmp_path / "run", resume=True).step == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "faces"}, "was begun with --data digits8, and cannot go on with faces"),
        ({"batch_size": 8}, "was begun with --batch-size 16, and cannot go on with 8"),
        ({"seed": 3}, "was begun with --seed 1, and cannot go on with 3"),
        ({"precision": "bf16-mixed"}, "was begun with --precision 32, and cannot go on with bf16-mixed"),
        ({"weights": {"G": "a.safetensors"}}, "was begun without --weights, and cannot go on with G=a.safetensors"),
    ],
)
def test_options_that_a_run_cannot_change(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    train(StandIn(), tmp_path / "run", iterations=1, seed=1)
    assert message in refused(StandIn(), tmp_path / "run", resume=True, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "16-mixed"}, "16-mixed needs a loss scaler for each player"),
        ({"precision": "bf16"}, "no precision is called 'bf16': 32 or bf16-mixed"),
        ({"strategy": "fsdp"}, "fsdp wraps modules"),
        ({"strategy": "ddp"}, "ddp wraps modules"),
        ({"strategy": "magic"}, "no strategy is called 'magic'"),
        ({"iterations": 0}, "--iterations is 0, and must be 1 or more"),
        ({"batch_size": -1}, "--batch-size is -1, and must be 1 or more"),
        ({"devices": 0}, "--devices is 0, and must be 1 or more"),
        ({"seed": -1}, "--seed is -1, and must be 0 or more"),
        ({"seed": 2**63}, "must be 0 or more, and below 2**63"),
        ({"devices": 10**6}, "--devices is 1000000, and this machine has "),
        ({"data": "nothing"}, "no folder and no data set is called 'nothing'"),
        ({"batch_size": 2000}, "digits8 has 1797 items, and a batch takes 2000"),
        ({"weights": ["G"]}, "--weights G: NETWORK=FILE was expected"),
        ({"weights": {"H": "x"}}, "--weights: no network is called 'H': G, D"),
        ({"weights": {"G": "missing.safetensors"}}, "missing.safetensors cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    gan = StandIn()
    text = refused(gan, tmp_path / "run", **options)
    assert message in text and "\n" not in text
    assert not (tmp_path / "run").exists()


def test_a_spec_that_names_nothing(tmp_path: Path) -> None:
    assert "names no data" in refused(StandIn(Spec(train={"batch": 1})), tmp_path / "run")
    assert "names no batch size" in refused(StandIn(Spec(train={"data": "digits8"})), tmp_path / "run")
    silent = StandIn(Spec(train={"data": "digits8", "batch": 1}))
    assert "does not say how long to train" in refused(silent, tmp_path / "run")


def test_places_where_no_run_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file, and a run is a folder" in refused(StandIn(), tmp_path / "file")
    assert "cannot be written: Not a directory" in refused(StandIn(), tmp_path / "file" / "run")


# --- numbers that are not finite ----------------------------------------------------------------------------------


def test_the_first_loss_that_is_nan_is_named_and_the_last_good_state_kept(tmp_path: Path) -> None:
    text = refused(StandIn(poison=5), tmp_path / "run")
    kept = tmp_path / "run/checkpoints/000004.safetensors"
    assert text == f"iteration 5: D/adv.discriminator is nan; the last good checkpoint is {kept}"
    assert last(tmp_path / "run")["gan"]["clocks"]["step"] == 4
    rows = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert len(rows) == 4
    assert train(StandIn(), tmp_path / "run", resume=True).step == 10


def test_a_parameter_that_is_infinite_is_named(tmp_path: Path) -> None:
    assert refused(StandIn(poison=-13), tmp_path / "run").startswith("iteration 3: D.0.weight is inf;")


def test_a_sum_that_overflows_is_no_alarm() -> None:
    networks = torch.nn.ModuleDict({"G": torch.nn.Linear(4, 4)})
    torch.nn.init.constant_(networks["G"].weight, 3e38)  # type: ignore[arg-type]
    assert loop._first_infinite(networks) is None


# --- checkpoints --------------------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
tensors = st.builds(
    lambda shape, dtype: torch.ones(shape, dtype=dtype), st.lists(st.integers(0, 3), max_size=3), dtypes
)
trees = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), trees, max_size=4))
def test_what_is_saved_is_what_is_loaded(state: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "x", state)
        assert same(load(Path(folder) / "x"), state)


def test_tensors_that_share_memory_or_are_not_contiguous(tmp_path: Path) -> None:
    w = torch.arange(12.0).reshape(3, 4)
    state = {"a": w, "b": w.T, "c": w[1], "d": torch.tensor(float("nan"))}
    save(tmp_path / "x", state)
    found = load(tmp_path / "x")
    assert torch.equal(found["b"], w.T) and torch.equal(found["c"], w[1]) and found["d"].isnan()


def test_only_data_goes_into_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot hold a function \(gan/f\)"):
        save(tmp_path / "x", {"gan": {"f": same}})


def spoil_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def spoil_by_emptying(path: Path) -> None:
    path.write_bytes(b"")


def spoil_by_nonsense(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


SPOIL = [spoil_by_cutting, spoil_one_bit, spoil_by_emptying, spoil_by_nonsense]


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, spoil: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    train(StandIn(), out, iterations=5)
    spoil(out / "checkpoints/000005.safetensors")
    train(StandIn(), out, iterations=7, resume=True)
    assert "000005.safetensors is damaged or no checkpoint of gangraph; going back" in capsys.readouterr().err
    train(StandIn(), tmp_path / "whole", iterations=7)
    assert same(last(out)["gan"], last(tmp_path / "whole")["gan"])


@pytest.mark.parametrize("spoil", SPOIL)
def test_when_no_checkpoint_can_be_read_that_is_said_and_nothing_is_lost(tmp_path: Path, spoil: Any) -> None:
    out = tmp_path / "run"
    train(StandIn(), out, iterations=3)
    for path in (out / "checkpoints").iterdir():
        spoil(path)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert "is damaged or no checkpoint of gangraph" in refused(StandIn(), out, resume=True, iterations=5)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train(StandIn(), out, iterations=3)
    before = (out / "checkpoints/000003.safetensors").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    text = refused(StandIn(), out, iterations=5, resume=True)
    assert "cannot be written: No space left on device" in text and "\n" not in text
    assert (out / "checkpoints/000003.safetensors").read_bytes() == before
    assert not list(out.rglob("*.part"))


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in (999_999, 1_000_000, 1_000_001):
        kept.save(step, {"step": step})
    assert [p.stem for p in kept.paths()] == ["1000000", "1000001"]
    assert kept.latest() == {"step": 1_000_001}


# --- weights ------------------------------------------------------------------------------------------------------


def test_external_weights_are_loaded_by_name(tmp_path: Path) -> None:
    ours, theirs = StandIn(seed=0), StandIn(seed=1)
    save_file(theirs.networks["G"].state_dict(), tmp_path / "G.safetensors")
    load_external(ours, [("G", str(tmp_path / "G.safetensors"))])
    assert same(dict(ours.networks["G"].state_dict()), dict(theirs.networks["G"].state_dict()))


def test_networks_whose_weights_come_from_outside_are_asked_for(tmp_path: Path) -> None:
    gan = compile(load_spec("stackgan-2", tiny=True))
    message = (
        "the weights of CA1 and G1 come from outside: --weights CA1=FILE --weights G1=FILE"
        " (or CA1=random, which goes on with weights that mean nothing)"
    )
    assert refused(gan, tmp_path / "run", iterations=1) == message
    assert "the weights of G1 come from outside: --weights G1=FILE (or" in refused(
        gan, tmp_path / "run", iterations=1, weights=["CA1=random"]
    )
    assert not (tmp_path / "run").exists()


def test_weights_from_outside_are_kept_in_the_run_and_not_asked_for_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    gan, given = (compile(load_spec("stackgan-2", tiny=True)) for _ in range(2))
    save_file(given.networks["CA1"].state_dict(), tmp_path / "CA1.safetensors")
    weights = {"CA1": tmp_path / "CA1.safetensors", "G1": "random"}
    train(gan, tmp_path / "run", iterations=1, weights=weights)
    again = compile(load_spec("stackgan-2", tiny=True))
    train(again, tmp_path / "run", iterations=2, resume=True)
    assert same(dict(again.networks["CA1"].named_parameters()), dict(given.networks["CA1"].named_parameters()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), "has no 0.bias, and G does"),
        (lambda w: w.update({"0.bias": torch.zeros(3)}), "0.bias is [3], and G has [64]"),
    ],
)
def test_external_weights_that_do_not_fit(tmp_path: Path, change: Any, message: str) -> None:
    weights = dict(StandIn().networks["G"].state_dict())
    change(weights)
    save_file(weights, tmp_path / "G.safetensors")
    with pytest.raises(RunError) as error:
        load_external(StandIn(), [("G", str(tmp_path / "G.safetensors"))])
    assert message in str(error.value)


def test_external_weights_that_are_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "G.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(RunError, match="is no safetensors file, or damaged"):
        load_external(StandIn(), [("G", str(tmp_path / "G.pt"))])


# --- samples ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    train(StandIn(), tmp_path / "run", iterations=2)
    monkeypatch.setattr(loop, "compiled", lambda *arguments, **options: StandIn(seed=5))
    return tmp_path / "run"


def test_samples_as_arrays(run: Path, tmp_path: Path) -> None:
    sample_run(run, 300, out=tmp_path / "x.npz")
    found = np.load(tmp_path / "x.npz")
    assert found.files == ["images"] and found["images"].shape == (300, 1, 8, 8)
    sample_run(run, 300, out=tmp_path / "y.npz")
    assert np.array_equal(np.load(tmp_path / "y.npz")["images"], found["images"])
    assert len(np.unique(found["images"].reshape(300, -1), axis=0)) == 300


def test_samples_as_a_grid(run: Path, tmp_path: Path) -> None:
    sample_run(run, 9, view="images", out=tmp_path / "x.png")
    assert size(tmp_path / "x.png") == (16 * 32, 16 * 32)


def test_samples_that_cannot_be(run: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"view": "faces"}, r"no view is called 'faces' \(there are images\)"),
        ({"out": tmp_path / "x.gif"}, "samples are written as .png or .npz"),
        ({"n": 0}, "-n is 0"),
        ({"out": tmp_path / "run/spec.yaml/x.png"}, "x.png: cannot be written"),
    ):
        with pytest.raises(RunError, match=message):
            sample_run(run, **({"out": tmp_path / "x.png"} | options))  # type: ignore[arg-type]
    with pytest.raises(RunError, match="is not the folder of a run"):
        sample_run(tmp_path / "nowhere")


def test_translations_stand_beside_their_inputs() -> None:
    inputs, outputs = torch.zeros(8, 1, 4, 4), torch.ones(8, 3, 4, 4)
    pairs, columns = pictures.alternating(inputs, outputs)
    assert columns == 4 and pairs.shape == (16, 3, 4, 4)
    assert pairs[0::2].max() == 0 and pairs[1::2].min() == 1


def test_a_picture_goes_from_black_to_white_over_the_range_of_its_view(tmp_path: Path) -> None:
    """A sigmoid's 0 is black, and what stands beside it is brought into the same range."""
    text = textwrap.dedent("""\
        gangraph: 1
        name: dark
        extends: vae
        inputs: {x: "image(1, 28, 28)"}
        graph:
          flat: reshape(x, X) / 2 + 0.5
          mu, logvar: Enc(flat)
        losses:
          rec: expect(sum(bce_logits(logits, flat)))
        sample:
          images: sigmoid(Dec(z_p))
          reconstructions: reshape(sigmoid(logits), 1, 28, 28)
        """)
    (tmp_path / "dark.yaml").write_text(text)
    gan = compile(tmp_path / "dark.yaml", tiny=True)
    with torch.no_grad():
        gan.named_parameters()["Dec.2.weight"].zero_()
        gan.named_parameters()["Dec.2.bias"].fill_(-50)
    data = gangraph.train.loop.fit("digits", gan.streams, gan.prepare, 4, 0)
    values, beside = samples(gan, "reconstructions", 4, data, 0)
    assert beside is not None and beside.min() == 0 and beside.max() == 1
    for view in gan.views:
        values, _ = samples(gan, view, 4, data, 0)
        found = pictures.png(values, None, gan.view_range(view))
        assert found is not None and np.asarray(Image.open(io.BytesIO(found))).max() == 24  # the lines between


def test_what_can_be_seen() -> None:
    for shape, seen in (((4, 3, 8, 8), True), ((4, 784), True), ((4, 2), True), ((4, 7), False), ((4, 5, 8, 8), True)):
        assert (pictures.png(torch.zeros(shape)) is not None) == seen


def test_a_picture_of_points_has_the_real_ones(tmp_path: Path) -> None:
    gan = StandIn(Spec(train={"batch": 16, "iterations": 2, "data": "mixture"}))
    gan.streams = {"data": {"x": Input("vector", (2,))}}
    data = loop.fit("mixture", gan.streams, {}, 16)
    gan.sample = lambda view, n, batch=None, seed=0: torch.zeros(n, 2)  # type: ignore[method-assign]
    made, real = samples(gan, "images", 20, data, 0)
    assert made.shape == (20, 2) and real is not None and real.shape == (20, 2)


def test_fewer_samples_are_shown_where_they_are_large() -> None:
    gan = StandIn()
    shown = {}
    for size in (28, 64, 128, 256, 1024):
        gan.streams = {"data": {"x": image(3, size, size)}}
        shown[size] = loop._shown(gan)
    assert shown == {28: 64, 64: 64, 128: 16, 256: 4, 1024: 4}


@pytest.mark.parametrize(("value", "rounded"), [(0.1, 1), (1, 1), (3, 2), (7, 5), (19, 10), (416, 200), (9999, 5000)])
def test_pictures_come_at_round_numbers(value: float, rounded: int) -> None:
    assert loop._round(value) == rounded


# --- metrics ------------------------------------------------------------------------------------------------------


def real_digits(count: int) -> np.ndarray:
    from gangraph.train.metrics import _real

    pixels, _ = _real("digits8")
    return pixels[np.random.default_rng(0).permutation(len(pixels))[:count]] * 2 - 1


def test_real_digits_are_good_and_are_copies() -> None:
    table = evaluate_digits(real_digits(500), "digits8")
    assert table["  as a share of that of real digits"] > 0.9
    assert table["copies of a real digit"] == 1
    assert not table.good and "MISSED" in str(table)


def test_slightly_changed_digits_are_good_and_new() -> None:
    changed = real_digits(500) + 0.1 * np.random.default_rng(1).standard_normal((500, 64))
    assert evaluate_digits(changed, "digits8").good


def test_noise_and_a_single_digit_are_not_good() -> None:
    noise = np.random.default_rng(0).standard_normal((500, 64))
    assert not evaluate_digits(noise, "digits8").good
    collapsed = real_digits(1).repeat(500, 0) + 0.3 * np.random.default_rng(1).standard_normal((500, 64))
    assert evaluate_digits(collapsed, "digits8")["  samples of the rarest class"] < 15


def test_digits_of_another_size_are_refused() -> None:
    with pytest.raises(RunError, match="samples of 784 pixels cannot be compared with digits8, which have 64"):
        evaluate_digits(torch.zeros(4, 1, 28, 28), "digits8")


# --- the folder ---------------------------------------------------------------------------------------------------


def test_a_run_that_is_not_begun_writes_nothing(tmp_path: Path) -> None:
    assert Run(tmp_path / "run").open(resume=False) is None
    assert not (tmp_path / "run").exists()


def test_the_command_line_of_the_demo_is_one_line_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").write_text("")
    code = textwrap.dedent("from gangraph.train.demo import main; raise SystemExit(main())")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
