"""Questions about which statistics normalize, and when the running ones move."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, attempt, draw
from batchnorm.questions.question import Answer, Question, Text
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
    names = {"torch": ("weight", "bias"), "mindspore": ("gamma", "beta")}
    for name in names.get(subject.dialect, ()):
        with contextlib.suppress(Raised):
            probe.layer.set(f"{name}.requires_grad", False)
    return probe.behaviour(True)


def forced_batch_statistics(subject: Subject) -> Answer:
    if subject.dialect == "torch":
        return Probe(subject, track_running_stats=False).behaviour(False)
    return Probe(subject, use_batch_statistics=True).behaviour(False)


def forced_running_statistics(subject: Subject) -> Answer:
    return Probe(subject, use_batch_statistics=False).behaviour(True)


def without_statistics(subject: Subject) -> Answer:
    probe = Probe(subject, track_running_stats=False)
    return {"normalizes by": probe.normalizes_by(True), "state": list(probe.state())}


def buffers_decide(subject: Subject) -> Answer:
    probe = Probe(subject)
    probe.layer.set("track_running_stats", False)
    return {"training": probe.behaviour(True), "inference": probe.behaviour(False)}


def one_buffer(subject: Subject) -> Answer:
    def call(training: bool) -> Any:
        probe = Probe(subject)
        probe.layer.set("running_var", None)
        return probe.run(draw(), training)

    return {"training": attempt(call, True), "inference": attempt(call, False)}


def gradients_without_statistics(subject: Subject) -> Answer:
    probe = Probe(subject, track_running_stats=False)
    found = probe.run(draw(), False, np.sign(draw(seed=1))).gradients
    return {name: bool(np.abs(found[name]).max() > 0.1) for name in ("weight", "bias")}


def one_value_without_statistics(subject: Subject) -> Answer:
    probe = Probe(subject, (1, 3, 1, 1), track_running_stats=False)
    return attempt(probe.run, draw(probe.shape), False)


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
            "Where the answers agree, outputs in training agree to rounding, about 1e-6.",
            "回答一致时,训练时的输出也一致,差异只有舍入误差,约 1e-6。",
        ),
        training,
        item=(20,),
    ),
    Question(
        "inference-mode",
        "modes",
        Text("What does a call in inference do?", "推理模式下的调用做什么?"),
        Text(
            "Where the answers agree, outputs in inference agree as far as epsilon and the running "
            "statistics do.",
            "回答一致时,只要 epsilon 和滑动统计量一致,推理时的输出就一致。",
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
            "推理模式下,强制使用批次统计量的设置做什么?",
        ),
        Text(
            "Where it updates, every inference changes the layer: evaluating 10 batches at weight "
            "0.1 replaces 65 % of the running statistics (1 − 0.9¹⁰).",
            "若它也更新,每次推理都会改变这个层:权重为 0.1 时,评估 10 个批次就替换了"
            "滑动统计量的 65%(1 − 0.9¹⁰)。",
        ),
        forced_batch_statistics,
        asked_of=("torch", "mindspore"),
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
        asked_of=("mindspore",),
        absent=NO_SETTING,
        item=(20, 21),
    ),
    Question(
        "layer-without-statistics",
        "modes",
        Text(
            "What does a layer do that keeps no running statistics?",
            "不保存滑动统计量的层做什么?",
        ),
        Text(
            "Its checkpoint has three entries less, so nothing fills the running statistics of the "
            "other layer: they stay at mean 0 and variance 1, and inference doesn't normalize.",
            "它的检查点少三项,另一方的层因而得不到滑动统计量:保持均值 0、方差 1,推理时不做归一化。",
        ),
        without_statistics,
        asked_of=("torch",),
        absent=NO_SETTING,
        item=(20,),
    ),
    Question(
        "tracking-switched-off-later",
        "modes",
        Text(
            "With track_running_stats set to False after construction, what do the calls do?",
            "构造之后把 track_running_stats 设为 False,调用做什么?",
        ),
        Text(
            "The existing statistics still decide in inference; only training changes. Who expects "
            "batch statistics in inference gets outputs that are off by whole standard deviations.",
            "推理时仍由已有的统计量决定,改变的只有训练。若以为推理会用批次统计量,"
            "输出会差若干个标准差。",
        ),
        buffers_decide,
        asked_of=("torch",),
        absent=NO_SETTING,
        item=(23,),
    ),
    Question(
        "one-statistic-only",
        "modes",
        Text(
            "What happens with a running mean but no running variance?",
            "有滑动均值而无滑动方差时会怎样?",
        ),
        Text(
            "A state that lost one of the two fails at the call, not at load.",
            "丢失其中之一的状态在调用时才报错,而不是在加载时。",
        ),
        one_buffer,
        asked_of=("torch",),
        absent=Text("always has both", "两者总是都有"),
        item=(23,),
    ),
    Question(
        "gradients-without-statistics",
        "modes",
        Text(
            "In inference without running statistics, do weight and bias get gradients?",
            "在没有滑动统计量的推理模式下,weight 和 bias 有梯度吗?",
        ),
        Text(
            "An optimizer that holds them goes on changing them: “doesn't learn” is wrong.",
            "持有它们的优化器会继续改变它们:“不会学习”的说法是错的。",
        ),
        gradients_without_statistics,
        asked_of=("torch",),
        absent=NO_SETTING,
        item=(22,),
    ),
    Question(
        "one-value-without-statistics",
        "modes",
        Text(
            "In inference without running statistics, what do 1×C×1×1 inputs give?",
            "在没有滑动统计量的推理模式下,1×C×1×1 的输入得到什么?",
        ),
        Text(
            "A model that evaluates batches of 8 fails on a last batch of 1.",
            "以 8 个样本为批次评估的模型,会在只剩 1 个样本的最后一批上失败。",
        ),
        one_value_without_statistics,
        asked_of=("torch",),
        absent=NO_SETTING,
        item=(27,),
    ),
)
