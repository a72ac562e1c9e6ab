"""One layer of any dialect, made and called in the words of the core, for experiments to use.

It is the shortest way from "a layer with this epsilon, in training" to the dialect's own words,
and holds nothing about how a dialect behaves: that is what the experiments find out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from batchnorm.frameworks import OWN, Framework, find
from batchnorm.questions.question import Answer
from batchnorm.questions.subject import Raised, Run, Subject
from batchnorm.vocabulary import Array

__all__ = ["KERAS", "ROLES", "SHAPE", "Probe", "attempt", "close", "draw", "error_name", "number"]

KERAS = tuple(record.name for record in OWN if record.is_keras and not record.older)
SHAPE = (4, 3, 2, 5)  # 40 values per channel: n / (n - 1) is 1.0256, far from rounding


def roles(record: Framework) -> dict[str, str]:
    """What a framework calls its state: name -> role; renorm's entries have no other names."""
    state = record.layer_class.STATE.items()
    return {name: entry.role for name, entry in state if "renorm" not in entry.needs}


ROLES = {  # what any framework calls its state: name -> role
    name: role for record in OWN for name, role in roles(record).items()
}


class Probe:
    """A layer whose channels are on axis 1, unless told otherwise.

    `epsilon` and `weight_of_batch` are given to the layer under its own names and in its own
    convention; everything in `own` goes to the constructor as it is.
    """

    def __init__(
        self,
        subject: Subject,
        shape: tuple[int, ...] = SHAPE,
        *,
        axis: Any = 1,
        epsilon: Any = None,
        weight_of_batch: float | None = None,
        **own: Any,
    ) -> None:
        record = find(subject.dialect)
        self.keras = record.is_keras
        self.shape = shape
        names = {p.meaning.word: name for name, p in record.layer_class.PARAMETERS.items()}
        self.roles = roles(record)
        if epsilon is not None:
            own[names["epsilon"]] = epsilon
        if weight_of_batch is not None and "weight_of_batch" in names:
            own[names["weight_of_batch"]] = weight_of_batch
        elif weight_of_batch is not None:
            own[names["weight_of_running"]] = 1 - weight_of_batch
        if self.keras:
            self.layer = subject.layer("BatchNormalization", axis=axis, **own)
            self.layer.build(shape)
        else:
            class_name = f"BatchNorm{max(len(shape) - 2, 1)}d"
            self.layer = subject.layer(class_name, shape[axis], **own)

    @property
    def trained(self) -> list[str]:
        """What the layer calls gamma and beta, where they can be frozen by themselves."""
        names = {role: name for name, role in self.roles.items()}
        return [] if self.keras else [names["gamma"], names["beta"]]

    def run(self, x: Array, training: Any = True, dy: Any = None, **call: Any) -> Run:
        """Call the layer once in training or inference."""
        if self.keras:
            return self.layer.run(x, dy, training=training, **call)
        self.layer.train(training)
        return self.layer.run(x, dy, **call)

    def state(self) -> dict[str, Array]:
        """Give the state by role, in the layer's order: gamma, beta, running_mean, ..."""
        return {self.roles.get(name, name): value for name, value in self.layer.state().items()}

    def value(self, role: str) -> Array:
        """Give one state entry, flat and in float64."""
        return np.asarray(self.state()[role]).astype(np.float64).ravel()

    def put(self, **values: float) -> Probe:
        """Fill state entries, named by role, each with one number."""
        state = self.layer.state()
        for name, array in state.items():
            if self.roles.get(name, name) in values:
                state[name] = np.full_like(array, values[self.roles.get(name, name)])
        self.layer.load_state(state)
        return self

    def normalizes_by(self, training: Any = True, **call: Any) -> str:
        """Find which statistics normalize: "batch", "running" or "neither"; and call once."""
        if "running_mean" in self.state():
            self.put(running_mean=5.0, running_var=4.0)
        x = draw(self.shape)
        y = self.run(x, training, **call).y.astype(np.float64)
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        # Epsilon, 1e-3 at most, plays no part at this tolerance.
        if close(y, (x - mean) / np.sqrt(var), 1e-2):
            return "batch"
        return "running" if close(y, (x - 5) / 2, 1e-2) else "neither"

    def behaviour(self, training: Any = True, **call: Any) -> Answer:
        """Find which statistics normalize and whether the call moves the running ones."""
        used = self.normalizes_by(training, **call)
        state = self.state()
        moves = "running_mean" in state and not close(state["running_mean"], 5.0, 1e-3)
        return {"normalizes by": used, "updates": bool(moves)}

    def epsilon(self) -> float:
        """Measure the epsilon that normalizes in inference: 1 / sqrt(0 + epsilon) = y."""
        self.put(running_mean=0.0, running_var=0.0)
        y = float(self.run(np.ones(self.shape, np.float32), False).y.ravel()[0])
        return math.inf if y == 0 else y**-2


def draw(shape: tuple[int, ...] = SHAPE, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Draw numbers with mean 1 and standard deviation 2."""
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype(dtype)


def close(a: Any, b: Any, tolerance: float = 1e-5) -> bool:
    """Whether two arrays agree everywhere; NaN agrees with nothing."""
    return bool(np.all(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)) <= tolerance))


def number(value: Any, digits: int = 6) -> float | str:
    """Round to significant digits; "nan", "inf" and "-inf" are words, for JSON has none of them."""
    value = float(value)
    return float(f"{value:.{digits}g}") if math.isfinite(value) else str(value)


def error_name(raised: Raised) -> str:
    """Give the nearest built-in class, or "error" for a class that a framework made itself."""
    return raised.bases[0] if raised.bases and raised.bases[0] != "Exception" else "error"


def attempt(trial: Callable[..., Any], *args: Any) -> Answer:
    """Say "accepted", or what was raised."""
    try:
        trial(*args)
    except Raised as raised:
        return error_name(raised)
    return "accepted"
