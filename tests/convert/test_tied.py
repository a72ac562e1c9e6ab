"""Weights that two layers share are no unused arrays where the other side saves them once."""

import numpy as np
import pytest

import batchnorm as bn

TABLE = np.arange(21, dtype=np.float32).reshape(7, 3)
NORM = {f"n.{k}": np.ones(3) * 2 for k in ("weight", "bias", "running_mean", "running_var")}
LIKE = {f"n.{k}": np.ones(3) for k in ("moving_mean", "moving_variance", "gamma", "beta")}


def converted(head, **more):
    state = {"table.weight": TABLE, "head.weight": head, **NORM, **more}
    like = {"table.embedding_table": np.zeros((7, 3), np.float32), **LIKE}
    return bn.convert(state, like=like, to="mindspore").report


def test_the_second_name_of_one_array_is_left_out():
    report = converted(TABLE)
    assert report.exit_code == 0
    assert report.of("left out")[0].what == "tied to table, which has the same values"


@pytest.mark.parametrize("head", [TABLE + 1, TABLE.astype(np.float64), TABLE[:, :2]])
def test_another_array_is_unused(head):
    assert [row.source for row in converted(head).of("unused")] == ["head.weight"]


def test_one_number_throughout_is_no_evidence():
    flat = np.zeros((7, 3), np.float32)
    state = {"table.weight": flat, "head.weight": flat, **NORM}
    like = {"table.embedding_table": flat, **LIKE}
    assert bn.convert(state, like=like, to="mindspore").report.exit_code == 1


def test_one_array_can_be_sent_to_two_places():
    like = {"table.embedding_table": TABLE * 0, "head.weight": TABLE * 0, **LIKE}
    done = bn.convert({"table.weight": TABLE, **NORM}, like=like, to="mindspore",
                      map={"arrays": {"table.weight": "head.weight"}})  # fmt: skip
    assert done.report.exit_code == 0
    assert np.array_equal(done.load()["head.weight"], TABLE)
    assert np.array_equal(done.load()["table.embedding_table"], TABLE)
