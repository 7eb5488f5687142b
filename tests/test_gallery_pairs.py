"""Systems that translate between two domains, or from a condition to a picture: section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import (
    LOG2,
    batch,
    build,
    close,
    last_layer,
    networks_of,
    no_gradients,
    one_network,
    recipe_input,
    tiny,
    variant,
    watched,
    written,
)
from torch import Tensor

import gangraph
from gangraph.compiler import load


@torch.no_grad()
def called(gan: Any, network: str, value: str, draws: dict[str, Tensor], *inputs: Any) -> Any:
    """What a network with randomness of its own gives in a value, on the draws of an evaluation."""
    return gan.networks[network](*inputs, gan.module.Draws(gan.game.like, None, draws).call(network, value))


# --- pix2pix


def test_pix2pix_1_each_loss_reaches_its_player_only() -> None:
    gan = tiny("pix2pix")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    for phase in ("D", "G"):
        assert networks_of(gan.gradients(phase, given, draws)) == {phase}
    gan.step(given, draws)
    assert no_gradients(gan)


def test_pix2pix_2_with_all_logits_0_both_players_have_log_2() -> None:
    gan = tiny("pix2pix")
    last_layer(gan, "D")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    assert close(gan.losses(given, draws)["cGAN.generator"], LOG2)
    assert close(gan.step(given, draws)["D"], LOG2)


@pytest.mark.parametrize("shift", [0.0, 0.25, -2.0])
def test_pix2pix_3_a_shift_of_the_fake_costs_100_times_its_size(shift: float) -> None:
    gan = tiny("pix2pix")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    fake = called(gan, "G", "fake_y", draws, given["x"])
    log = gan.step({**given, "y": fake + shift}, draws)
    assert close(log["G"] - log["G/cGAN.generator"], 100 * abs(shift), 1e-10)


def test_pix2pix_4_outputs_have_the_size_of_inputs_and_scores_an_eighth_less_2() -> None:
    graph = load("pix2pix", sizes={"H": 512, "W": 256, "levels": 8}).graph
    assert graph.values["fake_y"].type.shape == (3, 512, 256)
    assert graph.values["d_real"].type.shape == (1, 512 // 8 - 2, 256 // 8 - 2)
    with pytest.raises(gangraph.SpecError):  # eight levels end below one pixel
        load("pix2pix", sizes={"H": 128, "W": 128, "levels": 8})


def test_pix2pix_5_a_logit_sees_a_window_of_70_pixels(tmp_path: Path) -> None:
    text = one_network("patch_discriminator(4, norm=None)", "Q(x)", {"x": "image(2, 128, 128)"})
    Q = build(written(tmp_path, text)).networks["Q"]
    x = recipe_input(0, (1, 2, 128, 128))
    for row, column in ((0, 0), (40, 71), (127, 90)):
        other = x.clone()
        other[0, 0, row, column] += 1
        changed = (Q(x) != Q(other))[0, 0]
        sees = [[8 * i - 23 <= place < 8 * i + 47 for i in range(14)] for place in (row, column)]
        assert torch.equal(changed, torch.tensor(sees[0])[:, None] & torch.tensor(sees[1]))


def test_pix2pix_6_the_score_depends_on_the_condition(tmp_path: Path) -> None:
    text = """
losses:
  real: expect(mean(d_real))
schedule:
  D: 0.5 * cGAN.discriminator + 0 * step * real
"""
    unconditional = text + "graph:\n  d_fake: D(fake_y)\n  d_real: D(y)\n"
    for lines, differs in ((text, True), (unconditional, False)):
        gan = variant(tmp_path, "pix2pix", lines)
        given, draws = batch(gan, 2), gan.draw(2, 0)
        one, two = (gan.losses({**given, "x": x}, draws)["real"] for x in (given["x"], -given["x"]))
        assert close(one, two) is not differs


def test_pix2pix_7_two_pictures_of_one_condition_differ_by_dropout_only(tmp_path: Path) -> None:
    noisy = tiny("pix2pix")
    still = variant(tmp_path, "pix2pix", "networks:\n  G: unet(levels, C, bias=False, dropout=0, width=width)\n")
    given = batch(noisy, 2)
    for gan, differ in ((noisy, True), (still, False)):
        one, two = (gan.sample("images", 2, given, seed=seed) for seed in (0, 1))
        assert torch.equal(one, two) is not differ
        assert torch.equal(one, gan.sample("images", 2, given, seed=0))


def test_pix2pix_8_g_is_judged_by_the_new_weights_of_d_on_the_fake_that_d_saw() -> None:
    gan = tiny("pix2pix")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    before = gan.losses(given, draws)
    fake = called(gan, "G", "fake_y", draws, given["x"])
    log = gan.step(given, draws)
    assert log["D/cGAN.discriminator"] == before["cGAN.discriminator"] and log["G/L1"] == before["L1"]
    assert not close(log["G/cGAN.generator"], before["cGAN.generator"], 1e-6)
    with torch.no_grad():
        score = gan.networks["D"](torch.cat([given["x"], fake], dim=1))
    assert close(log["G/cGAN.generator"], -torch.nn.functional.logsigmoid(score).mean())


# --- discogan

DISCOGAN_TERMS = """
schedule:
  dis: ~
  gen: ~
  both:
    together:
      dis: 0.5 * (GAN_A.discriminator + GAN_B.discriminator)
      gen: (1 - rate) * (0.1 * (GAN_A.generator + GAN_B.generator) + 0.9 * (FM_A + FM_B)) + rate * (REC_A + REC_B)
      TERM: {player: gen, minimize: TERM}
      SIDE: {player: gen, minimize: SIDE.generator}
      REC_A: {player: gen, minimize: REC_A}
"""


def exchange(gan: Any, pairs: list[tuple[str, str]]) -> None:
    """Exchanges the weights of networks."""
    for a, b in pairs:
        kept = {k: v.clone() for k, v in gan.networks[a].state_dict().items()}
        gan.networks[a].load_state_dict(gan.networks[b].state_dict())
        gan.networks[b].load_state_dict(kept)


def test_discogan_1_terms_of_b_reach_one_generator_and_reconstruction_both(tmp_path: Path) -> None:
    gan = variant(tmp_path, "discogan", DISCOGAN_TERMS.replace("TERM", "FM_B").replace("SIDE", "GAN_B"))
    given, draws = batch(gan, 3), gan.draw(3, 0)
    assert networks_of(gan.gradients("FM_B", given, draws)) == {"G_AB"}
    assert networks_of(gan.gradients("GAN_B", given, draws)) == {"G_AB"}
    assert networks_of(gan.gradients("REC_A", given, draws)) == {"G_AB", "G_BA"}


def test_discogan_2_one_of_three_iterations_is_the_discriminators_each_with_a_batch() -> None:
    gan = tiny("discogan")
    for i, player in enumerate(["dis", "gen", "gen"] * 2):
        assert gan.fetches() == 1
        with watched(gan) as steps:
            gan.step(batch(gan, 2, i), gan.draw(2, i))
        assert [phase for phase, _ in steps] == [player]
        assert networks_of(steps[0][1]) == ({"D_A", "D_B"} if player == "dis" else {"G_AB", "G_BA"})


def test_discogan_3_features_match_when_the_fakes_are_the_reals_in_another_order(tmp_path: Path) -> None:
    text = "draws:\n  p: permutation()\ngraph:\n  x_AB: take(x_B, p) + 0 * step * G_AB(x_A)\n"
    gan = variant(tmp_path, "discogan", text)
    found = gan.losses(batch(gan, 4), {"p": torch.tensor([2, 0, 3, 1])})
    assert found["FM_B"] < 1e-25 < 1e-6 < found["FM_A"] and found["GAN_B.generator"] > 0.1


def test_discogan_4_with_all_logits_0_the_losses_are_multiples_of_log_2() -> None:
    gan = tiny("discogan")
    for D in ("D_A", "D_B"):
        last_layer(gan, D)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    found = gan.losses(given, draws)
    assert close(found["GAN_A.generator"], LOG2) and close(found["GAN_B.generator"], LOG2)
    assert close(gan.step(given, draws)["dis"], 2 * LOG2)


def test_discogan_5_the_rate_mixes_the_game_and_the_reconstruction() -> None:
    logs = {}
    for rate in (0, 0.3, 1):
        gan = tiny("discogan", constants={"rate": rate})
        gan.clocks["step"] = 1
        logs[rate] = gan.step(batch(gan, 2), gan.draw(2, 0))
    log = logs[0.3]
    game = 0.1 * (log["gen/GAN_A.generator"] + log["gen/GAN_B.generator"]) + 0.9 * (log["gen/FM_A"] + log["gen/FM_B"])
    rec = log["gen/REC_A"] + log["gen/REC_B"]
    assert close(log["gen"], 0.7 * game + 0.3 * rec)
    assert close(logs[1]["gen"], rec) and set(logs[1]) == {"gen", "gen/REC_A", "gen/REC_B"}
    assert close(logs[0]["gen"], game) and not any("REC" in name for name in logs[0])


def test_discogan_6_exchanging_the_domains_exchanges_the_losses() -> None:
    gan = tiny("discogan")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    one = gan.losses(given, draws)
    exchange(gan, [("G_AB", "G_BA"), ("D_A", "D_B")])
    two = gan.losses({"x_A": given["x_B"], "x_B": given["x_A"]}, draws)
    for name in one:
        other = name.replace("_A", "_#").replace("_B", "_A").replace("_#", "_B")
        assert close(one[name], two[other], 1e-10), name
    for view in ("A", "B"):
        picture = gan.sample(view, 2, given)
        assert picture.min() > 0 and picture.max() < 1


@pytest.mark.parametrize("step, rate", [(1, 0.01), (9998, 0.01), (9999, 0.01), (10000, 0.5), (20000, 0.5)])
def test_discogan_7_the_rate_changes_at_10000(step: int, rate: float) -> None:
    gan = tiny("discogan")
    gan.clocks["step"] = step
    gan.game.constants()
    assert gan.game.rate == rate


# --- dualgan


def test_dualgan_1_a_step_of_one_player_leaves_the_other_alone_bit_for_bit() -> None:
    gan = tiny("dualgan")
    with watched(gan) as steps:
        gan.step(batch(gan, 2), gan.draw(2, 0))
    assert [(phase, networks_of(changed)) for phase, changed in steps] == [
        ("critic", {"D_A", "D_B"}),
        ("gen", {"G_A", "G_B"}),
    ]


def test_dualgan_2_a_constant_on_the_scores_shifts_the_generators_loss_only() -> None:
    gan = tiny("dualgan")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    one = gan.losses(given, draws)
    with torch.no_grad():
        list(gan.networks["D_A"].parameters())[-1].add_(1.5)
    two = gan.losses(given, draws)
    assert close(two["adv_A.generator"], one["adv_A.generator"] - 1.5)
    assert all(close(one[name], two[name], 1e-10) for name in one if name != "adv_A.generator")


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_dualgan_3_the_penalty_of_a_linear_critic_is_that_of_its_weight(scale: float, tmp_path: Path) -> None:
    text = "networks:\n  D_A:\n  - Flatten(), Linear(1)\n"
    gan = variant(tmp_path, "dualgan", text)
    w = gan.named_parameters()["D_A.1.weight"]
    with torch.no_grad():
        w.mul_(scale / w.norm())
    for seed in range(2):
        found = gan.losses(batch(gan, 2, seed), gan.draw(2, seed))
        assert close(found["gp_A"], (math.sqrt(1e-8 + scale**2) - 1) ** 2)
        assert not close(found["gp_B"], found["gp_A"], 1e-3)


def test_dualgan_4_with_clipping_the_critics_stay_within_the_bound(tmp_path: Path) -> None:
    text = """
constants: {gamma: 0}
players:
  critic: {after: "clamp(p, -0.01, 0.01)"}
"""
    gan = variant(tmp_path, "dualgan", text)
    for seed in range(2):
        gan.step(batch(gan, 2, seed), gan.draw(2, seed))
        largest = {n: float(p.detach().abs().max()) for n, p in gan.named_parameters().items()}
        assert max(v for n, v in largest.items() if n.startswith("D_")) <= 0.01
        assert max(v for n, v in largest.items() if n.startswith("G_")) > 0.01


def test_dualgan_5_the_identity_reconstructs_and_the_loss_is_linear_in_its_weight(tmp_path: Path) -> None:
    gan = variant(tmp_path, "dualgan", "networks:\n  G_A:\n  - _ * Parameter(init=ones())()\n  G_B:\n  - 1 * _\n")
    assert gan.losses(batch(gan, 2), gan.draw(2, 0))["rec_A"] == 0
    logs = []
    for weight in (500, 1000):
        gan = tiny("dualgan", constants={"lambda_A": weight})
        logs.append(gan.step(batch(gan, 2), gan.draw(2, 0)))
    assert logs[0]["gen/rec_A"] == logs[1]["gen/rec_A"] and logs[0]["gen/rec_A"] > 0.01
    assert close(logs[1]["gen"] - logs[0]["gen"], 500 * logs[0]["gen/rec_A"], 1e-10)


def test_dualgan_6_nothing_of_the_input_passes_the_bottleneck() -> None:
    gan = tiny("dualgan")
    parameters = gan.named_parameters()
    names = [n for n in parameters if n.startswith("G_A.e[6].")]
    with torch.no_grad():
        parameters[names[-1]].fill_(0.5)  # the centre, 0 at first, where the ReLU behind it has no slope
    found = gan.gradients("gen", batch(gan, 2), gan.draw(2, 0))
    assert [n for n in names if found[n].any()] == [names[-1]] and len(names) == 4
    assert all(g.any() for n, g in found.items() if n.startswith("G_A.e[5].") and n.endswith("weight"))


def test_dualgan_7_the_generators_are_deterministic() -> None:
    gan = tiny("dualgan")
    given = batch(gan, 2)
    assert {name.rsplit("/", 1)[-1] for name in gan.draw(2, 0)} == {"eps_A", "eps_B"}
    assert torch.equal(gan.sample("v", 2, given, seed=0), gan.sample("v", 2, given, seed=1))


def test_dualgan_8_exchanging_the_domains_exchanges_the_losses() -> None:
    gan = tiny("dualgan")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    eps = {name: draws[f"critic/{name}"] for name in ("eps_A", "eps_B")}
    one = gan.losses(given, eps)
    exchange(gan, [("G_A", "G_B"), ("D_A", "D_B")])
    two = gan.losses({"u": given["v"], "v": given["u"]}, {"eps_A": eps["eps_B"], "eps_B": eps["eps_A"]})
    for name in one:
        other = name.replace("_A", "_#").replace("_B", "_A").replace("_#", "_B")
        assert close(one[name], two[other], 1e-10), name


# --- cogan

COGAN_HALVES = """
graph:
  real: real_yes - real_no
  made: fake_yes - fake_no
losses:
  half_a: 0.5 * (expect(mean(softplus(-real[0:N // 2]))) + expect(mean(softplus(made[0:N // 2]))))
  half_b: 0.5 * (expect(mean(softplus(-real[N // 2:N]))) + expect(mean(softplus(made[N // 2:N]))))
schedule:
  one: {player: dis, minimize: half_a}
  two: {player: dis, minimize: half_b}
"""
COGAN_STREAMS = """
inputs:
  digits: ~
  a: {x_a: "image(C, H, W, range=[0, 1])"}
  b: {x_b: "image(C, H, W, range=[0, 1])"}
draws:
  z: normal(Z)
graph: {x_a: ~, x_b: ~, digit: ~}
"""
COGAN_ADAPTS = """
networks:
  classifier:
  - Conv2d(10, 1), Flatten()
graph:
  seen[d]: upto(judge, "features")(eyes[d](fake[d]))
  known: classifier(upto(judge, "features")(eyes[a](x_a)))
losses:
  feat: expect(sum((seen[a] - seen[b])**2))
  cls: expect(cross_entropy(known, 3))
players:
  dis: {networks: [eyes, judge, classifier]}
schedule:
  dis: adv.discriminator + 0.01 * feat + 10 * cls
"""


def test_cogan_1_5_shared_layers_change_both_pictures_and_a_head_its_own() -> None:
    gan = tiny("cogan")
    trunk = {n: p for n, p in gan.named_parameters().items() if n.startswith("trunk.")}
    assert [p.shape for p in trunk.values() if p.dim() == 1 and p.numel() == 1] == [(1,)] * 4  # PReLU
    assert sum(n.endswith("weight") and p.dim() == 1 for n, p in trunk.items()) == 4  # none of batch norm
    first = {d: gan.sample(d, 4, seed=1) for d in "ab"}
    with torch.no_grad():
        gan.named_parameters()["head[a].0.weight"].mul_(1.5)
    second = {d: gan.sample(d, 4, seed=1) for d in "ab"}
    assert not torch.equal(first["a"], second["a"]) and torch.equal(first["b"], second["b"])
    with torch.no_grad():
        trunk["trunk.4.weight"].mul_(1.5)
    third = {d: gan.sample(d, 4, seed=1) for d in "ab"}
    assert not torch.equal(second["a"], third["a"]) and not torch.equal(second["b"], third["b"])


def test_cogan_2_the_gradient_of_a_shared_layer_is_the_sum_of_the_domains_halves(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cogan", COGAN_HALVES)
    given, draws = batch(gan, 8), {"z": recipe_input(0, (4, 8))}
    whole, one, two = (gan.gradients(phase, given, draws) for phase in ("dis", "one", "two"))
    for part, networks in ((one, {"judge", "eyes[a]"}), (two, {"judge", "eyes[b]"})):
        assert networks_of(name for name, g in part.items() if g.any()) == networks
    assert all(torch.allclose(g, one[name] + two[name], atol=1e-15) for name, g in whole.items())


def test_cogan_3_with_all_logits_0_each_cross_entropy_is_log_2() -> None:
    gan = tiny("cogan")
    last_layer(gan, "judge")
    found = gan.losses(batch(gan, 4), gan.draw(4, 0))
    assert close(found["adv.discriminator"], 2 * LOG2) and close(found["adv.generator"], LOG2)


def test_cogan_4_equal_heads_make_equal_pictures_of_one_code() -> None:
    gan = tiny("cogan")
    assert not torch.equal(gan.sample("a", 4, seed=1), gan.sample("b", 4, seed=1))
    gan.networks["head[b]"].load_state_dict(gan.networks["head[a]"].state_dict())
    assert torch.equal(gan.sample("a", 4, seed=1), gan.sample("b", 4, seed=1))


def test_cogan_6_exchanging_the_domains_with_what_they_do_not_share_changes_nothing(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cogan", COGAN_STREAMS)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    one = gan.losses(given, draws)
    exchange(gan, [("head[a]", "head[b]"), ("eyes[a]", "eyes[b]")])
    two = gan.losses({"x_a": given["x_b"], "x_b": given["x_a"]}, draws)
    assert all(close(one[name], two[name]) for name in one)


def test_cogan_7_codes_of_pictures_that_look_alike_are_alike(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cogan", COGAN_ADAPTS)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    assert gan.losses(given, draws)["feat"] > 1e-6
    for part in ("head", "eyes"):
        gan.networks[f"{part}[b]"].load_state_dict(gan.networks[f"{part}[a]"].state_dict())
    assert gan.losses(given, draws)["feat"] == 0
    graph = load(tmp_path / "spec.yaml").graph  # the sheet's count for mnist2usps
    names = graph.parameters(graph.players["dis"].networks).values()
    assert sum(math.prod(shape) for shape in names) == 432603


def test_cogan_8_each_player_has_noise_of_its_own() -> None:
    gan = tiny("cogan")
    draws = gan.draw(8, 0)
    made = [draws[name] for name in draws if "/" in name]
    assert set(draws) == {"z", "dis/z", "gen/z"} and all(z.shape == (4, 8) for z in made)
    assert not torch.equal(*made)


def test_cogan_makes_edges_of_the_second_half_of_a_batch(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cogan", "sample:\n  edges: x_b\n")
    digits = torch.zeros(4, 1, 28, 28, dtype=torch.float64)
    digits[2:, 0, 10:13, 10:13] = 1.0
    edges = gan.sample("edges", 4, {"digits": digits})
    expected = torch.zeros(2, 1, 28, 28, dtype=torch.float64)
    expected[:, 0, 9:14, 9:14] = 1.0
    expected[:, 0, 10:13, 10:13] = 0.0
    assert torch.equal(edges.double(), expected)
