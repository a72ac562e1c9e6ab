"""What makes a finding the same in another run: its file, its rule and the text of its line.

Lines move, and are indented anew; what stands in them stays. Not here: which findings are known
(`baseline`), and how an identity is written down (`formats`, `sarif`).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from batchnorm.lint.finding import Finding

__all__ = ["STANDARD_INPUT", "Identity", "fingerprints", "identity", "relative"]

STANDARD_INPUT = Path("-")


class Identity(NamedTuple):
    """What is compared.

    Attributes:
        path: of the file, from a folder that both runs know, with slashes.
        rule: the rule's id.
        text: the line, with one space wherever it has some.
    """

    path: str
    rule: str
    text: str


def identity(finding: Finding, folder: Path) -> Identity:
    """The identity of a finding, its path seen from a folder."""
    text = " ".join(finding.text.split())
    return Identity(relative(finding.path, folder), finding.rule, text)


def relative(path: Path, folder: Path) -> str:
    """A path as it is seen from a folder, with slashes; whole where no way leads there."""
    if path == STANDARD_INPUT:
        return "-"
    whole = path.parent.resolve() / path.name  # a link is a file of its own
    try:
        return Path(os.path.relpath(whole, folder.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return whole.as_posix()


def fingerprints(findings: Iterable[Finding], folder: Path) -> Iterator[str]:
    """A text for each finding that stays while its line does; equal ones are numbered."""
    seen: Counter[Identity] = Counter()
    for each in findings:
        known = identity(each, folder)
        parts = (*known, str(seen[known]))
        seen[known] += 1
        yield hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
