"""Samples that were asked for something: what a classifier of real items takes them for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny, written

from gangraph.compiler import compile
from gangraph.train import evaluate_run, train
from gangraph.train.sets import Want, open_set
from gangraph.train.told import told

CLASSES = """
gangraph: 1
name: classes
inputs: {x: "image(1, 8, 8)", y: label(10)}
draws: {order: permutation(), k: "integer(0, 10)", other: "integer(0, 3)"}
networks:
  G: ["Embedding(10, 64)", "reshape(_, 1, 8, 8)"]
  D: {inputs: [x, y], output: "Linear(1)(Flatten()(x)) + Embedding(10, 1)(y)"}
losses: {adv: "hinge(real=D(x, y), fake=D(G(y), y))"}
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: adv.generator}
sample:
  labels: G(y)
  turned: G(take(y, order))
  half: "G(y)[0:N // 2]"
  drawn: G(k)
  others: G(other)
  row: "[x, G(y)]"
train: {batch: 8, iterations: 1, data: digits8}
"""


def shares(gan: Any, data: str, n: int = 200) -> dict[str, float]:
    """What is told, by view; `real` is the share of real items."""
    found = list(told(gan, data, n))
    assert all(len(right) == n for _, right, _ in found)
    return {view: float(right.double().mean()) for view, right, _ in found} | {"real": found[0][2] if found else 0}


def digits(*classes: int) -> torch.Tensor:
    """A real digit of each of these classes, as rows."""
    data = open_set("digits8", Want())
    assert data.pictures and data.labels is not None
    items = [int((data.labels == k).nonzero()[0][0]) for k in classes]
    return torch.stack([torch.from_numpy(data.pictures(i)[0]).flatten() for i in items]) / 127.5 - 1


@pytest.mark.parametrize(
    ("classes", "low", "high"),
    [(range(10), 0.99, 1), ([*range(1, 10), 0], 0, 0.01), ([7] * 10, 0.05, 0.15)],
    ids=["its own", "another", "always the same"],
)
def test_a_class_that_is_asked_for(classes: Sequence[int], low: float, high: float, tmp_path: Path) -> None:
    gan = compile(written(tmp_path, CLASSES))
    with torch.no_grad():
        gan.named_parameters()["G.0.weight"].copy_(digits(*classes))
    found = shares(gan, "digits8")
    assert found.pop("real") > 0.9
    assert set(found) == {"labels", "turned", "half", "drawn"}  # not three integers, and no row of pictures
    assert all(low <= share <= high for share in found.values()), found


def test_looking_changes_nothing_and_is_always_the_same(tmp_path: Path) -> None:
    gan = compile(written(tmp_path, CLASSES))
    before = {name: value.clone() for name, value in gan.state_dict()["networks"].items()}
    torch.manual_seed(5)
    one = shares(gan, "digits8", 40)
    assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
    assert shares(gan, "digits8", 40) == one
    after = gan.state_dict()["networks"]
    assert all(torch.equal(value, after[name]) for name, value in before.items())


ATTRIBUTES = """
gangraph: 1
name: attributes
inputs:
  source: {x: "image(3, 16, 16)", c: "vector(5, range=[0, 1])"}
  target: {ref: "image(3, 16, 16)", d: "vector(5, range=[0, 1])"}
networks:
  G:
    inputs: [x, c]
    output: ["concat(x, tile(c, x))", "Conv2d(3, 1)"]
  D: [Flatten(), Linear(1)]
losses: {adv: "hinge(real=D(x), fake=D(G(x, d)))"}
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: adv.generator}
sample:
  same: "where(mean(d) > 2, G(x, d), x)"
  reference: "where(mean(x) > 2, G(x, d), ref)"
  own: "where(mean(c) > 2, G(x, c), x)"
train: {batch: 8, data: "digits:attributes"}
"""


def test_attributes_and_a_picture_that_shows_them(tmp_path: Path) -> None:
    """A picture that stays as it is has the wanted attributes by chance, also where they stand in its own stream."""
    found = shares(compile(written(tmp_path, ATTRIBUTES)), "digits:attributes", 400)
    assert found["real"] > 0.9 and found["reference"] > 0.9
    assert 0.4 < found["same"] < 0.6 and 0.4 < found["own"] < 0.6


DOMAINS = """
gangraph: 1
name: domains
inputs:
  chalk: {x: "image(3, 16, 16)"}
  marker: {y: "image(3, 16, 16)"}
networks:
  G: ["Conv2d(3, 1)"]
  F: ["Conv2d(3, 1)"]
  D_X: [Flatten(), Linear(1)]
  D_Y: [Flatten(), Linear(1)]
losses: {like_x: "hinge(real=D_X(x), fake=D_X(F(y)))", like_y: "hinge(real=D_Y(y), fake=D_Y(G(x)))"}
averages: {G_ema: "average(G, decay=0.5)"}
players:
  D: {networks: [D_X, D_Y], optimizer: SGD(lr=0)}
  G: {networks: [G, F], optimizer: SGD(lr=0)}
schedule: {D: like_x.discriminator + like_y.discriminator, G: like_x.generator + like_y.generator}
sample: {to_y: "training(G)(x)", to_x: F(y), average: G_ema(x), back: F(G(x))}
train: {batch: 8, iterations: 1, data: "digits:domains"}
"""


@pytest.mark.parametrize(("factor", "share"), [(-1.0, 1.0), (1.0, 0.0)])
def test_a_domain_that_is_asked_for(tmp_path: Path, factor: float, share: float) -> None:
    """Digits in white on black, and in red on white: what turns the colours over makes one look like the other."""
    gan = compile(written(tmp_path, DOMAINS))
    with torch.no_grad():
        for p in (*gan.networks.parameters(), *gan.averages.parameters()):
            p.copy_(factor * torch.eye(3)[:, :, None, None] if p.ndim == 4 else torch.zeros_like(p))
    found = shares(gan, "digits:domains")
    assert found["real"] > 0.98
    assert all(found[view] == pytest.approx(share, abs=0.05) for view in ("to_y", "to_x", "average"))
    assert found["back"] == pytest.approx(1, abs=0.05)  # F makes what looks like x, here of what is one


def test_the_share_stands_in_an_evaluation(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(written(tmp_path, DOMAINS), out=run, quiet=True)
    found = evaluate_run(run, n=32)
    rows = found.data()["metrics"]
    assert list(rows) == ["told/to_y", "told/to_x", "told/average", "told/back"]
    assert rows["told/to_y"]["samples"] == 32 and rows["told/to_y"]["real"] > 0.98
    assert f"{found['told/to_y']:.4g}" in str(found) and "(real " in str(found)


@pytest.mark.parametrize("name", ["gan", "dcgan", "pix2pix", "vae"])
def test_what_is_asked_for_nothing(name: str) -> None:
    gan = tiny(name)
    assert list(told(gan, gan.spec.train["data"], 16)) == []


@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("cgan", {"images"}),
        ("biggan", {"images"}),
        ("stackgan-1", {"images"}),
        ("stargan", {"images"}),
        ("stargan-joint", {"celeba", "rafd"}),
        ("stargan-v2", {"images", "reference"}),
        ("discogan", {"A", "B"}),
        ("cd-gan", {"a", "b"}),
        ("munit", {"x1", "x2", "x1_styled", "x2_styled"}),
        ("drit", {"x", "y", "x_guided", "y_guided"}),
    ],
)
def test_views_of_the_gallery_that_are_asked_for_something(
    name: str, views: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gangraph.train.told.REAL", 64)
    gan = compile(name, tiny=True)
    assert {view for view, _, _ in told(gan, gan.spec.train["data"], 16)} == views
