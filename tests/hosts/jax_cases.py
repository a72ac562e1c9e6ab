"""Run by test_jax in a process of its own. The oracle is the dialect's NumPy layer in float64."""

import doctest
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

import batchnorm as bn
from batchnorm.hosts import jax as host
from batchnorm.hosts.jax import layer as host_layer

jax.config.update("jax_enable_x64", True)
ULP = float(np.finfo(np.float32).eps)
RENORM = {"renorm": True, "renorm_clipping": {"rmax": 1.1, "rmin": 0.5, "dmax": 0.1}}


def adjustment(shape):
    return np.linspace(0.5, 2, shape[-1]), np.arange(shape[0], dtype=float).reshape(-1, 1, 1)


LAYERS = {
    "torch": (lambda: bn.torch.BatchNorm2d(3, momentum=0.3), (8, 3, 5, 5)),
    "cumulative": (lambda: bn.torch.BatchNorm1d(3, momentum=None, bias=False), (8, 3)),
    "no buffers": (lambda: bn.torch.BatchNorm3d(3, 0.1, 0.1, False, False), (4, 3, 2, 2, 2)),
    "torch float64": (lambda: bn.torch.BatchNorm1d(3, dtype="float64"), (8, 3)),
    "mindspore": (lambda: bn.mindspore.BatchNorm2d(3), (8, 3, 5, 5)),
    "untrained": (lambda: bn.mindspore.BatchNorm2d(3, affine=False, gamma_init=2), (8, 3, 5, 5)),
    "forced": (lambda: bn.mindspore.BatchNorm1d(3, use_batch_statistics=True), (8, 3)),
    "mindspore 2.0": (lambda: bn.mindspore_2_0.BatchNorm2d(3), (8, 3, 5, 5)),
    "fused": (lambda: bn.tf_keras.BatchNormalization(momentum=0.5), (8, 5, 5, 3)),
    "one value": (lambda: bn.tf_keras.BatchNormalization(momentum=0.5), (1, 1, 1, 3)),
    "two axes": (lambda: bn.tf_keras.BatchNormalization(axis=[1, 3]), (8, 2, 5, 3)),
    "ghosts": (lambda: bn.tf_keras.BatchNormalization(virtual_batch_size=2), (8, 5, 3)),
    "one ghost": (lambda: bn.tf_keras.BatchNormalization(virtual_batch_size=4), (4, 5, 3)),
    "tf_keras renorm": (lambda: bn.tf_keras.BatchNormalization(**RENORM), (8, 5, 3)),
    "adjusted": (lambda: bn.tf_keras.BatchNormalization(adjustment=adjustment), (8, 5, 3)),
    "2.6 epsilon": (lambda: bn.tf_keras_2_6.BatchNormalization(epsilon=1e-7), (8, 2, 2, 3)),
    "keras": (lambda: bn.keras.BatchNormalization(axis=1, scale=False), (8, 3, 5)),
    "keras renorm": (lambda: bn.keras.BatchNormalization(**RENORM), (8, 5, 3)),
    "frozen": (lambda: bn.keras.BatchNormalization(trainable=False), (8, 5, 3)),
    "half": (lambda: bn.keras.BatchNormalization(dtype="mixed_float16"), (8, 5, 3)),
}


def call(layer, x, training, **named):
    if "keras" in layer.FRAMEWORK:
        return layer(x, training=training, **named)
    layer.training = training
    return layer(x)


def draw(random, shape, layer, offset=1.0):
    doubles = any(value.dtype == np.float64 for value in layer.state.values())
    x = random.normal(size=shape) * 2 + offset
    return x.astype(np.float64 if doubles else np.float32)


def close(ours, oracle, digits, what=""):
    oracle = np.asarray(oracle, np.float64)
    scale = np.abs(oracle).max(initial=1e-3)
    apart = np.abs(np.asarray(ours, np.float64) - oracle).max(initial=0)
    assert apart <= digits * scale, f"{what}: {apart} apart at scale {scale}"


def made(name):
    make, shape = LAYERS[name]
    layer = make()
    if hasattr(layer, "build"):
        layer.build(shape)
    random = np.random.default_rng(0)
    for role in ("gamma", "beta"):
        if (own := layer._name_of(role)) is not None:
            getattr(layer, own)[...] = random.normal(size=getattr(layer, own).shape)
    return layer, shape, random


@pytest.mark.parametrize("name", LAYERS)
def test_steps_follow_the_numpy_layer_forward_backward_and_state(name):
    layer, shape, random = made(name)
    params, state = host.init(layer)

    @functools.partial(jax.jit, static_argnames="training")
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def step(params, x, state, dy, training):
        y, new = host.apply(layer, params, state, x, training=training)
        return (y * dy).sum(), (y, new)

    for training in (True, True, False):
        x = draw(random, shape, layer)
        digits = 2e-3 if name == "half" else (1e-12 if x.dtype == np.float64 else 16 * ULP)
        y = call(layer, x, training)
        dy = random.normal(size=shape).astype(y.dtype)
        dx = layer.backward(dy)
        arguments = (params, jnp.asarray(x), state, jnp.asarray(dy))
        (_, (ours, state)), (dparams, ours_dx) = step(*arguments, training=training)
        assert ours.dtype == y.dtype
        close(ours, y, digits, "y")
        close(ours_dx, dx, 4 * digits if name != "one value" else 1, "dx")
        assert set(dparams) == set(layer.gradients)
        for key, value in layer.gradients.items():
            close(dparams[key], value, 4 * digits, key)
        for key, value in layer.state.items():
            now = {**params, **state}[key]
            close(now, value, digits, key)
            assert now.dtype == value.dtype


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_large_mean_costs_no_digits(mean, compiled):
    layer = bn.torch.BatchNorm2d(3)
    params, state = host.init(layer)
    x = (np.random.default_rng(1).normal(size=(16, 3, 16, 16)) + mean).astype(np.float32)
    apply = functools.partial(host.apply, layer, training=True)
    y, new = (jax.jit(apply) if compiled else apply)(params, state, x)
    close(y, layer(x), 4 * ULP)
    close(new["running_var"], layer.running_var, 2 * ULP)
    apart = np.abs(np.asarray(new["running_mean"], np.float64) - layer.running_mean)
    assert apart.max() <= ULP * 0.1 * max(mean, 1 / 8)  # of 0.1 * mean, at standard deviation 1


def test_a_constant_channel_gives_beta_exactly():
    layer = bn.torch.BatchNorm2d(2)
    params, state = host.init(layer)
    params["bias"] = jnp.asarray([0.0, 0.3], jnp.float32)
    x = np.broadcast_to(np.float32([[[7.1]], [[1e4]]]), (4, 2, 5, 5))
    y, _ = jax.jit(functools.partial(host.apply, layer, training=True))(params, state, x)
    assert (np.asarray(y)[:, 0] == 0).all()
    assert (np.asarray(y)[:, 1] == np.float32(0.3)).all()


def test_sums_of_many_values_do_not_stop_growing():
    layer = bn.keras.BatchNormalization(momentum=0.0)
    params, state = host.init(layer, (2, 1))
    x = np.random.default_rng(2).normal(size=(2**24 + 2**23, 1)).astype(np.float32)
    _, new = jax.jit(functools.partial(host.apply, layer, training=True))(params, state, x)
    close(new["moving_variance"], x.var(dtype=np.float64), 4 * ULP)


def test_nan_and_inf_stay_in_their_channel():
    layer = bn.torch.BatchNorm1d(3)
    params, state = host.init(layer)
    x = np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32)
    x[0, 0], x[1, 1] = np.nan, np.inf
    y, new = host.apply(layer, params, state, x, training=True)
    expected = layer(x)
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    for key in ("running_mean", "running_var"):
        assert np.array_equal(np.isfinite(new[key]), np.isfinite(layer.state[key]))


@pytest.mark.parametrize("name", ["torch float64", "keras"])
@pytest.mark.parametrize("training", [True, False])
def test_second_derivatives_are_those_of_the_formula(name, training):
    layer, shape, random = made(name)
    params, state = host.init(layer)
    x = jnp.asarray(random.normal(size=shape), jnp.float64 if "64" in name else jnp.float32)

    @jax.jit
    def loss(x, params):
        y, _ = host.apply(layer, params, state, x, training=training)
        return (jnp.tanh(y) ** 2).sum()

    if "64" in name:
        check_grads(loss, (x, params), order=2, modes=["rev"])
    else:
        assert np.isfinite(jax.jit(jax.hessian(loss))(x[:4], params)).all()


def mapped(kind):
    """How four devices are given an axis called "batch"."""
    if kind == "vmap":
        return lambda f: jax.jit(jax.vmap(f, axis_name="batch", in_axes=(None, None, 0, 0)))
    if kind == "pmap":
        return lambda f: jax.pmap(f, axis_name="batch", in_axes=(None, None, 0, 0))

    def shard(f):
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        one, many = PartitionSpec(), PartitionSpec("batch")

        def local(params, state, x, dy):
            y, new, dx = f(params, state, x[0], dy[0])
            return y[None], new, dx[None]

        specs = {"in_specs": (one, one, many, many), "out_specs": (many, one, many)}
        return jax.jit(jax.shard_map(local, mesh=mesh, **specs))

    return shard


@pytest.mark.parametrize("kind", ["vmap", "pmap", "shard_map"])
@pytest.mark.parametrize("name", ["torch", "cumulative", "fused", "one value", "keras renorm"])
def test_replicas_compute_as_one_on_the_joined_batch(kind, name):
    layer, (_, *rest), random = made(name)
    params, state = host.init(layer)
    each = 1 if name in ("one value", "cumulative") else 3
    x = (random.normal(size=(4 * each, *rest)) * 2 + 1e3).astype(np.float32)
    dy = random.normal(size=x.shape).astype(np.float32)

    def step(params, state, x, dy):
        def run(x):
            return host.apply(layer, params, state, x, training=True, axis_name="batch")

        y, pullback, new = jax.vjp(run, x, has_aux=True)
        return y, new, pullback(dy)[0]

    parts = (v.reshape(4, each, *rest) for v in (x, dy))
    y, new, dx = mapped(kind)(step)(params, state, *parts)
    expected = call(layer, x, True)
    close(y.reshape(x.shape), expected, 16 * ULP, "y")
    close(dx.reshape(x.shape), layer.backward(dy), 64 * ULP, "dx")
    for key, value in new.items():
        values = np.asarray(value) if kind == "shard_map" else np.asarray(value)[0]
        close(values, layer.state[key], 4 * ULP, key)
        if kind != "shard_map":  # equal everywhere
            assert (np.asarray(value) == np.asarray(value)[:1]).all()


def test_unequal_counts_and_an_empty_replica_are_merged_exactly():
    random = np.random.default_rng(4)
    counts = [5, 0, 2, 3]
    x = (random.normal(size=(4, 5, 3, 2, 2)) + 1e4).astype(np.float32)
    dy = random.normal(size=x.shape).astype(np.float32)
    mask = np.arange(5) < np.array(counts)[:, None]
    layer = bn.torch.BatchNorm2d(3)
    params, state = host.init(layer)

    def step(x, mask, dy):
        def run(x):
            return host.apply(layer, params, state, x, training=True, mask=mask, axis_name="batch")

        y, pullback, new = jax.vjp(run, x, has_aux=True)
        return y, new, pullback(dy)[0]

    dy[~mask] = 0
    y, new, dx = jax.vmap(step, axis_name="batch")(x, mask, dy)
    close(y[mask], layer(x[mask]), 16 * ULP, "y")
    close(dx[mask], layer.backward(dy[mask]), 64 * ULP, "dx")
    close(new["running_mean"][0], layer.running_mean, 2 * ULP, "mean")
    close(new["running_var"][0], layer.running_var, 4 * ULP, "var")


@pytest.mark.parametrize("make", [bn.keras.BatchNormalization, bn.tf_keras.BatchNormalization])
@pytest.mark.parametrize("empty", [False, True])
def test_keras_masks_count_as_the_dialect_has_them(make, empty):
    layer = make()
    random = np.random.default_rng(5)
    x = random.normal(size=(6, 4, 3)).astype(np.float32)
    mask = np.zeros((6, 4)) if empty else random.choice([0.0, 0.5, 1.0], size=(6, 4))
    params, state = host.init(layer, x.shape)
    expected = layer(x, training=True, mask=mask)
    run = jax.jit(functools.partial(host.apply, layer, training=True))
    y, new = run(params, state, x, mask=mask)
    close(y, expected, 16 * ULP, "y")
    for key, value in new.items():
        close(value, layer.state[key], 4 * ULP, key)
    g = random.normal(size=x.shape).astype(np.float32)
    dx = jax.grad(lambda x: (run(params, state, x, mask=mask)[0] * g).sum())(jnp.asarray(x))
    close(dx, layer.backward(g), 64 * ULP, "dx")


def test_an_empty_batch_is_what_the_dialect_says():
    layer = bn.torch.BatchNorm2d(3)
    params, state = host.init(layer)
    x = np.empty((0, 3, 2, 2), np.float32)
    y, new = host.apply(layer, params, state, x, training=True)
    assert y.shape == x.shape
    assert int(new["num_batches_tracked"]) == 1
    assert (new["running_var"] == 1).all()
    keras = bn.keras.BatchNormalization()
    params, state = host.init(keras, (2, 3))
    _, new = host.apply(keras, params, state, x[:, :, 0, 0], training=True)
    assert np.isnan(new["moving_mean"]).all()


def test_errors_are_the_dialects_own_or_say_what_to_do():
    layer = bn.torch.BatchNorm2d(3)
    params, state = host.init(layer)
    x = np.zeros((1, 3, 1, 1), np.float32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        host.apply(layer, params, state, x, training=True)
    with pytest.raises(ValueError, match="expected 4D input"):
        host.apply(layer, params, state, x[0], training=True)
    with pytest.raises(NotImplementedError):
        host.apply(layer, params, state, np.zeros((2, 3, 4, 4), np.int32))
    with pytest.raises(ValueError, match=r"params must have the names \['weight', 'bias'\]"):
        host.apply(layer, {}, state, x)
    with pytest.raises(ValueError, match="input_shape"):
        host.init(bn.keras.BatchNormalization())
    with pytest.raises(TypeError, match="a layer of batchnorm"):
        host.init(object())
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(TypeError, match="jax_enable_x64"):
            host.init(bn.torch.BatchNorm1d(3, dtype="float64"))
    finally:
        jax.config.update("jax_enable_x64", True)


def test_the_layer_is_not_changed():
    layer = bn.torch.BatchNorm1d(3)
    params, state = host.init(layer)
    before = layer.state
    host.apply(layer, params, state, np.random.default_rng(6).normal(size=(4, 3)).astype("f4"))
    assert all(np.array_equal(layer.state[key], value) for key, value in before.items())


def test_examples_run():
    result = doctest.testmod(host_layer)
    assert result.attempted > 0
    assert result.failed == 0
