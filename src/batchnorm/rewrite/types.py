"""A layer's class that only says a type: in isinstance, annotations, patterns and comparisons.

Not here: classes that are handed on to be called (`factories`).
"""

from __future__ import annotations

import ast

from batchnorm.rewrite.calls import reference_class, spelled
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.site import Left
from batchnorm.source import Symbol
from batchnorm.translate import forms

__all__ = ["base_text", "merge_tuple", "names_a_type", "type_text"]


def names_a_type(job: Job, node: ast.expr) -> bool:
    """Whether a class is only compared with or annotated, never called."""
    inner: ast.AST = node
    for outer in job.source.around(node):
        if isinstance(outer, ast.Call):
            if isinstance(outer.func, ast.Attribute):  # @dispatched.register(nn.BatchNorm2d)
                decorators = getattr(job.source.parents[outer], "decorator_list", [])
                return outer.func.attr == "register" and outer in decorators
            name = outer.func.id if isinstance(outer.func, ast.Name) else ""
            return name in _TYPE_TESTS and (name != "isinstance" or inner in outer.args[1:])
        if isinstance(outer, ast.Compare):
            return True
        if isinstance(outer, ast.MatchClass | ast.BinOp):  # A | B is a type
            return True
        if isinstance(outer, ast.keyword) and outer.arg == "bound":  # TypeVar("T", bound=A)
            return True
        if isinstance(outer, ast.Subscript) and inner is outer.slice:  # Union[A, B], or a key
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


def type_text(job: Job, node: ast.expr, symbol: Symbol) -> str:
    """A class that a type test or an annotation names; all ranks where isinstance allows it."""
    outer = next(o for o in job.source.around(node) if not isinstance(o, ast.Tuple | ast.List))
    form = forms(job.task.from_).get(symbol.name)
    any_rank = form is not None and not form.ranks and not form.synchronized
    if isinstance(outer, ast.Call) and any_rank and not job.task.to.is_keras and not job.task.rank:
        return _ranks(job, node)
    return spelled(job, node, _type_class(job, symbol))


def _ranks(job: Job, node: ast.expr) -> str:
    """The classes for each rank, as isinstance takes them, or as one type."""
    classes = [f"BatchNorm{rank}d" for rank in (1, 2, 3)]
    classes += ["SyncBatchNorm"] if "SyncBatchNorm" in forms(job.task.to) else []
    texts = [spelled(job, node, each) for each in classes]
    outer = next(o for o in job.source.around(node) if not isinstance(o, ast.Tuple | ast.List))
    return f"({', '.join(texts)})" if isinstance(outer, ast.Call) else " | ".join(texts)


def _type_class(job: Job, symbol: Symbol) -> str:
    """The class of the layers that a class's layers become, once their channels are known."""
    name = reference_class(job, symbol)
    return name if symbol.name.startswith("Lazy") else name.removeprefix("Lazy")


def base_text(job: Job, node: ast.expr, symbol: Symbol) -> str:
    """The base class of the batch norms, which type tests use."""
    if not names_a_type(job, node):
        raise Left(f"{symbol.name} is private to {job.task.from_.name}")
    if job.task.to.is_keras:
        return spelled(job, node, "BatchNormalization")
    return _ranks(job, node)


_TYPE_TESTS = {"isinstance", "issubclass", "cast"}
