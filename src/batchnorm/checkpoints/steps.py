"""`Step`: one call of a model, as far as a file says in which order layers are called and on what.

A container's fact like its names: what is made of it is decided elsewhere (`batchnorm.graph`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OUTPUT", "Step"]

OUTPUT = "output"


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        layer: the prefix of the layer's entries, or a name where the layer has none.
        what: its class or operation; `OUTPUT` for the model's result, `input` for what it is given.
        inputs: the steps whose outputs it takes, by their place in the list.
        known: attributes, as far as the file says them: strides, padding, groups, axis, activation
            (absent where there is none), inside (the class of a wrapper), rank (of its input).
    """

    layer: str
    what: str
    inputs: tuple[int, ...] = ()
    known: Mapping[str, Any] = field(default_factory=dict)
