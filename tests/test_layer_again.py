"""A layer's next call on an array of the same kind: short, and with the result of the long way."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest

import batchnorm as bn
from batchnorm import core

SHAPE = (4, 3, 2, 5)
MAKE = {
    "torch": lambda: bn.torch.BatchNorm2d(3),
    "torch cumulative": lambda: bn.torch.BatchNorm2d(3, momentum=None),
    "torch without state": lambda: bn.torch.BatchNorm2d(3, track_running_stats=False),
    "torch without affine": lambda: bn.torch.BatchNorm2d(3, affine=False),
    "mindspore": lambda: bn.mindspore.BatchNorm2d(3),
    "keras": lambda: bn.keras.BatchNormalization(axis=1),
    "keras renorm": lambda: bn.keras.BatchNormalization(axis=1, renorm=True),
    "keras regularized": lambda: bn.keras.BatchNormalization(axis=1, activity_regularizer="l2"),
    "tf_keras": lambda: bn.tf_keras.BatchNormalization(axis=1),
    "tf_keras ghosts": lambda: bn.tf_keras.BatchNormalization(axis=1, virtual_batch_size=2),
    "tf_keras unfused": lambda: bn.tf_keras.BatchNormalization(axis=1, fused=False),
}
SHORT = {name for name in MAKE if name not in ("torch cumulative", "keras renorm")}
SHORT -= {"tf_keras ghosts"}


def data(seed=0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal(SHAPE) * 2 + 1).astype(dtype)


def call(layer, x, training):
    if isinstance(layer, bn.torch.BatchNorm2d | bn.mindspore.BatchNorm2d):
        return layer(x)
    return layer(x, training=training)


def trained(name, training):
    layer = MAKE[name]()
    if hasattr(layer, "train"):
        layer.train(training)
    elif hasattr(layer, "set_train"):
        layer.set_train(training)
    for seed in range(3):
        call(layer, data(seed), training)
    return layer


def outcome(layer, x, training):
    """Everything that a call and its backward leave, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = call(layer, x, training)
            dx = layer.backward(np.ones_like(y) + y)
            losses = repr(getattr(layer, "losses", None))  # nan is nan
        except (bn.BatchNormError, AttributeError, TypeError, ValueError) as error:
            return type(error), str(error)
    state = {key: (value.dtype, value.tobytes()) for key, value in layer.state.items()}
    gradients = {key: value.tobytes() for key, value in layer.gradients.items()}
    return y.dtype, y.strides, y.tobytes(), dx.tobytes(), state, gradients, losses


def without_memory(layer):
    """A copy that must look at everything anew."""
    other = copy.deepcopy(layer)
    other._latest = None
    return other


def remembers(layer):
    return layer._latest is not None and layer._latest.like is not None


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MAKE)
def test_a_repeated_call_is_the_first_one_again(name, training):
    layer = trained(name, training)
    assert remembers(layer) == (name in SHORT)
    if remembers(layer):
        assert layer._again(data(9), layer._latest.how) is not None
    layer = trained(name, training)
    other = without_memory(layer)
    for seed in range(5, 8):
        assert outcome(layer, data(seed), training) == outcome(other, data(seed), training)
        other._latest = None


def others(value):
    """What a user might set an attribute to."""
    if isinstance(value, np.ndarray):
        return [value * 2, value.astype(np.float64), value.ravel()[:-1], None, value.tolist()]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value * 2, value / 2, float("nan"), None, str(value)]
    return [None, 1, "no such thing"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", sorted(SHORT))
def test_whatever_attribute_changes_counts_at_the_next_call(name, training):
    layer = trained(name, training)
    public = [key for key in vars(layer) if not key.startswith("_") and key != "gradients"]
    assert len(public) > 5
    for key in public:
        for value in others(getattr(layer, key)):
            changed, plain = copy.deepcopy(layer), without_memory(layer)
            assert remembers(changed)
            outcomes = []
            for one in (changed, plain):
                try:
                    setattr(one, key, copy.deepcopy(value))
                except (bn.BatchNormError, AttributeError) as error:
                    outcomes.append(type(error))
                    continue
                for seed in (9, 8, 7):  # the second and third are short again, if they may be
                    outcomes.append(outcome(one, data(seed), training))
                    plain._latest = None
            half = len(outcomes) // 2
            assert outcomes[:half] == outcomes[half:], (key, value)
        deleted, plain = copy.deepcopy(layer), without_memory(layer)
        for one in (deleted, plain):
            delattr(one, key)
        assert outcome(deleted, data(9), training) == outcome(plain, data(9), training), key


@pytest.mark.parametrize("name", sorted(SHORT))
def test_values_changed_in_place_count(name):
    for key in trained(name, training=True).state:
        layer = trained(name, training=True)
        getattr(layer, key)[...] += 2
        other = without_memory(layer)
        assert outcome(layer, data(3), True) == outcome(other, data(3), True)


STRANGE = {
    "another type": lambda x: x.astype(np.float64),
    "16 bits": lambda x: x.astype(np.float16),
    "another shape": lambda x: x[:2].copy(),
    "other strides": lambda x: x[::-1],
    "Fortran order": np.asfortranarray,
    "channels last in memory": lambda x: np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1),
    "another byte order": lambda x: x.astype(">f4"),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "a subclass": lambda x: x.view(np.recarray),
    "integers": lambda x: x.astype(int),
    "another rank": lambda x: x.reshape(4, 3, 10),
    "another number of channels": lambda x: x.reshape(4, 6, 5, 1),
    "empty": lambda x: x[:0],
    "a list": lambda x: x.tolist(),
    "none": lambda x: None,
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", sorted(SHORT))
def test_another_kind_of_array_is_looked_at_anew(name, strange):
    for training in (False, True):
        layer = trained(name, training)
        other = without_memory(layer)
        x = STRANGE[strange](data(9))
        assert outcome(layer, x, training) == outcome(other, x, training)
        assert outcome(layer, data(4), training) == outcome(other, data(4), training)


def test_the_argument_training_decides_at_every_call():
    for make in (bn.keras.BatchNormalization, bn.tf_keras.BatchNormalization):
        layer = make(axis=1)
        other = make(axis=1)
        for training in (True, True, False, False, None, True, 1, 0, np.bool_(True), True):
            y = layer(data(1), training=training)
            other._latest = None
            assert y.tobytes() == other(data(1), training=training).tobytes()
        assert layer.state["moving_mean"].tobytes() == other.state["moving_mean"].tobytes()


def test_a_copied_or_pickled_layer_goes_its_own_way():
    layer = trained("torch", training=True)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        before = layer.state["running_mean"]
        other(data(7))
        np.testing.assert_array_equal(layer.state["running_mean"], before)
        assert (other.state["running_mean"] != before).all()


def test_a_counter_set_to_a_number_counts_on():
    layer = trained("torch", training=True)
    layer.num_batches_tracked = 5
    for seed in range(3):
        layer(data(seed))
    assert layer.num_batches_tracked == 8


@pytest.mark.parametrize("name", ["torch", "mindspore", "keras", "tf_keras"])
def test_what_is_set_while_a_call_runs_counts_at_the_next(name, monkeypatch):
    """Another thread's setting is not undone by a call that began before it."""
    layer, forward = trained(name, training=True), core.forward
    key = {"torch": "eps", "mindspore": "moving_mean"}.get(name, "epsilon")
    value = getattr(layer, key) + 1 if key == "moving_mean" else 0.5
    before = layer.state

    def slow(*args, **named):
        other = threading.Thread(target=setattr, args=(layer, key, value))
        other.start()
        other.join()
        return forward(*args, **named)

    layer._latest = None
    monkeypatch.setattr(core, "forward", slow)
    call(layer, data(1), False)
    monkeypatch.setattr(core, "forward", forward)
    layer.load_state({**before, key: value} if key in before else before)
    other = without_memory(layer)
    for seed in range(3):
        assert outcome(layer, data(seed), True) == outcome(other, data(seed), True)
        other._latest = None


def test_threads_share_a_layer_whose_settings_change():
    """Whatever thread set it last counts for all, and for good."""
    layer, x = bn.torch.BatchNorm2d(3).eval(), data()
    wrong, stop = [], threading.Event()

    def infer():
        while not stop.is_set():
            layer(x)

    workers = [threading.Thread(target=infer) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for step in range(300):
            layer.eps = 1e-3 * (step + 1)
            fresh = bn.torch.BatchNorm2d(3).eval()
            fresh.eps = layer.eps
            wrong.extend([step] * (layer(x).tobytes() != fresh(x).tobytes()))
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert wrong == []


def test_a_users_own_class_may_decide_by_anything():
    class Scheduled(bn.torch.BatchNorm2d):
        weight_of_batch = 0.5

        @property
        def momentum(self):
            return type(self).weight_of_batch

        @momentum.setter
        def momentum(self, value):
            pass

    layer = Scheduled(3)
    for seed in range(3):
        layer(data(seed))
    Scheduled.weight_of_batch = 1.0
    layer(data(5))
    np.testing.assert_allclose(layer.running_mean, data(5).mean((0, 2, 3)), rtol=1e-6)

    class Frozen(bn.keras.BatchNormalization):
        frozen = False

        @classmethod
        def mode(cls, training, trainable):
            return super().mode(training and not cls.frozen, trainable)

    layer = Frozen(axis=1)
    for seed in range(3):
        layer(data(seed), training=True)
    Frozen.frozen, before = True, layer.state["moving_mean"]
    layer(data(5), training=True)
    np.testing.assert_array_equal(layer.state["moving_mean"], before)


def test_a_setting_that_is_an_array_may_change_in_place():
    layer = bn.tf_keras.BatchNormalization(axis=1)
    layer(data(), training=True)
    layer.momentum = np.array(0.5)
    for seed in range(3):
        layer(data(seed), training=True)
    layer.momentum[...] = 0
    layer(data(5), training=True)
    np.testing.assert_allclose(layer.moving_mean, data(5).mean((0, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(SHORT))
@pytest.mark.parametrize("change", ["load_state", "in place", "memory"])
def test_state_written_without_setting_an_attribute_counts(name, change):
    for training in (True, False):
        layer = trained(name, training)
        state = {key: value + 1 for key, value in layer.state.items()}
        for value in layer.state.values():
            value += 100  # copies: nothing of the layer's
        if change == "load_state":
            layer.load_state(state)
        for key, value in state.items():
            if change == "in place":
                np.copyto(getattr(layer, key), value)
            elif change == "memory":
                memoryview(getattr(layer, key)).cast("B")[:] = value.tobytes()
        assert all((layer.state[key] == value).all() for key, value in state.items())
        assert remembers(layer)
        other = without_memory(layer)
        for seed in range(3):
            assert outcome(layer, data(seed), training) == outcome(other, data(seed), training)
            other._latest = None


@pytest.mark.parametrize("name", sorted(SHORT))
def test_arrays_shared_with_a_shallow_copy_stay_shared_and_settings_do_not(name):
    layer = trained(name, training=False)
    other = copy.copy(layer)
    fresh = without_memory(other)
    for one in (other, fresh):
        for key in one.state:
            setattr(one, key, getattr(one, key) * 2 + 1)
    assert outcome(other, data(4), False) == outcome(fresh, data(4), False)
    plain = without_memory(layer)
    assert outcome(layer, data(4), False) == outcome(plain, data(4), False)
    for key in layer.state:
        getattr(layer, key)[...] += 1  # the other's are its own by now
    assert outcome(other, data(5), False) == outcome(fresh, data(5), False)


@pytest.mark.parametrize("name", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_state_array_of_the_wrong_shape_is_an_error_not_a_read_beyond(name):
    key = "weight" if name == "torch" else "gamma"
    layer = trained(name, training=False)
    getattr(layer, key).resize((1,), refcheck=False)
    with pytest.raises(bn.BatchNormError):
        call(layer, data(), False)


def test_a_mask_is_looked_at_at_every_call():
    for make in (bn.keras.BatchNormalization, bn.tf_keras.BatchNormalization):
        layer, other = make(), make()
        x = data()[:, :, 0].copy()
        masks = [None, np.arange(12).reshape(4, 3) % 2 == 0, None, np.ones((4, 3), bool), None]
        for training in (True, False, True):
            for mask in masks:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    other._latest = None
                    results = [one(x, training=training, mask=mask) for one in (layer, other)]
                assert results[0].tobytes() == results[1].tobytes()
        assert layer.state["moving_variance"].tobytes() == other.state["moving_variance"].tobytes()
