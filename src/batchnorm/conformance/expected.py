"""Expected failures: a TOML file of what a layer is known to do otherwise, and why.

Each is a table `[[expected]]` with `question` (an id) or `case` (a number, and the `seed` that it
was drawn with, 0 if not said), and a `reason`. One that passes is a failure of its own.
"""

from __future__ import annotations

import os
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.questions import question
from batchnorm.toml import read_toml, short

__all__ = ["read"]


def read(path: str | os.PathLike[str], seed: int) -> dict[str, str]:
    """Name of a question or a case -> reason; cases of other seeds are left out.

    Raises:
        InvalidValue: an entry is none, or names a question that doesn't exist.
        CheckpointError: the file can't be read as TOML.
    """
    found: dict[str, str] = {}
    tables = read_toml(path, "expected failures")
    entries = tables.pop("expected", [])
    if tables or not isinstance(entries, list):
        raise InvalidValue(f"{path}: expected tables [[expected]] alone, but got {short(tables)}")
    for entry in entries:
        name, of = _name(path, entry)
        if of in (None, seed):
            found[name] = entry["reason"]
    return found


def _name(path: str | os.PathLike[str], entry: Any) -> tuple[str, int | None]:
    keys = set(entry) if isinstance(entry, dict) else set()
    if keys == {"question", "reason"} and all(isinstance(v, str) for v in entry.values()):
        return question(entry["question"]).id, None
    if {"case", "reason"} <= keys <= {"case", "reason", "seed"} and type(entry["case"]) is int:
        return f"case {entry['case']}", int(entry.get("seed", 0))
    raise InvalidValue(
        f"{path}: an expected failure has a question or a case (and seed), and a reason; but got "
        f"{short(entry)}"
    )
