from own_draws import OWN
from torch import nn


class Noise(nn.Module):
    """x -> x + std n, with n = `draws.normal_like(x)` standard normal. In evaluation mode, x itself."""

    def __init__(self, std=1.0):
        super().__init__()
        self.std = std

    def forward(self, x, draws=OWN):
        return x + self.std * draws.normal_like(x) if self.training else x
