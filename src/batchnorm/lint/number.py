"""The numbers that an expression may be, and the places in the file where a person changes them.

Literals, sums and products, names, attributes that the class gives itself, parameters' defaults
(what a call gets unless somebody says otherwise), what stands in for None, and constants of other
files of the tree. Anything else is no number. Nothing is evaluated.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from batchnorm.lint.configured import assigned, entries, keyword_of
from batchnorm.lint.options import option, option_of
from batchnorm.source import Names
from batchnorm.source.class_values import default_of
from batchnorm.source.tree import Definition, definition

__all__ = ["Number", "number", "numbers"]

_OPERATORS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_DEEPEST = 6


@dataclass(frozen=True)
class Number:
    """A number in the source.

    Attributes:
        value: as a decimal, so that 1 - 0.9 is 0.1.
        node: the literal, or the sum, that says it; where it stands in another file, its use here.
        default: whether it is only a parameter's default.
        elsewhere: the other file and line, as text.
    """

    value: Decimal
    node: ast.expr
    default: bool = False
    elsewhere: str = ""


def number(node: ast.expr, names: Names) -> Number | None:
    """The only number that an expression may be; None where that can't be told."""
    found = numbers(node, names)
    return found[0] if len(found) == 1 else None


def numbers(node: ast.expr, names: Names, depth: int = 0) -> tuple[Number, ...]:
    """The numbers that an expression may be, as far as that can be told; none for anything else."""
    value = _value(node)
    if value is not None:
        return (Number(value, node),)
    if depth > _DEEPEST:
        return ()
    match node:
        case ast.Name():
            return _named(node, names, depth + 1)
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr):
            return _attribute(node, attr, names, depth + 1)
        case ast.Attribute():
            return _setting(node, names, depth + 1) or _elsewhere(node, names, depth)
        case ast.IfExp(body=body, orelse=other):
            return numbers(body, names, depth + 1) + numbers(other, names, depth + 1)
        case ast.BoolOp(op=ast.Or(), values=values):
            return tuple(n for each in values for n in numbers(each, names, depth + 1))
        case ast.Call(func=ast.Name(id="float"), args=[inner], keywords=[]):
            return numbers(inner, names, depth + 1)
        case ast.Call(func=ast.Attribute(attr="getenv"), args=[_, other]):
            return tuple(replace(n, default=True) for n in numbers(other, names, depth + 1))
        case ast.Subscript(value=of, slice=ast.Constant(value=str(entry))):
            return _entry(of, entry, names, depth + 1)
        case ast.Call(
            func=ast.Attribute(value=of, attr="get" | "pop"),
            args=[ast.Constant(value=str(entry)), *other],
        ):
            held = _entry(of, entry, names, depth + 1)
            return held or tuple(n for each in other for n in numbers(each, names, depth + 1))
        case ast.BinOp(left=left, op=op, right=right):
            sides = [numbers(side, names, depth + 1) for side in (left, right)]
            apply = _OPERATORS.get(type(op))
            if apply is not None and all(len(side) == 1 for side in sides):
                a, b = sides[0][0], sides[1][0]
                try:
                    return (Number(apply(a.value, b.value), node, a.default or b.default),)
                except ArithmeticError:
                    return ()
    return ()


def _entry(of: ast.expr, entry: str, names: Names, depth: int) -> tuple[Number, ...]:
    """An entry of a dictionary that is only read."""
    held = entries(of, names)
    said = [] if held is None else held.get(entry, [])
    return numbers(said[0], names, depth) if len(said) == 1 else ()


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


def _named(node: ast.Name, names: Names, depth: int) -> tuple[Number, ...]:
    """What a name is given: by all its assignments, and by a default."""
    bound = names.bindings(node)
    if len(bound) == 1 and bound[0].kind == "import":
        return _elsewhere(node, names, depth)
    found: list[Number] = []
    others = [b for b in bound if not isinstance(b.node, ast.arg)]
    if len(others) == 1 and len(bound) == 2 and others[0].value is not None:
        function = names.source.parents[others[0].node]
        if isinstance(
            function, ast.FunctionDef | ast.AsyncFunctionDef
        ):  # m = 0.1 if m is None else m
            return numbers(others[0].value, names, depth)
    blocks = [_branch(b.node, names) for b in bound if not isinstance(b.node, ast.arg)]
    if len(bound) > 1 and (None in blocks or len(set(blocks)) < len(blocks)):
        return ()  # which of them holds depends on the place
    for binding in bound:
        if isinstance(binding.node, ast.arg):
            default = default_of(names, binding.node) or option_of(binding.node, names)
            if default is not None and not _is_none(default):
                found += [replace(n, default=True) for n in numbers(default, names, depth)]
        elif binding.kind != "assign" or binding.value is None:
            return ()
        elif not _is_none(binding.value):
            said = numbers(binding.value, names, depth)
            if not said:
                return ()
            found += said
    return tuple(dict.fromkeys(found))


def _branch(node: ast.AST, names: Names) -> tuple[ast.AST, bool] | None:
    """The if statement that a statement stands right in, and whether in its first branch."""
    around = names.source.parents.get(node)
    return (around, node in around.body) if isinstance(around, ast.If) else None


def _attribute(node: ast.Attribute, attr: str, names: Names, depth: int) -> tuple[Number, ...]:
    """What the class around gives to an attribute, in its body or as `self.name = …`."""
    owner = next((n for n in names.source.around(node) if isinstance(n, ast.ClassDef)), None)
    seen: set[ast.ClassDef] = set()
    while owner is not None and owner not in seen:
        seen.add(owner)
        said = names.given(owner).get(attr)
        if said is not None:
            found: list[Number] = []
            for value in said:
                each = () if value is None else numbers(value, names, depth)
                if not each and not (value is not None and _is_none(value)):
                    return ()
                found += each
            return tuple(dict.fromkeys(found))
        bases = (definition(b, names) for b in owner.bases if isinstance(b, ast.Name))
        own = (b.node for b in bases if b is not None and b.names is names)
        owner = next((b for b in own if isinstance(b, ast.ClassDef)), None)
    return ()


def _setting(node: ast.Attribute, names: Names, depth: int) -> tuple[Number, ...]:
    """What a settings object holds: a class's, an option's of a command line, one that is given."""
    if node.attr == "value" and isinstance(node.value, ast.Attribute):  # of an enumeration
        return numbers(node.value, names, depth)
    found = _of_class(node, names, depth)
    if found:
        return found
    default = option(node, names)
    if default is not None and isinstance(default.node, ast.expr):
        every = numbers(default.node, default.names, depth)
        return _told_from(
            tuple(replace(n, default=True) for n in every), node, default.names, names
        )
    said = assigned(node, names)
    return () if said is None else numbers(said, names, depth)


def _of_class(node: ast.Attribute, names: Names, depth: int) -> tuple[Number, ...]:
    """What a class gives an attribute: of the class itself, of what it made, of what is said so."""
    found = _made(node.value, names, depth)
    if found is None:
        return ()
    owner, call = found
    if call is not None and isinstance(call.node, ast.Call):
        may, said_there = keyword_of(call.node, node.attr)
        if may:
            every = () if said_there is None else numbers(said_there, call.names, depth)
            return _told_from(every, node, call.names, names)
    if not isinstance(owner.node, ast.ClassDef):
        return ()
    said = [v for v in owner.names.given(owner.node).get(node.attr, []) if v is not None]
    every = tuple(n for value in said for n in numbers(value, owner.names, depth))
    return _told_from(every, node, owner.names, names)


def _made(of: ast.expr, names: Names, depth: int) -> tuple[Definition, Definition | None] | None:
    """The class of a settings object, also of one inside another, and the call that made it."""
    if depth > _DEEPEST:
        return None
    if isinstance(of, ast.Name):
        for binding in names.bindings(of):
            if isinstance(binding.node, ast.arg) and binding.node.annotation is not None:
                of = binding.node.annotation
    made = names.value(of)
    if isinstance(made, ast.Call):
        found = definition(made.func, names, settings=True)
        call = Definition(names, made)
        return found or call, call
    found = definition(of, names, settings=True)
    if found is not None and isinstance(found.node, ast.ClassDef):
        return found, None
    if found is not None and isinstance(found.node, ast.Call) and found.names is not names:
        return _made(found.node, found.names, depth + 1)
    if not isinstance(of, ast.Attribute):
        return None
    if isinstance(of.value, ast.Name) and of.value.id in ("self", "cls"):
        around = names.source.around(of)
        within = next((n for n in around if isinstance(n, ast.ClassDef)), None)
        outer = None if within is None else Definition(names, within)
    else:
        by = _made(of.value, names, depth + 1)
        outer = None if by is None or _may_give(by[1], of.attr) else by[0]
    if outer is None or not isinstance(outer.node, ast.ClassDef):
        return None
    said = outer.names.given(outer.node).get(of.attr, [])
    if len(said) != 1 or said[0] is None:
        return None
    return _made(said[0], outer.names, depth + 1)


def _may_give(call: Definition | None, name: str) -> bool:
    return call is not None and isinstance(call.node, ast.Call) and keyword_of(call.node, name)[0]


def _told_from(
    found: tuple[Number, ...], node: ast.expr, of: Names, names: Names
) -> tuple[Number, ...]:
    """Numbers of another file, by their use here."""
    if of is names or of.path is None:
        return found
    path = of.path.name
    return tuple(
        Number(n.value, node, n.default, n.elsewhere or f"{path}:{n.node.lineno}") for n in found
    )


def _elsewhere(node: ast.expr, names: Names, depth: int) -> tuple[Number, ...]:
    """A constant that another file of the tree defines."""
    found = definition(node, names, settings=True)
    if found is None or not isinstance(found.node, ast.expr) or found.names is names:
        return ()
    where = f"{'' if found.names.path is None else found.names.path.name}:{found.node.lineno}"
    return tuple(
        Number(n.value, node, n.default, where) for n in numbers(found.node, found.names, depth + 1)
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
