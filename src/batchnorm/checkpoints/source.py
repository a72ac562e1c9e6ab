"""An opened checkpoint file: bounds-checked reads, one memory budget, errors that name the file.

Every reader of this package sees a file only through `Source` (or a `Source.part` of it) and
`Cursor`, so the promises of reading are kept in one place: no read outside the file, no other file,
at most twice the file's size plus 64 MiB of memory, one error class. It knows no format.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

from batchnorm.errors import CheckpointError
from batchnorm.printable import shown

__all__ = [
    "ALLOWANCE",
    "ENTRY_COST",
    "LONGEST_NAME",
    "Cursor",
    "Source",
    "checked_name",
    "name_fault",
    "quoted",
    "text_cost",
]

ALLOWANCE = 64 << 20  # bytes a reader may allocate beyond twice the file's size
ENTRY_COST = 1024  # bytes of Python objects that one entry, member or message stands for
LONGEST_NAME = 4096
LONGEST_REASON = 1000
CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")


def quoted(text: object, limit: int = 80) -> str:
    """`text` as it may be printed: escaped, quoted and short. Names in a file are anybody's."""
    shown = str(text)
    return ascii(shown if len(shown) <= limit else shown[:limit] + "…")


def text_cost(data: bytes) -> int:
    """Memory of the text that UTF-8 becomes: one sign beyond U+FFFF makes all of them 4 bytes."""
    return 80 + len(data) * (1 if data.isascii() else 4)


class _Budget:
    """Bytes that may still be allocated for one file, shared by all its parts."""

    def __init__(self, size: int) -> None:
        self.limit = 2 * size + ALLOWANCE
        self.left = self.limit


class Source:
    """A regular file opened for reading, or a part of one."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.label = shown(self.path)
        flags = os.O_RDONLY
        for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"):  # a FIFO must not hang the reader
            flags |= getattr(os, name, 0)
        try:
            descriptor = os.open(self.path, flags)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CheckpointError(f"{self.label}: can't be opened: {reason}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise CheckpointError(
                f"{self.label}: is not a regular file; give the checkpoint file itself"
            )
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino)
        self._base = 0
        self._file: IO[bytes] = os.fdopen(descriptor, "rb", buffering=0)
        self._lock = threading.Lock()
        self._budget = _Budget(self.size)
        self._parent: Source | None = None
        weakref.finalize(self, self._file.close)

    def close(self) -> None:
        """Close the file; entries that were not loaded can't be loaded any more."""
        self._file.close()

    def part(self, offset: int, size: int, label: str) -> Source:
        """Bytes `offset … offset + size` as a source of their own, on the same budget."""
        self.check_range(offset, size, label)
        part = object.__new__(Source)
        part.__dict__.update(self.__dict__)
        part.label = f"{self.label}: {label}"
        part.size, part._base = size, self._base + offset
        part._parent = self  # keeps the file open
        return part

    @property
    def whole(self) -> Source:
        """The file that this is a part of, or itself."""
        return self if self._parent is None else self._parent.whole

    @property
    def limit(self) -> int:
        """The largest array that this file may make a reader allocate, in bytes."""
        return self._budget.limit

    def extend(self, size: int) -> None:
        """Count the bytes of another file that belongs to this one, an index."""
        self._budget.limit += 2 * size
        self._budget.left += 2 * size

    def fail(self, place: str, reason: str) -> NoReturn:
        """Raise the one error: file, place, reason (which ends with what to do, where known)."""
        if len(reason) > LONGEST_REASON:  # shapes of many large numbers
            reason = f"{reason[: LONGEST_REASON // 2]}…{reason[-LONGEST_REASON // 2 :]}"
        raise CheckpointError(f"{self.label}: {place}: {reason}") from None

    def spend(self, amount: int, place: str) -> None:
        """Account for `amount` bytes of objects before they are made."""
        self._budget.left -= amount
        if self._budget.left < 0:
            self.fail(
                place,
                f"the file describes more than its {self._budget.limit} bytes of memory allow "
                "(twice its size and 64 MiB); it is damaged or made to exhaust memory",
            )

    def check_range(self, offset: int, length: int, place: str) -> None:
        """Refuse a range that does not lie inside this source."""
        if offset < 0 or length < 0 or offset + length > self.size:
            self.fail(
                place,
                f"bytes {offset} to {offset + length} lie outside the {self.size} bytes present; "
                "the file is cut short or damaged",
            )

    def read(self, offset: int, length: int, place: str) -> bytes:
        """`length` bytes at `offset`, all of them."""
        self.check_range(offset, length, place)
        with self._lock, self._reading(place):
            self._file.seek(self._base + offset)
            data = self._file.read(length)  # in one piece, and so without a copy
            if len(data) < length:
                parts = [data]
                while sum(map(len, parts)) < length:
                    parts.append(self._file.read(length - sum(map(len, parts))))
                    if not parts[-1]:
                        self.fail(place, "the file became shorter while it was read")
                data = b"".join(parts)
        return data

    def readinto(self, offset: int, view: memoryview, place: str) -> None:
        """Fill `view` with the bytes at `offset`."""
        self.check_range(offset, len(view), place)
        done = 0
        with self._lock, self._reading(place):
            self._file.seek(self._base + offset)
            while done < len(view):
                count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
                if not count:
                    self.fail(place, "the file became shorter while it was read")
                done += count

    @contextlib.contextmanager
    def _reading(self, place: str) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except ValueError:
            if not self._file.closed:
                raise
            self.fail(place, "the checkpoint was closed before this entry was read")
        except OSError as error:
            self.fail(place, f"can't be read: {error.strerror}")
        except MemoryError:
            self.fail(place, "there is not enough memory to read it")


class Cursor:
    """Sequential reading of bytes `start … end` of a source through a small buffer."""

    def __init__(self, source: Source, start: int = 0, end: int | None = None) -> None:
        self.source, self.position = source, start
        self.end = source.size if end is None else end
        self._buffer, self._begin = b"", start

    def take(self, count: int, place: str) -> bytes:
        """The next `count` bytes, all of them."""
        first = self.position - self._begin
        if 0 <= first <= first + count <= len(self._buffer):  # which ends before `end`
            self.position += count
            return self._buffer[first : first + count]
        if count < 0 or count > self.end - self.position:
            self.source.fail(
                f"{place} at byte {self.position}",
                f"{count} bytes are announced and {self.end - self.position} are left; "
                "the file is cut short or damaged",
            )
        size = max(count, min(1 << 16, self.end - self.position))
        data = self.source.read(self.position, size, place)
        if count <= 1 << 16:
            self._begin, self._buffer = self.position, data
        self.position += count
        return data[:count]

    def line(self, limit: int, place: str) -> bytes:
        """The bytes up to the next newline, which is taken and not returned."""
        start = self.position
        while self.position - start <= limit:
            byte = self.take(1, place)
            if byte == b"\n":
                length = self.position - start
                return self.source.read(start, length - 1, place)
        return self.source.fail(f"{place} at byte {start}", f"a line longer than {limit} bytes")


def checked_name(source: Source, name: str) -> str:
    """`name`, refused where no framework would write it and a file or terminal would suffer."""
    fault = name_fault(name)
    if fault:
        source.fail(f"entry {quoted(name)}", fault)
    return name


def name_fault(name: str) -> str:
    """Why no file should hold an entry of this name; empty where one may."""
    if len(name) > LONGEST_NAME:
        return f"a name of {len(name)} characters"
    if CONTROL.search(name):
        return "control characters or surrogates in a name"
    if name.startswith("/") or (".." in name and ".." in name.split("/")):
        return "a name that looks like a path out of its folder"
    return ""
