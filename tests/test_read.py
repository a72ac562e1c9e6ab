"""`read` on real layers, each framework in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.read import read

SCRIPT = Path(__file__).parent / "reading_real_layers.py"


@pytest.mark.parametrize("framework", ["torch", "mindspore", "tf_keras", "keras"])
def test_a_real_layer_is_read_as_it_behaves(framework):
    if importlib.util.find_spec(framework) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{framework} is not installed, and in CI it must be")
        pytest.skip(f"{framework} is not installed")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "GLOG_v": "3"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), framework],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", **quiet},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_our_own_layers_pass_through():
    layer = bn.mindspore.BatchNorm2d(3)
    assert read(layer) is layer


@pytest.mark.parametrize("obj", [None, 3, "nn.BatchNorm2d(3)", np.zeros(3), object()])
def test_anything_else_is_refused_by_name_with_what_is_accepted(obj):
    with pytest.raises(TypeError, match=f"torch.nn.BatchNorm.*{type(obj).__qualname__}"):
        read(obj)
