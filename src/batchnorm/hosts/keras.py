"""Any dialect's layer in Keras 3, on its TensorFlow, JAX and torch backends.

Written in keras.ops, so that each backend differentiates and compiles it. Not here: the formulas
(`formulas.py`), and what a dialect does with an input (`dialect.py`).
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from batchnorm.computation import Masking
from batchnorm.errors import InvalidValue
from batchnorm.frameworks.keras import constraints, regularizers
from batchnorm.hosts import dialect, formulas, saved_names
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array

__all__ = ["BatchNormalization", "layer"]


class KerasOps:
    """`formulas.Operations` in keras.ops."""

    cast = staticmethod(ops.cast)
    constant = staticmethod(ops.stop_gradient)
    divide = staticmethod(ops.divide)
    isfinite = staticmethod(ops.isfinite)
    maximum = staticmethod(ops.maximum)
    minimum = staticmethod(ops.minimum)
    reshape = staticmethod(ops.reshape)
    sqrt = staticmethod(ops.sqrt)
    where = staticmethod(ops.where)

    @staticmethod
    def size(x: Any, axes: tuple[int, ...], dtype: str) -> Any:
        """In a TensorFlow graph a length may be known only when it runs."""
        lengths, known, size = ops.shape(x), 1.0, None
        for axis in axes:
            if isinstance(lengths[axis], int):
                known *= lengths[axis]
            else:
                length = ops.cast(lengths[axis], dtype)
                size = length if size is None else size * length
        return ops.cast(known, dtype) if size is None else size * known

    @staticmethod
    def sum(x: Any, axes: tuple[int, ...]) -> Any:
        """As the backend sums."""
        return ops.sum(x, axis=axes, keepdims=True)

    @staticmethod
    def largest(x: Any, axes: tuple[int, ...]) -> Any:
        """The maximum, -inf of nothing."""
        return ops.max(x, axis=axes, keepdims=True, initial=float("-inf"))


def layer(layer: Layer, **kwargs: Any) -> BatchNormalization:
    """A Keras 3 layer that computes as `layer`'s dialect does, with its settings and its state.

    y = (x - mean) / sqrt(var + epsilon) * gamma + beta, statistics by the dialect's own rules

    It trains in `fit`, is saved and loaded in `.keras` files, and is compiled where the backend
    compiles. `training` decides between batch and running statistics for every dialect; frozen
    (`trainable = False`) a Keras dialect infers, while torch's and MindSpore's keep moving their
    statistics, each as its own framework has it. Masks count where the dialect knows them.

    Args:
        layer: any layer of this package; copied. torch's and MindSpore's have the channels in axis
            1, as ever. Keras 2's `adjustment` works where all of the inputs' shape is known; it is
            called when the backend traces the layer, and a saved model lacks it, as in Keras 2.
        **kwargs: what a Keras layer takes: name, trainable, and dtype (a policy). Without dtype a
            Keras dialect's own policy counts, and for the others Keras' global one.

    Shape: as the layer has it.
    Dtypes: as the layer has it, after Keras' cast to the policy's compute dtype; parameters keep
        their own types. Computed in float32, float64 for float64 inputs.
    State: weights under the dialect's own names (`weight`, `running_var`, `moving_variance`, ...).

    Raises:
        TypeError: no layer of this package.
        ValueError: a layer of a class of your own.

    >>> import batchnorm as bn
    >>> host = layer(bn.torch.BatchNorm1d(2))
    >>> y = host(np.float32([[0, 1], [2, 1]]), training=True)
    >>> print(host.running_var.numpy().round(3))  # unbiased, as torch has it
    [1.1 0.9]

    Source: the dialects'; tests/hosts/test_keras_host.py compares with their NumPy layers.
    """
    dialect.check(layer, "batchnorm.hosts.keras.layer")
    made = BatchNormalization(saved_names.name(layer), layer.plain_arguments(), **kwargs)
    made.take(layer)
    return made


@keras.saving.register_keras_serializable(package="batchnorm")
class BatchNormalization(keras.layers.Layer):
    """Batch normalization by the rules of one dialect; `layer` makes one.

    Args:
        dialect: the dialect's module and class, such as "torch.BatchNorm2d".
        arguments: those of that class, as its configuration has them.
        **kwargs: what a Keras layer takes.
    """

    def __init__(self, dialect: str, arguments: Mapping[str, Any], **kwargs: Any) -> None:
        own = saved_names.from_name(dialect, arguments)
        if own.policy is not None:
            kwargs.setdefault("dtype", own.policy)
        kwargs.setdefault("trainable", bool(getattr(own, "trainable", True)))
        if kwargs.get("activity_regularizer") is None:
            activity = getattr(own, "activity_regularizer", None)
            kwargs["activity_regularizer"] = _keras_object(activity, "")
        super().__init__(**kwargs)
        self.supports_masking = True
        self.dialect, self.arguments = dialect, dict(arguments)
        if own.policy is not None:
            self.arguments["dtype"] = self.dtype_policy.name
        self._asked = own.in_policy(self.dtype_policy.name)

    def take(self, layer: Layer) -> None:
        """Start from the state of this layer, which has the same settings but for the policy."""
        self._asked = layer.in_policy(self.dtype_policy.name)

    def build(self, input_shape: Any) -> None:
        """Create the weights, with the dialect layer's present values."""
        own = self._asked
        own.ensure_built(tuple(input_shape))
        trained, _ = dialect.names(own)
        for name, value in own.state.items():
            self._add(name, value, name in trained)
        super().build(input_shape)

    def _add(self, name: str, value: Array, trained: bool) -> None:
        options = {}
        for kind in ("regularizer", "constraint") if trained else ():
            options[kind] = _keras_object(getattr(self._asked, f"{name}_{kind}", None), kind)
        counter = value.dtype.kind == "i" and keras.backend.backend() == "jax"
        variable = self.add_weight(
            name=name,
            shape=value.shape,
            dtype="int32" if counter else value.dtype.name,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype),
            trainable=trained,
            autocast=False,
            **options,
        )
        setattr(self, name, variable)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Normalize; with `training` the running statistics move."""
        shape = self._whole_shape(inputs.shape)
        formula, masking = self._formula(inputs, shape, bool(training), mask)
        if formula is not None and formula.split is not None and None in inputs.shape[1:]:
            raise InvalidValue(
                "ghost batches need to know all lengths of the inputs but the number of samples, "
                f"and their shape is {tuple(inputs.shape)}"
            )
        tensors = {name: getattr(self, name).value for name in self._names()}
        if formula is None:  # torch gives an empty batch back
            self._count(bool(training))
            return ops.convert_to_tensor(inputs)
        x = inputs
        for dtype in formula.casts:
            x = ops.cast(x, dtype)
        roles = dialect.by_role(self._asked, tensors)
        if formula.counts and "count" in roles:
            roles["count"] = self._count(True)
        weights = None if masking is None else self._weights(mask, x, masking)
        more = {"adjustment": self._adjustment(inputs.shape), "total": self._total()}
        y, new = formulas.apply(KerasOps, x, roles, formula, weights=weights, **more)
        for name in self._names():
            if (role := self._asked.STATE[name].role) in new:
                own = getattr(self, name)
                own.assign(ops.cast(ops.reshape(new[role], own.shape), own.dtype))
        return y

    def compute_output_spec(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """The input's shape, in the dialect's type for the result."""
        shape = self._whole_shape(inputs.shape)
        formula, _ = self._formula(inputs, shape, bool(training), mask)
        dtype = self.compute_dtype if formula is None else formula.dtype
        return keras.KerasTensor(inputs.shape, dtype=dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew, but for its weights."""
        return {**super().get_config(), "dialect": self.dialect, "arguments": self.arguments}

    def to_layer(self) -> Layer:
        """The dialect's NumPy layer with the present state, as `batchnorm.read` gives it."""
        found = copy.deepcopy(self._asked)
        found.freeze(self.trainable)
        if self.built:
            values = {name: getattr(self, name) for name in self._names()}
            found.load_state({k: ops.convert_to_numpy(v.value) for k, v in values.items()})
        return found

    def _names(self) -> list[str]:
        return list(self._asked.state)

    def _whole_shape(self, shape: Any) -> tuple[int, ...]:
        """Some numbers for lengths that aren't known yet."""
        samples = 2 * (getattr(self._asked, "virtual_batch_size", None) or 1)
        fill = (samples if axis == 0 else 2 for axis in range(len(shape)))
        return tuple(f if n is None else int(n) for n, f in zip(shape, fill, strict=True))

    def _formula(
        self, inputs: Any, shape: tuple[int, ...], training: bool, mask: Any
    ) -> tuple[formulas.Formula | None, Masking | None]:
        self._asked.freeze(self.trainable)
        known = mask is not None and self._asked.MASKS
        asked = np.ones(self._whole_shape(mask.shape)) if known else None
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        return dialect.formula(self._asked, shape, dtype, training, asked)

    def _count(self, training: bool) -> Any:
        if not training or "num_batches_tracked" not in self._names():
            return None
        self.num_batches_tracked.assign(self.num_batches_tracked.value + 1)
        return self.num_batches_tracked.value

    def _weights(self, mask: Any, x: Any, masking: Masking) -> Any:
        shape = [-1 if n is None else n for n in mask.shape]
        spread = ops.reshape(mask, (*shape, 1)) if shape.count(-1) < 2 else mask[..., None]
        if masking.truth:
            return ops.broadcast_to(ops.cast(ops.cast(spread, "bool"), x.dtype), ops.shape(x))
        weights = ops.broadcast_to(ops.cast(spread, x.dtype), ops.shape(x))
        counts = ops.logical_or(ops.isfinite(x), weights != 0)
        return ops.where(counts, weights, float("nan"))

    def _adjustment(self, shape: Any) -> Any:
        """Keras 2's, which is told the shape."""
        found = getattr(self._asked, "adjustment", None)
        if found is not None and None in shape:
            raise InvalidValue(
                f"adjustment is a function of the inputs' shape, of which {tuple(shape)} is known: "
                "give the model a batch_size, or make the layer without it"
            )
        return found

    def _total(self) -> Callable[[Any], Any] | None:
        """The sum over TensorFlow's replicas, where the dialect asks for synchronisation."""
        if not getattr(self._asked, "synchronized", False):
            return None
        if keras.backend.backend() != "tensorflow":
            return None
        tf = importlib.import_module("tensorflow")
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return None

        def total(values: Any) -> Any:
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

        return total


def _keras_object(obj: Any, kind: str) -> Any:
    """A regularizer or constraint as Keras' own, one of the user's as it is."""
    if obj is None:
        return None
    module = keras.constraints if kind == "constraint" else keras.regularizers
    family: Any = constraints if kind == "constraint" else regularizers
    described = family.serialize(obj, "keras")
    known = isinstance(described, dict) and str(described.get("module", "")).startswith("keras")
    return module.deserialize(described) if known else obj
