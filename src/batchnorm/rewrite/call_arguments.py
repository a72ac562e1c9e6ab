"""The arguments that a call gives, with starred literals taken apart.

Not here: what they mean (`calls`), and their layout (`arguments`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Hidden, Left

__all__ = ["Given", "given"]


@dataclass(frozen=True)
class Given:
    """The arguments that a call gives, with starred literals taken apart.

    Attributes:
        positional: their texts.
        keywords: their texts by name.
        items: for each argument, in the same order, the number of the item of the list it is in.
        hidden: the texts of `**x` that stay as they are, since nothing says what is in them.
    """

    positional: tuple[str, ...]
    keywords: Mapping[str, str]
    items: tuple[int, ...]
    hidden: tuple[str, ...] = ()


def given(job: Job, call: ast.Call, skip: int = 0) -> Given:
    """Read the arguments of a call, without the first `skip`.

    Raises:
        Left: a starred argument whose contents the code around doesn't say.
    """
    parts: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    parts.sort(key=lambda part: job.source.span(part))
    hidden: list[str] = []
    positional: list[tuple[int, str]] = []
    keywords: dict[str, tuple[int, str]] = {}

    def named(index: int, name: str, text: str) -> None:
        if name in keywords:
            raise Left(f"{name} is given twice")
        keywords[name] = (index, text)

    for index, part in enumerate(parts):
        if index < skip:
            continue
        if isinstance(part, ast.Starred):
            positional += [(index, text) for text in _starred(job, part)]
        elif isinstance(part, ast.keyword) and part.arg is None:
            try:
                found = _double_starred(job, part.value)
            except Hidden:
                if len(call.keywords) < 1 or part is not parts[-1]:
                    raise
                hidden.append(job.source.text(part.value))
                continue
            for name, text in found:
                named(index, name, text)
        elif isinstance(part, ast.keyword):
            named(index, str(part.arg), _whole(job, part.value))
        else:
            positional.append((index, _whole(job, part)))
    return Given(
        tuple(text for _, text in positional),
        {name: text for name, (_, text) in keywords.items()},
        (*(index for index, _ in positional), *(index for index, _ in keywords.values())),
        tuple(hidden),
    )


def _whole(job: Job, node: ast.expr) -> str:
    """An argument's text, with the parentheses without which it would be something else."""
    bare = isinstance(node, ast.NamedExpr | ast.Yield | ast.YieldFrom)
    return f"({job.text(node)})" if bare else job.text(node)


def _starred(job: Job, part: ast.Starred) -> list[str]:
    value = job.names.value(part.value)
    plain = isinstance(value, ast.Tuple | ast.List)
    if not isinstance(value, ast.Tuple | ast.List) or any(
        isinstance(e, ast.Starred) for e in value.elts
    ):
        raise Left(f"*{job.source.text(part.value)} hides which arguments are given")
    own = value is part.value
    if plain and not own and not _constant(job, part.value, value):
        raise Left(f"*{job.source.text(part.value)} may have changed where it is used")
    return [job.text(element) for element in value.elts]


def _double_starred(job: Job, node: ast.expr) -> list[tuple[str, str]]:
    value, shown = job.names.value(node), job.source.text(node)
    pairs: list[tuple[ast.expr | str | None, ast.expr]] = []
    if isinstance(value, ast.Dict):
        pairs = [(k.value if isinstance(k, ast.Constant) else k, v)  # type: ignore[misc]
                 for k, v in zip(value.keys, value.values, strict=True)]  # fmt: skip
    elif isinstance(value, ast.Call) and not value.args and ast.unparse(value.func) == "dict":
        pairs = [(keyword.arg, keyword.value) for keyword in value.keywords]
    else:
        raise Hidden(f"**{shown} hides which arguments are given")
    if not all(isinstance(name, str) for name, _ in pairs):
        raise Hidden(f"**{shown} hides which arguments are given")
    if value is not node and not _constant(job, node, value):
        raise Left(f"**{shown} may have changed where it is used")
    return [(str(name), job.text(inner)) for name, inner in pairs]


def _constant(job: Job, name: ast.expr, value: ast.expr) -> bool:
    """Whether a variable surely still holds what it was given, and that means the same here."""
    if not isinstance(name, ast.Name) or not job.names.only_read(name):
        return False
    own = value.func if isinstance(value, ast.Call) else None
    parts = [part for part in ast.iter_child_nodes(value) if part is not own]
    values = [part.value if isinstance(part, ast.keyword) else part for part in parts]
    return all(job.names.same_at(v, name) for v in values if isinstance(v, ast.expr))
