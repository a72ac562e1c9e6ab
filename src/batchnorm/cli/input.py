"""What commands take: the names of frameworks, the language, a text on standard input.

Standard input is read whole, and is of bounded size.
"""

from __future__ import annotations

import os
import sys

import click

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import known

__all__ = ["FrameworkName", "language", "standard_input"]

LARGEST = 1 << 26  # bytes of source code


class FrameworkName(click.types.StringParamType):
    """A framework's name, which who leaves it out is told; `find` resolves it."""

    name = "framework"

    def __init__(self, *others: str) -> None:
        self.others = others

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Give the names that there are."""
        return f"Expected one of {', '.join((*(r.name for r in known()), *self.others))}"


def language(known: tuple[str, ...]) -> str:
    """The language that the environment asks for, of those there are."""
    asked = next((v for v in map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG")) if v), "")
    return next((each for each in known if asked.startswith(each)), known[0])


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
