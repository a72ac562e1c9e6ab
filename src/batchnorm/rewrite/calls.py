"""A call of a layer's class, rewritten in place by the plan of its translation.

Arguments that say the same stay as they are written; the others are replaced, dropped and added
where they stand. Not here: classes that are handed on without a call (`factories`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from batchnorm.errors import BatchNormError
from batchnorm.frameworks import Framework
from batchnorm.rewrite.call_arguments import Given, given
from batchnorm.rewrite.input_shapes import around
from batchnorm.rewrite.job import Job, Outcome, Task
from batchnorm.rewrite.reasons import afterwards, late, to_do
from batchnorm.rewrite.site import Left
from batchnorm.source import Symbol
from batchnorm.source.arguments import Arguments
from batchnorm.translate import Argument, Difference, Form, Plan, forms, make_plan
from batchnorm.translate.call import bind
from batchnorm.translate.form import form as form_for

__all__ = [
    "anew",
    "call_text",
    "counterpart",
    "decide",
    "planned",
    "reference_class",
    "rewrite_call",
    "spelled",
    "target_class",
]

PLACEHOLDER = "NUM_FEATURES"
SYNC = "SyncBatchNormalization"
_TOPICS = {
    "weight_of_batch": "momentum",
    "weight_of_running": "momentum",
    "affine": "gamma",
    "train_affine": "gamma",
    "has_gamma": "gamma",
    "beta_if_affine": "beta",
    "has_beta": "beta",
    "tracking": "statistics",
    "forced_statistics": "statistics",
    "trainable": "statistics",
    "channel_axis": "axis",
    "data_format": "axis",
    "parameter_dtype": "dtype",
    "dtype_policy": "dtype",
}


def planned(
    job: Job,
    symbol: Symbol,
    found: Given,
    *,
    rank: int | None = None,
    channels: int | None = None,
    stand_in: bool = False,
    statements: bool = False,
) -> Plan:
    """The plan for arguments of a class; with `stand_in`, as if the channels were given later.

    With `statements`, one after the call may say what the call itself can't.

    Raises:
        Left: the arguments can't be read, or can't be said in the target.
    """
    form = _form(job, symbol)
    first = ("num_features",) if stand_in and "num_features" in form.parameters else ()
    texts = (*first, *found.positional, *(f"{k}={v}" for k, v in found.keywords.items()))
    asked = symbol.name, f"_({', '.join(texts)})", rank, channels
    plan = job.plans.get(asked) or _plan(job.task, *asked)
    job.plans[asked] = plan
    if isinstance(plan, str):
        raise Left(plan)
    lost = [d for d in plan.differences if d.kind == "inexpressible" and not statements]
    if lost:
        raise Left(_said(lost))
    return plan


@lru_cache(maxsize=1024)  # the same few calls stand in most files, and each is asked for twice
def _plan(task: Task, name: str, whole: str, rank: int | None, channels: int | None) -> Plan | str:
    """The plan for a call's text, or why there is none."""
    form = forms(task.from_)[name if name != SYNC else "BatchNormalization"]
    try:
        node = ast.parse(whole, mode="eval").body
        assert isinstance(node, ast.Call)
        named = {str(keyword.arg): keyword.value for keyword in node.keywords}
        arguments = bind(form, node.args, named, whole)
        if name == SYNC:
            if "synchronized" not in form.parameters:
                return f"{task.from_.name} has no synchronized="
            arguments["synchronized"] = Argument("True", True)
        rank = rank if not form.ranks else None
        dropped = [] if form.dialect.is_keras and task.to.is_keras else _without_dtype(
            form, arguments)  # fmt: skip
        if rank is None and form.dialect.is_keras:
            rank = 5 if _axis(arguments) == 4 else task.rank
        plan = make_plan(form, arguments, task.to, rank=rank, num_features=channels)
    except (RecursionError, MemoryError):
        return "the call is nested too deeply to be read"
    except (BatchNormError, SyntaxError) as error:
        return str(error)
    told = tuple(
        Difference(
            "dtype-dropped",
            "around",
            f"{text} is dropped, and {task.to.name}'s layer has its own default dtype",
            "convert the net as a whole where it isn't to be float32",
        )
        for text in dropped
    )
    plan = replace(plan, differences=(*plan.differences, *told))
    worst = [d for d in plan.differences if d.kind == "inexpressible"]
    return _said(worst) if not all(map(late, worst)) else plan


def _said(lost: list[Difference]) -> str:
    return "; ".join(d.text + (f" ({d.remedy})" if d.remedy else "") for d in lost)


def _without_dtype(form: Form, arguments: dict[str, Argument]) -> list[str]:
    """Take out dtypes that are expressions, which mostly stand for the default; what they were."""
    names = [
        name
        for name, argument in arguments.items()
        if form.parameters[name].meaning.word in ("parameter_dtype", "dtype_policy")
        and not argument.literal
    ]
    return [f"{name}={arguments.pop(name).text}" for name in names]


def _axis(arguments: Mapping[str, Argument]) -> object:
    found = arguments.get("axis")
    return None if found is None else found.value


def _form(job: Job, symbol: Symbol) -> Form:
    name = "BatchNormalization" if symbol.name == SYNC else symbol.name
    found = forms(job.task.from_).get(name)
    if found is None:
        raise Left(f"{job.task.from_.name} has no class {name}")
    return found


def decide(job: Job, call: ast.Call, symbol: Symbol) -> Outcome:
    """What becomes of a call, before anything is written."""
    said = around(job.source, call)
    channels = int(said.channels) if said.channels.isdecimal() else None
    uncounted = "num_features" not in _form(job, symbol).parameters
    try:
        found = given(job, call)
        known = channels if uncounted else None
        return Outcome(planned(job, symbol, found, rank=said.rank, channels=known, statements=True))
    except Left as left:
        return Outcome(None, str(left))


def target_class(plan: Plan, channels: str = "") -> tuple[Form, dict[str, Argument]]:
    """The class and the arguments that are written: torch's lazy one where no count is known."""
    target = plan.target
    arguments = dict(target.arguments)
    count = arguments.get("num_features")
    if count is None or count.text != PLACEHOLDER:
        return target.form, arguments
    if channels:
        arguments["num_features"] = replace(count, text=channels, expression=channels)
        return target.form, arguments
    lazy = forms(target.form.dialect).get(f"Lazy{target.form.class_name}")
    if lazy is None:
        return target.form, arguments
    del arguments["num_features"]
    return lazy, arguments


def rewrite_call(job: Job, call: ast.Call, symbol: Symbol) -> None:
    """Rewrite one call, or leave it with its reason."""
    decided = job.outcomes[call]
    if decided.plan is None:
        job.left(call, "call", decided.reason)
        return
    said = around(job.source, call)
    channels = int(said.channels) if said.channels.isdecimal() else None
    found = given(job, call)
    counted = "num_features" in _form(job, symbol).parameters
    known = None if counted else channels
    plan = planned(job, symbol, found, rank=said.rank, channels=known, statements=True)
    form, arguments = target_class(plan, said.channels)
    if plan.source.form.lazy and "num_features" in arguments and form.dialect.calls.lazy:
        form = plan.source.form
    callee = spelled(job, call.func, form.class_name)
    text = callee + call_text(job, call, found, plan, form, arguments)
    job.replace(call, text)
    count = arguments.get("num_features")
    reason = ""
    if count is not None and count.text == PLACEHOLDER:
        reason = f"put the number of channels in place of {PLACEHOLDER}"
    after = afterwards(job, call, plan, form)
    if not after:  # said by statements
        said_so = tuple(d for d in plan.differences if d.kind != "inexpressible")
        plan = replace(plan, differences=said_so)
    reasons = (reason, to_do(job, call, found, plan), anew(job, call), after)
    job.rewritten(call, "call", text, "; ".join(filter(None, reasons)), plan)


def anew(job: Job, call: ast.Call) -> str:
    """What is to be done about a layer that is made where it is called; empty for another."""
    parent = job.source.parents[call]
    called = isinstance(parent, ast.Call) and parent.func is call
    if not called or not job.task.from_.is_keras or job.task.to.is_keras:
        return ""
    return (
        "a new layer is made at each call, which is never trained: in "
        f"{job.task.to.name} make it once, in __init__, and call that"
    )


def spelled(job: Job, func: ast.expr, class_name: str) -> str:
    """The class as it is written at a place: an alias of the file's own stays."""
    if isinstance(func, ast.Name):
        bound = job.names.bindings(func)
        symbol = job.names.symbol(func)
        alias = bool(bound) and all(b.kind == "assign" for b in bound)
        if alias and symbol is not None and class_name == reference_class(job, symbol):
            return func.id
    direct = job.imports.direct(func, class_name)
    return direct or f"{job.imports.module(func)}.{class_name}"


def reference_class(job: Job, symbol: Symbol) -> str:
    """The class that a reference to a class becomes."""
    form = _form(job, symbol)
    to = job.task.to
    known = forms(to)
    if form.lazy and form.class_name in known:
        return form.class_name
    if form.synchronized and "SyncBatchNorm" in known:
        return "SyncBatchNorm"
    name = form_for(to, form.ranks[0] if form.ranks and not form.synchronized else
                    job.task.rank or 4).class_name  # fmt: skip
    if "num_features" not in form.parameters and f"Lazy{name}" in known:
        return f"Lazy{name}"
    return name


def call_text(
    job: Job,
    call: ast.Call,
    found: Given,
    plan: Plan,
    form: Form,
    arguments: Mapping[str, Argument],
    *,
    skip: int = 0,
    first: str = "",
) -> str:
    """The argument list that a call gets, laid out like the one that it has.

    Its first `skip` arguments go, or become `first`.
    """
    source = plan.source
    places = [k for k, p in source.form.parameters.items() if p.kind == "positional or keyword"]
    if skip and places[:1] == ["num_features"]:
        places = places[1:]
    own = [*places[: len(found.positional)], *found.keywords]
    texts = [*found.positional, *found.keywords.values()]
    listed = Arguments(job.text(call), len(job.text(call.func)))
    remaining = dict(arguments)
    new: dict[int, list[str]] = {index: [] for index in found.items}
    for name, text, index in zip(own, texts, found.items, strict=True):
        target = counterpart(source.form, name, form, remaining)
        if target is None:
            continue
        argument = remaining.pop(target)
        same = name in source.arguments and source.arguments[name].text == argument.text
        value = text if same else _with_package(job, call.func, argument, plan.target.form.dialect)
        by_place = form.parameters[target].required and name in places[: len(found.positional)]
        new[index].append(value if by_place else f"{target}={value}")
    for index, parts in new.items():
        item = listed.items[index]
        text = ", ".join(parts)
        item.new = None if text == item.text else text
    for item in listed.items[:skip]:
        item.new = first
    added = [
        (name, _with_package(job, call.func, argument, plan.target.form.dialect))
        for name, argument in remaining.items()
    ]
    required = [value for name, value in added if form.parameters[name].required]
    rest = [f"{name}={value}" for name, value in added if not form.parameters[name].required]
    return listed.written(rest, required)


def counterpart(
    source: Form, name: str, target: Form, remaining: Mapping[str, Argument]
) -> str | None:
    """The argument of the target that says what a parameter of the source does."""
    topic = _topic(source, name)
    return next((other for other in remaining if _topic(target, other) == topic), None)


def _topic(form: Form, name: str) -> str:
    meaning = form.parameters[name].meaning
    if meaning.word == "housekeeping":
        return name
    return _TOPICS.get(meaning.word, str(meaning))


def _with_package(job: Job, at: ast.expr, argument: Argument, to: Framework) -> str:
    """An argument's text, whose objects' package has the name that the file gives it."""
    pattern = rf"(?<![\w.]){re.escape(to.namespace)}\."
    if argument.expression or not re.search(pattern, argument.text):
        return argument.text
    return re.sub(pattern, f"{job.imports.package(at)}.", argument.text)
