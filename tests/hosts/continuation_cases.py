"""Run by test_keras: a net trained in Keras 2 goes on in Keras 3 and in JAX with Keras 2's rules.

The oracle is going on in Keras 2; what may differ is ten times what one ulp in its input causes.
"""

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import batchnorm as bn

STEPS, RATE = 50, 0.05
RANDOM = np.random.default_rng(0)
BATCHES = [
    (
        (RANDOM.normal(size=(8, 8, 8, 2)) * 2 + 3).astype(np.float32),
        RANDOM.normal(size=(8, 1)).astype(np.float32),
    )
    for _ in range(2 * STEPS)
]
STATISTICS = ("moving_mean", "moving_variance")


def net(framework, norm):
    layers = framework.layers
    model = framework.Sequential(
        [
            framework.layers.InputLayer((8, 8, 2)),
            layers.Conv2D(4, 3),
            norm,
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile(framework.optimizers.SGD(RATE), "mse")
    return model


def train(model, batches):
    for x, target in batches:
        model.train_on_batch(x, target)


@pytest.fixture(scope="module")
def trained():
    tf_keras.utils.set_random_seed(1)
    model = net(tf_keras, tf_keras.layers.BatchNormalization(momentum=0.9))
    train(model, BATCHES[:STEPS])
    return model, model.get_weights()


@pytest.fixture(scope="module")
def continued(trained):
    """Where Keras 2 ends, and how far one ulp in the input takes it from there."""
    model, weights = trained
    ends = []
    for factor in (np.float32(1), np.float32(1 + 2.0**-23)):
        model.set_weights(weights)
        train(model, [(x * factor, target) for x, target in BATCHES[STEPS:]])
        ends.append([getattr(model.layers[1], name).numpy() for name in STATISTICS])
    model.set_weights(weights)
    allowed = [10 * np.abs(a - b).max() for a, b in zip(*ends, strict=True)]
    return ends[0], allowed


def same(found, continued):
    for name, ours, theirs, allowed in zip(STATISTICS, found, *continued, strict=True):
        apart = np.abs(np.asarray(ours) - theirs).max()
        assert 0 < allowed < 1e-3 * np.abs(theirs).max(), "the measure itself"
        assert apart <= allowed, f"{name}: {apart} apart, {allowed} allowed"


def test_keras_3_goes_on_as_keras_2_would(trained, continued):
    source, weights = trained
    ours = bn.read(source.layers[1])
    other = net(keras, bn.hosts.keras.layer(ours))
    other.set_weights(weights)
    train(other, BATCHES[STEPS:])
    same([getattr(other.layers[1], name).numpy() for name in STATISTICS], continued)


def test_keras_3s_own_layer_would_not(trained, continued):
    """Its running variance is the biased one: the test above can fail."""
    _, weights = trained
    other = net(keras, keras.layers.BatchNormalization(momentum=0.9))
    other.set_weights(weights)
    train(other, BATCHES[STEPS:])
    with pytest.raises(AssertionError, match="moving_variance"):
        same([getattr(other.layers[1], name).numpy() for name in STATISTICS], continued)


def test_jax_goes_on_as_keras_2_would(trained, continued):
    source, weights = trained
    layer = bn.read(source.layers[1])
    norm, state = bn.hosts.jax.init(layer)
    params = {"conv": weights[:2], "norm": norm, "dense": weights[-2:]}

    def loss(params, state, x, target):
        kernel, bias = params["conv"]
        dimensions = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=dimensions)
        x, state = bn.hosts.jax.apply(layer, params["norm"], state, x + bias, training=True)
        x = jax.nn.relu(x).reshape(len(x), -1) @ params["dense"][0] + params["dense"][1]
        return jnp.mean((x - target) ** 2), state

    @jax.jit
    def step(params, state, x, target):
        gradient = functools.partial(jax.grad, has_aux=True)(loss)
        found, state = gradient(params, state, x, target)
        return jax.tree.map(lambda p, g: p - RATE * g, params, found), state

    for x, target in BATCHES[STEPS:]:
        params, state = step(params, state, x, target)
    same([state[name] for name in STATISTICS], continued)


def test_the_backend_is_the_one_that_is_meant():
    assert keras.backend.backend() == "tensorflow"
    assert tf.executing_eagerly()
