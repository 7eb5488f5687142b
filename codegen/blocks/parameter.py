import torch
from torch import nn


class Parameter(nn.Module):
    """() -> shape: a learned value, the same for all samples; uniform within 1 / sqrt(first size), as in nn.Linear."""

    def __init__(self, *shape):
        super().__init__()
        bound = (shape[0] if shape else 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self):
        return self.weight
