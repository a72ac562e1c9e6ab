"""What a parameter, a variable or an attribute stands for when a layer's class was handed on to it.

Not here: names that are aliases of a class alone (`names`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from batchnorm.source.names import Names
from batchnorm.source.symbols import Symbol

__all__ = ["default_of", "handed_on", "held", "inherited", "others", "partial_of"]

_PARTIALS = {"functools.partial", "functools.partialmethod"}
_DEEPEST = 4


def handed_on(names: Names, func: ast.expr) -> dict[ast.expr, Symbol]:
    """The classes that an expression stands for, by its default or its assignments.

    The places where they are handed on, a class or a partial, each with its class.
    """
    return {n: s for n, s in _leaves(names, func, 0) if s is not None}


def others(names: Names, func: ast.expr) -> list[ast.expr]:
    """The places where a known thing that is no batch norm is handed on to an expression."""
    return [n for n, s in _leaves(names, func, 0) if s is None]


def _leaves(names: Names, func: ast.expr, depth: int) -> Iterator[tuple[ast.expr, Symbol | None]]:
    values: list[ast.expr | None] = []
    symbol = names.symbol(func)
    if depth > _DEEPEST:
        return
    if isinstance(func, ast.IfExp | ast.BoolOp):
        values += [func.body, func.orelse] if isinstance(func, ast.IfExp) else func.values
    elif isinstance(func, ast.Subscript):
        entries = [list(_leaves(names, value, depth + 1)) for value in held(names, func)]
        if all(any(s is not None for _, s in each) for each in entries):
            yield from (leaf for each in entries for leaf in each)
    elif symbol is not None and depth:
        if symbol.kind == "class":
            yield func, symbol
    elif isinstance(func, ast.Call):
        made = partial_of(names, func)
        if made is not None:
            yield func, made
    elif isinstance(func, ast.Attribute):
        values += _assigned_in_class(names, func)
    elif isinstance(func, ast.Name):
        for binding in names.bindings(func):
            is_parameter = isinstance(binding.node, ast.arg)
            values.append(default_of(names, binding.node) if is_parameter else binding.value)
    named = isinstance(func, ast.Attribute | ast.Name) and not values and symbol is None
    if depth and named and names.paths(func):
        yield func, None
    for value in values:
        if value is not None:
            yield from _leaves(names, value, depth + 1)


def held(names: Names, entry: ast.Subscript) -> list[ast.expr]:
    """The values of a dictionary that is only read which an entry may be."""
    of = entry.value
    value = names.value(of)
    read = value is of or (isinstance(of, ast.Name) and names.only_read(of))
    if not isinstance(value, ast.Dict) or not read or None in value.keys:
        return []
    if not isinstance(entry.slice, ast.Constant):
        return value.values
    pairs, key = zip(value.keys, value.values, strict=True), entry.slice.value
    return [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == key][-1:]


def partial_of(names: Names, call: ast.Call) -> Symbol | None:
    """The class in `functools.partial(nn.BatchNorm2d, …)`."""
    if not call.args or not _PARTIALS & set(names.paths(call.func)):
        return None
    symbol = names.symbol(call.args[0])
    return symbol if symbol is not None and symbol.kind == "class" else None


def inherited(names: Names, call: ast.Call) -> Symbol | None:
    """The class whose constructor `super().__init__(…)` calls."""
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
            around = names.source.around(call)
            owner = next((n for n in around if isinstance(n, ast.ClassDef)), None)
            bases = [] if owner is None else [names.symbol(base) for base in owner.bases]
            return next((s for s in bases if s is not None and s.kind == "class"), None)
    return None


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
