"""Questions about the weights of old and new in the running statistics."""

from __future__ import annotations

import numpy as np

from batchnorm.questions.probe import SHAPE, Probe, attempt, close, draw
from batchnorm.questions.question import Answer, Question
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

STEP = 1e-4  # float32 statistics are far closer than this, and the candidates far further apart


def weight_of_batch(probe: Probe) -> float:
    """Measure how much of the batch's mean goes into the running mean, which starts at 0."""
    x = np.full(probe.shape, 3.0, np.float32)
    x[::2] += 1.0
    probe.run(x)
    return round(float(probe.value("running_mean")[0]) / float(x.mean()), 6)


def momentum_as_given(subject: Subject) -> Answer:
    return weight_of_batch(Probe(subject, momentum=0.9))


def default_momentum(subject: Subject) -> Answer:
    return weight_of_batch(Probe(subject))


def momentum_one(subject: Subject) -> Answer:
    weight = weight_of_batch(Probe(subject, momentum=1.0))
    return {0.0: "never moves", 1.0: "holds the last batch only"}.get(weight, weight)


def out_of_range(subject: Subject) -> Answer:
    def step(momentum: float) -> None:
        Probe(subject, momentum=momentum).run(draw())

    return {str(momentum): attempt(step, momentum) for momentum in (-0.5, 2.0)}


def cumulative(subject: Subject) -> Answer:
    """Two batches of unequal size tell the mean of means from the mean of all values."""
    probe = Probe(subject, momentum=None)
    small, large = draw((2, *SHAPE[1:]), 1) + 7, draw((6, *SHAPE[1:]), 2)
    for batch in (small, large):
        probe.run(batch)
    means = [batch.mean((0, 2, 3)) for batch in (small, large)]
    found = probe.value("running_mean")
    if close(found, (means[0] + means[1]) / 2, STEP):
        return "mean of the batches' means"
    return (
        "mean of all values" if close(found, (2 * means[0] + 6 * means[1]) / 8, STEP) else "other"
    )


def running_update_formula(subject: Subject) -> Answer:
    """Three steps with the same formula, and one inference that must not move anything."""
    probe = Probe(subject, weight_of_batch=0.25)
    expected = np.zeros(3)
    for seed in range(3):
        x = draw(seed=seed)
        probe.run(x)
        expected = 0.75 * expected + 0.25 * x.mean((0, 2, 3), dtype=np.float64)
    probe.run(draw(seed=9), False)
    return close(probe.value("running_mean"), expected, STEP)


QUESTIONS = (
    Question(
        "weight-of-the-new-batch",
        "updates",
        "With momentum=0.9, what weight does the new batch's mean get in the running mean?",
        "The same number means the opposite. momentum=0.1 carried over unchanged gives the new "
        "batch the weight 0.9: after 10 steps 1e-10 of the initial value is left, not 0.349.",
        momentum_as_given,
        tolerance=1e-5,
        item=(1,),
    ),
    Question(
        "default-weight-of-the-new-batch",
        "updates",
        "By default, what weight does the new batch's mean get in the running mean?",
        "With weight 0.1 the running statistics keep 0.349 of their initial values after 10 "
        "steps, with 0.01 they keep 0.904, and inference uses nearly mean 0 and variance 1.",
        default_momentum,
        tolerance=1e-5,
        item=(1, 2),
    ),
    Question(
        "momentum-of-one",
        "updates",
        "With momentum=1.0, what do the running statistics hold?",
        "One meaning freezes the statistics at mean 0 and variance 1 for ever, the other makes "
        "inference depend on the last batch alone.",
        momentum_one,
        item=(1,),
    ),
    Question(
        "momentum-out-of-range",
        "updates",
        "Is a momentum outside 0 to 1 accepted?",
        "Where nothing checks it, momentum=2.0 makes the running variance "
        "2·new − old or 2·old − new: it can turn negative, and inference NaN.",
        out_of_range,
        item=(12,),
    ),
    Question(
        "momentum-of-none",
        "updates",
        "With momentum=None, what is the running mean after a batch of 2 and a batch of 6?",
        "A cumulative average has no counterpart as a fixed momentum: after k steps the newest "
        "batch weighs 1/k, so 0.01 is right at step 100 only, and a 100th of it at step 1.",
        cumulative,
        item=(11,),
    ),
    Question(
        "running-mean-formula",
        "updates",
        "Is running = (1 − w)·running + w·batch the rule for the mean, in training only?",
        "Where this holds, running means can be compared step by step to rounding, about 1e-7.",
        running_update_formula,
        item=(1,),
    ),
)
