"""What a verification found: rows of a table, findings, stale deviations; as data and as JSON.

How it is printed stands in `batchnorm.cli.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchnorm.printable import shown
from batchnorm.reported import Reported
from batchnorm.verify.compare import Disagreement, Distance
from batchnorm.verify.deviations import Deviation

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SCHEMA", "Finding", "Report", "Row"]

SCHEMA = 1  # of the JSON; changes when a key changes its meaning or goes


@dataclass(frozen=True)
class Finding:
    """One thing on which a real framework and our layer differ; listed if there is a deviation."""

    framework: str
    version: str
    what: str
    subject: str  # a signature, a question's id, a bad call's name, or a drawn case
    disagreement: Disagreement
    deviation: Deviation | None

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        return {
            "framework": self.framework,
            "version": self.version,
            "what": self.what,
            "subject": self.subject,
            "where": self.disagreement.where,
            "theirs": self.disagreement.theirs,
            "ours": self.disagreement.ours,
            "deviation": None if self.deviation is None else self.deviation.reason,
            "link": None if self.deviation is None else self.deviation.link,
        }


@dataclass
class Row:
    """One kind of comparison with one framework."""

    framework: str
    version: str
    what: str
    compared: int = 0
    raised: int = 0  # of them, how many the real layer refused
    worst: Distance | None = None
    findings: list[Finding] = field(default_factory=list)
    crash: str = ""

    @property
    def unlisted(self) -> list[Finding]:
        """The findings that no deviation covers."""
        return [finding for finding in self.findings if finding.deviation is None]

    @property
    def result(self) -> str:
        """One word or two: crashed, differs, equal but for listed deviations, or equal."""
        if self.crash:
            return "crashed"
        if self.unlisted:
            return f"{len(self.unlisted)} differ"
        if self.findings:
            return f"equal, but {len(self.findings)} listed"
        return "equal"

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        worst = self.worst
        return {
            "framework": self.framework,
            "version": self.version,
            "what": self.what,
            "compared": self.compared,
            "raised": self.raised,
            "worst": None
            if worst is None
            else {
                "of_tolerance": worst.of_tolerance,
                "relative": worst.relative,
                "where": worst.where,
            },
            "listed": len(self.findings) - len(self.unlisted),
            "unlisted": len(self.unlisted),
            "crash": self.crash or None,
            "result": self.result,
        }


@dataclass(frozen=True, repr=False)
class Report(Reported):
    """Everything that a verification found.

    Attributes:
        rows: by framework and kind of comparison.
        missing: why a framework was not asked, by its name.
        stale: listed deviations that were looked for and did not occur.
        seed: of the drawn cases; `examples` is their number per framework.
    """

    rows: tuple[Row, ...]
    missing: Mapping[str, str]
    stale: tuple[Deviation, ...]
    seed: int
    examples: int

    @property
    def findings(self) -> list[Finding]:
        """Every disagreement, listed or not."""
        return [finding for row in self.rows for finding in row.findings]

    @property
    def equal(self) -> bool:
        """Whether something was compared, nothing crashed, and every disagreement is listed."""
        return bool(self.rows) and not any(row.crash or row.unlisted for row in self.rows)

    def print(self, console: Console) -> None:
        """Print a line for each row and each unlisted disagreement."""
        for row in self.rows:
            line = f"{row.framework} {row.version}, {row.what}: {row.compared} compared"
            console.print(f"{shown(line)}: {row.result}", highlight=False, markup=False)
        for finding in (finding for row in self.rows for finding in row.unlisted):
            said = f"{finding.subject} at {finding.disagreement.where}"
            console.print(f"  {shown(said)}", highlight=False, markup=False)
        for name, why in self.missing.items():
            console.print(f"not asked: {name}: {shown(why)}", highlight=False, markup=False)
        end = "equal, or as listed" if self.equal else "not equal" if self.rows else "nothing asked"
        console.print(f"{end}; {self.examples} drawn cases each, seed {self.seed}", highlight=False)

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data, with a version of its own."""
        return {
            "schema": SCHEMA,
            "seed": self.seed,
            "examples": self.examples,
            "equal": self.equal,
            "rows": [row.as_json() for row in self.rows],
            "disagreements": [finding.as_json() for finding in self.findings],
            "stale": [str(deviation) for deviation in self.stale],
            "missing": dict(self.missing),
        }
