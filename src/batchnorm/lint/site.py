"""A call that makes a batch-norm layer, with its arguments bound to the class's parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from batchnorm.declaration import Parameter
from batchnorm.frameworks import find
from batchnorm.lint.dictionary import starred
from batchnorm.source import Names, Symbol
from batchnorm.source.class_values import default_of, handed_on, inherited, partial_of
from batchnorm.translate.form import Form, forms

__all__ = ["SWITCHES", "Site", "sites"]

SWITCHES = ("forced_statistics", "tracking", "trainable")  # what keeps statistics as they are


@dataclass(frozen=True)
class Site:
    """One call, or one `functools.partial` of a class.

    Attributes:
        node: the call.
        symbol: the class.
        form: the class's parameters.
        arguments: what is given, by parameter.
        layer: file and line of the layer, where a helper makes it.
        complete: whether that is all that is given; not for starred arguments and partial calls.
        still: whether the running statistics stay as they are, by a helper's own default.
    """

    node: ast.Call
    symbol: Symbol
    form: Form
    arguments: Mapping[str, ast.expr]
    complete: bool
    layer: tuple[Path | None, int] | None = None
    still: bool = False

    @property
    def framework(self) -> str:
        """The dialect."""
        return self.symbol.framework

    def parameter(self, *words: str) -> Parameter:
        """The parameter that has one of these meanings, such as "epsilon"."""
        return next(p for p in self.form.parameters.values() if p.meaning.word in words)

    def given(self, *words: str) -> ast.expr | None:
        """What is given for the parameter of one of these meanings."""
        found = (p.name for p in self.form.parameters.values() if p.meaning.word in words)
        return next((self.arguments[name] for name in found if name in self.arguments), None)

    @property
    def momentum(self) -> ast.expr | None:
        """What is given as momentum, whichever way round the framework takes it."""
        return self.given("weight_of_batch", "weight_of_running")

    @property
    def averages(self) -> bool:
        """Whether running statistics can move at all, as far as the call says."""
        return not (self.still or any(_is_false(self.given(word)) for word in SWITCHES))

    @property
    def weighs_batch(self) -> bool:
        """Whether momentum is the weight of the new batch (torch), or of the old value."""
        meaning = self.parameter("weight_of_batch", "weight_of_running").meaning
        return meaning.word == "weight_of_batch"


def _is_false(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _is_still(arguments: Iterable[ast.expr], names: Names) -> bool:
    """Whether one of these is a parameter of the function around whose default is False."""
    bound = (b.node for a in arguments if isinstance(a, ast.Name) for b in names.bindings(a))
    return any(isinstance(b, ast.arg) and _is_false(default_of(names, b)) for b in bound)


def sites(nodes: Iterable[ast.AST], names: Names) -> Iterator[Site]:
    """The sites among nodes."""
    for node in nodes:
        if isinstance(node, ast.Call):
            found = _site(node, node.func, node.args, names, partial=False)
            if found is None and partial_of(names, node) is not None:
                found = _site(node, node.args[0], node.args[1:], names, partial=True)
            found = found or _indirect(node, names)
            if found is not None:
                yield found


def _indirect(node: ast.Call, names: Names) -> Site | None:
    """A call of what a class was handed on to, or of the constructor that a class derives from."""
    symbol = inherited(names, node)
    if symbol is not None:
        return _bound(node, symbol, node.args, names, partial=True)
    match node.func:
        case ast.Name() | ast.Attribute() | ast.Subscript() if node.keywords or len(node.args) > 1:
            found = handed_on(names, node.func)
            if len({symbol.framework for symbol in found.values()}) == 1:
                symbol = next(iter(found.values()))
                return _bound(node, symbol, node.args, names, partial=True)
    return None


def _site(
    node: ast.Call, of: ast.expr, positional: list[ast.expr], names: Names, *, partial: bool
) -> Site | None:
    symbol = names.symbol(of)
    if symbol is None or symbol.kind != "class":
        return None
    return _bound(node, symbol, positional, names, partial=partial)


def _bound(
    node: ast.Call, symbol: Symbol, positional: list[ast.expr], names: Names, *, partial: bool
) -> Site:
    known = forms(find(symbol.framework))
    form = known.get(symbol.name) or next(iter(known.values()))
    arguments: dict[str, ast.expr] = {}
    complete = not partial
    for name, value in zip(form.parameters, positional, strict=False):
        if isinstance(value, ast.Starred):
            complete = False
            break
        arguments[name] = value
    for keyword in node.keywords:
        if keyword.arg is not None:
            arguments[keyword.arg] = keyword.value
            continue
        entries, whole = starred(keyword.value, names)
        complete = complete and whole
        arguments |= entries
    switches = {p.name for p in form.parameters.values() if p.meaning.word in SWITCHES}
    still = _is_still([arguments[name] for name in switches & arguments.keys()], names)
    return Site(node, symbol, form, arguments, complete, still=still)
