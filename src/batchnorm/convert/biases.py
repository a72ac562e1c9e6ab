"""A bias that the source has and the target's layer hasn't: into the batch norm that follows.

A batch norm takes its mean off, so x + b with the mean m + b is x with the mean m, in training and
in inference: the bias leaves the running mean, rounded once, and no other number changes. Which
batch norm follows must be said by the source and not be contradicted by the target. A bias that the
target has and the source hasn't is 0 (`layer_plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.convert.groups import Group
from batchnorm.convert.ledger import is_neutral

__all__ = ["Moves", "moved"]


@dataclass(frozen=True)
class Moves:
    """Which biases go where.

    Attributes:
        into: layer with a bias -> the batch norm whose mean takes it.
        means: batch norm -> its new running mean.
        of: batch norm -> the layer whose bias it takes.
    """

    into: Mapping[str, str] = field(default_factory=dict)
    means: Mapping[str, Entry] = field(default_factory=dict)
    of: Mapping[str, str] = field(default_factory=dict)


def moved(
    pairs: Sequence[tuple[Group, Group]],
    following: Iterable[tuple[Group, Group]],
    there: Iterable[tuple[Group, Group]],
) -> Moves:
    """The biases that go into a running mean.

    Args:
        pairs: layers of the source and of the target that belong together.
        following: layers of the source, each with the batch norm that directly follows it.
        there: the same of the target.
    """
    target_of = {id(a): b for a, b in pairs}
    follower = {id(layer): norm for layer, norm in there}
    into: dict[str, str] = {}
    means: dict[str, Entry] = {}
    of: dict[str, str] = {}
    for layer, norm in following:
        place, other = target_of.get(id(layer)), target_of.get(id(norm))
        bias = layer.members.get("bias")
        if bias is None or place is None or other is None or layer.kind != "kernel":
            continue
        if "bias" in place.members or norm.path in of or is_neutral("bias", bias):
            continue
        mean = norm.members["running_mean"]
        if bias.shape != mean.shape or follower.get(id(place), other) is not other:
            continue
        wide = mean.load().astype(np.float64) - bias.load().astype(np.float64)
        means[norm.path] = Entry.of(mean.name, wide.astype(mean.dtype))
        into[layer.path], of[norm.path] = norm.path, layer.path
    return Moves(into, means, of)
