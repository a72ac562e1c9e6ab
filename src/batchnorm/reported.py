"""What all reports are in Python: one screen by repr, all of it by str, HTML for notebooks, JSON.

A report says how it is printed and what it is as data; the rest follows. Not here: the commands,
which print the same on a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from batchnorm.printable import first_lines, json_text, shown_lines

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Reported", "printed"]

WIDTH = 80


def printed(report: Callable[[Console], None]) -> str:
    """What something prints on a console of 80 columns, without colours."""
    from rich.console import Console

    text = StringIO()
    report(Console(file=text, width=WIDTH, color_system=None, legacy_windows=False))
    return shown_lines("\n".join(map(str.rstrip, text.getvalue().splitlines())))


class Reported:
    """A base of reports, which are dataclasses with `repr=False`."""

    def print(self, console: Console) -> None:
        """Print all of it, what matters most in the last line."""
        raise NotImplementedError

    def as_json(self) -> Mapping[str, Any]:
        """Give it as plain data."""
        raise NotImplementedError

    def to_json(self) -> str:
        """Give it as JSON text."""
        return json_text(self.as_json())

    def __str__(self) -> str:
        return printed(self.print)

    def __repr__(self) -> str:
        *lines, last = str(self).splitlines()
        return first_lines(lines, last)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
