"""What a rule is: a stable id, a name, a page, and a function that looks through one file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from batchnorm.lint.fix import Fix
from batchnorm.lint.linted import Linted

__all__ = ["Check", "Hit", "Rule"]


class Hit(NamedTuple):
    """What a finding is about, its message, and what the place should become, if that is known."""

    node: ast.AST
    message: str
    fix: Fix | None = None


Check: TypeAlias = Callable[[Linted], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: BN001; never given to another rule.
        name: what the page and the reports call it.
        check: looks through a file. Its docstring is the rule's page in Markdown: a sentence,
            what is found, why it matters, a real example, and how to fix it. The first code block
            is what the rule finds, the last one how it is right; a test runs the rule on both.
        questions: ids of the questions whose recorded answers the page shows as its evidence.
        in_tests: whether it looks into test files, which use odd numbers on purpose.
    """

    id: str
    name: str
    check: Check
    questions: tuple[str, ...] = ()
    in_tests: bool = True

    @property
    def page(self) -> str:
        """The page's text, without the title and the recorded answers."""
        return inspect.getdoc(self.check) or ""

    @property
    def fix(self) -> str:
        """How the page's first example is fixed: "safe", "unsafe" or not at all, empty."""
        code = self.page.partition("```python\n")[2].partition("```")[0]
        fixes = [hit.fix for hit in self.check(Linted(Path("net.py"), code.encode()))]
        if None in fixes:
            return ""
        return "safe" if all(fix is not None and fix.safe for fix in fixes) else "unsafe"

    @property
    def summary(self) -> str:
        """The page's first sentence."""
        return " ".join(self.page.partition("\n\n")[0].split())
