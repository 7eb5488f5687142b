"""DCGAN (Radford et al. 2016): its own networks, the loop of the official PyTorch example with fresh noise for G."""

import torch.nn.functional as F
from torch import Tensor, nn, optim

from benchmarks.handwritten import find


class Generator(nn.Module):
    def __init__(self, latent: int, width: int, channels: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Sequential(
            nn.Linear(latent, 8 * width * 16, bias=False),
            nn.BatchNorm1d(8 * width * 16, eps=1e-8, track_running_stats=False),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for before, after in [(8, 4), (4, 2), (2, 1)]:
            layers += [
                nn.ConvTranspose2d(before * width, after * width, 5, 2, 2, output_padding=1, bias=False),
                nn.BatchNorm2d(after * width, eps=1e-8, track_running_stats=False),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(width, channels, 5, 2, 2, output_padding=1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.main(self.project(z).view(-1, 8 * self.width, 4, 4))


class Discriminator(nn.Module):
    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 5, 2, 2, bias=False), nn.LeakyReLU(0.2)]
        for before, after in [(1, 2), (2, 4), (4, 8)]:
            layers += [
                nn.Conv2d(before * width, after * width, 5, 2, 2, bias=False),
                nn.BatchNorm2d(after * width, eps=1e-8, track_running_stats=False),
                nn.LeakyReLU(0.2),
            ]
        layers += [nn.Flatten(), nn.Linear(8 * width * (size // 16) ** 2, 1, bias=False)]
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


class Handwritten:
    def __init__(self, sizes: dict[str, int]) -> None:
        channels, width = sizes.get("C", 3), sizes.get("width", 128)
        self.G = Generator(sizes.get("Z", 100), width, channels)
        self.D = Discriminator(channels, width, sizes.get("H", 64))
        self.networks: dict[str, nn.Module] = {"G": self.G, "D": self.D}
        self.averages: dict[str, nn.Module] = {}
        self.optimizer_D = optim.Adam(self.D.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_G = optim.Adam(self.G.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, float]:
        # D: real and fake apart, so that their batch statistics do not mix
        self.D.zero_grad()
        loss_real = F.softplus(-self.D(batch["x"])).mean()
        loss_real.backward()
        fake = self.G(find(draws, "D", "z"))
        loss_fake = F.softplus(self.D(fake.detach())).mean()
        loss_fake.backward()
        self.optimizer_D.step()

        # G
        self.G.zero_grad()
        fake = self.G(find(draws, "G", "z"))
        loss_G = F.softplus(-self.D(fake)).mean()
        loss_G.backward()
        self.optimizer_G.step()
        return {"D": (loss_real + loss_fake).item(), "G": loss_G.item()}
