import torch
from torch import nn


class WeightNorm(nn.Module):
    """A layer that uses its weight as weight_g * weight / norm(weight) (Salimans and Kingma 2016, equation 2).

    One norm an entry of the first axis. `match` sets `weight_g` to these norms: the layer is as if it were bare.
    """

    def __init__(self, layer):
        super().__init__()
        self.first = layer if hasattr(layer, "use") else None  # another wrapper, whose work comes first
        self.weight, self.bias = layer.weight, getattr(layer, "bias", None)  # taken over under their own names
        layer.weight = layer.bias = None
        self.layer = layer.layer if self.first else layer
        self.weight_g = nn.Parameter(torch.empty(len(self.weight)))
        self.match(self.weight)

    @torch.no_grad()
    def match(self, weight):
        self.weight_g.copy_(weight.flatten(1).norm(dim=1))

    def use(self, weight, bias):
        """Weight and bias as the layer is to use them."""
        if self.first:
            weight, bias = self.first.use(weight, bias)
        scale = self.weight_g / weight.flatten(1).norm(dim=1)
        return weight * scale.reshape(-1, *[1] * (weight.dim() - 1)), bias

    def forward(self, x):
        weight, bias = self.use(self.weight, self.bias)
        return torch.func.functional_call(self.layer, {"weight": weight, "bias": bias}, (x,))
