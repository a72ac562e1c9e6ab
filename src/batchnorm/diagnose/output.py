"""A batch norm's output replayed by the source's rule on the port's own input.

What remains is a fault of the layer itself: the axis, which statistics, epsilon, gamma and beta.
Not here: the state that it uses, which is its own, and what reaches it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from batchnorm.diagnose.recording import Rule
from batchnorm.diagnose.replay import Hypothesis, Replay, sixteen
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Explained", "explain_output"]

EPSILONS = (1e-5, 1e-3, 1e-6, 1e-4, 1e-2, 1.001e-5, 1e-8, 0.0)
FITS = 1.0  # in units of the bound


class Explained:
    """What the layer was found to compute, and what of it isn't the source's.

    Attributes:
        hypothesis: the one that fits, with the fewest changes; None where none does.
        findings: causes, evidence and the runner-up.
    """

    def __init__(self, hypothesis: Hypothesis | None) -> None:
        self.hypothesis = hypothesis
        self.findings: list[tuple[str, dict[str, Any], str]] = []


def explain_output(replay: Replay, rule: Rule, declared: Rule | None) -> Explained:
    """Find what a port's layer computed.

    Args:
        replay: of the port's call.
        rule: the source's in the same phase.
        declared: the port's own, where it can be read.
    """
    expected = Hypothesis.of(rule)
    if replay.score(expected) <= FITS:
        return Explained(expected)
    scored = sorted(
        ((_changes(h, expected, declared), replay.score(h), h) for h in _tried(expected, declared)),
        key=lambda item: (item[1] > FITS, item[0] if item[1] <= FITS else 0, item[1]),
    )
    best = scored[0]
    if best[1] > FITS:
        return _unlisted(replay, expected, declared)
    fitting = [h for _, score, h in scored if score <= FITS]
    found = Explained(best[2])
    away = next((s for s in scored[1:] if s[1] > FITS), None)
    runner = "" if away is None else f"{_named(away[2], expected)}, {away[1]:.3g} bounds away"
    others = [h for h in fitting[1:] if _changes(h, expected, declared) == best[0]]
    if others:
        runner = f"{_named(others[0], expected)} fits as well"
    for cause, evidence in _deviations(best[2], expected, replay):
        found.findings.append((cause, evidence, runner))
    return found


def _tried(expected: Hypothesis, declared: Rule | None) -> Iterator[Hypothesis]:
    own = () if declared is None else (declared.epsilon,)
    epsilons = dict.fromkeys((expected.epsilon, *own, *EPSILONS))
    axes = dict.fromkeys((expected.axis, 1, *(() if declared is None else (declared.axis,)), 2, 3))
    for axis, batch, correction, epsilon, gamma, beta in itertools.product(
        axes, (True, False), (0, 1), epsilons, (True, False), (True, False)
    ):
        if batch or not correction:
            yield Hypothesis(axis, batch, epsilon, correction, gamma, beta)


def _changes(h: Hypothesis, expected: Hypothesis, declared: Rule | None) -> float:
    """How many things differ from the source; what the port's settings say counts half."""
    changed = 0.0
    for field in fields(h):
        if getattr(h, field.name) != getattr(expected, field.name):
            said = declared is not None and getattr(declared, field.name, None) == getattr(
                h, field.name
            )
            changed += 0.5 if said else 1.0
    return changed


def _named(h: Hypothesis, expected: Hypothesis) -> str:
    words = {
        ("batch", True): "batch statistics", ("batch", False): "running statistics",
        ("correction", 1): "variance by n - 1",
        ("gamma", False): "without gamma", ("beta", False): "without beta",
    }  # fmt: skip
    changed = [
        (field.name, getattr(h, field.name))
        for field in fields(h)
        if getattr(h, field.name) != getattr(expected, field.name)
    ]
    parts = [words.get((name, value), f"{name} {value}") for name, value in changed]
    return " and ".join(parts) or "the source's rule"


def _deviations(
    h: Hypothesis, expected: Hypothesis, replay: Replay
) -> Iterator[tuple[str, dict[str, Any]]]:
    if h.axis != expected.axis:
        yield "axis-differs", {"axis": h.axis, "channels are axis": expected.axis}
    if h.batch != expected.batch:
        names = {True: "batch statistics", False: "running statistics"}
        yield "mode-differs", {"port": names[h.batch], "source": names[expected.batch]}
    if h.correction != expected.correction:
        yield "denominator-differs", {"normalized by": "n - 1", "source": "n"}
    if h.epsilon != expected.epsilon:
        yield "epsilon-differs", {"port": h.epsilon, "source": expected.epsilon}
    lost = [n for n in ("gamma", "beta") if not getattr(h, n) and n in replay.trace.before]
    if lost:
        yield "affine-missing", {"doesn't apply": " and ".join(lost)}


def _unlisted(replay: Replay, expected: Hypothesis, declared: Rule | None) -> Explained:
    """None of the listed values fits: an epsilon solved for, a precision, or nothing known."""
    axes = dict.fromkeys((expected.axis, *(() if declared is None else (declared.axis,))))
    for axis, batch in itertools.product(axes, (expected.batch, not expected.batch)):
        h = expected.but(axis=axis, batch=batch)
        epsilon = _solved(replay, h) if replay.able(h) else None
        if epsilon is not None and replay.score(h.but(epsilon=epsilon)) <= FITS:
            h = h.but(epsilon=epsilon)
            found = Explained(h)
            found.findings = [(c, e, "") for c, e in _deviations(h, expected, replay)]
            return found
    found = Explained(None)
    scores = {b: replay.score(expected.but(batch=b)) for b in (True, False)}
    for batch in sorted(scores, key=lambda b: scores[b]):
        h = expected.but(batch=batch)
        if not replay.able(h):
            continue
        y, bound = replay.output(h)
        for name in ("float16", "bfloat16"):
            with np.errstate(all="ignore"):
                # Inputs and results rounded to so few digits.
                low = sixteen(name) * (np.abs(y) + 2 * np.abs(replay.x) * _slope(replay, h))
                held = replay.y.astype(as_dtype(name)).astype(np.float64)
                # Another formula may be as near, but gives numbers of more digits.
                if np.array_equal(held, replay.y) and (np.abs(replay.y - y) <= bound + low).all():
                    found.hypothesis = h
                    found.findings.append(("precision-differs", {"as of": name}, ""))
                    return found
    evidence = {"distance": min(scores.values()), "in units of": "the bound"}
    found.findings.append(("unexplained", evidence, ""))
    return found


def _slope(replay: Replay, h: Hypothesis) -> Array:
    _, var, gamma, _ = replay.parts(h)
    return np.asarray(np.abs(gamma) / np.sqrt(np.abs(var + h.epsilon)))


def _solved(replay: Replay, h: Hypothesis) -> float | None:
    """The epsilon that makes y of x, the middle one over all places that say something."""
    mean, var, gamma, beta = replay.parts(h)
    with np.errstate(all="ignore"):
        std = (replay.x - mean) * gamma / (replay.y - beta)
        epsilon = std**2 - var
        weight = np.abs(replay.y - beta)
    good = np.isfinite(epsilon) & (std > 0) & (weight >= np.median(weight))
    if not good.any():
        return None
    value = float(np.median(epsilon[good]))
    return float(f"{value:.4g}") if value > 0 else None
