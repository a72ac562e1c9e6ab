"""Rules that are left out of some files, as per-file-ignores of [tool.batchnorm.lint] says it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from batchnorm.lint.identity import STANDARD_INPUT, relative

__all__ = ["FileIgnore"]


@dataclass(frozen=True)
class FileIgnore:
    """Rules that are left out of the files of a pattern.

    Attributes:
        pattern: `*`, `?` and `[…]` as in a shell, where `*` goes through folders as well and `**/`
            may be none; one without a slash means files of that name in any folder.
        ids: ids of rules, or their beginnings.
        folder: that patterns and paths are seen from.
    """

    pattern: str
    ids: tuple[str, ...]
    folder: Path

    def covers(self, path: Path) -> bool:
        """Whether the pattern means this file."""
        if path == STANDARD_INPUT:
            return False
        if "/" not in self.pattern:
            return fnmatchcase(path.name, self.pattern)
        seen = relative(path, self.folder)
        pattern = self.pattern.removeprefix("./")
        return any(fnmatchcase(seen, each) for each in (pattern, pattern.replace("**/", "")))
