"""StarGAN v2 (Choi et al. 2020) without masks, as clovaai/stargan-v2: core/model.py and core/solver.py."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from benchmarks.handwritten import find


class ResBlk(nn.Module):
    def __init__(self, before: int, after: int, normalize: bool = False, downsample: bool = False) -> None:
        super().__init__()
        self.downsample = downsample
        self.norm1 = nn.InstanceNorm2d(before, affine=True) if normalize else nn.Identity()
        self.conv1 = nn.Conv2d(before, before, 3, 1, 1)
        self.norm2 = nn.InstanceNorm2d(before, affine=True) if normalize else nn.Identity()
        self.conv2 = nn.Conv2d(before, after, 3, 1, 1)
        self.conv1x1 = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()

    def shortcut(self, x: Tensor) -> Tensor:
        x = self.conv1x1(x)
        return F.avg_pool2d(x, 2) if self.downsample else x

    def residual(self, x: Tensor) -> Tensor:
        x = self.conv1(F.leaky_relu(self.norm1(x), 0.2))
        if self.downsample:
            x = F.avg_pool2d(x, 2)
        return self.conv2(F.leaky_relu(self.norm2(x), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)) / math.sqrt(2)


class AdaIN(nn.Module):
    def __init__(self, style: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.fc = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        h = self.fc(s)
        gamma, beta = h.view(h.size(0), h.size(1), 1, 1).chunk(2, dim=1)
        return (1 + gamma) * self.norm(x) + beta


class AdainResBlk(nn.Module):
    def __init__(self, before: int, after: int, style: int, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = AdaIN(style, before)
        self.conv1 = nn.Conv2d(before, after, 3, 1, 1)
        self.norm2 = AdaIN(style, after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1)
        self.conv1x1 = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()

    def shortcut(self, x: Tensor) -> Tensor:
        return self.conv1x1(F.interpolate(x, scale_factor=2, mode="nearest") if self.upsample else x)

    def residual(self, x: Tensor, s: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm1(x, s), 0.2)
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv2(F.leaky_relu(self.norm2(self.conv1(x), s), 0.2))

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        return (self.residual(x, s) + self.shortcut(x)) / math.sqrt(2)


class Generator(nn.Module):
    def __init__(self, channels: int, size: int, style: int, width: int, most: int) -> None:
        super().__init__()
        levels = int(math.log2(size)) - 4
        widths = [min(width * 2**i, most) for i in range(levels + 1)]
        self.from_rgb = nn.Conv2d(channels, width, 3, 1, 1)
        self.encode = nn.ModuleList(
            [ResBlk(widths[i], widths[i + 1], normalize=True, downsample=True) for i in range(levels)]
            + [ResBlk(widths[-1], widths[-1], normalize=True) for _ in range(2)]
        )
        self.decode = nn.ModuleList(
            [AdainResBlk(widths[-1], widths[-1], style) for _ in range(2)]
            + [AdainResBlk(widths[i + 1], widths[i], style, upsample=True) for i in reversed(range(levels))]
        )
        self.to_rgb = nn.Sequential(
            nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(0.2), nn.Conv2d(width, channels, 1)
        )

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        x = self.from_rgb(x)
        for block in self.encode:
            x = block(x)
        for block in self.decode:
            x = block(x, s)
        return self.to_rgb(x)


class MappingNetwork(nn.Module):
    def __init__(self, latent: int, style: int, domains: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(latent, hidden), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Linear(hidden, hidden), nn.ReLU()]
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList()
        for _ in range(domains):
            layers = []
            for _ in range(3):
                layers += [nn.Linear(hidden, hidden), nn.ReLU()]
            self.unshared.append(nn.Sequential(*layers, nn.Linear(hidden, style)))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = self.shared(z)
        out = torch.stack([layer(h) for layer in self.unshared], dim=1)  # [N, K, S]
        return out[torch.arange(y.size(0)), y]


def trunk(channels: int, size: int, width: int, most: int) -> tuple[nn.Sequential, int]:
    """What style encoder and discriminator have in common, and the channels that come out."""
    blocks: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1)]
    before = width
    for _ in range(int(math.log2(size)) - 2):
        after = min(2 * before, most)
        blocks += [ResBlk(before, after, downsample=True)]
        before = after
    blocks += [nn.LeakyReLU(0.2), nn.Conv2d(before, before, 4), nn.LeakyReLU(0.2)]
    return nn.Sequential(*blocks), before


class StyleEncoder(nn.Module):
    def __init__(self, channels: int, size: int, style: int, domains: int, width: int, most: int) -> None:
        super().__init__()
        self.shared, out = trunk(channels, size, width, most)
        self.unshared = nn.ModuleList([nn.Linear(out, style) for _ in range(domains)])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.shared(x).flatten(1)
        out = torch.stack([layer(h) for layer in self.unshared], dim=1)  # [N, K, S]
        return out[torch.arange(y.size(0)), y]


class Discriminator(nn.Module):
    def __init__(self, channels: int, size: int, domains: int, width: int, most: int) -> None:
        super().__init__()
        self.shared, out = trunk(channels, size, width, most)
        self.head = nn.Conv2d(out, domains, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out = self.head(self.shared(x)).flatten(1)  # [N, K]
        return out[torch.arange(y.size(0)), y]


class Handwritten:
    def __init__(self, sizes: dict[str, int]) -> None:
        channels, size, domains = sizes.get("C", 3), sizes.get("H", 256), sizes.get("K", 3)
        style, latent = sizes.get("S", 64), sizes.get("Z", 16)
        width, most = sizes.get("width", 64), sizes.get("most", 512)
        self.G = Generator(channels, size, style, width, most)
        self.F = MappingNetwork(latent, style, domains, most)
        self.E = StyleEncoder(channels, size, style, domains, width, most)
        self.D = Discriminator(channels, size, domains, width, most)
        self.networks: dict[str, nn.Module] = {"G": self.G, "F": self.F, "E": self.E, "D": self.D}
        self.averages: dict[str, nn.Module] = {}
        rates = {"G": 1e-4, "F": 1e-6, "E": 1e-4, "D": 1e-4}
        self.optimizers = {
            name: optim.Adam(network.parameters(), lr=rates[name], betas=(0.0, 0.99), weight_decay=1e-4)
            for name, network in self.networks.items()
        }
        self.iteration = 0

    def step(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, float]:
        if not self.averages:
            self.averages = {f"{name}_ema": copy.deepcopy(self.networks[name]) for name in ("G", "F", "E")}
        ds = 2 * max(0, 1 - self.iteration / 100000)
        z = find(draws, "D_latent", "z")
        x_ref, x_ref2 = batch["x_ref"], batch["x_ref2"]
        losses = {}

        losses["D_latent"] = self.update(self.d_loss(batch, z=z), "D")
        losses["D_reference"] = self.update(self.d_loss(batch, x_ref=x_ref), "D")
        z2 = find(draws, "G_latent", "z2")
        losses["G_latent"] = self.update(self.g_loss(batch, ds, zs=(z, z2)), "GFE")
        losses["G_reference"] = self.update(self.g_loss(batch, ds, x_refs=(x_ref, x_ref2)), "G")

        for name, average in self.averages.items():
            moving_average(self.networks[name.removesuffix("_ema")], average, beta=0.999)
        self.iteration += 1
        return losses

    def update(self, loss: Tensor, steps: str) -> float:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for name in steps:
            self.optimizers[name].step()
        return loss.item()

    def d_loss(self, batch: dict[str, Tensor], z: Tensor | None = None, x_ref: Tensor | None = None) -> Tensor:
        y, y_trg = batch["y"], batch["y_trg"]
        x = batch["x"].detach().requires_grad_()
        out = self.D(x, y)
        loss_real = F.softplus(-out).mean()
        loss_reg = r1(out, x)

        with torch.no_grad():  # as in core/solver.py
            s_trg = self.E(x_ref, y_trg) if z is None else self.F(z, y_trg)
            x_fake = self.G(x, s_trg)
        loss_fake = F.softplus(self.D(x_fake, y_trg)).mean()
        return loss_real + loss_fake + loss_reg

    def g_loss(
        self,
        batch: dict[str, Tensor],
        ds: float,
        zs: tuple[Tensor, Tensor] | None = None,
        x_refs: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        x, y, y_trg = batch["x"], batch["y"], batch["y_trg"]
        s_trg = self.F(zs[0], y_trg) if zs else self.E(x_refs[0], y_trg)
        x_fake = self.G(x, s_trg)
        loss_adv = F.softplus(-self.D(x_fake, y_trg)).mean()

        loss_sty = (self.E(x_fake, y_trg) - s_trg).abs().mean()

        s_trg2 = self.F(zs[1], y_trg) if zs else self.E(x_refs[1], y_trg)
        x_fake2 = self.G(x, s_trg2).detach()
        loss_ds = (x_fake - x_fake2).abs().mean()

        x_rec = self.G(x_fake, self.E(x, y))
        loss_cyc = (x_rec - x).abs().mean()
        return loss_adv + loss_sty - ds * loss_ds + loss_cyc


def r1(out: Tensor, x: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True, retain_graph=True, only_inputs=True)
    return 0.5 * gradient.pow(2).view(x.size(0), -1).sum(1).mean(0)


def moving_average(network: nn.Module, average: nn.Module, beta: float) -> None:
    for p, p_average in zip(network.parameters(), average.parameters(), strict=True):
        p_average.data = torch.lerp(p.data, p_average.data, beta)
