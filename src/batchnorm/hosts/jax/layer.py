"""A layer's values as JAX arrays, and the pure function that computes with them.

The formulas in plain `jnp`, so that XLA fuses and every derivative exists; in training on the CPU
the same by our compiled kernel (`primitives.py`), which on two cores takes 0.17 to 0.27 of XLA's
time for the forward and backward of 32x64x56x56, either layout, and 0.7 of it for 8x16x8x8. In
inference XLA's one loop, joined with what follows, is as quick. Not here: the formulas
(`formulas.py`), and what a dialect does with an input (`dialect.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from batchnorm.computation import Masking
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.hosts import dialect, formulas
from batchnorm.hosts.jax import primitives
from batchnorm.layer import Layer

__all__ = ["apply", "init"]

_MANY = 2**20  # values of a channel from which on a sum is taken in parts
_BLOCK = 2**12


class Jnp:
    """`formulas.Operations` in jnp."""

    cast = staticmethod(lambda x, dtype: jnp.asarray(x).astype(dtype))
    constant = staticmethod(jax.lax.stop_gradient)
    divide = staticmethod(jnp.divide)
    isfinite = staticmethod(jnp.isfinite)
    maximum = staticmethod(jnp.maximum)
    minimum = staticmethod(jnp.minimum)
    reshape = staticmethod(jnp.reshape)
    sqrt = staticmethod(jnp.sqrt)
    where = staticmethod(jnp.where)

    @staticmethod
    def size(x: Any, axes: tuple[int, ...], dtype: str) -> Any:
        """Shapes are known when a function is traced."""
        return jnp.asarray(float(np.prod([x.shape[axis] for axis in axes], dtype=float)), dtype)

    @staticmethod
    def sum(x: Any, axes: tuple[int, ...]) -> Any:
        """One axis after the other where there are many values, and long axes in blocks.

        XLA would join nested sums into one, whose float32 error grows with the number of values.
        """
        if np.prod([x.shape[axis] for axis in axes], dtype=float) <= _MANY:
            return jnp.sum(x, axis=axes, keepdims=True)
        for axis in axes:
            length = x.shape[axis]
            if length > _BLOCK:
                last = jnp.moveaxis(x, axis, -1)
                last = jnp.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, -length % _BLOCK)])
                blocks = jnp.sum(last.reshape(*last.shape[:-1], -1, _BLOCK), axis=-1)
                x = jnp.moveaxis(jax.lax.optimization_barrier(blocks), -1, axis)
            x = jax.lax.optimization_barrier(jnp.sum(x, axis=axis, keepdims=True))
        return x

    @staticmethod
    def largest(x: Any, axes: tuple[int, ...]) -> Any:
        """The maximum, -inf of nothing."""
        return jnp.max(x, axis=axes, keepdims=True, initial=-jnp.inf)


OPERATIONS: Any = Jnp


def init(
    layer: Layer, input_shape: Sequence[int] | None = None
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """A layer's present values as JAX arrays: what is trained, and what isn't.

    Args:
        layer: any layer of this package; not changed. Its settings stay with it, `apply` asks it.
        input_shape: what an unbuilt Keras layer is built for.

    Shape: as the layer's own arrays.
    Dtypes: as the layer's own arrays.
    State: params holds gamma and beta (or weight and bias) as far as they are trained, state all
        else, both under the dialect's own names.

    Raises:
        TypeError: no layer of this package; a float64 layer without `jax_enable_x64`.
        ValueError: a Keras layer that isn't built, without a shape.

    >>> import batchnorm as bn
    >>> params, state = init(bn.torch.BatchNorm2d(3))
    >>> list(params), list(state)
    (['weight', 'bias'], ['running_mean', 'running_var', 'num_batches_tracked'])

    Source: the dialects'; tests/hosts/test_jax.py compares with their NumPy layers.
    """
    dialect.check(layer, "batchnorm.hosts.jax.init")
    if not layer.built and input_shape is None:
        raise InvalidValue(f"{layer!r} isn't built, so it has no state yet: pass input_shape")
    if input_shape is not None:
        layer.ensure_built(tuple(input_shape))
    values = layer.state
    doubles = [name for name, value in values.items() if value.dtype == np.float64]
    if doubles and not jax.config.jax_enable_x64:
        raise InvalidType(
            f"{', '.join(doubles)} are float64, which JAX makes float32 of: "
            'call jax.config.update("jax_enable_x64", True) first'
        )
    trained, others = dialect.names(layer)
    return (
        {name: jnp.asarray(values[name]) for name in trained},
        {name: jnp.asarray(values[name]) for name in others},
    )


def apply(
    layer: Layer,
    params: Mapping[str, Any],
    state: Mapping[str, Any],
    x: Any,
    *,
    training: bool | None = None,
    mask: Any = None,
    axis_name: Any = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Normalize x by the rules of `layer`'s dialect: the result, and the new state.

    mean, var = moments of x per channel, or state's, by the dialect's rule for `training`
    y         = (x - mean) / sqrt(var + epsilon) * gamma + beta
    running   = (1 - factor) * running + factor * statistic, variance as the dialect takes it

    A pure function: `layer` gives the settings and isn't changed, its values don't count. All but
    `layer`, `training` and `axis_name` may be traced (`jax.jit(functools.partial(apply, layer))`).
    Programs for one CPU take batch statistics with our compiled kernel, without a mask and
    `axis_name`; BATCHNORM_KERNEL=reference leaves all to `jnp`.

    Args:
        layer: settings and rules. Keras 2's `adjustment` is called when the function is traced.
        params: what is trained, as `init` names it.
        state: what isn't.
        x: the input, as the dialect lays it out.
        training: whether batch statistics are wanted; None is the layer's own `training`, and for
            Keras False.
        mask: which values count in the statistics. For a Keras layer its own `mask`; for the
            others of shape (N,), or x's without axis 1: what is 0 or False might as well not be
            in the batch.
        axis_name: name of the mapped axis (or axes) of `pmap`, `shard_map` or `vmap` whose parts
            make up the batch: moments are merged over it by Chan's rule, also unequal counts
            under a mask. Every part gets the same state, and gradients as of the whole batch.

    Shape: as the layer has it.
    Dtypes: as the layer has it; computed in float32 (float64 for float64 input), in an order that
        keeps what a mean of 1e6 standard deviations leaves, and gives beta for a constant channel.
    State: the new values keep their types; running statistics carry no gradient.

    Raises:
        Exception: what the dialect raises for such an input.
        ValueError: other names than `init` gives; ghost batches together with `axis_name`.

    >>> import batchnorm as bn
    >>> layer = bn.keras.BatchNormalization(momentum=0.5)
    >>> params, state = init(layer, (4, 1))
    >>> x = jnp.asarray([[1.0], [3.0], [1.0], [3.0]])
    >>> y, state = apply(layer, params, state, x, training=True)
    >>> state["moving_mean"].tolist(), state["moving_variance"].tolist()
    ([1.0], [1.0])

    Source: the dialects'; tests/hosts/test_jax.py compares with their NumPy layers.
    """
    dialect.check(layer, "batchnorm.hosts.jax.apply")
    _check_names(layer, params, state)
    x = jnp.asarray(x)
    training = bool(getattr(layer, "training", False) if training is None else training)
    everywhere = total = None
    if axis_name is not None:
        if getattr(layer, "virtual_batch_size", None) is not None:
            raise InvalidValue("ghost batches are one part's own: axis_name can't be given too")
        parts = int(jax.lax.axis_size(axis_name))

        def everywhere(values: int) -> int:
            return values * parts

        def total(values: Any) -> Any:
            return jax.lax.psum(values, axis_name)

    asked = None if mask is None else np.broadcast_to(0, jnp.shape(mask))
    formula, masking = dialect.formula(layer, x.shape, x.dtype.name, training, asked, everywhere)
    if formula is None:  # an empty batch of torch's
        formula_counts = training and "num_batches_tracked" in state
        moved = {"num_batches_tracked": state["num_batches_tracked"] + 1} if formula_counts else {}
        return x * _first(params), {**state, **moved}
    x = jnp.real(x) if jnp.iscomplexobj(x) else x
    for dtype in formula.casts:
        x = x.astype(dtype)
    tensors = dialect.by_role(layer, {**params, **state})
    new_state = dict(state)
    if formula.counts and "num_batches_tracked" in state:
        tensors["count"] = new_state["num_batches_tracked"] = state["num_batches_tracked"] + 1
    weights = None if masking is None else _weights(masking, jnp.asarray(mask), x)
    adjustment = getattr(layer, "adjustment", None)
    if weights is None and total is None and adjustment is None:
        y, new = primitives.apply(OPERATIONS, x, tensors, formula)
    else:
        more = {"adjustment": adjustment, "total": total}
        y, new = formulas.apply(OPERATIONS, x, tensors, formula, weights=weights, **more)
    for name in new_state:
        if (role := layer.STATE[name].role) in new:
            old = state[name]
            new_state[name] = new[role].reshape(jnp.shape(old)).astype(jnp.asarray(old).dtype)
    return y, new_state


def _weights(masking: Masking, mask: Any, x: Any) -> Any:
    mask = mask.reshape(masking.shape)
    if masking.truth:
        return jnp.broadcast_to((mask != 0).astype(x.dtype), x.shape)
    weights = jnp.broadcast_to(mask.astype(x.dtype), x.shape)
    return jnp.where(jnp.isfinite(x) | (weights != 0), weights, jnp.nan)


def _first(params: Mapping[str, Any]) -> Any:
    """What torch multiplies an empty batch by, for its type and for gradients of 0."""
    return params["weight"][0] if "weight" in params else 1


def _check_names(layer: Layer, params: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    if not layer.built:
        raise InvalidValue(f"{layer!r} isn't built: call init with an input_shape first")
    for what, given, wanted in zip(
        ("params", "state"), (params, state), dialect.names(layer), strict=True
    ):
        if set(given) != set(wanted):
            raise InvalidValue(
                f"{what} must have the names {wanted} of this {type(layer).__name__}, but has "
                f"{sorted(given)}; init gives both"
            )
