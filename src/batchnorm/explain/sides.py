"""What a page compares: a dialect in one of its versions, found by the name a user types.

Everything about a side is read from its classes. Not here: what the sides' parameters mean
(`sections/parameters`) or do (the questions).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from batchnorm.declaration import Parameter
from batchnorm.frameworks import OWN, Framework, find
from batchnorm.layer import Layer

__all__ = ["NAMES", "NEWEST", "Side", "resolve"]

# This package's own frameworks, the newest version of each first: what the committed pages tell of.
NAMES = tuple(record.name for record in OWN)
NEWEST = tuple(record.name for record in OWN if not record.older)


@dataclass(frozen=True)
class Side:
    """One dialect in one version."""

    name: str

    @cached_property
    def framework(self) -> Framework:
        """Its record."""
        return find(self.name)

    @property
    def dialect(self) -> str:
        """The name without a version."""
        return self.framework.framework

    @property
    def title(self) -> str:
        """How the framework is called."""
        return self.framework.title

    @property
    def path(self) -> str:
        """The layer as the framework's users import it."""
        return self.framework.layer

    @property
    def versioned(self) -> str:
        """How the framework is called, with its version."""
        return self.framework.versioned.format(self.version)

    @property
    def id(self) -> str:
        """The name as a part of anchors and file names."""
        return self.name.replace("@", "-")

    @property
    def version(self) -> str:
        """The version that the dialect was verified with."""
        return self.framework.version

    @cached_property
    def layer_class(self) -> type[Layer]:
        """Our class of that layer."""
        return self.framework.layer_class

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
        return self.framework.calls.mode_method

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
    """The side that a name means, as `frameworks.find` takes them.

    Raises:
        ValueError: no dialect of that name, or not in that version.

    >>> resolve("mindspore@2.10").name
    'mindspore'
    >>> resolve("keras@2").name
    'tf_keras'
    """
    return Side(find(name).name)
