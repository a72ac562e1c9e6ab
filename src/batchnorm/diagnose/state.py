"""A batch norm's state before the run against the source's: loaded, swapped, shifted, another's.

Not here: what the layer does with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from batchnorm.diagnose.replay import sixteen
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["rounded_as", "same", "state_findings"]

STATISTICS, AFFINE = ("running_mean", "running_var"), ("gamma", "beta")
NEUTRAL = {"gamma": 1.0, "beta": 0.0, "running_mean": 0.0, "running_var": 1.0}
CLOSE = 4e-6  # relative to the largest: values that were carried through float32 once or twice


def same(a: Array, b: Array, close: float = CLOSE) -> bool:
    """Whether two arrays are the same values, carried over."""
    if a.shape != b.shape:
        return False
    low = max(sixteen(a.dtype.name), sixteen(b.dtype.name), close)
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(x - y) <= low * np.maximum(np.abs(x), np.abs(y)) + 1e-12
    return bool((near | (np.isnan(x) & np.isnan(y)) | (x == y)).all())


def rounded_as(a: Array, b: Array) -> str:
    """The 16-bit type that a's values have gone through to be b's; "" for none.

    >>> x = np.float32([0.1, 0.3])
    >>> rounded_as(x, x.astype(np.float16).astype(np.float32)), rounded_as(x, x + 1)
    ('float16', '')
    """
    for name in ("float16", "bfloat16"):
        with np.errstate(all="ignore"):
            rounded = a.astype(as_dtype(name)).astype(np.float32)
        if same(rounded, b):
            return name
    return ""


def state_findings(
    source: Mapping[str, Array],
    port: Mapping[str, Array],
    others: Mapping[str, Mapping[str, Array]],
    epsilons: tuple[float, ...],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Causes with their evidence.

    Args:
        source: its values by role.
        port: the port's.
        others: those of the source's other layers, by name.
        epsilons: that the two layers have.
    """
    sizes = {v.size for r, v in source.items() if r in NEUTRAL}
    if any(v.size not in sizes for r, v in port.items() if r in NEUTRAL) and sizes:
        return  # another number of channels: that is the axis'
    full_source, full_port = _filled(source, port), _filled(port, source)
    wrong = [r for r in full_source if not same(full_source[r], full_port[r])]
    if not wrong:
        return
    lost = {rounded_as(full_source[r], full_port[r]) for r in wrong}
    if lost in ({"float16"}, {"bfloat16"}):
        yield "precision-differs", {"loaded as": lost.pop()}
        return
    if len(wrong) > 1 or not _trivial(full_port, wrong):
        for name, other in others.items():
            own = [r for r in wrong if r in other]
            equal = own == wrong and all(same(other[r], full_port[r]) for r in wrong)
            if equal and not _trivial(full_port, wrong):
                yield "wrong-layer", {"equals": name}
                return
        if _permuted(full_source, full_port, wrong):
            yield "channels-permuted", {"channels": int(full_source[wrong[0]].size)}
            return
    yield from _statistics(full_source, full_port, wrong, epsilons)
    yield from _affine(source, port, full_source, full_port, wrong)


def _filled(own: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, Array]:
    """With what a missing parameter amounts to, where the other has it; statistics as they are."""
    found = {r: v for r, v in own.items() if r in NEUTRAL and (r in other or r in AFFINE)}
    for role in AFFINE:
        if role in other and role not in found:
            found[role] = np.full_like(other[role], NEUTRAL[role])
    return {r: found[r] for r in NEUTRAL if r in found}


def _trivial(values: Mapping[str, Array], roles: list[str]) -> bool:
    """Whether they are what a new layer has."""
    return all((values[r] == NEUTRAL[r]).all() for r in roles)


def _permuted(a: Mapping[str, Array], b: Mapping[str, Array], wrong: list[str]) -> bool:
    rows_a = np.stack([a[r].astype(np.float64) for r in wrong])
    rows_b = np.stack([b[r].astype(np.float64) for r in wrong])
    if rows_a.shape[1] < 2 or (rows_a == rows_a[:, :1]).all():
        return False
    one, other = (rows[:, np.lexsort(rows[::-1])] for rows in (rows_a, rows_b))
    return same(one, other)


def _difference(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(np.float64) - b).max(initial=0.0))


def _statistics(
    a: Mapping[str, Array], b: Mapping[str, Array], wrong: list[str], epsilons: tuple[float, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    mine = [r for r in STATISTICS if r in wrong]
    if not mine:
        return
    if len(mine) == 2:
        mean, var = (a[r] for r in STATISTICS)
        if same(mean, b["running_var"]) and same(var, b["running_mean"]):
            yield "mean-variance-swapped", {}
            return
    evidence = {"largest difference": max(_difference(a[r], b[r]) for r in mine)}
    if mine == ["running_var"]:
        cause = _variance(a["running_var"], b["running_var"], epsilons)
        if cause is not None:
            yield cause
            return
    elif len(mine) == 2:
        cause = _variance(a["running_var"], b["running_var"], epsilons)
        if cause is not None and cause[0] != "denominator-differs":
            yield cause
            mine = ["running_mean"]
            evidence = {"largest difference": _difference(a["running_mean"], b["running_mean"])}
    held = "as in a new layer" if _trivial(b, mine) else "neither the source's nor a new layer's"
    yield "statistics-not-loaded", {"values": " and ".join(mine), "they are": held, **evidence}


def _variance(
    var: Array, own: Array, epsilons: tuple[float, ...]
) -> tuple[str, dict[str, Any]] | None:
    with np.errstate(all="ignore"):
        for epsilon in (0.0, *epsilons):
            if same(np.sqrt(var.astype(np.float64) + epsilon), own, 1e-5):
                return "variance-is-std", {}
        shift = own.astype(np.float64) - var
        constant = float(np.median(shift))
        noise = 4e-7 * (np.abs(var) + np.abs(own))
        if var.size > 1 and np.ptp(var) > 0 and (np.abs(shift - constant) <= noise).all():
            return "variance-shifted", {"by": float(f"{constant:.3g}")}
        ratio = own.astype(np.float64) / var
        middle = float(np.median(ratio))
        if var.size > 1 and 0.5 < middle < 2 and (np.abs(ratio - middle) <= 4e-6).all():
            return "denominator-differs", {"state holds the variance times": middle}
        for epsilon in epsilons:
            if var.size == 1 and same(var + epsilon, own):
                return "variance-shifted", {"by": epsilon}
    return None


def _affine(
    source: Mapping[str, Array],
    port: Mapping[str, Array],
    a: Mapping[str, Array],
    b: Mapping[str, Array],
    wrong: list[str],
) -> Iterator[tuple[str, dict[str, Any]]]:
    mine = [r for r in AFFINE if r in wrong]
    if not mine:
        return
    missing = [r for r in mine if r not in port]
    if missing:
        yield "affine-missing", {"missing": " and ".join(missing)}
        mine = [r for r in mine if r not in missing]
    if not mine:
        return
    if len(mine) == 2 and same(a["gamma"], b["beta"]) and same(a["beta"], b["gamma"]):
        yield "gamma-beta-swapped", {}
        return
    held = "as in a new layer" if _trivial(b, mine) else "neither the source's nor a new layer's"
    largest = max(_difference(a[r], b[r]) for r in mine)
    yield (
        "affine-not-loaded",
        {"values": " and ".join(mine), "they are": held, "largest difference": largest},
    )
