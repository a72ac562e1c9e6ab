"""Whatever a call holds, the answer is a translation or a refusal that says what was expected."""

import contextlib

import pytest

from batchnorm.errors import BatchNormError
from batchnorm.frameworks import current
from batchnorm.translate.form import forms
from batchnorm.translate.translation import translate

ODD = ("None", "'x'", "-1", "0", "[1]", "1e400")
PLACES = [
    (of.name, found.class_name, parameter)
    for of in current()
    for found in forms(of).values()
    if found.class_name in ("BatchNorm2d", "BatchNormalization")
    for parameter in found.parameters
]


@pytest.mark.parametrize(("source", "class_name", "parameter"), PLACES)
def test_odd_values_are_translated_or_refused_but_never_crash(source, class_name, parameter):
    given = {} if class_name == "BatchNormalization" else {"num_features": "4"}
    for odd in ODD:
        arguments = ", ".join(f"{key}={text}" for key, text in (given | {parameter: odd}).items())
        target = "mindspore" if source == "torch" else "torch"
        with contextlib.suppress(BatchNormError):
            found = translate(f"{class_name}({arguments})", from_=source, to=target)
            assert found.status in ("equal", "predicted", "different")
            assert found.state or "refused" in {d.key for d in found.differences}


def test_a_negative_epsilon_stays_where_both_take_one():
    found = translate(
        "keras.layers.BatchNormalization(axis=1, epsilon=-0.125)", from_="keras", to="tf_keras"
    )
    assert found.text == "tf.keras.layers.BatchNormalization(axis=1, epsilon=-0.125)"
    assert "refused" not in {difference.key for difference in found.differences}


def test_channels_last_is_refused_by_no_check_that_has_them_elsewhere():
    call = 'nn.BatchNorm2d(64, data_format="NHWC")'
    found = translate(call, from_="mindspore@2.0", to="mindspore")
    assert found.text == call
    assert {difference.key for difference in found.differences} == {"running-variance-denominator"}
    call = "keras.layers.BatchNormalization(epsilon=1e-5)"
    found = translate(call, from_="keras", to="mindspore", num_features=64, data_format="NHWC")
    assert "refused" not in {difference.key for difference in found.differences}
