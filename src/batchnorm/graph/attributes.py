"""Where layers that belong together differ in what no array holds, as far as both sides say it.

Strides, dilation, groups, padding, and the activation that follows. Not here: which layers these
are (`matching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchnorm.graph.graph import Graph, Layer

__all__ = ["differences"]

COMPARED = ("strides", "dilation_rate", "groups")
ACTIVATIONS = {
    "elu", "gelu", "hardsigmoid", "hardswish", "leakyrelu", "mish", "prelu", "relu", "relu6",
    "selu", "sigmoid", "silu", "softplus", "tanh",
}  # fmt: skip
ALIASES = {"swish": "silu", "hswish": "hardswish", "hsigmoid": "hardsigmoid"}


def differences(
    source: Graph, target: Graph, pairs: Sequence[tuple[Layer, Layer]]
) -> list[tuple[str, str, str]]:
    """A pair's two paths and how it differs, for each pair that does."""
    found = []
    for mine, theirs in pairs:
        calls = source.calls(mine), target.calls(theirs)
        if not calls[0] or not calls[1]:
            continue
        a, b = calls[0][0], calls[1][0]
        one, other = source.steps[a].known, target.steps[b].known
        for name in COMPARED:
            values = _plain(one.get(name)), _plain(other.get(name))
            if None not in values and values[0] != values[1]:
                found.append((mine.path, theirs.path, f"{name} {values[0]} and {values[1]}"))
        paddings = _padding(source, a), _padding(target, b)
        if None not in paddings and paddings[0] != paddings[1]:
            found.append((mine.path, theirs.path, f"padding {paddings[0]} and {paddings[1]}"))
        then = _activation(source, a), _activation(target, b)
        if "" not in then and then[0] != then[1]:
            found.append((mine.path, theirs.path, f"{then[0]} and {then[1]} after it"))
    return found


def _plain(value: Any) -> Any:
    """One number where all axes have the same."""
    if isinstance(value, list | tuple) and value and all(isinstance(n, int) for n in value):
        return value[0] if len(set(value)) == 1 else tuple(value)
    return value if isinstance(value, int) else None


def _padding(graph: Graph, place: int) -> Any:
    """Before and after each axis; "same" where that depends on the size; None if not known."""
    step = graph.steps[place]
    size, given = step.known.get("kernel_size"), step.known.get("padding")
    if given is None or not isinstance(size, list | tuple) or not size:
        return None
    if any("pad" in graph.steps[i].what.lower() for i in step.inputs):
        return None  # a step of its own pads, too
    if given == "valid":
        return tuple((0, 0) for _ in size)
    if given == "same":
        wide = _plain(step.known.get("dilation_rate", 1))
        if _plain(step.known.get("strides", 1)) != 1 or not isinstance(wide, int):
            return "same"
        spans = [(n - 1) * wide for n in size]
        return tuple((span // 2, span - span // 2) for span in spans)
    if isinstance(given, list | tuple):
        return tuple(tuple(pair) for pair in given if isinstance(pair, list | tuple))
    return None


def _activation(graph: Graph, place: int) -> str:
    """The activation that alone takes what a step puts out; empty where that isn't known."""
    own = graph.steps[place].known.get("activation")
    after = graph.consumers(place)
    if own is None and len(after) == 1:
        step = graph.steps[after[0]]
        own = step.known.get("activation", step.what)
        if step.known.get("max_value") == 6:
            own = "relu6"
    name = str(own).lower().replace("_", "")
    name = ALIASES.get(name, name)
    return name if name in ACTIVATIONS else ""
