"""One file while it is rewritten: its source, what its names mean, and the edits so far.

Nodes are rewritten from the inside out, so that a node's text, when it is asked for, has the edits
of its parts. Not here: what is done to which node.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property

from batchnorm.frameworks import Framework
from batchnorm.rewrite.edits import Edits
from batchnorm.rewrite.imports import Imports
from batchnorm.rewrite.site import Kind, Site
from batchnorm.source import Edit, Names, Objects, Source, apply
from batchnorm.translate import Plan

__all__ = ["Job", "Outcome", "Task"]


@dataclass(frozen=True)
class Task:
    """What is asked for all files.

    Attributes:
        from_, to: the dialects.
        rank: of the inputs of Keras layers, where the code doesn't say it.
    """

    from_: Framework
    to: Framework
    rank: int | None = None

    @property
    def keras(self) -> str | None:
        """Which Keras the package `keras` is: the source; between the two, each is what it says."""
        if self.to.is_keras or not self.from_.is_keras:
            return None
        return self.from_.framework


@dataclass(frozen=True)
class Outcome:
    """What becomes of a call of a layer's class: a plan, or the reason why it stays."""

    plan: Plan | None
    reason: str = ""


@dataclass
class Job:
    """One file's rewriting."""

    task: Task
    names: Names
    objects: Objects
    freed: frozenset[str] = frozenset()
    edits: Edits = field(default_factory=Edits)
    sites: list[Site] = field(default_factory=list)
    outcomes: dict[ast.Call, Outcome] = field(default_factory=dict)
    plans: dict[tuple[str, str, int | None, int | None], Plan | str] = field(default_factory=dict)
    """Class, call, rank and channels -> the plan, or why there is none."""
    done: set[ast.AST] = field(default_factory=set)
    """Nodes that an outer site has taken care of."""
    stays: dict[ast.expr, str] = field(default_factory=dict)
    """Classes that are handed on, and calls of what they are handed to, that stay -> why."""
    given_settings: set[ast.expr] = field(default_factory=set)
    """Classes that are handed on to what is called with settings."""

    def __post_init__(self) -> None:
        self.source: Source = self.names.source
        self.imports = Imports(self.names, self.task.to, self.task.keras, self.freed)

    @cached_property
    def packages(self) -> frozenset[str]:
        """The packages that the file imports, anywhere in it."""
        scopes = {id(scope): scope for scope in self.names.scopes.values()}.values()
        bound = (
            binding for scope in scopes for each in scope.bindings.values() for binding in each
        )
        return frozenset(b.path.partition(".")[0] for b in bound if b.kind == "import")

    def text(self, node: ast.AST) -> str:
        """A node's text with the edits so far."""
        start, stop = self.source.span(node)
        inside = self.edits.inside(start, stop)
        moved = [Edit(e.start - start, e.end - start, e.text) for e in inside]
        return apply(self.source.data[start:stop], moved).decode()

    def base(self, node: ast.AST) -> str:
        """A node's text before a dot or parenthesis, in parentheses where it needs them."""
        plain = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        return self.text(node) if plain else f"({self.text(node)})"

    def replace(self, node: ast.AST, text: str) -> None:
        """Put other text in place of a node, whatever was done to its parts."""
        start, stop = self.source.span(node)
        self.edits.replace(Edit(start, stop, text))

    def rewritten(self, node: ast.AST, kind: Kind, after: str, reason: str = "",
                  plan: Plan | None = None) -> None:  # fmt: skip
        """Note a site that was rewritten."""
        differences = () if plan is None else plan.differences
        line, before = node.lineno, self.source.text(node)  # type: ignore[attr-defined]
        self.sites.append(Site(line, kind, before, after, reason, differences, node=node))

    def left(self, node: ast.AST, kind: Kind, reason: str, plan: Plan | None = None,
             *, certain: bool = True) -> None:  # fmt: skip
        """Note a site that stays as it was."""
        differences = () if plan is None else plan.differences
        line, before = node.lineno, self.source.text(node)  # type: ignore[attr-defined]
        self.sites.append(Site(line, kind, before, "", reason, differences, certain, node))
