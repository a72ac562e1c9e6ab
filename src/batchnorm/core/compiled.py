"""The compiled implementation of one instruction set, behind the reference's four functions.

What the loops take as it is: dense float32, float64, float16 and bfloat16 arrays in any order of
axes in which the channel axes lie side by side. Other strides, byte orders and alignments cost one
copy; weights, other types and results of another type than x are left to the reference. Not here:
any arithmetic (`src/kernel`), and the choice among implementations (`kernel.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm import _kernel
from batchnorm.core import reference
from batchnorm.core.moments import Moments
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Compiled"]

TAKEN = {np.dtype(t) for t in (np.float16, np.float32, np.float64)} | {as_dtype("bfloat16")}


class Compiled:
    """One level's loops: `forward`, `infer` and `backward` whole, and the halves.

    The whole tasks give None where they don't take a case; the halves then go to the reference.
    `on_tensors` gives the whole tasks on a framework's tensors.
    """

    def __init__(self, level: str) -> None:
        kernel = _kernel.Kernel(level)
        self._kernel = kernel
        self.forward = kernel.forward
        self.infer = kernel.infer
        self.backward = kernel.backward
        self.empty_like = _kernel.empty_like
        self._level = level

    def arranged(self, x: Array, like: Array | None) -> Array | None:
        """x in the layout of `like`, or dense: itself, an aligned copy of native bytes, or None."""
        if not (x.flags.aligned and x.dtype.isnative):
            x = np.require(x, x.dtype.newbyteorder("="), ["A"])
        return _kernel.arranged(x, like)

    def on_tensors(self, *types: type) -> _kernel.TensorTasks:
        """The tasks on tensors of these types, described by the first one's DLPack exchange API."""
        return _kernel.TensorTasks(self._level, types)

    def reduce(self, x: Array, axes: tuple[int, ...], weights: Array | None = None) -> Moments:
        """As `reference.reduce`."""
        if weights is None and x.size:
            found = self._kernel.reduce(x, axes)
            if found is None and (copy := dense(x)) is not None:
                found = self._kernel.reduce(copy, axes)
            if found is not None:
                count = np.full(found.shape[1], x.size / found.shape[1])
                return Moments(count, *found)
        return reference.reduce(x, axes, weights)

    def normalize(
        self,
        x: Array,
        axes: tuple[int, ...],
        mean: Array,
        residual: Array,
        inv_std: Array,
        gamma: Array | None,
        beta: Array | None,
        out: Array,
    ) -> Array:
        """As `reference.normalize`."""
        stats = np.array([mean, residual, inv_std], np.float64)
        if x.dtype.newbyteorder("=") == out.dtype.newbyteorder("=") and x.size:
            y = self._kernel.normalize(x, axes, stats, gamma, beta, out, False, None)
            if y is not None:
                return out
            if (copy := dense(x)) is not None:
                y = self._kernel.normalize(copy, axes, stats, gamma, beta, None, False, None)
            if y is not None:
                out[...] = y
                return out
        return reference.normalize(x, axes, mean, residual, inv_std, gamma, beta, out)

    def reduce_gradient(
        self,
        x: Array,
        dy: Array,
        axes: tuple[int, ...],
        mean: Array,
        residual: Array,
        inv_std: Array,
    ) -> tuple[Array, Array]:
        """As `reference.reduce_gradient`."""
        pair = dense_pair(x, dy)
        if pair is not None and x.size:
            stats = np.array([mean, residual, inv_std], np.float64)
            sums = self._kernel.reduce_gradient(*pair, axes, stats)
            if sums is not None:
                return sums[0], sums[1]
        return reference.reduce_gradient(x, dy, axes, mean, residual, inv_std)

    def input_gradient(
        self,
        x: Array,
        dy: Array,
        axes: tuple[int, ...],
        mean: Array,
        residual: Array,
        inv_std: Array,
        gamma: Array | None,
        constant: Array | None,
        slope: Array | None,
        weights: Array | None,
        out: Array,
        epsilon_share: Array | None = None,
    ) -> Array:
        """As `reference.input_gradient`; what it alone can do is left to it."""
        # Weights, and digits that are left where dy cancels, are the reference's alone.
        pair = dense_pair(x, dy)
        same = x.dtype.newbyteorder("=") == out.dtype.newbyteorder("=")
        if pair and same and weights is None and epsilon_share is None and x.size:
            stats = np.array([mean, residual, inv_std], np.float64)
            dx = self._kernel.input_gradient(*pair, axes, stats, gamma, constant, slope, None)
            if dx is not None:
                out[...] = dx
                return out
        return reference.input_gradient(
            x,
            dy,
            axes,
            mean,
            residual,
            inv_std,
            gamma,
            constant,
            slope,
            weights,
            out,
            epsilon_share,
        )


def dense(x: Array) -> Any:
    """An array of the same values as the loops take them; itself where it is one, None if never."""
    native = x.dtype.newbyteorder("=")
    if native not in TAKEN:
        return None
    return np.require(x, native, ["C", "A"])


def dense_pair(x: Array, dy: Array) -> tuple[Array, Array] | None:
    """Both in one layout, that of x where it is dense; None where their types don't meet."""
    if x.dtype == dy.dtype:
        one = _kernel.arranged(x, None)
        other = _kernel.arranged(dy, one)
        if one is not None and other is not None:
            return one, other
    one, other = dense(x), dense(dy)
    if one is None or other is None or one.dtype != other.dtype:
        return None
    return one, other
