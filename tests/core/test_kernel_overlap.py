"""Tensors that no cache holds: channels are summed while the ones before them are written.

And that neither this nor what is computed in float depends on how threads share them out.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from levels import use

import batchnorm as bn
from batchnorm import core
from batchnorm.core import kernel, reference
from batchnorm.core.forward import backward, forward
from batchnorm.vocabulary import Mode, as_dtype

LEVELS = [name for name in kernel.IMPLEMENTATIONS if name != "reference"]
pytestmark = pytest.mark.skipif(not LEVELS, reason="BATCHNORM_KERNEL=reference is all there is")
BOUNDS = {"float32": 1e-6, "float64": 1e-13, "float16": 2e-3, "bfloat16": 2e-2}
# Rows whose length is no multiple of a step, with a rest of channels; rows that are; channels of
# which each thread has a part.
SHAPES = [(16, 203, 33, 31), (9, 131, 64, 48), (5, 17, 250, 230)]
SETTINGS = core.Settings((1,), Mode.BATCH_AND_UPDATE, 1e-5, 0.1, 1)


def case(shape, dtype, strange):
    draw = np.random.default_rng(3)
    x, dy, addend = (draw.standard_normal(shape, np.float32) + 2 for _ in range(3))
    dy -= 2
    if (
        strange and x.shape[1] > 14
    ):  # a constant channel, one that float can't hold, others of which dx is almost 0
        x[:, 3] = 7
        x[:, 5] *= np.float32(1e4 if dtype == "float16" else 1e37)
        dy[:, 7] = 3 + 2 * x[:, 7]
        dy[:, 11:13] = 1
        dy[:, ::20] += 5  # which float does for others, not for these
        x[(0, 14) + (0,) * (x.ndim - 2)] = np.nan
    return [np.ascontiguousarray(value.astype(as_dtype(dtype))) for value in (x, dy, addend)]


def outcome(x, dy, addend, mask=None):
    channels = x.shape[1]
    gamma = np.linspace(-2, 2, channels).astype(np.float32)
    running = core.Running(gamma + 1, gamma * 0 + 2)
    y, running, saved = forward(
        x, gamma, gamma * 0.5, running, SETTINGS, addend=addend, relu=addend is not None
    )
    kept = None
    if addend is not None:
        kept = np.empty_like(dy)
        own = y.copy()
        if mask is not None:  # values beside 0 may fall on either side: one mask for both
            saved.y[...] = mask
        y = own
    dx, dgamma, dbeta = backward(saved, dy, out_addend=kept)
    found = [y, running.mean, running.var, dx, dgamma, dbeta]
    return found if kept is None else [*found, kept]


def by_channel(array):
    array = np.asarray(array, np.float64)
    return (
        array.reshape(-1, 1)
        if array.ndim == 1
        else array.swapaxes(0, 1).reshape(array.shape[1], -1)
    )


@pytest.mark.parametrize(
    ("dtype", "strange", "fused"),
    [
        ("float32", False, False),
        ("float32", True, True),
        ("float64", True, True),
        ("float16", True, False),
        ("bfloat16", True, True),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_channel_agrees_with_the_reference(shape, dtype, strange, fused, monkeypatch):
    x, dy, addend = case(shape, dtype, strange)
    addend = addend if fused else None
    use(monkeypatch, kernel.IMPLEMENTATIONS[LEVELS[0]])
    found = outcome(x, dy, addend)
    use(monkeypatch, reference)
    expected = outcome(x, dy, addend, found[0])
    for ours, truth in zip(found, expected, strict=True):
        ours, truth = by_channel(ours), by_channel(truth)
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(truth))
        usual = np.isfinite(truth)
        ours, truth = np.where(usual, ours, 0), np.where(usual, truth, 0)
        largest = np.abs(truth).max(axis=1, keepdims=True, initial=0)
        # Sums of many values of about 1, which may cancel.
        digits = 28 if x.dtype.itemsize == 2 else 50
        rounding = 2.0**-digits * x.size / x.shape[1] if truth.shape[1] == 1 else 0
        assert (np.abs(ours - truth) <= BOUNDS[dtype] * largest + rounding + 1e-30).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "shape", [*SHAPES, (32, 64, 7, 7), (100, 1000), (8000, 2, 7, 7), (9, 70, 5)]
)
def test_threads_and_levels_do_not_change_a_bit(shape, dtype, monkeypatch):
    threads, results = bn.get_num_threads(), set()
    x, dy, addend = case(shape, dtype, True)
    try:
        for level in [name for name in LEVELS if name in ("v3", "v4")] or LEVELS[:1]:
            use(monkeypatch, kernel.IMPLEMENTATIONS[level])
            for count in (1, 2, 3, 7):
                bn.set_num_threads(count)
                found = [*outcome(x, dy, addend), *outcome(x, dy, None)]
                results.add(tuple(array.tobytes() for array in found))
    finally:
        bn.set_num_threads(threads)
    assert len(results) == 1


WITHOUT_MEMORY = """
import resource
import numpy as np
import batchnorm as bn
from batchnorm import core
from batchnorm.vocabulary import Mode, as_dtype

bn.set_num_threads(1)
x = np.random.default_rng(0).standard_normal((32, 64, 32, 32), np.float32).astype(as_dtype("{}"))
settings = core.Settings((1,), Mode.BATCH, 1e-5)
y, dx = np.zeros_like(x), np.zeros_like(x)
small = x[:1, :, :2, :2].copy()
core.backward(core.forward(small, None, None, None, settings)[2], small)
pages = int(open("/proc/self/statm").read().split()[0])
most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 20), most))
saved = core.forward(x, None, None, None, settings, out=y)[2]
_, dgamma, _ = core.backward(saved, x, out=dx)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
assert abs(dgamma / (x.size / 64) - 1).max() < 0.05, dgamma
assert abs(y.astype(float).std() - 1) < 1e-2
"""


@pytest.mark.skipif(
    "BATCHNORM_SANITIZED" in os.environ,
    reason="a sanitizer takes address space as it goes",
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_there_is_no_memory_for_copies_there_are_none(dtype):
    code = WITHOUT_MEMORY.format(dtype)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
