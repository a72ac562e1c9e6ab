"""Write a zip of stored, aligned members: streaming, and always the same bytes for the same input.

Not `zipfile`, which has no say in where data begin and finishes the directory of a half-written
archive when it is collected. Facts: PKWARE APPNOTE 6.3.10; torch 2.13, Keras and NumPy read it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["Sink", "ZipWriter"]

PADDING_FIELD = 0x4246  # "FB", as PyTorch's own writer calls it
DATE = 0x0021  # 1 January 1980, the first day there is
UTF8 = 0x800
WIDE = 0xFFFFFFFF


class Sink:
    """Where a member's bytes go."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self.crc, self.size = out, 0, 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        self._out.write(data)


class ZipWriter:
    """An archive that is being written to a file that can seek."""

    def __init__(self, out: IO[bytes], alignment: int = 64) -> None:
        self._out, self._alignment = out, alignment
        self._directory: list[bytes] = []

    @contextmanager
    def member(self, name: str, size: int) -> Iterator[Sink]:
        """A sink for the `size` bytes of a new member; its data begin aligned."""
        raw, start = name.encode(), self._out.tell()
        wide = struct.pack("<HHQQ", 1, 16, size, size) if size >= WIDE else b""
        padding = -(start + 30 + len(raw) + len(wide) + 4) % self._alignment
        extra = wide + struct.pack("<HH", PADDING_FIELD, padding) + bytes(padding)
        self._out.write(b"PK\3\4" + _facts(raw, extra, size, 0) + raw + extra)
        sink = Sink(self._out)
        yield sink
        if sink.size != size:
            raise ValueError(f"member {name}: {sink.size} bytes were written, not {size}")
        end = self._out.tell()
        self._out.seek(start + 4)
        self._out.write(_facts(raw, extra, size, sink.crc))
        self._out.seek(end)
        self._list(raw, size, sink.crc, start)

    def _list(self, raw: bytes, size: int, crc: int, start: int) -> None:
        wide = [value for value in (size, size, start) if value >= WIDE]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        made_by = struct.pack("<H", 3 << 8 | 45)  # Unix, for the permissions
        tail = struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, min(start, WIDE))
        facts = _facts(raw, extra, size, crc)
        self._directory.append(b"PK\1\2" + made_by + facts + tail + raw + extra)

    def bytes(self, name: str, data: bytes) -> None:
        """A whole small member."""
        with self.member(name, len(data)) as sink:
            sink.write(data)

    def close(self) -> None:
        """Write the directory."""
        start, count = self._out.tell(), len(self._directory)
        for record in self._directory:
            self._out.write(record)
        end = self._out.tell()
        size = end - start
        if count >= 0xFFFF or start >= WIDE or size >= WIDE:
            facts = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, start)
            self._out.write(b"PK\6\6" + facts + b"PK\6\7" + struct.pack("<IQI", 0, end, 1))
        few = min(count, 0xFFFF)
        facts = struct.pack("<HHHHIIH", 0, 0, few, few, min(size, WIDE), min(start, WIDE), 0)
        self._out.write(b"PK\5\6" + facts)


def _facts(raw: bytes, extra: bytes, size: int, crc: int) -> bytes:
    """What the header of a member and its line in the directory have in common."""
    length = min(size, WIDE)
    return struct.pack(
        "<HHHHHIIIHH", 45, UTF8, 0, 0, DATE, crc, length, length, len(raw), len(extra)
    )
