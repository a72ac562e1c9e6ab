"""What both Keras dialects share in behaviour but not in the framework: checked side by side.

Every expected value was measured with tf_keras 2.21.0 and keras 3.15.1.
"""

import numpy as np
import pytest

import batchnorm as bn

BOTH = [bn.tf_keras.BatchNormalization, bn.keras.BatchNormalization]
TF, K3 = BOTH
X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
both = pytest.mark.parametrize("cls", BOTH)


def refused(error, match, call):
    with pytest.raises(error, match=match) as caught:
        call()
    assert isinstance(caught.value, bn.BatchNormError)


def off_later(cls, rank, option):
    layer = cls()
    x = np.random.default_rng(0).standard_normal((4,) + (3,) * (rank - 1)).astype(np.float32)
    layer.build(x.shape)
    layer.gamma[...], layer.beta[...] = 2, 3
    setattr(layer, option, False)
    y = layer(x, training=True)
    layer.backward(np.ones_like(x))
    assert len(layer.weights) == 4
    return round(float(y.mean())), round(float(y.std())), sorted(layer.gradients)


@pytest.mark.parametrize(("cls", "rank"), [(TF, 4), (K3, 2), (K3, 4)])
def test_scale_and_center_may_be_turned_off_later(cls, rank):
    assert off_later(cls, rank, "scale") == (3, 1, ["beta"])
    assert off_later(cls, rank, "center") == (0, 2, ["gamma"])


@pytest.mark.parametrize("option", ["scale", "center"])
def test_without_the_fused_kernel_keras_2_asks_for_the_arrays_only(option):
    assert off_later(TF, 2, option) == (3, 2, ["beta", "gamma"])


def test_keras_3_cannot_turn_on_what_was_not_built():
    layer = K3(scale=False)
    layer.build(X.shape)
    layer.scale = True
    refused(ValueError, "built without scale", lambda: layer(X))


@both
def test_the_activity_regularizer_speaks_after_a_call_and_first(cls):
    layer = cls(activity_regularizer="l2", gamma_regularizer="l1")
    assert layer.losses == []
    layer(X, training=True)
    np.testing.assert_allclose(layer.losses, [0.059998732060194016, 0.02], rtol=1e-6)
    layer(X, training=False)  # the latest output's, not both
    np.testing.assert_allclose(layer.losses, [7.257638454437256, 0.02], rtol=1e-6)


@both
def test_the_activity_regularizer_of_a_frozen_layer_speaks(cls):
    layer = cls(activity_regularizer="l2", gamma_regularizer="l1", trainable=False)
    layer(X)
    expected = [10.799200057983398, 0.02][: 2 if cls is TF else 1]
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-6)


@both
def test_the_activity_regularizers_value_has_the_outputs_type(cls):
    layer = cls(activity_regularizer="l2", dtype="mixed_float16")
    layer(X, training=True)
    assert layer.losses == [float(np.float16(0.06))]
    empty = cls(axis=1, activity_regularizer="l2")
    empty(X[:0])
    assert empty.losses == [0.0]


def test_who_writes_the_activity_regularizer():
    assert "activity_regularizer" not in TF(activity_regularizer="l2").get_config()
    assert "activity_regularizer" not in K3().get_config()
    config = K3(activity_regularizer="l2").get_config()
    assert list(config)[:5] == ["name", "trainable", "dtype", "activity_regularizer", "axis"]
    assert config["activity_regularizer"]["class_name"] == "L2"
    assert K3.from_config(config).get_config() == config
    refused(ValueError, "nonsense", lambda: K3(activity_regularizer="nonsense"))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"input_shape": (3,)}, (None, 3)),
        ({"input_dim": 3}, (None, 3)),
        ({"batch_input_shape": (2, 3)}, (2, 3)),
        ({"input_shape": [3, 4], "batch_size": 7}, (7, 3, 4)),
        ({"input_dim": 3, "batch_size": 2}, (2, 3)),
        ({"input_dim": 3, "input_shape": (4, 5)}, (None, 4, 5)),
        ({"batch_input_shape": (2, 3), "input_shape": (4,)}, (2, 3)),
        ({"batch_size": 7}, None),
    ],
)
def test_keras_2_writes_the_shape_it_was_given(options, shape):
    config = TF(name="n", **options).get_config()
    assert config.get("batch_input_shape") == shape
    if shape is not None:
        assert list(config)[:4] == ["name", "trainable", "dtype", "batch_input_shape"]
    assert TF.from_config(config).get_config() == config
    assert TF(**TF(name="n", **options).arguments()).get_config() == config
    refused(TypeError, "must be a tuple", lambda: TF(input_shape=3))


def test_without_autocast_keras_3_keeps_inputs_that_16_bits_cannot_hold():
    x = (np.random.default_rng(0).standard_normal((4, 3)) * 1e5).astype(np.float32)
    layer = K3(autocast=False, dtype="mixed_float16")
    y = layer(x, training=True)
    expected = np.float16(
        [
            [0.0642, -0.07385, 1.106],
            [0.04132, -0.72, 0.551],
            [1.359, 1.654, -1.57],
            [-1.465, -0.8604, -0.0868],
        ]
    )
    np.testing.assert_array_equal(y, expected)
    assert np.isfinite(layer.backward(np.ones_like(y))).all()
    assert np.isnan(K3(dtype="mixed_float16")(x, training=True)).any()


@both
@pytest.mark.parametrize("dtype", ["U3", "S3", "O", "m8[s]", "M8[s]"])
def test_inputs_that_are_no_numbers(cls, dtype):
    refused(ValueError, "expected numbers", lambda: cls()(np.ones((4, 3)).astype(dtype)))


@pytest.mark.parametrize("momentum", [None, "x"])
def test_a_momentum_that_is_lost_later_matters_in_training_only(momentum):
    for cls, error in ((TF, TypeError), (K3, ValueError if momentum is None else TypeError)):
        layer = cls()
        layer(X, training=True)
        layer.momentum = momentum
        assert layer(X).shape == X.shape
        refused(error, "momentum", lambda layer=layer: layer(X, training=True))


def test_keras_3_is_built_once_and_keras_2_anew():
    layer = K3()
    layer(X, training=True)
    before = layer.state
    refused(ValueError, "built already", lambda: layer.build(X.shape))
    layer.built = False
    refused(ValueError, "built already", lambda: layer(X, training=True))
    for name, value in layer.state.items():
        np.testing.assert_array_equal(value, before[name])
    layer = TF()
    layer(X, training=True)
    layer.build((4, 3, 5))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))


def test_the_axis_cannot_change_after_building():
    layer = K3()
    layer(X)
    layer.axis = 2  # the same one
    assert layer(X).shape == X.shape
    layer.axis = 1
    refused(ValueError, "built with axis 2", lambda: layer(X))
    layer.axis = [1]
    refused(TypeError, "must be an int", lambda: layer(X))
    layer = TF()
    layer(X)
    layer.axis = [1]
    refused(ValueError, "can't become", lambda: layer(X))
    layer.axis = 1
    refused(TypeError, "can't become", lambda: layer(X))


@pytest.mark.parametrize("inputs", [None, [], 3.0, "x"])
def test_inputs_that_are_no_array(inputs):
    nothing = inputs is None or inputs == []
    refused(TypeError if nothing else ValueError, "must be an array", lambda: K3()(inputs))
    refused(ValueError, "must be an array", lambda: TF()(inputs))


@pytest.mark.parametrize("mask", [[[True] * 3] * 4, True, "x", 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_a_mask_of_keras_3_is_an_array(mask, training):
    refused(AttributeError, "mask must be", lambda: K3()(X, training=training, mask=mask))


@pytest.mark.parametrize(
    ("shape", "tf", "k3"),
    [
        ((4, None), ValueError, ValueError),
        ((4, -1), ValueError, ValueError),
        ((4, 2.0), TypeError, ValueError),
        (("a", "b"), TypeError, ValueError),
        (None, ValueError, TypeError),
        (3, None, TypeError),
    ],
)
def test_shapes_that_cannot_be_built(shape, tf, k3):
    refused(k3, "shape", lambda: K3().build(shape))
    if tf is not None:
        refused(tf, "shape", lambda: TF().build(shape))
    else:
        layer = TF()
        layer.build(shape)
        assert layer.gamma.shape == (3,)


@both
@pytest.mark.parametrize(
    "config",
    [
        {"renorm": True, "renorm_clipping": {"bad": 3}},
        {"axis": "x"},
        {"name": 3},
        {"foo": 1},
        {"beta_initializer": "q"},
        {"dtype": "q"},
    ],
)
def test_a_bad_configuration_is_a_type_error(cls, config):
    refused(TypeError, "from_config", lambda: cls.from_config(config))


@pytest.mark.parametrize(
    ("cls", "options", "error"),
    [
        (K3, {"axis": "x"}, ValueError),
        (K3, {"axis": [1]}, TypeError),
        (K3, {"axis": None}, TypeError),
        (K3, {"momentum": "x"}, ValueError),
        (K3, {"momentum": None}, TypeError),
        (K3, {"epsilon": "x"}, ValueError),
        (K3, {"renorm": True, "renorm_clipping": 3}, TypeError),
        (TF, {"axis": []}, IndexError),
        (TF, {"renorm": True, "renorm_clipping": 3}, TypeError),
    ],
)
def test_settings_of_another_type_are_named(cls, options, error):
    refused(error, next(reversed(options)), lambda: cls(**options))


def test_settings_that_keras_2_looks_at_later():
    refused(TypeError, "virtual_batch_size", lambda: TF(virtual_batch_size="x")(X))
    refused(TypeError, "momentum", lambda: TF(momentum="x")(X, training=True))
    assert TF(renorm_clipping=3)(X, training=True).shape == X.shape


@both
def test_what_every_layer_of_keras_has(cls):
    layer = cls(scale=False)
    assert layer.variables == layer.trainable_variables == layer.non_trainable_variables == []
    refused(ValueError, "build", layer.count_params)
    layer.build((4, 3))
    assert layer.count_params() == 9
    assert len(layer.variables) == 3
    assert layer.trainable_variables[0] is layer.beta
    assert len(layer.non_trainable_variables) == 2
    assert layer.variable_dtype == "float32"
    assert layer.supports_masking is True
    assert layer.compute_output_shape([4, 3]) == [4, 3]
    assert layer.compute_output_shape((None, 3)) == (None, 3)


def test_only_keras_3_looks_at_the_axis_of_an_output_shape():
    refused(ValueError, "axis 3", lambda: K3(axis=3).compute_output_shape((4, 3)))
    refused(TypeError, "None", lambda: K3().compute_output_shape(None))
    assert TF(axis=3).compute_output_shape((4, 3)) == (4, 3)


def test_negative_weights_of_a_mask_cancel():
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    plain, turned = TF(), TF()
    y = plain(x, training=True, mask=np.float32([1, 2, 3, 0]))
    np.testing.assert_allclose(
        turned(x, training=True, mask=np.float32([-1, -2, -3, 0])), y, rtol=1e-6
    )
    np.testing.assert_allclose(turned.moving_variance, plain.moving_variance, rtol=1e-6)
    assert (plain.moving_variance > 0.99).all()


@both
@pytest.mark.parametrize(("dtype", "half"), [("mixed_float16", 2**-11), ("mixed_bfloat16", 2**-8)])
def test_a_float64_becomes_16_bits_by_way_of_float32(cls, dtype, half):
    """Just above the middle between two numbers: float32 rounds to the middle, 16 bits to even."""
    x = np.full((2, 1), 1 + half + 2**-40)
    y = cls(dtype=dtype, epsilon=0.0)(x, training=False)
    assert y.astype(np.float64).tolist() == [[1.0], [1.0]]


def test_a_running_variance_of_minus_epsilon_gives_infinities():
    """Where Keras 3 on TensorFlow gives NaN for every value."""
    layer = K3(axis=0, momentum=-0.5, epsilon=0.5, dtype="float64")
    x = np.array([1.0, 3.0], np.float64)
    layer(x, training=True)
    assert layer.moving_variance.tolist() == [-0.5, -0.5]
    layer.load_state(layer.state | {"moving_mean": np.array([2.0, 2.0])})
    assert layer(x, training=False).tolist() == [-np.inf, np.inf]
