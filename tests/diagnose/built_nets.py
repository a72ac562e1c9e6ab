"""Small nets written once and built in each framework: a port is the source, or has faults.

An operation is (name, kind, inputs, options); the batch is called "input". Parameters are by the
operation's name, kernels as (out, in, ...). A fault is a change of options or of parameters before
the port is built, so that a faultless port is built from the very same net.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Net:
    """Operations in order, and their parameters by name and role."""

    operations: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = field(default_factory=list)
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    shape: tuple[int, ...] = (4, 3, 16, 16)
    seed: int = 0

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)
        self.channels = {"input": self.shape[1]}
        self.last = "input"

    def add(self, name, kind, *of, **options):
        of = of or (self.last,)
        channels = self.channels[of[0]]
        draw = self.random
        if kind in ("conv", "dense"):
            out, groups = options["out"], options.get("groups", 1)
            inside = channels // groups
            k = (options["kernel"],) * 2 if kind == "conv" else ()
            scale = (inside * int(np.prod(k))) ** -0.5
            own = {"kernel": draw.normal(0, scale, (out, inside, *k))}
            if options.get("bias", kind == "dense"):
                own["bias"] = draw.normal(0, 0.1, out)
            self.parameters[name] = own
            channels = out
        elif kind == "bn":
            self.parameters[name] = {
                "gamma": draw.uniform(0.5, 1.5, channels),
                "beta": draw.normal(0, 0.3, channels),
                "running_mean": draw.normal(0, 0.3, channels),
                "running_var": draw.uniform(0.4, 2.0, channels),
            }
        elif kind == "concat":
            channels = sum(self.channels[name] for name in of)
        for own in self.parameters.values():
            for role, value in own.items():
                own[role] = np.float32(value)
        self.operations.append((name, kind, of, options))
        self.channels[name] = channels
        self.last = name
        return name

    def conv_bn(self, name, out, kernel=3, act="relu", of=None, **options):
        given = () if of is None else (of,)
        self.add(f"{name}.conv", "conv", *given, out=out, kernel=kernel, **options)
        self.add(f"{name}.bn", "bn")
        if act:
            self.add(f"{name}.act", "act", function=act)
        return self.last

    def head(self, classes=5):
        self.add("pool", "mean")
        self.add("classifier", "dense", out=classes)
        return self

    def port(self):
        return copy.deepcopy(self)

    def options(self, name):
        return next(options for n, _, _, options in self.operations if n == name)

    def last_uses(self, name):
        """The values that nobody needs after an operation."""
        last = {value: n for n, _, inputs, _ in self.operations for value in inputs}
        return [value for value, n in last.items() if n == name]

    def norms(self):
        return [name for name, kind, _, _ in self.operations if kind == "bn"]

    def batch(self, seed=1):
        draw = np.random.default_rng(seed)
        return np.float32(draw.normal(0.2, 1.0, self.shape))


def padded(options):
    """(before, after) of a convolution: explicit, "same", or half the kernel."""
    padding = options.get("padding")
    if padding is None:
        n = (options["kernel"] - 1) // 2
        return (n, n)
    return padding


# ------------------------------------------------------------------------------------- torch


def torch_net(net):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            for name, kind, of, o in net.operations:
                if kind == "conv":
                    p = padded(o)
                    layer = nn.Conv2d(
                        net.channels[of[0]], o["out"], o["kernel"], o.get("stride", 1),
                        padding=p[0] if p != "same" and p[0] == p[1] else 0,
                        groups=o.get("groups", 1), bias=o.get("bias", False),
                    )  # fmt: skip
                elif kind == "dense":
                    layer = nn.Linear(net.channels[of[0]], o["out"])
                elif kind == "bn":
                    layer = nn.BatchNorm2d(
                        net.channels[of[0]], o.get("epsilon", 1e-5), o.get("factor", 0.1)
                    )
                else:
                    continue
                parent = self
                *path, leaf = name.split(".")
                for part in path:
                    if not hasattr(parent, part):
                        parent.add_module(part, nn.Module())
                    parent = getattr(parent, part)
                parent.add_module(leaf, layer)
            with torch.no_grad():
                for name, own in net.parameters.items():
                    layer = self.get_submodule(name)
                    for role, value in own.items():
                        spelled = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
                        target = getattr(layer, spelled.get(role, role))
                        target.copy_(torch.from_numpy(value))

        def forward(self, x):
            values = {"input": x}
            for name, kind, of, o in net.operations:
                a = values[of[0]]
                if kind in ("conv", "bn", "dense"):
                    if kind == "conv" and (padded(o) == "same" or padded(o)[0] != padded(o)[1]):
                        lows = _same(a.shape[2:], o)
                        a = F.pad(a, (*lows[1], *lows[0]))
                    y = self.get_submodule(name)(a)
                elif kind == "act":
                    f = o["function"]
                    y = {"relu": F.relu, "relu6": F.relu6, "silu": F.silu,
                         "gelu": F.gelu, "leaky": lambda t: F.leaky_relu(t, 0.1),
                         "none": lambda t: t}[f](a)  # fmt: skip
                elif kind == "add":
                    y = a + values[of[1]]
                elif kind == "concat":
                    y = torch.cat([values[n] for n in of], 1)
                elif kind == "max":
                    y = F.max_pool2d(a, o.get("kernel", 2), o.get("stride", 2), o.get("pad", 0))
                elif kind == "average":
                    y = F.avg_pool2d(a, 2)
                elif kind == "mean":
                    y = a.mean((2, 3))
                elif kind == "affine":
                    y = a * o.get("scale", 1.0) + o.get("shift", 0.0)
                elif kind == "reverse":
                    y = a.flip(1)
                elif kind == "dropout":
                    y = F.dropout(a, 0.5, self.training)
                values[name] = y
                for used in net.last_uses(name):
                    del values[used]
            return y

    return Model()


def _same(sizes, o):
    padding = padded(o)
    if padding != "same":
        return [padding, padding]
    pairs = []
    for n in sizes:
        s, k = o.get("stride", 1), o["kernel"]
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


# --------------------------------------------------------------------------------- mindspore


def mindspore_net(net):
    import mindspore as ms
    from mindspore import nn, ops

    class Model(nn.Cell):
        def __init__(self):
            super().__init__()
            self.byname = {}
            for name, kind, of, o in net.operations:
                if kind == "conv":
                    p = padded(o)
                    pads = (
                        {"pad_mode": "same"}
                        if p == "same"
                        else {"pad_mode": "pad", "padding": (p[0], p[1], p[0], p[1])}
                    )
                    layer = nn.Conv2d(
                        net.channels[of[0]], o["out"], o["kernel"], o.get("stride", 1),
                        group=o.get("groups", 1), has_bias=o.get("bias", False), **pads,
                    )  # fmt: skip
                elif kind == "dense":
                    layer = nn.Dense(net.channels[of[0]], o["out"])
                elif kind == "bn":
                    layer = nn.BatchNorm2d(
                        net.channels[of[0]], o.get("epsilon", 1e-5), 1 - o.get("factor", 0.1)
                    )
                else:
                    continue
                setattr(self, name.replace(".", "_"), layer)
                self.byname[name] = layer
            for name, own in net.parameters.items():
                layer = self.byname[name]
                for role, value in own.items():
                    spelled = {"kernel": "weight", "running_mean": "moving_mean",
                               "running_var": "moving_variance"}  # fmt: skip
                    getattr(layer, spelled.get(role, role)).set_data(ms.Tensor(value))
            self.relu, self.relu6 = nn.ReLU(), nn.ReLU6()
            self.pools = {
                name: nn.MaxPool2d(o.get("kernel", 2), o.get("stride", 2), padding=o.get("pad", 0),
                                   pad_mode="pad" if o.get("pad") else "valid")
                for name, kind, _, o in net.operations if kind == "max"
            }  # fmt: skip

        def construct(self, x):
            values = {"input": x}
            for name, kind, of, o in net.operations:
                a = values[of[0]]
                if kind in ("conv", "bn", "dense"):
                    y = self.byname[name](a)
                elif kind == "act":
                    f = o["function"]
                    y = {"relu": self.relu, "relu6": self.relu6,
                         "silu": lambda t: ops.Mul()(t, ops.Sigmoid()(t)),
                         "gelu": lambda t: ops.gelu(t, approximate="none"),
                         "leaky": nn.LeakyReLU(0.1), "none": lambda t: t}[f](a)  # fmt: skip
                elif kind == "add":
                    y = ops.Add()(a, values[of[1]])
                elif kind == "concat":
                    y = ops.concat([values[n] for n in of], 1)
                elif kind == "max":
                    y = self.pools[name](a)
                elif kind == "average":
                    y = nn.AvgPool2d(2, 2)(a)
                elif kind == "mean":
                    y = ops.flatten(nn.AvgPool2d(a.shape[2:])(a))
                elif kind == "affine":
                    y = a * o.get("scale", 1.0) + o.get("shift", 0.0)
                elif kind == "reverse":
                    y = ops.ReverseV2([1])(a)
                elif kind == "dropout":
                    y = a
                values[name] = y
                for used in net.last_uses(name):
                    del values[used]
            return y

    return Model()


# ------------------------------------------------------------------------------------- keras


def keras_net(net, keras=None):
    if keras is None:
        import keras
    layers = keras.layers
    _n, c, h, w = net.shape
    start = layers.Input((h, w, c))
    values, made = {"input": start}, {}
    for name, kind, of, o in net.operations:
        a = values[of[0]]
        spelled = name.replace(".", "_")
        if kind == "conv":
            p, extra = padded(o), o.get("groups", 1)
            if p not in ("same", (0, 0)):
                a = layers.ZeroPadding2D((p, p))(a)
            options = {"strides": o.get("stride", 1), "use_bias": o.get("bias", False),
                       "padding": "same" if p == "same" else "valid", "name": spelled}  # fmt: skip
            if extra > 1 and extra == a.shape[-1]:
                made[name] = layers.DepthwiseConv2D(o["kernel"], **options)
            else:
                made[name] = layers.Conv2D(o["out"], o["kernel"], groups=extra, **options)
            y = made[name](a)
        elif kind == "bn":
            made[name] = layers.BatchNormalization(
                momentum=1 - o.get("factor", 0.1), epsilon=o.get("epsilon", 1e-5), name=spelled
            )
            y = made[name](a)
        elif kind == "dense":
            made[name] = layers.Dense(o["out"], name=spelled)
            y = made[name](a)
        elif kind == "act":
            f = o["function"]
            y = a if f == "none" else (
                layers.ReLU(6.0)(a) if f == "relu6"
                else layers.LeakyReLU(0.1)(a) if f == "leaky" else layers.Activation(f)(a)
            )  # fmt: skip
        elif kind == "add":
            y = layers.Add()([a, values[of[1]]])
        elif kind == "concat":
            y = layers.Concatenate()([values[n] for n in of])
        elif kind == "max":
            if o.get("pad"):
                a = layers.ZeroPadding2D(o["pad"])(a)
            y = layers.MaxPooling2D(o.get("kernel", 2), o.get("stride", 2))(a)
        elif kind == "average":
            y = layers.AveragePooling2D(2)(a)
        elif kind == "mean":
            y = layers.GlobalAveragePooling2D()(a)
        elif kind == "affine":
            y = layers.Rescaling(o.get("scale", 1.0), o.get("shift", 0.0))(a)
        elif kind == "reverse":
            y = layers.Lambda(lambda t: t[..., ::-1])(a)
        elif kind == "dropout":
            y = layers.Dropout(0.5)(a)
        values[name] = y
    model = keras.Model(start, y)
    for name, own in net.parameters.items():
        layer, kernel = made[name], own.get("kernel")
        if kernel is not None and kernel.ndim == 4:
            deep = type(layer).__name__.startswith("Depthwise")
            kernel = kernel.transpose(2, 3, 0, 1) if deep else kernel.transpose(2, 3, 1, 0)
        elif kernel is not None:
            kernel = kernel.T
        roles = {"gamma", "beta", "running_mean", "running_var"}
        if roles & set(own):
            layer.set_weights([own[r] for r in ("gamma", "beta", "running_mean", "running_var")])
        else:
            layer.set_weights([kernel] + ([own["bias"]] if "bias" in own else []))
    return model


def tf_keras_net(net):
    import tf_keras

    return keras_net(net, tf_keras)


BUILD = {
    "torch": torch_net,
    "mindspore": mindspore_net,
    "keras": keras_net,
    "tf_keras": tf_keras_net,
}


def plain(act="relu", **options):
    net = Net(**options)
    net.conv_bn("a", 8, act=act, bias=True)
    net.conv_bn("b", 8, stride=2, act=act)
    net.conv_bn("c", 12, act=act)
    return net.head()


def resnet(seed=0, shape=(4, 3, 16, 16), w=8):
    net = Net(shape=shape, seed=seed)
    net.conv_bn("stem", w)
    for i, (c, s) in enumerate([(w, 1), (w * 2, 2), (w * 2, 1)]):
        a = net.last
        net.conv_bn(f"layer{i}.0", c, stride=s)
        net.conv_bn(f"layer{i}.1", c, act=None)
        b = net.last
        if s > 1 or net.channels[a] != c:
            net.conv_bn(f"layer{i}.down", c, kernel=1, act=None, of=a, stride=s)
            a = net.last
        net.add(f"layer{i}.sum", "add", b, a)
        net.add(f"layer{i}.act", "act", function="relu")
    return net.head()


def resnet50(seed=0, shape=(2, 3, 64, 64)):
    net = Net(shape=shape, seed=seed)
    net.conv_bn("stem", 64, kernel=7, stride=2)
    net.add("stem.pool", "max", kernel=3, stride=2, pad=1)
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for i in range(blocks):
            name, a, stride = f"layer{stage}.{i}", net.last, 2 if stage and not i else 1
            net.conv_bn(f"{name}.0", width, kernel=1)
            net.conv_bn(f"{name}.1", width, stride=stride)
            net.conv_bn(f"{name}.2", 4 * width, kernel=1, act=None)
            b = net.last
            if not i:
                net.conv_bn(f"{name}.down", 4 * width, kernel=1, act=None, of=a, stride=stride)
                a = net.last
            net.add(f"{name}.sum", "add", b, a)
            net.add(f"{name}.act", "act", function="relu")
    return net.head(1000)


def mobile(seed=0):
    net = Net(shape=(4, 3, 16, 16), seed=seed)
    net.conv_bn("stem", 8, act="relu6", stride=2)
    for i, (c, s) in enumerate([(8, 1), (12, 2), (12, 1)]):
        a = net.last
        k = net.channels[a]
        net.conv_bn(f"b{i}.expand", k * 4, kernel=1, act="relu6")
        net.conv_bn(f"b{i}.deep", k * 4, act="relu6", groups=k * 4, stride=s)
        net.conv_bn(f"b{i}.project", c, kernel=1, act=None)
        if k == c and s == 1:
            net.add(f"b{i}.sum", "add", net.last, a)
    return net.head()


def vgg(seed=0):
    net = Net(shape=(4, 3, 16, 16), seed=seed)
    net.conv_bn("a", 8, bias=True)
    net.conv_bn("b", 8, bias=True)
    net.add("p1", "max")
    net.conv_bn("c", 16, bias=True)
    net.add("p2", "max")
    net.conv_bn("d", 16, bias=True)
    return net.head()
