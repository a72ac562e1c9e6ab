"""A ResNet-50 trained with `accelerate`: the losses of plain torch, but for rounding."""

import copy
import sys
from pathlib import Path

import pytest
from torch_here import torch

from batchnorm.hosts.torch import accelerate

sys.path.insert(0, str(Path(__file__).parent.parent.parent))  # no installation has benchmarks/

from benchmarks.resnet50_step import losses, resnet50

STEPS, SHAPE = 20, (8, 3, 32, 32)


@pytest.fixture(scope="module")
def plain():
    """The model, its batches, its losses, and how far one ulp of the input takes these."""
    torch.manual_seed(0)
    model = resnet50(10)
    batches = [(torch.randn(SHAPE), torch.randint(0, 10, SHAPE[:1])) for _ in range(STEPS)]
    theirs = losses(copy.deepcopy(model), batches)
    apart = []
    for where in (-torch.inf, torch.inf):
        nudged = [(torch.nextafter(x, torch.full_like(x, where)), label) for x, label in batches]
        apart.append(differences(losses(copy.deepcopy(model), nudged), theirs))
    return model, batches, theirs, [max(pair) for pair in zip(*apart, strict=True)]


def differences(one, other):
    return [abs(a - b) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("fuse", [False, True], ids=["accelerated", "fused"])
def test_twenty_steps_lose_as_plain_torch_does(plain, fuse):
    model, batches, theirs, one_ulp = plain
    ours = losses(accelerate(copy.deepcopy(model), fuse=fuse), batches)
    found = differences(ours, theirs)
    assert found[0] <= 4 * max(one_ulp[0], 1e-6)
    assert max(found) <= 2 * max(one_ulp)
