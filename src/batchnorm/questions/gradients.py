"""Questions about backward: the formulas, what gets a gradient, and in which dtype."""

from __future__ import annotations

import contextlib

import numpy as np

from batchnorm.questions.probe import ROLES, Probe, attempt, close, draw, number
from batchnorm.questions.question import ASKED, Answer, Question, Text
from batchnorm.questions.subject import Raised, Subject

__all__ = ["QUESTIONS"]


def formulas(subject: Subject) -> Answer:
    """Compare with the textbook, in training (through the statistics) and in inference."""
    return {"training": formula(subject, True), "inference": formula(subject, False)}


def formula(subject: Subject, training: bool) -> bool:
    probe = Probe(subject, epsilon=1e-3)
    probe.put(gamma=1.5, beta=0.5, running_mean=1.0, running_var=2.0)
    x, dy = draw(), draw(seed=1)
    run = probe.run(x, training, dy)
    x, dy, axes = x.astype(np.float64), dy.astype(np.float64), (0, 2, 3)
    mean = x.mean(axes, keepdims=True) if training else np.float64(1.0)
    var = x.var(axes, keepdims=True) if training else np.float64(2.0)
    inv_std = 1 / np.sqrt(var + 1e-3)
    x_hat = (x - mean) * inv_std
    dx = 1.5 * inv_std * dy
    if training:
        through = dy.mean(axes, keepdims=True) + x_hat * (dy * x_hat).mean(axes, keepdims=True)
        dx = 1.5 * inv_std * (dy - through)
    assert run.dx is not None
    found = {ROLES.get(name, name): value for name, value in run.gradients.items()}
    return (
        close(run.dx, dx, 1e-4)
        and close(found["gamma"], (dy * x_hat).sum(axes), 1e-3)
        and close(found["beta"], dy.sum(axes), 1e-3)
    )


def receivers(subject: Subject) -> Answer:
    found = Probe(subject).run(draw(), True, draw(seed=1)).gradients
    return [ROLES.get(name, name) for name in found]


def frozen_receivers(subject: Subject) -> Answer:
    """Freeze gamma, or the whole layer where that is the way, and call it in training."""
    probe = Probe(subject)
    if probe.keras:
        probe.layer.set("trainable", False)
    else:
        name = probe.trained[0]
        with contextlib.suppress(Raised):  # NumPy arrays have no such flag
            probe.layer.set(f"{name}.requires_grad", False)
    return [ROLES.get(name, name) for name in probe.run(draw(), True, draw(seed=1)).gradients]


def sixteen_bit(subject: Subject) -> Answer:
    run = Probe(subject).run(draw(dtype=np.float16), True, draw(seed=1))
    found = {ROLES.get(name, name): value.dtype.name for name, value in run.gradients.items()}
    return {"dx": "none" if run.dx is None else run.dx.dtype.name, **found}


def of_an_empty_batch(subject: Subject) -> Answer:
    shape = (0, 3, 2, 2)
    run = Probe(subject, shape).run(np.zeros(shape, np.float32), True, np.zeros(shape, np.float32))
    sums = {ROLES.get(name, name): value for name, value in run.gradients.items()}
    return {role: number(np.abs(value).max(), 3) for role, value in sums.items()}


def of_running_statistics(subject: Subject) -> Answer:
    probe = Probe(subject)

    def differentiate() -> None:
        probe.layer.set("running_mean.requires_grad", True)
        probe.run(draw(), False, draw(seed=1))

    return attempt(differentiate)


QUESTIONS = (
    Question(
        "gradient-formulas",
        "gradients",
        Text(
            "Do the gradients follow the usual formulas: through the batch's statistics in "
            "training, with the statistics as constants in inference?",
            "梯度是否符合通常的公式:训练时经过批统计量,推理时把统计量视为常数?",
        ),
        Text(
            "Gradients agree to rounding, 2e-6 in float32.",
            "梯度一致,差异只有舍入误差,float32 下为 2e-6。",
        ),
        formulas,
    ),
    Question(
        "what-gets-gradients",
        "gradients",
        Text(
            "Which entries of the state get a gradient in training?",
            "训练时,状态中哪些项有梯度?",
        ),
        Text(
            "2 of 4 entries: an optimizer that is given the running statistics too must be given "
            "zeros for them.",
            "4 项中的 2 项:若把滑动统计量也交给优化器,它们的梯度只能是零。",
        ),
        receivers,
        item=(62,),
    ),
    Question(
        "gradients-of-a-frozen-gamma",
        "gradients",
        Text(
            "With gamma frozen, which parameters still get gradients?",
            "冻结 gamma 之后,哪些参数仍有梯度?",
        ),
        Text(
            "Where a frozen parameter keeps its gradient, only the optimizer's list protects it: "
            "one update by hand over all gradients moves it.",
            "若被冻结的参数仍有梯度,就只有优化器的列表在保护它:手动对所有梯度更新一次,它就变了。",
        ),
        frozen_receivers,
        item=(24,),
    ),
    Question(
        "gradient-dtypes-for-float16",
        "gradients",
        Text(
            "Which dtypes have the gradients for float16 input to a default layer?",
            "默认的层输入 float16 时,各梯度是什么 dtype?",
        ),
        Text(
            "A dx in float16 overflows above 65504: the loss scale that works in one framework can "
            "give inf in the other.",
            "float16 的 dx 超过 65504 就溢出:在一个框架中可用的损失缩放,在另一个框架中可能得到 "
            "inf。",
        ),
        sixteen_bit,
        item=(52,),
    ),
    Question(
        "gradients-of-an-empty-batch",
        "gradients",
        Text(
            "How large are the parameters' gradients for an empty batch?",
            "空批次时,参数的梯度有多大?",
        ),
        Text(
            "Where they aren't 0, one empty batch spoils the accumulated gradients of a step.",
            "若不为 0,一个空批次就会破坏这一步累积的梯度。",
        ),
        of_an_empty_batch,
        item=(9,),
    ),
    Question(
        "gradients-of-running-statistics",
        "gradients",
        Text(
            "What happens when the running mean is asked to require a gradient (inference)?",
            "推理时要求滑动均值也计算梯度,会怎样?",
        ),
        Text(
            "Methods that differentiate by the statistics, such as style matching, have to "
            "compute (x − mean)/√(var + ε) themselves.",
            "需要对统计量求导的方法(如风格匹配)必须自己计算 (x − mean)/√(var + ε)。",
        ),
        of_running_statistics,
        asked_of=tuple(record.name for record in ASKED if record.calls.gradient_flags),
        absent=Text("has no such flag on them", "它们没有这样的标志"),
        item=(62,),
    ),
    Question(
        "second-derivatives",
        "gradients",
        Text(
            "Are second derivatives right?",
            "二阶导数是否正确?",
        ),
        Text(
            "Measured by hand with MindSpore 2.0.0 in PyNative mode: they are exactly 0, without "
            "an "
            "error (the largest should have been 181 in training). A gradient penalty then has no "
            "effect.",
            "用 MindSpore 2.0.0 的 PyNative 模式手工测得:二阶导数恰好为 0 且不报错"
            "(训练时最大值应为 181)。梯度惩罚因此不起作用。",
        ),
        None,
        unrecorded=Text(
            "Open: measured by hand with MindSpore 2.0.0, not repeatable here: it can't be "
            "installed, and the experiments differentiate once.",
            "未决:用 MindSpore 2.0.0 手工测得,此处无法重复:该版本装不上,且实验只求一阶导数。",
        ),
        item=(61,),
    ),
)
