"""WGAN-GP (Gulrajani et al. 2017): the 64 x 64 networks of gan_64x64.py, five critic steps, then one of G.

The loop is that of the PyTorch ports: three backward calls a critic step, and the critic's parameters switched off
while G is trained.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn, optim

from benchmarks.handwritten import find


class Residual(nn.Module):
    """Normalize, ReLU, convolve, twice; one of `up` and `down` changes the size."""

    def __init__(self, before: int, hidden: int, after: int, norm: type[nn.Module], up: bool = False) -> None:
        super().__init__()
        self.norm1 = _norm(norm, before)
        self.conv1 = nn.Conv2d(before, hidden, 3, padding=1, bias=False)
        self.norm2 = _norm(norm, hidden)
        self.conv2 = nn.Conv2d(hidden, after, 3, padding=1)
        self.short = nn.Conv2d(before, after, 1)
        self.up = nn.Upsample(scale_factor=2) if up else nn.Identity()
        self.down = nn.Identity() if up else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.up(torch.relu(self.norm1(x))))
        h = self.down(self.conv2(torch.relu(self.norm2(h))))
        return h + self.short(self.down(self.up(x)))


def _norm(norm: type[nn.Module], channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels) if norm is nn.GroupNorm else norm(channels)


class Generator(nn.Module):
    def __init__(self, latent: int, width: int, channels: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(latent, 8 * width * 16)
        widths = [8, 8, 4, 2, 1]
        self.blocks = nn.Sequential(
            *(
                Residual(before * width, after * width, after * width, nn.BatchNorm2d, up=True)
                for before, after in pairwise(widths)
            )
        )
        self.norm = nn.BatchNorm2d(width)
        self.to_rgb = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.blocks(self.project(z).view(-1, 8 * self.width, 4, 4))
        return torch.tanh(self.to_rgb(torch.relu(self.norm(h))))


class Critic(nn.Module):
    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.from_rgb = nn.Conv2d(channels, width, 3, padding=1)
        widths = [1, 2, 4, 8, 8]
        self.blocks = nn.Sequential(
            *(
                Residual(before * width, before * width, after * width, nn.GroupNorm)
                for before, after in pairwise(widths)
            )
        )
        self.score = nn.Linear(8 * width * (size // 16) ** 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.blocks(self.from_rgb(x)).flatten(1))


class Handwritten:
    critic_steps = 5

    def __init__(self, sizes: dict[str, int]) -> None:
        channels, width = sizes.get("C", 3), sizes.get("width", 64)
        self.G = Generator(sizes.get("Z", 128), width, channels)
        self.D = Critic(channels, width, sizes.get("H", 64))
        self.networks: dict[str, nn.Module] = {"G": self.G, "D": self.D}
        self.averages: dict[str, nn.Module] = {}
        self.optimizer_D = optim.Adam(self.D.parameters(), lr=1e-4, betas=(0.0, 0.9))
        self.optimizer_G = optim.Adam(self.G.parameters(), lr=1e-4, betas=(0.0, 0.9))

    def step(self, batch: list[dict[str, Tensor]], draws: dict[str, Tensor]) -> dict[str, float]:
        result: dict[str, float] = {}
        for i in range(self.critic_steps):
            evaluation = "D" if i == 0 else f"D.{i + 1}"
            x = batch[i]["x"]
            self.D.zero_grad()
            loss_real = -self.D(x).mean()
            loss_real.backward()
            fake = self.G(find(draws, evaluation, "z")).detach()
            loss_fake = self.D(fake).mean()
            loss_fake.backward()
            penalty = 10 * self.penalty(x, fake, find(draws, evaluation, "eps"))
            penalty.backward()
            self.optimizer_D.step()
            result[evaluation] = (loss_real + loss_fake + penalty).item()

        for p in self.D.parameters():
            p.requires_grad_(False)  # to avoid computation
        self.G.zero_grad()
        loss_G = -self.D(self.G(find(draws, "G", "z"))).mean()
        loss_G.backward()
        self.optimizer_G.step()
        for p in self.D.parameters():
            p.requires_grad_(True)
        result["G"] = loss_G.item()
        return result

    def penalty(self, real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
        """The squared distance of the critic's gradient norm from 1, between real and fake images."""
        between = (real + eps.view(-1, 1, 1, 1) * (fake - real)).requires_grad_(True)
        scores = self.D(between)
        (gradient,) = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)
        return ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
