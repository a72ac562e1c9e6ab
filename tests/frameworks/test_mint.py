"""MindSpore's mint: what can be compared on a CPU is, the numbers are torch's by its source."""

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.errors import InvalidAttribute, InvalidType, InvalidValue
from batchnorm.frameworks import find
from batchnorm.translate import translate

CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
SHAPES = {"BatchNorm1d": (4, 3), "BatchNorm2d": (4, 3, 2, 2), "BatchNorm3d": (4, 3, 2, 2, 2)}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("momentum", [0.3, None])
def test_it_computes_by_torch_s_rule(name, momentum):
    ours = getattr(bn.mint, name)(3, momentum=momentum).set_train()
    theirs = getattr(bn.torch, name)(3, momentum=momentum)
    x = np.random.default_rng(0).normal(size=SHAPES[name]).astype(np.float32)
    for mode in (True, True, False):
        ours.set_train(mode)
        theirs.train(mode)
        np.testing.assert_array_equal(ours(x), theirs(x))
        np.testing.assert_array_equal(ours.backward(x), theirs.backward(x))
        for own, value in theirs.state.items():
            np.testing.assert_array_equal(ours.state[own], value)


def test_it_is_a_cell():
    layer = bn.mint.BatchNorm2d(3)
    assert not layer.training
    for name in ("train", "eval", "state_dict", "load_state_dict"):
        assert not hasattr(layer, name)
        with pytest.raises(InvalidAttribute, match=name):
            getattr(layer, name)
    assert next(iter(layer.parameters_dict(name="bn1"))) == "bn1.weight"
    assert layer.trainable_params() == ["weight", "bias"]
    assert bn.mint.BatchNorm2d(3, affine=False).trainable_params() == []
    bn.mindspore.load_param_into_net({"bn1": layer}, {"bn1.running_mean": np.full(3, 2.0, "f")})
    assert layer.running_mean.tolist() == [2, 2, 2]


def test_a_group_of_processes_is_nothing_that_another_framework_has():
    found = translate("nn.SyncBatchNorm(8, process_group=group)", from_="torch", to="mint")
    assert "process_group" not in found.text
    assert [d.kind for d in found.differences if "processes" in d.text] == ["inexpressible"]


def test_errors_before_the_kernel_are_its_own():
    with pytest.raises(InvalidValue):
        bn.mint.BatchNorm2d(-1)
    with pytest.raises(InvalidType):
        bn.mint.BatchNorm2d("a")
    with pytest.raises(InvalidValue, match="4D"):
        bn.mint.BatchNorm2d(3)(np.zeros((2, 3), np.float32))
    with pytest.raises(InvalidType):
        bn.mint.BatchNorm2d(3)([[1.0]])


@pytest.mark.parametrize(
    ("call", "source", "target", "expected"),
    [
        ("mint.nn.BatchNorm2d(8, momentum=0.01)", None, "torch", "nn.BatchNorm2d(8, momentum=0.01"),
        ("mint.nn.BatchNorm2d(8, momentum=0.01)", None, "ms", "nn.BatchNorm2d(8, momentum=0.99"),
        ("nn.SyncBatchNorm(8, eps=0.1)", "torch", "mint", "mint.nn.SyncBatchNorm(8, eps=0.1)"),
        ("mint.nn.SyncBatchNorm(8)", None, "ms", "nn.SyncBatchNorm(8)"),
        ("nn.BatchNorm2d(8, momentum=0.99)", "ms", "mint", "mint.nn.BatchNorm2d(8, momentum=0.01"),
        ("nn.BatchNorm2d(8, momentum=0.01)", "torch", "ms.mint", "mint.nn.BatchNorm2d(8, mom"),
        ("mindspore.mint.nn.BatchNorm1d(8)", "mint", "keras", "momentum=0.9, epsilon=1e-05"),
        ("BatchNormalization()", "keras", "mint", "mint.nn.BatchNorm2d(NUM_FEATURES, eps=0.001"),
    ],
)  # fmt: skip
def test_it_is_translated_both_ways(call, source, target, expected):
    found = translate(call, from_=source, to=target)
    assert expected in found.text
    assert found.proof.holds
    assert any("Ascend only" in note for note in found.notes)


def test_what_torch_alone_can_say_is_told():
    found = translate("nn.BatchNorm2d(8, bias=False)", from_="torch", to="mint")
    assert "extra-parameter" in {difference.key for difference in found.differences}


def test_a_call_that_names_no_framework_is_not_read_as_mint_s():
    found = translate("nn.BatchNorm2d(8, track_running_stats=False)", to="keras")
    assert found.plan.source.form.dialect.name == "torch"


def test_it_is_told_of_as_the_easier_port_from_torch():
    assert any(
        "--to mint" in n for n in translate("nn.BatchNorm2d(8)", from_="torch", to="ms").notes
    )
    assert not translate("nn.BatchNorm2d(8)", from_="torch", to="keras").notes
    assert "mindspore.mint.nn.BatchNorm2d" in bn.explain("torch", "mindspore")
    assert "Ascend only" in bn.explain("mint", "keras", format="text")


def test_verify_says_why_it_is_not_compared():
    with pytest.raises(InvalidValue, match="nothing to compare mint with"):
        bn.verify(bn.mint.BatchNorm2d(3))
    with pytest.raises(InvalidValue, match="Ascend only"):
        bn.verify(frameworks=["mindspore.mint"])


def test_its_names_go_into_mindspore_s_files_and_back(tmp_path):
    state = {"bn1.weight": np.full(3, 2, "f"), "bn1.bias": np.full(3, 1, "f")}
    state |= {"bn1.running_mean": np.full(3, 5, "f"), "bn1.running_var": np.full(3, 4, "f")}
    state |= {"bn1.num_batches_tracked": np.array(7)}
    bn.checkpoints.write(tmp_path / "a.safetensors", state)
    bn.convert(tmp_path / "a.safetensors", tmp_path / "a.ckpt", to="mint")
    assert set(bn.checkpoints.read(tmp_path / "a.ckpt")) == set(state)
    bn.convert(tmp_path / "a.ckpt", tmp_path / "b.ckpt", from_framework="mint", to="mindspore")
    assert "bn1.moving_mean" in bn.checkpoints.read(tmp_path / "b.ckpt")
    bn.convert(tmp_path / "b.ckpt", tmp_path / "c.ckpt", to="mint")
    assert "bn1.running_mean" in bn.checkpoints.read(tmp_path / "c.ckpt")
    with pytest.raises(bn.CheckpointError, match="--to is mint"):
        bn.convert(tmp_path / "a.ckpt", tmp_path / "a.h5", to="mint")


def test_signatures_are_stated_as_the_installed_release_has_them():
    """What the worker below compares, in short: torch's parameters without device and bias."""
    own = list(inspect.signature(bn.mint.BatchNorm2d).parameters)
    theirs = list(inspect.signature(bn.torch.BatchNorm2d).parameters)
    assert own == [name for name in theirs if name not in ("device", "bias")]
    assert find("mint").version == find("mindspore").version


def test_the_installed_mint_is_as_declared():
    if importlib.util.find_spec("mindspore") is None:
        pytest.skip("MindSpore isn't installed")
    script = Path(__file__).with_name("mint_here.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "as declared"
