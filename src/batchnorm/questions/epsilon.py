"""Questions about epsilon: its default, its range, and the value that really normalizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchnorm.questions.probe import Probe, attempt, draw, number
from batchnorm.questions.question import Answer, Question, Text
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
        Text("What is epsilon by default?", "epsilon 的默认值是多少?"),
        Text(
            "At variance 1 the outputs differ by a factor of 1.0005 (1e-3 against 1e-5), at "
            "variance 0.01 by 1.048, at variance 1e-4 by 3.2.",
            "1e-3 与 1e-5 相比,方差为 1 时输出相差因子 1.0005,方差为 0.01 时 1.048,"
            "方差为 1e-4 时 3.2。",
        ),
        default,
        tolerance=1e-8,
        item=(28,),
    ),
    Question(
        "smallest-epsilon",
        "parameters",
        Text(
            "With epsilon=1e-7 given, which epsilon normalizes rank 4?",
            "指定 epsilon=1e-7 时,四维输入实际使用的 epsilon 是多少?",
        ),
        Text(
            "A raised epsilon divides the outputs of a dead channel, variance 0, by 10 "
            "compared with the given 1e-7; at variance 1 it changes 5e-6. TensorFlow 2.6 "
            "takes epsilon if it is above 1.001e-5, else 1.001e-5 "
            ""
            "([source](https://github.com/tensorflow/tensorflow/blob/v2.6.0/tensorflow/python/ops/nn_impl.py)).",
            "若被抬高,方差为 0 的通道的输出是按 1e-7 计算时的 1/10;方差为 1 时只变 5e-6。"
            "TensorFlow 2.6 中,epsilon 大于 1.001e-5 时按原值,否则用 1.001e-5([出处"
            ""
            "](https://github.com/tensorflow/tensorflow/blob/v2.6.0/tensorflow/python/ops/nn_impl.py))"
            "。",
        ),
        tiny,
        tolerance=1e-9,
        item=(29,),
    ),
    Question(
        "zero-epsilon",
        "parameters",
        Text("Is epsilon=0.0 accepted?", "是否接受 epsilon=0.0?"),
        Text(
            "Where it is accepted, a channel of variance 0 gives 0/0, NaN, or 1/0, an "
            "infinity; with epsilon 1e-5 the factor is 316 at most.",
            "若接受,方差为 0 的通道会得到 0/0(NaN)或 1/0(无穷大);epsilon 为 1e-5 时,因子最多为 "
            "316。",
        ),
        refused(0.0),
        item=(30,),
    ),
    Question(
        "negative-epsilon",
        "parameters",
        Text("Is epsilon=-1e-5 accepted?", "是否接受 epsilon=-1e-5?"),
        Text(
            "Where it is accepted, any channel whose variance is below 1e-5 gives NaN.",
            "若接受,方差小于 1e-5 的通道得到 NaN。",
        ),
        refused(-1e-5),
        item=(30,),
    ),
    Question(
        "where-epsilon-is-refused",
        "parameters",
        Text(
            "Where is a negative epsilon refused?",
            "负的 epsilon 在哪一步被拒绝?",
        ),
        Text(
            "Refused at the call, a model with a bad epsilon can be built and saved, and "
            "fails at its first batch; refused nowhere, variances below 1e-5 give NaN.",
            "若在调用时才被拒绝,epsilon 不合法的模型可以构造和保存,直到第一个批次才失败;若不会"
            "被拒绝,小于 1e-5 的方"
            "差得到 NaN。",
        ),
        stage,
        item=(30,),
    ),
    Question(
        "integer-epsilon",
        "parameters",
        Text("Is epsilon=1, an int, accepted?", "是否接受整数 epsilon=1?"),
        Text(
            "Write 1.0: at variance 1 such an epsilon divides the outputs by 1.41.",
            "应写成 1.0:方差为 1 时,这样的 epsilon 使输出除以 1.41。",
        ),
        refused(1),
        item=(31,),
    ),
    Question(
        "epsilon-above-one",
        "parameters",
        Text("Is epsilon=1.5 accepted?", "是否接受 epsilon=1.5?"),
        Text(
            "A layer with it has no counterpart where it isn't: at variance 1 the outputs are "
            "1.58 times smaller, by 1.41 with the largest epsilon that every dialect takes.",
            "在不接受的框架中没有对应的层:方差为 1 时输出缩小 1.58 倍,"
            "而各框架都接受的最大 epsilon 只缩小 1.41 倍。",
        ),
        refused(1.5),
        item=(31,),
    ),
)
