"""What the layers of both Keras dialects share: building, names, weights, losses, input checks.

Not here: modes, update rules, dtype rules and signatures, which differ and stand in `tf_keras.py`
and `keras.py`. Source: tf_keras 2.21.0, tf_keras/src/engine/base_layer.py, and keras 3.15.1,
keras/src/layers/layer.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from batchnorm.arrays import as_array, converted
from batchnorm.computation import Computation
from batchnorm.errors import BatchNormError, InvalidType, InvalidValue
from batchnorm.frameworks.keras import constraints, initializers, policies, regularizers
from batchnorm.frameworks.keras.objects import Dialect
from batchnorm.layer import Entry, Layer
from batchnorm.newer_python import Self
from batchnorm.vocabulary import Array, Mode, as_dtype

__all__ = ["KerasLayer"]


class KerasLayer(Layer):
    """A batch-norm layer that gets its state when it first sees an input's shape.

    Attributes:
        built: whether the state exists.
        trainable: if false, the layer is in inference mode whatever `training` says.
    """

    FRAMEWORK: ClassVar[Dialect]
    STATE = {
        "gamma": Entry("gamma", needs=("scale",)),
        "beta": Entry("beta", needs=("center",)),
        "moving_mean": Entry("running_mean"),
        "moving_variance": Entry("running_var"),
        "moving_stddev": Entry("stddev", needs=("renorm",)),
        "renorm_mean": Entry("renorm_mean", needs=("renorm",)),
        "renorm_stddev": Entry("renorm_stddev", needs=("renorm",)),
    }
    OBJECTS: ClassVar[Mapping[str, Any]] = {
        "beta_initializer": initializers,
        "gamma_initializer": initializers,
        "moving_mean_initializer": initializers,
        "moving_variance_initializer": initializers,
        "beta_regularizer": regularizers,
        "gamma_regularizer": regularizers,
        "beta_constraint": constraints,
        "gamma_constraint": constraints,
    }

    MASKS = True
    _names_given: ClassVar[dict[str, int]] = {}

    axis: Any
    momentum: Any
    epsilon: Any
    center: bool
    scale: bool
    renorm: bool
    renorm_clipping: Any
    renorm_momentum: float
    trainable: Any
    supports_masking = True
    activity_regularizer: Any
    _activity_loss: float | None = None
    _gradient_dtype: np.dtype[Any] | None = None
    name: str
    gamma: Array | None
    beta: Array | None
    moving_mean: Array
    moving_variance: Array

    def _start(self, objects: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
        """Take over what both constructors take the same way."""
        name, dtype = kwargs.get("name"), kwargs.get("dtype")
        regularizer = kwargs.get("activity_regularizer")
        self.activity_regularizer = regularizers.get(regularizer, self.FRAMEWORK)
        for key, module in self.OBJECTS.items():
            setattr(self, key, module.get(objects[key], self.FRAMEWORK))
        self.dtype_policy = policies.get(dtype, self.FRAMEWORK)
        self.name = self._unique_name() if name is None else name
        self.built = False
        self.gamma = self.beta = None
        self.gradients = {}

    @classmethod
    def _unique_name(cls) -> str:
        given = KerasLayer._names_given.get(cls.FRAMEWORK, 0)
        KerasLayer._names_given[cls.FRAMEWORK] = given + 1
        return "batch_normalization" + (f"_{given}" if given else "")

    @property
    def compute_dtype(self) -> str:
        """The type that the output has."""
        return self.dtype_policy.compute_dtype

    @property
    def dtype(self) -> str:
        """The type of the policy's variables."""
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The same as `dtype`."""
        return self.dtype

    def _create_state(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        def initial(key: str) -> Array:
            initializer = getattr(self, key)
            return np.array(initializers.initial_value(initializer, shape, dtype, self.FRAMEWORK))

        self.gamma = initial("gamma_initializer") if self.scale else None
        self.beta = initial("beta_initializer") if self.center else None
        self.moving_mean = initial("moving_mean_initializer")
        self.moving_variance = initial("moving_variance_initializer")
        if self.renorm:
            with np.errstate(invalid="ignore"):
                self.moving_stddev = np.sqrt(initial("moving_variance_initializer"))
                self.renorm_mean = initial("moving_mean_initializer")
                self.renorm_stddev = np.sqrt(initial("moving_variance_initializer"))
        self.built = True

    def _array(self, inputs: Any) -> Array:
        """The inputs as numbers: strings, dates and Python objects are none."""
        array = as_array(inputs)
        if array.dtype.kind in "OSUmM":
            raise InvalidValue(
                f"Input of layer {self.name!r}: expected numbers, but its dtype is {array.dtype}"
            )
        return array

    def _check_length(self, axis: int, length: Any, other: type[Exception]) -> None:
        """A parameter needs a length that is known; `other` is for what is no length at all."""
        if length is not None and not hasattr(length, "__index__"):
            raise other(f"axis {axis} of the input's shape must be an int, but got {length!r}")
        if length is None or length < 0:
            raise InvalidValue(
                f"Layer {self.name!r} needs to know the number of channels to be built: expected "
                f"axis {axis} of the input's shape to be at least 0, but got {length}"
            )

    def _regularize(self, y: Array) -> None:
        """What the activity regularizer says of an output, per sample, for `losses`."""
        if self.activity_regularizer is not None:
            loss = float(self.activity_regularizer(y)) / len(y) if len(y) else 0.0
            self._activity_loss = float(y.dtype.type(loss))

    def _check_input_spec(self, shape: tuple[int, ...]) -> None:
        """A built layer keeps its rank and its number of channels."""
        ndim, lengths = self._input_spec
        if len(shape) != ndim:
            raise InvalidValue(
                f"Input of layer {self.name!r}: expected ndim={ndim}, as built, found "
                f"ndim={len(shape)}. Shape received: {shape}"
            )
        for axis, length in lengths.items():
            if shape[axis] != length:
                raise InvalidValue(
                    f"Input of layer {self.name!r}: expected axis {axis} to have length {length}, "
                    f"as built, but got {shape[axis]}. Shape received: {shape}"
                )

    def _number(self, name: str, of_text: type[BatchNormError] = InvalidValue) -> float:
        """The value of a setting that must be a number by the time it is used.

        `of_text` is the error for a text, which the frameworks refuse elsewhere than None.
        """
        value = getattr(self, name)
        if not isinstance(value, int | float | np.number):
            error = of_text if isinstance(value, str) else InvalidValue
            raise error(f"{name!r} of layer {self.name!r} must be a number, got {value!r}")
        return float(value)

    _input_spec: tuple[int, dict[int, int]]

    @staticmethod
    def mode(training: bool, trainable: bool) -> Mode:
        """A frozen layer infers, whatever `training` says."""
        return Mode.BATCH_AND_UPDATE if training and trainable else Mode.RUNNING

    def decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | str,
        training: bool,
        mask: Any = None,
        *,
        total: Callable[[int], int] | None = None,
    ) -> Computation:
        """What the layer does with an input; see `Layer.decide`. Built for it if it isn't yet."""
        dtype = as_dtype(dtype)
        self._check_inputs(shape, dtype)
        if not self.built:
            asked = copy.copy(self)
            asked.build(shape)
            return asked._decide(shape, dtype, training, mask, total)
        self._check_input_spec(shape)
        return self._decide(shape, dtype, training, mask, total)

    def _check_inputs(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """What is refused before the layer is built."""

    def _decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        training: bool,
        mask: Any,
        total: Callable[[int], int] | None,
    ) -> Computation:
        """The same, for a layer that is built for inputs of this rank."""
        raise NotImplementedError

    def build(self, input_shape: Sequence[int]) -> None:
        """Create the state for inputs of this shape."""
        raise NotImplementedError

    def ensure_built(self, shape: tuple[int, ...]) -> None:
        """Build, unless that is done."""
        if not self.built:
            self.build(shape)

    def example_shape(self) -> tuple[int, ...]:
        """Two of everything but the channels; of samples two of each ghost batch."""
        rank, lengths = self._input_spec
        own = {axis % rank: length for axis, length in lengths.items()}
        return tuple(own.get(axis, 2 if axis else 2 * self._ghost_size()) for axis in range(rank))

    def _ghost_size(self) -> int:
        return 1

    def plain_arguments(self) -> dict[str, Any]:
        """The configuration without the layer's name and whether it is frozen."""
        config = self.get_config()
        return {key: value for key, value in config.items() if key not in ("name", "trainable")}

    @classmethod
    def from_plain(cls, arguments: Mapping[str, Any]) -> Self:
        """A new layer from what `plain_arguments` gave."""
        return cls.from_config(arguments)

    @property
    def policy(self) -> str:
        """The name of the dtype policy."""
        return self.dtype_policy.name

    def in_policy(self, policy: str) -> Self:
        """A copy with this dtype policy: a new layer of the same settings and state."""
        if policy == self.policy:
            return copy.deepcopy(self)
        made = type(self).from_config({**self.get_config(), "dtype": policy})
        if self.built:
            made.build(self.example_shape())
            made.load_state(self.state)
        return made

    def freeze(self, trainable: bool) -> None:
        """Set `trainable`."""
        self.trainable = trainable

    @property
    def weights(self) -> list[Array]:
        """The layer's own arrays, trainable ones first."""
        return [getattr(self, name) for name in self._present()] if self.built else []

    @property
    def trainable_weights(self) -> list[Array]:
        """gamma and beta, as far as they exist; none when the layer is frozen."""
        if not self.trainable:
            return []
        return [getattr(self, name) for name in self._present() if name in ("gamma", "beta")]

    @property
    def non_trainable_weights(self) -> list[Array]:
        """The rest of `weights`."""
        return self.weights[len(self.trainable_weights) :]

    @property
    def variables(self) -> list[Array]:
        """The same as `weights`: a layer has no others."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Array]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Array]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    def count_params(self) -> int:
        """The number of values in `weights`.

        Raises:
            ValueError: the layer isn't built.
        """
        if not self.built:
            raise InvalidValue(f"layer {self.name!r} has no weights to count: build or call it")
        return sum(weight.size for weight in self.weights)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output: the input's."""
        return input_shape

    def get_weights(self) -> list[Array]:
        """Copies of `weights`."""
        return [np.array(weight) for weight in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copy values in, in the order of `weights`.

        Raises:
            ValueError: the number of arrays or a shape differs. Nothing is changed then.
        """
        own = self.weights
        if len(weights) != len(own):
            raise InvalidValue(
                f"set_weights on layer {self.name!r} expected {len(own)} arrays "
                f"({', '.join(self._present()) or 'none before the layer is built'}), "
                f"but got {len(weights)}"
            )
        # All of them first: nothing is changed by a bad one, nor by the layer's own arrays.
        arrays = [
            converted(value, weight, f"layer {self.name!r}: {name}")
            for name, value, weight in zip(self._present(), weights, own, strict=True)
        ]
        for array, weight in zip(arrays, own, strict=True):
            weight[...] = array

    @property
    def losses(self) -> list[float]:
        """What `activity_regularizer` said of the latest output, and those of gamma and beta say.

        The first is divided by the batch's size; the others are of the present values.
        """
        return self._own_losses() + self._regularization_losses()

    def _own_losses(self) -> list[float]:
        return [] if self._activity_loss is None else [self._activity_loss]

    def _regularization_losses(self) -> list[float]:
        pairs = (("gamma", self.gamma), ("beta", self.beta))
        regularized = [(getattr(self, f"{name}_regularizer"), value) for name, value in pairs]
        return [
            regularizer(value)
            for regularizer, value in regularized
            if regularizer is not None and value is not None
        ]

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as the framework's own `get_config` writes them."""
        raise NotImplementedError

    def _common_config(self) -> dict[str, Any]:
        """What both write first, in this order."""
        plain = ("axis", "momentum", "epsilon", "center", "scale")
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": policies.serialize(self.dtype_policy, self.FRAMEWORK),
            **{key: getattr(self, key) for key in plain},
            **{
                key: module.serialize(getattr(self, key), self.FRAMEWORK)
                for key, module in self.OBJECTS.items()
            },
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new layer from what `get_config` gave.

        Raises:
            TypeError: a key is no argument of the constructor, or it refuses the value.
        """
        try:
            return cls(**config)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InvalidType(f"from_config: {error}") from error

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer with the present settings."""
        missing = {key: p.default for key, p in self.PARAMETERS.items() if not hasattr(self, key)}
        present = {key: getattr(self, key) for key in self.PARAMETERS if key not in missing}
        return {**present, **missing, "dtype": self.dtype_policy.name}
