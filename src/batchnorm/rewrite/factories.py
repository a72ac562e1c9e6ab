"""A layer's class that is handed on: as a default, in a partial, in isinstance, as an alias.

Where it only says a type, the class is replaced. Where it will be called, its callers give what
the source's class takes: torch and MindSpore the number of channels, Keras nothing. What stands
there afterwards takes the same, and gives a layer with the source's settings. Not here: calls.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from batchnorm.rewrite.call_arguments import Given, given
from batchnorm.rewrite.calls import (
    call_text,
    planned,
    reference_class,
    spelled,
    target_class,
)
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.reasons import to_do
from batchnorm.rewrite.site import Left
from batchnorm.rewrite.types import base_text, names_a_type, type_text
from batchnorm.source import Symbol
from batchnorm.translate import Argument, Form, Plan, forms

__all__ = [
    "counted",
    "fixed_plan",
    "rewrite_partial",
    "rewrite_reference",
    "same_counting",
]

_OPEN = (ast.keyword, ast.arguments, ast.Assign, ast.AnnAssign, ast.Return, ast.Call, ast.Dict)


def rewrite_partial(job: Job, call: ast.Call, symbol: Symbol) -> None:
    """Rewrite a partial with all that it fixes."""
    job.done.add(call.args[0])
    try:
        if call in job.stays:
            raise Left(job.stays[call])
        found = given(job, call, skip=1)
        text, plan = _factory(job, call, call.args[0], symbol, found, skip=1)
    except Left as left:
        job.left(call, "reference", str(left))
        return
    job.replace(call, _closed(job.source.parents[call], text))
    job.rewritten(call, "reference", text, to_do(job, call, found, plan, skip=1), plan)


def rewrite_reference(job: Job, node: ast.Name | ast.Attribute, symbol: Symbol) -> None:
    """Rewrite a class that is named without being called."""
    parent = job.source.parents[node]
    alias = isinstance(node, ast.Name) and _is_alias(job, node)
    if alias and (names_a_type(job, node) or same_counting(job, symbol)):
        return  # what it stands for is rewritten where it is assigned
    try:
        if node in job.stays:
            raise Left(job.stays[node])
        if isinstance(parent, ast.ClassDef) and node in parent.bases:
            raise Left(
                f"a class derived from {symbol.name} inherits how {job.task.from_.name} computes: "
                "port the class by hand"
            )
        if isinstance(parent, ast.Attribute) and parent.attr not in ("__name__", "__qualname__"):
            raise Left(f"{symbol.name}.{parent.attr} has no counterpart that is known")
        if symbol.kind == "base":
            text = base_text(job, node, symbol)
        elif names_a_type(job, node):
            text = type_text(job, node, symbol)
        elif _is_alias_value(job, parent, node):
            text = spelled(job, node, reference_class(job, symbol))
        else:
            text, plan = _factory(job, node, node, symbol, Given((), {}, ()))
            if text.startswith("lambda") and _in_class_body(job, parent):
                text = f"staticmethod({text})"  # called as self.name, which would add self
            job.replace(node, _closed(parent, text))
            job.rewritten(node, "reference", text, plan=plan)
            return
    except Left as left:
        job.left(node, "reference", str(left))
        return
    job.replace(node, text)
    job.rewritten(node, "reference", text)


def fixed_plan(job: Job, node: ast.expr, symbol: Symbol) -> Plan:
    """The plan of a class that is handed on, or of a partial.

    Raises:
        Left: it stays.
    """
    partial = isinstance(node, ast.Call)
    return _fixed(job, symbol, given(job, node, skip=1) if partial else Given((), {}, ()))  # type: ignore[arg-type]


def _fixed(job: Job, symbol: Symbol, found: Given) -> Plan:
    source = forms(job.task.from_).get(symbol.name)
    if source is None or (source.lazy and not job.task.to.calls.lazy):
        raise Left(f"{symbol.name} is told no number of channels, which the target needs")
    plan = planned(job, symbol, found, stand_in="num_features" not in found.keywords)
    target, _ = target_class(plan)
    if not counted(source) and counted(target):
        raise Left(
            f"{symbol.name} is called without a number of channels, which {target.class_name} needs"
        )
    if counted(source) and not counted(target) and "num_features" in found.keywords:
        raise Left("the number of channels is fixed where the class is handed on")
    return plan


def _factory(
    job: Job, node: ast.expr, name: ast.expr, symbol: Symbol, found: Given, skip: int = 0
) -> tuple[str, Plan]:
    """What makes layers like those of a class with some arguments fixed, and its plan."""
    plan = _fixed(job, symbol, found)
    source, (target, arguments) = plan.source.form, target_class(plan)
    lifted = counted(source) and not counted(target)
    if counted(source) and counted(target):
        arguments.pop("num_features", None)
    callee = spelled(job, name, target.class_name)
    if lifted and node in job.given_settings:  # what callers give is stronger
        entries = ", ".join(f'"{key}": {argument.text}' for key, argument in arguments.items())
        return f"lambda num_features, **settings: {callee}(**{{{entries}, **settings}})", plan
    if skip and isinstance(node, ast.Call):
        if lifted:
            listed = call_text(job, node, found, plan, target, arguments, skip=skip)
            return f"lambda num_features: {callee}{listed}", plan
        return _partial_text(job, node, found, plan, target, arguments, callee), plan
    written = ", ".join(f"{key}={argument.text}" for key, argument in arguments.items())
    if lifted:
        return f"lambda num_features: {callee}({written})", plan
    if written:
        return f"{job.imports.functools(node)}({callee}, {written})", plan
    return callee, plan


def _partial_text(
    job: Job,
    node: ast.Call,
    found: Given,
    plan: Plan,
    target: Form,
    arguments: Mapping[str, Argument],
    callee: str,
) -> str:
    """The partial, in its own layout, with another class and other arguments."""
    listed = call_text(job, node, found, plan, target, arguments, skip=1, first=callee)
    return job.text(node.func) + listed


def same_counting(job: Job, symbol: Symbol) -> bool:
    """Whether callers give the same arguments to the source's and the target's class."""
    form = forms(job.task.from_).get(symbol.name)
    return form is not None and not form.lazy and counted(form) is not job.task.to.is_keras


def counted(form: Form) -> bool:
    """Whether this dialect's classes are constructed with a number of channels."""
    return "num_features" in form.parameters


def _is_alias(job: Job, node: ast.Name) -> bool:
    bound = job.names.bindings(node)
    return bool(bound) and all(binding.kind == "assign" for binding in bound)


def _is_alias_value(job: Job, parent: ast.AST, node: ast.expr) -> bool:
    """`BN = nn.BatchNorm2d`, where the name is nothing else, so that its calls are seen."""
    return (
        isinstance(parent, ast.Assign)
        and parent.value is node
        and not _in_class_body(job, parent)
        and all(
            isinstance(target, ast.Name) and job.names.symbol(target) is not None
            for target in parent.targets
        )
    )


def _in_class_body(job: Job, parent: ast.AST) -> bool:
    """Whether an assignment makes an attribute of a class, whose uses are `self.name`."""
    return isinstance(parent, ast.Assign | ast.AnnAssign) and isinstance(
        job.source.parents[parent], ast.ClassDef
    )


def _closed(parent: ast.AST, text: str) -> str:
    """A lambda in parentheses, unless it stands where it ends by itself."""
    loose = text.startswith("lambda") and not isinstance(parent, _OPEN)
    return f"({text})" if loose else text
