"""The trap of Flatten before Dense: which dense layers have rows in an order of height and width.

A dense layer after Flatten sees C·H·W in torch and MindSpore and H·W·C in Keras, so its rows must
be permuted. A checkpoint holds no Flatten; what can be seen is a dense layer that takes a multiple
of the channels before it. The spatial size isn't in the file: the map gives it. The same holds for
a dense layer whose units a generator reshapes; there the target's model can put them in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchnorm.convert.groups import Group
from batchnorm.convert.layout import canonical

__all__ = ["advice", "channels_after", "channels_before", "reshape_advice"]

FEWEST = 4  # places that a generator's first reshape makes; fewer are more likely a chance


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
        candidates = _producer(before, shape[1])
    else:
        candidates = [g for g in groups if g.kind in ("kernel", "batch_norm")]
        if any(shape[1] in (_width(g), _units(g)) for g in candidates if g is not group):
            return None
    for other in candidates:
        width = _width(other)
        if width and not _channels_first(other) and shape[1] % width == 0 and shape[1] > width > 1:
            return width
    return None


def _producer(before: Sequence[Group], inputs: int) -> list[Group]:
    """The last layer with channels, unless a dense layer after it has these many units.

    Two dense layers may take one Flatten (a mean and a variance, a value and an advantage).
    """
    layers = [g for g in before if g.kind in ("kernel", "batch_norm")]
    while layers:
        last = layers.pop()
        if _width(last) is None or (layers and _units(layers[-1]) == _width(last)):
            if inputs in (_units(last), _width(last)):
                return []
        else:
            return [last]
    return []


def channels_after(groups: Sequence[Group], group: Group) -> int | None:
    """The channels to which a dense layer's units seem to be reshaped; None if to none."""
    units = _units(group)
    if units is None or group.form == "embedding":
        return None
    layers = [g for g in groups if g.kind in ("kernel", "batch_norm")]
    index = next(i for i, g in enumerate(layers) if g is group)
    before, after = layers[:index], layers[index + 1 :]
    inputs = canonical(group, "weight")[1]
    if before and _units(before[-1]) == inputs and canonical(before[-1], "weight")[1] == units:
        return None  # squeeze and excitation: the units weight the channels
    if after and after[0].kind == "batch_norm" and after[0].channels == units:
        after = after[1:]
    taken = _taken(after[0]) if after else None
    if taken is None or taken < 2 or _channels_first(after[0]):
        return None
    return taken if units % taken == 0 and units // taken >= FEWEST else None


def reshape_advice(channels: int, units: int, *, to_keras: bool) -> str:
    """What to do where a dense layer's units are reshaped."""
    text = (
        f"has {units} = {channels} channels × {units // channels} places; if its output is "
        "reshaped to them, their order differs: "
    )
    if to_keras:
        return f"{text}in Keras, Reshape(({channels}, H, W)) and then Permute((2, 3, 1))"
    return f"{text}reshape to (H, W, {channels}) there, and then permute to (2, 0, 1)"


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


def _taken(group: Group) -> int | None:
    """Channels that a convolution or batch norm takes; None for a dense layer."""
    width = _width(group)
    if width is None or group.kind == "batch_norm":
        return width
    shape = canonical(group, "weight")
    return shape[0] if group.form == "conv_transpose" or shape[1] == 1 else shape[1]


def _units(group: Group) -> int | None:
    shape = canonical(group, "weight") if group.kind == "kernel" else ()
    return shape[0] if len(shape) == 2 else None


def _channels_first(group: Group) -> bool:
    config = group.facts.get("config")
    return isinstance(config, dict) and config.get("data_format") == "channels_first"
