"""Systems that make a picture of a sentence or a class: section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import (
    LOG2,
    batch,
    batches,
    buffers,
    build,
    close,
    last_layer,
    moved,
    networks_of,
    no_gradients,
    one_network,
    recipe_input,
    snapshot,
    tiny,
    variant,
    watched,
    written,
    zeroed,
)
from torch import Tensor

import gangraph

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


# --- biggan


def made(gan: Any, z: Tensor, y: Tensor) -> Tensor:
    """Pictures of G in evaluation mode, where no picture depends on another."""
    with torch.no_grad():
        picture: Tensor = gan.networks["G"].eval()(z, y)
    gan.networks["G"].train()
    return picture


def test_biggan_1_each_part_of_z_enters_one_layer() -> None:
    gan = tiny("biggan")
    z, y = gan.draw(3, 0)["z"], torch.tensor([0, 1, 2])
    first = made(gan, z, y)
    parts = z.chunk(4, dim=1)
    assert not torch.allclose(first, made(gan, torch.cat([parts[0], parts[2], parts[1], parts[3]], dim=1), y))
    conditions = [p for n, p in gan.named_parameters().items() if n.startswith("G.") and p.shape[1:] == (4 + 2,)]
    assert len(conditions) == 3 * 4  # gain and bias of two norms in each of three blocks
    with torch.no_grad():
        for p in conditions:
            p[:, 4:] = 0  # nothing of z enters the norms
    first = made(gan, z, y)
    assert torch.equal(first, made(gan, torch.cat([parts[0], torch.randn(3, 6).double()], dim=1), y))
    assert not torch.allclose(first, made(gan, torch.cat([parts[1], *parts[1:]], dim=1), y))
    assert not torch.allclose(first, made(gan, z, y.flip(0)))  # the class still does


def test_biggan_2_attention_begins_as_the_identity(tmp_path: Path) -> None:
    gan = build(written(tmp_path, one_network("self_attention()", "Q(x)", {"x": "image(16, 8, 8)"})))
    x = recipe_input(0, (2, 16, 8, 8))
    assert torch.equal(gan.networks["Q"](x), x)
    gan = tiny("biggan", constants={"ortho": 0})  # which moves every weight
    given, draws = batch(gan, 2), gan.draw(2, 0)
    for phase, stem in (("G", "G.0.0.image.4"), ("D", "D.0.h.1")):
        found = {n.removeprefix(stem): g for n, g in gan.gradients(phase, given, draws).items() if n.startswith(stem)}
        inner = {".theta.0.weight", ".phi.0.weight", ".g.0.weight", ".1.weight"}
        assert set(found) == {*inner, ".0.weight"}
        assert found[".0.weight"] != 0 and not any(found[name].any() for name in inner)


def test_biggan_3_a_conditional_norm_of_zeros_is_batch_norm(tmp_path: Path) -> None:
    inputs = {"x": "image(3, 4, 4)", "c": "vector(5)"}
    gan = build(written(tmp_path, one_network("conditional_norm()", "Q(x, c)", inputs)))
    x, c = recipe_input(0, (6, 3, 4, 4)), recipe_input(1, (6, 5))
    expected = F.batch_norm(x, None, None, training=True)
    assert not torch.allclose(gan.networks["Q"](x, c), expected)
    zeroed(gan, "Q.")
    assert torch.allclose(gan.networks["Q"](x, c), expected, atol=1e-14)


@torch.no_grad()
def test_biggan_4_the_class_enters_the_score_as_a_product_with_the_features() -> None:
    gan = tiny("biggan")
    D, x = gan.networks["D"].eval(), batch(gan, 3)["x"]
    kept: dict[str, Tensor] = {}
    for module in D.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, inputs, __: kept.update(h=inputs[0]))
        if isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(lambda _, __, out: kept.update(e=out))
    scores, rows = [], []
    for label in (0, 4):
        scores.append(D(x, torch.full((3,), label)).flatten())
        rows.append(kept["e"])
    assert kept["h"].shape == (3, 32)
    assert torch.allclose(scores[0] - scores[1], ((rows[0] - rows[1]) * kept["h"]).sum(1), atol=1e-12)


def test_biggan_5_the_regularization_is_that_of_products_of_different_filters(tmp_path: Path) -> None:
    gan = variant(tmp_path, "biggan", "schedule:\n  only: {player: G, minimize: add(R)}\n")
    weights = {n: p for n, p in gan.named_parameters().items() if n.startswith("G.") and p.dim() > 1}
    given, draws = batch(gan, 2), gan.draw(2, 0)
    found = gan.losses(given, draws)
    assert sum(name.startswith("R[") for name in found) == len(weights) == 7 * 3 + 6
    assert close(found["R[3]"], 0, 1e-9)  # rows begin orthogonal where there are no more than columns
    with torch.no_grad():
        for seed, p in enumerate(weights.values()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))
    found = gan.losses(given, draws)
    gradients = gan.gradients("only", given, draws)
    assert set(gradients) == set(weights)
    for k, (name, p) in enumerate(weights.items()):
        W = p.detach().flatten(1)
        off = W @ W.T
        off.fill_diagonal_(0)
        assert close(found[f"R[{k}]"], off.square().sum(), 1e-10)
        assert torch.allclose(gradients[name].flatten(1), 4 * off @ W, rtol=1e-9, atol=1e-9)
        turned = torch.linalg.qr(torch.randn(W.shape[1], W.shape[1], dtype=torch.float64))[0]
        with torch.no_grad():
            p.copy_((W @ turned).reshape(p.shape))
    turned_losses = gan.losses(given, draws)
    assert all(close(turned_losses[n], found[n], 1e-9) for n in found if n.startswith("R["))


def test_biggan_6_with_all_scores_0_d_has_2_and_g_0(tmp_path: Path) -> None:
    text = "networks:\n  D:\n    inputs: [x, y]\n    output: Parameter(init=zeros())() * (mean(x) + y)\n"
    gan = variant(tmp_path, "biggan", text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert found["adv.discriminator"] == 2 and found["adv.generator"] == 0


def test_biggan_7_gradients_are_means_of_accumulated_batches_with_noise_of_their_own() -> None:
    assert gangraph.load("biggan").resolved[0].constants["accumulations"].value == 8
    gan = tiny("biggan", constants={"accumulations": 2})
    assert gan.fetches() == 2 * 2  # two steps of D, of two batches each; G reads none
    labels = {name.split("/")[0] for name in gan.draw(2, 0) if "/" in name}
    assert labels == {"D", "D.2", "D.3", "D.4", "G", "G.2"}
    with watched(gan) as steps:
        gan.step(batches(gan, 2), gan.draw(2, 0))
    assert [phase for phase, _ in steps] == ["D", "D", "G"]
    assert networks_of(steps[-1][1]) == {"G", "embed"}


def test_biggan_9_the_average_is_a_copy_until_it_begins() -> None:
    gan = tiny("biggan", constants={"ema_start": 2})
    average, G = gan.averages["G_ema"], gan.networks["G"]
    gan.step(batches(gan, 2), gan.draw(2, 0))
    assert all(torch.equal(a, p) for a, p in zip(average.parameters(), G.parameters(), strict=True))
    before = [a.clone() for a in average.parameters()]
    gan.step(batches(gan, 2, 1), gan.draw(2, 1))
    for a, a0, p in zip(average.parameters(), before, G.parameters(), strict=True):
        assert torch.allclose(a, 0.9999 * a0 + 0.0001 * p, atol=1e-14) and not a.requires_grad
    assert not any(torch.equal(p, a) for a, p in zip(average.parameters(), G.parameters(), strict=True) if p.dim() > 1)


@torch.no_grad()
def test_biggan_judges_pictures_with_the_classes_that_they_were_made_of() -> None:
    gan = tiny("biggan")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    found = gan.losses(given, draws)
    assert not torch.equal(given["y"], draws["y_fake"])
    fake = gan.networks["G"](draws["z"], draws["y_fake"])
    scores = gan.networks["D"](torch.cat([fake, given["x"]]), torch.cat([draws["y_fake"], given["y"]]))
    expected = F.relu(1 + scores[:4]).mean() + F.relu(1 - scores[4:]).mean()
    assert close(found["adv.discriminator"], expected)
