"""Attributes of known layers: `m.weight` and `m.gamma`, settings, and what has no counterpart.

Not here: which expressions are layers (`source.objects`), and methods that change the mode
(`modes`).
"""

from __future__ import annotations

import ast

from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Left
from batchnorm.source import Thing
from batchnorm.translate import complement
from batchnorm.translate.argument import parse

__all__ = ["layer_at", "opposite", "report_unknown", "rewrite_attribute", "stays"]

_SETTINGS = {"epsilon", "momentum"}


def layer_at(job: Job, node: ast.expr) -> Thing | None:
    """The source framework's layer that an expression is known to be."""
    if isinstance(node, ast.Attribute) and _is_inner(job, node):
        inner = layer_at(job, node.value)
        if inner is not None:
            return inner
    thing = job.objects.thing(node)
    if thing is None or thing.kind != "layer":
        return None
    frameworks = {symbol.framework for symbol in thing.symbols}
    return thing if frameworks == {job.task.from_.framework} else None


def rewrite_attribute(job: Job, node: ast.Attribute, thing: Thing) -> None:
    """Rewrite one attribute of a known layer, or leave it with its reason."""
    from_, to = job.task.from_, job.task.to
    name, inner = node.attr, node.value
    role = from_.room("source").ROLES.get(name)
    if role is None or _is_inner(job, node):
        return
    try:
        new = next((n for n, r in to.room("source").ROLES.items() if r == role), None)
        if stays(job, thing):
            raise Left("its layer stays what it was")
        if not thing.only and new == name and role not in _SETTINGS:
            return  # whatever class it is of, its attribute is called so
        if not thing.only:
            raise Left(f"{job.source.text(inner)} may be of another class, which has {name}")
        if new is None:
            raise Left(f"{to.name} has no counterpart of {name}")
        parent = job.source.parents[node]
        if isinstance(parent, ast.Attribute) and parent.attr == "requires_grad" and to.is_keras:
            raise Left(f"{to.name} has no requires_grad: set the variable's trainable")
        if role in _SETTINGS and not isinstance(node.ctx, ast.Load):
            _set(job, node, role, new)
            return
        base = _base(job, inner, thing)
        text = f"{base}.{new}"
        inverted = role == "momentum" and opposite(job)
        if inverted:
            text = f"(1 - {text})"
    except Left as left:
        job.left(node, "attribute", str(left))
        return
    if text != job.text(node):
        job.replace(node, text)
        job.rewritten(node, "attribute", text)


def stays(job: Job, thing: Thing) -> bool:
    """Whether a call that made the layer stays as it was."""
    return any(
        call in job.stays or (call in job.outcomes and job.outcomes[call].plan is None)
        for call in thing.calls
    )


def report_unknown(job: Job, node: ast.Attribute) -> None:
    """Say that running statistics are taken from what isn't known to be a layer."""
    roles, of = job.task.from_.room("source").ROLES, node.value
    role = roles.get(node.attr)
    new = next((n for n, r in job.task.to.room("source").ROLES.items() if r == role), None)
    own = isinstance(of, ast.Name) and of.id in ("self", "cls")
    if role not in ("running_mean", "running_var") or new == node.attr or own:
        return
    if job.names.symbol(node) is None and job.objects.thing(of) is None:
        text = f"what {job.source.text(of)} is can't be told from this file"
        job.left(node, "attribute", f"{text}: of a batch norm it is {new}", certain=False)


def _base(job: Job, node: ast.expr, thing: Thing) -> str:
    """The layer that has the attributes, which may be an inner one (MindSpore's BatchNorm3d)."""
    names = {symbol.name for symbol in thing.symbols}
    text = job.base(node)
    if isinstance(node, ast.Attribute) and _is_inner(job, node):
        return job.base(node.value)
    to = job.task.to
    for outer, inner in to.room("source").INNER.items():
        if names == {outer}:
            return f"{text}.{inner}"
        if outer in names:
            raise Left(f"{to.title}'s {outer} keeps it in {inner}, and other layers don't")
    return text


def _is_inner(job: Job, node: ast.Attribute) -> bool:
    """Whether it is the layer inside a layer of the source framework."""
    return node.attr in job.task.from_.room("source").INNER.values()


def opposite(job: Job) -> bool:
    """Whether the attribute `momentum` is one minus the other's.

    MindSpore's is torch's number: its constructor takes the other, and stores one minus it.
    """
    return job.task.from_.is_keras is not job.task.to.is_keras


def _set(job: Job, node: ast.Attribute, role: str, new: str) -> None:
    """`m.momentum = …`, where a framework looks at it after construction."""
    from_, to = job.task.from_, job.task.to
    for side, name, verb in ((from_, node.attr, "has"), (to, new, "would have")):
        if name in side.room("source").IGNORED:
            raise Left(
                f"{node.attr} set after construction {verb} no effect in {side.name}: give it to "
                "the constructor"
            )
    statement = job.source.parents[node]
    plain = isinstance(statement, ast.Assign) and statement.targets == [node]
    if not plain or not isinstance(statement, ast.Assign):
        raise Left(f"{node.attr} is changed in a way that can't be followed: write it out")
    target = f"{job.base(node.value)}.{new}"
    after = target
    if role == "momentum" and opposite(job):
        value = parse(job.text(statement.value))
        if value.literal and value.value is None:
            raise Left(f"{job.task.to.name} has no cumulative average (momentum = None)")
        job.replace(statement.value, complement(value).text)
        after = f"{target} = {complement(value).text}"
    job.replace(node, target)
    job.rewritten(node, "attribute", after)
