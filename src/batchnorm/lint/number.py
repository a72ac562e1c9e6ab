"""The number that an expression is, and the place in the file where a person would change it.

Literals, sums and products of them, names assigned once, and parameters' defaults: what a call
gets unless somebody says otherwise. Anything else is no number. Nothing is evaluated.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from batchnorm.source import Names

__all__ = ["Number", "number"]

_OPERATORS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Number:
    """A number in the source.

    Attributes:
        value: as a decimal, so that 1 - 0.9 is 0.1.
        node: the literal, or the sum, that says it.
        default: whether it is only a parameter's default.
    """

    value: Decimal
    node: ast.expr
    default: bool = False


def number(node: ast.expr, names: Names) -> Number | None:
    """What number an expression is; None where that can't be told."""
    value = _value(node)
    if value is not None:
        return Number(value, node)
    if not isinstance(node, ast.Name):
        return None
    found = names.value(node)
    if isinstance(found, ast.Name):
        default = _default(found, names)
        value = None if default is None else _value(default)
        return None if default is None or value is None else Number(value, default, default=True)
    value = _value(found)
    return None if value is None else Number(value, found)


def _value(node: ast.expr) -> Decimal | None:
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as found):
            return Decimal(repr(found)) if found == found and abs(found) < 1e300 else None
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _value(operand)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=op, right=right):
            a, b, apply = _value(left), _value(right), _OPERATORS.get(type(op))
            if a is None or b is None or apply is None:
                return None
            try:
                return apply(a, b)
            except ArithmeticError:
                return None
    return None


def _default(node: ast.Name, names: Names) -> ast.expr | None:
    """The default of the parameter that a name is, unless it is assigned as well."""
    bound = names.bindings(node)
    if len(bound) != 1 or not isinstance(bound[0].node, ast.arg):
        return None
    function = names.source.parents[names.source.parents[bound[0].node]]
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return None
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(last, arguments.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    return next((default for a, default in pairs if a is bound[0].node), None)
