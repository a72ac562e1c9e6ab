"""One side of a proof at work: its layer, and theory beside it, step by step.

Not here: the comparison of two sides (`proof`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from batchnorm.core import kernel, reference
from batchnorm.frameworks.keras import initializers
from batchnorm.questions.subject import LayerUnderTest, Ours, Subject
from batchnorm.translate.argument import Argument
from batchnorm.translate.canonical import Canonical
from batchnorm.translate.data import Data
from batchnorm.translate.facts import facts
from batchnorm.translate.plan import Plan, Side
from batchnorm.translate.theory import Theory, Value
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["STEPS", "Run", "roundoff"]

STEPS = 5
_NEUTRAL = {"gamma": 1.0, "beta": 0.0}
_NOTHING = Argument("None", None)
# Initializers that draw nothing, whose values can be compared.
_INITIAL: Mapping[type, Callable[[Any], float]] = {
    initializers.Zeros: lambda _: 0.0,
    initializers.Ones: lambda _: 1.0,
    initializers.Constant: lambda constant: constant.value,
}
_OBJECTS = ("init", "regularizer", "constraint", "initial_weights", "input_shape", "name")


class Run:
    """One side's run: what it gave, rows (channels, values) under common names, and theory's."""

    def __init__(
        self,
        plan: Plan,
        side: Side,
        arguments: Canonical,
        axis: int,
        subject: Subject,
        data: Data,
        arithmetic: float,
        roles: Mapping[str, str],
    ) -> None:
        self.data, self.axis, self.side, self.label = data, axis, side, subject.label
        self.place = 0 if side is plan.source else 1
        values = side.values(plan.channels)
        if not isinstance(subject, Ours):
            values = _travelling(side, values)
        self.layer: LayerUnderTest = subject.layer(side.form.layer.__name__, **values)
        self.framework = side.form.dialect.framework
        if side.form.dialect.is_keras:
            self.layer.build(data.shape_for(axis))
        entries = side.form.layer.STATE
        self.roles = {name: entries[name].role for name in self.layer.state()}
        initial = {self.roles[n]: np.ravel(v) for n, v in self.layer.state().items()}
        loops = sums = 0.0
        if isinstance(subject, Ours) and kernel.chosen is not reference:
            single, own = roundoff("float32"), roundoff(data.dtypes[self.place])
            loops, sums = min(single, own), single if own > single else 0.0
        theory = self._theory(plan, arguments, arithmetic, roles)
        self.theory = replace(theory, loops=loops, sums=sums)
        self.exact = self._without_rounding()
        self.measured: dict[str, list[Array]] = {}
        self.expected: dict[str, list[Value]] = {}
        self.unrounded: dict[str, list[Value]] = {}
        for role, value in initial.items():
            expected = _INITIAL.get(type(arguments.get(f"init of {role}", _NOTHING).value))
            if expected is not None:
                start = np.full(value.shape, expected(arguments[f"init of {role}"].value), float)
                self.measured[f"{role} at first"] = [value]
                self.expected[f"{role} at first"] = [Value(start, np.zeros_like(start))]
                self.unrounded[f"{role} at first"] = self.expected[f"{role} at first"]

    def _without_rounding(self) -> Theory:
        """The same theory, but for a factor that is rounded to no less than the state is."""
        narrow = self.theory.roundoff >= roundoff("float32")
        exact = replace(self.theory.facts, rounds_factor=False) if narrow else self.theory.facts
        return replace(self.theory, facts=exact, running=dict(self.theory.running))

    def _theory(
        self,
        plan: Plan,
        arguments: Canonical,
        arithmetic: float,
        roles: Mapping[str, str],
    ) -> Theory:
        """Load the common state, where `roles` says which entry gets which, and tell theory."""
        state = dict(self.data.state)
        for role, neutral in _NEUTRAL.items():
            slot = f"has_{role}"
            if not all(s.canonical[slot].value for s in (plan.source, plan.target)):
                state[role] = np.full_like(state[role], neutral)
        own = self.layer.state()
        given = {
            name: np.asarray(self.data.batches)
            if self.roles[name] == "count"
            else state[roles.get(name, self.roles[name])].reshape(value.shape).astype(value.dtype)
            for name, value in own.items()
        }
        self.layer.load_state(given)
        stored = [v for n, v in own.items() if self.roles[n] in ("running_mean", "running_var")]
        zero = np.zeros_like(state["running_mean"], np.float64)
        return Theory(
            arguments,
            facts(self.side.form.dialect, arguments, plan.rank),
            state["gamma"].astype(np.float64),
            state["beta"].astype(np.float64),
            {k: Value(v.astype(np.float64), zero) for k, v in state.items() if k not in _NEUTRAL},
            self.data.batches,
            roundoff(stored[0].dtype) if stored else 0.0,
            arithmetic,
        )

    def run(self) -> None:
        """All training steps, then the inference."""
        for step in range(STEPS):
            self._step(step, "training", training=True)
        self._step(STEPS, "inference", training=False)

    def _step(self, step: int, when: str, *, training: bool) -> None:
        x, dy = self.data.batch(step, self.axis, self.place)
        call = {}
        if self.side.form.dialect.is_keras:
            call["training"] = training
        else:
            self.layer.train(training)
        ran = self.layer.run(x, dy, **call)
        found = {"y": self.data.rows(ran.y, self.axis)}
        if ran.dx is not None:
            found["dx"] = self.data.rows(ran.dx, self.axis)
        for name, gradient in ran.gradients.items():
            found[f"gradient of {self.roles[name]}"] = np.ravel(gradient)
        rows = [self.data.rows(part, self.axis).astype(np.float64) for part in (x, dy)]
        theory = self.theory.step(*rows, training=training)
        exact = self.exact.step(*rows, training=training)
        for name, value in self.layer.state().items():
            if self.roles[name] != "count":
                role = self.roles[name]
                found[f"{role} after"] = np.ravel(value)
                if role in self.theory.running:
                    theory[f"{role} after"] = self.theory.running[role]
                    exact[f"{role} after"] = self.exact.running[role]
                else:  # gamma and beta: nothing moves them
                    kept = getattr(self.theory, role)
                    theory[f"{role} after"] = Value(kept, np.zeros_like(kept))
                    exact[f"{role} after"] = theory[f"{role} after"]
        for name, array in found.items():
            key = f"{name} {when}" if name.endswith("after") else f"{name}, {when}"
            self.measured.setdefault(key, []).append(array)
            self.expected.setdefault(key, []).append(theory[name])
            self.unrounded.setdefault(key, []).append(exact[name])


def roundoff(dtype: Any) -> float:
    """Unit roundoff of a floating dtype, a trifle larger: a result may be rounded through float32.

    >>> roundoff("float64") == 2.0**-53 * 1.001
    True
    """
    digits = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}[as_dtype(dtype).name]
    return float(2.0**-digits * 1.001)


def _travelling(side: Side, values: dict[str, object]) -> dict[str, object]:
    """Arguments as a worker process takes them; objects that no number depends on stay here."""
    parameters = side.form.layer.PARAMETERS
    kept = {n: v for n, v in values.items() if parameters[n].meaning.word not in _OBJECTS}
    if "dtype" in kept and not side.form.dialect.is_keras and kept["dtype"] is not None:
        kept["dtype"] = as_dtype(kept["dtype"])  # type: ignore[arg-type]
    return kept
