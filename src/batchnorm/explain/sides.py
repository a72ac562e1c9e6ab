"""What a page compares: a dialect in one of its versions, found by the name a user types.

Everything about a side is read from its classes. Not here: what the sides' parameters mean
(`sections/parameters`) or do (the questions).
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from batchnorm.declaration import Parameter
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import declaration_of
from batchnorm.layer import Layer
from batchnorm.questions.subject import MODE_METHODS
from batchnorm.translate.form import dialect as spelled

__all__ = ["DIALECTS", "NAMES", "Side", "resolve"]

# Name -> how the framework is called, without and with a version, and where it keeps the layer.
DIALECTS: Mapping[str, tuple[str, str, str]] = {
    "torch": ("PyTorch", "PyTorch {}", "torch.nn.BatchNorm2d"),
    "mindspore": ("MindSpore", "MindSpore {}", "mindspore.nn.BatchNorm2d"),
    "tf_keras": ("Keras 2", "Keras {} (tf.keras)", "tf.keras.layers.BatchNormalization"),
    "keras": ("Keras 3", "Keras {}", "keras.layers.BatchNormalization"),
}
# The newest version of each dialect first: the one that a name without a version means.
NAMES = ("torch", "mindspore", "tf_keras", "keras", "mindspore@2.0", "tf_keras@2.6")
ALIASES = {  # taken for a slip, beside what `translate` takes for a name
    "pytorch": "torch",
    "tf.keras": "tf_keras",
    "tensorflow": "tf_keras",
}


@dataclass(frozen=True)
class Side:
    """One dialect in one version."""

    name: str

    @property
    def dialect(self) -> str:
        """The name without a version."""
        return self.name.partition("@")[0]

    @property
    def title(self) -> str:
        """How the framework is called."""
        return DIALECTS[self.dialect][0]

    @property
    def path(self) -> str:
        """The layer as the framework's users import it."""
        return DIALECTS[self.dialect][2]

    @property
    def versioned(self) -> str:
        """How the framework is called, with its version."""
        return DIALECTS[self.dialect][1].format(self.version)

    @property
    def id(self) -> str:
        """The name as a part of anchors and file names."""
        return self.name.replace("@", "-")

    @property
    def version(self) -> str:
        """The version that the dialect was verified with."""
        return self.layer_class.VERIFIED_WITH

    @cached_property
    def layer_class(self) -> type[Layer]:
        """Our class of that layer."""
        found: type[Layer] = getattr(declaration_of(self.name), self.path.split(".")[-1])
        return found

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The constructor's parameters, in order."""
        return dict(self.layer_class.PARAMETERS)

    @cached_property
    def call_parameters(self) -> dict[str, inspect.Parameter]:
        """The call's named parameters, in order."""
        call: Any = vars(self.layer_class).get("__call__") or self.layer_class.__call__
        found = list(inspect.signature(call).parameters.items())[1:]
        collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {name: own for name, own in found if own.kind not in collecting}

    @property
    def mode_method(self) -> str:
        """The method that sets training or inference; empty where each call says it."""
        return MODE_METHODS.get(self.dialect, "")

    def named(self, *words: str) -> Parameter | None:
        """The first constructor parameter with one of these meanings."""
        return next((p for p in self.parameters.values() if p.meaning.word in words), None)

    def layer(self, channels: int = 3, **arguments: Any) -> Any:
        """A layer of ours for rank 4; `channels` counts where the dialect wants to know."""
        required = {name: channels for name, p in self.parameters.items() if p.required}
        made: Any = self.layer_class
        return made(**required, **arguments)

    def facts(self) -> dict[str, str]:
        """What identifies the side, as data."""
        return {
            "name": self.name,
            "framework": self.title,
            "version": self.version,
            "class": self.path,
        }


def resolve(name: str) -> Side:
    """The side that a name means: `torch`, `mindspore@2.0`, `tf_keras@2.21`, `keras@2`.

    Raises:
        ValueError: no dialect of that name, or not in that version.

    >>> resolve("mindspore@2.10").name
    'mindspore'
    >>> resolve("keras@2").name
    'tf_keras'
    """
    dialect, at, version = name.partition("@")
    known = [Side(candidate) for candidate in NAMES]
    for side in known:
        wanted = version.split(".")
        if side.dialect == dialect and (not at or side.version.split(".")[: len(wanted)] == wanted):
            return side
    with contextlib.suppress(InvalidValue):
        return Side(spelled(name).name)
    if dialect in DIALECTS:
        versions = ", ".join(f"{s.dialect}@{s.version}" for s in known if s.dialect == dialect)
        raise InvalidValue(f"there is no {name!r} here; known versions: {versions}")
    raise InvalidValue(
        f"{name!r} is no dialect of batch normalization{_hint(name)}; known: {', '.join(NAMES)}"
    )


def _hint(name: str) -> str:
    candidates: Sequence[str] = (*NAMES, *ALIASES)
    close = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.5)
    return f": did you mean {ALIASES.get(close[0], close[0])!r}?" if close else ""
