"""Tied weights: one array under two names, where the other side saves it once.

torch saves an embedding and a head that share one parameter under both names; MindSpore and Keras
save a parameter once. Told by the values, since most formats don't say what is shared.
"""

from __future__ import annotations

from collections.abc import Iterable

from batchnorm.checkpoints import Entry
from batchnorm.convert.chunk_pairs import chunk_pairs
from batchnorm.convert.groups import Group

__all__ = ["twin"]


def twin(group: Group, others: Iterable[Group]) -> Group | None:
    """Another layer that has all of this layer's values; None if there is none.

    An array of its own, or arrays that are one number throughout, make it no tied layer.
    """
    roles = [role for role in group.members if role != "count"]
    if group.kind == "single":
        return None
    for other in others:
        if other is group or other.kind != group.kind or not set(roles) <= set(other.members):
            continue
        pairs = [(group.members[role], other.members[role]) for role in roles]
        if any((a.shape, a.dtype) != (b.shape, b.dtype) for a, b in pairs):
            continue
        found = [_equal_and_varied(a, b) for a, b in pairs]
        if None not in found and any(found):
            return other
    return None


def _equal_and_varied(a: Entry, b: Entry) -> bool | None:
    """Whether the values differ among themselves; None if the two arrays differ."""
    first, varied = None, False
    for x, y in chunk_pairs(a, b):
        if x.tobytes() != y.tobytes():
            return None
        first = x[:1] if first is None else first
        varied = varied or bool((x != first).any())
    return varied
