"""Gradients in every mode: against central differences of the forward, and against the formula."""

import numpy as np
import pytest

from batchnorm import core
from batchnorm.vocabulary import Mode

EPSILON = 0.01
STEP = 1e-5
RUNNING = core.Running(
    np.array([0.3, -0.4, 0.1]),
    np.array([0.9, 1.3, 2.0]),
    np.array([1.0, 1.2, 1.4]),
    np.array([0.2, -0.3, 0.4]),
    np.array([1.1, 0.8, 1.3]),
)
MASK = np.array([[1.0], [0.0], [1.0], [1.0], [0.0], [1.0], [1.0], [1.0]])
FRACTIONS = np.linspace(0.1, 1.0, 8)[:, None]
WIDE = core.Renorm(0.1, rmin=0.0, rmax=100.0, dmax=100.0)
TIGHT = core.Renorm(0.1, rmin=0.95, rmax=1.05, dmax=0.1)
BATCH, UPDATE = Mode.BATCH, Mode.BATCH_AND_UPDATE
CASES = {
    "batch": (core.Settings((1,), BATCH, EPSILON), None),
    "batch and update": (core.Settings((1,), UPDATE, EPSILON, 0.1, 1), None),
    "running": (core.Settings((1,), Mode.RUNNING, EPSILON), None),
    "renorm": (core.Settings((1,), UPDATE, EPSILON, 0.1, renorm=WIDE), None),
    "renorm, clipped": (core.Settings((1,), UPDATE, EPSILON, 0.1, renorm=TIGHT), None),
    "mask": (core.Settings((1,), BATCH, EPSILON), MASK),
    "mask with an offset of the count": (
        core.Settings((1,), BATCH, EPSILON, count_offset=0.25),
        MASK,
    ),
    "weights": (core.Settings((1,), BATCH, EPSILON), FRACTIONS),
    "weights with an offset of the count": (
        core.Settings((1,), BATCH, EPSILON, count_offset=0.25),
        FRACTIONS,
    ),
    "mask and renorm": (core.Settings((1,), UPDATE, EPSILON, 0.1, renorm=WIDE), MASK),
    "ghost batches": (core.Settings((1, 2), UPDATE, EPSILON, 0.1, groups=2), None),
    "ghost batches, running": (core.Settings((1, 2), Mode.RUNNING, EPSILON, groups=2), None),
    "ghost batches and renorm": (
        core.Settings((1, 2), UPDATE, EPSILON, 0.1, renorm=WIDE, groups=2),
        None,
    ),
    "two channel axes": (core.Settings((0, 2), BATCH, EPSILON), None),
}


def case(name):
    settings, weights = CASES[name]
    shape = (8, 3) if settings.channel_axes == (1,) else (4, 2, 3)
    if name == "two channel axes":
        shape = (3, 4, 1)
    rng = np.random.default_rng(len(name))
    x, dy = rng.standard_normal((2, *shape)) * 1.5 + 0.3
    gamma, beta = rng.uniform(0.5, 2, 3), rng.standard_normal(3)
    return x, dy, gamma, beta, settings, weights


def stopped(x, gamma, beta, settings, weights, r, d):
    """The forward with renorm's r and d held where they were, as the gradient has them."""
    saved = core.forward(x, gamma, beta, RUNNING, settings, weights=weights)[2]
    axes = settings.channel_axes
    shape = [x.shape[a] if a in axes else 1 for a in range(x.ndim)]

    def spread(values):
        return np.tile(values, np.prod(shape) // len(values)).reshape(shape)

    x_hat = (x - spread(saved.mean) - spread(saved.residual)) * spread(saved.inv_std)
    if r is not None:
        x_hat = x_hat * spread(r) + spread(d)
    return x_hat * spread(gamma) + spread(beta)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_central_differences(name):
    x, dy, gamma, beta, settings, weights = case(name)
    y, _, saved = core.forward(x, gamma, beta, RUNNING, settings, weights=weights)
    np.testing.assert_allclose(
        y, stopped(x, gamma, beta, settings, weights, saved.r, saved.d), rtol=0, atol=1e-13
    )
    dx, dgamma, dbeta = core.backward(saved, dy)

    def difference(of):
        arrays = {"x": x, "gamma": gamma, "beta": beta}
        result = np.empty_like(arrays[of])
        for place in np.ndindex(result.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = {key: value.copy() for key, value in arrays.items()}
                moved[of][place] += step
                y = stopped(**moved, settings=settings, weights=weights, r=saved.r, d=saved.d)
                ends.append((y * dy).sum())
            result[place] = (ends[0] - ends[1]) / (2 * STEP)
        return result

    for ours, of in ((dx, "x"), (dgamma, "gamma"), (dbeta, "beta")):
        expected = difference(of)
        assert np.abs(ours - expected).max() <= 1e-8 * max(np.abs(expected).max(), 1), of


def test_renorm_clipping_is_met_in_the_case_above():
    x, _, gamma, beta, settings, _ = case("renorm, clipped")
    saved = core.forward(x, gamma, beta, RUNNING, settings)[2]
    assert set(saved.r) & {0.95, 1.05}
    assert set(np.abs(saved.d)) & {0.1}


@pytest.mark.parametrize("mode", [Mode.BATCH, Mode.RUNNING])
def test_gradients_are_those_of_the_formula(mode):
    x, dy, gamma, beta, _, _ = case("batch")
    _, _, saved = core.forward(x, gamma, beta, RUNNING, core.Settings((1,), mode, EPSILON))
    batch = mode is Mode.BATCH
    mean, var = (x.mean(0), x.var(0)) if batch else (RUNNING.mean, RUNNING.var)
    inv_std = 1 / np.sqrt(var + EPSILON)
    x_hat = (x - mean) * inv_std
    expected = dy - batch * (dy.mean(0) + x_hat * (dy * x_hat).mean(0))
    dx, dgamma, dbeta = core.backward(saved, dy)
    np.testing.assert_allclose(dx, gamma * inv_std * expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dgamma, (dy * x_hat).sum(0), rtol=1e-12)
    np.testing.assert_allclose(dbeta, dy.sum(0), rtol=1e-12)


def test_channels_where_the_gradient_cancels_do_not_touch_the_others():
    x, dy, *_, settings, _ = case("batch")
    saved = core.forward(x, None, None, None, settings)[2]
    plain = core.backward(saved, dy)[0]
    mixed = dy.copy()
    mixed[:, 1] = 0.1
    dx = core.backward(saved, mixed)[0]
    np.testing.assert_array_equal(dx[:, [0, 2]], plain[:, [0, 2]])
    assert not dx[:, 1].any()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 2), (2, 7), (3, 5)])
def test_few_channels_cancel_after_a_forward_by_halves(shape, dtype, relu):
    """With results that aren't dense the forward counts by channel; the backward is one task."""
    settings, some = core.Settings((1,), Mode.BATCH, EPSILON), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        dy[:, 0] = 0.5  # a constant gradient cancels
        expected = core.backward(core.forward(x, None, None, None, settings, relu=relu)[2], dy)
        given, out = np.asfortranarray(x), np.empty((*shape, 2), dtype)[..., 0]
        saved = core.forward(given, None, None, None, settings, relu=relu, out=out)[2]
        some += np.ndim(saved.count)
        for ours, theirs in zip(core.backward(saved, np.asfortranarray(dy)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert some == 20


def test_the_halves_make_the_whole():
    """What synchronisation does between them: merge the moments, add up the sums."""
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 10, 3)) * 2 + 1
    _, _, saved = core.forward(x, None, None, None, core.Settings((1,), Mode.BATCH, EPSILON))
    whole = core.backward(saved, dy)
    parts = [(x[:4], dy[:4]), (x[4:], dy[4:])]
    moments = core.merge(*(core.reduce(part, (1,)) for part, _ in parts))
    inv_std = 1 / np.sqrt(moments.variance() + EPSILON)
    stats = (moments.mean, moments.residual, inv_std)
    sums = [core.reduce_gradient(part, g, (1,), *stats) for part, g in parts]
    dbeta, dgamma = (a + b for a, b in zip(*sums, strict=True))
    dx = [
        core.input_gradient(
            part, g, (1,), *stats, None, dbeta / 10, dgamma / 10, None, np.empty_like(part)
        )
        for part, g in parts
    ]
    for ours, expected in zip((np.concatenate(dx), dgamma, dbeta), whole, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
