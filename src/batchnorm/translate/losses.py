"""What the arguments of a call lose when they are written for another framework.

The written call is read again: whatever slot comes out differently has a rule here, and its rule
says what is lost. A number (momentum, epsilon) has none: it must never be lost, and if it were, the
proof would fail. Not here: what equal arguments do differently (`departures`).
"""

from __future__ import annotations

from collections.abc import Iterator

from batchnorm.frameworks import Framework
from batchnorm.translate.argument import Argument
from batchnorm.translate.canonical import Canonical
from batchnorm.translate.difference import Difference
from batchnorm.translate.lost_options import RULES
from batchnorm.translate.task import Task
from batchnorm.translate.writing import PLACEHOLDER

__all__ = ["losses"]

_LATE = 100  # the batch for which the size of a lost cumulative average is given
_AFFINE = ("has_gamma", "has_beta", "trained")


def losses(task: Task, again: Canonical) -> Iterator[Difference]:
    """The differences between a source's canonical arguments and those of the written call."""
    lost = {
        slot
        for slot in (*task.arguments, *(slot for slot in again if slot not in task.arguments))
        if not task.arguments.get(slot, _none()).same(again.get(slot, _none()))
    }
    factor = "exponential_average_factor"
    if factor in lost and task.value(factor) is None and task.value("tracks"):
        yield _cumulative(task, again)
    if lost & set(_AFFINE):
        yield from _affine(task, again)
    if lost & {"forced_statistics", "tracks"}:
        yield from _statistics(task, again)
    for slot in (slot for slot in task.arguments if slot in lost):
        word = slot.partition(" ")[0]
        rule = RULES.get(slot) or RULES.get(word)
        if rule is not None:
            yield from rule(task, slot, again)
    if again["num_features"].text == PLACEHOLDER:
        yield Difference(
            "num-features",
            "around",
            f"{task.source.class_name} names no number of channels",
            f"put it in place of {PLACEHOLDER}, or pass --num-features",
            slots=("num_features",),
        )


def _none() -> Argument:
    return Argument("None", None, written=False)


def _cumulative(task: Task, again: Canonical) -> Difference:
    factor = again["exponential_average_factor"]
    return Difference(
        "cumulative-average",
        "inexpressible",
        "momentum=None averages the statistics of all batches alike (weight 1/k for the k-th); "
        f"{task.target.dialect.name} has no such average, and its default weighs each new batch "
        f"by {factor.text}, the {_LATE}th too",
        task.target.dialect.calls.momentum_by_hand
        + "recompute the statistics over the training data and assign them to the layer",
        size=abs(_LATE * float(factor.value) - 1),
        slots=("exponential_average_factor",),
    )


def _affine(task: Task, again: Canonical) -> Iterator[Difference]:
    """What gamma and beta lose: their existence, their absence, or their training."""
    ours, target = task.arguments, task.target.dialect.name
    extra = [n for n in ("gamma", "beta") if again[f"has_{n}"].value and not ours[f"has_{n}"].value]
    gone = [n for n in ("gamma", "beta") if ours[f"has_{n}"].value and not again[f"has_{n}"].value]
    if gone:
        yield Difference(
            "frozen-affine",
            "around",
            f"{' and '.join(gone)} exist in the source, frozen at their initial 1 and 0, and are "
            f"saved; {target} has none, which is the same until a checkpoint brings other values",
            slots=_AFFINE,
        )
    elif extra and not again["trained"].value:
        yield Difference(
            "frozen-affine",
            "around",
            f"{target} keeps gamma and beta, frozen at 1 and 0, and saves them",
            slots=_AFFINE,
        )
    elif extra:
        yield Difference(
            "extra-parameter",
            "inexpressible",
            f"{' and '.join(extra)} can't be left out in {target}: it starts where it does "
            "nothing, and trains",
            " and ".join(_freeze(task, name) for name in extra),
            slots=_AFFINE,
        )
    elif again["trained"].value is not ours["trained"].value:
        trains = bool(again["trained"].value)
        names = [n for n in ("gamma", "beta") if ours[f"has_{n}"].value]
        if names:
            verb = "train" if trains else "don't train"
            yield Difference(
                "frozen-parameters",
                "inexpressible",
                f"{' and '.join(names)} {verb} in {target}, "
                f"and {'do not' if trains else 'do'} in the source",
                " and ".join(_freeze(task, n) for n in names)
                if trains
                else "leave trainable=True, and call the layer with training=False always",
                slots=_AFFINE,
            )
    elif any(ours[slot].expression for slot in _AFFINE):
        texts = sorted({ours[slot].expression for slot in _AFFINE} - {""})
        yield Difference(
            "affine-expression",
            "around",
            f"whether gamma and beta exist and train hangs on {', '.join(texts)}: each value is "
            f"proved, and named if {target} can't say it",
            slots=_AFFINE,
        )


def _freeze(task: Task, name: str) -> str:
    return task.target.dialect.calls.freeze.format(role=name, name=task.target.names[name])


def _statistics(task: Task, again: Canonical) -> Iterator[Difference]:
    """Batch statistics always, or running ones always, where the target can't say so."""
    ours, theirs = task.arguments["forced_statistics"], again["forced_statistics"]
    target: Framework = task.target.dialect
    slots: tuple[str, ...] = ("forced_statistics", "tracks")
    if not task.value("tracks"):
        slots += ("exponential_average_factor",)  # of an average that isn't kept
    condition = f"if {ours.expression}: " if ours.expression else ""
    hidden = ours.expression and not theirs.same(ours)
    if hidden:
        yield Difference(
            "statistics-expression",
            "inexpressible" if theirs.literal else "around",
            f"which statistics normalize hangs on {ours.expression}, which {target.name} "
            + ("has no argument for" if theirs.literal else "can say only in part"),
            f"give the layer another call for each value of {ours.expression}",
            slots=slots,
        )
    elif ours.value is True and theirs.value is not True:
        yield Difference(
            "batch-statistics-in-inference",
            "inexpressible",
            f"{condition}batch statistics normalize in inference too; no argument of "
            f"{target.name} says that",
            "call the layer with training=True always, in inference too",
            slots=slots,
        )
    elif ours.value is False and theirs.value is not False:
        yield Difference(
            "running-statistics-in-training",
            "inexpressible",
            f"{condition}running statistics normalize in training too; no argument of "
            f"{target.name} says that",
            "call bn.eval() again after every model.train()",
            slots=slots,
        )
    elif (
        bool(again["tracks"].value) is not bool(task.value("tracks")) or again["tracks"].expression
    ):
        kept = bool(again["tracks"].value)
        text = (
            f"{target.name} keeps running statistics, and updates them in inference too; nothing "
            "reads them, since batch statistics normalize always"
            if kept
            else f"{target.name} keeps no running statistics here; the source updates them, though "
            "batch statistics normalize always"
        )
        yield Difference("statistics-kept", "predicted", text, slots=slots)
