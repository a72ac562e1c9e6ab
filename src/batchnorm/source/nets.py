"""The classes that a file defines: which of them are nets, and what their attributes are.

Not here: the walk that finds what is assigned to attributes (`objects`).
"""

from __future__ import annotations

import ast

from batchnorm.source.known import Thing
from batchnorm.source.names import Names
from batchnorm.source.symbols import NETS

__all__ = ["Nets"]


class Nets:
    """The classes of one file.

    Attributes:
        classes: the last of each name that the walk has come to.
        attributes: what `self.name` is in each; None where its assignments disagree.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.classes: dict[str, ast.ClassDef] = {}
        self.attributes: dict[ast.ClassDef, dict[str, Thing | None]] = {}

    def attribute(self, base: Thing, name: str) -> Thing | None:
        """What an attribute of a net is, by its class or those that it derives from."""
        seen: set[ast.ClassDef] = set()
        pending = [] if base.net is None else [base.net]
        while pending:
            net = pending.pop(0)
            if net in seen:
                continue
            seen.add(net)
            own = self.attributes.get(net, {})
            if name in own:
                return own[name]
            bases = (b.id for b in net.bases if isinstance(b, ast.Name))
            pending += [self.classes[b] for b in bases if b in self.classes]
        return None

    def is_net(self, node: ast.ClassDef, seen: frozenset[ast.ClassDef] = frozenset()) -> bool:
        """Whether a class derives from a framework's layers or nets; not through those `seen`."""
        for base in node.bases:
            paths = self.names.paths(base)
            if any(path.startswith(NETS) for path in paths):
                return True
            if isinstance(base, ast.Name) and base.id in self.classes:
                inherited = self.classes[base.id]
                if inherited not in {*seen, node} and self.is_net(inherited, seen | {node}):
                    return True
        return False
