"""Files and folders of others that can't be read here: what each is, and the way that works.

Told by content; a suffix only adds a name to what the content leaves open. Facts: Caffe's
`caffe.proto`, TensorFlow's `graph.proto`, CoreML's `Model.proto`, MindSpore's `mind_ir.proto`,
`torch.distributed.checkpoint` 2.13 and files of it, Paddle's `framework/io.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

from batchnorm.checkpoints.source import Source

__all__ = ["CAFFE", "foreign_file", "foreign_folder", "foreign_pickle", "foreign_protobuf"]

SAVEZ = "where the file is trusted, write its arrays in Python: "
TRUSTED = "pickle.loads(pathlib.Path(path).read_bytes())"
DISTRIBUTED = (
    "a distributed checkpoint of torch ({what}); make one file of its folder: `python -m "
    "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER new.pth`"
)
MINDIR = (
    "a MindIR graph; the network's code and `mindspore.save_checkpoint(net, 'new.ckpt')` give a "
    "checkpoint"
)
CORE_ML = "a CoreML model, compiled for devices; convert the checkpoint that it was made from"
CAFFE = (
    "a Caffe model; write its arrays with pycaffe and numpy.savez under the target's names: a "
    "BatchNorm's mean and variance divided by its third blob, scale and shift from the Scale "
    "layer after it"
)
FROZEN = (
    "a TensorFlow graph (GraphDef), in which variables became constants and lost their names; load "
    "the model that it was made from in Keras and save `model.save_weights('x.weights.h5')`"
)
PADDLE = (
    "Paddle's parameters, a pickle that is not read here; {savez}`d = paddle.load(path)` (or "
    "{trusted}), then `numpy.savez(new, **{{k.replace('._mean', '.running_mean').replace("
    "'._variance', '.running_var'): numpy.asarray(v) for k, v in d.items() if not isinstance(v, "
    "dict)}})`, with the weights of Linear transposed, and convert that with --from torch"
)


def foreign_file(source: Source, start: bytes) -> str:
    """What a file is that begins so; empty if it is none of these."""
    name = source.path.name.lower()
    if start.startswith(b"\x93NUMPY"):
        return _single_array(start)
    if name.endswith(".distcp"):
        return DISTRIBUTED.format(what="one of its files, with parts of tensors")
    if name == ".metadata" and start[:1] == b"\x80":
        return DISTRIBUTED.format(what="the list of its tensors")
    if start[:1] == b"\x08" and start[2:3] == b"\x12" and start[4:5] in (b"\x0a", b"\x52"):
        return CORE_ML  # a description, where ONNX has its producer's name
    return ""


def foreign_folder(path: Path) -> str:
    """What a folder is; empty if it is none of these."""
    names = {child.name for child in path.iterdir()}
    indices = sorted(name for name in names if name.endswith(".index.json"))
    if indices:
        return f"a folder; give the index in it, {path / indices[0]}, which names all its files"
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        return DISTRIBUTED.format(what="a folder of parts").replace("FOLDER", str(path))
    if "Manifest.json" in names and path.suffix == ".mlpackage":
        return CORE_ML
    return ""


def foreign_pickle(source: Source) -> str:
    """What a plain pickle is, and how its arrays are written for us; torch can't load one."""
    name = source.path.name.lower()
    text = source.read(0, min(source.size, 1 << 20), "first bytes")
    text += source.read(max(source.size - (1 << 16), 0), min(source.size, 1 << 16), "last bytes")
    if name.endswith((".pdparams", ".pdopt")) or b"StructuredToParameterName@@" in text:
        return PADDLE.format(savez=SAVEZ, trusted=TRUSTED)
    inner = "['model']" if re.search(rb"[XUT\x8c].{1,4}model[qr\x94]", text, re.DOTALL) else ""
    return (
        f"a plain pickle, which is never run here and which torch.load can't read; {SAVEZ}"
        f"`numpy.savez(new, **{{k: numpy.asarray(v) for k, v in {TRUSTED}{inner}.items()}})`, and "
        "convert that"
    )


def foreign_protobuf(source: Source, start: bytes) -> str:
    """What a message is whose first field is a text or message; empty for MindSpore's .ckpt."""
    name = source.path.name.lower()
    length, at = _varint(start, 1)
    field = start[at : at + length]
    if (b"MindSpore" in start[:64] and field[:1].isdigit()) or name.endswith(".mindir"):
        return MINDIR
    if field[:1] != b"\x0a":  # no tag inside: the name of a net
        return CAFFE if name.endswith(".caffemodel") or _is_caffe(start[at + length :]) else ""
    size, inner = _varint(field, 1)
    after = field[inner + size :]
    if after[:1] == b"\x12" and len(after) > 2:  # MindSpore: a tensor; TensorFlow: an operation
        operation, begin = _varint(after, 1)
        word = after[begin : begin + operation]
        if re.fullmatch(rb"_?[A-Z][A-Za-z0-9>_]*", word):
            return FROZEN
    return ""


def _single_array(start: bytes) -> str:
    if b"'descr': '|O'" in start[:256]:
        return (
            "a .npy with a Python object, mostly a dictionary, pickled, which is never run here; "
            f"{SAVEZ}`numpy.savez(new, **numpy.load(path, allow_pickle=True).item())`, with names "
            "such as layer/array for what is nested"
        )
    return "a single .npy array without a name; save it with numpy.savez(path, name=array)"


def _is_caffe(rest: bytes) -> bool:
    """Whether layers follow: field 2 (the old form) or 100, each beginning with a field of its."""
    return rest[:1] == b"\x12" or rest[:2] == b"\xa2\x06"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 63:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at
