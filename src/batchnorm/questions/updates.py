"""Questions about what a training step puts into the running state."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import SHAPE, Probe, attempt, close, draw, number
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

STEP = 1e-4  # float32 statistics are far closer than this, and the candidates far further apart


def denominator(subject: Subject, shape: tuple[int, ...], dtype: Any = None) -> str:
    """Compare the variance that entered the running one with both candidates."""
    own = {} if dtype is None else {"dtype": dtype}
    probe = Probe(subject, shape, weight_of_batch=0.25, **own)
    x = draw(shape, dtype=dtype or np.float32)
    probe.run(x)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    entered = (probe.value("running_var") - 0.75) / 0.25
    if close(entered, x.astype(np.float64).var(axes, ddof=1), STEP * 4):
        return "unbiased"
    return "biased" if close(entered, x.astype(np.float64).var(axes), STEP * 4) else "other"


def denominator_of_images(subject: Subject) -> Answer:
    return denominator(subject, SHAPE)


def denominator_by_rank(subject: Subject) -> Answer:
    shapes = ((5, 3), (4, 3, 5), (4, 3, 2, 5), (2, 3, 2, 3, 2))
    return {str(len(shape)): denominator(subject, shape) for shape in shapes}


def denominator_in_float64(subject: Subject) -> Answer:
    return denominator(subject, SHAPE, np.float64)


def counter(subject: Subject) -> Answer:
    probe = Probe(subject)
    for _ in range(2):
        probe.run(draw())
    state = probe.state()
    return int(state["count"]) if "count" in state else "no counter"


def counter_after_failure(subject: Subject) -> Answer:
    probe = Probe(subject, (1, 3, 1, 1))
    failure = attempt(probe.run, draw((1, 3, 1, 1)))
    return {"call": failure, "count": int(probe.state()["count"])}


def default_running_statistics(subject: Subject) -> Answer:
    probe = Probe(subject)
    names = [name for name in probe.state() if name.startswith("running")]
    return {name: number(probe.value(name)[0]) for name in names}


QUESTIONS = (
    Question(
        "running-variance-denominator",
        "updates",
        "Which batch variance enters the running variance of images (rank 4, channel axis 1)?",
        "Expect a factor n/(n−1) in the running variance: 2.0e-3 at 8×8×8, 0.33 at n = 4. "
        "The outputs in training are the same; those in inference differ by about half of it.",
        denominator_of_images,
        item=(3, 5),
    ),
    Question(
        "running-variance-denominator-by-rank",
        "updates",
        "Which batch variance enters the running variance, by the input's rank?",
        "Where the two words of a rank differ, so do the running variances: by a "
        "factor n/(n−1), 1.25 for a batch of 5. Where a framework's word changes with "
        "the rank, (N, C) and (N, C, 1, 1) of the same numbers leave different ones.",
        denominator_by_rank,
        item=(4, 5),
    ),
    Question(
        "running-variance-denominator-in-float64",
        "updates",
        "Which batch variance enters the running variance of a float64 layer?",
        "Between the unbiased and the biased variance lies n/(n−1), 2.0e-3 at 8×8×8. "
        "Where only the float32 layer is unbiased (Keras 2 at rank 4), a check in "
        "float64 finds this factor, and not rounding.",
        denominator_in_float64,
        item=(6,),
    ),
    Question(
        "initial-running-statistics",
        "updates",
        "What are the running statistics before the first step?",
        "Inference before any training divides by √(1 + ε) and nothing else.",
        default_running_statistics,
        item=(19,),
    ),
    Question(
        "batch-counter",
        "updates",
        "After two training steps, what does the layer's counter of batches say?",
        "A strict load of a state without the counter fails; and with momentum=None a counter "
        "of 0 gives the next batch the weight 1, which discards the loaded statistics.",
        counter,
        item=(10, 44),
    ),
    Question(
        "batch-counter-of-a-failed-call",
        "updates",
        "Does a training call that fails (one value per channel) still count as a batch?",
        "With momentum=None the next batch then weighs 1/2 instead of 1.",
        counter_after_failure,
        asked_of=having("count"),
        absent=Text("has no counter of batches"),
        item=(10,),
    ),
)
