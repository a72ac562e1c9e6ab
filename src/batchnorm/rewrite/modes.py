"""Training and inference: `train()`/`eval()`, `set_train(…)`, and Keras' `training=` at each call.

torch and MindSpore keep a mode, in every net; Keras is told it at each call. A call of a known
layer carries over exactly, since `train` and `set_train` return the layer itself:
`bn(x, training=flag)` is `bn.train(flag)(x)`. Not here: what a layer does in a mode.
"""

from __future__ import annotations

import ast
import re

from batchnorm.rewrite.attributes import stays
from batchnorm.rewrite.job import Job
from batchnorm.source import Thing
from batchnorm.source.arguments import Arguments
from batchnorm.source.class_values import default_of

__all__ = ["mode_of", "names_a_net", "rewrite_layer_call", "rewrite_mode", "said_mode"]

_NETS = re.compile(
    r"(?i)^_?(model|net|network|backbone|encoder|decoder|module|generator|discriminator|teacher"
    r"|student|ema|classifier|head)(_?\w{0,12})?$"
)
_TOLD = "is told the mode at each call: call it with training=True or training=False"


def rewrite_mode(job: Job, call: ast.Call) -> bool:
    """Rewrite `net.train()`, `net.eval()` or `net.set_train(…)`; whether it was one."""
    func, from_, to = call.func, job.task.from_, job.task.to
    if not isinstance(func, ast.Attribute) or from_.is_keras:
        return False
    said = said_mode(job, call, from_.framework)
    if said is None or not _is_net(job, func, from_.framework):
        return False
    thing = job.objects.thing(func.value)
    outer = job.source.parents[call]
    layer = thing if thing is not None and thing.kind == "layer" else None
    called = isinstance(outer, ast.Call) and outer.func is call
    if called and to.is_keras and layer is not None:
        return False  # bn.train(flag)(x) is rewritten as a whole
    if layer is not None and stays(job, layer):
        return True
    if layer is not None and not layer.only and from_.calls.mode_method != to.calls.mode_method:
        text = f"{job.source.text(func.value)} may be of another class, which has {func.attr}"
        job.left(call, "mode", text)
        return True
    if from_.calls.mode_method == to.calls.mode_method:
        return True  # as from mint to mindspore.nn, whose nets are the same, too
    if thing is not None and thing.kind in ("net", "list") and not to.is_keras:
        net = "it" if thing.net is None else thing.net.name
        job.left(call, "mode", f"{net} is {from_.name}'s net still: once it is {to.name}'s, "
                               + mode_of(job, said))  # fmt: skip
        return True
    if to.is_keras:
        job.left(call, "mode", f"{to.name} {_TOLD}")
        return True
    base = job.base(func.value)
    text = f"{base}.{mode_of(job, said)}"
    job.replace(call, text)
    job.rewritten(call, "mode", text)
    return True


def mode_of(job: Job, said: str) -> str:
    """The call that sets a mode in the target; for Keras, what is to be done."""
    to = job.task.to
    if to.is_keras:
        return _TOLD
    if to.calls.mode_method == "set_train":
        return f"set_train({said})"
    return "eval()" if said == "False" else f"train({said})"


def said_mode(job: Job, call: ast.Call, framework: str) -> str | None:
    """What a call says about the mode, as the other's argument; empty for "training"."""
    assert isinstance(call.func, ast.Attribute)
    count = len(call.args) + len(call.keywords)
    name = call.func.attr
    if name == job.task.from_.room("source").INFERENCE:
        return None if count else "False"
    if name != job.task.from_.calls.mode_method or count > 1:
        return None
    if call.args and isinstance(call.args[0], ast.Starred):
        return None
    if call.keywords and call.keywords[0].arg != "mode":
        return None
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    return job.text(arguments[0]) if arguments else ""


def _is_net(job: Job, func: ast.Attribute, framework: str) -> bool:
    """Whether the object is a layer or net: known, named like one, or used like one."""
    if job.task.from_.calls.mode_method == "set_train":
        return True  # nothing else has a set_train
    thing = job.objects.thing(func.value)
    if thing is not None:
        return True
    if isinstance(func.value, ast.Call) and ast.unparse(func.value.func) == "super":
        return False
    return framework in job.packages and names_a_net(func)


def names_a_net(func: ast.Attribute) -> bool:
    """Whether the object of a method is called like a net."""
    name = func.value.attr if isinstance(func.value, ast.Attribute) else ""
    name = func.value.id if isinstance(func.value, ast.Name) else name
    return bool(_NETS.match(name))


def rewrite_layer_call(job: Job, call: ast.Call) -> None:
    """Rewrite `bn(x, training=flag)` and `bn.train(flag)(x)` where the mode is said otherwise."""
    from_, to = job.task.from_, job.task.to
    if from_.is_keras and not to.is_keras:
        thing = job.objects.thing(call.func)
        if _known(job, thing):
            _to_method(job, call)
    elif to.is_keras and not from_.is_keras:
        inner = call.func
        thing = job.objects.thing(inner)
        if _known(job, thing) and not _names_mode(inner):
            _in_forward(job, call)
            return
        if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Attribute):
            return
        said = said_mode(job, inner, from_.framework)
        thing = job.objects.thing(inner.func.value)
        if said is not None and _known(job, thing):
            _to_argument(job, call, inner.func.value, said or "True")


def _names_mode(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def _in_forward(job: Job, call: ast.Call) -> None:
    """`self.bn(x)` in a method: a Keras layer infers unless the call tells it the mode."""
    if any(keyword.arg in (None, "training") for keyword in call.keywords):
        return
    scope = next(
        (
            o
            for o in job.source.around(call)
            if isinstance(o, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ),
        None,
    )
    first = None if not isinstance(scope, ast.FunctionDef) else [*scope.args.posonlyargs,
                                                                 *scope.args.args][:1]  # fmt: skip
    owner = None if scope is None else job.source.parents.get(scope)
    if first and isinstance(owner, ast.ClassDef):
        _to_argument(job, call, call.func, f"{first[0].arg}.training")
    else:
        job.left(call, "mode", f"{job.task.to.name} {_TOLD}")


def _known(job: Job, thing: Thing | None) -> bool:
    return thing is not None and thing.kind == "layer" and thing.only and not stays(job, thing)


def _to_method(job: Job, call: ast.Call) -> None:
    to = job.task.to
    names = [keyword.arg for keyword in call.keywords]
    if "mask" in names:
        job.left(call, "mode", f"{to.name} takes no mask")
        return
    stars = [keyword for keyword in call.keywords if keyword.arg is None]
    if stars or any(isinstance(argument, ast.Starred) for argument in call.args):
        reason = f"the stars may hold training, which {to.name} is told by a method before the call"
        job.left(call, "mode", reason)
        return
    placed = len(call.args) == 2 and not any(isinstance(a, ast.Starred) for a in call.args)
    if "training" not in names and not placed:
        return
    value = call.args[1] if placed else call.keywords[names.index("training")].value
    listed = Arguments(job.text(call), len(job.text(call.func)))
    parts = sorted([*call.args, *call.keywords], key=lambda part: job.source.span(part))
    for item, part in zip(listed.items, parts, strict=True):
        if placed and part is value:
            item.new = ""
        elif isinstance(part, ast.keyword):
            if part.arg == "training":
                item.new = ""
            elif part.arg == "inputs":
                item.new = job.text(part.value)
    method = to.calls.mode_method
    said = job.text(value)
    if may_be_none(job, value):
        said = f"bool({said})"  # None, which infers
    mode = f".{method}({said})"
    if isinstance(value, ast.Constant) and value.value is None:
        mode = ""
    text = f"{job.text(call.func)}{mode}{listed.written([])}"
    job.replace(call, text)
    job.rewritten(call, "mode", text)


def may_be_none(job: Job, value: ast.expr) -> bool:
    """Whether a flag is a parameter whose default is None, or may be one otherwise."""
    if isinstance(value, ast.IfExp):
        return may_be_none(job, value.body) or may_be_none(job, value.orelse)
    if isinstance(value, ast.BoolOp | ast.Call | ast.Subscript):
        return True
    if not isinstance(value, ast.Name):
        return isinstance(value, ast.Constant) and value.value is None
    bound = job.names.bindings(value)
    defaults = [default_of(job.names, b.node) for b in bound if isinstance(b.node, ast.arg)]
    given = [*defaults, *(b.value for b in bound)]
    return any(isinstance(each, ast.Constant) and each.value is None for each in given)


def _to_argument(job: Job, call: ast.Call, layer: ast.expr, said: str) -> None:
    listed = Arguments(job.text(call), len(job.text(call.func)))
    text = job.base(layer) + listed.written([f"training={said}"])
    job.replace(call, text)
    job.rewritten(call, "mode", text)
