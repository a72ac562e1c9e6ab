"""Hostile and damaged safetensors files end in one error."""

import json
import struct
import sys

import pytest
from hostile import refused, safetensors

from batchnorm import checkpoints
from batchnorm.errors import CheckpointError

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
NEXT = {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}
DATA = b"\0" * 8
FACTS = b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def with_(**changes):
    return safetensors({"x": {**GOOD, **changes}}, DATA)


CASES = {
    "a name twice": (safetensors(b'{"x":%s,"x":%s}' % (FACTS, FACTS), DATA), "a key occurs twice"),
    "a fact twice": (
        safetensors(b'{"x":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', DATA),
        "a key occurs twice",
    ),
    "overlap": (
        safetensors({"x": GOOD, "y": {**GOOD, "data_offsets": [4, 12]}}, DATA + b"\0" * 4),
        "'y': its data overlap",
    ),
    "the same data twice": (safetensors({"x": GOOD, "y": GOOD}, DATA), "overlap"),
    "hole": (safetensors({"x": {**GOOD, "data_offsets": [8, 16]}}, DATA * 2), "leave a hole"),
    "bytes behind": (safetensors({"x": GOOD}, DATA + b"more"), "4 bytes follow"),
    "cut short": (safetensors({"x": GOOD, "y": NEXT}, DATA), "outside"),
    "beyond 64 bits": (with_(data_offsets=[0, 1 << 70]), "natural numbers"),
    "negative offset": (with_(data_offsets=[-8, 0]), "natural numbers"),
    "negative shape": (with_(shape=[-2]), "natural numbers"),
    "shape as float": (with_(shape=[2.0]), "natural numbers"),
    "shape as bool": (with_(shape=[True, 2]), "natural numbers"),
    "shape too large": (with_(shape=[1 << 61]), "takes"),
    "shape that wraps": (with_(shape=[1 << 32, 1 << 32]), "takes"),
    "too many dimensions": (with_(shape=[1] * 70 + [2]), "71 dimensions"),
    "unknown type": (with_(dtype="F4"), "'F4' has no NumPy counterpart"),
    "type is a list": (with_(dtype=[]), "no NumPy counterpart"),
    "fact missing": (safetensors({"x": {"dtype": "F32", "shape": [2]}}, DATA), "not exactly"),
    "fact too many": (with_(more=1), "not exactly"),
    "entry is a number": (safetensors({"x": 1}, b""), "not exactly"),
    "NUL in a name": (safetensors({"a\0b": GOOD}, DATA), "control characters"),
    "a name like a path": (safetensors({"../x": GOOD}, DATA), "path out of its folder"),
    "an absolute name": (safetensors({"/etc/passwd": GOOD}, DATA), "path out of its folder"),
    "a surrogate in a name": (safetensors({"\ud800": GOOD}, DATA), "surrogates"),
    "a terminal's escape": (safetensors({"\x1b[2J": GOOD}, DATA), "control characters"),
    "numbers of 4000 digits": (
        safetensors({"x": {**GOOD, "shape": [10**4000] * 9}}, DATA), "numbers below",
    ),
    "64 large numbers": (
        safetensors({"x": {**GOOD, "shape": [(1 << 62) - 1] * 64}}, DATA), "…",
    ),
    "a surrogate in our own entry": (
        safetensors({"x": GOOD, "__metadata__": {"__batchnorm__": "\ud800"}}, DATA), "surrogates",
    ),
    "metadata not texts": (safetensors({"__metadata__": {"a": 1}}), "object of texts"),
    "metadata no object": (safetensors({"__metadata__": []}), "object of texts"),
    "not UTF-8": (safetensors(b'{"\xff":1}'), "not UTF-8"),
    "not JSON": (safetensors(b'{"x":'), "not JSON"),
    "digits without end": (safetensors(b'{"x":' + b"9" * 9999 + b"}"), "digits"),
    "nested deep": (safetensors(b'{"x":' * 2_500 + b"}" * 2_500), "nested too deep"),
    "lists for memory": (safetensors(b'{"x":[' + b"[]," * 300_000 + b"[]]}"), "memory"),
    "own entry is a list": (safetensors({"__metadata__": {"__batchnorm__": "[]"}}), "JSON object"),
    "own layers are numbers": (
        safetensors({"__metadata__": {"__batchnorm__": '{"layers":{"a":{"path":[]}}}'}}),
        "has not the form",
    ),
    "own extras are lists": (
        safetensors({"__metadata__": {"__batchnorm__": '{"extras":{"a":[]}}'}}), "plain values",
    ),
    "4-bit": (safetensors({"__metadata__": {"x": "Int4"}, "x": GOOD}, DATA), "dequantised"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(case, tmp_path):
    content, match = CASES[case]
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(tmp_path / "x.safetensors", match)


def test_a_header_beyond_the_formats_limit_is_refused_unread(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:  # sparse: no byte of it is on the disk
        file.write(struct.pack("<Q", 200_000_000) + b"{")
        file.truncate(200_000_100)
    refused(path, "100000000 are the format's limit")


def test_depth_is_bounded_whatever_the_limit_of_recursion_is(tmp_path, monkeypatch):
    """Which torch's compiler raises in the process that imports it."""
    path = tmp_path / "x.safetensors"
    header = b'{"__metadata__": {"a": ' + b"[" * 300_000 + b"]" * 300_000 + b"}}"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(CheckpointError, match="nested too deep"):
            checkpoints.read(path)
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_texts_are_no_depth(tmp_path):
    path = tmp_path / "x.safetensors"
    text = "[" * 5000 + chr(92) * 2 + chr(34) + "[{"  # after an escaped quote
    header = json.dumps({"__metadata__": {"a": text}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with checkpoints.read(path) as found:
        assert found.metadata["safetensors"]["a"] == text
