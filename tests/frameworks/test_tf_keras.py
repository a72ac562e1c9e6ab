"""Laws and rules of Keras 2's layer that need no TensorFlow to be checked."""

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
    made = bn.tf_keras.BatchNormalization(**{"axis": 1, **arguments})
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


PLAIN = {
    "axis": st.sampled_from([1, -1, 3, [1], [1, 3], [3, 1]]),
    "momentum": st.floats(0, 1),
    "epsilon": st.floats(1e-8, 1),
    "center": st.booleans(),
    "scale": st.booleans(),
    "gamma_initializer": st.sampled_from(["ones", "zeros", {"class_name": "Ones", "config": {}}]),
    "gamma_regularizer": st.sampled_from([None, "l1", "l2"]),
    "beta_constraint": st.sampled_from([None, "non_neg"]),
    "trainable": st.booleans(),
    "dtype": st.sampled_from([None, "float32", "float16", "mixed_float16", "mixed_bfloat16"]),
}
EXTRAS = st.sampled_from(
    [
        {},
        {"fused": False},
        {"renorm": True},
        {"renorm": True, "renorm_clipping": {"rmax": 1.5, "dmax": 0.5}, "renorm_momentum": 0.5},
        {"virtual_batch_size": 2},
        {"adjustment": lambda shape: (2.0, 0.5)},
    ]
)


@given(st.fixed_dictionaries({}, optional=PLAIN), EXTRAS)
def test_arguments_and_state_rebuild_any_layer(arguments, extras):
    made = layer(**arguments, **extras)
    made(data(), training=True)
    twin = bn.tf_keras.BatchNormalization(**made.arguments())
    twin.build(SHAPE)
    assert twin.arguments() == made.arguments()
    twin.set_weights(made.get_weights())
    same(twin.state, made.state)
    for training in (True, False):
        y = made(data(1), training=training)
        np.testing.assert_array_equal(twin(data(1), training=training), y)
    same(twin.state, made.state)


@given(st.fixed_dictionaries({}, optional=PLAIN), EXTRAS)
def test_a_configuration_makes_the_same_layer(arguments, extras):
    made = bn.tf_keras.BatchNormalization(**arguments, **extras)
    twin = bn.tf_keras.BatchNormalization.from_config(made.get_config())
    assert twin.get_config() == made.get_config()
    assert twin.name == made.name
    if "adjustment" not in extras and "fused" not in extras:  # which no configuration holds
        np.testing.assert_array_equal(twin(data(), training=True), made(data(), training=True))


def test_a_configuration_with_an_unknown_key_is_refused():
    with pytest.raises(TypeError, match="momentun"):
        bn.tf_keras.BatchNormalization.from_config({"momentun": 0.9})


def test_weights_are_copied_both_ways_and_keep_their_order():
    made = shaken(layer(renorm=True))
    weights = made.get_weights()
    assert [w.tolist() for w in weights] == [v.tolist() for v in made.state.values()]
    weights[0][...] = 7
    assert not (made.gamma == 7).any()
    made.set_weights(weights)
    np.testing.assert_array_equal(made.gamma, 7)
    assert made.weights[0] is made.gamma
    assert made.trainable_weights[1] is made.beta
    assert len(made.non_trainable_weights) == 5
    made.trainable = False
    assert made.trainable_weights == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights.pop(),
        lambda weights: weights.append(np.zeros(3)),
        lambda weights: weights.__setitem__(3, np.zeros(4)),
        lambda weights: weights.__setitem__(3, "text"),
    ],
)
def test_bad_weights_are_refused_whole(spoil):
    made = shaken(layer())
    before, weights = made.state, [w + 1 for w in made.get_weights()]
    spoil(weights)
    with pytest.raises(ValueError, match=r"expected 4 arrays|has shape|real numbers"):
        made.set_weights(weights)
    same(made.state, before)


def test_setting_a_layers_own_weights_exchanged():
    made = layer()
    gamma, beta, *rest = made.weights
    made.set_weights([beta, gamma, *rest])
    np.testing.assert_array_equal(made.gamma, 0)
    np.testing.assert_array_equal(made.beta, 1)


@pytest.mark.parametrize(
    ("arguments", "shape", "fused"),
    [
        ({}, SHAPE, True),
        ({"axis": -1}, SHAPE, True),
        ({"axis": [3]}, SHAPE, True),
        ({"axis": 2}, SHAPE, False),
        ({"axis": [1, 2]}, SHAPE, False),
        ({}, (4, 3), False),
        ({}, (4, 3, 2), False),
        ({}, (4, 3, 2, 2, 2), True),
        ({"dtype": "float64"}, SHAPE, False),
        ({"dtype": "mixed_float16"}, SHAPE, True),
        ({"renorm": True}, SHAPE, False),
        ({"virtual_batch_size": 2}, SHAPE, False),
        ({"adjustment": lambda shape: (1, 0)}, SHAPE, False),
        ({"synchronized": True}, SHAPE, False),
        ({"fused": False}, SHAPE, False),
    ],
)
def test_the_fused_kernel_decides_which_variance_is_averaged(arguments, shape, fused):
    made = layer(shape, momentum=0.0, **arguments)
    assert made.fused is fused
    x = data(dtype=np.float64, shape=shape).astype(np.float32)
    made(x, training=True)
    axes = made.arguments()["axis"]
    rest = tuple(axis for axis in range(len(shape)) if axis not in axes)
    if arguments.keys() & {"renorm", "virtual_batch_size"}:
        return
    expected = x.astype(np.float64).var(axis=rest, ddof=1 if fused else 0)
    if made.compute_dtype != "float16":
        np.testing.assert_allclose(made.state["moving_variance"].squeeze(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"renorm": True},
        {"virtual_batch_size": 2},
        {"adjustment": lambda shape: (1, 0)},
        {"axis": [1, 2]},
        {"axis": 2},
        {"dtype": "float64"},
        {"synchronized": True},
    ],
)
def test_fused_is_refused_with_what_the_kernel_lacks(arguments):
    with pytest.raises(ValueError, match="fused=True is not supported"):
        layer(fused=True, **arguments)


def test_ghost_batches_interleave_and_are_normalized_each_by_itself():
    made, plain = layer(virtual_batch_size=2), layer(fused=False)
    x, dy = data(shape=(6, 3, 2, 5)), data(1, shape=(6, 3, 2, 5))
    y, dx = made(x, training=True), None
    dx = made.backward(dy)
    gradients, state = made.gradients, made.state
    total = {"gamma": 0.0, "beta": 0.0}
    means, variances = [], []
    for part in range(3):
        np.testing.assert_allclose(y[part::3], plain(x[part::3], training=True), rtol=1e-6)
        np.testing.assert_allclose(dx[part::3], plain.backward(dy[part::3]), atol=1e-6)
        for name in total:
            total[name] = total[name] + plain.gradients[name].astype(np.float64)
        means.append(x[part::3].mean(axis=(0, 2, 3)))
        variances.append(x[part::3].var(axis=(0, 2, 3)))
    for name, value in total.items():
        np.testing.assert_allclose(gradients[name].ravel(), value, rtol=1e-5)
    assert state["gamma"].shape == (1, 1, 3, 1, 1)
    expected = 0.01 * np.mean(means, axis=0)
    np.testing.assert_allclose(state["moving_mean"].ravel(), expected, rtol=1e-5)
    expected = 0.99 + 0.01 * np.mean(variances, axis=0)
    np.testing.assert_allclose(state["moving_variance"].ravel(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="doesn't divide the batch of 5"):
        made(x[:5], training=True)
    assert made(x[:5], training=False).shape == (5, 3, 2, 5)


def test_an_adjustment_acts_before_gamma_in_training_only():
    scale, bias = data(5) + 3, data(6)
    made = shaken(layer(adjustment=lambda shape: (scale, bias), fused=False))
    plain = shaken(layer(fused=False))
    x = data()
    y = made(x, training=True)
    spread = (slice(None), None, None)
    x_hat = (plain(x, training=True) - plain.beta[spread]) / plain.gamma[spread]
    expected = (x_hat * scale + bias) * made.gamma[spread] + made.beta[spread]
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=1e-5)
    same(made.state, plain.state)
    np.testing.assert_array_equal(made(x, training=False), plain(x, training=False))


def test_a_mask_leaves_out_and_fractions_count_in_part():
    x = data(shape=(6, 4, 3))
    mask = np.ones((6, 4), bool)
    mask[2:4] = False
    made = layer(x.shape, axis=-1, momentum=0.0)
    made(x, training=True, mask=mask)
    kept = x[mask]
    np.testing.assert_allclose(made.moving_mean, kept.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(made.moving_variance, kept.var(axis=0), rtol=1e-6)
    weights = np.linspace(0, 1, 24).reshape(6, 4).astype(np.float32)
    made(x, training=True, mask=weights)
    expected = np.average(x.reshape(-1, 3), axis=0, weights=weights.ravel())
    np.testing.assert_allclose(made.moving_mean, expected, rtol=1e-5)


def test_the_fused_kernel_ignores_a_mask_and_says_so():
    made, twin = layer(axis=-1), layer(axis=-1)
    with pytest.warns(UserWarning, match="ignores the mask"):
        y = made(data(), training=True, mask=np.zeros((4, 3, 2), bool))
    np.testing.assert_array_equal(y, twin(data(), training=True))


def test_a_frozen_layer_infers_and_still_has_gradients():
    made = shaken(layer(trainable=False))
    before = made.state
    y = made(data(), training=True)
    np.testing.assert_array_equal(y, made(data(), training=False))
    same(made.state, before)
    made.backward(data(1))
    assert list(made.gradients) == ["gamma", "beta"]


@pytest.mark.parametrize(
    ("given", "dtype", "out", "gradient"),
    [
        (np.float64, None, np.float32, np.float64),
        (np.float16, None, np.float32, np.float16),
        (np.int32, None, np.float32, np.float32),
        (np.float32, "float64", np.float64, np.float32),
        (np.float32, "mixed_float16", np.float16, np.float32),
    ],
)
def test_inputs_are_cast_to_the_policy_and_gradients_back(given, dtype, out, gradient):
    made = layer(dtype=dtype)
    y = made(data().astype(given), training=True)
    assert y.dtype == out
    assert made.backward(data(1).astype(out)).dtype == gradient


def test_initial_weights_are_taken_when_the_layer_is_built():
    weights = [np.full(3, value) for value in (2.0, 3.0, 4.0, 5.0)]
    made = layer(weights=weights)
    assert [w[0] for w in made.get_weights()] == [2, 3, 4, 5]


def test_a_built_layer_keeps_its_rank_and_channels():
    made = layer()
    with pytest.raises(ValueError, match="expected ndim=4"):
        made(data(shape=(4, 3)))
    with pytest.raises(ValueError, match="axis 1 to have length 3"):
        made(data(shape=(4, 5, 2, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"foo": 1}, TypeError, "not understood: 'foo'"),
        ({"axis": 1.0}, TypeError, "must be an int or a list"),
        ({"axis": 4}, ValueError, "must lie within rank 4"),
        ({"axis": [1, -3]}, ValueError, "Duplicate axis"),
        ({"renorm": True, "renorm_clipping": {"bad": 1}}, ValueError, "but got .*bad"),
        ({"virtual_batch_size": 0}, ValueError, "positive integer"),
        ({"virtual_batch_size": 2, "axis": 0}, ValueError, "axis 0"),
        (
            {"virtual_batch_size": 2, "adjustment": lambda shape: (1, 0)},
            ValueError,
            "together with adjustment",
        ),
    ],
)
def test_what_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        layer(**arguments)


def noisy(shape):
    rng = np.random.default_rng(3)
    return rng.uniform(0.5, 2, (shape[0], 1, 1, 1)), rng.standard_normal(shape)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"axis": [1, 3]},
        {"axis": [3, 1], "adjustment": noisy},
        {"virtual_batch_size": 2},
        {"adjustment": noisy},
    ],
    ids=lambda arguments: "+".join(arguments) or "plain",
)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_central_differences(arguments, training):
    made = shaken(layer(dtype="float64", epsilon=0.01, **arguments))
    x, dy, step = data(0, np.float64), data(1, np.float64), 1e-5
    made(x, training=training)
    dx = made.backward(dy)

    def change(name, place):
        sums = []
        for sign in (1, -1):
            twin, moved = copy.deepcopy(made), x.copy()
            (moved if name == "x" else getattr(twin, name))[place] += sign * step
            sums.append((twin(moved, training=training) * dy).sum())
        return (sums[0] - sums[1]) / (2 * step)

    rng = np.random.default_rng(5)
    for place in zip(*(rng.integers(0, n, 10) for n in SHAPE), strict=True):
        assert abs(change("x", place) - dx[place]) < 1e-7
    for name, gradient in made.gradients.items():
        for place in np.ndindex(gradient.shape):
            assert abs(change(name, place) - gradient[place]) < 1e-6
