"""Ports as people write them, by hand, in another net each: a source, its port and its faults.

Each function gives a source, a port, a batch in the source's layout, and by cause the source's
layers that it is to be named on. Not here: nets built from one description (`built_nets.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def batch(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.2, 1.1, shape).astype(np.float32)


def trained(net, x, steps=4):
    """With running statistics that are not a new layer's, nor the batch's."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():
        for _ in range(steps):
            net(torch.from_numpy(x) * 1.3 + 0.1 * torch.randn(x.shape))
    return net


def array(tensor):
    return tensor.detach().numpy()


def to_keras(port, source, **spelled):
    """Weights by name, `a.b` as `a_b`."""
    import keras
    import tf_keras

    for layer in port.layers:
        if not layer.weights:
            continue
        own = source.get_submodule(spelled.get(layer.name, layer.name.replace("_", ".")))
        if isinstance(own, nn.modules.batchnorm._BatchNorm):
            values = [own.weight, own.bias, own.running_mean, own.running_var]
            layer.set_weights([array(v) for v in values])
            continue
        kernel = array(own.weight)
        space = tuple(range(2, kernel.ndim))
        deep = isinstance(layer, keras.layers.DepthwiseConv2D | tf_keras.layers.DepthwiseConv2D)
        kernel = kernel.transpose(*space, 0, 1) if deep else kernel.transpose(*space, 1, 0)
        layer.set_weights([kernel] + ([] if own.bias is None else [array(own.bias)]))
    return port


def to_mindspore(port, source):
    """Weights by the same names."""
    import mindspore as ms

    spelled = {"moving_mean": "running_mean", "moving_variance": "running_var",
               "gamma": "weight", "beta": "bias"}  # fmt: skip
    state = source.state_dict()
    for parameter in port.get_parameters():
        path, _, leaf = parameter.name.rpartition(".")
        value = state[f"{path}.{spelled.get(leaf, leaf)}"].numpy()
        parameter.set_data(ms.Tensor(value.reshape(parameter.shape)))
    return port.set_train()


# --------------------------------------------------------------- 1: digits, a head of dense layers


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 12, 3), nn.BatchNorm2d(12)
        self.fc1, self.norm3 = nn.Linear(12 * 4 * 4, 20), nn.BatchNorm1d(20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.relu(self.norm2(self.conv2(x)))
        return self.fc2(torch.tanh(self.norm3(self.fc1(x.flatten(1)))))


def digits():
    """MindSpore pads unless it is told not to; the dense head's momentum is torch's."""
    import mindspore as ms
    from mindspore import nn as msnn
    from mindspore import ops

    class Net(msnn.Cell):
        def __init__(self):
            super().__init__()
            self.conv1 = msnn.Conv2d(1, 6, 5, pad_mode="valid", has_bias=True)
            self.norm1 = msnn.BatchNorm2d(6)
            self.conv2 = msnn.Conv2d(6, 12, 3, pad_mode="valid", has_bias=True)
            self.norm2 = msnn.BatchNorm2d(12)
            self.fc1, self.fc2 = msnn.Dense(12 * 4 * 4, 20), msnn.Dense(20, 10)
            self.norm3 = msnn.BatchNorm1d(20, momentum=0.1)
            self.pool = msnn.MaxPool2d(2, 2)

        def construct(self, x):
            x = self.pool(ops.relu(self.norm1(self.conv1(x))))
            x = ops.relu(self.norm2(self.conv2(x)))
            return self.fc2(ops.tanh(self.norm3(self.fc1(ops.flatten(x)))))

    x = batch(8, 1, 16, 16)
    source = trained(Digits(), x)
    port = to_mindspore(Net(), source)
    port.norm1.moving_variance.set_data(ms.Tensor(np.ones(6, np.float32)))
    port.norm1.moving_mean.set_data(ms.Tensor(np.zeros(6, np.float32)))
    return source, port, x, {"momentum-inverted": ["norm3"], "statistics-not-loaded": ["norm1"]}


# ----------------------------------------------------------- 2: fire modules, joined by channels


class Fire(nn.Module):
    def __init__(self, c, s, e):
        super().__init__()
        self.squeeze, self.bn = nn.Conv2d(c, s, 1), nn.BatchNorm2d(s)
        self.e1, self.bn1 = nn.Conv2d(s, e, 1), nn.BatchNorm2d(e)
        self.e3, self.bn3 = nn.Conv2d(s, e, 3, padding=1), nn.BatchNorm2d(e)

    def forward(self, x):
        x = F.relu(self.bn(self.squeeze(x)))
        return torch.cat([F.relu(self.bn1(self.e1(x))), F.relu(self.bn3(self.e3(x)))], 1)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.f1, self.f2 = Fire(8, 4, 6), Fire(12, 4, 6)
        self.head = nn.Conv2d(12, 5, 1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 3, 2)
        return F.relu(self.head(self.f2(self.f1(x)))).mean((2, 3))


def keras_squeeze(keras, epsilon, first, momentum=0.9):
    layers = keras.layers

    def norm(name, epsilon=1e-5):
        return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)

    def fire(x, name, s, e, swap):
        x = layers.ReLU()(norm(f"{name}_bn")(layers.Conv2D(s, 1, name=f"{name}_squeeze")(x)))
        a = layers.ReLU()(norm(f"{name}_bn1")(layers.Conv2D(e, 1, name=f"{name}_e1")(x)))
        b = layers.Conv2D(e, 3, padding="same", name=f"{name}_e3")(x)
        b = layers.ReLU()(norm(f"{name}_bn3", epsilon)(b))
        return layers.Concatenate()([b, a] if swap else [a, b])

    start = layers.Input((33, 33, 3))
    x = layers.Conv2D(8, 3, 2, name="stem")(start)
    x = layers.MaxPooling2D(3, 2)(layers.ReLU()(norm("norm")(x)))
    x = fire(fire(x, "f1", 4, 6, first), "f2", 4, 6, False)
    x = layers.Conv2D(5, 1, activation="relu", name="head")(x)
    return keras.Model(start, layers.GlobalAveragePooling2D()(x))


def squeeze():
    """Two branches joined in the other order; an epsilon left at Keras' default."""
    import keras

    x = batch(4, 3, 33, 33)
    source = trained(Squeeze(), x)
    port = to_keras(keras_squeeze(keras, 1e-3, True), source)
    return source, port, x, {"input-permuted": ["f2.squeeze"],
                             "epsilon-differs": ["f1.bn3", "f2.bn3"]}  # fmt: skip


# ------------------------------------------------------------ 3: groups whose channels are shuffled


class Shuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.an = nn.Conv2d(4, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.b, self.bn = nn.Conv2d(12, 12, 1, groups=3, bias=False), nn.BatchNorm2d(12)
        self.c = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.cn = nn.BatchNorm2d(12)
        self.out = nn.Linear(12, 4)

    def forward(self, x):
        x = F.relu(self.an(self.a(x)))
        y = F.relu(self.bn(self.b(x)))
        n, c, h, w = y.shape
        y = y.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.out(F.relu(x + self.cn(self.c(y))).mean((2, 3)))


def shuffle():
    """The shuffle's two axes are exchanged, and a layer is frozen."""
    from mindspore import nn as msnn
    from mindspore import ops

    class Net(msnn.Cell):
        def __init__(self):
            super().__init__()
            self.a, self.an = msnn.Conv2d(4, 12, 1), msnn.BatchNorm2d(12)
            self.b, self.bn = msnn.Conv2d(12, 12, 1, group=3), msnn.BatchNorm2d(12)
            self.c = msnn.Conv2d(12, 12, 3, group=12)
            self.cn = msnn.BatchNorm2d(12, use_batch_statistics=False)
            self.out = msnn.Dense(12, 4)

        def construct(self, x):
            x = ops.relu(self.an(self.a(x)))
            y = ops.relu(self.bn(self.b(x)))
            n, c, h, w = y.shape
            y = y.reshape(n, c // 3, 3, h, w).swapaxes(1, 2).reshape(n, c, h, w)
            return self.out(ops.relu(x + self.cn(self.c(y))).mean((2, 3)))

    x = batch(6, 4, 9, 9)
    source = trained(Shuffle(), x)
    return source, to_mindspore(Net(), source), x, {"input-permuted": ["c"],
                                                    "mode-differs": ["cn"]}  # fmt: skip


# ------------------------------------------------------------- 4: squeeze and excitation


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)
        self.last, self.lastn = nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)

    def forward(self, x):
        x = F.silu(self.norm(self.conv(x)))
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return F.silu(self.lastn(self.last(x * gate[:, :, None, None]))).mean((2, 3))


def keras_gated(gate, momentum, pads):
    import keras

    layers = keras.layers
    start = layers.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(start)
    x = layers.BatchNormalization(momentum=momentum, epsilon=1e-5, name="norm")(x)
    x = layers.Activation("silu")(x)
    g = layers.Dense(4, activation="relu", name="down")(layers.GlobalAveragePooling2D()(x))
    g = layers.Dense(8, activation=gate, name="up")(g)
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(g)])
    if pads:
        x = layers.Conv2D(6, 3, 2, "same", name="last")(x)
    else:
        x = layers.Conv2D(6, 3, 2, name="last")(layers.ZeroPadding2D(1)(x))
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="lastn")(x)
    return keras.Model(start, layers.GlobalAveragePooling2D()(layers.Activation("silu")(x)))


def gated():
    """A stride-2 convolution padded "same", and Keras' default momentum."""
    x = batch(6, 3, 12, 12)
    source = trained(Gated(), x)
    port = to_keras(keras_gated("sigmoid", 0.99, True), source)
    return source, port, x, {"padding-differs": ["last"], "momentum-differs": ["norm"]}


def wrong_gate():
    """A hard sigmoid in the gate: what is multiplied isn't watched, so the input differs."""
    x = batch(6, 3, 12, 12)
    source = trained(Gated(), x)
    port = to_keras(keras_gated("hard_sigmoid", 0.9, False), source)
    return source, port, x, {"input-differs": ["last"]}


# ------------------------------------------------------------- 5: down, up, and joined again


class Up(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.n1 = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.d2, self.n2 = nn.Conv2d(6, 10, 3, padding=1), nn.BatchNorm2d(10)
        self.up = nn.ConvTranspose2d(10, 6, 2, stride=2)
        self.u1, self.n3 = nn.Conv2d(12, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.out = nn.Conv2d(6, 1, 1)

    def forward(self, x):
        a = F.relu(self.n1(self.d1(x)))
        b = F.relu(self.n2(self.d2(F.max_pool2d(a, 2))))
        x = torch.cat([a, self.up(b)], 1)
        return self.out(F.relu(self.n3(self.u1(x))))


def unet():
    """Gamma and beta have been loaded into each other; one bias has not been loaded."""
    import mindspore as ms
    from mindspore import nn as msnn
    from mindspore import ops

    def conv(i, o, k):
        return msnn.Conv2d(i, o, k, pad_mode="pad", padding=k // 2, has_bias=True)

    class Net(msnn.Cell):
        def __init__(self):
            super().__init__()
            self.d1, self.n1 = conv(2, 6, 3), msnn.BatchNorm2d(6)
            self.d2, self.n2 = conv(6, 10, 3), msnn.BatchNorm2d(10)
            self.up = msnn.Conv2dTranspose(10, 6, 2, 2, pad_mode="valid", has_bias=True)
            self.u1, self.n3 = conv(12, 6, 3), msnn.BatchNorm2d(6)
            self.out = conv(6, 1, 1)
            self.pool = msnn.MaxPool2d(2, 2)

        def construct(self, x):
            a = ops.relu(self.n1(self.d1(x)))
            b = ops.relu(self.n2(self.d2(self.pool(a))))
            x = ops.concat([a, self.up(b)], 1)
            return self.out(ops.relu(self.n3(self.u1(x))))

    x = batch(4, 2, 12, 12)
    source = trained(Up(), x)
    port = to_mindspore(Net(), source)
    gamma, beta = port.n2.gamma.asnumpy(), port.n2.beta.asnumpy()
    port.n2.gamma.set_data(ms.Tensor(beta))
    port.n2.beta.set_data(ms.Tensor(gamma))
    port.u1.bias.set_data(ms.Tensor(np.zeros(6, np.float32)))
    return source, port, x, {"gamma-beta-swapped": ["n2"], "bias-differs": ["u1"]}


# ------------------------------------------------------------- 6: signals of one dimension


class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv1d(2, 6, 7, stride=2, padding=3), nn.BatchNorm1d(6)
        self.c2, self.b2 = nn.Conv1d(6, 8, 5, padding=2), nn.BatchNorm1d(8, momentum=0.05)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = F.leaky_relu(self.b1(self.c1(x)), 0.2)
        return self.fc(F.leaky_relu(self.b2(self.c2(x)), 0.2).mean(2))


def signal():
    """Keras 2: a slope left at its default, and the variance stored as a standard deviation."""
    import tf_keras as keras

    layers = keras.layers
    start = layers.Input((40, 2))
    x = batch(6, 2, 40)
    source = trained(Signal(), x)
    y = layers.Conv1D(6, 7, 2, name="c1")(layers.ZeroPadding1D(3)(start))
    y = layers.LeakyReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="b1")(y))
    y = layers.Conv1D(8, 5, padding="same", name="c2")(y)
    y = layers.BatchNormalization(momentum=0.95, epsilon=1e-5, name="b2")(y)
    y = layers.GlobalAveragePooling1D()(layers.LeakyReLU(0.2)(y))
    port = to_keras(keras.Model(start, layers.Dense(3, name="fc")(y)), source)
    gamma, beta, mean, var = port.get_layer("b2").get_weights()
    port.get_layer("b2").set_weights([gamma, beta, mean, np.sqrt(var)])
    return source, port, x, {"activation-differs": ["c2"], "variance-is-std": ["b2"]}


# ------------------------------------------------------------- 7: volumes


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv3d(1, 4, 3, padding=1, bias=False), nn.BatchNorm3d(4)
        self.c2, self.b2 = nn.Conv3d(4, 6, 3, stride=2, padding=1), nn.BatchNorm3d(6)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        x = F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))))
        return self.fc(x.mean((2, 3, 4)))


def volume():
    """A kernel with its spatial axes reversed, and an epsilon added to the variance."""
    import keras

    layers = keras.layers
    start = layers.Input((6, 8, 8, 1))
    x = layers.Conv3D(4, 3, padding="same", use_bias=False, name="c1")(start)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="b1")(x))
    x = layers.Conv3D(6, 3, 2, name="c2")(layers.ZeroPadding3D(1)(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="b2")(x))
    port = keras.Model(start, layers.Dense(2, name="fc")(layers.GlobalAveragePooling3D()(x)))
    x = batch(4, 1, 6, 8, 8)
    source = trained(Volume(), x)
    to_keras(port, source)
    kernel, bias = port.get_layer("c2").get_weights()
    port.get_layer("c2").set_weights([kernel[::-1, ::-1, ::-1], bias])
    gamma, beta, mean, var = port.get_layer("b1").get_weights()
    port.get_layer("b1").set_weights([gamma, beta, mean, var + 1e-3])
    return source, port, x, {"kernel-transposed": ["c2"], "variance-shifted": ["b1"]}


# ------------------------------------------------------------- 8: rows of numbers


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.n0 = nn.BatchNorm1d(7)
        self.l1, self.n1 = nn.Linear(7, 16), nn.BatchNorm1d(16)
        self.l2, self.n2 = nn.Linear(16, 16), nn.BatchNorm1d(16)
        self.l3 = nn.Linear(16, 1)

    def forward(self, x):
        x = F.elu(self.n1(self.l1(self.n0(x))))
        return self.l3(F.dropout(F.elu(self.n2(self.l2(x))), 0.3, self.training))


def rows():
    """Two layers of one size have each other's values; a layer never learns its statistics."""
    import keras

    layers = keras.layers
    start = layers.Input((7,))

    def norm(name, **options):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, **options)

    x = layers.Dense(16, name="l1")(norm("n0", trainable=False)(start))
    x = layers.Dense(16, name="l2")(layers.ELU()(norm("n1")(x)))
    x = layers.Dropout(0.3)(layers.ELU()(norm("n2")(x)))
    port = keras.Model(start, layers.Dense(1, name="l3")(x))
    x = batch(32, 7)
    source = trained(Rows(), x)
    to_keras(port, source, n1="n2", n2="n1")
    return source, port, x, {"wrong-layer": ["n1", "n2"], "mode-differs": ["n0"]}


# ------------------------------------------------------------- 9: activations first


class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.n1, self.c1 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.last, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.c1(F.relu(self.n1(x)))
        x = x + self.c2(F.relu(self.n2(y)))
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


def first():
    """The shortcut starts behind the activation; epsilon as in TensorFlow's models."""
    from mindspore import nn as msnn
    from mindspore import ops

    def conv(i, o):
        return msnn.Conv2d(i, o, 3, pad_mode="same")

    class Net(msnn.Cell):
        def __init__(self):
            super().__init__()
            self.stem, self.c1, self.c2 = conv(3, 8), conv(8, 8), conv(8, 8)
            self.n1, self.n2 = msnn.BatchNorm2d(8), msnn.BatchNorm2d(8, eps=1e-3)
            self.last, self.fc = msnn.BatchNorm2d(8), msnn.Dense(8, 4)

        def construct(self, x):
            x = ops.relu(self.n1(self.stem(x)))
            x = x + self.c2(ops.relu(self.n2(self.c1(x))))
            return self.fc(ops.relu(self.last(x)).mean((2, 3)))

    x = batch(8, 3, 10, 10)
    source = trained(First(), x)
    return source, to_mindspore(Net(), source), x, {"input-differs": ["last"],
                                                    "epsilon-differs": ["n2"]}  # fmt: skip


# ------------------------------------------------------------- 10: one layer for two images


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.fc, self.norm2 = nn.Linear(6, 5), nn.BatchNorm1d(5)

    def one(self, x):
        return self.norm2(self.fc(F.relu(self.norm(self.conv(x))).mean((2, 3))))

    def forward(self, x):
        return (self.one(x) - self.one(x.flip(3))).abs()


def twins():
    """The layer that both images go through moves by the wrong share."""
    from mindspore import nn as msnn
    from mindspore import ops

    class Net(msnn.Cell):
        def __init__(self):
            super().__init__()
            self.conv = msnn.Conv2d(3, 6, 3, pad_mode="valid", has_bias=True)
            self.norm = msnn.BatchNorm2d(6, momentum=0.1)
            self.fc, self.norm2 = msnn.Dense(6, 5), msnn.BatchNorm1d(5)

        def one(self, x):
            return self.norm2(self.fc(ops.relu(self.norm(self.conv(x))).mean((2, 3))))

        def construct(self, x):
            return ops.abs(self.one(x) - self.one(ops.flip(x, (3,))))

    x = batch(8, 3, 10, 10)
    source = trained(Twins(), x)
    port = to_mindspore(Net(), source)
    return source, port, x, {"momentum-inverted": ["norm"]}


# ------------------------------------------------------------- 11: images told apart, from Keras


def judge():
    """From Keras to torch: momentum copied, and a convolution that isn't padded like "same"."""
    import keras

    layers = keras.layers
    start = layers.Input((16, 16, 3))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(6, 4, 2, "same", name="c1")(start))
    x = layers.Conv2D(10, 4, 2, "same", use_bias=False, name="c2")(x)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization(momentum=0.8, name="n2")(x))
    x = layers.Conv2D(12, 3, 2, "same", use_bias=False, name="c3")(x)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization(momentum=0.8, name="n3")(x))
    source = keras.Model(start, layers.Dense(1, name="fc")(layers.GlobalAveragePooling2D()(x)))
    draw = np.random.default_rng(3)
    for name in ("n2", "n3"):
        layer = source.get_layer(name)
        c = layer.gamma.shape[0]
        layer.set_weights([draw.uniform(0.5, 1.5, c), draw.normal(0, 0.3, c),
                           draw.normal(0, 0.2, c), draw.uniform(0.3, 2, c)])  # fmt: skip

    class Port(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1 = nn.Conv2d(3, 6, 4, 2, 1)
            self.c2, self.n2 = nn.Conv2d(6, 10, 4, 2, 1, bias=False), nn.BatchNorm2d(10, 1e-3, 0.8)
            self.c3 = nn.Conv2d(10, 12, 3, 2, 1, bias=False)
            self.n3, self.fc = nn.BatchNorm2d(12, 1e-3, 0.2), nn.Linear(12, 1)

        def forward(self, x):
            x = F.leaky_relu(self.c1(x), 0.2)
            x = F.leaky_relu(self.n2(self.c2(x)), 0.2)
            return self.fc(F.leaky_relu(self.n3(self.c3(x)), 0.2).mean((2, 3)))

    port = Port()
    with torch.no_grad():
        for name, module in port.named_children():
            values = [torch.from_numpy(np.array(w)) for w in source.get_layer(name).get_weights()]
            if name.startswith("n"):
                own = [module.weight, module.bias, module.running_mean, module.running_var]
            else:
                axes = (1, 0) if name == "fc" else (3, 2, 0, 1)
                values[0] = values[0].permute(*axes)
                own = [module.weight, module.bias][: len(values)]
            for parameter, value in zip(own, values, strict=True):
                parameter.copy_(value)
    x = np.moveaxis(batch(6, 3, 16, 16), 1, -1).copy()
    return source, port, x, {"momentum-inverted": ["n2"], "padding-differs": ["c3"]}


PORTS = (digits, squeeze, shuffle, gated, wrong_gate, unet, signal, volume, rows, first, twins,
         judge)  # fmt: skip
