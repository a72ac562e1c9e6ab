"""Findings that are known already: a file that is written once, and what is new beside it.

A finding is known by its identity (`identity`), as often as the file says: a second one in a line
like that is new. Paths are seen from the file's own folder, wherever the command runs.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchnorm.checkpoints.bounded_json import too_deep
from batchnorm.checkpoints.source import Source
from batchnorm.errors import CheckpointError, InvalidValue
from batchnorm.lint.finding import Finding
from batchnorm.lint.identity import Identity, identity
from batchnorm.printable import json_text, shown

__all__ = ["as_text", "known_in", "new_ones"]

_SCHEMA = 1
_AGAIN = "write it again with --write-baseline"


def as_text(findings: Iterable[Finding], path: Path) -> str:
    """The contents of a baseline at a path, in an order that keeps its diffs small."""
    counted = Counter(identity(each, path.parent) for each in findings)
    listed = [{**key._asdict(), "count": counted[key]} for key in sorted(counted)]
    return json_text({"schema": _SCHEMA, "command": "lint", "findings": listed}, 2) + "\n"


def known_in(path: Path) -> Counter[Identity]:
    """How often each finding is known.

    Raises:
        ValueError: the file can't be read, or isn't a baseline.
    """
    if not os.path.lexists(path):
        raise InvalidValue(f"{shown(path)}: there is no such baseline; --write-baseline writes one")
    try:
        source = Source(path)
        with contextlib.closing(source):
            data = source.read(0, source.size, "file")
        content: Any = None if too_deep(data) else json.loads(data)  # names may be no UTF-8
    except (CheckpointError, ValueError) as error:
        raise InvalidValue(f"{shown(path)}: is no baseline ({shown(error)}); {_AGAIN}") from None
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise InvalidValue(f"{shown(path)}: is no baseline of schema {_SCHEMA}; {_AGAIN}")
    known: Counter[Identity] = Counter()
    listed = content.get("findings")
    for each in listed if isinstance(listed, list) else [None]:
        known.update(_entry(each, path))
    return known


def _entry(content: Any, path: Path) -> dict[Identity, int]:
    fields = content if isinstance(content, dict) else {}
    texts = [fields.get(name) for name in Identity._fields]
    count = fields.get("count")
    if not all(isinstance(each, str) for each in texts) or type(count) is not int or count < 1:
        raise InvalidValue(
            f"{shown(path)}: its findings must have path, rule, text and a positive count; {_AGAIN}"
        )
    return {Identity(*map(str, texts)): count}


def new_ones(
    findings: Iterable[Finding], known: Counter[Identity], path: Path
) -> tuple[list[Finding], int]:
    """The findings that the baseline at a path doesn't know, and how many it does."""
    left, new, taken = Counter(known), [], 0
    for each in findings:
        key = identity(each, path.parent)
        if left[key] > 0:
            left[key] -= 1
            taken += 1
        else:
            new.append(each)
    return new, taken
