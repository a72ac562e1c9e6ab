"""What remains to be done by hand at a call that was rewritten: it is marked there.

Not here: why a place is left (`site.Left`).
"""

from __future__ import annotations

import ast
import re

from batchnorm.rewrite.call_arguments import Given
from batchnorm.rewrite.job import Job
from batchnorm.source import Edit
from batchnorm.source.class_values import default_of
from batchnorm.translate import Difference, Form, Plan

__all__ = ["afterwards", "late", "may_be_none", "to_do"]

_NONE = "weight_of_batch"  # with None a cumulative average, which no other convention has


def to_do(job: Job, call: ast.Call, found: Given, plan: Plan, skip: int = 0) -> str:
    """All that remains at a call with arguments; empty where nothing does."""
    parts = [_hidden(job, found), *_maybe_none(job, call, plan, skip)]
    return "; ".join(part for part in parts if part)


def _hidden(job: Job, found: Given) -> str:
    """What is to be done about `**x` of which nothing says what is in it."""
    if not found.hidden:
        return ""
    texts = " and ".join(f"**{text}" for text in found.hidden)
    from_, to = job.task.from_.name, job.task.to.name
    return f"{texts} stays as it was: give it {to}'s names and numbers in place of {from_}'s"


def _maybe_none(job: Job, call: ast.Call, plan: Plan, skip: int) -> list[str]:
    """Arguments that may be None, where the source takes None and the target doesn't."""
    parameters = plan.source.form.parameters
    places = [p for p in parameters.values() if p.kind == "positional or keyword"]
    if skip and places and places[0].meaning.word == "num_features":
        places = places[1:]
    pairs = [(p.name, v) for p, v in zip(places, call.args[skip:], strict=False)]
    pairs += [(k.arg, k.value) for k in call.keywords if k.arg and k.arg in parameters]
    words = {p.meaning.word for p in plan.target.form.parameters.values()}
    return [
        f"{job.source.text(value)} may be None, which is a cumulative average in "
        f"{job.task.from_.name} and nothing in {job.task.to.name}: say what it is then"
        for name, value in pairs
        if parameters[name].meaning.word == _NONE and _NONE not in words
        and not isinstance(value, ast.Constant) and may_be_none(job, value)
    ]  # fmt: skip


def may_be_none(job: Job, value: ast.expr, depth: int = 0) -> bool:
    """Whether a value is None by itself, by a parameter's default, or by what is assigned."""
    if depth > 4:
        return False
    match value:
        case ast.Constant(value=None):
            return True
        case ast.IfExp(body=body, orelse=other):
            return any(may_be_none(job, each, depth + 1) for each in (body, other))
        case ast.Name():
            bound = job.names.bindings(value)
            if len(bound) > 1:  # `if m is None: m = 0.1`
                return False
            given = [default_of(job.names, b.node) for b in bound if isinstance(b.node, ast.arg)]
            given += [b.value for b in bound]
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            around = job.source.around(value)
            owner = next((n for n in around if isinstance(n, ast.ClassDef)), None)
            given = [] if owner is None else job.names.given(owner).get(name, [])
        case _:
            return False
    return any(each is not None and may_be_none(job, each, depth + 1) for each in given)


def late(difference: Difference) -> bool:
    """Whether a statement after a constructor can say what the constructor can't."""
    freezes = difference.key in ("extra-parameter", "frozen-parameters")
    code = freezes and all(map(_code, difference.remedy.split(" and ")))
    return difference.key == "initial-value" or code


def afterwards(job: Job, call: ast.Call, plan: Plan, form: Form) -> str:
    """Say after a call what its constructor can't: by statements, or as what is to be done."""
    lost = [d for d in plan.differences if d.kind == "inexpressible"]
    statements = [part for d in lost for part in d.remedy.split(" and ")]
    found = _assigned(job, call)
    if found is None or form.lazy or not all(map(_code, statements)):
        return "; ".join(f"{d.text} ({d.remedy})" for d in lost)
    target, place, indent = found
    for statement in statements:
        text = re.sub(r"(?<![\w.])nn\.", f"{job.imports.module(call.func)}.", statement)
        text = re.sub(r"(?<![\w.])bn\.", f"{target}.", text)
        job.edits.add(Edit(place, place, f"{job.source.newline}{indent}{text}"))
    return ""


def _assigned(job: Job, call: ast.Call) -> tuple[str, int, str] | None:
    """What a call alone is assigned to, and the end of its last line and the indentation there."""
    match parent := job.source.parents[call]:
        case ast.Assign(targets=[ast.Name() | ast.Attribute() as target]):
            pass
        case ast.AnnAssign(target=ast.Name() | ast.Attribute() as target):
            pass
        case _:
            return None
    source, last = job.source, parent.end_lineno or parent.lineno
    place = source.line_start(last) + len(source.line(last).encode())
    (begin, end), start = source.span(parent), source.line_start(parent.lineno)
    before, rest = source.data[start:begin].decode(), source.data[end:place].strip()
    alone = not before.strip() and rest[:1] in (b"", b"#")
    return (source.text(target), place, before) if alone else None


def _code(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
