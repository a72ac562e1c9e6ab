"""What stays unmatched because layers of one shape could be exchanged, and what settles it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

from batchnorm.convert.groups import Group
from batchnorm.convert.signatures import contradiction, signature
from batchnorm.graph.side import Side

__all__ = ["ambiguities", "folded_there"]


def ambiguities(
    left: tuple[Sequence[Group], Sequence[Group]],
    sides: tuple[Side, Side],
    places: tuple[Mapping[int, int], Mapping[int, int]],
    orders: tuple[str, str],
) -> list[str]:
    """Why what remains was not matched, one sentence per shape, with the smallest question.

    A batch norm whose convolution is in question needs no question of its own.
    """
    found = []

    def sign(group: Group) -> Hashable:
        return signature(group, loose=True)

    reason = "the two sides list their layers in different orders"
    if "none" in orders and not all(side.graph.wired for side in sides):
        reason = "one of the files isn't in the model's order (a safetensors file is sorted by "
        reason += "name, Keras's without a config of its layers by name and nesting)"
    elif any(not g.placed for g in (*left[0], *left[1])):
        reason = "the template's config doesn't list them, or the two sides' orders differ"
    elif "class" in orders:
        reason = "a .weights.h5 without config lists its layers by class; a .keras file says more"
    mine, theirs = (
        _by_signature(_questions(groups, side, place), sign)
        for groups, side, place in zip(left, sides, places, strict=True)
    )
    for key, groups in mine.items():
        if key not in theirs:
            continue
        others = theirs[key]
        names = [", ".join(repr(g.label) for g in own[:6]) for own in (groups, others)]
        why = reason
        if len(groups) != len(others):
            why = f"they are {len(groups)} here and {len(others)} there"
        else:
            against = contradiction(list(zip(groups, others, strict=True)))
            why = against.rpartition(";")[0] or why
        ask = "give the pairs (--map)"
        if len(groups) == len(others) == 2:
            ask = f"giving this one pair is enough: which of them {groups[0].label!r} is (--map)"
        found.append(f"{names[0]} could each be {names[1]}: {why}; {ask}")
    return found


def folded_there(source: Sequence[Group], target: Sequence[Group]) -> list[str]:
    """That a template has a source's kernels and none of its batch norms: they were folded."""
    norms = sum(group.kind == "batch_norm" for group in source)
    kernels = [group for group in target if group.kind == "kernel"]
    if not norms or any(group.kind == "batch_norm" for group in target) or len(kernels) < norms:
        return []
    if not all("bias" in group.members for group in kernels):
        return []
    return [
        f"the source has {norms} batch norms and the template none, but a bias for each of its "
        f"{len(kernels)} kernels: its batch norms are folded; --fold does so with the source's"
    ]


def _questions(groups: Sequence[Group], side: Side, place: Mapping[int, int]) -> list[Group]:
    """Of the layers that remain, those whose place doesn't follow from another one's."""
    left = {place[id(group)] for group in groups}
    return [g for g in groups if side.kernel_of.get(place[id(g)]) not in left]


def _by_signature(
    groups: Sequence[Group], sign: Callable[[Group], Hashable]
) -> dict[Hashable, list[Group]]:
    found: dict[Hashable, list[Group]] = defaultdict(list)
    for group in groups:
        found[sign(group)].append(group)
    return found
