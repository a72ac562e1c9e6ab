"""mindspore.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d.

Source: MindSpore 2.10.0 (CPU), mindspore/nn/layer/normalization.py; every behaviour here is
compared with that release in tests/against. Deviations: NumPy arrays and dtypes are taken where
MindSpore wants its own; data_format="NHWC" works (MindSpore runs it on GPU only); an empty batch
leaves the state alone, where MindSpore reads uninitialised memory.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np

from batchnorm import core
from batchnorm.arrays import as_array, is_array
from batchnorm.dialects.initializers import MindSporeInitializerLike, get_mindspore
from batchnorm.dialects.parameters_dict import load_param_into_net, names
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.layer import Entry, Layer
from batchnorm.vocabulary import (
    Array,
    DataFormat,
    Epsilon,
    ForcedStatistics,
    Meaning,
    Mode,
    NumFeatures,
    ParameterDtype,
    TrainAffine,
    WeightOfRunning,
    as_dtype,
    complement,
)

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "load_param_into_net"]

GammaInit = Annotated[MindSporeInitializerLike, Meaning("init", "gamma")]
BetaInit = Annotated[MindSporeInitializerLike, Meaning("init", "beta")]
MeanInit = Annotated[MindSporeInitializerLike, Meaning("init", "running_mean")]
VarInit = Annotated[MindSporeInitializerLike, Meaning("init", "running_var")]

RUNNABLE = (np.dtype(np.float16), np.dtype(np.float32))


class BatchNorm(Layer):
    """What the three classes share."""

    FRAMEWORK, VERIFIED_WITH = "mindspore", "2.10.0"
    RANKS: ClassVar[tuple[int, ...]]
    INNER: ClassVar[str] = ""  # the inner layer that holds the parameters, with a dot
    STATE = {
        "moving_mean": Entry("running_mean", bare_name="mean"),
        "moving_variance": Entry("running_var", bare_name="variance"),
        "gamma": Entry("gamma"),
        "beta": Entry("beta"),
    }

    def __init__(
        self,
        num_features: NumFeatures,
        eps: Epsilon = 1e-5,
        momentum: WeightOfRunning = 0.9,
        affine: TrainAffine = True,
        gamma_init: GammaInit = "ones",
        beta_init: BetaInit = "zeros",
        moving_mean_init: MeanInit = "zeros",
        moving_var_init: VarInit = "ones",
        use_batch_statistics: ForcedStatistics = None,
        data_format: DataFormat = "NCHW",
        dtype: ParameterDtype = "float32",
    ) -> None:
        name = type(self).__name__
        if type(num_features) is not int:
            got = type(num_features).__name__
            raise InvalidType(f"For {name!r}, 'num_features' should be 'int', but got {got!r}.")
        if num_features < 1:
            raise InvalidValue(
                f"For {name!r}, 'num_features' must be at least 1, but got {num_features}."
            )
        if momentum < 0 or momentum > 1:
            raise InvalidValue(
                f"For {name!r}, 'momentum' must be a number in range [0, 1], but got {momentum}."
            )
        if data_format not in ("NCHW", "NHWC"):
            raise InvalidValue(
                f"For {name!r}, 'data_format' must be 'NCHW' or 'NHWC', but got {data_format!r}."
            )
        if use_batch_statistics is not None and not isinstance(use_batch_statistics, bool):
            raise InvalidValue(
                f"For {name!r}, 'use_batch_statistics' must be a boolean value or None, "
                f"but got {use_batch_statistics!r}."
            )
        self.num_features = num_features
        self.eps = eps
        self.momentum = complement(momentum)  # MindSpore stores the other convention's number
        self.affine = affine
        self.gamma_init, self.beta_init = gamma_init, beta_init
        self.moving_mean_init, self.moving_var_init = moving_mean_init, moving_var_init
        self.use_batch_statistics = use_batch_statistics
        self.format = data_format
        self.training = False
        # The operators are made here, so a later `eps` or `momentum` of the layer changes nothing.
        self._operator_epsilon, self._operator_momentum = eps, momentum
        inits = (moving_mean_init, moving_var_init, gamma_init, beta_init)
        self.moving_mean, self.moving_variance, self.gamma, self.beta = (
            _parameter(init, num_features, dtype) for init in inits
        )
        if not isinstance(affine, bool):
            raise InvalidType(f"For {name!r}, 'affine' must be bool, but got {affine!r}.")
        self.gradients = {}

    @staticmethod
    def mode(training: bool, use_batch_statistics: bool | None) -> Mode:
        """`use_batch_statistics` decides if given, inference included; else training decides."""
        batch = training if use_batch_statistics is None else use_batch_statistics
        return Mode.BATCH_AND_UPDATE if batch else Mode.RUNNING

    @staticmethod
    def correction(count: int) -> int:
        """Unbiased, unguarded: one value per channel makes the running variance 0/0 = NaN."""
        return 1

    def set_train(self, mode: bool = True) -> BatchNorm:
        """Training or inference; a new layer is in inference mode."""
        if not isinstance(mode, bool):
            raise InvalidType(f"set_train takes True or False, but got {mode!r}.")
        self.training = mode
        return self

    def __call__(self, x: Any) -> Array:
        """Normalize `x`, as `construct` does."""
        return self.construct(x)

    def construct(self, x: Any) -> Array:
        """Normalize `x` of shape (N, C, ...), or (N, ..., C) with data_format="NHWC"."""
        if not is_array(x):
            raise InvalidType(f"the input must be an array, but got {type(x).__name__!r}.")
        x = as_array(x)
        mode = self.mode(self.training, self.use_batch_statistics)
        axis = 1 if self.format == "NCHW" else x.ndim - 1
        self._check_call(x, mode, axis)
        if x.size == 0 or self.moving_mean.dtype != np.float32:
            # Nothing moves: an empty batch (a deviation), and statistics that aren't float32,
            # whose update MindSpore's CPU kernel writes into a copy that it drops.
            mode = Mode.BATCH if mode is Mode.BATCH_AND_UPDATE else mode
        factor = complement(self._operator_momentum)
        correction = self.correction(x.size // x.shape[axis])
        settings = core.Settings((axis,), mode, self._operator_epsilon, factor, correction)
        return self._compute(x, settings)

    def parameters_dict(self, name: str = "") -> dict[str, Array]:
        """The layer's own arrays (not copies) as a checkpoint spells them.

        Bare (no `name`) the statistics are called `mean` and `variance`; as attribute `name` of a
        net they are `name.moving_mean` and `name.moving_variance`.
        """
        return {spelled: getattr(self, own) for own, spelled in names(self, name).items()}

    def trainable_params(self) -> list[str]:
        """Names of the parameters that an optimizer gets: none with affine=False."""
        return ["gamma", "beta"] if self.affine else []

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer that behaves as this one does."""
        return {
            **{name: getattr(self, name, None) for name in self.PARAMETERS},
            "eps": self._operator_epsilon,
            "momentum": self._operator_momentum,
            **({"data_format": self.format} if "data_format" in self.PARAMETERS else {}),
            "dtype": self.gamma.dtype.name,
        }

    def __repr__(self) -> str:
        spelled = names(self)
        entries = ", ".join(
            f"{own}=Parameter (name={spelled[own]}, shape={getattr(self, own).shape}, "
            f"dtype={getattr(self, own).dtype.name.capitalize()}, "
            f"requires_grad={own in self.trainable_params()})"
            for own in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (
            f"{type(self).__name__}(num_features={self.num_features}, eps={self.eps}, "
            f"momentum={complement(self.momentum)}, {entries})"
        )

    def _trains(self, role: str) -> bool:
        return self.affine

    def _check_call(self, x: Array, mode: Mode, axis: int) -> None:
        name, batch = type(self).__name__, mode is not Mode.RUNNING
        if x.ndim not in self.RANKS:
            expected = " or ".join(str(rank) for rank in self.RANKS)
            raise InvalidValue(f"For {name!r}, the input must have {expected} dims, got {x.ndim}.")
        eps, weight = self._operator_epsilon, complement(self._operator_momentum)
        if not isinstance(eps, float):
            raise InvalidType(f"For {name!r}, 'eps' must be float, but got {type(eps).__name__}.")
        if batch and not isinstance(weight, float):
            raise InvalidType(
                f"For {name!r}, 'momentum' must be float, not {type(weight).__name__}."
            )
        dtypes = {"x": x.dtype, **{key: getattr(self, key).dtype for key in self.STATE}}
        for key, dtype in dtypes.items():
            if dtype not in RUNNABLE:
                raise InvalidType(
                    f"For {name!r}, {key!r} must be float16 or float32, but got {dtype.name}."
                )
        if not 0 < np.float32(eps) <= 1:
            raise InvalidValue(f"For {name!r}, 'eps' must be in (0, 1] (float32), but got {eps}.")
        if batch and np.isnan(weight):
            raise InvalidValue(f"For {name!r}, 'momentum' must be in [0, 1], but got {weight}.")
        if x.shape[axis] != self.num_features:
            raise InvalidValue(
                f"For {name!r}, 'num_features' is {self.num_features}, but the input has "
                f"{x.shape[axis]} channels (axis {axis} of shape {x.shape})."
            )


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L)."""

    RANKS = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalization of (N, C, H, W)."""

    RANKS = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalization of (N, C, D, H, W); MindSpore keeps its parameters in `bn2d`."""

    RANKS, INNER = (5,), "bn2d."

    def __init__(
        self,
        num_features: NumFeatures,
        eps: Epsilon = 1e-5,
        momentum: WeightOfRunning = 0.9,
        affine: TrainAffine = True,
        gamma_init: GammaInit = "ones",
        beta_init: BetaInit = "zeros",
        moving_mean_init: MeanInit = "zeros",
        moving_var_init: VarInit = "ones",
        use_batch_statistics: ForcedStatistics = None,
        dtype: ParameterDtype = "float32",
    ) -> None:
        inits = (gamma_init, beta_init, moving_mean_init, moving_var_init)
        super().__init__(
            num_features, eps, momentum, affine, *inits, use_batch_statistics, dtype=dtype
        )

    @property
    def bn2d(self) -> BatchNorm3d:
        """The layer that holds the parameters in MindSpore: here the layer itself."""
        return self


def _parameter(init: Any, num_features: int, dtype: Any) -> Array:
    if dtype is None:
        raise InvalidValue("'dtype' must have a value: a NumPy dtype or its name, but got None.")
    try:
        resolved = as_dtype(dtype)
    except TypeError:
        raise InvalidType(f"'dtype' must be a dtype or its name, but got {dtype!r}.") from None
    return np.array(get_mindspore(init, (num_features,))((num_features,), resolved))
