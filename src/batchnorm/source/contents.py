"""The bytes of a source file, if it is one: regular, and of bounded size.

Opening some of what is no regular file waits for ever, and so does reading some files of the
system's own (/proc/kmsg), whose size is 0. Not here: which files are looked at.
"""

from __future__ import annotations

import stat
from pathlib import Path

from batchnorm.source.text import SourceError

__all__ = ["contents", "special"]

LARGEST = 1 << 28  # bytes
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special(path: Path) -> str:
    """What a thing is that is no regular file."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "something else")


def contents(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        SourceError: it is no regular file, or too large.
        OSError: it can't be read.
    """
    if kind := special(path):
        raise SourceError(f"is {kind}, no regular file")
    if (size := path.stat().st_size) > LARGEST:
        raise SourceError(f"has {size} bytes, and {LARGEST} are the most")
    return path.read_bytes() if size else b""
