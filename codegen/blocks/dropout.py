from own_draws import OWN
from torch import nn


class Dropout(nn.Module):
    """x, x -> x: entries are set to 0 with probability p, the others grow by 1 / (1 - p) (Srivastava et al. 2014).

    `draws.mask(p, x)` is 1 where an entry is kept, of the shape of x. In evaluation mode, x itself.
    """

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p
        self.scale = 1 / (1 - p) if p < 1 else 0.0

    def forward(self, x, draws=OWN):
        return x * draws.mask(self.p, x) * self.scale if self.training else x
