"""One argument of a call, as a value and as source text at once, so that the two can't disagree.

A literal keeps its decimal spelling: 1 - 0.01 is 0.99, and 1 - 0.9 is 0.1, never 0.0999.... What is
no literal is kept as it was written, and a stand-in takes the place of its unknown value wherever
one is needed. Nothing is ever evaluated but literals and plain arithmetic on them.
"""

from __future__ import annotations

import ast
import decimal
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

__all__ = [
    "Argument",
    "complement",
    "equal",
    "literal_value",
    "no_number",
    "number",
    "of_value",
    "parse",
    "tight",
    "whether",
]

_EXACT = decimal.Context(prec=800, traps=[decimal.Inexact, decimal.InvalidOperation])
_WIDE = decimal.Context(prec=800)
_ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)
_LOOSE = (ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await, ast.Lambda, ast.Tuple)
_NO_NUMBERS = (
    *(ast.Lambda, ast.Dict, ast.Set, ast.JoinedStr, ast.ListComp, ast.SetComp, ast.DictComp),
    ast.GeneratorExp,
)
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        text: how it is written in source.
        value: what it is; for an expression, what stands in for it.
        expression: the source expression that the value stands in for; empty for a literal.
        written: whether the user wrote it, rather than a default.
    """

    text: str
    value: Any
    expression: str = ""
    written: bool = True

    @property
    def literal(self) -> bool:
        """Whether the value is known, not a stand-in."""
        return not self.expression

    def same(self, other: Argument) -> bool:
        """Whether both surely mean the same: equal values, or one and the same expression."""
        if self.literal and other.literal:
            return equal(self.value, other.value)
        if self.literal or other.literal:
            return False
        return self.text == other.text or _same_code(self.text, other.text)


def equal(first: Any, second: Any) -> bool:
    """Whether two values are the same argument: numbers as decimals, objects by their settings."""
    if isinstance(first, bool) or isinstance(second, bool) or first is None or second is None:
        return type(first) is type(second) and bool(first == second)
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second or (math.isnan(first) and math.isnan(second))
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if hasattr(first, "parameters") and type(first) is type(second):
        return equal(vars(first), vars(second))
    return type(first) is type(second) and bool(first == second)


def parse(source: str | ast.expr, whole: str = "", stand_in: Any = None) -> Argument:
    """Read an argument from source text, or from a node of the text `whole`.

    >>> parse("1e-3")
    Argument(text='1e-3', value=0.001, expression='', written=True)
    >>> parse("eps or 1e-5", stand_in=0.002).value
    0.002
    """
    if isinstance(source, str):
        whole, source = source.strip(), ast.parse(source.strip(), mode="eval").body
    text = ast.get_source_segment(whole, source) or ast.unparse(source)
    if "\n" in text:
        text = ast.unparse(source)
    if isinstance(source, _LOOSE) and not text.startswith(("(", "lambda")):
        text = f"({text})"
    try:
        return Argument(text, literal_value(source))
    except (ValueError, ArithmeticError):
        return Argument(text, stand_in, expression=text)


def literal_value(node: ast.expr) -> Any:
    """The value of a literal, or of arithmetic on numbers; ValueError for anything else."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        sides = [literal_value(side) for side in (node.left, node.right)]
        if all(isinstance(side, int | float) for side in sides):
            return _ARITHMETIC[type(node.op)](*sides)
    return ast.literal_eval(node)


def of_value(value: Any, name: str = "value") -> Argument:
    """An argument from a live layer; what has no literal is written as `name`.

    >>> of_value(0.01).text
    '0.01'
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return Argument(f"float({str(value)!r})", value)
    if value is None or isinstance(value, bool | int | float | str):
        return Argument(repr(value), value)
    if isinstance(value, list | tuple | dict) and not any(map(_opaque, _flat(value))):
        return Argument(repr(value), value)
    return Argument(name, value, expression=name)


def number(value: float | Decimal) -> str:
    """The shortest literal that is exactly this decimal number, as a float.

    >>> number(Decimal("0.990")), number(Decimal(1)), number(Decimal("0.00000001"))
    ('0.99', '1.0', '1e-08')
    """
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    short = repr(float(exact))
    if Decimal(short) == exact:
        return short.removeprefix("-") if exact == 0 else short
    return format(exact.normalize(_EXACT), "f")


def complement(argument: Argument) -> Argument:
    """One minus an argument: the other convention's momentum.

    Literals are complemented as decimals, expressions written `1 - (...)`; what is written like
    that already gives back what stands in the parentheses.

    >>> complement(parse("0.01")).text, complement(parse("0.9997")).text
    ('0.99', '0.0003')
    >>> complement(parse("m if m else 0.1", stand_in=0.07)).text
    '1 - (m if m else 0.1)'
    >>> complement(complement(parse("m if m else 0.1", stand_in=0.07))).text
    'm if m else 0.1'
    """
    node = _node(argument.text)
    taken = _taken_from_one(node)
    if taken is not None:
        inner = parse(taken, argument.text)
        if inner.expression:
            value = _one_minus(argument.value)
            return replace(inner, value=value, written=argument.written, expression=inner.text)
        return replace(inner, written=argument.written)
    if _decimal(node, argument.text) is not None and argument.literal:
        exact = _decimal(node, argument.text)
        try:
            text = number(_EXACT.subtract(Decimal(1), exact or Decimal(0)))
            return replace(argument, text=text, value=float(text))
        except decimal.Inexact:
            pass  # such as 1e-999: written as an expression
    text = f"1 - {tight(argument.text)}"
    expression = text if argument.expression else ""
    return replace(argument, text=text, value=_one_minus(argument.value), expression=expression)


def whether(condition: Argument, if_true: str, if_false: str, *, negated: bool = False) -> Argument:
    """Choose between two literals by an argument that is true or false.

    >>> whether(parse("False"), "None", "True").text
    'True'
    >>> whether(parse("track", stand_in=True), "None", "True").text
    'None if track else True'
    """
    chosen = parse(if_true if bool(condition.value) is not negated else if_false)
    if condition.literal:
        return replace(chosen, written=condition.written)
    text = tight(condition.text)
    first, second = (if_false, if_true) if negated else (if_true, if_false)
    if (first, second) == ("True", "False"):
        written = condition.text
    elif (first, second) == ("False", "True"):
        written = f"not {text}"
    else:
        written = f"{first} if {text} else {second}"
    return replace(chosen, text=written, expression=condition.expression, written=condition.written)


def no_number(argument: Argument) -> bool:
    """Whether an expression surely is no number: a function, a collection or a formatted text."""
    return bool(argument.expression) and isinstance(_node(argument.text), _NO_NUMBERS)


def tight(text: str) -> str:
    """An expression as it stands beside an operator: in parentheses, unless it is an atom.

    >>> tight("cfg.momentum"), tight("a or b")
    ('cfg.momentum', '(a or b)')
    """
    node = _node(text)
    closed = isinstance(node, _ATOMS) or (isinstance(node, _LOOSE) and text.startswith("("))
    return text if closed else f"({text})"


def _same_code(first: str, second: str) -> bool:
    return ast.dump(_node(first)) == ast.dump(_node(second))


def _node(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _taken_from_one(node: ast.expr) -> ast.expr | None:
    """The x of `1 - x`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        one = node.left.value if isinstance(node.left, ast.Constant) else None
        return node.right if type(one) in (int, float) and one == 1 else None
    return None


def _decimal(node: ast.expr, text: str) -> Decimal | None:
    """The number that a literal spells, exactly."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _decimal(node.operand, text)
        return inner if inner is None or isinstance(node.op, ast.UAdd) else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, float):
        spelled = Decimal((ast.get_source_segment(text, node) or "").replace("_", ""))
        # A float's own expansion, printed with more digits than it has: its shortest text is
        # meant. The complement of a short number, which is long as well, is what it says.
        digits = len(spelled.as_tuple().digits)
        if 17 < digits < 800 and len(_WIDE.subtract(1, spelled).as_tuple().digits) > 17:
            expansion = decimal.Context(prec=digits).plus(Decimal(value))
            return Decimal(repr(value)) if expansion == spelled else spelled
        return spelled
    return Decimal(int(value)) if isinstance(value, int) else None


def _one_minus(value: Any) -> Any:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(1 - Decimal(repr(value + 0.0)))
    return 1 - value if isinstance(value, float) else value


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for pair in value.items() for item in pair for leaf in _flat(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _flat(item)]
    return [value]


def _opaque(value: Any) -> bool:
    return not (value is None or isinstance(value, bool | int | float | str))
