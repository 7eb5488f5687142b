from torch import nn


class GRU(nn.GRU):
    """[N, L, C] -> [N, L, hidden], twice as wide if bidirectional: the outputs of the last layer at all places."""

    def __init__(self, features, hidden, layers=1, bidirectional=False):
        super().__init__(features, hidden, layers, batch_first=True, bidirectional=bidirectional)

    def forward(self, x):
        return super().forward(x)[0]
