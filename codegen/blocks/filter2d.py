import torch
import torch.nn.functional as F
from torch import nn


class Filter2d(nn.Module):
    """[N, C, H, W] -> [N, C, H', W']: one fixed kernel on each channel (upfirdn2d of Karras et al. 2020).

    Puts up - 1 zeros behind each entry, pads by [left, right, top, bottom] (negative numbers cut), correlates with
    scale * kernel, keeps every down-th. Without pad, (k - 1) // 2 on both sides.
    """

    def __init__(self, kernel, up=1, down=1, pad=None, scale=1.0):
        super().__init__()
        if pad is None:
            across, along = (len(kernel[0]) - 1) // 2, (len(kernel) - 1) // 2
            pad = (across, across, along, along)
        self.kernel = [[scale * entry for entry in row] for row in kernel]
        self.up, self.down = up, down
        self.pad = list(pad) if isinstance(pad, (list, tuple)) else [pad] * 4
        self.weight = torch.tensor(self.kernel)  # no parameter and no state: made again in the precision of x

    def forward(self, x):
        n, c, h, w = x.shape
        if (self.weight.dtype, self.weight.device) != (x.dtype, x.device):
            self.weight = torch.tensor(self.kernel, dtype=x.dtype, device=x.device)
        if self.up > 1:
            x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, self.up - 1, 0, 0, 0, self.up - 1))
            x = x.reshape(n, c, h * self.up, w * self.up)
        weight = self.weight.expand(c, 1, -1, -1)  # [C, 1, kh, kw]
        return F.conv2d(F.pad(x, self.pad), weight, stride=self.down, groups=c)
