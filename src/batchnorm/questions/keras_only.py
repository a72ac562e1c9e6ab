"""Questions about what only Keras' layers have: renorm, virtual batches, adjustment."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, attempt, close, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Adjustment, Subject

__all__ = ["QUESTIONS"]

ROWS = (4, 3)  # samples and channels: rank 2 keeps the arithmetic of an experiment short
EPSILON = 1e-3


def variance_with_renorm(subject: Subject) -> Answer:
    """Tell the average of variances from the square of the average of standard deviations."""
    probe = Probe(subject, ROWS, weight_of_batch=0.25, renorm=True)
    x = draw(ROWS)
    probe.run(x)
    var, found = x.var(0, dtype=np.float64), probe.value("running_var")
    if close(found, 0.75 + 0.25 * var, 1e-4):
        return "average of variances"
    deviation = 0.75 + 0.25 * np.sqrt(var + EPSILON)
    # The initial standard deviation, 1, has no epsilon in it.
    expected = deviation**2 - EPSILON
    return "square of the averaged standard deviation" if close(found, expected, 1e-4) else "other"


def output_with_renorm(subject: Subject) -> Answer:
    """With renorm, the first step normalizes by the running statistics, which are 0 and 1."""
    probe = Probe(subject, ROWS, renorm=True)
    x = draw(ROWS)
    y, ones = probe.run(x).y, np.ones(3)
    if close(y, x / np.sqrt(ones), 1e-2):
        return "running"
    return "batch" if close(y, (x - x.mean(0)) / x.std(0), 1e-2) else "other"


def clipping_out_of_order(subject: Subject) -> Answer:
    clipping = {"rmax": 0.5, "rmin": 2.0}
    return attempt(
        lambda: Probe(subject, ROWS, renorm=True, renorm_clipping=clipping).run(draw(ROWS))
    )


def ghost_batches(subject: Subject) -> Answer:
    probe = Probe(subject, ROWS, virtual_batch_size=2)
    x = draw(ROWS).astype(np.float64)
    y = probe.run(x.astype(np.float32)).y

    def normalized(rows: list[int]) -> Any:
        group = x[rows]
        return (x[0] - group.mean(0)) / np.sqrt(group.var(0) + EPSILON)

    if close(y[0], normalized([0, 2]), 1e-4):
        return "interleaved"
    return "neighbours" if close(y[0], normalized([0, 1]), 1e-4) else "other"


def adjusted(subject: Subject) -> Answer:
    """Compare the outputs with and without an adjustment of scale 2 and bias 3."""
    adjustment = Adjustment(np.full(3, 2.0, np.float32), np.full(3, 3.0, np.float32))

    def applied(training: bool) -> bool:
        with_it = Probe(subject, ROWS, adjustment=adjustment).run(draw(ROWS), training).y
        without = Probe(subject, ROWS).run(draw(ROWS), training).y
        return close(with_it, without * 2.0 + 3.0, 1e-4)

    return {"training": applied(True), "inference": applied(False)}


NO_RENORM = Text("has no renorm")
NO_KERAS_2 = Text("has no such parameter")

QUESTIONS = (
    Question(
        "running-variance-with-renorm",
        "updates",
        "With renorm=True, what does the running variance average?",
        "From 1 and a batch variance of 4, at weight 0.1, it becomes 1.21 and not 1.3; and "
        "where "
        "there is no renorm, nothing corresponds to it.",
        variance_with_renorm,
        asked_of=KERAS,
        absent=NO_RENORM,
        item=(13,),
    ),
    Question(
        "output-with-renorm",
        "updates",
        "With renorm=True, which statistics does the first training step's output follow?",
        "Without renorm the first step's output has mean 0 and variance 1, with it those of "
        "the "
        "input: translated without renorm, a network starts elsewhere.",
        output_with_renorm,
        asked_of=KERAS,
        absent=NO_RENORM,
        item=(13, 26),
    ),
    Question(
        "renorm-clipping-out-of-order",
        "parameters",
        "Is renorm_clipping with rmax=0.5 and rmin=2.0 accepted?",
        "Where it is accepted, one of the two bounds wins silently: r is 0.5 or 2 for every "
        "batch, a factor of 4 between them.",
        clipping_out_of_order,
        asked_of=KERAS,
        absent=NO_RENORM,
        item=(63,),
    ),
    Question(
        "virtual-batches",
        "updates",
        "With 4 samples and virtual_batch_size=2, which samples share statistics?",
        "Translated as one call for each half of the batch, all 4 samples get other partners: "
        "outputs differ by whole standard deviations.",
        ghost_batches,
        asked_of=having("virtual_batch_size"),
        absent=NO_KERAS_2,
        item=(14, 26),
    ),
    Question(
        "adjustment",
        "updates",
        "Is an `adjustment` (scale 2, bias 3) applied to the normalized values?",
        "Folded into gamma and beta instead, it would act in inference too, where it must not: "
        "outputs would be off by the factor 2.",
        adjusted,
        asked_of=having("adjustment"),
        absent=NO_KERAS_2,
        item=(15, 26),
    ),
)
