"""Questions about masks, which only Keras' layers take."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, attempt, close, draw
from batchnorm.questions.question import Answer, Question, Text
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

NO_MASK = Text("takes no mask")


def mask_by_rank(subject: Subject) -> Answer:
    return {"3": mask_counts(subject, (4, 5, 3)), "4": mask_counts(subject, (4, 5, 2, 3))}


def mask_counts(subject: Subject, shape: tuple[int, ...]) -> Answer:
    """Find how a mask of 0, 1 and 0.5 enters the mean."""
    probe = Probe(subject, shape, axis=-1, weight_of_batch=1.0)
    x = draw(shape)
    mask = np.resize(np.array([1.0, 0.5, 0.0, 1.0, 0.0], np.float32), shape[:-1])
    probe.run(x, mask=mask)
    candidates = {"ignored": np.ones_like(mask), "weights": mask, "booleans": (mask != 0) * 1.0}
    for name, weights in candidates.items():
        mean = np.average(x.reshape(-1, 3), axis=0, weights=weights.ravel())
        if close(probe.value("running_mean"), mean, 1e-4):
            return name
    return "other"


def empty_mask(subject: Subject) -> Answer:
    probe = Probe(subject, (4, 5, 3), axis=-1, weight_of_batch=1.0)
    probe.run(draw((4, 5, 3)), mask=np.zeros((4, 5), bool))
    values = {name: probe.value(name) for name in ("running_mean", "running_var")}
    zero = all(close(value, 0.0, 1e-6) for value in values.values())
    return (
        "mean and variance 0"
        if zero
        else "other"
        if np.isfinite([*values.values()]).all()
        else "nan"
    )


def mask_on_one_channel(subject: Subject) -> Answer:
    def call() -> Any:
        shape = (4, 5, 1)
        probe = Probe(subject, shape, axis=-1)
        return probe.run(draw(shape), mask=np.ones((4, 5), bool))

    return attempt(call)


def mask_with_channels_first(subject: Subject) -> Answer:
    return attempt(
        lambda: Probe(subject, (4, 3, 5)).run(draw((4, 3, 5)), mask=np.ones((4, 5), bool))
    )


QUESTIONS = (
    Question(
        "mask",
        "updates",
        "How does a mask of 0, 1 and 0.5 enter the batch mean, by the input's rank?",
        "Where there is no mask, or it is ignored, padding counts: with half of a "
        "sequence padded by 0, the mean is half of what it should be.",
        mask_by_rank,
        asked_of=KERAS,
        absent=NO_MASK,
        item=(16, 26),
    ),
    Question(
        "mask-without-a-value",
        "updates",
        "What are the batch's statistics when the mask leaves nothing (rank 3)?",
        "A batch of padding alone decays the running statistics towards 0 (10 % at "
        "weight 0.1); where there is no mask, its padding counts as data.",
        empty_mask,
        asked_of=KERAS,
        absent=NO_MASK,
        item=(16,),
    ),
    Question(
        "mask-with-channels-first",
        "updates",
        "Does a mask work with axis=1 (inputs 4×3×5, mask 4×5)?",
        "The mask gets its channel axis at the end, so it fits axis=-1 only: transpose the "
        "inputs, or the call fails.",
        mask_with_channels_first,
        asked_of=KERAS,
        absent=NO_MASK,
        item=(16,),
    ),
    Question(
        "mask-on-one-channel",
        "updates",
        "Does a mask work with a single channel?",
        "For C = 1 a mask that works on TensorFlow is no promise for another framework "
        "or another backend of Keras 3: where none is taken, padding counts as data.",
        mask_on_one_channel,
        asked_of=KERAS,
        absent=NO_MASK,
        item=(63,),
    ),
)
