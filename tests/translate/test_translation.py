"""`translate` on calls and on live layers."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.translate import Translation, translate

RANDOM = np.random.default_rng(0)
X = (RANDOM.normal(size=(4, 3, 5, 5)) * 2 + 1).astype(np.float32)


def test_a_call_gives_text_arguments_state_and_proof():
    found = translate("nn.BatchNorm2d(64, eps=0.001, momentum=0.01)", from_="torch", to="keras")
    assert isinstance(found, Translation)
    assert found.text == "keras.layers.BatchNormalization(axis=1, momentum=0.99, epsilon=0.001)"
    assert found.arguments == {"axis": 1, "momentum": 0.99, "epsilon": 0.001}
    assert isinstance(found.layer(), bn.keras.BatchNormalization)
    assert found.status == "predicted"
    assert (found.exit_code(), found.exit_code(strict=True)) == (0, 1)
    names = {n.source: (n.target, n.target_saved) for n in found.state}
    assert names["running_var"] == ("moving_variance", ("bn1/moving_variance",))
    assert names["num_batches_tracked"] == (None, ())


@pytest.mark.parametrize(
    ("call", "source", "target", "status"),
    [
        ("nn.BatchNorm2d(3)", "torch", "mindspore", "equal"),
        ("nn.BatchNorm2d(3)", "torch", "keras", "predicted"),
        ("nn.BatchNorm2d(3, momentum=None)", "torch", "mindspore", "different"),
        ("BatchNormalization(1, epsilon=-1e-4)", "keras", "torch", "different"),
        ("BatchNormalization([1, 2])", "tf_keras", "keras", "different"),
    ],
)
def test_status(call, source, target, status):
    assert translate(call, from_=source, to=target).status == status


def test_names_of_mindspore_files_are_those_of_a_net_and_of_a_bare_layer():
    found = translate("nn.BatchNorm3d(3)", from_="torch", to="mindspore")
    saved = {n.role: n.target_saved for n in found.state}
    assert saved["running_mean"] == ("bn1.bn2d.moving_mean", "bn2d.moving_mean")
    found = translate("nn.BatchNorm2d(3)", from_="torch", to="mindspore")
    saved = {n.role: n.target_saved for n in found.state}
    assert saved["running_var"] == ("bn1.moving_variance", "variance")
    found = translate("nn.BatchNorm2d(3)", from_="torch", to="tf_keras")
    assert {n.role: n.target_saved for n in found.state}["gamma"] == ("bn1/gamma:0",)


def trained(layer, **call):
    for _ in range(3):
        layer(RANDOM.normal(size=X.shape).astype(np.float32), **call)
    name = "weight" if hasattr(layer, "weight") and layer.FRAMEWORK == "torch" else "gamma"
    if getattr(layer, name) is not None:
        getattr(layer, name)[...] = RANDOM.normal(size=3)
    return layer


def infer(layer):
    if layer.FRAMEWORK == "torch":
        return layer.eval()(X)
    if layer.FRAMEWORK == "mindspore":
        return layer.set_train(False)(X)
    return layer(X, training=False)


LAYERS = {
    "torch": lambda: trained(bn.torch.BatchNorm2d(3, eps=1e-3, momentum=0.3)),
    "mindspore": lambda: trained(bn.mindspore.BatchNorm2d(3, momentum=0.7).set_train()),
    "tf_keras": lambda: trained(bn.tf_keras.BatchNormalization(axis=1), training=True),
    "keras": lambda: trained(bn.keras.BatchNormalization(axis=1, name="bn7"), training=True),
}


@pytest.mark.parametrize("target", LAYERS)
@pytest.mark.parametrize("source", LAYERS)
def test_a_live_layer_is_carried_over_with_its_state(source, target):
    layer = LAYERS[source]()
    before = {name: value.copy() for name, value in layer.state.items()}
    found = translate(layer, to=target)
    theirs = found.layer()
    np.testing.assert_array_equal(infer(theirs), infer(layer))
    for name, value in layer.state.items():
        np.testing.assert_array_equal(value, before[name], err_msg="the source is not changed")
    assert found.proof.holds


def test_settings_changed_after_construction_count_as_the_dialect_says():
    layer = bn.torch.BatchNorm2d(3)
    layer.eps, layer.momentum = 0.5, 0.25
    found = translate(layer, to="mindspore")
    assert found.text == "nn.BatchNorm2d(3, eps=0.5, momentum=0.75)"
    layer = bn.mindspore.BatchNorm2d(3, momentum=0.9997)
    layer.momentum = 0.5  # MindSpore ignores it
    assert translate(layer, to="torch").text == "nn.BatchNorm2d(3, momentum=0.0003)"


def test_a_built_keras_layer_says_its_channels_and_its_rank():
    layer = LAYERS["keras"]()
    found = translate(layer, to="torch")
    assert found.text == "nn.BatchNorm2d(3, eps=0.001, momentum=0.01)"
    flat = bn.keras.BatchNormalization()
    flat(np.zeros((4, 7), np.float32))
    assert translate(flat, to="torch").text == "nn.BatchNorm1d(7, eps=0.001, momentum=0.01)"
    last = bn.tf_keras.BatchNormalization(momentum=0.9)
    last(np.zeros((4, 5, 5, 3), np.float32))
    assert translate(last, to="keras").text == "keras.layers.BatchNormalization(momentum=0.9)"


def test_objects_of_a_live_layer_are_written_in_the_other_words():
    layer = bn.tf_keras.BatchNormalization(gamma_regularizer="l2", gamma_initializer="zeros")
    assert translate(layer, to="keras").text == (
        'keras.layers.BatchNormalization(gamma_initializer="zeros", '
        "gamma_regularizer=keras.regularizers.L2())"
    )


def test_the_mode_comes_along():
    assert translate(bn.torch.BatchNorm2d(3).eval(), to="mindspore").layer().training is False
    assert translate(bn.torch.BatchNorm2d(3), to="mindspore").layer().training is True


def test_what_is_neither_a_call_nor_a_layer_is_refused():
    with pytest.raises(TypeError, match="read takes"):
        translate(3, to="torch")
