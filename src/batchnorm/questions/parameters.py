"""Questions about the constructor's parameters: what they take, and when a later change counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, attempt, close, draw, number
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]


def channel_counts(subject: Subject) -> Answer:
    values = {"np.int64(3)": np.int64(3), "(3,)": (3,), "0": 0, "-1": -1, "3.0": 3.0, "True": True}
    return {name: attempt(subject.layer, "BatchNorm2d", value) for name, value in values.items()}


def without_affine(subject: Subject) -> Answer:
    """Say which parameters remain, and whether the optimizer would get them."""
    keras = subject.dialect in KERAS
    own: dict[str, Any] = {"scale": False, "center": False} if keras else {"affine": False}
    probe = Probe(subject, **own)
    found = probe.run(draw(), True, draw(seed=1)).gradients
    return {"state": [r for r in probe.state() if r in ("gamma", "beta")], "gradients": list(found)}


def initial_gamma_without_affine(subject: Subject) -> Answer:
    """Compare the outputs of gamma 2 and gamma 1, both with the parameter switched off."""
    doubled: dict[str, Any]
    plain: dict[str, Any]
    if subject.dialect in having("train_affine"):
        doubled, plain = ({"affine": False, "gamma_init": value} for value in (2.0, 1.0))
    else:
        two = {"class_name": "Constant", "config": {"value": 2.0}}
        doubled, plain = ({"scale": False, "gamma_initializer": value} for value in (two, "ones"))
    ratio = Probe(subject, **doubled).run(draw()).y / Probe(subject, **plain).run(draw()).y
    return number(np.median(ratio), 3)


def gamma_only(subject: Subject) -> Answer:
    own: dict[str, Any] = {"center": False} if subject.dialect in KERAS else {"bias": False}
    return [role for role in Probe(subject, **own).state() if role in ("gamma", "beta")]


def flags(subject: Subject) -> Answer:
    name = "center" if subject.dialect in KERAS else "affine"

    def make(value: Any) -> None:
        Probe(subject, **{name: value}).run(draw())

    return {repr(value): attempt(make, value) for value in (1, "x")}


def penalties(subject: Subject) -> Answer:
    class_name = "BatchNormalization" if subject.dialect in KERAS else "BatchNorm2d"
    names = [p.name for p in subject.signature(class_name, "__init__")]
    return sorted(n for n in names if n.endswith(("_regularizer", "_constraint")))


def later_momentum(subject: Subject) -> Answer:
    probe = Probe(subject)
    probe.layer.set("momentum", 0.5)
    x = draw() + 3
    probe.run(x)
    return close(probe.value("running_mean"), 0.5 * x.mean((0, 2, 3)), 1e-4)


def later_epsilon(subject: Subject) -> Answer:
    probe = Probe(subject)
    probe.layer.set("epsilon" if probe.keras else "eps", 0.25)
    return close(probe.epsilon(), 0.25)


def unknown_keyword(subject: Subject) -> Answer:
    return attempt(lambda: Probe(subject, no_such_parameter=1))


NO_SUCH = Text("has no such parameter")

QUESTIONS = (
    Question(
        "number-of-channels",
        "parameters",
        "Which values of num_features are accepted?",
        "A channel count from NumPy (np.int64), as shapes and configurations give it, may have "
        "to become int(…); 0 channels pass silently where they are accepted.",
        channel_counts,
        asked_of=having("num_features"),
        absent=Text("learns it from the first input"),
        item=(32,),
    ),
    Question(
        "without-affine",
        "parameters",
        "Without affine (center and scale), which parameters remain, and which get gradients?",
        "A checkpoint then has 2 entries more or less per layer, and a strict load fails; "
        "entries that remain still multiply.",
        without_affine,
        item=(34,),
    ),
    Question(
        "initial-gamma-without-affine",
        "parameters",
        "With gamma switched off, how much larger is the output for an initial gamma of 2?",
        "With an initial gamma of 2, dropping it in a translation halves the outputs "
        "where the answer is 2 (“off” means frozen there, not absent), and changes "
        "nothing where it is 1.",
        initial_gamma_without_affine,
        asked_of=having("init"),
        absent=Text("has no initial values"),
        tolerance=1e-6,
        item=(34,),
    ),
    Question(
        "gamma-without-beta",
        "parameters",
        "Which parameters does a layer have with beta alone switched off?",
        "Where beta can't be left out, keep it at 0 and out of the optimizer: one step of size "
        "0.1 on it would shift the whole channel by 0.1.",
        gamma_only,
        asked_of=having("beta_if_affine", "has_beta"),
        absent=NO_SUCH,
        item=(34, 35),
    ),
    Question(
        "flags-that-are-not-booleans",
        "parameters",
        "Are 1 and 'x' accepted for affine (center)?",
        "A flag that was read from a file as 'False' switches the parameter on where any "
        "non-empty string is accepted: 2 parameters per channel instead of 0.",
        flags,
        item=(36,),
    ),
    Question(
        "regularizers-and-constraints",
        "parameters",
        "Which penalties and constraints does the constructor take?",
        "Elsewhere the penalty has to be added to the loss by hand: l2 = 0.01 on 64 gammas of "
        "1 "
        "is 0.64 of the loss at the first step.",
        penalties,
        item=(38,),
    ),
    Question(
        "momentum-changed-later",
        "parameters",
        "Does momentum = 0.5, set on the finished layer, count?",
        "A schedule that lowers momentum during training, or a recalibration that sets "
        "it, has no effect where the answer is no: the weight stays as constructed, "
        "0.1 by default.",
        later_momentum,
        item=(67,),
    ),
    Question(
        "epsilon-changed-later",
        "parameters",
        "Does epsilon = 0.25, set on the finished layer, count?",
        "A loop that sets a pretrained model's epsilon to 1e-3 changes nothing where "
        "the answer is no: at variance 0.01 the outputs stay 1.048 times too large.",
        later_epsilon,
        item=(67,),
    ),
    Question(
        "unknown-keyword",
        "parameters",
        "What does an unknown keyword argument raise?",
        "Code that probes for a parameter by try … except TypeError misses a "
        "ValueError: write except (TypeError, ValueError).",
        unknown_keyword,
        item=(66,),
    ),
)
