"""A convolution computed again at its corners: whether it does what its settings say, or what.

y[c, o] = sum(kernel[c] * x[stride * o - pad + dilation * k]) + bias[c], zeros outside of x

At the corners another padding, kernel order or order of channels shows at once. What fits within
`FITS` of the sum of the terms' magnitudes is a candidate; nothing is said of what doesn't fit its
own settings by less, as convolutions may be computed with few digits. Not here: what the source
has in place of it (`upstream.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchnorm.diagnose.recording import Node
from batchnorm.diagnose.trace import Corner, Trace
from batchnorm.vocabulary import Array

__all__ = ["FAR", "Way", "computed_otherwise", "kernel_variants", "off", "pads_of", "replayed"]

FITS = 1e-3  # of the terms' magnitudes: TF32 has 2^-11 in each
FAR = 1e-2


@dataclass(frozen=True)
class Way:
    """What a convolution may compute.

    Args:
        before: zeros in front, for each spatial axis.
        kernel: how the kernel is turned, of `kernel_variants`; "" for as it is.
        bias: whether the bias is added.
    """

    before: tuple[int, ...]
    kernel: str = ""
    bias: bool = True


def kernel_variants(kernel: Array, whole: bool = True) -> Mapping[str, Array]:
    """A kernel (out, in, ...) as mistakes turn it, by what was done.

    Args:
        kernel: all of it, or some outputs' rows.
        whole: whether it is all.
    """
    space = tuple(range(2, kernel.ndim))
    found: dict[str, Array] = {}
    if len(space) > 1:
        found["spatial axes exchanged"] = kernel.transpose(0, 1, *reversed(space))
    if space:
        found["spatial axes reversed"] = np.flip(kernel, space)
    if whole and kernel.shape[0] == kernel.shape[1]:
        found["in and out exchanged"] = kernel.swapaxes(0, 1)
    if whole:
        stored = kernel.transpose(*space, 1, 0)
        found["memory read in another order"] = stored.reshape(kernel.shape)
        back = kernel.reshape(*(kernel.shape[i] for i in space), kernel.shape[1], kernel.shape[0])
        found["memory read in another order, back"] = back.transpose(
            len(space) + 1, len(space), *range(len(space))
        )
    if kernel.shape[1] > 1:
        found["input channels reversed"] = kernel[:, ::-1]
    return {name: k for name, k in found.items() if k.shape == kernel.shape}


def pads_of(node: Node, trace: Trace) -> list[list[int]]:
    """What a convolution pads by itself: before and after, for each spatial axis."""
    if node.facts["padding"] != "same":
        return [list(p) for p in node.facts["padding"]]
    assert node.kernel is not None
    found = []
    sizes = trace.shape[2:], node.kernel.shape[2:], node.facts["strides"], node.facts["dilation"]
    for n, k, s, d in zip(*sizes, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        found.append([total // 2, total - total // 2])
    return found


def replayed(node: Node, trace: Trace, way: Way) -> list[tuple[Array, Array, Array]] | None:
    """For each corner y, what it would be and the sum of the terms' magnitudes.

    Returns:
        None where more of the input would be needed than is kept.
    """
    kernel = node.kernel
    if kernel is None or not trace.corners:
        return None
    if way.kernel:
        turned = kernel_variants(kernel, node.rows is None).get(way.kernel)
        if turned is None:
            return None
        kernel = turned
    rows = np.arange(len(kernel)) if node.rows is None else node.rows
    found = []
    for corner in trace.corners:
        if not np.isin(corner.channels, rows).all():
            return None
        places = [int(np.flatnonzero(rows == c)[0]) for c in corner.channels]
        x = _window(node, trace, corner, way)
        if x is None:
            return None
        total = trace.output_shape[1]
        size = kernel.shape[1]
        y = np.zeros(corner.y.shape)
        reach = np.zeros(corner.y.shape)
        axes = [0, *range(1 + len(way.before), x.ndim)]
        for row, (place, channel) in enumerate(zip(places, corner.channels, strict=True)):
            group = int(channel) * node.facts["groups"] // total
            part = x[group * size : (group + 1) * size]
            own = kernel[place].astype(np.float64)
            inside = list(range(own.ndim))
            y[row] = np.tensordot(own, part, (inside, axes))
            reach[row] = np.tensordot(np.abs(own), np.abs(part), (inside, axes))
            if node.bias is not None and way.bias:
                y[row] += float(node.bias[channel])
                reach[row] += abs(float(node.bias[channel]))
        found.append((corner.y.astype(np.float64), y, reach))
    return found


def _window(node: Node, trace: Trace, corner: Corner, way: Way) -> Array | None:
    """(C, outputs..., kernel...) of the input; None where a part of it isn't kept."""
    assert node.kernel is not None
    x = corner.x.astype(np.float64)
    slices: list[slice] = [slice(None)]
    extents, steps = [], []
    for axis, pad in enumerate(way.before):
        stride, dilation = node.facts["strides"][axis], node.facts["dilation"][axis]
        extent = (node.kernel.shape[2 + axis] - 1) * dilation + 1
        n, kept = trace.shape[2 + axis], x.shape[1 + axis]
        start, outs = corner.start[axis], corner.y.shape[1 + axis]
        low = corner.first[axis] * stride - pad
        high = low + (outs - 1) * stride + extent
        if max(low, 0) < start or min(high, n) > start + kept:
            return None
        around = [(0, 0)] * x.ndim
        around[1 + axis] = (max(-low, 0), max(high - n, 0))
        begin = max(low, 0) - start
        cut = [slice(None)] * x.ndim
        cut[1 + axis] = slice(begin, begin + min(high, n) - max(low, 0))
        x = np.pad(x[tuple(cut)], around)
        extents.append(extent)
        steps.append(stride)
        slices.append(slice(None, None, stride))
    windows = np.lib.stride_tricks.sliding_window_view(x, extents, tuple(range(1, x.ndim)))
    slices += [slice(None, None, d) for d in node.facts["dilation"]]
    return np.asarray(windows[tuple(slices)])


def computed_otherwise(
    node: Node, trace: Trace
) -> tuple[list[list[tuple[str, dict[str, Any]]]], list[tuple[Array, Array, Array]]]:
    """What a convolution computes in place of what its settings say.

    Returns:
        Each set of causes that fits, the simplest first, and what its settings would give, as
        `replayed` does; two empty lists where that fits, or nothing can be told.
    """
    if trace.dtype not in ("float32", "float64") or trace.dtype != trace.out_dtype:
        return [], []
    if not all(np.isfinite(corner.x).all() for corner in trace.corners):
        return [], []
    own = Way(tuple(p[0] for p in pads_of(node, trace)))
    parts = replayed(node, trace, own)
    if parts is None or off(parts) <= FITS:
        return [], []
    found = []
    for way in _ways(node, own):
        tried = replayed(node, trace, way)
        if tried is not None and off(tried) <= FITS:
            found.append(_named(way, own))
    return found, parts


def off(parts: list[tuple[Array, Array, Array]]) -> float:
    """The largest difference, in units of the terms' magnitudes."""
    worst = 0.0
    for y, expected, reach in parts:
        with np.errstate(all="ignore"):
            away = np.abs(y - expected) / (reach + 1e-30)
        if not np.isfinite(away).all():
            return float("inf")
        worst = max(worst, float(away.max(initial=0.0)))
    return worst


def _ways(node: Node, own: Way) -> Iterator[Way]:
    """One thing changed, then two."""
    assert node.kernel is not None
    extents = [
        (k - 1) * d + 1 for k, d in zip(node.kernel.shape[2:], node.facts["dilation"], strict=True)
    ]
    pads = [tuple(min(n, e - 1) for e in extents) for n in range(max(extents, default=1))]
    paddings = [replace(own, before=p) for p in dict.fromkeys(pads) if p != own.before]
    kernels = [replace(own, kernel=k) for k in kernel_variants(node.kernel, node.rows is None)]
    yield from (*paddings, *kernels)
    if node.bias is not None and node.bias.any():
        yield replace(own, bias=False)
    for one, other in itertools.product(paddings, kernels):
        yield replace(one, kernel=other.kernel)


def _named(way: Way, own: Way) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if way.before != own.before:
        sizes = [str(list(w.before)).replace(" ", "") for w in (way, own)]
        found.append(("padding-differs", {"computes with, in front": sizes[0], "says": sizes[1]}))
    if way.kernel:
        reversed_ = way.kernel == "input channels reversed"
        cause = "channel-order" if reversed_ else "kernel-transposed"
        found.append((cause, {"computes with": way.kernel}))
    if not way.bias:
        found.append(("bias-differs", {"port's": "isn't added"}))
    return found
