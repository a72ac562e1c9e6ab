"""Layers are recognised by their state, not by letters in their names."""

import numpy as np
import pytest

from batchnorm.convert.source import opened, source_of

ONES = np.ones(3, np.float32)


def groups(state, framework=None):
    with opened(state) as checkpoint:
        return {g.path: g for g in source_of(checkpoint, framework).groups}


def state(prefix, names):
    return {f"{prefix}{name}": ONES for name in names}


TORCH = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("path", ["down_sample.1", "a.b.7", "seq", "bn1"])
def test_a_torch_layer_is_found_whatever_its_name(path):
    found = groups(state(f"{path}.", TORCH))
    assert found[path].kind == "batch_norm"
    assert set(found[path].members) == {"gamma", "beta", "running_mean", "running_var"}


def test_a_layer_called_bn_without_statistics_is_no_batch_norm():
    found = groups({**state("bn1.", ("weight", "bias")), **state("x.", TORCH)})
    assert found["bn1"].kind == "affine"


@pytest.mark.parametrize("absent", [("weight",), ("bias",), ("weight", "bias")])
def test_gamma_and_beta_may_be_absent(absent):
    found = groups(state("n.", [n for n in TORCH if n not in absent]))
    assert found["n"].kind == "batch_norm"
    assert len(found["n"].members) == 4 - len(absent)


def test_a_bare_mindspore_layer_is_found():
    found = groups(state("", ("mean", "variance", "gamma", "beta")))
    assert found[""].bare
    assert found[""].framework == "mindspore"
    assert set(found[""].members) == {"gamma", "beta", "running_mean", "running_var"}


def test_mindspore_s_inner_layer_of_a_batch_norm_3d_is_no_part_of_the_path():
    found = groups(state("stem.bn2d.", ("moving_mean", "moving_variance", "gamma", "beta")))
    assert found["stem"].inner == "bn2d"


def test_statistics_of_two_lengths_are_no_layer():
    with opened({"n.running_mean": ONES, "n.running_var": np.ones(4)}) as checkpoint:
        kinds = {g.kind for g in source_of(checkpoint, "torch").groups}
    assert kinds == {"single"}


def test_a_nested_model_with_the_same_layers_is_no_optimizer():
    names = ("moving_mean", "moving_variance", "gamma", "beta")
    found = groups({**state("n.", names), **state("twin.n.", names), **state("inner.n.", names)})
    assert set(found) == {"n", "twin.n", "inner.n"}


def test_wrappers_are_taken_off():
    found = groups(state("module._orig_mod.n.", TORCH))
    assert list(found) == ["n"]


def test_an_optimizer_s_copies_in_a_mindspore_file_are_left_alone():
    own = state("n.", ("moving_mean", "moving_variance", "gamma", "beta"))
    slots = state("moments.n.", ("gamma", "beta"))
    with opened({**own, **slots, "epoch": np.int64(3)}) as checkpoint:
        source = source_of(checkpoint)
    assert [g.path for g in source.groups] == ["n"]
    assert source.left == {"moments": 2}
    assert source.extras == {"epoch": 3}
