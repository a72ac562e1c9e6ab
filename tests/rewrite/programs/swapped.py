"""A torch net; with its imports swapped it is a port as people begin it, with torch's numbers."""

from around import data, done, note, shown
from torch import nn


class Net(nn.Module):
    def __init__(self, momentum=0.2):
        super().__init__()
        self.first = nn.BatchNorm2d(3, momentum=0.03)
        self.act = nn.ReLU()
        self.second = nn.BatchNorm2d(3, 1e-3, momentum)
        self.third = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.third(self.act(self.second(self.act(self.first(x)))))


net = Net()
net.train()
for seed in range(4):
    x, _ = data(seed)
    note(f"{seed}", net(shown(net.first, x)))
    for key, norm in (("first", net.first), ("second", net.second), ("third", net.third)):
        note(f"{seed} {key}", norm.running_mean, norm.running_var)
net.eval()
note("inference", net(shown(net.first, x)))
done()
