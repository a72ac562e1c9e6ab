"""Goes on, by our layers in a host, with nets that training_elsewhere.py has trained.

    python going_on.py HOST FOLDER FRAMEWORK...

HOST is keras or jax; the net of each framework is in FOLDER/FRAMEWORK/found.npz, its batches beside
it, and where it ends is written to HOST.npz there. Run by test_continuation.py.
"""

import sys
from pathlib import Path

import numpy as np
from training_elsewhere import FIRST, RATE, STATE

import batchnorm as bn

ROLES = dict(zip(("gamma", "beta", "running_mean", "running_var"), STATE, strict=True))


def dialect_layers(framework, weights):
    """The net's two batch norms, and whether the channels of the first come first."""
    dialect = getattr(bn, framework)
    if "keras" in framework:
        layers = [dialect.BatchNormalization(epsilon=1e-3, momentum=0.9) for _ in range(2)]
        layers[0].build((None, 4, 4, 5)), layers[1].build((None, 5))
    else:
        settings = {"eps": 1e-3, "momentum": 0.9 if framework == "mindspore" else 0.1}
        layers = [dialect.BatchNorm2d(5, **settings), dialect.BatchNorm1d(5, **settings)]
    for name, layer in zip(("bn1", "bn2"), layers, strict=True):
        state = layer.state
        for entry in state:
            if (key := ROLES.get(layer.STATE[entry].role)) is not None:
                state[entry] = weights[f"{name}.{key}"]
        layer.load_state(state)
    return layers, "keras" not in framework


def by_key(layer, found):
    """Values under the names that training_elsewhere.py has for them."""
    roles = {layer.STATE[name].role: value for name, value in found.items()}
    return {key: np.asarray(roles[role]) for role, key in ROLES.items()}


def in_keras(framework, weights, batches, targets):
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    layers, first = dialect_layers(framework, weights)
    hosts = [bn.hosts.keras.layer(layer) for layer in layers]
    image, inside = keras.Input((6, 6, 3)), (1, 2)
    x = keras.layers.Conv2D(5, 3, use_bias=False)(image)
    if first:
        x, inside = keras.layers.Permute((3, 1, 2))(x), (2, 3)
    x = keras.ops.mean(keras.layers.ReLU()(hosts[0](x)), axis=inside)
    net = keras.Model(image, keras.layers.Dense(2, use_bias=False)(hosts[1](x)))
    conv, dense = (net.get_layer(index=i) for i in (1, -1))
    conv.set_weights([weights["conv"].transpose(2, 3, 1, 0)])
    dense.set_weights([weights["dense"].T])
    net.compile(keras.optimizers.SGD(RATE), "mse")
    for x, target in zip(batches, targets, strict=True):
        net.train_on_batch(x.transpose(0, 2, 3, 1), target)
    return [
        by_key(layer, {name: getattr(host, name) for name in layer.state})
        for layer, host in zip(layers, hosts, strict=True)
    ]


def in_jax(framework, weights, batches, targets):
    import jax
    import jax.numpy as jnp

    layers, first = dialect_layers(framework, weights)
    own = [bn.hosts.jax.init(layer) for layer in layers]
    params = {"conv": weights["conv"], "dense": weights["dense"], "norms": [o[0] for o in own]}
    states = [o[1] for o in own]
    dimensions, inside = ("NCHW", "OIHW", "NCHW" if first else "NHWC"), (2, 3) if first else (1, 2)

    def loss(params, states, x, target):
        x = jax.lax.conv_general_dilated(
            x, params["conv"], (1, 1), "VALID", dimension_numbers=dimensions
        )
        x, one = bn.hosts.jax.apply(layers[0], params["norms"][0], states[0], x, training=True)
        x = jax.nn.relu(x).mean(axis=inside)
        x, two = bn.hosts.jax.apply(layers[1], params["norms"][1], states[1], x, training=True)
        return jnp.mean((x @ params["dense"].T - target) ** 2), [one, two]

    @jax.jit
    def step(params, states, x, target):
        slopes, states = jax.grad(loss, has_aux=True)(params, states, x, target)
        return jax.tree.map(lambda p, g: p - RATE * g, params, slopes), states

    for x, target in zip(batches, targets, strict=True):
        params, states = step(params, states, x, target)
    return [
        by_key(layer, {**trained, **state})
        for layer, trained, state in zip(layers, params["norms"], states, strict=True)
    ]


def main(host, folder, *frameworks):
    for framework in frameworks:
        place = Path(folder) / framework
        given, found = np.load(place / "given.npz"), np.load(place / "found.npz")
        weights = {k.partition("/")[2]: v for k, v in found.items() if k.startswith("middle/")}
        rest = (given["batches"][FIRST:], given["targets"][FIRST:])
        ends = {"keras": in_keras, "jax": in_jax}[host](framework, weights, *rest)
        flat = {f"bn{i}.{key}": v for i, end in enumerate(ends, 1) for key, v in end.items()}
        np.savez(place / f"{host}.npz", **flat)


if __name__ == "__main__":
    main(*sys.argv[1:])
