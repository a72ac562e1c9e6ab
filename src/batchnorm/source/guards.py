"""What a test says about names: isinstance, type comparisons, and their combinations.

Also what an annotation says. Not here: the walk that asks (`objects`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from batchnorm.source.known import Environment, Thing, key
from batchnorm.source.names import Names
from batchnorm.source.symbols import NETS, Symbol

__all__ = ["Guards"]


class Guards:
    """The tests and annotations of one file.

    Args:
        names: what its names mean.
        thing: gives what an expression is known to be.
    """

    def __init__(
        self, names: Names, thing: Callable[[ast.expr, Environment], Thing | None]
    ) -> None:
        self.names, self._thing = names, thing

    def annotated(self, node: ast.expr) -> Thing | None:
        """What an annotation says."""
        if isinstance(node, ast.Subscript):  # Optional[nn.BatchNorm2d]
            name = node.value
            last = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
            return self.annotated(node.slice) if last == "Optional" else None
        symbols, others = self._classes_in(node)
        if symbols and not others:
            return Thing("layer", frozenset(symbols))
        if any(path.startswith(NETS) and path.endswith((".Module", ".Cell", ".Model"))
               for path in self.names.paths(node)):  # fmt: skip
            return Thing("net")
        return None

    def narrow(self, test: ast.expr, env: Environment) -> tuple[Environment, Environment]:
        """What is known where a test is true, and where it is false."""
        match test:
            case ast.UnaryOp(op=ast.Not()):
                yes, no = self.narrow(test.operand, env)
                return no, yes
            case ast.BoolOp(op=ast.And()):
                yes = env
                for part in test.values:
                    yes = self.narrow(part, yes)[0]
                return yes, env.copy()
            case ast.BoolOp(op=ast.Or()):
                no, each = env, []
                for part in test.values:
                    yes, no = self.narrow(part, no)
                    each.append(yes)
                return Environment.shared(each), no
            case ast.Call(func=ast.Name(id="isinstance"), args=[of, classes], keywords=[]):
                return self._guarded(of, classes, env), env.copy()
            case ast.Compare(left=left, ops=[how], comparators=[classes]):
                whose = self._whose_type(left)
                if whose is not None and isinstance(how, ast.Is | ast.Eq | ast.In):
                    return self._guarded(whose, classes, env), env.copy()
                if whose is not None and isinstance(how, ast.IsNot | ast.NotEq | ast.NotIn):
                    return env.copy(), self._guarded(whose, classes, env)
        return env.copy(), env.copy()

    def _whose_type(self, node: ast.expr) -> ast.expr | None:
        """What `type(m)`, `m.__class__`, or a name that was given one of them, is the type of."""
        match self.names.value(node):
            case ast.Call(func=ast.Name(id="type"), args=[of]):
                return of
            case ast.Attribute(value=of, attr="__class__"):
                return of
        return None

    def matched(self, subject: ast.expr, pattern: ast.pattern, env: Environment) -> Environment:
        """What is known inside a case."""
        while isinstance(pattern, ast.MatchAs) and pattern.pattern is not None:
            pattern = pattern.pattern
        parts = pattern.patterns if isinstance(pattern, ast.MatchOr) else [pattern]
        classes = [part.cls for part in parts if isinstance(part, ast.MatchClass)]
        if len(classes) != len(parts):
            return env.copy()
        return self._guarded(subject, ast.Tuple(classes, ast.Load()), env)

    def _guarded(self, of: ast.expr, classes: ast.expr, env: Environment) -> Environment:
        place, (symbols, others) = key(of), self._classes_in(classes)
        if not place or not symbols:
            return env.copy()
        before = env.get(place) or self._thing(of, env)
        calls = before.calls if before is not None and before.kind == "layer" else ()
        known = frozenset() if "" in others else frozenset(others)
        thing = Thing("layer", frozenset(symbols), calls, only=not others, others=known)
        return env.plus(place, thing)

    def _classes_in(self, node: ast.expr) -> tuple[set[Symbol], set[str]]:
        """The batch-norm classes that isinstance is given, and the paths of others; "": unknown."""
        node = self.names.value(node)
        if isinstance(node, ast.Tuple | ast.List):
            parts = node.elts
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            parts = [node.left, node.right]
        else:
            symbol = self.names.symbol(node)
            ours = symbol is not None and symbol.kind in ("class", "base")
            if ours and symbol is not None:
                return {symbol}, set()
            return set(), {*self.names.paths(node)} or {""}
        symbols: set[Symbol] = set()
        others: set[str] = set()
        for part in parts:
            if isinstance(part, ast.Constant) and part.value is None:
                continue
            found, more = self._classes_in(part)
            symbols |= found
            others |= more
        return symbols, others
