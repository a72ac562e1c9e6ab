"""Folding keeps what inference computes, in every layout, and can be undone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchnorm as bn
from batchnorm.convert.fold import LAYOUTS
from batchnorm.errors import InvalidValue


def layer(channels, seed=0, eps=1e-3, dtype=np.float32):
    random = np.random.default_rng(seed)
    made = bn.torch.BatchNorm1d(channels, eps=eps, dtype=dtype).eval()
    made.load_state({
        "weight": random.uniform(0.5, 2, channels), "bias": random.normal(0, 1, channels),
        "running_mean": random.normal(0, 1, channels),
        "running_var": random.uniform(0.5, 2, channels), "num_batches_tracked": 3,
    })  # fmt: skip
    return made


SIZES = {"O": 4, "I": 3, "C": 2, "M": 2, "H": 5, "W": 2, "D": 3}


def products(weight, layout, x):
    """The kernel applied at one place: (outputs,) for one value per input position."""
    at = LAYOUTS[layout]
    moved = np.moveaxis(np.asarray(weight, np.float64), at, range(len(at)))
    outputs = int(np.prod(moved.shape[: len(at)]))
    return moved.reshape(outputs, -1) @ x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_folded_layer_computes_what_both_did(layout, with_bias, dtype):
    random = np.random.default_rng(1)
    weight = random.normal(0, 1, [SIZES[c] for c in layout]).astype(dtype)
    outputs = int(np.prod([weight.shape[a] for a in LAYOUTS[layout]]))
    bias = random.normal(0, 1, outputs).astype(dtype) if with_bias else None
    norm = layer(outputs, dtype=np.float64)
    folded = bn.fold(weight, bias, norm, layout=layout)
    assert folded.weight.shape == weight.shape
    assert folded.weight.dtype == folded.bias.dtype == dtype
    x = random.normal(0, 1, weight.size // outputs)
    y = products(weight, layout, x) + (0 if bias is None else bias.astype(np.float64))
    wanted = norm(y[None])[0]
    found = products(folded.weight, layout, x) + folded.bias.astype(np.float64)
    stated = folded.weight_error * np.abs(x).max() + folded.bias_error
    assert (np.abs(found - wanted) <= stated + 1e-12).all()


def test_groups_of_a_transposed_convolution():
    random = np.random.default_rng(0)
    weight = random.normal(0, 1, (6, 2, 3, 3))
    norm = layer(4)
    folded = bn.fold(weight, None, norm, layout="IOHW", groups=2)
    scale = norm.state["weight"] / np.sqrt(norm.state["running_var"].astype(float) + 1e-3)
    assert np.allclose(folded.weight[:3], weight[:3] * scale[:2].reshape(1, 2, 1, 1))
    assert np.allclose(folded.weight[3:], weight[3:] * scale[2:].reshape(1, 2, 1, 1))


@settings(max_examples=50)
@given(st.integers(0, 1000), st.sampled_from(["OIHW", "HWIO", "HWCM", "IO"]))
def test_unfold_is_the_inverse_up_to_rounding(seed, layout):
    random = np.random.default_rng(seed)
    weight = random.normal(0, 1, [SIZES[c] for c in layout]).astype(np.float32)
    outputs = int(np.prod([weight.shape[a] for a in LAYOUTS[layout]]))
    bias = random.normal(0, 1, outputs).astype(np.float32)
    norm = layer(outputs, seed)
    folded = bn.fold(weight, bias, norm, layout=layout)
    back = bn.unfold(folded.weight, folded.bias, norm, layout=layout)
    assert np.allclose(back.weight, weight, rtol=3e-7, atol=0)
    assert np.allclose(back.bias, bias, rtol=1e-5, atol=1e-5)


def test_every_dialect_s_layer_can_be_folded():
    weight = np.ones((2, 1, 1, 1))
    found = []
    for made in (bn.torch.BatchNorm2d(2, eps=0.5), bn.mindspore.BatchNorm2d(2, eps=0.5),
                 bn.keras.BatchNormalization(epsilon=0.5, scale=False),
                 bn.tf_keras.BatchNormalization(epsilon=0.5, center=False)):  # fmt: skip
        if hasattr(made, "build"):
            made.build((None, 2))
        found.append(bn.fold(weight, None, made).weight.ravel().tolist())
    assert found == [[1 / np.sqrt(1.5)] * 2] * 4


@pytest.mark.parametrize(
    ("weight", "options", "text"),
    [
        (np.ones((3, 1, 1, 1)), {}, "3 output channels, but the batch norm has 2"),
        (np.ones((2, 1)), {}, "4 dimensions"),
        (np.ones((2, 1, 1, 1), int), {}, "floating"),
        (np.ones((2, 1, 1, 1)), {"layout": "NCHW"}, "none of"),
        (np.ones((2, 1, 1, 1)), {"groups": 2}, "groups=2"),
    ],
)
def test_what_does_not_fit_is_an_error(weight, options, text):
    with pytest.raises(InvalidValue, match=text):
        bn.fold(weight, None, bn.torch.BatchNorm2d(2), **options)


def test_a_layer_without_statistics_can_not_be_folded():
    with pytest.raises(InvalidValue, match="no running statistics"):
        bn.fold(np.ones((2, 1, 1, 1)), None, bn.torch.BatchNorm2d(2, track_running_stats=False))


def test_a_negative_variance_is_an_error_and_not_nan():
    made = bn.torch.BatchNorm2d(2)
    made.load_state({**made.state, "running_var": [1, -1]})
    with pytest.raises(InvalidValue, match="channel 1"):
        bn.fold(np.ones((2, 1, 1, 1)), None, made)


def test_a_gamma_of_0_can_not_be_unfolded():
    made = bn.torch.BatchNorm2d(2)
    made.load_state({**made.state, "weight": [1, 0]})
    folded = bn.fold(np.ones((2, 1, 1, 1)), None, made)
    assert folded.weight.ravel()[1] == 0
    with pytest.raises(InvalidValue, match="gamma of channel 1 is 0"):
        bn.unfold(folded.weight, folded.bias, made)


def small_net():
    random = np.random.default_rng(0)
    state = {"s.0.weight": random.normal(0, 1, (4, 3, 3, 3)).astype(np.float32)}
    state |= {f"s.1.{n}": v for n, v in layer(4).state.items()}
    state |= {"fc.weight": random.normal(0, 1, (2, 4)).astype(np.float32)}
    return {**state, "fc.bias": np.zeros(2, np.float32)}


def test_convert_folds_and_records_and_unfolds(tmp_path):
    state, there, back = small_net(), tmp_path / "b.ckpt", tmp_path / "c.pth"
    done = bn.convert(state, there, fold=True, settings="eps=1e-3")
    assert list(done.entries) == ["s.0.weight", "s.0.bias", "fc.weight", "fc.bias"]
    wanted = bn.fold(state["s.0.weight"], None, layer(4))
    assert np.array_equal(done.load()["s.0.weight"], wanted.weight)
    assert np.array_equal(done.load()["s.0.bias"], wanted.bias)
    assert {row.status for row in done.report.rows if row.layer == "s.1"} == {"folded"}
    bn.convert(there, back, unfold=True)
    with bn.checkpoints.read(back) as checkpoint:
        undone = checkpoint.load()
    assert set(undone) == set(state)
    for name, value in state.items():
        if name == "s.0.weight":
            assert np.allclose(undone[name], value, rtol=3e-7, atol=0)
        else:
            assert np.array_equal(undone[name], value), name


def test_a_batch_norm_that_does_not_follow_its_layer_is_not_folded():
    state = small_net()
    moved = {n: v for n, v in state.items() if n.startswith("s.1")}
    moved |= {n: v for n, v in state.items() if not n.startswith("s.1")}
    with pytest.raises(ValueError, match="nothing to fold"):
        bn.convert(moved, to="mindspore", fold=True)
    said = {"fold": {"s.0": "s.1"}}
    done = bn.convert(moved, to="mindspore", fold=True, map=said)
    assert "s.0.bias" in done.entries


def test_the_report_says_what_a_fold_assumes():
    report = bn.convert(small_net(), to="keras", fold=True).report
    assert report.of("folded")[0].what == "into s.0, epsilon 1e-05 (torch's default)"
    assert any("nothing stands between a layer and its batch norm" in n for n in report.notes)


def test_unfold_needs_a_record():
    with pytest.raises(ValueError, match="no record of a fold"):
        bn.convert(small_net(), to="mindspore", unfold=True)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 10_000),
    st.floats(1e-7, 1.0),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_the_stated_error_holds_for_any_layer(layout, seed, eps, dtype):
    random = np.random.default_rng(seed)
    weight = random.normal(0, 10.0 ** random.integers(-3, 3), [SIZES[c] for c in layout])
    weight = weight.astype(dtype)
    outputs = int(np.prod([weight.shape[a] for a in LAYOUTS[layout]]))
    norm = layer(outputs, seed, eps, np.float64)
    folded = bn.fold(weight, None, norm, layout=layout)
    x = random.uniform(-1, 1, weight.size // outputs)
    wanted = norm(products(weight, layout, x)[None])[0]
    found = products(folded.weight, layout, x) + folded.bias.astype(np.float64)
    rounding = 1e-13 * (np.abs(wanted).max() + 1)
    assert (np.abs(found - wanted) <= folded.weight_error + folded.bias_error + rounding).all()


FORMS = {
    "conv": (5, 3, 2, 2),
    "conv_transpose": (3, 5, 2, 2),
    "depthwise": (5, 1, 2, 2),
    "dense": (5, 3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("to", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_fold_of_a_file_is_the_fold_of_its_arrays_and_can_be_undone(form, to):
    random = np.random.default_rng(3)
    weight = random.normal(0, 1, FORMS[form]).astype(np.float32)
    state = {"a.weight": weight, **{f"n.{k}": v for k, v in layer(5).state.items()}}
    said = {"layers": {"a": {"kind": form}}}
    done = bn.convert(state, to=to, fold=True, settings="eps=1e-3", map=said)
    wanted = bn.fold(
        weight, None, layer(5), layout=("IO" if "tr" in form else "OI") + "HW"[: weight.ndim - 2]
    )
    held = bn.checkpoints.Checkpoint(dict(done.entries), "memory", to, dict(done.metadata))
    back = bn.convert(held, to="torch") if to != "torch" else done
    assert np.array_equal(back.load()["a.weight"], wanted.weight)
    assert np.array_equal(back.load()["a.bias"], wanted.bias)
    undone = bn.convert(held, to="torch", unfold=True).load()
    assert set(undone) == set(state)
    assert np.allclose(undone["a.weight"], weight, rtol=3e-7, atol=0)
    for name in state.keys() - {"a.weight"}:
        assert np.array_equal(undone[name], state[name]), name
