"""A Keras weights file without a template is written for one order, which is said and asked for."""

import numpy as np
import pytest

import batchnorm as bn


def conv(path, *shape):
    names = ("weight", "bias", "running_mean", "running_var")
    found = {f"{path}_conv.weight": np.ones(shape, np.float32)}
    return {**found, **{f"{path}_bn.{n}": np.ones(shape[0], np.float32) for n in names}}


ALIKE = {**conv("p", 5, 4, 3, 3), **conv("q", 5, 4, 3, 3)}
UNLIKE = {**conv("p", 5, 4, 3, 3), **conv("q", 6, 4, 3, 3)}


def to_keras(tmp_path, name, state, **options):
    return bn.convert(state, tmp_path / name, from_framework="torch", **options)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.weights.h5", ["Conv2D: p_conv, q_conv; BatchNormalization: p_bn, q_bn", "by class"]),
        ("a.h5", ["p_conv, p_bn, q_conv, q_bn", "by order"]),
    ],
)
def test_the_order_is_said_and_asked_for(name, words, tmp_path):
    done = to_keras(tmp_path, name, ALIKE)
    assert done.report.exit_code == 1
    assert done.report.written
    (doubt,) = done.report.doubts
    assert all(word in doubt for word in (*words, "--like", "--assume-order"))
    assert done.report.as_json()["doubts"] == [doubt]
    assert doubt[:100] in repr(done)
    sure = to_keras(tmp_path, name, ALIKE, assume_order=True, force=True)
    assert sure.report.exit_code == 0
    assert any(words[0] in note for note in sure.report.notes)


def test_layers_that_keras_cant_confuse_raise_no_doubt(tmp_path):
    assert to_keras(tmp_path, "a.weights.h5", UNLIKE).report.exit_code == 0


def test_with_a_template_the_order_is_known(tmp_path):
    to_keras(tmp_path, "like.weights.h5", ALIKE)
    done = to_keras(tmp_path, "a.weights.h5", ALIKE, like=tmp_path / "like.weights.h5")
    assert done.report.exit_code == 0


def test_on_the_way_back_the_order_is_the_one_that_it_came_from(tmp_path):
    to_keras(tmp_path, "a.weights.h5", ALIKE)
    bn.convert(tmp_path / "a.weights.h5", tmp_path / "b.pth")
    assert bn.convert(tmp_path / "b.pth", tmp_path / "c.weights.h5").report.exit_code == 0


def test_between_files_of_keras_the_order_stays(tmp_path):
    to_keras(tmp_path, "a.weights.h5", ALIKE)
    assert bn.convert(tmp_path / "a.weights.h5", tmp_path / "b.h5", to="keras").report.complete
