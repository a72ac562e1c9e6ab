"""`source.py` in MindSpore, as ports are written by hand; it trains worse."""

from pathlib import Path

import mindspore
from mindspore import nn, ops

HERE = Path(__file__).parent


class Net(nn.Cell):
    """Two convolutions with batch norms, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.bn2 = nn.BatchNorm2d(8, momentum=0.01)
        self.head = nn.Dense(8, 4)

    def construct(self, x: mindspore.Tensor) -> mindspore.Tensor:
        """The classes' scores."""
        x = ops.relu(self.bn1(self.conv1(x)))
        x = ops.relu(self.bn2(self.conv2(x)))
        return self.head(x.mean(-1).mean(-1))


def make_model() -> nn.Cell:
    """The port, with the weights of `batchnorm convert source.pth port.ckpt`."""
    model = Net()
    mindspore.load_checkpoint(str(HERE / "port.ckpt"), net=model)
    return model
