"""A batch norm's backward pass replayed on the port's own gradients.

Through the batch statistics or not, frozen parameters, constant factors, of the loss as well. What
it is replayed by is what the layer was found to compute forward, so a mode that differs is not
named again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.diagnose.replay import Hypothesis, Replay, distance
from batchnorm.diagnose.trace import Trace
from batchnorm.vocabulary import Array

__all__ = ["MISSING", "explain_gradient", "loss_factor", "ratio"]

MISSING = "no gradient of"
CLOSE = 1e-4  # of the largest: rounding of what comes behind a layer
TELLING = 1e-2  # from 1, of a factor of the loss


def explain_gradient(
    replay: Replay, h: Hypothesis, trained: frozenset[str]
) -> list[tuple[str, dict[str, Any], str]]:
    """Find what of a port's gradients isn't what its own forward pass asks for.

    Args:
        replay: of the port's call.
        h: what it was found to compute.
        trained: roles of the parameters that have a gradient in the source.
    """
    trace = replay.trace
    found: list[tuple[str, dict[str, Any], str]] = []
    if trace.dy is None or not replay.able(h) or replay.statistics[h.axis].dy is None:
        return found
    if trace.dx is not None:
        found += _input(replay, h, trace.dx.astype(np.float64))
    held = [role for role in ("gamma", "beta") if role in trace.before]
    frozen = [role for role in held if role not in trace.gradients and role in trained]
    if frozen:
        found.append(("gradient-differs", {MISSING: " and ".join(frozen)}, ""))
    for role in held:
        own = trace.gradients.get(role)
        if own is None:
            continue
        expected, bound = replay.parameter(h, role)
        away = distance(own.astype(np.float64), expected, bound)
        if away > 1.0:
            k = ratio(own.astype(np.float64), expected, bound)
            evidence: dict[str, Any] = {"of": role}
            evidence |= {"distance": away} if k is None else {"times": k}
            found.append(("gradient-differs", evidence, ""))
    return found


def _input(replay: Replay, h: Hypothesis, dx: Array) -> list[tuple[str, dict[str, Any], str]]:
    results = {through: replay.gradient(h, through) for through in (h.batch, not h.batch)}
    away = {through: distance(dx, *result) for through, result in results.items()}
    if away[h.batch] <= 1.0:
        return []
    words = {True: "through the batch statistics", False: "not through the batch statistics"}
    if away[not h.batch] <= 1.0:
        runner = f"{words[h.batch]}, {away[h.batch]:.3g} bounds away"
        return [("gradient-differs", {"of": "the input", "goes": words[not h.batch]}, runner)]
    k = ratio(dx, *results[h.batch])
    evidence: dict[str, Any] = {"of": "the input"}
    evidence |= {"distance": away[h.batch]} if k is None else {"times": k}
    return [("gradient-differs", evidence, "")]


def loss_factor(source: Trace, port: Trace) -> float | None:
    """By which constant the port's gradient that reaches a layer is the source's; None for none.

    Args:
        source: its call of a layer behind which both models compute the same.
        port: the port's call of it.
    """
    if source.dy is None or port.dy is None or source.dy.shape != port.dy.shape:
        return None
    mine, own = source.dy.astype(np.float64), port.dy.astype(np.float64)
    k = ratio(own, mine, np.full(own.shape, CLOSE * float(np.abs(mine).max(initial=0.0))))
    return None if k is None or abs(k - 1) <= TELLING else k


def ratio(found: Array, expected: Array, bound: Array) -> float | None:
    """The constant factor between two arrays within bounds; None where there is none."""
    power = float((expected**2).sum())
    if not np.isfinite(power) or power == 0:
        return None
    k = float((found * expected).sum() / power)
    if not np.isfinite(k) or k == 0:
        return None
    return float(f"{k:.4g}") if distance(found, k * expected, 2 * abs(k) * bound) <= 1 else None
