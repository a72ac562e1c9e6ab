"""Functions and classes of batch normalization beside the layers, translated or left.

The function of a framework's layers (torch's `F.batch_norm`) is given its state; where the target
has one that moves it the same way, the call becomes that one. A frozen class becomes a layer that
keeps all as it is. Not here: the layers (`calls`).
"""

from __future__ import annotations

import ast

from batchnorm.rewrite.call_arguments import given
from batchnorm.rewrite.calls import call_text, planned, spelled, target_class
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Left
from batchnorm.source import Symbol
from batchnorm.source.arguments import Arguments

__all__ = ["rewrite_function", "tracks"]

_FROZEN = "FrozenBatchNorm2d"


def rewrite_function(job: Job, node: ast.expr, symbol: Symbol) -> None:
    """Rewrite a call of a function, or leave it with its reason."""
    from_, to = job.task.from_.room("source"), job.task.to.room("source")
    try:
        if not isinstance(node, ast.Call):
            raise Left(f"{symbol.name} is handed on, and nothing in {job.task.to.name} is its like")
        if symbol.path == from_.FUNCTION[0] and to.FUNCTION[0]:
            text = _function(job, node)
        elif symbol.name == _FROZEN and to.FROZEN:
            text = _frozen(job, node, symbol)
        else:
            raise Left(_reason(job, symbol))
    except Left as left:
        job.left(node, "function", str(left))
        return
    job.replace(node, text)
    job.rewritten(node, "function", text)


def _reason(job: Job, symbol: Symbol) -> str:
    hints = job.task.from_.room("source").FUNCTIONS
    hint = hints.get(symbol.path) or "its arguments are to be ported by hand"
    path, *_ = job.task.to.room("source").FUNCTION
    other = f": {path} does so on axis 1" if path else ""
    return f"{symbol.name} is no layer: {hint.format(to=job.task.to.name, other=other)}"


def _function(job: Job, call: ast.Call) -> str:
    """The call of the target's function: its arguments mean the same."""
    _, names, _ = job.task.from_.room("source").FUNCTION
    path, theirs, needed = job.task.to.room("source").FUNCTION
    other = dict(zip(names, theirs, strict=True))
    found = given(job, call)
    if found.hidden or any(name not in other for name in found.keywords):
        raise Left("what it is given can't be told: see to its arguments")
    texts = dict(zip(names, found.positional, strict=False)) | dict(found.keywords)
    places = {*names[: len(found.positional)]}
    listed = Arguments(job.text(call), len(job.text(call.func)))
    at = dict(zip((*names[: len(found.positional)], *found.keywords), found.items, strict=True))
    mean = texts.get("running_mean", "None")
    named = all(part.isidentifier() for part in mean.split("."))
    added = []
    for name, filled in zip(names, ("", "", "", "ones_like", "zeros_like"), strict=False):
        nothing = texts.get(name, "None") == "None"
        if not needed or not nothing or name == names[0]:
            continue
        if not filled or not named:
            raise Left(f"{path} takes no {name}=None: give it tensors")
        module = path.rpartition(".")[0]
        text = f"{job.imports.spelled(call.func, f'{module}.{filled}')}({mean})"
        if name in at:
            listed.items[at[name]].new = text if name in places else f"{other[name]}={text}"
        else:
            added.append(f"{other[name]}={text}")
    for name, index in at.items():
        item = listed.items[index]
        if item.new is None and name not in places and other[name] != name:
            item.new = f"{other[name]}={texts[name]}"
    return job.imports.spelled(call.func, path) + listed.written(added)


def _frozen(job: Job, call: ast.Call, symbol: Symbol) -> str:
    """A layer whose statistics and parameters nothing moves."""
    layer = Symbol(symbol.framework, "class", symbol.name.removeprefix("Frozen"), symbol.path)
    found = given(job, call)
    plan = planned(job, layer, found)
    form, arguments = target_class(plan)
    text = call_text(job, call, found, plan, form, arguments)
    listed = Arguments(f"_{text}", 1)
    frozen = job.task.to.room("source").FROZEN
    return spelled(job, call.func, form.class_name) + listed.written([frozen])


def tracks(job: Job, call: ast.Call) -> str:
    """Why an instance norm that tracks statistics is left; empty for any other call."""
    norms = job.task.from_.room("source").NORMS
    path = next((p for p in job.names.paths(call.func) if "InstanceNorm" in p and p in norms), "")
    said = next((k.value for k in call.keywords if k.arg == "track_running_stats"), None)
    if not path or not isinstance(said, ast.Constant) or said.value is not True:
        return ""
    name = path.rpartition(".")[2]
    return (
        f"{name} with track_running_stats=True infers by running statistics, as a batch norm does: "
        f"no counterpart in {job.task.to.name} is known"
    )
