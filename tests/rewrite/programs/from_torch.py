"""Training steps of torch's batch norms, in the forms that code has them."""

from functools import partial

from around import data, done, note, shown, step
from torch import nn

SETTINGS = {"eps": 1e-3, "momentum": 0.03}
BN = nn.BatchNorm2d
make = partial(nn.BatchNorm2d, momentum=0.25, eps=0.01)


class Pair:
    def __init__(self, norm=nn.BatchNorm2d):
        self.one = nn.BatchNorm2d(3, 1e-4, 0.2)
        self.other = norm(3)


def work(key, bn: nn.BatchNorm2d):
    for seed in range(4):
        x, dy = data(seed)
        note(
            f"{key} {seed}",
            *step(bn, lambda x: bn.train(True)(x), x, dy, lambda: [bn.weight, bn.bias]),
        )
        note(f"{key} {seed} state", bn.running_mean, bn.running_var, bn.weight, bn.bias)
    note(f"{key} settings", bn.eps, bn.momentum)
    note(f"{key} inference", bn.eval()(shown(bn, x)))


pair = Pair()
work("keywords", nn.BatchNorm2d(3, **SETTINGS))
work("alias", BN(3, momentum=1 - 0.9))
work("partial", make(3))
work("attribute", pair.one)
work("default", pair.other)
done()
