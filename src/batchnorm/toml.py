"""TOML files that a user names, or that lie beside code: maps, settings, pyproject.

They are as foreign as a checkpoint: read only where they are regular files of bounded size, and
whatever is wrong with one is one error. Not here: what a table means.
"""

from __future__ import annotations

import os
import re
from typing import Any

from batchnorm.checkpoints.source import Source
from batchnorm.errors import CheckpointError
from batchnorm.newer_python import tomllib
from batchnorm.printable import shown

__all__ = ["read_toml", "short"]

LARGEST = 4 << 20  # bytes; a map of 10,000 layers has less than one
DEEPEST = 100  # parts of a key, whose square tells how long tomllib takes over it
PART = r"""(?:[\w-]+|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?)"""
KEY = re.compile(rf"{PART}(?:[ \t]*\.[ \t]*{PART})*")


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """The file's tables; `what` is what it should be, such as "a map".

    Raises:
        CheckpointError: it can't be read, or isn't TOML.
    """
    name = shown(os.fspath(path))
    place = f"{name}: can't be read as {what}"
    try:
        source = Source(path)
    except CheckpointError as error:
        raise CheckpointError(f"{place}: {str(error).removeprefix(f'{name}: ')}") from None
    try:
        if source.size > LARGEST:
            raise CheckpointError(f"{place}: it has {source.size} bytes; {LARGEST} is the most")
        text = source.read(0, source.size, "the file").decode("utf-8")
        if any(_parts(key[0]) > DEEPEST for key in KEY.finditer(text)):
            raise CheckpointError(f"{place}: a key has more than {DEEPEST} parts")
        return tomllib.loads(text)
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{place}: it is nested too deep") from None
    except ValueError as error:  # also of a number of thousands of digits, and of no UTF-8
        raise CheckpointError(f"{place}: {shown(error)[:300]}") from None
    finally:
        source.close()


def _parts(key: str) -> int:
    return len(re.findall(PART, key)) if len(key) > 2 * DEEPEST else 1


def short(value: object) -> str:
    """A value of such a file as an error may show it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits in hexadecimal
        return "a value that is too large to be shown"
    return text if len(text) <= 200 else f"{text[:200]}…"
