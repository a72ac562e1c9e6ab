"""What a batch norm must give, and how far rounding may put a layer from it: value ± error.

The formulas of the paper in float64, written without the core, so that a proof compares two layers
with something that neither of them is. Errors are bounds, derived as follows. Let e be the unit
roundoff of the arithmetic (2^-53 for our layers), counted twice because theory rounds as well, n
the values per channel, and |.| magnitudes:

    sum of n terms, in any order     n e Σ|term|
    mean                             (n + 2) e max|x|
    variance                         (n + 8) e var + 2 δmean std + δmean²
    1 / sqrt(var + epsilon)          relative: δvar / (2 (var + epsilon)) + 4 e
    x_hat                            (δmean + 2 e (|x| + |mean|)) inv_std + |x_hat| (that + 3 e)
    y                                |gamma| δx_hat + 4 e (|gamma x_hat| + |beta|)
    running value                    (1 - f) δold + f δnew + δf (|old| + |new|) + 4 e (...) + u |r|

and so on for the gradients, by the same two rules (a sum, a product). Loops that compute y and dx
in a narrower type than the statistics, of unit roundoff v, add what the core promises of them:

    y                                8 v max(|y|, |y - beta|, 2^-20 |gamma|)
    dx                               8 v max|dx|, of the channel
    sums of gradients               10 w Σ|term|, w the unit roundoff in which few are summed first

A result is rounded once to its dtype, which adds u |result|, u the unit roundoff of that dtype: the
proof does that, which knows the dtypes. δf = 2 e: momentum and 1 - momentum can't both be exact in
binary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from batchnorm.translate.canonical import Canonical
from batchnorm.translate.facts import Facts
from batchnorm.vocabulary import Array

__all__ = ["Theory", "Value"]


class Value(NamedTuple):
    """A quantity and a bound on how far a layer may be from it before it rounds the result."""

    value: Array
    error: Array


@dataclass
class Theory:
    """A batch norm by its canonical arguments and a framework's facts.

    Attributes:
        gamma, beta: per channel; 1 and 0 where they don't exist.
        running: role -> value ± error; empty where no statistics are kept.
        batches: how many batches were tracked before.
        roundoff: unit roundoff of the stored statistics.
        arithmetic: unit roundoff of the arithmetic.
        loops: unit roundoff of the loops over values; 0 where it is that of the arithmetic.
        sums: unit roundoff in which gradients are summed at first; 0 where it is the arithmetic's.
    """

    arguments: Canonical
    facts: Facts
    gamma: Array
    beta: Array
    running: dict[str, Value] = field(default_factory=dict)
    batches: int = 0
    roundoff: float = 2.0**-24
    arithmetic: float = 2.0**-53
    loops: float = 0.0
    sums: float = 0.0

    @np.errstate(all="ignore")
    def step(self, x: Array, dy: Array, *, training: bool) -> dict[str, Value]:
        """One forward and backward of rows (channels, values): y, dx and the gradients."""
        e, n = 2 * self.arithmetic, x.shape[1]
        epsilon, floor = float(self._get("epsilon")), self.facts.epsilon_floor
        epsilon = max(epsilon, floor) if floor else epsilon
        forced, tracks = self._get("forced_statistics"), bool(self._get("tracks"))
        batch = training if forced is None else bool(forced)
        batch = batch or not tracks
        if batch:
            mean = x.mean(axis=1)
            mean_error = (n + 2) * e * np.abs(x).max(axis=1)
            var = ((x - mean[:, None]) ** 2).mean(axis=1)
            var_error = (n + 8) * e * var + 2 * mean_error * np.sqrt(var) + mean_error**2
        else:
            mean, mean_error = self.running["running_mean"]
            var, var_error = self.running["running_var"]
        std = np.sqrt(var + epsilon)
        r, d = np.ones_like(mean), np.zeros_like(mean)
        r_error, d_error = np.zeros_like(mean), np.zeros_like(mean)
        if batch and self._get("renorm"):
            (r, r_error), (d, d_error) = self._renorm(
                mean, mean_error, var, var_error, std, epsilon
            )
        if batch and tracks and self.facts.statistics_move:
            self._update(n, mean, mean_error, var, var_error, std)
        inv, relative = (1 / std)[:, None], (var_error / (2 * std**2) + 4 * e)[:, None]
        h = (x - mean[:, None]) * inv
        h_error = (mean_error[:, None] + 2 * e * (np.abs(x) + np.abs(mean)[:, None])) * inv
        h_error = h_error + np.abs(h) * (relative + 3 * e)
        # z = x_hat * r + d, of which renorm makes more than x_hat itself
        z = h * r[:, None] + d[:, None]
        z_error = h_error * r[:, None] + np.abs(h) * r_error[:, None] + d_error[:, None]
        z_error = z_error + 3 * e * np.abs(z)
        g, b = self.gamma[:, None], self.beta[:, None]
        y_error = np.abs(g) * z_error + 4 * e * (np.abs(g * z) + np.abs(b))
        largest = np.maximum(np.maximum(np.abs(z * g + b), np.abs(z * g)), 2.0**-20 * np.abs(g))
        y = Value(z * g + b, y_error + 8 * self.loops * largest)
        size, few = np.abs(dy), 10 * self.sums
        dbeta = Value(dy.sum(axis=1), (n * e + few) * size.sum(axis=1))
        dgamma = Value(
            (dy * z).sum(axis=1),
            ((n + 2) * e + few) * (size * np.abs(z)).sum(axis=1) + (size * z_error).sum(axis=1),
        )
        t, t_error = dy, np.zeros_like(dy)
        if batch:
            share, slope = dy.mean(axis=1)[:, None], (dy * h).mean(axis=1)[:, None]
            share_error = (n * e + few) * size.mean(axis=1)[:, None]
            slope_error = ((n + 2) * e + few) * size * np.abs(h) + size * h_error
            slope_error = slope_error.mean(axis=1)[:, None]
            t = dy - share - h * slope
            t_error = share_error + np.abs(h) * slope_error + h_error * np.abs(slope)
            t_error = t_error + 4 * e * (size + np.abs(share) + np.abs(h * slope))
        outer = np.abs(g * r[:, None]) * inv
        dx_error = outer * (t_error + np.abs(t) * (relative + 5 * e))
        dx_error = dx_error + np.abs(g) * inv * r_error[:, None] * np.abs(t)
        dx_value = g * r[:, None] * inv * t
        most = np.abs(dx_value).max(axis=1, keepdims=True, initial=0.0)
        dx = Value(dx_value, dx_error + 8 * self.loops * most)
        return {"y": y, "dx": dx, "gradient of gamma": dgamma, "gradient of beta": dbeta}

    def _get(self, slot: str) -> Any:
        return self.arguments[slot].value

    def _factor(self) -> float:
        """The weight of this batch, which is counted first."""
        self.batches += 1
        factor = self._get("exponential_average_factor")
        if factor is None:
            return 1.0 / self.batches
        return self._rounded(float(factor))

    def _rounded(self, factor: float) -> float:
        return float(np.float32(factor)) if self.facts.rounds_factor else factor

    def _update(
        self, n: int, mean: Array, mean_error: Array, var: Array, var_error: Array, std: Array
    ) -> None:
        e, factor = 2 * self.arithmetic, self._factor()
        share = n / (n - self.facts.correction) if n > self.facts.correction else 1.0
        if self._get("renorm"):
            own = self._rounded(float(self._get("renorm_factor")))
            std_error = var_error / (2 * std) + 3 * e * std
            self._average("stddev", std, std_error, factor)
            self._average("renorm_mean", mean, mean_error, own)
            self._average("renorm_stddev", std, std_error, own)
            self._average("running_mean", mean, mean_error, factor)
            stddev, error = self.running["stddev"]
            new = np.maximum(stddev**2 - float(self._get("epsilon")), 0)
            error = 2 * np.abs(stddev) * error + 4 * e * stddev**2 + self.roundoff * new
            self.running["running_var"] = Value(new, error)
            return
        self._average("running_mean", mean, mean_error, factor)
        self._average("running_var", var * share, var_error * share, factor)

    def _average(self, role: str, new: Array, new_error: Array, factor: float) -> None:
        e = 2 * self.arithmetic
        old, old_error = self.running[role]
        value = (1 - factor) * old + factor * new
        sizes = np.abs(old) + np.abs(new)
        error = abs(1 - factor) * old_error + abs(factor) * new_error
        error = error + (2 + 4 * max(1.0, abs(factor))) * e * sizes
        self.running[role] = Value(value, error + self.roundoff * (np.abs(value) + error))

    def _renorm(
        self, mean: Array, mean_error: Array, var: Array, var_error: Array, std: Array, eps: float
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """r and d with their errors, from the averages before this batch; clipping adds none."""
        e = 2 * self.arithmetic
        old_mean, old_mean_error = self.running["renorm_mean"]
        old_std, old_std_error = self.running["renorm_stddev"]
        bottom = np.maximum(old_std, np.sqrt(np.float64(np.float32(eps))))
        r, d = std / bottom, (mean - old_mean) / bottom
        relative = old_std_error / bottom + 4 * e
        r_error = var_error / (2 * std) / bottom + r * relative
        d_error = (mean_error + old_mean_error) / bottom + np.abs(d) * relative
        clipping = self._get("renorm_clipping") or {}
        r = np.clip(r, clipping.get("rmin", -np.inf), clipping.get("rmax", np.inf))
        bound = clipping.get("dmax")
        return (r, r_error), (d if bound is None else np.clip(d, -bound, bound), d_error)
