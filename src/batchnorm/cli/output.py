"""Where the checkpoint commands print their tables: as wide as the terminal, or as long as needed.

Into a file or a pipe nothing is folded, so that a line is a layer and can be searched for.
"""

from __future__ import annotations

import sys

from rich.console import Console

__all__ = ["console"]

UNFOLDED = 4096


def console() -> Console:
    """The console of standard output."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(width=None if terminal else UNFOLDED)
