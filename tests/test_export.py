"""What a run has learned, taken away: the files of `export` serve the program alone, and another run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import gangraph
from gangraph import files
from gangraph.__main__ import main
from gangraph.errors import RunError
from gangraph.train import export_run, sample_run, train
from gangraph.train.checkpoint import load

# A part that two networks hold, one of them three times; averages of both kinds.
SPEC = """
gangraph: 1
name: away
extends: gan
networks:
  S: [Linear(4), Tanh()]
  T: {inputs: [z], output: S(S(Linear(4)(z)))}
  G:
    inputs: [z]
    graph: {h: T(z), k: S(Linear(4)(z))}
    output: [h + k, Linear(3), BatchNorm1d(), Linear(2)]
averages:
  G_ema: average(G, decay=0.9)
  G_zero: average(G, decay=0.9, start="zeros")
players: {G: {networks: [G, S, T]}}
sample: {points: G_ema(z), others: G_zero(z)}
train: {batch: 8}
"""
ALONE = """
import sys
class Refused:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "gangraph":
            raise ImportError("no gangraph here")
sys.meta_path.insert(0, Refused())
sys.path.insert(0, "out")
import numpy, program, torch
from safetensors.torch import load_file
torch.set_num_threads(1)
torch.manual_seed(5)
game = program.Away()
for kind in (game.networks, game.averages):
    for name, network in kind.items():
        network.load_state_dict(load_file(f"out/{name}.safetensors"))
numpy.savez("alone.npz", **{view: game.sample(view, 20) for view in game.views})
assert "gangraph" not in sys.modules
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "away.yaml").write_text(SPEC)
    train(folder / "away.yaml", out=folder / "run", iterations=2, quiet=True, diagram=lambda spec: None)
    return folder / "run"


def error(*arguments: Any) -> str:
    with pytest.raises(RunError) as caught:
        export_run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_program_alone_loads_the_weights_and_samples_the_same(run: Path, tmp_path: Path) -> None:
    assert export_run(run, tmp_path / "out") == tmp_path / "out"
    names = ["D", "G", "G_ema", "G_zero", "S", "T"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [*(f"{n}.safetensors" for n in names), "program.py"]
    assert (tmp_path / "out/program.py").read_bytes() == (run / "program.py").read_bytes()
    command = [sys.executable, "-I", "-c", ALONE]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    sample_run(run, n=20, out=tmp_path / "run.npz")
    alone, ours = np.load(tmp_path / "alone.npz"), np.load(tmp_path / "run.npz")
    assert sorted(alone.files) == sorted(ours.files) == ["others", "points"]
    assert all(np.array_equal(alone[view], ours[view]) for view in ours.files)


def test_another_run_begins_with_them_and_so_does_what_averages_them(run: Path, tmp_path: Path) -> None:
    out = export_run(run, tmp_path / "out")
    given = {"G": out / "G.safetensors"}
    spec = run.parent / "away.yaml"
    train(spec, out=tmp_path / "run", iterations=1, seed=9, weights=given, quiet=True, diagram=lambda spec: None)
    begun = load(tmp_path / "run/checkpoints/000000.safetensors")["gan"]
    for name, tensor in load_file(out / "G.safetensors").items():
        assert torch.equal(begun["networks"][f"G.{name}"], tensor), name
        assert torch.equal(begun["averages"][f"G_ema.{name}"], tensor), name
    assert all(not tensor.any() for name, tensor in begun["averages"].items() if name == "G_zero.T.0.weight")


def test_the_command_says_where_the_files_are(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    for arguments, folder in ([], Path("run/export")), (["-o", str(tmp_path)], tmp_path):
        with pytest.raises(SystemExit) as ended:
            main(["export", "run", *arguments])
        assert ended.value.code == 0 and capsys.readouterr().out == f"{folder}\n"
        assert gangraph.load(run.parent / "away.yaml").program.source == (folder / "program.py").read_text()


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(run: Path, tmp_path: Path) -> None:
    assert error(tmp_path / "nowhere").endswith("nowhere is not the folder of a run: it has no spec.yaml")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/spec.yaml").write_text((run / "spec.yaml").read_text())
    assert error(tmp_path / "begun").endswith("begun has no checkpoint yet")
    (tmp_path / "file").write_text("mine")
    assert error(run, tmp_path / "file").endswith("file: cannot be written: Not a directory")
    (tmp_path / "out/S.safetensors").mkdir(parents=True)
    (tmp_path / "out/G.safetensors").write_text("mine")
    assert error(run, tmp_path / "out").endswith("S.safetensors is a folder, and a file is written")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["G.safetensors", "S.safetensors"]
    assert (tmp_path / "out/G.safetensors").read_text() == (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_nothing_half_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_run(run, tmp_path / "before")
    kept = {p: p.read_bytes() for p in (tmp_path / "before").iterdir()}
    written: list[int] = []

    def full(handle: int) -> None:
        written.append(handle)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    assert error(run, tmp_path / "new").endswith("new: cannot be written: No space left on device")
    assert not (tmp_path / "new").exists()
    written.clear()
    assert error(run, tmp_path / "before").endswith("before: cannot be written: No space left on device")
    assert {p: p.read_bytes() for p in (tmp_path / "before").iterdir()} == kept
