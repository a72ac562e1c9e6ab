"""A file's bytes once its findings' fixes are written.

Fixes that overlap are written one after the other, the file looked through in between. Not here:
what a fix is (`fix`), and how a file is replaced (`batchnorm.source.write`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from batchnorm.lint.finding import Finding
from batchnorm.lint.run import fixes, lint_file
from batchnorm.lint.settings import Settings
from batchnorm.source import NOTEBOOK, Edit, Notebook, apply, parse_source, parse_text

__all__ = ["Fixed", "Wanted", "fixed"]

_ROUNDS = 8
Wanted: TypeAlias = Callable[[Iterable[Finding]], Iterable[Finding]]


@dataclass(frozen=True)
class Fixed:
    """A file with its fixes.

    Attributes:
        before, after: its bytes.
        left: all its findings afterwards.
        count: how many are fixed.
    """

    before: bytes
    after: bytes
    left: tuple[Finding, ...]
    count: int


def fixed(
    data: bytes, path: Path, settings: Settings, *, unsafe: bool = False, wanted: Wanted = tuple
) -> Fixed:
    """Fix what can be of one file.

    Args:
        data: the file's bytes.
        path: where it is.
        settings: what to look for.
        unsafe: with the fixes that are likely, and not the only answer.
        wanted: picks the findings to fix; all of them by default.

    Raises:
        SourceError: it doesn't parse.
    """
    now, count, seen = data, 0, {data}
    for _ in range(_ROUNDS):
        new, done = _round(now, path, settings, unsafe, wanted)
        if not done or new in seen:
            break
        seen.add(new)
        now, count = new, count + done
    return Fixed(data, now, tuple(lint_file(now, settings, path)[0]), count)


def _round(
    data: bytes, path: Path, settings: Settings, unsafe: bool, wanted: Wanted
) -> tuple[bytes, int]:
    """All fixes that don't overlap: the bytes, and how many findings had one."""
    notebook = Notebook(data) if path.suffix == NOTEBOOK else None
    source = parse_source(data if notebook is None else notebook.code)
    known = fixes(data, settings, path)
    edits: list[Edit] = []
    count = 0
    for each in wanted(known):
        fix = known[each]
        if not (fix.safe or unsafe):
            continue
        new = [edit for edit in fix.edits if edit not in edits]  # two may share a number
        if any(_overlap(a, b) for a in new for b in edits):
            continue
        edits += new
        count += 1
    if not edits:
        return data, 0
    after = apply(source.data, edits)
    parse_text(after)  # what doesn't parse is never written
    return source.encoded(after) if notebook is None else notebook.with_code(after), count


def _overlap(a: Edit, b: Edit) -> bool:
    return (a.start < b.end and b.start < a.end) or a.start == b.start
