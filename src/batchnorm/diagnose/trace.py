"""What is kept of one layer's call: whole channels' moments, and values at some places.

So a recording of a large model stays small, and a batch norm can still be replayed exactly: its
output at a place depends on the place's input and on the channel's moments. Channels are axis 1
here, wherever the framework has them. Not here: who runs the model (`recorder.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.vocabulary import Array

__all__ = [
    "PLACES",
    "Corner",
    "Statistics",
    "Trace",
    "corners",
    "places",
    "sampled",
    "statistics",
    "unpadded",
]

PLACES = 16  # per channel
EDGE = 3  # outputs at each corner that a convolution is replayed at
CHANNELS = 4  # of a convolution's outputs that are replayed
LARGEST = 1 << 18  # values of a corner


@dataclass(eq=False)
class Statistics:
    """What all values along the other axes say of each place of one axis.

    Args:
        count: how many there are.
        mean: their mean.
        m2: the sum of squared deviations from it.
        peak: the largest magnitude.
        dy: of the output's gradient the sum, the sum times x - mean, the sum of magnitudes and the
            largest one, four rows.
    """

    count: float
    mean: Array
    m2: Array
    peak: Array
    dy: Array | None = None

    @property
    def var(self) -> Array:
        """The biased variance."""
        return np.asarray(self.m2 / max(self.count, 1.0))


@dataclass(eq=False)
class Corner:
    """A part of a convolution's input and output, for its first sample.

    Args:
        start: where the input's part begins, for each spatial axis.
        x: (C, ...) of the input.
        first: where the output's part begins.
        y: (channels, ...) of the output.
        channels: which of the output's they are.
    """

    start: tuple[int, ...]
    x: Array
    first: tuple[int, ...]
    y: Array
    channels: Array


@dataclass(eq=False)
class Trace:
    """One call of one layer.

    Args:
        shape: of the input, channels in axis 1.
        dtype: of the input.
        x: values at `places`, (places, C).
        output_shape: of the output.
        y: the output's.
        out_dtype: of the output.
        statistics: of the input, by axis: 1, and the last one where it is another.
        before: a batch norm's state before, by role.
        after: its state after.
        dx: the input's gradient at `places`.
        dy: the output's.
        gradients: of the parameters, by role.
        corners: a convolution's.
        inner: of a convolution's input, how many places at each end of each spatial axis are zero
            throughout, as a layer that pads leaves them; `x` is of what is inside of them.
    """

    shape: tuple[int, ...]
    dtype: str
    x: Array
    output_shape: tuple[int, ...]
    y: Array
    out_dtype: str
    statistics: dict[int, Statistics] = field(default_factory=dict)
    before: dict[str, Array] = field(default_factory=dict)
    after: dict[str, Array] = field(default_factory=dict)
    dx: Array | None = None
    dy: Array | None = None
    gradients: dict[str, Array] = field(default_factory=dict)
    corners: list[Corner] = field(default_factory=list)
    inner: tuple[tuple[int, int], ...] = ()

    @property
    def inner_shape(self) -> tuple[int, ...]:
        """The input's shape without what has been padded."""
        if not self.inner:
            return self.shape
        sizes = zip(self.shape[2:], self.inner, strict=True)
        return (*self.shape[:2], *(n - low - high for n, (low, high) in sizes))

    def at(self, axis: int, values: Array) -> Array:
        """Values per place of an axis as they stand beside `x`."""
        if axis == 1:
            return np.asarray(values)[None, :]
        samples, inside = places(self.shape)
        where = np.unravel_index(inside, self.shape[2:])[axis - 2] if axis > 1 else samples
        return np.asarray(values)[where][:, None]


def places(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Samples and places inside them that are kept: the corners, and some drawn once for all.

    They depend on the shape alone, so that a port's places are the source's.

    >>> places((2, 5, 4, 4))[0].shape
    (16,)
    """
    inside = math.prod(shape[2:])
    total = shape[0] * inside
    if total <= PLACES:
        flat = np.arange(total)
    else:
        drawn = np.random.default_rng(total).permutation(min(total, 1 << 20))
        chosen = dict.fromkeys([0, inside - 1, total - inside, total - 1, *drawn[:PLACES].tolist()])
        flat = np.array(sorted(list(chosen)[:PLACES]))
    return flat // max(inside, 1), flat % max(inside, 1)


def sampled(x: Array) -> Array:
    """The values at `places`, (places, C), of an array with channels in axis 1."""
    samples, inside = places(x.shape)
    if x.ndim == 2:
        return np.array(x[samples])
    index = np.unravel_index(inside, x.shape[2:])
    where: Any = (samples, slice(None), *index)
    return np.array(x[where])


def unpadded(x: Array, reach: tuple[int, ...]) -> tuple[Array, tuple[tuple[int, int], ...]]:
    """Without the zeros at its edges, and how many there are; at most what a kernel reaches.

    >>> unpadded(np.pad(np.ones((1, 1, 2)), ((0, 0), (0, 0), (1, 0))), (3,))[1]
    ((1, 0),)
    """
    found: list[tuple[int, int]] = []
    inside: list[slice[Any, Any, Any]] = [slice(None), slice(None)]
    for axis, extent in enumerate(reach, 2):
        ends = []
        for places in (range(extent - 1), range(-1, -extent, -1)):
            count = 0
            for place in places:
                if abs(place) >= x.shape[axis] // 2 or x.take(place, axis).any():
                    break
                count += 1
            ends.append(count)
        found.append((ends[0], ends[1]))
        inside.append(slice(ends[0], x.shape[axis] - ends[1]))
    if not any(map(any, found)) or not x.any():
        return x, ()
    return x[tuple(inside)], tuple(found)


def statistics(x: Array, axis: int) -> Statistics:
    """Of one axis.

    >>> float(statistics(np.ones((2, 3, 4), np.float32), 1).mean[0])
    1.0
    """
    others = tuple(a for a in range(x.ndim) if a != axis)
    moments = core.reduce(x, (axis,))
    peak = np.maximum(x.max(others), -x.min(others)).astype(np.float64)
    return Statistics(x.size / x.shape[axis], moments.mean + moments.residual, moments.m2, peak)


def corners(x: Array, y: Array, reach: tuple[int, ...], strides: tuple[int, ...]) -> list[Corner]:
    """The first and the last corner of a convolution's first sample.

    Args:
        x: the input, channels in axis 1.
        y: the output.
        reach: the kernel's extent in each spatial axis, dilated.
        strides: of the convolution.
    """
    channels = np.unique(np.linspace(0, y.shape[1] - 1, CHANNELS).astype(int))
    sizes, outs = x.shape[2:], y.shape[2:]
    found = []
    extents = [r + s * EDGE + r for r, s in zip(reach, strides, strict=True)]
    extents = [min(e, n) for e, n in zip(extents, sizes, strict=True)]
    if x.shape[1] * math.prod(extents) > LARGEST:
        return []
    edges = [min(EDGE, n) for n in outs]
    whole: Any = slice(None)
    for last in (False, True):
        start = tuple(n - e if last else 0 for n, e in zip(sizes, extents, strict=True))
        first = tuple(n - e if last else 0 for n, e in zip(outs, edges, strict=True))
        inside = tuple(slice(s, s + e) for s, e in zip(start, extents, strict=True))
        beyond = tuple(slice(f, f + e) for f, e in zip(first, edges, strict=True))
        part = y[0][(whole, *beyond)][channels]
        found.append(Corner(start, np.array(x[0][(whole, *inside)]), first, part, channels))
    return found
