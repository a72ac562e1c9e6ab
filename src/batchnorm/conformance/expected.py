"""Expected failures: a TOML file of what a layer is known to do otherwise, and why.

Each is a table `[[expected]]` with a `reason`, and `question` (an id, or a list) or `case` (a
number, or a list, and the `seed` that they were drawn with, 0 if not said). One that passes is a
failure of its own.
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
        names, of = _names(path, entry)
        if of in (None, seed):
            found |= dict.fromkeys(names, entry["reason"])
    return found


def _names(path: str | os.PathLike[str], entry: Any) -> tuple[list[str], int | None]:
    given = dict(entry) if isinstance(entry, dict) else {}
    reason, seed = given.pop("reason", None), given.pop("seed", 0)
    if isinstance(reason, str) and len(given) == 1 and type(seed) is int:
        ((kind, listed),) = given.items()
        listed = listed if isinstance(listed, list) else [listed]
        if kind == "question" and "seed" not in entry and all(type(v) is str for v in listed):
            return [question(id).id for id in listed], None
        if kind == "case" and all(type(v) is int for v in listed):
            return [f"case {number}" for number in listed], seed
    raise InvalidValue(
        f"{path}: an expected failure has a reason, and a question or a case (and seed); but "
        f"got {short(entry)}"
    )
