"""Emitted programs: torch and nothing else, clean by the project's linter, the same numbers and text each time."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from support import SYSTEMS, batches, build, iterate, written

from gangraph.code import fit
from gangraph.compiler import load

ROOT = Path(__file__).parent.parent
SIZES = [pytest.param(s, t, id=f"{s}{'-tiny' if t else ''}") for s in SYSTEMS for t in (True, False)]


def source(system: str, tiny: bool = True) -> str:
    return load(system, tiny=tiny).program.source


@pytest.mark.parametrize("system, tiny", SIZES)
def test_a_program_imports_torch_and_nothing_else(system: str, tiny: bool) -> None:
    modules = set()
    for node in ast.walk(ast.parse(source(system, tiny))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    assert {m.split(".")[0] for m in modules} == {"torch"}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_program_detaches_and_switches_nothing_that_routing_derives(system: str) -> None:
    """No zero_grad, no backward, no toggling of requires_grad in the methods of the system itself."""
    text = source(system)
    own = text[text.index("(Game):") :]
    assert ".backward(" not in text and "zero_grad" not in text and "requires_grad = " not in text
    written = {"stargan-v2": 2, "stackgan-1": 1, "stackgan-2": 1, "stargan-v2-masked": 4, "cd-gan": 4}
    stops = written.get(system, 0)  # of the spec itself
    assert own.count(".detach()") == own.count(".detach().requires_grad_()") + stops  # leaves of inner derivatives
    assert "gangraph" not in text.replace("Made by gangraph", "") and ".cuda" not in text and '"cpu"' not in text


def test_the_programs_pass_the_projects_linter_and_formatter(tmp_path: Path) -> None:
    for system in SYSTEMS:
        for tiny in (True, False):
            (tmp_path / f"{system.replace('-', '_')}{'_tiny' if tiny else ''}.py").write_text(source(system, tiny))
    for command in (["check"], ["format", "--check", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
        done = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def test_a_long_sum_of_two_opens_its_last_bracket_as_the_formatter_does() -> None:
    first, last = "a" * 50, f"({'b' * 30} + {'c' * 30})"
    assert fit(f"objective = {first} + rate * {last}", 8) == [
        f"        objective = {first} + rate * (",
        f"            {last[1:-1]}",
        "        )",
    ]
    assert fit(f"objective = {first} - one + rate * {last}", 8) == [
        "        objective = (",
        *(f"            {piece}" for piece in (first, "- one", f"+ rate * {last}")),
        "        )",
    ]


def test_chains_and_choices_break_as_the_formatter_breaks_them() -> None:
    long = "a" * 50
    assert fit(f"gx = F.pad(F.interpolate({long}, size=(1, 128))[None], ({long}, -32))[0].transpose(1, 2)", 8) == [
        "        gx = F.pad(",
        f"            F.interpolate({long}, size=(1, 128))[None],",
        f"            ({long}, -32),",
        "        )[0].transpose(1, 2)",
    ]
    word = "a" * 40
    choice = f'"best": min({word}, {word}) if self.clocks["step"] else self.state["best"]'
    assert fit(f"self.state.update({{{choice}}})", 8) == [
        "        self.state.update(",
        "            {",
        f'                "best": min({word}, {word})',
        '                if self.clocks["step"]',
        '                else self.state["best"]',
        "            }",
        "        )",
    ]


RUN = """
import sys
sys.path = [p for p in sys.path if p and "work" not in p]
class Refused:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "gangraph":
            raise ImportError("no gangraph here")
sys.meta_path.insert(0, Refused())
import io, runpy, torch
torch.set_num_threads(1)
for path in sys.argv[1:]:
    kept, sys.stdout = sys.stdout, io.StringIO()
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")
    printed, sys.stdout = sys.stdout.getvalue(), kept
    print("===", path)
    print(printed)
assert "gangraph" not in sys.modules
"""


def test_the_programs_run_where_there_is_no_gangraph(tmp_path: Path) -> None:
    """Each as a main program, in an empty folder; one process for all, because torch's import is slow."""
    for system in SYSTEMS:
        (tmp_path / f"{system}.py").write_text(source(system))
    names = [f"{system}.py" for system in SYSTEMS]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-I", "-c", RUN.replace('if p and "work" not in p', ""), *names]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = done.stdout.split("=== ")[1:]
    assert len(printed) == len(SYSTEMS)
    for system, text in zip(SYSTEMS, printed, strict=True):
        lines = text.splitlines()
        assert lines[0] == f"{system}.py" and any("parameters" in line for line in lines)
        values = [float(line.split(" = ")[1]) for line in lines if " = " in line]
        assert values and all(abs(v) < 1e9 for v in values), system


def test_a_program_is_a_main_program(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(source("gan"))
    done = subprocess.run([sys.executable, "-I", "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.startswith("gan: Generative Adversarial Nets") and "G = " in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["program.py"]


def executed(text: str) -> types.ModuleType:
    module = types.ModuleType("executed_program")
    exec(compile(text, "program.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_text_gives_the_numbers_of_the_compiled_object(system: str) -> None:
    gan = build(system, tiny=True, constants={"n_critic": 2} if system == "wgan-gp" else None)
    module = executed(gan.source)
    game = getattr(module, gan.spec.program.title)()
    game.to(torch.float64)
    game.networks.load_state_dict(gan.networks.state_dict())
    game.averages.load_state_dict(gan.averages.state_dict())
    for iteration in range(2):
        given = batches(gan, 2, iteration)
        one, two = gan.step(given, seed=iteration), game.step(given, seed=iteration)
        assert list(one) == list(two) and all(torch.equal(one[k], two[k]) for k in one)
    assert same(gan.state_dict(), game.state_dict())


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


EMIT = """
import sys
from gangraph.code import fit
from gangraph.compiler import load
for name in sys.argv[1:]:
    for tiny in (True, False):
        sys.stdout.write(load(name, tiny=tiny).program.source)
"""


def test_emission_is_the_same_in_every_process() -> None:
    texts = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", EMIT, *SYSTEMS]
        texts.append(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert texts[0] == texts[1] and len(texts[0]) > 100_000
    here = "".join(source(s, t) for s in SYSTEMS for t in (True, False))
    assert texts[0].decode() == here


@pytest.mark.parametrize("system", SYSTEMS)
def test_three_iterations_and_three_more_are_six(system: str, tmp_path: Path) -> None:
    faster = {"stylegan": {"sizes": {"span": 4}}, "wgan-gp": {"constants": {"n_critic": 2}}}  # stages end on the way
    options: dict[str, Any] = faster.get(system, {})
    whole, first = build(system, tiny=True, **options), build(system, tiny=True, **options)
    for i in range(6):
        iterate(whole, 2, i)
    for i in range(3):
        iterate(first, 2, i)
    torch.save(first.state_dict(), tmp_path / "saved.pt")
    second = build(system, seed=99, tiny=True, **options)
    iterate(second, 2, 50)  # a program that has been somewhere else
    second.load_state_dict(torch.load(tmp_path / "saved.pt", weights_only=True))
    assert same(first.state_dict(), second.state_dict())
    for i in range(3, 6):
        iterate(second, 2, i)
    assert same(whole.state_dict(), second.state_dict())
    if system == "stylegan":
        assert whole.clocks["stage"] > 0


@pytest.mark.parametrize("system", ["cyclegan", "stargan-v2", "stylegan"])
def test_what_was_saved_does_not_change_when_training_goes_on(system: str) -> None:
    """A state_dict shares tensors with the program, as torch's do; a pool's list does not grow."""
    gan = build(system, tiny=True)
    iterate(gan, 2, 0)
    saved = gan.state_dict()
    sizes = {name: len(pool) for name, pool in saved["pools"].items()}
    clocks, state = dict(saved["clocks"]), set(saved["state"])
    iterate(gan, 2, 1)
    assert {name: len(pool) for name, pool in saved["pools"].items()} == sizes
    assert saved["clocks"] == clocks and set(saved["state"]) == state


def test_a_long_sum_in_brackets_breaks_inside_them() -> None:
    """`(a + b).mean()`, as a formatter breaks it."""
    inner = " + ".join(["some_value"] * 5)
    line = f"loss = ({inner}).mean()"
    assert fit(line, 4, width=70) == ["    loss = (", f"        {inner}", "    ).mean()"]
    assert fit(line, 4, width=120) == ["    " + line]


def test_the_first_parameter_of_a_network_is_read_as_the_linter_wants_it(tmp_path: Path) -> None:
    """Not `list(...)[0]`, which ruff refuses."""
    text = "gangraph: 1\nname: first\nextends: gan\nlosses:\n  size: sum(parameter('D.0.weight')**2)\n"
    text += "schedule:\n  D: {minimize: adv.discriminator + size}\n"
    (tmp_path / "first.yaml").write_text(text)
    program = load(tmp_path / "first.yaml").program.source
    assert "next(iter(self.D.parameters())).square().sum()" in program and "parameters())[0]" not in program


def test_a_count_of_batches_by_itself_has_no_brackets(tmp_path: Path) -> None:
    text = "gangraph: 1\nname: burst\nextends: gan\nschedule:\n"
    text += "  D: {minimize: adv.discriminator, repeat: 3 if step < 2 else k, batch: fresh}\n"
    (tmp_path / "burst.yaml").write_text(text)
    assert "        return 3 if " in load(tmp_path / "burst.yaml").program.source


def test_a_view_may_be_an_input_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text("gangraph: 1\nname: bare\nextends: gan\nsample: {real: x}\n")
    gan = build(tmp_path / "bare.yaml", tiny=True)
    x = torch.rand(3, 2, dtype=torch.float64)
    assert torch.equal(gan.sample("real", 3, {"x": x}), x)


CONDITIONS = """
gangraph: 1
name: conditions
inputs: {x: vector(2)}
networks:
  A: [Linear(2)]
losses:
  near: expect(l2(A(x), x))
players:
  P: {networks: [A], optimizer: Adam(lr=1e-3)}
schedule:
  third:
    when: step % 3 == 2
    moves:
      one: {player: P, minimize: near}
      two: {player: P, minimize: near}
      three: {player: P, minimize: near}
  P: near
train: {batch: 2}
"""


def test_moves_of_one_condition_count_their_batch_once(tmp_path: Path) -> None:
    gan = build(written(tmp_path, CONDITIONS))
    count = gan.source.split("def fetches(self):")[1].split("    def ")[0].split("def main")[0]
    assert count.count("% 3 == 2") == 2, count
    for step in range(6):
        gan.clocks["step"] = step
        assert gan.fetches() == 1
