"""keras.layers.BatchNormalization of Keras 3.

Source: keras 3.15.1, keras/src/layers/normalization/batch_normalization.py. Signatures, recorded
questions, calls at the edge of what is accepted and drawn cases are compared with that release
(TensorFlow backend) by `batchnorm verify`. Deviations: the list of `BatchNormalization`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from batchnorm import core
from batchnorm.arrays import is_array
from batchnorm.computation import Computation
from batchnorm.errors import InvalidIndex, InvalidType, InvalidValue
from batchnorm.frameworks.keras import regularizers
from batchnorm.frameworks.keras.arguments import (
    BetaConstraint,
    BetaInit,
    BetaRegularizer,
    DtypePolicy,
    GammaConstraint,
    GammaInit,
    GammaRegularizer,
    MeanInit,
    VarInit,
)
from batchnorm.frameworks.keras.layer import KerasLayer
from batchnorm.frameworks.keras.masks import keras_masking
from batchnorm.newer_python import Unpack
from batchnorm.vocabulary import (
    Array,
    ChannelAxis,
    Epsilon,
    HasBeta,
    HasGamma,
    Housekeeping,
    Mode,
    Name,
    Renorm,
    RenormClipping,
    RenormWeightOfRunning,
    ShapeHint,
    SizeHint,
    Synchronized,
    Trainable,
    WeightOfRunning,
    as_dtype,
    complement,
)

__all__ = ["BatchNormalization"]

MASK_EPSILON = 1e-7  # keras.backend.epsilon(), added to the number of unmasked values


class Options(TypedDict, total=False):
    """What the layer takes in `**kwargs`."""

    trainable: Trainable
    name: Name
    dtype: DtypePolicy
    input_dim: SizeHint
    input_shape: ShapeHint
    activity_regularizer: Housekeeping
    autocast: Housekeeping


class BatchNormalization(KerasLayer):
    """Batch normalization as keras.layers.BatchNormalization of Keras 3 has it.

    y = (x - mean) / sqrt(var + epsilon) * gamma + beta, with biased batch statistics in training
    moving_* = momentum * moving_* + (1 - momentum) * {mean, var}, biased at any rank

    Args:
        axis: the channel axis; becomes an int.
        momentum: weight of the old value, any float: one minus torch's.
        epsilon: added to the variance, any float.
        center: whether beta exists.
        scale: whether gamma exists.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: a
            name, configuration, callable or initializer.
        beta_regularizer, gamma_regularizer: what `losses` says of beta and gamma, or None.
        beta_constraint, gamma_constraint: kept for an optimizer, which applies them; or None.
        renorm, renorm_clipping, renorm_momentum: batch renormalization, bounds {"rmax", "rmin",
            "dmax"} of its r and d, and momentum of its averages.
        synchronized: as one process has it.
        trainable: False means inference whatever `training` says.
        name, dtype: as every layer has them; `dtype` may be a policy.
        activity_regularizer: what `losses` says of the latest output, per sample, or None.
        autocast: whether floating inputs become of the compute dtype before all else.
        input_dim, input_shape: understood, without influence.

    Shape: any of rank 1 and more; the output is shaped alike. A mask lacks the last axis.
    Dtypes: any, floating ones cast to the policy's compute dtype, which the output has; computed in
        float64.
    State: gamma (1), beta (0), moving_mean (0), moving_variance (1), each (C,); with renorm
        moving_stddev (1), renorm_mean (0) and renorm_stddev (1). They have the policy's type.
        `gradients` holds gamma's and beta's after `backward`, as far as they are applied.

    Deviations: NumPy arrays are taken and returned. A bad mask or a changed axis raises ValueError,
        never a backend's exception class. Results are closer to the true ones; where float32
        overflows in the variance (x about 1e20) they are those still, and the backend's are 0.
        synchronized=True has one replica to synchronize, and needs no backend. Weights are set all
        or none. `training` and `mask` may be positional, which Keras refuses.

    Raises:
        ValueError: an unknown argument, one out of range, another shape than built for, a bad mask.
        IndexError: an axis outside the input's rank.
        TypeError: an argument of another type.

    >>> layer = BatchNormalization(axis=1)
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> print(layer(x, training=True)[0, 0].round(3))
    [[-1.341 -0.447]
     [ 0.447  1.341]]
    >>> layer.state["moving_variance"]  # biased: 5/4, of which a hundredth enters
    array([1.0025, 1.0025], dtype=float32)

    Source: keras 3.15.1, keras/src/layers/normalization/batch_normalization.py.
    """

    FRAMEWORK, VERIFIED_WITH = "keras", "3.15.1"
    KWARGS_DEFAULTS = {"trainable": True, "autocast": True}

    _built_axis: int | None = None

    def __init__(
        self,
        axis: ChannelAxis = -1,
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
        renorm: Renorm = False,
        renorm_clipping: RenormClipping = None,
        renorm_momentum: RenormWeightOfRunning = 0.99,
        synchronized: Synchronized = False,
        **kwargs: Unpack[Options],
    ) -> None:
        for key in kwargs:
            if key not in Options.__annotations__:
                raise InvalidValue(f"Unrecognized keyword argument of BatchNormalization: {key!r}")
        name, trainable = kwargs.get("name"), kwargs.get("trainable", True)
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise InvalidValue(f"'name' must be a string without '/', but got {name!r}")
        if not isinstance(trainable, bool):
            raise InvalidValue(f"'trainable' must be a bool, but got {trainable!r}")
        objects = {key: value for key, value in locals().items() if key in self.OBJECTS}
        self._start(objects, kwargs)
        self.axis = _as(int, "axis", axis)
        self.momentum = _as(float, "momentum", momentum)
        self.epsilon = _as(float, "epsilon", epsilon)
        self.autocast = kwargs.get("autocast", True)
        self.center = center
        self.scale = scale
        self.renorm = renorm
        self.renorm_clipping = renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.synchronized = synchronized
        self.trainable = trainable  # any later value becomes a bool
        if renorm:
            if not isinstance(renorm_clipping, Mapping | None):
                raise InvalidType(f"'renorm_clipping' must be a dict, but got {renorm_clipping!r}")
            self.renorm_clipping = dict(renorm_clipping or {})
            self._check_clipping()

    @property
    def trainable(self) -> bool:
        """Whether the layer trains; if not, it is in inference mode whatever `training` says."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)

    @staticmethod
    def correction() -> int:
        """The running variance gets the biased variance, at every rank and axis."""
        return 0

    def _check_clipping(self) -> None:
        unknown = sorted(set(self.renorm_clipping) - {"rmax", "rmin", "dmax"})
        rmax, rmin, dmax = (self.renorm_clipping.get(key) for key in ("rmax", "rmin", "dmax"))
        if unknown:
            raise InvalidValue(f"renorm_clipping takes rmax, rmin and dmax, but got {unknown}")
        if rmax is not None and rmin is not None and rmax < rmin:
            raise InvalidValue(f"renorm_clipping needs rmax >= rmin, but got {rmax} and {rmin}")
        if dmax is not None and dmax < 0:
            raise InvalidValue(f"renorm_clipping needs dmax >= 0, but got {dmax}")

    def build(self, input_shape: Sequence[int]) -> None:
        """Create the state for inputs of this shape, once; the first call does it by itself."""
        if self._built_axis is not None:
            raise InvalidValue(f"layer {self.name!r} is built already: make a new one instead")
        if not isinstance(input_shape, Sequence):
            raise InvalidType(f"the input's shape must be a sequence, but got {input_shape!r}")
        shape = tuple(input_shape)
        if not -len(shape) <= self.axis < len(shape):
            raise InvalidIndex(f"axis {self.axis} lies outside the input's rank {len(shape)}")
        self._check_length(self.axis, shape[self.axis], InvalidValue)
        self._input_spec = (len(shape), {self.axis: shape[self.axis]})
        self._create_state((shape[self.axis],), as_dtype(self.dtype))
        self._built_axis = self.axis % len(shape)

    def __call__(self, inputs: Any, training: Any = None, mask: Any = None) -> Array:
        """Normalize `inputs`, as `call` does, and build the layer first if need be."""
        y = self._again(inputs, training) if mask is None else None
        if y is not None:
            self._gradient_dtype = y.dtype
            self._regularize(y)
            return y
        if not is_array(inputs):
            nothing = inputs is None or (isinstance(inputs, list | tuple) and not inputs)
            error = InvalidType if nothing else InvalidValue
            raise error(f"inputs must be an array, but got {type(inputs).__name__!r}")
        given = self._array(inputs)
        self.ensure_built(given.shape)
        y = self.call(given, training, mask)
        self._gradient_dtype = given.dtype if given.dtype.kind in "fVc" else None
        self._regularize(y)
        return y

    def call(self, inputs: Array, training: Any = None, mask: Any = None) -> Array:
        """Normalize inputs of a built layer. `training=None` means inference."""
        found = self.decide(inputs.shape, inputs.dtype, bool(training), mask)
        return self._compute(inputs, found, mask=mask, how=training)

    def _decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        training: bool,
        mask: Any,
        total: Callable[[int], int] | None,
    ) -> Computation:
        mode, rank, compute = self.mode(training, self.trainable), len(shape), self.compute_dtype
        batch = mode is not Mode.RUNNING
        self._check_changes(rank)
        masking = None if mask is None else keras_masking(mask, shape, batch)
        settings = core.Settings(
            channel_axes=(self.axis % rank,),
            mode=mode,
            epsilon=self._number("epsilon"),
            exponential_average_factor=(
                complement(self._number("momentum", InvalidType)) if batch else 0.0
            ),
            correction=self.correction(),
            renorm=self._renorm_settings(),
            count_offset=self._count_offset(mask),
        )
        result = as_dtype(compute)
        casts = (result,) if dtype.kind in "fV" and self.autocast else ()
        last = casts[-1] if casts else dtype
        wide = last.name in ("float64", "complex128")
        casts = (*casts, np.dtype(np.float64 if wide else np.float32))
        return Computation(settings, result, casts, masking=masking)

    def _check_changes(self, rank: int) -> None:
        """Refuse what was changed since the layer was built and doesn't fit its state."""
        if not isinstance(self.axis, int):
            raise InvalidType(f"'axis' must be an int, but it was changed to {self.axis!r}")
        if self.axis % rank != self._built_axis:
            raise InvalidValue(
                f"layer {self.name!r} was built with axis {self._built_axis}, but its axis was "
                f"changed to {self.axis}: make a new layer instead"
            )
        for option, value in (("scale", self.gamma), ("center", self.beta)):
            if getattr(self, option) and value is None:
                raise InvalidValue(
                    f"layer {self.name!r} was built without {option}: make a new one instead"
                )

    def _count_offset(self, mask: Any) -> float:
        """Under a mask, a mean of nothing is 0; synchronised too, by a division that says so."""
        if mask is not None:
            return MASK_EPSILON
        return float(np.finfo(np.float64).tiny) if self.synchronized else 0.0

    def _renorm_settings(self) -> core.Renorm | None:
        if not self.renorm:
            return None
        for key, bound in self.renorm_clipping.items():
            if bound is not None and not isinstance(bound, int | float | np.number):
                raise InvalidValue(f"renorm_clipping needs numbers, but {key!r} is {bound!r}")
        if isinstance(self.renorm_momentum, str):
            raise InvalidType(f"'renorm_momentum' must be a number, got {self.renorm_momentum!r}")
        return core.Renorm(complement(self._number("renorm_momentum")), **self.renorm_clipping)

    def backward(self, dy: Any) -> Array:
        """The gradient of the inputs; see `Layer.backward`."""
        dx = super().backward(dy)
        if self._gradient_dtype is None:
            return dx
        # Back through both casts: of the inputs to the compute dtype, and of that to float32.
        with np.errstate(all="ignore"):
            if self.autocast:
                dx = dx.astype(as_dtype(self.compute_dtype), copy=False)
            return dx.astype(self._gradient_dtype, copy=False)

    def applies(self, role: str) -> bool:
        """With `scale` or `center` off, be it later, gamma or beta isn't applied."""
        return not ((role == "gamma" and not self.scale) or (role == "beta" and not self.center))

    def _trains(self, role: str) -> bool:
        """A parameter of integers has no gradient."""
        value = self._value(role)
        return value is not None and value.dtype.kind not in "iub"

    def _regularization_losses(self) -> list[float]:
        """Nothing of a frozen layer."""
        return super()._regularization_losses() if self.trainable else []

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output: the input's, in which the axis must lie."""
        if input_shape is None:
            raise InvalidType("the input's shape must be a sequence, but got None")
        if not -len(input_shape) <= self.axis < len(input_shape):
            raise InvalidValue(f"axis {self.axis} lies outside the input's shape {input_shape}")
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as Keras 3 writes them."""
        config = self._common_config()
        if self.activity_regularizer is not None:
            written = regularizers.serialize(self.activity_regularizer, self.FRAMEWORK)
            first = {key: config.pop(key) for key in ("name", "trainable", "dtype")}
            config = {**first, "activity_regularizer": written, **config}
        return {
            **config,
            "synchronized": self.synchronized,
            "renorm": self.renorm,
            "renorm_clipping": self.renorm_clipping,
            "renorm_momentum": self.renorm_momentum,
        }

    def __repr__(self) -> str:
        return f"<BatchNormalization name={self.name}, built={self.built}>"


def _as(kind: type[int] | type[float], name: str, value: Any) -> Any:
    """What `int` or `float` makes of a setting."""
    text = f"{name!r} must be {'an' if kind is int else 'a'} {kind.__name__}, but got {value!r}"
    try:
        return kind(value)
    except TypeError:
        raise InvalidType(text) from None
    except ValueError:
        raise InvalidValue(text) from None
