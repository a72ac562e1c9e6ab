"""Questions about what one training step does to the running statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import SHAPE, Probe, attempt, close, draw, number
from batchnorm.questions.question import Answer, Question, Text
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

STEP = 1e-4  # float32 statistics are far closer than this, and the candidates far further apart


def weight_of_batch(probe: Probe) -> float:
    """Measure how much of the batch's mean goes into the running mean, which starts at 0."""
    x = np.full(probe.shape, 3.0, np.float32)
    x[::2] += 1.0
    probe.run(x)
    return round(float(probe.value("running_mean")[0]) / float(x.mean()), 6)


def momentum_as_given(subject: Subject) -> Answer:
    return weight_of_batch(Probe(subject, momentum=0.9))


def default_momentum(subject: Subject) -> Answer:
    return weight_of_batch(Probe(subject))


def momentum_one(subject: Subject) -> Answer:
    weight = weight_of_batch(Probe(subject, momentum=1.0))
    return {0.0: "never moves", 1.0: "holds the last batch only"}.get(weight, weight)


def out_of_range(subject: Subject) -> Answer:
    def step(momentum: float) -> None:
        Probe(subject, momentum=momentum).run(draw())

    return {str(momentum): attempt(step, momentum) for momentum in (-0.5, 2.0)}


def cumulative(subject: Subject) -> Answer:
    """Two batches of unequal size tell the mean of means from the mean of all values."""
    probe = Probe(subject, momentum=None)
    small, large = draw((2, *SHAPE[1:]), 1) + 7, draw((6, *SHAPE[1:]), 2)
    for batch in (small, large):
        probe.run(batch)
    means = [batch.mean((0, 2, 3)) for batch in (small, large)]
    found = probe.value("running_mean")
    if close(found, (means[0] + means[1]) / 2, STEP):
        return "mean of the batches' means"
    return (
        "mean of all values" if close(found, (2 * means[0] + 6 * means[1]) / 8, STEP) else "other"
    )


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


def running_update_formula(subject: Subject) -> Answer:
    """Three steps with the same formula, and one inference that must not move anything."""
    probe = Probe(subject, weight_of_batch=0.25)
    expected = np.zeros(3)
    for seed in range(3):
        x = draw(seed=seed)
        probe.run(x)
        expected = 0.75 * expected + 0.25 * x.mean((0, 2, 3), dtype=np.float64)
    probe.run(draw(seed=9), False)
    return close(probe.value("running_mean"), expected, STEP)


def default_running_statistics(subject: Subject) -> Answer:
    probe = Probe(subject)
    names = [name for name in probe.state() if name.startswith("running")]
    return {name: number(probe.value(name)[0]) for name in names}


QUESTIONS = (
    Question(
        "weight-of-the-new-batch",
        "updates",
        Text(
            "With momentum=0.9, what weight does the new batch's mean get in the running mean?",
            "momentum=0.9 时,新批次的均值在滑动均值中占多大权重?",
        ),
        Text(
            "The same number means the opposite. momentum=0.1 carried over unchanged gives the new "
            "batch the weight 0.9: after 10 steps 1e-10 of the initial value is left, not 0.349.",
            "同一个数含义相反。把 momentum=0.1 原样照搬,新批次的权重就成了 0.9:"
            "10 步之后初始值只剩 1e-10,而不是 0.349。",
        ),
        momentum_as_given,
        tolerance=1e-5,
        item=(1,),
    ),
    Question(
        "default-weight-of-the-new-batch",
        "updates",
        Text(
            "By default, what weight does the new batch's mean get in the running mean?",
            "默认情况下,新批次的均值在滑动均值中占多大权重?",
        ),
        Text(
            "With weight 0.1 the running statistics keep 0.349 of their initial values after 10 "
            "steps, with 0.01 they keep 0.904, and inference uses nearly mean 0 and variance 1.",
            "权重为 0.1 时,10 步之后滑动统计量保留初始值的 0.349;为 0.01 时保留 0.904:"
            "此时推理几乎仍在用均值 0、方差 1。",
        ),
        default_momentum,
        tolerance=1e-5,
        item=(1, 2),
    ),
    Question(
        "momentum-of-one",
        "updates",
        Text(
            "With momentum=1.0, what do the running statistics hold?",
            "momentum=1.0 时,滑动统计量保存的是什么?",
        ),
        Text(
            "One meaning freezes the statistics at mean 0 and variance 1 for ever, the other makes "
            "inference depend on the last batch alone.",
            "一种含义把统计量永远冻结在均值 0、方差 1,另一种则让推理只取决于最后一个批次。",
        ),
        momentum_one,
        item=(1,),
    ),
    Question(
        "momentum-out-of-range",
        "updates",
        Text(
            "Is a momentum outside 0 to 1 accepted?",
            "是否接受 0 到 1 之外的 momentum?",
        ),
        Text(
            "Where nothing checks it, momentum=2.0 makes the running variance "
            "2·new − old or 2·old − new: it can turn negative, and inference NaN.",
            "不做检查时,momentum=2.0 使滑动方差成为 2·新值 − 旧值或 2·旧值 − 新值:"
            "它可能变负,推理结果随之为 NaN。",
        ),
        out_of_range,
        item=(12,),
    ),
    Question(
        "momentum-of-none",
        "updates",
        Text(
            "With momentum=None, what is the running mean after a batch of 2 and a batch of 6?",
            "momentum=None 时,先后输入大小为 2 和 6 的两个批次,滑动均值是什么?",
        ),
        Text(
            "A cumulative average has no counterpart as a fixed momentum: after k steps the newest "
            "batch weighs 1/k, so 0.01 is right at step 100 only, and a 100th of it at step 1.",
            "累积平均无法用固定的 momentum 表示:k 步之后最新批次的权重为 1/k,"
            "所以 0.01 只在第 100 步才对,在第 1 步小了 100 倍。",
        ),
        cumulative,
        item=(11,),
    ),
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
            "The same numbers as (N, C) and as (N, C, 1, 1) can leave different running variances: "
            "a factor n/(n−1), 1.25 for a batch of 5.",
            "同样的数据,形状为 (N, C) 与 (N, C, 1, 1) 时,滑动方差可能不同:"
            "相差因子 n/(n−1),批次为 5 时是 1.25。",
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
            "A layer built in float64 to check a float32 one then differs by n/(n−1), "
            "2.0e-3 at 8×8×8, and not by rounding.",
            "为核对 float32 的层而建的 float64 层,差异就不是舍入误差,而是 n/(n−1):"
            "8×8×8 时为 2.0e-3。",
        ),
        denominator_in_float64,
        item=(6,),
    ),
    Question(
        "running-mean-formula",
        "updates",
        Text(
            "Is running = (1 − w)·running + w·batch the rule for the mean, in training only?",
            "均值的更新规则是否为 running = (1 − w)·running + w·batch,且只在训练时更新?",
        ),
        Text(
            "Where this holds, running means can be compared step by step to rounding, about 1e-7.",
            "规则成立时,滑动均值可以逐步比较,差异只有舍入误差,约 1e-7。",
        ),
        running_update_formula,
        item=(1,),
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
        asked_of=("torch",),
        absent=Text("has no counter of batches", "没有批次计数器"),
        item=(10,),
    ),
)
