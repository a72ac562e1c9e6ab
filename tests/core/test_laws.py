"""Laws of the core: what must hold for any data, whatever the implementation."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchnorm import core
from batchnorm.core import kernel
from batchnorm.errors import InvalidValue
from batchnorm.vocabulary import Mode

CHANNELS = 3
FLOATS = st.floats(-1e6, 1e6, width=32)
SETTINGS = core.Settings((1,), Mode.BATCH_AND_UPDATE, 1e-3, 0.25, 1)
RUNNING = core.Running(np.zeros(CHANNELS), np.ones(CHANNELS))


def batches(smallest=0, dtypes=(np.float32, np.float64)):
    return st.tuples(st.sampled_from(dtypes), st.integers(smallest, 12)).flatmap(
        lambda pair: hnp.arrays(pair[0], (pair[1], CHANNELS), elements=FLOATS)
    )


def assert_same_moments(ours, expected, *data):
    """Equal up to the rounding of float64 on these data."""
    values = np.concatenate([part.astype(np.float64) for part in data])
    size = np.abs(values).max(initial=1e-30)
    np.testing.assert_array_equal(ours.count, expected.count)
    mean, other = ours.mean + ours.residual, expected.mean + expected.residual
    np.testing.assert_allclose(mean, other, rtol=0, atol=1e-14 * size)
    np.testing.assert_allclose(ours.m2, expected.m2, rtol=1e-12, atol=1e-26 * size * size)
    assert (ours.m2 >= 0).all()


@given(batches(), batches())
def test_merged_moments_are_those_of_the_whole(first, second):
    second = second.astype(first.dtype)
    merged = core.merge(core.reduce(first, (1,)), core.reduce(second, (1,)))
    whole = core.reduce(np.concatenate([first, second]), (1,))
    assert_same_moments(merged, whole, first, second)


@given(batches(), batches(), batches())
def test_merging_is_commutative_and_associative(first, second, third):
    data = (first, second, third)
    a, b, c = (core.reduce(part, (1,)) for part in data)
    assert_same_moments(core.merge(a, b), core.merge(b, a), *data)
    left, right = core.merge(core.merge(a, b), c), core.merge(a, core.merge(b, c))
    assert_same_moments(left, right, *data)


@given(batches())
def test_merging_with_an_empty_batch_changes_nothing(x):
    moments, empty = core.reduce(x, (1,)), core.reduce(x[:0], (1,))
    for merged in (core.merge(moments, empty), core.merge(empty, moments)):
        for name in ("count", "mean", "residual", "m2"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(moments, name))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_merging_keeps_what_is_not_finite_as_the_whole_has_it(bad):
    first, second = np.array([[1.0], [bad]]), np.array([[2.0], [3.0]])
    whole = core.reduce(np.concatenate([first, second]), (1,))
    for pair in ((first, second), (second, first)):
        merged = core.merge(*(core.reduce(part, (1,)) for part in pair))
        np.testing.assert_array_equal(merged.mean, whole.mean)
        np.testing.assert_array_equal(merged.m2, whole.m2)
        np.testing.assert_array_equal(merged.residual, 0)


@given(batches(1), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(x, random):
    order = random.sample(range(len(x)), len(x))
    assert_same_moments(core.reduce(x[order], (1,)), core.reduce(x, (1,)), x)


@given(batches(1), st.permutations(range(CHANNELS)))
def test_channels_are_independent_of_their_order(x, order):
    gamma, beta = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0])
    y, running, saved = core.forward(x, gamma, beta, RUNNING, SETTINGS)
    gradients = core.backward(saved, x + 1)
    moved = np.ascontiguousarray(x[:, order])  # of one memory layout, as sums are taken by layout
    y2, running2, saved2 = core.forward(moved, gamma[order], beta[order], RUNNING, SETTINGS)
    gradients2 = core.backward(saved2, moved + 1)
    np.testing.assert_array_equal(y2, y[:, order])
    np.testing.assert_array_equal(running2.mean, running.mean[order])
    np.testing.assert_array_equal(running2.var, running.var[order])
    np.testing.assert_array_equal(gradients2[0], gradients[0][:, order])
    np.testing.assert_array_equal(gradients2[1], gradients[1][order])
    np.testing.assert_array_equal(gradients2[2], gradients[2][order])


@given(batches(1), st.sampled_from(list(Mode)))
def test_forward_and_backward_are_pure(x, mode):
    settings = core.Settings((1,), mode, 1e-3, 0.25, 1)
    given_arrays = {
        "x": x,
        "gamma": np.array([1.0, 2.0, 3.0]),
        "beta": np.array([-1.0, 0.0, 1.0]),
        "mean": np.array([0.5, 0.0, 2.0]),
        "var": np.array([1.0, 2.0, 3.0]),
        "dy": x[::-1] * 2,
    }
    before = {name: array.copy() for name, array in given_arrays.items()}

    def outcome():
        g = given_arrays
        running = core.Running(g["mean"], g["var"])
        y, new, saved = core.forward(g["x"], g["gamma"], g["beta"], running, settings)
        return [y, new.mean, new.var, *core.backward(saved, g["dy"])]

    for array in given_arrays.values():
        array.flags.writeable = False
    first, second = outcome(), outcome()
    for name, array in given_arrays.items():
        np.testing.assert_array_equal(array, before[name])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@given(batches(1))
def test_only_one_mode_moves_the_running_statistics(x):
    for mode in Mode:
        new = core.forward(x, None, None, RUNNING, core.Settings((1,), mode, 1e-3, 0.25))[1]
        assert (new is RUNNING) == (mode is not Mode.BATCH_AND_UPDATE)


@given(batches(1))
def test_weights_of_one_change_nothing_and_of_zero_leave_out(x):
    plain = core.reduce(x, (1,))
    ones = core.reduce(x, (1,), np.ones((len(x), 1)))
    assert_same_moments(ones, plain, x)
    spoilt = np.concatenate([np.full((2, CHANNELS), np.nan, x.dtype), x])
    weights = np.r_[0.0, 0.0, np.ones(len(x))][:, None]
    assert_same_moments(core.reduce(spoilt, (1,), weights), plain, x)


@given(batches(1), st.integers(1, 4))
def test_whole_weights_count_like_repetition(x, times):
    repeated = core.reduce(np.repeat(x, times, axis=0), (1,))
    weighted = core.reduce(x, (1,), np.full((len(x), 1), float(times)))
    assert_same_moments(weighted, repeated, x)


@given(batches(2), st.integers(-8, 8))
def test_scaling_the_data_by_a_power_of_two_scales_the_moments_exactly(x, exponent):
    scale = 2.0**exponent
    plain, scaled = core.reduce(x.astype(float), (1,)), core.reduce(x.astype(float) * scale, (1,))
    np.testing.assert_array_equal(scaled.mean, plain.mean * scale)
    np.testing.assert_array_equal(scaled.m2, plain.m2 * scale * scale)


VIEWS = {
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_layout_does_not_matter(view, dtype):
    x = np.random.default_rng(0).standard_normal((7, CHANNELS)).astype(dtype) + dtype(3)
    same = VIEWS[view](x)
    np.testing.assert_array_equal(same, x)

    def outcome(values):
        y, new, saved = core.forward(values, None, None, RUNNING, SETTINGS)
        return [y, new.mean, new.var, *core.backward(saved, values)]

    for a, b in zip(outcome(x), outcome(same), strict=True):
        # Another layout has another order of sums, which are in float where there are 16 bits.
        bound = max(2e-15 if dtype != np.float16 else 2.0**-22, float(np.finfo(a.dtype).eps))
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * np.abs(b).max())


def test_zero_strides_count_every_value():
    x = np.broadcast_to(np.array([[1.0, 2.0, 5.0]]), (4, CHANNELS))
    moments = core.reduce(x, (1,))
    np.testing.assert_array_equal(moments.count, 4)
    np.testing.assert_array_equal(moments.mean, [1, 2, 5])


def test_threads_on_shared_inputs_find_the_bits_that_one_finds():
    x = np.random.default_rng(2).standard_normal((500, CHANNELS)).astype(np.float32)

    def outcome(_):
        y, new, saved = core.forward(x, None, None, RUNNING, SETTINGS)
        return [y, new.mean, new.var, *core.backward(saved, x)]

    expected = outcome(0)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(outcome, range(32)):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


X = np.ones((4, CHANNELS))
WRONG = {
    "gamma must have shape": lambda: core.forward(X, np.ones(2), None, None, SETTINGS),
    "beta must have shape": lambda: core.forward(X, None, np.ones((3, 1)), None, SETTINGS),
    "var must have shape": lambda: core.forward(
        X, None, None, core.Running(np.zeros(3), np.ones(1)), SETTINGS
    ),
    "needs running statistics": lambda: core.forward(
        X, None, None, None, core.Settings((1,), Mode.RUNNING, 1e-3)
    ),
    "shares memory": lambda: core.forward(X, None, None, None, SETTINGS, out=X),
    "out must be an array of x's shape": lambda: core.forward(
        X, None, None, None, SETTINGS, out=np.empty((2, 4, 3))
    ),
    "dy must have x's shape": lambda: core.backward(
        core.forward(X, None, None, None, SETTINGS)[2], X[:2]
    ),
    "BATCHNORM_KERNEL must be one of": lambda: kernel.choose("fast"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said(text):
    with pytest.raises(InvalidValue, match=text):
        WRONG[text]()


def test_out_becomes_the_result():
    x = np.array([[1.0], [3.0]])
    out = np.empty((2, 1), np.float32)
    y, _, _ = core.forward(x, None, None, None, core.Settings((1,), Mode.BATCH, 0.0), out=out)
    assert y is out
    np.testing.assert_array_equal(out, [[-1], [1]])


def test_the_reference_is_last_in_the_list_and_can_be_named():
    assert list(kernel.IMPLEMENTATIONS)[-1] == "reference"
    assert kernel.choose("reference") is kernel.IMPLEMENTATIONS["reference"]
