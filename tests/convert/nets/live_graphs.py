"""One residual net in each framework, whose layers aren't registered as they run: a run tells.

`python FILE FRAMEWORK`: its names say nothing; weights reach it from torch's, and torch's from it,
by the order of execution alone, and logits agree.
"""

import importlib
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import torch
from torch import nn

import batchnorm as bn

X = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 8)).astype("f4")
RUNS = ["stem", "stem_norm", "add", "first", "first_norm", "second", "second_norm", "head"]


class Torch(nn.Module):
    """Names by role, registered from the last to the first."""

    def __init__(self, names):
        super().__init__()
        self.names = names
        made = {
            "head": nn.Linear(8, 4),
            "second_norm": nn.BatchNorm2d(8), "first_norm": nn.BatchNorm2d(8),
            "second": nn.Conv2d(8, 8, 3, padding=1, bias=False), "stem_norm": nn.BatchNorm2d(8),
            "first": nn.Conv2d(8, 8, 3, padding=1, bias=False),
            "stem": nn.Conv2d(3, 8, 3, padding=1, bias=False),
        }  # fmt: skip
        for role, layer in made.items():
            self.add_module(names[role], layer)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 1e-3

    def forward(self, x):
        of = lambda role: getattr(self, self.names[role])  # noqa: E731
        x = torch.relu(of("stem_norm")(of("stem")(x)))
        y = torch.relu(of("first_norm")(of("first")(x)))
        x = x + of("second_norm")(of("second")(y))
        return of("head")(x.mean((2, 3)))


def mindspore_net():
    import mindspore
    from mindspore import nn as cells

    class Net(cells.Cell):
        def __init__(self):
            super().__init__()
            self.e, self.d = cells.Dense(8, 4), cells.BatchNorm2d(8, 1e-3)
            self.c, self.b = cells.BatchNorm2d(8, 1e-3), cells.BatchNorm2d(8, 1e-3)
            self.y, self.x, self.w = (
                cells.Conv2d(8, 8, 3),
                cells.Conv2d(8, 8, 3),
                cells.Conv2d(3, 8, 3),
            )
            self.relu = cells.ReLU()

        def construct(self, x):
            x = self.relu(self.b(self.w(x)))
            y = self.relu(self.c(self.x(x)))
            x = x + self.d(self.y(y))
            return self.e(x.mean((2, 3)))

    net = Net().set_train(False)

    def load(arrays):
        values = {n: mindspore.Parameter(v, name=n) for n, v in arrays.items()}
        assert mindspore.load_param_into_net(net, values, strict_load=True) == ([], [])

    return net, X, load, lambda: net(mindspore.Tensor(X)).asnumpy(), "mindspore"


def keras_net(framework):
    keras = importlib.import_module(framework)
    L = keras.layers

    class Block(L.Layer):  # its layers stand under its own name
        def __init__(self):
            super().__init__()
            self.d, self.c = L.BatchNormalization(), L.BatchNormalization()
            self.y, self.x = (L.Conv2D(8, 3, padding="same", use_bias=False) for _ in "yx")

        def call(self, x):
            y = keras.activations.relu(self.c(self.x(x), training=False))
            return x + self.d(self.y(y), training=False)

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.e, self.block, self.b = L.Dense(4), Block(), L.BatchNormalization()
            self.w, self.mean = (
                L.Conv2D(8, 3, padding="same", use_bias=False),
                L.GlobalAveragePooling2D(),
            )

        def call(self, x, training=False):
            x = keras.activations.relu(self.b(self.w(x), training=training))
            return self.e(self.mean(self.block(x)))

    net, x = Net(), np.ascontiguousarray(X.transpose(0, 2, 3, 1))
    net(x)

    def load(arrays):
        for path, array in arrays.items():
            prefix, _, leaf = path.rpartition("/")
            layer = next(one for name, one in walked(net, "") if name == prefix)
            getattr(layer, leaf).assign(array)

    return net, x, load, lambda: np.asarray(net(x)), framework


def walked(layer, path):
    yield path, layer
    for inner in layer._flatten_layers(recursive=False, include_self=False):
        yield from walked(inner, f"{path}/{inner.name}" if path else inner.name)


def torch_net():
    net = drawn(Torch(dict(zip(RUNS[:2] + RUNS[3:], "pqrstuv", strict=True))))

    def load(arrays):
        net.load_state_dict({n: torch.from_numpy(v) for n, v in arrays.items()})

    return net, X, load, lambda: net(torch.from_numpy(X)).detach().numpy(), "torch"


def drawn(net):
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if "var" in name else value.normal_(0, 0.3)
    return net.eval()


def main(framework):
    makers = {"torch": torch_net, "mindspore": mindspore_net}
    net, x, load, logits, name = makers.get(framework, lambda: keras_net(framework))()
    source = drawn(Torch({role: role for role in RUNS}))
    source.train()
    before = {n: v.clone() for n, v in source.state_dict().items()}
    graph = bn.graph(source, X)
    calls = [step.layer for step in graph.steps if step.layer in RUNS]
    assert calls == [role for role in RUNS if role != "add"], calls
    edges = set(graph.edges())
    told = {("relu", "first"), ("first", "first_norm"), ("second_norm", "add"), ("relu", "add")}
    assert told <= edges, edges
    assert "digraph" in graph.dot()
    assert repr(graph).startswith("Graph from a run of the model: 7 layers")
    assert source.training
    assert all(torch.equal(before[n], v) for n, v in source.state_dict().items())
    source.eval()

    own = bn.graph(net, x)
    assert (own.origin, len(own.layers)) == ("run", 7), own.text()
    kinds = [own.layers_of(i)[-1].kind for i in range(len(own.steps)) if own.layers_of(i)]
    assert kinds == ["kernel", "batch_norm"] * 3 + ["kernel"], own.text()

    there = bn.convert(source, like=net, batch=X, to=name)
    assert there.report.exit_code == 0, there.report.problems or there.report.doubts
    load(there.load())
    wanted = source(torch.from_numpy(X)).detach().numpy()
    assert np.abs(logits() - wanted).max() < 1e-4 * np.abs(wanted).max()
    without = bn.convert(source, like=net, to=name).report
    assert without.exit_code == 1, "registration says the reverse, or nothing"
    other = drawn(Torch({role: role for role in RUNS}))
    back = bn.convert(net, like=other, batch=x, to="torch")
    assert back.report.exit_code == 0, back.report.problems or back.report.doubts
    other.load_state_dict({n: torch.from_numpy(v) for n, v in back.load().items()})
    got = other(torch.from_numpy(X)).detach().numpy()
    assert np.abs(got - wanted).max() < 1e-4 * np.abs(wanted).max()


main(sys.argv[1])
