"""One place in a file that uses a batch norm, and what became of it.

Not here: how it is rewritten (`calls`, `factories`, `attributes`, `modes`).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from batchnorm.translate import Difference

__all__ = ["Hidden", "Kind", "Left", "Site"]

Kind: TypeAlias = Literal["call", "reference", "attribute", "mode", "function"]


@dataclass
class Site:
    """One place.

    Attributes:
        line: where it begins.
        kind: a call of a layer's class, a reference to the class, a layer's attribute, a change of
            mode (or a call of the layer that says its mode), or a function that no plan covers.
        before: its source.
        after: what it became; empty if it was left.
        reason: why it was left, or what remains to be done by hand.
        differences: what remains different, as the plan says.
        certain: whether it surely is the source framework's; an uncertain one isn't marked.
        node: where it is in the tree.
        cell: of a notebook, counted from 1, in which the line is counted; 0 in other files.
    """

    line: int
    kind: Kind
    before: str
    after: str = ""
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    certain: bool = True
    node: ast.AST | None = field(default=None, repr=False, compare=False)
    cell: int = 0

    @property
    def left(self) -> bool:
        """Whether it was left as it was."""
        return not self.after

    @property
    def place(self) -> str:
        """The line, after the cell in a notebook."""
        return f"cell {self.cell}:{self.line}" if self.cell else str(self.line)

    def as_data(self) -> dict[str, object]:
        """The site for JSON."""
        return {
            "line": self.line,
            "cell": self.cell or None,
            "kind": self.kind,
            "outcome": "left" if self.left else "rewritten",
            "before": self.before,
            "after": self.after or None,
            "reason": self.reason or None,
            "differences": [
                {"key": d.key, "kind": d.kind, "text": d.text, "remedy": d.remedy, "size": d.size}
                for d in self.differences
            ],
        }


class Left(Exception):
    """A site that can't be carried over; its text is the reason."""


class Hidden(Left):
    """Arguments of which nothing says which they are."""
