"""One file, from bytes to bytes: every site visited from the inside out, then marks and imports.

Not here: folders and reports (`report`, the command).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path

from batchnorm.frameworks import current, find
from batchnorm.rewrite.attributes import layer_at, report_unknown, rewrite_attribute
from batchnorm.rewrite.calls import decide, rewrite_call
from batchnorm.rewrite.class_values import indirect_call, settle
from batchnorm.rewrite.factories import rewrite_partial, rewrite_reference
from batchnorm.rewrite.functions import rewrite_function, tracks
from batchnorm.rewrite.job import Job, Task
from batchnorm.rewrite.marks import marks_of
from batchnorm.rewrite.modes import rewrite_layer_call, rewrite_mode
from batchnorm.rewrite.site import Site
from batchnorm.rewrite.types import merge_tuple
from batchnorm.rewrite.unfollowed import (
    report_exports,
    report_hidden,
    report_mixture,
    report_settings,
    unsure,
)
from batchnorm.rewrite.unused import remove_unused, unused_imports
from batchnorm.source import (
    NAMES,
    NOTEBOOK,
    Names,
    Notebook,
    Objects,
    Symbol,
    apply,
    parse_source,
    parse_text,
)
from batchnorm.source.class_values import partial_of

__all__ = ["Rewritten", "rewrite_source"]


@dataclass(frozen=True)
class Rewritten:
    """One file's result.

    Attributes:
        before, after: its bytes; equal where nothing changes.
        sites: every place that uses a batch norm of the source framework, in order.
        marked: how many reasons were written into it that were not there.
        unread: why cells of a notebook were not read.
        classes: the nets with rewritten sites that are the source framework's still, by its base.
    """

    before: bytes
    after: bytes
    sites: tuple[Site, ...]
    marked: int = 0
    unread: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the file is another one now."""
        return self.before != self.after


def rewrite_source(
    raw: bytes | str, *, from_: str, to: str, path: Path | None = None, rank: int | None = None
) -> Rewritten:
    r"""Rewrite one file's source.

    Args:
        raw: the file's bytes, or its text.
        from_: the framework that it is written for, such as "torch".
        to: the framework that it is to be written for, such as "mindspore@2.0".
        path: where the file is, for its relative imports.
        rank: of the inputs of Keras layers, where the code doesn't say it (default: 4).

    Raises:
        ValueError: it does not parse, or a framework is unknown.

    >>> text = "from torch import nn\nbn = nn.BatchNorm2d(64, momentum=0.01)\n"
    >>> print(rewrite_source(text, from_="torch", to="mindspore").after.decode(), end="")
    from mindspore import nn
    bn = nn.BatchNorm2d(64, momentum=0.99)
    """
    raw = raw.encode() if isinstance(raw, str) else raw
    if path is not None and path.suffix == NOTEBOOK:
        return _rewritten_notebook(raw, from_, to, path, rank)
    task = Task(find(from_), find(to), rank)
    beside = [
        each for each in current()
        if each.real_package == task.from_.real_package
        and each.framework not in (task.from_.framework, task.to.framework)
        and task.from_.names_of == ()
        and each.framework.encode() in raw
    ]  # fmt: skip
    for other in beside:  # another family of layers of the same package
        first = _in_file(raw, replace(task, from_=other), path)
        if first.sites:
            return _after(first, _in_file(first.after, task, path))
    return _in_file(raw, task, path)


def _after(first: Rewritten, second: Rewritten) -> Rewritten:
    """Two runs as one; the second's lines are those of the file before the first."""
    old, new = (text.decode(errors="replace").splitlines() for text in (first.before, first.after))
    lines: dict[int, int] = {}
    for _, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        lines |= {j + 1: min(a + j - c, max(b - 1, a)) + 1 for j in range(c, d)}
    for site in second.sites:
        site.line = lines.get(site.line, site.line)
    every = {(s.line, s.before, s.reason): s for s in (*first.sites, *second.sites)}
    sites = sorted(every.values(), key=lambda site: site.line)
    marked = first.marked + second.marked
    classes = tuple(dict.fromkeys((*first.classes, *second.classes)))
    return Rewritten(first.before, second.after, tuple(sites), marked, classes=classes)


def _in_file(raw: bytes, task: Task, path: Path | None) -> Rewritten:
    source = parse_source(raw)
    names = Names(source, path, task.keras)
    if not _concerned(names, task):
        return Rewritten(raw, raw, ())
    after, sites, marked = _rewritten(names, task)
    if after == source.data:
        return Rewritten(raw, raw, sites, 0)
    classes = _classes(names, task, sites)
    return Rewritten(raw, source.encoded(after), sites, marked, classes=classes)


def _classes(names: Names, task: Task, sites: tuple[Site, ...]) -> tuple[str, ...]:
    """The nets around rewritten sites that derive from the source framework's."""
    nets = task.from_.room("source").NETS
    if task.from_.real_package == task.to.real_package:
        return ()
    around = {
        outer: None
        for site in sites
        if site.after and site.node is not None
        for outer in names.source.around(site.node)
        if isinstance(outer, ast.ClassDef)
    }
    found = (c for c in around if any(p.startswith(nets) for b in c.bases for p in names.paths(b)))
    return tuple(dict.fromkeys(c.name for c in found))


def _rewritten_notebook(raw: bytes, from_: str, to: str, path: Path, rank: int | None) -> Rewritten:
    notebook = Notebook(raw)
    unread = tuple(f"cell {number}: {reason}" for number, reason in notebook.unread)
    found = rewrite_source(
        notebook.code, from_=from_, to=to, path=path.with_suffix(".py"), rank=rank
    )
    for site in found.sites:
        site.cell, site.line = notebook.place(site.line)
    after = notebook.with_code(found.after) if found.changed else raw
    return replace(found, before=raw, after=after, unread=unread)


def _rewritten(names: Names, task: Task) -> tuple[bytes, tuple[Site, ...], int]:
    source, path, objects = names.source, names.path, Objects(names)
    job, marked = _run(Job(task, names, objects))
    after = apply(source.data, job.edits)
    unused = unused_imports(source, parse_text(after))
    freed = frozenset(unused & job.imports.blocked)
    if freed:  # names that no longer mean what they meant can be bound anew
        job, marked = _run(Job(task, names, objects, freed, plans=job.plans))
        after = apply(source.data, job.edits)
        unused = set(freed) | unused_imports(source, parse_text(after))
    rewritten = any(not site.left for site in job.sites)
    if rewritten and unused and (path is None or path.name != "__init__.py"):
        keep = {task.to.framework} if freed else set()
        after = remove_unused(parse_text(after), unused, keep)
    return after, tuple(sorted(job.sites, key=lambda site: site.line)), marked


def _concerned(names: Names, task: Task) -> bool:
    """Whether a file imports the source framework, or names what may be its batch norms."""
    packages = task.from_.room("source").PACKAGES
    for node in ast.walk(names.source.tree):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            paths = [] if node.level else [node.module or ""]
        elif isinstance(node, ast.Name | ast.Attribute):
            if (node.attr if isinstance(node, ast.Attribute) else node.id) not in NAMES:
                continue
            symbol = names.symbol(node)
            if names.unknown(node) or (symbol and symbol.framework == task.from_.framework):
                return True
            continue
        else:
            continue
        if any(path.partition(".")[0] in packages for path in paths):
            return True
    return False


def _run(job: Job) -> tuple[Job, int]:
    """Visit everything; the job, and how many marks were added."""
    source = job.source
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            symbol = _ours(job, node.func)
            if symbol is not None and symbol.kind == "class":
                job.outcomes[node] = decide(job, node, symbol)
    settle(job)
    for statement in source.tree.body:
        _visit(job, statement)
    report_exports(job)
    report_settings(job)
    report_mixture(job)
    marks = marks_of(job)
    for edit in (*marks, *job.imports.edits()):
        job.edits.add(edit)
    return job, len(marks)


def _visit(job: Job, node: ast.AST) -> None:
    """The parts first, then the node itself."""
    if isinstance(node, ast.Call) and partial_of(job.names, node):
        job.done.add(node.args[0])
    for child in ast.iter_child_nodes(node):
        _visit(job, child)
    if node in job.done:
        return
    if isinstance(node, ast.Tuple):
        merge_tuple(job, node)
    elif isinstance(node, ast.Call):
        _visit_call(job, node)
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
        symbol = _ours(job, node)
        parent = job.source.parents[node]
        called = isinstance(parent, ast.Call) and parent.func is node
        if symbol is not None and not called:
            whole = _ours(job, parent) if isinstance(parent, ast.Attribute) else None
            if whole is None:
                _visit_reference(job, node, symbol)
            return
        if symbol is None and job.names.unknown(node):
            if isinstance(parent, ast.Attribute):
                return
            job.left(node, "reference", unsure(job, node), certain=False)
            return
    report_hidden(job, node)
    if isinstance(node, ast.Attribute):
        thing = layer_at(job, node.value)
        if thing is not None:
            rewrite_attribute(job, node, thing)
        else:
            report_unknown(job, node)


def _visit_call(job: Job, node: ast.Call) -> None:
    symbol = _ours(job, node.func)
    other = job.names.symbol(node.func)
    if other is not None and other.framework != job.task.to.framework:
        family = find(other.framework).names_of
        if family and family[0] == job.task.from_.framework:
            reason = f"it is {other.framework}'s layer: rewrite it --from {other.framework}"
            job.left(node, "call", reason)
            return
    if symbol is not None and symbol.kind == "class":
        rewrite_call(job, node, symbol)
    elif symbol is not None:
        _visit_reference(job, node, symbol)
    elif rewrite_mode(job, node):
        return
    elif reason := tracks(job, node):
        job.left(node, "function", reason)
    else:
        partial = partial_of(job.names, node)
        if partial is not None and partial.framework == job.task.from_.framework:
            rewrite_partial(job, node, partial)
            return
        indirect_call(job, node)
        rewrite_layer_call(job, node)


def _visit_reference(job: Job, node: ast.expr, symbol: Symbol) -> None:
    if symbol.kind == "function":
        rewrite_function(job, node, symbol)
    elif isinstance(node, ast.Name | ast.Attribute):
        rewrite_reference(job, node, symbol)
    else:
        job.left(node, "reference", f"{symbol.name} is private to {symbol.framework}")


def _ours(job: Job, node: ast.expr) -> Symbol | None:
    symbol = job.names.symbol(node)
    return symbol if symbol is not None and symbol.framework == job.task.from_.framework else None
