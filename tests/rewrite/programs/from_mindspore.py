"""Training steps of MindSpore's batch norms, in the forms that code has them."""

from functools import partial

from around import data, done, note, shown, step
from mindspore import nn

SETTINGS = {"eps": 1e-3, "momentum": 0.97}
BN = nn.BatchNorm2d
make = partial(nn.BatchNorm2d, momentum=0.75, eps=0.01)


class Pair:
    def __init__(self, norm=nn.BatchNorm2d):
        self.one = nn.BatchNorm2d(3, 1e-4, 0.8)
        self.other = norm(3)


def work(key, bn: nn.BatchNorm2d):
    for seed in range(4):
        x, dy = data(seed)
        note(
            f"{key} {seed}",
            *step(bn, lambda x: bn.set_train(True)(x), x, dy, lambda: [bn.gamma, bn.beta]),
        )
        note(f"{key} {seed} state", bn.moving_mean, bn.moving_variance, bn.gamma, bn.beta)
    note(f"{key} settings", bn.eps, bn.momentum)
    note(f"{key} inference", bn.set_train(False)(shown(bn, x)))


pair = Pair()
work("keywords", nn.BatchNorm2d(3, **SETTINGS))
work("alias", BN(3, momentum=1 - 0.1))
work("partial", make(3))
work("attribute", pair.one)
work("default", pair.other)
done()
