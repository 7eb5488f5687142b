import torch
from torch import nn


class SpectralNorm(nn.Module):
    """A layer whose weight W is used as W / sigma, sigma its largest singular value (Miyato et al. 2018, algorithm 1).

    W is read as a matrix [out, rest]. Each call makes one power iteration from `u`, and in training mode keeps it:
    v = W^T u / (|W^T u| + eps), u = W v / (|W v| + eps), sigma = u^T W v; u and v are constants for differentiation.
    """

    def __init__(self, layer, eps=1e-12):
        super().__init__()
        self.first = layer if hasattr(layer, "use") else None  # another wrapper, whose work comes first
        self.weight, self.bias = layer.weight, getattr(layer, "bias", None)  # taken over under their own names
        layer.weight = layer.bias = None
        self.layer = layer.layer if self.first else layer
        self.eps = eps
        self.register_buffer("u", torch.randn(len(self.matrix(self.weight))))

    def matrix(self, weight):
        transposed = getattr(self.layer, "transposed", False)
        return (weight.transpose(0, 1) if transposed else weight).flatten(1)  # [out, rest]

    def use(self, weight, bias):
        """Weight and bias as the layer is to use them."""
        if self.first:
            weight, bias = self.first.use(weight, bias)
        matrix = self.matrix(weight)
        with torch.no_grad():
            v = matrix.T @ self.u
            v = v / (v.norm() + self.eps)
        product = matrix @ v
        u = product.detach()
        u = u / (u.norm() + self.eps)
        if self.training:
            self.u.copy_(u)
        return weight / (u @ product), bias

    def forward(self, x):
        weight, bias = self.use(self.weight, self.bias)
        return torch.func.functional_call(self.layer, {"weight": weight, "bias": bias}, (x,))
