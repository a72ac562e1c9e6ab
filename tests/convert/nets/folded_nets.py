"""Nets that are folded and run again: what moved, and which batch norms are gone, as JSON.

`python folded_nets.py torch|keras FOLDER [NET …]`: a batch norm that is gone becomes the identity.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import numpy as np

import batchnorm as bn

random = np.random.default_rng(0)


def torch_nets():
    from torch import nn

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3)
            self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)

        def forward(self, x):
            return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))

    class Pre(nn.Module):
        def __init__(self, shortcut="shortcut", norm="bn1", conv="conv1"):
            super().__init__()
            self.names = shortcut, norm, conv
            self.add_module(shortcut, nn.Conv2d(6, 6, 1))
            self.add_module(norm, nn.BatchNorm2d(6))
            self.add_module(conv, nn.Conv2d(6, 6, 1))

        def forward(self, x):
            shortcut, norm, conv = (getattr(self, n) for n in self.names)
            return shortcut(x) + conv(norm(x).relu())

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6)
            self.conv2 = nn.Conv2d(6, 6, 3, groups=6, bias=False)
            self.bn2 = nn.BatchNorm2d(6)
            self.head = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())

        def forward(self, x):
            return self.head(self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())))

    class Named(nn.Module):
        def __init__(self, **layers):
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, x):
            for layer in self.children():
                x = layer(x)
            return x

    def deconv(i, o, groups=1):
        return nn.ConvTranspose2d(i, o, 4, 2, 1, groups=groups)

    told = {"map": {"layers": {"0": {"kind": "conv_transpose"}}, "fold": {"0": "1"}}}
    return {
        "index gap": (nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)), {}),
        "conv1 conv2 bn1 bn2": (Listed(), {}),
        "shortcut bn1 conv1": (Pre(), {}),
        "skip bn conv": (Pre("skip", "bn", "conv"), {}),
        "proj norm_a conv_b": (Pre("proj", "norm_a", "conv_b"), {}),
        "plain": (Plain(), {}),
        "stem": (Named(conv_stem=nn.Conv2d(6, 8, 3), bn1=nn.BatchNorm2d(8)), {}),
        "square deconv": (Named(deconv=deconv(6, 6), bn=nn.BatchNorm2d(6)), {}),
        "square unnamed": (nn.Sequential(deconv(6, 6), nn.BatchNorm2d(6)), {}),
        "deconv": (nn.Sequential(deconv(6, 4), nn.BatchNorm2d(4)), {}),
        "live square deconv": (nn.Sequential(deconv(6, 6), nn.BatchNorm2d(6)), {"live": True}),
        "live groups": (nn.Sequential(deconv(6, 4, 2), nn.BatchNorm2d(4)), {"live": True}),
        "groups 3": (nn.Sequential(deconv(6, 6, 3), nn.BatchNorm2d(6)), told),
        "groups 2": (nn.Sequential(deconv(6, 4, 2), nn.BatchNorm2d(4)), told),
        "depthwise": (nn.Sequential(deconv(6, 6, 6), nn.BatchNorm2d(6)), told),
    }


def run_torch(folder):
    import torch
    from torch import nn

    torch.manual_seed(0)
    found = {}
    for name, (net, options) in torch_nets().items():
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.data.uniform_(0.5, 2)
                layer.bias.data.normal_()
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 3)
        net.eval()
        x = torch.randn(2, 6, 9, 9)
        before = net(x)
        torch.save(net.state_dict(), folder / "n.pth")
        options = dict(options)
        source = net if options.pop("live", False) else folder / "n.pth"
        try:
            done = bn.convert(
                source, folder / "f.pth", to="torch", fold=True, force=True, **options
            )
        except bn.CheckpointError as error:
            found[name] = {"gone": [], "moved": 0.0, "said": str(error)}
            continue
        state = torch.load(folder / "f.pth")
        gone = []
        for path, layer in net.named_modules():
            if isinstance(layer, nn.BatchNorm2d) and f"{path}.running_var" not in state:
                gone.append(path)
                layer.weight.data.fill_((1 + layer.eps) ** 0.5)
                layer.bias.data.zero_()
                layer.running_mean.zero_()
                layer.running_var.fill_(1)
            elif f"{path}.bias" in state and getattr(layer, "bias", 0) is None:
                layer.bias = nn.Parameter(state[f"{path}.bias"])
        net.load_state_dict(state, strict=False)
        moved = float((net(x) - before).abs().max() / before.abs().max())
        found[name] = {"gone": gone, "moved": moved, "said": "; ".join(done.report.notes)}
    return found


def keras_nets(keras, wanted):
    L = keras.layers

    def residual():
        i = keras.Input((8, 8, 5))
        x = L.Conv2D(6, 3, padding="same", name="stem")(i)
        s = L.Conv2D(6, 1, name="short")(x)
        b = L.Conv2D(6, 3, padding="same", name="body")(x)
        s = L.BatchNormalization(name="short_norm")(s)
        b = L.BatchNormalization(name="body_norm")(b)
        return keras.Model(i, L.GlobalAveragePooling2D()(L.ReLU()(L.Add()([s, b]))))

    def activation():
        return keras.Sequential([
            keras.Input((7, 7, 3)), L.Conv2D(5, 3, activation="relu", name="c"),
            L.BatchNormalization(name="n"), L.Conv2D(5, 3, activation="linear", name="d"),
            L.BatchNormalization(name="m"), L.Flatten(), L.Dense(4),
        ])  # fmt: skip

    def shared():
        i = keras.Input((8, 8, 4))
        c = L.Conv2D(4, 3, padding="same", name="c")
        a = L.BatchNormalization(name="n")(c(i))
        b = c(L.ReLU()(a))
        return keras.Model(i, L.GlobalAveragePooling2D()(L.Add()([a, b])))

    def nested():
        inner = keras.Sequential(
            [keras.Input((8, 8, 4)), L.Conv2D(4, 1, name="ic"), L.BatchNormalization(name="in")],
            name="inner",
        )
        i = keras.Input((8, 8, 3))
        x = L.Conv2D(4, 1, name="c")(i)
        y = inner(L.BatchNormalization(name="n")(x))
        z = L.BatchNormalization(name="m")(L.Conv2D(4, 1, name="last")(L.Add()([y, x])))
        return keras.Model(i, L.GlobalAveragePooling2D()(z))

    def twice():
        inner = keras.Sequential(
            [keras.Input((8, 8, 4)), L.Conv2D(4, 1, name="ic"), L.BatchNormalization(name="in")],
            name="inner",
        )
        i = keras.Input((8, 8, 4))
        return keras.Model(i, L.GlobalAveragePooling2D()(inner(L.ReLU()(inner(i)))))

    def chain():
        return keras.Sequential([
            keras.Input((8, 8, 3)), L.SeparableConv2D(6, 3, name="a"), L.BatchNormalization(),
            L.ReLU(), L.DepthwiseConv2D(3, depth_multiplier=2, name="w"), L.BatchNormalization(),
            L.Conv2DTranspose(6, 2, strides=2, name="t"), L.BatchNormalization(), L.ReLU(),
            L.ZeroPadding2D(), L.BatchNormalization(), L.Flatten(), L.Dense(5, name="d"),
            L.BatchNormalization(),
        ])  # fmt: skip

    own = {f.__name__: f for f in (residual, activation, shared, nested, twice, chain)}
    sizes = {"InceptionV3": 75, "EfficientNetB0": 32, "ResNet50": 32, "MobileNetV2": 32,
             "DenseNet121": 32}  # fmt: skip
    for name in wanted or own:
        if name in own:
            yield name, own[name]()
        else:
            size = sizes[name]
            make = getattr(keras.applications, name)
            yield name, make(weights=None, input_shape=(size, size, 3), classes=10)


def norms_and_others(keras, model):
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from ((f"{layer.name}/{n}", one) for n, one in norms_and_others(keras, layer))
        elif layer.weights:
            yield layer.name, layer


def run_keras(folder, framework, wanted):
    import importlib

    keras = importlib.import_module(framework)
    found = {}
    for name, net in keras_nets(keras, wanted):
        layers = list(norms_and_others(keras, net))
        norm = keras.layers.BatchNormalization
        norms = [(n, one) for n, one in layers if isinstance(one, norm)]
        for _, one in norms:
            positive = ("gamma", "moving_variance")
            one.set_weights([
                random.uniform(0.9, 1.3, w.shape) if any(n in w.name for n in positive)
                else random.normal(0, 0.1, w.shape)
                for w in one.weights
            ])  # fmt: skip
        x = random.normal(size=(2, *net.input_shape[1:])).astype("f4")
        before = net.predict(x, verbose=0)
        net.save(folder / "n.keras")
        try:
            done = bn.convert(folder / "n.keras", to=framework, fold=True)
        except bn.CheckpointError as error:
            found[name] = {"gone": 0, "norms": len(norms), "moved": 0.0, "said": str(error)}
            continue
        arrays, gone = done.load(), []
        for path, one in layers:
            if isinstance(one, norm):
                if f"{path}/moving_mean" not in arrays:
                    gone.append(path)
                    width = one.moving_mean.shape
                    values = [np.ones(width) * np.sqrt(1 + one.epsilon)] if one.scale else []
                    values += [np.zeros(width)] if one.center else []
                    one.set_weights([*values, np.zeros(width), np.ones(width)])
                    if not one.scale:
                        one.epsilon = 0.0
            else:
                bias_free = getattr(one, "use_bias", True) is False
                if bias_free and f"{path}/bias" in arrays:
                    shape = arrays[f"{path}/bias"].shape
                    one.use_bias = True
                    one._tracker.unlock() if hasattr(one, "_tracker") else None
                    one.bias = one.add_weight(shape=shape, name="bias", initializer="zeros")
                names = [w.name.rpartition("/")[2].partition(":")[0] for w in one.weights]
                if "mean" not in names:  # Normalization's, which nothing folds
                    one.set_weights([arrays[f"{path}/{n}"] for n in names])
        net = keras.Model(net.inputs, net.outputs)
        after = net.predict(x, verbose=0)
        moved = float(abs(after - before).max() / abs(before).max())
        found[name] = {
            "gone": len(gone), "norms": len(norms), "moved": moved,
            "said": "; ".join(done.report.notes),
        }  # fmt: skip
    return found


if __name__ == "__main__":
    framework, folder, *nets = sys.argv[1:]
    if framework == "torch":
        print(json.dumps(run_torch(Path(folder))))
    else:
        print(json.dumps(run_keras(Path(folder), framework, nets)))
