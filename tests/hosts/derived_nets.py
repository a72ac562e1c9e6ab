"""Classes derived from torch's batch norms, as model libraries have them."""

import torch
from torch import nn
from torch.nn import functional

__all__ = ["KINDS", "BatchNormAct", "ByOperator", "Mine", "NormAct", "Ratio", "Split", "net"]


class Mine(nn.BatchNorm2d):
    """No code of its own."""


class NormAct(nn.BatchNorm2d):
    """Batch norm and an activation, by torch's function."""

    def __init__(self, channels, act=nn.SiLU, **settings):
        super().__init__(channels, **settings)
        self.act = act()

    def forward(self, x):
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        state = (self.running_mean, self.running_var, self.weight, self.bias)
        use = self.training or self.running_mean is None
        return self.act(functional.batch_norm(x, *state, use, self.momentum, self.eps))


class BatchNormAct(nn.BatchNorm2d):
    """The children and the forward that timm's BatchNormAct2d has."""

    def __init__(self, channels, act=nn.ReLU, drop=nn.Identity, **settings):
        super().__init__(channels, **settings)
        self.drop, self.act = drop(), act()

    def forward(self, x):
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        x = functional.batch_norm(
            x,
            self.running_mean if not self.training or self.track_running_stats else None,
            self.running_var if not self.training or self.track_running_stats else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            factor,
            self.eps,
        )
        return self.act(self.drop(x))


class ByOperator(nn.BatchNorm2d):
    """torch's operator, and more afterwards."""

    def forward(self, x, scale=1.5):
        state = (self.weight, self.bias, self.running_mean, self.running_var)
        if self.training:
            self.num_batches_tracked.add_(1)
        y = torch.batch_norm(x, *state, self.training, self.momentum, self.eps, True)
        return y * scale


class Split(nn.BatchNorm2d):
    """The first half of a batch by its own statistics, the second by a helper's."""

    def __init__(self, channels):
        super().__init__(channels)
        self.other = nn.BatchNorm2d(channels)

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        a, b = x.split(x.shape[0] // 2)
        return torch.cat([super().forward(a), self.other(b)])


class Ratio(nn.BatchNorm2d):
    """Derived from torch's class, but no batch norm."""

    def forward(self, x):
        return x / (self.running_var.view(1, -1, 1, 1) + self.eps) * 2


KINDS = {
    "no code": Mine,
    "an activation": NormAct,
    "a ReLU in place": lambda c: NormAct(c, lambda: nn.ReLU(inplace=True)),
    "children": BatchNormAct,
    "children, SiLU": lambda c: BatchNormAct(c, lambda: nn.SiLU(inplace=True)),
    "children, none": lambda c: BatchNormAct(c, nn.Identity),
    "the operator": ByOperator,
    "two helpers": Split,
}


def net(make, channels=4):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, bias=False),
        make(channels),
        nn.Conv2d(channels, channels, 3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        make(channels),
    )
