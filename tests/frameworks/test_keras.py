"""Laws and rules of Keras 3's layer that need no Keras to be checked."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchnorm as bn

SHAPE = (4, 3, 2, 5)


def data(seed=0, dtype=np.float32, shape=SHAPE):
    return (np.random.default_rng(seed).standard_normal(shape) * 2 + 1).astype(dtype)


def layer(shape=SHAPE, **arguments):
    made = bn.keras.BatchNormalization(**{"axis": 1, **arguments})
    made.build(shape)
    return made


def shaken(made, seed=1):
    rng = np.random.default_rng(seed)
    made.load_state({n: rng.uniform(0.5, 2, v.shape) for n, v in made.state.items()})
    return made


def same(one, other):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "axis": st.sampled_from([0, 1, -1, -3, 2]),
        "momentum": st.floats(0, 1),
        "epsilon": st.floats(1e-8, 1),
        "center": st.booleans(),
        "scale": st.booleans(),
        "beta_initializer": st.sampled_from(["ones", "zeros"]),
        "gamma_regularizer": st.sampled_from([None, "l1", "l2"]),
        "gamma_constraint": st.sampled_from([None, "non_neg"]),
        "renorm": st.booleans(),
        "renorm_clipping": st.sampled_from([None, {"rmax": 1.5}, {"rmin": 0.5, "dmax": 0.5}]),
        "renorm_momentum": st.floats(0, 1),
        "trainable": st.booleans(),
        "dtype": st.sampled_from([None, "float32", "float64", "float16", "mixed_bfloat16"]),
    },
)


@given(SETTINGS)
def test_arguments_and_state_rebuild_any_layer(arguments):
    made = layer(**arguments)
    made(data(), training=True)
    twin = bn.keras.BatchNormalization(**made.arguments())
    twin.build(SHAPE)
    assert twin.arguments() == made.arguments()
    assert repr(twin) == repr(made)
    twin.set_weights(made.get_weights())
    for training in (True, False):
        y = made(data(1), training=training)
        np.testing.assert_array_equal(twin(data(1), training=training), y)
    same(twin.state, made.state)


@given(SETTINGS)
def test_a_configuration_makes_the_same_layer(arguments):
    made = bn.keras.BatchNormalization(**arguments)
    twin = bn.keras.BatchNormalization.from_config(made.get_config())
    assert twin.get_config() == made.get_config()
    assert list(made.get_config())[:4] == ["name", "trainable", "dtype", "axis"]
    np.testing.assert_array_equal(twin(data(), training=True), made(data(), training=True))


@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 2), SHAPE, (4, 3, 2, 2, 2)])
def test_the_moving_variance_is_biased_at_every_rank(shape):
    made = layer(shape, momentum=0.0)
    x = data(shape=shape)
    made(x, training=True)
    rest = tuple(axis for axis in range(len(shape)) if axis != 1)
    expected = x.astype(np.float64).var(axis=rest)
    np.testing.assert_allclose(made.moving_variance, expected, rtol=1e-6)


def test_a_mask_leaves_out_and_counts_anything_but_zero_as_one():
    x = data(shape=(6, 4, 3))
    mask = np.ones((6, 4))
    mask[2:4], mask[5] = 0, 0.5
    spoilt = x.copy()
    spoilt[3] = np.nan
    made, twin = (layer(x.shape, axis=-1, momentum=0.0) for _ in range(2))
    y, other = made(x, training=True, mask=mask), twin(spoilt, training=True, mask=mask)
    kept = x[mask != 0]
    np.testing.assert_allclose(made.moving_mean, kept.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(made.moving_variance, kept.var(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(other[mask != 0], y[mask != 0])


@pytest.mark.parametrize("shape", [(6,), (6, 4, 3), (5, 4), (6, 5)])
def test_a_mask_of_another_shape_is_refused(shape):
    made = layer((6, 4, 3), axis=-1)
    with pytest.raises(ValueError, match="mask"):
        made(data(shape=(6, 4, 3)), training=True, mask=np.ones(shape))


def test_arguments_are_coerced_as_python_does():
    made = bn.keras.BatchNormalization(axis="1", momentum="0.5", epsilon=1)
    assert (made.axis, made.momentum, made.epsilon) == (1, 0.5, 1.0)
    assert bn.keras.BatchNormalization(axis=1.7).axis == 1


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"fused": True}, ValueError, "Unrecognized keyword.*'fused'"),
        ({"name": "a/b"}, ValueError, "without '/'"),
        ({"trainable": "no"}, ValueError, "must be a bool"),
        ({"axis": 4}, IndexError, "axis 4 lies outside the input's rank 4"),
        ({"axis": [1]}, TypeError, "int"),
        ({"renorm": True, "renorm_clipping": {"bad": 1}}, ValueError, "bad"),
        ({"renorm": True, "renorm_clipping": {"rmax": 1, "rmin": 2}}, ValueError, "rmax >= rmin"),
        ({"renorm": True, "renorm_clipping": {"dmax": -1}}, ValueError, "dmax >= 0"),
    ],
)
def test_what_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        layer(**arguments)


def test_sixteen_bit_layers_have_sixteen_bit_parameters():
    assert {v.dtype.name for v in layer(dtype="float16").state.values()} == {"float16"}
    assert {v.dtype.name for v in layer(dtype="mixed_float16").state.values()} == {"float32"}


def test_renorm_with_fresh_averages_and_no_clipping_is_the_running_normalization():
    """x_hat * r + d is (x - renorm_mean) / renorm_stddev: the batch cancels."""
    made = shaken(layer(renorm=True, dtype="float64"))
    before = made.state
    y = made(data(dtype=np.float64), training=True)
    spread = (slice(None), None, None)
    x_hat = (data(dtype=np.float64) - before["renorm_mean"][spread]) / before["renorm_stddev"][
        spread
    ]
    expected = x_hat * before["gamma"][spread] + before["beta"][spread]
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "arguments", [{}, {"center": False}, {"scale": False}, {"axis": -1}], ids=str
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_central_differences(arguments, masked, training):
    made = shaken(layer(**{"axis": -1, "dtype": "float64", "epsilon": 0.01, **arguments}))
    x, dy, step = data(0, np.float64), data(1, np.float64), 1e-5
    mask = np.random.default_rng(9).random(SHAPE[:-1]) < 0.6 if masked else None

    made(x, training=training, mask=mask)
    dx = made.backward(dy)

    def change(name, place):
        sums = []
        for sign in (1, -1):
            twin, moved = copy.deepcopy(made), x.copy()
            (moved if name == "x" else getattr(twin, name))[place] += sign * step
            sums.append((twin(moved, training=training, mask=mask) * dy).sum())
        return (sums[0] - sums[1]) / (2 * step)

    rng = np.random.default_rng(5)
    for place in zip(*(rng.integers(0, n, 10) for n in SHAPE), strict=True):
        assert abs(change("x", place) - dx[place]) < 1e-7
    assert set(made.gradients) == {"gamma", "beta"} & set(made.state)
    for name, gradient in made.gradients.items():
        for place in np.ndindex(gradient.shape):
            assert abs(change(name, place) - gradient[place]) < 1e-6
