"""Questions about the initial values that a constructor takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, number
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]


def gamma_from(value: Any) -> Callable[[Subject], Answer]:
    """Say what gamma becomes: its value and dtype, or that its values differ."""

    def experiment(subject: Subject) -> Answer:
        name = "gamma_initializer" if subject.dialect in KERAS else "gamma_init"
        gamma = Probe(subject, **{name: value}).state()["gamma"]
        one_value = bool(np.all(gamma == gamma[0]))
        return {
            "values": number(gamma[0], 6) if one_value else "random",
            "dtype": gamma.dtype.name,
        }

    return experiment


def names(subject: Subject) -> Answer:
    class_name = "BatchNormalization" if subject.dialect in KERAS else "BatchNorm2d"
    found = [p.name for p in subject.signature(class_name, "__init__")]
    return [name for name in found if name.endswith(("_init", "_initializer"))]


ASKED = having("init")
ABSENT = Text("has no such parameter")


def question(id: str, given: str, matters: str, value: Any) -> Question:
    """Make one of the questions about gamma, which differ in the value that is given."""
    asks, experiment = f"What is gamma, initialized from {given}?", gamma_from(value)
    return Question(id, "parameters", asks, matters, experiment, ASKED, ABSENT, item=(37,))


QUESTIONS = (
    Question(
        "initial-value-parameters",
        "parameters",
        "Which initial values does the constructor take?",
        "Carried over under its old name, an initial gamma of 0 (for residual "
        "branches) is refused as unknown; where there are no such parameters, set the "
        "4 arrays after construction, or the branch starts at full strength.",
        names,
        item=(37,),
    ),
    question(
        "gamma-from-a-name",
        "the name 'zeros'",
        "Names are the portable form: gamma is 0 in every channel.",
        "zeros",
    ),
    question(
        "gamma-from-a-number",
        "the number 0.5",
        "Write Constant(0.5) where the number is refused, or set gamma after "
        "construction: left at 1, the outputs are twice as large.",
        0.5,
    ),
    question(
        "gamma-from-none",
        "None",
        "Where None is accepted it doesn't mean 1: with 3 channels gamma is drawn from ±1 "
        "(Glorot), so the first outputs have random signs.",
        None,
    ),
    question(
        "gamma-from-an-array",
        "a float32 array of 0.5",
        "Where it is refused, set gamma after construction: left at 1, the outputs are "
        "twice as large.",
        np.full(3, 0.5, np.float32),
    ),
    question(
        "gamma-from-an-integer-array",
        "an int32 array of 2",
        "Where gamma becomes int32, the layer can be built and not called; write 2.0.",
        np.full(3, 2, np.int32),
    ),
)
