"""Code whose imports are already the target's, with another framework's numbers and names in it.

The usual way to port by hand: `from torch import nn` has become `from mindspore import nn`, and
`momentum=0.1` still is torch's. Momentum and epsilon are corrected (what isn't written gets the
original's default), so are attributes of known layers and modes. A comment says that it was done,
since nothing else in the file tells, and a file that has it is left alone. Not here: code whose
imports are the original's (`rewriter`).
"""

from __future__ import annotations

import ast
from pathlib import Path

from batchnorm.frameworks import Framework, find
from batchnorm.rewrite.attributes import opposite, report_unknown
from batchnorm.rewrite.indirect_layers import correct, correct_passed, report_passed
from batchnorm.rewrite.job import Job, Task
from batchnorm.rewrite.marks import HEAD, line_for, marks_of
from batchnorm.rewrite.modes import mode_of, names_a_net, said_mode
from batchnorm.rewrite.rewriter import Rewritten
from batchnorm.source import (
    NOTEBOOK,
    Edit,
    Names,
    Objects,
    SourceError,
    Symbol,
    apply,
    parse_source,
)
from batchnorm.source.class_values import inherited, partial_of
from batchnorm.translate import complement
from batchnorm.translate.argument import parse

__all__ = ["rewrite_written"]


def rewrite_written(
    raw: bytes | str, *, written_as: str, to: str, path: Path | None = None
) -> Rewritten:
    r"""Correct one file that is the target's by its imports, and another's by its numbers.

    Args:
        raw: the file's bytes, or its text.
        written_as: the framework whose numbers and names the file has.
        to: the framework that the file imports.
        path: where the file is.

    Raises:
        ValueError: it does not parse, is a notebook, or a framework is unknown.

    >>> text = "from mindspore import nn\nbn = nn.BatchNorm2d(64, momentum=0.01)\n"
    >>> print(rewrite_written(text, written_as="torch", to="mindspore").after.decode(), end="")
    # batchnorm: carried over from torch
    from mindspore import nn
    bn = nn.BatchNorm2d(64, momentum=0.99)
    """
    raw = raw.encode() if isinstance(raw, str) else raw
    if path is not None and path.suffix == NOTEBOOK:
        raise SourceError("is a notebook, which --written-as doesn't read: export it as a script")
    task = Task(find(written_as), find(to))
    done = f"{HEAD}carried over from {task.from_.name}"
    source = parse_source(raw)
    if done in source.data.decode():
        return Rewritten(raw, raw, ())
    names = Names(source, path, task.to.framework if task.to.is_keras else None)
    job = Job(task, names, Objects(names))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            _call(job, node)
        elif isinstance(node, ast.Attribute):
            _attribute(job, node)
    report_passed(job)
    if not any(site.after for site in job.sites):
        return Rewritten(raw, raw, tuple(job.sites))
    marks = marks_of(job)
    for edit in (*marks, _head(job, done)):
        job.edits.add(edit)
    sites = tuple(sorted(job.sites, key=lambda site: site.line))
    return Rewritten(raw, source.encoded(apply(source.data, job.edits)), sites, len(marks))


def _head(job: Job, text: str) -> Edit:
    """The comment, before the first statement that isn't the docstring."""
    body = job.source.tree.body
    first = body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    node = body[1] if docstring and len(body) > 1 else first
    start = job.source.line_start(line_for(job.source, node))
    return Edit(start, start, f"{text}{job.source.newline}")


def _call(job: Job, call: ast.Call) -> None:
    symbol, partial = job.names.symbol(call.func), partial_of(job.names, call)
    made = inherited(job.names, call) if symbol is None else symbol
    if partial is not None and _ours(job, partial):
        correct(job, call, partial, skip=1)
    elif made is not None and _ours(job, made) and made.kind != "class":
        job.left(call, "function", f"{made.name} is no layer: see to its numbers by hand")
    elif made is not None and _ours(job, made):
        correct(job, call, made)
    elif not correct_passed(job, call):
        _mode(job, call)


def _ours(job: Job, symbol: Symbol) -> bool:
    return symbol.framework == job.task.to.framework


def _attribute(job: Job, node: ast.Attribute) -> None:
    """An attribute of a known layer that has the original's name."""
    thing = job.objects.thing(node.value)
    to: Framework = job.task.to
    if thing is None:
        report_unknown(job, node)
    if thing is None or thing.kind != "layer" or not thing.only:
        return
    if {symbol.framework for symbol in thing.symbols} != {to.framework}:
        return
    own, roles = to.room("source").ROLES, job.task.from_.room("source").ROLES
    if node.attr in own:
        _same_name(job, node, own[node.attr])
        return
    if node.attr not in roles:
        return
    new = next((name for name, role in own.items() if role == roles[node.attr]), None)
    if new is None:
        job.left(node, "attribute", f"{to.name} has no counterpart of {node.attr}")
        return
    stop = job.source.span(node)[1]
    job.edits.replace(Edit(stop - len(node.attr.encode()), stop, new))
    job.rewritten(node, "attribute", f"{job.source.text(node.value)}.{new}")


def _same_name(job: Job, node: ast.Attribute, role: str) -> None:
    """An attribute that both have, which is set in vain or is the other number in the target."""
    to, statement = job.task.to, job.source.parents[node]
    if isinstance(node.ctx, ast.Store) and node.attr in to.room("source").IGNORED:
        job.left(node, "attribute", f"{node.attr} set after construction has no effect in "
                                    f"{to.name}: give it to the constructor")  # fmt: skip
    elif role == "momentum" and opposite(job):
        value = None
        if isinstance(statement, ast.Assign) and statement.targets == [node]:
            value = parse(job.source.text(statement.value))
        if value is None or (value.literal and value.value is None):
            job.left(node, "attribute", f"{node.attr} is the other number in {to.name}: see to it")
            return
        text = complement(value).text
        start, stop = job.source.span(statement.value)  # type: ignore[attr-defined]
        job.edits.replace(Edit(start, stop, text))
        job.rewritten(node, "attribute", f"{job.source.text(node)} = {text}")


def _mode(job: Job, call: ast.Call) -> None:
    """`net.eval()` in the original's way."""
    from_, to, func = job.task.from_, job.task.to, call.func
    if not isinstance(func, ast.Attribute) or from_.is_keras:
        return
    if from_.calls.mode_method == to.calls.mode_method:
        return
    said = said_mode(job, call, from_.framework)
    thing = job.objects.thing(func.value)
    if said is None or (thing is None and not names_a_net(func)):
        return
    if to.is_keras:
        job.left(call, "mode", f"{to.name} {mode_of(job, said)}")
        return
    start, stop = job.source.span(func.value)[1], job.source.span(call)[1]
    job.edits.replace(Edit(start, stop, f".{mode_of(job, said)}"))
    job.rewritten(call, "mode", f"{job.source.text(func.value)}.{mode_of(job, said)}")
