"""Layers that are made by another name, where classes are the target's and numbers another's.

`norm_layer(64, momentum=0.1)`, `NORMS["bn"](…)`, and classes whose calls can't be followed: these
are told, since nothing in the file shows that their numbers are still the original's. Not here:
what the numbers become (`numbers`).
"""

from __future__ import annotations

import ast
import re

from batchnorm.rewrite.job import Job
from batchnorm.rewrite.numbers import corrected, defaults, means_the_opposite
from batchnorm.rewrite.site import Left
from batchnorm.rewrite.types import names_a_type
from batchnorm.rewrite.unfollowed import unknown
from batchnorm.source import Edit, Symbol
from batchnorm.source.class_values import handed_on, inherited, others, partial_of
from batchnorm.translate import forms

__all__ = ["correct", "correct_passed", "report_passed"]

_NORM = re.compile(r"(?i)norm|(^|_)bn(_|\d|$)")


def correct(
    job: Job, call: ast.Call, symbol: Symbol, *, skip: int = 0, fill: bool = True, also: str = ""
) -> None:
    """Correct what a layer is given; `also` says what remains to be seen to."""
    try:
        text, hides = corrected(job, call, symbol.name, skip=skip, fill=fill)
    except Left as left:
        job.left(call, "call", str(left))
        return
    if text != job.source.text(call):
        callee, stop = job.source.span(call.func)[1], job.source.span(call)[1]
        job.edits.replace(Edit(callee, stop, text[len(job.source.text(call.func)) :]))
        job.rewritten(call, "call", text, "; ".join(filter(None, (hides, also))))
    elif hides:
        job.left(call, "call", hides)


def correct_passed(job: Job, call: ast.Call) -> bool:
    """Correct a call of what a class was handed on to; whether it was one."""
    found = handed_on(job.names, call.func)
    ours = [s for s in found.values() if s.framework == job.task.to.framework]
    if not ours or len(ours) < len(found):
        return False
    if not isinstance(call.func, ast.Name | ast.Attribute | ast.Subscript):
        if means_the_opposite(job, ours[0].name) and "momentum" in _given(call):
            job.left(call, "call", "choose the class before the call: see to its momentum")
        return True
    other = {job.source.text(n): None for n in others(job.names, call.func)}
    also = f"{' and '.join(other)} may be called here as well, and gets these numbers, too"
    correct(job, call, ours[0], fill=False, also=also if other else "")
    return True


def _given(call: ast.Call) -> set[str]:
    return {keyword.arg for keyword in call.keywords if keyword.arg}


def report_passed(job: Job) -> None:
    """Tell classes that are named without being called, where somebody must see to the calls."""
    followed: set[ast.expr] = set()
    for node in ast.walk(job.source.tree):
        if isinstance(node, ast.Call):
            followed |= handed_on(job.names, node.func).keys()
            followed |= {node.args[0]} if partial_of(job.names, node) is not None else set()
            followed.add(node.func)
    heirs = _heirs(job)
    for node in ast.walk(job.source.tree):
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            continue
        symbol = job.names.symbol(node)
        if symbol is None or symbol.kind != "class" or node in heirs:
            continue
        if symbol.framework == job.task.to.framework:
            _report(job, node, symbol, followed)
    _report_calls(job)


def _report_calls(job: Job) -> None:
    """Tell calls of what can't be told and may be a batch norm that takes the original's number."""
    if not any(means_the_opposite(job, name) for name in forms(job.task.to)):
        return
    handed = any(site.kind == "reference" for site in job.sites)
    defined = {
        node.name
        for node in ast.walk(job.source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    seen = {site.node for site in job.sites}
    for node in ast.walk(job.source.tree):
        if not isinstance(node, ast.Call) or "momentum" not in _given(node) or node in seen:
            continue
        named = handed or _NORM.search(job.source.text(node.func))
        if (
            named
            and not _given(node) & {"lr", "learning_rate"}
            and unknown(job, node.func, defined)
        ):
            job.left(node, "call", "what is called can't be told: if it is a batch norm, its "
                                   f"momentum is {job.task.from_.name}'s")  # fmt: skip


def _report(job: Job, node: ast.expr, symbol: Symbol, followed: set[ast.expr]) -> None:
    parent = job.source.parents[node]
    opposite, missing = means_the_opposite(job, symbol.name), defaults(job, symbol.name)
    if not opposite and not missing:
        return
    called = isinstance(parent, ast.Call) and (
        parent.func is node or partial_of(job.names, parent) is not None
    )
    alias = isinstance(parent, ast.Assign) and job.names.symbol(parent.targets[0]) is not None
    if isinstance(parent, ast.ClassDef):
        job.left(node, "reference", f"{parent.name}'s callers give what {symbol.name} takes: see "
                                    "to their numbers")  # fmt: skip
    elif isinstance(parent, ast.Attribute) and parent.attr == "__init__":
        job.left(node, "reference", f"see to the numbers that {symbol.name} is given")
    elif called or alias or names_a_type(job, node):
        return
    elif missing:
        wanted = ", ".join(f"{name}={argument.text}" for name, argument in missing.items())
        job.left(node, "reference", f"{symbol.name} is called with {job.task.to.name}'s defaults: "
                                    f"give it {wanted}")  # fmt: skip
    elif node not in followed:
        job.left(node, "reference", f"{symbol.name} is handed on: see to the numbers that it is "
                                    "called with", certain=False)  # fmt: skip


def _heirs(job: Job) -> set[ast.expr]:
    """The bases of classes that give their layer its numbers themselves."""
    found: set[ast.expr] = set()
    for node in ast.walk(job.source.tree):
        if isinstance(node, ast.Call) and inherited(job.names, node) is not None:
            owner = next(n for n in job.source.around(node) if isinstance(n, ast.ClassDef))
            found |= set(owner.bases)
    return found
