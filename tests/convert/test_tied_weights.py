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


def test_a_module_under_two_names_is_tied_with_bias_and_statistics():
    random = np.random.default_rng(0)
    module = {"0.weight": random.normal(0, 1, (4, 3, 1, 1)), "0.bias": random.normal(0, 1, 4)}
    module |= {f"1.{n}": random.uniform(1, 2, 4)
               for n in ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
    state = {f"{side}.{n}": v for side in ("left", "right") for n, v in module.items()}
    like = bn.convert({f"right.{n}": v for n, v in module.items()}, to="mindspore").load()
    report = bn.convert(state, to="mindspore", like=like).report
    assert report.exit_code == 0, report.problems
    state["left.1.running_mean"] = state["left.1.running_mean"] + 1
    assert bn.convert(state, to="mindspore", like=like).report.exit_code == 1
