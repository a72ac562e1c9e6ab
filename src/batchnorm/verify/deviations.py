"""The listed deviations: where a real framework and our layer differ, known and with a reason.

They are data, in `deviations.toml`, whose head says what an entry holds. Here they are read and
matched with what a comparison found. `CLASSES` names the kinds of drawn cases that an entry can
speak of; a class says which steps it holds for, never what happens there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.errors import InvalidValue
from batchnorm.newer_python import tomllib
from batchnorm.verify.draw import Case, Step, data
from batchnorm.verify.tolerance import batch_statistics

__all__ = ["CLASSES", "FILE", "Deviation", "find", "read"]

FILE = Path(__file__).with_name("deviations.toml")
KEYS = {"signature", "question", "call", "drawn"}


def _one_channel(case: Case, step: Step) -> bool:
    return math.prod(step.shape[axis] for axis in case.channel_axes) == 1


def _masked(case: Case, step: Step) -> bool:
    """Whether a mask takes part: in training, unless the fused kernel ignores it."""
    return bool(step.mask) and bool(step.training)


def _trains(case: Case, step: Step) -> bool:
    """Whether a layer of Keras takes the batch's statistics."""
    trainable = case.arguments.get("trainable", True)
    for each in case.steps:
        trainable = dict(each.changes).get("trainable", trainable)
        if each is step:
            break
    return bool(step.training and trainable)


def _cancelled(case: Case, step: Step) -> bool:
    """Whether epsilon is minus a running variance, as a negative momentum may leave it."""
    settings = {"momentum": 0.99, "epsilon": 1e-3, **case.arguments}
    if case.loaded or settings.get("renorm"):
        return False
    start = settings.get("moving_variance_initializer", "ones")
    var = np.full(1, 1.0 if start == "ones" else dict(start)["config"]["value"])
    for number, each in enumerate(case.steps):
        settings |= dict(each.changes)
        momentum, epsilon = settings["momentum"], settings["epsilon"]
        if not all(isinstance(value, int | float) for value in (momentum, epsilon)):
            return False
        trains = _trains(case, each)
        if each is step:
            return not trains and bool(np.any(np.abs(var + epsilon) <= 1e-6 * epsilon))
        if trains:
            *_, (_, _, batch) = batch_statistics(case, data(case, number), number)  # with the mask
            channels = math.prod(each.shape[axis] for axis in case.channel_axes)
            batch = batch.reshape(-1, channels).mean(0)  # of ghost batches
            var = momentum * var + (1 - momentum) * batch
    return False


def _alternate(case: Case, step: Step) -> bool:
    """Whether axes with statistics of their own and without alternate in more than five runs.

    Axes of length 1 belong to any run; the axis that counts ghost batches has statistics.
    """
    shape, owns = step.shape, set(case.channel_axes)
    size = case.arguments.get("virtual_batch_size")
    if size and _trains(case, step):
        shape, owns = (size, shape[0] // size, *shape[1:]), {1, *(axis + 1 for axis in owns)}
    runs = itertools.groupby(axis in owns for axis, length in enumerate(shape) if length != 1)
    return 0 not in shape and sum(1 for _ in runs) > 5


CLASSES: Mapping[str, Callable[[Case, Step], bool]] = {
    "parameters of two dtypes": lambda case, step: (
        str(case.arguments.get("dtype")) in ("float16", "float64")
        and any(isinstance(value, np.ndarray) for value in case.arguments.values())
    ),
    "an empty batch": lambda case, step: 0 in step.shape,
    "an empty batch of rank 5": lambda case, step: 0 in step.shape and len(step.shape) == 5,
    "a mask on one channel": lambda case, step: _masked(case, step) and _one_channel(case, step),
    "one value in one channel": lambda case, step: math.prod(step.shape) == len(step.shape) == 1,
    "an input of rank 1": lambda case, step: len(step.shape) == 1,
    "an input of float64": lambda case, step: case.dtype == "float64",
    "a layer of float64": lambda case, step: case.arguments.get("dtype") == "float64",
    "synchronized": lambda case, step: bool(case.arguments.get("synchronized")),
    "a mask": _masked,
    "a layer of bfloat16": lambda case, step: (
        str(case.arguments.get("dtype")) in ("bfloat16", "mixed_bfloat16")
    ),
    "an input of integers": lambda case, step: case.dtype in ("int32", "uint8", "bool"),
    "integers, channels last": lambda case, step: (
        case.dtype in ("int32", "uint8", "bool") and step.layout == "channels last"
    ),
    "a fractional mask, synchronized": lambda case, step: (
        bool(case.arguments.get("synchronized")) and step.mask == "weights"
    ),
    "a running variance of minus epsilon": _cancelled,
    "six runs of axes": _alternate,
    "a mask beside virtual batches": lambda case, step: (
        _masked(case, step) and case.arguments.get("virtual_batch_size") is not None
    ),
}


@dataclass(frozen=True)
class Deviation:
    """One entry: where it is, and why.

    Those of a dialect hold for its older versions too.

    Attributes:
        dialect: torch, mindspore, tf_keras or keras, or an older version such as tf_keras@2.6.
        kind: "signature", "question", "call" or "drawn".
        names: parameters, ids of questions, bad calls (with * for anything), or classes.
        at: for calls and drawn cases, the beginnings of the places where it shows; all if empty.
        frameworks: the oracles that it is true of, such as keras/jax; all of the dialect if empty.
        versions: the framework's versions that it was seen with.
        reason: why it is so, in English; `reason_zh` in Chinese.
        link: to what shows it.
    """

    dialect: str
    kind: str
    names: tuple[str, ...]
    at: tuple[str, ...]
    frameworks: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str
    reason_zh: str
    link: str

    def __str__(self) -> str:
        return f"{self.dialect} {self.kind} {', '.join(self.names)}: {self.reason}"

    def covers(self, framework: str, kind: str, name: str, place: str = "") -> bool:
        """Whether the entry speaks of this comparison; the version is not asked for."""
        dialect = framework.partition("/")[0]
        if self.dialect not in (dialect, dialect.partition("@")[0]) or kind != self.kind:
            return False
        if self.frameworks and framework not in self.frameworks:
            return False
        where = place.partition(": ")[2] or place
        if self.at and not where.startswith(self.at):
            return False
        # A name with brackets is a name: only * stands for something else.
        return any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in self.names)


@cache
def read(path: Path = FILE) -> tuple[Deviation, ...]:
    """Read the file.

    Raises:
        ValueError: an entry lacks something, or has a key or a class that means nothing.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("deviation", [])
    return tuple(_entry(entry) for entry in entries)


def find(
    listed: Iterable[Deviation], framework: str, kind: str, names: Iterable[str], place: str = ""
) -> Deviation | None:
    """Find the first entry that covers one of the names."""
    known = tuple(listed)
    for name in names:
        for deviation in known:
            if deviation.covers(framework, kind, name, place):
                return deviation
    return None


def classes(case: Case, place: str) -> list[str]:
    """Name the classes that the step at a place belongs to, or one before it."""
    last = len(case.steps)
    if place.startswith("step "):
        last = int(place.removeprefix("step ").partition(":")[0])
    return [
        name
        for name, holds in CLASSES.items()
        if any(holds(case, step) for step in case.steps[:last])
    ]


def _entry(entry: dict[str, Any]) -> Deviation:
    kinds = KEYS & set(entry)
    allowed = KEYS | {"dialect", "at", "frameworks", "versions", "reason", "reason_zh", "link"}
    missing = {"dialect", "versions", "reason", "reason_zh", "link"} - set(entry)
    if len(kinds) != 1 or missing or set(entry) - allowed:
        raise InvalidValue(
            f"a deviation has one of {sorted(KEYS)}, all of dialect, versions, reason, reason_zh "
            f"and link, and perhaps at and frameworks; but got {entry}"
        )
    (kind,) = kinds
    names = (entry[kind],) if isinstance(entry[kind], str) else tuple(entry[kind])
    unknown = [name for name in names if kind == "drawn" and name not in CLASSES]
    if unknown:
        raise InvalidValue(f"no class of drawn cases is called {unknown}; known: {list(CLASSES)}")
    return Deviation(
        dialect=str(entry["dialect"]),
        kind=kind,
        names=names,
        at=tuple(entry.get("at", ())),
        frameworks=tuple(entry.get("frameworks", ())),
        versions=tuple(entry["versions"]),
        reason=str(entry["reason"]),
        reason_zh=str(entry["reason_zh"]),
        link=str(entry["link"]),
    )
