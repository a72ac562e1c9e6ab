"""Flags that are expressions: a translation must be right for each value that they can have.

A stand-in has one value, for which a call can be right by luck. So the call is planned again with
each value in the flag's place, and the call that was written is checked against that one. Not
here: the proof of each such plan (`translation`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from batchnorm.errors import BatchNormError
from batchnorm.translate.argument import Argument, literal_value
from batchnorm.translate.canonical import Canonical
from batchnorm.translate.difference import Difference
from batchnorm.translate.reading import read

if TYPE_CHECKING:  # a plan holds the plans that are made here
    from batchnorm.translate.plan import Plan, Side

__all__ = ["flag_differences", "flag_plans"]

_BOTH, _THREE = (True, False), (True, False, None)
_VALUES = {
    **dict.fromkeys(("affine", "beta_if_affine", "train_affine", "tracking"), _BOTH),
    **dict.fromkeys(("has_gamma", "has_beta", "trainable"), _BOTH),
    "forced_statistics": _THREE,
}


def flag_plans(
    source: Side, plan: Callable[[str, Argument], Plan]
) -> Iterator[tuple[str, object, Plan]]:
    """The expression, a value, and the plan with that value in its place, for each flag."""
    for name, argument in source.arguments.items():
        if argument.expression:
            for value in _VALUES.get(source.form.parameters[name].meaning.word, ()):
                try:
                    yield argument.expression, value, plan(name, Argument(repr(value), value))
                except BatchNormError:
                    continue  # a value that the source itself refuses


def flag_differences(made: Plan, cases: list[tuple[str, object, Plan]]) -> Iterator[Difference]:
    """What the written call gets wrong for some value of a flag."""
    known = {d.key for d in made.differences if d.kind == "inexpressible"}
    if "statistics-expression" in known:
        return
    for expression, value, case in cases:
        lost = [d for d in case.differences if d.kind == "inexpressible" and d.key not in known]
        other = _differs(_with(made.target, expression, value), case.target.canonical)
        if lost or other:
            what = "; ".join(d.text for d in lost) or f"the call should be {case.target.text}"
            remedy = "; ".join(dict.fromkeys(d.remedy for d in lost if d.remedy))
            yield Difference(
                "flag",
                "inexpressible",
                f"for {expression} = {value}: {what}",
                remedy or f"write a call of its own where {expression} is {value}",
            )


def _differs(first: Canonical, second: Canonical) -> bool:
    return any(not first[slot].same(second[slot]) for slot in second if slot in first)


def _with(side: Side, expression: str, value: object) -> Canonical:
    """What the written call means where the expression has a value."""
    flag = ast.dump(ast.parse(expression, mode="eval").body)
    given = {}
    for name, argument in side.arguments.items():
        given[name] = argument
        if argument.expression:
            try:
                known = _evaluate(ast.parse(argument.text, mode="eval").body, flag, value)
            except (ValueError, ArithmeticError):
                continue
            given[name] = Argument(repr(known), known)
    return read(side.form, given)


def _evaluate(node: ast.expr, flag: str, value: object) -> Any:
    """The value of what we write around a flag; ValueError for anything else."""
    if ast.dump(node) == flag:
        return value
    match node:
        case ast.UnaryOp(op=ast.Not()):
            return not _evaluate(node.operand, flag, value)
        case ast.IfExp():
            chosen = node.body if _evaluate(node.test, flag, value) else node.orelse
            return _evaluate(chosen, flag, value)
        case ast.Compare(ops=[ast.IsNot()], comparators=[ast.Constant(value=constant)]):
            return _evaluate(node.left, flag, value) is not constant
    return literal_value(node)
