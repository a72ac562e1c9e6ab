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

__all__ = [
    "layer_at",
    "opposite",
    "report_unknown",
    "rewrite_attribute",
    "rewrite_by_name",
    "stays",
]

_SETTINGS = {"epsilon", "momentum"}
_RUNNING = {"running_mean", "running_var", "batches"}
_STATE = {"gamma", "beta", "epsilon", *_RUNNING}
"""What `NORMS` tells of all the classes in it; running statistics no other layer has."""


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
        new = _named(job, role)
        if stays(job, thing):
            raise Left("its layer stays what it was")
        if not thing.only and new == name and role not in _SETTINGS:
            return  # whatever class it is of, its attribute is called so
        derived = to.room("source").DERIVED.get(role) if new is None else None
        if new is None and (derived is None or not isinstance(node.ctx, ast.Load)):
            raise Left(f"{to.name} has no counterpart of {name}")
        said, also = derived or (f"{{}}.{new}", "")
        if not thing.only:
            also = "; ".join(filter(None, (also, _other_classes(job, inner, thing, name, role))))
        parent = job.source.parents[node]
        if isinstance(parent, ast.Attribute) and parent.attr == "requires_grad" and to.is_keras:
            raise Left(f"{to.name} has no requires_grad: set the variable's trainable")
        if new is not None and role in _SETTINGS and not isinstance(node.ctx, ast.Load):
            _set(job, node, role, new)
            return
        text = said.format(_base(job, inner, thing))
        inverted = role == "momentum" and opposite(job)
        if inverted:
            text = f"(1 - {text})"
    except Left as left:
        job.left(node, "attribute", str(left))
        return
    if text != job.text(node):
        job.replace(node, text)
        job.rewritten(node, "attribute", text, also)


def rewrite_by_name(job: Job, node: ast.Call, said: ast.Constant) -> bool:
    """`getattr(bn, "weight")` and `hasattr(…)` of a known layer; whether it was rewritten."""
    of = node.args[0]
    thing, name = layer_at(job, of), str(said.value)
    role = job.task.from_.room("source").ROLES.get(name)
    new = None if role is None else _named(job, role)
    if role is None or new in (None, name) or thing is None or role in _SETTINGS:
        return False
    try:
        also = "" if thing.only else _other_classes(job, of, thing, name, role)
        base = _base(job, of, thing)
    except Left:
        return False
    text = job.source.text(said)
    if text[1:-1] != name or stays(job, thing):
        return False
    if base != job.base(of):
        job.replace(of, base)
    job.replace(said, f"{text[0]}{new}{text[-1]}")
    job.rewritten(node, "attribute", job.text(node), also)
    return True


def _named(job: Job, role: str) -> str | None:
    """What the target calls what an attribute says."""
    return next((n for n, r in job.task.to.room("source").ROLES.items() if r == role), None)


def _other_classes(job: Job, of: ast.expr, thing: Thing, name: str, role: str) -> str:
    """What is to be seen to where an object may be of another class as well.

    Raises:
        Left: the other class may keep the attribute under its old name.
    """
    from_, to = job.task.from_, job.task.to
    text, new = job.source.text(of), _named(job, role)
    if (
        not thing.others and thing.calls
    ):  # of a class that was handed on: so is the call that made it
        return f"{text} may be of another class, which must have {new} as well" if new else ""
    known, theirs = from_.room("source").NORMS, to.room("source").NORMS
    porting = []
    for path in sorted(thing.others) or [""]:
        last = path.rpartition(".")[2]
        if path in known and role in _STATE:
            if name in known[path]:
                named = (names for p, names in theirs.items() if _alike(p, last))
                if not all(new in names for names in [*named] or [()]):
                    raise Left(f"{text} may be of another class, which has {name}")
                porting.append(last)
        elif role not in _RUNNING or not path.startswith(from_.room("source").NETS):
            raise Left(f"{text} may be of another class, which has {name}")
    if not porting:
        return ""
    verb, it, has = ("stays", "it", "has") if len(porting) == 1 else ("stay", "them", "have")
    stay = f"{' and '.join(porting)} {verb} {from_.name}'s"
    return f"{stay}: carry {it} over as well, which {has} no {new} before"


def _alike(path: str, last: str) -> bool:
    """Whether a class is another framework's normalization of the same kind."""
    other = path.rpartition(".")[2]
    return other.startswith(last) or last.startswith(other)


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
    new = None if role is None else _named(job, role)
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
        if names == {outer} and not thing.others:
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
