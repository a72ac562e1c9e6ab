"""Models under another dialect's rule: against the dialects, and against training elsewhere."""

import copy
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import training_elsewhere
from torch_here import torch

import batchnorm as bn
from batchnorm.hosts.torch import port, restore

nn = torch.nn
SEMANTICS = ("tf_keras", "tf_keras_2_6", "keras", "mindspore", "mindspore_2_0")


def dialect_layer(semantics, shape):
    kind = getattr(bn, semantics)
    if "keras" not in semantics:
        name = {2: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}[len(shape)]
        return getattr(kind, name)(3, eps=2e-3, momentum=0.75).set_train()
    layer = kind.BatchNormalization(axis=1, epsilon=2e-3, momentum=0.75)
    layer.build(shape)
    return layer


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 5), (2, 3, 2, 2, 2), (1, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_a_ported_batch_norm_follows_the_dialects_rule(semantics, shape):
    kind = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    ours = port(nn.Sequential(kind(3, eps=2e-3, momentum=0.25)), semantics)[0]
    layer = dialect_layer(semantics, shape)
    call = {"training": True} if "keras" in semantics else {}
    x = np.random.default_rng(0).normal(1, 2, shape).astype(np.float32)
    wanted = layer(x, **call)
    assert np.abs(ours(torch.from_numpy(x)).detach().numpy() - wanted).max() <= 1e-6
    roles = {
        entry.role: value
        for entry, value in zip(layer.STATE.values(), layer.state.values(), strict=False)
    }
    for name in ("running_mean", "running_var"):
        assert np.allclose(getattr(ours, name).numpy(), roles[name], rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize("semantics", ["tf_keras", "keras", "torch", "mindspore"])
def test_only_keras_infers_when_frozen(semantics):
    model = port(nn.Sequential(nn.BatchNorm2d(3)), semantics)
    model[0].requires_grad_(False)
    model(torch.randn(4, 3, 2, 2) + 5)
    moved = bool((model[0].running_mean != 0).any())
    assert moved == ("keras" not in semantics)


def test_names_and_tensors_stay_and_restore_undoes_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    kept = {key: id(value) for key, value in model.state_dict(keep_vars=True).items()}
    assert port(model, "keras") is model
    assert "semantics='keras'" in repr(model[1])
    assert isinstance(model[1], nn.BatchNorm2d)
    again = copy.deepcopy(model)
    assert again[1].semantics == "keras"
    assert {k: id(v) for k, v in model.state_dict(keep_vars=True).items()} == kept
    restore(model)
    assert type(model[1]) is nn.BatchNorm2d
    assert not hasattr(model[1], "semantics")


@pytest.mark.parametrize(
    ("layer", "semantics", "text"),
    [
        (nn.BatchNorm2d(3, momentum=None), "keras", "momentum=None"),
        (nn.BatchNorm2d(3, track_running_stats=False), "tf_keras", "track_running_stats"),
        (nn.BatchNorm2d(3, eps=2.0), "mindspore", "eps"),
        (nn.BatchNorm2d(3), "caffe", "must be one of"),
    ],
)
def test_what_the_dialect_cannot_express_is_refused_before_anything_changes(layer, semantics, text):
    model = nn.Sequential(nn.BatchNorm2d(2), layer)
    with pytest.raises(ValueError, match=text):
        port(model, semantics)
    assert [type(m) for m in model] == [nn.BatchNorm2d, nn.BatchNorm2d]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(5, eps=1e-3, momentum=0.1)
        self.bn2 = nn.BatchNorm1d(5, eps=1e-3, momentum=0.1)
        self.dense = nn.Linear(5, 2, bias=False)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv(x)))
        return self.dense(self.bn2(x.mean(dim=(2, 3))))


NAMES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}


def spelled(name):
    layer, _, key = name.partition(".")
    return f"{layer}.{NAMES.get(key, 'weight')}"


def continued(semantics, weights, batches, targets):
    """The running statistics after going on in torch."""
    net = Net()
    loaded = {spelled(name): torch.from_numpy(value.copy()) for name, value in weights.items()}
    assert net.load_state_dict(loaded, strict=False).unexpected_keys == []
    port(net, semantics)
    optimizer = torch.optim.SGD(net.parameters(), training_elsewhere.RATE)
    for x, target in zip(batches, targets, strict=True):
        optimizer.zero_grad()
        ((net(torch.from_numpy(x)) - torch.from_numpy(target)) ** 2).mean().backward()
        optimizer.step()
    return {name: net.state_dict()[spelled(name)].numpy() for name in weights}


def apart(one, other):
    """The largest difference of running statistics, relative to the largest value of each."""
    names = [name for name in one if name.endswith(("mean", "var"))]
    assert len(names) == 4
    return max(np.abs(one[n] - other[n]).max() / np.abs(other[n]).max() for n in names)


@cache
def elsewhere(framework, folder):
    """What the framework makes of it, and the batches."""
    draw = np.random.default_rng(0)
    steps, batch = training_elsewhere.FIRST + 30, 8
    given = {
        "batches": draw.normal(0.5, 2, (steps, batch, 3, 6, 6)).astype(np.float32),
        "targets": draw.normal(size=(steps, batch, 2)).astype(np.float32),
        "conv": draw.normal(0, 0.3, (5, 3, 3, 3)).astype(np.float32),
        "dense": draw.normal(0, 0.5, (2, 5)).astype(np.float32),
    }
    for name in ("bn1", "bn2"):
        given |= {f"{name}.{key}": np.zeros(5, np.float32) for key in ("beta", "mean")}
        given |= {f"{name}.{key}": np.ones(5, np.float32) for key in ("gamma", "var")}
    np.savez(folder / "given.npz", **given)
    script = Path(training_elsewhere.__file__)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "GLOG_v": "3"}
    done = subprocess.run(
        [sys.executable, str(script), framework, "given.npz", "found.npz"],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {"middle": {}, "end": {}, "nudged": {}}
    for key, value in np.load(folder / "found.npz").items():
        when, _, name = key.partition("/")
        found[when][name] = value
    rest = slice(training_elsewhere.FIRST, None)
    return found, given["batches"][rest], given["targets"][rest]


@pytest.mark.parametrize("framework", ["tf_keras", "keras", "mindspore"])
def test_a_net_trained_elsewhere_goes_on_in_torch_as_it_would_there(framework, tmp_path_factory):
    if importlib.util.find_spec(framework) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{framework} is not installed, and in CI it must be")
        pytest.skip(f"{framework} is not installed")
    found, *batches = elsewhere(framework, tmp_path_factory.mktemp(framework))
    one_ulp = apart(found["nudged"], found["end"])
    assert 0 < one_ulp < 1e-3
    ours = continued(framework, found["middle"], *batches)
    assert apart(ours, found["end"]) <= 10 * one_ulp
    if framework != "mindspore":  # which averages the variance that torch averages
        plain = continued("torch", found["middle"], *batches)
        assert apart(plain, found["end"]) > 100 * one_ulp
