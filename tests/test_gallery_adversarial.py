"""Games between one generator and one discriminator (ALI: one pair): section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import (
    LOG2,
    batch,
    batches,
    build,
    close,
    last_layer,
    moved,
    networks_of,
    one_network,
    recipe_input,
    snapshot,
    tiny,
    variant,
    watched,
    written,
    zeroed,
)
from test_systems import P, Q, free, scores, sides
from torch import Tensor

import gangraph
from gangraph.compiler import load


def alone(phase: str, player: str, objective: str) -> str:
    """The lines of a schedule for a phase of one term."""
    return f'  {phase}: {{player: {player}, minimize: "{objective}"}}\n'


def equal(one: dict[str, Tensor], two: dict[str, Tensor], factor: float = 1.0, tolerance: float = 1e-10) -> bool:
    assert list(one) == list(two) and one
    return all(torch.allclose(one[n], factor * two[n], rtol=tolerance, atol=tolerance * 1e-2) for n in one)


def slopes(gan: Any, phase: str, r: list[float], f: list[float]) -> dict[str, float]:
    """Of `scores`: the derivative of a phase's objective by a shift of all real, and of all fake scores."""
    given = {"r0": torch.tensor(r).double(), "f0": torch.tensor(f).double()}
    return {n: float(g) for n, g in gan.gradients(phase, given, {}).items()}


# --- lsgan

CODES = [((0, 1, 1), 0.5, 0.5), ((-1, 1, 0), 1.0, 0.0)]


@pytest.mark.parametrize("code, dis, gen", CODES)
def test_lsgan_1_with_all_scores_0_the_losses_are_those_of_the_labels(code: Any, dis: float, gen: float) -> None:
    gan = tiny("lsgan", constants=dict(zip("abc", code, strict=True)))
    last_layer(gan, "D")
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert close(found["adv.discriminator"], dis) and close(found["adv.generator"], gen)


@pytest.mark.parametrize(
    "code, best, value, twice",
    [
        ("a=-1, b=1, c=0", (P - Q) / (P + Q), 0.8257143, 0.3485714),
        ("a=0, b=1, c=1", P / (P + Q), 0.2064286, 0.5871429),
    ],
)
def test_lsgan_2_at_the_best_scores_the_generator_sees_a_pearson_divergence(
    code: str, best: Tensor, value: float, twice: float, tmp_path: Path
) -> None:
    gan, given = free(tmp_path, f"least_squares({code})", best)
    turned = {"real": given["fake"], "fake": given["real"]}  # the generator's side of the reals
    found, real = gan.losses(given, {}), gan.losses(turned, {})
    assert close(found["adv.discriminator"], value, 1e-7)
    assert close(2 * (found["adv.generator"] + real["adv.generator"]), twice, 1e-7)
    pearson = float(((P - Q) ** 2 / (P + Q)).sum())
    assert close(pearson, twice, 1e-6) is (code == "a=-1, b=1, c=0")


def test_lsgan_3_the_slopes_are_the_distances_from_the_labels(tmp_path: Path) -> None:
    text = "graph:\n  s_r: D(x)\n  s_f: D(fake)\nlosses:\n  mean_r: expect(s_r)\n  mean_f: expect(s_f)\n"
    gan = variant(tmp_path, "lsgan", text + "schedule:\n  D: adv.discriminator + 0 * step * (mean_r + mean_f)\n")
    given, draws = batch(gan, 3), gan.draw(3, 0)
    found = gan.losses(given, draws)
    last = [n for n in gan.named_parameters() if n.startswith("D.")][-1]
    assert last.endswith(".bias")
    assert close(gan.gradients("D", given, draws)[last], found["mean_r"] - 1 + found["mean_f"] - 0, 1e-10)


def test_lsgan_4_another_scale_of_scores_and_labels_scales_the_losses(tmp_path: Path) -> None:
    one, two = scores(tmp_path, "least_squares(a=-1, b=1, c=0)"), scores(tmp_path, "least_squares(a=-1, b=5, c=2)")
    r, f = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-0.5, 1.0, 3.0])
    assert sides(two, 3 * r + 2, 3 * f + 2) == pytest.approx([9 * v for v in sides(one, r, f)])


def test_lsgan_5_it_does_not_saturate_where_hinge_does(tmp_path: Path) -> None:
    far = [5.0, 6.0], [-7.0, -9.0]
    least = slopes(scores(tmp_path, "least_squares(a=-1, b=1, c=0)"), "P", *far)
    hinge = slopes(scores(tmp_path, "hinge"), "P", *far)
    assert least == pytest.approx({"S_r.weight": 4.5, "S_f.weight": -7})
    assert not any(hinge.values())


@pytest.mark.parametrize("code, slope", [("a=-1, b=1, c=0", 0.0), ("a=0, b=1, c=1", -0.5)])
def test_lsgan_6_where_fakes_are_reals_the_best_score_is_the_middle(code: str, slope: float, tmp_path: Path) -> None:
    middle = 0.0 if "-1" in code else 0.5
    gan, given = free(tmp_path, f"least_squares({code})", [middle] * 3)
    same = {"real": given["real"], "fake": given["real"]}
    (g,) = gan.gradients("P", same, {}).values()
    assert g.abs().max() < 1e-15
    (g,) = gan.gradients("Q", same, {}).values()
    assert close(g, slope)


def test_lsgan_7_both_steps_of_an_iteration_have_the_same_noise() -> None:
    gan = tiny("lsgan")
    assert set(gan.draw(2, 0)) == {"z"}
    seen = []
    original = gan.networks["G"].forward
    gan.networks["G"].forward = lambda z: seen.append(z) or original(z)
    gan.step(batch(gan, 2), seed=3)
    assert len(seen) == 2 and torch.equal(*seen)


def test_lsgan_8_the_codes_sum_is_n_times_the_mean(tmp_path: Path) -> None:
    text = "losses:\n  l2_loss: 0.5 * total(mean((D(x) - b)**2)) + 0.5 * total(mean((D(fake) - a)**2))\n"
    gan = variant(tmp_path, "lsgan", text + "schedule:\n  D: adv.discriminator + 0 * step * l2_loss\n")
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert close(found["l2_loss"], 3 * found["adv.discriminator"], 1e-10)


# --- wgan


def largest(gan: Any, network: str) -> float:
    return max(float(p.detach().abs().max()) for n, p in gan.named_parameters().items() if n.startswith(f"{network}."))


def test_wgan_1_the_paper_ends_each_step_in_the_box(tmp_path: Path) -> None:
    gan = variant(tmp_path, "wgan", 'players:\n  D: {before: ~, after: "clamp(p, -c, c)"}\n')
    assert largest(gan, "D") > 0.5  # the weights of batch norm begin at 1
    gan.step(batches(gan, 2), gan.draw(2, 0))
    assert largest(gan, "D") <= 0.01 < largest(gan, "G")


def test_wgan_1_the_code_begins_each_step_in_the_box(tmp_path: Path) -> None:
    gan = variant(tmp_path, "wgan", "schedule:\n  D: {repeat: 1}\n")
    before = snapshot(gan)
    gan.step(batches(gan, 2), gan.draw(2, 0))
    step = 5e-5 / math.sqrt(1 - 0.99)  # the first of RMSprop
    assert 0.01 < largest(gan, "D") <= 0.01 + step * 1.001
    after = snapshot(gan)
    for name in (n for n in before if n.startswith("D.")):
        assert (after[name] - before[name].clamp(-0.01, 0.01)).abs().max() <= step * 1.001, name


def test_wgan_2_a_shift_of_the_critic_changes_nothing_but_the_generators_value(tmp_path: Path) -> None:
    gan = scores(tmp_path, "wasserstein")
    r, f = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    (one, maker), (two, moved_maker) = sides(gan, r, f), sides(gan, r + 4, f + 4)
    assert two == pytest.approx(one) and moved_maker == pytest.approx(maker - 4)
    assert slopes(gan, "Q", r.tolist(), f.tolist()) == slopes(gan, "Q", (r + 4).tolist(), (f + 4).tolist())


def test_wgan_3_the_codes_sign_is_the_same_game(tmp_path: Path) -> None:
    text = """
losses:
  adv:
    discriminator: expect(mean(D(x))) - expect(mean(D(fake)))
    generator: expect(mean(D(fake)))
"""
    ours, code = tiny("wgan"), variant(tmp_path, "wgan", text)
    with torch.no_grad():
        code.named_parameters()["D.w.weight"].neg_()
    given, draws = batch(ours, 3), ours.draw(3, 0)
    assert equal(ours.gradients("G", given, draws), code.gradients("G", given, draws))
    one, two = ours.gradients("D", given, draws), code.gradients("D", given, draws)
    two["D.w.weight"] = -two["D.w.weight"]
    assert equal(one, two)


def test_wgan_4_the_generator_is_against_the_critics_fake_term(tmp_path: Path) -> None:
    text = "losses:\n  term: expect(mean(D(fake)))\nschedule:\n  G: ~\n  both:\n    together:\n"
    text += "      G: adv.generator\n    " + alone("against", "G", "term")
    gan = variant(tmp_path, "wgan", text)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    assert equal(gan.gradients("G", given, draws), gan.gradients("against", given, draws), -1)


def test_wgan_5_8_no_lipschitz_critic_exceeds_the_distance_in_one_dimension(tmp_path: Path) -> None:
    gan = scores(tmp_path, "wasserstein")
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(9, generator=generator).double() for _ in range(2))
    distance = float((x.sort().values - y.sort().values).abs().mean())
    critics: list[Callable[[Tensor], Tensor]] = [torch.sin, torch.tanh, torch.abs, lambda v: v, lambda v: -v.clamp(-1)]
    assert all(-sides(gan, f(x), f(y))[0] <= distance + 1e-12 for f in critics)
    best = torch.zeros(18).double()  # its slope is the sign of the difference of the two distribution functions
    points = torch.cat([x, y]).sort().values
    for i in range(17):
        excess = (x <= points[i]).sum() - (y <= points[i]).sum()
        best[i + 1] = best[i] - excess.sign() * (points[i + 1] - points[i])
    assert -sides(gan, best[torch.searchsorted(points, x)], best[torch.searchsorted(points, y)])[0] == pytest.approx(
        distance
    )
    logistic = scores(tmp_path, "minimax")
    for theta in (0.3, -2.0):  # parallel lines: only the first coordinate tells them apart
        real, fake = torch.zeros(4).double(), torch.full((4,), theta).double()
        assert -sides(gan, -math.copysign(1, theta) * real, -math.copysign(1, theta) * fake)[0] == pytest.approx(
            abs(theta)
        )
        value = -sides(logistic, real + 60, fake * 0 - 60)[0]  # a critic that is sure: -log 4 + 2 JSD
        assert (value + math.log(4)) / 2 == pytest.approx(LOG2)


@pytest.mark.parametrize(
    "step, count", [(0, 100), (24, 100), (25, 5), (499, 5), (500, 100), (501, 5), (1000, 100), (1001, 5)]
)
def test_wgan_6_the_critic_takes_100_steps_in_the_first_25_iterations_and_every_500th(step: int, count: int) -> None:
    gan = tiny("wgan", constants={"n_burst": 100, "n_critic": 5})
    gan.clocks["step"] = step
    assert gan.fetches() == count


def test_wgan_7_critic_steps_leave_the_generator_but_for_its_statistics() -> None:
    gan = tiny("wgan")
    with watched(gan) as steps:
        gan.step(batches(gan, 2), gan.draw(2, 0))
    assert [(phase, networks_of(names)) for phase, names in steps] == [("D", {"D"})] * 3 + [("G", {"G"})]
    counts = {int(b) for n, b in gan.networks["G"].named_buffers() if n.endswith("num_batches_tracked")}
    assert counts == {4}  # three critic steps and its own
    counts = {int(b) for n, b in gan.networks["D"].named_buffers() if n.endswith("num_batches_tracked")}
    assert counts == {7}  # reals and fakes apart, then the generator's


# --- hinge

FAR = "losses:\n  adv: hinge(real=D(x) + 100, fake=D(fake) - 100)\n"


def test_hinge_1_with_all_scores_0_the_critics_loss_is_2(tmp_path: Path) -> None:
    gan = tiny("hinge")
    last_layer(gan, "D")
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert close(found["adv.discriminator"], 2) and found["adv.generator"] == 0 and found["margin"] == 0
    assert slopes(scores(tmp_path, "hinge"), "P", [0.0] * 3, [0.0] * 3) == {"S_r.weight": -1, "S_f.weight": 1}


def test_hinge_2_6_beyond_the_margins_only_the_last_layer_shrinks(tmp_path: Path) -> None:
    gan = variant(tmp_path, "hinge", FAR + "players:\n  D: {optimizer: SGD(lr=0.1)}\n")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    assert gan.losses(given, draws)["adv.discriminator"] == 0
    before = snapshot(gan)
    gan.step(given, draws)
    after = snapshot(gan)
    assert {n for n in moved(before, after) if n.startswith("D.")} == {"D.w.weight"}
    assert torch.allclose(after["D.w.weight"], (1 - 0.1 / 4) * before["D.w.weight"], atol=1e-15)


def test_hinge_3_the_best_scores_give_2_less_twice_the_total_variation(tmp_path: Path) -> None:
    gan, given = free(tmp_path, "hinge", (P - Q).sign())
    variation = 0.5 * float((P - Q).abs().sum())
    assert close(gan.losses(given, {})["adv.discriminator"], 2 - 2 * variation) and close(2 - 2 * variation, 1.2)
    for scale in (0.0, 0.5, 1.5, 3.0):
        worse, _ = free(tmp_path, "hinge", scale * (P - Q).sign())
        assert worse.losses(given, {})["adv.discriminator"] > 1.2 + 1e-9


def test_hinge_4_the_critics_loss_is_convex_and_flat_at_its_kink(tmp_path: Path) -> None:
    gan = scores(tmp_path, "hinge")
    assert slopes(gan, "P", [1.0], [-1.0]) == {"S_r.weight": 0, "S_f.weight": 0}
    r, f = (3 * recipe_input(i, (2, 6)).double() for i in range(2))
    ends = [sides(gan, r[i], f[i])[0] for i in range(2)]
    for t in (0.25, 0.5, 0.75):
        inside = sides(gan, r[0] + t * (r[1] - r[0]), f[0] + t * (f[1] - f[0]))[0]
        assert inside <= ends[0] + t * (ends[1] - ends[0]) + 1e-12


def test_hinge_5_8_the_generators_slope_is_constant_and_the_critics_loss_has_a_mirror(tmp_path: Path) -> None:
    gan = scores(tmp_path, "hinge")
    assert slopes(gan, "Q", [0.0], [-30.0]) == slopes(gan, "Q", [0.0], [30.0]) == {"S_f.weight": -1}
    r, f = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    assert sides(gan, r, f)[0] == pytest.approx(sides(gan, -f, -r)[0])


def test_hinge_7_one_step_of_d_with_a_batch_and_ten_of_g_with_fresh_noise() -> None:
    gan = tiny("hinge")
    assert gan.fetches() == 1
    draws = gan.draw(2, 0)
    noise = [draws["G/z"], *(draws[f"G.{i}/z"] for i in range(2, 11)), draws["D/z"]]
    assert not any(torch.equal(a, b) for i, a in enumerate(noise) for b in noise[:i])
    log = gan.step(batch(gan, 2), draws)
    assert [k for k in log if "/" not in k] == ["D", "G", *(f"G.{i}" for i in range(2, 11))]


# --- f-gan


def power(t: Tensor, a: float) -> Tensor:
    base = t * (a - 1) + 1
    return (base.clamp(min=0) ** (a / (a - 1)) - 1) / a


def alpha_row(a: float) -> tuple[Any, ...]:
    f = lambda u: (u**a - 1 - a * (u - 1)) / (a * (a - 1))  # noqa: E731
    slope = lambda u: (u ** (a - 1) - 1) / (a - 1)  # noqa: E731
    inverse = slope if a > 1 else lambda u: -(torch.exp(u ** (a - 1) / (1 - a)) - 1).log()
    return f, slope, inverse, lambda t: power(t, a), 1 / (1 - a) if a < 1 else math.inf


# name: f(u), f'(u), the score that is best at u = p / q, f*(t), the upper end of its domain (the table of section 6)
ROWS: dict[str, tuple[Any, ...]] = {
    "KL": (lambda u: u * u.log(), lambda u: 1 + u.log(), lambda u: 1 + u.log(), lambda t: (t - 1).exp(), math.inf),
    "reverse KL": (lambda u: -u.log(), lambda u: -1 / u, lambda u: u.log(), lambda t: -1 - (-t).log(), 0),
    "Pearson": (
        lambda u: (u - 1) ** 2,
        lambda u: 2 * (u - 1),
        lambda u: 2 * (u - 1),
        lambda t: t**2 / 4 + t,
        math.inf,
    ),
    "Neyman": (
        lambda u: (1 - u) ** 2 / u,
        lambda u: 1 - u**-2,
        lambda u: 2 * u.log(),
        lambda t: 2 - 2 * (1 - t).sqrt(),
        1,
    ),
    "Hellinger": (
        lambda u: (u.sqrt() - 1) ** 2,
        lambda u: 1 - u**-0.5,
        lambda u: 0.5 * u.log(),
        lambda t: t / (1 - t),
        1,
    ),
    "Jensen-Shannon": (
        lambda u: -(u + 1) * ((1 + u) / 2).log() + u * u.log(),
        lambda u: (2 * u / (1 + u)).log(),
        lambda u: u.log(),
        lambda t: -(2 - t.exp()).log(),
        LOG2,
    ),
    "GAN": (
        lambda u: u * u.log() - (u + 1) * (u + 1).log(),
        lambda u: (u / (1 + u)).log(),
        lambda u: u.log(),
        lambda t: -(1 - t.exp()).log(),
        0,
    ),
    "total variation": (
        lambda u: 0.5 * (u - 1).abs(),
        lambda u: 0.5 * (u - 1).sign(),
        lambda u: 40 * (u - 1).sign(),
        lambda t: t,
        0.5,
    ),
    "Jeffrey": (
        lambda u: (u - 1) * u.log(),
        lambda u: 1 + u.log() - 1 / u,
        lambda u: u.log(),
        None,  # by Lambert's function
        math.inf,
    ),
    **{f"alpha {a}": alpha_row(a) for a in (-1.0, 0.5, 1.5, 2.0)},
}


def argument(row: str) -> str:
    name, _, value = row.partition("alpha ")
    return f'"alpha", {value}' if value else f'"{name}"'


def row_of(folder: Path, row: str, v: Tensor) -> tuple[Tensor, Tensor]:
    """g(v) and f*(g(v)) as the library has them, through the compiled program."""
    text = f"""
gangraph: 1
name: row
inputs: {{v: vector(1)}}
networks: {{S: Parameter()}}
losses: {{l: expect(v + S())}}
players: {{P: {{networks: [S], optimizer: SGD(lr=1)}}}}
schedule: {{P: l}}
sample:
  g: 1 * fgan_output(v, {argument(row)})
  c: 1 * fgan_conjugate(v, {argument(row)})
"""
    gan = build(written(folder, text, "row.yaml"))
    given = {"v": v[:, None]}
    return gan.sample("g", len(v), given)[:, 0], gan.sample("c", len(v), given)[:, 0]


GRID = torch.linspace(-3, 3, 25, dtype=torch.float64)


@pytest.mark.parametrize("row", ROWS)
def test_f_gan_1_2_4_each_row_is_a_divergence_its_conjugate_and_an_output_in_its_domain(
    row: str, tmp_path: Path
) -> None:
    f, slope, _, conjugate, top = ROWS[row]
    g, c = row_of(tmp_path, row, GRID)
    assert (g.diff() > 0).all() and (g < top).all()
    if conjugate is not None:
        assert torch.allclose(c, conjugate(g), rtol=1e-12, atol=1e-12)
    u = torch.logspace(-6, 6, 60_001, dtype=torch.float64)
    true = g[g >= -2] if row == "Pearson" else g  # below it the true conjugate is -1
    found = (u * true[:, None] - f(u)).max(dim=1).values
    assert torch.allclose(found, c[len(c) - len(true) :], rtol=1e-5, atol=1e-4)
    one = torch.ones(1).double()
    assert close(f(one), -math.log(4) if row == "GAN" else 0) and slope(one).isfinite().all()


def discriminators(folder: Path, row: str, score: Tensor, real: Tensor = P, fake: Tensor = Q) -> dict[str, Tensor]:
    gan, _ = free(folder, "fgan(divergence=" + argument(row).replace(", ", ", alpha=") + ")", score)
    given = {
        name: torch.repeat_interleave(torch.arange(3), (10 * w).round().long())
        for name, w in (("real", real), ("fake", fake))
    }
    return gan.losses(given, {})  # type: ignore[no-any-return]


@pytest.mark.parametrize("row", ROWS)
def test_f_gan_3_5_the_best_scores_reach_the_divergence_and_no_others_pass_it(row: str, tmp_path: Path) -> None:
    f, _, best, _, _ = ROWS[row]
    divergence = float((Q * f(P / Q)).sum())
    found = discriminators(tmp_path, row, best(P / Q))
    assert close(-found["adv.discriminator"], divergence, 1e-9)
    for shift in ([0.3, -0.2, 0.1], [-1.0, 0.5, 0.7]):
        scale = 0.02 if row == "total variation" else 0.9  # whose best scores are infinite
        worse = discriminators(tmp_path, row, best(P / Q) * scale + torch.tensor(shift))
        assert -worse["adv.discriminator"] < divergence
    if row != "total variation":  # f' jumps at 1
        same = discriminators(tmp_path, row, best(torch.ones(3).double()), P, P)
        assert close(-same["adv.discriminator"], f(torch.ones(1).double()), 1e-9)


def test_f_gan_6_two_rows_are_the_minimax_game(tmp_path: Path) -> None:
    r, f = 2 * recipe_input(0, (5,)), 2 * recipe_input(1, (5,))
    plain = sides(scores(tmp_path, "minimax"), r, f)
    assert sides(scores(tmp_path, 'fgan(divergence="GAN")'), r, f) == pytest.approx(plain, rel=1e-14)
    js = sides(scores(tmp_path, 'fgan(divergence="Jensen-Shannon")'), r, f)
    assert js == pytest.approx((plain[0] - math.log(4), plain[1] + LOG2))


def test_f_gan_7_each_loss_reaches_its_player_and_the_game_is_zero_sum(tmp_path: Path) -> None:
    text = "losses:\n  term: expect(mean(fgan_conjugate(V(fake), 'GAN', alpha)))\n"
    text += "schedule:\n  both:\n    together:\n    " + alone("against", "G", "term")
    gan = variant(tmp_path, "f-gan", text, constants={"alternative": 0})
    given, draws = batch(gan, 4), gan.draw(4, 0)
    assert networks_of(gan.gradients("V", given, draws)) == {"V"}
    assert networks_of(gan.gradients("G", given, draws)) == {"G"}
    assert equal(gan.gradients("G", given, draws), gan.gradients("against", given, draws), -1)


@pytest.mark.parametrize("row", ["GAN", "KL", "alpha 1.5"])
def test_f_gan_the_alternative_generator_maximizes_its_own_outputs(row: str, tmp_path: Path) -> None:
    f = torch.tensor([-0.5, 1.0, 3.0]).double()
    g, _ = row_of(tmp_path, row, f)
    word = argument(row).replace(", ", ", alpha=")
    one, two = (scores(tmp_path, f"fgan(divergence={word}, alternative={i})") for i in (0, 1))
    (dis, gen), (same, alternative) = sides(one, f, f), sides(two, f, f)
    assert dis == same and alternative == pytest.approx(-float(g.mean())) and alternative != pytest.approx(gen)


FAMILIES = {
    "KL": "fgan_kl",
    "reverse KL": "fgan_reverse_kl",
    "Pearson": "fgan_pearson",
    "Neyman": "fgan_neyman",
    "Hellinger": "fgan_hellinger",
    "Jensen-Shannon": "fgan_jensen_shannon",
    "GAN": "fgan_gan",
    "total variation": "fgan_total_variation",
}


@pytest.mark.parametrize("row", FAMILIES)
def test_f_gan_8_a_row_by_its_word_is_the_family_of_the_test_vector(row: str, tmp_path: Path) -> None:
    r, f = [2.0, -1.0, 0.5], [-0.5, 1.0, 3.0]
    by_word = scores(tmp_path, f"fgan(divergence={argument(row)})")
    by_name = scores(tmp_path, FAMILIES[row])
    assert sides(by_word, r, f) == pytest.approx(sides(by_name, r, f), rel=1e-14)


@pytest.mark.parametrize("row", [row for row in ROWS if row != "GAN"])
def test_f_gan_takes_every_divergence_by_one_word(row: str, tmp_path: Path) -> None:
    word = argument(row).replace(", ", ", alpha=")
    gan = variant(tmp_path, "f-gan", f"losses:\n  adv: fgan(real=V(x), fake=V(fake), divergence={word})\n")
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert all(v.isfinite() for v in found.values())
    assert gan.spec.warnings == ()


def test_f_gan_refuses_a_divergence_that_it_does_not_have(tmp_path: Path) -> None:
    text = 'losses:\n  adv: fgan(real=V(x), fake=V(fake), divergence="KLL")\n'
    with pytest.raises(gangraph.SpecError, match="no_such_divergence"):
        variant(tmp_path, "f-gan", text)


# --- sn-gan


def one_layer(folder: Path) -> tuple[Any, Any, Tensor]:
    gan = build(written(folder, one_network("SpectralNorm(Linear(4, bias=False))", "Q(x)", {"x": "vector(6)"})))
    return gan, gan.networks["Q"], gan.named_parameters()["Q.weight"]


def test_sn_gan_1_after_many_calls_the_largest_singular_value_is_1() -> None:
    gan = tiny("sn-gan")
    D = gan.networks["D"]
    with torch.no_grad():
        for _ in range(400):
            D(batch(gan, 2)["x"])
        used = [m.use(m.weight, None)[0] for m in D.modules() if hasattr(m, "u")]
    assert len(used) == 11
    for weight in used:
        assert abs(float(torch.linalg.matrix_norm(weight.flatten(1), 2)) - 1) < 1e-6


def test_sn_gan_2_gradients_are_orthogonal_to_the_weights() -> None:
    gan = tiny("sn-gan")
    found = gan.gradients("D", batch(gan, 2), gan.draw(2, 0))
    p = gan.named_parameters()
    weights = [n for n in found if n.endswith("weight")]
    assert len(weights) == 11
    for name in weights:
        inner = (found[name] * p[name]).sum().abs()
        assert inner <= 1e-12 * found[name].norm() * p[name].norm() and found[name].any()


def test_sn_gan_3_4_the_gradient_passes_through_sigma_with_u_and_v_constant(tmp_path: Path) -> None:
    _, Q_, weight = one_layer(tmp_path)
    layer = next(m for m in Q_.modules() if hasattr(m, "u"))
    x, by = recipe_input(0, (3, 6)), recipe_input(1, (3, 4))
    for _ in range(4):
        v = F.normalize(weight.detach().T @ layer.u, dim=0, eps=0)
        u = F.normalize(weight.detach() @ v, dim=0, eps=0)
        sigma = u @ weight.detach() @ v
        assert sigma <= torch.linalg.matrix_norm(weight, 2) * (1 + 1e-12)
        (found,) = torch.autograd.grad((Q_(x) * by).sum(), weight)
        bar, slope = weight.detach() / sigma, by.T @ x
        assert torch.allclose(found, (slope - (slope * bar).sum() * torch.outer(u, v)) / sigma, atol=1e-12)
        assert torch.allclose(layer.u, u) and close(layer.u.norm(), 1, 1e-11)
    for _ in range(400):
        Q_(x)
    assert torch.allclose(Q_(x), x @ (weight / torch.linalg.matrix_norm(weight, 2)).T, atol=1e-9)


def test_sn_gan_5_a_chain_of_normalized_layers_is_1_lipschitz(tmp_path: Path) -> None:
    network = "SpectralNorm(mlp([8, 8, 3], act=LeakyReLU(0.1)))"
    gan = build(written(tmp_path, one_network(network, "Q(x)", {"x": "vector(6)"})))
    Q_ = gan.networks["Q"]
    with torch.no_grad():
        for p in Q_.parameters():
            p.mul_(7)  # a bias may be anything
        x, y = 3 * recipe_input(0, (200, 6)), 3 * recipe_input(1, (200, 6))
        for _ in range(400):
            Q_(x)
        ratio = (Q_(x) - Q_(y)).norm(dim=1) / (x - y).norm(dim=1)
    assert 0.05 < ratio.max() <= 1 + 1e-9


def test_sn_gan_6_evaluation_does_not_move_u(tmp_path: Path) -> None:
    _, Q_, _ = one_layer(tmp_path)
    layer = next(m for m in Q_.modules() if hasattr(m, "u"))
    kept = layer.u.clone()
    Q_.eval()(recipe_input(0, (3, 6)))
    assert torch.equal(layer.u, kept)
    Q_.train()(recipe_input(0, (3, 6)))
    assert not torch.equal(layer.u, kept)


def test_sn_gan_7_a_projection_head_of_zero_is_the_unconditional_score(tmp_path: Path) -> None:
    text = """
inputs: {y: label(4)}
networks:
  features:
  - Flatten(), SpectralNorm(Linear(6)), ReLU()
  plain: SpectralNorm(Linear(1, bias=False))
  embed: Embedding(4, 6)
  D:
    inputs: [x, y]
    graph:
      h: features(x)
    output: plain(h) + sum(embed(y) * h)
losses:
  adv: hinge(real=D(real, y), fake=D(fake_g, y_g), shown=D(fake, y))
draws:
  y_g: integer(0, 4, samples=2 * N)
"""
    gan = variant(tmp_path, "sn-gan", text + "tiny: {sizes: {width_d: ~}}\nsizes: {width_d: ~}\n")
    D, x, y = gan.networks["D"], batch(gan, 3)["x"], torch.tensor([0, 1, 3])
    D.eval()
    h = gan.networks["features"].eval()(x)
    plain = gan.networks["plain"].eval()(h)
    weight = gan.named_parameters()["embed.weight"]
    assert torch.allclose(D(x, y), plain + (weight[y] * h).sum(dim=1, keepdim=True))
    zeroed(gan, "embed.")
    assert torch.equal(D(x, y), plain)


def test_sn_gan_8_beyond_the_margins_no_parameter_of_d_has_a_gradient(tmp_path: Path) -> None:
    text = "losses:\n  adv: hinge(real=D(real) + 100, fake=D(fake_g), shown=D(fake) - 100)\n"
    gan = variant(tmp_path, "sn-gan", text)
    found = gan.gradients("D", batch(gan, 2), gan.draw(2, 0))
    assert found and not any(g.any() for g in found.values())


def test_sn_gan_steps_g_on_twice_the_batch_and_then_d_on_five_batches() -> None:
    gan = tiny("sn-gan")
    draws = gan.draw(3, 0)
    assert draws["G/z_g"].shape == (6, 128) and draws["D.5/z"].shape == (3, 128) and gan.fetches() == 5
    log = gan.step(batches(gan, 3), draws)
    assert [k for k in log if "/" not in k] == ["G", "D", "D.2", "D.3", "D.4", "D.5"]
    gan.clocks["step"] = 25000
    gan.step(batches(gan, 3), gan.draw(3, 0))
    assert gan.game.players["G"][0].param_groups[0]["lr"] == pytest.approx(1e-4)


def test_sn_gan_begins_the_convolutions_of_its_blocks_with_twice_glorots_variance() -> None:
    p = build("sn-gan", sizes={"width_g": 64, "width_d": 64}).named_parameters()
    for name, gain in (("G.2.h.3.weight", 2**0.5), ("G.2.short.1.weight", 1), ("D.0.2.h.1.weight", 2**0.5)):
        shape = p[name].shape
        bound = gain * math.sqrt(6 / ((shape[0] + shape[1]) * shape[2] * shape[3]))
        assert 0.98 * bound < p[name].abs().max() <= bound, name


# --- cgan

PLAIN = """
networks:
  G:
    inputs: [z, c]
    output: Linear(X)(z)
  D:
    inputs: [x, c]
    output:
    - concat(x, c)
    - Linear(8), ReLU(), Linear(1)
sizes: {width_g: ~, units: ~, label_units: ~}
tiny: {sizes: ~}
"""


def test_cgan_1_of_one_class_the_label_is_a_bias(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cgan", PLAIN)
    free_of_c = variant(tmp_path, "cgan", PLAIN.replace("concat(x, c)", "x + 0 * c[:, 0:1]"))
    y = torch.full((4,), 3)
    given, draws = {**batch(gan, 4), "y": y}, gan.draw(4, 0)
    weight, bias = (gan.named_parameters()[f"D.0.{n}"] for n in ("weight", "bias"))
    with torch.no_grad():
        for name, p in free_of_c.named_parameters().items():
            p.copy_(gan.named_parameters()[name][:, :784] if name == "D.0.weight" else gan.named_parameters()[name])
        free_of_c.named_parameters()["D.0.bias"].copy_(bias + weight[:, 784 + 3])
    one, two = gan.losses(given, draws), free_of_c.losses(given, draws)
    assert close(one["adv.discriminator"], two["adv.discriminator"], 1e-12)
    assert close(one["adv.generator"], two["adv.generator"], 1e-12)


def test_cgan_2_pairs_may_be_permuted_and_labels_may_not() -> None:
    gan = tiny("cgan")
    given, draws = batch(gan, 5), {k: v for k, v in gan.draw(5, 0).items() if not k.startswith("both/")}
    order = torch.tensor([3, 0, 4, 1, 2])
    given["y"] = torch.tensor([0, 1, 2, 3, 4])
    for name, p in gan.named_parameters().items():
        if name.startswith("D."):
            with torch.no_grad():
                p.mul_(100)
    turned = {k: v[order] for k, v in draws.items()}
    base = gan.losses(given, draws)["adv.discriminator"]
    pairs = gan.losses({k: v[order] for k, v in given.items()}, turned)["adv.discriminator"]
    labels = gan.losses({**given, "y": given["y"][order]}, draws)["adv.discriminator"]
    assert close(base, pairs, 1e-12) and not close(base, labels, 1e-6)


def test_cgan_3_each_loss_reaches_its_player_and_its_own_label_weights() -> None:
    gan = tiny("cgan")
    given, draws = batch(gan, 3), gan.draw(3, 0)
    given["y"] = torch.full((3,), 3)
    for phase in ("D", "G"):
        found = gan.gradients(phase, given, draws)
        assert networks_of(found) == {phase}
        of_labels = next(g for g in found.values() if g.dim() == 2 and g.shape[1] == 10)
        assert of_labels[:, 3].any() and not torch.cat([of_labels[:, :3], of_labels[:, 4:]], dim=1).any()


def test_cgan_4_with_all_logits_0_the_losses_are_multiples_of_log_2() -> None:
    gan = tiny("cgan")
    last_layer(gan, "D")
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert close(found["adv.discriminator"], 2 * LOG2) and close(found["adv.generator"], LOG2)


def test_cgan_5_a_layer_of_two_values_is_the_sum_of_two_layers(tmp_path: Path) -> None:
    text = one_network("Linear(4)", "Q(concat(h, c))", {"h": "vector(3)", "c": "vector(2)"})
    gan = build(written(tmp_path, text))
    h, c, p = recipe_input(0, (5, 3)), recipe_input(1, (5, 2)), gan.named_parameters()
    whole = gan.networks["Q"](torch.cat([h, c], dim=1))
    parts = h @ p["Q.weight"][:, :3].T + c @ p["Q.weight"][:, 3:].T + p["Q.bias"]
    assert torch.allclose(whole, parts, atol=1e-14)
    found = gan.losses({"h": h, "c": c}, {})["size0"]
    assert close(found, parts.square().mean(), 1e-12)


def test_cgan_6_a_map_of_labels_is_constant_and_sums_to_1(tmp_path: Path) -> None:
    text = "graph:\n  map: tile(c, reshape(x, 1, 28, 28))\nsample: {map: map}\n"
    gan = variant(tmp_path, "cgan", text)
    given = {**batch(gan, 3), "y": torch.tensor([0, 9, 4])}
    found = gan.sample("map", 3, given)
    assert found.shape == (3, 10, 28, 28)
    assert torch.equal(found, F.one_hot(given["y"], 10).double()[:, :, None, None].expand(-1, -1, 28, 28))


def test_cgan_7_the_best_value_is_the_mean_over_the_classes(tmp_path: Path) -> None:
    gan = scores(tmp_path, "non_saturating")
    tables = [(P, Q), (P.flip(0), P)]  # p and q of each class, ten samples each
    r, f, expected = [], [], 0.0
    for p, q in tables:
        best = (p / q).log()
        r.append(torch.repeat_interleave(best, (10 * p).round().long()))
        f.append(torch.repeat_interleave(best, (10 * q).round().long()))
        m = (p + q) / 2
        jsd = 0.5 * float((p * (p / m).log()).sum() + (q * (q / m).log()).sum())
        expected += (math.log(4) - 2 * jsd) / 2
    assert sides(gan, torch.cat(r), torch.cat(f))[0] == pytest.approx(expected, rel=1e-12)


def test_cgan_8_the_fakes_have_the_labels_of_the_batch(tmp_path: Path) -> None:
    gan = tiny("cgan")
    assert not any("y" in name.split("/")[-1] for name in gan.draw(3, 0))
    other = variant(
        tmp_path, "cgan", "draws:\n  y_f: integer(0, K)\ngraph:\n  c_f: one_hot(y_f, K)\n  fake: G(z, c_f)\n"
    )
    given, draws = batch(other, 3), other.draw(3, 0)
    draws = {k: torch.full_like(v, 7) if k.endswith("y_f") else v for k, v in draws.items()}
    given["y"] = torch.full((3,), 2)
    columns = []
    for g in (gan, other):
        found = g.gradients("G", given, draws)
        of_labels = next(v for v in found.values() if v.dim() == 2 and v.shape[1] == 10)
        columns.append({i for i in range(10) if of_labels[:, i].any()})
    assert columns == [{2}, {7}]


# --- ali

TERMS = """
graph:
  e_q, e_p: batch_split(evaluation(D)(batch_concat([x, x_til]), batch_concat([z_hat, z])), 2)
schedule:
  both:
    together:
      D: adv.discriminator
      G: adv.generator
      q_alone: {player: G, minimize: expect(mean(softplus(e_q)))}
      p_alone: {player: G, minimize: expect(mean(softplus(-e_p)))}
      q_coupled: {player: G, minimize: expect(mean(softplus(s_q)))}
"""


def test_ali_1_with_all_logits_0_both_losses_are_2_log_2() -> None:
    gan = tiny("ali")
    last_layer(gan, "D")
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert close(found["adv.discriminator"], 2 * LOG2) and close(found["adv.generator"], 2 * LOG2)


def test_ali_2_the_losses_together_are_at_least_4_log_2(tmp_path: Path) -> None:
    gan = scores(tmp_path, "joint_non_saturating")
    for seed in range(4):
        q, p = 3 * recipe_input(seed, (4,)), 3 * recipe_input(seed + 9, (4,))
        total = float(sum((F.softplus(s) + F.softplus(-s)).mean() for s in (q, p)))
        assert sum(sides(gan, q, p)) == pytest.approx(total) and total > 4 * LOG2
    assert sum(sides(gan, [0.0] * 3, [0.0] * 3)) == pytest.approx(4 * LOG2)


def test_ali_3_each_side_of_the_makers_loss_trains_one_of_its_networks(tmp_path: Path) -> None:
    gan = variant(tmp_path, "ali", TERMS)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    assert networks_of(gan.gradients("D", given, draws)) == {"D", "D_x"}

    def felt(phase: str) -> set[str]:
        return networks_of(n for n, g in gan.gradients(phase, given, draws).items() if g.any())

    assert felt("q_alone") == {"Enc"} and felt("p_alone") == {"Dec"}
    assert felt("q_coupled") == {"Enc", "Dec"}  # one batch norm over both pairs
    assert felt("G") == {"Enc", "Dec"}


def test_ali_a_picture_meets_its_own_code_and_a_code_its_own_picture() -> None:
    gan = tiny("ali")
    gan.networks["D"].eval()  # without dropout, and without a batch norm that couples the pairs
    with torch.no_grad():
        for name, p in gan.named_parameters().items():
            p.mul_(30 if name.startswith("D") else 1)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    found = gan.losses(given, draws)["adv.discriminator"]
    x, z, eps = given["x"], draws["z"].double(), draws["eps"].double()
    Enc, Dec, D = (gan.networks[name] for name in ("Enc", "Dec", "D"))
    mu, logsigma = Enc(x)
    z_hat, x_til = mu + logsigma.exp() * eps, Dec(z)

    def loss(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
        s_q, s_p = (D(*pair, gan.module.Draws(gan.game.like, 0).call("D", "s_q")) for pair in (q, p))
        return (F.softplus(-s_q) + F.softplus(s_p)).mean()

    assert close(found, loss((x, z_hat), (x_til, z)), 1e-9)
    assert not close(found, loss((x_til, z_hat), (x, z)), 1e-6)


def test_ali_4_exchanging_the_labels_exchanges_the_losses(tmp_path: Path) -> None:
    text = "losses:\n  turned: joint_non_saturating(real=s_p, fake=s_q)\n"
    text += "schedule:\n  both:\n    together:\n      D: adv.discriminator + 0 * step * turned.discriminator\n"
    text += "      G: adv.generator + 0 * step * turned.generator\n"
    gan = variant(tmp_path, "ali", text)
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert close(found["turned.discriminator"], found["adv.generator"], 1e-12)
    assert close(found["turned.generator"], found["adv.discriminator"], 1e-12)


def test_ali_5_the_order_of_the_players_does_not_matter(tmp_path: Path) -> None:
    ends = []
    members = {"D": "adv.discriminator", "G": "adv.generator"}
    for order in ("DG", "GD"):
        text = "".join(f"      {player}: {members[player]}\n" for player in order)
        gan = variant(tmp_path, "ali", f"schedule:\n  both: ~\n  joint:\n    together:\n{text}")
        assert list(gan.phases) == list(order)
        assert {k.split("/")[0] for k in gan.draw(2, 0) if "/" in k} == {"joint", "s_q"}
        for seed in range(2):
            gan.step(batch(gan, 2, seed), gan.draw(2, seed))
        ends.append(snapshot(gan))
    assert not moved(*ends)


def test_ali_7_an_encoder_that_ignores_x_leaves_a_difference(tmp_path: Path) -> None:
    """x and z are 0 or 1. The encoder's pairs are independent, the decoder's have x = z."""
    gan = scores(tmp_path, "joint_non_saturating")
    sure = 60.0  # the best logit log q / p where p is 0
    q, p = [math.log(0.5)] * 2 + [sure] * 2, [math.log(0.5)] * 4
    quarter, half = torch.full((4,), 0.25).double(), torch.tensor([0.5, 0.0, 0.0, 0.5]).double()
    m = (quarter + half) / 2
    jsd = 0.5 * float((quarter * (quarter / m).log()).sum() + torch.xlogy(half, half / m).sum())
    assert jsd > 0.1
    assert sides(gan, q, p)[0] == pytest.approx(math.log(4) - 2 * jsd, rel=1e-9)


def test_ali_8_an_encoder_without_deviation_is_deterministic() -> None:
    gan = tiny("ali")
    given, draws = batch(gan, 3), gan.draw(3, 0)
    other = {k: v + 1 if k.endswith("eps") else v for k, v in draws.items()}
    with torch.no_grad():
        for p in gan.networks["D"].parameters():
            p.mul_(10)  # it begins so small that it sees next to nothing
    assert not close(gan.losses(given, draws)["adv.generator"], gan.losses(given, other)["adv.generator"], 1e-6)
    weight, bias = (gan.named_parameters()[f"Enc.h.5.{n}"] for n in ("weight", "bias"))
    with torch.no_grad():
        weight[8:].zero_()
        bias[8:].fill_(-80)
    assert close(gan.losses(given, draws)["adv.generator"], gan.losses(given, other)["adv.generator"], 1e-15)
    mu, logsigma = gan.networks["Enc"](given["x"])
    assert mu.shape == logsigma.shape == (3, 8) and (logsigma == -80).all()


def test_the_specs_say_what_their_sheets_say_of_order_and_groups() -> None:
    assert load("f-gan", tiny=True).graph.schedule[0].kind == "group"
    assert load("cgan", tiny=True).graph.schedule[0].kind == "group"
    assert [s.name for s in load("sn-gan", tiny=True).graph.schedule] == ["G", "D"]
    assert [s.name for s in load("hinge", tiny=True).graph.schedule] == ["D", "G"]
