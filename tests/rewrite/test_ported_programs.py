"""Nets that are corrected or parsed only, and then run: they give what the torch net gives.

A torch net whose imports were swapped (`--written-as torch`), the same as a functional Keras model,
and the same in mint, which is never run itself.
"""

import numpy as np
import pytest
from test_programs import CORRECTED, COUNT, PROGRAMS, ULP, numbers

from batchnorm.rewrite import rewrite_source, rewrite_written

SWAPS = {"from torch import nn": "from mindspore import nn", "nn.Module": "nn.Cell",
         "def forward": "def construct"}  # fmt: skip
MOMENTA = {"first": 0.03, "second": 0.2, "third": 0.1}  # of torch: what the new batch weighs


def program(name):
    return (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")


def swapped():
    text = program("swapped")
    for old, new in SWAPS.items():
        assert old in text
        text = text.replace(old, new)
    return text


def corrected(text, to):
    return rewrite_written(text, written_as="torch", to=to)


def from_mint(to):
    return rewrite_source(program("of_mint"), from_="mint", to=to)


CASES = {
    "swapped": lambda: ("mindspore", corrected(swapped(), "mindspore")),
    "functional": lambda: ("keras", corrected(program("functional"), "keras")),
    "mint to mindspore": lambda: ("mindspore", from_mint("mindspore")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_the_torch_net(case):
    to, found = CASES[case]()
    assert not [site for site in found.sites if site.left or site.reason]
    ours, moved = numbers(program("swapped")), numbers(program("swapped"), nudged=True)
    theirs = numbers(found.after.decode())
    assert ours.keys() == theirs.keys()
    for key in ours:
        values, others = list(ours[key]), list(theirs[key])
        if len(values) == 2 and to not in CORRECTED:  # whose running variance divides by n
            start = (1 - MOMENTA[key.split()[1]]) ** (int(key.split()[0]) + 1)
            others[1] = start + (others[1] - start) * COUNT / (COUNT - 1)
        if key == "inference" and to not in CORRECTED:
            continue  # by those variances
        for value, other, near in zip(values, others, moved[key], strict=True):
            bound = 10 * max(ULP * np.abs(value).max(), np.abs(value - near).max())
            assert bound < 1e-3 * np.abs(value).max()
            np.testing.assert_allclose(value, other, rtol=0, atol=bound, err_msg=key)


def test_the_uncorrected_numbers_are_others():
    ours, theirs = numbers(program("swapped")), numbers(half_corrected())
    assert np.abs(ours["3 first"][0] - theirs["3 first"][0]).max() > 1e-2


def half_corrected():
    """The swapped net with MindSpore's names and modes, so that it runs, and torch's numbers."""
    text = swapped()
    names = {"net.train()": "net.set_train()", "net.eval()": "net.set_train(False)",
             "running_mean": "moving_mean", "running_var": "moving_variance"}  # fmt: skip
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def test_mint_becomes_the_torch_net_once_the_rest_is_ported():
    found = from_mint("torch")
    assert [site.kind for site in found.sites if site.left] == ["mode", "mode"]  # of a Cell still
    text = found.after.decode()
    rest = {"from mindspore import nn\n": "", "nn.Cell": "torch.nn.Module",
            " nn.ReLU": " torch.nn.ReLU", "def construct": "def forward",
            "net.set_train()": "net.train()", "net.set_train(False)": "net.eval()"}  # fmt: skip
    for old, new in rest.items():
        assert old in text
        text = text.replace(old, new)
    ours, theirs = numbers(program("swapped")), numbers(text)
    assert ours.keys() == theirs.keys()
    assert all(
        np.array_equal(a, b) for key in ours for a, b in zip(ours[key], theirs[key], strict=True)
    )
