"""Questions about which statistics normalize, and when the running ones move."""

from __future__ import annotations

import contextlib
from typing import Any

from batchnorm.questions.probe import KERAS, Probe, attempt, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Raised, Subject

__all__ = ["QUESTIONS"]


def new_layer(subject: Subject) -> Answer:
    """Call a layer as it comes: nobody has said a word about training."""
    probe = Probe(subject).put(running_mean=5.0, running_var=4.0)
    y = probe.layer.run(draw()).y
    return "batch" if abs(float(y.mean())) < 1e-2 else "running"


def training(subject: Subject) -> Answer:
    return Probe(subject).behaviour(True)


def inference(subject: Subject) -> Answer:
    return Probe(subject).behaviour(False)


def training_argument(subject: Subject) -> Answer:
    values: tuple[Any, ...] = (None, False, True, 0, 1, 2)
    return {str(value): argument(subject, value) for value in values}


def argument(subject: Subject, value: Any) -> Answer:
    probe = Probe(subject)
    outcome = attempt(probe.normalizes_by, value)
    return probe.normalizes_by(value) if outcome == "accepted" else outcome


def frozen(subject: Subject) -> Answer:
    """Freeze as a user of the framework does; NumPy arrays have no flag to set."""
    probe = Probe(subject)
    if probe.keras:
        probe.layer.set("trainable", False)
    for name in probe.trained:
        with contextlib.suppress(Raised):
            probe.layer.set(f"{name}.requires_grad", False)
    return probe.behaviour(True)


def forced_batch_statistics(subject: Subject) -> Answer:
    if subject.dialect in having("tracking"):
        return Probe(subject, track_running_stats=False).behaviour(False)
    return Probe(subject, use_batch_statistics=True).behaviour(False)


def forced_running_statistics(subject: Subject) -> Answer:
    return Probe(subject, use_batch_statistics=False).behaviour(True)


NO_SETTING = Text("has no such setting", "没有这样的设置")


QUESTIONS = (
    Question(
        "mode-of-a-new-layer",
        "modes",
        Text(
            "Which statistics normalize when a new layer is simply called?",
            "直接调用一个新建的层,用哪种统计量归一化?",
        ),
        Text(
            "Ported without setting the mode, the layer divides by √(1 + ε) instead of normalizing "
            "(or the reverse): for x of mean 1 and standard deviation 2, y has those, not 0 and 1.",
            "移植时若不设置模式,层只是除以 √(1 + ε),并不归一化(或者相反):"
            "x 的均值为 1、标准差为 2 时,y 也如此,而不是 0 和 1。",
        ),
        new_layer,
        item=(19,),
    ),
    Question(
        "training-mode",
        "modes",
        Text("What does a call in training do?", "训练模式下的调用做什么?"),
        Text(
            "Outputs in training agree to rounding, about 1e-6.",
            "训练时的输出一致,差异只有舍入误差,约 1e-6。",
        ),
        training,
        item=(20,),
    ),
    Question(
        "inference-mode",
        "modes",
        Text("What does a call in inference do?", "推理模式下的调用做什么?"),
        Text(
            "Outputs in inference agree as far as epsilon and the running statistics do.",
            "只要 epsilon 和滑动统计量一致,推理时的输出就一致。",
        ),
        inference,
        item=(20,),
    ),
    Question(
        "training-argument",
        "modes",
        Text(
            "Which statistics normalize, by the value of the call's `training` argument?",
            "按调用参数 `training` 的取值,用哪种统计量归一化?",
        ),
        Text(
            "The argument decides each result: a page that marks it as not involved compares "
            "training on one side with inference on the other.",
            "该参数决定每个结果:若文档称其“不涉及”,就是拿一方的训练去比另一方的推理。",
        ),
        training_argument,
        asked_of=KERAS,
        absent=Text("takes no such argument", "没有这个参数"),
        item=(26,),
    ),
    Question(
        "frozen-layer",
        "modes",
        Text(
            "With gamma and beta frozen, what does a call in training do?",
            "冻结 gamma 和 beta 之后,训练模式下的调用做什么?",
        ),
        Text(
            "Fine-tuning with a frozen layer either keeps the running statistics or moves them to "
            "the new data: at weight 0.1, 65 % of the way in 10 steps (1 − 0.9¹⁰).",
            "用冻结的层做微调,滑动统计量要么保持不变,要么移向新数据:"
            "权重为 0.1 时,10 步就移动了 65%(1 − 0.9¹⁰)。",
        ),
        frozen,
        item=(24,),
    ),
    Question(
        "forced-batch-statistics",
        "modes",
        Text(
            "In inference, what does the setting do that forces batch statistics?",
            "推理模式下,强制使用批统计量的设置做什么?",
        ),
        Text(
            "Where it updates, every inference changes the layer: evaluating 10 batches at "
            "weight 0.1 replaces 65 % of the running statistics (1 − 0.9¹⁰). Where it "
            "doesn't, or isn't there, they stay.",
            "若它也更新,每次推理都会改变这个层:权重为 0.1 时,评估 10 个批次就替换了滑动统计量的"
            " 65%(1 − 0.9¹"
            "⁰)。若不更新或没有这样的设置,滑动统计量不变。",
        ),
        forced_batch_statistics,
        asked_of=having("tracking", "forced_statistics"),
        absent=NO_SETTING,
        item=(20, 21),
    ),
    Question(
        "forced-running-statistics",
        "modes",
        Text(
            "In training, what does the setting do that forces running statistics?",
            "训练模式下,强制使用滑动统计量的设置做什么?",
        ),
        Text(
            "Elsewhere this takes the layer's inference mode (or freezing): carried over as "
            "training, it normalizes by the batch and moves the statistics.",
            "在别处,这要用该层的推理模式(或冻结)来表达:若照搬为训练模式,"
            "就会按批次归一化并移动统计量。",
        ),
        forced_running_statistics,
        asked_of=having("forced_statistics"),
        absent=NO_SETTING,
        absent_in_keras=Text(
            "no setting of its own: `trainable=False` does it, see [frozen layers](#frozen-layer)",
            "没有单独的设置:`trainable=False` 有此作用,见[冻结的层](#frozen-layer)",
        ),
        item=(20, 21),
    ),
    Question(
        "trainable-changed-after-compile",
        "modes",
        Text(
            "Does a change of `trainable` after compile() count in fit()?",
            "在 compile() 之后改变 `trainable`,对 fit() 是否生效?",
        ),
        Text(
            "Measured by hand: set to False between compile and the first fit, a Keras 2 "
            "layer still trains and updates, a Keras 3 layer does neither. Call compile() "
            "again.",
            "手工测得:在 compile 与第一次 fit 之间设为 False,Keras 2 的层仍然训练并更新,Keras "
            "3 的层两者都不做。应再调用一次 compile()。",
        ),
        None,
        asked_of=KERAS,
        absent=Text("has no compile()", "没有 compile()"),
        unrecorded=Text(
            "An experiment calls a layer, not a model's fit().",
            "实验调用的是层,而不是模型的 fit()。",
        ),
        source="https://keras.io/guides/transfer_learning/",
        item=(25,),
    ),
)
