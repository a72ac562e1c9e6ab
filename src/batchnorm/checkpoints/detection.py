"""Which format a file is, by its first bytes and not by its name; else advice what to do.

Facts: the formats' own files (users.md, "File layouts"; tests/data/checkpoints). Nothing is parsed
here beyond what tells the formats apart.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NoReturn

from batchnorm.checkpoints.foreign import (
    CAFFE,
    foreign_file,
    foreign_folder,
    foreign_pickle,
    foreign_protobuf,
)
from batchnorm.checkpoints.hdf5_headers import SIGNATURE
from batchnorm.checkpoints.mindspore_ckpt import ENCRYPTED
from batchnorm.checkpoints.sharded import is_index
from batchnorm.checkpoints.source import Source
from batchnorm.checkpoints.torch_legacy import MAGIC
from batchnorm.checkpoints.zip_archive import read_members
from batchnorm.errors import CheckpointError
from batchnorm.printable import shown

__all__ = [
    "CONFIGURED",
    "FORMATS",
    "INDEX",
    "NESTED",
    "TEMPLATED",
    "UNORDERED",
    "detected",
    "format_of_name",
    "refuse_folder",
]

# name -> suffixes under which it is written; the first that fits wins, longer ones before shorter
FORMATS: dict[str, tuple[str, ...]] = {
    "safetensors": (".safetensors",),
    "torch": (".pth", ".pt", ".bin"),
    "torch-legacy": (),
    "mindspore": (".ckpt",),
    "npz": (".npz",),
    "keras": (".keras",),
    "keras-weights": (".weights.h5",),
    "keras-h5": (".h5", ".hdf5"),
    "onnx": (),
}
TEMPLATED = ("keras", "keras-weights", "keras-h5")  # that a model's own file can be a mould for
CONFIGURED = ("keras",)  # that list the model's layers beside the arrays
UNORDERED = ("safetensors", "keras", "keras-weights")  # whose arrays stand in an order of their own
NESTED = ("torch", "torch-legacy")  # that hold dictionaries in dictionaries
INDEX = "index"  # names the files of a sharded checkpoint, which are of one of the formats above
SMALLEST = 8
TF_CHECKPOINT = "load the model in Keras and save `model.save_weights('x.weights.h5')`"
STARTS = {
    b"\x1f\x8b": "gzip data; unpack it first",
    b"BZh": "bzip2 data; unpack it first",
    b"\xfd7zXZ": "xz data; unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd data; unpack it first",
    b"version https://git-lfs": "a Git LFS pointer, not the file; run `git lfs pull`",
    b"<!DOCTYPE": "a web page; the download went wrong",
    b"<html": "a web page; the download went wrong",
    b"GGUF": "a GGUF file, which mostly holds quantised arrays; convert the file it was made from",
    b"model_checkpoint_path:": "TensorFlow's list of checkpoints; " + TF_CHECKPOINT,
}
TABLE_MAGIC = bytes.fromhex("57fb808b247547db")  # the end of a TensorFlow .index
TF_ADVICE = "a TensorFlow {what}, whose names are those of an object graph; " + TF_CHECKPOINT


def format_of_name(path: str | os.PathLike[str]) -> str | None:
    """The format that a file of this name is written in."""
    name = Path(path).name.lower()
    fitting = [
        (len(suffix), known)
        for known, suffixes in FORMATS.items()
        for suffix in suffixes
        if name.endswith(suffix)
    ]
    return max(fitting)[1] if fitting else None


def refuse_folder(path: Path) -> NoReturn:
    """Say what a folder is, which no format of ours is."""
    what = "is " + (foreign_folder(path) or "a folder; give the checkpoint file")
    if os.path.exists(path / "saved_model.pb"):  # noqa: PTH110 - raises for no path
        what = "is " + TF_ADVICE.format(what="SavedModel")
    raise CheckpointError(f"{shown(path)}: {what}")


def detected(source: Source) -> str:
    """The file's format; raises with advice when it is none that can be read."""
    start = source.read(0, min(source.size, 512), "first bytes")
    # First, because its first eight bytes are a length, which can look like another's signature.
    (length,) = struct.unpack("<Q", start[:8].ljust(8, b"\xff"))
    if start[8:9] == b"{" and 2 <= length <= source.size - 8:
        return "safetensors"
    if is_index(source, start):
        return INDEX
    _refuse(source, start)
    if start[:4] == b"PK\3\4":
        return _kind_of_zip(source)
    if start[:8] == SIGNATURE:
        return "keras-h5"
    if start.startswith(MAGIC):
        return "torch-legacy"
    if start[0] == 0x0A:  # field 1 of a protobuf message, as text: ONNX begins with 08
        other = foreign_protobuf(source, start)
        if other:
            source.fail("first bytes", f"is {other}")
        return "mindspore"
    if start[0] == 0x08 and start[2] in (0x12, 0x1A, 0x22, 0x32, 0x3A):  # ir_version, then a text
        return "onnx"
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        source.fail("first bytes", f"is {foreign_pickle(source)}")
    if source.path.suffix.lower() == ".caffemodel":
        source.fail("first bytes", f"is {CAFFE}")
    return source.fail(
        "first bytes",
        "none of safetensors, torch, MindSpore .ckpt, Keras .h5 or .keras, .npz; "
        "the file is damaged or of a kind that can't be read",
    )


def _refuse(source: Source, start: bytes) -> None:
    place = "first bytes"
    if len(start) < SMALLEST:
        source.fail(place, f"the file has {source.size} bytes; it is empty or cut short")
    other = foreign_file(source, start)
    if other:
        source.fail(place, f"is {other}")
    for sign, what in STARTS.items():
        if start.startswith(sign):
            source.fail(place, f"is {what}")
    if start.startswith(ENCRYPTED):
        source.fail(
            place,
            "an encrypted MindSpore checkpoint; in MindSpore, load it with dec_key and save it "
            "again without enc_key",
        )
    if start[257:262] == b"ustar":
        source.fail(
            place,
            "a tar archive: torch's format before 0.1.10, or a packed folder; in torch, "
            "`torch.save(torch.load(path), new)`, or unpack it",
        )
    if start.lstrip()[:1] == b"{":
        source.fail(place, "is JSON, not a checkpoint; give the file that holds the arrays")
    if start[4:8] == b"TFL3":
        source.fail(place, "is a TFLite model; " + TF_CHECKPOINT)
    if source.path.name == "saved_model.pb" or start[:3] == b"\x08\x01\x12":
        source.fail(place, "is " + TF_ADVICE.format(what="SavedModel"))
    name = source.path.name
    if source.size >= 48 and source.read(source.size - 8, 8, place) == TABLE_MAGIC:
        source.fail(place, "is " + TF_ADVICE.format(what="checkpoint index"))
    if ".data-0" in name and name.rpartition("-of-")[2].isdigit():
        source.fail(place, "is " + TF_ADVICE.format(what="checkpoint shard"))


def _kind_of_zip(source: Source) -> str:
    names = set(read_members(source))
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    if "config.json" in names or "model.weights.h5" in names:
        return "keras"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return source.fail(
        "zip directory", "a zip that is no torch, Keras or NumPy checkpoint; unpack it"
    )
