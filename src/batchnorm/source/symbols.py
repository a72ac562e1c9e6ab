"""What a dotted path means to us: a batch-norm class of a dialect, its base, or a function.

The paths stand in the frameworks' rooms (`source`). Not here: which path an expression in a file
stands for (`names`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Literal, TypeAlias

from batchnorm.frameworks import Framework, current

__all__ = [
    "CLASSES",
    "NAMES",
    "NETS",
    "PACKAGES",
    "Kind",
    "Symbol",
    "framework_at",
    "keras_module",
    "symbol_at",
]

Kind: TypeAlias = Literal["class", "base", "function"]


@cache
def _rooms() -> tuple[tuple[Framework, ModuleType], ...]:
    """The frameworks whose code is known, each with what is known of it."""
    return tuple((r, r.room("source")) for r in current() if r.has("source"))


CLASSES = frozenset(name for _, room in _rooms() for name in room.CLASSES)
"""What the layers' classes are called."""
NAMES = CLASSES | {
    path.rpartition(".")[2] for _, room in _rooms() for path in (*room.BASES, *room.FUNCTIONS)
}
"""The last parts of the paths that mean something."""
PACKAGES = frozenset(package for _, room in _rooms() for package in room.PACKAGES)
"""The frameworks' packages, which are never part of the tree that is looked at."""
NETS = tuple(prefix for _, room in _rooms() for prefix in room.NETS)
"""How the paths of the frameworks' own layers and nets begin."""


@dataclass(frozen=True)
class Symbol:
    """What a path means.

    Attributes:
        framework: the dialect's name: torch, mindspore, mint, tf_keras or keras.
        kind: a layer's class, the base class of several, or a function or class that no plan
            covers.
        name: the class or function.
        path: as the file's imports say it.
    """

    framework: str
    kind: Kind
    name: str
    path: str


@cache
def symbol_at(path: str, keras: str | None = None) -> Symbol | None:
    """The meaning of a path such as "torch.nn.BatchNorm2d"; None for any other thing.

    Args:
        path: the dotted path, as imports say it.
        keras: which Keras `keras` and `tensorflow.keras` are: "tf_keras" (Keras 2), "keras"
            (Keras 3), or None: the package `keras` is Keras 3, and TensorFlow's is Keras 2.
    """
    for record, room in _rooms():
        found = room.LAYER.fullmatch(path)
        if found is not None and room.owns(path, keras):
            kind: Kind = "class" if found["name"] in room.CLASSES else "base"
            return Symbol(record.framework, kind, found["name"], path)
        if path in room.FUNCTIONS and room.owns(path, keras):
            return Symbol(record.framework, "function", path.rpartition(".")[2], path)
    return None


@cache
def keras_module(path: str, keras: str | None = None) -> tuple[str, str] | None:
    """The dialect and the rest of a path inside a Keras: ("tf_keras", ".layers")."""
    for record, room in _rooms():
        rest = room.inside(path, keras) if record.is_keras else None
        if rest is not None:
            return record.framework, rest
    return None


def framework_at(path: str) -> str:
    """The dialect in whose package a path lies, or whose Keras that package holds; empty: none."""
    for record, room in _rooms():
        if room.inside(path, None) is not None:
            return record.framework
    root = path.partition(".")[0]
    return next((record.framework for record, room in _rooms() if root == room.HOLDER), "")
