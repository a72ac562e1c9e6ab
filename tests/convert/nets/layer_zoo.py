"""One layer of every kind in one net, for each framework: `python FILE FRAMEWORK JOBS`.

A job saves the net with random weights, or loads a file into it, and stores each layer's output.
"""

import importlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

# Layer -> its input: 4 channels in 1, 2, 3 dimensions; rows; numbers of rows.
INPUTS = {
    "conv1": "x1", "conv2": "x2", "conv3": "x3", "grouped": "x2", "up1": "x1", "up2": "x2",
    "up3": "x3", "wide": "x2", "narrow": "x1", "separable": "x2", "dense": "rows", "table": "ids",
    "layer_norm": "rows", "norm1": "x1", "norm2": "x2", "norm3": "x3", "norm_rows": "rows",
}  # fmt: skip


def drawn(random, name, shape):
    if "var" in name:
        return random.uniform(0.5, 2, shape).astype(np.float32)
    return random.normal(0, 1, shape).astype(np.float32)


def torch_zoo():
    from torch import nn

    class Separable(nn.Module):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv2d(4, 8, 3, groups=4, bias=False)
            self.pointwise = nn.Conv2d(8, 5, 1)

        def forward(self, x):
            return self.pointwise(self.depthwise(x))

    return nn.ModuleDict({
        "conv1": nn.Conv1d(4, 6, 3), "conv2": nn.Conv2d(4, 6, (3, 2)), "conv3": nn.Conv3d(4, 6, 3),
        "grouped": nn.Conv2d(4, 6, 3, groups=2), "up1": nn.ConvTranspose1d(4, 6, 3, 2),
        "up2": nn.ConvTranspose2d(4, 6, (3, 4), 2), "up3": nn.ConvTranspose3d(4, 6, 3, 2),
        "wide": nn.Conv2d(4, 8, 3, groups=4), "narrow": nn.Conv1d(4, 8, 3, groups=4),
        "separable": Separable(), "dense": nn.Linear(4, 3), "table": nn.Embedding(7, 3),
        "layer_norm": nn.LayerNorm(4), "norm1": nn.BatchNorm1d(4), "norm2": nn.BatchNorm2d(4),
        "norm3": nn.BatchNorm3d(4), "norm_rows": nn.BatchNorm1d(4),
    })  # fmt: skip


def run_torch(job):
    import torch

    net, random = torch_zoo().eval(), np.random.default_rng(0)
    if "save" in job:
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if value.ndim:
                    value.copy_(torch.from_numpy(drawn(random, name, tuple(value.shape))))
        torch.save(net.state_dict(), job["save"])
    if "load" in job:
        net.load_state_dict(torch.load(job["load"], weights_only=True), strict=True)
    data = np.load(job["data"])
    with torch.no_grad():
        return {n: layer(torch.from_numpy(data[INPUTS[n]])).numpy() for n, layer in net.items()}


def mindspore_zoo():
    from mindspore import nn

    class Separable(nn.Cell):
        def __init__(self):
            super().__init__()
            self.depthwise = nn.Conv2d(4, 8, 3, group=4, pad_mode="valid")
            self.pointwise = nn.Conv2d(8, 5, 1, has_bias=True)

        def construct(self, x):
            return self.pointwise(self.depthwise(x))

    valid = {"pad_mode": "valid", "has_bias": True}
    padded = {"pad_mode": "pad", "padding": 0, "has_bias": True}
    return nn.CellDict({
        "conv1": nn.Conv1d(4, 6, 3, **valid), "conv2": nn.Conv2d(4, 6, (3, 2), **valid),
        "conv3": nn.Conv3d(4, 6, 3, **valid), "grouped": nn.Conv2d(4, 6, 3, group=2, **valid),
        "up1": nn.Conv1dTranspose(4, 6, 3, 2, **padded),
        "up2": nn.Conv2dTranspose(4, 6, (3, 4), 2, **padded),
        "up3": nn.Conv3dTranspose(4, 6, 3, 2, **padded),
        "wide": nn.Conv2d(4, 8, 3, group=4, **valid),
        "narrow": nn.Conv1d(4, 8, 3, group=4, **valid),
        "separable": Separable(), "dense": nn.Dense(4, 3), "table": nn.Embedding(7, 3),
        "layer_norm": nn.LayerNorm((4,)), "norm1": nn.BatchNorm1d(4), "norm2": nn.BatchNorm2d(4),
        "norm3": nn.BatchNorm3d(4), "norm_rows": nn.BatchNorm1d(4),
    })  # fmt: skip


def run_mindspore(job):
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE)  # eagerly, squeeze of 2.10 fails with NumPy 2
    net, random = mindspore_zoo(), np.random.default_rng(0)
    if "save" in job:
        for _, p in net.parameters_and_names():
            p.set_data(ms.Tensor(drawn(random, p.name, tuple(p.shape))))
        ms.save_checkpoint(net, job["save"])
    if "load" in job:
        left = ms.load_param_into_net(net, ms.load_checkpoint(job["load"]))
        if any(left):
            raise SystemExit(f"{job['load']}: left over: {left}")
    net.set_train(False)
    data = np.load(job["data"])
    found = {}
    for name, layer in net.items():
        x = data[INPUTS[name]]
        if name == "norm1":  # MindSpore's takes rows only
            found[name] = layer(ms.Tensor(x.transpose(0, 2, 1).reshape(-1, 4))).asnumpy()
            found[name] = found[name].reshape(2, -1, 4).transpose(0, 2, 1)
            continue
        found[name] = layer(ms.Tensor(x)).asnumpy()
    return found


def keras_zoo(keras):
    L = keras.layers
    shapes = {"x1": (9, 4), "x2": (9, 8, 4), "x3": (5, 6, 5, 4), "rows": (4,), "ids": ()}
    inputs = {name: keras.Input(shape) for name, shape in shapes.items()}
    layers = {
        "conv1": L.Conv1D(6, 3), "conv2": L.Conv2D(6, (3, 2)), "conv3": L.Conv3D(6, 3),
        "grouped": L.Conv2D(6, 3, groups=2), "up1": L.Conv1DTranspose(6, 3, 2),
        "up2": L.Conv2DTranspose(6, (3, 4), 2), "up3": L.Conv3DTranspose(6, 3, 2),
        "wide": L.DepthwiseConv2D(3, depth_multiplier=2),
        "narrow": L.DepthwiseConv1D(3, depth_multiplier=2),
        "separable": L.SeparableConv2D(5, 3, depth_multiplier=2), "dense": L.Dense(3),
        "table": L.Embedding(7, 3), "layer_norm": L.LayerNormalization(epsilon=1e-5),
        **{n: L.BatchNormalization(epsilon=1e-5)
           for n in ("norm1", "norm2", "norm3", "norm_rows")},
    }  # fmt: skip
    outputs = []
    for name, layer in layers.items():
        layer._name = name
        outputs.append(layer(inputs[INPUTS[name]]))
    return keras.Model(list(inputs.values()), outputs), list(layers), list(inputs)


def run_keras(job, family):
    keras = importlib.import_module(family)
    keras.backend.clear_session()
    net, names, inputs = keras_zoo(keras)
    random = np.random.default_rng(0)
    if "save" in job:
        for layer in net.layers:
            short = [w.name.rpartition("/")[2] for w in layer.weights]
            values = [drawn(random, n, v.shape)
                      for n, v in zip(short, layer.get_weights(), strict=True)]  # fmt: skip
            layer.set_weights(values)
        (net.save_weights if job["save"].endswith(".weights.h5") else net.save)(job["save"])
    if "load" in job and job["load"].endswith(".weights.h5"):
        net.load_weights(job["load"])
    elif "load" in job:
        net = keras.models.load_model(job["load"], compile=False)
    data = np.load(job["data"])
    given = []
    for name in inputs:
        x = data[name]
        given.append(np.moveaxis(x, 1, -1) if x.ndim > 2 else x)
    outputs = [np.array(y) for y in net(given, training=False)]
    return {
        name: np.moveaxis(y, -1, 1) if y.ndim > 2 else y
        for name, y in zip(names, outputs, strict=True)
    }


def main(framework, jobs):
    for job in jobs:
        if framework in ("keras", "tf_keras"):
            found = run_keras(job, framework)
        else:
            found = {"torch": run_torch, "mindspore": run_mindspore}[framework](job)
        np.savez(job["results"], **found)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
