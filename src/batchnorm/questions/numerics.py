"""Questions about rounding and special values: constant channels, large means, NaN, infinity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe, draw, number
from batchnorm.questions.question import Answer, Question, Text
from batchnorm.questions.subject import Subject
from batchnorm.vocabulary import Array

__all__ = ["QUESTIONS"]

LARGE = (16, 3, 16, 16)
DECADE = 1.0  # an error near a power of ten may fall on either side of it


def power_of_ten(error: float) -> int | str:
    """Give the smallest n with error <= 10**n, at least -8: rounding has no exact size."""
    return max(math.ceil(math.log10(max(error, 1e-8))), -8) if math.isfinite(error) else "nan"


def channels_last(x: Array) -> Array:
    """Give the same values and shape, with the channels adjacent in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def error_at_mean(subject: Subject, mean: float, last: bool = False, **own: Any) -> Answer:
    """Compare one training step's output with float64 arithmetic on the same numbers."""
    x = np.random.default_rng(0).normal(mean, 1.0, LARGE).astype(np.float32)
    probe = Probe(subject, LARGE, epsilon=1e-5, **own)
    y = probe.run(channels_last(x) if last else x).y
    wide = x.astype(np.float64)
    centered = wide - wide.mean((0, 2, 3), keepdims=True)
    expected = centered / np.sqrt((centered**2).mean((0, 2, 3), keepdims=True) + 1e-5)
    return power_of_ten(float(np.abs(y - expected).max()))


def large_mean(subject: Subject) -> Answer:
    return {str(int(mean)): error_at_mean(subject, mean) for mean in (1e2, 1e3, 1e4)}


def large_mean_synchronized(subject: Subject) -> Answer:
    means = (1e2, 1e3, 1e4)
    return {str(int(mean)): error_at_mean(subject, mean, synchronized=True) for mean in means}


def large_mean_by_layout(subject: Subject) -> Answer:
    return {
        name: error_at_mean(subject, 1e4, last)
        for name, last in (("channels first", False), ("channels last", True))
    }


def constant_channel(subject: Subject) -> Answer:
    """Ask for 7 and 1e4; torch's residue depends on the value's bits."""
    found = {}
    for value in (7.0, 1e4):
        y = Probe(subject, LARGE).run(np.full(LARGE, value, np.float32)).y
        largest = float(np.abs(y).max())
        found[f"{value:g}"] = 0 if largest == 0 else power_of_ten(largest)
    return {name: "exactly 0" if value == 0 else value for name, value in found.items()}


def zero_over_zero(subject: Subject) -> Answer:
    """Give the outputs for 1, 0 and -1 at mean 0, variance 0 and epsilon 0, by rank."""
    found = {}
    for shape in ((1, 1, 3), (1, 1, 1, 3)):
        probe = Probe(subject, shape, epsilon=0.0).put(running_var=0.0)
        y = probe.run(np.array([1, 0, -1], np.float32).reshape(shape), False).y
        found[str(len(shape))] = [str(value) for value in y.ravel()]
    return found


def one_special(subject: Subject, value: float, training: bool) -> Answer:
    """Put one special value into channel 1 and say where it is seen."""
    probe, x = Probe(subject), draw()
    x[1, 1, 0, 2] = value
    y = probe.run(x, training).y
    state = probe.state()
    return {
        "outputs of its channel": spread(y[:, 1]),
        "outputs of the others": spread(y[:, ::2]),
        "running mean": number(state["running_mean"][1], 3) if training else "not updated",
        "running variance": number(state["running_var"][1], 3) if training else "not updated",
    }


def spread(y: Array) -> str:
    bad = ~np.isfinite(y)
    return "finite" if not bad.any() else "one is not finite" if bad.sum() == 1 else "all nan"


def one_nan(subject: Subject) -> Answer:
    return one_special(subject, math.nan, True)


def one_infinity(subject: Subject) -> Answer:
    return one_special(subject, math.inf, True)


def one_infinity_in_inference(subject: Subject) -> Answer:
    return one_special(subject, math.inf, False)


def negative_variance(subject: Subject) -> Answer:
    probe = Probe(subject).put(running_var=-1.0)
    return spread(probe.run(draw(), False).y)


QUESTIONS = (
    Question(
        "constant-channel",
        "numerics",
        Text(
            "How large are the outputs for a constant channel, in training?",
            "训练时输入恒为常数的通道,输出有多大?",
        ),
        Text(
            "A dead channel isn't exactly beta where the answer is a number: it differs by up to "
            "3e-5 at 7 and 3e-2 at 10000, amplified by 1/√ε = 316.",
            "若回答是数,失效通道的输出并不恰好等于 beta:常数为 7 时最多差 3e-5,"
            "为 10000 时差 3e-2,因为乘上了 1/√ε = 316。",
        ),
        constant_channel,
        tolerance=DECADE,
        power_of_ten=True,
        item=(55,),
    ),
    Question(
        "error-at-a-large-mean",
        "numerics",
        Text(
            "How large is the output's error at means 100, 1000 and 10000 (σ = 1)?",
            "均值为 100、1000、10000(σ = 1)时,输出的误差有多大?",
        ),
        Text(
            "Inputs that aren't centred (timestamps, raw heights) lose digits: at mean 10000, "
            "σ = 1, expect errors of 1e-3 to 1e-2 of a standard deviation, where float32 allows "
            "1e-6.",
            "未中心化的输入(时间戳、原始高度)会损失精度:均值 10000、σ = 1 时,"
            "误差为标准差的 1e-3 到 1e-2,而 float32 可以做到 1e-6。",
        ),
        large_mean,
        tolerance=DECADE,
        power_of_ten=True,
        item=(56, 57),
    ),
    Question(
        "error-at-a-large-mean-by-layout",
        "numerics",
        Text(
            "How large is the output's error at mean 10000, by memory layout?",
            "均值为 10000 时,按内存布局,输出的误差有多大?",
        ),
        Text(
            "The same numbers in another memory order may take another kernel (PyTorch "
            "2.13.0: 8e-4 with channels first, 8e-3 with channels last); nan means that no "
            "digit is left.",
            "同样的数按不同的内存顺序存放,可能经过不同的内核(PyTorch 2.13.0:通道在前时为 8e-4,"
            "通道在后时为 "
            "8e-3);nan 表示没有一位有效数字。",
        ),
        large_mean_by_layout,
        tolerance=DECADE,
        power_of_ten=True,
        item=(56,),
    ),
    Question(
        "error-at-a-large-mean-synchronized",
        "numerics",
        Text(
            "How large is the error with synchronized=True, on one device?",
            "在单个设备上使用 synchronized=True 时,误差有多大?",
        ),
        Text(
            "E[x²] − E[x]² cancels: at mean 1000, σ = 1, the outputs are wrong by about 1000 "
            "standard deviations, and nothing warns.",
            "E[x²] − E[x]² 会相消:均值 1000、σ = 1 时,输出的误差约为 1000 个标准差,且没有警告。",
        ),
        large_mean_synchronized,
        asked_of=KERAS,
        absent=Text("is another class, SyncBatchNorm", "是另一个类 SyncBatchNorm"),
        tolerance=DECADE,
        power_of_ten=True,
        item=(57,),
    ),
    Question(
        "zero-variance-and-zero-epsilon",
        "numerics",
        Text(
            "In inference with mean, variance and epsilon 0, what do 1, 0 and −1 give, by rank?",
            "推理时均值、方差和 epsilon 都为 0,输入 1、0、−1 得到什么(按维数)?",
        ),
        Text(
            "The pattern of NaN and infinities of a dead channel depends on the path through the "
            "framework: 1 or 3 of 3 values are NaN. Only epsilon > 0 is portable.",
            "失效通道的 NaN 与无穷大的分布取决于框架内部的路径:3 个值中有 1 个或 3 个是 NaN。"
            "只有 epsilon > 0 才通用。",
        ),
        zero_over_zero,
        item=(58,),
    ),
    Question(
        "one-nan",
        "numerics",
        Text(
            "In training, how far does one NaN spread?",
            "训练时,一个 NaN 会扩散到哪里?",
        ),
        Text(
            "One NaN ruins its channel for good (the running statistics keep it), and 1 of C "
            "channels only.",
            "一个 NaN 会永久毁掉它所在的通道(滑动统计量会保留它),但仅此 1 个通道。",
        ),
        one_nan,
    ),
    Question(
        "one-infinity",
        "numerics",
        Text(
            "In training, how far does one infinity spread?",
            "训练时,一个无穷大会扩散到哪里?",
        ),
        Text(
            "Its channel's outputs are all NaN from this step on: the running mean stays infinite.",
            "从这一步起,该通道的输出全部为 NaN:滑动均值一直是无穷大。",
        ),
        one_infinity,
    ),
    Question(
        "one-infinity-in-inference",
        "numerics",
        Text(
            "In inference, how far does one infinity spread?",
            "推理时,一个无穷大会扩散到哪里?",
        ),
        Text(
            "Inference treats each value by itself: 1 output is infinite, the rest are as before.",
            "推理对每个值单独计算:只有 1 个输出是无穷大,其余不变。",
        ),
        one_infinity_in_inference,
    ),
    Question(
        "negative-running-variance",
        "numerics",
        Text(
            "In inference with a running variance of −1, what are the outputs?",
            "滑动方差为 −1 时,推理的输出是什么?",
        ),
        Text(
            "A checkpoint with 1 negative variance loads, and its channel gives NaN without an "
            "error.",
            "含有 1 个负方差的检查点可以加载,相应通道得到 NaN 而不报错。",
        ),
        negative_variance,
    ),
)
