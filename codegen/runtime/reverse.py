import torch


class Reversal(torch.autograd.Function):
    """The value itself; its gradient, times -s (gradient reversal: Ganin et al. 2016, section 4.2)."""

    @staticmethod
    def forward(ctx, x, s):
        ctx.s = s
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.s * gradient, None


def reverse(x, s):
    return Reversal.apply(x, s)
