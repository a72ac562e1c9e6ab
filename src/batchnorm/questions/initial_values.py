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
ABSENT = Text("has no such parameter", "没有这个参数")


def question(id: str, en: str, zh: str, consequence: Text, value: Any) -> Question:
    """Make one of the questions about gamma, which differ in the value that is given."""
    text = Text(f"What is gamma, initialized from {en}?", f"用{zh}初始化的 gamma 是什么?")
    experiment = gamma_from(value)
    return Question(id, "parameters", text, consequence, experiment, ASKED, ABSENT, item=(37,))


QUESTIONS = (
    Question(
        "initial-value-parameters",
        "parameters",
        Text(
            "Which initial values does the constructor take?",
            "构造函数接受哪些初始值参数?",
        ),
        Text(
            "Carried over under its old name, an initial gamma of 0 (for residual "
            "branches) is refused as unknown; where there are no such parameters, set the "
            "4 arrays after construction, or the branch starts at full strength.",
            "初始为 0 的 gamma(用于残差分支)若照搬原来的参数名,会因未知参数而报错;若没有这些参"
            "数,就在构造之后设置这 "
            "4 个数组,否则分支一开始就全强度生效。",
        ),
        names,
        item=(37,),
    ),
    question(
        "gamma-from-a-name",
        "the name 'zeros'",
        "名称 'zeros' ",
        Text(
            "Names are the portable form: gamma is 0 in every channel.",
            "名称是通用的写法:每个通道的 gamma 都是 0。",
        ),
        "zeros",
    ),
    question(
        "gamma-from-a-number",
        "the number 0.5",
        "数 0.5 ",
        Text(
            "Write Constant(0.5) where the number is refused, or set gamma after "
            "construction: left at 1, the outputs are twice as large.",
            "若不接受数,应写 Constant(0.5) 或在构造之后设置 gamma:若仍为 1,输出就大一倍。",
        ),
        0.5,
    ),
    question(
        "gamma-from-none",
        "None",
        " None ",
        Text(
            "Where None is accepted it doesn't mean 1: with 3 channels gamma is drawn from ±1 "
            "(Glorot), so the first outputs have random signs.",
            "若接受 None,它并不表示 1:3 个通道时 gamma 取自 ±1 之间(Glorot),"
            "起初的输出带有随机的符号。",
        ),
        None,
    ),
    question(
        "gamma-from-an-array",
        "a float32 array of 0.5",
        "值为 0.5 的 float32 数组",
        Text(
            "Where it is refused, set gamma after construction: left at 1, the outputs are "
            "twice as large.",
            "若不接受,就在构造之后设置 gamma:若仍为 1,输出就大一倍。",
        ),
        np.full(3, 0.5, np.float32),
    ),
    question(
        "gamma-from-an-integer-array",
        "an int32 array of 2",
        "值为 2 的 int32 数组",
        Text(
            "Where gamma becomes int32, the layer can be built and not called; write 2.0.",
            "若 gamma 成为 int32,层可以构造却不能调用;应写 2.0。",
        ),
        np.full(3, 2, np.int32),
    ),
)
