"""Translators whose pictures vary, and translators between many domains: section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import batch, build, one_network, recipe_input, written, zeroed
from test_systems import close, exchange, networks_of, tiny, variant
from torch import Tensor, nn

DOMAINS = (0, 1)


def mirrored(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with the domains 0 and 1 exchanged in their names."""
    swap = str.maketrans("01", "10")
    return {name.translate(swap) if "[" in name else name: value for name, value in values.items()}


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
        assert ("gen/cc[0]" in log) == ("gen/cc[1]" in log) == ("cycled" in gan.source) == bool(weight)
