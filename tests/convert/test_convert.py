"""`convert` on small states in memory: names, layouts, what is filled, kept and refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchnorm as bn
from batchnorm.errors import BatchNormError


def batch_norm(random, channels=4, dtype=np.float32, **without):
    values = {
        "weight": random.normal(1, 1, channels),
        "bias": random.normal(0, 1, channels),
        "running_mean": random.normal(0, 1, channels),
        "running_var": random.uniform(0.5, 2, channels),
    }
    found = {n: v.astype(dtype) for n, v in values.items() if without.get(n, True)}
    return {**found, "num_batches_tracked": np.int64(5)}


def torch_state(seed=0, **without):
    random = np.random.default_rng(seed)

    def array(*shape):
        return random.normal(0, 1, shape).astype(np.float32)

    state = {"conv.weight": array(4, 3, 3, 3), "conv.bias": array(4)}
    norm = batch_norm(random, **without)
    state |= {f"down_sample.1.{n}": v for n, v in norm.items()}
    return {**state, "fc.weight": array(2, 4), "fc.bias": array(2)}


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes(), name


def test_torch_to_mindspore_by_rule():
    state = torch_state()
    found = bn.convert(state, to="mindspore").load()
    norm = "down_sample.1"
    assert list(found) == [
        "conv.weight", "conv.bias", f"{norm}.moving_mean", f"{norm}.moving_variance",
        f"{norm}.gamma", f"{norm}.beta", "fc.weight", "fc.bias",
    ]  # fmt: skip
    assert np.array_equal(found[f"{norm}.moving_variance"], state[f"{norm}.running_var"])
    assert np.array_equal(found[f"{norm}.gamma"], state[f"{norm}.weight"])


def test_torch_to_keras_transposes_kernels():
    state = torch_state()
    found = bn.convert(state, to="keras").load()
    assert np.array_equal(found["conv/kernel"], state["conv.weight"].transpose(2, 3, 1, 0))
    assert np.array_equal(found["fc/kernel"], state["fc.weight"].T)
    assert np.array_equal(found["down_sample.1/gamma"], state["down_sample.1.weight"])


@pytest.mark.parametrize(
    ("shape", "to_shape", "axes"),
    [((5, 3, 7), (7, 3, 5), (2, 1, 0)), ((5, 3, 2, 4, 6), (2, 4, 6, 3, 5), (2, 3, 4, 1, 0))],
)
def test_kernels_of_other_ranks(shape, to_shape, axes):
    weight = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = bn.convert({"c.weight": weight, "c.bias": weight[:, 0].ravel()[:5]}, to="keras",
                       from_framework="torch").load()  # fmt: skip
    assert found["c/kernel"].shape == to_shape
    assert np.array_equal(found["c/kernel"], weight.transpose(axes))


def test_a_depthwise_kernel_with_two_outputs_per_channel_goes_to_keras_and_back():
    weight = np.arange(2 * 3 * 5 * 4, dtype=np.float32).reshape(6, 1, 5, 4)
    said = {"layers": {"d": {"kind": "depthwise"}}}
    like = {"d/depthwise_kernel": np.zeros((5, 4, 3, 2), np.float32)}
    there = bn.convert({"d.weight": weight}, from_framework="torch", to="tf_keras", like=like,
                       map=said)  # fmt: skip
    kernel = there.load()["d/depthwise_kernel"]
    for channel, multiple in itertools.product(range(3), range(2)):
        assert np.array_equal(kernel[:, :, channel, multiple], weight[2 * channel + multiple, 0])
    back = bn.convert({"d/depthwise_kernel": kernel}, to="torch").load()
    assert np.array_equal(back["d.weight"], weight)


def test_mindspore_keeps_one_dimensional_kernels_with_rank_4():
    weight = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    state = {"c.weight": weight, "c.bias": np.zeros(5, np.float32)}
    found = bn.convert(state, from_framework="torch", to="mindspore").load()
    assert found["c.weight"].shape == (5, 2, 1, 3)
    like = {"c.weight": np.zeros((5, 2, 3)), "c.bias": np.zeros(5)}
    back = bn.convert(found, from_framework="mindspore", to="torch", like=like).load()
    assert np.array_equal(back["c.weight"], weight)


def test_a_batch_norm_after_a_three_dimensional_convolution_is_a_batch_norm_3d():
    random = np.random.default_rng(0)
    state = {"c.weight": np.ones((4, 1, 3, 3, 3), np.float32), "c.bias": np.ones(4, np.float32)}
    state |= {f"n.{k}": v for k, v in batch_norm(random).items()}
    found = bn.convert(state, to="mindspore")
    assert "n.bn2d.gamma" in found.entries
    assert found.report.exit_code == 0
    back = bn.convert(found.load(), to="torch").load()
    assert "n.running_var" in back


def test_a_bare_layer_has_mindspore_s_other_names():
    state = batch_norm(np.random.default_rng(0))
    found = bn.convert(state, to="mindspore").load()
    assert list(found) == ["mean", "variance", "gamma", "beta"]
    back = bn.convert(found, to="torch").load()
    assert np.array_equal(back["running_var"], state["running_var"])


@pytest.mark.parametrize("absent", [("weight",), ("bias",), ("weight", "bias")])
def test_mindspore_gets_the_gamma_of_1_and_beta_of_0_that_torch_does_not_save(absent):
    state = torch_state(**dict.fromkeys(absent, False))
    done = bn.convert(state, to="mindspore")
    found = done.load()
    if "weight" in absent:
        assert found["down_sample.1.gamma"].tolist() == [1] * 4
    if "bias" in absent:
        assert found["down_sample.1.beta"].tolist() == [0] * 4
    assert done.report.exit_code == 0
    assert len(done.report.of("filled")) == len(absent)


def test_a_counter_is_written_for_torch_although_no_other_side_has_one():
    found = bn.convert({f"n/{n}": np.ones(2) for n in ("moving_mean", "moving_variance")},
                       to="torch").load()  # fmt: skip
    assert found["n.num_batches_tracked"].dtype == np.int64
    assert found["n.num_batches_tracked"].shape == ()


def test_a_gamma_that_is_not_1_is_never_dropped_silently():
    like = {f"n/{n}": np.ones(4) for n in ("beta", "moving_mean", "moving_variance")}
    state = {f"n.{k}": v for k, v in batch_norm(np.random.default_rng(0)).items()}
    report = bn.convert(state, to="keras", like=like).report
    assert [row.source for row in report.of("unused")] == ["n.weight"]
    assert report.exit_code == 1
    state["n.weight"] = np.ones(4, np.float32)
    assert bn.convert(state, to="keras", like=like).report.exit_code == 0


def test_flatten_before_dense_is_reported_and_handled_when_the_map_says_the_size():
    random = np.random.default_rng(0)
    weight = random.normal(0, 1, (5, 2 * 3 * 4)).astype(np.float32)
    state = {"c.weight": np.ones((2, 1, 3, 3), np.float32), "c.bias": np.ones(2, np.float32),
             "fc.weight": weight, "fc.bias": np.ones(5, np.float32)}  # fmt: skip
    done = bn.convert(state, from_framework="torch", to="keras", map={
        "layers": {"c": {"kind": "conv"}}})  # fmt: skip
    assert done.report.exit_code == 1
    assert "flatten = [2, H, W]" in done.report.of("ambiguous")[0].what
    said = {"layers": {"c": {"kind": "conv"}, "fc": {"flatten": [2, 3, 4]}}}
    done = bn.convert(state, from_framework="torch", to="keras", map=said)
    assert done.report.exit_code == 0
    x = random.normal(0, 1, (2, 3, 4))
    first = weight @ x.ravel()
    last = done.load()["fc/kernel"].T @ x.transpose(1, 2, 0).ravel()
    assert np.allclose(first, last)
    back = bn.convert(done.load(), to="torch", map={"layers": {"fc": {"flatten": [2, 3, 4]}}})
    assert np.array_equal(back.load()["fc.weight"], weight)


def heads(*shapes, before=()):
    """A convolution to 4 channels, then dense layers of these shapes."""
    state = dict(before) or {"c.weight": np.ones((4, 3, 3, 3)), "c.bias": np.ones(4)}
    for i, (units, inputs) in enumerate(shapes):
        state |= {f"f{i}.weight": np.ones((units, inputs)), f"f{i}.bias": np.ones(units)}
    return state


@pytest.mark.parametrize(
    ("shapes", "trapped"),
    [
        ([(5, 36), (5, 36)], ["f0", "f1"]),  # a mean and a variance
        ([(7, 36), (1, 7), (7, 36), (6, 7)], ["f0", "f2"]),  # a value and an advantage
        ([(36, 4), (5, 36)], []),
        ([(5, 4), (36, 5), (2, 36)], []),
    ],
)
def test_every_dense_layer_that_takes_one_flatten_is_reported(shapes, trapped):
    report = bn.convert(heads(*shapes), to="keras", from_framework="torch").report
    assert [row.layer for row in report.of("ambiguous") if "flatten" in row.what] == trapped


def test_a_single_channel_flattened_has_one_order():
    state = heads((5, 9), before={"c.weight": np.ones((1, 3, 3, 3)), "c.bias": np.ones(1)})
    assert not bn.convert(state, to="keras", from_framework="torch").report.of("ambiguous")


def test_units_that_a_generator_reshapes_are_reported_in_both_directions():
    state = {"fc.weight": np.ones((64, 5)), "fc.bias": np.ones(64),
             "up.weight": np.ones((4, 3, 2, 2)), "up.bias": np.ones(3)}  # fmt: skip
    done = bn.convert(state, to="keras", from_framework="torch")
    assert "Reshape((4, H, W)) and then Permute" in done.report.of("ambiguous")[0].what
    held = done.load()
    other = bn.convert(held, to="torch", from_framework="keras",
                       map={"layers": {"up": {"kind": "conv_transpose"}}}).report  # fmt: skip
    assert "reshape to (H, W, 4)" in other.of("ambiguous")[0].what


def test_units_that_weight_channels_are_not_reshaped():
    state = heads((1, 16), (16, 1), before={"c.weight": np.ones((16, 3, 1, 1))})
    state |= {"next.weight": np.ones((8, 4, 3, 3)), "next.bias": np.ones(8)}
    assert not bn.convert(state, to="keras", from_framework="torch").report.of("ambiguous")


def test_a_flatten_that_does_not_fit_the_layer_is_an_error():
    with pytest.raises(ValueError, match=r"flatten = \[2, 2, 2\] has 8 values"):
        bn.convert(torch_state(), to="keras", map={"layers": {"fc": {"flatten": [2, 2, 2]}}})


AMBIGUOUS = {
    "linear_or_embedding": {"e.weight": np.ones((7, 3))},
    "norm": {"ln.weight": np.ones(3), "ln.bias": np.ones(3)},
    "prelu": {"p.weight": np.ones(3)},
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_cannot_be_told_apart_keeps_its_name_and_is_reported(name):
    state = {**torch_state(), **AMBIGUOUS[name]}
    done = bn.convert(state, to="mindspore")
    assert set(AMBIGUOUS[name]) <= set(done.entries)
    assert {row.source for row in done.report.of("ambiguous")} == set(AMBIGUOUS[name])
    assert done.report.exit_code == 1


def test_a_kind_in_the_map_settles_it():
    state = {**torch_state(), **AMBIGUOUS["linear_or_embedding"], **AMBIGUOUS["norm"]}
    said = {"layers": {"e": {"kind": "embedding"}, "ln": {"kind": "norm"}}}
    done = bn.convert(state, to="mindspore", map=said)
    assert done.report.exit_code == 0
    assert {"e.embedding_table", "ln.gamma", "ln.beta"} <= set(done.entries)


def test_nothing_is_written_while_arrays_are_without_counterpart(tmp_path):
    like = bn.convert(torch_state(), to="mindspore").load()
    state = {**torch_state(), "extra.weight": np.ones((9, 9))}
    target = tmp_path / "b.ckpt"
    report = bn.convert(state, target, like=like, to="mindspore").report
    assert report.exit_code == 1
    assert [row.source for row in report.of("unused")] == ["extra.weight"]
    assert not target.exists()
    report = bn.convert(state, target, like=like, to="mindspore", allow_missing=True).report
    assert report.exit_code == 0
    assert target.exists()


def test_missing_arrays_keep_the_template_s_values_when_that_is_allowed():
    like = bn.convert(torch_state(1), to="mindspore").load()
    state = {n: v for n, v in torch_state().items() if not n.startswith("fc")}
    done = bn.convert(state, to="mindspore", like=like)
    assert {row.target for row in done.report.of("missing")} == {"fc.weight", "fc.bias"}
    done = bn.convert(state, to="mindspore", like=like, allow_missing=True)
    assert np.array_equal(done.load()["fc.weight"], like["fc.weight"])


def test_the_running_variance_note_says_both_denominators():
    notes = " ".join(bn.convert(torch_state(), to="keras").report.notes)
    assert "divided by n - 1 in torch and by n in keras" in notes
    notes = " ".join(bn.convert(torch_state(), to="tf_keras").report.notes)
    assert "n for inputs of rank 2 and 3, n - 1 for inputs of rank 4 and 5" in notes


def test_settings_go_over_in_the_target_s_words():
    done = bn.convert(torch_state(), to="keras", settings="eps=1e-3,momentum=0.1")
    assert done.report.settings == {"down_sample.1": {"momentum": 0.9, "epsilon": 0.001}}
    said = {"down_sample.1": {"momentum": 0.0003}}
    done = bn.convert(torch_state(), to="mindspore", settings=said)
    assert done.report.settings == {"down_sample.1": {"momentum": 0.9997}}


@pytest.mark.parametrize("bad", ["epsilon=1e-3", "eps", "eps=small"])
def test_settings_in_other_words_are_an_error(bad):
    with pytest.raises(BatchNormError):
        bn.convert(torch_state(), to="keras", settings=bad)


FORMATS = {
    "torch": (".pth", ".safetensors", ".npz"),
    "mindspore": (".ckpt", ".safetensors", ".npz"),
    "keras": (".h5", ".weights.h5", ".npz"),
    "tf_keras": (".h5", ".weights.h5", ".npz"),
}
SIDES = [(f, s) for f, suffixes in FORMATS.items() for s in suffixes]
PAIRS = [(a, b) for a in SIDES for b in SIDES if a != b]


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=lambda side: "".join(side))
def test_there_and_back_is_bit_exact_for_all_pairs_of_formats(tmp_path, a, b):
    first, middle, last = tmp_path / f"a{a[1]}", tmp_path / f"b{b[1]}", tmp_path / f"c{a[1]}"
    settings = {"default": {"eps": 0.00102, "momentum": 0.0123456789012345}}
    bn.convert(torch_state(), first, from_framework="torch", to=a[0], settings=settings)
    bn.convert(first, middle, to=b[0])
    bn.convert(middle, last, to=a[0])
    with bn.checkpoints.read(first) as x, bn.checkpoints.read(last) as y:
        assert sorted(x) == sorted(y)
        same({n: x[n].load() for n in sorted(x)}, {n: y[n].load() for n in sorted(x)})
    there, back = bn.inspect(first).layers[0], bn.inspect(last).layers[0]
    assert there.settings == back.settings
    assert there.batches == back.batches == 5


@given(st.floats(0, 1), st.floats(1e-12, 1))
def test_settings_survive_a_way_through_every_framework_bit_for_bit(momentum, eps):
    state = batch_norm(np.random.default_rng(0))
    given = {f"n.{k}": v for k, v in state.items()}
    done = bn.convert(given, to="keras", settings={"eps": eps, "momentum": momentum})
    for framework in ("mindspore", "tf_keras", "torch"):
        held = bn.checkpoints.Checkpoint(dict(done.entries), "memory", metadata=dict(done.metadata))
        done = bn.convert(held, to=framework)
    assert done.report.settings["n"] == {"eps": eps, "momentum": momentum}


def test_a_counter_that_the_source_did_not_have_does_not_come_back():
    state = {f"n.{k}": v for k, v in batch_norm(np.random.default_rng(0)).items()}
    del state["n.num_batches_tracked"]
    there = bn.convert(state, to="mindspore")
    held = bn.checkpoints.Checkpoint(dict(there.entries), "memory", metadata=dict(there.metadata))
    assert set(bn.convert(held, to="torch").entries) == set(state)


def test_arrays_made_on_the_way_go_away_on_the_way_back():
    state = torch_state(weight=False, bias=False)
    there = bn.convert(state, to="mindspore")
    held = bn.checkpoints.Checkpoint(dict(there.entries), "memory", metadata=dict(there.metadata))
    same(bn.convert(held, to="torch").load(), state)


def test_the_source_s_file_is_not_changed(tmp_path):
    path = tmp_path / "a.pth"
    bn.checkpoints.write(path, torch_state())
    before = path.read_bytes()
    bn.convert(path, tmp_path / "b.ckpt")
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match=r"a\.pth"):
        bn.convert(path, path, to="torch", force=True)


def test_a_damaged_record_is_taken_as_not_written():
    there = bn.convert(torch_state(), to="mindspore")
    bad = {"version": 1, "framework": "mindspore", "source": {"framework": "torch"},
           "names": {"fc.weight": ["x", [1], [0, 0], [2]], "fc.bias": 3}, "paths": [],
           "tracked": {"down_sample.1": "many"}, "settings": 7, "made": {},
           "dropped": []}  # fmt: skip
    held = bn.checkpoints.Checkpoint(
        dict(there.entries), "memory", "mindspore", metadata={"batchnorm": bad}
    )
    assert set(bn.convert(held, to="torch").entries) == set(torch_state())
