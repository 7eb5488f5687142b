"""Systems that make a picture of a sentence or a class: section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import batch, buffers, build, last_layer, moved, no_gradients, snapshot, written, zeroed
from torch import Tensor

import gangraph

LOG2 = math.log(2)


def tiny(system: str, **options: Any) -> Any:
    return build(system, tiny=True, **options)


def variant(folder: Path, system: str, text: str, **options: Any) -> Any:
    """A few lines over a system of the gallery."""
    head = f"gangraph: 1\nname: variant\nextends: {system}\n"
    return build(written(folder, head + text), tiny=True, **options)


def close(a: Any, b: Any, tolerance: float = 1e-12) -> bool:
    a, b = (v.detach() if isinstance(v, Tensor) else v for v in (a, b))
    return math.isclose(float(a), float(b), rel_tol=tolerance, abs_tol=tolerance)


def networks_of(names: Any) -> set[str]:
    return {name.split(".")[0] for name in names}


# --- stackgan

STACKED_TERMS = """
schedule:
  D: ~
  G: ~
  both:
    together:
      G: adv.generator + kl * KL
      only: {player: G, minimize: KL}
      alone: {player: G, minimize: adv.generator}
  last: {player: D, minimize: adv.discriminator}
"""
APART = """
graph:
  c: eps
schedule:
  G: adv.generator + 0 * step * expect(mean(mu)) + kl * KL
"""
STACKED = pytest.mark.parametrize("system", ["stackgan-1", "stackgan-2"])


@STACKED
def test_stackgan_1_with_all_logits_0_the_losses_are_multiples_of_log_2(system: str) -> None:
    gan = tiny(system)
    heads = ("head",) if system == "stackgan-1" else ("head", "plain")
    for head in heads:
        last_layer(gan, head)
    found = gan.losses(batch(gan, 3), gan.draw(3, 0))
    assert close(found["adv.discriminator"], 2 * LOG2) and close(found["adv.generator"], len(heads) * LOG2)


@STACKED
def test_stackgan_2_each_term_reaches_its_networks(system: str, tmp_path: Path) -> None:
    gan = variant(tmp_path, system, STACKED_TERMS)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    judges = {"D", "head"} if system == "stackgan-1" else {"D", "head", "plain"}
    reached = {phase: networks_of(gan.gradients(phase, given, draws)) for phase in gan.phases}
    assert reached == {"G": {"CA", "G"}, "only": {"CA"}, "alone": {"CA", "G"}, "last": judges}


def test_stackgan_2_the_condition_that_d_sees_passes_no_gradient_to_ca(tmp_path: Path) -> None:
    """With a picture that does not depend on CA, only the divergence moves it."""
    gan = variant(tmp_path, "stackgan-1", APART)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    mu, logvar = gan.networks["CA"](given["phi"])
    KL = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean()
    expected = torch.autograd.grad(2 * KL, list(gan.networks["CA"].parameters()))
    found = [g for name, g in gan.gradients("G", given, draws).items() if name.startswith("CA.")]
    assert all(torch.allclose(a, b, atol=1e-15) for a, b in zip(found, expected, strict=True))


@STACKED
def test_stackgan_3_the_divergence_is_a_mean_over_entries_and_0_at_the_prior(system: str) -> None:
    gan = tiny(system)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    mu, logvar = gan.networks["CA"](given["phi"])
    assert mu.min() >= 0 and logvar.min() >= 0 and mu.shape == logvar.shape == (3, 4)
    total = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()
    found = gan.losses(given, draws)["KL"]
    assert close(found, total / (3 * 4)) and found > 0
    zeroed(gan, "CA.")
    assert gan.losses(given, draws)["KL"] == 0


def test_stackgan_4_a_batch_of_one_has_no_wrong_pair_and_is_refused() -> None:
    with pytest.raises(gangraph.SpecError):
        gangraph.load("stackgan-1", batch_size=1)


@torch.no_grad()
def test_stackgan_5_a_wrong_pair_is_a_picture_with_the_next_sentence() -> None:
    gan = tiny("stackgan-1")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    CA, G, D, head = (gan.networks[name] for name in ("CA", "G", "D", "head"))
    found = gan.losses(given, draws)
    mu, logvar = CA(given["phi"])
    fake = G(draws["z"], mu + (0.5 * logvar).exp() * draws["eps"])
    h_real, h_fake = D(given["real"]), D(fake)
    right, wrong, made = head(h_real, mu), head(h_real[:3], mu[1:]), head(h_fake, mu)
    assert len(wrong) == 3
    parts = F.softplus(-right).mean(), F.softplus(wrong).mean(), F.softplus(made).mean()
    assert close(found["adv.discriminator"], parts[0] + 0.5 * (parts[1] + parts[2]))
    assert close(found["adv.generator"], F.softplus(-made).mean())


def test_stackgan_6_the_condition_is_the_same_at_every_place(tmp_path: Path) -> None:
    gan = variant(tmp_path, "stackgan-1", "sample:\n  c: tile(cond, h_real)\n")
    given = batch(gan, 3)
    shown = gan.sample("c", 3, given)
    mu, _ = gan.networks["CA"](given["phi"])
    assert shown.shape == (3, 4, 4, 4) and torch.equal(shown, mu.detach()[:, :, None, None].expand(3, 4, 4, 4))


@torch.no_grad()
def test_stackgan_7_the_second_stage_is_given_the_first_stages_picture_of_the_same_noise() -> None:
    gan = tiny("stackgan-2")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    assert set(draws) == {"z", "eps", "eps_1"}  # each drawn one time an iteration
    CA1, G1, CA, G, D, head, plain = (gan.networks[n] for n in ("CA1", "G1", "CA", "G", "D", "head", "plain"))
    found = gan.losses(given, draws)
    mu_1, logvar_1 = CA1(given["phi"])
    small = G1(draws["z"], mu_1 + (0.5 * logvar_1).exp() * draws["eps_1"])
    mu, logvar = CA(given["phi"])
    h = D(G(small, mu + (0.5 * logvar).exp() * draws["eps"]))
    assert small.shape == (2, 3, 64, 64)
    assert close(found["adv.generator"], F.softplus(-head(h, mu)).mean() + F.softplus(-plain(h)).mean())


def test_stackgan_8_the_first_stage_keeps_its_weights_and_moves_its_statistics() -> None:
    gan = tiny("stackgan-2")
    before, kept = snapshot(gan), buffers(gan)
    for seed in range(2):
        gan.step(batch(gan, 2, seed), gan.draw(2, seed))
    assert networks_of(moved(before, snapshot(gan))) == {"CA", "G", "D", "head", "plain"} and no_gradients(gan)
    assert {name for name in kept if name.startswith("G1.")} <= moved(kept, buffers(gan))


@STACKED
def test_stackgan_the_rate_is_halved_every_20_epochs(system: str) -> None:
    gan = tiny(system)
    for epoch, rate in ((0, 2e-4), (19, 2e-4), (20, 1e-4), (59, 5e-5)):
        gan.clocks["epoch"] = epoch
        gan.game.constants()
        assert all(groups[0][2]["lr"] == rate for groups in gan.game.optimizers().values())


@pytest.mark.parametrize("system", ["stackgan-1", "stackgan-2"])
def test_stackgan_g_is_judged_by_the_new_weights_of_d_on_the_picture_that_d_saw(system: str) -> None:
    gan = tiny(system)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    before = gan.losses(given, draws)
    log = gan.step(given, draws)
    assert log["D/adv.discriminator"] == before["adv.discriminator"] and log["G/KL"] == before["KL"]
    assert not close(log["G/adv.generator"], before["adv.generator"], 1e-6)
