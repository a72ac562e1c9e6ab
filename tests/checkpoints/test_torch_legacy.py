"""Hostile and damaged legacy streams end in one error."""

import io
import os
import pickle
import struct
import tarfile

import pytest
from hostile import DATA, number, refused, state, tensor, text

from batchnorm.checkpoints.torch_legacy import MAGIC

HEAD = MAGIC + bytes.fromhex("6ca850192e")
PROTOCOL = b"\x80\x02M\xe9\x03."
SIZES = b"\x80\x02}."
EIGHT = b"\0" * 8


def stream(pickle_=None, keys=("0",), storages=((2, EIGHT),), protocol=PROTOCOL):
    listed = b"\x80\x02](" + b"".join(map(text, keys)) + b"e."
    body = pickle_ or state(("x", legacy_tensor()))
    data = b"".join(struct.pack("<q", numel) + raw for numel, raw in storages)
    return HEAD + protocol + SIZES + body + listed + data


def legacy_tensor(**options):
    return tensor(**options).replace(b"tQ", b"NtQ", 1)


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


CASES = {
    "a system call": (stream(pickle.dumps(Runs(), 2)), "system"),
    "another protocol": (stream(protocol=b"\x80\x02M\xea\x03."), "protocol 1001"),
    "numel disagrees": (stream(storages=[(3, EIGHT + b"\0" * 4)]), "3 elements, the pickle says 2"),
    "numel negative": (stream(storages=[(-2, EIGHT)]), "elements"),
    "data cut short": (stream(storages=[(2, b"\0" * 4)]), "outside|cut short"),
    "storage missing": (stream(keys=(), storages=()), "missing"),
    "storage twice": (stream(keys=("0", "0"), storages=[(2, EIGHT)] * 2), "occurs twice"),
    "storage of no tensor": (stream(keys=("7",)), "used by no tensor"),
    "bytes behind": (stream() + b"more", "4 bytes follow"),
    "keys not a list": (
        HEAD + PROTOCOL + SIZES + state(("x", legacy_tensor())) + b"\x80\x02}.", "list of keys",
    ),
    "described in two ways": (
        stream(state(("x", legacy_tensor()), ("y", legacy_tensor(kind="IntStorage")))), "two ways",
    ),
    "ends after the header": (HEAD + PROTOCOL, "cut short"),
    "view of a view": (
        stream(state(("x", tensor().replace(b"tQ", text("v") + b"tQ", 1)))), "storage view",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    content, match = CASES[case]
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", match)


def test_the_older_tar_form_is_refused_with_advice(tmp_path):
    with tarfile.open(tmp_path / "x.pth", "w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("sys_info")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    refused(tmp_path / "x.pth", r"tar archive.*torch\.save\(torch\.load\(path\), new\)")


def test_a_view_of_the_oldest_kind_begins_where_it_says(tmp_path):
    from batchnorm import checkpoints

    view = b"(" + text("v") + number(1) + number(1) + b"t"
    whole = tensor(shape=(1,)).replace(b"tQ", view + b"tQ", 1)
    (tmp_path / "x.pth").write_bytes(
        stream(state(("x", whole)), storages=[(2, struct.pack("<ff", 1, 2))])
    )
    with checkpoints.read(tmp_path / "x.pth") as checkpoint:
        assert checkpoint["x"].load().tolist() == [2.0]


def test_every_beginning_of_a_real_file_is_refused(tmp_path):
    content = (DATA / "torch_legacy.pth").read_bytes()
    for end in range(20, len(content), 97):
        (tmp_path / "x.pth").write_bytes(content[:end])
        refused(tmp_path / "x.pth", "cut short|outside|follow|bytes|missing")
