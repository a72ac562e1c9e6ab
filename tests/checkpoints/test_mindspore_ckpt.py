"""Hostile and damaged MindSpore checkpoints end in one error; MindSpore takes many of them."""

import zlib

import numpy as np
import pytest
from hostile import DATA, ckpt, field, refused, varint

from batchnorm import checkpoints

GOOD = ckpt()
CASES = {
    "content too long": (ckpt(content=b"\0" * 36), "takes 8 bytes and 36 are there"),
    "content too short": (ckpt(content=b"\0" * 4), "takes 8 bytes and 4 are there"),
    "content missing": (ckpt(content=None), "no content"),
    "negative dimension": (ckpt(dims=(-1,)), "negative dimension"),
    "two negative dimensions": (ckpt(dims=(-1, -2)), "negative dimension"),
    "dimensions that wrap": (ckpt(dims=(1 << 33, 1 << 33)), "takes"),
    "65 dimensions": (ckpt(dims=(1,) * 65), "more than 64"),
    "unknown type": (ckpt(kind=b"Float7"), "'Float7' has no NumPy counterpart"),
    "4-bit": (ckpt(kind=b"Int4"), "dequantised"),
    "type not ASCII": (ckpt(kind=b"\xff\xfe"), "no NumPy counterpart"),
    "slices too long": (GOOD + GOOD, "takes 8 bytes and 16 are there"),
    "slices of two shapes": (GOOD + ckpt(dims=(1, 2)), "slices disagree"),
    "a tag twice, apart": (GOOD + ckpt(tag=b"y") + GOOD, "occurs twice"),
    "tag missing": (field(1, field(2, b"\x12\x07Float32\x1a\0")), "no tag"),
    "tensor missing": (field(1, field(1, b"name")) + GOOD, "no tag or no tensor"),
    "tag not UTF-8": (ckpt(tag=b"\xff"), "not UTF-8"),
    "tag like a path": (ckpt(tag=b"../../x"), "path out of its folder"),
    "NUL in the tag": (ckpt(tag=b"a\0b"), "control characters"),
    "two tags": (field(1, field(1, b"x") + field(1, b"y")), "twice"),
    "two tensors": (field(1, field(1, b"x") + field(2, b"") + field(2, b"")), "twice"),
    "two contents": (
        field(1, field(1, b"x") + field(2, field(3, b"") + field(3, b""))), "two contents",
    ),
    "a map tensor": (field(1, field(1, b"x") + field(3, b"")) + GOOD, "MapParameter"),
    "length beyond the end": (b"\x0a\xff\xff\xff\xff\x0f" + b"\0" * 9, "passes its end"),
    "length beyond 64 bits": (b"\x0a" + b"\xff" * 9 + b"\x01" + b"\0" * 9, "passes its end"),
    "inner length beyond": (field(1, b"\x0a\x7f" + b"\0" * 9), "passes its end"),
    "number without end": (b"\x0a" + b"\xff" * 20, "over ten bytes"),
    "field number 0": (GOOD + b"\x02\x00", "field number 0"),
    "wire type 3": (GOOD + b"\x0b", "wire type 3"),
    "cut short": (GOOD[:-3], "passes its end"),
    "only our own entry": (field(1000, b"{}") * 4, "none of safetensors"),
    "only texts": (ckpt(kind=b"str", dims=(0,), content=b"a\0\0\0"), "no parameters"),
    "text not UTF-32": (GOOD + ckpt(tag=b"t", kind=b"str", content=b"\xff" * 8), "not UTF-32"),
    "wrong CRC": (GOOD + b"crc_num" + (1).to_bytes(10, "big"), "CRC: the data have"),
    "CRC beyond 32 bits": (
        GOOD + b"crc_num" + (zlib.crc32(GOOD) + (1 << 40)).to_bytes(10, "big"), "the file says",
    ),
    "own entry broken": (GOOD + field(1000, b"{"), "not JSON"),
    "AES-GCM": (b"\xd8\x5e\x3a\x7f" + b"\0" * 60, "encrypted.*dec_key"),
    "AES-CBC": (b"\xd9\x5e\x3a\x7f" + b"\0" * 60, "encrypted"),
    "SM4-CBC": (b"\xda\x5e\x3a\x7f" + b"\0" * 60, "encrypted"),
    "values for memory": (
        b"".join(ckpt(tag=b"%d" % i, dims=(), content=b"\0" * 4) for i in range(9000)), "memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    content, match = CASES[case]
    (tmp_path / "x.ckpt").write_bytes(content)
    refused(tmp_path / "x.ckpt", match)


def test_packed_dimensions_and_unknown_fields_are_read_as_protobuf_does(tmp_path):
    inner = field(1, varint(1) + varint(2)) + field(2, b"Float32") + field(3, b"\0" * 8)
    content = field(77, b"?") + field(1, field(1, b"x") + field(2, inner) + b"\x48\x05")
    (tmp_path / "x.ckpt").write_bytes(GOOD.replace(b"x", b"y", 1) + content)
    with checkpoints.read(tmp_path / "x.ckpt") as checkpoint:
        assert checkpoint["x"].shape == (1, 2)


def test_one_value_under_dims_0_is_a_number_as_in_mindspore(tmp_path):
    (tmp_path / "x.ckpt").write_bytes(ckpt(dims=(0,), content=b"\0\0\x80\x3f"))
    with checkpoints.read(tmp_path / "x.ckpt") as checkpoint:
        assert checkpoint["x"].shape == ()
        assert checkpoint["x"].load() == 1.0


def test_a_flipped_bit_under_a_crc_is_noticed_on_opening(tmp_path):
    content = bytearray((DATA / "mindspore_crc.ckpt").read_bytes())
    content[100] ^= 1
    (tmp_path / "x.ckpt").write_bytes(content)
    refused(tmp_path / "x.ckpt", "CRC: the data have")


def test_types_that_mindspore_writes_and_cant_load_are_read(tmp_path):
    one = b"\0\0\x80\x3f\0\0\0\0"
    (tmp_path / "x.ckpt").write_bytes(
        ckpt(tag=b"c", dims=(1,), kind=b"Complex64", content=one)
        + ckpt(tag=b"f", dims=(2,), kind=b"Float8E4M3FN", content=b"88")
    )
    with checkpoints.read(tmp_path / "x.ckpt") as checkpoint:
        assert checkpoint["c"].load().tolist() == [1 + 0j]
        assert checkpoint["f"].load().astype("f4").tolist() == [1, 1]


def test_a_text_that_can_be_no_tag_comes_back_from_our_own_entry(tmp_path):
    extras = {"x": "the name of an array", "a\nb": "a name for no tag", "note": "yes"}
    checkpoints.write(tmp_path / "x.ckpt", {"x": np.ones(2, "f4")}, extras=extras)
    with checkpoints.read(tmp_path / "x.ckpt") as checkpoint:
        assert list(checkpoint) == ["x"]
        assert checkpoint.extras == extras
