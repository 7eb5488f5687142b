"""Verification itself: what it looks at, how it reports, and that it finds what is wrong."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import written

import gangraph
from gangraph import testing
from gangraph.compiler import load
from gangraph.emit import emit
from gangraph.equations import equations
from gangraph.errors import RunError
from gangraph.reference.tape import Tape
from gangraph.schedule import plan_schedule
from gangraph.verify import verify
from gangraph.verify.bench import Bench, Subject
from gangraph.verify.cases import Case
from gangraph.verify.properties import compare
from gangraph.verify.rounding import SIZE, Noisy


def test_verify_shrinks_a_difference_to_the_smallest_case(tmp_path: Path) -> None:
    """A fault that shows in batches of more than one sample is reported for the smallest of them."""
    spec = load("gan", tiny=True)
    source = spec.program.source.replace(".mean() + ", ".sum() + ", 1)
    report = gangraph.verify(spec, cases=8, program=written(tmp_path, source, "edited.py"))
    first = report.rows[1].differences[0]
    assert first.case.startswith("seed 0, batch of ") and "usual weights" in first.case
    assert "batch of 1," not in first.case


GATED = """
gangraph: 1
name: gated
extends: gan
schedule:
  G: {minimize: adv.generator, when: adv.discriminator > 1.35 or adv.discriminator < 0.7}
"""


def test_a_condition_is_tried_on_both_sides_of_where_it_turns(tmp_path: Path) -> None:
    """Each comparison that a condition hangs on is, so that another threshold is seen."""
    spec = load(written(tmp_path, GATED), tiny=True)
    bench = Bench(spec)
    assert len(bench.edges) == 4
    for before, behind, threshold in zip(bench.edges[::2], bench.edges[1::2], (1.35, 0.7), strict=True):
        values = [bench.at(case).exact.iterations[0].log["D/adv.discriminator"] for case in (before, behind)]
        assert min(values) <= threshold <= max(values) and max(values) - min(values) < 0.05
    for old, new in (("> 1.35", "> 1.4"), ("< 0.7", "< 0.65")):
        assert old in spec.program.source
        edited = written(tmp_path, spec.program.source.replace(old, new), "edited.py")
        assert verify(spec, cases=24, program=edited).rows[3].verdict == "differs", new


SHOWN = """
gangraph: 1
name: shown
extends: gan
networks: {G: ["Linear(4), BatchNorm1d(), Dropout(0.5), Linear(X)"]}
sample: {points: fake}
averages: {G_ema: "average(G, decay=0.5)"}
metrics:
  error: unexplained(G(z), x)
  level: ["training(G)(z)", mean(_)]
stages:
  first: {iterations: 2}
  second: {metrics: {error: "expect(l1(fake, x))"}}
"""


def test_views_and_metrics_are_compared_in_every_stage(tmp_path: Path) -> None:
    spec = load(written(tmp_path, SHOWN), tiny=True)
    row = verify(spec, cases=4).rows[7]
    assert row.verdict == "agrees" and row.cases == 4 and 0 < row.deviation < 1e-12
    text = spec.program.source
    start = text.index("    def view_")
    for old, new in (
        ('self.averages["G_ema"](', "self.G("),  # a sample of the network itself
        ("training=True", "training=False"),
        (".abs()", ""),
        ("x.mean(dim=0)", "x.mean()"),
    ):
        assert old in text[start:], old
        edited = written(tmp_path, text[:start] + text[start:].replace(old, new, 1), "edited.py")
        report = verify(spec, cases=2, program=edited)
        assert [row.number for row in report.rows.values() if row.differences] == [7], (old, str(report))


def test_verify_refuses_a_program_that_cannot_be_loaded(tmp_path: Path) -> None:
    for text, message in (
        ("x = (", "does not load: SyntaxError"),
        ("exit()", "does not load: SystemExit"),
        ("", "no class Gan"),
    ):
        with pytest.raises(RunError, match=message):
            verify(load("gan", tiny=True), program=written(tmp_path, text, "edited.py"))


def test_an_unplanned_program_saves_nothing() -> None:
    spec = load("dcgan", tiny=True)
    plain = emit(tuple(plan_schedule(r, planned=False) for r in spec.routings)).source
    ours, others = (text[text.index("def evaluate_D") :] for text in (spec.program.source, plain))
    assert "no_grad" in ours and "no_grad" not in others and "yield" not in others


def test_noise_of_float32_is_of_its_size_and_reaches_backward() -> None:
    x = torch.linspace(1, 2, 7, dtype=torch.float64, requires_grad=True)
    exact = torch.autograd.grad((x**3).sum(), x)[0]
    with Noisy(0):
        shaken = torch.autograd.grad((x**3).sum(), x)[0]
    off = ((shaken - exact) / exact).abs()
    assert 0 < off.max() < 10 * SIZE


@pytest.mark.parametrize("function", [torch.log_softmax, torch.logsumexp])
def test_noise_of_float32_is_inside_what_sums_and_takes_the_logarithm(function: Any) -> None:
    """log(1 + 6e-6), which is as far off as 1 + 6e-6."""
    x = torch.tensor([[0.0, -12.0]], dtype=torch.float64)
    single = (function(x.float(), 1).double() - function(x, 1)).flatten()[0].abs()
    with Noisy(0):
        shaken = function(x, 1)
    assert (shaken - function(x, 1)).flatten()[0].abs() > single > 1e-9


# --- gangraph.testing, and the plugin of pytest

ASK = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))


@seed(0)
@settings(ASK, max_examples=300)
@given(testing.specs())
def test_random_specs_are_valid_and_compile(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = load(written(Path(folder), text))
        assert not spec.warnings, text
        compile(spec.program.source, "program.py", "exec")


@seed(1)
@settings(ASK, max_examples=12)
@given(testing.specs())
def test_random_specs_mean_what_they_say(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        testing.assert_matches_reference(written(Path(folder), text), cases=2)


@pytest.mark.deep
@seed(2)
@settings(ASK, max_examples=2000)
@given(testing.specs())
def test_many_random_specs_mean_what_they_say(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        testing.assert_matches_reference(written(Path(folder), text), cases=3)


def test_several_processes_find_what_one_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With every setting: the processes get the spec as it was changed here, and tell of each case."""
    monkeypatch.setattr("gangraph.verify.explore.WORTH", 0.0)
    spec, seen = load(written(tmp_path, GATED), tiny=True, batch_size=3), list[int]()
    one = verify(spec, cases=2)
    several = verify(spec, cases=2, workers=2, progress=seen.append)
    assert several.good and several.rows == one.rows
    assert sorted(seen) == sorted(number for number, row in one.rows.items() for _ in range(row.cases))
    edited = written(tmp_path, spec.program.source.replace(".mean() + ", ".sum() + ", 1), "edited.py")
    assert verify(spec, cases=2, program=edited, workers=2).rows == verify(spec, cases=2, program=edited).rows


def test_a_process_that_ends_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gangraph.verify.explore.WORTH", 0.0)

    def kill(number: int) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(RunError, match="has ended before its work"):
        verify("gan", tiny=True, cases=20, workers=2, progress=kill)


def test_what_cancels_to_zero_on_one_side_alone_is_no_difference() -> None:
    """One of the random specs: terms that cancel leave 0 in the reference, and 2e-19 in the program."""
    bench = Bench(load(Path(__file__).parent / "data" / "cancels.yaml"))
    compared = compare(3, Subject(bench), Case(1, weights="zero", seed=4178))
    assert not compared.differences and compared.deviation < 1e-12


@pytest.mark.parametrize(
    ("name", "number", "case"),
    [
        ("munit", 7, Case(1, weights="large", data="zero", seed=2069)),  # norms of flat maps make rounding large
        ("flat", 3, Case(1, weights="large", data="zero", seed=2)),
        ("kink", 3, Case(4, weights="sparse", data="ties", seed=26)),  # equal samples, at the kink behind a norm
        ("cogan", 6, Case(2, weights="large", data="zero")),  # noise of float32 is larger than the gradients
    ],
)
def test_where_rounding_decides_nothing_differs(name: str, number: int, case: Case) -> None:
    path = Path(__file__).parent / "data" / f"{name}.yaml"
    bench = Bench(load(path) if path.is_file() else load(name, tiny=True))
    assert not compare(number, Subject(bench), case).differences


SMALL = """
gangraph: 1
name: small
inputs: {x: vector(2)}
draws: {z: normal(2)}
networks: {G: Linear(2), D: Linear(1)}
players:
  G: {networks: [G], optimizer: SGD(lr=0.1)}
  D: {networks: [D], optimizer: Adam(lr=1e-3)}
sample: {points: G(z)}
train: {batch: 4, data: mixture}
"""


@pytest.mark.parametrize(
    "rest",
    {
        "a pairwise distance": """
graph:
  far: sum((reshape(samples_of(G(z)), -1, 1, 2) - reshape(samples_of(x), 1, -1, 2))**2, dim=3)
losses: {mmd: mean(exp(-far)), rec: expect(mean(D(x)**2))}
schedule: {G: -mmd, D: rec}
""",
        "a state that becomes a parameter": """
state: {old: {start: "zeros(2, 2)", becomes: w, in: [G]}}
graph: {w: "weights(G)[0]", fake: G(z)}
losses: {rec: "expect(l2(fake, x)) + sum((w - old)**2)", score: expect(mean(D(x)**2))}
schedule: {G: rec, D: score}
""",
        "a mean of one entry whose axis is read": """
state: {k: {start: "zeros(1)", becomes: 0.5 * k + a, in: [G]}}
graph: {a: expect(D(G(z))), b: expect(D(x)), c: "concat(a, 2 * b)", m: "matmul(a, zeros(1, 3) + 1)"}
losses: {rec: "sum(c**2) + sum(m**2) + sum(k * a) + expect(mean(a * x))", score: expect(mean(D(x)**2))}
schedule: {G: rec, D: score}
metrics: {level: expect(D(x))}
""",
        "a step ahead": """
graph: {fake: G(z), judged: expect(D(x))}
losses:
  gen: -expect(mean(given(D, weights(D) - 0.1 * grad(judged, weights(D)))(fake)))
  dis: expect(mean(D(fake))) - mean(judged)
schedule: {G: gen, D: dis}
""",
        "a derivative by a part": """
graph: {half: "batch_split(x, 2)[0]", d: D(half), both: "split(x, 2)", e: "D(concat(both[0], both[1]))"}
losses: {rec: "expect(l2(G(z), x))", pen: "expect(sum(grad(d, half)**2)) + expect(sum(grad(e, both[1])**2))"}
schedule: {G: rec, D: pen + expect(mean(d**2)) + expect(mean(e))}
""",
        "a slice of a family": """
index: {t: [0, 1, 2]}
graph: {"h[t]": G(z) * t}
losses: {rec: "add(expect(l2(h[1:3], x))) + expect(mean(stack(h[:2])))", score: expect(mean(D(x)**2))}
schedule: {G: rec, D: score}
""",
        "a group of one phase, in a stage that draws nothing": """
losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2))}
schedule: {G: rec, judged: {together: {D: {minimize: score, when: score > 0.01}}}}
stages: {first: {iterations: 1, schedule: {G: ~}}, then: {sample: {more: 2 * G(z)}}}
""",
        "functions of a number": """
constants: {s: 2}
losses: {rec: "softplus(s) * gelu(s) * expect(l2(G(z), x))", score: softplus(step - 1) * expect(mean(D(x)**2))}
schedule: {G: rec, D: score}
""",
        "a repeat by a clock": """
losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2))}
schedule: {G: {minimize: rec, repeat: 1 + abs(step - 2)}, D: score}
""",
        "a choice by a clock": """
graph: {fake: G(z), target: "where(step < 1, x, stop(fake) + x)", other: "x if step % 2 == 0 else 2 * x"}
losses: {rec: "expect(l2(fake, target)) + expect(l1(fake, other))", score: expect(mean(D(x)**2))}
schedule: {G: rec, D: score}
""",
        "losses that are numbers": """
losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2)), half: 0.5, late: half * step}
state: {s: {start: 0, becomes: s + late}, t: {start: 0, becomes: 2 * half, in: [judged]}}
schedule: {G: rec + late, judged: {together: {D: {minimize: score * half, when: late > 0.1}}}}
""",
        "a derivative by a loss": """
losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2)), two: score**2, all: "grad(two, score) * score"}
schedule: {G: "rec + grad(rec, rec)", D: all}
""",
    }.items(),
    ids=lambda item: item[0],
)
def test_what_readers_wrote_means_what_it_says(rest: tuple[str, str], tmp_path: Path) -> None:
    """Each was once a program that crashed, or meant something else."""
    (tmp_path / "small.yaml").write_text(SMALL + rest[1])
    testing.assert_matches_reference(tmp_path / "small.yaml", cases=3)


def test_what_an_optimizer_keeps_in_float32_stays_so_after_a_snapshot(tmp_path: Path) -> None:
    text = SMALL.replace("SGD(lr=0.1)", '"NAdam(lr=0.1, momentum_decay=0.1)"')
    text += 'losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2))}\nschedule: {G: rec, D: score}\n'
    testing.assert_matches_reference(written(tmp_path, text), cases=3)


def test_a_group_updates_states_after_all_its_steps(tmp_path: Path) -> None:
    text = SMALL.replace("SGD(lr=0.1)", "SGD(lr=0.1 * s)")
    text += """
losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2))}
state: {s: {start: 0.1, becomes: score, in: [D]}, t: {start: 0, becomes: t + rec, in: [both]}}
schedule: {both: {together: {D: score, G: rec}}}
"""
    testing.assert_matches_reference(written(tmp_path, text), cases=2)


def test_a_wrapper_stands_in_a_wrapper(tmp_path: Path) -> None:
    text = SMALL.replace("D: Linear(1)", "D: SpectralNorm(WeightNorm(Linear(1)))")
    text += 'losses: {rec: "expect(l2(G(z), x))", score: expect(mean(D(x)**2))}\nschedule: {G: rec, D: score}\n'
    (tmp_path / "small.yaml").write_text(text)
    assert "D.first.weight_g" in gangraph.load(tmp_path / "small.yaml").graph.parameters(["D"])
    testing.assert_matches_reference(tmp_path / "small.yaml", cases=3)


def test_a_network_may_be_called_as_torch_calls_its_functions(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: named
extends: gan
constants: {s: 2}
blocks:
  noted(n): ["Linear(n, weight=normal(0, 0.02))"]
networks:
  f: ["Linear(8), LeakyReLU(0.2), softplus(_)"]
  G: ["f, noted(2)"]
  D: {inputs: [x], output: "mlp([width, 1])(x) - log(s)"}
players: {G: {networks: [G, f], after.G: "clamp(p, -9, 9)"}}
"""
    (tmp_path / "named.yaml").write_text(text)
    testing.assert_matches_reference(tmp_path / "named.yaml", tiny=True, cases=2)


def test_batches_that_the_spec_refuses_are_not_tried(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: pairs
sizes: {B: 4}
inputs: {x: vector(3)}
networks:
  E: Linear(2)
  w: Parameter(B)
losses:
  l: sum(w() * samples_of(sum(E(x)))) + sum(w()**2)
players:
  E: {networks: [E, w], optimizer: SGD(lr=0.1)}
schedule:
  E: l
train: {batch: 4}
"""
    assert Bench(load(written(tmp_path, text))).batch_sizes == [1, 4]  # a batch of one meets any length
    testing.assert_matches_reference(written(tmp_path, text), cases=2)


def test_what_is_compiled_is_verified_by_its_spec() -> None:
    gan = gangraph.compile("gan", tiny=True)
    testing.assert_matches_reference(gan, cases=1)
    assert load(gan) is gan.spec
    with pytest.raises(gangraph.GangraphError, match="a spec is a path"):
        verify(3)  # type: ignore[arg-type]


def test_a_root_at_zero_is_no_difference(tmp_path: Path) -> None:
    """The slope of a root at 0 is infinite; times the 0 of a bias it is no number, and torch has no path there."""
    text = """
gangraph: 1
name: root
inputs: {x: vector(3)}
networks: {D: "mlp([4, 1], act=LeakyReLU(0.2))"}
graph:
  s: D(x)
  g: grad(s, x)
losses:
  gp: expect((sqrt(sum(g**2)) - 1)**2)
players: {D: {networks: [D], optimizer: Adam(lr=1e-3)}}
schedule: {D: gp}
train: {batch: 4}
"""
    bench = Bench(load(written(tmp_path, text)))
    assert not compare(2, Subject(bench), Case(1, weights="zero")).differences


@settings(ASK, max_examples=10)
@given(st.data())
def test_strategies_give_what_a_step_takes(data: st.DataObject) -> None:
    gan = gangraph.compile("gan", tiny=True).to(torch.float64)
    for name, value in data.draw(testing.weights(gan)).items():
        gan.named_parameters()[name].data.copy_(value)
    log = gan.step(data.draw(testing.batches(gan, 4)), data.draw(testing.draws(gan, 4)))
    assert log.keys() == {"D", "D/adv.discriminator", "G", "G/adv.generator"}
    assert data.draw(testing.cases(gan.spec)).batch_size in (1, 4, 8, 64, 128)


def test_a_wrong_program_fails_the_assertion(tmp_path: Path) -> None:
    source = (
        load("gan", tiny=True)
        .program.source.replace("LeakyReLU(0.2)", "LeakyReLU(0.1)")
        .replace("nn.ReLU()", "nn.GELU()")
    )
    with pytest.raises(AssertionError, match="differs"):
        testing.assert_matches_reference("gan", tiny=True, program=written(tmp_path, source, "edited.py"))


def test_pytest_collects_spec_files(tmp_path: Path) -> None:
    good = load("gan", tiny=True).text
    written(tmp_path, good, "good.yaml")
    written(tmp_path, good.replace("adv.generator", "adv.generatr"), "wrong.yaml")
    written(tmp_path, "a: 1", "other.yaml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "wrong.yaml:44:6 schedule.G: " in done.stdout and "Traceback" not in done.stdout


ODD = """
gangraph: 1
name: odd
sizes: {L: 2}
index: {i: "range(1, L + 1)"}
constants: {w: 0.5}
inputs: {x: vector(3)}
draws: {z: normal(4)}
networks:
  G: "mlp([5, 3])"
  D: "mlp([5, 1])"
graph:
  fake: G(z)
  u[0]: fake
  u[i]: u[i - 1] / expect(u[i - 1]**2)
  inner: expect(D(x)**2)
  by: weights(D)
  half: lerp(0.5, fake, 0)
losses:
  adv: hinge(real=D(x), fake=D(u[L]))
  slopes: add(sum(grad(inner, by)**2))
state: {seen: {start: 0, becomes: expect(mean(half * fake)), in: [G]}}
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1 + 0 * seen)}
schedule:
  D: w + adv.discriminator + slopes
  G: adv.generator
train: {batch: 4}
"""


def test_odd_specs_agree_and_are_drawn_and_written(tmp_path: Path) -> None:
    """A number as a term; a recursion over means; derivatives by a list of weights with a name; a number of `lerp`."""
    spec = load(written(tmp_path, ODD))
    report = verify(spec, cases=1)
    assert report.good, report
    assert "<svg" in gangraph.draw(spec, format="svg")
    text = equations(spec)
    assert "u_1 = u_0 / 𝔼" in text and "u_2 = u_1 / 𝔼" in text


def test_a_failure_of_the_reference_is_said_to_be_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(Tape, "gradient", broken)
    found = verify("gan", tiny=True, cases=1).differences[0]
    assert (found.program, found.reference) == ("runs", "ValueError: broken")
