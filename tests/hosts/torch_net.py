"""The small net of training_elsewhere.py in torch: trained there, or gone on with."""

import training_elsewhere
from derived_nets import BatchNormAct
from torch import from_numpy, nn, no_grad, relu
from torch.autograd import grad

NAMES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(5, eps=1e-3, momentum=0.1)
        self.bn2 = nn.BatchNorm1d(5, eps=1e-3, momentum=0.1)
        self.dense = nn.Linear(5, 2, bias=False)

    def forward(self, x):
        x = relu(self.bn1(self.conv(x)))
        return self.dense(self.bn2(x.mean(dim=(2, 3))))


class Adding(nn.BatchNorm1d):
    """Derived, with a forward of its own."""

    def forward(self, x):
        return super().forward(x) + 0.0


class NetOfDerived(Net):
    """The same net of classes derived from torch's, one of which carries the ReLU."""

    def __init__(self):
        super().__init__()
        self.bn1 = BatchNormAct(5, eps=1e-3, momentum=0.1)
        self.bn2 = Adding(5, eps=1e-3, momentum=0.1)


def spelled(name):
    layer, _, key = name.partition(".")
    return f"{layer}.{NAMES.get(key, 'weight')}"


def trained(net, weights, batches, targets):
    """The weights after going on from the given ones."""
    loaded = {spelled(name): from_numpy(value.copy()) for name, value in weights.items()}
    assert net.load_state_dict(loaded, strict=False).unexpected_keys == []
    parameters = list(net.parameters())
    for x, target in zip(batches, targets, strict=True):
        loss = ((net(from_numpy(x)) - from_numpy(target)) ** 2).mean()
        with no_grad():
            for parameter, slope in zip(parameters, grad(loss, parameters), strict=True):
                parameter -= training_elsewhere.RATE * slope
    return {name: net.state_dict()[spelled(name)].numpy().copy() for name in weights}
