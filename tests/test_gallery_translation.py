"""Translators whose pictures vary, and translators between many domains: section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support import LOG2, batch, build, close, networks_of, one_network, recipe_input, tiny, variant, written, zeroed
from test_systems import PHASES, exchange, moves
from torch import Tensor, nn

from gangraph.compiler import load

DOMAINS = (0, 1)


def mirrored(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with the domains 0 and 1 exchanged in their names."""
    return {re.sub(r"\[([01])\]", lambda m: f"[{1 - int(m[1])}]", name): value for name, value in values.items()}


def changed(one: dict[str, Tensor], two: dict[str, Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], two[name])}


# --- munit


def test_munit_1_the_discriminators_loss_reaches_no_translator() -> None:
    gan = tiny("munit")
    assert networks_of(gan.gradients("dis", batch(gan, 2), gan.draw(2, 0))) == {"D[0]", "D[1]"}


@pytest.mark.parametrize("d", DOMAINS)
def test_munit_2_with_all_scores_0_both_sides_of_that_domain_are_3(d: int) -> None:
    gan = tiny("munit")
    zeroed(gan, f"D[{d}]")
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    for side in ("discriminator", "generator"):
        assert found[f"adv[{d}].{side}"] == 3 != found[f"adv[{1 - d}].{side}"]


ADAIN = "{inputs: [x, p], output: 'munit_adain()(x, p) * Parameter(init=ones())()'}"


def adaptive(folder: Path, block: str, parameters: int) -> Any:
    text = one_network(block, "Q(x, p)", {"x": "tensor(4, 6, 6)", "p": f"vector({parameters})"})
    return build(written(folder, text)).networks["Q"]


def test_munit_3_a_scale_of_1_and_a_shift_of_0_leave_plain_instance_norm(tmp_path: Path) -> None:
    adain = adaptive(tmp_path, ADAIN, 8)
    x = recipe_input(0, (2, 4, 6, 6))
    plain = torch.cat([torch.zeros(2, 4), torch.ones(2, 4)], 1).double()
    assert torch.equal(adain(x, plain), nn.InstanceNorm2d(4)(x))


def test_munit_3_a_scale_of_0_leaves_the_residual_path_only(tmp_path: Path) -> None:
    block = adaptive(tmp_path, "munit_adain_residual()", 16)
    p = recipe_input(0, (2, 16))
    p[:, 12:] = 0  # the scale of the second norm
    for i in (1, 2):
        x = recipe_input(i, (2, 4, 6, 6))
        with torch.no_grad():
            added = block(x, p) - x
        assert torch.allclose(added, p[:, 8:12, None, None].expand_as(x), atol=1e-14)


def test_munit_4_adaptive_norm_forgets_scale_and_shift_of_a_channel(tmp_path: Path) -> None:
    adain = adaptive(tmp_path, ADAIN, 8)
    x, p = 100 * recipe_input(0, (2, 4, 6, 6)), recipe_input(1, (2, 8))
    a, b = torch.tensor([0.5, 1, 2, 7]).double(), torch.tensor([3, -1, 0, 0.1]).double()
    assert torch.allclose(adain(x, p), adain(x * a[:, None, None] + b[:, None, None], p), atol=1e-6)


@pytest.mark.parametrize("d", DOMAINS)
def test_munit_5_a_style_acts_in_its_own_domain_only(d: int) -> None:
    gan = tiny("munit")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    one = gan.losses(given, draws)
    two = gan.losses(given, {**draws, **{k: v + 1 for k, v in draws.items() if k.endswith(f"s[{d}]")}})
    mine = {f"adv[{d}].discriminator", f"adv[{d}].generator", f"recon_s[{d}]", f"recon_c[{d}]", f"cc[{1 - d}]"}
    assert changed(one, two) == mine & set(one)


def test_munit_6_codes_that_come_back_cost_nothing(tmp_path: Path) -> None:
    text = """
sizes: {S: 2}
networks:
  Ec[d]: [_ * Parameter(init=ones())(), "_[:, 0:1]"]
  Es[d]: [_ * Parameter(init=ones())(), "mean(_[:, 1:3], dim=[2, 3])"]
  M[d]: [_ * Parameter(init=ones())()]
  G[d]:
    inputs: [c, s]
    output: concat(c, tile(s, c)) * Parameter(init=ones())()
"""
    gan = variant(tmp_path, "munit", text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    for d in DOMAINS:
        assert close(found[f"recon_s[{d}]"], 0) and close(found[f"recon_c[{d}]"], 0) and found[f"recon_x[{d}]"] > 0.1


def test_munit_7_the_content_loss_pulls_at_its_target_as_much_as_at_the_reconstruction(tmp_path: Path) -> None:
    text = """
schedule:
  all:
    together:
      back: {player: gen, minimize: "expect(l1(c_back[1], stop(c[0])))"}
      target: {player: gen, minimize: "expect(l1(stop(c_back[1]), c[0]))"}
      one: {player: gen, minimize: "recon_c[1]"}
"""
    gan = variant(tmp_path, "munit", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    back, target, one = (gan.gradients(p, given, draws) for p in ("back", "target", "one"))
    assert networks_of(target) == {"Ec[0]"} and networks_of(back) == {"Ec[0]", "Ec[1]", "M[1]", "G[1]"}
    assert all(torch.allclose(one[n], back[n] + target.get(n, 0), atol=1e-14) for n in one)
    Ec, M, G = (gan.networks[n] for n in ("Ec[0]", "M[1]", "G[1]"))
    c = Ec(given["x[0]"])
    with torch.no_grad():
        c_back = gan.networks["Ec[1]"](G(c, M(draws["all/s[1]"])))
        pull = (c_back - c).sign() / c.numel()  # the gradient at the reconstruction
    expected = torch.autograd.grad(c, list(Ec.parameters()), -pull)
    assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(target.values(), expected, strict=True))


def test_munit_8_discriminators_and_translators_draw_styles_of_their_own() -> None:
    draws = tiny("munit").draw(2, 0)
    drawn = {name: v for name, v in draws.items() if "/" in name}  # the others are for losses and samples
    assert set(drawn) == {f"{phase}/s[{d}]" for phase in ("dis", "gen") for d in DOMAINS}
    assert all(v.shape == (2, 8) for v in drawn.values()) and len({float(v[0, 0]) for v in drawn.values()}) == 4


def test_munit_9_the_mapping_gives_a_shift_and_a_scale_for_each_channel_of_each_adaptive_norm() -> None:
    gan = tiny("munit")
    norms = [m for m in gan.networks["G[0]"].modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 8
    assert gan.networks["M[0]"](torch.zeros(1, 8).double()).shape == (1, 2 * sum(m.num_features for m in norms))


def test_munit_10_exchanging_the_domains_exchanges_the_losses() -> None:
    gan = tiny("munit")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    one = gan.losses(given, draws)
    exchange(gan, [(f"{n}[0]", f"{n}[1]") for n in ("Ec", "Es", "M", "G", "D")])
    two = mirrored(gan.losses(mirrored(given), mirrored(draws)))
    assert all(close(one[name], two[name], 1e-10) for name in one)


@pytest.mark.parametrize("step, rate", [(0, 1e-4), (99_998, 1e-4), (99_999, 5e-5), (199_999, 2.5e-5)])
def test_munit_the_rate_halves_every_100000_iterations_before_the_step(step: int, rate: float) -> None:
    gan = tiny("munit")
    gan.clocks["step"] = step
    gan.step(batch(gan, 2), gan.draw(2, 0))
    rates = {group["lr"] for player in gan.game.players.values() for o in player for group in o.param_groups}
    assert rates == {rate}


def test_munit_the_cycle_is_there_where_it_has_a_weight() -> None:
    for weight in (0, 10):
        gan = tiny("munit", constants={"cyc": weight})
        log = gan.step(batch(gan, 2), gan.draw(2, 0))
        assert ("gen/cc[0]" in log) == ("gen/cc[1]" in log) == ("cc_0 = " in gan.source) == bool(weight)


# --- drit


def full(gan: Any) -> Any:
    """The third iteration of three."""
    gan.clocks["epoch_step"] = 2
    return gan


def test_drit_1_each_step_of_a_full_iteration_moves_its_own_networks() -> None:
    gan = full(tiny("drit"))
    steps = moves(gan, 2, 0)
    assert [(phase, networks_of(changed)) for phase, changed in steps] == PHASES["drit"]


def test_drit_1_the_second_makers_step_passes_through_the_encoders_of_attributes(tmp_path: Path) -> None:
    text = """
schedule:
  makers:
    together:
      all: {player: EG, minimize: "domain * add(adv2.generator) + latent * add(regress) + ms * add(seek)"}
"""
    gan = variant(tmp_path, "drit", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    found, whole = gan.gradients("EG2", given, draws), gan.gradients("all", given, draws)
    assert any(g.any() for n, g in whole.items() if n.startswith("Ea["))
    assert not any(n.startswith("Ea[") for n in found) and all(torch.equal(g, whole[n]) for n, g in found.items())


def test_drit_2_the_encoders_content_loss_is_least_where_the_logit_is_0(tmp_path: Path) -> None:
    text = "schedule:\n  makers:\n    together:\n      alone: {player: EG, minimize: add(confuse)}\n"
    gan = variant(tmp_path, "drit", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    last = [n for n in gan.named_parameters() if n.startswith("Dc.")][-2:]
    assert any(g.any() for g in gan.gradients("alone", given, draws).values())
    zeroed(gan, *last)
    found = gan.losses(given, draws)
    assert all(close(found[f"confuse[{d}]"], LOG2) for d in DOMAINS)
    assert not any(g.any() for g in gan.gradients("alone", given, draws).values())
    for bias in (-1.0, 0.1):
        with torch.no_grad():
            gan.named_parameters()[last[1]].fill_(bias)
        expected = math.log(1 + math.exp(bias)) - bias / 2
        assert expected > LOG2 and close(gan.losses(given, draws)["confuse[0]"], expected)


def test_drit_3_with_all_logits_0_the_discriminators_losses_are_multiples_of_log_2() -> None:
    gan = tiny("drit")
    zeroed(gan, "D[", "D2[", "Dc.")
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    for d in DOMAINS:
        assert close(found[f"which[{d}]"], LOG2)
        assert close(found[f"adv[{d}].discriminator"], 6 * LOG2) and close(found[f"adv[{d}].generator"], 3 * LOG2)
        assert close(found[f"adv2[{d}].discriminator"], 12 * LOG2) and close(found[f"adv2[{d}].generator"], 6 * LOG2)


def test_drit_3_the_content_discriminator_learns_0_and_1() -> None:
    gan = tiny("drit")
    last = [n for n in gan.named_parameters() if n.startswith("Dc.")][-2:]
    zeroed(gan, last[0])
    with torch.no_grad():
        gan.named_parameters()[last[1]].fill_(2.0)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert close(found["which[0]"], math.log(1 + math.exp(2))) and close(found["which[1]"], math.log(1 + math.exp(-2)))


def test_drit_4_the_divergence_is_0_at_the_prior_and_a_sum_over_the_half_batch() -> None:
    gan = tiny("drit")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    heads = [n for n in gan.named_parameters() if n.startswith("Ea[0].")][-4:]
    for mu, lv in ((0.0, 0.0), (0.5, -0.7)):
        with torch.no_grad():
            for name, value in zip(heads, (0, mu, 0, lv), strict=True):
                gan.named_parameters()[name].fill_(value)
        assert close(gan.losses(given, draws)["KL[0]"], 2 * 8 * 0.5 * (mu**2 + math.exp(lv) - 1 - lv))


def test_drit_5_a_generator_that_ignores_its_noise_pays_100000(tmp_path: Path) -> None:
    text = """
networks:
  G[d]:
    inputs: [c, z]
    output: drit_generator(dec_share, C)(c, 0 * z)
"""
    gan = variant(tmp_path, "drit", text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert all(close(found[f"seek[{d}]"], 1e5) for d in DOMAINS)


def test_drit_5_mode_seeking_is_the_ratio_of_distances_and_not_a_number_for_equal_noise() -> None:
    gan = tiny("drit")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    again = {**draws, "z2": draws["z"]}
    assert all(gan.losses(given, again)[f"seek[{d}]"].isnan() for d in DOMAINS)
    quiet = {k: torch.zeros_like(v) if "enc_share" in k else v for k, v in draws.items()}
    with torch.no_grad():
        Ec, G = gan.networks["Ec[1]"].eval(), gan.networks["G[0]"]
        c = Ec(given["y"][:1], gan.module.Draws(gan.game.like, None, {}).call("Ec[1]", "v"))  # also 9: no draw is made
        moved = (G(c, draws["z2"]) - G(c, draws["z"])).abs().mean() / (draws["z2"] - draws["z"]).abs().mean()
        Ec.train()
    assert close(gan.losses(given, quiet)["seek[0]"], 1 / (moved + 1e-5), 1e-10)


def test_drit_translating_twice_brings_content_and_attribute_back(tmp_path: Path) -> None:
    text = """
sizes: {Z: 2, layers: ~}
networks:
  enc_share: ~
  dec_share: ~
  Ec[d]: [_ * Parameter(init=ones())(), "_[:, 0:1]"]
  Ea[d]:
    inputs: [x]
    graph:
      mu: mean(x[:, 1:3], dim=[2, 3]) * Parameter(init=ones())()
      lv: 0 * mu
    outputs: [mu, lv]
  G[d]:
    inputs: [c, z]
    output: concat(c, tile(z, c)) * Parameter(init=ones())()
  Dc: [Flatten(), Linear(1)]
init: {ConvTranspose2d.weight: ~}
tiny:
  sizes: {layers: ~}
"""
    gan = variant(tmp_path, "drit", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    given = {name: torch.cat([x[:, :1], x[:, 1:, :1, :1].expand(-1, -1, 100, 100)], 1) for name, x in given.items()}
    quiet = {k: torch.zeros_like(v) if "eps" in k else v for k, v in draws.items()}
    found = gan.losses(given, quiet)
    assert all(close(found[f"{loss}[{d}]"], 0) for loss in ("cross", "self", "regress") for d in DOMAINS)


def test_drit_6_the_shared_parts_are_one_tensor_each_for_both_domains() -> None:
    gan = tiny("drit")
    for name, inner in (("Ec", "enc_share"), ("G", "dec_share")):
        shared = {id(p) for p in gan.networks[inner].parameters()}
        one, two = ({id(p) for p in gan.networks[f"{name}[{d}]"].parameters()} for d in DOMAINS)
        assert shared and one & two == shared
    graph = load("drit").graph
    sizes = [sum(math.prod(s) for s in graph.parameters((f"{n}[0]", f"{n}[1]")).values()) for n in ("Ec", "Ea", "G")]
    assert sizes == [9018112, 2688160, 9564710]


def test_drit_7_of_three_iterations_one_is_full_and_each_steps_the_content_discriminator() -> None:
    gan = tiny("drit")
    played = []
    for i in range(6):
        gan.clocks["epoch_step"] = i
        assert gan.fetches() == 1
        log = gan.step(batch(gan, 2, i), gan.draw(2, i))
        played.append([key for key in log if "/" not in key])
    assert played[0] == played[1] == played[3] == played[4] == ["Dc"]
    assert played[2] == played[5] == [phase for phase, _ in PHASES["drit"]]


def test_drit_8_exchanging_the_domains_exchanges_the_losses_but_for_the_labels_of_the_content() -> None:
    gan = tiny("drit")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    one = gan.losses(given, draws)
    exchange(gan, [(f"{n}[0]", f"{n}[1]") for n in ("Ec", "Ea", "G", "D", "D2")])
    two = mirrored(gan.losses({"x": given["y"], "y": given["x"]}, mirrored(draws)))
    assert all(close(one[name], two[name], 1e-10) != name.startswith("which") for name in one)


def test_drit_the_discriminators_see_old_fakes_and_judge_the_makers_after_their_steps() -> None:
    gan = full(tiny("drit"))
    given, draws = batch(gan, 2), gan.draw(2, 0)
    before = gan.losses(given, draws)
    log = gan.step(given, draws)
    for d in DOMAINS:
        assert torch.equal(log[f"D[{d}]/adv[{d}].discriminator"], before[f"adv[{d}].discriminator"])
        assert torch.equal(log[f"D2[{d}]/adv2[{d}].discriminator"], before[f"adv2[{d}].discriminator"])
        assert torch.equal(log[f"EG1/self[{d}]"], before[f"self[{d}]"])
        assert torch.equal(log[f"EG2/seek[{d}]"], before[f"seek[{d}]"])
        assert log[f"EG1/adv[{d}].generator"] != before[f"adv[{d}].generator"]
        assert log[f"EG1/confuse[{d}]"] != before[f"confuse[{d}]"]


def test_drit_the_makers_take_two_steps_of_adam_and_the_encoders_of_attributes_one() -> None:
    gan = full(tiny("drit"))
    gan.step(batch(gan, 2), gan.draw(2, 0))
    names = {id(p): name for name, p in gan.named_parameters().items()}
    (adam,) = gan.game.players["EG"]
    counts = {names[id(p)]: int(state["step"]) for p, state in adam.state.items()}
    assert {n for n, count in counts.items() if count == 1} == {n for n in counts if n.startswith("Ea[")}
    assert set(counts.values()) == {1, 2}


def test_drit_the_second_half_of_the_batch_is_read_by_the_second_discriminators_only() -> None:
    gan = tiny("drit")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    other = {name: torch.cat([x[:1], -x[1:]]) for name, x in given.items()}
    assert changed(gan.losses(given, draws), gan.losses(other, draws)) == {f"adv2[{d}].discriminator" for d in DOMAINS}


@pytest.mark.parametrize("epoch, factor", [(0, 1), (600, 1), (601, 600 / 601), (1200, 1 / 601)])
def test_drit_the_rate_falls_after_600_epochs(epoch: int, factor: float) -> None:
    gan = full(tiny("drit"))
    gan.clocks["epoch"] = epoch
    gan.step(batch(gan, 2), gan.draw(2, 0))
    rates = {name: o.param_groups[0]["lr"] for name, (o,) in gan.game.players.items()}
    assert all(close(rate, (4e-5 if name == "Dc" else 1e-4) * factor) for name, rate in rates.items())


# --- cross-domain-disentanglement

CDD = "cross-domain-disentanglement"


@pytest.mark.parametrize("d", DOMAINS)
def test_cross_domain_disentanglement_1_the_encoder_works_against_the_exclusive_decoder(d: int, tmp_path: Path) -> None:
    reversed_, plain = tiny(CDD), variant(tmp_path, CDD, "graph:\n  ex[d]: Ex[d](E[1 - d])\n")
    given, draws = batch(plain, 2), plain.draw(2, 0)
    assert not changed(reversed_.losses(given, draws), plain.losses(given, draws))
    found, expected = (gan.gradients(f"ex[{d}]", given, draws) for gan in (reversed_, plain))
    assert networks_of(found) == {f"Ex[{d}]", f"Enc[{1 - d}]"} and any(g.any() for g in found.values())
    for name, g in found.items():
        assert torch.allclose(g, -expected[name] if name.startswith("Enc") else expected[name], atol=1e-14)


def test_cross_domain_disentanglement_2_each_step_moves_its_own_networks() -> None:
    gan = tiny(CDD)
    reached = {phase: networks_of(gan.gradients(phase, batch(gan, 2), gan.draw(2, 0))) for phase in gan.phases}
    assert all(reached[f"{D}[{d}]"] == {f"{D}[{d}]"} for D in ("D", "D_ex") for d in DOMAINS)
    assert reached["gen[1]"] == {"Enc[0]", "Dec[1]"} and reached["gen[0]"] == {"Enc[1]", "Dec[0]"}


def test_cross_domain_disentanglement_3_the_shared_codes_pull_at_each_other_alike() -> None:
    gan = tiny(CDD)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    S = [gan.networks[f"Enc[{d}]"](given[name])[0] for d, name in enumerate("xy")]
    pull = 100 * (S[0] - S[1]).detach().sign() / S[0].numel()
    found = gan.gradients("feature", given, draws)
    for d, force in ((0, pull), (1, -pull)):
        parameters = dict(gan.networks[f"Enc[{d}]"].named_parameters())
        expected = torch.autograd.grad(S[d], list(parameters.values()), force, allow_unused=True)
        mine = [g for name, g in found.items() if name.startswith(f"Enc[{d}]")]
        theirs = [g for g in expected if g is not None]
        assert len(mine) == len(theirs) > 0
        assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("k", [0.5, 1.0, 3.0])
def test_cross_domain_disentanglement_4_the_penalty_of_a_linear_critic_is_that_of_its_norm(
    k: float, tmp_path: Path
) -> None:
    text = """
networks:
  D[d]:
    inputs: [condition, image]
    output: Linear(1)(Flatten()(image))
  D_ex[d]:
    inputs: [condition, image]
    output: Linear(1)(Flatten()(image))
"""
    gan = variant(tmp_path, CDD, text)
    with torch.no_grad():
        for name, p in gan.named_parameters().items():
            if name.startswith("D") and not name.startswith("Dec") and name.endswith("weight"):
                p.mul_(k / p.norm())
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert all(close(found[f"{GP}[{d}]"], (k - 1) ** 2, 1e-10) for GP in ("GP", "GP_ex") for d in DOMAINS)


@pytest.mark.parametrize("d", DOMAINS)
@pytest.mark.parametrize("critic, penalty, alpha", [("D", "GP", "alpha"), ("D_ex", "GP_ex", "alpha_ex")])
def test_cross_domain_disentanglement_the_penalty_is_taken_beside_the_partner_and_at_alpha_0_at_the_real_picture(
    critic: str, penalty: str, alpha: str, d: int
) -> None:
    gan = tiny(CDD)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    found = gan.losses(given, {**draws, f"{alpha}[{d}]": torch.zeros(2)})
    image, partner = (given["xy"[i]].clone().requires_grad_() for i in (d, 1 - d))
    (slope,) = torch.autograd.grad(gan.networks[f"{critic}[{d}]"](partner, image).sum(), image)
    assert close(found[f"{penalty}[{d}]"], (slope.flatten(1).norm(dim=1) - 1).square().mean(), 1e-10)


def test_cross_domain_disentanglement_5_equal_shared_codes_and_perfect_decoders_cost_nothing(tmp_path: Path) -> None:
    text = """
sizes: {Z: C * H * W}
networks:
  Enc[d]:
    inputs: [x]
    graph:
      shared: 0 * x + Parameter(init=ones())()
      exclusive: Flatten()(x) * Parameter(init=ones())()
    outputs: [shared, exclusive]
  Dec[d]:
    inputs: [shared, exclusive]
    output: shared * reshape(exclusive, C, H, W) * Parameter(init=ones())()
"""
    gan = variant(tmp_path, CDD, text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert found["align"] == found["rec[0]"] == found["rec[1]"] == 0
    assert found["z_rec[0]"] == found["S_rec[0]"] == 0


def test_cross_domain_disentanglement_6_each_value_reads_what_the_paper_lets_it_read() -> None:
    gan = tiny(CDD)
    given, draws = batch(gan, 2), {k: v for k, v in gan.draw(2, 0).items() if not k.startswith("all/")}
    one = gan.losses(given, draws)
    two = gan.losses({**given, "y": -given["y"]}, draws)
    assert set(one) - changed(one, two) == {"adv[1].generator", "adv_ex[1].generator", "S_rec[1]", "z_rec[1]"}
    three = gan.losses(given, {**draws, "z": draws["z"] + 1})
    still = {f"{name}[{d}]" for name in ("GP_ex", "rec") for d in DOMAINS}
    still |= {f"adv_ex[{d}].{side}" for d in DOMAINS for side in ("discriminator", "generator")}
    assert set(one) - changed(one, three) == still | {"align"}


def test_cross_domain_disentanglement_7_a_picture_depends_on_its_batch_also_when_it_samples() -> None:
    gan = tiny(CDD)
    given = batch(gan, 2)
    other = {**given, "x": torch.cat([given["x"][:1], -given["x"][1:]])}
    one, two = gan.sample("y", 2, given, seed=0), gan.sample("y", 2, other, seed=0)
    assert not torch.allclose(one[0], two[0], atol=1e-6)
    assert torch.equal(one, gan.sample("y", 2, given, seed=0))


@pytest.mark.parametrize("size, strips", [(64, 2), (128, 8), (256, 32)])
def test_cross_domain_disentanglement_8_a_picture_has_a_score_for_each_strip(size: int, strips: int) -> None:
    (module,) = load(CDD, sizes={"H": size, "W": size}).graph.networks["D[0]"].variants.values()
    assert [node.type.shape for node in module.outputs] == [(strips, 1)] and strips == (size // 16) ** 2 // 8


def test_cross_domain_disentanglement_9_all_networks_together_have_as_many_parameters_as_the_sheet_says() -> None:
    graph = load(CDD).graph
    assert sum(math.prod(shape) for shape in graph.parameters(tuple(graph.networks)).values()) == 46744992


def test_cross_domain_disentanglement_an_encoder_is_moved_by_six_optimizers_from_gradients_at_old_weights() -> None:
    gan = tiny(CDD)
    given, draws = batch(gan, 2), {k: v for k, v in gan.draw(2, 0).items() if not k.startswith("all/")}
    before = gan.losses(given, draws)
    log = gan.step(given, draws)
    assert all(torch.equal(log[f"all/{name}"], value) for name, value in before.items())
    for d in DOMAINS:
        first = gan.named_parameters()[f"Enc[{d}].h.0.weight"]
        movers = {name for name, (adam,) in gan.game.players.items() if first in adam.state}
        assert movers == {f"gen[{1 - d}]", f"ex[{1 - d}]", "auto[0]", "auto[1]", "feature", "code"}


# --- stargan, stargan-rafd, stargan-joint

STARGANS = ("stargan", "stargan-rafd", "stargan-joint")


@pytest.mark.parametrize("system", STARGANS)
def test_stargan_1_the_generator_moves_in_every_fifth_iteration_only(system: str) -> None:
    gan = tiny(system)
    for step in range(10):
        expected = [(name, moved) for name, moved in PHASES[system] if name[0] == "D" or step % 5 == 4]
        steps = moves(gan, 2, step)
        assert [(phase, networks_of(changed)) for phase, changed in steps] == expected


@pytest.mark.parametrize("system", STARGANS)
def test_stargan_2_the_discriminators_losses_reach_no_generator(system: str) -> None:
    gan = tiny(system)
    for phase in [phase for phase in gan.phases if phase[0] == "D"]:
        assert networks_of(gan.gradients(phase, batch(gan, 2), gan.draw(2, 0))) == {"D"}


def test_stargan_3_classes_and_scores_have_heads_of_their_own_and_one_trunk(tmp_path: Path) -> None:
    text = """
schedule:
  classes: {player: D, minimize: cls_r}
  scores: {player: D, minimize: adv.discriminator + penalty}
"""
    gan = variant(tmp_path, "stargan", text)
    found = [set(gan.gradients(phase, batch(gan, 2), gan.draw(2, 0))) for phase in ("classes", "scores")]
    heads = [{n for n in gan.named_parameters() if n.startswith(f"D.{head}")} for head in ("cls", "src")]
    assert [names & (heads[0] | heads[1]) for names in found] == heads and all(heads)
    assert any(n.startswith("D.h.") for n in found[0] & found[1])


def test_stargan_4_the_classes_of_the_other_data_set_have_zero_gradient(tmp_path: Path) -> None:
    text = """
schedule:
  a: {player: D, minimize: "cls_r[celeba]"}
  b: {player: D, minimize: "cls_r[rafd]"}
"""
    gan = variant(tmp_path, "stargan-joint", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    (head,) = (name for name in gan.named_parameters() if name.startswith("D.cls"))
    for phase, own in (("a", range(5)), ("b", range(5, 13))):
        rows = [bool(row.any()) for row in gan.gradients(phase, given, draws)[head]]
        assert [i for i, moved in enumerate(rows) if moved] == list(own)
    one = gan.losses(given, draws)
    with torch.no_grad():
        gan.named_parameters()[head][:5] *= -2
    assert changed(one, gan.losses(given, draws)) == {"cls_r[celeba]", "cls_f[celeba]"}


def test_stargan_4_a_label_has_its_data_sets_part_and_a_mask(tmp_path: Path) -> None:
    text = """
losses:
  first: expect(sum((c_org[celeba] - concat(attributes, zeros(8), [1, 0]))**2))
  second: expect(sum((c_org[rafd] - concat(zeros(5), one_hot(expression, K), [0, 1]))**2))
schedule:
  more: {player: D, minimize: "first + second + cls_r[rafd]"}
meant: ["constant(first)", "constant(second)"]
"""
    gan = variant(tmp_path, "stargan-joint", text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert found["first"] == found["second"] == 0


def test_stargan_5_targets_are_the_batchs_own_labels_permuted() -> None:
    gan = tiny("stargan")
    given, draws = batch(gan, 3), gan.draw(3, 0)
    G, D = gan.networks["G"], gan.networks["D"]
    for order in ([0, 1, 2], [2, 0, 1]):
        found = gan.losses(given, {**draws, "order": torch.tensor(order)})
        with torch.no_grad():
            c_trg = given["c_org"][order]
            fake = G(given["x"], c_trg)
            src, cls = D(fake)
            expected = {
                "adv.generator": -src.mean(),
                "cls_f": nn.functional.binary_cross_entropy_with_logits(cls, c_trg, reduction="sum") / 3,
                "cycle": (G(fake, given["c_org"]) - given["x"]).abs().mean(),
            }
        assert all(close(found[name], value) for name, value in expected.items())
    turned = {name: value[order] for name, value in given.items()}
    with torch.no_grad():
        assert torch.allclose(G(turned["x"], turned["c_org"]), G(given["x"], given["c_org"])[order], atol=1e-12)


LINEAR = """
networks:
  D:
    inputs: [x]
    graph:
      h: Flatten()(x)
      src: Linear(1)(h) + SHIFT
      cls: Linear(K)(h)
    outputs: [src, cls]
sizes: {layers: ~}
tiny:
  sizes: {layers: ~}
"""


def test_stargan_6_a_constant_on_every_score_moves_the_generators_loss_only(tmp_path: Path) -> None:
    found = []
    for shift in ("0", "3"):
        gan = variant(tmp_path, "stargan", LINEAR.replace("SHIFT", shift))
        found.append(gan.losses(batch(gan, 2), gan.draw(2, 0)))
    for name, value in found[0].items():
        assert close(found[1][name], value - 3 * (name == "adv.generator"), 1e-12)


@pytest.mark.parametrize("norm", [0.5, 1.0, 3.0])
def test_stargan_7_the_penalty_of_a_linear_critic_is_that_of_its_norm(norm: float, tmp_path: Path) -> None:
    gan = variant(tmp_path, "stargan", LINEAR.replace("SHIFT", "0"))
    given, draws = batch(gan, 2), gan.draw(2, 0)
    with torch.no_grad():
        (weight,) = (p for n, p in gan.named_parameters().items() if n.startswith("D.src") and p.dim() == 2)
        weight.mul_(norm / weight.norm())
    for alpha in (0.0, 0.3, 1.0):
        found = gan.losses(given, {**draws, "alpha": torch.full((2,), alpha)})
        assert close(found["penalty"], (norm - 1) ** 2, 1e-12)


def test_stargan_7_the_interpolation_is_the_picture_at_alpha_1_and_the_fake_at_0() -> None:
    gan = tiny("stargan")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    with torch.no_grad():
        fake = gan.networks["G"](given["x"], given["c_org"][draws["order"]])
    for alpha, point in ((1.0, given["x"]), (0.0, fake)):
        point = point.clone().requires_grad_()
        (slope,) = torch.autograd.grad(gan.networks["D"](point)[0].sum(), point)
        found = gan.losses(given, {**draws, "alpha": torch.full((2,), alpha)})
        assert close(found["penalty"], (slope.flatten(1).norm(dim=1) - 1).square().mean(), 1e-10)


def test_stargan_8_with_all_logits_0_classes_cost_log_2_an_attribute_or_log_8() -> None:
    for system, expected in (("stargan", {"": 5 * LOG2}), ("stargan-rafd", {"": math.log(8)})):
        gan = tiny(system)
        zeroed(gan, "D.cls")
        found = gan.losses(batch(gan, 2), gan.draw(2, 0))
        assert all(close(found[f"{loss}{s}"], v) for loss in ("cls_r", "cls_f") for s, v in expected.items())
    gan = tiny("stargan-joint")
    zeroed(gan, "D.cls")
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    for loss in ("cls_r", "cls_f"):
        assert close(found[f"{loss}[celeba]"], 5 * LOG2) and close(found[f"{loss}[rafd]"], math.log(8))


@pytest.mark.parametrize("system", STARGANS)
def test_stargan_9_an_identity_that_ignores_labels_has_no_cycle_loss(system: str, tmp_path: Path) -> None:
    text = """
sizes: {blocks: ~}
networks:
  G:
    inputs: [x, c]
    output: x * Parameter(init=ones())() + 0 * sum(c, dim=1)
tiny:
  sizes: {blocks: ~}
"""
    gan = variant(tmp_path, system, text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    cycles = [value for name, value in found.items() if name.startswith("cycle")]
    assert cycles and not any(cycles)


@pytest.mark.parametrize("mode, seen", [("reflect", False), ("zeros", True)])
def test_stargan_10_reflected_borders_would_hide_the_label_from_the_first_norm(
    mode: str, seen: bool, tmp_path: Path
) -> None:
    network = (
        '{inputs: [x, c], output: ["concat(x, tile(c, x))", '
        f"'Conv2d(4, 7, padding=3, padding_mode=\"{mode}\", bias=False)', InstanceNorm2d()]}}"
    )
    text = one_network(network, "Q(x, c)", {"x": "image(3, 16, 16)", "c": "vector(5)"})
    Q = build(written(tmp_path, text)).networks["Q"]
    x, c = recipe_input(0, (2, 3, 16, 16)), recipe_input(1, (2, 5))
    with torch.no_grad():
        assert torch.allclose(Q(x, c), Q(x, 1 - c), atol=1e-10) != seen


@pytest.mark.parametrize(
    "step, rate", [(0, 1e-4), (100_999, 1e-4), (101_000, 1e-4 - 1e-9), (199_999, 9.9901e-5), (200_000, 9.99e-5)]
)
def test_stargan_11_the_rate_falls_to_almost_what_it_was(step: int, rate: float) -> None:
    for system in STARGANS:
        gan = tiny(system)
        gan.clocks["step"] = step
        gan.step(batch(gan, 2), gan.draw(2, 0))
        assert close(gan.game.players["D"][0].param_groups[0]["lr"], rate)


@pytest.mark.parametrize("system", STARGANS)
def test_stargan_samples_by_the_statistics_of_each_picture_and_keeps_those_of_training(system: str) -> None:
    gan = tiny(system)
    given = batch(gan, 2)
    before = {name: b.clone() for name, b in gan.networks.named_buffers()}
    view = "images" if system != "stargan-joint" else "celeba"
    whole = gan.sample(view, 2, given)
    assert all(torch.equal(b, before[name]) for name, b in gan.networks.named_buffers()) and before
    with torch.no_grad():
        for b in gan.networks["G"].buffers():
            b.add_(1)
    assert torch.equal(whole, gan.sample(view, 2, given))


# --- cd-gan


def test_cd_gan_1_a_conditional_picture_acts_through_its_own_code_only() -> None:
    gan = tiny("cd-gan")
    given, other = batch(gan, 4), batch(gan, 4, 1)
    other = {"x[0]": given["x[0]"], "x[1]": other["x[1]"]}
    alike = {"adv[1].generator", "di[0]", "im[0]", "ds[1]"}
    assert alike <= changed(gan.losses(given, {}), gan.losses(other, {}))
    last = [n for n in gan.named_parameters() if n.startswith("e[1].exchanged") and n.endswith("weight")][-1]
    zeroed(gan, last)  # every picture of B has the same code of its own
    assert alike == set(gan.losses(given, {})) - changed(gan.losses(given, {}), gan.losses(other, {}))


def test_cd_gan_2_a_translation_moves_its_decoder_and_its_way_back_the_other(tmp_path: Path) -> None:
    text = """
schedule:
  all:
    together:
      adv_alone: {player: gen, minimize: "adv[1].generator"}
      im_alone: {player: gen, minimize: "im[0]"}
      di_alone: {player: gen, minimize: "di[0]"}
      ds_alone: {player: gen, minimize: "ds[1]"}
"""
    gan = variant(tmp_path, "cd-gan", text)
    found = {p: networks_of(gan.gradients(p, batch(gan, 4), {})) for p in gan.phases if p.endswith("alone")}
    assert found["adv_alone"] == {"e[0]", "e[1]", "g[1]"} and found["im_alone"] == {"e[0]", "e[1]", "g[0]", "g[1]"}
    assert found["di_alone"] == found["ds_alone"] == {"e[0]", "e[1]", "g[1]"}


def test_cd_gan_3_with_one_domain_twice_it_is_an_autoencoder() -> None:
    gan = tiny("cd-gan")
    for name in ("e", "g"):
        gan.networks[f"{name}[1]"].load_state_dict(gan.networks[f"{name}[0]"].state_dict())
    x = batch(gan, 4)["x[0]"]
    a, b = (gan.sample(view, 4, {"x[0]": x, "x[1]": x}) for view in ("a", "b"))
    with torch.no_grad():
        e, g = gan.networks["e[0]"].eval(), gan.networks["g[0]"].eval()
        expected = g(*e(x))
    assert torch.equal(a, b) and torch.allclose(a, expected, atol=1e-14)


def test_cd_gan_4_codes_that_come_back_cost_nothing(tmp_path: Path) -> None:
    text = """
networks:
  e[k]:
    inputs: [x]
    graph:
      kept: x[:, 0:1] * Parameter(init=ones())()
      own: mean(x[:, 1:3], dim=[2, 3])
    outputs: [kept, own]
  g[k]:
    inputs: [kept, own]
    output: concat(kept, tile(own, kept)) * Parameter(init=ones())()
"""
    gan = variant(tmp_path, "cd-gan", text)
    given = {n: torch.cat([x[:, :1], x[:, 1:, :1, :1].expand(-1, -1, 32, 32)], 1) for n, x in batch(gan, 4).items()}
    found = gan.losses(given, {})
    assert all(close(found[f"{loss}[{k}]"], 0) for loss in ("im", "di", "ds") for k in DOMAINS)
    assert gan.losses(batch(gan, 4), {})["im[0]"] > 0.1


@pytest.mark.parametrize("k", DOMAINS)
def test_cd_gan_5_a_probability_of_one_half_costs_log_2(k: int) -> None:
    gan = tiny("cd-gan")
    zeroed(gan, f"d[{k}]")
    found = gan.losses(batch(gan, 4), {})
    assert close(found[f"adv[{k}].discriminator"], 2 * LOG2) and close(found[f"adv[{k}].generator"], LOG2)
    assert not close(found[f"adv[{1 - k}].generator"], LOG2)


def test_cd_gan_6_the_distance_of_pictures_is_the_squared_mean_error(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cd-gan", "graph:\n  back[k]: x[k] + 0.3 + 0 * g[k](i_hat[1 - k], s[k])\n")
    assert close(gan.losses(batch(gan, 4), {})["im[1]"], 0.09)
    gan = variant(tmp_path, "cd-gan", "graph:\n  back[k]: 0 * g[k](i_hat[1 - k], s[k])\n")
    given = batch(gan, 4)
    found = gan.losses(given, {})["im[0]"]
    assert close(found, given["x[0]"].abs().mean() ** 2) and found < given["x[0]"].square().mean()


def test_cd_gan_7_exchanging_the_domains_exchanges_the_losses() -> None:
    gan = tiny("cd-gan")
    given = batch(gan, 4)
    one = gan.losses(given, {})
    exchange(gan, [(f"{n}[0]", f"{n}[1]") for n in "egd"])
    two = mirrored(gan.losses(mirrored(given), {}))
    assert all(close(one[name], two[name], 1e-10) for name in one)


def test_cd_gan_8_the_discriminators_step_moves_no_encoder_and_no_decoder() -> None:
    gan = tiny("cd-gan")
    steps = moves(gan, 4, 0)
    assert [(phase, networks_of(changed)) for phase, changed in steps] == PHASES["cd-gan"]


def test_cd_gan_8_the_makers_are_judged_by_both_discriminators_after_their_steps() -> None:
    gan = tiny("cd-gan")
    given = batch(gan, 4)
    before = gan.losses(given, {})
    log = gan.step(given, {})
    for k in DOMAINS:
        assert torch.equal(log[f"d[{k}]/adv[{k}].discriminator"], before[f"adv[{k}].discriminator"])
        assert log[f"gen/adv[{k}].generator"] != before[f"adv[{k}].generator"]
        assert torch.equal(log[f"gen/im[{k}]"], before[f"im[{k}]"])


def test_cd_gan_9_what_moves_from_one_code_to_the_other_does_not_show() -> None:
    gan = tiny("cd-gan")
    g = gan.networks["g[0]"].eval()
    kept, own, c = recipe_input(0, (2, 32, 2, 2)), recipe_input(1, (2, 32)), recipe_input(2, (1, 32))
    with torch.no_grad():
        assert torch.allclose(g(kept, own), g(kept - c[..., None, None], own + c), atol=1e-12)


def test_cd_gan_the_targets_of_the_codes_are_constants(tmp_path: Path) -> None:
    """The encoder of A is reached through the translation alone: a decoder that hides it cuts the way."""
    text = """
networks:
  g[k]:
    inputs: [kept, own]
    output: cdgan_decoder(C)(stop(kept), stop(own))
schedule:
  gen: add(di) + add(ds)
  more: {player: gen, minimize: add(im)}
"""
    gan = variant(tmp_path, "cd-gan", text)
    given = batch(gan, 4)
    found = gan.gradients("gen", given, {})
    with torch.no_grad():
        (i0, s0), (i1, s1) = (gan.networks[f"e[{k}]"](given[f"x[{k}]"]) for k in DOMAINS)
        fakes = gan.networks["g[0]"](i1, s0), gan.networks["g[1]"](i0, s1)
    for k, (kept, own) in enumerate([(i1, s0), (i0, s1)]):
        e = gan.networks[f"e[{k}]"]
        i_hat, s_hat = e(fakes[k])
        objective = (i_hat - kept).abs().mean() ** 2 + (s_hat - own).abs().mean() ** 2
        expected = torch.autograd.grad(objective, list(e.parameters()))
        mine = [g for name, g in found.items() if name.startswith(f"e[{k}]")]
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(mine, expected, strict=True))


# --- stargan-v2-masked

MASKED = "stargan-v2-masked"


def test_stargan_v2_masked_1_5_6_are_those_of_its_parent(tmp_path: Path) -> None:
    gan = tiny(MASKED)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    given = {**given, "y_trg": torch.zeros(2, dtype=torch.int64)}
    found = gan.gradients("G_latent", given, draws)
    assert networks_of(found) == {"G", "F", "E"}
    heads = [name for name in found if name.startswith("F.s[1]")]
    assert heads and not any(found[name].any() for name in heads)
    zeroed(gan, *[name for name in gan.named_parameters() if name.startswith("D.")][-2:])
    losses = gan.losses(given, draws)
    assert close(losses["adv[latent].discriminator"], 2 * LOG2) and close(losses["adv[reference].generator"], LOG2)


@pytest.mark.parametrize("step, weight", [(0, 1), (50_000, 0.5), (100_000, 0)])
def test_stargan_v2_masked_3_the_weight_of_diversity_falls_from_1_to_0(step: int, weight: float) -> None:
    gan = tiny(MASKED)
    gan.clocks["step"] = step
    log = gan.step(batch(gan, 2), gan.draw(2, 0))
    rest = log["G_latent/adv[latent].generator"] + log["G_latent/style[latent]"] + log["G_latent/cycle[latent]"]
    assert close(log["G_latent"], rest - weight * log["G_latent/diversity[latent]"])


@pytest.mark.parametrize(
    "block, kept", [("stargan2_bare_adain_residual(4)", 0.0), ("stargan2_adain_residual(4)", 0.5**0.5)]
)
def test_stargan_v2_9_only_without_masks_a_block_of_the_decoder_has_a_shortcut(
    block: str, kept: float, tmp_path: Path
) -> None:
    assert "FAN" not in tiny("stargan-v2").networks and "FAN" in tiny(MASKED).networks
    gan = build(written(tmp_path, one_network(block, "Q(x, s)", {"x": "tensor(4, 6, 6)", "s": "vector(3)"})))
    zeroed(gan, "Q.")
    x = recipe_input(0, (2, 4, 6, 6))
    assert torch.allclose(gan.networks["Q"](x, recipe_input(1, (2, 3))), kept * x, atol=1e-14)


def test_stargan_v2_masked_the_high_pass_filter_is_a_laplacian_over_its_weight(tmp_path: Path) -> None:
    text = "{inputs: [x], output: 'high_pass(2)(x) * Parameter(init=ones())()'}"
    Q = build(written(tmp_path, one_network(text, "Q(x)", {"x": "image(3, 6, 6)"}))).networks["Q"]
    x = recipe_input(0, (2, 3, 6, 6))
    around = nn.functional.unfold(x, 3, padding=1).reshape(2, 3, 9, 6, 6).sum(2)
    assert torch.allclose(Q(x), (9 * x - around) / 2, atol=1e-12)


def test_stargan_v2_masked_masks_pick_details_at_32_and_at_64() -> None:
    gan = tiny(MASKED)
    G = gan.networks["G"]
    x, s = recipe_input(0, (1, 3, 64, 64)), recipe_input(1, (1, 8))
    none, full = torch.zeros(1, 1, 64, 64).double(), torch.ones(1, 1, 64, 64).double()
    with torch.no_grad():
        pictures = [G(x, s, a, b) for a in (none, full) for b in (none, full)]
    assert all(not torch.allclose(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_stargan_v2_masked_the_face_network_is_frozen_and_called_once_for_the_pictures_and_once_for_each_fake() -> None:
    gan = tiny(MASKED)
    calls: list[Tensor] = []
    first = next(m for m in gan.networks["FAN"].modules() if isinstance(m, nn.Conv2d))
    first.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0]))
    before = [p.clone() for p in gan.networks["FAN"].parameters()]
    given = batch(gan, 2)
    gan.step(given, gan.draw(2, 0))
    assert len(calls) == 3 and torch.equal(calls[0], nn.functional.avg_pool2d(given["x"], 4))
    assert not any(c.requires_grad for c in calls)
    assert all(torch.equal(p, q) for p, q in zip(gan.networks["FAN"].parameters(), before, strict=True))


def test_stargan_v2_masked_the_way_back_is_masked_by_the_face_of_the_fake() -> None:
    gan = tiny(MASKED)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    G, F, E, FAN = (gan.networks[name] for name in ("G", "F", "E", "FAN"))
    with torch.no_grad():
        fake = G(given["x"], F(draws["z"], given["y_trg"]), *FAN(given["x"]))
        back = G(fake, E(given["x"], given["y"]), *FAN(fake))
    assert close(gan.losses(given, draws)["cycle[latent]"], (back - given["x"]).abs().mean(), 1e-10)
