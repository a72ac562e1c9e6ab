"""A ResNet-50 trained with `accelerate` has plain torch's losses, as far as rounding decides.

The set-up is the benchmark's own (benchmarks/resnet50_step.py), on small images and few classes.
"""

import importlib
import sys
from pathlib import Path

import pytest
from torch_here import torch

import batchnorm as bn

STEPS = 20


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        patch.setenv("OMP_NUM_THREADS", "1")  # which it would set for all that follows
        yield importlib.import_module("benchmarks.resnet50_step")
    sys.modules.pop("benchmarks.resnet50_step")


@pytest.fixture(scope="module")
def trained(benchmark):
    """The model, its batches, plain torch's losses, and how far others are from them."""
    torch.manual_seed(0)
    model = benchmark.resnet50(classes=10)
    some = [(torch.randn(4, 3, 64, 64), torch.randint(0, 10, (4,))) for _ in range(benchmark.CYCLE)]
    batches = [some[step % len(some)] for step in range(STEPS)]
    return model, batches, *benchmark.apart(model, batches)


def test_losses_fall_and_one_ulp_moves_them_little(trained):
    """Else the comparison would say nothing."""
    _, _, plain, differences = trained
    assert plain[-1] < 0.1 * plain[0]
    assert 0 < max(spread(differences)) < 1e-3


@pytest.mark.parametrize("name", ["accelerate", "accelerate, fuse=True"])
def test_losses_are_within_what_one_ulp_of_the_input_causes(name, trained):
    _, _, plain, differences = trained
    assert differences[name][0] <= 4 * torch.finfo(torch.float32).eps * plain[0]
    assert max(differences[name]) <= 2 * max(spread(differences))


def test_a_rule_that_is_a_little_different_is_not(benchmark, trained):
    model, batches, plain, differences = trained
    other = bn.hosts.torch.accelerate(benchmark.beginning(model))
    for norm in other.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eps *= 10
    found = benchmark.losses(other, batches[:8])
    away = max(abs(a - b) for a, b in zip(found, plain, strict=False))
    assert away > 2 * max(spread(differences))


def spread(differences):
    """Of the nudged trainings, all steps."""
    return [d for name, own in differences.items() if name.startswith("one ulp") for d in own]
