"""What drawn comparisons with the real frameworks found, each as the framework has it."""

import numpy as np
import pytest

import batchnorm as bn

F32 = np.float32


@pytest.mark.parametrize(
    ("parameters", "given", "expected"),
    [
        ({}, np.int32, np.float32),
        ({"affine": False}, np.int32, np.int32),
        ({"dtype": "float64"}, np.float32, np.float32),
        ({"dtype": "float64"}, np.bool_, np.float64),
        ({}, np.complex64, np.complex64),
    ],
)
def test_torch_passes_an_empty_batch_of_any_dtype(parameters, given, expected):
    layer = bn.torch.BatchNorm2d(3, **parameters)
    y = layer(np.zeros((0, 4, 2, 2), given))  # the number of channels isn't looked at either
    assert y.dtype == expected
    assert y.shape == (0, 4, 2, 2)
    assert layer.num_batches_tracked == 1


def test_torch_gives_zero_gradients_for_an_empty_batch():
    layer = bn.torch.BatchNorm2d(3)
    layer(np.zeros((0, 4, 2, 2), F32))
    assert layer.backward(np.zeros((0, 4, 2, 2), F32)).shape == (0, 4, 2, 2)
    np.testing.assert_array_equal(layer.gradients["weight"], np.zeros(3, F32))


def test_torch_needs_a_first_weight_even_for_no_channels():
    with pytest.raises(IndexError):
        bn.torch.BatchNorm2d(0)(np.zeros((2, 0, 2, 2), F32))


@pytest.mark.parametrize("given", [np.float64, np.int32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mindspore_looks_at_epsilon_before_dtypes(given, dtype):
    with pytest.raises(ValueError, match="eps"):
        bn.mindspore.BatchNorm2d(3, eps=0.0, dtype=dtype)(np.ones((2, 3, 2, 2), given))


def test_mindspore_looks_at_channels_before_dtypes():
    with pytest.raises(ValueError, match="channels"):
        bn.mindspore.BatchNorm2d(4)(np.ones((2, 3, 2, 2), np.float64))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["gamma_init", "moving_mean_init"])
def test_mindspore_wants_one_dtype_of_all_parameters(name, training):
    layer = bn.mindspore.BatchNorm2d(3, dtype="float16", **{name: np.ones(3, F32)})
    layer.set_train(training)
    with pytest.raises(TypeError, match="one dtype"):
        layer(np.ones((2, 3, 2, 2), F32))


def test_mindspore_prints_the_layer_inside_batchnorm3d():
    assert repr(bn.mindspore.BatchNorm3d(3)).startswith(
        "BatchNorm3d(\n  (bn2d): BatchNorm2d(num_features=3, eps=1e-05, momentum=0.9, gamma="
    )


def test_tf_keras_statistics_of_nothing_are_zero_under_a_mask():
    layer = bn.tf_keras.BatchNormalization(momentum=0.5)
    y = layer(np.ones((2, 3), F32), training=True, mask=np.zeros(2, bool))
    np.testing.assert_allclose(y, 1 / np.sqrt(1e-3), rtol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean, 0)
    np.testing.assert_array_equal(layer.moving_variance, 0.5)


@pytest.mark.parametrize("module", [bn.tf_keras, bn.keras])
@pytest.mark.parametrize(("synchronized", "expected"), [(True, 0.0), (False, np.nan)])
def test_synchronized_statistics_of_an_empty_batch_are_zero(module, synchronized, expected):
    layer = module.BatchNormalization(momentum=0.0, synchronized=synchronized)
    layer(np.zeros((0, 3), F32), training=True)
    np.testing.assert_array_equal(layer.moving_mean, expected)


def test_tf_keras_ignores_a_mask_in_inference():
    layer = bn.tf_keras.BatchNormalization(virtual_batch_size=2)
    layer(np.ones((3, 2), F32), training=False, mask=np.ones(7, bool))


def test_tf_keras_renorm_does_not_train_in_float64():
    layer = bn.tf_keras.BatchNormalization(renorm=True, dtype="float64")
    layer(np.ones((3, 2)), training=False)
    with pytest.raises(ValueError, match="float64"):
        layer(np.ones((3, 2)), training=True)


def test_tf_keras_resolves_the_axis_even_where_build_fails():
    layer = bn.tf_keras.BatchNormalization(axis=-1, fused=True)
    with pytest.raises(ValueError, match="rank 4 or 5"):
        layer.build((2, 3))
    assert layer.axis == [1]


def test_tf_keras_virtual_batches_of_an_empty_batch():
    layer = bn.tf_keras.BatchNormalization(virtual_batch_size=4)
    assert layer(np.zeros((0, 3), F32), training=True).shape == (0, 3)
    assert np.isnan(layer.moving_mean).all()


@pytest.mark.parametrize("synchronized", [False, True])
@pytest.mark.parametrize(
    ("shape", "mask"),
    [((0, 4), (0,)), ((0, 4), (2, 0)), ((0, 4), (1,)), ((0, 5, 4), (0, 5)), ((0, 4), None)],
)
def test_tf_keras_masked_virtual_batches_of_an_empty_batch(shape, mask, synchronized):
    layer = bn.tf_keras.BatchNormalization(virtual_batch_size=2, synchronized=synchronized)
    y = layer(np.zeros(shape, F32), training=True, mask=None if mask is None else np.ones(mask))
    assert y.shape == shape
    assert np.isnan(layer.moving_mean).all()  # the average over no ghost batches


@pytest.mark.parametrize("mask", [(3,), (2, 2)])
def test_tf_keras_mask_of_an_empty_batch_must_fit_its_virtual_batches(mask):
    layer = bn.tf_keras.BatchNormalization(virtual_batch_size=2)
    with pytest.raises(ValueError, match="doesn't broadcast"):
        layer(np.zeros((0, 4), F32), training=True, mask=np.ones(mask))


def test_tf_keras_virtual_batches_of_samples_without_values():
    layer = bn.tf_keras.BatchNormalization(virtual_batch_size=2)
    layer(np.zeros((4, 0, 4), F32), training=True, mask=np.ones((2, 0)))
    np.testing.assert_allclose(layer.moving_variance.ravel(), 0.99)


def test_tf_keras_mask_that_the_fused_kernel_ignores_changes_no_statistics_of_nothing():
    layer = bn.tf_keras.BatchNormalization()
    with pytest.warns(UserWarning, match="ignores the mask"):
        layer(np.zeros((0, 2, 2, 3), F32), training=True, mask=np.ones((0, 2, 2), bool))
    assert np.isnan(layer.moving_mean).all()


def test_tf_keras_checks_an_adjustment_before_it_moves_the_state():
    layer = bn.tf_keras.BatchNormalization(adjustment=lambda shape: (np.ones(7), np.zeros(7)))
    with pytest.raises(ValueError, match="adjustment"):
        layer(np.ones((4, 3), F32), training=True)
    np.testing.assert_array_equal(layer.moving_mean, 0)


@pytest.mark.parametrize("training", [True, False])
def test_tf_keras_layer_of_integers_does_not_run(training):
    with pytest.raises(ValueError, match="floating"):
        bn.tf_keras.BatchNormalization(dtype="int32")(np.ones((4, 3), F32), training=training)


def test_tf_keras_wants_a_string_as_name_and_an_integer_as_virtual_batch_size():
    with pytest.raises(TypeError, match="name"):
        bn.tf_keras.BatchNormalization(name=3)
    with pytest.raises(ValueError, match="integer"):
        bn.tf_keras.BatchNormalization(virtual_batch_size=2.0)(np.ones((4, 3), F32), training=True)


def test_keras_inference_looks_at_the_rank_of_a_mask_only():
    layer = bn.keras.BatchNormalization()
    layer(np.ones((4, 3), F32), mask=np.ones(7, bool))
    with pytest.raises(ValueError, match="one dimension less"):
        layer(np.ones((4, 3), F32), mask=np.ones((4, 3), bool))


def test_keras_makes_a_bool_of_trainable():
    layer = bn.keras.BatchNormalization()
    layer.trainable = "x"
    assert layer.trainable is True


def test_keras_parameters_of_integers_have_no_gradient():
    layer = bn.keras.BatchNormalization(dtype="int32")
    layer(np.ones((4, 3), F32), training=True)
    layer.backward(np.ones((4, 3), F32))
    assert layer.gradients == {}


@pytest.mark.parametrize("module", [bn.tf_keras, bn.keras])
def test_gradient_of_a_complex_input_is_complex(module):
    layer = module.BatchNormalization()
    layer(np.ones((4, 3), np.complex64))
    assert layer.backward(np.ones((4, 3), F32)).dtype == np.complex64


def test_keras_gradient_of_a_float32_input_passes_the_compute_dtype():
    layer = bn.keras.BatchNormalization(dtype="mixed_bfloat16")
    rng = np.random.default_rng(0)
    layer(rng.standard_normal((4, 3)).astype(F32), training=True)
    dx = layer.backward(rng.standard_normal((4, 3)))
    assert dx.dtype == F32
    assert not (dx.view(np.uint32) & 0xFFFF).any()  # the bits that a bfloat16 doesn't have


def test_keras_counts_no_loss_of_a_frozen_layer():
    layer = bn.keras.BatchNormalization(gamma_regularizer="l2")
    layer.build((2, 3))
    assert len(layer.losses) == 1
    layer.trainable = False
    assert layer.losses == []


def test_a_later_momentum_that_is_no_number_is_refused_by_its_type():
    for value, error in (("x", TypeError), (None, ValueError)):
        layer = bn.keras.BatchNormalization()
        layer.momentum = value
        with pytest.raises(error, match="must be a number"):
            layer(np.ones((4, 3), np.float32), training=True)


def test_keras_2_has_chosen_its_kernel_before_it_finds_that_an_axis_is_no_int():
    layer = bn.tf_keras.BatchNormalization(axis=[1.0])
    with pytest.raises(TypeError):
        layer(np.ones((2, 3, 2, 2), np.float32))
    assert layer.fused is True


def test_keras_rounds_epsilon_to_float32_where_renorm_divides_by_its_root():
    layer = bn.keras.BatchNormalization(dtype="float64", renorm=True, renorm_momentum=0.0)
    layer(np.float32([[1.5]]), training=True)  # one value: its deviation is 0
    y = layer(np.float32([[4.0]]), training=True)
    # Keras 3.15.1 on TensorFlow; without the rounding it would be 79.05694150420949.
    assert y.item() == pytest.approx(79.05693962670794, rel=1e-14)


def test_keras_2_replaces_statistics_where_a_fused_kernel_has_a_momentum_of_0():
    x = np.float32([[[[1, 2], [3, 4]]]])
    layer = bn.tf_keras.BatchNormalization(axis=1, momentum=0.0)
    layer(x, training=True)
    for _ in range(2):  # the same call again is taken a shorter way
        layer(x * np.float32("nan"), training=True)
        assert np.isnan(layer.moving_mean).all()
        layer(x, training=True)
        assert layer.moving_mean == 2.5
    plain = bn.tf_keras.BatchNormalization(axis=1, momentum=0.0, fused=False)
    plain(x * np.float32("nan"), training=True)
    plain(x, training=True)
    assert np.isnan(plain.moving_mean).all()
