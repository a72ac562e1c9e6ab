"""Laws and rules of torch's layer; most need no torch to be checked."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchnorm as bn

SHAPE = (4, 3, 2, 5)


def data(seed=0, dtype=np.float32, shape=SHAPE):
    return (np.random.default_rng(seed).standard_normal(shape) * 2 + 1).astype(dtype)


def layer(**arguments):
    return bn.torch.BatchNorm2d(3, **arguments)


def stepped(made, count=2):
    for seed in range(count):
        made(data(seed))
    return made


SETTINGS = st.fixed_dictionaries(
    {
        "eps": st.floats(1e-8, 1),
        "momentum": st.none() | st.floats(0, 1),
        "affine": st.booleans(),
        "track_running_stats": st.booleans(),
        "dtype": st.sampled_from([None, "float64", "float16", "bfloat16"]),
        "bias": st.booleans(),
    }
)


@given(SETTINGS)
def test_arguments_and_state_rebuild_any_layer(arguments):
    made = layer(**arguments)
    x = data(dtype=made.weight.dtype if made.weight is not None else np.float32)
    if made.running_mean is not None:
        x = x.astype(made.running_mean.dtype)
    made(x)
    twin = bn.torch.BatchNorm2d(**made.arguments())
    assert twin.arguments() == made.arguments()
    assert repr(twin) == repr(made)
    assert list(twin.state) == list(made.state)
    twin.load_state_dict(made.state_dict())
    for one in (made, twin):
        one.eval()
    np.testing.assert_array_equal(twin(x), made(x))


def test_training_and_evaluation_alternate_by_their_methods():
    made = layer()
    assert made.training
    assert made.eval() is made
    assert not made.training
    assert made.train().training
    assert not made.train(False).training
    with pytest.raises(ValueError, match="boolean"):
        made.train(1)


def test_evaluation_after_training_uses_what_training_left():
    made = stepped(layer())
    mean, var = made.state["running_mean"], made.state["running_var"]
    x = data(7)
    spread = (slice(None), None, None)
    expected = (x - mean[spread]) / np.sqrt(var[spread].astype(float) + 1e-5)
    np.testing.assert_allclose(made.eval()(x), expected, rtol=1e-5, atol=1e-6)


def test_without_momentum_the_buffers_are_the_mean_over_batches():
    made = layer(momentum=None, dtype="float64")
    batches = [data(seed, np.float64) for seed in range(5)]
    for x in batches:
        made(x)
    means = np.mean([x.mean(axis=(0, 2, 3)) for x in batches], axis=0)
    variances = np.mean([x.var(axis=(0, 2, 3), ddof=1) for x in batches], axis=0)
    np.testing.assert_allclose(made.running_mean, means, rtol=1e-13)
    np.testing.assert_allclose(made.running_var, variances, rtol=1e-13)
    assert made.num_batches_tracked == 5


def test_a_state_dict_holds_the_layers_own_arrays_and_the_version():
    made = stepped(layer())
    found = made.state_dict()
    assert list(found) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    assert found["weight"] is made.weight
    assert found._metadata == {"": {"version": 2}}
    assert made.state_dict(prefix="bn1.")._metadata == {"bn1": {"version": 2}}
    assert "bn1.running_var" in made.state_dict(prefix="bn1.")


@pytest.mark.parametrize("way", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d)), copy.copy])
def test_a_copied_state_dict_keeps_the_version(way):
    found = way(layer().state_dict())
    assert found._metadata == {"": {"version": 2}}
    layer().load_state_dict(found)


def test_loading_converts_to_the_layers_types():
    made = layer()
    given_arrays = {**made.state_dict(), "weight": np.array([1, 2, 3])}
    made.load_state_dict(given_arrays)
    assert made.weight.dtype == np.float32
    made.load_state_dict({**given_arrays, "weight": np.array([1.0, 2, 3])}, assign=True)
    assert made.weight.dtype == np.float64


def test_loading_a_layers_own_arrays_exchanged():
    made = layer()
    own = made.state_dict()
    made.load_state_dict({**own, "weight": own["bias"], "bias": own["weight"]})
    np.testing.assert_array_equal(made.weight, 0)
    np.testing.assert_array_equal(made.bias, 1)


@pytest.mark.parametrize(("version", "complete"), [(None, False), (1, False), (2, True), (3, True)])
def test_the_counter_may_be_missing_from_old_files_only(version, complete):
    found = layer().state_dict()
    del found["num_batches_tracked"]
    found._metadata = {} if version is None else {"": {"version": version}}
    made = stepped(layer())
    if complete:
        with pytest.raises(RuntimeError, match=r"Missing key\(s\).*num_batches_tracked"):
            made.load_state_dict(found)
    else:
        made.load_state_dict(found)
        assert made.num_batches_tracked == 2


def test_bad_state_dicts_are_refused_whole_with_every_reason():
    made = stepped(layer())
    before = made.state
    bad = OrderedDict(made.state_dict())
    bad["weight"] = np.full(3, 9.0)
    bad["bias"] = np.zeros(4)
    bad["more"] = np.zeros(3)
    del bad["running_mean"]
    with pytest.raises(RuntimeError) as caught:
        made.load_state_dict(bad)
    for reason in ("Missing key(s)", "Unexpected key(s)", '"more"', "size mismatch for bias"):
        assert reason in str(caught.value)
    for name, value in made.state.items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(TypeError, match="dict-like"):
        made.load_state_dict([1, 2])


def test_without_strictness_what_fits_is_loaded_and_the_rest_named():
    made = layer()
    found = made.load_state_dict({"weight": np.full(3, 2.0), "more": 1}, strict=False)
    assert found.missing_keys == ["bias", "running_mean", "running_var"]
    assert found.unexpected_keys == ["more"]
    np.testing.assert_array_equal(made.weight, 2)


def test_layers_without_bias_or_buffers_have_states_without_them():
    assert list(layer(bias=False).state)[:2] == ["weight", "running_mean"]
    assert next(iter(layer(affine=False).state)) == "running_mean"
    assert list(layer(track_running_stats=False).state) == ["weight", "bias"]
    with pytest.raises(RuntimeError, match="bias"):
        layer(bias=False).load_state_dict(layer().state_dict())


def test_without_a_parameter_there_is_no_gradient_for_it():
    for arguments, names in (
        ({"affine": False}, []),
        ({"bias": False}, ["weight"]),
        ({}, ["weight", "bias"]),
    ):
        made = layer(**arguments)
        made(data())
        made.backward(data(1))
        assert list(made.gradients) == names


@pytest.mark.parametrize(
    ("training", "track", "buffers", "name"),
    [
        (True, True, True, "BATCH_AND_UPDATE"),
        (True, True, False, "BATCH"),
        (True, False, True, "BATCH"),
        (False, True, True, "RUNNING"),
        (False, False, True, "RUNNING"),
        (False, True, False, "BATCH"),
    ],
)
def test_the_buffers_decide_in_evaluation(training, track, buffers, name):
    assert bn.torch.BatchNorm2d.mode(training, track, buffers).name == name


def test_a_later_change_of_a_setting_counts():
    made = layer()
    made.momentum, made.eps = 1.0, 1.0
    x = data()
    y = made(x)
    np.testing.assert_allclose(made.running_mean, x.mean(axis=(0, 2, 3)), rtol=1e-6)
    var = x.var(axis=(0, 2, 3))
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), var / (var + 1), rtol=1e-5)
    made.track_running_stats = False
    before = made.state
    made(data(5))
    assert all((value == before[name]).all() for name, value in made.state.items())


def test_channels_last_comes_out_as_channels_last():
    last = np.ascontiguousarray(data().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    made = layer()
    assert made(last).strides == last.strides
    assert made(data()[:, :, ::-1]).flags.c_contiguous
    np.testing.assert_array_equal(made(last), made(data()))


def test_the_failed_call_with_one_value_still_counts():
    made = layer()
    with pytest.raises(ValueError, match=r"more than 1 value per channel.*\(1, 3, 1, 1\)"):
        made(data(shape=(1, 3, 1, 1)))
    assert made.num_batches_tracked == 1
    with pytest.raises(ValueError, match="expected 4D input"):
        made(data(shape=(2, 3)))
    assert made.num_batches_tracked == 1


def test_errors_come_in_torchs_order():
    """Rank, one value per channel, eps, momentum, buffers, channels, dtype."""
    made = layer(eps=-1.0, momentum="x")
    made.running_var = None
    bad = np.zeros((1, 4, 1, 1), np.int32)
    expected = [
        (lambda: made(np.zeros((1, 4), np.int32)), ValueError, "4D"),
        (lambda: made(bad), ValueError, "more than 1 value"),
        (lambda: made(np.zeros((2, 4, 1, 1), np.int32)), ValueError, "eps must be positive"),
        (lambda: setattr(made, "eps", 1e-5), None, ""),
        (lambda: made(np.zeros((2, 4, 1, 1), np.int32)), TypeError, "momentum"),
        (lambda: setattr(made, "momentum", 0.1), None, ""),
        (lambda: made(np.zeros((2, 4, 1, 1), np.int32)), ValueError, "both be None"),
        (lambda: setattr(made, "running_var", np.ones(3, np.float32)), None, ""),
        (lambda: made(np.zeros((2, 4, 1, 1), np.int32)), RuntimeError, "contain 4 elements not 3"),
        (lambda: made(np.zeros((2, 3, 1, 1), np.int32)), NotImplementedError, "int32"),
        (lambda: made(np.zeros((2, 3, 1, 1))), RuntimeError, "mixed dtype"),
    ]
    for call, error, text in expected:
        if error is None:
            call()
        else:
            with pytest.raises(error, match=text):
                call()


def test_reset_gives_the_state_of_a_new_layer():
    made = stepped(layer())
    made.reset_running_stats()
    for name, value in layer().state.items():
        np.testing.assert_array_equal(made.state[name], value)


@pytest.mark.parametrize("mode", [True, False])
def test_gradients_are_those_of_central_differences(mode):
    made = stepped(layer(dtype="float64"), 0)
    made.load_state(
        {name: value + 0.5 if value.ndim else value for name, value in made.state.items()}
    )
    made.train(mode)
    x, dy, step = data(0, np.float64), data(1, np.float64), 1e-5
    made(x)
    dx = made.backward(dy)
    rng = np.random.default_rng(5)
    for place in zip(*(rng.integers(0, n, 12) for n in SHAPE), strict=True):
        sums = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            sums.append((copy.deepcopy(made)(moved) * dy).sum())
        assert abs((sums[0] - sums[1]) / (2 * step) - dx[place]) < 1e-7


def test_a_state_dict_can_be_gathered_in_one_mapping():
    found = layer().state_dict(prefix="a.", keep_vars=True)
    assert layer().state_dict(destination=found, prefix="b.") is found
    assert found._metadata == {"a": {"version": 2}, "b": {"version": 2}}
    assert {name.partition(".")[0] for name in found} == {"a", "b"}
    plain = {}
    assert layer().state_dict(destination=plain, prefix="a.") is plain
    assert len(plain) == 5


def test_what_loading_says():
    made = layer()
    assert repr(made.load_state_dict(made.state_dict())) == "<All keys matched successfully>"
    printed = repr(made.load_state_dict({"x": np.zeros(1)}, strict=False))
    assert printed.startswith("_IncompatibleKeys(missing_keys=['weight', ")
    assert printed.endswith("unexpected_keys=['x'])")
    old = made.state_dict()
    del old["num_batches_tracked"]
    old._metadata = None
    assert made.load_state_dict(old) == ([], [])


def test_buffers_alone_may_be_integers_which_no_input_fits():
    made = bn.torch.BatchNorm1d(3, affine=False, dtype="int32")
    assert made.running_mean.dtype == np.int32
    with pytest.raises(RuntimeError, match="mixed dtype"):
        made(np.zeros((4, 3), np.float32))
    with pytest.raises(RuntimeError, match="only floating point"):
        bn.torch.BatchNorm1d(3, dtype="int32")


@pytest.mark.parametrize(("size", "error"), [(2**62, RuntimeError), (2**63, TypeError)])
def test_a_size_that_no_memory_holds(size, error):
    with pytest.raises(error, match="num_features") as caught:
        bn.torch.BatchNorm1d(size)
    assert isinstance(caught.value, bn.BatchNormError)


def test_several_sizes_make_buffers_that_no_call_takes():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(RuntimeError, match="must have 1 dimension"):
        bn.torch.BatchNorm1d((1, 3))(x)
    assert bn.torch.BatchNorm1d((3,))(x).shape == (4, 3)
    assert bn.torch.BatchNorm1d((1, 3), track_running_stats=False)(x).shape == (4, 3)


def test_devices_and_odd_numbers():
    assert bn.torch.BatchNorm1d(3, device="cpu:0").arguments()["device"] is None
    for device, error in (("cuda", RuntimeError), ("cpu:x", RuntimeError), (3.0, TypeError)):
        with pytest.raises(error, match="device must be"):
            bn.torch.BatchNorm1d(3, device=device)
    for training in (True, False):
        with pytest.raises(TypeError, match="eps must be a float, but got None"):
            bn.torch.BatchNorm1d(3, eps=None).train(training)(np.zeros((4, 3), np.float32))


def test_parameters_can_be_reset():
    made = bn.torch.BatchNorm1d(3)
    made.weight[...], made.bias[...] = 5, 6
    made(np.arange(12, dtype=np.float32).reshape(4, 3))
    made.reset_parameters()
    for name, value in bn.torch.BatchNorm1d(3).state.items():
        np.testing.assert_array_equal(made.state[name], value)
    bn.torch.BatchNorm1d(3, affine=False, track_running_stats=False).reset_parameters()


@pytest.mark.parametrize("order", ["C", "F"])
def test_gradients_of_two_values_per_channel_are_torchs(order):
    torch = pytest.importorskip("torch")
    for seed in range(60):
        draw = np.random.default_rng(seed)
        x, dy = (np.asarray(draw.standard_normal((2, 2)), np.float32, order=order) for _ in "ab")
        leaf = torch.tensor(x.astype(np.float64), requires_grad=True)
        real = torch.nn.BatchNorm1d(2, dtype=torch.float64)(leaf)
        real.backward(torch.tensor(dy.astype(np.float64)))
        made = bn.torch.BatchNorm1d(2)
        made(x)
        np.testing.assert_allclose(made.backward(dy), leaf.grad.numpy(), rtol=1e-3, atol=1e-9)
