"""The trap of Flatten before Dense: which dense layers have rows in an order of height and width.

A dense layer after Flatten sees C·H·W in torch and MindSpore and H·W·C in Keras, so its rows must
be permuted. A checkpoint holds no Flatten; what can be seen is a dense layer that takes a multiple
of the channels before it. The spatial size isn't in the file: the map gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchnorm.convert.groups import Group
from batchnorm.convert.layout import canonical

__all__ = ["advice", "channels_before"]


def channels_before(groups: Sequence[Group], group: Group, *, ordered: bool) -> int | None:
    """The channels that seem to have been flattened before a dense layer; None if none were.

    Args:
        groups: the checkpoint's layers.
        group: the dense layer.
        ordered: whether the layers' order is the model's.
    """
    if group.kind != "kernel" or group.form == "embedding":
        return None
    shape = canonical(group, "weight")
    if len(shape) != 2:
        return None
    if ordered:
        before = groups[: next(i for i, g in enumerate(groups) if g is group)]
        last = next((g for g in reversed(before) if g.kind in ("kernel", "batch_norm")), None)
        candidates = [] if last is None or _width(last) is None else [last]
    else:
        candidates = [g for g in groups if g.kind in ("kernel", "batch_norm")]
        if any(shape[1] in (_width(g), _units(g)) for g in candidates if g is not group):
            return None
    for other in candidates:
        width = _width(other)
        if width and not _channels_first(other) and shape[1] % width == 0 and shape[1] > width:
            return width
    return None


def advice(channels: int, rows: int) -> str:
    """What to write into the map."""
    places = rows // channels
    side = math.isqrt(places)
    example = f", such as {side}, {side}" if side * side == places else ""
    return (
        f"takes {rows} = {channels} channels × {places} places; if Flatten comes before it, its "
        f"rows must be permuted: give flatten = [{channels}, H, W]{example} in the map"
    )


def _width(group: Group) -> int | None:
    """Channels that a convolution or batch norm puts out; None for a dense layer."""
    if group.kind == "batch_norm":
        return group.channels
    shape = canonical(group, "weight")
    if len(shape) < 3:
        return None
    return shape[1] if group.form == "conv_transpose" else shape[0]


def _units(group: Group) -> int | None:
    shape = canonical(group, "weight") if group.kind == "kernel" else ()
    return shape[0] if len(shape) == 2 else None


def _channels_first(group: Group) -> bool:
    config = group.facts.get("config")
    return isinstance(config, dict) and config.get("data_format") == "channels_first"
