"""The autoencoders of the gallery, one player each: section 10 of their fact sheets.

docs/gallery-notes.md says for each property how it is reached; the numbers in the names of tests are the sheet's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import (
    LOG2,
    batch,
    buffers,
    close,
    moved,
    networks_of,
    recipe_input,
    snapshot,
    tiny,
    variant,
    written,
    zeroed,
)
from torch import Tensor

from gangraph.compiler import load

AUTOENCODERS = ("autoencoder", "denoising-ae", "contractive-ae", "sparse-ae", "vae")


def the_gradients(gan: Any, given: dict[str, Tensor], draws: dict[str, Tensor], phase: str = "") -> dict[str, Tensor]:
    return gan.gradients(phase or gan.phases[0], given, draws)


def equal(one: dict[str, Tensor], two: dict[str, Tensor], tolerance: float = 0.0) -> bool:
    assert list(one) == list(two) and one
    return all(torch.allclose(one[n], two[n], rtol=tolerance, atol=tolerance) for n in one)


def minimized(gan: Any, phase: str, given: dict[str, Tensor], steps: int = 60) -> float:
    """The objective of a phase after L-BFGS over its parameters, on one batch."""
    parameters = [gan.named_parameters()[n] for n in gan.gradients(phase, given, gan.draw(len(given["x"]), 0))]
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps * 20, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        found = gan.gradients(phase, given, {})
        for p, g in zip(parameters, found.values(), strict=True):
            p.grad = g.clone()
        return gan.losses(given, {})["rec"]

    optimizer.step(closure)
    for p in parameters:
        p.grad = None
    return float(gan.losses(given, {})["rec"])


# --- autoencoder

LINEAR = """
sizes: {X: 5, width: ~}
tiny: {sizes: {width: ~}}
networks:
  Enc: Linear(k)
  Dec: Linear(X)
graph:
  logits: ~
  back: Dec(h)
losses:
  rec: expect(sum((back - x)**2))
"""


@pytest.mark.parametrize("k", [2, 5])
def test_autoencoder_1_2_a_linear_one_reaches_the_residual_of_principal_components(k: int, tmp_path: Path) -> None:
    gan = variant(tmp_path, "autoencoder", LINEAR, sizes={"k": k})
    scale = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    x = recipe_input(0, (12, 5)) * scale
    _, s, v = torch.linalg.svd(x - x.mean(dim=0))
    assert close(minimized(gan, "AE", {"x": x}), float((s[k:] ** 2).sum()) / 12, 1e-6)
    basis = torch.linalg.qr(gan.named_parameters()["Dec.weight"].detach()).Q
    assert torch.allclose(basis @ basis.T, v[:k].T @ v[:k], atol=1e-4)


def test_autoencoder_3_the_cross_entropy_is_least_where_the_reconstruction_is_the_picture(tmp_path: Path) -> None:
    gan = tiny("autoencoder")
    x = torch.rand(1, 784, generator=torch.Generator().manual_seed(0)).double().expand(3, -1)
    zeroed(gan, "Dec.6.weight")
    with torch.no_grad():
        gan.named_parameters()["Dec.6.bias"].copy_(x[0].logit())
    entropy = -(x * x.log() + (1 - x) * (1 - x).log()).sum(dim=1).mean()
    assert close(gan.losses({"x": x}, {})["rec"], entropy)
    assert the_gradients(gan, {"x": x}, {})["Dec.6.bias"].abs().max() < 1e-12
    linear = variant(tmp_path, "autoencoder", LINEAR.replace("back: Dec(h)", "back: x + 0 * Dec(h)"), sizes={"k": 2})
    assert linear.losses(batch(linear, 3), {})["rec"] == 0


def test_autoencoder_4_there_is_no_randomness() -> None:
    gan = tiny("autoencoder")
    given = batch(gan, 3)
    assert gan.draw(3, 0) == {}
    one, two = gan.sample("reconstructions", 3, given), gan.sample("reconstructions", 3, given)
    assert torch.equal(one, two) and one.min() >= 0 and one.max() <= 1


def test_autoencoder_5_the_code_is_known_up_to_an_invertible_map() -> None:
    gan = tiny("autoencoder")
    given, p = batch(gan, 3), gan.named_parameters()
    before, code = gan.losses(given, {})["rec"], gan.networks["Enc"](given["x"])
    A = torch.eye(4, dtype=torch.float64) + 0.3 * recipe_input(0, (4, 4))
    with torch.no_grad():
        for name in ("Enc.6.weight", "Enc.6.bias"):
            p[name].copy_(A @ p[name])
        p["Dec.0.weight"].copy_(p["Dec.0.weight"] @ A.inverse())
    assert not torch.allclose(gan.networks["Enc"](given["x"]), code, atol=1e-3)
    assert close(gan.losses(given, {})["rec"], before, 1e-10)


def test_autoencoder_6_sums_and_means_differ_by_the_number_of_pixels(tmp_path: Path) -> None:
    text = """
losses:
  total_: total(sum((back - x)**2))
  mean_: expect(mean((back - x)**2))
schedule:
  AE: rec + 0 * step * (total_ + mean_)
"""
    gan = variant(tmp_path, "autoencoder", text)
    found = gan.losses(batch(gan, 3), {})
    assert close(found["total_"], 784 * 3 * found["mean_"], 1e-12)


def test_autoencoder_8_the_jacobian_of_the_reconstruction_has_at_most_the_rank_of_the_code() -> None:
    gan = tiny("autoencoder")
    Enc, Dec = gan.networks["Enc"], gan.networks["Dec"]
    J = torch.autograd.functional.jacobian(lambda x: Dec(Enc(x)).sigmoid(), recipe_input(0, (784,)))
    assert torch.linalg.matrix_rank(J, rtol=1e-9) == 4


# --- sparse-ae

PARTS = """
schedule:
  AE: rec + beta * sparsity + decay / 2 * size
  rec_alone: {player: AE, minimize: rec}
  sparsity_alone: {player: AE, minimize: sparsity}
  size_alone: {player: AE, minimize: size}
"""


@torch.no_grad()
def activations(gan: Any, values: list[float]) -> None:
    """Units of the encoder that give these values for every patch."""
    zeroed(gan, "Enc.0.weight")
    gan.named_parameters()["Enc.0.bias"].copy_(torch.tensor(values, dtype=torch.float64).logit())


@pytest.mark.parametrize("rho, found, expected", [(0.05, 0.2, 0.0939430), (0.05, 0.5, 0.4946319), (0.3, 0.3, 0.0)])
def test_sparse_ae_1_the_penalty_is_the_divergence_of_two_coins(rho: float, found: float, expected: float) -> None:
    gan = tiny("sparse-ae", constants={"rho": rho})
    activations(gan, [found] + [rho] * 4)
    assert close(gan.losses(batch(gan, 3), {})["sparsity"], expected, 6e-8)


def test_sparse_ae_2_the_penalty_of_a_batch_is_not_the_mean_of_those_of_its_parts(tmp_path: Path) -> None:
    text = """
graph:
  x: reshape(patch, H * W)
  centred: ~
  deviation: ~
losses:
  l1: expect(sum(abs(h)))
schedule:
  AE: rec + beta * sparsity + decay / 2 * size + 0 * step * l1
"""
    gan = variant(tmp_path, "sparse-ae", text)
    given = batch(gan, 4)
    whole = gan.losses(given, {})
    parts = [gan.losses({"patch": given["patch"][i : i + 2]}, {}) for i in (0, 2)]
    assert all(close(whole[n], (parts[0][n] + parts[1][n]) / 2, 1e-12) for n in ("rec", "l1"))
    assert not close(whole["sparsity"], (parts[0]["sparsity"] + parts[1]["sparsity"]) / 2, 1e-4)


def test_sparse_ae_3_the_slope_of_an_l1_penalty_is_a_sign_over_the_batch(tmp_path: Path) -> None:
    text = """
networks:
  Enc: mlp([units])
losses:
  l1: 0.7 * expect(sum(abs(h)))
  sparsity: ~
constants: {beta: ~, rho: ~}
graph: {rho_hat: ~}
schedule:
  AE: rec + l1 + decay / 2 * size
  alone: {player: AE, minimize: l1}
"""
    gan = variant(tmp_path, "sparse-ae", text)
    zeroed(gan, "Enc.0.weight")
    with torch.no_grad():
        gan.named_parameters()["Enc.0.bias"].copy_(torch.tensor([1.0, -2.0, 0.0, 0.5, -0.1]))
    bias = gan.gradients("alone", batch(gan, 3), {})["Enc.0.bias"]
    assert torch.allclose(bias, 0.7 * torch.tensor([1.0, -1, 0, 1, -1]).double(), atol=1e-14)


def test_sparse_ae_the_slope_of_the_sparsity_is_that_of_the_notes(tmp_path: Path) -> None:
    gan = variant(tmp_path, "sparse-ae", PARTS)
    values = [0.1, 0.2, 0.4, 0.01, 0.9]
    activations(gan, values)
    found = gan.gradients("sparsity_alone", batch(gan, 3), {})["Enc.0.bias"]
    h = torch.tensor(values, dtype=torch.float64)
    assert torch.allclose(found, (-0.01 / h + 0.99 / (1 - h)) * h * (1 - h), atol=1e-12)


def test_sparse_ae_4_without_penalties_it_is_a_plain_autoencoder(tmp_path: Path) -> None:
    gan = tiny("sparse-ae", constants={"beta": 0, "decay": 0})
    parts = variant(tmp_path, "sparse-ae", PARTS)
    given = batch(gan, 3)
    assert equal(gan.gradients("AE", given, {}), parts.gradients("rec_alone", given, {}))
    assert "rho_hat" in parts.source and "rho_hat" not in gan.source


def test_sparse_ae_5_the_decoder_feels_no_sparsity_and_decay_shrinks_weights_alone(tmp_path: Path) -> None:
    gan = variant(tmp_path, "sparse-ae", PARTS)
    given = batch(gan, 3)
    assert networks_of(gan.gradients("sparsity_alone", given, {})) == {"Enc"}
    found = gan.gradients("size_alone", given, {})  # a step of SGD by decay / 2 takes 1 - lr decay of each
    assert set(found) == {"Enc.0.weight", "Dec.0.weight"}
    assert all(torch.allclose(g, 2 * gan.named_parameters()[n], atol=1e-14) for n, g in found.items())


K_SPARSE = """
constants: {decay: ~, beta: ~, rho: ~}
graph: {rho_hat: ~}
losses: {sparsity: ~, size: ~}
schedule: {AE: rec}
sizes: {units: 6, k: 2}
tiny: {sizes: ~}
blocks:
  k_sparse(weight, k):                 # the k largest of a sample, the others 0
    inputs: [x]
    graph:
      a: matmul(x, weight())
      bound:
      - max(a)
      - for i in range(k - 1):
        - max(where(a < _, a, -1e9))
    output: where(a >= bound, a, 0 * a)
networks:
  V: Parameter(H * W, units)
  Enc: k_sparse(V, k)
"""


def test_sparse_ae_6_a_k_sparse_code_has_k_units_and_its_gradient_passes_only_them(tmp_path: Path) -> None:
    gan = variant(tmp_path, "sparse-ae", K_SPARSE)
    Enc, V = gan.networks["Enc"], gan.named_parameters()["V.weight"]
    x = recipe_input(0, (5, 64))
    h, plain = Enc(x), x @ V
    assert torch.equal((h != 0).sum(dim=1), torch.full((5,), 2))
    kept = torch.zeros_like(h).scatter(1, plain.topk(2).indices, plain.topk(2).values)
    assert torch.equal(h, kept)
    (slope,) = torch.autograd.grad(h[0].sum(), V)
    assert torch.equal(slope.abs().sum(dim=0) > 0, h[0] != 0)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    with torch.no_grad():
        V.copy_(V[:, order].clone())
    assert torch.equal(Enc(x), h[:, order])


def test_sparse_ae_7_a_heavy_penalty_drives_every_mean_activation_to_rho() -> None:
    gan = tiny("sparse-ae", constants={"beta": 1e4, "rho": 0.1})
    given = batch(gan, 4)
    for _ in range(1500):
        gan.step(given, {})
    assert gan.losses(given, {})["sparsity"] < 1e-4


# --- denoising-ae

PLAIN = "constants: {nu: ~}\ndraws: ~\ngraph:\n  x_t: ~\n  y: Enc(x)\n"


def test_denoising_ae_1_without_noise_it_is_a_plain_tied_autoencoder(tmp_path: Path) -> None:
    noisy, plain = tiny("denoising-ae", constants={"nu": 0}), variant(tmp_path, "denoising-ae", PLAIN)
    given, draws = batch(noisy, 4), noisy.draw(4, 0)
    assert torch.equal(draws["keep"], torch.ones(4, 784))
    assert equal(noisy.losses(given, draws), plain.losses(given, {}))
    assert equal(the_gradients(noisy, given, draws), the_gradients(plain, given, {}))


def test_denoising_ae_2_masked_pixels_are_0_and_the_others_are_untouched() -> None:
    gan = tiny("denoising-ae")
    keep = gan.draw(200, 0)["keep"]
    assert set(keep.unique().tolist()) == {0.0, 1.0} and abs(keep.double().mean() - 0.7) < 0.005
    given, draws = batch(gan, 4), gan.draw(4, 0)
    once = {"keep": torch.ones(4, 784)}
    masked = {"x": given["x"] * draws["keep"]}
    of_masked = gan.networks["Enc"](masked["x"].double())
    rec = (F.softplus(gan.networks["Dec"](of_masked)) - gan.networks["Dec"](of_masked) * given["x"]).sum(dim=1).mean()
    assert close(gan.losses(given, {"keep": draws["keep"]})["rec"], rec)
    assert not close(gan.losses(masked, once)["rec"], rec, 1e-3)


def test_denoising_ae_3_the_target_is_the_clean_picture(tmp_path: Path) -> None:
    text = "losses:\n  rec: expect(sum(bce_logits(logits, x_t)))\n"
    for nu, same in ((0, True), (0.3, False)):
        clean = tiny("denoising-ae", constants={"nu": nu})
        other = variant(tmp_path, "denoising-ae", text, constants={"nu": nu})
        given, draws = batch(clean, 4), clean.draw(4, 0)
        assert equal(the_gradients(clean, given, draws), the_gradients(other, given, draws), 1e-9) is same


def test_denoising_ae_4_one_matrix_has_the_gradients_of_both_uses(tmp_path: Path) -> None:
    text = "networks:\n  V: Parameter(X, units)\n  Dec: tied_decoder(V, X, last=None)\n"
    tied, untied = tiny("denoising-ae"), variant(tmp_path, "denoising-ae", text)
    given, draws = batch(tied, 4), tied.draw(4, 0)
    with torch.no_grad():
        for name in ("W.weight", "V.weight"):
            untied.named_parameters()[name].copy_(tied.named_parameters()["W.weight"])
    one, two = the_gradients(tied, given, draws), the_gradients(untied, given, draws)
    assert torch.allclose(one["W.weight"], two["W.weight"] + two["V.weight"], atol=1e-12)
    assert two["W.weight"].any() and two["V.weight"].any()
    tied.step(given, draws)
    assert tied.networks["Enc"].W is tied.networks["Dec"].W is tied.networks["W"]


GAUSSIAN = """
sizes: {X: 3, units: ~}
tiny: {sizes: ~}
constants: {nu: ~, sigma: 0.5}
draws:
  keep: ~
  eps: normal(X)
networks:
  W: ~
  Enc: Linear(X)
  Dec: Identity()
graph:
  x_t: x + sigma * eps
losses:
  rec: expect(sum((logits - x)**2))
players:
  dA: {networks: [Enc]}
"""


def test_denoising_ae_5_the_best_linear_one_knows_the_score(tmp_path: Path) -> None:
    gan = variant(tmp_path, "denoising-ae", GAUSSIAN)
    A = torch.eye(3, dtype=torch.float64) + 0.4 * recipe_input(0, (3, 3))
    base = torch.cat([torch.eye(3), -torch.eye(3)]).double() * math.sqrt(3)  # moments 0 and 1 exactly
    x = (base @ A.T).repeat_interleave(6, dim=0)
    eps = base.repeat(6, 1)
    S, sigma = A @ A.T, 0.5
    best = S @ (S + sigma**2 * torch.eye(3)).inverse()
    with torch.no_grad():
        gan.named_parameters()["Enc.weight"].copy_(best)
        gan.named_parameters()["Enc.bias"].zero_()
    found = the_gradients(gan, {"x": x}, {"eps": eps})
    assert all(g.abs().max() < 1e-12 for g in found.values())
    x_t = recipe_input(1, (4, 3))
    score = -x_t @ (S + sigma**2 * torch.eye(3)).inverse().T
    assert torch.allclose((gan.networks["Enc"](x_t) - x_t) / sigma**2, score, atol=1e-12)


def test_denoising_ae_6_the_cross_entropy_is_at_least_the_entropy_given_the_noisy_picture() -> None:
    gan = tiny("denoising-ae", constants={"nu": 0.999999})  # nothing is seen: the best guess is the mean
    x = (recipe_input(0, (8, 784)) > 0.2).double()
    mean = x.mean(dim=0).clamp(1e-9, 1 - 1e-9)
    bound = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).sum()
    unseen = {"keep": torch.zeros(8, 784)}
    assert gan.losses({"x": x}, unseen)["rec"] > bound
    zeroed(gan, "W.weight")
    bias = next(n for n in gan.named_parameters() if n.startswith("Dec."))
    with torch.no_grad():
        gan.named_parameters()[bias].copy_(mean.logit())
    assert close(gan.losses({"x": x}, unseen)["rec"], bound, 1e-9)


STACKED = """
sizes: {units: 12}
networks:
  V: Parameter(units, units, init=xavier_uniform(gain=4))
  Enc2: tied_encoder(V, units)
  Dec2: tied_decoder(V, units, last=None)
draws:
  keep2: bernoulli(0.8, units)
graph:
  y1: Enc(x)                           # the clean code of the first stage
  logits2: Dec2(Enc2(y1 * keep2))
losses:
  rec2: expect(sum(bce_logits(logits2, y1)))
players:
  dA2: {networks: [Enc2, Dec2], optimizer: SGD(lr=0.1)}
schedule: {dA: ~}
stages:
  first:
    iterations: 2
    schedule: {dA: rec}
  second:
    iterations: 2
    schedule: {dA2: rec2}
"""


def test_denoising_ae_7_a_stage_of_a_stack_leaves_the_others_alone(tmp_path: Path) -> None:
    gan = variant(tmp_path, "denoising-ae", STACKED)
    for seed, expected in enumerate([{"W", "Enc", "Dec"}] * 2 + [{"V", "Enc2", "Dec2"}] * 2):
        before = snapshot(gan)
        gan.step(batch(gan, 3, seed), gan.draw(3, seed))
        assert networks_of(moved(before, snapshot(gan))) == expected


# --- contractive-ae

JACOBIAN = """
index: {j: range(units)}
graph:
  a[j]: y[:, j]
  row[j]: grad(a[j], x)                # of the Jacobian of each sample
losses:
  jacobian: expect(add(sum(row**2)))
schedule:
  cA: rec + weight * contraction
  formula: {player: cA, minimize: contraction}
  derivative: {player: cA, minimize: jacobian}
"""


def test_contractive_ae_1_the_closed_form_is_the_norm_of_the_jacobian(tmp_path: Path) -> None:
    gan = variant(tmp_path, "contractive-ae", JACOBIAN)
    given = batch(gan, 3)
    found = gan.losses(given, {})
    assert close(found["contraction"], found["jacobian"], 1e-10)
    one, two = gan.gradients("formula", given, {}), gan.gradients("derivative", given, {})
    assert equal(one, two, 1e-10)


def test_contractive_ae_2_the_penalty_does_not_reach_what_only_the_decoder_has(tmp_path: Path) -> None:
    text = "schedule:\n  alone: {player: cA, minimize: contraction}\n"
    gan = variant(tmp_path, "contractive-ae", text)
    assert networks_of(gan.gradients("alone", batch(gan, 3), {})) == {"W", "Enc"}
    text += "networks:\n  V: Parameter(X, units)\n  Dec: tied_decoder(V, X, last=None)\n"
    gan = variant(tmp_path, "contractive-ae", text)
    assert networks_of(gan.gradients("alone", batch(gan, 3), {})) == {"W", "Enc"}


def test_contractive_ae_3_without_weight_it_is_a_plain_tied_autoencoder(tmp_path: Path) -> None:
    gan, plain = tiny("contractive-ae", constants={"weight": 0}), variant(tmp_path, "denoising-ae", PLAIN)
    given = batch(gan, 3)
    assert equal(gan.gradients("cA", given, {}), plain.gradients("dA", given, {}))


def test_contractive_ae_3_of_a_linear_encoder_it_is_weight_decay(tmp_path: Path) -> None:
    text = JACOBIAN + "networks:\n  Enc:\n  - matmul(_, W())\n"
    gan = variant(tmp_path, "contractive-ae", text)
    W = gan.named_parameters()["W.weight"]
    given = batch(gan, 3)
    assert close(gan.losses(given, {})["jacobian"], W.square().sum(), 1e-12)
    assert torch.allclose(gan.gradients("derivative", given, {})["W.weight"], 2 * W, atol=1e-12)


def test_contractive_ae_4_the_penalty_is_bounded_and_vanishes_where_units_saturate() -> None:
    gan = tiny("contractive-ae")
    given, p = batch(gan, 3), gan.named_parameters()
    bias = next(n for n in p if n.startswith("Enc."))
    bound = p["W.weight"].square().sum() / 16
    assert 0 < gan.losses(given, {})["contraction"] <= bound
    with torch.no_grad():
        p[bias].fill_(60)
    assert gan.losses(given, {})["contraction"] < 1e-12 * bound


def test_contractive_ae_5_6_small_steps_and_random_probes_measure_the_same() -> None:
    gan = tiny("contractive-ae")
    x = batch(gan, 1)["x"]
    Enc = gan.networks["Enc"]
    penalty = float(gan.losses({"x": x}, {})["contraction"])
    generator = torch.Generator().manual_seed(0)
    delta = 1e-4 * torch.randn(4000, 784, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        moved_by = (Enc(x + delta) - Enc(x)).square().sum(dim=1)
    assert abs(moved_by.mean() / 1e-8 / penalty - 1) < 0.05
    J = torch.autograd.functional.jacobian(lambda v: Enc(v)[0], x)[:, 0]
    assert torch.allclose(moved_by, (delta @ J.T).square().sum(dim=1), rtol=1e-2)
    probes = torch.randn(4000, 12, generator=generator, dtype=torch.float64) @ J
    assert abs(probes.square().sum(dim=1).mean() / penalty - 1) < 0.05


def test_contractive_ae_7_scaling_the_halves_against_each_other_escapes_only_without_tying(tmp_path: Path) -> None:
    linear = """
networks:
  V: Parameter(X, units)
  Enc:
  - matmul(_, W())
  Dec:
  - matmul(_, transpose(V(), 1, 2))
losses:
  contraction: sum(W()**2)
"""
    gan = variant(tmp_path, "contractive-ae", linear)
    given, p = batch(gan, 3), gan.named_parameters()
    one = gan.losses(given, {})
    with torch.no_grad():
        p["W.weight"].mul_(0.5)
        p["V.weight"].div_(0.5)
    two = gan.losses(given, {})
    assert close(one["rec"], two["rec"], 1e-10) and close(two["contraction"], 0.25 * one["contraction"], 1e-12)
    tied = tiny("contractive-ae")
    assert [n for n, v in tied.named_parameters().items() if v.dim() == 2] == ["W.weight"]


# --- vae

TERMS = """
schedule:
  VAE: KL + rec
  KL_alone: {player: VAE, minimize: KL}
  rec_alone: {player: VAE, minimize: rec}
"""


@torch.no_grad()
def posterior(gan: Any, mu: list[float], logvar: list[float]) -> None:
    """An encoder that gives this posterior for every picture."""
    p = gan.named_parameters()
    for head, values in (("mu", mu), ("logvar", logvar)):
        weight = next(n for n in p if n.startswith("Enc.") and f"{head}.0.weight" in n)
        p[weight].zero_()
        p[weight.replace("weight", "bias")].copy_(torch.tensor(values, dtype=torch.float64))


def test_vae_1_the_divergence_is_0_at_the_prior_and_matches_samples() -> None:
    gan = tiny("vae")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    assert gan.losses(given, draws)["KL"] > 0
    posterior(gan, [0, 0, 0], [0, 0, 0])
    assert gan.losses(given, draws)["KL"] == 0
    mu, logvar = [0.5, -1.0, 2.0], [0.3, -0.7, 0.1]
    posterior(gan, mu, logvar)
    found = float(gan.losses(given, draws)["KL"])
    m, lv = torch.tensor(mu).double(), torch.tensor(logvar).double()
    eps = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = m + (0.5 * lv).exp() * eps
    sampled = (0.5 * (z.square() - eps.square() - lv)).sum(dim=1).mean()
    assert abs(found - sampled) < 0.02


def test_vae_2_the_slopes_of_the_divergence(tmp_path: Path) -> None:
    gan = variant(tmp_path, "vae", TERMS)
    mu, logvar = torch.tensor([0.5, -1.0, 2.0]).double(), torch.tensor([0.3, -0.7, 0.1]).double()
    posterior(gan, mu.tolist(), logvar.tolist())
    found = gan.gradients("KL_alone", batch(gan, 3), gan.draw(3, 0))
    biases = [found[n] for n in found if n.endswith(("mu.0.bias", "logvar.0.bias"))]
    assert len(biases) == 2
    assert torch.allclose(biases[0], mu, atol=1e-12)  # the mean over the batch of mu / B, B times
    assert torch.allclose(biases[1], 0.5 * (logvar.exp() - 1), atol=1e-7)


def test_vae_3_the_divergence_does_not_reach_the_decoder_and_the_reconstruction_reaches_both(tmp_path: Path) -> None:
    gan = variant(tmp_path, "vae", TERMS)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    assert networks_of(gan.gradients("KL_alone", given, draws)) == {"Enc"}
    assert networks_of(gan.gradients("rec_alone", given, draws)) == {"Enc", "Dec"}


def test_vae_4_5_the_code_is_reparametrised(tmp_path: Path) -> None:
    text = "losses:\n  code: expect(sum(z))\nschedule:\n  VAE: KL + rec\n  probe: {player: VAE, minimize: code}\n"
    gan = variant(tmp_path, "vae", text)
    given, eps = batch(gan, 1), torch.tensor([[0.7, -1.5, 0.2]]).double()
    posterior(gan, [0.1, 0.2, 0.3], [0.4, -0.5, 0.6])
    found = gan.gradients("probe", given, {"eps": eps})
    slopes = [found[n] for n in found if n.endswith(("mu.0.bias", "logvar.0.bias"))]
    half = (0.5 * torch.tensor([0.4, -0.5, 0.6]).double()).exp() / 2
    assert torch.equal(slopes[0], torch.ones(3)) and torch.allclose(slopes[1], half * eps[0], atol=1e-7)
    at_mean = gan.losses(given, {"eps": torch.zeros(1, 3)})
    assert close(at_mean["code"], 0.6, 1e-7)
    posterior(gan, [0.1, 0.2, 0.3], [-80, -80, -80])
    narrow = gan.losses(given, {"eps": eps})
    assert close(narrow["code"], 0.6, 1e-7) and close(narrow["rec"], at_mean["rec"]) and narrow["KL"] > 100


EXACT = """
sizes: {X: 1, J: 1, width: ~}
tiny: {sizes: ~}
networks:
  Enc:
    inputs: [x]
    graph:
      mu: Linear(J)(x)
      logvar: 0 * mu + Parameter(J)()
    outputs: [mu, logvar]
  Dec: Linear(X)
losses:
  rec: expect(sum(0.5 * (logits - x)**2)) + 0.5 * log(2 * pi)
"""


def test_vae_6_the_bound_is_the_likelihood_where_the_posterior_is_exact(tmp_path: Path) -> None:
    """x = w z + noise of variance 1: the posterior is N(w x / (1 + w^2), 1 / (1 + w^2))."""
    gan = variant(tmp_path, "vae", EXACT)
    w, x = 1.5, torch.tensor([[0.3], [-1.2]]).double()
    p = gan.named_parameters()
    variance = 1 / (1 + w**2)

    def bound(mean: float, logvar: float) -> float:
        with torch.no_grad():
            values = {"Enc.mu.0.weight": mean, "Dec.weight": w}
            for name, v in p.items():
                v.fill_(values.get(name, logvar if "logvar" in name else 0.0))
        eps = torch.tensor([[1.0], [-1.0]]).double()  # moments 0 and 1: the expectation of a square is exact
        terms = [gan.losses({"x": x[[i, i]]}, {"eps": eps}) for i in range(2)]
        return float(-sum(t["KL"] + t["rec"] for t in terms))

    exact = float(torch.distributions.Normal(0.0, math.sqrt(1 + w**2)).log_prob(x).sum())
    assert any("logvar" in n for n in p) and "Enc.mu.0.weight" in p
    assert close(bound(w * variance, math.log(variance)), exact, 1e-6)
    assert bound(w * variance, 0.0) < exact - 0.01 and bound(0.5 * w * variance, math.log(variance)) < exact - 0.01


def test_vae_7_a_decoder_that_knows_nothing_costs_784_log_2() -> None:
    gan = tiny("vae")
    zeroed(gan, "Dec.2.")
    assert close(gan.losses(batch(gan, 3), gan.draw(3, 0))["rec"], 784 * LOG2)


def test_vae_8_sums_over_the_batch_are_n_times_the_means_and_a_batch_twice_changes_nothing(tmp_path: Path) -> None:
    text = """
losses:
  summed: total(kl_normal(mu, logvar)) + total(sum(bce_logits(logits, x)))
schedule:
  VAE: KL + rec + 0 * step * summed
"""
    gan = variant(tmp_path, "vae", text)
    given, eps = batch(gan, 3), gan.draw(3, 0)["eps"]
    one = gan.losses(given, {"eps": eps})
    two = gan.losses({"x": given["x"].repeat(2, 1)}, {"eps": eps.repeat(2, 1)})
    assert close(one["summed"], 3 * (one["KL"] + one["rec"]), 1e-12)
    assert close(one["KL"], two["KL"], 1e-12) and close(one["rec"], two["rec"], 1e-12)


@pytest.mark.parametrize("system", AUTOENCODERS)
def test_an_autoencoder_has_one_player_that_owns_everything(system: str) -> None:
    gan = tiny(system)
    (player,) = gan.graph.players
    assert set(gan.graph.parameters(gan.graph.players[player].networks)) == set(gan.named_parameters())
    assert not buffers(gan)


PAPER = """
sizes: {width: 500}
networks:
  Enc:
  - mlp([width], last=Tanh()), gaussian_head(J)
  Dec: mlp([width, X], act=Tanh())
init: {weight: "normal(0, 0.01)", bias: "normal(0, 0.01)"}
players:
  VAE: {optimizer: Adagrad(lr=0.01)}
train: {batch: 100}
"""


def test_the_vae_of_the_paper_has_815_824_parameters(tmp_path: Path) -> None:
    spec = load(written(tmp_path, "gangraph: 1\nname: paper\nextends: vae\n" + PAPER))
    assert sum(math.prod(shape) for shape in spec.graph.parameters(("Enc", "Dec")).values()) == 815_824
