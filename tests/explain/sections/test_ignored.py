"""The plot shows what our layers do, followed rule and ignored one."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.explain.sections import ignored, rules
from batchnorm.explain.sides import Side


def curves(a, b, lang="en"):
    plot = ignored.plot(rules.Rules(Side(a), Side(b), lang))
    return {} if plot is None else {c.id: [p.curves[i] for p in plot.panels]
                                    for i, c in enumerate(plot.panels[0].curves)}  # fmt: skip


def test_the_curves_are_those_of_the_layers():
    found = curves("torch", "mindspore")
    assert list(found) == ["followed", "mode", "momentum"]
    followed, copied = bn.torch.BatchNorm2d(3), bn.torch.BatchNorm2d(3, momentum=0.9)
    for step, x in zip(range(1, ignored.SHOWN + 1), rules._data(1), strict=False):
        for name, layer in (("followed", followed), ("momentum", copied)):
            layer(x)
            expected = layer.running_mean[ignored.CHANNEL], layer.running_var[ignored.CHANNEL]
            got = [curve.values[step] for curve in found[name]]
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    mean, variance = found["mode"]
    assert set(mean.values) == {0.0}
    assert set(variance.values) == {1.0}


@pytest.mark.parametrize(("a", "b"), [("mindspore@2.0", "mindspore"), ("tf_keras", "keras")])
def test_there_is_none_where_no_rule_changes_the_statistics(a, b):
    assert curves(a, b) == {}


def test_both_languages_show_the_same_curves():
    english, chinese = curves("torch", "keras"), curves("torch", "keras", "zh")
    assert list(english) == list(chinese) == ["followed", "mode", "axis", "momentum"]
    assert chinese["momentum"][0].label == "忽略 momentum"
    assert chinese["mode"][0].label == "忽略模式"
    assert english["axis"][1].values == chinese["axis"][1].values
