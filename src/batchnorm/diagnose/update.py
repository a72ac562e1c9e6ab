"""How a batch norm's running statistics moved, against the source's rule on the port's own batch.

mean' = (1 - F) mean + F mu; F by least squares, then the denominator of the variance that entered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.diagnose.recording import Rule
from batchnorm.diagnose.replay import Replay, distance
from batchnorm.vocabulary import Array

__all__ = ["Moved", "explain_update"]

SURE = 6.0  # in units of the noise


class Moved:
    """What was found of one update.

    Attributes:
        findings: causes, evidence, runner-up.
        notes: what the dialects predict.
        undecided: what can't be told, and why.
        factor: the measured one; None where nothing can be measured.
    """

    def __init__(self) -> None:
        self.findings: list[tuple[str, dict[str, Any], str]] = []
        self.notes: list[str] = []
        self.undecided: list[tuple[str, str]] = []
        self.factor: float | None = None


def explain_update(replay: Replay, rule: Rule, declared: Rule | None, axis: int) -> Moved:
    """Find how a port's layer moved its statistics.

    Args:
        replay: of the port's call.
        rule: the source's in the same phase.
        declared: the port's own, where it can be read.
        axis: that the port was found to normalize.
    """
    found, trace = Moved(), replay.trace
    names = ("running_mean", "running_var")
    if any(n not in trace.before or n not in trace.after for n in names):
        if rule.updates:
            found.findings.append(("not-updated", {"port keeps": "no running statistics"}, ""))
        return found
    if trace.before["running_mean"].size != trace.shape[axis]:
        return found
    used = Rule(rule.batch, rule.updates, rule.epsilon, rule.factor, rule.correction, axis)
    expected = replay.updated(used)
    mean, bound = expected["running_mean"]
    after = trace.after["running_mean"].astype(np.float64)
    before = trace.before["running_mean"].astype(np.float64)
    mu = replay.statistics[axis].mean
    f = rule.factor if rule.updates else 0.0
    said = f if declared is None else declared.factor if declared.updates else 0.0
    with np.errstate(all="ignore"):
        weight = np.where(np.isfinite(after) & np.isfinite(mu), 1 / bound**2, 0.0)
        steps = np.nan_to_num(mu - before, nan=0.0, posinf=0.0, neginf=0.0)
        power = float((weight * steps**2).sum())
    if distance(after, mean, bound) <= 1.0:
        found.factor = f
        if power <= SURE**2:
            told = _by_variance(replay, used, declared)
            if told is not None:
                found.factor = told[0]
                _name_factor(found, replay, used, *told)
            elif abs(said - f) > 1e-6:
                found.undecided.append(("momentum", "the batch's means are the running ones"))
    elif power <= SURE**2:
        found.undecided.append(("momentum", "the batch's means are the running ones"))
        return found
    else:
        moved = np.nan_to_num(after - before)
        factor = float((weight * steps * moved).sum() / power)
        found.factor = factor
        _name_factor(found, replay, used, factor, power**-0.5)
    _denominator(found, replay, used, declared)
    return found


def _by_variance(replay: Replay, rule: Rule, declared: Rule | None) -> tuple[float, float] | None:
    """The factor and its noise, where the means are alike and only the variance tells it.

    Returns:
        None where the source's factor fits, or none does.
    """
    trace, seen = replay.trace, replay.statistics[rule.axis]
    before, after = (s["running_var"].astype(np.float64) for s in (trace.before, trace.after))
    f = rule.factor if rule.updates else 0.0

    def moved(factor: float, correction: int) -> tuple[Array, Array]:
        fitted = Rule(True, factor != 0, rule.epsilon, factor, correction, rule.axis)
        return replay.updated(fitted)["running_var"]

    if any(distance(after, *moved(f, correction)) <= 1.0 for correction in (0, 1)):
        return None
    for correction in (rule.correction if declared is None else declared.correction, 0, 1):
        bound = moved(1.0, correction)[1]
        steps = seen.m2 / max(seen.count - correction, 1.0) - before
        with np.errstate(all="ignore"):
            good = np.isfinite(after) & np.isfinite(steps) & (bound > 0)
            steps, gone = np.where(good, steps, 0.0), np.where(good, after - before, 0.0)
            weight = np.where(good, 1 / bound**2, 0.0)
        power = float((weight * steps**2).sum())
        factor = float((weight * steps * gone).sum() / power) if power > SURE**2 else 0.0
        if power > SURE**2 and distance(after, *moved(factor, correction)) <= 2.0:
            return factor, power**-0.5
    return None


def _name_factor(found: Moved, replay: Replay, rule: Rule, factor: float, noise: float) -> None:
    f = rule.factor if rule.updates else 0.0
    fitted = Rule(True, True, rule.epsilon, factor, rule.correction, rule.axis)
    mean, bound = replay.updated(fitted)["running_mean"]
    after = replay.trace.after["running_mean"].astype(np.float64)
    if distance(after, mean, bound) > 2.0:
        evidence = {"distance": distance(after, mean, bound), "in units of": "the bound"}
        found.findings.append(("unexplained", {"what": "update of the mean", **evidence}, ""))
        return
    twice = 1 - (1 - f) ** 2
    known = {
        "not-updated": 0.0,
        "momentum-inverted": 1 - f,
        "updated-twice": twice,
    }
    evidence = {"port moves by": float(f"{factor:.4g}"), "source": f}
    near = sorted(known, key=lambda name: abs(known[name] - factor))
    tolerance = max(SURE * noise, 1e-5)
    if not f:
        cause = "momentum-differs"
    elif abs(known[near[0]] - factor) <= tolerance:
        cause = near[0]
    elif abs(1 - f**2 - factor) <= tolerance:  # inverted, and twice
        found.findings.append(("momentum-inverted", evidence, ""))
        found.findings.append(("updated-twice", evidence, ""))
        return
    else:
        cause = "momentum-differs"
    others = [n for n in near if n != cause]
    away = abs(known[others[0]] - factor) / max(noise, 1e-12)
    fits = abs(known[others[0]] - factor) <= tolerance
    runner = f"{others[0]} fits as well" if fits else f"{others[0]}, {away:.3g} noises away"
    found.findings.append((cause, evidence, runner))


def _denominator(found: Moved, replay: Replay, rule: Rule, declared: Rule | None) -> None:
    """Which variance entered, where n / (n - 1) stands out of the noise."""
    factor, trace = found.factor, replay.trace
    seen = replay.statistics[rule.axis]
    if not factor or seen.count < 2:
        return
    biased = Rule(True, True, rule.epsilon, factor, 0, rule.axis)
    expected, bound = replay.updated(biased)["running_var"]
    after = trace.after["running_var"].astype(np.float64)
    effect = np.abs(factor) * seen.var / (seen.count - 1)  # of n - 1 in place of n
    with np.errstate(all="ignore"):
        good = np.isfinite(after) & np.isfinite(expected) & (bound > 0)
        weight = np.where(good, (effect / bound) ** 2, 0.0)
        # 0 where the biased one entered, 1 where the unbiased one did; of each channel, the noise
        # is bound / effect.
        each = np.where(good & (effect > 0), (after - expected) / effect, 0.0)
    power = float(weight.sum())
    source, said = rule.correction, None if declared is None else declared.correction
    if power**0.5 < SURE:
        spread = np.abs(after - expected) > SURE * (bound + effect)
        if (spread & good).any():
            found.findings.append(("unexplained", {"what": "update of the variance"}, ""))
        elif said is not None and said != source:
            size = f"{1 / (seen.count - 1):.2g}"
            found.undecided.append(
                ("denominator", f"n = {seen.count:.0f}: its effect is {size}, below the noise")
            )
        return
    entered = float((weight * each).sum() / power)
    noise = max(power**-0.5, 1e-12)
    off = min(abs(entered), abs(entered - 1))
    if off > max(SURE * noise, 0.1):
        evidence = {"n / (n - 1) - 1 times": float(f"{entered:.3g}")}
        found.findings.append(("unexplained", {"what": "update of the variance", **evidence}, ""))
        return
    correction = int(abs(entered - 1) < abs(entered))
    if correction == source:
        return
    text = f"running variance by {_n(correction)} in the port and by {_n(source)} in the source"
    if said == correction:
        found.notes.append(text)
    else:
        names = {"port": _n(correction), "source": _n(source)}
        other = f"{_n(source)}, {abs(entered - source) / noise:.3g} noises away"
        found.findings.append(("denominator-differs", names, other))


def _n(correction: int) -> str:
    return "n - 1" if correction else "n"
