"""A small object with the interface that the training loop uses, written by hand: the loop can be tested alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Input:
    """What a spec says of an input."""

    kind: str
    shape: tuple[int, ...] = ()
    classes: int | None = None
    range: tuple[float, float] | None = None
    times: int = 1

    def samples(self, n: int) -> int:
        return self.times * n


def image(*shape: int) -> Input:
    return Input("image", shape)


@dataclass
class Spec:
    name: str = "standin"
    hash: str = "0"
    text: str = "gangraph: 1\nname: standin\n"
    train: dict[str, Any] = field(default_factory=lambda: {"batch": 16, "iterations": 10, "data": "digits8"})
    changed: dict[str, str] = field(default_factory=dict)
    graphs: tuple[Any, ...] = ()

    def fields(self) -> dict[str, str]:
        return {"sizes.Z": "4", "train.batch": "16"} | self.changed


class StandIn:
    """D and G on 8 x 8 digits, an average of G, a pool of one fake, state that counts."""

    def begin_from(self, items: Any) -> None:
        """Nothing here begins at a mean of the data."""

    views = ("images",)
    state: dict[str, Any] = {}  # noqa: RUF012
    source = "import torch\n"
    prepare: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, spec: Spec | None = None, seed: int = 0, burst: int = 1, poison: int = -1):
        torch.manual_seed(seed)
        self.spec = spec or Spec()
        G = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Tanh())
        D = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
        self.networks = nn.ModuleDict({"G": G, "D": D})
        self.averages = nn.ModuleDict({"G_ema": nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Tanh())})
        self.averages["G_ema"].load_state_dict(G.state_dict())
        self.optimizers = {n: torch.optim.Adam(self.networks[n].parameters(), lr=1e-3) for n in ("G", "D")}
        self.clocks: dict[str, Any] = {
            "step": 0,
            "epoch": 0,
            "epoch_step": 0,
            "epoch_steps": 1,
            "images": 0,
            "stage": "main",
        }
        self.streams = {"data": {"x": image(1, 8, 8)}}
        self.pool = torch.zeros(0, 64)
        self.burst, self.poison = burst, poison
        self.heard: list[dict[str, Any]] = []

    left = 0

    def fetches(self) -> int:
        return self.burst if self.clocks["step"] % 2 else 1

    def to(self, device: Any) -> StandIn:
        self.networks.to(device)
        return self

    def view_range(self, view: str) -> tuple[float, float]:
        return -1.0, 1.0

    def view_row(self, view: str) -> int:
        return 1

    def view_shape(self, view: str) -> tuple[int, ...]:
        return 1, 8, 8

    def view_inputs(self, view: str) -> tuple[str, ...]:
        return ()

    def step(self, batch: list[dict[str, Tensor]], draws: Any = None, seed: int = 0) -> dict[str, Any]:
        assert len(batch) == self.fetches()
        self.heard.append({k: self.clocks[k] for k in ("step", "epoch", "epoch_step", "epoch_steps")})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self._step([b["x"].flatten(1) for b in batch])

    def _step(self, reals: list[Tensor]) -> dict[str, Any]:
        G, D = self.networks["G"], self.networks["D"]
        for x in reals:
            fake = G(torch.randn(len(x), 4)).detach()
            loss_D = softplus(-D(x)).mean() + softplus(D(torch.cat([fake, self.pool]))).mean()
            self._move("D", loss_D)
        self.pool = fake[:1]
        loss_G = softplus(-D(G(torch.randn(len(x), 4)))).mean()
        self._move("G", loss_G)
        with torch.no_grad():
            for average, p in zip(self.averages["G_ema"].parameters(), G.parameters(), strict=True):
                average.lerp_(p, 0.1)
        self.clocks["step"] += 1
        self.clocks["images"] += len(x)
        if self.clocks["step"] == self.poison:
            loss_D = loss_D * float("nan")
        if self.clocks["step"] == -self.poison - 10:
            with torch.no_grad():
                D[0].weight[0, 0] = float("inf")
        return {
            "D/adv.discriminator": loss_D.detach(),
            "D": loss_D.detach(),
            "G/adv.generator": loss_G.detach(),
            "G": loss_G.item(),
        }

    def _move(self, name: str, loss: Tensor) -> None:
        owned = list(self.networks[name].parameters())
        for p, g in zip(owned, torch.autograd.grad(loss, owned), strict=True):
            p.grad = g
        self.optimizers[name].step()
        for p in owned:
            p.grad = None

    def sample(self, view: str, n: int, batch: Any = None, seed: int = 0) -> Tensor:
        z = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed + zlib.crc32(view.encode())))
        with torch.no_grad():
            return self.averages["G_ema"].eval()(z).reshape(n, 1, 8, 8)

    def state_dict(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "averages": self.averages.state_dict(),
            "pools": {"old": self.pool},
            "optimizers": {n: o.state_dict() for n, o in self.optimizers.items()},
            "clocks": dict(self.clocks),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.averages.load_state_dict(state["averages"])
        self.pool = state["pools"]["old"]
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.clocks = dict(state["clocks"])
