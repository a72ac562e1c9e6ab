"""The installed mindspore.mint.nn against `bn.mint`: all that a CPU can be asked."""

import inspect

import mindspore as ms
import numpy as np
from mindspore import mint

import batchnorm as bn
from batchnorm.frameworks import find
from batchnorm.translate.form import forms

CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")


def parameters(function):
    found = list(inspect.signature(function).parameters.values())[1:]
    return [(p.name, p.kind, p.default) for p in found]


def raised(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return next(c for c in type(error).__mro__ if c.__module__ == "builtins")
    return None


for name in CLASSES:
    theirs, ours = getattr(mint.nn, name), getattr(bn.mint, name)
    assert parameters(theirs.__init__) == parameters(ours.__init__), name
    for options in ({}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}):
        real, own = theirs(3, **options), ours(3, **options)
        assert repr(real) == repr(own), (repr(real), repr(own))
        assert real.training == own.training
        names = {p.name: (p.shape, str(p.dtype).lower()) for p in real.get_parameters()}
        stated = {n: (v.shape, str(v.dtype)) for n, v in own.parameters_dict().items()}
        assert names == stated, (names, stated)
        assert [p.name for p in real.trainable_params()] == own.trainable_params()
        for key, value in own.state.items():
            assert (getattr(real, key).asnumpy() == value).all()
    for count in (-1, "a", 2.5, True, None):
        assert raised(theirs, count) is raised(ours, count), count
    for shape in ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2), (2, 3, 2, 2, 2)):
        x = np.ones(shape, np.float32)
        refused = raised(theirs(3)._check_input_dim, ms.Tensor(x))
        assert refused is raised(ours(3), x), shape


class Net(ms.nn.Cell):
    """A model with norms of both kinds."""

    def __init__(self):
        super().__init__()
        self.bn1 = mint.nn.BatchNorm2d(3, eps=0.25, momentum=0.2).set_train()
        self.bn2 = ms.nn.BatchNorm2d(3, momentum=0.7)


net = Net()
net.bn1.running_mean.set_data(ms.Tensor(np.full(3, 5, np.float32)))
found = bn.read(net)
assert [layer.FRAMEWORK for layer in found.values()] == ["mint", "mindspore"]
assert (found["bn1"].eps, found["bn1"].momentum, found["bn1"].training) == (0.25, 0.2, True)
assert found["bn1"].running_mean.tolist() == [5, 5, 5]
assert bn.read(net.bn1).FRAMEWORK == "mint"
print("as declared")

sync = forms(find("mint"))["SyncBatchNorm"]
assert [name for name, *_ in parameters(mint.nn.SyncBatchNorm.__init__)] == list(sync.parameters)
assert bn.read(mint.nn.SyncBatchNorm(3, momentum=0.3)).momentum == 0.3
