"""dx where batch statistics cancel nearly all of dy: the kernel's, against the NumPy reference's.

That the reference's are right is `test_accuracy.py`'s; here are the ways that the kernel goes
through a tensor: layouts, chunks of a channel, channels beside others that don't cancel, ReLU.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import use

from batchnorm import core
from batchnorm.core import kernel
from batchnorm.vocabulary import Mode, as_dtype

KINDS = ["any", "constant", "nearly constant", "along x", "pairs"]


def gradient(kind, rng, x, axis):
    axes = tuple(i for i in range(x.ndim) if i != axis)
    some = rng.standard_normal(x.shape)
    if kind == "constant":
        return np.broadcast_to(rng.standard_normal(1), x.shape)
    if kind == "nearly constant":
        return 0.3 + some * 1e-8
    if kind == "along x":
        wide = x.astype(np.float64)
        return wide - wide.mean(axes, keepdims=True)
    return some


def dx_by(monkeypatch, name, x, dy, axis, relu):
    with monkeypatch.context() as patch:
        use(patch, kernel.IMPLEMENTATIONS[name])
        how = core.Settings((axis,), Mode.BATCH, 1e-3)
        gamma = np.linspace(0.5, 2, x.shape[axis])
        saved = core.forward(x, gamma, None, None, how, relu=relu)[2]
        return core.backward(saved, dy)[0].astype(np.float64)


@settings(max_examples=60, deadline=None)
@given(
    values=st.sampled_from([(1, 2), (2, 1), (1, 3), (5, 1), (63, 1), (8, 8), (13, 5), (1, 130)]),
    channels=st.sampled_from([1, 3, 16, 17, 40]),
    last=st.booleans(),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    relu=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_level_finds_what_is_left_as_the_reference_does(
    values, channels, last, kind, dtype, relu, seed
):
    rng, dtype = np.random.default_rng(seed), as_dtype(dtype)
    if kind == "pairs":
        values = (2, 1) if seed % 2 else (1, 2)
    outer, inner = values
    shape = (outer, inner, channels) if last else (outer, channels, inner)
    axis = 2 if last else 1
    x = (rng.standard_normal(shape) * 3 + 1).astype(dtype)
    hard = np.expand_dims(rng.random(channels) < 0.5, (0, 1) if last else (0, 2))
    dy = np.where(hard, gradient(kind, rng, x, axis), rng.standard_normal(shape)).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        expected = dx_by(patch, "reference", x, dy, axis, relu)
        bound = {8: 1e-12, 4: 4e-7}.get(dtype.itemsize, 1e-2)
        axes = tuple(i for i in range(3) if i != axis)
        # Channel by channel, so that one that cancels does not hide behind one that doesn't.
        largest = np.abs(expected).max(axes, keepdims=True)
        for name in kernel.IMPLEMENTATIONS:
            found = dx_by(patch, name, x, dy, axis, relu)
            assert (np.abs(found - expected) <= bound * largest + 1e-30).all(), name


@pytest.mark.parametrize("name", [name for name in kernel.IMPLEMENTATIONS if name != "reference"])
def test_two_values_and_constant_gradients_stay_in_the_kernel(name, monkeypatch):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    monkeypatch.setattr(kernel, "input_gradient", None)
    monkeypatch.setattr(kernel.IMPLEMENTATIONS["reference"], "input_gradient", None)
    rng, how = np.random.default_rng(0), core.Settings((1,), Mode.BATCH, 1e-5)
    for shape, dy in (((2, 300), None), ((8, 5, 40), 0.25)):
        x = rng.standard_normal(shape).astype(np.float32)
        given = x[::-1].copy() if dy is None else np.full(shape, dy, np.float32)
        dx, _, dbeta = core.backward(core.forward(x, None, None, None, how)[2], given)
        assert np.isfinite(dx).all()
        assert dbeta.shape == (shape[1],)
        assert (dx == 0).all() == (dy is not None)


@pytest.mark.parametrize("name", list(kernel.IMPLEMENTATIONS))
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("count", [2, 3, 5, 16, 17])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_leaves_nan_in_its_channel_alone(
    name, last, count, bad, monkeypatch
):
    rng, channels = np.random.default_rng(count), 37
    shape, axis = ((count, 1, channels), 2) if last else ((1, channels, count), 1)
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        x = rng.standard_normal(shape).astype(as_dtype(dtype))
        dy = rng.standard_normal(shape).astype(as_dtype(dtype))
        rows = np.moveaxis(dy, axis, 0).reshape(channels, count)
        for channel, value in ((0, 0), (15, count - 1), (20, 1), (36, 0)):
            rows[channel, value] = bad
        dy = np.moveaxis(rows.reshape((channels, *np.delete(shape, axis))), 0, axis)
        found, expected = (
            np.moveaxis(dx_by(monkeypatch, by, x, dy, axis, False), axis, 0)
            for by in (name, "reference")
        )
        found, expected = found.reshape(channels, count), expected.reshape(channels, count)
        assert (np.isnan(found) == np.isnan(expected)).all()
        if count == 2:
            assert np.isnan(found).all(axis=1).nonzero()[0].tolist() == [0, 15, 20, 36]
        assert np.isfinite(np.delete(found, [0, 15, 20, 36], axis=0)).all()
