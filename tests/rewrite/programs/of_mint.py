"""The net of swapped.py in mindspore.mint, which computes on an Ascend only: it is never run."""

from around import data, done, note, shown
from mindspore import mint, nn


class Net(nn.Cell):
    def __init__(self, momentum=0.2):
        super().__init__()
        self.first = mint.nn.BatchNorm2d(3, momentum=0.03)
        self.act = nn.ReLU()
        self.second = mint.nn.BatchNorm2d(3, 1e-3, momentum)
        self.third = mint.nn.BatchNorm2d(3)

    def construct(self, x):
        return self.third(self.act(self.second(self.act(self.first(x)))))


net = Net()
net.set_train()
for seed in range(4):
    x, _ = data(seed)
    note(f"{seed}", net(shown(net.first, x)))
    for key, norm in (("first", net.first), ("second", net.second), ("third", net.third)):
        note(f"{seed} {key}", norm.running_mean, norm.running_var)
net.set_train(False)
note("inference", net(shown(net.first, x)))
done()
