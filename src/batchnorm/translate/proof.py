"""The proof of a translation: both sides run from one state, and are compared with theory.

Five training steps (forward, gradients, update of the running statistics) and one inference, on
data laid out as each side wants them. What the plan says is equal must agree within the bounds of
rounding; what it says differs must differ by as much as `theory` predicts. Whoever runs (our
layers, or the real frameworks) is behind the interface of `batchnorm.questions.subject`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.questions.subject import Ours, Raised, Subject
from batchnorm.translate.data import make_data, shape_of
from batchnorm.translate.plan import Plan
from batchnorm.translate.run import STEPS, Run, roundoff
from batchnorm.translate.state import names_side_by_side
from batchnorm.translate.theory import Value
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["STEPS", "Proof", "Row", "prove"]

_MOST = 2**22  # values in a batch
# Where the target can't say these, the sides have states that don't fit each other, ...
_INCOMPARABLE = {"channel_axis", "virtual_batch_size"}
# ... or compute what theory doesn't model, so that their difference is only measured.
_UNMODELLED = {"renorm", "adjustment"}


@dataclass(frozen=True)
class Row:
    """One compared quantity, over all steps.

    Four numbers are of one place, the value whose share is the largest:
    share = |difference - predicted| / bound.

    Attributes:
        name: what it is.
        difference: of the two sides, not negative.
        predicted: the difference that theory predicts, negative if the other way; None where it
            can't, and then the place is that of the largest difference.
        bound: what rounding may add to the prediction.
        share: at most 1 if the row holds.
        largest: the largest difference of all places.
        equal: whether the sides are equal within their bounds, without any prediction; rounding
            1 - momentum to a type that is no narrower than the state's counts as rounding.
        scale: the largest magnitude of the quantity.
    """

    name: str
    difference: float
    predicted: float | None
    bound: float
    share: float
    largest: float
    equal: bool
    scale: float

    @property
    def holds(self) -> bool:
        """Whether the sides differ as predicted: not at all, or by what theory says."""
        return self.predicted is None or self.share <= 1


@dataclass(frozen=True)
class Proof:
    """What the two sides did.

    Attributes:
        rows: the comparisons.
        problems: what went wrong otherwise: a side that raised, or has state that the other lacks
            and no difference says so.
        ran: who ran, source first.
        stand_ins: expression -> value that stood for it.
        shape: of the source's data.
        skipped: why nothing was run; empty if it was.
    """

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    ran: tuple[str, str]
    stand_ins: Mapping[str, Any]
    shape: tuple[int, ...]
    skipped: str = ""

    @property
    def holds(self) -> bool:
        """Whether everything that ran is equal, or different only as predicted."""
        return not self.problems and all(row.holds for row in self.rows)

    @property
    def equal(self) -> bool:
        """Whether both sides were run and are equal within the bounds of rounding."""
        return bool(self.rows) and not self.problems and all(row.equal for row in self.rows)


def prove(
    plan: Plan, subjects: tuple[Subject, Subject] | None = None, *, arithmetic: float = 2.0**-53
) -> Proof:
    """Run both sides of a plan and compare them.

    Args:
        plan: what is to be proved.
        subjects: who runs the source and the target; our own layers if None.
        arithmetic: the unit roundoff in which they compute.
    """
    sides = (plan.source, plan.target)
    ours = subjects or (Ours(sides[0].form.dialect.name), Ours(sides[1].form.dialect.name))
    ran = (ours[0].label, ours[1].label)
    stand_ins = plan.stand_ins
    shape = shape_of(plan)
    if math.prod(shape) > _MOST:
        return Proof((), (), ran, stand_ins, shape, "that would take too much memory")
    if "refused" in {difference.key for difference in plan.differences}:
        return Proof((), (), ran, stand_ins, shape, "the target's layer can't be made")
    if plan.channels < 1:
        return Proof((), (), ran, stand_ins, shape, "a layer without channels computes nothing")
    lost = {s for d in plan.differences if d.kind == "inexpressible" for s in d.slots}
    if lost & _INCOMPARABLE:
        why = f"the sides' states don't fit each other without {', '.join(lost & _INCOMPARABLE)}"
        return Proof((), (), ran, stand_ins, shape, why)
    data = make_data(plan, STEPS + 1)
    excused = {slot for difference in plan.differences for slot in difference.slots}
    target = {
        slot: plan.target.canonical[slot] if slot in excused else argument
        for slot, argument in plan.source.canonical.items()
        if slot in plan.target.canonical
    }
    runs, problems = [], []
    for side, arguments, axis, subject in zip(
        sides,
        (plan.source.canonical, target),
        (plan.axes[0], plan.axes[1] if "channel_axis" in excused else plan.axes[0]),
        ours,
        strict=True,
    ):
        try:
            roles = {} if side is plan.source else _carried(plan)
            run = Run(plan, side, arguments, axis, subject, data, arithmetic, roles)
            run.run()
            runs.append(run)
        except Raised as error:
            problems.append(f"{subject.label} raised {error}")
    if len(runs) < 2:
        return Proof((), tuple(problems), ran, stand_ins, shape)
    problems += _one_sided(runs[0], runs[1], plan, excused)
    rows = _compare(*runs, modelled=not lost & _UNMODELLED)
    return Proof(tuple(rows), tuple(problems), ran, stand_ins, shape)


def _smallest(dtype: Any) -> float:
    """Half the spacing of a dtype's subnormal numbers, below which relative rounding ends."""
    return {"bfloat16": 2.0**-134, "float16": 2.0**-25, "float32": 2.0**-150}.get(
        as_dtype(dtype).name, 0.0
    )


def _compare(ours: Run, theirs: Run, *, modelled: bool) -> list[Row]:
    rows = []
    for name in ours.measured:
        if name in theirs.measured:
            zipped = zip(
                *(run.measured[name] for run in (ours, theirs)),
                *(run.expected[name] for run in (ours, theirs)),
                *(run.unrounded[name] for run in (ours, theirs)),
                strict=True,
            )
            rows.append(_row(name, [_Pair(*pair) for pair in zipped], modelled))
    return rows


class _Pair:
    """One quantity at one step: its difference, theory's, and the bound."""

    @np.errstate(all="ignore")
    def __init__(
        self, a: Array, b: Array, expected_a: Value, expected_b: Value, *unrounded: Value
    ) -> None:
        wide = a.astype(np.float64), b.astype(np.float64)
        self.difference = wide[0] - wide[1]
        self.predicted = expected_a.value - expected_b.value
        self.bound = expected_a.error + expected_b.error
        for array, side in zip((a, b), wide, strict=True):
            unit = roundoff(array.dtype) if array.dtype != np.float64 else 2.0**-53
            self.bound = self.bound + unit * np.abs(side) + _smallest(array.dtype)
        self.scale = float(np.max(np.abs(wide[0]), initial=0.0))
        apart = np.abs(self.difference - self.predicted)
        share = np.where(apart == 0, 0.0, apart / self.bound)
        rounding = self.predicted - (unrounded[0].value - unrounded[1].value)
        raw = np.abs(self.difference - np.where(np.isfinite(rounding), rounding, 0.0))
        raw = np.where((self.difference == 0) | (raw == 0), 0.0, raw / self.bound)
        both_nan = np.isnan(wide[0]) & np.isnan(wide[1])
        self.share = np.where(both_nan, 0.0, np.where(np.isnan(share), np.inf, share))
        self.equal = bool(np.all(both_nan | (raw <= 1)))


def _row(name: str, pairs: list[_Pair], modelled: bool) -> Row:
    difference, predicted, bound, share = (
        np.concatenate([np.ravel(getattr(pair, what)) for pair in pairs])
        for what in ("difference", "predicted", "bound", "share")
    )
    size = np.abs(difference)
    worst = share if modelled and np.any(share) else size
    at = int(np.argmax(worst)) if worst.size else None
    numbers = (0.0,) * 4 if at is None else (size[at], predicted[at], bound[at], share[at])
    sign = -1.0 if at is not None and difference[at] < 0 else 1.0
    return Row(
        name,
        float(numbers[0]),
        sign * float(numbers[1]) if modelled else None,
        float(numbers[2]),
        float(numbers[3]),
        float("nan") if np.any(np.isnan(size)) else float(np.max(size, initial=0.0)),
        all(pair.equal for pair in pairs),
        max(pair.scale for pair in pairs),
    )


def _carried(plan: Plan) -> dict[str, str]:
    """The target's state names -> the role of the source's entry whose values they get."""
    entries = plan.source.form.layer.STATE
    names = names_side_by_side(
        *(s.built(plan.rank, plan.channels) for s in (plan.source, plan.target))
    )
    return {n.target: entries[n.source].role for n in names if n.source and n.target}


def _one_sided(ours: Run, theirs: Run, plan: Plan, excused: set[str]) -> list[str]:
    """State and gradients that one side has alone, and no difference of the plan mentions."""
    problems = []
    for name in sorted(set(ours.measured) ^ set(theirs.measured)):
        role = next((r for r in ("gamma", "beta") if f" {r}" in f" {name}"), None)
        slots = {"tracks", "renorm"} if role is None else {f"has_{role}", "trained"}
        frozen = role is not None and not plan.source.canonical["trained"].value
        if not (slots & excused) and not frozen:
            having = ours if name in ours.measured else theirs
            problems.append(f"only {having.label} has {name}")
    return problems
