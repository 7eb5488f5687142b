import torch
from torch import nn


class MinibatchStd(nn.Module):
    """[N, C, H, W] -> [N, C + 1, H, W]: how much samples differ, as one more channel (Karras et al. 2018, section 3).

    As in NVlabs' code, samples m, m + M, m + 2 M, ... form group m of M = N / group; they share the mean over C, H, W
    of their standard deviations.
    """

    def __init__(self, group):
        super().__init__()
        self.group = group

    def forward(self, x):
        n, c, h, w = x.shape
        group = min(self.group, n)
        y = x.reshape(group, -1, c, h, w)  # [G, M, C, H, W]
        y = (y - y.mean(dim=0)).square().mean(dim=0)  # [M, C, H, W]
        y = (y + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [M]
        y = y.repeat(group).reshape(n, 1, 1, 1).expand(n, 1, h, w)
        return torch.cat([x, y], dim=1)
