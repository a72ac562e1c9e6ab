"""Training steps of nets where batch norm weighs more than in ResNet: MobileNetV2, RegNetX-400MF.

    python -m benchmarks.activated_step [--steps 20] [--rounds 3] [--input 8x96] [--busy]

Their batch norms carry their activations, as image models' BatchNormAct2d do: ReLU6 in the first
net, which no kernel of ours computes, ReLU in the second, which fuse=True does. All else is as in
`resnet50_step.py`. Writes results/activated_step.md.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.resnet50_step import RESULT, main

RESULTS = RESULT.with_name("activated_step.md")


class BatchNormAct(nn.BatchNorm2d):
    """act(drop(batch_norm(x))), with the two as children."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalized, dropped, activated."""
        result: torch.Tensor = self.act(self.drop(super().forward(x)))
        return result


class Residual(nn.Module):
    """Three convolutions, the middle one by groups, added to what came in where that fits."""

    def __init__(
        self, widths: tuple[int, int, int], stride: int, group: int, act: type[nn.Module]
    ) -> None:
        super().__init__()
        inside, between, outside = widths
        self.conv1 = nn.Conv2d(inside, between, 1, bias=False)
        self.bn1 = BatchNormAct(between, act())
        self.conv2 = nn.Conv2d(between, between, 3, stride, 1, groups=between // group, bias=False)
        self.bn2 = BatchNormAct(between, act())
        self.conv3 = nn.Conv2d(between, outside, 1, bias=False)
        self.bn3 = BatchNormAct(outside, nn.Identity())
        self.adds = self.same = stride == 1 and inside == outside

    def body(self, x: torch.Tensor) -> torch.Tensor:
        """Without what came in."""
        out: torch.Tensor = self.bn3(self.conv3(self.bn2(self.conv2(self.bn1(self.conv1(x))))))
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's result."""
        out = self.body(x)
        return x + out if self.same else out


class Bottleneck(Residual):
    """The same with a shortcut where it doesn't fit, and an activation of the sum."""

    def __init__(
        self, widths: tuple[int, int, int], stride: int, group: int, act: type[nn.Module]
    ) -> None:
        super().__init__(widths, stride, group, act)
        self.relu, self.adds = act(), True
        self.shortcut: nn.Module = nn.Identity()
        if not self.same:
            conv = nn.Conv2d(widths[0], widths[2], 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, BatchNormAct(widths[2], nn.Identity()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's result."""
        result: torch.Tensor = self.relu(self.body(x) + self.shortcut(x))
        return result


def mobilenet(classes: int = 1000) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018), whose first block expands by 1 here too."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), BatchNormAct(32, nn.ReLU6())]
    inside = 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2))
    for expand, width, blocks, stride in (*stages, (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(blocks):
            widths = (inside, inside * expand, width)
            layers.append(Residual(widths, 1 if block else stride, 1, nn.ReLU6))
            inside = width
    layers += [nn.Conv2d(inside, 1280, 1, bias=False), BatchNormAct(1280, nn.ReLU6())]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes)]
    return nn.Sequential(*layers)


def regnet(classes: int = 1000) -> nn.Module:
    """RegNetX-400MF (Radosavovic et al. 2020): groups of 16 channels, no squeezing."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), BatchNormAct(32, nn.ReLU())]
    inside = 32
    for width, blocks in ((32, 1), (64, 2), (160, 7), (400, 12)):
        for block in range(blocks):
            widths = (inside, width, width)
            layers.append(Bottleneck(widths, 1 if block else 2, 16, nn.ReLU))
            inside = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers)


if __name__ == "__main__":
    nets = {"MobileNetV2": mobilenet, "RegNetX-400MF": regnet}
    main(nets, "activated_step", RESULTS, __doc__)
