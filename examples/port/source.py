"""A small torch model, of which `port.py` is a port with mistakes; run, it saves what both need."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


class Net(nn.Module):
    """Two convolutions with batch norms, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8, momentum=0.01)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The classes' scores."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean(-1).mean(-1))


def make_model() -> nn.Module:
    """The model as it is after twenty batches."""
    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(16, 3, 16, 16) * 2 + 1)
    return model


if __name__ == "__main__":
    torch.save(make_model().state_dict(), HERE / "source.pth")
    batch = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    np.savez(HERE / "batch.npz", batch)
