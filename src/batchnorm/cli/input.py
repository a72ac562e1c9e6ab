"""Standard input, for the commands that take a text on `-`: whole, and of bounded size."""

from __future__ import annotations

import sys

from batchnorm.errors import InvalidValue

__all__ = ["standard_input"]

LARGEST = 1 << 26  # bytes of source code


def standard_input() -> bytes:
    """All of it.

    Raises:
        InvalidValue: it is closed, or does not end.
    """
    if sys.stdin is None:
        raise InvalidValue("standard input is closed: give the text on it, or a file")
    data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InvalidValue(f"standard input has over {LARGEST} bytes, which no source code has")
    return data
