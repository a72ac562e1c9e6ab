"""Names, classes and settings of Keras layers come from attributes and config, not from groups."""

from pathlib import Path

import pytest

from batchnorm import checkpoints
from batchnorm.checkpoints.keras_h5 import legacy_name
from batchnorm.checkpoints.keras_layers import guessed_class, snake_case

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
WHOLE = ["keras.keras", "keras.h5", "tf_keras.keras", "tf_keras.h5"]


def layers(name):
    with checkpoints.read(DATA / name) as checkpoint:
        return checkpoint.metadata["layers"]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_gives_each_batch_norm_its_settings(name):
    found = layers(name)
    zz, aa, inner = found["zz"], found["aa"], found["backbone/inner_bn"]
    assert {f["class_name"] for f in (zz, aa, inner)} == {"BatchNormalization"}
    assert (zz["config"]["epsilon"], zz["config"]["momentum"]) == (1e-3, 0.99)
    assert (aa["config"]["epsilon"], aa["config"]["momentum"]) == (1e-5, 0.9)
    assert zz["config"]["axis"] in (-1, [3])
    assert zz["weights"] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert aa["weights"] == ["gamma", "moving_mean", "moving_variance"]  # center=False
    assert inner["weights"] == ["beta", "moving_mean", "moving_variance"]  # scale=False


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_lists_arrays_in_the_order_of_its_layers(name):
    with checkpoints.read(DATA / name) as checkpoint:
        order = list(dict.fromkeys(n.rpartition("/")[0] for n in checkpoint))
    assert order == [
        "conv1", "zz", "aa", "depth", "backbone/inner_conv", "backbone/inner_bn", "fc",
    ]  # fmt: skip


def test_the_name_attribute_wins_over_the_group_where_there_is_no_config():
    found = layers("keras.weights.h5")
    assert found["zz"] == {
        "path": "layers/batch_normalization",
        "class_name": "BatchNormalization",
        "weights": ["0", "1", "2", "3"],
    }
    assert found["aa"]["path"] == "layers/batch_normalization_1"
    assert found["backbone/inner_bn"]["weights"] == ["0", "1", "2"]


def test_without_names_and_config_the_groups_are_all_there_is():
    found = layers("tf_keras.weights.h5")
    assert found["batch_normalization_1"]["class_name"] == "BatchNormalization"
    assert "functional/batch_normalization" in found


def test_an_attribute_of_a_subclassed_model_tells_no_class():
    found = layers("keras_subclass.weights.h5")
    assert found["q"]["class_name"] == "BatchNormalization"  # from a list: named by Keras
    assert "class_name" not in found["mybn"]  # from an attribute: named by anybody
    assert found["mybn"]["path"] == "bn"


def test_renorm_adds_three_statistics():
    assert layers("keras_renorm.keras")["bn"]["weights"][4:] == [
        "moving_stddev", "renorm_mean", "renorm_stddev",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "raw", "name"),
    [
        ("bn1", "bn1/gamma:0", "bn1/gamma"),
        ("bn1", "model/bn1/gamma:0", "bn1/gamma"),
        ("bn1", "bn1/gamma", "bn1/gamma"),
        ("backbone", "inner_bn/beta:0", "backbone/inner_bn/beta"),
        ("stage/bn", "stage/bn/gamma:0", "stage/bn/gamma"),
        ("td", "td/dense/kernel", "td/dense/kernel"),
        ("top_level_model_weights", "w:0", "top_level_model_weights/w"),
    ],
)
def test_legacy_names_begin_with_the_layers(layer, raw, name):
    assert legacy_name(layer, raw) == name


@pytest.mark.parametrize(
    ("class_name", "group"),
    [
        ("BatchNormalization", "batch_normalization"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("DepthwiseConv2D", "depthwise_conv2d"),
        ("PReLU", "p_re_lu"),
        ("MyHTTPLayer", "my_http_layer"),
    ],
)
def test_class_names_become_group_names_as_in_keras(class_name, group):
    assert snake_case(class_name) == group


def test_a_group_tells_a_known_class_with_or_without_number():
    assert guessed_class("layers/batch_normalization_12") == "BatchNormalization"
    assert guessed_class("layers/my_block") is None
    assert guessed_class("bn") is None
