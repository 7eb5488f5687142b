import torch


def number(function, value):
    """A function of tensors, of a plain number."""
    return function(torch.tensor(float(value), dtype=torch.float64)).item()
