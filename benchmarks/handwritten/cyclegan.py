"""CycleGAN (Zhu et al. 2017), as junyanz/pytorch-CycleGAN-and-pix2pix: networks, cycle_gan_model, image_pool."""

import itertools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from benchmarks.handwritten import find


class ResnetBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class ResnetGenerator(nn.Module):
    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
        ]
        for i in (1, 2):
            layers += [
                nn.Conv2d(width * i, 2 * width * i, 3, stride=2, padding=1),
                nn.InstanceNorm2d(2 * width * i),
                nn.ReLU(True),
            ]
        layers += [ResnetBlock(4 * width) for _ in range(blocks)]
        for i in (2, 1):
            layers += [
                nn.ConvTranspose2d(2 * width * i, width * i, 3, stride=2, padding=1, output_padding=1),
                nn.InstanceNorm2d(width * i),
                nn.ReLU(True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PatchDiscriminator(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        for before, after, stride in [(1, 2, 2), (2, 4, 2), (4, 8, 1)]:
            layers += [
                nn.Conv2d(before * width, after * width, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(after * width),
                nn.LeakyReLU(0.2, True),
            ]
        layers += [nn.Conv2d(8 * width, 1, 4, padding=1)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class ImagePool:
    """A buffer of images made earlier; what is random in it comes from outside."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor, swap: Tensor, slot: Tensor) -> Tensor:
        returned = []
        for i, image in enumerate(images):
            if len(self.images) < self.size:
                self.images.append(image.clone())
                returned.append(image)
            elif swap[i] == 1:
                j = int(slot[i])
                returned.append(self.images[j].clone())
                self.images[j] = image.clone()
            else:
                returned.append(image)
        return torch.stack(returned)


class Handwritten:
    def __init__(self, sizes: dict[str, int]) -> None:
        channels, width, blocks = sizes.get("C", 3), sizes.get("width", 64), sizes.get("blocks", 9)
        self.G = ResnetGenerator(channels, width, blocks)  # X -> Y
        self.F = ResnetGenerator(channels, width, blocks)  # Y -> X
        self.D_X = PatchDiscriminator(channels, width)
        self.D_Y = PatchDiscriminator(channels, width)
        self.networks: dict[str, nn.Module] = {"G": self.G, "F": self.F, "D_X": self.D_X, "D_Y": self.D_Y}
        self.averages: dict[str, nn.Module] = {}
        self.pool_x, self.pool_y = ImagePool(50), ImagePool(50)
        both = itertools.chain(self.G.parameters(), self.F.parameters())
        self.optimizer_G = optim.Adam(both, lr=2e-4, betas=(0.5, 0.999))
        both = itertools.chain(self.D_X.parameters(), self.D_Y.parameters())
        self.optimizer_D = optim.Adam(both, lr=2e-4, betas=(0.5, 0.999))

    def step(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, float]:
        x, y = batch["x"], batch["y"]
        fake_y = self.G(x)
        rec_x = self.F(fake_y)
        fake_x = self.F(y)
        rec_y = self.G(fake_x)

        # G and F
        set_requires_grad([self.D_X, self.D_Y], False)
        self.optimizer_G.zero_grad()
        loss_gan = mse(self.D_Y(fake_y), 1.0) + mse(self.D_X(fake_x), 1.0)
        loss_cycle = F.l1_loss(rec_x, x) + F.l1_loss(rec_y, y)
        loss_identity = F.l1_loss(self.G(y), y) + F.l1_loss(self.F(x), x)
        loss_G = loss_gan + 10 * loss_cycle + 10 * 0.5 * loss_identity
        loss_G.backward()
        self.optimizer_G.step()

        # D_Y and D_X
        set_requires_grad([self.D_X, self.D_Y], True)
        self.optimizer_D.zero_grad()
        loss_D_Y = self.backward_D("old_y", self.D_Y, self.pool_y, y, fake_y, draws)
        loss_D_X = self.backward_D("old_x", self.D_X, self.pool_x, x, fake_x, draws)
        self.optimizer_D.step()
        return {"translators": loss_G.item(), "discriminators": (loss_D_Y + loss_D_X).item()}

    def backward_D(
        self, name: str, D: nn.Module, pool: ImagePool, real: Tensor, fake: Tensor, draws: dict[str, Tensor]
    ) -> Tensor:
        swap, slot = (find(draws, "discriminators", f"{name}/{part}") for part in ("swap", "slot"))
        old = pool.query(fake.detach(), swap, slot)
        loss_D = (mse(D(real), 1.0) + mse(D(old.detach()), 0.0)) * 0.5
        loss_D.backward()
        return loss_D


def mse(score: Tensor, target: float) -> Tensor:
    return F.mse_loss(score, torch.full_like(score, target))


def set_requires_grad(networks: Iterable[nn.Module], value: bool) -> None:
    for network in networks:
        for p in network.parameters():
            p.requires_grad_(value)
