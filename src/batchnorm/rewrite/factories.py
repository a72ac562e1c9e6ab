"""A layer's class that is handed on: as a default, in a partial, in isinstance, as an alias.

Where it only says a type, the class is replaced. Where it will be called, its callers give what
the source's class takes: torch and MindSpore the number of channels, Keras nothing. What stands
there afterwards takes the same, and gives a layer with the source's settings. Not here: calls.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from batchnorm.rewrite.calls import (
    Given,
    call_text,
    given,
    planned,
    reference_class,
    spelled,
    target_class,
)
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Left
from batchnorm.source import Symbol
from batchnorm.translate import Argument, Form, Plan, forms

__all__ = [
    "handed_on",
    "indirect_call",
    "is_partial",
    "merge_tuple",
    "names_a_type",
    "rewrite_partial",
    "rewrite_reference",
]

_TYPE_TESTS = {"isinstance", "issubclass"}
_OPEN = (ast.keyword, ast.arguments, ast.Assign, ast.AnnAssign, ast.Return, ast.Call, ast.Dict)


def is_partial(job: Job, call: ast.Call) -> Symbol | None:
    """The class in `functools.partial(nn.BatchNorm2d, …)`."""
    if not call.args or "functools.partial" not in job.names.paths(call.func):
        return None
    symbol = job.names.symbol(call.args[0])
    return symbol if symbol is not None and symbol.kind == "class" else None


def rewrite_partial(job: Job, call: ast.Call, symbol: Symbol) -> None:
    """Rewrite a partial with all that it fixes."""
    job.done.add(call.args[0])
    try:
        found = given(job, call, skip=1)
        text, plan = _factory(job, call, call.args[0], symbol, found, skip=1)
    except Left as left:
        job.left(call, "reference", str(left))
        return
    job.replace(call, _closed(job.source.parents[call], text))
    job.rewritten(call, "reference", text, plan=plan)


def rewrite_reference(job: Job, node: ast.Name | ast.Attribute, symbol: Symbol) -> None:
    """Rewrite a class that is named without being called."""
    parent = job.source.parents[node]
    alias = isinstance(node, ast.Name) and _is_alias(job, node)
    if alias and (names_a_type(job, node) or _same_counting(job, symbol)):
        return  # what it stands for is rewritten where it is assigned
    try:
        if isinstance(parent, ast.ClassDef) and node in parent.bases:
            raise Left(
                f"a class derived from {symbol.name} inherits how {job.task.from_.name} computes: "
                "port the class by hand"
            )
        if isinstance(parent, ast.Attribute) and parent.attr not in ("__name__", "__qualname__"):
            raise Left(f"{symbol.name}.{parent.attr} has no counterpart that is known")
        if symbol.kind == "base":
            text = _base(job, node, symbol)
        elif names_a_type(job, node):
            text = _type(job, node, symbol)
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
        if not _same_counting(job, symbol):
            raise Left(
                "settings are given to a class that was handed on; what it became takes "
                f"{'only the number of channels' if _counted(form) else 'torch names'}"
            )
    except Left as left:
        job.left(call, "call", str(left))
        return
    target, arguments = target_class(plan)
    text = job.text(call.func) + call_text(job, call, found, plan, target, arguments)
    if text != job.text(call):
        job.replace(call, text)
        job.rewritten(call, "call", text, plan=plan)


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
            default = _default(job, binding.node)
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
        for target in getattr(statement, "targets", None) or [statement.target]
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


def _default(job: Job, argument: ast.arg) -> ast.expr | None:
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


def _factory(
    job: Job, node: ast.expr, name: ast.expr, symbol: Symbol, found: Given, skip: int = 0
) -> tuple[str, Plan]:
    """What makes layers like those of a class with some arguments fixed, and its plan."""
    source = forms(job.task.from_).get(symbol.name)
    if source is None or (source.lazy and job.task.to.framework != "torch"):
        raise Left(f"{symbol.name} is told no number of channels, which the target needs")
    plan = planned(job, symbol, found, stand_in="num_features" not in found.keywords)
    target, arguments = target_class(plan)
    if not _counted(source) and _counted(target):
        raise Left(
            f"{symbol.name} is called without a number of channels, which {target.class_name} needs"
        )
    lifted = _counted(source) and not _counted(target)
    if _counted(source) and _counted(target):
        arguments.pop("num_features", None)
    if lifted and "num_features" in found.keywords:
        raise Left("the number of channels is fixed where the class is handed on")
    callee = spelled(job, name, target.class_name)
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


def _base(job: Job, node: ast.expr, symbol: Symbol) -> str:
    """The base class of the batch norms, which type tests use."""
    if not names_a_type(job, node):
        raise Left(f"{symbol.name} is private to {job.task.from_.name}")
    if job.task.to.is_keras:
        return spelled(job, node, "BatchNormalization")
    return _ranks(job, node)


def _type(job: Job, node: ast.expr, symbol: Symbol) -> str:
    """A class that a type test or an annotation names; all ranks where isinstance allows it."""
    outer = next(o for o in job.source.around(node) if not isinstance(o, ast.Tuple | ast.List))
    form = forms(job.task.from_).get(symbol.name)
    any_rank = form is not None and not form.ranks and not form.synchronized
    if isinstance(outer, ast.Call) and any_rank and not job.task.to.is_keras and not job.task.rank:
        return _ranks(job, node)
    return spelled(job, node, _type_class(job, symbol))


def _ranks(job: Job, node: ast.expr) -> str:
    """The classes for each rank, as isinstance takes them."""
    return f"({', '.join(spelled(job, node, f'BatchNorm{rank}d') for rank in (1, 2, 3))})"


def _type_class(job: Job, symbol: Symbol) -> str:
    """The class of the layers that a class's layers become, once their channels are known."""
    name = reference_class(job, symbol)
    return name if symbol.name.startswith("Lazy") else name.removeprefix("Lazy")


def _same_counting(job: Job, symbol: Symbol) -> bool:
    """Whether callers give the same arguments to the source's and the target's class."""
    form = forms(job.task.from_).get(symbol.name)
    return form is not None and not form.lazy and _counted(form) is not job.task.to.is_keras


def _counted(form: Form) -> bool:
    return "num_features" in form.parameters


def _ours(job: Job, symbol: Symbol) -> bool:
    return symbol.framework == job.task.from_.framework


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


def names_a_type(job: Job, node: ast.expr) -> bool:
    """Whether a class is only compared with or annotated, never called."""
    inner: ast.AST = node
    for outer in job.source.around(node):
        if isinstance(outer, ast.Call):
            if isinstance(outer.func, ast.Attribute):  # @dispatched.register(nn.BatchNorm2d)
                decorators = getattr(job.source.parents[outer], "decorator_list", [])
                return outer.func.attr == "register" and outer in decorators
            return (
                isinstance(outer.func, ast.Name)
                and outer.func.id in _TYPE_TESTS
                and inner in outer.args[1:]
            )
        if isinstance(outer, ast.Compare):
            return True
        if isinstance(outer, ast.MatchClass):
            return True
        if isinstance(outer, ast.arg | ast.AnnAssign):
            return inner is outer.annotation
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            return inner is outer.returns
        if isinstance(outer, ast.Attribute):
            return True
        if isinstance(outer, ast.Dict):
            return inner in outer.keys
        if isinstance(outer, ast.Assign | ast.arguments):
            return isinstance(inner, ast.Tuple | ast.List) and inner is not node
        if not isinstance(outer, ast.Tuple | ast.List | ast.BinOp | ast.Subscript):
            return False
        inner = outer
    return False


def merge_tuple(job: Job, node: ast.Tuple) -> None:
    """Drop the second of two classes of a tuple that have become one."""
    ours = [element for element in node.elts if job.names.symbol(element) is not None]
    call = job.source.parents[node]
    tested = isinstance(call, ast.Call) and names_a_type(job, node)
    if not job.task.to.is_keras or len(ours) < 2 or not tested:
        return
    texts = [job.text(element) for element in node.elts]
    unique = list(dict.fromkeys(texts))
    if len(unique) == len(texts):
        return
    text = ", ".join(unique)
    if job.text(node).startswith("("):
        text = unique[0] if len(unique) == 1 else f"({text})"
    job.replace(node, text)


def _closed(parent: ast.AST, text: str) -> str:
    """A lambda in parentheses, unless it stands where it ends by itself."""
    loose = text.startswith("lambda") and not isinstance(parent, _OPEN)
    return f"({text})" if loose else text
