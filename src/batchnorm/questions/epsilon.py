"""Questions about epsilon: its default, its range, and the value that really normalizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchnorm.questions.probe import Probe, attempt, draw, number
from batchnorm.questions.question import Answer, Question
from batchnorm.questions.subject import Raised, Subject

__all__ = ["QUESTIONS"]


def default(subject: Subject) -> Answer:
    return number(Probe(subject).epsilon(), 3)


def tiny(subject: Subject) -> Answer:
    return number(Probe(subject, epsilon=1e-7).epsilon(), 2)


def refused(value: Any) -> Callable[[Subject], Answer]:
    def experiment(subject: Subject) -> Answer:
        def call(training: bool) -> None:
            Probe(subject, epsilon=value).run(draw(), training)

        return {"training": attempt(call, True), "inference": attempt(call, False)}

    return experiment


def stage(subject: Subject) -> Answer:
    """Find where a negative epsilon is refused in training."""
    try:
        probe = Probe(subject, epsilon=-1e-5)
    except Raised:
        return "construction"
    return "nowhere" if attempt(probe.run, draw()) == "accepted" else "call"


QUESTIONS = (
    Question(
        "default-epsilon",
        "parameters",
        "What is epsilon by default?",
        "At variance 1 the outputs differ by a factor of 1.0005 (1e-3 against 1e-5), at "
        "variance 0.01 by 1.048, at variance 1e-4 by 3.2.",
        default,
        tolerance=1e-8,
        item=(28,),
    ),
    Question(
        "smallest-epsilon",
        "parameters",
        "With epsilon=1e-7 given, which epsilon normalizes rank 4?",
        "A raised epsilon divides the outputs of a dead channel, variance 0, by 10 "
        "compared with the given 1e-7; at variance 1 it changes 5e-6. TensorFlow 2.6 "
        "takes epsilon if it is above 1.001e-5, else 1.001e-5 "
        ""
        "([source](https://github.com/tensorflow/tensorflow/blob/v2.6.0/tensorflow/python/ops/nn_impl.py)).",
        tiny,
        tolerance=1e-9,
        item=(29,),
    ),
    Question(
        "zero-epsilon",
        "parameters",
        "Is epsilon=0.0 accepted?",
        "Where it is accepted, a channel of variance 0 gives 0/0, NaN, or 1/0, an "
        "infinity; with epsilon 1e-5 the factor is 316 at most.",
        refused(0.0),
        item=(30,),
    ),
    Question(
        "negative-epsilon",
        "parameters",
        "Is epsilon=-1e-5 accepted?",
        "Where it is accepted, any channel whose variance is below 1e-5 gives NaN.",
        refused(-1e-5),
        item=(30,),
    ),
    Question(
        "where-epsilon-is-refused",
        "parameters",
        "Where is a negative epsilon refused?",
        "Refused at the call, a model with a bad epsilon can be built and saved, and "
        "fails at its first batch; refused nowhere, variances below 1e-5 give NaN.",
        stage,
        item=(30,),
    ),
    Question(
        "integer-epsilon",
        "parameters",
        "Is epsilon=1, an int, accepted?",
        "Write 1.0: at variance 1 such an epsilon divides the outputs by 1.41.",
        refused(1),
        item=(31,),
    ),
    Question(
        "epsilon-above-one",
        "parameters",
        "Is epsilon=1.5 accepted?",
        "A layer with it has no counterpart where it isn't: at variance 1 the outputs are "
        "1.58 times smaller, by 1.41 with the largest epsilon that every dialect takes.",
        refused(1.5),
        item=(31,),
    ),
)
