"""Questions about batches that are no ordinary ones: one value per channel, or none."""

from __future__ import annotations

import numpy as np

from batchnorm.questions.probe import Probe, close, draw, number
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

ONE_VALUE = (1, 3, 1, 1)
EMPTY = (0, 3, 2, 2)


def variance_added(subject: Subject, weight: float) -> Answer:
    """Say what became of a running variance of 2 with one value per channel."""
    probe = Probe(subject, ONE_VALUE, weight_of_batch=weight).put(running_var=2.0)
    y = probe.run(draw(ONE_VALUE)).y
    new = probe.value("running_var")[0]
    names = {number((1 - weight) * 2.0, 3): "adds a variance of 0"}
    found = names.get(number(new, 3), number(new, 3)) if weight else number(new, 3)
    return {"output": number(np.abs(y).max(), 3), "running variance of 2": found}


def one_value(subject: Subject) -> Answer:
    return variance_added(subject, 0.25)


def one_value_at_weight_zero(subject: Subject) -> Answer:
    return variance_added(subject, 0.0)


def one_value_in_inference(subject: Subject) -> Answer:
    return Probe(subject, ONE_VALUE).normalizes_by(False)


def empty(subject: Subject) -> Answer:
    """Only the running variance is asked for: the mean may come from uninitialised memory."""
    probe = Probe(subject, EMPTY, weight_of_batch=0.25).put(running_mean=5.0, running_var=2.0)
    y = probe.run(np.zeros(EMPTY, np.float32)).y
    new = probe.value("running_var")
    known = {"unchanged": 2.0, "decays as if by a variance of 0": 1.5}
    found = next((text for text, value in known.items() if close(new, value)), number(new[0]))
    return {"output shape": list(y.shape), "running variance": found}


def empty_in_inference(subject: Subject) -> Answer:
    return list(Probe(subject, EMPTY).run(np.zeros(EMPTY, np.float32), False).y.shape)


def counter_of_an_empty_batch(subject: Subject) -> Answer:
    probe = Probe(subject, EMPTY)
    probe.run(np.zeros(EMPTY, np.float32))
    return int(probe.state()["count"])


QUESTIONS = (
    Question(
        "one-value-per-channel",
        "updates",
        "What does a training step do with one value per channel (1×C×1×1)?",
        "A last batch of one sample either stops the training, or shrinks the running variance "
        "by the factor 1 − w (10 % at weight 0.1), or makes it NaN for good: n/(n−1) is 1/0.",
        one_value,
        tolerance=1e-6,
        item=(7,),
    ),
    Question(
        "one-value-per-channel-at-weight-zero",
        "updates",
        "And when the new batch has the weight 0?",
        "Giving the batch no weight doesn't protect the running variance where the answer is "
        "nan: 0·NaN is NaN. One such call, and every later inference gives NaN.",
        one_value_at_weight_zero,
        tolerance=1e-6,
        item=(8,),
    ),
    Question(
        "one-value-per-channel-in-inference",
        "updates",
        "Which statistics normalize one value per channel in inference?",
        "With running statistics a batch of 1 is as good as any: a restriction to 2 values "
        "belongs to training alone.",
        one_value_in_inference,
        item=(7, 27),
    ),
    Question(
        "empty-batch",
        "updates",
        "What does a training step do with an empty batch (0×C×H×W)?",
        "One empty batch, as a filter may leave it, either changes nothing, or makes the "
        "running statistics NaN, or decays them (10 % at weight 0.1) and mixes uninitialised "
        "memory into the mean.",
        empty,
        item=(9,),
    ),
    Question(
        "empty-batch-in-inference",
        "updates",
        "What does an empty batch give in inference?",
        "Where it works, 0 samples in give 0 samples out, and nobody needs a special case.",
        empty_in_inference,
        item=(9,),
    ),
    Question(
        "counter-of-an-empty-batch",
        "updates",
        "Does an empty batch count as a batch?",
        "With momentum=None the next batch then weighs 1/2 instead of 1: half of the initial "
        "mean 0 and variance 1 stays.",
        counter_of_an_empty_batch,
        asked_of=having("count"),
        absent=Text("has no counter of batches"),
        item=(9, 10),
    ),
)
