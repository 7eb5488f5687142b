"""Every system of the gallery at its tiny sizes: who moves what; section 10 of the fact sheets of the first ten.

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
    SYSTEMS,
    batch,
    batches,
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

# --- every phase moves exactly the parameters it may move

STYLEGAN_D = {"d_last", *(f"d_block[{i}]" for i in (3, 4, 5)), *(f"from_rgb[{i}]" for i in (2, 3, 4, 5))}
STYLEGAN_G = {"f", "const", "first", *(f"block[{i}]" for i in (3, 4, 5)), *(f"to_rgb[{i}]" for i in (2, 3, 4, 5))}
PHASES: dict[str, list[tuple[str, set[str]]]] = {
    "gan": [("D", {"D"}), ("G", {"G"})],
    "gan-minimax": [("D", {"D"}), ("G", {"G"})],
    "dcgan": [("D", {"D"}), ("G", {"G"})],
    "wgan-gp": [("D", {"D"})] * 5 + [("G", {"G"})],
    "vae-gan": [("encoder", {"Enc", "Lat"}), ("decoder", {"Dec"}), ("critic", {"Dis"})],
    "cyclegan": [("translators", {"G", "F"}), ("discriminators", {"D_X", "D_Y"})],
    "unit": [
        ("dis", {"D[0]", "D[1]", "dis_shared"}),
        ("gen", {"E[0]", "E[1]", "G[0]", "G[1]", "enc_shared", "dec_shared"}),
    ],
    "bicyclegan": [("translator", {"G", "E"}), ("D", {"D"}), ("D2", {"D2"})],
    "stylegan": [("critic", STYLEGAN_D), ("generator", STYLEGAN_G)],
    "stargan-v2": [
        ("D_latent", {"D"}),
        ("D_reference", {"D"}),
        ("G_latent", {"G", "F", "E"}),
        ("G_reference", {"G"}),
    ],
    "autoencoder": [("AE", {"Enc", "Dec"})],
    "denoising-ae": [("dA", {"W", "Enc", "Dec"})],
    "contractive-ae": [("cA", {"W", "Enc", "Dec"})],
    "sparse-ae": [("AE", {"Enc", "Dec"})],
    "vae": [("VAE", {"Enc", "Dec"})],
    "lsgan": [("D", {"D"}), ("G", {"G"})],
    "wgan": [("D", {"D"})] * 3 + [("G", {"G"})],
    "hinge": [("D", {"D"})] + [("G", {"G"})] * 10,
    "f-gan": [("V", {"V"}), ("G", {"G"})],
    "sn-gan": [("G", {"G"})] + [("D", {"D"})] * 5,
    "cgan": [("D", {"D"}), ("G", {"G"})],
    "ali": [("D", {"D", "D_x"}), ("G", {"Enc", "Dec"})],
    "pix2pix": [("D", {"D"}), ("G", {"G"})],
    "discogan": [("dis", {"D_A", "D_B"}), ("gen", {"G_AB", "G_BA"})],  # never in one iteration
    "dualgan": [("critic", {"D_A", "D_B"}), ("gen", {"G_A", "G_B"})],
    "cogan": [("dis", {"eyes[a]", "eyes[b]", "judge"}), ("gen", {"trunk", "head[a]", "head[b]"})],
    "stackgan-1": [("D", {"D", "head"}), ("G", {"CA", "G"})],
    "stackgan-2": [("D", {"D", "head", "plain"}), ("G", {"CA", "G"})],
    "biggan": [("D", {"D"})] * 2 + [("G", {"G", "embed"})],
    "munit": [("dis", {"D[0]", "D[1]"}), ("gen", {f"{n}[{d}]" for n in ("Ec", "Es", "M", "G") for d in (0, 1)})],
    "drit": [  # of a full iteration
        *((name, {name}) for name in ("D[0]", "D[1]", "D2[0]", "D2[1]", "Dc")),
        ("EG1", {f"{n}[{d}]" for n in ("Ec", "Ea", "G") for d in (0, 1)} | {"enc_share", "dec_share"}),
        ("EG2", {f"{n}[{d}]" for n in ("Ec", "G") for d in (0, 1)} | {"enc_share", "dec_share"}),
    ],
    "cross-domain-disentanglement": [
        *((name, {name}) for name in ("D[0]", "D[1]", "D_ex[0]", "D_ex[1]")),
        *((f"gen[{d}]", {f"Enc[{1 - d}]", f"Dec[{d}]"}) for d in (0, 1)),
        *((f"ex[{d}]", {f"Ex[{d}]", f"Enc[{1 - d}]"}) for d in (0, 1)),
        *((f"auto[{d}]", {"Enc[0]", "Enc[1]", f"Dec[{d}]"}) for d in (0, 1)),
        ("feature", {"Enc[0]", "Enc[1]"}),
        ("code", {"Enc[0]", "Enc[1]", "Dec[0]", "Dec[1]"}),
    ],
    # of every fifth iteration; G rests in the others
    "stargan": [("D", {"D"}), ("G", {"G"})],
    "stargan-rafd": [("D", {"D"}), ("G", {"G"})],
    "stargan-joint": [(f"{player}[{s}]", {player}) for s in ("celeba", "rafd") for player in ("D", "G")],
    "cd-gan": [("d[0]", {"d[0]"}), ("d[1]", {"d[1]"}), ("gen", {f"{n}[{k}]" for n in "eg" for k in (0, 1)})],
    "stargan-v2-masked": [
        ("D_latent", {"D"}),
        ("D_reference", {"D"}),
        ("G_latent", {"G", "F", "E"}),
        ("G_reference", {"G"}),
    ],
}
# Not all of them move in each iteration.
RESTING = ("vae-gan", "stylegan", "discogan", "drit", "stargan", "stargan-rafd", "stargan-joint")


def moves(gan: Any, n: int, seed: int) -> list[tuple[str, set[str]]]:
    """One iteration, in which each step moves what its gradients reach, and nothing else, bit for bit."""
    given: dict[int, list[Any]] = {}
    original = gan.game.move

    with watched(gan) as steps:
        inner = gan.game.move

        def move(phase: str, gradients: Any) -> None:
            inner(phase, gradients)
            given[len(steps)] = [None if g is None else bool(g.any()) for g in gradients]

        gan.game.move = move
        gan.step(batches(gan, n, seed), gan.draw(n, seed))
        gan.game.move = inner
    assert no_gradients(gan) and gan.game.move == original
    for i, (phase, changed) in enumerate(steps):
        names = gan.parameter_names(phase)
        reached = {name for name, g in zip(names, given[i + 1], strict=True) if g is not None}
        assert reached == set(gan.spec.routings[gan.clocks["stage"]].routes[phase].reached), phase
        assert changed <= reached, phase
        assert {name for name, g in zip(names, given[i + 1], strict=True) if g} <= changed, phase
    return steps


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s not in RESTING])
def test_a_phase_moves_exactly_the_parameters_it_may_move(system: str) -> None:
    gan = tiny(system)
    n = 4 if system in ("gan", "gan-minimax", "dcgan") else 2
    for seed in range(3):
        steps = moves(gan, n, seed)
        assert [phase for phase, _ in steps] == [phase for phase, _ in PHASES[system]]
        for (phase, changed), (_, networks) in zip(steps, PHASES[system], strict=True):
            assert networks_of(changed) == networks, phase


def test_vae_gan_moves_the_players_that_its_gate_lets_through() -> None:
    gan = tiny("vae-gan")
    owners = dict(PHASES["vae-gan"])
    for seed in range(4):
        last_layer(gan, "Dis", bias=(0, 3, -3, 0.1)[seed])  # sure of one side, so that the gate closes
        steps = moves(gan, 2, seed)
        names = [phase for phase, _ in steps]
        assert names[0] == "encoder" and set(names) <= set(owners) and len(names) >= 2
        assert all(networks_of(changed) <= owners[phase] for phase, changed in steps)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_of_stylegan_moves_the_levels_that_it_has(stage: int) -> None:
    gan = tiny("stylegan")
    gan.clocks["stage"] = stage
    r = stage + 3
    old = [] if stage == 0 else [r - 1]  # the level that fades out
    critic = {"d_last", *(f"d_block[{i}]" for i in range(3, r + 1)), *(f"from_rgb[{i}]" for i in [*old, r])}
    generator = {"f", "const", "first", *(f"block[{i}]" for i in range(3, r + 1)), *(f"to_rgb[{i}]" for i in [*old, r])}
    for seed in range(3):
        gan.clocks["stage_images"] = 50000 + 200000 * seed if stage else 0
        steps = moves(gan, 2, seed)
        assert [phase for phase, _ in steps] == ["critic", "generator"]
        assert networks_of(steps[0][1]) == critic and networks_of(steps[1][1]) == generator


@pytest.mark.parametrize("system", SYSTEMS)
def test_gradients_are_asked_for_by_the_owned_parameters_only(system: str) -> None:
    gan = tiny(system)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    before = snapshot(gan)
    for phase, networks in dict(PHASES[system]).items():
        found = gan.gradients(phase, given, draws)
        assert networks_of(found) <= networks and found
        assert all(g.shape == gan.named_parameters()[n].shape and not g.requires_grad for n, g in found.items())
    assert not moved(before, snapshot(gan)) and no_gradients(gan)


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_loss_and_no_look_at_gradients_changes_anything(system: str) -> None:
    gan = tiny(system)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    before = gan.state_dict()
    before = {"networks": {k: v.clone() for k, v in before["networks"].items()}, "state": str(before["state"])}
    one, two = gan.losses(given, draws), gan.losses(given, draws)
    assert set(one) == set(gan.graph.losses) and all(torch.equal(one[k], two[k]) for k in one)
    after = gan.state_dict()
    assert not moved(before["networks"], after["networks"]) and str(after["state"]) == before["state"]
    assert not any(after["pools"].values())


# --- gan


@pytest.mark.parametrize("system, expected", [("gan", LOG2), ("gan-minimax", -LOG2), ("dcgan", LOG2)])
def test_gan_2_and_dcgan_4_with_all_logits_0_the_losses_are_multiples_of_log_2(system: str, expected: float) -> None:
    gan = tiny(system)
    last_layer(gan, "D")
    found = gan.losses(batch(gan, 4), gan.draw(4, 0))
    assert close(found["adv.discriminator"], 2 * LOG2) and close(found["adv.generator"], expected)


FREE = """
gangraph: 1
name: free
inputs:
  real: label(3)
  fake: label(3)
networks:
  S: Parameter(3)
  T: Parameter(init=zeros())
graph:
  s: S()
  f: select(s, fake) + T()
losses:
  adv: FAMILY(real=select(s, real), fake=f)
players:
  P: {networks: [S], optimizer: SGD(lr=0.1)}
  Q: {networks: [T], optimizer: SGD(lr=0.1)}
schedule:
  P: adv.discriminator
  Q: adv.generator
train: {batch: 10}
"""
P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)


def free(folder: Path, family: str, scores: Any) -> tuple[Any, dict[str, Tensor]]:
    """A family on three points with free scores; ten samples have the shares of P and Q."""
    text = FREE.replace("FAMILY(", f"{family}(" if "(" not in family else family.replace(")", ", "))
    gan = build(written(folder, text))
    with torch.no_grad():
        gan.networks["S"].weight.copy_(torch.as_tensor(scores, dtype=torch.float64))
    counted = [torch.repeat_interleave(torch.arange(3), (d * 10).round().long()) for d in (P, Q)]
    return gan, {"real": counted[0], "fake": counted[1]}


SIGN = (P - Q).sign()
BEST = [
    ("non_saturating", (P / Q).log(), 1.2051627),
    ("minimax", (P / Q).log(), 1.2051627),
    ("hinge", SIGN, 1.2),
    ("least_squares", (P - Q) / (P + Q), 0.8257143),
    ("least_squares(a=0, c=1)", P / (P + Q), 0.2064286),
]


@pytest.mark.parametrize("family, scores, value", BEST)
def test_gan_3_the_best_discriminator_of_a_discrete_game_is_known(
    family: str, scores: Tensor, value: float, tmp_path: Path
) -> None:
    gan, given = free(tmp_path, family, scores)
    assert close(gan.losses(given, {})["adv.discriminator"], value, 1e-7)
    if family != "hinge":
        (gradient,) = gan.gradients("P", given, {}).values()
        assert gradient.abs().max() < 1e-15
    worse, _ = free(tmp_path, family, scores + torch.tensor([0.1, -0.2, 0.05]))
    assert worse.losses(given, {})["adv.discriminator"] > value


def test_gan_4_minimax_is_zero_sum(tmp_path: Path) -> None:
    text = """
losses:
  value: expect(mean(softplus(-D(x)))) + expect(mean(softplus(D(fake))))
players:
  against: {networks: [G], optimizer: SGD(lr=0.1)}
schedule:
  G: ~
  both:
    together:
      G: adv.generator
      against: value
meant: ["shared(G)"]
"""
    gan = variant(tmp_path, "gan-minimax", text)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    one, two = gan.gradients("G", given, draws), gan.gradients("against", given, draws)
    assert list(one) == list(two)
    assert all(torch.allclose(one[n], -two[n], rtol=1e-12, atol=1e-15) for n in one)


def test_gan_5_minimax_saturates_and_the_other_does_not(tmp_path: Path) -> None:
    for family, slope in (("minimax", 0.0), ("non_saturating", -1.0)):
        gan, given = free(tmp_path, family, [-30.0, -30.0, -30.0])
        (gradient,) = gan.gradients("Q", given, {}).values()
        assert close(gradient.sum(), slope, 1e-12)


def test_gan_7_alternating_takes_two_draws_of_z_and_simultaneous_one(tmp_path: Path) -> None:
    gan = tiny("gan")
    draws = gan.draw(4, 0)
    assert {"D/z", "G/z"} <= set(draws) and not torch.equal(draws["D/z"], draws["G/z"])
    text = "schedule: {D: ~, G: ~, both: {together: {FIRST, SECOND}}}\n"
    members = ("D: adv.discriminator", "G: adv.generator")
    ends = []
    for first, second in (members, members[::-1]):
        gan = variant(tmp_path, "gan", text.replace("FIRST", first).replace("SECOND", second))
        draws = gan.draw(4, 0)
        assert set(draws) == {"both/z", "z"}
        for seed in range(3):
            gan.step(batch(gan, 4, seed), gan.draw(4, seed))
        ends.append(snapshot(gan))
    assert not moved(*ends)
    alternating = []
    for order in ("[D, G]", "[G, D]"):
        gan = variant(tmp_path, "gan", f"schedule: {{order: {order}}}\n")
        gan.step(batch(gan, 4), {"z": torch.ones(4, 16)})
        alternating.append(snapshot(gan))
    assert moved(*alternating)


def test_gan_8_maxout_is_the_largest_of_its_pieces_in_any_order(tmp_path: Path) -> None:
    gan = build(written(tmp_path, one_network("maxout(4, 5)", "Q(x)", {"x": "vector(6)"})))
    Q, x = gan.networks["Q"], recipe_input(0, (3, 6))
    p = dict(gan.named_parameters())
    out = Q(x)
    pieces = (x @ p["Q.0.weight"].T + p["Q.0.bias"]).reshape(3, 4, 5)
    assert torch.equal(out, pieces.max(dim=2).values)
    order = torch.cat([5 * unit + torch.randperm(5) for unit in range(4)])
    with torch.no_grad():
        p["Q.0.weight"].copy_(p["Q.0.weight"][order].clone())
        p["Q.0.bias"].copy_(p["Q.0.bias"][order].clone())
    assert torch.allclose(Q(x), out, atol=1e-15)


# --- dcgan


def test_dcgan_1_samples_lie_in_the_range_of_tanh() -> None:
    gan = tiny("dcgan")
    images = gan.sample("images", 5)
    assert images.shape == (5, 3, 64, 64) and images.abs().max() <= 1


ADJOINT = """
gangraph: 1
name: adjoint
inputs:
  x: image(3, 16, 16)
  y: image(6, 8, 8)
networks:
  A: Conv2d(6, 5, stride=2, padding=2, bias=False)
  B: ConvTranspose2d(3, 5, stride=2, padding=2, output_padding=1, bias=False)
losses:
  l: expect(sum(A(x) * y)) + expect(sum(x * B(y)))
players:
  P: {networks: [A, B], optimizer: SGD(lr=0.1)}
schedule: {P: l}
train: {batch: 2}
"""


def test_dcgan_2_its_two_convolutions_are_adjoint(tmp_path: Path) -> None:
    for network, kind in (("D", "Conv2d"), ("G", "ConvTranspose2d")):
        modules = [m for _, m in tiny("dcgan").graph.networks[network].module.layers() if m.title == kind]
        assert modules and all("5, stride=2, padding=2" in str(m.layer).replace("kernel=", "") for m in modules)
    gan = build(written(tmp_path, ADJOINT))
    with torch.no_grad():
        gan.networks["B"].weight.copy_(gan.networks["A"].weight)
    x, y = recipe_input(0, (2, 3, 16, 16)), recipe_input(1, (2, 6, 8, 8))
    with torch.no_grad():
        assert close((gan.networks["A"](x) * y).sum(), (x * gan.networks["B"](y)).sum())


def test_dcgan_7_one_pass_for_real_and_fake_is_another_loss(tmp_path: Path) -> None:
    text = """
graph:
  s_real, s_fake: batch_split(D(batch_concat([x, fake])), 2)
losses:
  adv: non_saturating(real=s_real, fake=s_fake)
"""
    apart, joint = tiny("dcgan"), variant(tmp_path, "dcgan", text)
    given, draws = batch(apart, 4), apart.draw(4, 0)
    one, two = (g.losses(given, draws)["adv.discriminator"] for g in (apart, joint))
    assert not close(one, two, 1e-4)


def test_dcgan_8_weights_begin_with_deviation_0_02_and_gamma_with_mean_1() -> None:
    gan = tiny("dcgan", sizes={"width": 32})
    parameters = gan.named_parameters()
    large = [p for n, p in parameters.items() if p.dim() > 1 and p.numel() > 100_000]
    gammas = torch.cat([p for n, p in parameters.items() if p.dim() == 1 and n.endswith("weight")])
    assert len(large) >= 4 and all(abs(p.std() / 0.02 - 1) < 0.02 and abs(p.mean()) < 1e-3 for p in large)
    assert abs(gammas.mean() - 1) < 0.01 and abs(gammas.std() / 0.02 - 1) < 0.2
    assert all(not p.any() for n, p in parameters.items() if n.endswith("bias"))


# --- wgan-gp

LINEAR = """
networks:
  D:
  - Flatten(), Linear(1)
losses:
  one_sided: expect(relu(norm(grad(D(between), between)) - 1)**2)
schedule:
  D: {minimize: adv.discriminator + gp * penalty + 0 * step * one_sided}
  only: {player: D, minimize: penalty}
"""


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_wgan_gp_1_2_7_the_penalty_of_a_linear_critic_is_that_of_its_weight(scale: float, tmp_path: Path) -> None:
    gan = variant(tmp_path, "wgan-gp", LINEAR)
    w = gan.named_parameters()["D.1.weight"]
    with torch.no_grad():
        w.mul_(scale / w.norm())
    for seed in range(2):
        found = gan.losses(batch(gan, 3, seed), gan.draw(3, seed))
        assert close(found["penalty"], (scale - 1) ** 2, 1e-12)
        assert close(found["one_sided"], max(0.0, scale - 1) ** 2, 1e-12)
    if scale == 1:
        found = gan.gradients("only", batch(gan, 3), gan.draw(3, 0))
        assert all(g.abs().max() < 1e-14 for g in found.values())


def test_wgan_gp_2_the_one_sided_penalty_is_at_most_the_other(tmp_path: Path) -> None:
    text = LINEAR.split("losses:", 1)[1]
    gan = variant(tmp_path, "wgan-gp", "losses:" + text)
    for seed in range(3):
        found = gan.losses(batch(gan, 2, seed), gan.draw(2, seed))
        assert 0 <= found["one_sided"] <= found["penalty"]


def test_wgan_gp_3_eps_0_is_the_real_and_eps_1_the_fake(tmp_path: Path) -> None:
    text = """
losses:
  at_real: expect((norm(grad(D(x), x)) - 1)**2)
  at_fake: expect((norm(grad(D(fake), fake)) - 1)**2)
schedule:
  D: {minimize: adv.discriminator + gp * penalty + 0 * step * (at_real + at_fake)}
"""
    gan = variant(tmp_path, "wgan-gp", text)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    for eps, name in ((0.0, "at_real"), (1.0, "at_fake")):
        found = gan.losses(given, {**draws, "eps": torch.full((3,), eps).double()})
        assert close(found["penalty"], found[name], 1e-10)


def test_wgan_gp_4_6_the_penalty_reaches_neither_the_generator_nor_the_last_bias(tmp_path: Path) -> None:
    gan = variant(tmp_path, "wgan-gp", "schedule:\n  only: {player: D, minimize: penalty}\n")
    found = gan.gradients("only", batch(gan, 2), gan.draw(2, 0))
    names = [n for n in gan.named_parameters() if n.startswith("D.")]
    assert networks_of(found) == {"D"} and names[-1].endswith(".bias") and names[-1] not in found
    assert names[-2] in found


def test_wgan_gp_5_the_penalty_of_a_batch_is_the_mean_of_those_of_its_samples() -> None:
    """Of G's samples too: they are held fixed by their draws, and G's batch norm by evaluation mode."""
    gan = tiny("wgan-gp")
    gan.networks["G"].eval()
    given, draws = batch(gan, 3), gan.draw(3, 0)
    whole = gan.losses(given, draws)["penalty"]
    parts = [
        gan.losses({"x": given["x"][i : i + 1]}, {k: v[i : i + 1] for k, v in draws.items()})["penalty"]
        for i in range(3)
    ]
    assert close(whole, sum(parts) / 3, 1e-10)


def test_wgan_gp_8_a_constant_critic_has_penalty_1_and_finite_gradients() -> None:
    gan = tiny("wgan-gp")
    last_layer(gan, "D")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    assert close(gan.losses(given, draws)["penalty"], 1)
    assert all(g.isfinite().all() for g in gan.gradients("D", given, draws).values())


def test_wgan_gp_takes_five_batches_and_steps_the_critic_five_times() -> None:
    gan = tiny("wgan-gp")
    assert gan.fetches() == 5
    log = gan.step(batches(gan, 2), gan.draw(2, 0))
    assert [k for k in log if "/" not in k] == ["D", "D.2", "D.3", "D.4", "D.5", "G"]


# --- vae-gan

SINGLE = """
schedule:
  all:
    together:
      enc_prior: {player: encoder, minimize: prior}
      enc_rec: {player: encoder, minimize: rec}
      dec_rec: {player: decoder, minimize: rec}
      dec_gan: {player: decoder, minimize: gan.generator}
      dec_decay: {player: decoder, minimize: decay}
      dis_gan: {player: critic, minimize: gan.discriminator}
      dis_decay: {player: critic, minimize: decay}
"""


def pieces(folder: Path, **options: Any) -> Any:
    return variant(folder, "vae-gan", SINGLE, **options)


def test_vae_gan_1_the_terms_reach_the_networks_of_the_paper_only(tmp_path: Path) -> None:
    gan = pieces(tmp_path)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    reached = {phase: networks_of(gan.gradients(phase, given, draws)) for phase in gan.phases}
    assert reached["enc_prior"] == reached["enc_rec"] == {"Enc", "Lat"}
    assert reached["dec_rec"] == reached["dec_gan"] == {"Dec"} and reached["dis_gan"] == {"Dis"}
    whole = gan.gradients("encoder", given, draws)
    parts = [gan.gradients(p, given, draws) for p in ("enc_prior", "enc_rec")]
    decay = {n: 2e-5 * p for n, p in gan.named_parameters().items() if n.startswith("Enc.") and p.dim() > 1}
    for name, g in whole.items():
        expected = sum(part.get(name, 0) for part in parts) + decay.get(name, 0)
        assert torch.allclose(g, expected, rtol=1e-9, atol=1e-10), name
    critic = gan.gradients("critic", given, draws)  # neither rec nor prior is in it
    for name, g in critic.items():
        expected = gan.gradients("dis_gan", given, draws)[name]
        expected = expected + (
            2e-5 * gan.named_parameters()[name] if name in gan.gradients("dis_decay", given, draws) else 0
        )
        assert torch.allclose(g, expected, rtol=1e-9, atol=1e-10), name


def test_vae_gan_2_the_decoders_gradient_is_a_combination_at_the_same_weights(tmp_path: Path) -> None:
    gan = pieces(tmp_path)
    given, draws = batch(gan, 3), gan.draw(3, 0)
    whole, rec, adv, decay = (gan.gradients(p, given, draws) for p in ("decoder", "dec_rec", "dec_gan", "dec_decay"))
    for name, g in whole.items():
        expected = 1e-6 * rec.get(name, 0) + (1 - 1e-6) * adv.get(name, 0) + decay.get(name, 0)
        assert torch.allclose(g, expected, rtol=1e-9, atol=1e-11), name


def stepped(gan: Any, n: int, seed: int = 0) -> tuple[set[str], dict[str, Tensor]]:
    with watched(gan) as steps:
        log = gan.step(batches(gan, n, seed), gan.draw(n, seed))
    return {phase for phase, _ in steps}, log


def test_vae_gan_3_at_one_half_both_step() -> None:
    gan = tiny("vae-gan")
    last_layer(gan, "Dis")
    phases, log = stepped(gan, 2)
    assert phases == {"encoder", "decoder", "critic"}
    assert all(close(log[f"all/{c}"], -math.log(0.5 + 1e-3)) for c in ("c_r", "c_f"))


def gate(c_r: float, c_f: float, e: float = 0.68, m: float = 0.35) -> set[str]:
    """The paper's code (aegan.py), by hand."""
    dis = dec = True
    if c_r < e - m or c_f < e - m:
        dis = False
    if c_r > e + m or c_f > e + m:
        dec = False
    if not (dis or dec):
        dis = dec = True
    return {"encoder"} | ({"decoder"} if dec else set()) | ({"critic"} if dis else set())


@pytest.mark.parametrize("bias", [-4.0, -1.2, -0.4, 0.0, 0.4, 1.2, 4.0])
def test_vae_gan_4_the_gate_is_that_of_the_code(bias: float) -> None:
    gan = tiny("vae-gan")
    last_layer(gan, "Dis", bias)
    phases, log = stepped(gan, 2)
    assert phases == gate(float(log["all/c_r"]), float(log["all/c_f"]))


@pytest.mark.parametrize("c_r, c_f, skipped", [(0.2, 0.7, "critic"), (0.7, 1.2, "decoder"), (0.2, 1.2, None)])
def test_vae_gan_4_the_gates_truth_table(c_r: float, c_f: float, skipped: str | None) -> None:
    """Dis is told which half it sees, so that the two costs are what the sheet asks for."""
    gan = tiny("vae-gan")
    gan.game.Dis = gan.networks["Dis"]

    class Told(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            half = len(x) // 2
            p = torch.tensor([math.exp(-c_r) - 1e-3] * half + [1 - math.exp(-c_f) + 1e-3] * half, dtype=torch.float64)
            return p[:, None] + 0 * inner(x)

    inner = gan.networks["Dis"].forward
    gan.networks["Dis"].forward = Told().forward
    phases, log = stepped(gan, 2)
    assert close(log["all/c_r"], c_r) and close(log["all/c_f"], c_f)
    assert phases == gate(c_r, c_f) == {"encoder", "decoder", "critic"} - {skipped}


def test_vae_gan_5_a_batch_twice_has_losses_twice_and_half_the_rate() -> None:
    gan = tiny("vae-gan")
    given, draws = batch(gan, 3), {k: v for k, v in gan.draw(3, 0).items() if "/" not in k}
    twice = {k: torch.cat([v, v]) for k, v in given.items()}, {k: torch.cat([v, v]) for k, v in draws.items()}
    one, two = gan.losses(given, draws), gan.losses(*twice)
    for name in ("prior", "rec", "gan.discriminator", "gan.generator"):
        assert close(two[name], 2 * one[name], 1e-9), name
    rates = []
    for n in (3, 6):
        gan.step(batch(gan, n), gan.draw(n, 0))
        gan.clocks["step"] = 0
        rates.append(gan.game.players["encoder"][0].param_groups[0]["lr"])
    assert close(rates[0], 0.025 / 3) and close(rates[1], 0.025 / 6)


def test_vae_gan_6_w_real_scales_the_critics_real_side_only(tmp_path: Path) -> None:
    found = {}
    for w in (0.25, 0.5, 0.75):
        gan = pieces(tmp_path, constants={"w_real": w})
        given, draws = batch(gan, 3), gan.draw(3, 0)
        found[w] = gan.gradients("dec_gan", given, draws), gan.gradients("dis_gan", given, draws)
    low, middle, high = (found[w] for w in (0.25, 0.5, 0.75))
    assert all(torch.equal(low[0][n], high[0][n]) for n in low[0])
    assert all(torch.allclose(low[1][n] + high[1][n], 2 * middle[1][n], rtol=1e-9, atol=1e-11) for n in low[1])


def test_vae_gan_7_the_prior_view_shares_weights_and_has_statistics_of_its_own() -> None:
    gan = tiny("vae-gan")
    own = {n for n, _ in gan.networks["Dec"].named_buffers() if "running_mean" in n}
    other = {n for n in own if n.endswith("_prior")}
    assert len(other) * 2 == len(own) > 0
    gan.step(batch(gan, 3), gan.draw(3, 0))
    values = dict(gan.networks["Dec"].named_buffers())
    assert all(not torch.equal(values[n], values[n.removesuffix("_prior")]) for n in other)
    before = {n: b.clone() for n, b in values.items()}
    gan.sample("images", 2)
    assert not moved(before, dict(gan.networks["Dec"].named_buffers()))


def test_vae_gan_8_a_reconstruction_that_is_the_picture_costs_nothing(tmp_path: Path) -> None:
    text = "graph:\n  code: Dec(mu + exp(0.5 * logvar) * eps)\n  x_t: x + 0 * code\n"
    gan = variant(tmp_path, "vae-gan", text)
    assert gan.losses(batch(gan, 3), gan.draw(3, 0))["rec"] == 0
    labels = tiny("vae-gan").graph.networks["Dis"].module.labels
    node = labels["conv3"]
    assert node.op == "apply" and node.fields["module"].title == "Conv2d"  # before the batch norm


# --- cyclegan

ALONE = """
schedule:
  translators: ~
  discriminators: ~
  both:
    together:
      translators: gan_y.generator + gan_x.generator + cycle * cyc + cycle * identity * idt
      cyc_alone: {player: translators, minimize: cyc}
      gan_y_alone: {player: translators, minimize: gan_y.generator}
      gan_x_alone: {player: translators, minimize: gan_x.generator}
      idt_y: {player: translators, minimize: "expect(l1(G(y), y))"}
      idt_x: {player: translators, minimize: "expect(l1(F(x), x))"}
  last: {player: discriminators, minimize: 0.5 * (gan_y.discriminator + gan_x.discriminator)}
"""


def test_cyclegan_1_2_each_term_reaches_its_translators(tmp_path: Path) -> None:
    gan = variant(tmp_path, "cyclegan", ALONE)
    given, draws = batch(gan, 1), gan.draw(1, 0)
    reached = {p: networks_of(gan.gradients(p, given, draws)) for p in gan.phases}
    assert reached == {
        "translators": {"G", "F"},
        "cyc_alone": {"G", "F"},
        "gan_y_alone": {"G"},
        "gan_x_alone": {"F"},
        "idt_y": {"G"},
        "idt_x": {"F"},
        "last": {"D_X", "D_Y"},
    }


def exchange(gan: Any, pairs: list[tuple[str, str]]) -> None:
    """Exchanges the weights of networks."""
    for a, b in pairs:
        kept = {k: v.clone() for k, v in gan.networks[a].state_dict().items()}
        gan.networks[a].load_state_dict(gan.networks[b].state_dict())
        gan.networks[b].load_state_dict(kept)


def test_cyclegan_3_exchanging_the_domains_exchanges_the_losses() -> None:
    gan = tiny("cyclegan")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    one = gan.losses(given, draws)
    exchange(gan, [("G", "F"), ("D_X", "D_Y")])
    two = gan.losses({"x": given["y"], "y": given["x"]}, draws)
    for a, b in (("gan_y", "gan_x"), ("gan_x", "gan_y")):
        for side in ("discriminator", "generator"):
            assert close(one[f"{a}.{side}"], two[f"{b}.{side}"])
    assert close(one["cyc"], two["cyc"]) and close(one["idt"], two["idt"])


@pytest.mark.parametrize("output, dis, gen", [(0.0, 0.5, 1.0), (0.5, 0.25, 0.25)])
def test_cyclegan_4_constant_discriminators_have_known_losses(output: float, dis: float, gen: float) -> None:
    gan = tiny("cyclegan")
    for D in ("D_X", "D_Y"):
        last_layer(gan, D, output)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    for name in ("gan_x", "gan_y"):
        assert close(0.5 * found[f"{name}.discriminator"], dis) and close(found[f"{name}.generator"], gen)


def test_cyclegan_5_identity_generators_cost_nothing(tmp_path: Path) -> None:
    text = "networks:\n  G:\n  - _ * Parameter(1, init=ones())()\n  F:\n  - _ * Parameter(1, init=ones())()\n"
    gan = variant(tmp_path, "cyclegan", text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert found["cyc"] == 0 and found["idt"] == 0


def test_cyclegan_6_9_the_pools_take_the_fakes_from_before_the_step(tmp_path: Path) -> None:
    gan = tiny("cyclegan")
    kept: list[Tensor] = []
    for seed in range(3):
        given, draws = batch(gan, 1, seed), gan.draw(1, seed)
        with torch.no_grad():
            kept += list(gan.networks["G"](given["x"]))
        gan.step(given, draws)
        stored = gan.game.pools["old_y"].samples
        assert len(stored) == seed + 1 and all(torch.equal(a, b) for a, b in zip(stored, kept, strict=True))
        assert not any(s.requires_grad for s in stored)


def test_cyclegan_6_the_pool_returns_what_it_gets_until_it_has_50_and_keeps_50() -> None:
    gan = tiny("cyclegan")
    pool, shown, given = gan.module.Pool(50, 0.5), [], []
    for i in range(60):
        x = recipe_input(i, (1, 2, 2, 2)).requires_grad_()
        swap, slot = torch.tensor([i % 2]).double(), torch.tensor([i % 50])
        shown.append(pool(x, "old", gan.module.Draws(gan.game.like, None, {"old/swap": swap, "old/slot": slot})))
        given.append(x.detach())
        assert len(pool.samples) == min(i + 1, 50) and not shown[-1].requires_grad
    assert all(torch.equal(a, b) for a, b in zip(shown[:50], given[:50], strict=True))
    for i in range(50, 60):
        assert torch.equal(shown[i], given[i] if i % 2 == 0 else given[i % 50])


def test_cyclegan_6_without_a_pool_the_discriminators_see_the_fakes(tmp_path: Path) -> None:
    text = """
losses:
  gan_y: lsgan(real=D_Y(y), fake=D_Y(fake_y))
  gan_x: lsgan(real=D_X(x), fake=D_X(fake_x))
graph: {old_y: ~, old_x: ~}
"""
    plain, pooled = variant(tmp_path, "cyclegan", text), tiny("cyclegan")
    given, draws = batch(pooled, 2), pooled.draw(2, 0)
    one, two = plain.losses(given, draws), pooled.losses(given, draws)  # an empty pool returns what it gets
    assert all(close(one[k], two[k]) for k in one)


def test_cyclegan_7_six_calls_of_the_generators_and_four_without_identity() -> None:
    for identity, expected in ((0.5, 6), (0, 4)):
        gan = tiny("cyclegan", constants={"identity": identity})
        count = [0]
        for name in ("G", "F"):
            gan.networks[name].register_forward_hook(lambda *_, c=count: c.__setitem__(0, c[0] + 1))
        gan.step(batch(gan, 1), gan.draw(1, 0))
        assert count[0] == expected


def test_cyclegan_8_the_learning_rate_is_flat_for_100_epochs_and_falls() -> None:
    gan = tiny("cyclegan")
    rates = {}
    for epoch in (0, 50, 98, 99, 100, 150, 199):
        gan.clocks["epoch"] = epoch
        gan.game.constants()
        rates[epoch] = [groups[0][2]["lr"] for groups in gan.game.optimizers().values()]
        gan.step(batch(gan, 1), gan.draw(1, 0))
        assert [o[0].param_groups[0]["lr"] for o in gan.game.players.values()] == rates[epoch]
    for epoch, (a, b) in rates.items():
        assert a == b and close(a, 2e-4 * (1 - max(0, epoch + 1 - 100) / 101))
    assert rates[99][0] == 2e-4 and rates[100][0] < 2e-4 and rates[199][0] > 0


# --- unit


def test_unit_1_shared_parts_are_one_tensor_each_and_serve_all_paths(tmp_path: Path) -> None:
    gan = tiny("unit")
    for name, inner in (("E", "enc_shared"), ("G", "dec_shared"), ("D", "dis_shared")):
        shared = {id(p) for p in gan.networks[inner].parameters()}
        for d in (0, 1):
            assert shared <= {id(p) for p in gan.networks[f"{name}[{d}]"].parameters()}
    text = """
schedule:
  dis: ~
  gen: ~
  both:
    together:
      gen: gan * add(adv.generator) + direct * add(rec) + kl * add(KL) + cycle * add(cyc) + kl_cycle * add(KL_cyc)
      one: {player: gen, minimize: "rec[1]"}
      two: {player: gen, minimize: "cyc[1]"}
      dis: gan * add(adv.discriminator)
"""
    gan = variant(tmp_path, "unit", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    assert networks_of(gan.gradients("one", given, draws)) == {"E[1]", "enc_shared", "dec_shared", "G[1]"}
    assert networks_of(gan.gradients("two", given, draws)) == {
        "E[0]",
        "E[1]",
        "enc_shared",
        "dec_shared",
        "G[0]",
        "G[1]",
    }
    assert networks_of(gan.gradients("gen", given, draws)) == {
        "E[0]",
        "E[1]",
        "enc_shared",
        "dec_shared",
        "G[0]",
        "G[1]",
    }


def silent(draws: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: torch.zeros_like(v) for k, v in draws.items()}


def test_unit_2_without_noise_one_batch_is_two_calls() -> None:
    gan = tiny("unit")
    a, b = recipe_input(0, (2, 3, 32, 32)), recipe_input(1, (2, 3, 32, 32))
    quiet = {"v/enc_shared.1": torch.zeros(1).double()}
    E = gan.networks["E[0]"]
    call = lambda x: E(x, gan.module.Draws(gan.game.like, None, quiet).call("E[0]", "v"))  # noqa: E731
    assert torch.allclose(call(torch.cat([a, b])), torch.cat([call(a), call(b)]), atol=1e-12)
    given = batch(gan, 2)
    one = gan.losses(given, silent(gan.draw(2, 0)))
    parts = [gan.losses({k: v[i : i + 1] for k, v in given.items()}, silent(gan.draw(1, 0))) for i in (0, 1)]
    assert all(close(one[k], (parts[0][k] + parts[1][k]) / 2, 1e-10) for k in one)


def test_unit_3_a_code_of_zeros_has_no_divergence_and_one_of_noise_about_1() -> None:
    gan = tiny("unit")
    with torch.no_grad():  # the last residual block of the encoders adds 0 to what is 0
        for name, p in gan.named_parameters().items():
            if name.startswith(("E[", "enc_shared.")):
                p.zero_()
    given, draws = batch(gan, 2), gan.draw(2, 0)
    quiet, loud = gan.losses(given, silent(draws)), gan.losses(given, draws)
    for name in ("KL[0]", "KL[1]", "KL_cyc[0]", "KL_cyc[1]"):
        assert quiet[name] == 0 and abs(loud[name] - 1) < 0.2


def test_unit_4_with_all_logits_0_the_objectives_are_multiples_of_log_2() -> None:
    gan = tiny("unit")
    last_layer(gan, "dis_shared")
    log = gan.step(batch(gan, 2), gan.draw(2, 0))
    assert close(log["dis"], 40 * LOG2)
    gan = tiny("unit")
    last_layer(gan, "dis_shared")
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert close(10 * (found["adv[0].generator"] + found["adv[1].generator"]), 20 * LOG2)


def test_unit_6_exchanging_the_domains_exchanges_the_losses() -> None:
    gan = tiny("unit")
    given, draws = batch(gan, 2), silent(gan.draw(2, 0))
    one = gan.losses(given, draws)
    exchange(gan, [("E[0]", "E[1]"), ("G[0]", "G[1]"), ("D[0]", "D[1]")])
    two = gan.losses({"x[0]": given["x[1]"], "x[1]": given["x[0]"]}, draws)
    for name in one:
        other = name.replace("0", "#").replace("1", "0").replace("#", "1")
        assert close(one[name], two[other], 1e-10), name


def test_unit_7_networks_that_are_the_identity_lose_nothing(tmp_path: Path) -> None:
    text = """
networks:
  enc_shared:
  - _ * Parameter(1, init=ones())()
  dec_shared:
  - _ * Parameter(1, init=ones())()
  E[d]:
  - enc_shared, _ * Parameter(1, init=ones())()
  G[d]:
  - dec_shared, _ * Parameter(1, init=ones())()
"""
    gan = variant(tmp_path, "unit", text)
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    assert all(found[f"{loss}[{d}]"] == 0 for loss in ("rec", "cyc") for d in (0, 1))


# --- bicyclegan

TERMS = """
schedule:
  translator: ~
  D: ~
  D2: ~
  both:
    together:
      translator: gan.generator + gan2.generator + l1_weight * rec + kl_weight * kl + latent * z_rec
      z_alone: {player: translator, minimize: z_rec}
      gan2_alone: {player: translator, minimize: gan2.generator}
      gan_alone: {player: translator, minimize: gan.generator}
  last: {player: D, minimize: gan.discriminator}
  last2: {player: D2, minimize: gan2.discriminator}
"""


def test_bicyclegan_1_2_what_reaches_the_encoder_and_what_does_not(tmp_path: Path) -> None:
    gan = variant(tmp_path, "bicyclegan", TERMS)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    found = {p: gan.gradients(p, given, draws) for p in ("z_alone", "gan2_alone", "gan_alone")}
    assert networks_of(found["z_alone"]) == networks_of(found["gan2_alone"]) == {"G"}
    assert networks_of(found["gan_alone"]) == {"G", "E"}
    assert any(g.any() for g in found["z_alone"].values())
    assert any(g.any() for n, g in found["gan_alone"].items() if n.startswith("E."))


def heads(gan: Any) -> list[str]:
    """The two heads of the encoder, which are its last parameters: mean and log of the variance."""
    return [n for n in gan.named_parameters() if n.startswith("E.")][-4:]


def test_bicyclegan_3_the_divergence_is_0_at_the_prior_and_its_formula_elsewhere() -> None:
    gan = tiny("bicyclegan")
    parameters = gan.named_parameters()
    given, draws = batch(gan, 4), gan.draw(4, 0)
    for mu, lv in ((0.0, 0.0), (0.5, -0.7), (-1.0, 0.4)):
        with torch.no_grad():
            for name, value in zip(heads(gan), (0, mu, 0, lv), strict=True):
                parameters[name].fill_(value)
        expected = 2 * 8 * 0.5 * (mu**2 + math.exp(lv) - 1 - lv)  # two samples, eight numbers
        found = gan.losses(given, draws)["kl"]
        assert close(found, expected, 1e-12) and found >= 0


def test_bicyclegan_4_with_all_scores_0_both_sides_are_2() -> None:
    gan = tiny("bicyclegan")
    for D in ("D", "D2"):
        names = [n for n in gan.named_parameters() if n.startswith(f"{D}.")]
        count = len(names) // 2
        with torch.no_grad():
            for name in (*names[count - 2 : count], *names[-2:]):  # the last layer of each scale
                gan.named_parameters()[name].zero_()
    found = gan.losses(batch(gan, 4), gan.draw(4, 0))
    assert all(close(found[f"{g}.{s}"], 2) for g in ("gan", "gan2") for s in ("discriminator", "generator"))


@pytest.mark.parametrize(
    "name, half, changed",
    [
        ("a", 1, set()),
        ("b", 1, {"gan2.discriminator"}),
        ("b", 0, {"gan.discriminator", "gan.generator", "rec", "kl"}),
        ("a", 0, {"gan.discriminator", "gan.generator", "gan2.discriminator", "gan2.generator", "rec", "z_rec"}),
    ],
)
def test_bicyclegan_5_each_half_of_the_batch_is_read_where_the_paper_reads_it(
    name: str, half: int, changed: set[str]
) -> None:
    gan = tiny("bicyclegan")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    one = gan.losses(given, draws)
    other = {**given, name: given[name].clone()}
    other[name][2 * half : 2 * half + 2] *= -0.7
    two = gan.losses(other, draws)
    assert {k for k in one if not torch.equal(one[k], two[k])} == changed


def test_bicyclegan_6_the_discriminators_see_the_fakes_from_before_the_step() -> None:
    gan = tiny("bicyclegan")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    before = gan.losses(given, draws)
    log = gan.step(given, draws)
    after = gan.losses(given, draws)
    for D, loss in (("D", "gan.discriminator"), ("D2", "gan2.discriminator")):
        assert torch.equal(log[f"{D}/{loss}"], before[loss]) and not close(after[loss], before[loss], 1e-6)


def test_bicyclegan_7_without_noise_the_encoded_fake_is_a_function_of_the_pair() -> None:
    gan = tiny("bicyclegan")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    quiet = {**draws, "eps": torch.zeros_like(draws["eps"])}
    one, two = gan.losses(given, quiet), gan.losses(given, {**quiet, "z": draws["z"] + 1})
    assert one["rec"] == two["rec"] and one["gan.generator"] == two["gan.generator"] and one["z_rec"] != two["z_rec"]
    assert gan.losses(given, draws)["rec"] != one["rec"]


# --- stylegan


def test_stylegan_1_adain_sets_mean_and_deviation_of_a_map(tmp_path: Path) -> None:
    inputs = {"x": "image(6, 8, 8)", "w": "vector(5)", "n": "image(1, 8, 8)"}
    gan = build(written(tmp_path, one_network("stylegan_epilogue()", "Q(x, w, n)", inputs)))
    Q = gan.networks["Q"]
    with torch.no_grad():
        for p in Q.parameters():
            p.normal_(generator=torch.Generator().manual_seed(p.numel()))
        noise = next(p for n, p in gan.named_parameters().items() if p.shape == (6,))
        noise.zero_()
    x, w, n = recipe_input(0, (3, 6, 8, 8)), recipe_input(1, (3, 5)), recipe_input(2, (3, 1, 8, 8))
    out = Q(x, w, n)
    affine = [p for p in Q.parameters() if p.shape[0] == 12]
    style = w @ (affine[0] / math.sqrt(5)).T + affine[1]
    assert torch.allclose(out.mean((2, 3)), style[:, 6:], atol=1e-6)
    assert torch.allclose(out.var((2, 3), unbiased=False).sqrt(), (style[:, :6] + 1).abs(), atol=1e-6)
    assert torch.allclose(Q(x, w, n + 1), out)


def last_stage(**options: Any) -> Any:
    gan = tiny("stylegan", **options)
    gan.clocks["stage"] = 2
    return gan


def noises(gan: Any, n: int, seed: int) -> dict[str, Tensor]:
    return {k: v for k, v in gan.draw(n, seed).items() if k.startswith("noise")}


def generated(gan: Any, n: int, draws: dict[str, Tensor]) -> Tensor:
    """The fakes of the generator's phase."""
    seen: list[Tensor] = []
    composed = gan.networks["g"]
    method = ("forward", "forward_2", "forward_3")[gan.clocks["stage"]]
    original = getattr(composed, method)
    setattr(composed, method, lambda *a, **k: seen.append(original(*a, **k)) or seen[-1])
    try:
        gan.gradients("generator", batch(gan, n), draws)
    finally:
        delattr(composed, method)
    return seen[0].detach()


def test_stylegan_2_at_the_start_noise_is_without_effect() -> None:
    gan = last_stage()
    draws = {k: v for k, v in gan.draw(3, 0).items() if "/" not in k}
    one = generated(gan, 3, draws)
    two = generated(gan, 3, {**draws, **noises(gan, 3, 1)})
    assert torch.equal(one, two) and not torch.equal(one[0], one[1])
    assert gan.networks["const"].weight.shape == (16, 4, 4) and (gan.networks["const"].weight == 1).all()


def test_stylegan_3_truncation_by_1_is_none_and_by_0_gives_one_picture() -> None:
    pictures = {}
    for psi in (0, 0.7, 1):
        gan = last_stage(constants={"psi": psi})
        gan.state["w_avg"] = recipe_input(5, (16,))
        pictures[psi] = gan.sample("images", 3, seed=4)
        w = gan.averages["f_ema"](gan.module.Draws(gan.game.like, 4).normal("z", 3, 16))
        cut = gan.state["w_avg"] + psi * (w - gan.state["w_avg"])
        draws = gan.module.Draws(gan.game.like, 4)
        n = [draws.normal(f"noise[{j}]", 3, 1, 2 ** (j // 2 + 2), 2 ** (j // 2 + 2)) for j in range(8)]
        with torch.no_grad():
            assert torch.allclose(pictures[psi], gan.averages["g_ema"].forward_3([cut] * 8, n, fade=1.0), atol=1e-10)
    assert torch.allclose(pictures[0][0], pictures[0][1], atol=1e-10)
    assert not torch.allclose(pictures[1][0], pictures[1][1], atol=1e-3)


def test_stylegan_3_truncation_leaves_the_layers_from_the_eighth_on() -> None:
    graph = build("stylegan", tiny=True, sizes={"top": 6}).spec.graphs[-1]
    ops_ = [graph.values[f"w_cut[{j}]"].op for j in range(10)]
    assert ops_ == ["lerp"] * 8 + ["alias"] * 2


@pytest.mark.parametrize("cut", [1, 3, 6, 7])
def test_stylegan_4_styles_behind_the_cut_come_from_the_second_draw(cut: int) -> None:
    gan = last_stage()
    draws = {k: v for k, v in gan.draw(2, 0).items() if "/" not in k}
    w1, w2 = gan.networks["f"](draws["z"]), gan.networks["f"](draws["z2"])
    n = [draws[f"noise[{j}]"] for j in range(8)]
    for mixed, other in ((1.0, w2), (0.0, w1)):
        given = {**draws, "cut": torch.tensor(cut), "mixed": torch.tensor(mixed).double()}
        styles = [w1 if j < cut else other for j in range(8)]
        expected = gan.networks["g"].forward_3(styles, n, fade=1.0)
        assert torch.allclose(generated(gan, 2, given), expected, atol=1e-12)
    values = {int(gan.draw(2, s)["cut"]) for s in range(40)}
    assert values <= set(range(1, 8)) and len(values) > 3


@pytest.mark.parametrize("stage", [1, 2])
def test_stylegan_5_a_new_level_fades_in(stage: int) -> None:
    gan = tiny("stylegan")
    gan.clocks["stage"] = stage - 1
    small_draws = {k: v for k, v in gan.draw(2, 0).items() if "/" not in k}
    gan.clocks["stage_images"] = 600000
    small = generated(gan, 2, small_draws)
    gan.clocks["stage"] = stage
    draws = {k: v for k, v in gan.draw(2, 0).items() if "/" not in k}
    draws |= {k: v for k, v in small_draws.items() if k in draws}
    draws |= {"mixed": torch.zeros(()).double()}
    small_again = small if small_draws["mixed"] == 0 else None
    gan.clocks["stage_images"] = 0
    full = generated(gan, 2, draws)
    gan.clocks["stage"] = stage - 1
    gan.clocks["stage_images"] = 600000
    small = small_again if small_again is not None else generated(gan, 2, {**small_draws, "mixed": draws["mixed"]})
    assert torch.allclose(full, F.interpolate(small, scale_factor=2), atol=1e-12)
    gan.clocks["stage"] = stage
    gan.clocks["stage_images"] = 600000
    grown = generated(gan, 2, draws)
    zeroed(gan, f"to_rgb[{stage + 2}]")
    assert torch.equal(generated(gan, 2, draws), grown)
    gan.clocks["stage_images"] = 300000
    assert not torch.equal(generated(gan, 2, draws), grown)


def test_stylegan_4_mixing_shows_two_pictures_and_one_with_styles_of_the_other() -> None:
    gan = last_stage(sizes={"top": 6})
    gan.clocks["stage"] = 3
    gan.state["w_avg"] = recipe_input(5, (16,))
    draws = gan.module.Draws(gan.game.like, 4)
    styles = [gan.averages["f_ema"](draws.normal(name, 3, 16)) for name in ("z", "z2")]
    a, b = ([torch.lerp(gan.state["w_avg"], w, 0.7)] * 8 + [w] * 2 for w in styles)
    n = [draws.normal(f"noise[{j}]", 3, 1, 2 ** (j // 2 + 2), 2 ** (j // 2 + 2)) for j in range(10)]
    rows = [a, b, b[:4] + a[4:], a[:4] + b[4:8] + a[8:], a[:8] + b[8:]]
    with torch.no_grad():
        wanted = torch.stack([gan.averages["g_ema"].forward_4(w, n, fade=1.0) for w in rows], 1)
    assert torch.allclose(gan.sample("mixing", 3, seed=4), wanted, atol=1e-10)


def test_stylegan_7_path_lengths_are_slopes_and_0_where_nothing_changes() -> None:
    """Property 7, and the definition by central differences along the paths."""
    gan, near = last_stage(), 1e-4
    found = {name: gan.sample(name, 3, seed=4) for name in ("path_z", "path_w")}
    draws = gan.module.Draws(gan.game.like, 4)
    z, z2, t = draws.normal("z", 3, 16), draws.normal("z2", 3, 16), draws.uniform("t", 3)[:, None]
    n = [draws.normal(f"noise[{j}]", 3, 1, 2 ** (j // 2 + 2), 2 ** (j // 2 + 2)) for j in range(8)]
    f, g = gan.averages["f_ema"], gan.averages["g_ema"]

    def slerp(t: Tensor) -> Tensor:
        a, b = z / z.norm(dim=1, keepdim=True), z2 / z2.norm(dim=1, keepdim=True)
        angle = (a * b).sum(1, keepdim=True).acos()
        return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()

    paths = {"path_z": lambda t: f(slerp(t)), "path_w": lambda t: (1 - t) * f(z) + t * f(z2)}
    for name, path in paths.items():
        with torch.no_grad():
            here, there = (g.forward_3([path(t + s)] * 8, n, fade=1.0) for s in (0, near))
        assert torch.allclose(found[name], ((here - there) / near).square().mean((1, 2, 3)), rtol=1e-6)
        assert (found[name] > 0).all()
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.zero_()
    assert all(gan.sample(name, 3, seed=4).abs().max() == 0 for name in paths)


def test_stylegan_8_the_rate_of_a_weight_is_equalized() -> None:
    gan = build("stylegan", tiny=True, sizes={"Z": 64, "most": 64})
    first = gan.networks["f"].layers[0]
    weight, bias = first.use(first.weight, first.bias)
    assert abs(first.weight.std() / 100 - 1) < 0.05
    assert abs(weight.std() / math.sqrt(2 / 64) - 1) < 0.05 and not bias.any()
    rgb = gan.networks["to_rgb[5]"]
    assert torch.allclose(rgb.use(rgb.weight, rgb.bias)[0], rgb.weight / math.sqrt(rgb.weight[0].numel()))


def test_stylegan_10_r1_does_not_reach_the_generator_and_averages_hold_no_gradient() -> None:
    gan = last_stage()
    given, draws = batch(gan, 2), gan.draw(2, 0)
    assert networks_of(gan.gradients("critic", given, draws)) <= STYLEGAN_D
    gan.step(given, draws)
    assert not any(p.requires_grad for p in gan.averages.parameters()) and no_gradients(gan)
    assert not gan.state["w_avg"].requires_grad


def test_stylegan_r1_is_the_squared_gradient_at_the_shown_picture() -> None:
    gan = last_stage()
    gan.clocks["stage_images"] = 150000  # fade 0.75
    given, draws = batch(gan, 2), gan.draw(2, 0)
    x = given["x_full"]
    shown = x + 0.75 * (F.interpolate(F.avg_pool2d(x, 2), scale_factor=2) - x)
    shown.requires_grad_()
    (g,) = torch.autograd.grad(gan.networks["D"].forward_3(shown, fade=0.75).sum(), shown)
    assert close(gan.losses(given, draws)["R1"], 0.5 * g.square().sum((1, 2, 3)).mean())


def test_stylegan_the_style_average_moves_in_both_phases_and_the_others_between() -> None:
    gan = last_stage()
    given, draws = batch(gan, 2), gan.draw(2, 0)
    f = gan.networks["f"]
    w = 0.005 * f(draws["critic/z"]).mean(0)
    w = w + 0.005 * (f(draws["generator/z"]).mean(0) - w)
    before = [p.detach().clone() for p in gan.averages["f_ema"].parameters()]
    kept = [p.detach().clone() for p in f.parameters()]
    gan.step(given, draws)
    assert torch.allclose(gan.state["w_avg"], w)
    for a, b, p in zip(gan.averages["f_ema"].parameters(), before, kept, strict=True):
        assert torch.allclose(a, p + 0.5 ** (2 / 10000) * (b - p))


def test_stylegan_optimizers_start_anew_with_each_stage_and_rates_grow() -> None:
    gan = build("stylegan", tiny=True, sizes={"span": 4})
    gan.step(batches(gan, 4), gan.draw(4, 0))
    assert gan.clocks["stage"] == 1
    assert all(not o.state for player in gan.game.players.values() for o in player)
    gan.step(batches(gan, 4), gan.draw(4, 0))
    assert all(o.state for player in gan.game.players.values() for o in player)
    paper = {s.graph.resolved.stage: s.graph.constants["lr"].value for s in build_stages()}
    assert list(paper.values()) == [1e-3] * 4 + [1.5e-3, 2e-3, 3e-3, 3e-3]


def build_stages() -> Any:
    from gangraph.compiler import load

    return load("stylegan").schedules


# --- stargan-v2


def test_stargan_v2_2_diversity_is_0_for_equal_styles_and_reaches_f_through_one_of_them(tmp_path: Path) -> None:
    text = "schedule:\n  only: {player: maker, minimize: 'diversity[latent]'}\n"
    gan = variant(tmp_path, "stargan-v2", text)
    given, draws = batch(gan, 2), gan.draw(2, 0)
    same = dict.fromkeys(draws, draws["z"])
    assert gan.losses({**given, "x_ref2": given["x_ref"]}, same)["diversity[latent]"] == 0
    assert gan.losses({**given, "x_ref2": given["x_ref"]}, same)["diversity[reference]"] == 0
    assert networks_of(gan.gradients("only", given, draws)) == {"G", "F"}
    G, mapping = gan.networks["G"], gan.networks["F"]
    z2 = draws.get("only/z2", draws["z2"])
    fake = G(given["x"], mapping(draws["z"], given["y_trg"]))
    fake2 = G(given["x"], mapping(z2, given["y_trg"])).detach()
    expected = torch.autograd.grad((fake - fake2).abs().mean(), list(mapping.parameters()))
    found = {n: g for n, g in gan.gradients("only", given, draws).items() if n.startswith("F.")}
    assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(found.values(), expected, strict=True))


@pytest.mark.parametrize("step, weight", [(0, 2), (50_000, 1), (100_000, 0), (150_000, 0)])
def test_stargan_v2_3_the_weight_of_diversity_falls_to_0(step: int, weight: float) -> None:
    gan = tiny("stargan-v2")
    gan.clocks["step"] = step
    log = gan.step(batch(gan, 2), gan.draw(2, 0))
    rest = log["G_latent/adv[latent].generator"] + log["G_latent/style[latent]"] + log["G_latent/cycle[latent]"]
    assert close(log["G_latent"], rest - weight * log["G_latent/diversity[latent]"], 1e-12)


def test_stargan_v2_4_r1_of_a_linear_critic_is_half_its_squared_weight(tmp_path: Path) -> None:
    text = """
networks:
  D:
    inputs: [x, y]
    output:
    - x
    - Flatten(), Linear(K)
    - select(_, y)
"""
    text = text.replace("Linear(K)", "Linear(3)")
    gan = variant(tmp_path, "stargan-v2", text)
    given = batch(gan, 2)
    w = next(p for n, p in gan.named_parameters().items() if n.startswith("D.") and p.dim() == 2)
    assert close(gan.losses(given, gan.draw(2, 0))["R1"], 0.5 * w[given["y"]].square().sum(1).mean())
    log = gan.step(given, gan.draw(2, 0))
    assert {"D_latent/R1", "D_reference/R1"} <= set(log) and log["D_latent/R1"] != log["D_reference/R1"]


def test_stargan_v2_5_with_all_logits_0_every_side_is_a_multiple_of_log_2() -> None:
    gan = tiny("stargan-v2")
    last_layer(gan, "D")
    found = gan.losses(batch(gan, 2), gan.draw(2, 0))
    for via in ("latent", "reference"):
        assert close(found[f"adv[{via}].discriminator"], 2 * LOG2) and close(found[f"adv[{via}].generator"], LOG2)
    assert found["R1"] == 0


def test_stargan_v2_6_heads_of_other_domains_have_zero_gradient() -> None:
    gan = tiny("stargan-v2")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    given = {**given, "y": torch.zeros(2, dtype=torch.int64), "y_trg": torch.zeros(2, dtype=torch.int64)}
    last = [n for n in gan.named_parameters() if n.startswith("D.")][-2:]
    found = gan.gradients("D_latent", given, draws)
    for name in last:
        assert found[name][0].any() and not found[name][1:].any()
    found = gan.gradients("G_latent", given, draws)
    zero = [n for n, g in found.items() if n[0] in "FE" and not g.any()]
    used = [n for n, g in found.items() if n[0] in "FE" and g.any()]
    assert zero and used  # the heads of classes 1 and 2 are reached, with zeros
    assert (
        len([n for n in zero if n.startswith("F.")]) == 2 * len([n for n in found if n.startswith("F.")]) // 4 or zero
    )


def test_stargan_v2_7_adain_of_zero_is_plain_instance_norm(tmp_path: Path) -> None:
    gan = tiny("stargan-v2")
    given, draws = batch(gan, 2), gan.draw(2, 0)
    G = gan.networks["G"]
    styled = [p for n, p in gan.named_parameters().items() if n.startswith("G.") and p.dim() == 2]  # the linear layers
    assert styled
    names = {n for n, p in gan.named_parameters().items() if any(p is q for q in styled)}
    s = recipe_input(0, (2, 8))
    assert not torch.equal(G(given["x"], s), G(given["x"], -s))
    with torch.no_grad():
        for name in names:
            gan.named_parameters()[name].zero_()
            gan.named_parameters()[name.removesuffix("weight") + "bias"].zero_()
    assert torch.equal(G(given["x"], s), G(given["x"], -s))
    found = gan.losses(given, draws)
    assert found["diversity[latent]"] == 0 and found["diversity[reference]"] == 0


def test_stargan_v2_8_an_average_of_a_constant_network_approaches_it(tmp_path: Path) -> None:
    text = 'players:\n  maker: {optimizer: "Adam(lr=0)", optimizer.F: "Adam(lr=0)"}\n'
    gan = variant(tmp_path, "stargan-v2", text)
    average, G = gan.averages["G_ema"], gan.networks["G"]
    with torch.no_grad():
        start = [a.add_(1).clone() for a in average.parameters()]
    for seed in range(3):
        gan.step(batch(gan, 2, seed), gan.draw(2, seed))
    for a, a0, p in zip(average.parameters(), start, G.parameters(), strict=True):
        assert torch.allclose(a, p + 0.999**3 * (a0 - p), atol=1e-12)


def test_stargan_v2_10_the_streams_are_independent() -> None:
    gan = tiny("stargan-v2")
    assert gan.streams.keys() == {"source", "target"}
    assert list(gan.streams["source"]) == ["x", "y"] and list(gan.streams["target"]) == ["x_ref", "x_ref2", "y_trg"]
    given = batch(gan, 2)
    turned = {**given, "x_ref": given["x_ref"].flip(0), "y_trg": given["y_trg"].flip(0)}
    one, two = gan.sample("reference", 2, given), gan.sample("reference", 2, turned)
    style = gan.averages["E_ema"](given["x_ref"], given["y_trg"])
    with torch.no_grad():
        assert torch.allclose(one, gan.averages["G_ema"](given["x"], style), atol=1e-12)
        assert torch.allclose(two, gan.averages["G_ema"](given["x"], style.flip(0)), atol=1e-12)


# --- the families of losses

R, FAKE = [2.0, -1.0, 0.5], [-0.5, 1.0, 3.0]
VECTOR = {  # loss-families, section 5
    "minimax": (2.250064, -1.611975),
    "non_saturating": (2.250064, 0.445309),
    "wasserstein": (0.666667, -1.166667),
    "hinge": (3.0, -1.166667),
    "least_squares": (4.25, 1.708333),
    "least_squares(a=0, b=1, c=1)": (2.583333, 1.041667),
    "lsgan": (2 * 2.583333, 2 * 1.041667),
    "fgan_kl": (2.370729, -2.870729),
    "fgan_reverse_kl": (1.320049, -0.166667),
    "fgan_pearson": (1.520833, -2.020833),
    "fgan_neyman": (0.744258, -0.590876),
    "fgan_hellinger": (6.956832, -6.803450),
    "fgan_jensen_shannon": (0.863770, -0.918828),
    "fgan_gan": (2.250064, -1.611975),
    "fgan_total_variation": (0.104997, -0.215755),
}
AT_ZERO = {"minimax": (2 * LOG2, -LOG2), "non_saturating": (2 * LOG2, LOG2), "wasserstein": (0, 0), "hinge": (2, 0)}
AT_ZERO |= {
    "least_squares": (1, 0),
    "least_squares(a=0, b=1, c=1)": (0.5, 0.5),
    "joint_non_saturating": (2 * LOG2,) * 2,
}
SLOPES: dict[str, Any] = {  # section 3
    "minimax": (lambda r: -torch.sigmoid(-r), torch.sigmoid, lambda f: -torch.sigmoid(f)),
    "non_saturating": (lambda r: -torch.sigmoid(-r), torch.sigmoid, lambda f: -torch.sigmoid(-f)),
    "wasserstein": (lambda r: -torch.ones_like(r), torch.ones_like, lambda f: -torch.ones_like(f)),
    "hinge": (lambda r: -(r < 1).double(), lambda f: (f > -1).double(), lambda f: -torch.ones_like(f)),
    "least_squares": (lambda r: r - 1, lambda f: f + 1, lambda f: f),
    "least_squares(a=0, b=1, c=1)": (lambda r: r - 1, lambda f: f, lambda f: f - 1),
}

SCORES = """
gangraph: 1
name: scores
inputs:
  r0: tensor()
  f0: tensor()
networks:
  S_r: Parameter()
  S_f: Parameter()
  T: Parameter(3, 2)
graph:
  r: r0 + S_r()
  f: f0 + S_f()
losses:
  adv: FAMILY(real=r, fake=f)
players:
  P: {networks: [S_r, S_f], optimizer: SGD(lr=0.1)}
schedule:
  P: adv.discriminator
  Q: {player: P, minimize: adv.generator}
train: {batch: 3}
"""


def scores(folder: Path, family: str) -> Any:
    text = SCORES.replace("  T: Parameter(3, 2)\n", "")
    text = text.replace(
        "FAMILY(real=r, fake=f)",
        f"{family}(real=r, fake=f)" if "(" not in family else family.replace("(", "(real=r, fake=f, "),
    )
    gan = build(written(folder, text))
    zeroed(gan, "S_r", "S_f")
    return gan


def sides(gan: Any, r: Any, f: Any) -> tuple[float, float]:
    found = gan.losses({"r0": torch.as_tensor(r).double(), "f0": torch.as_tensor(f).double()}, {})
    return float(found["adv.discriminator"]), float(found["adv.generator"])


@pytest.mark.parametrize("family", VECTOR)
def test_a_family_has_the_values_of_the_test_vector(family: str, tmp_path: Path) -> None:
    assert sides(scores(tmp_path, family), R, FAKE) == pytest.approx(VECTOR[family], abs=6e-7 * 2)


@pytest.mark.parametrize("family", AT_ZERO)
def test_a_family_has_the_known_values_at_scores_of_zero(family: str, tmp_path: Path) -> None:
    assert sides(scores(tmp_path, family), [0.0] * 3, [0.0] * 3) == pytest.approx(AT_ZERO[family], abs=1e-14)


@pytest.mark.parametrize("family", SLOPES)
def test_a_family_has_the_slopes_of_the_sheet(family: str, tmp_path: Path) -> None:
    gan = scores(tmp_path, family)
    for r, f in ((R, FAKE), ([-3.0, 0.2, 5.0], [-6.0, -0.3, 0.9])):
        given = {"r0": torch.tensor(r).double(), "f0": torch.tensor(f).double()}
        real, fake, maker = (
            slope(given[k]).mean() for slope, k in zip(SLOPES[family], ("r0", "f0", "f0"), strict=True)
        )
        found, asked = gan.gradients("P", given, {}), gan.gradients("Q", given, {})
        assert close(found["S_r.weight"], real) and close(found["S_f.weight"], fake)
        assert close(asked["S_f.weight"], maker) and "S_r.weight" not in asked


def test_the_identities_between_families(tmp_path: Path) -> None:
    of = {
        name: scores(tmp_path, name)
        for name in (
            "minimax",
            "non_saturating",
            "wasserstein",
            "hinge",
            "least_squares",
            "fgan_gan",
            "fgan_jensen_shannon",
        )
    }
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        r, f = (3 * torch.randn(4, generator=generator).double() for _ in range(2))
        values = {name: sides(gan, r, f) for name, gan in of.items()}
        for name in ("minimax", "non_saturating", "wasserstein", "hinge", "least_squares"):
            assert sides(of[name], -f, -r)[0] == pytest.approx(values[name][0])  # swap
        assert sides(of["wasserstein"], r + 2, f + 2)[0] == pytest.approx(values["wasserstein"][0])  # shift
        assert sides(of["hinge"], r + 2, f + 2)[0] != pytest.approx(values["hinge"][0])
        difference = values["non_saturating"][1] - values["minimax"][1]
        assert difference == pytest.approx(float((F.softplus(-f) + F.softplus(f)).mean())) and difference >= 2 * LOG2
        assert values["fgan_gan"] == pytest.approx(values["minimax"])
        js, plain = values["fgan_jensen_shannon"], values["minimax"]
        assert js == pytest.approx((plain[0] - math.log(4), plain[1] + LOG2))
        assert values["non_saturating"][0] >= 0
    easy = {"r0": torch.tensor([1.5, 2, 1]).double(), "f0": torch.tensor([-1.0, -3, -2]).double()}
    assert sides(of["hinge"], easy["r0"], easy["f0"])[0] == 0
    assert not any(g.any() for g in of["hinge"].gradients("P", easy, {}).values())
    assert close(of["hinge"].gradients("Q", easy, {})["S_f.weight"], -1)


def test_a_family_takes_the_mean_over_a_map_and_lists_map_through(tmp_path: Path) -> None:
    text = (
        SCORES.replace("tensor()", "tensor(2, 2)")
        .replace("Parameter()", "Parameter(2, 2)")
        .replace("  T: Parameter(3, 2)\n", "")
    )
    text = text.replace("FAMILY(real=r, fake=f)", "add(hinge(real=[r, 2 * r], fake=[f, 3 * f]))")
    gan = build(written(tmp_path, text))
    zeroed(gan, "S_r", "S_f")
    r, f = recipe_input(0, (3, 2, 2)), recipe_input(1, (3, 2, 2))
    hinge = lambda a, b: F.relu(1 - a).mean() + F.relu(1 + b).mean()  # noqa: E731
    dis, gen = sides(gan, r, f)
    assert close(dis, hinge(r, f) + hinge(2 * r, 3 * f)) and close(gen, -4 * f.mean())
