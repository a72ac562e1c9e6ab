"""What two frameworks do differently with equal arguments: differences that theory predicts.

Each follows from two `facts` that differ, and has its size where one can be computed. Not here:
what the arguments could not say (`losses`).
"""

from __future__ import annotations

from collections.abc import Iterator

from batchnorm.translate.canonical import Canonical
from batchnorm.translate.difference import Difference
from batchnorm.translate.facts import Facts
from batchnorm.translate.task import Task

__all__ = ["COUNT", "departures"]

COUNT = 512
"""Values per channel in a proof, such as 8×8×8: what the sizes below are computed for."""


def departures(task: Task, again: Canonical, ours: Facts, theirs: Facts) -> Iterator[Difference]:
    """The differences between the facts of the source (ours) and of the target (theirs)."""
    source, target = task.source.dialect, task.target.dialect
    moves = (
        bool(task.value("tracks"))
        and task.value("forced_statistics") is not False
        and again["forced_statistics"].value is not False
        and bool(again["tracks"].value)
    )
    if moves and ours.correction != theirs.correction and not task.value("renorm"):
        n, other = ("n - 1", "n") if theirs.correction else ("n", "n - 1")
        ratio, more = ("n/(n-1)", "more") if theirs.correction else ("(n-1)/n", "less")
        yield Difference(
            "running-variance-denominator",
            "predicted",
            f"{target.name} divides the variance that enters its running average by {n}, "
            f"{source.name} by {other}: its running variance tends to {ratio} of {source.name}'s, "
            f"{1 / (COUNT - 1):.1e} {more} at n = 8×8×8 values per channel; outputs in training "
            "and gradients are equal",
            _denominator_remedy(task, theirs),
            size=1 / (COUNT - 1),
        )
    if ours.epsilon_floor != theirs.epsilon_floor:
        floor = max(ours.epsilon_floor, theirs.epsilon_floor)
        epsilon = task.value("epsilon")
        if isinstance(epsilon, float) and epsilon < floor:
            clamping = source.name if ours.epsilon_floor else target.name
            yield Difference(
                "epsilon-clamp",
                "predicted",
                f"the fused kernel of {clamping} raises epsilon from {epsilon!r} to {floor!r}",
                f"write {floor!r} on both sides",
                size=(floor - epsilon) / floor,
            )
    if moves and ours.statistics_move != theirs.statistics_move:
        still = target.name if ours.statistics_move else source.name
        yield Difference(
            "float16-statistics",
            "predicted",
            f"{still} never updates float16 statistics on CPU: they stay as they are",
            "keep the layer's parameters in float32",
        )
    wide = task.value("parameter_dtype") == "float64" == again["parameter_dtype"].value
    if moves and wide and ours.rounds_factor != theirs.rounds_factor:
        rounding = target.name if theirs.rounds_factor else source.name
        yield Difference(
            "float32-momentum",
            "predicted",
            f"{rounding} rounds 1 - momentum to float32, in a float64 layer too",
            size=2.0**-24,
        )
    if again["synchronized"].value and target.calls.synchronized_limits:
        yield Difference("backend", "around", *target.calls.synchronized_limits)
    forced = task.arguments["forced_statistics"]
    decides = forced.value is None or not forced.literal  # else no mode changes the statistics
    if decides and source.calls.mode != target.calls.mode:
        text, remedy = target.calls.mode
        before = source.calls.mode[0]
        yield Difference(
            "mode",
            "around",
            f"a {target.name} layer {text}; a {source.name} layer {before}",
            remedy,
        )


def _denominator_remedy(task: Task, theirs: Facts) -> str:
    if task.target.dialect.calls.biased and theirs.correction:
        return task.target.dialect.calls.biased
    return "none needed for inference with carried state; it shows when training goes on"
