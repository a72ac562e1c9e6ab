"""What a parameter, a variable or an attribute stands for when a class was handed on to it.

Not here: what the class itself becomes where it is handed on (`factories`).
"""

from __future__ import annotations

import ast

from batchnorm.rewrite.calls import call_text, hidden_reason, planned, target_class
from batchnorm.rewrite.factories import counted, is_partial, same_counting
from batchnorm.rewrite.given import given
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Left
from batchnorm.source import Symbol
from batchnorm.translate import forms

__all__ = ["default_of", "handed_on", "indirect_call"]


def indirect_call(job: Job, call: ast.Call) -> None:
    """Rewrite the settings in `norm_layer(64, eps=…)`, where the name stands for our classes."""
    if not isinstance(call.func, ast.Name | ast.Attribute) or not call.keywords:
        return
    symbols = handed_on(job, call.func)
    if not symbols:
        return
    symbol = sorted(symbols, key=lambda s: s.name)[0]
    try:
        found = given(job, call)
        form = forms(job.task.from_)[symbol.name]
        if any(name not in form.parameters for name in found.keywords):
            return
        plan = planned(job, symbol, found)
        if not same_counting(job, symbol):
            raise Left(
                "settings are given to a class that was handed on; what it became takes "
                f"{'only the number of channels' if counted(form) else 'torch names'}"
            )
    except Left as left:
        job.left(call, "call", str(left))
        return
    target, arguments = target_class(plan)
    text = job.text(call.func) + call_text(job, call, found, plan, target, arguments)
    if text != job.text(call):
        job.replace(call, text)
        job.rewritten(call, "call", text, hidden_reason(job, found), plan)


def handed_on(job: Job, func: ast.expr, depth: int = 0) -> set[Symbol]:
    """The classes that a parameter or variable stands for, by its default or its assignments."""
    if depth > 4:
        return set()
    if isinstance(func, ast.IfExp | ast.BoolOp):
        parts = [func.body, func.orelse] if isinstance(func, ast.IfExp) else func.values
        each = [handed_on(job, part, depth + 1) for part in parts]
        return set().union(*each)
    symbol = job.names.symbol(func)
    if symbol is not None and depth:
        return {symbol} if symbol.kind == "class" and _ours(job, symbol) else set()
    if isinstance(func, ast.Call):
        made = is_partial(job, func)
        return {made} if made is not None and _ours(job, made) else set()
    found: set[Symbol] = set()
    if isinstance(func, ast.Attribute):
        for value in _assigned_in_class(job, func):
            found |= handed_on(job, value, depth + 1)
        return found
    if not isinstance(func, ast.Name):
        return found
    for binding in job.names.bindings(func):
        if isinstance(binding.node, ast.arg):
            default = default_of(job, binding.node)
            found |= handed_on(job, default, depth + 1) if default is not None else set()
        elif binding.value is not None:
            found |= handed_on(job, binding.value, depth + 1)
    return found


def _assigned_in_class(job: Job, node: ast.Attribute) -> list[ast.expr]:
    """What the class around a `self.name` assigns to it, in its methods or its body."""
    around = next((c for c in job.source.around(node) if isinstance(c, ast.ClassDef)), None)
    if around is None or not isinstance(node.value, ast.Name) or node.value.id != "self":
        return []
    in_body = [
        statement.value
        for statement in around.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        for target in (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        )
        if isinstance(target, ast.Name) and target.id == node.attr
    ]
    return in_body + [
        statement.value
        for statement in ast.walk(around)
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Attribute)
        and target.attr == node.attr
        and ast.dump(target.value) == ast.dump(node.value)
    ]


def default_of(job: Job, argument: ast.arg) -> ast.expr | None:
    """The default of a parameter."""
    arguments = job.source.parents[argument]
    if not isinstance(arguments, ast.arguments):
        return None
    places = [*arguments.posonlyargs, *arguments.args]
    if argument in places:
        index = places.index(argument) - len(places) + len(arguments.defaults)
        return arguments.defaults[index] if index >= 0 else None
    if argument in arguments.kwonlyargs:
        return arguments.kw_defaults[arguments.kwonlyargs.index(argument)]
    return None


def _ours(job: Job, symbol: Symbol) -> bool:
    return symbol.framework == job.task.from_.framework
