"""What a parameter, a variable or an attribute stands for when a layer's class was handed on to it.

Not here: names that are aliases of a class alone (`names`).
"""

from __future__ import annotations

import ast

from batchnorm.source.names import Names
from batchnorm.source.symbols import Symbol

__all__ = ["default_of", "handed_on", "partial_of"]

_PARTIALS = {"functools.partial", "functools.partialmethod"}
_DEEPEST = 4


def handed_on(names: Names, func: ast.expr, depth: int = 0) -> dict[ast.expr, Symbol]:
    """The classes that an expression stands for, by its default or its assignments.

    The places where they are handed on, a class or a partial, each with its class.
    """
    if depth > _DEEPEST:
        return {}
    if isinstance(func, ast.IfExp | ast.BoolOp):
        parts = [func.body, func.orelse] if isinstance(func, ast.IfExp) else func.values
        return {n: s for part in parts for n, s in handed_on(names, part, depth + 1).items()}
    symbol = names.symbol(func)
    if symbol is not None and depth:
        return {func: symbol} if symbol.kind == "class" else {}
    if isinstance(func, ast.Call):
        made = partial_of(names, func)
        return {func: made} if made is not None else {}
    values: list[ast.expr | None] = []
    if isinstance(func, ast.Attribute):
        values += _assigned_in_class(names, func)
    elif isinstance(func, ast.Name):
        for binding in names.bindings(func):
            is_parameter = isinstance(binding.node, ast.arg)
            values.append(default_of(names, binding.node) if is_parameter else binding.value)
    given = (handed_on(names, value, depth + 1) for value in values if value is not None)
    return {n: s for each in given for n, s in each.items()}


def partial_of(names: Names, call: ast.Call) -> Symbol | None:
    """The class in `functools.partial(nn.BatchNorm2d, …)`."""
    if not call.args or not _PARTIALS & set(names.paths(call.func)):
        return None
    symbol = names.symbol(call.args[0])
    return symbol if symbol is not None and symbol.kind == "class" else None


def default_of(names: Names, argument: ast.AST) -> ast.expr | None:
    """The default of a parameter."""
    arguments = names.source.parents[argument]
    if not isinstance(arguments, ast.arguments) or not isinstance(argument, ast.arg):
        return None
    places = [*arguments.posonlyargs, *arguments.args]
    if argument in places:
        index = places.index(argument) - len(places) + len(arguments.defaults)
        return arguments.defaults[index] if index >= 0 else None
    if argument in arguments.kwonlyargs:
        return arguments.kw_defaults[arguments.kwonlyargs.index(argument)]
    return None


def _assigned_in_class(names: Names, node: ast.Attribute) -> list[ast.expr | None]:
    """What the class around a `self.name` assigns to it, in its methods or its body."""
    around = next((c for c in names.source.around(node) if isinstance(c, ast.ClassDef)), None)
    if around is None or getattr(node.value, "id", "") != "self":
        return []
    return names.given(around).get(node.attr, [])
