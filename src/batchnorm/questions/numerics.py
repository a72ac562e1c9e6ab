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
        "How large are the outputs for a constant channel, in training?",
        "A dead channel isn't exactly beta where the answer is a number: it differs by up to "
        "3e-5 at 7 and 3e-2 at 10000, amplified by 1/√ε = 316.",
        constant_channel,
        tolerance=DECADE,
        power_of_ten=True,
        item=(55,),
    ),
    Question(
        "error-at-a-large-mean",
        "numerics",
        "How large is the output's error at means 100, 1000 and 10000 (σ = 1)?",
        "Inputs that aren't centred (timestamps, raw heights) lose digits: at mean 10000, "
        "σ = 1, expect errors of 1e-3 to 1e-2 of a standard deviation, where float32 allows "
        "1e-6.",
        large_mean,
        tolerance=DECADE,
        power_of_ten=True,
        item=(56, 57),
    ),
    Question(
        "error-at-a-large-mean-by-layout",
        "numerics",
        "How large is the output's error at mean 10000, by memory layout?",
        "The same numbers in another memory order may take another kernel (PyTorch "
        "2.13.0: 8e-4 with channels first, 8e-3 with channels last); nan means that no "
        "digit is left.",
        large_mean_by_layout,
        tolerance=DECADE,
        power_of_ten=True,
        item=(56,),
    ),
    Question(
        "error-at-a-large-mean-synchronized",
        "numerics",
        "How large is the error with synchronized=True, on one device?",
        "E[x²] − E[x]² cancels: at mean 1000, σ = 1, the outputs are wrong by about 1000 "
        "standard deviations, and nothing warns.",
        large_mean_synchronized,
        asked_of=KERAS,
        absent=Text("is another class, SyncBatchNorm"),
        tolerance=DECADE,
        power_of_ten=True,
        item=(57,),
    ),
    Question(
        "zero-variance-and-zero-epsilon",
        "numerics",
        "In inference with mean, variance and epsilon 0, what do 1, 0 and −1 give, by rank?",
        "The pattern of NaN and infinities of a dead channel depends on the path through the "
        "framework: 1 or 3 of 3 values are NaN. Only epsilon > 0 is portable.",
        zero_over_zero,
        item=(58,),
    ),
    Question(
        "one-nan",
        "numerics",
        "In training, how far does one NaN spread?",
        "One NaN ruins its channel for good (the running statistics keep it), and 1 of C "
        "channels only.",
        one_nan,
    ),
    Question(
        "one-infinity",
        "numerics",
        "In training, how far does one infinity spread?",
        "Its channel's outputs are all NaN from this step on: the running mean stays infinite.",
        one_infinity,
    ),
    Question(
        "one-infinity-in-inference",
        "numerics",
        "In inference, how far does one infinity spread?",
        "Inference treats each value by itself: 1 output is infinite, the rest are as before.",
        one_infinity_in_inference,
    ),
    Question(
        "negative-running-variance",
        "numerics",
        "In inference with a running variance of −1, what are the outputs?",
        "A checkpoint with 1 negative variance loads, and its channel gives NaN without an error.",
        negative_variance,
    ),
)
