"""`--fold` on nets that are run again: by a config's calls, from names only where they show it."""

import json

import pytest
from real_frameworks import NETS, needed, run_script

LEFT = [
    "index gap", "conv1 conv2 bn1 bn2", "shortcut bn1 conv1", "skip bn conv",
    "proj norm_a conv_b", "square deconv", "square unnamed",
]  # fmt: skip
FOLDED = {
    "plain": ["bn1", "bn2", "head.1"], "stem": ["bn1"], "deconv": ["1"],
    "live square deconv": ["1"], "live groups": ["1"], "groups 3": ["1"], "groups 2": ["1"],
    "depthwise": ["1"],
}  # fmt: skip
KERAS = {
    "residual": 2, "activation": 1, "shared": 0, "nested": 2, "twice": 0, "chain": 4,
}  # fmt: skip
APPLICATIONS = {
    "ResNet50": 53, "InceptionV3": 94, "MobileNetV2": 52, "DenseNet121": 59, "EfficientNetB0": 49,
}  # fmt: skip


def run(folder, framework, *nets):
    needed(framework)
    return json.loads(run_script(NETS / "folded_nets.py", framework, str(folder), *nets))


@pytest.fixture(scope="module")
def torch_nets(tmp_path_factory):
    return run(tmp_path_factory.mktemp("torch"), "torch")


@pytest.mark.parametrize("net", LEFT)
def test_what_names_speak_against_is_left_and_said(torch_nets, net):
    assert torch_nets[net]["gone"] == []
    assert "left unfolded" in torch_nets[net]["said"]


@pytest.mark.parametrize("net", FOLDED)
def test_what_is_folded_computes_as_before(torch_nets, net):
    assert torch_nets[net]["gone"] == FOLDED[net]
    assert torch_nets[net]["moved"] < 1e-5


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_a_config_s_calls_say_what_is_folded(tmp_path, framework):
    needed("torch")
    found = run(tmp_path, framework)
    assert {name: one["gone"] for name, one in found.items()} == KERAS
    assert max(one["moved"] for one in found.values()) < 1e-5
    assert "has the activation relu" in found["activation"]["said"]
    assert "more than once" in found["shared"]["said"]
    assert "others take the output" in found["nested"]["said"]


def test_keras_applications_fold_with_equal_outputs(tmp_path):
    needed("torch")
    found = run(tmp_path, "keras", *APPLICATIONS)
    for name, one in found.items():
        assert one["moved"] < 1e-5, (name, one)
    assert {name: one["gone"] for name, one in found.items()} == APPLICATIONS
