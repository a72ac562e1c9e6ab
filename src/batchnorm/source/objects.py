"""Where an expression is known to be a batch-norm layer, and which call made it.

One walk over a file follows assignments, `self.bn = …` in all methods of a class, lists and loops
over them, annotations, and guards such as `if isinstance(m, nn.BatchNorm2d)`. A name that may be
something else is not known. Not here: names of classes (`names`), what a test says (`guards`), and
what is known at one point (`known`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from batchnorm.newer_python import TryStar
from batchnorm.source.children import assignment, in_order, other_layer
from batchnorm.source.class_values import handed_on
from batchnorm.source.guards import Guards
from batchnorm.source.known import (
    Environment,
    Thing,
    assigned,
    columns,
    joined,
    key,
    merged,
    unpacked,
)
from batchnorm.source.names import Names
from batchnorm.source.nets import Nets
from batchnorm.source.symbols import NETS

__all__ = ["Objects"]

_RETURN_SELF = {"train", "eval", "set_train", "to", "cuda", "cpu", "float", "half", "double",
                "requires_grad_", "to_float", "apply"}  # fmt: skip
_LISTS = {"ModuleList", "CellList", "Sequential", "SequentialCell", "list", "tuple"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Objects:
    """The layers and nets of one file.

    `known` gives for each expression node what it is, where that is sure.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.known: dict[ast.expr, Thing] = {}
        self._nets = Nets(names)
        self._class: ast.ClassDef | None = None
        self._collected: dict[str, list[Thing | None]] | None = None
        self._returned: dict[ast.AST, list[Thing | None]] = {}  # by the functions of the file
        self._tuples: dict[ast.AST, list[ast.expr | None]] = {}  # the same as expressions
        self._within: ast.AST | None = None
        self._guards = Guards(names, self._thing)
        self._block(names.source.tree.body, Environment())

    def thing(self, node: ast.expr) -> Thing | None:
        """What an expression is known to be."""
        return self.known.get(node)

    # Statements: each takes what is known before it and gives what is known after it.

    def _block(self, body: Iterable[ast.stmt], env: Environment) -> Environment | None:
        """What is known after statements; None where they never end."""
        now: Environment | None = env
        for statement in body:
            now = self._statement(statement, env if now is None else now)
            if now is not None:
                env = now
        return now

    def _statement(self, node: ast.stmt, env: Environment) -> Environment | None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, env)
                return env.without([node.name])
            case ast.ClassDef():
                self._class_body(node, env)
                return env.without([node.name])
            case ast.Assign() | ast.AnnAssign():
                return self._assign(node, env)
            case ast.Expr() if (registered := assignment(node)) is not None:
                return self._assign(registered, env)
            case ast.If():
                self._expression(node.test, env)
                yes, no = self._guards.narrow(node.test, env)
                ends = [self._block(node.body, yes), self._block(node.orelse, no)]
                return merged([end for end in ends if end is not None])
            case ast.For() | ast.AsyncFor():
                self._expression(node.iter, env)
                inside = env.without(assigned(node))
                self._loop_target(node.target, node.iter, env, inside)
                self._block(node.body, inside.copy())
                after = env.without(assigned(node))
                self._block(node.orelse, after.copy())
                return after
            case ast.While():
                inside = env.without(assigned(node))
                self._expression(node.test, inside)
                self._block(node.body, self._guards.narrow(node.test, inside)[0])
                self._block(node.orelse, inside.copy())
                return inside
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._expression(item.context_expr, env)
                return self._block(node.body, env.without(assigned(node, body=False)))
            case ast.Try() | TryStar():
                self._block(node.body, env.copy())
                after = env.without(assigned(node))
                for handler in node.handlers:
                    self._block(handler.body, after.copy())
                self._block(node.orelse, after.copy())
                return self._block(node.finalbody, after)
            case ast.Match():
                self._expression(node.subject, env)
                for branch in node.cases:
                    inside = self._guards.matched(node.subject, branch.pattern, env)
                    self._block(branch.body, inside.without(assigned(node)))
                return env.without(assigned(node))
            case ast.Assert():
                self._expression(node.test, env)
                return self._guards.narrow(node.test, env)[0]
            case ast.Return() | ast.Raise():
                self._parts(node, env)
                if isinstance(node, ast.Return) and self._within is not None:
                    given = None if node.value is None else self._thing(node.value, env)
                    self._returned.setdefault(self._within, []).append(given)
                    self._tuples.setdefault(self._within, []).append(node.value)
                return None
            case ast.Continue() | ast.Break():
                return None
            case _:
                self._parts(node, env)
                return env.without(assigned(node, inline=False))

    def _parts(self, node: ast.AST, env: Environment) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._expression(child, env)

    def _assign(self, node: ast.Assign | ast.AnnAssign, env: Environment) -> Environment:
        found = None
        if node.value is not None:
            self._expression(node.value, env)
            found = self._thing(node.value, env)
        env = env.without(assigned(node, inline=False))
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if found is None and isinstance(node, ast.AnnAssign):
            found = self._guards.annotated(node.annotation)
        for target in targets:
            self._parts(target, env)
            place = key(target)
            if place and found is not None:
                env.put(place, found)
                self._note(target, found)
            elif not place:
                self._expression(target, env)
                given = None if node.value is None else self._tuple_of(node.value)
                for each, value in [] if given is None else unpacked(target, given):
                    part = self.known.get(value) or self._thing(value, env)
                    if key(each) and part is not None:
                        env.put(key(each), part)
                        self._note(each, part)
                    self._collect(each, value, part)
            self._collect(target, node.value, found)
        return env

    def _collect(self, target: ast.expr, value: ast.expr | None, found: Thing | None) -> None:
        """Note what `self.name` is assigned, while a class is looked through."""
        if self._collected is None or not isinstance(target, ast.Attribute):
            return
        nothing = isinstance(value, ast.Constant) and value.value is None
        if isinstance(target.value, ast.Name) and target.value.id == "self" and not nothing:
            found = found or other_layer(value, self.names)
            self._collected.setdefault(target.attr, []).append(found)

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        env: Environment,
        *,
        method: bool = False,
    ) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self._expression(part, env)
        scope = env.without([a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)])
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            found = (
                None if argument.annotation is None else self._guards.annotated(argument.annotation)
            )
            if found is not None:
                scope.put(argument.arg, found)
        first = [*node.args.posonlyargs, *node.args.args][:1]
        if method and self._class is not None and first and self._nets.is_net(self._class):
            scope.put(first[0].arg, Thing("net", net=self._class))
        collected = self._collected
        if not method:
            self._collected = None if not self._class else collected
        outer, self._within = self._within, node
        self._returned.pop(node, None)
        self._tuples.pop(node, None)
        self._block(node.body, scope)
        self._collected, self._within = collected, outer

    def _class_body(self, node: ast.ClassDef, env: Environment) -> None:
        outer, outer_collected, known = self._class, self._collected, self.known
        self._nets.classes[node.name] = node
        self._class, self._collected, self.known = node, {}, {}
        self._nets.attributes[node] = {}
        for base in node.bases:
            self._expression(base, env)
        self._methods(node, env)
        # Known is what every assignment agrees on. The first look didn't know it yet.
        agreed = {name: joined(found) for name, found in self._collected.items()}
        self._nets.attributes[node] = {
            name: found if found is None or found.kind != "layer" or found.symbols else None
            for name, found in agreed.items()
        }
        self.known, self._collected = known, None
        self._methods(node, env)
        self._class, self._collected = outer, outer_collected

    def _methods(self, node: ast.ClassDef, env: Environment) -> None:
        inside = env.copy()
        for statement in node.body:
            if isinstance(statement, _FUNCTIONS):
                self._function(statement, inside, method=True)
            else:
                inside = self._statement(statement, inside) or inside

    # Expressions

    def _expression(self, node: ast.expr, env: Environment) -> None:
        """Note what an expression and its parts are."""
        match node:
            case ast.Lambda():
                self._expression(node.body, env.without([
                    a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]))  # fmt: skip
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                self._expression(node.elt, self._generators(node.generators, env))
            case ast.DictComp():
                pairs = self._generators(node.generators, env)
                self._expression(node.key, pairs)
                self._expression(node.value, pairs)
            case ast.BoolOp():
                now = env
                for operand in node.values:
                    self._expression(operand, now)
                    yes, no = self._guards.narrow(operand, now)
                    now = yes if isinstance(node.op, ast.And) else no
            case ast.IfExp():
                self._expression(node.test, env)
                yes, no = self._guards.narrow(node.test, env)
                self._expression(node.body, yes)
                self._expression(node.orelse, no)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._expression(child, env)
                    elif isinstance(child, ast.keyword):
                        self._expression(child.value, env)
        found = self._thing(node, env)
        if found is not None:
            self._note(node, found)
        if isinstance(node, ast.NamedExpr):
            env.become(node.target.id, found)
            if found is not None:
                self._note(node.target, found)

    def _note(self, node: ast.expr, found: Thing) -> None:
        self.known[node] = found

    def _generators(self, generators: list[ast.comprehension], env: Environment) -> Environment:
        inside = env.copy()
        for generator in generators:
            self._expression(generator.iter, inside)
            before = inside.copy()
            inside = inside.without(assigned(generator.target))
            self._loop_target(generator.target, generator.iter, before, inside)
            for test in generator.ifs:
                self._expression(test, inside)
                inside = self._guards.narrow(test, inside)[0]
        return inside

    def _loop_target(
        self, target: ast.expr, over: ast.expr, env: Environment, inside: Environment
    ) -> None:
        """What a loop's variable is, over a list of layers, also one that is counted or paired."""
        pairs = [(target, over), *columns(target, over)]
        if isinstance(over, ast.Call) and isinstance(over.func, ast.Name):
            if over.func.id == "enumerate" and isinstance(target, ast.Tuple) and over.args:
                pairs = [(target.elts[-1], over.args[0])]
            elif over.func.id == "zip" and isinstance(target, ast.Tuple):
                pairs = list(zip(target.elts, over.args, strict=False))
        for each, source in pairs:
            found, place = self._thing(source, env), key(each)
            if place and found is not None and found.kind == "list":
                inside.put(place, replace(found, kind="layer"))

    def _thing(self, node: ast.expr, env: Environment) -> Thing | None:
        place = key(node)
        found = env.get(place) if place else None
        if found is not None:
            return found
        match node:
            case ast.Attribute():
                base = self._thing(node.value, env)
                return None if base is None else self._nets.attribute(base, node.attr)
            case ast.Call():
                return self._made(node, env)
            case ast.Subscript():
                base = self._thing(node.value, env)
                if base is not None and base.kind == "list":
                    return (
                        base if isinstance(node.slice, ast.Slice) else replace(base, kind="layer")
                    )
                return None
            case ast.List() | ast.Tuple():
                return self._list(node.elts, env)
            case ast.ListComp() | ast.GeneratorExp():
                made = self._thing(node.elt, self._generators(node.generators, env))
                return None if made is None or made.kind != "layer" else replace(made, kind="list")
            case ast.IfExp():
                sides = [node.body, node.orelse]
                given = [s for s in sides if not isinstance(s, ast.Constant)]
                return joined([self._thing(side, env) for side in given])
            case ast.NamedExpr():
                return self._thing(node.value, env)
        return None

    def _by_helper(self, node: ast.Call) -> Thing | None:
        """What a class that was handed on makes, or a function of this file that gives a layer."""
        if isinstance(node.func, ast.Name):
            bound = self.names.bindings(node.func)
            if len(bound) == 1 and bound[0].node in self._returned:
                found = joined(self._returned[bound[0].node])
                return found if found is not None and found.kind == "layer" else None
        classes = handed_on(self.names, node.func)
        if not classes:
            return None
        symbols = frozenset(classes.values())
        # A parameter, or what self was given, may be another class as well.
        sure = isinstance(node.func, ast.Name) and all(
            b.kind == "assign" and b.value in classes for b in self.names.bindings(node.func)
        )
        return Thing("layer", symbols, (node,), only=sure)

    def _tuple_of(self, node: ast.expr) -> ast.expr:
        """The tuple that a call of this file's function gives, if it gives one only; or itself."""
        children = in_order(node, self._class, self.names)
        if children is not None:
            return children
        bound = (
            self.names.bindings(node.func)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            else []
        )
        given = self._tuples.get(bound[0].node, []) if len(bound) == 1 else []
        return given[0] if len(given) == 1 and isinstance(given[0], ast.Tuple) else node

    def _list(self, items: list[ast.expr], env: Environment) -> Thing | None:
        found = joined([self._thing(item, env) for item in items])
        return None if found is None or found.kind != "layer" else replace(found, kind="list")

    def _made(self, node: ast.Call, env: Environment) -> Thing | None:
        symbol = self.names.symbol(node.func)
        if symbol is not None:
            return Thing("layer", frozenset({symbol}), (node,)) if symbol.kind == "class" else None
        if isinstance(node.func, ast.Attribute) and node.func.attr in _RETURN_SELF:
            return self._thing(node.func.value, env)
        if isinstance(node.func, ast.Name) and node.func.id in self._nets.classes:
            net = self._nets.classes[node.func.id]
            return Thing("net", net=net) if self._nets.is_net(net) else None
        by_hand = self._by_helper(node)
        if by_hand is not None:
            return by_hand
        last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        last = node.func.id if isinstance(node.func, ast.Name) else last
        if last in _LISTS and node.args:
            given = node.args
            if len(given) == 1:
                found = self._thing(given[0], env)
                if found is not None and found.kind == "list":
                    return found
            listed = self._list(given, env)
            if listed is not None:
                return listed
        paths = self.names.paths(node.func)
        nets = paths and all(path.startswith(NETS) for path in paths)
        return Thing("net") if nets and last in (*_LISTS, "Model") else None
