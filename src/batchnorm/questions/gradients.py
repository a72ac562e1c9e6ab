"""Questions about backward: the formulas, what gets a gradient, and in which dtype."""

from __future__ import annotations

import contextlib

import numpy as np

from batchnorm.questions.probe import ROLES, Probe, attempt, close, draw, number
from batchnorm.questions.question import ASKED, Answer, Question, Text
from batchnorm.questions.subject import Raised, Subject

__all__ = ["QUESTIONS"]


def formulas(subject: Subject) -> Answer:
    """Compare with the textbook, in training (through the statistics) and in inference."""
    return {"training": formula(subject, True), "inference": formula(subject, False)}


def formula(subject: Subject, training: bool) -> bool:
    probe = Probe(subject, epsilon=1e-3)
    probe.put(gamma=1.5, beta=0.5, running_mean=1.0, running_var=2.0)
    x, dy = draw(), draw(seed=1)
    run = probe.run(x, training, dy)
    x, dy, axes = x.astype(np.float64), dy.astype(np.float64), (0, 2, 3)
    mean = x.mean(axes, keepdims=True) if training else np.float64(1.0)
    var = x.var(axes, keepdims=True) if training else np.float64(2.0)
    inv_std = 1 / np.sqrt(var + 1e-3)
    x_hat = (x - mean) * inv_std
    dx = 1.5 * inv_std * dy
    if training:
        through = dy.mean(axes, keepdims=True) + x_hat * (dy * x_hat).mean(axes, keepdims=True)
        dx = 1.5 * inv_std * (dy - through)
    assert run.dx is not None
    found = {ROLES.get(name, name): value for name, value in run.gradients.items()}
    return (
        close(run.dx, dx, 1e-4)
        and close(found["gamma"], (dy * x_hat).sum(axes), 1e-3)
        and close(found["beta"], dy.sum(axes), 1e-3)
    )


def receivers(subject: Subject) -> Answer:
    found = Probe(subject).run(draw(), True, draw(seed=1)).gradients
    return [ROLES.get(name, name) for name in found]


def frozen_receivers(subject: Subject) -> Answer:
    """Freeze gamma, or the whole layer where that is the way, and call it in training."""
    probe = Probe(subject)
    if probe.keras:
        probe.layer.set("trainable", False)
    else:
        name = probe.trained[0]
        with contextlib.suppress(Raised):  # NumPy arrays have no such flag
            probe.layer.set(f"{name}.requires_grad", False)
    return [ROLES.get(name, name) for name in probe.run(draw(), True, draw(seed=1)).gradients]


def sixteen_bit(subject: Subject) -> Answer:
    run = Probe(subject).run(draw(dtype=np.float16), True, draw(seed=1))
    found = {ROLES.get(name, name): value.dtype.name for name, value in run.gradients.items()}
    return {"dx": "none" if run.dx is None else run.dx.dtype.name, **found}


def of_an_empty_batch(subject: Subject) -> Answer:
    shape = (0, 3, 2, 2)
    run = Probe(subject, shape).run(np.zeros(shape, np.float32), True, np.zeros(shape, np.float32))
    sums = {ROLES.get(name, name): value for name, value in run.gradients.items()}
    return {role: number(np.abs(value).max(), 3) for role, value in sums.items()}


def of_running_statistics(subject: Subject) -> Answer:
    probe = Probe(subject)

    def differentiate() -> None:
        probe.layer.set("running_mean.requires_grad", True)
        probe.run(draw(), False, draw(seed=1))

    return attempt(differentiate)


QUESTIONS = (
    Question(
        "gradient-formulas",
        "gradients",
        "Do the gradients follow the usual formulas: through the batch's statistics in "
        "training, with the statistics as constants in inference?",
        "Gradients agree to rounding, 2e-6 in float32.",
        formulas,
    ),
    Question(
        "what-gets-gradients",
        "gradients",
        "Which entries of the state get a gradient in training?",
        "2 of 4 entries: an optimizer that is given the running statistics too must be given "
        "zeros for them.",
        receivers,
        item=(62,),
    ),
    Question(
        "gradients-of-a-frozen-gamma",
        "gradients",
        "With gamma frozen, which parameters still get gradients?",
        "Where a frozen parameter keeps its gradient, only the optimizer's list protects it: "
        "one update by hand over all gradients moves it.",
        frozen_receivers,
        item=(24,),
    ),
    Question(
        "gradient-dtypes-for-float16",
        "gradients",
        "Which dtypes have the gradients for float16 input to a default layer?",
        "A dx in float16 overflows above 65504: the loss scale that works in one framework can "
        "give inf in the other.",
        sixteen_bit,
        item=(52,),
    ),
    Question(
        "gradients-of-an-empty-batch",
        "gradients",
        "How large are the parameters' gradients for an empty batch?",
        "Where they aren't 0, one empty batch spoils the accumulated gradients of a step.",
        of_an_empty_batch,
        item=(9,),
    ),
    Question(
        "gradients-of-running-statistics",
        "gradients",
        "What happens when the running mean is asked to require a gradient (inference)?",
        "Methods that differentiate by the statistics, such as style matching, have to "
        "compute (x − mean)/√(var + ε) themselves.",
        of_running_statistics,
        asked_of=tuple(record.name for record in ASKED if record.calls.gradient_flags),
        absent=Text("has no such flag on them"),
        item=(62,),
    ),
    Question(
        "second-derivatives",
        "gradients",
        "Are second derivatives right?",
        "Measured by hand with MindSpore 2.0.0 in PyNative mode: they are exactly 0, without "
        "an "
        "error (the largest should have been 181 in training). A gradient penalty then has no "
        "effect.",
        None,
        unrecorded=Text(
            "Open: measured by hand with MindSpore 2.0.0, not repeatable here: it can't be "
            "installed, and the experiments differentiate once."
        ),
        item=(61,),
    ),
)
