"""Files of others: what each is and the way that works; no file of ours is taken for one."""

import io
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

ARRAYS = {"conv1.weight": np.ones((6, 3), np.float32), "bn1._mean": np.zeros(6, np.float32)}


def field(number, data):
    head = (number << 3 | 2).to_bytes(1, "little") if number < 16 else b"\xa2\x06"
    length = len(data)
    return (
        head
        + (bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7]))
        + data
    )


def array_file(value):
    out = io.BytesIO()
    np.save(out, value, allow_pickle=True)
    return out.getvalue()


NODE = field(1, field(1, b"input") + field(2, b"Placeholder"))
LAYER = field(2, field(4, b"conv1") + field(5, b"Convolution")) * 4
SAID = {
    "net.pdparams": (pickle.dumps(ARRAYS, 2), ["Paddle", "paddle.load", "Linear transposed"]),
    "structured.bin": (
        pickle.dumps({**ARRAYS, "StructuredToParameterName@@": {}}, 4), ["Paddle"],
    ),
    "net.pkl": (pickle.dumps({"model": ARRAYS, "by": "x"}, 2), ["['model']", "numpy.savez"]),
    "flat.pkl": (pickle.dumps(ARRAYS, 4), ["bytes()).items()", "numpy.savez"]),
    "net.npy": (array_file({"conv1": {"w": 1}}), ["dictionary", "allow_pickle=True"]),
    "one.npy": (array_file(np.ones(3)), ["without a name", "numpy.savez"]),
    "net.caffemodel": (field(1, b"ResNet-50") + LAYER, ["Caffe", "third blob"]),
    "other.caffemodel": (LAYER, ["Caffe"]),
    "new.caffemodel": (field(1, b"net") + field(100, field(1, b"conv")) * 3, ["Caffe"]),
    "caffe without a suffix": (field(1, b"ResNet-50") + LAYER, ["Caffe"]),
    "frozen.pb": (NODE + field(1, field(1, b"bn/gamma") + field(2, b"Const")), ["GraphDef"]),
    "net.mlmodel": (b"\x08\x04\x12\x05\x0a\x03\x0a\x01x\x1a\x00", ["CoreML", "made from"]),
    "net.mindir": (field(1, b"0.1.1") + field(2, b"MindSpore") + field(3, b"2.10"), ["MindIR"]),
    "graph": (field(1, b"0.1.1") + field(2, b"MindSpore") + field(3, b"2.10"), ["MindIR"]),
    "__0_0.distcp": (b"PK\3\4" + b"\0" * 60, ["distributed", "dcp_to_torch"]),
    ".metadata": (pickle.dumps({"a": 1}, 4), ["distributed", "dcp_to_torch"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_it_is_named_with_a_way(name, tmp_path):
    content, words = SAID[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.read(tmp_path / name)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "damaged" not in text
    assert "torch.save" not in text


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_way_that_is_said_for_a_pickle_works(wrapped, tmp_path):
    path, new = tmp_path / "net.pkl", tmp_path / "new.npz"
    path.write_bytes(pickle.dumps({"model": ARRAYS} if wrapped else ARRAYS, 2))
    with pytest.raises(CheckpointError) as caught:
        checkpoints.read(path)
    code = str(caught.value).partition("`")[2].partition("`")[0]
    exec(code, {"numpy": np, "pickle": pickle, "pathlib": pathlib, "path": path, "new": new})
    assert list(checkpoints.read(new)) == list(ARRAYS)


def test_the_way_that_is_said_for_paddle_works(tmp_path):
    path, new = tmp_path / "net.pdparams", tmp_path / "new.npz"
    path.write_bytes(pickle.dumps({**ARRAYS, "StructuredToParameterName@@": {"a": "b"}}, 2))
    with pytest.raises(CheckpointError) as caught:
        checkpoints.read(path)
    parts = str(caught.value).split("`")
    with path.open("rb") as file:
        exec(parts[3], {"numpy": np, "new": new, "d": pickle.load(file)})
    assert list(checkpoints.read(new)) == ["conv1.weight", "bn1.running_mean"]


def test_a_folder_of_parts_is_named(tmp_path):
    (tmp_path / ".metadata").write_bytes(b"")
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"distributed checkpoint.*dcp_to_torch"):
        checkpoints.read(tmp_path)


def test_archives_behind_each_other_are_not_the_last_of_them(tmp_path):
    """As the parts of a distributed checkpoint are, under whatever name."""
    parts = []
    for value in (1, 2):
        checkpoints.write(tmp_path / f"{value}.pth", {"x": np.full(3, value, np.float32)})
        parts.append((tmp_path / f"{value}.pth").read_bytes())
    path = tmp_path / "both.pth"
    path.write_bytes(b"".join(parts))
    with pytest.raises(CheckpointError):
        checkpoints.read(path)
    assert zipfile.is_zipfile(path)  # which takes the last


@pytest.mark.parametrize("name", ["a.ckpt", "Conv.ckpt", "x" * 200 + ".ckpt"])
def test_mindspores_own_is_not_taken_for_another(name, tmp_path):
    for entry in ("a", "Const", "Placeholder", "n" * 300):
        checkpoints.write(tmp_path / name, {entry: np.ones((2, 3), np.float32)}, force=True)
        assert checkpoints.detect(tmp_path / name) == "mindspore"
