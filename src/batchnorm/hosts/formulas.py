"""Batch normalization in the operations of a framework that differentiates and compiles by itself.

The one definition behind the JAX and the Keras host; `Operations` is what it needs of either. What
a dialect would do comes as a `Computation`. Not here: any framework, and any rule of a dialect.

Numerical decisions (float32 data are all computed in float32, float64 in float64):
- Three reads for the statistics: the mean of x - first value, then the residual of that mean, then
  the squares of what is left. So a constant channel gives beta exactly, and a large mean costs no
  digits of the variance; tests/hosts measure both.
- The centre that is subtracted is a constant of the derivative; the residual carries it. First and
  higher derivatives are those of the formula, with one reduction less.
- Replicas add their sums of deviations from one common centre, which is Chan's rule.
- What is subtracted is the output of a sum or of one addition: compilers repeat a multiplication
  in several fusions and round it differently (as a fused multiply-add or not), and then the
  residual would belong to another centre. So means are divided inside their sums.
- Unlike in our own kernel, nothing recovers the digits of a gradient of which batch statistics
  cancel nearly all (`core.cancellation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from batchnorm import core
from batchnorm.vocabulary import Mode

__all__ = ["Formula", "Operations", "apply"]

TINY = 1e-37  # makes 0 / 0 zero in float32 and changes no other quotient


class Operations(Protocol):
    """What a framework does for the formulas, on its own tensors."""

    def cast(self, x: Any, dtype: str) -> Any:
        """The values in another type."""

    def constant(self, x: Any) -> Any:
        """The values without their derivative."""

    def divide(self, a: Any, b: Any) -> Any:
        """Elementwise, 0 / 0 = NaN."""

    def isfinite(self, x: Any) -> Any:
        """Elementwise."""

    def maximum(self, a: Any, b: Any) -> Any:
        """Elementwise."""

    def minimum(self, a: Any, b: Any) -> Any:
        """Elementwise."""

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        """Another shape, in which one length may be -1."""

    def size(self, x: Any, axes: tuple[int, ...], dtype: str) -> Any:
        """The product of some lengths as a number of a floating type."""

    def sqrt(self, x: Any) -> Any:
        """Elementwise."""

    def sum(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Over some axes, which stay with length 1."""

    def largest(self, x: Any, axes: tuple[int, ...]) -> Any:
        """The maximum over some axes, which stay with length 1."""

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        """Elementwise choice."""


@dataclass(frozen=True)
class Formula:
    """What is done with the tensors of one call, whatever their framework.

    Args:
        settings: of the core; the exponential_average_factor only where `cumulative` is false.
        dtype: name of the result's type.
        casts: types that the input passes through before all else.
        wide: type to compute in.
        counts: whether the number of batches tracked goes up.
        cumulative: the factor is one over the number of batches tracked (torch's momentum=None).
        guarded: with one value per channel the biased variance enters, where the correction is 1.
        skips_empty: whether an empty batch leaves the running statistics alone.
        split: the shape of the input as ghost batches, None without them.
    """

    settings: core.Settings
    dtype: str
    casts: tuple[str, ...]
    wide: str
    counts: bool = False
    cumulative: bool = False
    guarded: bool = False
    skips_empty: bool = False
    split: tuple[int, ...] | None = None


def apply(
    ops: Operations,
    x: Any,
    state: Mapping[str, Any],
    formula: Formula,
    *,
    weights: Any = None,
    adjustment: Callable[[tuple[int, ...]], tuple[Any, Any]] | None = None,
    total: Callable[[Any], Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The result, and the new running statistics by role (none in inference).

    `state` holds tensors by role (gamma, running_mean, ... and count, of batches tracked), `x` has
    passed through the casts, `weights` have its shape, `adjustment` is Keras 2's, and `total` adds
    up a tensor over all replicas.
    """
    settings, wide, shape = formula.settings, formula.wide, x.shape
    if weights is not None:
        weights = ops.cast(weights, wide)
    if formula.split is not None:
        x = ops.reshape(x, formula.split)
        weights = None if weights is None else ops.reshape(weights, formula.split)
    rank, groups = len(x.shape), settings.groups > 1
    kept = settings.channel_axes[1:] if groups else settings.channel_axes
    spread = tuple(int(x.shape[axis]) if axis in kept else 1 for axis in range(rank))

    def per_channel(role: str) -> Any:
        value = state.get(role)
        return None if value is None else ops.reshape(ops.cast(value, wide), spread)

    values = ops.cast(x, wide)
    gamma, beta = per_channel("gamma"), per_channel("beta")
    r = d = None
    new: dict[str, Any] = {}
    if settings.mode is Mode.RUNNING:
        deviations = values - ops.constant(per_channel("running_mean"))
        var = ops.constant(per_channel("running_var"))
    else:
        axes = tuple(axis for axis in range(rank) if axis not in settings.channel_axes)
        found = _statistics(ops, values, axes, weights, wide, settings.count_offset, total)
        deviations, mean, var, count = found
        running = {role: per_channel(role) for role in _ROLES if state.get(role) is not None}
        if groups:  # their average is what the shared state sees
            number = ops.size(x, (1,), wide)
            mean, pooled = ops.sum(mean, (1,)) / number, ops.sum(var, (1,)) / number
            entering = pooled
        else:
            pooled, entering = var, _corrected(ops, var, count, formula)
        if settings.renorm is not None and running:
            r, d = _renorm(ops, mean, pooled, running, settings)
        if settings.mode is Mode.BATCH_AND_UPDATE and running:
            factor = settings.exponential_average_factor
            if formula.cumulative:
                factor = ops.divide(1.0, ops.cast(state["count"], wide))
            new = _update(ops, running, mean, entering, factor, settings)
            if formula.skips_empty:
                new = {k: ops.where(count > 0, v, running[k]) for k, v in new.items()}
    inv_std = ops.divide(1.0, ops.sqrt(var + settings.epsilon))
    y = deviations * inv_std
    if r is not None and d is not None:
        y = y * r + d
    if adjustment is not None and settings.mode is not Mode.RUNNING:
        scale, bias = (ops.cast(value, wide) for value in adjustment(shape))
        y = y * scale + bias
    y = y if gamma is None else y * gamma
    y = y if beta is None else y + beta
    if formula.split is not None:
        y = ops.reshape(y, (-1, *shape[1:]))
    given = {role: ops.constant(value) for role, value in new.items()}
    return ops.cast(y, formula.dtype), given


_ROLES = ("running_mean", "running_var", "stddev", "renorm_mean", "renorm_stddev")


def _statistics(
    ops: Operations,
    x: Any,
    axes: tuple[int, ...],
    weights: Any,
    wide: str,
    offset: float,
    total: Callable[[Any], Any] | None,
) -> tuple[Any, Any, Any, Any]:
    """Deviations from the mean, mean, biased variance and count, per channel (and ghost batch)."""
    if weights is None:
        first = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(len(x.shape)))
        shift = ops.sum(x[first], axes)  # of an empty batch too
        count = ops.size(x, axes, wide)
    else:
        shift = ops.largest(ops.where(weights == 0, float("-inf"), x), axes)
        count = ops.sum(weights, axes)
    share = (1.0 if weights is None else weights) / ops.where(count > 0, count, 1.0)

    def average(values: Any) -> Any:
        if weights is not None:  # a weight of 0 leaves a value out, NaN and inf included
            values = ops.where(weights == 0, 0.0, values)
        return ops.sum(values * share, axes)

    shift = ops.constant(ops.where(ops.isfinite(shift), shift, 0.0))
    centre = shift + ops.constant(average(x - shift))
    residual = average(x - centre)
    residual = ops.where(ops.isfinite(residual), residual, 0.0)
    deviations = (x - centre) - residual
    var = average(deviations * deviations)
    if total is not None:
        own, own_centre = count, centre
        count = total(own)
        own_share = own / ops.where(count > 0, count, 1.0)
        centre = ops.constant(total(own_share * own_centre))
        apart = (own_centre - centre) + residual
        residual = total(own_share * apart)
        var = total(own_share * (var + (apart - residual) * (apart - residual)))
        deviations = (x - centre) - residual
    mean = centre + residual
    if offset:  # Keras divides masked sums by a little more, which pulls the mean towards 0
        kept = count / (count + max(offset, TINY))
        pull = ops.constant(mean * (1.0 - kept)) if offset > TINY else 0.0
        return deviations + pull, mean - pull, kept * (var + pull * pull), count
    empty = ops.where(count > 0, count * 0.0, count * float("nan"))  # of the type of count
    return deviations + empty, mean + empty, var + empty, count


def _corrected(ops: Operations, var: Any, count: Any, formula: Formula) -> Any:
    """The variance that enters the running one."""
    correction = formula.settings.correction
    if correction == 0:
        return var
    left = count - correction
    if formula.guarded:
        left = ops.where(count > correction, left, count)
    return var * ops.divide(count, left)


def _renorm(
    ops: Operations, mean: Any, var: Any, running: Mapping[str, Any], settings: core.Settings
) -> tuple[Any, Any]:
    """The constants r and d of batch renormalization."""
    renorm = settings.renorm
    assert renorm is not None
    stddev = ops.maximum(running["renorm_stddev"], var * 0 + settings.least_stddev)
    r = ops.sqrt(var + settings.epsilon) / stddev
    d = (mean - running["renorm_mean"]) / stddev
    r = r if renorm.rmin is None else ops.maximum(r, r * 0 + renorm.rmin)
    r = r if renorm.rmax is None else ops.minimum(r, r * 0 + renorm.rmax)
    if renorm.dmax is not None:
        d = ops.maximum(ops.minimum(d, d * 0 + renorm.dmax), d * 0 - renorm.dmax)
    return ops.constant(r), ops.constant(d)


def _update(
    ops: Operations,
    running: Mapping[str, Any],
    mean: Any,
    var: Any,
    factor: Any,
    settings: core.Settings,
) -> dict[str, Any]:
    """As `core.running.update`."""

    def average(role: str, value: Any, weight: Any) -> Any:
        return (1.0 - weight) * running[role] + weight * value

    new = {"running_mean": average("running_mean", mean, factor)}
    renorm = settings.renorm
    if renorm is None:
        return {**new, "running_var": average("running_var", var, factor)}
    stddev = ops.sqrt(var + settings.epsilon)
    new["stddev"] = average("stddev", stddev, factor)
    square = new["stddev"] * new["stddev"] - settings.epsilon
    new["running_var"] = ops.where(square < 0, 0.0, square)
    own = renorm.exponential_average_factor
    new["renorm_mean"] = average("renorm_mean", mean, own)
    new["renorm_stddev"] = average("renorm_stddev", stddev, own)
    return new
