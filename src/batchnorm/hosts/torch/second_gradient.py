"""The gradient of batch normalization's gradient, by its own formula.

Written x_hat = (x - mean) * s with s = inv_std, m the mean over a channel, and
P(t) = t - m(t) - x_hat * m(t * x_hat), the first gradient is

    dx = gamma * s * P(g),  dgamma = sum(g * x_hat),  dbeta = sum(g)              g = dy

and with cotangents a, u, v of these three, h = u * g - gamma * s * (a * m(g * x_hat) +
g * m(a * x_hat)):

    of g:     gamma * s * P(a) + u * x_hat + v
    of gamma: s * sum(a * P(g))
    of x:     s * P(h) - gamma * s^2 * x_hat * m(a * P(g))

Where running statistics normalized, P is the identity and x acts through dgamma alone. Derived
here; tests/hosts/test_torch_gradients.py has it checked by torch's gradgradcheck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Normalized", "first_gradient", "second_gradient"]


class Normalized(NamedTuple):
    """What a forward left: statistics as float64 vectors, and how they are spread over x.

    `values` is their number per channel in all processes, None where running statistics
    normalized; `total` adds vectors up over all processes.
    """

    mean: Tensor
    residual: Tensor
    inv_std: Tensor
    values: float | None
    axes: tuple[int, ...]
    epsilon: float
    total: Callable[[Tensor], Tensor]


def first_gradient(
    x: Tensor, dy: Tensor, gamma: Tensor | None, saved: Normalized
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dgamma and dbeta in torch's own operations, for a dy that our kernel can't read."""
    shape = [x.shape[axis] if axis in saved.axes else 1 for axis in range(x.dim())]
    rest = [axis for axis in range(x.dim()) if axis not in saved.axes]
    mean, residual, s = (t.reshape(shape) for t in (saved.mean, saved.residual, saved.inv_std))
    d = (x.to(torch.float64) - mean) - residual
    if torch.is_grad_enabled() and saved.values is not None:
        d, s = _statistics(x.to(torch.float64), rest, saved)
    x_hat = d * s
    g = dy.to(torch.float64)
    dgamma, dbeta = (t.sum(rest).reshape(-1) for t in (g * x_hat, g))
    dx = g
    if saved.values is not None:
        level, slope = (saved.total(t.reshape(shape)) / saved.values for t in (dbeta, dgamma))
        dx = g - level - x_hat * slope
    scale = s if gamma is None else s * gamma.to(torch.float64).reshape(shape)
    return dx * scale, dgamma, dbeta


def _statistics(wide: Tensor, rest: list[int], saved: Normalized) -> tuple[Tensor, Tensor]:
    """x - mean and inv_std anew: a further derivative sees that the statistics depend on x."""

    def mean(t: Tensor) -> Tensor:
        return saved.total(t.sum(rest, keepdim=True) if rest else t) / saved.values

    d = wide - mean(wide)
    return d, torch.rsqrt(mean(d * d) + saved.epsilon)


def second_gradient(
    x: Tensor,
    dy: Tensor,
    gamma: Tensor | None,
    saved: Normalized,
    of_dx: Tensor | None,
    of_dgamma: Tensor | None,
    of_dbeta: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of dy, x and gamma (a vector) for cotangents of dx, dgamma and dbeta."""
    shape = [x.shape[axis] if axis in saved.axes else 1 for axis in range(x.dim())]
    rest = [axis for axis in range(x.dim()) if axis not in saved.axes]

    def summed(t: Tensor) -> Tensor:
        return t.sum(rest, keepdim=True) if rest else t

    def total(t: Tensor) -> Tensor:
        return saved.total(summed(t))

    def spread(t: Any, default: float) -> Any:
        return default if t is None else t.to(torch.float64).reshape(shape)

    wide, g = x.to(torch.float64), dy.to(torch.float64)
    a = torch.zeros((), dtype=torch.float64) if of_dx is None else of_dx.to(torch.float64)
    scale, u, v = spread(gamma, 1.0), spread(of_dgamma, 0.0), spread(of_dbeta, 0.0)
    d = (wide - spread(saved.mean, 0.0)) - spread(saved.residual, 0.0)
    s = spread(saved.inv_std, 1.0)
    if saved.values is None:
        x_hat = d * s
        of_x = u * s * g
        return scale * s * a + u * x_hat + v, of_x, (s * summed(a * g)).reshape(-1)
    count = saved.values
    if torch.is_grad_enabled():
        d, s = _statistics(wide, rest, saved)
    x_hat = d * s

    def inner(t: Tensor) -> Tensor:
        return total(t * x_hat) / count

    def project(t: Tensor, slope: Tensor) -> Tensor:
        return t - total(t) / count - x_hat * slope

    a = a.expand_as(g)
    g_slope, a_slope = inner(g), inner(a)
    both = a * project(g, g_slope)
    h = u * g - scale * s * (a * g_slope + g * a_slope)
    of_dy = scale * s * project(a, a_slope) + u * x_hat + v
    of_x = s * project(h, inner(h)) - scale * s * s * x_hat * (total(both) / count)
    return of_dy, of_x, (s * summed(both)).reshape(-1)
