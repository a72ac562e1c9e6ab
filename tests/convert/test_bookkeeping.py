"""What a training run leaves among the arrays is set aside and said; what sounds like it stays."""

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.convert.wrappers import Wrapping, wrapping

TORCH = ("weight", "bias", "running_mean", "running_var")
NET = {
    "conv.weight": np.ones((4, 3, 1, 1), np.float32),
    **{f"norm.{n}": np.arange(1, 5, dtype=np.float32) for n in TORCH},
    "head.weight": np.ones((2, 4), np.float32),
    "head.bias": np.ones(2, np.float32),
}
ONE = np.zeros(1, np.int32)


def wrapped(prefix, state=NET):
    return {prefix + n: v for n, v in state.items()}


def done_with(state, **options):
    options.setdefault("to", "torch")
    return bn.convert(state, from_framework=options.pop("source", "torch"), **options)


@pytest.mark.parametrize("name", ["n_averaged", "steps", "num_updates", "global_step"])
@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("like", [None, NET])
def test_a_counter_goes_and_the_wrapper_around_the_rest_with_it(name, prefix, like):
    done = done_with({name: np.int64(7), **wrapped(prefix)}, like=like)
    assert done.report.exit_code == 0
    assert set(done.entries) == set(NET)
    (note,) = [n for n in done.report.notes if "training run" in n]
    assert name in note


def test_an_unknown_number_beside_a_wrapped_model_is_set_aside_and_named():
    done = done_with({"some_rate": np.float32(7), **wrapped("module.")})
    assert set(done.entries) == set(NET)
    assert any("'some_rate'" in note for note in done.report.notes)


@pytest.mark.parametrize("shape", [(1,), (), (30,)])
@pytest.mark.parametrize("name", ["global_step", "learning_rate", "beta1_power", "scale_sense"])
@pytest.mark.parametrize("like", [None, NET])
def test_numbers_of_mindspores_training_cells_are_no_parameters(name, shape, like):
    state = bn.convert(NET, from_framework="torch", to="mindspore").load()
    state[name] = np.zeros(shape, np.float32)
    done = done_with(state, source="mindspore", like=like)
    assert done.report.exit_code == 0
    assert set(done.entries) - {"norm.num_batches_tracked"} == set(NET)


OBSERVED = {
    "conv.weight_fake_quant.scale": np.ones(4, np.float32),
    "conv.weight_fake_quant.activation_post_process.min_val": np.ones(4, np.float32),
    "head.activation_post_process.zero_point": np.zeros(1, np.int32),
    "quant.activation_post_process_0.histogram": np.zeros(9, np.float32),
}


def test_observers_are_set_aside_where_the_target_has_none():
    done = done_with({**NET, **OBSERVED}, like=NET)
    assert done.report.exit_code == 0
    assert set(done.entries) == set(NET)
    assert any("4 arrays of a quantization's observers" in n for n in done.report.notes)


@pytest.mark.parametrize("like", [None, {**NET, **OBSERVED}])
def test_observers_stay_in_a_copy_and_where_the_target_has_them(like):
    assert set(done_with({**NET, **OBSERVED}, like=like).entries) == {*NET, *OBSERVED}


def averaged(style):
    if style == "flat":
        return {"ema_" + n.replace(".", "_"): v * 3 for n, v in NET.items()}
    if style == "flat, with its own counters":
        flat = {"model_ema." + n.replace(".", ""): v * 3 for n, v in NET.items()}
        return {**flat, "model_ema.decay": np.float32(0.9), "model_ema.num_updates": np.int64(1)}
    return wrapped("model_ema.", {n: v * 3 for n, v in NET.items()})


@pytest.mark.parametrize("style", ["flat", "flat, with its own counters", "dotted"])
@pytest.mark.parametrize("like", [None, NET])
@pytest.mark.parametrize("to", ["torch", "mindspore"])
def test_an_averages_copies_are_set_aside_and_can_be_taken(style, like, to):
    state = {**NET, **averaged(style)}
    if like and to == "mindspore":
        like = bn.convert(NET, from_framework="torch", to=to).load()
    done = done_with(state, like=like, to=to)
    assert done.report.exit_code == 0
    assert np.array_equal(done.load()["head.weight"], NET["head.weight"])
    assert not [name for name in done.entries if "ema" in name]
    owner = "ema" if style == "flat" else "model_ema"
    assert any(f"--group {owner})" in note for note in done.report.notes)
    taken = done_with(state, like=like, to=to, group=owner)
    assert taken.report.exit_code == 0
    assert np.array_equal(taken.load()["head.weight"], NET["head.weight"] * 3)
    assert set(taken.entries) == set(done.entries)


def test_a_dictionary_of_averages_is_named_with_the_way_to_take_it():
    done = done_with({"state_dict": NET, "state_dict_ema": NET})
    assert any("--group state_dict_ema" in note for note in done.report.notes)


def test_what_only_sounds_like_bookkeeping_is_the_models():
    own = {
        "steps.weight": np.ones((3, 4), np.float32),
        "ema_gate.weight": np.ones((5, 4), np.float32),
        "ema_gate.bias": np.ones(5, np.float32),
        "logit_scale": np.ones(1, np.float32),
    }
    for like in (None, {**NET, **own}):
        assert set(done_with({**NET, **own}, like=like).entries) == {*NET, *own}


def test_a_number_that_the_template_has_is_the_models():
    state = {**NET, "steps": ONE}
    assert set(done_with(state, like=state).entries) == set(state)


@pytest.mark.parametrize(
    ("names", "inserted"),
    [
        (["module.a.w", "module.b.w"], {"": "module."}),
        (["a.module.w.x", "a.module.v.x", "b.w"], {"a": "module."}),
        (["a.module._orig_mod.w", "a.module._orig_mod.v"], {"a": "module._orig_mod."}),
        (["model._orig_mod.a.w", "model._orig_mod.b.w"], {"": "model._orig_mod."}),
        (["module.model.a.w", "module.model.b.w"], {"": "module.model."}),
        (["model.0.w", "model.1.w"], {}),  # a list is the model itself
        (["a.model.w", "a.model.v"], {}),  # only around everything
        (["module.a.w", "head.w"], {}),  # not around everything
        (["a.module", "b.module"], {}),  # an array's own name
    ],
)
def test_wrappers_are_found_at_any_depth_and_put_back(names, inserted):
    found = wrapping(names, ("module", "_orig_mod"), ("model", "network"))
    assert found.inserted == inserted
    assert [found.put(found.bare(name)) for name in names] == names
    assert Wrapping.of(found.as_json()) == found


def test_inner_wrappers_come_back_on_the_way_back():
    state = {**wrapped("backbone.module."), **wrapped("neck._orig_mod.")}
    there = bn.convert(state, from_framework="torch", to="mindspore")
    assert "backbone.conv.weight" in there.entries
    held = bn.checkpoints.Checkpoint(dict(there.entries), "memory", metadata=there.metadata)
    assert set(bn.convert(held, to="torch").entries) == set(state)


def test_a_template_may_be_wrapped_inside_too():
    like = {**wrapped("backbone.module."), **wrapped("neck.")}
    state = {**wrapped("backbone."), **wrapped("neck.")}
    done = done_with(state, like=like)
    assert done.report.exit_code == 0
    assert list(done.entries) == list(like)


@pytest.mark.parametrize("prefix", ["network.", "model.", "model._orig_mod."])
def test_a_trainers_attribute_is_no_part_of_the_names(prefix):
    state = {"state_dict": wrapped(prefix), "epoch": 3}
    assert set(done_with(state).entries) == set(NET)
    there = done_with(wrapped(prefix), to="mindspore")
    assert "conv.weight" in there.entries


STILL = {f"n.{n}": np.arange(1, 5, dtype=np.float32) for n in TORCH}
STILL["n.num_batches_tracked"] = np.int64(0)


def with_class(name):
    """The same as a pickled or live model has it, which tells its classes."""
    entries = {n: bn.checkpoints.Entry.of(n, v) for n, v in STILL.items()}
    facts = {"layers": {"n": {"class": name}}}
    return bn.checkpoints.Checkpoint(entries, "memory", "torch", facts)


def test_a_count_that_stands_is_noted_and_names_instance_norm():
    done = done_with(STILL, to="mindspore")
    assert done.report.exit_code == 0
    (note,) = [n for n in done.report.notes if "InstanceNorm" in n]
    assert 'kind = "norm"' in note
    known = done_with(with_class("BatchNorm2d"), to="mindspore")
    assert not [n for n in known.report.notes if "InstanceNorm" in n]


@pytest.mark.parametrize("like", [None, {"n.moving_mean": 0, "n.moving_variance": 0}])
def test_what_is_said_to_be_no_batch_norm_is_not_carried_as_one(like):
    like = like and {n: np.ones(4, np.float32) for n in like}
    said = {"layers": {"n": {"kind": "norm"}}}
    for state, map_ in ((STILL, said), (with_class("InstanceNorm2d"), None)):
        done = done_with(state, to="mindspore", like=like, map=map_)
        assert done.report.exit_code == 1
        assert "InstanceNorm" in done.report.problems[0]


def test_a_template_of_another_class_refuses():
    done = done_with(with_class("BatchNorm2d"), like=with_class("InstanceNorm2d"))
    assert done.report.exit_code == 1
    assert done_with(
        with_class("InstanceNorm2d"), like=with_class("InstanceNorm2d")
    ).report.complete
