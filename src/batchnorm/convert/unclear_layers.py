"""What a checkpoint can't tell about a layer whose target's name is given by rule.

Such a layer is carried under its own name and reported as ambiguous; a template or a `kind` in the
map settles it. What a framework's names leave open stands in its room (`saved`). Not here: Flatten
before Dense (`flatten`).
"""

from __future__ import annotations

from batchnorm.convert.groups import CHANNELS_LAST, Group
from batchnorm.convert.rooms import saved

__all__ = ["leftover", "scales_nothing", "unclear"]

_SCALING = "mean and variance by which a Normalization layer scales the input"
SETTLE = "settle it with --like, or with kind in the map"


def unclear(group: Group, framework: str) -> str:
    """The candidates among which the state can't choose; empty if there is no doubt."""
    last = framework in CHANNELS_LAST
    if group.kind == "scaling":
        text = f"the {_SCALING}, which no layer of the target does: carried as they are"
        doubt = "" if last else text
    else:
        doubt = saved(group.framework).doubt(group, last)
    return f"{doubt}: {SETTLE}" if doubt else ""


def leftover(group: Group) -> str:
    """The way out for a layer that other models often don't have; empty for other layers."""
    if group.kind != "scaling":
        return ""
    return (
        f"the {_SCALING}; scale it yourself, (x - mean) / sqrt(variance), and leave the layer out "
        f'("{group.path}" = "" in the map)'
    )


def scales_nothing(group: Group) -> bool:
    """Whether a Normalization layer has mean 0 and variance 1, as before it was adapted."""
    usual = {"mean": 0, "variance": 1}
    return all(
        bool((entry.load() == usual[role]).all())
        for role, entry in group.members.items()
        if role in usual
    )
