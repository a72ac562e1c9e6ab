"""Mode tables, update rules and state tables come from the dialects' own functions."""

import pytest

from batchnorm.explain.sections import modes, states, updates
from batchnorm.explain.sides import Side
from batchnorm.vocabulary import Mode


@pytest.mark.parametrize(
    ("name", "count"), [("torch", 8), ("mindspore", 6), ("tf_keras", 4), ("keras", 4)]
)
def test_the_rule_is_called_on_all_values(name, count):
    found = list(modes.cases(Side(name)))
    assert len(found) == count
    assert len({tuple(arguments.items()) for arguments, _ in found}) == count


def test_inference_that_updates_is_in_the_table():
    found = modes.cases(Side("mindspore"))
    forced = {"training": False, "use_batch_statistics": True}
    assert (forced, Mode.BATCH_AND_UPDATE) in list(found)


@pytest.mark.parametrize(
    ("name", "training"),
    [("torch", True), ("mindspore", False), ("tf_keras", False), ("keras", False)],
)
def test_the_first_mode_is_found_by_calling_a_new_layer(name, training):
    assert modes.starts_in_training(Side(name)) is training


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch", [({}, 1)]),
        ("mindspore", [({}, 1)]),
        ("mindspore@2.0", [({}, 0)]),
        ("tf_keras", [({"fused": True}, 1), ({"fused": False}, 0)]),
        ("keras", [({}, 0)]),
    ],
)
def test_corrections(name, expected):
    assert updates.corrections(Side(name)) == expected


def test_a_bare_layer_of_mindspore_is_spelled_otherwise_than_a_nested_one():
    side = Side("mindspore")
    assert states.spelled(side)["moving_mean"] == "mean"
    assert states.spelled(side, "bn1")["moving_mean"] == "bn1.moving_mean"
    assert states.spelled(Side("torch"), "bn1")["weight"] == "bn1.weight"


@pytest.mark.parametrize(("name", "gamma"), [("tf_keras", "bn1/gamma:0"), ("keras", "bn1/gamma")])
def test_keras_names_all_that_a_file_may_hold_by_the_layer(name, gamma):
    found = states.spelled(Side(name), "bn1")
    assert found["gamma"] == gamma
    assert {"moving_stddev", "renorm_mean", "renorm_stddev"} <= set(found)
