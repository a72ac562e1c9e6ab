"""Where commands put what they have to say: the console of tables, and files of text.

Into a file or a pipe nothing is folded, so that a line is a layer and can be searched for. Not
here: checkpoints and source code, which are replaced by `checkpoints.atomic`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from batchnorm.errors import InvalidValue

__all__ = ["console", "replace_text"]

UNFOLDED = 4096


def console() -> Console:
    """The console of standard output."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(width=None if terminal else UNFOLDED)


def replace_text(path: Path, text: str) -> None:
    """The old file or the new one, never a part: written beside, then renamed."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InvalidValue(f"{path} can't be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)  # mkstemp's files are private, these aren't
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise InvalidValue(f"{path} can't be written: {error.strerror}") from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
