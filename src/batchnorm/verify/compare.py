"""Two subjects' observations of one case, compared: the first disagreement, and the distances.

Classes of exceptions are compared, never their texts; dtypes, shapes and places of NaN and
infinities must be equal; finite numbers may lie within the bound of `tolerance.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from batchnorm.frameworks import find
from batchnorm.questions.subject import Raised
from batchnorm.verify.draw import Case, data
from batchnorm.verify.play import Observation, state_at
from batchnorm.verify.tolerance import bounds, compute_dtype, roundoff
from batchnorm.vocabulary import Array

__all__ = ["Compared", "Disagreement", "Distance", "builtin", "compare", "edge"]


class Distance(NamedTuple):
    """How far apart two arrays are, and where."""

    of_tolerance: float  # 1 is the edge of what is allowed
    relative: float  # to the largest value
    where: str


@dataclass(frozen=True)
class Disagreement:
    """One thing that the real framework and our layer don't do alike."""

    where: str
    theirs: str
    ours: str
    distance: Distance | None = None


@dataclass(frozen=True)
class Compared:
    """What came out of comparing one case: the first disagreement if any; the worst distance."""

    case: Case
    disagreement: Disagreement | None
    worst: Distance
    observations: int
    raised: bool  # whether the real layer raised something


def compare(
    case: Case,
    theirs: Sequence[Observation],
    ours: Sequence[Observation],
    *,
    one_pass: bool = False,
) -> Compared:
    """Compare what was observed, in order, up to the first disagreement.

    `one_pass` is for a framework whose variance is E[x²] - E[x]² for any settings.
    """
    worst = Distance(0.0, 0.0, "")
    state: dict[str, Array] = {}  # theirs, before the step that is looked at
    upcoming: dict[str, Array] = {}
    allowed: dict[str, float] = {}  # by the latest call that went well
    raised = any(isinstance(observation.value, Raised) for observation in theirs)
    at = ""
    keras = find(case.dialect).is_keras
    passed = roundoff(compute_dtype(case)) if keras else 0.0  # what dx and losses pass through
    for count, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        if their.place != our.place:
            seen = [f"{place}: {_show(value)}" for place, value in (their, our)]
            found = Disagreement(their.place, seen[0], seen[1])
            return Compared(case, found, worst, count, raised)
        step, _, what = their.place.partition(": ")
        if step != at:
            at, state, upcoming = step, upcoming, {}
        if what == "y" and not isinstance(their.value, Raised):
            number = int(step.removeprefix("step ")) - 1
            before = state or state_at(theirs, step)  # a layer that this call builds has no before
            allowed = bounds(case, data(case, number), number, before, one_pass=one_pass)
        if what.startswith("state ") and isinstance(their.value, np.ndarray):
            upcoming[what.removeprefix("state ")] = their.value
        coarse = passed if what == "dx" or their.place == "attribute losses" else 0.0
        result = _compare_values(their.place, what, their.value, our.value, allowed, coarse)
        if isinstance(result, Disagreement):
            return Compared(case, result, worst, count, raised)
        worst = max(worst, result)
    if len(theirs) != len(ours):
        longer = (theirs if len(theirs) > len(ours) else ours)[min(len(theirs), len(ours)) :]
        counts = f"{len(theirs)} observations", f"{len(ours)} observations"
        found = Disagreement(longer[0].place, counts[0], counts[1])
        return Compared(case, found, worst, len(theirs), raised)
    return Compared(case, None, worst, len(theirs), raised)


def builtin(raised: Raised) -> str:
    """Name the built-in class that ours must raise too; ValueError for a framework's own class."""
    nearest = raised.bases[0] if raised.bases else "Exception"
    return "ValueError" if nearest == "Exception" else nearest


def _compare_values(
    place: str, what: str, theirs: Any, ours: Any, allowed: dict[str, float], coarse: float
) -> Distance | Disagreement:
    equal = Distance(0.0, 0.0, place)
    if isinstance(theirs, Raised) or isinstance(ours, Raised):
        both = isinstance(theirs, Raised) and isinstance(ours, Raised)
        if both and builtin(theirs) == builtin(ours):
            return equal
        return Disagreement(place, _show(theirs), _show(ours))
    if what == "dx" and theirs is None:  # of an integer input: nothing to compare with
        return equal
    if isinstance(theirs, np.ndarray) and isinstance(ours, np.ndarray):
        return _compare_arrays(place, theirs, ours, allowed.get(_quantity(what), 0.0), coarse)
    if _alike(_plain(theirs), _plain(ours), coarse):
        return equal
    return Disagreement(place, _show(theirs), _show(ours))


def _compare_arrays(
    place: str, theirs: Array, ours: Array, allowed: float, coarse: float
) -> Distance | Disagreement:
    if theirs.dtype != ours.dtype or theirs.shape != ours.shape:
        kinds = [f"{array.dtype} of shape {array.shape}" for array in (theirs, ours)]
        return Disagreement(place, kinds[0], kinds[1])
    if theirs.dtype.kind in "iub":
        if np.array_equal(theirs, ours):
            return Distance(0.0, 0.0, place)
        return Disagreement(place, _show(theirs), _show(ours))
    kind = theirs.dtype
    wide = np.complex128 if kind.kind == "c" else np.float64
    a, b = theirs.astype(wide), ours.astype(wide)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        gap = np.where(same, 0.0, np.abs(a - b))
    limit = edge(theirs, allowed, coarse)
    gap = np.where(np.isnan(gap), np.inf, gap)  # only one of them is NaN
    largest = np.abs(a[np.isfinite(a)]).max(initial=0.0) or 1.0
    if not gap.size:
        return Distance(0.0, 0.0, place)
    with np.errstate(over="ignore"):  # far apart where next to nothing is allowed
        ratio, relative = gap / limit, gap.max() / largest
    at = np.unravel_index(np.argmax(ratio), ratio.shape)
    distance = Distance(float(ratio[at]), float(relative), place)
    if distance.of_tolerance > 1:
        index = [int(i) for i in at]
        theirs_there, ours_there = (f"{value[at]:.9g} at {index}" for value in (a, b))
        return Disagreement(place, theirs_there, ours_there, distance)
    return distance


def edge(values: Array, allowed: float, coarse: float = 0.0) -> Array:
    """How far from each value another may lie, given what the arithmetic before it may do.

    `coarse` is the roundoff of a type that a result has passed through.
    """
    kind = values.dtype
    wide = values.astype(np.complex128 if kind.kind == "c" else np.float64)
    with np.errstate(all="ignore"):
        found = allowed + 2 * max(roundoff(kind), coarse) * np.abs(wide)
    return np.where(np.isfinite(found), found, 0.0) + float(_smallest_step(kind))


def _smallest_step(kind: np.dtype[Any]) -> float:
    """Give what two neighbours at the lower end of a type's range are apart."""
    return {"float16": 2.0**-24, "float64": 5e-324}.get(kind.name, 2.0**-133)


def _quantity(what: str) -> str:
    name = what.removeprefix("state ").removeprefix("gradient of ")
    if what.startswith("state "):
        if "stddev" in name:
            return "stddev"
        return "var" if "var" in name else "mean" if "mean" in name else ""
    names = {"weight": "gamma", "bias": "beta"}
    return f"gradient of {names.get(name, name)}" if what.startswith("gradient") else what


def _plain(value: Any) -> Any:
    """Make values comparable that only differ in how they travel."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        value = value if value.dtype.kind in "biufc" else value.astype(np.float32)
        return _plain(value.tolist())
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _alike(a: Any, b: Any, coarse: float) -> bool:
    """Whether two plain values are equal; a float may have been rounded (a float32 at most)."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y, coarse) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, int | float) and not isinstance(b, bool):
        both_nan = math.isnan(a) and math.isnan(b)
        return both_nan or math.isclose(a, b, rel_tol=max(1e-6, 8 * coarse))
    return type(a) is type(b) and bool(a == b)


def _show(value: Any) -> str:
    if isinstance(value, Raised):
        return f"raises {builtin(value)} ({value.name}: {value.text.strip()[:200]})"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.tolist()}"[:200]
    return repr(value)[:400]
