"""tf.keras.layers.BatchNormalization of Keras 2.

Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py. Signatures,
recorded questions, calls at the edge of what is accepted and drawn cases are compared with that
release by `batchnorm verify`. Deviations: the list of `BatchNormalization`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from batchnorm import core
from batchnorm.arrays import is_array
from batchnorm.computation import Computation
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.keras.arguments import (
    BetaConstraint,
    BetaInit,
    BetaRegularizer,
    GammaConstraint,
    GammaInit,
    GammaRegularizer,
    MeanInit,
    VarInit,
)
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras.masks import tf_keras_masking
from batchnorm.frameworks.keras2 import adjustment as tf_keras_adjustment
from batchnorm.frameworks.keras2 import fused as tf_keras_fused
from batchnorm.frameworks.keras2 import ghost_batches as tf_keras_ghost_batches
from batchnorm.frameworks.keras2.options import Options, batch_input_shape
from batchnorm.newer_python import Self, Unpack
from batchnorm.vocabulary import (
    Array,
    ChannelAxes,
    Epsilon,
    HasBeta,
    HasGamma,
    Mode,
    Synchronized,
    WeightOfRunning,
    as_dtype,
    complement,
)

__all__ = ["BatchNormalization"]

TINY = float(np.finfo(np.float64).tiny)  # what makes 0 / 0 zero and changes no other quotient


class BatchNormalization(KerasLayer):
    """Batch normalization as tf.keras.layers.BatchNormalization of Keras 2 has it.

    y = (x - mean) / sqrt(var + epsilon) * gamma + beta, with biased batch statistics in training
    moving_* = momentum * moving_* + (1 - momentum) * {mean, var * n / (n - 1) if fused else var}

    Args:
        axis: the channel axis, or a list of axes.
        momentum: weight of the old value, any float: one minus torch's.
        epsilon: added to the variance, any float; None, fused, is 1e-4.
        center: whether beta exists.
        scale: whether gamma exists.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: a
            name, configuration, callable or initializer.
        beta_regularizer, gamma_regularizer: what `losses` says of beta and gamma, or None.
        beta_constraint, gamma_constraint: kept for an optimizer, which applies them; or None.
        synchronized: as one process has it: it rules out `fused`.
        fused: whether TensorFlow's fused kernel is meant, which averages the unbiased variance and
            ignores masks. None: for rank 4 and 5, axis 1 or last, 32 and 16 bits, none of the next.
        renorm, renorm_clipping, renorm_momentum: batch renormalization, bounds {"rmax", "rmin",
            "dmax"} of its r and d, and momentum of its averages.
        virtual_batch_size: samples per ghost batch, each normalized by its own statistics.
        adjustment: from the input's shape to a (scale, bias) on the normalized values.
        trainable: False means inference whatever `training` says.
        name, dtype, weights: as every layer has them; `dtype` may be a policy.
        activity_regularizer: what `losses` says of the latest output, per sample, or None.
        input_dim, input_shape, batch_size, batch_input_shape: for `get_config` only.
        dynamic, autocast, implementation: understood, without influence.

    Shape: any of rank 1 and more with a channel axis; the output is shaped alike.
    Dtypes: any, cast to the policy's compute dtype, which the output has; computed in float64.
    State: gamma (1), beta (0), moving_mean (0), moving_variance (1), each (C,), with ghost batches
        or several axes of the input's rank; with renorm moving_stddev (1), renorm_mean (0) and
        renorm_stddev (1). float32 where the dtype has 16 bits. `gradients` holds gamma's and
        beta's after `backward`, as far as they are applied.

    Deviations: NumPy arrays are taken and returned. An empty batch, bad shapes and a changed axis
        give what NumPy does or a ValueError, never a TensorFlow exception class; layer() without
        inputs is a TypeError. Results are closer to the true ones; where float32 overflows in the
        variance (x about 1e20) they are those still, and TensorFlow's are 0. synchronized=True has
        one replica to synchronize. Lists of axes are taken that TensorFlow broadcasts by XLA only
        (six runs of axes with statistics and without: [1, 3, 5] of rank 6). Weights are set all or
        none. input_dim and input_shape may be None.

    Raises:
        ValueError: an axis out of range, `fused` with what it lacks, another shape than built for.
        TypeError: an unknown argument, or one of another type.

    >>> layer = BatchNormalization(axis=1)
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> print(layer(x, training=True)[0, 0].round(3))
    [[-1.341 -0.447]
     [ 0.447  1.341]]
    >>> layer.state["moving_variance"]  # fused, so unbiased: 5/3, of which a hundredth enters
    array([1.0066667, 1.0066667], dtype=float32)

    Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py.
    """

    FRAMEWORK, VERIFIED_WITH = "tf_keras", "2.21.0"
    KWARGS_DEFAULTS = {"renorm": False, "renorm_momentum": 0.99, "trainable": True}

    def __init__(
        self,
        axis: ChannelAxes = -1,
        momentum: WeightOfRunning = 0.99,
        epsilon: Epsilon = 1e-3,
        center: HasBeta = True,
        scale: HasGamma = True,
        beta_initializer: BetaInit = "zeros",
        gamma_initializer: GammaInit = "ones",
        moving_mean_initializer: MeanInit = "zeros",
        moving_variance_initializer: VarInit = "ones",
        beta_regularizer: BetaRegularizer = None,
        gamma_regularizer: GammaRegularizer = None,
        beta_constraint: BetaConstraint = None,
        gamma_constraint: GammaConstraint = None,
        synchronized: Synchronized = False,
        **kwargs: Unpack[Options],
    ) -> None:
        for key in kwargs:
            if key not in Options.__annotations__:
                raise InvalidType(f"Keyword argument not understood: {key!r}")
        if not isinstance(axis, int | list | tuple):
            raise InvalidType(f"'axis' must be an int or a list of ints, but got {axis!r}")
        if not isinstance(kwargs.get("name"), str | None):
            raise InvalidType(f"'name' must be a string, but got {kwargs.get('name')!r}")
        objects = {key: value for key, value in locals().items() if key in self.OBJECTS}
        self._start(objects, kwargs)
        self._batch_input_shape = batch_input_shape(kwargs)
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.synchronized = synchronized
        self.renorm = kwargs.get("renorm", False)
        self.renorm_clipping = kwargs.get("renorm_clipping") or {}
        self.renorm_momentum = kwargs.get("renorm_momentum", 0.99)
        self.virtual_batch_size = kwargs.get("virtual_batch_size")
        self.adjustment = kwargs.get("adjustment")
        self.trainable = kwargs.get("trainable", True)
        self._initial_weights = kwargs.get("weights")
        self._adjusted: tf_keras_adjustment.Adjusted | None = None
        ghosts, own = self.virtual_batch_size, self.adjustment
        lacks = {"renorm": bool(self.renorm), "virtual_batch_size": ghosts, "adjustment": own}
        self.fused: bool | None = tf_keras_fused.at_construction(
            kwargs.get("fused"), self.axis, self.compute_dtype, synchronized, lacks
        )
        if self.renorm and not isinstance(self.renorm_clipping, Mapping):
            raise InvalidType(f"'renorm_clipping' must be a dict, got {self.renorm_clipping!r}")
        unknown = sorted({*self.renorm_clipping} - {"rmax", "rmin", "dmax"}) if self.renorm else []
        if unknown:
            raise InvalidValue(f"renorm_clipping takes rmax, rmin and dmax, but got {unknown}")

    @staticmethod
    def correction(fused: bool, count: int) -> int:
        """Unbiased in the fused kernel, which guards n = 1; biased otherwise."""
        return 1 if fused and count > 1 else 0

    def build(self, input_shape: Sequence[int]) -> None:
        """Create the state for inputs of this shape; the first call does it by itself."""
        if input_shape is None:
            raise InvalidValue("the input's shape must be known to build, but got None")
        shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
        rank = len(shape)
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        resolved = [axis + rank if axis < 0 else axis for axis in axes]
        if rank == 0 or any(not 0 <= axis < rank for axis in resolved):
            raise InvalidValue(f"'axis' must lie within rank {rank}, but got axis={self.axis}")
        if len(set(resolved)) != len(resolved):
            raise InvalidValue(f"Duplicate axis: {self.axis}")
        self.axis = resolved  # stays so even when what follows is refused
        if self.virtual_batch_size is not None:
            tf_keras_ghost_batches.check(self.virtual_batch_size, resolved, self.adjustment)
        asked, self.fused = self.fused, rank in (4, 5) if self.fused is None else self.fused
        self.fused = tf_keras_fused.at_rank(asked, resolved, rank)
        for axis in resolved:
            self._check_length(axis, shape[axis], InvalidType)
        self._input_spec = (rank, {axis: shape[axis] for axis in resolved})
        parameter_shape = [shape[i] if i in resolved else 1 for i in range(rank)]
        if self.virtual_batch_size is not None:  # a ghost-batch axis comes after the batch axis
            parameter_shape.insert(1, 1)
            resolved = [axis + 1 for axis in resolved]
        elif len(resolved) == 1:
            parameter_shape = [shape[resolved[0]]]
        self.axis, self._built_axis = resolved, list(resolved)
        sixteen_bit = self.dtype in ("float16", "bfloat16")
        self._create_state(
            tuple(parameter_shape), as_dtype("float32" if sixteen_bit else self.dtype)
        )
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def __call__(self, inputs: Any, training: Any = None, mask: Any = None) -> Array:
        """Normalize `inputs`, as `call` does, and build the layer first if need be."""
        if mask is None and self.built and self.axis == self._built_axis:
            known = self._again(inputs, training)
            if known is not None:
                self._gradient_dtype = known.dtype
                self._regularize(known)
                return known
        if not is_array(inputs):
            listed = isinstance(inputs, list | tuple) and len(inputs) > 0
            error = InvalidType if listed else InvalidValue
            raise error(f"inputs must be an array, but got {type(inputs).__name__!r}")
        given = self._array(inputs)
        self._check_inputs(given.shape, given.dtype)
        self.ensure_built(given.shape)
        with np.errstate(all="ignore"):
            y = self.call(given, training, mask)
        self._gradient_dtype = given.dtype if given.dtype.kind in "fVc" else None
        self._regularize(y)
        return y

    def call(self, inputs: Array, training: Any = None, mask: Any = None) -> Array:
        """Normalize inputs of a built layer. `training=None` means inference."""
        shape, trains = inputs.shape, self._training(training)
        found = self.decide(shape, inputs.dtype, trains, mask, total=self._joined)
        if self.adjustment is None or found.settings.mode is Mode.RUNNING:
            if self._adjusted is not None:
                self._adjusted = None
            return self._compute(inputs, found, mask=mask, how=training).reshape(shape)
        x = found.input(inputs)
        state = (self._value("gamma"), self._value("beta"), self._running())
        weights = None if mask is None else found.weights(mask, x)
        y, running, self._adjusted = tf_keras_adjustment.forward(
            x, self.adjustment, *state, found.settings, weights
        )
        self._saved = self._adjusted.saved
        if running is not None:
            self._store(running)
        return y

    def _decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        training: bool,
        mask: Any,
        total: Callable[[int], int] | None,
    ) -> Computation:
        mode = self.mode(training, bool(self.trainable))
        batch, compute = mode is not Mode.RUNNING, as_dtype(self.compute_dtype)
        if self.axis != self._built_axis:
            error = InvalidValue if isinstance(self.axis, list) else InvalidType
            raise error(f"axis was {self._built_axis} when built and can't become {self.axis!r}")
        if compute.kind in "iub":
            raise InvalidValue(f"a layer needs a floating dtype, but its is {self.compute_dtype}")
        if self.fused and mask is not None:
            warnings.warn(
                "fused=True ignores the mask; pass fused=False to have it honoured", stacklevel=5
            )
        found = Computation(core.Settings((), mode, 0.0), compute, (compute,), guarded=True)
        groups, no_ghosts = 1, False
        if self.virtual_batch_size is not None:
            size = self.virtual_batch_size if batch else None
            found.split = tf_keras_ghost_batches.split(shape, size)
            groups = found.split[1]  # 1 in inference
            no_ghosts = batch and shape[0] == 0
        if self.renorm and batch and self.compute_dtype == "float64":
            raise InvalidValue("renorm=True trains in 32 or 16 bits only, but dtype is float64")
        axes = tuple(sorted(self.axis))
        masked = mask is not None and not self.fused and batch
        values = math.prod(shape) // max(self.moving_mean.size, 1)
        if self.fused and batch and total is not None:
            values = total(values)
        found.settings = core.Settings(
            channel_axes=(1, *axes) if groups > 1 else axes,
            mode=mode,
            epsilon=self._effective_epsilon(),
            exponential_average_factor=self._factor(mode),
            correction=self.correction(bool(self.fused), values),
            renorm=self._renorm_settings(),
            groups=groups,
            # Masked or synchronised statistics of no values at all are 0, the others NaN, as those
            # of no ghost batches are.
            count_offset=TINY if (masked or self.synchronized) and not no_ghosts else 0.0,
        )
        if masked and no_ghosts:
            tf_keras_ghost_batches.check_mask_of_nothing(mask, shape, self._ghost_size())
        elif masked:
            found.masking = tf_keras_masking(mask, found.split or shape)
        return found

    def _compute(self, x: Array, found: Computation, **more: Any) -> Array:
        # With a momentum of 0 the fused kernel replaces the statistics, and NaN * 0 doesn't stay.
        if self.fused and found.settings.exponential_average_factor == 1.0:
            more["how"] = "replaces"  # is looked at anew at every call
            for old in (self.moving_mean, self.moving_variance):
                old[~np.isfinite(old)] = 0
        return super()._compute(x, found, **more)

    def _ghost_size(self) -> int:
        return self.virtual_batch_size or 1

    def in_policy(self, policy: str) -> Self:
        """A copy with this dtype policy; a configuration can't hold an `adjustment`."""
        made = super().in_policy(policy)
        made.adjustment = self.adjustment
        return made

    @staticmethod
    def _training(training: Any) -> bool:
        value = bool(training) if isinstance(training, int | np.bool_) else training
        if value is None or value is False:
            return False
        if value is True or (isinstance(value, float) and value == 1):
            return True
        raise InvalidType(f"'training' must be a bool, 0, 1 or None, but got {training!r}")

    def _factor(self, mode: Mode) -> float:
        if mode is Mode.RUNNING:
            return 0.0
        if self.momentum is None:
            error = InvalidValue if self.fused else InvalidType
            raise error("'momentum' must be a number in training, but got None")
        return _weight_of_batch(self.momentum)

    def _effective_epsilon(self) -> float:
        """Given to the fused kernel, None means that kernel's own default."""
        if not self.fused:
            return self._number("epsilon")
        return 1e-4 if self.epsilon is None else self.epsilon

    def applies(self, role: str) -> bool:
        """The fused kernel applies gamma and beta only as `scale` and `center` say at the call."""
        off = (role == "gamma" and not self.scale) or (role == "beta" and not self.center)
        return not (off and self.fused)

    def _trains(self, role: str) -> bool:
        return self._value(role) is not None

    def _renorm_settings(self) -> core.Renorm | None:
        if not self.renorm:
            return None
        return core.Renorm(_weight_of_batch(self.renorm_momentum), **self.renorm_clipping)

    def backward(self, dy: Any) -> Array:
        """The gradient of the inputs; see `Layer.backward`."""
        dx = super().backward(dy)
        return dx if self._gradient_dtype is None else dx.astype(self._gradient_dtype, copy=False)

    def _output_shape(self) -> tuple[int, ...]:
        shape = super()._output_shape()
        ghosts = len(shape) > self._input_spec[0]  # then (size, number of ghost batches, ...)
        return (shape[0] * shape[1], *shape[2:]) if ghosts else shape

    def _differentiate(self, dy: Array) -> tuple[Array, Array, Array]:
        return super()._differentiate(dy) if self._adjusted is None else self._adjusted.backward(dy)

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer with the present settings."""
        found = {**super().arguments(), "weights": None}
        found["batch_input_shape"] = self._batch_input_shape
        if self.built and self.virtual_batch_size is not None:
            found["axis"] = [axis - 1 for axis in self.axis]  # without the ghost batches' axis
        return found

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as Keras 2 writes them; `adjustment` can't be among them."""
        config = self._common_config()
        if self._batch_input_shape is not None:
            first = {key: config.pop(key) for key in ("name", "trainable", "dtype")}
            config = {**first, "batch_input_shape": self._batch_input_shape, **config}
        if self.renorm:
            config["renorm"] = True
            config["renorm_clipping"] = self.renorm_clipping
            config["renorm_momentum"] = self.renorm_momentum
        if self.virtual_batch_size is not None:
            config["virtual_batch_size"] = self.virtual_batch_size
        return config


def _weight_of_batch(momentum: float) -> float:
    """1 - momentum in float32, as Keras 2 has it even in a float64 layer (1.5e-8 off at 0.99)."""
    if isinstance(momentum, str):
        raise InvalidType(f"momentum must be a number in training, but got {momentum!r}")
    return float(np.float32(complement(momentum)))
