"""What a run over files says: a diff, a line for each site that was left, a closing summary.

Not here: how files are found and worked on (`source.files`).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchnorm.rewrite.rewriter import Rewritten
from batchnorm.rewrite.site import Site

__all__ = ["SCHEMA", "Report", "diff", "site_lines"]

SCHEMA = 1


@dataclass
class Report:
    """The figures of a run.

    Attributes:
        files: that were parsed.
        others: that name no batch norm.
        changed: that changed or would.
        sites: places found, in all files.
        reasons: why places were left -> how many.
        errors: what could not be read, parsed or written: path and reason.
        special: what is named like a Python file and is none: path and kind.
    """

    files: int = 0
    others: int = 0
    changed: int = 0
    sites: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[Path, str]] = field(default_factory=list)
    special: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, found: Rewritten) -> None:
        """Count one file."""
        self.files += 1
        self.changed += found.changed
        self.sites += len(found.sites)
        self.reasons.update(_short(site) for site in found.sites if site.left)

    @property
    def left(self) -> int:
        """How many places were left."""
        return self.reasons.total()

    def summary(self, *, written: bool) -> str:
        """The closing line."""
        verb = "changed" if written else "would change"
        text = (
            f"{self.sites} {_plural(self.sites, 'site')} in {self.files} "
            f"{_plural(self.files, 'file')}: {self.sites - self.left} rewritten, {self.left} left"
        )
        if self.reasons:
            text += " (" + "; ".join(f"{n}: {why}" for why, n in self.reasons.most_common(4))
            rest = len(self.reasons) - 4
            text += f"; {rest} more reasons)" if rest > 0 else ")"
        text += f"; {self.changed} {_plural(self.changed, 'file')} {verb}"
        if self.errors:
            text += f"; {len(self.errors)} {_plural(len(self.errors), 'file')} not read"
        return text

    def as_data(self) -> dict[str, Any]:
        """The figures for JSON."""
        return {
            "files": self.files,
            "files_without_batch_norm": self.others,
            "changed": self.changed,
            "sites": self.sites,
            "rewritten": self.sites - self.left,
            "left": self.left,
            "reasons": dict(self.reasons.most_common()),
            "errors": [{"path": str(path), "error": error} for path, error in self.errors],
            "special": [{"path": str(path), "kind": kind} for path, kind in self.special],
        }


def diff(path: str, before: bytes, after: bytes) -> str:
    """The unified diff of a file, as `patch -p1` takes it."""
    name = path.lstrip("/")
    parts: list[str] = []
    for line in difflib.unified_diff(
        _lines(before), _lines(after), fromfile=f"a/{name}", tofile=f"b/{name}"
    ):
        parts.append(line)
        if not line.endswith("\n"):
            parts.append("\n\\ No newline at end of file\n")
    return "".join(parts)


def site_lines(path: str, sites: Sequence[Site]) -> Iterable[str]:
    """What is to be said about a file's sites: what was left, then what differs, by difference."""
    for site in sites:
        if site.reason:
            verb = "left" if site.left else "to do"
            yield f"{path}:{site.place}: {verb}: {_one_line(site.before)}: {site.reason}"
    lines: dict[tuple[str, str], dict[str, None]] = {}
    for site in sites:
        for difference in site.differences if not site.left else ():
            if difference.key == "num-features" and "NUM_FEATURES" not in site.after:
                continue
            lines.setdefault((difference.text, difference.remedy), {})[site.place] = None
    for (text, remedy), places in lines.items():
        numbers = ", ".join(places)
        yield f"{path}:{numbers}: differs: {text}" + (f" ({remedy})" if remedy else "")


def _short(site: Site) -> str:
    """A reason without what is particular to the place, for counting."""
    reason = site.reason
    for difference in ("hides which arguments", "may be of another class", "may have changed"):
        if difference in reason:
            return f"… {difference}…"
    if reason.startswith("what ") and "can't be told" in reason:
        return "what a name is can't be told"
    return reason.partition("; ")[0].partition(" (")[0]


def _one_line(text: str, longest: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _lines(data: bytes) -> list[str]:
    """Lines with their ends; only a newline ends one, so that the diff says what patch reads."""
    lines = data.decode(errors="surrogateescape").split("\n")
    return [line + "\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])
