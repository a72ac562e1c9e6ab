"""Recomputed running statistics: our own layers here, live models each in a process of its own."""

import doctest
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchnorm as bn
from batchnorm.hosts.gathered import Gathered

SCRIPT = Path(__file__).parent / "recalibrating_real_models.py"
LAYERS = {
    "torch": (lambda: bn.torch.BatchNorm2d(3), (3, 4, 2), 1, 1),
    "mindspore": (lambda: bn.mindspore.BatchNorm2d(3), (3, 4, 2), 1, 1),
    "mindspore 2.0": (lambda: bn.mindspore_2_0.BatchNorm2d(3), (3, 4, 2), 1, 0),
    "fused": (lambda: bn.tf_keras.BatchNormalization(), (4, 2, 3), 3, 1),
    "unfused": (lambda: bn.tf_keras.BatchNormalization(), (2, 3), 2, 0),
    "ghosts": (lambda: bn.tf_keras.BatchNormalization(virtual_batch_size=1), (2, 3), 2, 0),
    "adjusted": (
        lambda: bn.tf_keras.BatchNormalization(adjustment=lambda shape: (2.0, 1.0)),
        (2, 3),
        2,
        0,
    ),
    "keras": (lambda: bn.keras.BatchNormalization(axis=1), (3, 4), 1, 0),
}


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=15)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_a_layer_gets_the_data_sets_statistics_however_it_is_cut_into_batches(name, sizes, seed):
    make, shape, axis, ddof = LAYERS[name]
    layer = make()
    random = np.random.default_rng(seed)
    batches = [(random.normal(size=(n, *shape)) * 3 + 1e3).astype(np.float32) for n in sizes]
    batches.append((random.normal(size=(2, *shape)) * 3 + 1e3).astype(np.float32))
    found = bn.recalibrate(layer, iter(batches), progress=False)
    whole = np.moveaxis(np.concatenate(batches), axis, 0).reshape(3, -1).astype(np.float64)
    assert (found[""].count == whole.shape[1]).all()
    mean, var = (layer._value(role) for role in ("running_mean", "running_var"))
    np.testing.assert_allclose(mean, whole.mean(axis=1), rtol=1.2e-7)
    np.testing.assert_allclose(var, whole.var(axis=1, ddof=ddof), rtol=1.2e-7)


def test_nothing_but_the_statistics_changes():
    layer = bn.torch.BatchNorm1d(2).eval()
    layer.weight[...], layer.bias[...] = 3, 4
    bn.recalibrate(layer, [np.ones((4, 2), np.float32)], progress=False)
    assert layer.training is False
    state = layer.state
    assert state["weight"].tolist() == [3, 3]
    assert state["bias"].tolist() == [4, 4]
    assert state["num_batches_tracked"] == 0
    assert layer.gradients == {}


def test_workers_get_the_statistics_of_all_parts():
    data = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    parts, sent = [data[:2], data[2:9], data[:0]], []
    layers = [bn.torch.BatchNorm1d(2) for _ in parts]
    for layer, part in zip(layers, parts, strict=True):  # what each would send
        spy = Gathered(lambda mine: sent.append(mine) or stop())
        with pytest.raises(RuntimeError, match="enough"):
            bn.recalibrate(layer, [part], workers=spy, progress=False)
    for layer, part in zip(layers, parts, strict=True):
        bn.recalibrate(layer, [part], workers=Gathered(lambda mine: sent), progress=False)
        np.testing.assert_allclose(layer.running_var, data.var(axis=0, ddof=1), rtol=2e-7)


def stop():
    raise RuntimeError("enough")


def test_what_can_not_be_recalibrated_is_refused_and_unchanged():
    layer = bn.torch.BatchNorm1d(2)
    with pytest.raises(ValueError, match="no batch has reached"):
        bn.recalibrate(layer, [], progress=False)
    x = np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match="no running statistics"):
        bn.recalibrate(bn.torch.BatchNorm1d(2, track_running_stats=False), [x], progress=False)
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        bn.recalibrate(layer, [x, np.ones(3, np.float32)], progress=False)
    assert layer.running_var.tolist() == [1, 1]
    frozen = bn.keras.BatchNormalization(trainable=False)
    with pytest.raises(ValueError, match="frozen"):
        bn.recalibrate(frozen, [x], progress=False)
    with pytest.raises(TypeError, match="mpi4py communicator"):
        bn.recalibrate(layer, [x], workers=3)
    with pytest.raises(TypeError, match="read takes"):
        bn.recalibrate(object(), [x])


@pytest.mark.parametrize("case", ["torch", "torch_workers", "mindspore", "tf_keras", "keras"])
def test_a_live_model_gets_what_its_layers_see_in_training(case):
    framework = case.removesuffix("_workers")
    if importlib.util.find_spec(framework) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{framework} is not installed, and in CI it must be")
        pytest.skip(f"{framework} is not installed")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "GLOG_v": "3"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", **quiet},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("module", ["recalibrate", "computation", "read", "hosts.gathered"])
def test_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"batchnorm.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
