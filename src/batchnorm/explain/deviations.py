"""The listed deviations: where this package answers otherwise than a framework, on purpose.

Read from the data file that `batchnorm verify` accepts them by; written by hand there, with a
reason and a link each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["deviation"]

FILE = Path(__file__).parents[1] / "verify" / "deviations.toml"


def deviation(dialect: str, question: str) -> Mapping[str, Any] | None:
    """The entry for a question of a dialect, if we deviate there."""
    for entry in _entries():
        if entry.get("question") == question and dialect in (entry.get("dialect"), "all"):
            return entry
    return None


@cache
def _entries() -> list[dict[str, Any]]:
    if not FILE.exists():
        return []
    found: list[dict[str, Any]] = tomllib.loads(FILE.read_text(encoding="utf-8")).get(
        "deviation", []
    )
    return found
