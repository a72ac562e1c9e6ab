"""`read` on modules of the torch host, and the examples in its docstrings."""

import doctest
import importlib

import numpy as np
import pytest
from torch_here import torch

import batchnorm as bn
from batchnorm.hosts.torch import accelerate, module, port

nn = torch.nn


def built(kind, **settings):
    layer = kind.BatchNormalization(axis=1, momentum=0.7, **settings)
    layer.build((4, 3, 2, 2))
    return layer


LAYERS = {
    "torch": lambda: bn.torch.BatchNorm2d(3, eps=0.1, momentum=0.3),
    "mindspore": lambda: bn.mindspore.BatchNorm2d(3, eps=0.1, momentum=0.7).set_train(),
    "tf_keras": lambda: built(bn.tf_keras, renorm=True),
    "keras": lambda: built(bn.keras, epsilon=0.1),
}


def same(one, other):
    assert type(one) is type(other)
    assert {name: value.tolist() for name, value in one.state.items()} == {
        name: value.tolist() for name, value in other.state.items()
    }
    x = np.random.default_rng(0).normal(1, 2, (4, 3, 2, 2)).astype(np.float32)
    call = {"training": True} if "Normalization" in type(one).__name__ else {}
    for _ in range(2):
        assert np.array_equal(one(x, **call), other(x, **call))


@pytest.mark.parametrize("name", LAYERS)
def test_a_module_is_read_with_the_state_it_has_come_to(name):
    layer = LAYERS[name]()
    made = module(layer)
    same(bn.read(made), layer)
    made(torch.randn(4, 3, 2, 2))
    read = bn.read(nn.Sequential(nn.ReLU(), made))
    assert list(read) == ["1"]
    state = {key: value.numpy() for key, value in made.state_dict().items()}
    assert all(np.array_equal(state[key], value) for key, value in read["1"].state.items())
    assert any(not np.array_equal(v, layer.state[k]) for k, v in read["1"].state.items())


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.SyncBatchNorm])
@pytest.mark.parametrize("fuse", [False, True])
def test_an_accelerated_model_is_read_as_torchs_own(kind, fuse):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), kind(3, eps=0.1, momentum=0.3), nn.ReLU())
    wanted = bn.read(model)
    found = bn.read(accelerate(model, fuse=fuse))
    assert list(found) == list(wanted) == ["1"]
    same(found["1"], wanted["1"])


def test_a_ported_one_is_refused_with_the_way_back():
    model = port(nn.Sequential(nn.BatchNorm2d(3)), "keras")
    with pytest.raises(TypeError, match=r"0: .* semantics='keras'.* port the model back"):
        bn.read(model)
    assert list(bn.read(port(model, "torch"))) == ["0"]


@pytest.mark.parametrize("name", ["accelerate", "module", "port"])
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"batchnorm.hosts.torch.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
