"""The nets of `torch_nets`, for MindSpore; ResNet-18 has MindCV's names."""

import json
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn, ops


def conv(inputs, outputs, kernel, stride=1, padding=0, **more):
    return nn.Conv2d(inputs, outputs, kernel, stride, pad_mode="pad", padding=padding, **more)


class Block(nn.Cell):
    def __init__(self, inputs, outputs, stride, norm):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, 1)
        self.bn1 = norm(outputs)
        self.conv2 = conv(outputs, outputs, 3, 1, 1)
        self.bn2 = norm(outputs)
        self.down_sample = None
        if stride != 1 or inputs != outputs:
            self.down_sample = nn.SequentialCell(conv(inputs, outputs, 1, stride), norm(outputs))

    def construct(self, x):
        y = self.bn2(self.conv2(ops.relu(self.bn1(self.conv1(x)))))
        return ops.relu(y + (x if self.down_sample is None else self.down_sample(x)))


class ResNet18(nn.Cell):
    def __init__(self, norm, widths=(4, 6, 8, 10), classes=7):
        super().__init__()
        self.conv1 = conv(3, widths[0], 7, 2, 3)
        self.bn1 = norm(widths[0])
        self.max_pool = nn.MaxPool2d(3, 2, pad_mode="pad", padding=1)
        inputs = widths[0]
        for i, width in enumerate(widths):
            stride = 1 if i == 0 else 2
            blocks = nn.SequentialCell(
                Block(inputs, width, stride, norm), Block(width, width, 1, norm)
            )
            setattr(self, f"layer{i + 1}", blocks)
            inputs = width
        self.classifier = nn.Dense(inputs, classes)

    def construct(self, x):
        x = self.max_pool(ops.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.classifier(x.mean((2, 3)))


class Inverted(nn.Cell):
    def __init__(self, inputs, wide, outputs, stride, norm):
        super().__init__()
        self.expand = conv(inputs, wide, 1)
        self.norm1 = norm(wide)
        self.depthwise = conv(wide, wide, 3, stride, 1, group=wide)
        self.norm2 = norm(wide)
        self.squeeze = conv(wide, 4, 1, has_bias=True)
        self.excite = conv(4, wide, 1, has_bias=True)
        self.project = conv(wide, outputs, 1)
        self.norm3 = norm(outputs)
        self.add = stride == 1 and inputs == outputs

    def construct(self, x):
        y = hardswish(self.norm1(self.expand(x)))
        y = hardswish(self.norm2(self.depthwise(y)))
        gate = self.excite(ops.relu(self.squeeze(y.mean((2, 3), keep_dims=True))))
        y = self.norm3(self.project(y * hardsigmoid(gate)))
        return x + y if self.add else y


def hardsigmoid(x):
    return ops.clip_by_value(x + 3, 0, 6) / 6


def hardswish(x):
    return x * hardsigmoid(x)


class MobileNetV3(nn.Cell):
    def __init__(self, norm, classes=5):
        super().__init__()
        self.stem = conv(3, 8, 3, 2, 1)
        self.norm = norm(8)
        self.blocks = nn.SequentialCell(
            Inverted(8, 16, 8, 1, norm), Inverted(8, 24, 12, 2, norm), Inverted(12, 24, 12, 1, norm)
        )
        self.hidden = nn.Dense(12, 20)
        self.classifier = nn.Dense(20, classes)

    def construct(self, x):
        x = self.blocks(hardswish(self.norm(self.stem(x))))
        return self.classifier(hardswish(self.hidden(x.mean((2, 3)))))


class Vgg(nn.Cell):
    def __init__(self, norm, classes=6):
        super().__init__()
        layers = []
        for inputs, outputs in ((3, 6), (6, 8)):
            layers += [conv(inputs, outputs, 3, 1, 1, has_bias=True), norm(outputs), nn.ReLU()]
            layers += [nn.MaxPool2d(2, 2)]
        self.features = nn.SequentialCell(*layers)
        self.hidden = nn.Dense(8 * 4 * 3, 16)
        self.classifier = nn.Dense(16, classes)

    def construct(self, x):
        x = self.features(x)
        return self.classifier(ops.relu(self.hidden(x.reshape(x.shape[0], -1))))


NETS = {"resnet18": ResNet18, "mobilenetv3": MobileNetV3, "vgg": Vgg}


def made(job):
    settings = job["settings"]
    net = NETS[job["net"]](lambda n: nn.BatchNorm2d(n, **settings))
    random = np.random.default_rng(job.get("seed", 0))
    for _, p in net.parameters_and_names():
        p.set_data(ms.Tensor(drawn(random, p.name, tuple(p.shape))))
    return net


def drawn(random, name, shape):
    if name.endswith("moving_variance"):
        return random.uniform(0.5, 2, shape).astype(np.float32)
    if len(shape) > 1:
        return (random.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    one = 1.0 if name.endswith("gamma") else 0.0
    return (one + random.normal(0, 0.2, shape)).astype(np.float32)


def main(jobs):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    for job in jobs:
        net = made(job)
        if "save" in job:
            ms.save_checkpoint(net, job["save"])
        if "load" in job:
            parameters = ms.load_checkpoint(job["load"])
            left = ms.load_param_into_net(net, parameters)
            if any(left):
                raise SystemExit(f"{job['load']}: left over: {left}")
        if "results" in job:
            data = np.load(job["data"])
            np.savez(job["results"], **results(net, job, data))


def results(net, job, data):
    net.set_train(False)
    found = {"logits": net(ms.Tensor(data["x"])).asnumpy()}
    parameters = list(net.get_parameters())
    state = [p.asnumpy().copy() for p in parameters]
    dy = ms.Tensor(data["dy"])

    def loss(x):
        y = net(x)
        return (y * dy).sum(), y

    trained = net.trainable_params()
    differentiate = ms.value_and_grad(loss, None, trained, has_aux=True)
    for run in ("x", *(["x_ulp"] if job.get("ulp") else [])):
        for p, value in zip(parameters, state, strict=True):
            p.set_data(ms.Tensor(value))
        net.set_train(True)
        (_, y), gradients = differentiate(ms.Tensor(data[run]))
        found[f"{run}|outputs|y"] = y.asnumpy()
        for p, g in zip(trained, gradients, strict=True):
            found[f"{run}|gradients|{p.name}"] = g.asnumpy()
        for p in parameters:
            if ".moving_" in p.name:
                found[f"{run}|buffers|{p.name}"] = p.asnumpy().copy()
    return found


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
