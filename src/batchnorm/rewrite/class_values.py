"""What a parameter, a variable or an attribute stands for when a class was handed on to it.

A class that is handed on and the calls of what it is handed to become the target's together, or
both stay: `settle` decides that before anything is written. Not here: what the class itself becomes
where it is handed on (`factories`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from batchnorm.rewrite.call_arguments import Given, given
from batchnorm.rewrite.calls import anew, call_text, counterpart, planned, target_class
from batchnorm.rewrite.factories import fixed_plan, same_counting
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.reasons import to_do
from batchnorm.rewrite.site import Left
from batchnorm.rewrite.types import names_a_type
from batchnorm.source import Symbol
from batchnorm.source.arguments import Arguments
from batchnorm.source.class_values import handed_on as handed
from batchnorm.source.class_values import others as other_classes
from batchnorm.translate import Plan, forms

__all__ = ["handed_on", "indirect_call", "settle"]


def settle(job: Job) -> None:
    """Find what stays: classes whose callers can't be followed, and calls of such classes."""
    reasons: dict[ast.Call, str] = {}
    nodes: dict[ast.Call, Mapping[ast.expr, Symbol]] = {}
    for call in ast.walk(job.source.tree):
        if isinstance(call, ast.Call) and call.keywords and call not in job.outcomes:
            found = handed_on(job, call.func)
            if found:
                nodes[call], reasons[call] = found, _reason(job, call, found)
    for call, reached in nodes.items():
        if any(keyword.arg for keyword in call.keywords):
            job.given_settings |= set(reached)
        for node, symbol in reached.items():
            try:
                fixed_plan(job, node, symbol)
            except Left as left:
                job.stays[node] = str(left)
    changed = True
    while changed:
        changed = False
        for call, reached in nodes.items():
            stay = any(node in job.stays for node in reached)
            reason = reasons[call] or ("the class that is handed on stays what it was" * stay)
            if reason and call not in job.stays:
                job.stays[call], changed = reason, True
            for node in reached if reason else ():
                if node not in job.stays:
                    text = f"a call of what it is handed to says what {job.task.to.name} can't"
                    job.stays[node], changed = text, True


def _reason(job: Job, call: ast.Call, found: Mapping[ast.expr, Symbol]) -> str:
    """Why the settings of a call can't be said in the target; empty if they can."""
    symbol = min(found.values(), key=lambda s: s.name)
    parameters = forms(job.task.from_)[symbol.name].parameters
    try:
        arguments = given(job, call)
        if any(name not in parameters for name in arguments.keywords):
            return ""  # another thing is called as well
        planned(job, symbol, arguments, stand_in=_uncounted(arguments))
    except Left as left:
        return str(left)
    return ""


def indirect_call(job: Job, call: ast.Call) -> None:
    """Rewrite the settings in `norm_layer(64, eps=…)`, where the name stands for our classes."""
    if not isinstance(call.func, ast.Name | ast.Attribute | ast.Subscript):
        return
    symbols = handed_on(job, call.func)
    if not symbols:
        return
    again = "" if any(node in job.stays for node in symbols) else anew(job, call)
    if not call.keywords:
        if again:
            job.left(call, "call", again)
        return
    symbol = min(symbols.values(), key=lambda s: s.name)
    try:
        if call in job.stays:
            raise Left(job.stays[call])
        found = given(job, call)
        form = forms(job.task.from_)[symbol.name]
        if any(name not in form.parameters for name in found.keywords):
            return
        plan = planned(job, symbol, found, stand_in=_uncounted(found))
        target, arguments = target_class(plan)
        listed = call_text(job, call, found, plan, target, arguments)
        if not same_counting(job, symbol):
            listed = _settings(job, call, found, plan)
    except Left as left:
        job.left(call, "call", str(left))
        return
    text = job.text(call.func) + listed
    if text != job.text(call):
        job.replace(call, text)
        others = {job.source.text(n): None for n in other_classes(job.names, call.func)}
        also = f"{' and '.join(others)} may be called here as well, and gets these numbers, too"
        reasons = (to_do(job, call, found, plan), again, also if others else "")
        job.rewritten(call, "call", text, "; ".join(filter(None, reasons)), plan)
    elif found.hidden:
        job.left(call, "call", f"**{found.hidden[0]} hides what is given to a batch norm")


def _uncounted(found: Given) -> bool:
    return not found.positional and "num_features" not in found.keywords


def _settings(job: Job, call: ast.Call, found: Given, plan: Plan) -> str:
    """The arguments that are given, by the target's names; a number of channels stays."""
    source, (target, arguments) = plan.source.form, target_class(plan)
    own = [*list(source.parameters)[: len(found.positional)], *found.keywords]
    listed = Arguments(job.text(call), len(job.text(call.func)))
    remaining = dict(arguments)
    for name, index in zip(own, found.items, strict=True):
        if source.parameters[name].meaning.word == "num_features":
            continue
        other = counterpart(source, name, target, remaining)
        listed.items[index].new = "" if other is None else f"{other}={remaining.pop(other).text}"
    return listed.written([])


def handed_on(job: Job, func: ast.expr) -> dict[ast.expr, Symbol]:
    """The source framework's classes that an expression stands for, where they are handed on."""
    found = handed(job.names, func)
    return {n: s for n, s in found.items() if _ours(job, s) and not names_a_type(job, n)}


def _ours(job: Job, symbol: Symbol) -> bool:
    return symbol.framework == job.task.from_.framework
