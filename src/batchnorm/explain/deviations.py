"""The listed deviations: where this package answers otherwise than a framework, on purpose.

Read from the data file of `batchnorm verify`, which accepts a disagreement only if it stands there
with a reason and a link, and which checks the file itself. Its head says what an entry holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from batchnorm.newer_python import tomllib
from batchnorm.questions.question import Text

__all__ = ["Deviation", "deviation"]

FILE = Path(__file__).parents[1] / "verify" / "deviations.toml"


@dataclass(frozen=True)
class Deviation:
    """Why we deviate from a framework in the answers to some questions."""

    dialect: str
    versions: tuple[str, ...]
    frameworks: tuple[str, ...]  # those of the dialect's backends that it is true of; all if empty
    questions: tuple[str, ...]
    reason: Text
    link: str


def deviation(framework: str, version: str, question: str) -> Deviation | None:
    """The entry for a question that was put to a framework (`torch`, `keras/jax`), if any."""
    for entry in _entries(FILE):
        dialect = entry.dialect.partition("@")[0]  # the versions say the rest
        own = framework.partition("/")[0] == dialect and version in entry.versions
        if own and question in entry.questions and framework in (entry.frameworks or [framework]):
            return entry
    return None


@cache
def _entries(file: Path) -> tuple[Deviation, ...]:
    if not file.exists():
        return ()
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("deviation", [])
    return tuple(
        Deviation(
            entry["dialect"],
            tuple(entry["versions"]),
            tuple(entry.get("frameworks", ())),
            (asked,) if isinstance(asked := entry["question"], str) else tuple(asked),
            Text(entry["reason"], entry["reason_zh"]),
            entry["link"],
        )
        for entry in entries
        if "question" in entry
    )
