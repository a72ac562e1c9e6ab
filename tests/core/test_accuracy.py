"""The accuracy that docs/accuracy.md promises, by 80-digit arithmetic on the same rounded input."""

import math
from decimal import Decimal, localcontext

import ml_dtypes
import numpy as np
import pytest
from exact_batchnorm import CONTEXT, Channel, error, ulp
from levels import use

from batchnorm import core
from batchnorm.core import kernel
from batchnorm.vocabulary import Mode

EPSILON = 1e-5
GAMMA, BETA = np.float32(1.7), np.float32(-0.6)
RATIOS = [2.0**k for k in range(0, 25, 4)]
COUNTS = [2, 3, 5, 64, 2000]
SINGLE, DOUBLE = np.float32, np.float64
# Of the largest value of y, dx, dgamma and dbeta; the last two are float64 whatever the data.
BOUNDS_OF_LAYOUTS = {SINGLE: (5e-7, 4e-7, 1e-12, 1e-12), DOUBLE: (1e-13, 1e-13, 1e-12, 1e-12)}


def normal(count, seed=0):
    return np.random.default_rng(seed).standard_normal(count)


def outlier_first(count):
    x = normal(count) + 3
    x[0] = 1e6
    return x


SHAPES = {
    "sorted": lambda n: np.sort(normal(n) + 5),
    "sorted downwards": lambda n: np.sort(normal(n) + 5)[::-1],
    "alternating": lambda n: np.where(np.arange(n) % 2, 0.3, -0.1),
    "alternating around 0": lambda n: np.where(np.arange(n) % 2, 0.3, -0.3),
    "one outlier first": outlier_first,
    "one outlier last": lambda n: outlier_first(n)[::-1],
    "denormal": lambda n: normal(n) * 1e-41,
    "tiny": lambda n: normal(n) * 1e-25,
    "huge (var 1e36)": lambda n: normal(n) * 1e18,
    "largest": lambda n: np.where(np.arange(n) % 3, 3.4e38, -3.4e38),
    "whole numbers": lambda n: np.round(normal(n) * 100),
    "few values": lambda n: np.round(normal(n)),
}


def run(x, dtype, dy=None, epsilon=EPSILON):
    """One channel forward and backward, the running statistics replaced: what the layers see."""
    rows = np.ascontiguousarray(x, dtype)[:, None]
    zero = np.zeros(1, dtype)
    settings = core.Settings((1,), Mode.BATCH_AND_UPDATE, epsilon, 1.0, 0)
    gamma, beta = np.array([GAMMA], dtype), np.array([BETA], dtype)
    y, running, saved = core.forward(rows, gamma, beta, core.Running(zero, zero), settings)
    dx = None
    if dy is not None:
        dy = np.ascontiguousarray(dy, dtype)[:, None]
        dx = core.backward(saved, dy, np.dtype(dtype))[0][:, 0]
    return y[:, 0], running.mean[0], running.var[0], dx


def check(x, dtype, dys=(), *, epsilon=EPSILON, y_bound=None):
    """Every row of the table, in its own unit."""
    x = np.ascontiguousarray(x, dtype)
    truth = Channel(x, epsilon, GAMMA, BETA)
    y, mean, var, _ = run(x, dtype, epsilon=epsilon)
    ulps = 1 if dtype == SINGLE else 4
    with localcontext(CONTEXT):
        floor = truth.std * Decimal(2) ** -24
        assert error(mean, truth.mean, ulp(max(abs(truth.mean), floor), dtype)) <= ulps
        assert error(var, truth.var, ulp(truth.var, dtype)) <= ulps
        assert var >= 0
        if dtype == SINGLE:
            smallest = abs(truth.gamma) * Decimal(2) ** -20
            magnitudes = [max(abs(v), abs(v - truth.beta), smallest) for v in truth.y]
            extra = Decimal(2) ** -149 * abs(truth.alpha)
            unit = np.array([ulp(m, SINGLE) + extra / 4 for m in magnitudes], object)
            assert error(y, truth.y, unit) <= (4 if y_bound is None else y_bound)
        else:
            assert error(y, truth.y, max(abs(truth.y))) <= 1e-13
        for dy in dys:
            dy = np.ascontiguousarray(dy, dtype)
            expected = truth.dx(dy)
            largest = max(max(abs(expected)), Decimal(float(np.finfo(dtype).smallest_subnormal)))
            dx = run(x, dtype, dy, epsilon)[3]
            bound = 4e-7 if dtype == SINGLE else 1e-13
            # Where the largest is subnormal, half a step of its grid is all that rounding can do.
            grid = Decimal(float(np.finfo(dtype).smallest_subnormal)) / 2 / largest
            assert error(dx, expected, largest) <= max(bound, float(grid) * 1.01)


def gradients(x, dtype):
    """Ordinary ones, and those that batch statistics cancel nearly whole."""
    n = len(x)
    x = np.asarray(x, dtype).astype(DOUBLE)
    centred = (x - x.mean()) / (np.abs(x - x.mean()).max() or 1)
    return [
        normal(n, 1),
        normal(n, 2) + 100,
        np.full(n, 0.1),
        centred,  # as the loss sum(y * y) / 2 has it
        np.where(np.arange(n) % 2, 0.7, -0.2),
        np.eye(1, n)[0],
    ]


@pytest.mark.parametrize("name", kernel.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_every_implementation_holds_the_bounds(name, dtype, monkeypatch):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    for ratio in (1, 2.0**12, 2.0**24 if dtype == SINGLE else 1e6):
        for count in (3, 100):
            x = normal(count) + ratio
            check(x, dtype, gradients(x, dtype))
    for shape in ("one outlier first", "denormal", "huge (var 1e36)", "sorted"):
        if dtype == SINGLE:
            check(SHAPES[shape](100), dtype)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("count", COUNTS)
def test_float32_at_any_ratio_of_mean_to_deviation(count, ratio):
    x = normal(count) + ratio
    check(x, SINGLE, gradients(x, SINGLE))


@pytest.mark.parametrize("ratio", [2.0**k for k in range(0, 21, 4)])
@pytest.mark.parametrize("count", COUNTS)
def test_float64_up_to_a_mean_of_a_million_deviations(count, ratio):
    x = normal(count) + min(ratio, 1e6)
    check(x, DOUBLE, gradients(x, DOUBLE))


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_on_hard_data(shape, count):
    with np.errstate(over="ignore", under="ignore"):
        x = SHAPES[shape](count).astype(SINGLE)
    truth = Channel(x, EPSILON)
    if float(truth.var) < float(np.finfo(SINGLE).max):
        check(x, SINGLE, gradients(x, SINGLE))
    else:  # the variance overflows when it is rounded; y and dx don't
        y, mean, var, _ = run(x, SINGLE)
        assert var == np.inf
        assert error(mean, truth.mean, ulp(max(abs(truth.mean), truth.std), SINGLE)) <= 1
        assert error(y, Channel(x, EPSILON, GAMMA, BETA).y, ulp(Decimal(2), SINGLE)) <= 4


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "largest"])
def test_float64_on_hard_data(shape, count):
    x = SHAPES[shape](count)
    check(x, DOUBLE, gradients(x, DOUBLE))


@pytest.mark.parametrize("epsilon", [1e-12, 1e-3, 1.0])
@pytest.mark.parametrize("count", [2, 3, 100])
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_gradients_that_cancel_survive_any_epsilon(dtype, count, epsilon):
    x = normal(count) * 100 + 30
    check(x, dtype, gradients(x, dtype), epsilon=epsilon)


def test_ordinary_data_stay_under_two_ulp():
    x = normal(5000) * 2 + 1
    check(x, SINGLE, y_bound=2)


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_65536_values_per_channel(dtype):
    x = normal(2**16) + 1000
    check(x, dtype, [normal(2**16, 1)] if dtype == SINGLE else [])


@pytest.mark.parametrize("data", ["counting", "outlier first", "constant"])
def test_sums_do_not_stop_growing_at_2_25_values(data):
    """Where float32 sums stop, at 2^24, a fused kernel was seen to report variance 0.5 for 1."""
    n = 2**25
    x = np.empty((n, 1), np.float32)
    x[:, 0] = np.where(np.arange(n, dtype=np.int32) % 2, 1, -1) + np.float32(1000)
    if data == "outlier first":
        x[0, 0] = 1e6
    if data == "constant":
        x[...] = 0.1
    first = Decimal(float(x[0, 0]))
    with localcontext(CONTEXT):  # all sums in closed form; only the first value is special
        a, b = Decimal(float(x[1, 0])), Decimal(float(x[2, 0]))
        half = Decimal(n // 2)
        mean = (first + (half - 1) * b + half * a) / n
        m2 = (first - mean) ** 2 + (half - 1) * (b - mean) ** 2 + half * (a - mean) ** 2
    zero = np.zeros(1, np.float32)
    settings = core.Settings((1,), Mode.BATCH_AND_UPDATE, EPSILON, 1.0, 0)
    y, running, _ = core.forward(x, None, None, core.Running(zero, zero), settings)
    assert error(running.mean, mean, ulp(abs(mean), SINGLE)) <= 1
    assert error(running.var, m2 / n, ulp(m2 / n, SINGLE)) <= 1
    if data == "constant":
        assert not y.any()


@pytest.mark.parametrize("dtype", [np.float16, SINGLE, DOUBLE])
@pytest.mark.parametrize("value", [0.1, -7.0, 65504.0, 1e-7, 0.0])
@pytest.mark.parametrize("beta", [0.0, -0.6])
def test_a_constant_channel_becomes_exactly_beta(dtype, value, beta):
    x = np.full((33, 2, 7), value, dtype)
    shift = np.full(2, beta, SINGLE if dtype == np.float16 else dtype)
    settings = core.Settings((1,), Mode.BATCH, EPSILON)
    y, _, saved = core.forward(x, None, shift, None, settings)
    np.testing.assert_array_equal(y, shift.astype(dtype)[:, None] + np.zeros_like(x))
    assert saved.mean[0] == x[0, 0, 0]


def test_a_constant_channel_under_a_mask_becomes_exactly_beta():
    x = np.full((50, 1), 0.1, DOUBLE)
    weights = np.ones((50, 1))
    x[:7], weights[:7] = 12345.678, 0
    settings = core.Settings((1,), Mode.BATCH, EPSILON)
    y, _, _ = core.forward(x, None, None, None, settings, weights=weights)
    assert not y[7:].any()


@pytest.mark.parametrize("channels", [1, 4096])
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_channels_first_and_last_agree_within_the_bounds(dtype, channels):
    rng = np.random.default_rng(3)
    first = (rng.standard_normal((5, channels, 3, 2)) + 1000).astype(dtype)
    last = np.ascontiguousarray(np.moveaxis(first, 1, -1))
    dy = rng.standard_normal(first.shape).astype(dtype)
    results = []
    for x, g, axis in ((first, dy, 1), (last, np.moveaxis(dy, 1, -1), 3)):
        y, _, saved = core.forward(x, None, None, None, core.Settings((axis,), Mode.BATCH, EPSILON))
        dx, dgamma, dbeta = core.backward(saved, g)
        results.append((np.moveaxis(y, axis, 1), np.moveaxis(dx, axis, 1), dgamma, dbeta))
    for ours, other, bound in zip(*results, BOUNDS_OF_LAYOUTS[dtype], strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=bound * np.abs(other).max())


def test_every_one_of_4096_channels_is_right():
    rng = np.random.default_rng(5)
    scale, shift = 10.0 ** rng.uniform(-6, 6, 4096), 10.0 ** rng.uniform(-3, 5, 4096)
    x = (rng.standard_normal((20, 4096)) * scale + shift).astype(SINGLE)
    moments = core.reduce(x, (1,))
    for channel in range(0, 4096, 97):
        truth = Channel(x[:, channel], EPSILON)
        unit = ulp(max(abs(truth.mean), truth.std / 2**24), SINGLE)
        assert error(moments.mean[channel], truth.mean, unit) <= 1e-3
        assert error(moments.variance()[channel], truth.var, ulp(truth.var, SINGLE)) <= 1e-3


def test_float16_near_its_limits():
    x = np.array([65504, -65504, 65504, 60000, 6e-8, -65504], np.float16)[:, None]
    settings = core.Settings((1,), Mode.BATCH_AND_UPDATE, EPSILON, 1.0, 0)
    zero = np.zeros(1, SINGLE)
    y, running, saved = core.forward(x, None, None, core.Running(zero, zero), settings)
    truth = Channel(x[:, 0], EPSILON)
    assert error(running.var, truth.var, ulp(truth.var, SINGLE)) <= 1
    assert error(y[:, 0], truth.y, ulp(Decimal(1), np.float16)) <= 0.51
    dy = np.array([1, 2, -1, 0.5, 3, 1], np.float16)
    dx, _, _ = core.backward(saved, dy[:, None], np.dtype(SINGLE))
    expected = truth.dx(dy)
    assert error(dx[:, 0], expected, max(abs(expected))) <= 4e-7


BFLOAT = np.dtype("bfloat16")
SIXTEEN_BIT = {
    "ordinary": lambda n: normal(n) + 2,
    "first is 0": lambda n: np.maximum(normal(n), 0) * (np.arange(n) > 0),
    "alternating": lambda n: np.where(np.arange(n) % 2, 0.3, -0.1),
    "one outlier first": lambda n: np.append(900.0, normal(n - 1)),
    "squares beyond float32": lambda n: normal(n) * 1e25,
    "squares below float32": lambda n: normal(n) * 1e-30,
    "squares below float32 beside 0": lambda n: normal(n) * 1e-30 * (np.arange(n) % 2),
    "partly beyond": lambda n: np.append(normal(n - 1), 1e25),
    "all but one 0": lambda n: np.append(np.zeros(n - 1), 1e-36),
    "two values": lambda n: np.where(np.arange(n) % 8, 1.9990234375, 0),
    "a small one among equals": lambda n: np.where(np.arange(n) % 8, 1, -(2.0**-14)),
}


BEYOND_HALF = list(SIXTEEN_BIT)[4:9]


@pytest.mark.parametrize("name", [name for name in kernel.IMPLEMENTATIONS if name != "reference"])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(BFLOAT, shape) for shape in SIXTEEN_BIT]
    + [(np.dtype(np.float16), shape) for shape in SIXTEEN_BIT if shape not in BEYOND_HALF],
    ids=str,
)
@pytest.mark.parametrize("layout", [(2000, 1), (8, 250), (1, 2000), (40, 50)], ids=str)
def test_16_bit_elements_have_statistics_with_the_digits_of_float32(
    name, shape, dtype, layout, monkeypatch
):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    outer, inner = layout
    column = SIXTEEN_BIT[shape](2000).astype(dtype)
    x = np.repeat(column.reshape(outer, 1, inner), 20, axis=1)  # several channels, all alike
    truth = Channel(column, 1e-90)
    settings = core.Settings((1,), Mode.BATCH, 1e-90)
    y, _, _ = core.forward(x, None, None, None, settings)
    moments = kernel.reduce(x, (1,))
    with localcontext(CONTEXT):
        unit = Decimal(2) ** -24
        for channel in (0, 19):
            mean, var = Decimal(float(moments.mean[channel])), Decimal(moments.variance()[channel])
            alike = 2**4 if len(set(column.tolist())) == 2 else 1  # rounded alike, errors add up
            assert abs(mean - truth.mean) <= alike * unit * max(abs(truth.mean), truth.std)
            assert abs(var - truth.var) <= alike * 4 * unit * truth.var
    # Subnormals have fewer digits than their neighbours; the others half a unit and what sums lose.
    grid = ulp(Decimal(1), dtype) / 2**6
    shown = y[:, [0, 19]].astype(DOUBLE).transpose(1, 0, 2).reshape(2, -1)
    for values in shown:
        units = [ulp(max(abs(v), grid), dtype) for v in truth.y]
        assert error(values, truth.y, np.array(units, object)) <= 0.52


SIXTEEN_BIT_GRADIENTS = {
    "ordinary": (1, lambda n: normal(n, 1)),
    "far from 0": (1, lambda n: normal(n, 1) + 30),
    "half of it 0": (1, lambda n: np.maximum(normal(n, 1), 0)),
    "all 0": (1, lambda n: np.zeros(n)),
    "one value": (1, lambda n: np.full(n, 0.7)),
    "of x": (1, lambda n: 2 * normal(n) + 5),
    "squares beyond float32": (1, lambda n: normal(n, 1) * 1e25),
    "squares below float32": (1, lambda n: normal(n, 1) * 1e-25),
    "products beyond float32": (1e18, lambda n: normal(n, 1) * 1e17),
    "products below float32": (1e-30, lambda n: normal(n, 1) * 1e-13),
    "partly beyond": (1e10, lambda n: np.append(normal(n - 1, 1), 1e30)),
    "products below float32 beside squares that aren't": (1e-36, lambda n: normal(n, 1) * 1e-10),
}


@pytest.mark.parametrize("name", [name for name in kernel.IMPLEMENTATIONS if name != "reference"])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(BFLOAT, shape) for shape in SIXTEEN_BIT_GRADIENTS]
    + [(np.dtype(np.float16), shape) for shape in list(SIXTEEN_BIT_GRADIENTS)[:6]],
    ids=str,
)
@pytest.mark.parametrize("layout", [(2000, 1), (8, 250), (1, 2000), (40, 50)], ids=str)
def test_16_bit_gradients_have_sums_with_the_digits_of_float32(
    name, shape, dtype, layout, monkeypatch
):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    size, draw = SIXTEEN_BIT_GRADIENTS[shape]
    outer, inner = layout
    x, dy = (
        np.repeat(column.astype(dtype).reshape(outer, 1, inner), 20, axis=1)
        for column in ((normal(2000) + 2) * size, draw(2000))
    )
    _, _, saved = core.forward(x, None, None, None, core.Settings((1,), Mode.BATCH, 1e-90))
    dx, dgamma, dbeta = core.backward(saved, dy)
    column, g = (a[:, 0].ravel().astype(np.longdouble) for a in (x, dy))
    x_hat = (column - column.mean()) / column.std()
    in_double = name == "v2" or shape != "ordinary"  # all others need the digits, or show them
    exactly = 2.0**-44 if in_double else 2.0**-28
    assert (np.abs(dbeta - g.sum()) <= exactly * np.abs(g).sum()).all()
    assert (np.abs(dgamma - (g * x_hat).sum()) <= 2.0**-21 * np.abs(g * x_hat).sum()).all()
    truth = (g - g.mean() - x_hat * (g * x_hat).mean()) / column.std()
    largest = np.abs(truth).max()
    bound = float(ml_dtypes.finfo(dtype).eps) * largest + np.abs(g).max() / column.std() * 1e-17
    difference = np.abs(dx[:, [0, 19]].swapaxes(0, 1).reshape(2, -1).astype(np.longdouble) - truth)
    assert (difference <= bound).all()


LEVELS = [name for name in kernel.IMPLEMENTATIONS if name != "reference"]


def sums_of_gradients(x, dy, settings):
    """dgamma and dbeta, how far they are from the truth, in parts of the sums of magnitudes."""
    running = core.Running(np.zeros(x.shape[1], SINGLE), np.ones(x.shape[1], SINGLE))
    _, _, saved = core.forward(x, None, None, running, settings)
    _, dgamma, dbeta = core.backward(saved, dy)
    rows, g = (np.moveaxis(a, 1, 0).reshape(a.shape[1], -1).astype(np.longdouble) for a in (x, dy))
    mean, inv_std = (v[:, None].astype(np.longdouble) for v in (saved.mean, saved.inv_std))
    terms = g * ((rows - mean - saved.residual[:, None]) * inv_std)
    apart = (np.abs(dgamma - terms.sum(1)), np.abs(dbeta - g.sum(1)))
    size = (np.abs(terms).sum(1), np.abs(g).sum(1))
    return (dgamma, dbeta), [a / np.where(b == 0, 1, b) for a, b in zip(apart, size, strict=True)]


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize(
    ("mode", "epsilon", "size", "dy_size"),
    [
        (Mode.BATCH, 1e-12, 1e-31, 1e-14),
        (Mode.BATCH, 1e-30, 1e-32, 1e-12),
        (Mode.BATCH, 1e-30, 1e-33, 1e-13),
        (Mode.RUNNING, 1e-5, 1e-32, 1e-12),
        (Mode.RUNNING, 1e-5, 1e30, 1e12),
        (Mode.RUNNING, 1e-5, 0, 1),
        (Mode.RUNNING, 1e-5, 1, 0),
    ],
)
def test_bfloat16_products_that_float32_does_not_hold_are_summed(
    mode, epsilon, size, dy_size, name, monkeypatch
):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    x, dy = (
        (normal(8000, i).reshape(8, 4, 250) * s).astype(BFLOAT)
        for i, s in ((0, size), (1, dy_size))
    )
    _, errors = sums_of_gradients(x, dy, core.Settings((1,), mode, epsilon))
    assert max(error.max() for error in errors) <= 2.0**-28


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT], ids=str)
@pytest.mark.parametrize(
    "shape", [(16, 203, 33, 31), (5, 17, 250, 230), (20000, 70), (64, 24, 7, 7), (8000, 2, 7, 7)]
)
def test_16_bit_sums_are_exact_in_each_channel_whatever_the_others_hold(
    shape, dtype, name, monkeypatch
):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    draw = np.random.default_rng(5)
    x, dy = (draw.standard_normal(shape, SINGLE).astype(dtype) for _ in range(2))
    settings = core.Settings((1,), Mode.BATCH, EPSILON)
    usual, errors = sums_of_gradients(x, dy, settings)
    assert max(error.max() for error in errors) <= 2.0**-26
    dy[:, 1] = 0.7  # of which nothing is left
    others = np.arange(shape[1]) != 1
    found, errors = sums_of_gradients(x, dy, settings)
    assert errors[1][1] <= 2.0**-50
    for before, after in zip(usual, found, strict=True):
        np.testing.assert_array_equal(before[others], after[others])


@pytest.mark.parametrize("name", kernel.IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT, np.dtype(SINGLE)], ids=str)
def test_an_infinite_gamma_leaves_every_value_on_its_side_of_the_mean(name, dtype, monkeypatch):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    x = np.array([1, 2, 2], dtype)[:, None]  # no float is the mean
    gamma = np.array([np.inf], SINGLE)
    y, _, _ = core.forward(x, gamma, None, None, core.Settings((1,), Mode.BATCH, EPSILON))
    np.testing.assert_array_equal(y[:, 0].astype(SINGLE), [-np.inf, np.inf, np.inf])


@pytest.mark.parametrize("name", kernel.IMPLEMENTATIONS)
@pytest.mark.parametrize("layout", [(40, 4, 4), (4, 4, 40), (40, 4, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT, np.dtype(SINGLE)], ids=str)
@pytest.mark.parametrize("mode", Mode)
def test_nan_of_any_bits_in_a_parameter_is_nan_in_its_channel(
    mode, dtype, layout, name, monkeypatch
):
    use(monkeypatch, kernel.IMPLEMENTATIONS[name])
    x = normal(np.prod(layout)).astype(dtype).reshape(layout)
    for bits in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FC08000):
        nan = np.array([bits, 0x3F800000, bits, 0x3F800000], np.uint32).view(SINGLE)
        one = np.ones(4, SINGLE)
        for gamma, beta, mean, var in ((nan, one, one, one), (one, nan, one, one),
                                       (one, one, nan, one), (one, one, one, nan)):  # fmt: skip
            settings = core.Settings((1,), mode, EPSILON, 0.1, 1)
            y, _, saved = core.forward(x, gamma, beta, core.Running(mean, var), settings)
            dx, _, _ = core.backward(saved, x)
            of_state = mode is Mode.RUNNING
            shown = gamma is nan or beta is nan or of_state
            assert np.isnan(y.astype(SINGLE)).all((0, 2)).tolist() == [shown, False] * 2
            moved = gamma is nan or (of_state and var is nan)
            assert np.isnan(dx.astype(SINGLE)).all((0, 2)).tolist() == [moved, False] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, SINGLE, DOUBLE])
@pytest.mark.parametrize("place", [0, 5])
def test_what_is_not_finite_stays_in_its_channel(bad, dtype, place):
    x = normal(24).reshape(8, 3).astype(dtype)
    spoilt = x.copy()
    spoilt[place, 1] = bad
    dy = normal(24, 1).reshape(8, 3).astype(dtype)
    settings = core.Settings((1,), Mode.BATCH_AND_UPDATE, EPSILON, 0.1, 0)
    running = core.Running(np.zeros(3, SINGLE), np.ones(3, SINGLE))

    def outcome(values):
        y, new, saved = core.forward(values, None, None, running, settings)
        dx, dgamma, dbeta = core.backward(saved, dy)
        return y.T, new.mean, new.var, dx.T, dgamma, dbeta

    for ours, other in zip(outcome(x), outcome(spoilt), strict=True):
        np.testing.assert_array_equal(ours[[0, 2]], other[[0, 2]])
    y, mean, var, dx, dgamma, _ = outcome(spoilt)
    assert np.isnan(y[1]).all()
    assert np.isnan(dx[1]).all()
    assert np.isnan(dgamma[1])
    assert np.isnan(var[1])
    assert mean[1] == bad or np.isnan(mean[1]) == np.isnan(bad)


def test_inference_keeps_an_infinite_value_to_itself():
    x = np.array([[1.0], [np.inf], [2.0]], SINGLE)
    running = core.Running(np.zeros(1, SINGLE), np.ones(1, SINGLE))
    y, _, _ = core.forward(x, None, None, running, core.Settings((1,), Mode.RUNNING, 0.0))
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float16, SINGLE, DOUBLE])
def test_with_running_statistics_the_gradient_of_x_does_not_depend_on_x(bad, dtype):
    x = normal(24).reshape(8, 3).astype(dtype)
    x[2, 1] = bad
    dy = normal(24, 1).reshape(8, 3).astype(dtype)
    running = core.Running(np.zeros(3, SINGLE), np.full(3, 4.0, SINGLE))
    _, _, saved = core.forward(x, None, None, running, core.Settings((1,), Mode.RUNNING, 0.0))
    np.testing.assert_array_equal(core.backward(saved, dy)[0], dy / 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float16, SINGLE, DOUBLE])
def test_nor_does_it_depend_on_the_running_mean(bad, dtype):
    x, dy = normal(24).reshape(8, 3).astype(dtype), normal(24, 1).reshape(8, 3).astype(dtype)
    running = core.Running(np.array([0, bad, 1], SINGLE), np.full(3, 4.0, SINGLE))
    _, _, saved = core.forward(x, None, None, running, core.Settings((1,), Mode.RUNNING, 0.0))
    np.testing.assert_array_equal(core.backward(saved, dy)[0], dy / 2)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 3, 0), (4, 0, 2)])
def test_empty_batches_give_empty_results_and_no_gradient(mode, shape):
    x = np.zeros(shape, SINGLE)
    channels = shape[1]
    running = core.Running(np.zeros(channels, SINGLE), np.ones(channels, SINGLE))
    y, _, saved = core.forward(x, None, None, running, core.Settings((1,), mode, EPSILON))
    dx, dgamma, dbeta = core.backward(saved, y)
    assert y.shape == dx.shape == shape
    assert not dgamma.any()
    assert not dbeta.any()
    assert dgamma.shape == dbeta.shape == (channels,)


def test_sums_in_strips_of_float_could_not_hold_the_bound_of_dx():
    """Why float32 sums are double's: eight additions in float at a time, as of 16-bit elements."""
    rng, count = np.random.default_rng(622), 64 * 128
    x, dy = (np.tile(rng.standard_normal(16).astype(SINGLE), count // 16) for _ in range(2))
    x[0] = np.sqrt(count) * np.std(x)
    deviations = x - SINGLE(x.astype(DOUBLE).mean())  # of floats, rounded once
    a = b = 0.0
    for start in range(0, count, 128):
        sums = np.zeros((2, 16), SINGLE)
        for row in range(start, start + 128, 16):
            d, g = deviations[row : row + 16].astype(DOUBLE), dy[row : row + 16].astype(DOUBLE)
            sums = np.array([sums[0] + g, sums[1] + g * d]).astype(SINGLE)  # fused
        a, b = a + sums[0].astype(DOUBLE).sum(), b + sums[1].astype(DOUBLE).sum()
    settings = core.Settings((1,), Mode.BATCH, EPSILON)
    _, _, saved = core.forward(x.astype(DOUBLE)[:, None], None, None, None, settings)
    exact = core.backward(saved, dy.astype(DOUBLE)[:, None])[0][:, 0]
    mean, inv_std = x.astype(DOUBLE).mean(), 1 / np.sqrt(x.astype(DOUBLE).var() + EPSILON)
    b -= (mean - DOUBLE(SINGLE(mean))) * a
    in_float = inv_std * (dy - a / count - (x - mean) * inv_std**2 * b / count)
    assert np.abs(in_float - exact).max() > 2 * 4e-7 * np.abs(exact).max()
    assert np.std(exact) > 0.9 * inv_std * np.std(dy)  # nothing cancels
    own = core.backward(core.forward(x[:, None], None, None, None, settings)[2], dy[:, None])[0]
    assert np.abs(own[:, 0] - exact).max() < 4e-7 * np.abs(exact).max()


@pytest.mark.parametrize("rest", [(), (3,), (16,), (40,)])
def test_dx_holds_its_bound_about_the_means_that_float_is_enough_for(rest):
    """Of dy = a + b x_hat + r, where one channel is computed in float and the next in double."""
    rng = np.random.default_rng(8)
    for count in (5, 18, 54, 170, 734, 2000):
        shape = (-(-count // max(1, math.prod(rest))) + 3, 97, *rest)
        axes, per_channel = (0, *range(2, len(shape))), (1, 97, *(1 for _ in rest))
        x = rng.standard_normal(shape) + rng.standard_normal(per_channel) * 4
        x[0] *= rng.uniform(1, 30, per_channel[1:])
        x_hat = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
        dy = rng.uniform(-2, 2, per_channel) + rng.uniform(-0.6, 0.6, per_channel) * x_hat
        dy = (dy + rng.choice([-1.0, 1.0], shape)).astype(SINGLE)
        x = x.astype(SINGLE)
        settings = core.Settings((1,), Mode.BATCH, EPSILON)
        dx = core.backward(core.forward(x, None, None, None, settings)[2], dy)[0]
        wide, wide_dy = x.astype(DOUBLE), dy.astype(DOUBLE)
        inv_std = 1 / np.sqrt(wide.var(axes, keepdims=True) + EPSILON)
        x_hat = (wide - wide.mean(axes, keepdims=True)) * inv_std
        exact = wide_dy - wide_dy.mean(axes, keepdims=True)
        exact -= x_hat * (wide_dy * x_hat).mean(axes, keepdims=True)
        exact *= inv_std
        largest = np.abs(exact).max(axes)
        assert (np.abs(dx - exact).max(axes) <= 4e-7 * largest)[largest > 1e-6].all()
