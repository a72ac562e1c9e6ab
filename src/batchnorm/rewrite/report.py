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

from batchnorm.printable import first_lines, html_table, json_text, shown
from batchnorm.rewrite.rewriter import Rewritten
from batchnorm.rewrite.site import Site

__all__ = ["SCHEMA", "Report", "diff", "site_lines"]

SCHEMA = 1


@dataclass(repr=False)
class Report:
    """What became of files: the figures of a run, and each file's result.

    Attributes:
        results: path and result of each file that was looked through.
        written: whether the files were changed.
        newly_left: whether a reason was written that was not there.
        files: that were parsed.
        others: that name no batch norm.
        changed: that changed or would.
        sites: places found, in all files.
        reasons: why places were left -> how many.
        classes: nets that stay the source framework's around rewritten sites.
        errors: what could not be read, parsed or written: path and reason.
        special: what is named like a Python file and is none: path and kind.
    """

    results: list[tuple[Path, Rewritten]] = field(default_factory=list)
    written: bool = False
    newly_left: bool = False
    files: int = 0
    others: int = 0
    changed: int = 0
    sites: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    classes: list[str] = field(default_factory=list)
    errors: list[tuple[Path, str]] = field(default_factory=list)
    special: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, found: Rewritten, path: Path) -> None:
        """Take one file in."""
        self.results.append((path, found))
        self.errors += [(path, text) for text in found.unread]
        self.newly_left = self.newly_left or found.marked > 0
        self.files += 1
        self.changed += found.changed
        self.sites += len(found.sites)
        self.classes += found.classes
        self.reasons.update(_short(site) for site in found.sites if site.left)

    @property
    def left(self) -> int:
        """How many places were left."""
        return self.reasons.total()

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        open_ = self.newly_left or self.classes if self.written else self.changed
        return 2 if self.errors else int(bool(open_))

    def summary(self) -> str:
        """The closing line."""
        verb = "changed" if self.written else "would change"
        text = (
            f"{self.sites} {_plural(self.sites, 'site')} in {self.files} "
            f"{_plural(self.files, 'file')}: {self.sites - self.left} rewritten, {self.left} left"
        )
        if self.reasons:
            text += " (" + "; ".join(f"{n}: {why}" for why, n in self.reasons.most_common(4))
            rest = len(self.reasons) - 4
            text += f"; {rest} more reasons)" if rest > 0 else ")"
        text += f"; {self.changed} {_plural(self.changed, 'file')} {verb}"
        if self.classes:
            count, first = len(self.classes), ", ".join(self.classes[:3])
            more = f" and {count - 3} more" if count > 3 else ""
            text += (
                f"; {count} {'class' if count == 1 else 'classes'} around them still derived from "
                f"the old framework's nets: {first}{more}"
            )
        if self.errors:
            text += f"; {len(self.errors)} {_plural(len(self.errors), 'file')} not read"
        return text

    def as_data(self, from_: str = "", to: str = "") -> dict[str, Any]:
        """The command's JSON."""
        summary = {
            "files": self.files,
            "files_without_batch_norm": self.others,
            "changed": self.changed,
            "sites": self.sites,
            "rewritten": self.sites - self.left,
            "left": self.left,
            "classes": self.classes,
            "reasons": dict(self.reasons.most_common()),
            "errors": [{"path": str(path), "error": error} for path, error in self.errors],
            "special": [{"path": str(path), "kind": kind} for path, kind in self.special],
        }
        return {
            "schema": SCHEMA,
            "from": from_,
            "to": to,
            "files": [_file(*each) for each in self.results],
            "summary": summary,
            "exit_code": self.exit_code,
        }

    def to_json(self) -> str:
        """The figures and each file's sites and diff, as JSON text."""
        return json_text(self.as_data())

    def __repr__(self) -> str:
        return first_lines(self._lines(), self.summary())

    def _repr_html_(self) -> str:
        rows = [(shown(p), s.place, s.kind, s.before, s.after or s.reason)
                for p, found in self.results for s in found.sites]  # fmt: skip
        return html_table(("file", "line", "kind", "before", "after, or why not"), rows,
                          self.summary())  # fmt: skip

    def _lines(self) -> Iterable[str]:
        for path, found in self.results:
            yield from diff(str(path), found.before, found.after).splitlines()
            yield from site_lines(str(path), found.sites)
        yield from (f"{path}: {error}" for path, error in self.errors)


def _file(path: Path, result: Rewritten) -> dict[str, Any]:
    return {
        "path": str(path),
        "changed": result.changed,
        "sites": [site.as_data() for site in result.sites],
        "diff": diff(str(path), result.before, result.after) if result.changed else "",
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
    if reason.endswith(": import the one that is meant"):
        return "a name may be one of several: import the one that is meant"
    if reason.startswith("what ") and "can't be told" in reason:
        return f"what {'an object' if ': of a ' in reason else 'a name'} is can't be told"
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
