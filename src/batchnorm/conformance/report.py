"""What the suite found: a result for each question and drawn case; as data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from batchnorm.printable import shown
from batchnorm.reported import Reported

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Outcome", "Report", "Result"]

Outcome: TypeAlias = Literal["passed", "failed", "expected", "passed unexpectedly", "not asked"]


@dataclass(frozen=True)
class Result:
    """One question or drawn case.

    Attributes:
        name: the question's id, or "case 17".
        what: the question itself, or the layer and what was done with it.
        where: what differs first, "step 2: state running_mean"; empty for questions.
        wanted: what the dialect does; `got` what this layer does.
        reason: why it was expected, or not asked.
    """

    name: str
    outcome: Outcome
    what: str = ""
    where: str = ""
    wanted: str = ""
    got: str = ""
    reason: str = ""

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.name}{place}: wanted {self.wanted}, got {self.got}"


@dataclass(frozen=True, repr=False)
class Report(Reported):
    """Every result, of questions first.

    Attributes:
        label: what the adapter is called.
        seed: of the drawn cases; `examples` is their number.
    """

    label: str
    dialect: str
    version: str
    seed: int
    examples: int
    results: tuple[Result, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each outcome."""
        return dict(Counter(result.outcome for result in self.results))

    @property
    def failures(self) -> tuple[Result, ...]:
        """What failed and was not expected to, and what was and passed."""
        bad = ("failed", "passed unexpectedly")
        return tuple(result for result in self.results if result.outcome in bad)

    @property
    def exit_code(self) -> int:
        """0 if it conforms, 1 if not, 2 if nothing could be asked."""
        if set(self.counts) <= {"not asked"}:
            return 2
        return 1 if self.failures else 0

    def print(self, console: Console) -> None:
        """Print what failed, what wasn't asked, and the counts."""
        lines: list[str] = []
        for result in self.failures:
            if result.outcome == "failed":
                lines += [f"failed: {result}", f"    {result.what}"]
            else:
                lines.append(f"passed, but expected to fail: {result.name} ({result.reason})")
        for result in self.results:
            if result.outcome == "not asked":
                lines.append(f"not asked: {result.name}: {result.reason}")
        counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.counts.items()))
        beside = f"{self.dialect} {self.version}, seed {self.seed}"
        lines.append(f"{self.label} beside {beside}: {counts or 'nothing asked'}")
        for line in lines:
            console.print(shown(line), highlight=False, markup=False)

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        results = [asdict(result) for result in self.results]
        return {**asdict(self), "schema": 1, "counts": self.counts, "results": results}
