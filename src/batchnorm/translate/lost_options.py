"""What is lost of the arguments that stand alone: axis, initial values, dtypes, Keras' options.

One rule per slot; `losses` calls it where the written call doesn't say what the slot says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from batchnorm.frameworks.keras.objects import is_object
from batchnorm.translate.canonical import Canonical
from batchnorm.translate.difference import Difference
from batchnorm.translate.objects import write_object
from batchnorm.translate.task import Task, channel_position

__all__ = ["RULES"]

Rule: TypeAlias = Callable[[Task, str, Canonical], Iterator[Difference]]


def _axis(task: Task, slot: str, again: Canonical) -> Iterator[Difference]:
    ours, theirs = task.arguments[slot], again[slot]
    target, rank = task.target.dialect.name, task.rank
    place, other = channel_position(ours.value, rank), channel_position(theirs.value, rank)
    if ours.expression:
        yield Difference(
            "channel-axis",
            "around",
            f"the channels are on axis {ours.text}; {target} has them on axis {theirs.text}",
            "permute the data wherever these differ",
            slots=(slot,),
        )
    elif place is None:
        yield Difference(
            "channel-axis",
            "inexpressible",
            f"axis={ours.text} is not one axis of an input of rank {rank}; {target} has one "
            "channel axis",
            "reshape the data so that its channels are on one axis",
            slots=(slot,),
        )
    elif place != other:
        last = task.target.dialect.calls.channels_last if rank == 4 and place == 3 else ""
        yield Difference(
            "channel-axis",
            "around",
            f"the channels are on axis {place} of rank {rank}; {target} has them on axis {other}",
            f"permute the data, moving axis {place} to {other}" + last,
            slots=(slot,),
        )


def _init(task: Task, slot: str, again: Canonical) -> Iterator[Difference]:
    ours, role = task.arguments[slot], slot.removeprefix("init of ")
    shown = (
        write_object(ours, "initializers", task.source.dialect).text if not ours.text else ours.text
    )
    yield Difference(
        "initial-value",
        "inexpressible",
        f"{role} starts as {shown}; {task.target.dialect.name} can't say so and starts with "
        f"{again[slot].text}",
        _fill(task, role),
        slots=(slot,),
    )


def _fill(task: Task, role: str) -> str:
    fill, value = task.target.dialect.calls.fill, task.value(f"init of {role}")
    kind = type(value).__name__ if is_object(value) else ""
    text = fill.get(kind, fill.get("", ""))
    if not text:
        return f"set {role} after construction"
    name = f"bn.{task.target.names.get(role, role)}"
    return text.format(**{**(vars(value) if kind in fill else {}), "name": name})


def _dtype(task: Task, slot: str, again: Canonical) -> Iterator[Difference]:
    ours, theirs, target = task.arguments[slot], again[slot], task.target.dialect.name
    if slot == "parameter_dtype":
        yield Difference(
            "parameter-dtype",
            "inexpressible",
            f"the parameters are {ours.text}; {target} has them as {theirs.text} here",
            f"use {theirs.text} on both sides, or keep the layer where it is",
            slots=("parameter_dtype", "compute_dtype"),
        )
    elif task.arguments["parameter_dtype"].same(again["parameter_dtype"]):
        yield Difference(
            "compute-dtype",
            "around",
            f"the source computes in {ours.text}; {target} computes in its input's type",
            f"give it {ours.text} data",
            slots=(slot,),
        )


def _lost(key: str, text: str, remedy: str = "", *, always: bool = True) -> Rule:
    def rule(task: Task, slot: str, again: Canonical) -> Iterator[Difference]:
        ours = task.arguments[slot]
        if ours.literal and ours.value in (None, False):
            return
        said = text.format(
            argument=ours.text, target=task.target.dialect.name, of=slot.rpartition(" ")[2]
        )
        do = remedy.format(argument=ours.text, target=task.target.dialect.name)
        yield Difference(key, "inexpressible" if always else "around", said, do, slots=(slot,))

    return rule


_GROUP = _lost(
    "process-group",
    "statistics over the processes of {of}={argument} alone can't be said in {target}",
    "let only these processes run the layer together",
)
RULES: Mapping[str, Rule] = {
    "channel_axis": _axis,
    "init": _init,
    "parameter_dtype": _dtype,
    "compute_dtype": _dtype,
    "regularizer": _lost(
        "regularizer",
        "the loss has a penalty {argument} on {of}; a {target} layer has none",
        "add it to the loss yourself",
    ),
    "constraint": _lost(
        "constraint",
        "{of} is projected by {argument} after each step; a {target} layer has no constraints",
        "apply it after the optimizer's step yourself",
    ),
    "renorm": _lost(
        "renorm",
        "batch renormalization is nothing that {target} has",
        "train without it, or apply its r and d to the normalized values yourself",
    ),
    "virtual_batch_size": _lost(
        "virtual-batch-size",
        "{target} normalizes the whole batch, not groups of {argument} samples",
        "for the outputs, normalize x[g::k] for each g, where k is the batch's size divided by "
        "{argument}; but the running statistics then must move once per batch, by the mean of the "
        "groups' statistics, and calling the layer once per group moves them k times",
    ),
    "adjustment": _lost(
        "adjustment",
        "{target} has no adjustment of the normalized values",
        "in training, scale and shift the normalized values yourself, before gamma and beta",
    ),
    "initial_weights": _lost(
        "initial-weights", "{target} takes no initial weights", "load them after construction"
    ),
    "synchronized": _lost(
        "synchronized",
        "{target} has no statistics over all replicas in this class",
        "make each process's batch large enough for statistics of its own",
    ),
    "fused": _lost("fused", "{target} has no choice of kernel", always=False),
    "device": _lost(
        "device", "{target} takes no device here", "place the layer as {target} does", always=False
    ),
    "name": _lost(
        "layer-name",
        "the name {argument} is part of the names in Keras' files; in {target} the attribute that "
        "holds the layer names it",
        always=False,
    ),
    "hint": _lost("input-shape", "{target} needs no {of}", always=False),
    "option": _lost("option", "{target} has no {of}", always=False),
    "option process_group": _GROUP,
    "option process_groups": _GROUP,
}
"""Slot, or its first word -> what is lost with it."""
