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


LOOKING = """
gangraph: 1
name: looking
inputs: {x: vector(2)}
draws: {z: normal(3)}
networks:
  G: [SpectralNorm(Linear(4)), BatchNorm1d(), ReLU(), Dropout(0.5), Linear(2)]
  D: mlp([4, 1])
  F: {is: "mlp([3])", frozen: true}
graph:
  fake: G(z)
losses:
  adv: hinge(real=D(x), fake=D(fake))
  feature: l2(expect(F(x)), expect(F(fake)))
players:
  D: {networks: [D], optimizer: Adam(lr=1e-3)}
  G: {networks: [G], optimizer: Adam(lr=1e-3)}
schedule:
  D: {minimize: adv.discriminator, repeat: 2, batch: fresh}
  G: adv.generator + feature
averages:
  G_ema: average(G, decay=0.9)
sample: {images: training(G)(z), averaged: training(G_ema)(z), same: x}
train: {batch: 4}
"""


def test_to_look_at_a_program_changes_nothing(tmp_path: Path) -> None:
    """A view in training mode moves running statistics, and the `u` of a spectral norm, as good as a weight."""
    game = build(written(tmp_path, LOOKING)).game
    before = {k: v.clone() for k, v in (game.networks.state_dict() | game.averages.state_dict()).items()}
    first = game.sample("images", 4, seed=1)
    game.sample("averaged", 4, seed=2)
    assert same(before, game.networks.state_dict() | game.averages.state_dict())
    assert torch.equal(game.sample("images", 4, seed=1), first)
    assert game.G.training and not game.averages["G_ema"].training


def test_a_view_of_a_batch_has_as_many_samples_as_the_batch(tmp_path: Path) -> None:
    game = build(written(tmp_path, LOOKING)).game
    with pytest.raises(ValueError, match="3 samples are asked for, and the batch has 4"):
        game.sample("same", 3, {"x": torch.zeros(4, 2)})


def test_nobody_differentiates_by_a_frozen_network(tmp_path: Path) -> None:
    game = build(written(tmp_path, LOOKING)).game
    wanted = {name: all(p.requires_grad for p in network.parameters()) for name, network in game.networks.items()}
    assert wanted == {"G": True, "D": True, "F": False}


@pytest.mark.parametrize("name", ["f", "evaluation", "noise", "dropout", "spectral-norm", "game", "own-draws", "list"])
def test_a_system_may_be_called_like_something_in_its_program(name: str, tmp_path: Path) -> None:
    text = (ROOT / "specs" / "gan.yaml").read_text().replace("name: gan", f"name: {name}", 1)
    layers = "\n  - SpectralNorm(Linear(4)), Dropout(0.1), concat(_, silu(_)), Linear(1)"
    text = text.replace(" mlp([width, width, 1], act=LeakyReLU(0.2))", layers)
    gan = build(written(tmp_path, text))
    assert "F.silu(" in gan.source and "class Dropout(" in gan.source
    iterate(gan, 4)


def test_a_network_by_itself_needs_no_draws(tmp_path: Path) -> None:
    """In evaluation mode nothing is drawn; in training mode torch's own generator draws."""
    game = build(written(tmp_path, LOOKING)).game
    z = torch.randn(5, 3, dtype=torch.float64)
    assert game.G.eval()(z).shape == (5, 2)
    assert torch.equal(game.G(z), game.G(z))
    assert not torch.equal(game.G.train()(z), game.G(z))


def test_too_few_batches_are_said_before_anything_moves(tmp_path: Path) -> None:
    gan = build(written(tmp_path, LOOKING))
    before = {k: v.clone() for k, v in gan.networks.state_dict().items()}
    with pytest.raises(ValueError, match="this iteration takes 2 batches, and got 1"):
        gan.step(batches(gan, 4)[:1])
    assert same(before, gan.networks.state_dict())


def test_an_epoch_passes_once_its_length_is_known(tmp_path: Path) -> None:
    gan = build(written(tmp_path, LOOKING))
    given = batches(gan, 4)
    gan.step(given)
    assert (gan.clocks["epoch"], gan.clocks["epoch_step"]) == (0, 1)
    gan.clocks["epoch_steps"] = 3
    seen = []
    for _ in range(4):
        gan.step(given)
        seen.append((gan.clocks["epoch"], gan.clocks["epoch_step"]))
    assert seen == [(0, 2), (1, 0), (1, 1), (1, 2)]


def test_iterations_of_neighbouring_seeds_share_no_noise(tmp_path: Path) -> None:
    def drawn(seed: int, step: int) -> torch.Tensor:
        torch.manual_seed(seed)
        gan.clocks["step"] = step
        gan.game.begin(None, None, None)
        return gan.game.draws("G").normal("z", 4, 3)

    gan = build(written(tmp_path, LOOKING))
    assert not torch.equal(drawn(7, 1), drawn(8, 0)) and torch.equal(drawn(7, 1), drawn(7, 1))


def test_what_is_loaded_is_where_the_program_is() -> None:
    """Pools and states too; and a stage that was entered since is forgotten."""
    gan = build("cyclegan", tiny=True)
    iterate(gan, 2, 0)
    saved = gan.to(torch.float32).state_dict()
    other = build("cyclegan", tiny=True)
    other.load_state_dict(saved)
    assert {s.dtype for pool in other.game.pools.values() for s in pool.samples} == {torch.float64}
    growing = build("stylegan", tiny=True, sizes={"span": 4})
    start = growing.state_dict() | {"clocks": dict(growing.clocks)}
    start = {k: {n: v.clone() if torch.is_tensor(v) else v for n, v in part.items()} for k, part in start.items()}
    for i in range(4):
        iterate(growing, 2, i)
    assert growing.clocks["stage"] > 0
    growing.load_state_dict(start)
    assert growing.clocks["stage"] == 0 and same(start["networks"], growing.networks.state_dict())


INSIDE = """
gangraph: 1
name: inside
inputs: {x: vector(3)}
draws: {z: normal(4)}
networks:
  G: [Linear(8), ReLU(), Linear(3)]
  E:
  - body: Linear(8)
  - norm: BatchNorm1d()
  - ReLU()
  D:
    inputs: [v]
    graph:
      whole: E(v)
      part: VIEW
    output:
    - whole + part
    - Linear(1)
graph:
  fake: G(z)
  pairs: batch_split([fake, x], 2)
losses:
  adv: lsgan(real=D(pairs[1][1]), fake=D(pairs[0][0]))
state:
  m: {start: 0, becomes: 'expect(mean(upto(E, "body")(x)))', in: [D]}
players:
  D: {networks: [D, E], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=m * 0.1 + 0.2)}
schedule:
  D: adv.discriminator
  G: adv.generator
train: {batch: 4}
"""


@pytest.mark.parametrize("view", ['upto(E, "norm")(v)', 'statistics(E, "other")(v)'])
def test_a_view_inside_of_a_network_or_a_state_means_the_same(view: str, tmp_path: Path) -> None:
    from gangraph.verify import verify

    report = verify(written(tmp_path, INSIDE.replace("VIEW", view)), cases=1)
    assert report.good, report
