"""torch for the tests of its host; skipped where it isn't installed, but not in CI."""

import os

import pytest

try:
    import torch
except ImportError:
    if os.environ.get("CI"):
        raise
    pytest.skip("torch is not installed", allow_module_level=True)

torch.set_num_threads(1)

__all__ = ["away", "step", "torch", "ulps"]


def step(module, x, dy, *more, **named):
    """One forward and backward: the result, the gradients of x and the parameters, the state."""
    module.zero_grad()
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(x, *more, **named)
    y.backward(dy)
    gradients = [p.grad for p in module.parameters() if p.requires_grad]
    return [y.detach(), x.grad, *gradients, *(v.clone() for v in module.state_dict().values())]


def away(one, other):
    """The largest difference of two lists of tensors, each relative to its largest value."""
    assert len(one) == len(other)
    found = 0.0
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert a.dtype is b.dtype
        if a.numel():
            a, b = a.detach().double(), b.detach().double()
            assert torch.equal(a.isnan(), b.isnan())
            largest = max(1.0, float(b.nan_to_num().abs().max()))
            found = max(found, float((a - b).nan_to_num().abs().max()) / largest)
    return found


def ulps(dtype, count=8):
    return count * torch.finfo(dtype).eps
