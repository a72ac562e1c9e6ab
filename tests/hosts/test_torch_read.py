"""`read` on modules of the torch host, and the examples in its docstrings."""

import doctest
import importlib

import numpy as np
import pytest
from torch_here import torch

import batchnorm as bn
from batchnorm.frameworks import dialect_of
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


SHAPES = {
    nn.BatchNorm1d: (6, 3),
    nn.BatchNorm2d: (4, 3, 2, 2),
    nn.BatchNorm3d: (2, 3, 2, 2, 2),
    nn.SyncBatchNorm: (4, 3, 2, 2),
}
SETTINGS = {
    "default": {},
    "others": {"eps": 0.02, "momentum": 0.3},
    "no beta": {"bias": False},
    "not affine": {"affine": False},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    "semantics", ["tf_keras", "tf_keras_2_6", "keras", "mindspore", "mindspore_2_0"]
)
def test_a_ported_one_is_read_as_the_dialects_layer(semantics, kind, settings):
    """It goes on as the module does."""
    made = port(nn.Sequential(kind(3, **SETTINGS[settings])), semantics)
    x = torch.randn(3, *SHAPES[kind]) * 2 + 1
    if made[0].weight is not None:
        torch.nn.init.normal_(made[0].weight)
    made(x[0])
    layer = bn.read(made)["0"]
    assert dialect_of(type(layer)) == semantics
    call = {"training": True} if "keras" in semantics else {}
    for given in x[1:]:
        wanted = made(given).detach().numpy()
        assert np.abs(layer(given.numpy(), **call) - wanted).max() <= 2e-6
    found = {layer.STATE[name].role: value for name, value in layer.state.items()}
    for role in ("running_mean", "running_var"):
        assert np.allclose(found[role], getattr(made[0], role).numpy(), rtol=2e-6, atol=1e-7)
    made.eval()
    inferred = bn.read(made[0])(x[0].numpy())
    assert np.abs(inferred - made(x[0]).detach().numpy()).max() <= 2e-6


def test_how_a_ported_one_is_frozen_and_kept_is_read_too():
    frozen = port(nn.BatchNorm2d(3, dtype=torch.float64), "tf_keras").requires_grad_(False)
    layer = bn.read(frozen)
    assert not layer.trainable
    assert layer.state["moving_mean"].dtype == np.float64
    assert layer.fused is False
    half = bn.read(port(nn.BatchNorm2d(3, dtype=torch.float16), "keras"))
    assert half.compute_dtype == "float16"
    fixed = bn.read(port(nn.BatchNorm2d(3), "mindspore").requires_grad_(False).eval())
    assert (fixed.affine, fixed.training) == (False, False)
    with pytest.raises(TypeError, match="have float32 state, but this one's is float16"):
        bn.read(port(nn.BatchNorm2d(3, dtype=torch.float16), "mindspore_2_0"))
    model = port(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), "keras")
    assert list(bn.read(port(model, "torch"))) == ["0"]
    assert type(bn.read(model[0])) is bn.torch.BatchNorm2d


def test_what_is_none_is_refused():
    class Own(nn.BatchNorm2d):
        def forward(self, x):
            return x

    for model in (nn.ReLU(), accelerate(nn.Sequential(nn.InstanceNorm2d(3)))):
        with pytest.raises(TypeError, match="is no batch norm and holds none"):
            bn.read(model)
    with pytest.warns(UserWarning, match=r"1 of 2 batch norms aren't read: 1: .*its own"):
        assert list(bn.read(accelerate(nn.Sequential(nn.BatchNorm2d(3), Own(3))))) == ["0"]
    with pytest.raises(TypeError, match="calls no batch norm"):
        bn.read(nn.Sequential(Own(3)))


@pytest.mark.parametrize("name", ["accelerate", "module", "port"])
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"batchnorm.hosts.torch.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
