"""Tensors as they are: the bits that arrays give, and what has to go another way."""

import numpy as np
import pytest
from torch_here import torch

from batchnorm import core
from batchnorm.hosts.torch import accelerate, tasks
from batchnorm.hosts.torch.kernel_call import KernelCall
from batchnorm.hosts.torch.tensors import array_of, vector_of
from batchnorm.vocabulary import Mode

nn = torch.nn
pytestmark = pytest.mark.skipif(tasks.TASKS is None, reason="the reference takes arrays only")

SHAPES = {"ncsp": (4, 5, 6, 7), "two axes": (9, 5), "volumes": (2, 3, 4, 5, 6), "one": (6, 1, 5, 5)}
FORMATS = {
    "ncsp": torch.contiguous_format,
    "channels last": torch.channels_last,
    "volumes, channels last": torch.channels_last_3d,
}


def random(shape, dtype, seed=0, form=torch.contiguous_format):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (made * 2 + 1).to(dtype).contiguous(memory_format=form)


def both(shape, dtype, form, mode, relu, affine=True):
    """(y, mean, var, dx, dgamma, dbeta, daddend) as tensors and as arrays, in one type."""
    channels = shape[1]
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    x, addend, dy = (random(shape, dtype, seed, form) for seed in range(3))
    addend = addend if relu else None
    gamma = random((channels,), wide, 3) if affine else None
    beta = random((channels,), wide, 4) if affine else None
    settings = core.Settings((1,), mode, 1e-5, 0.1, 1)
    means, variances = random((channels,), wide, 5), random((channels,), wide, 6) ** 2
    running = core.Running(vector_of(means).copy(), vector_of(variances).copy())
    batches = torch.tensor(7)
    call = KernelCall(settings, means, variances, relu, relu, None, batches)
    y = tasks.forward(x, gamma, beta, addend, call)
    assert y.stride() == x.stride()
    assert batches.item() == 7 + (mode is not Mode.RUNNING)
    needs = (True, affine, affine, relu)
    found = tasks.backward(dy, x, gamma, y if relu else None, needs, call)
    given = None if addend is None else array_of(addend)
    arrays = (array_of(x), vector_of(gamma), vector_of(beta), running, settings)
    wanted, running, saved = core.forward(*arrays, addend=given, relu=relu)
    kept = np.empty_like(wanted) if relu else None
    dx, dgamma, dbeta = core.backward(saved, array_of(dy), out_addend=kept)
    narrow = vector_of(means).dtype
    sums = [dgamma.astype(narrow), dbeta.astype(narrow)] if affine else [None, None]
    return (
        [y, means, variances, *found],
        [wanted, running.mean, running.var, dx, *sums, kept],
    )


@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "form"),
    [(shape, "ncsp") for shape in SHAPES.values()]
    + [(SHAPES["ncsp"], "channels last"), (SHAPES["volumes"], "volumes, channels last")],
)
def test_tensors_give_the_bits_that_arrays_give(shape, form, dtype, mode, relu):
    for affine in (True, False):
        found, wanted = both(shape, dtype, FORMATS[form], mode, relu, affine)
        for own, other in zip(found, wanted, strict=True):
            assert (own is None) == (other is None)
            if own is not None:
                assert array_of(own).tobytes() == other.tobytes()


def test_results_large_enough_for_kept_memory_too(monkeypatch):
    monkeypatch.setattr("batchnorm.hosts.torch.tensors.LARGE", 1)
    form = FORMATS["channels last"]
    found, wanted = both((8, 64, 48, 48), torch.float32, form, Mode.BATCH_AND_UPDATE, True)
    for own, other in zip(found, wanted, strict=True):
        assert array_of(own).tobytes() == other.tobytes()


def negative(x):
    """The same values with torch's negative bit set: memory holds their opposites."""
    return torch._neg_view(-x)


def strided(x):
    return torch.stack([x, x], -1)[..., 0]


@pytest.mark.parametrize("change", [negative, strided])
@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_vectors_whose_memory_is_not_their_values_go_as_arrays(name, change):
    x, ours, plain = torch.randn(4, 3, 5, 5), accelerate(nn.BatchNorm2d(3)), nn.BatchNorm2d(3)
    with torch.no_grad():
        for module in (ours, plain):
            for value in (module.weight, module.bias, module.running_mean):
                value.copy_(torch.tensor([0.5, 1.0, 2.0]))
            own = getattr(module, name)
            other = change(own.detach())
            if name in module._parameters:
                other = nn.Parameter(other)
            setattr(module, name, other)
    for module in (ours, plain):
        module.eval()
    torch.testing.assert_close(ours(x), plain(x))


@pytest.mark.parametrize("place", ["input", "gradient", "addend"])
def test_a_negative_bit_is_seen(place):
    x, dy, addend = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5)
    results = []
    for lazy in (lambda t: t, negative):
        ours = accelerate(nn.BatchNorm2d(3))
        own = (lazy(x) if place == "input" else x).detach().requires_grad_()
        y = ours(own, lazy(addend) if place == "addend" else addend, True)
        y.backward(lazy(dy) if place == "gradient" else dy)
        results.append((y.detach(), own.grad, ours.weight.grad, ours.running_mean))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_what_the_backward_does_not_need_may_change_before_it():
    ours, plain = accelerate(nn.BatchNorm2d(3)), nn.BatchNorm2d(3)
    x, addend, dy = (torch.randn(4, 3, 5, 5) for _ in range(3))
    gradients = []
    for module in (ours, plain):
        own, other = x.clone().requires_grad_(), addend.clone()
        result = ours(own, other, True) if module is ours else torch.relu(module(own) + other)
        other.add_(1)
        with torch.no_grad():
            module.bias.add_(1)
        result.backward(dy)
        gradients.append((own.grad, module.weight.grad, module.bias.grad))
    torch.testing.assert_close(*gradients)


def test_a_gradient_that_cancels_has_the_digits_that_the_reference_finds():
    ours, x = accelerate(nn.BatchNorm2d(3)), torch.randn(8, 3, 5, 5, requires_grad=True)
    y = ours(x)
    dy = y.detach() * 3 + 1
    y.backward(dy)
    settings = core.Settings((1,), Mode.BATCH, ours.eps)
    _, _, saved = core.forward(array_of(x), np.ones(3), np.zeros(3), None, settings)
    dx, *_ = core.backward(saved, array_of(dy))
    assert array_of(x.grad).tobytes() == dx.tobytes()


def test_a_pruned_weight_is_the_one_that_counts():
    prune = pytest.importorskip("torch.nn.utils.prune")
    ours, plain = accelerate(nn.BatchNorm2d(4)), nn.BatchNorm2d(4)
    for module in (ours, plain):
        prune.custom_from_mask(module, "weight", torch.tensor([1.0, 0, 1, 0]))
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(ours(x), plain(x))


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "no momentum", "without gradients"])
def test_every_batch_is_counted_once(kind):
    settings = {"momentum": None} if kind == "no momentum" else {}
    ours = accelerate(nn.BatchNorm2d(3, **settings))
    x = torch.randn(2, 3, 4, 4)
    if kind == "bfloat16":
        ours, x = ours.to(torch.bfloat16), x.to(torch.bfloat16)
    with torch.set_grad_enabled(kind != "without gradients"):
        for _ in range(3):
            ours(x)
    assert ours.num_batches_tracked.item() == 3
    ours.eval()(x)
    assert ours.num_batches_tracked.item() == 3


def test_a_deleted_count_of_batches_is_not_missed_in_evaluation():
    ours, plain = accelerate(nn.BatchNorm2d(3)).eval(), nn.BatchNorm2d(3).eval()
    x = torch.randn(2, 3, 4, 4)
    for module in (ours, plain):
        del module.num_batches_tracked
    torch.testing.assert_close(ours(x), plain(x))
