"""Systems that the gallery does not have, each beside an iteration written by hand from its paper in plain PyTorch.

`gangraph verify` shares the reading of a spec with the compiler, so that both could misread it alike; what stands here
reads no spec. Networks begin equal and get equal batches and draws; after each of three iterations every objective,
parameter and buffer is equal in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import pytest
import torch
from support import batches, build, written
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, leaky_relu, normalize, relu
from torch.optim import SGD, Adam, Optimizer

N = 4
Tensors = dict[str, Tensor]
Iteration = Callable[[list[Tensors], Tensors], Tensors]  # batches and draws -> objectives by phase


def through(network: nn.Module, x: Tensor, act: Callable[[Tensor], Tensor], last: bool = False) -> Tensor:
    """An mlp from its parameters alone."""
    parameters = list(network.parameters())
    for i in range(0, len(parameters), 2):
        x = x @ parameters[i].T + parameters[i + 1]
        x = act(x) if last or i + 2 < len(parameters) else x
    return x


def leaky(x: Tensor) -> Tensor:
    return leaky_relu(x, 0.2)


def weights(*networks: nn.Module) -> list[nn.Parameter]:
    return list(chain.from_iterable(network.parameters() for network in networks))


def descend(optimizer: Optimizer, loss: Tensor, parameters: Iterable[Tensor]) -> None:
    some = list(parameters)
    for p, g in zip(some, torch.autograd.grad(loss, some, retain_graph=True), strict=True):
        p.grad = g
    optimizer.step()
    optimizer.zero_grad()


FISHER = """
inputs: {x: vector(2)}
draws: {z: normal(3)}
networks:
  G: mlp([6, 2])
  D: mlp([6, 6, 1], act=LeakyReLU(0.2))
  multiplier: Parameter(init=zeros())
graph:
  real: D(x)
  fake: D(G(z))
losses:
  ipm: expect(mean(real)) - expect(mean(fake))
  slack: 1 - 0.5 * (expect(mean(real**2)) + expect(mean(fake**2)))
  lagrangian: ipm + multiplier() * slack - rho / 2 * slack**2
constants: {rho: 0.01}
players:
  D: {networks: [D], optimizer: "Adam(lr=1e-3, betas=[0.5, 0.999])"}
  multiplier: {networks: [multiplier], optimizer: SGD(lr=rho)}
  G: {networks: [G], optimizer: "Adam(lr=1e-3, betas=[0.5, 0.999])"}
schedule:
  critic:
    repeat: 2
    batch: fresh
    together: {D: -lagrangian, multiplier: lagrangian}
  G: -expect(mean(fake))
"""


def fisher(networks: nn.ModuleDict) -> Iteration:
    """Mroueh and Sercu 2017, Fisher GAN, algorithm 1: the critic ascends the Lagrangian, lambda descends."""
    g, d, rho = networks["G"], networks["D"], 0.01
    of_d, of_g = (Adam(weights(n), lr=1e-3, betas=(0.5, 0.999)) for n in (d, g))
    (multiplier,) = weights(networks["multiplier"])

    def iteration(batches: list[Tensors], draws: Tensors) -> Tensors:
        for turn, batch in zip(("critic", "critic.2"), batches, strict=True):
            real = through(d, batch["x"], leaky)
            fake = through(d, through(g, draws[f"{turn}/z"], relu).detach(), leaky)
            constraint = 1 - (real.square().mean() + fake.square().mean()) / 2
            lagrangian = real.mean() - fake.mean() + multiplier * constraint - rho / 2 * constraint**2
            (slope,) = torch.autograd.grad(lagrangian, multiplier, retain_graph=True)
            descend(of_d, -lagrangian, weights(d))
            with torch.no_grad():
                multiplier.sub_(rho * slope)
        score = -through(d, through(g, draws["G/z"], relu), leaky).mean()
        descend(of_g, score, weights(g))
        return {"multiplier.2": lagrangian, "G": score}

    return iteration


RELATIVISTIC = """
inputs: {x: vector(2)}
draws: {z: normal(3)}
networks:
  G: mlp([6, 2])
  D: mlp([6, 1], act=LeakyReLU(0.2))
families:
  relativistic(real, fake):
    discriminator: expect(softplus(expect(fake) - real)) + expect(softplus(fake - expect(real)))
    generator: expect(softplus(expect(real) - fake)) + expect(softplus(real - expect(fake)))
losses:
  adv: relativistic(real=D(x), fake=D(G(z)))
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: adv.generator}
"""


def relativistic(networks: nn.ModuleDict) -> Iteration:
    """Jolicoeur-Martineau 2018, RaSGAN: logits relative to the mean logit of the other kind, labels turned for G.

    By plain descent: the last bias has no gradient but rounding, of which Adam would make whole steps.
    """
    g, d = networks["G"], networks["D"]
    optimizers = {n: SGD(weights(networks[n]), lr=0.1) for n in ("D", "G")}

    def iteration(batches: list[Tensors], draws: Tensors) -> Tensors:
        found = {}
        for phase, label in (("D", 1.0), ("G", 0.0)):
            real = through(d, batches[0]["x"], leaky)
            fake = through(d, through(g, draws[f"{phase}/z"], relu), leaky)
            labels = torch.full_like(real, label)
            loss = binary_cross_entropy_with_logits(real - fake.mean(), labels)
            found[phase] = loss + binary_cross_entropy_with_logits(fake - real.mean(), 1 - labels)
            descend(optimizers[phase], found[phase], weights(networks[phase]))
        return found

    return iteration


DISCREPANCY = """
inputs:
  source: {xs: vector(4), ys: label(3)}
  target: {xt: vector(4)}
networks:
  G: mlp([5, 5], last=ReLU())
  F1: mlp([5, 3])
  F2: mlp([5, 3])
losses:
  told: expect(cross_entropy(F1(G(xs)), ys)) + expect(cross_entropy(F2(G(xs)), ys))
  apart: expect(l1(softmax(F1(G(xt)), dim=1), softmax(F2(G(xt)), dim=1)))
players:
  all: {networks: [G, F1, F2], optimizer: "SGD(lr=2e-3, momentum=0.9)"}
schedule:
  A: {player: all, minimize: told}
  B: {player: all, networks: [F1, F2], minimize: told - apart}
  C: {player: all, networks: [G], minimize: apart, repeat: 3}
"""


def discrepancy(networks: nn.ModuleDict) -> Iteration:
    """Saito et al. 2018, maximum classifier discrepancy, steps A, B and C (n = 3), one momentum for each network."""
    g, classifiers = networks["G"], (networks["F1"], networks["F2"])
    of_g, of_f = (SGD(p, lr=2e-3, momentum=0.9) for p in (weights(g), weights(*classifiers)))

    def labels(batch: Tensors) -> Tensor:
        features = through(g, batch["xs"], relu, last=True)
        one, two = (cross_entropy(through(f, features, relu), batch["ys"]) for f in classifiers)
        return one + two

    def apart(batch: Tensors) -> Tensor:
        features = through(g, batch["xt"], relu, last=True)
        one, two = (through(f, features, relu).softmax(1) for f in classifiers)
        return (one - two).abs().mean()

    def iteration(batches: list[Tensors], draws: Tensors) -> Tensors:
        (batch,) = batches
        found = {"A": labels(batch)}
        gradients = torch.autograd.grad(found["A"], weights(g, *classifiers))
        for p, gradient in zip(weights(g, *classifiers), gradients, strict=True):
            p.grad = gradient
        for optimizer in (of_g, of_f):
            optimizer.step()
            optimizer.zero_grad()
        found["B"] = labels(batch) - apart(batch)
        descend(of_f, found["B"], weights(*classifiers))
        for turn in ("C", "C.2", "C.3"):
            found[turn] = apart(batch)
            descend(of_g, found[turn], weights(g))
        return found

    return iteration


FACTORS = """
index: {j: range(3)}
inputs:
  first: {x: "vector(5, range=[0, 1])"}
  second: {x2: "vector(5, range=[0, 1])"}
draws:
  e: normal(3)
  e2: normal(3)
  order[j]: permutation()
networks:
  E: mlp([6, 6])
  Dec: mlp([6, 5])
  D: mlp([6, 6, 2], act=LeakyReLU(0.2))
graph:
  mu, logvar: split(E(x), 2)
  z: mu + exp(0.5 * logvar) * e
  mu2, logvar2: split(E(x2), 2)
  z2: stop(mu2 + exp(0.5 * logvar2) * e2)
  column[j]: take(z2[:, j:j + 1], order[j])
  score: D(z)
losses:
  bound: expect(sum(bce_logits(Dec(z), x))) + expect(kl_normal(mu, logvar))
  correlation: expect(score[:, 0] - score[:, 1])
  told: 0.5 * (expect(cross_entropy(D(stop(z)), 0)) + expect(cross_entropy(D(concat(column)), 1)))
players:
  VAE: {networks: [E, Dec], optimizer: Adam(lr=1e-3)}
  D: {networks: [D], optimizer: "Adam(lr=1e-3, betas=[0.5, 0.9])"}
once: [e]
schedule: {VAE: bound + 6.4 * correlation, D: told}
"""


def factors(networks: nn.ModuleDict) -> Iteration:
    """Kim and Mnih 2018, FactorVAE, algorithm 2: D tells codes from codes whose entries are permuted over a batch."""
    e, decoder, d = networks["E"], networks["Dec"], networks["D"]
    of_vae, of_d = Adam(weights(e, decoder), lr=1e-3), Adam(weights(d), lr=1e-3, betas=(0.5, 0.9))

    def encoded(x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = through(e, x, relu).chunk(2, 1)
        return mu, logvar, mu + (logvar / 2).exp() * noise

    def iteration(batches: list[Tensors], draws: Tensors) -> Tensors:
        (batch,) = batches
        mu, logvar, z = encoded(batch["x"], draws["e"])
        likelihood = binary_cross_entropy_with_logits(through(decoder, z, relu), batch["x"], reduction="sum") / N
        divergence = -(1 + logvar - mu.square() - logvar.exp()).sum() / (2 * N)
        score = through(d, z, leaky)
        vae = likelihood + divergence + 6.4 * (score[:, 0] - score[:, 1]).mean()
        descend(of_vae, vae, weights(e, decoder))
        z, z2 = (encoded(x, n)[2].detach() for x, n in ((batch["x"], draws["e"]), (batch["x2"], draws["D/e2"])))
        permuted = torch.stack([z2[draws[f"D/order[{j}]"], j] for j in range(3)], 1)
        targets = torch.arange(2).repeat_interleave(N)
        told = cross_entropy(through(d, torch.cat([z, permuted]), leaky), targets)
        descend(of_d, told, weights(d))
        return {"VAE": vae, "D": told}

    return iteration


CONTRAST = """
inputs: {x: vector(3)}
draws: {n1: "normal(3, std=0.1)", n2: "normal(3, std=0.1)"}
state:
  queue: {start: "zeros(8, 4)", in: {q: "concat(samples_of(k), queue[:, 0:4])"}}
networks:
  E: mlp([6, 4])
averages:
  E_k: average(E, decay=0.9)
graph:
  q: E(x + n1) / norm(E(x + n1))
  k: stop(E_k(x + n2) / norm(E_k(x + n2)))
  others: matmul(reshape(q, 1, 4), transpose(queue, 1, 2))[:, 0]
losses:
  nce: expect(cross_entropy(concat(reshape(sum(q * k), 1), others) / 0.2, 0))
players:
  q: {networks: [E], optimizer: "SGD(lr=0.03, momentum=0.9)"}
schedule: {q: nce}
"""


def contrast(networks: nn.ModuleDict) -> Iteration:
    """He et al. 2020, MoCo, algorithm 1: keys of an encoder that follows, and a queue of those of earlier batches."""
    encoder, keys, queue = networks["E"], copy.deepcopy(networks["E"]), torch.zeros(8, 4, dtype=torch.float64)
    optimizer = SGD(weights(encoder), lr=0.03, momentum=0.9)

    def iteration(batches: list[Tensors], draws: Tensors) -> Tensors:
        nonlocal queue
        x = batches[0]["x"]
        q = normalize(through(encoder, x + draws["q/n1"], relu), dim=1)
        with torch.no_grad():
            k = normalize(through(keys, x + draws["q/n2"], relu), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2
        loss = cross_entropy(logits, torch.zeros(N, dtype=torch.long))
        descend(optimizer, loss, weights(encoder))
        with torch.no_grad():
            for follower, leader in zip(weights(keys), weights(encoder), strict=True):
                follower.mul_(0.9).add_(0.1 * leader)
        queue = torch.cat([k, queue[:4]])
        return {"q": loss}

    return iteration


SYSTEMS = {
    "fisher": (FISHER, fisher),
    "relativistic": (RELATIVISTIC, relativistic),
    "discrepancy": (DISCREPANCY, discrepancy),
    "factors": (FACTORS, factors),
    "contrast": (CONTRAST, contrast),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_three_iterations_are_those_of_the_paper(name: str, tmp_path: Path) -> None:
    text, by_hand = SYSTEMS[name]
    gan = build(written(tmp_path, f"gangraph: 1\nname: {name}\n{text}train: {{batch: {N}}}\n"))
    networks = copy.deepcopy(gan.networks)
    iteration = by_hand(networks)
    for step in range(3):
        given, draws = batches(gan, N, step), gan.draw(N, step)
        expected, log = iteration(given, draws), gan.step(given, draws)
        for phase, value in expected.items():
            torch.testing.assert_close(log[phase], value.detach(), rtol=1e-12, atol=1e-12)
        for (where, ours), theirs in zip(
            gan.networks.state_dict().items(), networks.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13, msg=f"{where} after iteration {step}")
