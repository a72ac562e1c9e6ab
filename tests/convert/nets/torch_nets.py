"""Three small nets for torch, and a worker that makes, runs and trains them: `python FILE JOBS`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    def __init__(self, norm, widths=(4, 6, 8, 10), classes=7, pool_same=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = norm(widths[0])
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        if pool_same:  # MindCV pads an even size at its end only
            self.maxpool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))
        inputs = widths[0]
        for i, width in enumerate(widths):
            stride = 1 if i == 0 else 2
            blocks = nn.Sequential(Block(inputs, width, stride, norm), Block(width, width, 1, norm))
            setattr(self, f"layer{i + 1}", blocks)
            inputs = width
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, inputs, wide, outputs, stride, norm):
        super().__init__()
        self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
        self.norm1 = norm(wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.norm2 = norm(wide)
        self.squeeze = nn.Conv2d(wide, 4, 1)
        self.excite = nn.Conv2d(4, wide, 1)
        self.project = nn.Conv2d(wide, outputs, 1, bias=False)
        self.norm3 = norm(outputs)
        self.add = stride == 1 and inputs == outputs

    def forward(self, x):
        y = nn.functional.hardswish(self.norm1(self.expand(x)))
        y = nn.functional.hardswish(self.norm2(self.depthwise(y)))
        gate = self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True))))
        y = self.norm3(self.project(y * nn.functional.hardsigmoid(gate)))
        return x + y if self.add else y


class MobileNetV3(nn.Module):
    def __init__(self, norm, classes=5):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.norm = norm(8)
        self.blocks = nn.Sequential(
            Inverted(8, 16, 8, 1, norm), Inverted(8, 24, 12, 2, norm), Inverted(12, 24, 12, 1, norm)
        )
        self.hidden = nn.Linear(12, 20)
        self.classifier = nn.Linear(20, classes)

    def forward(self, x):
        x = self.blocks(nn.functional.hardswish(self.norm(self.stem(x))))
        return self.classifier(nn.functional.hardswish(self.hidden(x.mean((2, 3)))))


class Vgg(nn.Module):
    def __init__(self, norm, classes=6):
        super().__init__()
        layers = []
        for inputs, outputs in ((3, 6), (6, 8)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), norm(outputs), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(8 * 4 * 3, 16)
        self.classifier = nn.Linear(16, classes)

    def forward(self, x):
        return self.classifier(torch.relu(self.hidden(self.features(x).flatten(1))))


NETS = {"resnet18": ResNet18, "mobilenetv3": MobileNetV3, "vgg": Vgg}


def made(job):
    settings = job["settings"]
    net = NETS[job["net"]](lambda n: nn.BatchNorm2d(n, **settings), **job.get("options", {}))
    random = np.random.default_rng(job.get("seed", 0))
    with torch.no_grad():
        for name, value in net.state_dict().items():
            value.copy_(torch.from_numpy(np.asarray(drawn(random, name, tuple(value.shape)))))
    return net


def drawn(random, name, shape):
    if name.endswith("num_batches_tracked"):
        return np.int64(17)
    if name.endswith("running_var"):
        return random.uniform(0.5, 2, shape).astype(np.float32)
    if len(shape) > 1:
        return (random.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    one = 1.0 if name.endswith("weight") else 0.0
    return (one + random.normal(0, 0.2, shape)).astype(np.float32)


def main(jobs):
    torch.set_num_threads(1)
    for job in jobs:
        net = made(job)
        if "save" in job:
            torch.save(net.state_dict(), job["save"])
        if "load" in job:
            state = torch.load(job["load"], weights_only=True)
            net.load_state_dict(state, strict=True)
        if "results" in job:
            data = np.load(job["data"])
            np.savez(job["results"], **results(net, job, data))


def results(net, job, data):
    net.eval()
    with torch.no_grad():
        found = {"logits": net(torch.from_numpy(data["x"])).numpy()}
    state = {n: v.clone() for n, v in net.state_dict().items()}
    for run in ("x", *(["x_ulp"] if job.get("ulp") else [])):
        net.load_state_dict(state)
        net.train()
        net.zero_grad()
        y = net(torch.from_numpy(data[run]))
        (y * torch.from_numpy(data["dy"])).sum().backward()
        found[f"{run}|outputs|y"] = y.detach().numpy()
        found.update({f"{run}|gradients|{n}": p.grad.numpy() for n, p in net.named_parameters()})
        found.update({f"{run}|buffers|{n}": b.numpy() for n, b in net.named_buffers()})
        found = {n: np.array(v) for n, v in found.items()}
    return found


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
