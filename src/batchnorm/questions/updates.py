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
        Text(
            "Which batch variance enters the running variance of images (rank 4, channel axis 1)?",
            "对图像(四维输入,通道在轴 1),进入滑动方差的是哪种批次方差?",
        ),
        Text(
            "Expect a factor n/(n−1) in the running variance: 2.0e-3 at 8×8×8, 0.33 at n = 4. "
            "The outputs in training are the same; those in inference differ by about half of it.",
            "滑动方差相差因子 n/(n−1):8×8×8 时为 2.0e-3,n = 4 时为 0.33。"
            "训练时的输出相同,推理时的输出相差约其一半。",
        ),
        denominator_of_images,
        item=(3, 5),
    ),
    Question(
        "running-variance-denominator-by-rank",
        "updates",
        Text(
            "Which batch variance enters the running variance, by the input's rank?",
            "按输入的维数,进入滑动方差的是哪种批次方差?",
        ),
        Text(
            "Where the two words of a rank differ, so do the running variances: by a "
            "factor n/(n−1), 1.25 for a batch of 5. Where a framework's word changes with "
            "the rank, (N, C) and (N, C, 1, 1) of the same numbers leave different ones.",
            "同一维数下两边不同时,滑动方差也不同:相差因子 n/(n−1),批次为 5 时是 1.25。若一个框"
            "架的回答随维数而变,"
            "同样的数按 (N, C) 和按 (N, C, 1, 1) 输入,留下的滑动方差也不同。",
        ),
        denominator_by_rank,
        item=(4, 5),
    ),
    Question(
        "running-variance-denominator-in-float64",
        "updates",
        Text(
            "Which batch variance enters the running variance of a float64 layer?",
            "float64 的层,进入滑动方差的是哪种批次方差?",
        ),
        Text(
            "Between the unbiased and the biased variance lies n/(n−1), 2.0e-3 at 8×8×8. "
            "Where only the float32 layer is unbiased (Keras 2 at rank 4), a check in "
            "float64 finds this factor, and not rounding.",
            "无偏方差与有偏方差相差因子 n/(n−1):8×8×8 时为 2.0e-3。若只有 float32 的层用无偏方差"
            "(Keras 2 的四维输入),用 float64 核对得到的就是这个因子,而不是舍入误差。",
        ),
        denominator_in_float64,
        item=(6,),
    ),
    Question(
        "initial-running-statistics",
        "updates",
        Text(
            "What are the running statistics before the first step?",
            "第一步之前滑动统计量的值是什么?",
        ),
        Text(
            "Inference before any training divides by √(1 + ε) and nothing else.",
            "未训练就推理,只是除以 √(1 + ε)。",
        ),
        default_running_statistics,
        item=(19,),
    ),
    Question(
        "batch-counter",
        "updates",
        Text(
            "After two training steps, what does the layer's counter of batches say?",
            "训练两步之后,层的批次计数器是多少?",
        ),
        Text(
            "A strict load of a state without the counter fails; and with momentum=None a counter "
            "of 0 gives the next batch the weight 1, which discards the loaded statistics.",
            "缺少计数器的状态无法严格加载;而 momentum=None 时,计数器为 0 会使下一个批次的"
            "权重为 1,加载的统计量就此丢失。",
        ),
        counter,
        item=(10, 44),
    ),
    Question(
        "batch-counter-of-a-failed-call",
        "updates",
        Text(
            "Does a training call that fails (one value per channel) still count as a batch?",
            "失败的训练调用(每通道只有一个值)是否仍计入批次?",
        ),
        Text(
            "With momentum=None the next batch then weighs 1/2 instead of 1.",
            "momentum=None 时,下一个批次的权重因此为 1/2,而不是 1。",
        ),
        counter_after_failure,
        asked_of=having("count"),
        absent=Text("has no counter of batches", "没有批次计数器"),
        item=(10,),
    ),
)
