"""Questions about torch's track_running_stats: what a layer without running statistics does."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import Probe, attempt, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

NO_SETTING = Text("has no such setting", "没有这样的设置")


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


QUESTIONS = (
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
        asked_of=having("tracking"),
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
            "推理时仍由已有的统计量决定,改变的只有训练。若以为推理会用批统计量,"
            "输出会差若干个标准差。",
        ),
        buffers_decide,
        asked_of=having("tracking"),
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
            "Setting 1 of the 2 to None is no way to get batch statistics: every call "
            "fails, in training as in inference; set both to None.",
            "只把两者之一设为 None 并不能得到批统计量:训练和推理的每次调用都会失败;应把两者都设"
            "为 None。",
        ),
        one_buffer,
        asked_of=having("tracking"),
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
        asked_of=having("tracking"),
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
        asked_of=having("tracking"),
        absent=NO_SETTING,
        item=(27,),
    ),
)
