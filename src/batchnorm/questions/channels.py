"""Questions about which axis holds the channels, and which inputs fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, SHAPE, Probe, attempt, close, draw, error_name
from batchnorm.questions.question import Answer, Question, Text
from batchnorm.questions.subject import LayerUnderTest, Raised, Subject

__all__ = ["QUESTIONS"]

CUBE = (3, 3, 3, 3)
# The two examples' input of the official difference page for Keras 2.
PAGE = np.array(
    [[[[1, 2], [2, 1]], [[3, 4], [4, 3]]], [[[5, 6], [6, 5]], [[7, 8], [8, 7]]]], np.float32
)


def plain_layer(subject: Subject) -> LayerUnderTest:
    """Make a layer with nothing but what it needs."""
    if subject.dialect in KERAS:
        return subject.layer("BatchNormalization")
    return subject.layer("BatchNorm2d", 3)


def trained(subject: Subject, layer: LayerUnderTest, x: Any) -> Any:
    if subject.dialect in KERAS:
        return layer.run(x, training=True).y
    layer.train(True)
    return layer.run(x).y


def default_axis(subject: Subject) -> Answer:
    """Find the axis whose slices come out with mean 0; all axes are of length 3."""
    y = trained(subject, plain_layer(subject), draw(CUBE)).astype(np.float64)
    means = {axis: y.mean(tuple(i for i in range(4) if i != axis)) for axis in range(4)}
    return next(axis for axis, mean in means.items() if close(mean, 0, 1e-4))


def has_axis(subject: Subject) -> Answer:
    class_name = "BatchNormalization" if subject.dialect in KERAS else "BatchNorm2d"
    return "axis" in [p.name for p in subject.signature(class_name, "__init__")]


def axis_values(subject: Subject) -> Answer:
    """Make a layer for rank 4 and say what shape its gamma has."""

    def shape(axis: Any) -> Answer:
        try:
            probe = Probe(subject, (2, 3, 4, 5), axis=axis)
            probe.run(draw((2, 3, 4, 5)))
        except Raised as raised:
            return error_name(raised)
        return list(probe.state()["gamma"].shape)

    return {repr(axis): shape(axis) for axis in (1, -4, 4, [1, 3], 1.7, "1")}


def ranks(subject: Subject) -> Answer:
    accepted = []
    for rank in range(1, 7):
        x = draw((4, 3, 3, 3, 3, 3)[:rank])
        if attempt(lambda x=x: trained(subject, plain_layer(subject), x)) == "accepted":
            accepted.append(rank)
    return accepted


def layout_matters(subject: Subject) -> Answer:
    """Give the first output of one array read as channels first and as channels last."""

    def first(axis: int, training: bool) -> float:
        y = Probe(subject, PAGE.shape, axis=axis, epsilon=1e-5).run(PAGE, training).y
        return round(float(y.ravel()[0]), 4)

    return {
        name: {"axis=1": first(1, mode), "axis=-1": first(-1, mode)}
        for name, mode in (("inference", False), ("training", True))
    }


NO_AXIS = Text("has no such parameter")


def other_channel_count(subject: Subject) -> Answer:
    return attempt(Probe(subject).run, draw((4, 4, 2, 5)), False)


def other_rank(subject: Subject) -> Answer:
    return attempt(Probe(subject).run, draw(SHAPE[:3]), False)


QUESTIONS = (
    Question(
        "default-channel-axis",
        "parameters",
        "On which axis of rank 4 are the channels by default?",
        "An N×64×32×32 array given to a layer with channels last gets 32 gammas instead of 64, "
        "one for each column, and no error.",
        default_axis,
        item=(40,),
    ),
    Question(
        "channel-axis-parameter",
        "parameters",
        "Can the channel axis be chosen by axis=?",
        "Where it can't, the input has to be transposed around the layer: 2 copies of it, or "
        "views.",
        has_axis,
        item=(33,),
    ),
    Question(
        "channel-axis-values",
        "parameters",
        "Which values of axis work on 2×3×4×5, and what shape has gamma then?",
        "Where a list of axes is taken (Keras 2), it keeps a statistic for each pair, "
        "here 15 instead of 3; such a layer has no counterpart where only one axis is "
        "taken.",
        axis_values,
        asked_of=KERAS,
        absent=NO_AXIS,
        item=(33,),
    ),
    Question(
        "accepted-ranks",
        "parameters",
        "Which ranks does the layer for images take (BatchNorm2d, BatchNormalization)?",
        "A layer of ranks 2 to 5 stands for 3 classes where each class has its own "
        "rank, and its rank is known only from the data: a translation must be told.",
        ranks,
        item=(41,),
    ),
    Question(
        "one-array-in-two-layouts",
        "parameters",
        "What is the first output for one array read as channels first and as channels last?",
        "An example in inference with new statistics can't tell the layouts apart; in training "
        "the first value is −1.2127 or −1.5275.",
        layout_matters,
        asked_of=KERAS,
        absent=NO_AXIS,
        tolerance=2e-4,
        item=(39,),
    ),
    Question(
        "wrong-number-of-channels",
        "parameters",
        "What do 4 channels raise in a layer of 3?",
        "A handler for ValueError alone misses a RuntimeError, and the other way "
        "round: write except (RuntimeError, ValueError).",
        other_channel_count,
        item=(66,),
    ),
    Question(
        "wrong-rank",
        "parameters",
        "What does an input of rank 3 raise in a layer for rank 4?",
        "One handler serves all frameworks, if it looks at the class and not at the text.",
        other_rank,
        item=(66,),
    ),
)
