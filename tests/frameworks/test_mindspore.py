"""Laws and rules of MindSpore's layer that need no MindSpore to be checked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchnorm as bn

SHAPE = (4, 3, 2, 5)
load_param_into_net = bn.mindspore.load_param_into_net


def data(seed=0, dtype=np.float32, shape=SHAPE):
    return (np.random.default_rng(seed).standard_normal(shape) * 2 + 1).astype(dtype)


def layer(**arguments):
    return bn.mindspore.BatchNorm2d(3, **arguments)


def shaken(made, seed=1):
    rng = np.random.default_rng(seed)
    made.load_state({name: rng.uniform(0.5, 2, 3) for name in made.state})
    return made


def same(one, other):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


SETTINGS = st.fixed_dictionaries(
    {
        "eps": st.floats(1e-8, 1),
        "momentum": st.floats(0, 1),
        "affine": st.booleans(),
        "gamma_init": st.sampled_from(["ones", "zeros", 2.0, 3]),
        "moving_var_init": st.sampled_from(["ones", 0.5]),
        "use_batch_statistics": st.none() | st.booleans(),
        "data_format": st.sampled_from(["NCHW", "NHWC"]),
        "dtype": st.sampled_from(["float32", "float16"]),
    }
)


@given(SETTINGS, st.booleans())
def test_arguments_and_state_rebuild_any_layer(arguments, training):
    made = layer(**arguments)
    x = data() if arguments["data_format"] == "NCHW" else np.moveaxis(data(), 1, -1)
    twin = bn.mindspore.BatchNorm2d(**made.arguments())
    assert twin.arguments() == made.arguments()
    assert twin.arguments()["momentum"] == arguments["momentum"]
    assert repr(twin) == repr(made)
    same(twin.state, made.state)
    for one in (made, twin):
        one.set_train(training)
    np.testing.assert_array_equal(twin(x), made(x))
    same(twin.state, made.state)


def test_both_layouts_give_the_same_numbers():
    first, last = shaken(layer()), shaken(layer(data_format="NHWC"))
    for training in (True, False):
        y = first.set_train(training)(data())
        other = last.set_train(training)(np.moveaxis(data(), 1, -1))
        np.testing.assert_array_equal(np.moveaxis(other, -1, 1), y)
        dx, dother = first.backward(data(1)), last.backward(np.moveaxis(data(1), 1, -1))
        np.testing.assert_array_equal(np.moveaxis(dother, -1, 1), dx)
    same(first.state, last.state)


def test_a_new_layer_infers():
    made = layer()
    assert not made.training
    assert made.set_train() is made
    assert made.training
    assert not made.set_train(False).training


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("forced", "batch"), [(None, None), (True, True), (False, False)])
def test_use_batch_statistics_decides_if_it_is_given(training, forced, batch):
    batch = training if batch is None else batch
    mode = bn.mindspore.BatchNorm2d.mode(training, forced)
    assert mode.name == ("BATCH_AND_UPDATE" if batch else "RUNNING")
    made = layer(use_batch_statistics=forced).set_train(training)
    before = made.state
    made(data())
    assert np.array_equal(made.state["moving_mean"], before["moving_mean"]) == (not batch)


def test_momentum_and_eps_are_fixed_at_construction():
    made, twin = layer().set_train(), layer().set_train()
    assert made.momentum == pytest.approx(0.1)
    made.momentum, made.eps = 0.9, 1.0
    np.testing.assert_array_equal(made(data()), twin(data()))
    same(made.state, twin.state)
    assert made.arguments()["eps"] == 1e-5


def test_without_affine_gamma_and_beta_apply_and_are_saved_and_get_no_gradient():
    made = layer(affine=False, gamma_init=2.0).set_train()
    np.testing.assert_array_equal(made(data()), layer(gamma_init=2.0).set_train()(data()))
    made.backward(data(1))
    assert made.gradients == {}
    assert made.trainable_params() == []
    assert "gamma" in made.parameters_dict()


def test_one_value_per_channel_makes_the_variance_nan():
    made = layer(momentum=1.0).set_train()
    y = made(data(shape=(1, 3, 1, 1)))
    assert not y.any()
    assert np.isnan(made.moving_variance).all()
    assert not made.moving_mean.any()


def test_an_empty_batch_leaves_the_state_alone():
    made = shaken(layer()).set_train()
    before = made.state
    assert made(np.zeros((0, 3, 2, 2), np.float32)).shape == (0, 3, 2, 2)
    same(made.state, before)


def test_float16_statistics_never_move():
    made = layer(dtype="float16").set_train()
    y = made(data(dtype=np.float16))
    assert y.dtype == np.float16
    assert not made.moving_mean.any()


def test_a_bare_layer_and_one_in_a_net_spell_their_names_differently():
    made = layer()
    assert list(made.parameters_dict()) == ["mean", "variance", "gamma", "beta"]
    assert list(made.parameters_dict(name="bn1"))[:2] == ["bn1.moving_mean", "bn1.moving_variance"]
    deep = bn.mindspore.BatchNorm3d(3)
    assert next(iter(deep.parameters_dict(name="net"))) == "net.bn2d.moving_mean"
    assert made.parameters_dict()["mean"] is made.moving_mean


@pytest.mark.parametrize("name", ["", "bn1"])
@pytest.mark.parametrize("cls", [bn.mindspore.BatchNorm2d, bn.mindspore.BatchNorm3d])
def test_what_was_saved_can_be_loaded_by_the_same_spelling(cls, name):
    made, twin = shaken(cls(3)), cls(3)
    saved = {key: value.copy() for key, value in made.parameters_dict(name=name).items()}
    left = load_param_into_net({name: twin} if name else twin, saved)
    assert left == ([], [])
    same(twin.state, made.state)


def test_the_other_spelling_loads_nothing_in_silence():
    made, twin = shaken(layer()), layer()
    missing, unused = load_param_into_net({"bn1": twin}, made.parameters_dict())
    assert missing == list(twin.parameters_dict(name="bn1"))
    assert unused == ["mean", "variance", "gamma", "beta"]
    same(twin.state, layer().state)


def test_loading_a_layers_own_arrays_exchanged():
    made = layer()
    own = made.parameters_dict()
    load_param_into_net(made, {**own, "gamma": own["beta"], "beta": own["gamma"]})
    np.testing.assert_array_equal(made.gamma, 0)
    np.testing.assert_array_equal(made.beta, 1)


def test_a_bad_dictionary_changes_nothing():
    made = shaken(layer())
    before = made.state
    with pytest.raises(RuntimeError, match="gamma has shape"):
        load_param_into_net(made, {"mean": np.zeros(3), "gamma": np.zeros(4)})
    with pytest.raises(TypeError, match="must be a dict"):
        load_param_into_net(made, [1])
    with pytest.raises(TypeError, match="must map str to arrays"):
        load_param_into_net(made, {"gamma": [1, 2, 3]})
    same(made.state, before)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"momentum": 1.5}, ValueError, r"range \[0, 1\], but got 1.5"),
        ({"momentum": -0.1}, ValueError, r"range \[0, 1\]"),
        ({"momentum": None}, TypeError, "must be a number .*, but got None"),
        ({"affine": 1}, TypeError, "affine"),
        ({"use_batch_statistics": 1}, ValueError, "boolean value or None, but got 1"),
        ({"data_format": "nchw"}, ValueError, "'NCHW' or 'NHWC', but got 'nchw'"),
        ({"gamma_init": "xx"}, ValueError, "xx"),
        ({"gamma_init": np.ones(4)}, ValueError, "4"),
        ({"dtype": None}, ValueError, "dtype"),
        ({"dtype": "float33"}, TypeError, "float33"),
    ],
)
def test_what_the_constructor_refuses(arguments, error, text):
    with pytest.raises(error, match=text):
        layer(**arguments)


@pytest.mark.parametrize(
    ("eps", "error"), [(0.0, ValueError), (1.5, ValueError), (1e300, ValueError), (1, TypeError)]
)
def test_epsilon_is_refused_at_the_call(eps, error):
    made = layer(eps=eps)
    with pytest.raises(error, match="eps"):
        made(data())


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.zeros((2, 3), np.float32), ValueError, "must have 4 dims, got 2"),
        (np.zeros((2, 4, 1, 1), np.float32), ValueError, "'num_features' is 3, but .* 4 channels"),
        (np.zeros((2, 3, 1, 1)), TypeError, "float16 or float32, but got float64"),
        (np.zeros((2, 3, 1, 1), np.int32), TypeError, "int32"),
    ],
)
def test_what_the_call_refuses(x, error, text):
    with pytest.raises(error, match=text):
        layer()(x)


def test_gradients_agree_with_torchs_layer():
    made, other = shaken(layer()).set_train(), bn.torch.BatchNorm2d(3)
    names = dict(zip(("running_mean", "running_var", "weight", "bias"), made.state, strict=True))
    other.load_state_dict({ours: made.state[name] for ours, name in names.items()})
    np.testing.assert_array_equal(made(data()), other(data()))
    np.testing.assert_array_equal(made.backward(data(1)), other.backward(data(1)))
    for ours, name in (("weight", "gamma"), ("bias", "beta")):
        np.testing.assert_array_equal(made.gradients[name], other.gradients[ours])


def filled(names, dtype=np.float32):
    return {name: np.full(3, number + 2, dtype) for number, name in enumerate(names)}


NESTED = ["bn1.moving_mean", "bn1.moving_variance", "bn1.gamma", "bn1.beta"]
INNER = ["moving_mean", "moving_variance", "gamma", "beta"]


@pytest.mark.parametrize(
    ("names", "missing", "unused", "loaded"),
    [
        (NESTED, [], NESTED, [2, 3, 4, 5]),
        (INNER, [], INNER[:2], [2, 3, 4, 5]),
        (["a.moving_mean", "b.gamma", "beta"], ["variance"], ["a.moving_mean", "b.gamma"],
         [2, 1, 3, 4]),
        (["meanmean", "b.gamma"], ["mean", "variance", "beta"], ["meanmean", "b.gamma"],
         [0, 1, 3, 0]),
        ([*NESTED, "bn2.gamma"], [], [*NESTED, "bn2.gamma"], [2, 3, 4, 5]),
        ([], ["mean", "variance", "gamma", "beta"], [], [0, 1, 1, 0]),
    ],
)  # fmt: skip
def test_names_are_found_by_their_ends(names, missing, unused, loaded):
    made = layer()
    assert load_param_into_net(made, filled(names)) == (missing, unused)
    assert [value[0] for value in made.state.values()] == loaded


def test_strictly_loaded_names_are_not_found_by_their_ends():
    made = layer()
    left = load_param_into_net(made, filled(INNER), strict_load=True)
    assert left == (["mean", "variance"], INNER[:2])
    assert [value[0] for value in made.state.values()] == [0, 1, 4, 5]


@pytest.mark.parametrize("name", ["mean", "q.mean"])
def test_a_dtype_that_cannot_become_the_parameters_is_refused(name):
    for dtype in (np.int32, np.bool_, np.complex64):
        made = layer()
        with pytest.raises(RuntimeError, match="has dtype float32 in 'net'"):
            load_param_into_net(made, {"gamma": np.zeros(3), **filled([name], dtype)})
        same(made.state, layer().state)
    for dtype in (np.float16, np.float64):
        assert load_param_into_net(layer(), filled([name], dtype))[0] != []
    with pytest.raises(RuntimeError, match="strict_load"):
        load_param_into_net(layer(), filled(["mean"], np.float64), strict_load=True)


def test_options_of_loading_are_checked():
    with pytest.raises(TypeError, match="'strict_load' must be a bool"):
        load_param_into_net(layer(), {}, 1)
    with pytest.raises(ValueError, match="'remove_redundancy' must be a bool"):
        load_param_into_net(layer(), {}, remove_redundancy=1)
    with pytest.raises(TypeError, match="distributed"):
        load_param_into_net(layer(), {}, remove_redundancy=True)
    assert load_param_into_net(layer(), filled(INNER), False, False)[0] == []


def test_trailing_axes_of_length_one_are_dropped_and_others_refused():
    made = layer()
    load_param_into_net(made, {"mean": np.full((3, 1, 1), 2, np.float32)})
    np.testing.assert_array_equal(made.moving_mean, 2)
    with pytest.raises(RuntimeError, match="has shape"):
        load_param_into_net(made, {"mean": np.full((1, 3), 2, np.float32)})


def test_what_is_changed_after_construction_without_effect():
    made = layer().set_train()
    printed = repr(made)
    made.affine, made.format = False, "NHWC"
    made.backward(made(data()))
    assert set(made.gradients) == {"gamma", "beta"}
    assert made.trainable_params() == ["gamma", "beta"]
    assert repr(made) == printed
    assert made.arguments()["affine"] is True
    assert made.arguments()["data_format"] == "NCHW"


def test_inner_parameters_can_be_left_out():
    deep = bn.mindspore.BatchNorm3d(3)
    assert deep.parameters_dict(False) == {}
    assert deep.trainable_params(False) == []
    assert list(layer().parameters_dict(False)) == ["mean", "variance", "gamma", "beta"]
    assert list(layer().parameters_dict(True)) == ["mean", "variance", "gamma", "beta"]


def test_momentum_may_be_a_scalar_array():
    made = layer(momentum=np.array(0.9)).set_train()
    plain = layer(momentum=0.9).set_train()
    np.testing.assert_array_equal(made(data()), plain(data()))
    same(made.state, plain.state)
    assert repr(made) == repr(plain)
    with pytest.raises(ValueError, match="momentum"):
        layer(momentum=np.array(1.5))
