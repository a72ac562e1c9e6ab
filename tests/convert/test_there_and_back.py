"""Files that the real frameworks wrote go to every other framework and come back bit for bit."""

from pathlib import Path

import pytest

import batchnorm as bn
from batchnorm.errors import CheckpointError

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
FILES = (
    "keras.h5", "keras.keras", "keras.weights.h5", "keras_bfloat16.weights.h5",
    "keras_renorm.keras", "keras_subclass.weights.h5", "mindspore.ckpt", "mindspore_append.ckpt",
    "mindspore_bare.ckpt", "ms.safetensors", "tf_keras.h5", "tf_keras.keras",
    "tf_keras.weights.h5", "tf_keras_weights.h5",
)  # fmt: skip
TARGETS = {"torch": ".pth", "mindspore": ".ckpt", "keras": ".safetensors", "tf_keras": ".h5"}
KERAS = {"keras", "tf_keras"}


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("file", FILES)
def test_there_and_back(tmp_path, file, to):
    source, middle = DATA / file, tmp_path / f"b{TARGETS[to]}"
    there = bn.convert(source, middle, to=to, allow_missing=True).report
    assert not there.of("unused", "missing"), there.rows
    suffix = ".weights.h5" if file.endswith(".weights.h5") else source.suffix
    own = there.frameworks[0]
    back = tmp_path / f"c{suffix}"
    like = source if own in KERAS else None  # only the template has Keras's names and config
    report = bn.convert(middle, back, to=own, like=like, allow_missing=True).report
    assert not report.of("unused", "missing"), report.rows
    with bn.checkpoints.read(source) as x, bn.checkpoints.read(back) as y:
        assert set(x) == set(y)
        for name in x:
            a, b = x[name].load(), y[name].load()
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name
        assert x.extras == y.extras


def test_a_layer_saved_alone_gets_a_name_in_keras(tmp_path):
    found = bn.convert(DATA / "mindspore_bare.ckpt", tmp_path / "b.weights.h5").report
    assert {row.target.partition("/")[0] for row in found.rows} == {"batch_normalization"}


def test_an_encrypted_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="dec_key"):
        bn.convert(DATA / "mindspore_encrypted.ckpt", tmp_path / "b.pth")


@pytest.mark.parametrize("file", ["torch.pth", "torch_views.pth", "torch_legacy.pth"])
def test_torch_s_own_files_to_mindspore_and_back(tmp_path, file):
    bn.convert(DATA / file, tmp_path / "b.ckpt")
    bn.convert(tmp_path / "b.ckpt", tmp_path / "c.pth")
    with bn.checkpoints.read(DATA / file) as x, bn.checkpoints.read(tmp_path / "c.pth") as y:
        assert set(x) == set(y)
        for name in x:
            a, b = x[name].load(), y[name].load()
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), name
        assert x.extras == y.extras
