"""The numbers in the consequences are computed here, and found in both languages."""

import math

import numpy as np
import pytest

from batchnorm.questions import question
from batchnorm.questions.channels import PAGE
from batchnorm.questions.probe import Probe
from batchnorm.questions.subject import Ours

KEPT = 0.9**10
COUNT = 8 * 8 * 8
FLOAT16 = np.finfo(np.float16)


def ratio(variance, one=1e-3, other=1e-5):
    return math.sqrt((variance + one) / (variance + other))


def first_output(axis):
    probe = Probe(Ours("keras"), PAGE.shape, axis=axis, epsilon=1e-5)
    return f"−{-probe.run(PAGE).y.ravel()[0]:.4f}"


def running_variance(**own):
    probe = Probe(Ours("keras"), (4, 3), weight_of_batch=0.1, epsilon=1e-6, **own)
    probe.run(np.repeat([[-2.0], [2.0], [-2.0], [2.0]], 3, axis=1).astype(np.float32))
    return f"{probe.value('running_var')[0]:.3g}"


NUMBERS = [
    ("weight-of-the-new-batch", [f"{0.1**10:.0e}", f"{KEPT:.3f}"]),
    ("default-weight-of-the-new-batch", [f"{KEPT:.3f}", f"{0.99**10:.3f}"]),
    ("running-variance-denominator", ["2.0e-3", f"{1 / 3:.2f}"]),
    ("running-variance-denominator-by-rank", [f"{5 / 4}"]),
    ("frozen-layer", [f"{100 * (1 - KEPT):.0f}"]),
    ("forced-batch-statistics", [f"{100 * (1 - KEPT):.0f}"]),
    ("default-epsilon", [f"{ratio(1):.4f}", f"{ratio(0.01):.3f}", f"{ratio(1e-4):.1f}"]),
    ("epsilon-changed-later", [f"{ratio(0.01):.3f}"]),
    ("smallest-epsilon", [f"{math.sqrt(1.001e-5 / 1e-7):.0f}"]),
    ("integer-epsilon", [f"{math.sqrt(2):.2f}"]),
    ("epsilon-above-one", [f"{math.sqrt(2.5):.2f}", f"{math.sqrt(2):.2f}"]),
    ("running-variance-with-renorm", [running_variance(), running_variance(renorm=True)]),
    ("one-array-in-two-layouts", [first_output(1), first_output(-1)]),
    ("regularizers-and-constraints", [f"{64 * 0.01}"]),
    ("constant-channel", [f"{1 / math.sqrt(1e-5):.0f}"]),
    ("sixteen-bit-layer", [f"{100 * float(FLOAT16.eps) / 4 / 0.01:.1f}", f"{FLOAT16.max:.0f}"]),
    ("float16-overflow", [f"{FLOAT16.max:.0f}"]),
]


@pytest.mark.parametrize(("id", "numbers"), NUMBERS, ids=[id for id, _ in NUMBERS])
def test_a_consequence_has_its_numbers(id, numbers):
    consequence = question(id).consequence
    for number in numbers:
        assert number in consequence.en
        assert number in consequence.zh


def test_the_factor_at_8x8x8_is_the_stated_one():
    assert f"{COUNT / (COUNT - 1) - 1:.1e}" == "2.0e-03"
