"""What the adapters share: arguments under another name, and a layer that is built when called."""

import ml_dtypes
import numpy as np

from batchnorm.conformance import NotOffered


def renamed(settings, names, framework):
    """Settings under the framework's names; what it has no name for isn't asked."""
    lacking = sorted(set(settings) - set(names))
    if lacking:
        raise NotOffered(f"{framework} has no {', '.join(lacking)}")
    return {names[name]: value for name, value in settings.items()}


def dtypes(policy):
    """What a Keras policy computes in, and what it keeps its variables in."""
    import jax.numpy as jnp

    name = policy if isinstance(policy, str) else np.dtype(policy or "float32").name
    kept = "float32" if name.startswith("mixed_") else name
    return jnp.dtype(name.removeprefix("mixed_")), jnp.dtype(kept)


def without_objects(settings):
    """Settings without what no compared number depends on, and the initial values apart.

    >>> without_objects({"momentum": 0.9, "beta_regularizer": "l2", "beta_initializer": "ones"})
    ({'momentum': 0.9}, {'beta': 1.0})
    """
    rest, initial = {}, {}
    for name, value in settings.items():
        role, _, kind = name.rpartition("_")
        if kind == "initializer":
            if not isinstance(value, dict | str):
                raise NotOffered(f"{name}={value!r} is no initializer of JAX's")
            initial[role] = value["config"]["value"] if isinstance(value, dict) else INITIAL[value]
        elif kind not in ("regularizer", "constraint"):
            rest[name] = value
    return rest, initial


INITIAL = {"zeros": 0.0, "ones": 1.0}


def array_of(values, dtype):
    """Values in a type that NumPy itself lacks."""
    return np.array(values).astype(getattr(ml_dtypes, dtype))


class KerasLike:
    """Layers that are called with the mode, built for a shape, and differentiated by a function.

    A subclass makes `layer.parameters` and `layer.statistics`, name -> array by Keras' names, in
    `make`, and gives y and new statistics from `call`, for JAX to differentiate.
    """

    class Layer:
        parameters = statistics = vjp = None

    def construct(self, class_name, **settings):
        layer = self.Layer()
        layer.settings, layer.initial = without_objects(settings)
        self.check(layer)
        return layer

    def build(self, layer, shape):
        if layer.parameters is None:
            self.make(layer, tuple(shape))
            if layer.initial:
                state = self.state(layer)
                changed = {n: np.full_like(state[n], v) for n, v in layer.initial.items()
                           if n in state}  # fmt: skip
                self.set_state(layer, {**state, **changed})

    def state(self, layer):
        if layer.parameters is None:
            return {}
        found = {**layer.parameters, **layer.statistics}
        return {name: np.asarray(value) for name, value in found.items()}

    def set_state(self, layer, state):
        import jax.numpy as jnp

        for held in (layer.parameters, layer.statistics):
            for name, value in held.items():
                held[name] = jnp.asarray(state[name]).reshape(value.shape)

    def forward(self, layer, x, training, **call):
        import jax
        import jax.numpy as jnp

        self.build(layer, np.shape(x))

        def run(x, parameters):
            return self.call(layer, x, parameters, bool(training), **call)

        x, layer.vjp = jnp.asarray(x), None
        if jnp.issubdtype(x.dtype, jnp.floating):
            y, layer.vjp, layer.statistics = jax.vjp(run, x, layer.parameters, has_aux=True)
        else:
            y, layer.statistics = run(x, layer.parameters)
        return np.asarray(y)

    def backward(self, layer, dy):
        import jax.numpy as jnp

        if layer.vjp is None:
            raise NotOffered("JAX differentiates no integers")
        dx, gradients = layer.vjp(jnp.asarray(dy))
        return np.asarray(dx), {name: np.asarray(gradients[name]) for name in layer.parameters}
