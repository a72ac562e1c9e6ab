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


NO_AXIS = Text("has no such parameter", "没有这个参数")


def other_channel_count(subject: Subject) -> Answer:
    return attempt(Probe(subject).run, draw((4, 4, 2, 5)), False)


def other_rank(subject: Subject) -> Answer:
    return attempt(Probe(subject).run, draw(SHAPE[:3]), False)


QUESTIONS = (
    Question(
        "default-channel-axis",
        "parameters",
        Text(
            "On which axis of rank 4 are the channels by default?",
            "对四维输入,默认哪个轴是通道轴?",
        ),
        Text(
            "An N×64×32×32 array given to a layer with channels last gets 32 gammas instead of 64, "
            "one for each column, and no error.",
            "把 N×64×32×32 的数组交给通道在后的层,会得到 32 个 gamma 而不是 64 个"
            "(每列一个),且不报错。",
        ),
        default_axis,
        item=(40,),
    ),
    Question(
        "channel-axis-parameter",
        "parameters",
        Text("Can the channel axis be chosen by axis=?", "能否用 axis= 选择通道轴?"),
        Text(
            "Where it can't, the input has to be transposed around the layer: 2 copies of it, or "
            "views.",
            "若不能,就要在层的前后转置输入:2 次复制,或使用视图。",
        ),
        has_axis,
        item=(33,),
    ),
    Question(
        "channel-axis-values",
        "parameters",
        Text(
            "Which values of axis work on 2×3×4×5, and what shape has gamma then?",
            "输入为 2×3×4×5 时,axis 的哪些取值可用,gamma 的形状是什么?",
        ),
        Text(
            "Where a list of axes is taken (Keras 2), it keeps a statistic for each pair, "
            "here 15 instead of 3; such a layer has no counterpart where only one axis is "
            "taken.",
            "若接受轴的列表(Keras 2),会为每一对下标保存统计量,此处是 15 个而不是 3 个;只接受一"
            "个轴的框架没有对应的"
            "层。",
        ),
        axis_values,
        asked_of=KERAS,
        absent=NO_AXIS,
        item=(33,),
    ),
    Question(
        "accepted-ranks",
        "parameters",
        Text(
            "Which ranks does the layer for images take (BatchNorm2d, BatchNormalization)?",
            "用于图像的层(BatchNorm2d、BatchNormalization)接受几维输入?",
        ),
        Text(
            "A layer of ranks 2 to 5 stands for 3 classes where each class has its own "
            "rank, and its rank is known only from the data: a translation must be told.",
            "接受 2 到 5 维的一个层,对应按维数分类的框架中的 3 个类,而维数只能从数据得知:翻译时"
            "必须指明。",
        ),
        ranks,
        item=(41,),
    ),
    Question(
        "one-array-in-two-layouts",
        "parameters",
        Text(
            "What is the first output for one array read as channels first and as channels last?",
            "同一数组分别按通道在前和通道在后处理,第一个输出是多少?",
        ),
        Text(
            "An example in inference with new statistics can't tell the layouts apart; in training "
            "the first value is −1.2127 or −1.5275.",
            "用初始统计量做推理的例子区分不出布局;训练时第一个值是 −1.2127 或 −1.5275。",
        ),
        layout_matters,
        asked_of=KERAS,
        absent=NO_AXIS,
        tolerance=2e-4,
        item=(39,),
    ),
    Question(
        "wrong-number-of-channels",
        "parameters",
        Text(
            "What do 4 channels raise in a layer of 3?",
            "把 4 个通道的输入交给 3 个通道的层,会引发什么异常?",
        ),
        Text(
            "A handler for ValueError alone misses a RuntimeError, and the other way "
            "round: write except (RuntimeError, ValueError).",
            "只捕获 ValueError 会漏掉 RuntimeError,反之亦然:应写 except (RuntimeError"
            ", ValueError)。",
        ),
        other_channel_count,
        item=(66,),
    ),
    Question(
        "wrong-rank",
        "parameters",
        Text(
            "What does an input of rank 3 raise in a layer for rank 4?",
            "把三维输入交给四维输入的层,会引发什么异常?",
        ),
        Text(
            "One handler serves all frameworks, if it looks at the class and not at the text.",
            "只要按类而不是按文本判断,同一个异常处理就适用于所有框架。",
        ),
        other_rank,
        item=(66,),
    ),
)
