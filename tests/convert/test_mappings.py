"""Dictionaries in memory are checkpoints: of arrays, with plain values and other dictionaries."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.errors import CheckpointError

STATE = {f"n.{k}": np.ones(2) * 2 for k in ("weight", "bias", "running_mean", "running_var")}


def test_plain_values_are_extras_and_numbers_of_a_layer_are_arrays():
    state = {**STATE, "n.num_batches_tracked": 5, "epoch": 3, "note": "x", "best": None}
    done = bn.convert(state, to="mindspore")
    assert done.extras == {"epoch": 3, "note": "x", "best": None}
    assert bn.inspect(state).layers[0].batches == 5


def test_a_trainer_s_dictionary_is_opened():
    slots = {"state": {"0": {"momentum_buffer": np.ones(2)}}}
    done = bn.convert({"state_dict": STATE, "optimizer": slots, "epoch": 3}, to="mindspore")
    assert "n.gamma" in done.entries
    assert done.extras == {"epoch": 3}
    assert any("left 1 arrays of 'optimizer' alone" in note for note in done.report.notes)


@pytest.mark.parametrize("beside", [{"epoch": np.int64(3)}, {"pixels": np.ones(3)}])
def test_an_array_beside_the_model_s_dictionary_does_not_hide_it(beside):
    done = bn.convert({**beside, "model": STATE, "ema": STATE}, to="mindspore")
    assert set(done.entries) == {
        f"n.{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def test_a_scalar_beside_two_dictionaries_makes_them_no_state():
    with pytest.raises(CheckpointError, match=r"several dictionaries.*--group"):
        bn.convert({"epoch": np.int64(3), "teacher": STATE, "student": STATE}, to="mindspore")


def test_an_optimizer_s_state_is_no_model_s():
    slots = {str(i): {"exp_avg": np.ones(2)} for i in range(2)}
    with pytest.raises(CheckpointError, match="optimizer's state"):
        bn.convert({"state": slots}, to="mindspore")
    with pytest.raises(CheckpointError, match="neither a dictionary 'stat'"):
        bn.convert({"state": slots}, "b.ckpt", from_framework="torch", group="stat")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({}, "holds no arrays"),
        ({1: np.ones(2), **STATE}, "1 is no name"),
        ({"a.b": np.array(["x"]), **STATE}, "is not a number"),
        ({"x": np.ones(2)}, "say which framework"),
    ],
)
def test_what_is_no_state_is_an_error(state, text):
    with pytest.raises(CheckpointError, match=text):
        bn.convert(state, to="keras")


@pytest.mark.parametrize("bad", ["eps=-1", "eps=nan", "momentum=inf", {"m": {"eps": 1e-3}}])
def test_settings_that_no_layer_can_have_are_an_error(bad):
    with pytest.raises(ValueError, match="settings"):
        bn.convert(STATE, to="keras", settings=bad)


def test_torch_s_average_over_all_batches_can_be_said():
    done = bn.convert(STATE, to="keras", settings="eps=1e-3,momentum=none")
    assert done.report.settings["n"] == {"momentum": None, "epsilon": 1e-3}
    assert any("no counterpart in keras" in note for note in done.report.notes)
    held = bn.checkpoints.Checkpoint(dict(done.entries), "memory", metadata=dict(done.metadata))
    back = bn.convert(held, to="torch").report.settings["n"]
    assert back == {"eps": 1e-3, "momentum": None}


def test_a_momentum_that_nobody_said_is_unknown():
    done = bn.convert(STATE, to="keras", settings="eps=1e-3")
    assert done.report.settings["n"] == {"epsilon": 1e-3}


def test_a_net_of_many_layers_is_matched_in_no_time():
    def kernel(shape):
        return np.zeros(shape, np.float32)

    state, like = {}, {}
    for i in range(1500):
        state |= {f"l{i}.c.weight": kernel((2, 2, 1, 1)), f"l{i}.c.bias": kernel(2)}
        like |= {f"conv_{i}/kernel": kernel((1, 1, 2, 2)), f"conv_{i}/bias": kernel(2)}
    report = bn.convert({**state, **STATE}, to="keras", like={**like, **{
        f"m/{k}": np.ones(2) for k in ("gamma", "beta", "moving_mean", "moving_variance")
    }}).report  # fmt: skip
    assert report.exit_code == 0
