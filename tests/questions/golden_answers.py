"""Answers of versions that can't be installed any more, derived from recordings of their arrays.

`answers_from` reads one of the `.npz` files in tests/data/golden and answers those questions whose
fact the arrays hold, by the same arithmetic as the experiments. For a version that can be asked
too, both ways must agree: a test holds that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.questions.probe import ROLES, close, number
from batchnorm.questions.question import Answer
from batchnorm.vocabulary import Array

__all__ = ["answers_from"]

STEP = 1e-4


class Scenario:
    """One recorded training loop; state entries go by role, flat and in float64."""

    def __init__(self, name: str, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.name, self.arrays = name, arrays
        keras = "keras" in meta["framework"]
        self.kwargs: dict[str, Any] = meta["scenarios"][name]["kwargs"]
        self.momentum: float = self.kwargs.get("momentum", 0.99 if keras else 0.9)
        axis: int = self.kwargs.get("axis", -1) if keras else 1
        rank = len(meta["scenarios"][name]["shape"])
        self.axes = tuple(i for i in range(rank) if i != axis % rank)

    def array(self, step: str, what: str) -> Array:
        return self.arrays[f"{self.name}/{step}/{what}"]

    def state(self, step: str) -> dict[str, Array]:
        """Give the state before the first step ("init") or after a step."""
        prefix = f"{self.name}/{step}/" + ("" if step == "init" else "after_")
        names = [key.removeprefix(prefix) for key in self.arrays if key.startswith(prefix)]
        return {
            ROLES.get(name, name): self.arrays[prefix + name].astype(np.float64).ravel()
            for name in names
        }

    def batch(self, step: str = "0") -> tuple[Array, Array]:
        """Give mean and biased variance of a step's input, per channel."""
        x = self.array(step, "x").astype(np.float64)
        return x.mean(self.axes), x.var(self.axes)

    def normalized(self, values: Array, mean: Array, var: Array) -> Array:
        shape = [1 if i in self.axes else -1 for i in range(values.ndim)]
        wide = values.astype(np.float64)
        found: Array = (wide - mean.reshape(shape)) / np.sqrt(var.reshape(shape))
        return found

    def normalizes_by(self, step: str, state: Mapping[str, Array]) -> str:
        """Compare x_hat, which is y without gamma and beta, with both candidates."""
        shape = [1 if i in self.axes else -1 for i in range(len(self.axes) + 1)]
        y, x = self.array(step, "y").astype(np.float64), self.array(step, "x")
        gamma, beta = state["gamma"].reshape(shape), state["beta"].reshape(shape)
        if close((y - beta) / gamma, self.normalized(x, *self.batch(step)), 1e-2):
            return "batch"
        running = self.normalized(x, state["running_mean"], state["running_var"])
        return "running" if close((y - beta) / gamma, running, 1e-2) else "neither"

    def behaviour(self) -> Answer:
        """Say what the first step did."""
        before, after = self.state("init"), self.state("0")
        moved = not close(before["running_mean"], after["running_mean"], 1e-6)
        return {"normalizes by": self.normalizes_by("0", before), "updates": moved}

    def weight_of_batch(self) -> float:
        before, after = self.state("init")["running_mean"], self.state("0")["running_mean"]
        return round(float(np.median((after - before) / (self.batch()[0] - before))), 5)

    def denominator(self) -> str:
        """Compare the variance that entered the running one with both candidates."""
        before, after = self.state("init")["running_var"], self.state("0")["running_var"]
        entered = (after - self.momentum * before) / (1 - self.momentum)
        var = self.batch()[1]
        count = self.array("0", "x").size / var.size
        unbiased = var * count / (count - 1)
        # The rounding of the running variance is enlarged by the division.
        slack = 1e-6 / (1 - self.momentum)
        if close(entered, unbiased, slack):
            return "unbiased"
        return "biased" if close(entered, var, slack) else "other"

    def epsilon(self, digits: int) -> float | str:
        """Fit the epsilon of a training step: (gamma (x - mean) / (y - beta))² = var + epsilon."""
        mean, var = self.batch()
        shape = [1 if i in self.axes else -1 for i in range(len(self.axes) + 1)]
        state = self.state("init")
        centered = self.array("0", "x").astype(np.float64) - mean.reshape(shape)
        shifted = self.array("0", "y").astype(np.float64) - state["beta"].reshape(shape)
        scaled = centered * state["gamma"].reshape(shape)
        fitted = ((scaled * shifted).sum(self.axes) / (shifted**2).sum(self.axes)) ** 2
        return number(np.mean(fitted - var), digits)


def one_value(s: Scenario) -> Answer:
    before, after = s.state("init")["running_var"], s.state("0")["running_var"]
    zero = close(after, s.momentum * before)
    added = "adds a variance of 0" if zero else number(after[0], 3)
    y = s.array("0", "y").astype(np.float64).ravel() - s.state("init")["beta"]
    return {"output": number(np.abs(y).max(), 3), "running variance of 2": added}


def running_mean_formula(s: Scenario) -> Answer:
    mean = s.state("init")["running_mean"]
    for step in "012":
        mean = s.momentum * mean + (1 - s.momentum) * s.batch(step)[0]
    return close(s.state("2")["running_mean"], mean, STEP)


def renorm_variance(s: Scenario) -> Answer:
    before, after = s.state("init"), s.state("0")["running_var"]
    var, epsilon = s.batch()[1], s.kwargs.get("epsilon", 1e-3)
    if close(after, s.momentum * before["running_var"] + (1 - s.momentum) * var, STEP):
        return "average of variances"
    deviation = s.momentum * before["moving_stddev"] + (1 - s.momentum) * np.sqrt(var + epsilon)
    expected = deviation**2 - epsilon
    return "square of the averaged standard deviation" if close(after, expected, STEP) else "other"


def ghost_batches(s: Scenario) -> Answer:
    x, y = s.array("0", "x").astype(np.float64), s.array("0", "y")
    size, state = int(s.kwargs["virtual_batch_size"]), s.state("init")

    def normalized(rows: Array) -> Array:
        group = x[rows]
        found = (x[0] - group.mean((0, 1, 2))) / np.sqrt(group.var((0, 1, 2)) + 1e-3)
        result: Array = found * state["gamma"] + state["beta"]
        return result

    if close(y[0], normalized(np.arange(0, len(x), len(x) // size)), STEP):
        return "interleaved"
    return "neighbours" if close(y[0], normalized(np.arange(size)), STEP) else "other"


def gamma_applies(s: Scenario) -> Answer:
    """Give the factor by which y is larger than the normalized input."""
    x_hat = s.normalized(s.array("0", "x"), *s.batch())
    y = s.array("0", "y").astype(np.float64)
    return number(y.std() / x_hat.std(), 3)


def initial_statistics(s: Scenario) -> Answer:
    state = s.state("init")
    return {name: number(state[name][0]) for name in ("running_mean", "running_var")}


def momentum_one(s: Scenario) -> Answer:
    weight = s.weight_of_batch()
    return {0.0: "never moves", 1.0: "holds the last batch only"}.get(weight, weight)


def counter(s: Scenario) -> Answer:
    state = s.state("1")
    return int(state["count"][0]) if "count" in state else "no counter"


def attribute_names(s: Scenario) -> Answer:
    prefix = f"{s.name}/init/"
    return sorted(key.removeprefix(prefix) for key in s.arrays if key.startswith(prefix))


def parameters(s: Scenario) -> list[str]:
    return [role for role in s.state("init") if role in ("gamma", "beta")]


def without_affine(s: Scenario) -> Answer:
    gradients = [n for n in ("gamma", "beta") if f"{s.name}/0/d{n}" in s.arrays]
    return {"state": parameters(s), "gradients": gradients}


MINDSPORE: dict[str, tuple[str, Callable[[Scenario], Answer]]] = {
    "weight-of-the-new-batch": ("seed_train", Scenario.weight_of_batch),
    "default-weight-of-the-new-batch": ("default", Scenario.weight_of_batch),
    "running-variance-denominator": ("default", Scenario.denominator),
    "running-mean-formula": ("default", running_mean_formula),
    "one-value-per-channel": ("one_value", one_value),
    "training-mode": ("default", Scenario.behaviour),
    "forced-batch-statistics": ("batch_always_in_eval", Scenario.behaviour),
    "forced-running-statistics": ("moving_always_in_train", Scenario.behaviour),
    "initial-gamma-without-affine": ("no_affine", gamma_applies),
    "default-epsilon": ("default", lambda s: s.epsilon(1)),
    "batch-counter": ("default", counter),
    "initial-running-statistics": ("default", initial_statistics),
    "momentum-of-one": ("momentum_one", momentum_one),
    "state-names": ("default", attribute_names),
}
TF_KERAS: dict[str, tuple[str, Callable[[Scenario], Answer]]] = {
    "default-weight-of-the-new-batch": ("default_nhwc", Scenario.weight_of_batch),
    "weight-of-the-new-batch": ("rank2", Scenario.weight_of_batch),
    "running-variance-denominator": ("axis1_nchw", Scenario.denominator),
    "running-variance-denominator-in-float64": ("float64", Scenario.denominator),
    "running-mean-formula": ("default_nhwc", running_mean_formula),
    "one-value-per-channel": ("one_value", one_value),
    "running-variance-with-renorm": ("renorm", renorm_variance),
    "virtual-batches": ("virtual_batch", ghost_batches),
    "training-mode": ("default_nhwc", Scenario.behaviour),
    "frozen-layer": ("frozen", Scenario.behaviour),
    "default-epsilon": ("default_nhwc", lambda s: s.epsilon(2)),
    "smallest-epsilon": ("epsilon_tiny", lambda s: s.epsilon(2)),
    "float64-layer": ("float64", lambda s: s.array("0", "y").dtype.name),
    "batch-counter": ("default_nhwc", counter),
    "initial-running-statistics": ("default_nhwc", initial_statistics),
    "state-names": ("default_nhwc", attribute_names),
    "without-affine": ("neither", without_affine),
    "gamma-without-beta": ("no_center", parameters),
}
BY_RANK = {"2": "rank2", "3": "rank3", "4": "default_nhwc", "5": "rank5"}


def answers_from(path: Path) -> dict[str, Answer]:
    """Derive what a file of MindSpore's or Keras 2's recorded arrays can answer."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    meta = json.loads(str(arrays.pop("meta")))
    keras = meta["framework"] == "keras2"
    found = {
        id: derive(Scenario(name, meta, arrays))
        for id, (name, derive) in (TF_KERAS if keras else MINDSPORE).items()
    }
    if keras:
        ranks = {rank: Scenario(name, meta, arrays) for rank, name in BY_RANK.items()}
        by_rank = {rank: scenario.denominator() for rank, scenario in ranks.items()}
        found["running-variance-denominator-by-rank"] = by_rank
    return found
