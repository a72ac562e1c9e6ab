"""What the stated versions do otherwise, and that all else is their base's."""

import inspect

import numpy as np
import pytest

import batchnorm as bn

PAIRS = [
    (getattr(bn.mindspore_2_0, name), getattr(bn.mindspore, name))
    for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
] + [(bn.tf_keras_2_6.BatchNormalization, bn.tf_keras.BatchNormalization)]


def data(shape=(4, 3, 2, 5)):
    return (np.random.default_rng(0).standard_normal(shape) * 2 + 1).astype(np.float32)


@pytest.mark.parametrize(("variant", "base"), PAIRS)
def test_a_variant_is_its_dialect_with_a_version_of_its_own(variant, base):
    assert variant.FRAMEWORK == base.FRAMEWORK
    assert variant.VERIFIED_WITH != base.VERIFIED_WITH
    assert variant.STATE == base.STATE
    assert variant.mode is base.mode
    assert variant.__doc__
    assert variant.__doc__ != base.__doc__


@pytest.mark.parametrize(("variant", "base"), PAIRS)
def test_an_older_version_has_no_other_parameters_than_the_newer(variant, base):
    newer = inspect.signature(base).parameters
    older = list(inspect.signature(variant).parameters.values())
    assert [p.name for p in older] == [name for name in newer if name in {p.name for p in older}]
    for parameter in older:
        assert parameter.default == newer[parameter.name].default
        assert parameter.kind == newer[parameter.name].kind


def test_mindspore_2_0_averages_the_biased_variance():
    made, new = (m.BatchNorm2d(3, momentum=0.0) for m in (bn.mindspore_2_0, bn.mindspore))
    x = data()
    np.testing.assert_array_equal(made.set_train()(x), new.set_train()(x))
    count = x.size // 3
    expected = new.moving_variance.astype(float) * (count - 1) / count
    np.testing.assert_allclose(made.moving_variance, expected, rtol=1e-6)


def test_mindspore_2_0_survives_one_value_per_channel():
    made = bn.mindspore_2_0.BatchNorm2d(3, momentum=0.5).set_train()
    assert not made(data((1, 3, 1, 1))).any()
    np.testing.assert_array_equal(made.moving_variance, 0.5)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-6, 1e-5, 1.001e-5, float("nan")])
def test_tf_keras_2_6_has_a_smallest_epsilon_where_it_is_fused(epsilon):
    small = data() * np.float32(0.01)
    fused = bn.tf_keras_2_6.BatchNormalization(axis=1, epsilon=epsilon)
    expected = bn.tf_keras.BatchNormalization(axis=1, epsilon=1.001e-5)
    np.testing.assert_array_equal(fused(small, training=True), expected(small, training=True))
    larger = bn.tf_keras_2_6.BatchNormalization(axis=1, epsilon=1.1e-5)
    assert not np.array_equal(larger(small, training=True), expected(small, training=True))


def test_tf_keras_2_6_takes_epsilon_as_it_is_where_it_is_not_fused():
    small = data((40, 3)) * np.float32(0.01)
    made = bn.tf_keras_2_6.BatchNormalization(epsilon=1e-6)
    expected = bn.tf_keras.BatchNormalization(epsilon=1e-6)
    np.testing.assert_array_equal(made(small, training=True), expected(small, training=True))


def test_mindspore_2_0_holds_its_three_dimensional_layer_inside_and_prints_other_brackets():
    made = bn.mindspore_2_0.BatchNorm3d(2)
    assert made.bn2d.num_features == 2
    assert repr(made).startswith("BatchNorm3d<\n  (bn2d): BatchNorm2d<num_features=2, ")
    assert repr(made).endswith("requires_grad=False)>\n  >")


def test_tf_keras_2_6_refuses_what_came_later():
    with pytest.raises(TypeError, match="synchronized"):
        bn.tf_keras_2_6.BatchNormalization(synchronized=False)


def test_tf_keras_2_6_takes_a_tuple_of_axes_where_no_kernel_is_fused():
    x = data()
    made = bn.tf_keras_2_6.BatchNormalization(axis=(1,), fused=False)
    expected = bn.tf_keras_2_6.BatchNormalization(axis=[1], fused=False)
    np.testing.assert_array_equal(made(x, training=True), expected(x, training=True))
    with pytest.raises(ValueError, match="fused"):
        bn.tf_keras_2_6.BatchNormalization(axis=(1,))(x)
    with pytest.raises(TypeError, match="negative"):
        bn.tf_keras_2_6.BatchNormalization(axis=(-1,))(data((4, 3)))


@pytest.mark.parametrize(
    ("x", "arguments", "complaint"),
    [
        (np.ones((2, 3, 2, 2), np.complex64), {}, "floating"),
        (np.ones((2, 3), np.int32), {}, "floating"),
        (np.ones((3, 3), np.float32), {"virtual_batch_size": 2}, "divide"),
        (np.ones((4, 3), np.float32), {"virtual_batch_size": 2.0}, "divide"),
    ],
)
def test_tf_keras_2_6_has_built_its_layer_when_it_refuses_an_input(x, arguments, complaint):
    made = bn.tf_keras_2_6.BatchNormalization(axis=1, **arguments)
    with pytest.raises(ValueError, match=complaint):
        made(x)
    assert made.built


def test_tf_keras_2_6_writes_its_axes_before_it_refuses_them():
    made = bn.tf_keras_2_6.BatchNormalization(axis=-5)
    with pytest.raises(ValueError, match="rank 4"):
        made(data())
    assert made.axis == [-1]


@pytest.mark.parametrize("training", [False, True])
def test_tf_keras_2_6_refuses_bfloat16_where_it_is_fused(training):
    made = bn.tf_keras_2_6.BatchNormalization(axis=1, dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="bfloat16"):
        made(data(), training=training)
    plain = bn.tf_keras_2_6.BatchNormalization(axis=1, dtype="mixed_bfloat16", fused=False)
    assert plain(data(), training=training).dtype.name == "bfloat16"
