"""A scale (gamma) that only the source's batch norm has: into the kernel before it.

gamma · (W x - m) is (gamma W) x - gamma m over the same variance, whatever epsilon is: kernel,
bias and running mean are multiplied, each rounded once. Inference stays as it is; training doesn't,
as batch statistics take the scale out again. Only where the target's calls say that nothing but the
batch norm takes what the kernel puts out. A scale that only the target has is 1 (`layer_plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.convert.biases import Moves
from batchnorm.convert.groups import Group
from batchnorm.convert.ledger import is_neutral
from batchnorm.convert.scaled_kernels import layout_of, scaled
from batchnorm.vocabulary import Array

__all__ = ["Scales", "multiplied"]


@dataclass(frozen=True)
class Scales:
    """Which scales go where.

    Attributes:
        into: batch norm -> the layer whose kernel takes its scale.
        groups: layer or batch norm -> itself with arrays multiplied.
    """

    into: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)


def multiplied(
    pairs: Sequence[tuple[Group, Group]],
    following: Iterable[tuple[Group, Group]],
    there: Iterable[tuple[Group, Group]],
    biases: Moves,
) -> Scales:
    """The scales that go into a kernel.

    Args:
        pairs: layers of the source and of the target that belong together.
        following: layers of the source, each with the batch norm that directly follows it.
        there: the same of the target, as its calls say.
        biases: the source's that go into a running mean.
    """
    source_of = {id(b): a for a, b in pairs}
    follower = {id(layer): norm for layer, norm in following}
    into: dict[str, str] = {}
    groups: dict[str, Group] = {}
    for place, other in there:
        layer, norm = source_of.get(id(place)), source_of.get(id(other))
        if layer is None or norm is None or "gamma" in other.members:
            continue
        gamma = norm.members.get("gamma")
        if gamma is None or is_neutral("gamma", gamma) or layer.form == "conv_transpose":
            continue
        if follower.get(id(layer), norm) is not norm:
            continue
        by = gamma.load().astype(np.float64)
        mean = biases.means.get(norm.path, norm.members["running_mean"])
        weight = scaled(layer.members["weight"], by, layout_of(layer, norm))
        groups[layer.path] = layer.replaced(weight=weight)
        if "bias" in layer.members:
            bias = _times(layer.members["bias"], by)
            groups[layer.path] = layer.replaced(weight=weight, bias=bias)
        groups[norm.path] = norm.replaced(running_mean=_times(mean, by))
        into[norm.path] = layer.path
    return Scales(into, groups)


def _times(entry: Entry, by: Array) -> Entry:
    return Entry.of(entry.name, (entry.load().astype(np.float64) * by).astype(entry.dtype))
