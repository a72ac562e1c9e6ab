"""Uses of batch norms that can be seen and not followed: they are reported, and stay.

A class or an attribute that is named by a string, a pattern that asks for attributes, a name that
is imported for other files, settings that are given to what may be a class that was handed on. Not
here: what is rewritten.
"""

from __future__ import annotations

import ast

from batchnorm.rewrite.attributes import layer_at, rewrite_by_name
from batchnorm.rewrite.class_values import handed_on
from batchnorm.rewrite.job import Job
from batchnorm.rewrite.types import names_a_type
from batchnorm.source import Symbol, keras_module, plain, symbol_at
from batchnorm.source.class_values import handed_on as handed_classes
from batchnorm.source.class_values import held
from batchnorm.translate import Difference, forms

__all__ = [
    "report_exports",
    "report_hidden",
    "report_mixture",
    "report_settings",
    "unknown",
    "unsure",
]

_BY_STRING = {"getattr", "hasattr", "setattr", "delattr"}
_GRAPHS = (".Model", ".Sequential", ".Input", ".layers.", ".models.", ".engine.")
_SETTINGS = {"momentum", "eps", "epsilon"}


def report_hidden(job: Job, node: ast.AST) -> None:
    """Report a node if it is such a use."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=[of, ast.Constant(value=str(said)) as at, *_]):
            read = name in ("getattr", "hasattr")
            if name in _BY_STRING and not (read and rewrite_by_name(job, node, at)):
                _named(job, node, of, said)
        case ast.MatchClass(cls=ast.Name() | ast.Attribute() as named, kwd_attrs=[_, *_]):
            symbol = job.names.symbol(named)
            if symbol is not None and symbol.framework == job.task.from_.framework:
                for said in node.kwd_attrs:
                    _attribute(job, node, said)
        case ast.Compare(left=left, comparators=[right]):
            for side, other in ((left, right), (right, left)):
                if isinstance(side, ast.Attribute) and side.attr in ("__name__", "__qualname__"):
                    _compared(job, node, other)


def _named(job: Job, node: ast.Call, of: ast.expr, said: str) -> None:
    if layer_at(job, of) is not None:
        _attribute(job, node, said)
        return
    found = [symbol_at(f"{path}.{said}", job.task.keras) for path in job.names.paths(of)]
    if any(_ours(job, symbol) for symbol in found):
        job.left(node, "reference", f"{said} is named by a string: name the class itself")


def _attribute(job: Job, node: ast.expr | ast.pattern, said: str) -> None:
    roles, to = job.task.from_.room("source").ROLES, job.task.to
    new = next((n for n, r in to.room("source").ROLES.items() if r == roles.get(said)), None)
    if said in roles and (new != said or roles[said] == "momentum"):
        what = f"{to.name} has no counterpart" if new is None else f"in {to.name} it is {new}"
        what += ", and may be another number" if said == new else ""
        job.left(node, "attribute", f"{said} is named by a string or a pattern: {what}")


def _compared(job: Job, node: ast.Compare, other: ast.expr) -> None:
    parts = other.elts if isinstance(other, ast.Tuple | ast.List | ast.Set) else [other]
    for part in parts:
        said = part.value if isinstance(part, ast.Constant) else None
        if said in forms(job.task.from_) and said not in forms(job.task.to):
            job.left(node, "reference", f"{job.task.to.name} has no class called {said}")


def report_exports(job: Job) -> None:
    """Report names that a file imports and does not use, or that its `__all__` has."""
    tree = job.source.tree
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    public = {
        part.value
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)
        and "__all__" in {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        for part in ast.walk(statement)
        if isinstance(part, ast.Constant)
    }
    for scope_name, bound in job.names.module.bindings.items():
        symbols = [symbol_at(b.path, job.task.keras) for b in bound if b.kind == "import"]
        if not any(_ours(job, symbol) for symbol in symbols):
            continue
        again = any(
            alias.asname == alias.name == scope_name
            for b in bound
            for alias in getattr(b.node, "names", ())
        )
        package = job.names.path is not None and job.names.path.name == "__init__.py"
        if scope_name in public or (scope_name not in used and (again or package)):
            reason = f"{scope_name} is imported for other files, which get {job.task.from_.name}'s"
            job.left(bound[0].node, "reference", reason, certain=scope_name in public)


def report_mixture(job: Job) -> None:
    """Say where a Keras file would hold layers of two Keras: a graph keeps its own only."""
    from_, to = job.task.from_, job.task.to
    calls = [site for site in job.sites if site.kind == "call" and site.after]
    if not (from_.is_keras and to.is_keras and calls):
        return
    ours = {site.node for site in job.sites}
    for node in ast.walk(job.source.tree):
        if not isinstance(node, ast.Call) or node in ours or job.names.symbol(node.func):
            continue
        found = [keras_module(path, job.task.keras) for path in job.names.paths(node.func)]
        if any(e and e[0] == from_.framework and e[1].startswith(_GRAPHS) for e in found):
            what, site = job.source.text(node.func), calls[0]
            text = (
                f"{what} stays {from_.name}'s, and a {to.name} layer in its graph is no part of "
                "the model: its weights are missing from model.weights"
            )
            told = Difference("mixed-keras", "around", text, "carry the whole file over")
            site.differences = (*site.differences, told)
            todo = f"carry the whole file over: {what} stays {from_.name}'s"
            site.reason = "; ".join(filter(None, (site.reason, todo)))
            return


def report_settings(job: Job) -> None:
    """Report settings for what can't be told, in a file that hands on one of our classes."""
    handed = [
        site for site in job.sites
        if site.kind == "reference" and site.after and isinstance(site.node, ast.expr)
        and not names_a_type(job, site.node)
    ]  # fmt: skip
    if not handed:
        return
    classes = {site.node for site in handed}
    defined = {
        node.name
        for node in ast.walk(job.source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for node in ast.walk(job.source.tree):
        if not isinstance(node, ast.Call) or node in job.outcomes:
            continue
        given = {keyword.arg for keyword in node.keywords if keyword.arg}
        given_ours = given & _SETTINGS & _parameters(job)
        if given_ours and not given & {"lr", "learning_rate"} and unknown(job, node.func, defined):
            names = " and ".join(sorted(given_ours))
            job.left(node, "call", f"what is called may be a batch norm that was handed on, whose "
                                   f"{names} may mean another thing now: see to it")  # fmt: skip
        elif isinstance(node.func, ast.Subscript) and not handed_on(job, node.func):
            hidden = next((k.value for k in node.keywords if k.arg is None), None)
            if hidden is not None and classes & set(held(job.names, node.func)):
                job.left(node, "call", f"what is called may be a batch norm: **{job.text(hidden)} "
                                       "hides what it is given")  # fmt: skip


def unsure(job: Job, node: ast.expr) -> str:
    """Why it can't be told what a name is: what it may be, where that is known."""
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    paths = [plain(path) for path in job.names.paths(root)]
    if len(paths) < 2:
        return f"what {job.source.text(root)} is can't be told from this file"
    may = f"{', '.join(paths[:-1])} or {paths[-1]}"
    return f"{job.source.text(root)} may be {may}: import the one that is meant"


def unknown(job: Job, func: ast.expr, defined: set[str]) -> bool:
    """Whether what is called is a value that the code hands about."""
    if job.names.paths(func) or handed_classes(job.names, func):
        return False
    if isinstance(func, ast.Name):
        bound = job.names.bindings(func)
        return func.id not in defined and any(b.kind != "import" for b in bound)
    if isinstance(func, ast.Attribute):
        return func.attr not in defined and not func.attr.startswith("__")
    return isinstance(func, ast.Subscript | ast.Call)


def _parameters(job: Job) -> set[str]:
    return {name for form in forms(job.task.from_).values() for name in form.parameters}


def _ours(job: Job, symbol: Symbol | None) -> bool:
    framework = job.task.from_.framework
    return symbol is not None and symbol.kind == "class" and symbol.framework == framework
