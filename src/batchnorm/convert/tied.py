"""Tied weights: one array under two names, where the other side saves it once.

torch saves an embedding and a head that share one parameter under both names; MindSpore and Keras
save a parameter once. Told by the values, since most formats don't say what is shared.
"""

from __future__ import annotations

from collections.abc import Iterable

from batchnorm.checkpoints import Entry
from batchnorm.convert.groups import Group
from batchnorm.convert.pieces import side_by_side

__all__ = ["twin"]


def twin(group: Group, others: Iterable[Group]) -> Group | None:
    """Another layer that has this layer's kernel, value by value; None if there is none.

    A bias of its own, or a kernel that is one number throughout, is no tied layer.
    """
    if group.kind != "kernel" or set(group.members) != {"weight"}:
        return None
    weight = group.members["weight"]
    for other in others:
        its = other.members.get("weight")
        if other is group or its is None or (its.shape, its.dtype) != (weight.shape, weight.dtype):
            continue
        if _equal_and_varied(weight, its):
            return other
    return None


def _equal_and_varied(a: Entry, b: Entry) -> bool:
    first, varied = None, False
    for x, y in side_by_side(a, b):
        if x.tobytes() != y.tobytes():
            return False
        first = x[:1] if first is None else first
        varied = varied or bool((x != first).any())
    return varied
