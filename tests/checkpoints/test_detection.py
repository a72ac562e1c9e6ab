"""Files are told apart by content; what is none of ours is refused with advice."""

import os

import numpy as np
import pytest
from hostile import safetensors

from batchnorm import checkpoints
from batchnorm.checkpoints.detection import FORMATS, format_of_name
from batchnorm.errors import CheckpointError


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "0 bytes; it is empty or cut short"),
        (b"\x0a\x05", "2 bytes"),
        (b"\x1f\x8b" + b"\0" * 60, "gzip"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 60, "zstd"),
        (b"<!DOCTYPE html>" + b" " * 60, "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n" + b" " * 60, "git lfs pull"),
        (b'{"weight_map": {}}' + b" " * 60, "weight_map is no table"),
        (b"\n" + b'  {"a": 1}' + b" " * 60, "JSON, not a checkpoint"),
        (b"GGUF\3\0\0\0" + b"\0" * 60, "GGUF"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 60, "TFLite.*save_weights"),
        (b"\x08\x08\x12\x07pytorch\x1a\x032.1", "0 graphs, and an ONNX model has one"),
        (b"\x08\x01\x12\xf0\x01" + b"\0" * 60, "SavedModel"),
        (b'model_checkpoint_path: "x-1"\n' + b" " * 60, "TensorFlow's list.*save_weights"),
        (b"\x93NUMPY\1\0" + b" " * 60, r"single \.npy array.*numpy\.savez"),
        (b"\x80\x02}q\x00." + b" " * 60, "plain pickle"),
        (b"\0" * 40 + bytes.fromhex("57fb808b247547db"), "TensorFlow checkpoint index.*weights.h5"),
        (b"hello, this is a text file", "none of safetensors"),
        (b"\0" * 100, "none of safetensors"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_advice(content, match, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        checkpoints.read(tmp_path / "x.pth")


@pytest.mark.parametrize("length", [0x7B, 0x8B1F, 0x5A42])
def test_a_header_length_that_looks_like_another_signature_does_not_mislead(length, tmp_path):
    header = b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(length)
    (tmp_path / "x").write_bytes(safetensors(header, b"\7"))
    with checkpoints.read(tmp_path / "x") as checkpoint:
        assert checkpoint["x"].load().tolist() == [7]


def test_tensorflow_files_are_refused_by_name(tmp_path):
    (tmp_path / "x.data-00000-of-00001").write_bytes(b"\x0a" * 100)
    with pytest.raises(CheckpointError, match="TensorFlow checkpoint shard"):
        checkpoints.read(tmp_path / "x.data-00000-of-00001")
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00" * 10)
    with pytest.raises(CheckpointError, match=r"SavedModel.*save_weights"):
        checkpoints.read(tmp_path / "saved_model.pb")
    with pytest.raises(CheckpointError, match=r"SavedModel.*save_weights"):
        checkpoints.read(tmp_path)
    (tmp_path / "saved_model.pb").unlink()
    with pytest.raises(CheckpointError, match="is a folder"):
        checkpoints.read(tmp_path)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    with pytest.raises(CheckpointError, match="can't be opened: No such file"):
        checkpoints.read(tmp_path / "missing.pth")
    os.mkfifo(tmp_path / "fifo.pth")
    with pytest.raises(CheckpointError, match="not a regular file"):
        checkpoints.read(tmp_path / "fifo.pth")  # does not wait for a writer
    with pytest.raises(CheckpointError, match="can't be opened"):
        checkpoints.read(tmp_path / "a\0b")


def test_an_unknown_format_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"\0" * 9)
    with pytest.raises(CheckpointError, match="'gguf' is none of safetensors"):
        checkpoints.read(tmp_path / "x", format="gguf")
    with pytest.raises(CheckpointError, match=r"ends in none of \.safetensors"):
        checkpoints.write(tmp_path / "x.onnx", {"x": np.ones(1)})
    with pytest.raises(CheckpointError, match=r"torch-legacy is only read; write \.pth"):
        checkpoints.write(tmp_path / "x.pth", {"x": np.ones(1)}, format="torch-legacy")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("a.weights.h5", "keras-weights"),
        ("a.h5", "keras-h5"),
        ("A.PTH", "torch"),
        ("pytorch_model.bin", "torch"),
        ("a.ckpt", "mindspore"),
        ("a.onnx", None),
    ],
)
def test_the_longest_suffix_gives_the_format_to_write(name, known):
    assert format_of_name(name) == known
    assert known is None or known in FORMATS
