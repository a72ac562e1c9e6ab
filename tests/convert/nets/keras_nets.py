"""The nets of `torch_nets`, for Keras 3 (or tf_keras), channels last; MobileNet has Keras's own."""

import importlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

KERAS = sys.argv[2] if len(sys.argv) > 2 else "keras"
keras = importlib.import_module(KERAS)
L = keras.layers


def conv(x, outputs, kernel, stride=1, padding=0, name=None, bias=False):
    if padding:
        x = L.ZeroPadding2D(padding)(x)
    return L.Conv2D(outputs, kernel, stride, use_bias=bias, name=name)(x)


def resnet18(norm, widths=(4, 6, 8, 10), classes=7):
    def block(x, inputs, outputs, stride, name):
        y = L.ReLU()(norm(f"{name}_bn1")(conv(x, outputs, 3, stride, 1, f"{name}_conv1")))
        y = norm(f"{name}_bn2")(conv(y, outputs, 3, 1, 1, f"{name}_conv2"))
        if stride != 1 or inputs != outputs:
            x = conv(x, outputs, 1, stride, name=f"{name}_downsample_0")
            x = norm(f"{name}_downsample_1")(x)
        return L.ReLU()(L.Add()([x, y]))

    start = keras.Input((32, 32, 3))
    x = L.ReLU()(norm("bn1")(conv(start, widths[0], 7, 2, 3, "conv1")))
    x = L.MaxPooling2D(3, 2)(L.ZeroPadding2D(1)(x))
    inputs = widths[0]
    for i, width in enumerate(widths):
        x = block(x, inputs, width, 1 if i == 0 else 2, f"layer{i + 1}_0")
        x = block(x, width, width, 1, f"layer{i + 1}_1")
        inputs = width
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(start, L.Dense(classes, name="predictions")(x))


def hardsigmoid(x):
    return L.Rescaling(1 / 6)(L.ReLU(6.0)(L.Rescaling(1.0, 3.0)(x)))


def hardswish(x):
    return L.Multiply()([x, hardsigmoid(x)])


def mobilenetv3(norm, classes=5):
    def block(x, inputs, wide, outputs, stride):
        y = hardswish(norm(None)(conv(x, wide, 1)))
        y = L.DepthwiseConv2D(3, stride, use_bias=False)(L.ZeroPadding2D(1)(y))
        y = hardswish(norm(None)(y))
        gate = L.GlobalAveragePooling2D(keepdims=True)(y)
        gate = conv(L.ReLU()(conv(gate, 4, 1, bias=True)), wide, 1, bias=True)
        y = L.Multiply()([y, hardsigmoid(gate)])
        y = norm(None)(conv(y, outputs, 1))
        return L.Add()([x, y]) if stride == 1 and inputs == outputs else y

    start = keras.Input((16, 16, 3))
    x = hardswish(norm(None)(conv(start, 8, 3, 2, 1)))
    for inputs, wide, outputs, stride in ((8, 16, 8, 1), (8, 24, 12, 2), (12, 24, 12, 1)):
        x = block(x, inputs, wide, outputs, stride)
    x = hardswish(L.Dense(20)(L.GlobalAveragePooling2D()(x)))
    return keras.Model(start, L.Dense(classes)(x))


def vgg(norm, classes=6):
    start = x = keras.Input((16, 12, 3))
    for i, outputs in enumerate((6, 8)):
        x = conv(x, outputs, 3, 1, 1, f"features_{4 * i}", bias=True)
        x = L.MaxPooling2D(2)(L.ReLU()(norm(f"features_{4 * i + 1}")(x)))
    x = L.Dense(16, activation="relu", name="hidden")(L.Flatten()(x))
    return keras.Model(start, L.Dense(classes, name="classifier")(x))


NETS = {"resnet18": resnet18, "mobilenetv3": mobilenetv3, "vgg": vgg}


def made(job):
    keras.backend.clear_session()
    settings = job["settings"]
    net = NETS[job["net"]](lambda name: L.BatchNormalization(name=name, **settings))
    random = np.random.default_rng(job.get("seed", 0))
    for layer in net.layers:
        names = [w.name.rpartition("/")[2].partition(":")[0] for w in layer.weights]
        layer.set_weights(
            [drawn(random, n, v.shape) for n, v in zip(names, layer.get_weights(), strict=True)]
        )
    return net


def drawn(random, name, shape):
    if name == "moving_variance":
        return random.uniform(0.5, 2, shape).astype(np.float32)
    if len(shape) > 1:
        return (random.normal(0, 1, shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    one = 1.0 if name == "gamma" else 0.0
    return (one + random.normal(0, 0.2, shape)).astype(np.float32)


def main(jobs):
    for job in jobs:
        net = made(job)
        for path in job.get("save", "").split():
            (net.save_weights if path.endswith(".weights.h5") else net.save)(path)
        if "load" in job and job["load"].endswith(".weights.h5"):
            net.load_weights(job["load"])
        elif "load" in job:
            net = keras.models.load_model(job["load"])
        if "results" in job:
            data = np.load(job["data"])
            np.savez(job["results"], **results(net, job, data))


def results(net, job, data):
    import tensorflow as tf

    def given(name):
        return tf.constant(data[name].transpose(0, 2, 3, 1))

    found = {"logits": np.array(net(given("x"), training=False))}
    state = net.get_weights()
    for run in ("x", *(["x_ulp"] if job.get("ulp") else [])):
        net.set_weights(state)
        with tf.GradientTape() as tape:
            y = net(given(run), training=True)
            loss = tf.reduce_sum(y * data["dy"])
        names, trained = [], []
        for layer in net.layers:
            for w in layer.trainable_weights:
                names.append(f"{layer.name}/{w.name.rpartition('/')[2].partition(':')[0]}")
                trained.append(getattr(w, "value", w) if KERAS == "keras" else w)
        gradients = tape.gradient(loss, trained)
        found[f"{run}|outputs|y"] = np.array(y)
        for name, g in zip(names, gradients, strict=True):
            found[f"{run}|gradients|{name}"] = np.array(g)
        for layer in net.layers:
            for w in layer.non_trainable_weights:
                name = w.name.rpartition("/")[2].partition(":")[0]
                found[f"{run}|buffers|{layer.name}/{name}"] = np.array(w)
    return found


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
