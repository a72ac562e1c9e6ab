"""Every recorded scenario of the real frameworks, step by step, on our layers.

The recordings in tests/data/golden stand in for frameworks that can't be installed beside the rest
(TensorFlow 2.6 and MindSpore 2.0 need Python 3.9) and are a quick check without any framework.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn

GOLDEN = Path(__file__).parent / "data" / "golden"
LAYERS = {
    "torch_2.13": bn.torch.BatchNorm2d,
    "mindspore_2.0_cpu": bn.mindspore_2_0.BatchNorm2d,
    "mindspore_2.10_cpu": bn.mindspore.BatchNorm2d,
    "tf_keras_2.6": bn.tf_keras_2_6.BatchNormalization,
    "tf_keras_2.21": bn.tf_keras.BatchNormalization,
}
GRADIENTS = {"dweight": "weight", "dbias": "bias", "dgamma": "gamma", "dbeta": "beta"}


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(str(arrays.pop("meta")))["scenarios"], arrays


def scenarios():
    return [(name, scenario) for name in LAYERS for scenario in load(name)[0]]


def assert_close(ours, recorded, scenario, what):
    assert ours.shape == recorded.shape, what
    assert ours.dtype == recorded.dtype, what
    if np.issubdtype(recorded.dtype, np.integer):
        np.testing.assert_array_equal(ours, recorded, err_msg=what)
        return
    tolerance = {"mixed_float16": 2e-3, "float64": 1e-12}.get(scenario, 2e-6)
    ours, recorded = ours.astype(np.float64), recorded.astype(np.float64)
    finite = np.isfinite(recorded)
    np.testing.assert_array_equal(ours[~finite], recorded[~finite], err_msg=what)  # nan, inf, -inf
    assert np.isfinite(ours[finite]).all(), what
    ours, recorded = ours[finite], recorded[finite]
    largest = np.max(np.abs(recorded), initial=np.finfo(np.float32).tiny)
    worst = np.max(np.abs(ours - recorded), initial=0) / largest
    assert worst <= tolerance, f"{what}: {worst:.2e} of the largest value"


@pytest.mark.parametrize(("name", "scenario"), scenarios())
def test_recorded_steps_are_reproduced(name, scenario):
    settings, arrays = load(name)
    meta = settings[scenario]
    layer = LAYERS[name](**meta["kwargs"])
    call = {}
    if name.startswith("torch"):
        layer.train(meta["training"])
    elif name.startswith("mindspore"):
        layer.set_train(meta["set_train"])
    else:
        layer.build(meta["shape"])
        call = {"training": True}

    def recorded(step):
        prefix = f"{scenario}/{step}/"
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    layer.load_state(recorded("init"))
    for step in "012":
        data = recorded(step)
        y = layer(data["x"], **call)
        assert_close(y, data["y"], scenario, f"y of step {step}")
        dx = layer.backward(data["dy"])
        assert_close(dx, data["dx"], scenario, f"dx of step {step}")
        for key, value in data.items():
            if key.startswith("after_"):
                ours = layer.state[key.removeprefix("after_")]
                assert_close(ours, value, scenario, f"{key} step {step}")
            elif key in GRADIENTS:
                ours = layer.gradients[GRADIENTS[key]]
                assert_close(ours, value, scenario, f"{key} of step {step}")
    if name.startswith("torch"):
        layer.eval()
    elif name.startswith("mindspore"):
        layer.set_train(False)
    else:
        call = {"training": False}
    data = recorded("infer")
    assert_close(layer(data["x"], **call), data["y"], scenario, "y of the inference")
