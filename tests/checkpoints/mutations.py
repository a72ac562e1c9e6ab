"""Ways to damage a checkpoint that know its structure; for `fuzz`.

Each format's mutator takes a good file and a random generator and gives a damaged one. Sums that
would stop a reader at once (zip CRCs, lengths of protobuf messages) are made right again, mostly.
"""

from __future__ import annotations

import io
import json
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]
NUMBERS = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF,
           0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63,
           (1 << 64) - 1)  # fmt: skip
TEXTS = ("", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800".encode("utf-16-le",
         "surrogatepass").hex(), "x" * 5000, "bn1.weight", "__metadata__", "F32", "Float32",
         "<f8", "|O", "os.system", "conv1", "é")  # fmt: skip
OPCODES = (
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch\nFloatStorage\n", b"R", b"b", b"Q",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"\x81", b"(", b"0", b"1", b"2", b"}", b"]", b"t",
    b"s", b"u", b"e", b"\x93", b"\x94", b"K\x05", b"N",
)  # fmt: skip


def raw(data: bytes, rng: random.Random) -> bytes:
    """One to four changes that know nothing but bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        size = rng.choice((1, 1, 2, 4, 8, rng.randrange(1, 65)))
        how = rng.randrange(7)
        if how == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(out):
            out[at] = rng.randrange(256)
        elif how == 2:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice(NUMBERS) % (1 << 8 * width)
            out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
        elif how == 3:
            del out[at : at + size]
        elif how == 4:
            out[at:at] = rng.randbytes(size)
        elif how == 5:
            start = rng.randrange(len(out) + 1)
            out[at:at] = out[start : start + size]
        else:
            start = rng.randrange(len(out) + 1)
            out[at : at + size] = out[start : start + size]
    if rng.random() < 0.05:
        del out[rng.randrange(len(out) + 1) :]
    return bytes(out) or b"\0"


def structured(inner: Mutator) -> Mutator:
    """Mostly what knows the structure, sometimes plain bytes, sometimes both."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        how = rng.random()
        if how < 0.25:
            return raw(data, rng)
        out = inner(data, rng)
        return raw(out, rng) if how > 0.95 and out else out or b"\0"

    return mutate


def changed_json(value: Any, rng: random.Random) -> Any:
    """One place of a JSON value changed."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(child, dict | list):
                collect(child)

    if not isinstance(value, dict | list) or not value:
        return rng.choice([None, 1, "x", [], {}])
    collect(value)
    node, key = rng.choice(places)
    how = rng.randrange(6)
    if how == 0:
        del node[key]
    elif how == 1:
        node[key] = rng.choice([*NUMBERS, -1, 1.5, None, True, [], {}, [[]], *TEXTS])
    elif how == 2 and isinstance(node[key], int):
        node[key] += rng.choice((-1, 1, 8, 1 << 31))
    elif how == 3 and isinstance(node, dict):
        node[rng.choice(TEXTS)] = node.pop(key)
    elif how == 4:
        other, at = rng.choice(places)
        if isinstance(other, dict) or at < len(other):
            node[key] = json.loads(json.dumps(other.get(at) if isinstance(other, dict) else
                                              other[at]))  # fmt: skip
    elif isinstance(node, list):
        node.insert(key, rng.choice([*NUMBERS, *TEXTS]))
    else:
        node[key] = [node[key]] * rng.choice((1, 2, 100))
    return value


def safetensors(data: bytes, rng: random.Random) -> bytes:
    (length,) = struct.unpack_from("<Q", data)
    header = changed_json(json.loads(data[8 : 8 + length]), rng)
    text = json.dumps(header).encode()
    if rng.random() < 0.1 and isinstance(header, dict) and header:
        name = json.dumps(rng.choice(list(header)))
        text = text[:-1] + b"," + name.encode() + b":" + json.dumps(header[json.loads(name)]
                                                                   ).encode() + b"}"  # fmt: skip
    if rng.random() < 0.8:
        text += b" " * (-len(text) % 8)
    size = len(text) if rng.random() < 0.9 else rng.choice(NUMBERS)
    return struct.pack("<Q", size % (1 << 64)) + text + data[8 + length :]


@cache  # of the few files that all mutations begin with, and so below
def _opcodes(data: bytes) -> tuple[bytes, ...]:
    starts = [at for _, _, at in pickletools.genops(data)]
    return tuple(data[at:end] for at, end in zip(starts, [*starts[1:], len(data)], strict=True))


def pickled(data: bytes, rng: random.Random) -> bytes:
    """Opcodes of a pickle dropped, doubled, moved, or given other arguments."""
    parts = list(_opcodes(data))
    for _ in range(rng.choice((1, 1, 2, 3))):
        index = rng.randrange(len(parts))
        how = rng.randrange(7)
        if how == 0:
            parts[index] = b""
        elif how == 1:
            parts.insert(index, parts[index] * rng.choice((1, 1, 100)))
        elif how == 2:
            parts[index] = rng.choice(parts)
        elif how == 3:
            value = rng.choice(NUMBERS)
            parts[index] = b"\x8a\x09" + value.to_bytes(9, "little")
        elif how == 4:
            text = rng.choice(TEXTS).encode()
            parts[index] = b"X" + struct.pack("<I", len(text)) + text
        elif how == 5:
            parts[index] = rng.choice(OPCODES)
        else:
            at = rng.randrange(len(data))
            parts[index] = data[at : at + rng.randrange(1, 20)]
    return b"".join(parts)


@cache
def _members(data: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return tuple((i.filename, archive.read(i)) for i in archive.infolist())


def zipped(inner: dict[str, Mutator]) -> Mutator:
    """Members changed by their own mutators and packed again with the right sums."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        members = list(_members(data))
        index = rng.randrange(len(members))
        if rng.random() < 0.7:  # the small members say how to read the others
            index = min(range(len(members)), key=lambda i: _weight(members[i][0], rng))
        name, content = members[index]
        how = rng.random()
        if how < 0.75:
            kind = next((k for k in inner if name.endswith(k)), "")
            members[index] = (
                name,
                inner[kind](content, rng) if kind else raw(content or b"\0", rng),
            )
        elif how < 0.8:
            del members[index]
        elif how < 0.85:
            members.append((rng.choice(TEXTS).replace("\0", "") or "x", content))
        elif how < 0.9:
            members[index] = (rng.choice(TEXTS).replace("\0", "") or "y", content)
        elif how < 0.95:
            members[index] = (name, content * rng.choice((2, 20)))
        packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        out = _packed(members, packing)
        return _changed_directory(out, rng) if how > 0.9 else out

    return mutate


def _weight(name: str, rng: random.Random) -> float:
    return rng.random() + (0 if name.endswith((".pkl", ".json", ".h5", ".npy")) else 0.7)


def _packed(members: list[tuple[str, bytes]], packing: int) -> bytes:
    """A zip that may have a name twice, which `zipfile` would warn about."""
    body, directory = bytearray(), bytearray()
    for name, content in members:
        raw_name = name.encode()
        data = content
        if packing == zipfile.ZIP_DEFLATED:
            deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
            data = deflater.compress(content) + deflater.flush()
        facts = struct.pack("<HHHHHIIIHH", 20, 0x800, packing, 0, 33, zlib.crc32(content),
                            len(data), len(content), len(raw_name), 0)  # fmt: skip
        directory += b"PK\1\2" + struct.pack("<H", 20) + facts
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + raw_name
        body += b"PK\3\4" + facts + raw_name + data
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


def _changed_directory(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    at = rng.choice(
        [found.start() for found in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)", data)]
    )
    width = rng.choice((2, 4))
    field = at + rng.randrange(4, 44, 2)
    out[field : field + width] = (rng.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(out)


def npy(data: bytes, rng: random.Random) -> bytes:
    (length,) = struct.unpack_from("<H", data, 8)
    text = data[10 : 10 + length].decode("latin-1")
    old, new = rng.choice([("<f4", rng.choice(["<f8", "|O", ">f4", "<U9", "<V2", "<f16", "<c16"])),
                           ("True", "False"), ("False", "True"), ("(", "(99999999999,"),
                           ("(4,", "(4294967296,"), ("3", "0"), ("{", "{'x': 1, "),
                           ("shape", "shade"), (")", ", -1)")])  # fmt: skip
    changed = text.replace(old, new, 1).encode("latin-1")
    if rng.random() < 0.7:
        changed = changed.rstrip() + b" " * max(0, length - len(changed.rstrip()) - 1) + b"\n"
    size = len(changed) if rng.random() < 0.9 else rng.choice(NUMBERS) & 0xFFFF
    return data[:8] + struct.pack("<H", size) + changed + data[10 + length :]


def _fields(data: bytes) -> list[tuple[int, int, Any]]:
    """A protobuf message as (number, wire type, value)."""
    at, found = 0, []

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, 0, varint()))
        elif key & 7 == 2:
            size = varint()
            found.append((key >> 3, 2, data[at : at + size]))
            at += size
        elif key & 7 == 5:
            found.append((key >> 3, 5, data[at : at + 4]))
            at += 4
        else:
            raise ValueError("not of these files")
    return found


def _message(fields: list[tuple[int, int, Any]]) -> bytes:
    def varint(value: int) -> bytes:
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    return b"".join(
        varint(n << 3 | kind) + (varint(v) if kind == 0 else varint(len(v)) * (kind == 2) + v)
        for n, kind, v in fields
    )


def _changed_message(data: bytes, rng: random.Random, depth: int) -> bytes:
    fields = _fields(data)
    if not fields:
        return data
    index = rng.randrange(len(fields))
    number, kind, value = fields[index]
    if depth and kind == 2 and rng.random() < 0.8:
        inside = [i for i, f in enumerate(fields) if f[0] == (1 if depth == 2 else 2)]
        index = rng.choice(inside or [index])
        number, kind, value = fields[index]
        if kind == 2:
            fields[index] = (number, kind, _changed_message(value, rng, depth - 1))
            return _message(fields)
    how = rng.randrange(6)
    if how == 0:
        del fields[index]
    elif how == 1:
        fields.insert(rng.randrange(len(fields) + 1), fields[index])
    elif how == 2:
        fields[index] = (rng.choice((1, 2, 3, 4, 1000, number)), 0, rng.choice(NUMBERS))
    elif how == 3 and kind == 2:
        fields[index] = (number, 2, rng.choice([t.encode() for t in TEXTS]))
    elif how == 4 and kind == 2:
        fields[index] = (number, 2, raw(value or b"\0", rng))
    else:
        rng.shuffle(fields)
    return _message(fields)


def mindspore(data: bytes, rng: random.Random) -> bytes:
    summed = data[-17:-10] == b"crc_num"
    out = _changed_message(data[:-17] if summed else data, rng, 2)
    if summed and rng.random() < 0.8:
        out += b"crc_num" + zlib.crc32(out).to_bytes(10, "big")
    return out


def onnx(data: bytes, rng: random.Random) -> bytes:
    """One field of the model, of its graph, or of one of the graph's nodes, arrays, attributes."""
    fields = _fields(data)
    kind, depth = rng.choice(((1, 3), (5, 2), (11, 2), (12, 2)))
    inside = [i for i, (n, k, _) in enumerate(fields) if k == 2 and n in (kind, 5, 7)]
    if not inside or rng.random() < 0.1:
        return _changed_message(data, rng, 0)
    index = rng.choice(inside)
    number, _, value = fields[index]
    named = depth > 1 and number == 7
    try:
        fields[index] = (number, 2, onnx(value, rng) if named else _changed_message(value, rng, 0))
    except (ValueError, IndexError):  # a text
        fields[index] = (number, 2, raw(value or b"\0", rng))
    return _message(fields)


def hdf5(data: bytes, rng: random.Random) -> bytes:
    """Addresses exchanged, fields of structures set to odd numbers."""
    out = bytearray(data)
    signs = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"\x89HDF",
             b"\x11\0\x10\0", b"\x08\0\x18\0", b"\x0c\0", b"\x01\0\x18\0",
             b"\x03\0\x18\0")  # fmt: skip
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = []
        sign = rng.choice(signs)
        at = data.find(sign)
        while at >= 0:
            places.append(at)
            at = data.find(sign, at + 1)
        at = rng.choice(places or [0]) + rng.randrange(0, 120)
        if rng.random() < 0.6:
            at = at // 8 * 8
        how = rng.randrange(4)
        if how == 0:
            other = rng.choice(places or [0])
            out[at : at + 8] = struct.pack("<Q", other)
        elif how == 1:
            other = rng.randrange(len(data) // 8) * 8
            out[at : at + 8] = data[other : other + 8]
        elif how == 2:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice(NUMBERS) % (1 << 8 * width)
            out[at : at + width] = value.to_bytes(width, "little")
        elif at < len(out):
            out[at] = (out[at] + rng.choice((1, 255, 8))) % 256
    return bytes(out[: len(data)])


def config(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(changed_json(json.loads(data), rng)).encode()


MUTATORS: dict[str, Mutator] = {
    "safetensors": structured(safetensors),
    "torch": structured(zipped({"data.pkl": pickled})),
    "torch-legacy": structured(lambda data, rng: legacy(data, rng)),
    "mindspore": structured(mindspore),
    "npz": structured(zipped({".npy": npy})),
    "onnx": structured(onnx),
    "keras": structured(zipped({".json": config, ".h5": hdf5})),
    "keras-weights": structured(hdf5),
    "keras-h5": structured(hdf5),
}


@cache
def _bounds(data: bytes) -> list[int]:
    stream, bounds = io.BytesIO(data), [0]
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        bounds.append(stream.tell())
    return bounds


def legacy(data: bytes, rng: random.Random) -> bytes:
    """One of the five pickles at the front changed, or the lengths behind them."""
    bounds = _bounds(data)
    which = rng.choice((0, 1, 2, 3, 3, 3, 3, 4, 4, 5))
    if which == 5:
        return data[: bounds[5]] + raw(data[bounds[5] :], rng)
    start, end = bounds[which], bounds[which + 1]
    return data[:start] + pickled(data[start:end], rng) + data[end:]
