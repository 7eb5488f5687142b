import torch
from torch import nn


class Equalized(nn.Module):
    """A layer that uses its weight as weight * lr_mul * gain / sqrt(fan_in), its bias as bias * lr_mul.

    Equalized learning rate (Karras et al. 2018, section 4.1): stored weights are N(0, 1 / lr_mul**2), biases 0.
    """

    def __init__(self, layer, gain=2**0.5, lr_mul=1.0):
        super().__init__()
        self.first = layer if hasattr(layer, "use") else None  # another wrapper, whose work comes first
        self.weight, self.bias = layer.weight, getattr(layer, "bias", None)  # taken over under their own names
        layer.weight = layer.bias = None
        self.layer = layer.layer if self.first else layer
        if isinstance(self.layer, nn.Embedding):
            fan_in = 1  # a row is picked, nothing is summed
        elif getattr(self.layer, "transposed", False):
            fan_in = self.weight.numel() // self.layer.out_channels
        else:
            fan_in = self.weight[0].numel()
        self.scale, self.lr_mul = lr_mul * gain / fan_in**0.5, lr_mul
        nn.init.normal_(self.weight, std=1 / lr_mul)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def use(self, weight, bias):
        """Weight and bias as the layer is to use them."""
        if self.first:
            weight, bias = self.first.use(weight, bias)
        return weight * self.scale, bias if bias is None else bias * self.lr_mul

    def forward(self, x):
        weight, bias = self.use(self.weight, self.bias)
        return torch.func.functional_call(self.layer, {"weight": weight, "bias": bias}, (x,))
