"""Batch norm folded into the layer before it, and unfolded again: `fold`, `unfold`.

Pure functions over arrays; which layer is folded into which is decided elsewhere (`fold_plan`).
Computed in float64 and rounded once. The arithmetic is the definition of inference (design: gamma,
beta, running_mean, running_var, epsilon), the layouts are those of `layout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.errors import InvalidValue
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = [
    "LAYOUTS",
    "Folded",
    "Statistics",
    "fold",
    "make_statistics",
    "output_axes",
    "statistics_of",
    "unfold",
]

# Layout -> the axes that make up the output channel, in the order of the channels.
LAYOUTS: dict[str, tuple[int, ...]] = {
    "OI": (0,), "OIW": (0,), "OIHW": (0,), "OIDHW": (0,),
    "IO": (1,), "WIO": (2,), "HWIO": (3,), "DHWIO": (4,),
    "IOW": (1,), "IOHW": (1,), "IODHW": (1,), "WOI": (1,), "HWOI": (2,), "DHWOI": (3,),
    "WCM": (1, 2), "HWCM": (2, 3),
}  # fmt: skip


@dataclass(frozen=True)
class Statistics:
    """A batch-norm layer in inference: y = (x - mean) · scale + beta per channel, in float64."""

    mean: Array
    beta: Array
    scale: Array


@dataclass(frozen=True)
class Folded:
    """A folded (or unfolded) layer.

    Attributes:
        weight: in the layout and dtype of the given one.
        bias: one value per output channel, in the weight's dtype.
        weight_error: per output channel, by how much the output changes at most per unit of the
            largest input, because the weight was rounded to its dtype: the sum of its roundings.
        bias_error: per output channel, the rounding of the bias.
    """

    weight: Array
    bias: Array
    weight_error: Array
    bias_error: Array


def statistics_of(layer: Layer) -> Statistics:
    """What inference of a layer does to each channel.

    Raises:
        ValueError: the layer keeps no running statistics, or a variance plus epsilon is not
            positive.
    """
    names = {p.meaning.word: n for n, p in type(layer).PARAMETERS.items()}
    epsilon = getattr(layer, names["epsilon"])
    state = {layer.STATE[name].role: value for name, value in layer.state.items()}
    if "running_mean" not in state or "running_var" not in state:
        raise InvalidValue(
            f"{type(layer).__name__} keeps no running statistics, so its inference depends on the "
            "batch; expected a layer with running mean and variance"
        )
    return make_statistics(state, epsilon, type(layer).__name__)


def make_statistics(state: dict[str, Array], epsilon: float, name: str) -> Statistics:
    """Statistics from a state by role."""
    values = {role: np.asarray(value, np.float64).ravel() for role, value in state.items()}
    total = values["running_var"] + float(epsilon)
    if not (total > 0).all():
        channel = int(np.argmin(total > 0))
        raise InvalidValue(
            f"{name}: variance plus epsilon of channel {channel} is {total[channel]:g}; expected "
            "more than 0"
        )
    gamma = values.get("gamma", np.ones_like(total))
    beta = values.get("beta", np.zeros_like(total))
    return Statistics(values["running_mean"], beta, gamma / np.sqrt(total))


def fold(
    conv_weight: Any,
    conv_bias: Any,
    layer: Layer | Statistics,
    *,
    layout: str = "OIHW",
    groups: int = 1,
) -> Folded:
    """Fold a batch norm into the convolution or dense layer directly before it.

    weight' = weight · scale, bias' = (bias - running_mean) · scale + beta, with
    scale = gamma / sqrt(running_var + epsilon) per output channel.

    Args:
        conv_weight: the kernel.
        conv_bias: one value per output channel; None for none.
        layer: the batch norm, of any dialect, as it is in inference.
        layout: of the kernel: torch and MindSpore OIHW (transposed IOHW, dense OI), Keras HWIO
            (transposed HWOI, depthwise HWCM, dense IO), and the same with W or DHW.
        groups: of a transposed convolution in torch or MindSpore, whose kernel has O / groups.

    Shape:
        `weight` as given; `bias` (O,).

    Dtypes:
        Those of the kernel; computed in float64.

    Raises:
        ValueError: shapes don't fit, or variance plus epsilon is not positive.

    Example:
        >>> import batchnorm as bn
        >>> layer = bn.torch.BatchNorm2d(2, eps=0.0)
        >>> layer.load_state({**layer.state, "running_mean": [1, 2], "running_var": [4, 16]})
        >>> folded = bn.fold(np.ones((2, 1, 1, 1), np.float32), None, layer)
        >>> folded.weight.ravel().tolist(), folded.bias.tolist()
        ([0.5, 0.25], [-0.5, -0.5])

    Source: the definition of inference in torch 2.13, MindSpore 2.10, tf_keras 2.21, Keras 3.15.
    """
    weight, at = _shaped(conv_weight, layer, layout, groups)
    values = layer if isinstance(layer, Statistics) else statistics_of(layer)
    bias = _bias(conv_bias, values.scale.size)
    wide = weight.astype(np.float64) * _spread(values.scale, weight.shape, at, groups)
    shift = (bias - values.mean) * values.scale + values.beta
    return _rounded(wide, shift, weight, at, groups)


def unfold(
    weight: Any,
    bias: Any,
    layer: Layer | Statistics,
    *,
    layout: str = "OIHW",
    groups: int = 1,
) -> Folded:
    """Take a folded batch norm out again, given the layer with its statistics.

    weight = weight' / scale, bias = (bias' - beta) / scale + running_mean. Not bit-exact: both
    ways round. A convolution that had no bias gets one of about 0.

    Raises:
        ValueError: shapes don't fit, or a channel's scale is 0, so that nothing is left of it.

    Example:
        >>> import batchnorm as bn
        >>> layer = bn.torch.BatchNorm2d(1, eps=0.0)
        >>> layer.load_state({**layer.state, "running_mean": [1], "running_var": [4]})
        >>> unfolded = bn.unfold(np.full((1, 1), 0.5), [-0.5], layer, layout="OI")
        >>> unfolded.weight.tolist(), unfolded.bias.tolist()
        ([[1.0]], [0.0])
    """
    kernel, at = _shaped(weight, layer, layout, groups)
    values = layer if isinstance(layer, Statistics) else statistics_of(layer)
    if not values.scale.all():
        channel = int(np.argmin(values.scale != 0))
        raise InvalidValue(
            f"gamma of channel {channel} is 0, so the folded kernel holds nothing of the original; "
            "keep the unfolded checkpoint"
        )
    spread = _spread(values.scale, kernel.shape, at, groups)
    shift = (_bias(bias, values.scale.size) - values.beta) / values.scale + values.mean
    return _rounded(kernel.astype(np.float64) / spread, shift, kernel, at, groups)


def output_axes(layout: str) -> tuple[int, ...]:
    """The axes of the output channel.

    Raises:
        ValueError: no such layout.
    """
    if layout not in LAYOUTS:
        raise InvalidValue(f"layout {layout!r} is none of {', '.join(LAYOUTS)}")
    return LAYOUTS[layout]


def _shaped(
    weight: Any, layer: Layer | Statistics, layout: str, groups: int
) -> tuple[Array, tuple[int, ...]]:
    array, at = np.asarray(weight), output_axes(layout)
    if array.dtype.kind not in "fV" or array.ndim != len(layout):
        raise InvalidValue(
            f"a kernel of layout {layout} has {len(layout)} dimensions of a floating type, but got "
            f"shape {array.shape} of {array.dtype}"
        )
    values = layer if isinstance(layer, Statistics) else statistics_of(layer)
    outputs = int(np.prod([array.shape[a] for a in at])) * groups
    grouped = groups == 1 or (layout.startswith("IO") and array.shape[0] % groups == 0)
    if outputs != values.scale.size or groups < 1 or not grouped:
        raise InvalidValue(
            f"the kernel of shape {array.shape} in layout {layout} with groups={groups} has "
            f"{outputs} output channels, but the batch norm has {values.scale.size}"
        )
    return array, at


def _bias(bias: Any, channels: int) -> Array:
    if bias is None:
        return np.zeros(channels)
    array = np.asarray(bias).astype(np.float64)
    if array.shape != (channels,):
        raise InvalidValue(f"the bias must have shape {(channels,)}, but got {array.shape}")
    return array


def _spread(scale: Array, shape: tuple[int, ...], at: tuple[int, ...], groups: int) -> Array:
    """The scale so that it broadcasts to the kernel."""
    if groups > 1:  # transposed: input i belongs to group i // (I / groups)
        rows = np.repeat(scale.reshape(groups, -1), shape[0] // groups, axis=0)
        return rows.reshape(*rows.shape, *(1,) * (len(shape) - 2))
    return scale.reshape([shape[a] if a in at else 1 for a in range(len(shape))])


def _rounded(wide: Array, shift: Array, like: Array, at: tuple[int, ...], groups: int) -> Folded:
    with np.errstate(over="ignore"):
        weight, bias = wide.astype(like.dtype), shift.astype(like.dtype)
    lost = np.abs(weight.astype(np.float64) - wide)
    if groups > 1:
        halves = lost.reshape(groups, lost.shape[0] // groups, lost.shape[1], -1)
        weight_error = halves.sum(axis=(1, 3)).ravel()
    else:
        others = tuple(a for a in range(lost.ndim) if a not in at)
        weight_error = lost.sum(axis=others).ravel()
    return Folded(weight, bias, weight_error, np.abs(bias.astype(np.float64) - shift))
