"""Files that the real frameworks wrote (tests/data/checkpoints/make.py) read as they hold them."""

import json
import zlib
from pathlib import Path

import pytest

from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
EXPECTED = {
    name: arrays
    for facts in json.loads((DATA / "expected.json").read_text()).values()
    for name, arrays in facts["files"].items()
}
FORMATS = {
    ".pth": "torch", ".safetensors": "safetensors", ".ckpt": "mindspore", ".npz": "npz",
    ".keras": "keras", ".weights.h5": "keras-weights", ".h5": "keras-h5", ".onnx": "onnx",
}  # fmt: skip


def facts(array):
    return [str(array.dtype), list(array.shape), zlib.crc32(array.tobytes())]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_array_is_the_frameworks_own(name):
    with checkpoints.read(DATA / name) as checkpoint:
        found = {n: facts(entry.load()) for n, entry in checkpoint.items()}
        pieces = {n: b"".join(p.tobytes() for p in e.chunks(24)) for n, e in checkpoint.items()}
    assert found == EXPECTED[name]
    assert {n: zlib.crc32(p) for n, p in pieces.items()} == {n: f[2] for n, f in found.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_format_is_recognised_whatever_the_file_is_called(name, tmp_path):
    expected = next(known for suffix, known in FORMATS.items() if name.endswith(suffix))
    if "legacy" in name:
        expected = "torch-legacy"
    disguised = tmp_path / "weights.txt"
    disguised.write_bytes((DATA / name).read_bytes())
    assert checkpoints.detect(disguised) == expected


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        ("torch.pth", "torch"),
        ("torch_legacy.pth", "torch"),
        ("pt.safetensors", "torch"),
        ("ms.safetensors", "mindspore"),
        ("mindspore.ckpt", "mindspore"),
        ("keras.keras", "keras"),
        ("keras.h5", "keras"),
        ("keras.weights.h5", "keras"),
        ("tf_keras.keras", "tf_keras"),
        ("tf_keras_weights.h5", "tf_keras"),
        ("tf_keras.weights.h5", None),  # it says nothing
        ("numpy.npz", None),
    ],
)
def test_the_framework_is_named_where_the_file_says_it(name, framework):
    with checkpoints.read(DATA / name) as checkpoint:
        assert checkpoint.framework == framework


def test_a_nested_torch_file_has_groups_and_plain_values():
    with checkpoints.read(DATA / "torch_nested.pth") as checkpoint:
        assert checkpoint.groups[0] == "state_dict"
        assert set(checkpoint.groups[1:]) == {f"optimizer/state/{i}" for i in range(5)}
        assert checkpoint.extras["epoch"] == 3
        assert checkpoint.extras["arch"] == "tiny"
        assert checkpoint.metadata["torch"]["skipped"] == {
            "args": "argparse.Namespace",
            "numpy_best": "numpy._core.multiarray.scalar",
        }
        state = checkpoint.group("state_dict")
        assert list(state)[:3] == ["mask", "conv1.weight", "bn1.weight"]
        assert state.metadata["layers"]["bn1"] == {"version": 2}
        assert state.extras == {}
        with pytest.raises(CheckpointError, match="has no group 'model'; it has 'state_dict'"):
            checkpoint.group("model")


def test_module_versions_of_a_flat_torch_file_are_kept():
    with checkpoints.read(DATA / "torch.pth") as checkpoint:
        assert checkpoint.groups == ("",)
        assert checkpoint.group("") is checkpoint
        assert checkpoint.metadata["layers"]["norm"] == {"version": 2}


def test_what_append_dict_adds_is_an_entry_or_a_text():
    with checkpoints.read(DATA / "mindspore_append.ckpt") as checkpoint:
        assert checkpoint.extras == {"note": "héllo"}
        assert checkpoint["big"].load() == 1 << 40
        assert checkpoint["big"].shape == ()


def test_a_pickled_module_is_read_by_its_attributes():
    with checkpoints.read(DATA / "torch_module.pth") as checkpoint:
        assert list(checkpoint) == ["weight"]
        facts = checkpoint.metadata["layers"][""]
        assert facts["class"] == "Conv2d"
        assert facts["config"]["kernel_size"] == [3, 3]
        assert facts["config"]["groups"] == 1


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("torch_script.pt", r"TorchScript.*torch\.jit\.load\(path\)\.state_dict\(\)"),
        ("torch_conj.pth", r"conjugated.*resolve_conj"),
        ("mindspore_encrypted.ckpt", r"encrypted.*dec_key"),
        ("numpy_object.npz", r"x\.npy.*pickle, which is never run"),
    ],
)
def test_what_cant_be_read_says_what_to_do_instead(name, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoints.read(DATA / name)
    assert name in str(caught.value)
