"""Questions about the constructor's parameters: what they take, and when a later change counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, attempt, close, draw, number
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]


def channel_counts(subject: Subject) -> Answer:
    values = {"np.int64(3)": np.int64(3), "(3,)": (3,), "0": 0, "-1": -1, "3.0": 3.0, "True": True}
    return {name: attempt(subject.layer, "BatchNorm2d", value) for name, value in values.items()}


def without_affine(subject: Subject) -> Answer:
    """Say which parameters remain, and whether the optimizer would get them."""
    keras = subject.dialect in KERAS
    own: dict[str, Any] = {"scale": False, "center": False} if keras else {"affine": False}
    probe = Probe(subject, **own)
    found = probe.run(draw(), True, draw(seed=1)).gradients
    return {"state": [r for r in probe.state() if r in ("gamma", "beta")], "gradients": list(found)}


def initial_gamma_without_affine(subject: Subject) -> Answer:
    """Compare the outputs of gamma 2 and gamma 1, both with the parameter switched off."""
    doubled: dict[str, Any]
    plain: dict[str, Any]
    if subject.dialect in having("train_affine"):
        doubled, plain = ({"affine": False, "gamma_init": value} for value in (2.0, 1.0))
    else:
        two = {"class_name": "Constant", "config": {"value": 2.0}}
        doubled, plain = ({"scale": False, "gamma_initializer": value} for value in (two, "ones"))
    ratio = Probe(subject, **doubled).run(draw()).y / Probe(subject, **plain).run(draw()).y
    return number(np.median(ratio), 3)


def gamma_only(subject: Subject) -> Answer:
    own: dict[str, Any] = {"center": False} if subject.dialect in KERAS else {"bias": False}
    return [role for role in Probe(subject, **own).state() if role in ("gamma", "beta")]


def flags(subject: Subject) -> Answer:
    name = "center" if subject.dialect in KERAS else "affine"

    def make(value: Any) -> None:
        Probe(subject, **{name: value}).run(draw())

    return {repr(value): attempt(make, value) for value in (1, "x")}


def penalties(subject: Subject) -> Answer:
    class_name = "BatchNormalization" if subject.dialect in KERAS else "BatchNorm2d"
    names = [p.name for p in subject.signature(class_name, "__init__")]
    return sorted(n for n in names if n.endswith(("_regularizer", "_constraint")))


def later_momentum(subject: Subject) -> Answer:
    probe = Probe(subject)
    probe.layer.set("momentum", 0.5)
    x = draw() + 3
    probe.run(x)
    return close(probe.value("running_mean"), 0.5 * x.mean((0, 2, 3)), 1e-4)


def later_epsilon(subject: Subject) -> Answer:
    probe = Probe(subject)
    probe.layer.set("epsilon" if probe.keras else "eps", 0.25)
    return close(probe.epsilon(), 0.25)


def unknown_keyword(subject: Subject) -> Answer:
    return attempt(lambda: Probe(subject, no_such_parameter=1))


NO_SUCH = Text("has no such parameter", "没有这个参数")

QUESTIONS = (
    Question(
        "number-of-channels",
        "parameters",
        Text(
            "Which values of num_features are accepted?",
            "num_features 接受哪些取值?",
        ),
        Text(
            "A channel count from NumPy (np.int64), as shapes and configurations give it, may have "
            "to become int(…); 0 channels pass silently where they are accepted.",
            "来自 NumPy 的通道数(np.int64)可能必须写成 int(…);若接受 0 个通道,也不会报错。",
        ),
        channel_counts,
        asked_of=having("num_features"),
        absent=Text("learns it from the first input", "由第一个输入得出"),
        item=(32,),
    ),
    Question(
        "without-affine",
        "parameters",
        Text(
            "Without affine (center and scale), which parameters remain, and which get gradients?",
            "关闭 affine(center 和 scale)后,还剩哪些参数,哪些有梯度?",
        ),
        Text(
            "A checkpoint then has 2 entries more or less per layer, and a strict load fails; "
            "entries that remain still multiply.",
            "此时检查点中每层多出或缺少 2 项,严格加载会失败;留下的参数仍参与计算。",
        ),
        without_affine,
        item=(34,),
    ),
    Question(
        "initial-gamma-without-affine",
        "parameters",
        Text(
            "With gamma switched off, how much larger is the output for an initial gamma of 2?",
            "关闭 gamma 后,初始 gamma 为 2 会使输出放大多少倍?",
        ),
        Text(
            "With an initial gamma of 2, dropping it in a translation halves the outputs "
            "where the answer is 2 (“off” means frozen there, not absent), and changes "
            "nothing where it is 1.",
            "初始 gamma 为 2 时,若翻译时把它丢掉:回答为 2 的一方(“关闭”是指冻结而不是去掉)输出"
            "减半,回答为 1 的"
            "一方不变。",
        ),
        initial_gamma_without_affine,
        asked_of=having("init"),
        absent=Text("has no initial values", "没有初始值参数"),
        tolerance=1e-6,
        item=(34,),
    ),
    Question(
        "gamma-without-beta",
        "parameters",
        Text(
            "Which parameters does a layer have with beta alone switched off?",
            "只关闭 beta 时,层有哪些参数?",
        ),
        Text(
            "Where beta can't be left out, keep it at 0 and out of the optimizer: one step of size "
            "0.1 on it would shift the whole channel by 0.1.",
            "若无法去掉 beta,就让它保持 0 且不交给优化器:它只要更新 0.1,整个通道就偏移 0.1。",
        ),
        gamma_only,
        asked_of=having("beta_if_affine", "has_beta"),
        absent=NO_SUCH,
        item=(34, 35),
    ),
    Question(
        "flags-that-are-not-booleans",
        "parameters",
        Text(
            "Are 1 and 'x' accepted for affine (center)?",
            "affine(center)是否接受 1 和 'x'?",
        ),
        Text(
            "A flag that was read from a file as 'False' switches the parameter on where any "
            "non-empty string is accepted: 2 parameters per channel instead of 0.",
            "若接受任意非空字符串,从文件读入的 'False' 会打开参数:每个通道 2 个参数,而不是 0 个。",
        ),
        flags,
        item=(36,),
    ),
    Question(
        "regularizers-and-constraints",
        "parameters",
        Text(
            "Which penalties and constraints does the constructor take?",
            "构造函数接受哪些正则项和约束?",
        ),
        Text(
            "Elsewhere the penalty has to be added to the loss by hand: l2 = 0.01 on 64 gammas of "
            "1 "
            "is 0.64 of the loss at the first step.",
            "在其他框架中须手动把正则项加进损失:64 个值为 1 的 gamma、l2 = 0.01,"
            "第一步的损失就含 0.64。",
        ),
        penalties,
        item=(38,),
    ),
    Question(
        "momentum-changed-later",
        "parameters",
        Text(
            "Does momentum = 0.5, set on the finished layer, count?",
            "在构造好的层上设置 momentum = 0.5 是否生效?",
        ),
        Text(
            "A schedule that lowers momentum during training, or a recalibration that sets "
            "it, has no effect where the answer is no: the weight stays as constructed, "
            "0.1 by default.",
            "若回答为否,训练中调整 momentum 或为重新校准而设置它都不起作用:权重保持构造时的值,"
            "默认 0.1。",
        ),
        later_momentum,
        item=(67,),
    ),
    Question(
        "epsilon-changed-later",
        "parameters",
        Text(
            "Does epsilon = 0.25, set on the finished layer, count?",
            "在构造好的层上设置 epsilon = 0.25 是否生效?",
        ),
        Text(
            "A loop that sets a pretrained model's epsilon to 1e-3 changes nothing where "
            "the answer is no: at variance 0.01 the outputs stay 1.048 times too large.",
            "若回答为否,循环设置预训练模型的 epsilon 为 1e-3 毫无作用:方差为 0.01 时,输出仍偏大"
            " 1.048 "
            "倍。",
        ),
        later_epsilon,
        item=(67,),
    ),
    Question(
        "unknown-keyword",
        "parameters",
        Text(
            "What does an unknown keyword argument raise?",
            "未知的关键字参数会引发什么异常?",
        ),
        Text(
            "Code that probes for a parameter by try … except TypeError misses a "
            "ValueError: write except (TypeError, ValueError).",
            "用 try … except TypeError 探测参数的代码会漏掉 ValueError:应写 except "
            "(TypeError, ValueError)。",
        ),
        unknown_keyword,
        item=(66,),
    ),
)
