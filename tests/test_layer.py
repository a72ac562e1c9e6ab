"""What every layer of every dialect does: laws of state, purity, inputs and backward."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchnorm as bn

SHAPE = (4, 3, 2, 5)
CHANNELS = 3


class Case:
    """One dialect's layer over axis 1, and how it is told to train."""

    def __init__(self, cls, arguments, train, infer):
        self.cls, self.arguments, self.train, self.infer = cls, arguments, train, infer

    def make(self, **more):
        layer = self.cls(**{**self.arguments, **more})
        if hasattr(layer, "build"):
            layer.build(SHAPE)
        return layer


def by_mode(name):
    return (
        lambda layer, x: getattr(layer, name)(True)(x),
        lambda layer, x: getattr(layer, name)(False)(x),
    )


BY_CALL = (
    lambda layer, x: layer(x, training=True),
    lambda layer, x: layer(x, training=False),
)
KERAS = {"axis": 1}
CASES = {
    "torch": Case(bn.torch.BatchNorm2d, {"num_features": 3}, *by_mode("train")),
    "mindspore": Case(bn.mindspore.BatchNorm2d, {"num_features": 3}, *by_mode("set_train")),
    "mindspore 2.0": Case(bn.mindspore_2_0.BatchNorm2d, {"num_features": 3}, *by_mode("set_train")),
    "tf_keras": Case(bn.tf_keras.BatchNormalization, KERAS, *BY_CALL),
    "tf_keras unfused": Case(bn.tf_keras.BatchNormalization, {**KERAS, "fused": False}, *BY_CALL),
    "tf_keras renorm": Case(bn.tf_keras.BatchNormalization, {**KERAS, "renorm": True}, *BY_CALL),
    "tf_keras ghosts": Case(
        bn.tf_keras.BatchNormalization, {**KERAS, "virtual_batch_size": 2}, *BY_CALL
    ),
    "tf_keras 2.6": Case(bn.tf_keras_2_6.BatchNormalization, KERAS, *BY_CALL),
    "keras": Case(bn.keras.BatchNormalization, KERAS, *BY_CALL),
    "keras renorm": Case(bn.keras.BatchNormalization, {**KERAS, "renorm": True}, *BY_CALL),
}
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def data(seed=0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal(SHAPE) * 2 + 1).astype(dtype)


def shaken(layer, seed=1):
    """The layer with a state unlike a new one's."""
    rng = np.random.default_rng(seed)
    layer.load_state(
        {
            name: np.array(5) if value.ndim == 0 else rng.uniform(0.5, 2, value.shape)
            for name, value in layer.state.items()
        }
    )
    return layer


def assert_equal_states(ours, other):
    assert list(ours) == list(other)
    for name in ours:
        np.testing.assert_array_equal(ours[name], other[name], err_msg=name)
        assert ours[name].dtype == other[name].dtype, name


def steps(case, layer):
    """All that can be seen of two training steps and an inference."""
    found = {}
    for step in range(2):
        found[f"y{step}"] = case.train(layer, data(step))
        found[f"dx{step}"] = layer.backward(data(step + 10))
        found.update({f"{name}{step}": value for name, value in layer.gradients.items()})
    found["inference"] = case.infer(layer, data(2))
    found["dx"] = layer.backward(data(3))
    return {**found, **layer.state}


def assert_behave_alike(case, one, other):
    first, second = steps(case, one), steps(case, other)
    assert_equal_states(first, second)


@EVERY
def test_forward_and_backward_leave_their_inputs_alone(case):
    layer, x, dy = shaken(case.make()), data(), data(1)
    x.flags.writeable = dy.flags.writeable = False
    before = x.copy(), dy.copy()
    for call in (case.train, case.infer):
        call(layer, x)
        layer.backward(dy)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, before[1])


@EVERY
def test_the_same_input_gives_the_same_bits(case):
    assert_behave_alike(case, shaken(case.make()), shaken(case.make()))


@EVERY
def test_inference_leaves_the_state_alone(case):
    layer = shaken(case.make())
    before = layer.state
    case.infer(layer, data())
    layer.backward(data(1))
    assert_equal_states(layer.state, before)


@EVERY
def test_training_moves_the_running_statistics_and_nothing_else(case):
    layer = shaken(case.make())
    before = layer.state
    case.train(layer, data())
    roles = {name: case.cls.STATE[name].role for name in before}
    for name, value in layer.state.items():
        moved = not np.array_equal(value, before[name])
        assert moved == (roles[name] not in ("gamma", "beta")), name


@EVERY
def test_state_is_a_copy_that_can_be_loaded(case):
    layer, other = shaken(case.make()), case.make()
    state = layer.state
    other.load_state(state)
    assert_behave_alike(case, layer, other)
    for value in state.values():
        value[...] = 77
    assert not any((value == 77).any() for value in layer.state.values())


@EVERY
@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.popitem(),
        lambda state: state.update(more=np.zeros(3)),
        lambda state: state.update({list(state)[-1]: np.zeros(7)}),
        lambda state: state.update({list(state)[-1]: "text"}),
        lambda state: state.update({list(state)[-1]: np.array(["1", "2", "3"])}),
        lambda state: state.update({list(state)[-1]: np.full(3, 1j)}),
    ],
    ids=["missing", "unknown", "another shape", "text", "texts", "complex"],
)
def test_a_bad_state_is_refused_whole(case, spoil):
    layer = shaken(case.make())
    before = layer.state
    state = case.make().state
    spoil(state)
    with pytest.raises(ValueError, match=r"expected|has shape|must be real"):
        layer.load_state(state)
    assert_equal_states(layer.state, before)


@EVERY
def test_a_layers_own_arrays_can_be_exchanged(case):
    layer = shaken(case.make())
    first, second = (name for name in layer.state if case.cls.STATE[name].role in ("gamma", "beta"))
    before = layer.state
    own = {name: getattr(layer, name) for name in before}
    layer.load_state({**own, first: own[second], second: own[first]})
    np.testing.assert_array_equal(layer.state[first], before[second])
    np.testing.assert_array_equal(layer.state[second], before[first])


@EVERY
@pytest.mark.parametrize("way", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_behaves_alike_and_shares_nothing(case, way):
    layer = shaken(case.make())
    case.train(layer, data(7))
    twin = way(layer)
    np.testing.assert_array_equal(twin.backward(data(8)), layer.backward(data(8)))
    before = twin.state
    case.train(layer, data(9))
    assert_equal_states(twin.state, before)
    layer.load_state(before)
    assert_behave_alike(case, layer, twin)


@EVERY
def test_the_arguments_rebuild_the_layer(case):
    layer = case.make()
    case.train(layer, data())
    twin = case.cls(**layer.arguments())
    assert set(layer.arguments()) == set(case.cls.PARAMETERS)
    if hasattr(twin, "build"):
        twin.build(SHAPE)
    twin.load_state(layer.state)
    assert_behave_alike(case, layer, twin)
    assert twin.arguments() == layer.arguments()


VIEWS = {
    "every second": lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
    "reversed": lambda x: x[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "transposed": lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, 3, 1, 2),
    "Fortran order": np.asfortranarray,
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "little-endian": lambda x: x.astype(x.dtype.newbyteorder("<")),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "by __array__": lambda x: ByArray(x),
    "by DLPack": lambda x: ByDLPack(x),
}


class ByArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class ByDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@EVERY
@pytest.mark.parametrize("view", VIEWS)
def test_memory_layout_and_origin_of_an_input_do_not_matter(case, view):
    layer, twin = shaken(case.make()), shaken(case.make())
    x, dy = data(), data(1)
    for call in (case.train, case.infer):
        expected = call(layer, x)
        y = call(twin, VIEWS[view](x))
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == expected.dtype
        assert y.dtype.isnative
        dx = twin.backward(VIEWS[view](dy))
        np.testing.assert_array_equal(dx, layer.backward(dy))
        assert dx.dtype.isnative
    assert_equal_states(twin.state, layer.state)


@EVERY
def test_zero_strides_are_values_like_others(case):
    layer, twin = case.make(), case.make()
    x = np.broadcast_to(data()[:, :, :1], SHAPE)
    np.testing.assert_array_equal(case.train(layer, x), case.train(twin, x.copy()))
    assert_equal_states(layer.state, twin.state)


@EVERY
@pytest.mark.parametrize(
    "bad", [None, [[1.0, 2.0]], 1.0, "text", object(), np.float32(1), np.zeros(()), np.zeros((2,))]
)
def test_what_is_no_input_is_refused_with_what_was_given(case, bad):
    layer = case.make()
    before = layer.state
    for call in (case.train, case.infer):
        with pytest.raises(bn.BatchNormError) as caught:
            call(layer, bad)
        assert len(str(caught.value)) > 20
    before.pop("num_batches_tracked", None)
    after = layer.state
    after.pop("num_batches_tracked", None)
    assert_equal_states(after, before)


@EVERY
def test_backward_needs_a_forward(case):
    with pytest.raises(RuntimeError, match="latest forward"):
        case.make().backward(data())


@EVERY
def test_backward_wants_the_outputs_shape_and_real_numbers(case):
    layer = case.make()
    case.train(layer, data())
    for bad in (data()[:2], data()[0], np.float32(1), data().ravel(), np.zeros((0, 3, 2, 5))):
        with pytest.raises(ValueError, match=r"output's shape \(4, 3, 2, 5\)"):
            layer.backward(bad)
    for bad in (data().tolist(), None, data().astype(np.complex64)):
        with pytest.raises(TypeError, match="dy must be"):
            layer.backward(bad)
    assert layer.gradients == {}


@EVERY
def test_backward_belongs_to_the_latest_forward_and_can_be_repeated(case):
    layer, twin = shaken(case.make()), shaken(case.make())
    case.infer(layer, data(5))
    for one in (layer, twin):
        case.train(one, data())
    first = layer.backward(data(1))
    gradients = {name: value.copy() for name, value in layer.gradients.items()}
    np.testing.assert_array_equal(first, twin.backward(data(1)))
    np.testing.assert_array_equal(first, layer.backward(data(1)))
    assert_equal_states(layer.gradients, gradients)


@EVERY
def test_gradients_have_the_parameters_names_shapes_and_dtypes(case):
    layer = shaken(case.make())
    case.train(layer, data())
    dx = layer.backward(data(1))
    state = layer.state
    assert dx.shape == SHAPE
    assert dx.dtype == np.float32
    assert [case.cls.STATE[name].role for name in layer.gradients] == ["gamma", "beta"]
    for name, gradient in layer.gradients.items():
        assert gradient.shape == state[name].shape
        assert gradient.dtype == state[name].dtype


@EVERY
def test_a_constant_channel_comes_out_as_exactly_beta(case):
    layer = shaken(case.make())
    beta = next(v for n, v in layer.state.items() if case.cls.STATE[n].role == "beta").ravel()
    x = data()
    x[:, 1] = 0.1
    y = case.train(layer, x)
    if "renorm" not in str(case.arguments):  # whose d moves it, on purpose
        np.testing.assert_array_equal(y[:, 1], beta[1])


@EVERY
@given(scale=st.integers(-10, 10), shift=st.sampled_from([0.0, 100.0, -1e4]))
def test_normalized_values_have_mean_beta_and_deviation_gamma(case, scale, shift):
    if "renorm" in str(case.arguments) or "virtual_batch_size" in case.arguments:
        return
    layer = case.make()
    x = (data() * 2.0**scale + np.float32(shift)).astype(np.float32)
    y = case.train(layer, x).astype(np.float64)
    var = x.astype(np.float64).var(axis=(0, 2, 3))
    epsilon = layer._saved.settings.epsilon
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), var / (var + epsilon), rtol=1e-5)
