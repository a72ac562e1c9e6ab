"""Calls of helpers that make layers: `make_norm(64, momentum=0.1)` as a site of its own.

A helper is a function or a class, of this file or of another of the same tree, one of whose
parameters (or its `*args` or `**kwargs`) reaches an argument of a layer, by itself or by further
helpers. Not here: what numbers the arguments are (`number`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from batchnorm.lint.site import SWITCHES, Site, sites
from batchnorm.source import Names
from batchnorm.source.tree import definition

__all__ = ["Makers", "Reached"]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_DEEPEST = 4


@dataclass(frozen=True)
class Reached:
    """A site that a helper's parameters reach.

    Attributes:
        site: the call that makes the layer, or that of another helper.
        path, line: where the layer itself is made.
    """

    site: Site
    path: Path | None
    line: int


@dataclass
class Makers:
    """The helpers that one file calls."""

    names: Names
    depth: int = 0
    _known: dict[ast.AST, list[Reached]] = field(default_factory=dict)

    @cached_property
    def _methods(self) -> dict[ast.ClassDef, dict[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        classes = (n for n in ast.walk(self.names.source.tree) if isinstance(n, ast.ClassDef))
        return {c: _methods(c) for c in classes}

    def sites(self, call: ast.Call) -> Iterator[Site]:
        """The sites that a call reaches by a helper, with the arguments that the call gives."""
        if self.depth > _DEEPEST:
            return
        found = self._helper(call)
        if found is None:
            return
        helper, function, bound = found
        given = _given(call, function, bound=bound)
        if given is None:
            return
        for reached in helper.reached(function):
            arguments = _handed(reached.site, function, given, helper)
            if arguments:
                layer = reached.path, reached.line
                site = replace(
                    reached.site, node=call, arguments=arguments, complete=False, layer=layer
                )
                said = any(site.given(word) is not None for word in SWITCHES)
                yield replace(site, still=site.still and not said)

    def reached(self, function: Function) -> list[Reached]:
        """The sites inside a function, those of its own helpers included."""
        if function not in self._known:
            self._known[function] = []  # while it is looked at, for functions that call themselves
            nodes = list(ast.walk(function))
            found = [
                Reached(site, self.names.path, site.node.lineno)
                for site in sites(nodes, self.names)
            ]
            own = {each.site.node for each in found}
            for node in nodes:
                if isinstance(node, ast.Call) and node not in own:
                    inner = Makers(self.names, self.depth + 1, self._known)
                    for site in inner.sites(node):
                        path, line = site.layer or (self.names.path, node.lineno)
                        found.append(Reached(site, path, line))
            self._known[function] = found
        return self._known[function]

    def _helper(self, call: ast.Call) -> tuple[Makers, Function, bool] | None:
        """Whose function is called, and whether its first parameter is the object itself."""
        func = call.func
        if isinstance(func, ast.Attribute) and getattr(func.value, "id", "") in ("self", "cls"):
            around = self.names.source.around(call)
            owner = next((n for n in around if isinstance(n, ast.ClassDef)), None)
            method = None if owner is None else self._methods[owner].get(func.attr)
            return None if method is None else (self, method, not _is(method, "staticmethod"))
        if not isinstance(func, ast.Name | ast.Attribute):
            return None
        found = definition(func, self.names)
        if found is None and isinstance(func, ast.Attribute):
            return self._of_class(func)
        if found is None or (
            isinstance(found.node, ast.expr) and not isinstance(found.node, ast.Lambda)
        ):
            return None
        helper = self
        if found.names is not self.names:
            helper = Makers(found.names, self.depth + 1, self._known)
        if isinstance(found.node, ast.ClassDef):
            made = _methods(found.node).get("__init__")
            return None if made is None else (helper, made, True)
        return helper, found.node, False

    def _of_class(self, func: ast.Attribute) -> tuple[Makers, Function, bool] | None:
        """`Nets.norm(…)`: a function of a class."""
        found = definition(func.value, self.names)
        if found is None or not isinstance(found.node, ast.ClassDef):
            return None
        method = _methods(found.node).get(func.attr)
        if method is None:
            return None
        helper = (
            self if found.names is self.names else Makers(found.names, self.depth + 1, self._known)
        )
        return helper, method, _is(method, "classmethod")


def _methods(owner: ast.ClassDef) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    return {f.name: f for f in owner.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)}


def _is(method: ast.FunctionDef | ast.AsyncFunctionDef, kind: str) -> bool:
    return any(getattr(d, "id", "") == kind for d in method.decorator_list)


@dataclass(frozen=True)
class _Given:
    named: Mapping[str, ast.expr]
    positional: tuple[ast.expr, ...]
    keywords: Mapping[str, ast.expr]


def _given(call: ast.Call, function: Function, *, bound: bool) -> _Given | None:
    """The arguments of a call by the function's parameters, and what its stars take beside."""
    if any(isinstance(a, ast.Starred) for a in call.args):
        return None
    arguments = function.args
    places = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][int(bound) :]
    named = dict(zip(places, call.args, strict=False))
    rest = tuple(call.args[len(places) :])
    known = {*places, *(a.arg for a in arguments.kwonlyargs)}
    keywords = {k.arg: k.value for k in call.keywords if k.arg is not None}
    named |= {name: value for name, value in keywords.items() if name in known}
    return _Given(named, rest, {n: v for n, v in keywords.items() if n not in known})


def _handed(site: Site, function: Function, given: _Given, helper: Makers) -> dict[str, ast.expr]:
    """What of a call's arguments reaches the arguments of a site inside the function."""
    found: dict[str, ast.expr] = {}
    for name, value in site.arguments.items():
        parameter = _parameter(value, function, helper.names)
        if parameter in given.named:
            found[name] = given.named[parameter]
    if site.layer is not None:
        return found  # a helper of a helper: its stars are followed there
    taken = site.node.args
    vararg = None if function.args.vararg is None else function.args.vararg.arg
    kwarg = None if function.args.kwarg is None else function.args.kwarg.arg
    for index, part in enumerate(taken):
        if isinstance(part, ast.Starred) and getattr(part.value, "id", None) == vararg:
            names = list(site.form.parameters)[index:]
            found |= dict(zip(names, given.positional, strict=False))
    for keyword in site.node.keywords:
        if keyword.arg is None and getattr(keyword.value, "id", "") == kwarg:
            found |= {n: v for n, v in given.keywords.items() if n in site.form.parameters}
    return found


def _parameter(value: ast.expr, function: Function, names: Names) -> str:
    """The parameter of a function that an expression is, also as `self.name = parameter`."""
    if isinstance(value, ast.Attribute) and getattr(value.value, "id", "") == "self":
        said = [
            s.value
            for s in ast.walk(function)
            if isinstance(s, ast.Assign)
            for t in s.targets
            if isinstance(t, ast.Attribute) and t.attr == value.attr
            and getattr(t.value, "id", "") == "self"
        ]  # fmt: skip
        value = said[0] if len(said) == 1 else value
    if not isinstance(value, ast.Name):
        return ""
    bound = names.bindings(value)
    own = len(bound) == 1 and bound[0].node in {
        *function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs
    }  # fmt: skip
    return value.id if own else ""
