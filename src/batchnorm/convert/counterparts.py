"""Which layers a layer without counterpart could be: for reports, and for maps to be edited.

Candidates have the layer's shape, or one that a conversion can make of it. Not here: matching.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchnorm.convert.groups import Group
from batchnorm.convert.layout import canonical, flattened
from batchnorm.convert.signatures import signature

__all__ = ["candidates", "without_counterpart", "without_place"]

MOST = 6  # candidates in a line


def candidates(group: Group, others: Sequence[Group], among: Sequence[Group]) -> list[Group]:
    """The layers of the other side that have its shape, likeliest by their order first.

    Args:
        group: the layer.
        others: the other side's layers without counterpart.
        among: its own side's.
    """
    sign = signature(group, loose=True)
    fitting = [other for other in others if signature(other, loose=True) == sign]
    alike = [one for one in among if signature(one, loose=True) == sign]
    place = next((i for i, one in enumerate(alike) if one is group), 0)
    if place < len(fitting):
        fitting.insert(0, fitting.pop(place))
    return fitting or [other for other in others if _flattened(group, other)]


def _flattened(a: Group, b: Group) -> bool:
    """Whether one is a dense layer after Flatten and the other a convolution in its place."""
    kernels = {a.kind, b.kind} == {"kernel"} and "embedding" not in (a.form, b.form)
    return kernels and flattened(canonical(a, "weight"), canonical(b, "weight"))


def without_counterpart(group: Group, others: Sequence[Group], side: str) -> str:
    """Why a layer has none, in one sentence.

    Args:
        group: the layer.
        others: the other side's layers without counterpart.
        side: what the other side is called.
    """
    fitting = candidates(group, others, [group])
    if fitting:
        names = ", ".join(repr(other.label) for other in fitting[:MOST])
        more = f" and {len(fitting) - MOST} more" if len(fitting) > MOST else ""
        return f"no layer of the {side} was found for it; it could be {names}{more}"
    return f"no layer of the {side} was found for it; none that is left has its {_shape(group)}"


def without_place(unmatched: Sequence[Group], among: Sequence[Group]) -> list[str]:
    """A sentence on each module of which no layer was matched, with the line that leaves it out.

    Args:
        unmatched: layers of the source.
        among: all of its layers.
    """
    left = {id(group) for group in unmatched}
    modules: dict[str, int] = {}
    for group in unmatched:
        parts = re.split(r"(?<=[./])", group.path)
        for n in range(1, len(parts)):
            start = "".join(parts[:n])
            own = [one for one in among if one.path.startswith(start)]
            if len(own) > 1 and all(id(one) in left for one in own):
                modules[start[:-1]] = len(own)
                break
    return [
        f"no layer of {name!r} has a place in the template: if all {count} shall be left out, as "
        f'of a head that only training uses, say "{name}" = "" in the map, or --allow-missing'
        for name, count in modules.items()
    ]


def _shape(group: Group) -> str:
    if group.kind == "batch_norm":
        return f"{group.channels} channels"
    role = "weight" if group.kind == "kernel" else next(iter(group.members))
    return f"shape ({', '.join(map(str, canonical(group, role)))})"
