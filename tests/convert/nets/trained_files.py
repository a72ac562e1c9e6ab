"""Files as training leaves them, written by torch and MindSpore: one JSON line per check.

python trained_files.py FOLDER
"""

# ruff: noqa: E402 - the folder and the backend come before the frameworks

import json
import os
import sys
import warnings

os.chdir(sys.argv[1])
warnings.filterwarnings("ignore")

import mindspore as ms
import torch
import torch.ao.quantization as q
from torch import nn
from torch.distributed import checkpoint as distributed

import batchnorm as bn


def say(name, good, more=""):
    print(json.dumps({"name": name, "good": bool(good), "more": str(more)}))


class Net(ms.nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv = ms.nn.Conv2d(3, 6, 3, has_bias=True)
        self.norm = ms.nn.BatchNorm2d(6)
        self.head = ms.nn.Dense(6, 4)

    def construct(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


twin = nn.Sequential()
twin.conv, twin.norm, twin.head = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 4)
torch.save(twin.state_dict(), "like.pth")
loss = ms.nn.SoftmaxCrossEntropyWithLogits(sparse=True)
for rate in (0.1, [0.1, 0.2, 0.3]):
    for make in (ms.nn.Momentum, ms.nn.Adam):
        net = Net()
        more = (0.9,) if make is ms.nn.Momentum else ()
        optimizer = make(net.trainable_params(), rate, *more)
        step = ms.nn.TrainOneStepCell(ms.nn.WithLossCell(net, loss), optimizer)
        ms.save_checkpoint(step, "train.ckpt")
        for like in (None, "like.pth"):
            done = bn.convert("train.ckpt", "o.pth", like=like, force=True)
            same = set(torch.load("o.pth")) == set(twin.state_dict())
            say(f"mindspore {make.__name__} {rate} {like}", same and not done.report.exit_code)


class Quantized(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = q.QuantStub(), q.DeQuantStub()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.dequant(self.head(self.norm(self.conv(self.quant(x))).mean((2, 3))))


net = Quantized()
torch.save(net.state_dict(), "plain.pth")
net.train().qconfig = q.get_default_qat_qconfig("fbgemm")
q.fuse_modules_qat(net, [["conv", "norm"]], inplace=True)
q.prepare_qat(net, inplace=True)
for _ in range(2):
    net(torch.randn(4, 3, 8, 8))
torch.save(net.state_dict(), "qat.pth")
done = bn.convert("qat.pth", "o.pth", to="torch", like="plain.pth", force=True)
found = torch.load("o.pth")
same = set(found) == set(torch.load("plain.pth"))
say("observers", same and torch.equal(found["norm.running_var"], net.conv.bn.running_var))

averaged = torch.optim.swa_utils.AveragedModel(twin)
torch.save(averaged.state_dict(), "swa.pth")
bn.convert("swa.pth", "o.pth", to="torch", force=True)
twin.load_state_dict(torch.load("o.pth"))
say("averaged", True)

distributed.save({"model": twin.state_dict()}, checkpoint_id="parts", no_dist=True)
for path in ("parts", "parts/__0_0.distcp"):
    try:
        bn.convert(path, "p.pth")
        say(path, False)
    except bn.CheckpointError as error:
        say(path, "dcp_to_torch" in str(error), error)
