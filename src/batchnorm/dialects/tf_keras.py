"""tf.keras.layers.BatchNormalization of Keras 2.

Source: tf_keras 2.21.0, tf_keras/src/layers/normalization/batch_normalization.py; every behaviour
here is compared with that release in tests/against. Deviations: an empty batch and bad shapes raise
or return what NumPy's arithmetic does, never a TensorFlow exception class; the numbers are right
where TensorFlow's are not; `synchronized=True` has one replica to synchronise.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict, Unpack

import numpy as np

from batchnorm import core
from batchnorm.arrays import as_array, is_array
from batchnorm.dialects import policies
from batchnorm.dialects.constraints import ConstraintLike
from batchnorm.dialects.initializers import InitializerLike
from batchnorm.dialects.keras_layer import KerasLayer
from batchnorm.dialects.policies import PolicyLike
from batchnorm.dialects.regularizers import RegularizerLike
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.vocabulary import (
    Adjustment,
    Array,
    ChannelAxes,
    Epsilon,
    Fused,
    HasBeta,
    HasGamma,
    Housekeeping,
    InitialWeights,
    Meaning,
    Mode,
    Name,
    Renorm,
    RenormClipping,
    RenormWeightOfRunning,
    ShapeHint,
    SizeHint,
    Synchronized,
    Trainable,
    VirtualBatchSize,
    WeightOfRunning,
    as_dtype,
    complement,
)

__all__ = ["BatchNormalization"]

BetaInit = Annotated[InitializerLike, Meaning("init", "beta")]
GammaInit = Annotated[InitializerLike, Meaning("init", "gamma")]
MeanInit = Annotated[InitializerLike, Meaning("init", "running_mean")]
VarInit = Annotated[InitializerLike, Meaning("init", "running_var")]
BetaRegularizer = Annotated[RegularizerLike, Meaning("regularizer", "beta")]
GammaRegularizer = Annotated[RegularizerLike, Meaning("regularizer", "gamma")]
BetaConstraint = Annotated[ConstraintLike, Meaning("constraint", "beta")]
GammaConstraint = Annotated[ConstraintLike, Meaning("constraint", "gamma")]
DtypePolicy = Annotated[PolicyLike, Meaning("dtype_policy")]

TINY = float(np.finfo(np.float64).tiny)  # what makes 0 / 0 zero and changes no other quotient


class Options(TypedDict, total=False):
    """What the layer takes in `**kwargs`."""

    renorm: Renorm
    renorm_clipping: RenormClipping
    renorm_momentum: RenormWeightOfRunning
    fused: Fused
    trainable: Trainable
    virtual_batch_size: VirtualBatchSize
    adjustment: Adjustment
    name: Name
    dtype: DtypePolicy
    dynamic: Housekeeping
    input_dim: SizeHint
    input_shape: ShapeHint
    batch_input_shape: ShapeHint
    batch_size: SizeHint
    weights: InitialWeights
    activity_regularizer: Housekeeping
    autocast: Housekeeping
    implementation: Housekeeping


class BatchNormalization(KerasLayer):
    """Batch normalization over any axis or axes of an input of any rank, as Keras 2 does it."""

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
        objects = {key: value for key, value in locals().items() if key in self.OBJECTS}
        self._start(objects, kwargs.get("name"), kwargs.get("dtype"))
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
        self._adjusted: tuple[Array, Array, Array] | None = None
        fused = kwargs.get("fused")
        if synchronized and fused:
            raise InvalidValue("fused=True is not supported when synchronized=True")
        reason = self._why_not_fused()
        if fused and reason:
            raise InvalidValue(f"fused=True is not supported with {reason}")
        self.fused: bool | None = False if synchronized or (fused is None and reason) else fused
        unknown = sorted(set(self.renorm_clipping) - {"rmax", "rmin", "dmax"})
        if self.renorm and unknown:
            raise InvalidValue(f"renorm_clipping takes rmax, rmin and dmax, but got {unknown}")

    @staticmethod
    def mode(training: bool, trainable: bool) -> Mode:
        """A frozen layer infers, whatever `training` says."""
        return Mode.BATCH_AND_UPDATE if training and trainable else Mode.RUNNING

    @staticmethod
    def correction(fused: bool, count: int) -> int:
        """Unbiased in the fused kernel, which guards n = 1; biased otherwise."""
        return 1 if fused and count > 1 else 0

    def _why_not_fused(self) -> str | None:
        """What the fused kernel can't do, as far as that is known before the rank is."""
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        if self.renorm:
            return "renorm=True"
        if len(axes) > 1 or axes[0] not in (-4, -3, -1, 1, 3, 4):
            return f"axis={self.axis} (1 or the last axis of rank 4 or 5)"
        if self.virtual_batch_size is not None:
            return "virtual_batch_size"
        if self.adjustment is not None:
            return "adjustment"
        if self.compute_dtype not in ("float16", "bfloat16", "float32"):
            return f"compute dtype {self.compute_dtype}"
        return None

    def build(self, input_shape: Sequence[int]) -> None:
        """Create the state for inputs of this shape; the first call does it by itself."""
        shape = tuple(input_shape)
        rank = len(shape)
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        resolved = [axis + rank if axis < 0 else axis for axis in axes]
        if rank == 0 or any(not 0 <= axis < rank for axis in resolved):
            raise InvalidValue(f"'axis' must lie within rank {rank}, but got axis={self.axis}")
        if len(set(resolved)) != len(resolved):
            raise InvalidValue(f"Duplicate axis: {self.axis}")
        self.axis = resolved  # stays so even when what follows is refused
        self._check_virtual_batches(resolved)
        if self.fused and rank not in (4, 5):
            raise InvalidValue(f"fused=True supports inputs of rank 4 or 5, but got shape {shape}")
        self.fused = rank in (4, 5) if self.fused is None else self.fused
        if self.fused and resolved not in ([1], [rank - 1]):
            if rank == 4:
                raise InvalidValue(f"fused=True with rank 4 needs axis 1 or 3, got {self.axis}")
            self.fused = False
        self._input_spec = (rank, {axis: shape[axis] for axis in resolved})
        parameter_shape = [shape[i] if i in resolved else 1 for i in range(rank)]
        if self.virtual_batch_size is not None:  # a ghost-batch axis comes after the batch axis
            parameter_shape.insert(1, 1)
            resolved = [axis + 1 for axis in resolved]
        elif len(resolved) == 1:
            parameter_shape = [shape[resolved[0]]]
        self.axis = resolved
        sixteen_bit = self.dtype in ("float16", "bfloat16")
        self._create_state(
            tuple(parameter_shape), as_dtype("float32" if sixteen_bit else self.dtype)
        )
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def _check_virtual_batches(self, axes: list[int]) -> None:
        size = self.virtual_batch_size
        if size is None:
            return
        if size <= 0:
            raise InvalidValue(f"virtual_batch_size must be a positive integer, but got {size}")
        if 0 in axes:
            raise InvalidValue(
                f"virtual_batch_size needs axis 0 for the batch, got axis={self.axis}"
            )
        if self.adjustment is not None:
            raise InvalidValue("virtual_batch_size can't be used together with adjustment")

    def __call__(self, inputs: Any, training: Any = None, mask: Any = None) -> Array:
        """Normalize `inputs`, as `call` does, and build the layer first if need be."""
        if not is_array(inputs):
            raise InvalidType(f"inputs must be an array, but got {type(inputs).__name__!r}")
        given = as_array(inputs)
        if self.built:
            self._check_input_spec(given.shape)
        else:
            self.build(given.shape)
        self._gradient_dtype = given.dtype if given.dtype.kind in "fV" else None
        real = given.real if given.dtype.kind == "c" else given
        with np.errstate(all="ignore"):
            return self.call(real.astype(as_dtype(self.compute_dtype), copy=False), training, mask)

    def call(self, inputs: Array, training: Any = None, mask: Any = None) -> Array:
        """Normalize inputs of the compute dtype. `training=None` means inference."""
        mode = self.mode(self._training(training), bool(self.trainable))
        if self.fused and mask is not None:
            warnings.warn(
                "fused=True ignores the mask; pass fused=False to have it honoured", stacklevel=3
            )
        x = inputs
        groups = 1
        if self.virtual_batch_size is not None:
            x = self._into_ghost_batches(x, mode)
            groups = x.shape[1] if mode is not Mode.RUNNING else 1
        if self.renorm and mode is not Mode.RUNNING and self.compute_dtype == "float64":
            raise InvalidValue("renorm=True trains in 32 or 16 bits only, but dtype is float64")
        axes = tuple(sorted(self.axis))
        settings = core.Settings(
            channel_axes=(1, *axes) if groups > 1 else axes,
            mode=mode,
            epsilon=self._effective_epsilon(),
            exponential_average_factor=self._factor(mode),
            correction=self.correction(bool(self.fused), x.size // max(self.moving_mean.size, 1)),
            renorm=self._renorm_settings(),
            groups=groups,
            # Masked or synchronised statistics of no values at all are 0, the others NaN.
            count_offset=TINY if mask is not None or self.synchronized else 0.0,
        )
        weights = self._mask_weights(mask, x) if mode is not Mode.RUNNING else None
        if self.adjustment is not None and mode is not Mode.RUNNING:
            return self._call_adjusted(x, settings, weights)
        self._adjusted = None
        return self._compute(x, settings, weights=weights).reshape(inputs.shape)

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
            raise InvalidValue("'momentum' must be a number in training, but got None")
        return _weight_of_batch(self.momentum)

    def _effective_epsilon(self) -> float:
        """Given to the fused kernel, None means that kernel's own default."""
        return 1e-4 if self.fused and self.epsilon is None else self.epsilon

    def _renorm_settings(self) -> core.Renorm | None:
        if not self.renorm:
            return None
        return core.Renorm(_weight_of_batch(self.renorm_momentum), **self.renorm_clipping)

    def _mask_weights(self, mask: Any, x: Array) -> Array | None:
        """The mask as weights; a NaN or inf that it leaves out still spoils its channel."""
        if mask is None or self.fused:
            return None
        weights = np.asarray(mask, x.dtype)[..., None]
        try:
            weights = np.broadcast_to(weights, x.shape)
        except ValueError:
            raise InvalidValue(
                f"a mask of shape {np.shape(mask)}, with an axis appended, doesn't broadcast "
                f"against inputs of shape {x.shape}"
            ) from None
        return np.where(np.isfinite(x) | (weights != 0), weights, np.nan)

    def _into_ghost_batches(self, x: Array, mode: Mode) -> Array:
        """Sample i goes to ghost batch i modulo their number: (size, number, ...), not blocks."""
        size = self.virtual_batch_size if mode is not Mode.RUNNING else None
        if size is None:
            return x[:, None]
        if len(x) % int(size):
            raise InvalidValue(f"virtual_batch_size={size} doesn't divide the batch of {len(x)}")
        return x.reshape(int(size), -1, *x.shape[1:])

    def _call_adjusted(self, x: Array, settings: core.Settings, weights: Array | None) -> Array:
        """y = (x_hat * scale + bias) * gamma + beta with the adjustment's scale and bias."""
        assert self.adjustment is not None
        scale, bias = (np.asarray(value, np.float64) for value in self.adjustment(x.shape))
        x_hat, running, self._saved = core.forward(
            x, None, None, self._running(), settings, weights=weights, dtype=np.dtype(np.float64)
        )
        if running is not None:
            self._store(running)
        adjusted = x_hat * scale + bias
        self._adjusted = (adjusted, scale, self._broadcast(self.gamma, 1.0, x.ndim))
        y = adjusted * self._adjusted[2] + self._broadcast(self.beta, 0.0, x.ndim)
        return y.astype(x.dtype)

    def _broadcast(self, parameter: Array | None, default: float, rank: int) -> Array:
        if parameter is None:
            return np.asarray(default)
        if parameter.ndim == rank:
            return parameter.astype(np.float64)
        shape = [parameter.size if axis in self.axis else 1 for axis in range(rank)]
        return parameter.astype(np.float64).reshape(shape)

    def backward(self, dy: Any) -> Array:
        """The gradient of the inputs; see `Layer.backward`."""
        dy = as_array(dy, "dy")
        if self.virtual_batch_size is None or self._saved is None or dy.ndim == 0:
            dx = super().backward(dy)
        else:
            expected = (-1, *self._saved.x.shape[2:])
            if dy.shape != self._saved.x.reshape(expected).shape:
                raise InvalidValue(
                    f"dy must have the output's shape {self._saved.x.reshape(expected).shape}, "
                    f"but got shape {dy.shape}"
                )
            dx = super().backward(dy.reshape(self._saved.x.shape)).reshape(dy.shape)
        return dx if self._gradient_dtype is None else dx.astype(self._gradient_dtype, copy=False)

    def _differentiate(self, dy: Array) -> tuple[Array, Array, Array]:
        if self._adjusted is None:
            return super()._differentiate(dy)
        assert self._saved is not None
        adjusted, scale, gamma = self._adjusted
        axes = tuple(i for i in range(dy.ndim) if i not in self.axis)
        wide = dy.astype(np.float64)
        dx, _, _ = core.backward(self._saved, wide * gamma * scale, self._saved.x.dtype)
        return dx, (wide * adjusted).sum(axis=axes), wide.sum(axis=axes)

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as Keras 2 writes them; `adjustment` can't be among them."""
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": policies.serialize(self.dtype_policy, self.FRAMEWORK),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **self._objects_config(),
        }
        if self.renorm:
            config["renorm"] = True
            config["renorm_clipping"] = self.renorm_clipping
            config["renorm_momentum"] = self.renorm_momentum
        if self.virtual_batch_size is not None:
            config["virtual_batch_size"] = self.virtual_batch_size
        return config


def _weight_of_batch(momentum: float) -> float:
    """1 - momentum in float32, as Keras 2 has it even in a float64 layer (1.5e-8 off at 0.99)."""
    return float(np.float32(complement(momentum)))
