"""The official pages' examples: their printed digits, ours and the exact ones."""

import numpy as np
import pytest

from batchnorm.explain import page
from batchnorm.explain.sections.examples import EXAMPLES
from batchnorm.explain.sides import NAMES, Side

CASES = [
    (pair, example, name)
    for pair, examples in EXAMPLES.items()
    for example in examples
    for name in NAMES
    if Side(name).dialect == example.dialect
]


@pytest.mark.parametrize(("pair", "example", "name"), CASES)
def test_printed_digits_agree_within_2e_6_of_the_largest(pair, example, name):
    printed = example.printed.reshape(example.x.shape)
    ours = example.ours(Side(name))
    assert np.max(np.abs(printed - ours)) <= 2e-6 * np.max(np.abs(printed))


@pytest.mark.parametrize(("pair", "example", "name"), CASES)
def test_ours_is_the_exact_value_rounded(pair, example, name):
    exact = example.exact()
    if name == "tf_keras@2.6":  # its fused kernel has no smaller epsilon: 1e-5 means 1.001e-5
        exact = example.x.astype(np.float64) / np.sqrt(1 + 1.001e-5)
    off = np.abs(example.ours(Side(name)) - exact)
    assert np.all(off <= 0.51 * np.spacing(np.abs(exact).astype(np.float32)))


def test_printed_digits_are_up_to_31_ulp_from_the_truth():
    _, example = EXAMPLES["torch", "mindspore"]
    exact = example.exact().ravel()
    off = np.abs(example.printed - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert 31 < off.max() < 32


def test_one_array_read_in_two_layouts_differs_in_training():
    one, other = EXAMPLES["tf_keras", "mindspore"]
    first = one.ours(Side("tf_keras"), training=True).flat[0]
    second = other.ours(Side("mindspore"), training=True).flat[0]
    assert (round(float(first), 4), round(float(second), 4)) == (-1.5275, -1.2127)


@pytest.mark.parametrize("pair", [("torch", "mindspore"), ("mindspore@2.0", "tf_keras@2.6")])
def test_pages_of_either_direction_have_them(pair):
    for a, b in (pair, pair[::-1]):
        ids = page(a, b).ids()
        assert {"examples", "official-page"} <= set(ids)


def test_other_pages_have_no_official_one():
    assert not {"examples", "official-page"} & set(page("torch", "keras").ids())
