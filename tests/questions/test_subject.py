"""Our layers through the interface that the real frameworks answer through too."""

import importlib

import numpy as np
import pytest

from batchnorm.questions.subject import Adjustment, Ours, Parameter, Raised

X = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) ** 1.5
DY = np.cos(X)
BOTH = [("torch", "BatchNorm2d", {"num_features": 3}), ("tf_keras", "BatchNormalization", {})]


def test_a_run_is_the_layers_own_forward_and_backward():
    layer = importlib.import_module("batchnorm.frameworks.torch.layers").BatchNorm2d(3)
    y, dx = layer(X), layer.backward(DY)
    tested = Ours("torch").layer("BatchNorm2d", 3)
    run = tested.run(X, DY.astype(np.float64))  # dy is taken in the dtype of y
    np.testing.assert_array_equal(run.y, y)
    np.testing.assert_array_equal(run.dx, dx)
    assert run.dx.dtype == np.float32
    assert list(run.gradients) == ["weight", "bias"]
    np.testing.assert_array_equal(run.gradients["weight"], layer.gradients["weight"])
    assert tested.state()["num_batches_tracked"] == 1
    assert tested.run(X)[1:] == (None, {})


@pytest.mark.parametrize(("dialect", "class_name", "arguments"), BOTH)
def test_state_is_a_copy_and_goes_back_in(dialect, class_name, arguments):
    tested = Ours(dialect).layer(class_name, **arguments)
    tested.run(X, **({} if dialect == "torch" else {"training": True}))
    state = tested.state()
    other = Ours(dialect).layer(class_name, **arguments)
    if dialect == "tf_keras":
        other.build(X.shape)
    other.load_state(state)
    state["bias" if dialect == "torch" else "beta"][:] = 9
    for name, value in other.state().items():
        np.testing.assert_array_equal(value, tested.state()[name])


def test_whatever_a_layer_raises_is_raised_with_its_built_in_bases():
    ours = Ours("torch")
    with pytest.raises(Raised, match="expected 4D input") as caught:
        ours.layer("BatchNorm2d", 3).run(X[0])
    assert caught.value.name == "InvalidValue"
    assert caught.value.bases == ("ValueError", "Exception", "BaseException")
    for ask in (
        lambda: ours.layer("BatchNorm2d", num_channels=3),
        lambda: ours.layer("BatchNorm4d", 3),
        lambda: ours.layer("BatchNorm2d", 3).get("nonsense"),
        lambda: ours.layer("BatchNorm2d", 3).load_state({"nonsense": X}),
    ):
        with pytest.raises(Raised):
            ask()


def test_the_mode_is_set_where_the_framework_has_one():
    layer = Ours("mindspore").layer("BatchNorm2d", 3)
    assert layer.get("training") is False
    layer.train(True)
    assert layer.get("training") is True
    with pytest.raises(TypeError, match="pass training="):
        Ours("keras").layer("BatchNormalization").train(True)


def test_attributes_are_read_and_set_through_dots():
    layer = Ours("torch").layer("BatchNorm2d", 3)
    layer.set("momentum", 0.5)
    assert layer.get("momentum") == 0.5
    assert layer.get("weight.dtype") == np.float32
    assert "momentum=0.5" in layer.repr()


def test_a_variant_of_a_version_is_a_subject_of_its_own():
    older = Ours("mindspore@2.0")
    assert (older.dialect, older.version, older.label) == (
        "mindspore",
        "2.0.0",
        "batchnorm.mindspore@2.0",
    )


def test_signatures_leave_out_self_and_show_defaults_as_written():
    ours = Ours("torch")
    assert ours.signature("BatchNorm2d", "call")[0] == Parameter(
        "input", "POSITIONAL_OR_KEYWORD", None
    )
    constructor = ours.signature("BatchNorm2d", "__init__")
    assert constructor[1] == Parameter("eps", "POSITIONAL_OR_KEYWORD", "1e-05")
    assert constructor[-1] == Parameter("bias", "KEYWORD_ONLY", "True")


def test_an_adjustment_gives_its_constants_for_any_shape():
    adjustment = Adjustment(np.float32(2), np.float32(5))
    layer = Ours("tf_keras").layer("BatchNormalization", adjustment=adjustment)
    plain = Ours("tf_keras").layer("BatchNormalization", fused=False)
    adjusted, expected = layer.run(X, training=True).y, plain.run(X, training=True).y * 2 + 5
    np.testing.assert_allclose(adjusted, expected, rtol=1e-5)
