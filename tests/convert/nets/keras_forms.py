"""What differs in form only, between real nets of torch and Keras 3: one JSON line per check.

    python keras_forms.py FOLDER

A check is a name and by how much the outputs differ beside the largest of them, with the exit code.
"""

# ruff: noqa: E402 - the folder and the backend come before the frameworks

import json
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")
os.chdir(sys.argv[1])

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

import batchnorm as bn

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 8, 8, 3)).astype("f4")


def say(name, done, given, wanted):
    off = float(abs(given - wanted).max() / abs(wanted).max())
    left = sorted({row.layer for row in done.report.of("unused", "missing")})
    print(json.dumps({"name": name, "exit": done.report.exit_code, "off": off, "left": left}))


def stirred(model):
    for layer in model.layers:
        if layer.weights and not isinstance(layer, L.Normalization):
            layer.set_weights([
                RANDOM.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else RANDOM.normal(0, 0.4, w.shape)
                for w in layer.get_weights()
            ])  # fmt: skip
    return model


def torch_net(bias):
    net = nn.Sequential()
    net.stem, net.stem_bn = nn.Conv2d(3, 6, 3, bias=bias), nn.BatchNorm2d(6)
    net.down, net.down_bn = nn.Conv2d(6, 2, 1, bias=bias), nn.BatchNorm2d(2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 3)
    return net.eval()


def keras_net(bias, dense=False):
    given = keras.Input((8, 8, 3))
    x = L.Conv2D(6, 3, use_bias=bias, name="stem")(given)
    x = L.BatchNormalization(epsilon=1e-5, name="stem_bn")(x)
    down = L.Dense(2, name="down", use_bias=bias)
    x = down(x) if dense else L.Conv2D(2, 1, use_bias=bias, name="down")(x)
    return stirred(keras.Model(given, L.BatchNormalization(epsilon=1e-5, name="down_bn")(x)))


def of_torch(net):
    made = net(torch.tensor(X).permute(0, 3, 1, 2))
    return made.detach().numpy().transpose(0, 2, 3, 1)


for mine, theirs, dense in ((False, True, False), (True, False, False), (True, True, True)):
    torch.manual_seed(0)
    net = torch_net(mine)
    torch.save(net.state_dict(), "t.pth")
    keras_net(theirs, dense).save("k.keras")
    done = bn.convert("t.pth", "o.keras", like="k.keras", force=True)
    loaded = keras.saving.load_model("o.keras").predict(X, verbose=0)
    say(f"to keras {mine} {theirs} {dense}", done, loaded, of_torch(net))
    source = keras_net(mine, dense)
    source.save("k.keras")
    torch.save(torch_net(theirs).state_dict(), "t.pth")
    done = bn.convert("k.keras", "o.pth", like="t.pth", force=True)
    net = torch_net(theirs)
    net.load_state_dict(torch.load("o.pth"))
    say(f"to torch {mine} {theirs} {dense}", done, of_torch(net), source.predict(X, verbose=0))


def separable():
    x = given = keras.Input((8, 8, 3))
    for name, bias in (("a", False), ("b", True)):
        x = L.SeparableConv2D(6, 3, use_bias=bias, name=name)(x)
        x = L.ReLU()(L.BatchNormalization(name=f"{name}_bn")(x))
    return stirred(keras.Model(given, L.Dense(3, name="d")(L.GlobalAveragePooling2D()(x))))


a, b = separable(), separable()
a.save("a.keras")
b.save_weights("b.weights.h5")
done = bn.convert("a.keras", "o.weights.h5", like="b.weights.h5")
b.load_weights("o.weights.h5")
say("separable", done, b.predict(X, verbose=0), a.predict(X, verbose=0))


def normalized(seed):
    scaling = L.Normalization(name="normalization")
    scaling.adapt(np.random.default_rng(seed).normal(seed, 2, size=(64, 8, 8, 3)).astype("f4"))
    given = keras.Input((8, 8, 3))
    x = L.BatchNormalization(name="stem_bn")(L.Conv2D(5, 3, name="stem_conv")(scaling(given)))
    return stirred(keras.Model(given, L.Dense(3, name="d")(L.GlobalAveragePooling2D()(x))))


a, b = normalized(1), normalized(2)
a.save("a.h5")
a.save("a.keras", overwrite=True)
b.save_weights("b.weights.h5", overwrite=True)
for file in ("a.h5", "a.keras"):
    done = bn.convert(file, "o.weights.h5", like="b.weights.h5", force=True)
    b.load_weights("o.weights.h5")
    say(f"normalization {file}", done, b.predict(X, verbose=0), a.predict(X, verbose=0))
like = {"c.weight": np.ones((5, 3, 3, 3), "f4"), "c.bias": np.ones(5, "f4"),
        "f.weight": np.ones((3, 5), "f4"), "f.bias": np.ones(3, "f4"),
        **{f"n.{n}": np.ones(5, "f4") for n in ("weight", "bias", "running_mean", "running_var")},
        }  # fmt: skip
done = bn.convert("a.keras", like=like, to="torch")
carried = [row for row in done.report.rows if row.source and row.target]
say("normalization to torch", done, np.array(len(carried)), np.array(8.0))
