"""Modules of dialect layers against the layers themselves, and as torch modules."""

import copy
import math
import pickle

import numpy as np
import pytest
from torch_here import torch

import batchnorm as bn
from batchnorm.hosts.torch import module

nn = torch.nn
SHAPES = {"first": (4, 3, 2, 5), "last": (4, 2, 5, 3), "flat": (6, 3)}


def keras(kind, shape, **settings):
    layer = kind.BatchNormalization(**settings)
    layer.build(SHAPES[shape])
    return layer, SHAPES[shape]


def other(layer, shape="first"):
    return layer, SHAPES[shape]


LAYERS = {
    "torch": lambda: other(bn.torch.BatchNorm2d(3)),
    "torch, no bias": lambda: other(bn.torch.BatchNorm2d(3, momentum=None, bias=False)),
    "torch, no buffers": lambda: other(bn.torch.BatchNorm2d(3, track_running_stats=False)),
    "torch, 1d": lambda: other(bn.torch.BatchNorm1d(3, affine=False), "flat"),
    "mindspore": lambda: other(bn.mindspore.BatchNorm2d(3)),
    "mindspore, 1d": lambda: other(bn.mindspore.BatchNorm1d(3, gamma_init=0.5), "flat"),
    "mindspore, not affine": lambda: other(bn.mindspore.BatchNorm2d(3, affine=False)),
    "mindspore, batch": lambda: other(bn.mindspore.BatchNorm2d(3, use_batch_statistics=True)),
    "mindspore, moving": lambda: other(bn.mindspore.BatchNorm2d(3, use_batch_statistics=False)),
    "mindspore, NHWC": lambda: other(bn.mindspore.BatchNorm2d(3, data_format="NHWC"), "last"),
    "mindspore 2.0": lambda: other(bn.mindspore_2_0.BatchNorm2d(3, momentum=0.7)),
    "tf_keras": lambda: keras(bn.tf_keras, "last"),
    "tf_keras, axis 1": lambda: keras(bn.tf_keras, "first", axis=1, momentum=0.5),
    "tf_keras, not fused": lambda: keras(bn.tf_keras, "last", fused=False, scale=False),
    "tf_keras, flat": lambda: keras(bn.tf_keras, "flat", center=False),
    "tf_keras, two axes": lambda: keras(bn.tf_keras, "last", axis=[1, 3]),
    "tf_keras, renorm": lambda: keras(
        bn.tf_keras, "last", renorm=True, renorm_clipping={"rmax": 1.5, "rmin": 0.5, "dmax": 2.0}
    ),
    "tf_keras, ghosts": lambda: keras(bn.tf_keras, "last", virtual_batch_size=2),
    "tf_keras, adjusted": lambda: keras(
        bn.tf_keras, "last", adjustment=lambda shape: (np.full(shape[-1:], 2.0), 0.5)
    ),
    "tf_keras, frozen": lambda: keras(bn.tf_keras, "last", trainable=False),
    "tf_keras, float64": lambda: keras(bn.tf_keras, "last", dtype="float64"),
    "tf_keras, mixed": lambda: keras(bn.tf_keras, "last", dtype="mixed_float16"),
    "tf_keras 2.6": lambda: keras(bn.tf_keras_2_6, "last", epsilon=1e-6),
    "keras": lambda: keras(bn.keras, "last"),
    "keras, axis 1": lambda: keras(bn.keras, "first", axis=1, momentum=0.5, epsilon=0.25),
    "keras, renorm": lambda: keras(bn.keras, "flat", renorm=True),
    "keras, bfloat16": lambda: keras(bn.keras, "last", dtype="mixed_bfloat16"),
    "keras, frozen": lambda: keras(bn.keras, "first", axis=1, trainable=False),
}


def filled(name, seed=0):
    """The layer with a state of its own, and the shape of its inputs."""
    layer, shape = LAYERS[name]()
    draw = np.random.default_rng(seed)
    state = {
        key: value if value.dtype.kind == "i" else draw.uniform(0.5, 1.5, value.shape)
        for key, value in layer.state.items()
    }
    layer.load_state(state)
    return layer, shape


def in_mode(layer, training):
    """The layer as a function, in a mode."""
    if layer.FRAMEWORK.endswith("keras"):
        return lambda x, **more: layer(x, training=training, **more)
    (layer.set_train if layer.FRAMEWORK == "mindspore" else layer.train)(training)
    return layer


def close(found, wanted, what):
    found = found.detach()
    narrow = found.dtype in (torch.float16, torch.bfloat16)
    eps = torch.finfo(found.dtype).eps if found.is_floating_point() else 0.0
    found = found.double().numpy()
    wanted = np.asarray(wanted).astype(np.float64)
    assert found.shape == wanted.shape, what
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    assert np.abs(found - wanted).max(initial=0.0) <= (2 if narrow else 8) * eps * scale, what


def agree(made, layer, names):
    entries = {name: entry.role for name, entry in layer.STATE.items()}
    for name, value in layer.state.items():
        own = made.names[entries[name]] if hasattr(made, "names") else name
        close(made.state_dict()[own], value, name)


@pytest.mark.parametrize("names", ["dialect", "torch"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_module_does_as_the_layer(name, names):
    layer, shape = filled(name)
    made = module(layer, names)
    draw = np.random.default_rng(1)
    for training in (True, True, False):
        run = in_mode(layer, training)
        made.train(training)
        x, dy = draw.normal(1, 2, (2, *shape)).astype(np.float32)
        if name == "tf_keras, float64":
            x, dy = x.astype(np.float64), dy.astype(np.float64)
        given = torch.from_numpy(x).requires_grad_()
        made.zero_grad()
        wanted, found = run(x), made(given)
        assert str(found.dtype).removeprefix("torch.") == wanted.dtype.name
        close(found, wanted, "y")
        found.backward(torch.from_numpy(dy).to(found.dtype))
        close(given.grad, layer.backward(dy.astype(wanted.dtype)), "dx")
        roles = {entry.role: key for key, entry in layer.STATE.items()}
        for role, own in getattr(made, "names", {"gamma": "weight", "beta": "bias"}).items():
            if role in ("gamma", "beta") and roles[role] in layer.gradients:
                parameter = getattr(made, own)
                if parameter.requires_grad:
                    close(parameter.grad, layer.gradients[roles[role]], role)
        agree(made, layer, names)


@pytest.mark.parametrize("name", LAYERS)
def test_a_module_is_saved_loaded_copied_and_pickled(name):
    layer, shape = filled(name)
    made = module(layer)
    fresh = module(LAYERS[name]()[0])
    fresh.load_state_dict(made.state_dict())
    copies = [fresh, copy.deepcopy(made)]
    if "adjusted" not in name:  # a lambda can't be pickled
        copies.append(pickle.loads(pickle.dumps(made)))
    x = torch.randn(shape)
    results = []
    for one in (made, *copies):
        one.train()
        y = one(x)
        results.append([y.detach(), *(v.clone() for v in one.state_dict().values())])
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("name", [n for n in LAYERS if not n.startswith("torch")])
def test_a_module_gives_its_layer_back(name):
    layer, shape = filled(name)
    made = module(layer)
    made.train()
    made(torch.randn(shape))
    back = made.to_layer()
    assert type(back) is type(layer)
    state = {layer.STATE[key].role: value for key, value in back.state.items()}
    for role, own in made.names.items():
        close(getattr(made, own), state[role], role)
    first = next(iter(layer.state))  # the given layer's own is as it was
    assert np.array_equal(layer.state[first], filled(name)[0].state[first])


@pytest.mark.parametrize("name", ["mindspore", "tf_keras, axis 1", "keras, axis 1"])
def test_with_torchs_names_torchs_own_class_loads_it(name):
    layer, shape = filled(name)
    made = module(layer, names="torch")
    real = nn.BatchNorm2d(3, eps=getattr(layer, "eps", None) or layer.epsilon).eval()
    real.load_state_dict(made.state_dict())
    x = torch.randn(shape)
    close(made.eval()(x), real(x).detach(), "y")


def test_names_are_the_dialects_or_torchs():
    layer = keras(bn.keras, "flat", renorm=True)[0]
    own = [*("gamma", "beta", "moving_mean", "moving_variance", "moving_stddev")]
    renorm = ["renorm_mean", "renorm_stddev"]
    assert list(module(layer).state_dict()) == [*own, *renorm]
    assert [*module(layer, "torch").state_dict()] == [
        *("weight", "bias", "running_mean", "running_var", "moving_stddev"),
        *renorm,
        "num_batches_tracked",
    ]
    made = module(bn.mindspore.BatchNorm2d(3, affine=False))
    assert [p.requires_grad for p in made.parameters()] == [False, False]
    assert made.training is False


MASKED = [
    (bn.keras, {}, np.bool_),
    (bn.keras, {}, np.float32),
    (bn.tf_keras, {"fused": False}, np.bool_),
    (bn.tf_keras, {"fused": False}, np.float32),
]


@pytest.mark.parametrize(("kind", "settings", "dtype"), MASKED)
@pytest.mark.parametrize("all_false", [True, False])
def test_a_mask_counts_as_in_keras(kind, settings, dtype, all_false):
    layer, shape = keras(kind, "last", **settings)
    made = module(layer)
    draw = np.random.default_rng(4)
    x = draw.normal(size=shape).astype(np.float32)
    mask = np.zeros(shape[:-1], dtype) if all_false else draw.integers(0, 2, shape[:-1]) * 0.5
    mask = np.asarray(mask).astype(dtype)
    for training in (True, False):
        wanted = layer(x, training=training, mask=mask)
        close(made.train(training)(torch.from_numpy(x), torch.from_numpy(mask)), wanted, "y")
        agree(made, layer, "dialect")


def test_a_mask_leaves_samples_out_where_the_dialect_has_none():
    made, other = (module(bn.mindspore.BatchNorm2d(3).set_train()) for _ in range(2))
    x, mask = torch.randn(4, 3, 2, 5), torch.tensor([True, True, False, True])
    y, wanted = made(x, mask)[mask], other(x[mask]).detach().numpy()
    close(y, wanted, "y")
    close(made.moving_variance, other.moving_variance.numpy(), "moving_variance")


@pytest.mark.parametrize("x", [torch.ones(2, 3, 2, 2).to(torch.float8_e5m2), np.ones((2, 3, 2, 2))])
def test_what_is_no_tensor_of_numbers_is_refused(x):
    with pytest.raises(TypeError, match=r"torch\.float32"):
        module(bn.mindspore.BatchNorm2d(3))(x)


def test_a_fused_keras_2_layer_says_that_it_ignores_a_mask():
    made = module(keras(bn.tf_keras, "last")[0])
    with pytest.warns(UserWarning, match="ignores the mask"):
        made(torch.ones(4, 2, 5, 3), torch.zeros(4, 2, 5))


@pytest.mark.parametrize("kind", [bn.keras, bn.tf_keras])
def test_freezing_by_either_way_is_keras_freezing(kind):
    made = module(keras(kind, "first", axis=1)[0])
    x = torch.randn(4, 3, 2, 5) + 3
    moved = made.moving_mean.clone()
    made.requires_grad_(False)  # torch's way
    assert made.trainable is False
    close(made(x), made.eval()(x), "frozen")
    assert torch.equal(made.moving_mean, moved)
    made.train().trainable = True
    assert all(p.requires_grad for p in made.parameters())
    made(x)
    assert not torch.equal(made.moving_mean, moved)


def test_settings_changed_later_count():
    layer, shape = keras(bn.keras, "first", axis=1)
    made = module(layer)
    made.layer.momentum = layer.momentum = 0.25
    made.layer.epsilon = layer.epsilon = 0.5
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    close(made(torch.from_numpy(x)), layer(x, training=True), "y")
    agree(made, layer, "dialect")


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(
    "name", ["mindspore", "mindspore 2.0", "tf_keras, axis 1", "keras, axis 1"]
)
def test_one_value_per_channel_or_none_is_taken_as_in_the_dialect(name, size):
    layer, _ = filled(name)
    made = module(layer).train()
    x = np.ones((size, 3, 1, 1), np.float32)
    if size == 0 and name == "mindspore 2.0":
        pytest.skip("MindSpore 2.0 has no empty tensors")
    in_mode(layer, True)(x)
    made(torch.from_numpy(x))
    for key, value in layer.state.items():
        assert np.array_equal(np.isnan(value), made.state_dict()[key].isnan().numpy())
        close(made.state_dict()[key].nan_to_num(), np.nan_to_num(value), key)


def test_channels_last_stays_and_other_devices_compute():
    for layer in (bn.torch.BatchNorm2d(3), keras(bn.keras, "first", axis=1)[0]):
        made = module(layer)
        x = torch.randn(4, 3, 2, 5).to(memory_format=torch.channels_last)
        assert made(x).is_contiguous(memory_format=torch.channels_last)
        far = made.to("meta")(x.to("meta"))
        assert far.device.type == "meta"
        assert far.shape == x.shape


WRONG = [
    ("mindspore", torch.ones(2, 3), ValueError, "4 dims"),
    ("mindspore", torch.ones(2, 4, 2, 2), ValueError, "4 channels"),
    ("mindspore", torch.ones(2, 3, 2, 2, dtype=torch.float64), TypeError, "float64"),
    ("tf_keras", torch.ones(2, 3), ValueError, "ndim=4"),
    ("keras", torch.ones(2, 2, 2, 4), ValueError, "length 3"),
    ("tf_keras, ghosts", torch.ones(3, 2, 5, 3), ValueError, "doesn't divide"),
]


@pytest.mark.parametrize(("name", "x", "error", "text"), WRONG)
def test_wrong_inputs_are_refused(name, x, error, text):
    made = module(LAYERS[name]()[0]).train()
    with pytest.raises(error, match=text) as found:
        made(x)
    assert isinstance(found.value, bn.BatchNormError)


def test_what_is_no_layer_or_has_no_state_is_refused():
    with pytest.raises(TypeError, match=r"batchnorm\.read"):
        module(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="build it first"):
        module(bn.keras.BatchNormalization())
    with pytest.raises(ValueError, match="'dialect' or 'torch'"):
        module(bn.torch.BatchNorm2d(3), "keras")


def test_counts_are_of_batches_that_moved_something():
    made = module(keras(bn.keras, "first", axis=1)[0], names="torch")
    x = torch.randn(4, 3, 2, 5)
    made(x), made.eval()(x)
    assert int(made.num_batches_tracked) == 1
    assert math.isclose(float(made.running_mean[0]), 0.01 * float(x[:, 0].mean()), rel_tol=1e-5)
