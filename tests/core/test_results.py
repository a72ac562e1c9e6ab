"""`out`, `addend` and `out_addend`: what becomes a result, and what can't."""

import os

import numpy as np
import pytest

from batchnorm import core
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Mode, as_dtype

SHAPE = (6, 5, 4, 3)
SETTINGS = core.Settings((1,), Mode.BATCH, 1e-5)


def data(seed=0, dtype="float32"):
    return (np.random.default_rng(seed).standard_normal(SHAPE) * 2 + 1).astype(as_dtype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("mode", Mode)
def test_out_everywhere_is_the_result_and_has_its_bits(mode, dtype):
    x, dy, other = data(0, dtype), data(1, dtype), data(2, dtype)
    running = core.Running(np.full(5, 0.5, np.float32), np.full(5, 2, np.float32))
    settings = core.Settings((1,), mode, 1e-5, 0.1, 1)
    plain, _, saved = core.forward(x, None, None, running, settings, addend=other, relu=True)
    out = np.full_like(x, 7)
    y, _, _ = core.forward(x, None, None, running, settings, addend=other, relu=True, out=out)
    assert y is out
    assert y.tobytes() == plain.tobytes()
    dx, *_ = core.backward(saved, dy)
    out, kept = np.full_like(x, 7), np.full_like(x, 7)
    into, *_ = core.backward(saved, dy, out=out, out_addend=kept)
    assert into is out
    assert out.tobytes() == dx.tobytes()
    assert kept.tobytes() == np.where(plain > 0, dy, np.zeros((), dy.dtype)).tobytes()


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_any_channel_axis_gives_what_the_first_one_does(axis, dtype):
    x = data(0, dtype)
    gamma, beta = np.linspace(0.5, 2, SHAPE[axis]), np.linspace(-1, 1, SHAPE[axis])
    settings = core.Settings((axis,), Mode.BATCH, 1e-5)
    first = core.Settings((0,), Mode.BATCH, 1e-5)
    y, _, saved = core.forward(x, gamma, beta, None, settings)
    moved = np.ascontiguousarray(np.moveaxis(x, axis, 0))
    expected, _, saved_first = core.forward(moved, gamma, beta, None, first)
    bound = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-14}[dtype]
    difference = np.moveaxis(y, axis, 0).astype(float) - expected.astype(float)
    assert np.abs(difference).max() <= bound * 4
    dx, dgamma, _ = core.backward(saved, x)
    dx_first, dgamma_first, _ = core.backward(saved_first, moved)
    difference = np.moveaxis(dx, axis, 0).astype(float) - dx_first.astype(float)
    assert np.abs(difference).max() <= bound * 4
    rounding = 2.0**-24 if x.dtype.itemsize == 2 else 1e-12
    np.testing.assert_allclose(dgamma, dgamma_first, rtol=rounding, atol=1e-12)


WRONG_OUT = {
    "another shape": (lambda x: np.empty(SHAPE[:3], x.dtype), "x's shape"),
    "one that x would broadcast into": (lambda x: np.empty((2, *SHAPE), x.dtype), "x's shape"),
    "integers": (lambda x: np.empty(SHAPE, np.int32), "floating type"),
    "a list": (lambda x: x.tolist(), "array of x"),
    "read-only": (lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(SHAPE), "read-only"),
    "x itself": (lambda x: x, "shares memory with x"),
    "a part of x": (lambda x: x[::-1], "shares memory with x"),
}


@pytest.mark.parametrize("kind", WRONG_OUT)
@pytest.mark.parametrize("weights", [None, np.ones(SHAPE)], ids=["plain", "weighted"])
def test_an_out_that_cannot_be_the_result_is_refused(kind, weights):
    make, text = WRONG_OUT[kind]
    x = data()
    before = x.copy()
    with pytest.raises(InvalidValue, match=f"out must .*{text}"):
        core.forward(x, None, None, None, SETTINGS, out=make(x), weights=weights)
    saved = core.forward(x, None, None, None, SETTINGS, relu=True, weights=weights)[2]
    for name in ("out", "out_addend"):
        with pytest.raises(InvalidValue, match=f"{name} must .*{text}"):
            core.backward(saved, data(1), **{name: make(x)})
    np.testing.assert_array_equal(x, before)


def test_results_may_not_share_memory_with_each_other_or_with_other_inputs():
    x, other, dy = data(), data(1), data(2)
    with pytest.raises(InvalidValue, match="shares memory with addend"):
        core.forward(x, None, None, None, SETTINGS, addend=other, out=other)
    with pytest.raises(InvalidValue, match="addend must have x's shape"):
        core.forward(x, None, None, None, SETTINGS, addend=other[:1])
    y, _, saved = core.forward(x, None, None, None, SETTINGS, relu=True)
    both = np.empty_like(x)
    for more, text in (
        ({"out": dy}, "out must .* with dy"),
        ({"out_addend": dy}, "out_addend must .* with dy"),
        ({"out": y}, "out must .* with y"),
        ({"out": both, "out_addend": both}, "out_addend must .* with out"),
    ):
        with pytest.raises(InvalidValue, match=text):
            core.backward(saved, dy, **more)


@pytest.mark.skipif(not os.environ.get("BATCHNORM_LARGE"), reason="needs 10 GB and BATCHNORM_LARGE")
@pytest.mark.parametrize("axes", [(1,), (2,)])
def test_more_values_than_32_bits_count(axes):
    shape = (2, 2, 2**29 + 64) if axes == (1,) else (2**29 + 64, 2, 2)
    x = np.zeros(shape, np.float16)
    x[-1] = 2
    y, _, saved = core.forward(x, None, None, None, core.Settings(axes, Mode.BATCH, 0.0))
    assert saved.count == x.size // 2 > 2**29
    part = 1 / shape[0]
    std = 2 * np.sqrt(part * (1 - part))
    np.testing.assert_allclose(saved.mean, 2 * part, rtol=1e-15)
    np.testing.assert_allclose(saved.inv_std, 1 / std, rtol=1e-12)
    assert set(np.unique(y[-1, ..., -8:])) == {np.float16((2 - 2 * part) / std)}
