"""A translation to be made: what writing, losses and departures are told."""

from __future__ import annotations

from dataclasses import dataclass

from batchnorm.translate.canonical import Canonical
from batchnorm.translate.form import Form

__all__ = ["Task", "channel_position"]


@dataclass(frozen=True)
class Task:
    """What is to be written: a source's canonical arguments, for a target's form."""

    source: Form
    target: Form
    rank: int
    arguments: Canonical
    num_features: int | None = None
    data_format: str | None = None

    def value(self, slot: str) -> object:
        """The value of a canonical argument."""
        return self.arguments[slot].value


def channel_position(axis: object, rank: int) -> int | None:
    """The channel axis counted from the front; None for several axes or none in range."""
    if isinstance(axis, list | tuple) and len(axis) == 1:
        (axis,) = axis
    if isinstance(axis, int) and -rank <= axis < rank:
        return axis % rank
    return None
