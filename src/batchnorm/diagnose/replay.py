"""One batch norm's call computed again by a rule, and how far a framework's rounding may be off.

y   = (x - mean) / sqrt(var + epsilon) * gamma + beta
dx  = gamma / sqrt(var + epsilon) * (dy - mean(dy) - x_hat * mean(dy * x_hat)), or without the means

The bounds are those of `verify.tolerance`, channel by channel: u is the unit roundoff, times eight
operations and what sums lose, `lost_in_sum`. Not here: which rules are tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchnorm.diagnose.recording import Rule
from batchnorm.diagnose.trace import Statistics, Trace
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Hypothesis", "Replay", "distance", "lost_in_sum", "roundoff", "sixteen"]

OPERATIONS = 8.0


def roundoff(dtype: str) -> float:
    """2^-24 of float32; what is computed with 16 bits or integers is computed in float32.

    >>> roundoff("float16") == 2.0**-24
    True
    """
    return 2.0**-53 if dtype == "float64" else 2.0**-24


def sixteen(dtype: str) -> float:
    """The roundoff of a 16-bit result, else 0."""
    return {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0.0)


def lost_in_sum(values: Array, count: float) -> Array:
    """What a sum may lose, per channel, in units of u times the sum of the terms' magnitudes.

    Terms that differ are rounded independently, and m terms of one value alike, as long as the sum
    so far has one exponent: then m errors of up to u |sum| are one error, m times. So the variance
    is (u total / 3)^2 sum(m^2), which is n for terms that all differ and n^2 where all are one, as
    a gradient behind an average pool nearly is. Six deviations are 2 sqrt(sum(m^2)); and n is what
    no order of adding exceeds. Zeros lose nothing.

    Args:
        values: terms at some places, (places, C): how many pairs of them are equal estimates
            sum(m^2) - n, in the channel or on the average of all, whichever is more.
        count: n.

    >>> lost_in_sum(np.arange(8.0).reshape(4, 2), 100.0)
    array([20., 20.])
    >>> lost_in_sum(np.ones((4, 2)), 100.0)
    array([100., 100.])
    """
    places, telling = len(values), np.isfinite(values) & (values != 0)
    pairs = (values[:, None] == values[None]) & telling
    share = (pairs.sum((0, 1)) - telling.sum(0)) / max(places * (places - 1), 1)
    alike = np.maximum(share, share.mean()) * count**2
    return np.asarray(np.minimum(2.0 * np.sqrt(count + alike), max(count, 2 * count**0.5)))


@dataclass(frozen=True)
class Hypothesis:
    """What a batch norm may have computed.

    Args:
        axis: of the channels.
        batch: whether batch statistics normalized.
        epsilon: added to the variance.
        correction: 1 where the unbiased variance normalized.
        gamma: whether gamma applied.
        beta: whether beta applied.
    """

    axis: int
    batch: bool
    epsilon: float
    correction: int = 0
    gamma: bool = True
    beta: bool = True

    @classmethod
    def of(cls, rule: Rule) -> Hypothesis:
        """What a rule predicts."""
        return cls(rule.axis, rule.batch, rule.epsilon)

    def but(self, **changes: Any) -> Hypothesis:
        """Another one."""
        return replace(self, **changes)


class Replay:
    """A call, and what it would have given under a hypothesis."""

    def __init__(
        self, trace: Trace, one_pass: bool = False, wide: Statistics | None = None
    ) -> None:
        self.trace, self.one_pass = trace, one_pass
        # By axis; those of the channels over all processes where these share their batches.
        self.statistics = trace.statistics if wide is None else {**trace.statistics, 1: wide}
        self.x, self.y = trace.x.astype(np.float64), trace.y.astype(np.float64)
        self.u = roundoff(trace.dtype)

    def able(self, h: Hypothesis) -> bool:
        """Whether what was kept suffices for a hypothesis."""
        trace = self.trace
        if h.axis not in trace.statistics or trace.x.shape != trace.y.shape:
            return False
        length = trace.shape[h.axis]
        sizes = {v.size for r, v in trace.before.items() if r in ("gamma", "beta")}
        if not h.batch:
            if "running_mean" not in trace.before:
                return False
            sizes.add(trace.before["running_mean"].size)
        return sizes <= {length}

    def parts(self, h: Hypothesis) -> tuple[Array, Array, Array, Array]:
        """Mean, variance, gamma and beta as they stand beside `x`."""
        t = self.trace
        found = self.statistics[h.axis]
        if h.batch:
            mean, var = found.mean, found.m2 / max(found.count - h.correction, 1.0)
        else:
            mean = t.before["running_mean"].astype(np.float64)
            var = t.before["running_var"].astype(np.float64)
        one, zero = np.ones_like(mean), np.zeros_like(mean)
        gamma = t.before.get("gamma", one) if h.gamma else one
        beta = t.before.get("beta", zero) if h.beta else zero
        wide = [np.asarray(v, np.float64) for v in (mean, var, gamma, beta)]
        a, b, c, d = (t.at(h.axis, v) for v in wide)
        return a, b, c, d

    def output(self, h: Hypothesis) -> tuple[Array, Array]:
        """What y would be, and how far rounding may put it from that."""
        with np.errstate(all="ignore"):
            mean, var, gamma, beta = self.parts(h)
            std = np.sqrt(var + h.epsilon)
            x_hat = (self.x - mean) / std
            y = x_hat * gamma + beta
            size, u, rho = self._noise(h, mean, var, std)
            bound = np.abs(gamma) * u * (1 + size + np.abs(x_hat) * rho) + u * np.abs(beta)
            bound = bound + sixteen(self.trace.out_dtype) * np.abs(y)
            if h.epsilon < 0:
                bound = np.where(np.isfinite(bound), bound, 0.0)
        return y, bound + 1e-37

    def _noise(
        self, h: Hypothesis, mean: Array, var: Array, std: Array
    ) -> tuple[Array, Array, Array]:
        found = self.statistics[h.axis]
        peak = self.trace.at(h.axis, found.peak)
        u: Any = self.u * OPERATIONS
        if h.batch:
            u = self.trace.at(h.axis, self._summed(h.axis, self.trace.x))
        lost = (peak**2 * (1.0 if self.one_pass else u)) if h.batch else 0.0
        reach = np.maximum(peak, np.abs(mean)) if h.batch else np.abs(self.x) + np.abs(mean)
        return reach / std, u, (np.abs(var) + lost) / std**2

    def _summed(self, axis: int, values: Array) -> Array:
        """u with what a sum over all other axes of such values loses, by place of the axis."""
        found = self.statistics[axis]
        if axis != 1:
            values = np.arange(1.0, 2.0)[:, None] * np.ones_like(found.mean)
        return np.asarray(self.u * (OPERATIONS + lost_in_sum(values, found.count)))

    def score(self, h: Hypothesis) -> float:
        """The largest distance of y from it, in units of the bound; infinite where NaN differ."""
        if not self.able(h):
            return float("inf")
        y, bound = self.output(h)
        return distance(self.y, y, bound)

    def gradient(self, h: Hypothesis, through: bool) -> tuple[Array, Array]:
        """What dx would be, and its bound; `through` the batch statistics or not."""
        t, found = self.trace, self.statistics[h.axis]
        assert t.dy is not None
        assert found.dy is not None
        dy = t.dy.astype(np.float64)
        with np.errstate(all="ignore"):
            mean, var, gamma, _ = self.parts(h)
            std = np.sqrt(var + h.epsilon)
            x_hat = (self.x - mean) / std
            largest = t.at(h.axis, found.dy[3])
            size, u, rho = self._noise(h, mean, var, std)
            u = np.maximum(u, t.at(h.axis, self._summed(h.axis, t.dy))) if through else u
            dx = dy
            if through:
                s1, s2 = (t.at(h.axis, row) for row in found.dy[:2])
                dx = dy - s1 / found.count - x_hat * (s2 / std) / found.count
            dx = gamma / std * dx
            forward = u * (1 + size + np.abs(x_hat) * rho)
            reach = 1 + np.abs(x_hat)
            bound = 3 * np.abs(gamma) * largest / std * reach * (u * reach + u * rho + forward)
        return dx, bound + sixteen(t.dtype) * (np.abs(dx) + largest * np.abs(gamma) / std) + 1e-37

    def parameter(self, h: Hypothesis, role: str) -> tuple[Array, Array]:
        """What gamma's or beta's gradient would be, per channel, and its bound.

        Frameworks sum them over the own values, whoever shares the statistics.
        """
        t, found = self.trace, self.trace.statistics[h.axis]
        assert t.dy is not None
        assert found.dy is not None
        s1, s2, total, _ = found.dy
        u = self._summed(h.axis, t.dy)
        if h.batch and role == "gamma":
            u = np.maximum(u, self._summed(h.axis, t.x))
        low = sixteen(t.dtype)
        if role == "beta":
            return s1, (u + low) * total + 1e-37
        with np.errstate(all="ignore"):
            if h.batch:
                mean, var = self.statistics[h.axis].mean, self.statistics[h.axis].var
            else:
                mean = t.before["running_mean"].astype(np.float64)
                var = t.before["running_var"].astype(np.float64)
            std = np.sqrt(var + h.epsilon)
            value = (s2 + (found.mean - mean) * s1) / std
            reach = (found.peak + np.abs(mean)) / std
            lost = found.peak**2 * (1.0 if self.one_pass else u)
            rho = (np.abs(var) + (lost if h.batch else 0.0)) / std**2
            bound = total * (u * (1 + reach + reach * rho) + (u + low) * reach)
        return value, bound + 1e-37

    def updated(self, rule: Rule) -> dict[str, tuple[Array, Array]]:
        """Mean and variance after the call by a rule, and their bounds, by role."""
        t, found = self.trace, self.statistics[rule.axis]
        f = rule.factor if rule.updates else 0.0
        u = self._summed(rule.axis, t.x)
        with np.errstate(all="ignore"):
            var = found.m2 / (found.count - rule.correction) if f else found.var
            lost = found.peak**2 * (1.0 if self.one_pass else u)
            result = {}
            for role, new, noise in (
                ("running_mean", found.mean, u * found.peak),
                ("running_var", var, u * np.abs(found.var) + u * lost),
            ):
                old = t.before[role].astype(np.float64)
                kept = 2 * max(
                    roundoff(t.before[role].dtype.name),
                    sixteen(str(as_dtype(t.before[role].dtype).name)),
                )
                bound = abs(f) * noise + kept * (np.abs(old) + abs(f) * np.abs(new))
                result[role] = ((1 - f) * old + f * new, bound + 1e-37)
        return result


def distance(found: Array, expected: Array, bound: Array) -> float:
    """The largest distance in units of the bound; NaN and infinities must be in the same places."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(found) & np.isfinite(expected)
        same = finite | (np.isnan(found) & np.isnan(expected)) | (found == expected)
        if not same.all():
            return float("inf")
        ratio = np.abs(found - expected)[finite] / np.broadcast_to(bound, found.shape)[finite]
    return float(ratio.max(initial=0.0))
