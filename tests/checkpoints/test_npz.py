"""Hostile and damaged npz files end in one error; no pickle is run."""

import json
import pickle
import struct

import numpy as np
import pytest
from hostile import npy, refused, zipped

from batchnorm import checkpoints

EIGHT = b"\0" * 8
GOOD = npy(data=EIGHT)


def one(content, **options):
    return zipped([("x.npy", content)], **options)


def own(content):
    raw = json.dumps(content).encode()
    return "__batchnorm__.npy", npy(kind="|u1", shape=f"({len(raw)},)", data=raw)


class Runs:
    def __reduce__(self):
        return print, ("batchnorm was here",)


CASES = {
    "objects": (one(npy(kind="|O", data=pickle.dumps([Runs()]))), "pickle, which is never run"),
    "a structured type": (
        one(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", EIGHT)),
        "not one that NumPy writes",
    ),
    "an expression": (
        one(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os'),), }")),
        "not one that NumPy writes",
    ),
    "nested without end": (one(npy("(" * 3000)), "not one that NumPy writes"),
    "text": (one(npy(kind="<U2", data=EIGHT)), "not a number"),
    "bfloat16 as numpy saves it": (one(npy(kind="|V2", data=b"\0" * 4)), "bfloat16 so"),
    "a type named wrongly": (
        zipped([("x.npy", npy(kind="|V1", data=b"\0" * 2)), own({"npz_types": {"x": "bfloat16"}})]),
        "not said to be a number",
    ),
    "types that are no object": (
        zipped([("x.npy", npy(kind="|V2", data=b"\0" * 4)), own({"npz_types": ["x"]})]),
        "has not the form",
    ),
    "members for memory": (
        zipped([(f"{i}.npy", npy(shape="()", data=b"\0" * 4)) for i in range(3000)]), "memory",
    ),
    "128-bit floats": (one(npy(kind="<f16", data=b"\0" * 32)), "not a number"),
    "shape too large": (one(npy(shape="(3,)", data=EIGHT)), "does not fit"),
    "shape too small": (one(npy(shape="(1,)", data=EIGHT)), "does not fit"),
    "shape that wraps": (one(npy(shape="(4294967296, 4294967296)")), "does not fit"),
    "negative shape": (one(npy(shape="(-2,)", data=EIGHT)), "not one that NumPy writes"),
    "shape of many digits": (one(npy(shape="(" + "9" * 30 + ",)")), "natural numbers"),
    "65 dimensions": (one(npy(shape="(" + "1, " * 65 + ")", data=b"\0" * 4)), "natural numbers"),
    "version 3": (one(GOOD.replace(b"\1\0", b"\3\0", 1)), "version 3"),
    "header longer than the file": (
        one(b"\x93NUMPY\1\0" + struct.pack("<H", 60000) + b"{}"), "not one that NumPy writes",
    ),
    "no header": (one(b"12345678" * 4), "does not begin"),
    "empty member": (one(b""), "does not begin"),
    "another kind of file": (zipped([("x.npy", GOOD), ("x.txt", b"")]), "no torch, Keras"),
    "a name twice": (zipped([("x.npy", GOOD), ("x.npy", GOOD)]), "occurs twice"),
    "a name like a path": (zipped([("../x.npy", GOOD)]), "path out of its folder"),
    "an absolute name": (zipped([("/etc/x.npy", GOOD)]), "path out of its folder"),
    "encrypted": (one(GOOD, flags=0x801), "encrypted"),
    "wrong CRC, stored": (one(GOOD, crc=5), "CRC"),
    "wrong CRC, deflated": (one(GOOD, crc=5, packing=8), "CRC"),
    "a bomb that says so": (one(npy(shape="(9000000,)", data=b"\0" * 36_000_000), packing=8),
                            "numpy.savez, which does not compress"),
    "a bomb that does not": (
        one(npy(shape="(2,)", data=b"\0" * 36_000_000), packing=8, sizes=(40_000, len(GOOD))),
        "outside|more than the|disagrees|overlap|reach into",
    ),
    "deflated data cut short": (
        one(GOOD, packing=8, sizes=(10, len(GOOD))), "disagrees|of the|decompressed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path, capsys):
    content, match = CASES[case]
    (tmp_path / "x.npz").write_bytes(content)
    refused(tmp_path / "x.npz", match)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", "CF")
def test_both_orders_stream_in_c_order(save, order, tmp_path):
    array = np.arange(24, dtype=">i4").reshape(2, 3, 4).copy(order)
    save(tmp_path / "x.npz", x=array)
    with checkpoints.read(tmp_path / "x.npz") as checkpoint:
        pieces = list(checkpoint["x"].chunks(20))
        assert np.concatenate(pieces).tolist() == list(range(24))
        assert checkpoint["x"].load().tolist() == array.tolist()


def test_an_entry_may_not_take_the_name_of_our_own(tmp_path):
    with pytest.raises(checkpoints.checkpoint.CheckpointError, match="__batchnorm__"):
        checkpoints.write(tmp_path / "x.npz", {"__batchnorm__": np.ones(1)})
