import torch


class OwnDraws:
    """Draws of layers from torch's own generator: of a network that is called outside of its game."""

    def at(self, path):
        return self

    def call(self, network):
        return self

    def mask(self, p, x):
        return (torch.rand_like(x) >= p).to(x.dtype)

    def normal_like(self, x):
        return torch.randn_like(x)


OWN = OwnDraws()
