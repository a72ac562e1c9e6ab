"""What a target has no place for comes back on the way back; what can't be told is said."""

import itertools

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.convert.layout import canonical
from batchnorm.convert.source import opened, source_of
from batchnorm.errors import CheckpointError

KERAS = ("gamma", "beta", "moving_mean", "moving_variance")
RENORM = ("moving_stddev", "renorm_mean", "renorm_stddev")


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2, shape).astype(np.float32)


def norm(path="n", channels=3, names=KERAS, sep="/"):
    return {f"{path}{sep}{n}": drawn(channels, seed=i) for i, n in enumerate(names)}


def held(done):
    """A conversion's result as a checkpoint, so that its record is known."""
    return bn.checkpoints.Checkpoint(dict(done.entries), "memory", metadata=dict(done.metadata))


def same(found, wanted):
    assert sorted(found) == sorted(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].tobytes() == value.tobytes(), name


WAYS = [w for n in (1, 2) for w in itertools.permutations(("torch", "mindspore", "keras"), n)]


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_renorm_state_survives_any_way_and_stops_nothing(way):
    state = norm(names=KERAS + RENORM)
    done = bn.convert(state, to=way[0], from_framework="tf_keras")
    assert done.report.exit_code == 0
    if way[0] != "keras":
        assert {row.source for row in done.report.of("kept")} == {f"n/{n}" for n in RENORM}
        assert not [name for name in done.entries if "stddev" in name]
    for framework in (*way[1:], "tf_keras"):
        done = bn.convert(held(done), to=framework)
    same(done.load(), state)


def test_a_damaged_record_of_kept_arrays_is_a_missing_array_at_most():
    done = bn.convert(norm(names=KERAS + RENORM), to="torch", from_framework="tf_keras")
    for bad in (3, ["float32", [3], "!"], ["float32", [-3], ""], ["object", [1], "AAAA"],
                ["float32", [10**12], ""], ["float32", "3", "AAAAAAAAAAAAAAAA"]):  # fmt: skip
        done.metadata["batchnorm"]["kept"]["n"]["stddev"] = bad
        back = bn.convert(held(done), to="tf_keras").load()
        assert "n/moving_stddev" not in back or back["n/moving_stddev"].dtype.kind == "f"


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapper_s_prefix_goes_and_comes_back(wrapper):
    names = ("weight", "bias", "running_mean", "running_var")
    state = norm(f"{wrapper}n", names=names, sep=".")
    there = bn.convert(state, to="mindspore")
    assert "n.gamma" in there.entries
    assert f"took the wrapper's prefix {wrapper!r} off every name" in there.report.notes
    back = bn.convert(held(there), to="torch")
    same(back.load(), state)
    assert f"put the prefix {wrapper!r} before every name" in back.report.notes
    assert {row.target for row in back.report.rows} == set(state)


def test_a_template_s_wrapper_is_the_target_s():
    names = ("weight", "bias", "running_mean", "running_var")
    like = norm("module.n", names=names, sep=".")
    found = bn.convert(norm(), like=like, to="torch", from_framework="keras")
    assert set(found.entries) == set(like)


@pytest.mark.parametrize("known", [True, False])
def test_a_separable_convolution_is_two_layers_elsewhere(known):
    state = {"s/depthwise_kernel": drawn(3, 2, 4, 2), "s/pointwise_kernel": drawn(1, 1, 8, 5),
             "s/bias": drawn(5), **norm(channels=5)}  # fmt: skip
    layers = {"s": {"class_name": "SeparableConv2D"}} if known else {}
    entries = {n: bn.checkpoints.Entry.of(n, v) for n, v in state.items()}
    source = bn.checkpoints.Checkpoint(entries, "memory", "keras", {"layers": layers})
    there = bn.convert(source, to="torch")
    shapes = {n: e.shape for n, e in there.entries.items() if n.startswith("s.")}
    assert shapes == {
        "s.depthwise.weight": (8, 1, 3, 2), "s.pointwise.weight": (5, 8, 1, 1),
        "s.pointwise.bias": (5,),
    }  # fmt: skip
    same(bn.convert(held(there), to="keras").load(), state)
    same(bn.convert(source, to="tf_keras").load(), state)


@pytest.mark.parametrize("shape", [(6, 4, 3), (6, 4, 3, 2), (6, 4, 3, 2, 5)])
def test_a_transposed_convolution_is_known_by_its_bias(shape):
    state = {"up.weight": drawn(*shape), "up.bias": drawn(4), **norm(sep=".", channels=4, names=(
        "weight", "bias", "running_mean", "running_var"))}  # fmt: skip
    with opened(state) as checkpoint:
        group = next(g for g in source_of(checkpoint).groups if g.path == "up")
        assert (group.form, canonical(group, "weight")) == ("conv_transpose", shape)
    done = bn.convert(state, to="keras")
    kernel = done.load()["up/kernel"]
    assert np.array_equal(kernel, np.moveaxis(state["up.weight"], (0, 1), (-1, -2)))
    assert done.metadata["layers"]["up"]["class_name"] == f"Conv{len(shape) - 2}DTranspose"
    assert "n" in {row.layer for row in bn.convert(state, to="keras", fold=True).report.rows}


def test_a_kernel_of_mindspore_s_conv1d_needs_a_word():
    state = {"c.weight": drawn(5, 2, 1, 3), "c.bias": drawn(5), **norm(sep=".", names=(
        "moving_mean", "moving_variance", "gamma", "beta"))}  # fmt: skip
    report = bn.convert(state, to="torch").report
    assert {row.source for row in report.of("ambiguous")} == {"c.weight", "c.bias"}
    for kind, shape, keras in (("conv_1d", (5, 2, 3), (3, 2, 5)), ("conv", (5, 2, 1, 3),
                                                                  (1, 3, 2, 5))):  # fmt: skip
        said = {"layers": {"c": {"kind": kind}}}
        done = bn.convert(state, to="torch", map=said)
        assert done.report.exit_code == 0
        assert done.entries["c.weight"].shape == shape
        assert bn.convert(state, to="keras", map=said).entries["c/kernel"].shape == keras


def test_arrays_of_unknown_keras_layers_are_carried_and_said():
    state = {"r/kernel": drawn(3, 16), "r/recurrent_kernel": drawn(4, 16), "r/bias": drawn(16),
             "p/alpha": drawn(1, 1, 4), **norm()}  # fmt: skip
    done = bn.convert(state, to="torch")
    unclear = {row.source for row in done.report.of("ambiguous")}
    assert unclear == set(state) - set(norm())
    assert np.array_equal(done.load()["r.kernel"], state["r/kernel"])
    same(bn.convert(held(done), to="keras").load(), state)


def test_two_arrays_of_one_name_are_a_problem(tmp_path):
    state = {**norm("a/b"), **norm("a.b")}
    done = bn.convert(state, tmp_path / "x.pth", from_framework="keras")
    assert "2 arrays would be called 'a.b.weight'" in done.report.problems[0]
    assert done.report.exit_code == 1
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.parametrize(
    ("layer", "kind"),
    [("c", "norm"), ("bn", "dense"), ("bn", "batch_norm_3d"), ("bn", "batch_norm")],
)
def test_a_kind_that_settles_nothing_is_a_mistake(layer, kind):
    state = {"c.weight": np.ones((4, 3, 3, 3), "f4")}
    state |= {
        f"bn.{n}": np.ones(4, "f4") for n in ("weight", "bias", "running_mean", "running_var")
    }
    said = {"layers": {layer: {"kind": kind}}}
    with pytest.raises(CheckpointError, match="has no effect"):
        bn.convert(state, from_framework="torch", to="keras", map=said)
