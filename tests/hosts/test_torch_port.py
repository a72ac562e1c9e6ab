"""Models under another dialect's rule, against the dialects (test_continuation.py: in training)."""

import copy

import numpy as np
import pytest
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
        (nn.BatchNorm2d(3), "caffe", "expected one of"),
    ],
)
def test_what_the_dialect_cannot_express_is_refused_before_anything_changes(layer, semantics, text):
    model = nn.Sequential(nn.BatchNorm2d(2), layer)
    with pytest.raises(ValueError, match=text):
        port(model, semantics)
    assert [type(m) for m in model] == [nn.BatchNorm2d, nn.BatchNorm2d]
