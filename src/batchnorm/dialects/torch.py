"""torch.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d.

Source: PyTorch 2.13.0, torch/nn/modules/batchnorm.py and torch/nn/functional.py; every behaviour
here is compared with that release in tests/against. Deviations: NumPy arrays, dtypes and names of
dtypes are taken where torch wants its own; the numbers are right where torch's are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from batchnorm import core
from batchnorm.arrays import as_array, is_array
from batchnorm.dialects.state_dict import VERSION, IncompatibleKeys, StateDict, load
from batchnorm.errors import (
    InvalidAttribute,
    InvalidIndex,
    InvalidRuntime,
    InvalidType,
    InvalidValue,
    NotSupported,
)
from batchnorm.layer import Entry, Layer
from batchnorm.vocabulary import (
    Affine,
    Array,
    BetaIfAffine,
    Device,
    Epsilon,
    Mode,
    NumFeatures,
    ParameterDtype,
    Tracking,
    WeightOfBatch,
    as_dtype,
)

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]

SIXTEEN_BIT = (np.dtype(np.float16), as_dtype("bfloat16"))
FLOATING = (np.dtype(np.float32), np.dtype(np.float64), *SIXTEEN_BIT)


class BatchNorm(Layer):
    FRAMEWORK, VERIFIED_WITH = "torch", "2.13.0"
    RANKS: ClassVar[tuple[int, ...]]
    STATE = {
        "weight": Entry("gamma", needs=("affine",)),
        "bias": Entry("beta", needs=("affine", "bias")),
        "running_mean": Entry("running_mean", needs=("track_running_stats",)),
        "running_var": Entry("running_var", needs=("track_running_stats",)),
        "num_batches_tracked": Entry("count", needs=("track_running_stats",)),
    }

    def __init__(
        self,
        num_features: NumFeatures,
        eps: Epsilon = 1e-5,
        momentum: WeightOfBatch = 0.1,
        affine: Affine = True,
        track_running_stats: Tracking = True,
        device: Device = None,
        dtype: ParameterDtype = None,
        *,
        bias: BetaIfAffine = True,
    ) -> None:
        _check_device(device)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.training = True
        self.weight = _filled(num_features, 1, dtype) if affine else None
        self.bias = _filled(num_features, 0, dtype) if affine and bias else None
        self.running_mean = _filled(num_features, 0, dtype) if track_running_stats else None
        self.running_var = _filled(num_features, 1, dtype) if track_running_stats else None
        self.num_batches_tracked = np.array(0, np.int64) if track_running_stats else None
        self.gradients = {}

    @staticmethod
    def mode(training: bool, track_running_stats: bool, buffers: bool) -> Mode:
        """Batch statistics in training, and in evaluation without buffers: the buffers decide."""
        if training:
            return Mode.BATCH_AND_UPDATE if track_running_stats and buffers else Mode.BATCH
        return Mode.RUNNING if buffers else Mode.BATCH

    @staticmethod
    def correction() -> int:
        """The running variance gets the unbiased variance, n / (n - 1) of the biased one."""
        return 1

    def train(self, mode: bool = True) -> BatchNorm:
        """Training mode, in which a new layer is; `requires_grad` has no say in this."""
        if not isinstance(mode, bool):
            raise InvalidValue(f"training mode is expected to be boolean, but got {mode!r}")
        self.training = mode
        return self

    def eval(self) -> BatchNorm:
        """Evaluation mode: `train(False)`."""
        return self.train(False)

    def __call__(self, input: Any) -> Array:
        """Normalize `input` of shape (N, C, ...), as `forward` does."""
        return self.forward(input)

    def forward(self, input: Any) -> Array:
        """Normalize `input` of shape (N, C, ...); in training the buffers and the counter move."""
        if not is_array(input):
            raise InvalidAttribute(f"expected an array, but got {type(input).__name__!r} object")
        x = as_array(input)
        self._check_input_dim(x)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1  # also when the call fails further down, as in torch
            if self.momentum is None:  # cumulative average over batches
                factor = 1.0 / float(self.num_batches_tracked)
        has_mean, has_var = self.running_mean is not None, self.running_var is not None
        mode = self.mode(self.training, self._tracks(), has_mean or has_var)
        self._check_call(x, factor, mode)
        if x.size == 0:
            return self._pass_empty(x)
        self._check_arrays(x)
        settings = core.Settings((1,), mode, self.eps, factor, self.correction())
        return self._compute(x, settings, out=_empty_like(x))

    def state_dict(self, prefix: str = "") -> StateDict:
        """The layer's own arrays (not copies) by name, with torch's version metadata."""
        found = StateDict({prefix + name: getattr(self, name) for name in self._present()})
        found._metadata = {prefix.removesuffix("."): {"version": VERSION}}
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values in, converted to the layer's types (with `assign`, keeping their own).

        `num_batches_tracked` may be missing where the mapping's metadata has no version or one
        below 2. Raises RuntimeError for missing or unexpected names (if `strict`) and for other
        shapes; nothing is changed then.
        """
        own = {name: getattr(self, name) for name in self._present()}
        values, incompatible = load(type(self).__name__, own, state_dict, strict)
        for name, value in values.items():
            if assign:
                setattr(self, name, np.array(state_dict.get(name, value)))
            else:
                own[name][...] = value
        return incompatible

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches tracked."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean[...], self.running_var[...] = 0, 1
        if self.num_batches_tracked is not None:
            self.num_batches_tracked[...] = 0

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer with the present settings."""
        dtypes = {np.asarray(value).dtype for value in self.state.values()} - {np.dtype(np.int64)}
        own = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
        return {
            **{name: getattr(self, name) for name in list(self.PARAMETERS)[:5]},
            "device": None,
            "dtype": None if own == np.float32 else own.name,
            "bias": self.bias is not None or not self.affine,
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_features}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats})"
        )

    def _check_input_dim(self, x: Array) -> None:
        if x.ndim not in self.RANKS:
            expected = " or ".join(f"{rank}D" for rank in self.RANKS)
            raise InvalidValue(f"expected {expected} input (got {x.ndim}D input)")

    def _check_call(self, x: Array, factor: Any, mode: Mode) -> None:
        """What torch's function checks, in its order."""
        batch = mode is not Mode.RUNNING
        if batch and math.prod(x.shape[:1] + x.shape[2:]) == 1:
            raise InvalidValue(
                f"Expected more than 1 value per channel when training, got input size {x.shape}"
            )
        if batch and self.eps <= 0.0:
            raise InvalidValue(f"batch_norm eps must be positive during training, got {self.eps}")
        if self.eps < 0.0:
            raise InvalidValue(f"batch_norm eps must be non-negative, but got {self.eps}")
        if not isinstance(factor, int | float | np.floating | np.integer):
            raise InvalidType(f"momentum must be float or None, not {type(factor).__name__}")

    def _check_arrays(self, x: Array) -> None:
        """What torch's kernels check, in their order; an empty batch doesn't come this far."""
        used = ["running_mean", "running_var"] if not self.training or self._tracks() else []
        present = [name for name in used if getattr(self, name) is not None]
        if len(present) == 1 and not self.training:
            other = next(name for name in used if name not in present)
            raise InvalidRuntime(f"{other} must be defined in evaluation mode")
        if len(present) == 1:
            raise InvalidValue(
                "running_mean and running_var must either both be None or neither be None, "
                f"but only {present[0]} is there"
            )
        present += [name for name in ("weight", "bias") if getattr(self, name) is not None]
        for name in present:
            size = getattr(self, name).size
            if size != x.shape[1]:
                raise InvalidRuntime(f"{name} should contain {x.shape[1]} elements not {size}")
        if x.dtype not in FLOATING:
            raise NotSupported(f'"batch_norm" not implemented for {x.dtype.name!r}')
        dtypes = {getattr(self, name).dtype for name in present}
        mixed = x.dtype in SIXTEEN_BIT and dtypes == {np.dtype(np.float32)}
        if dtypes - {x.dtype} and not mixed:
            raise InvalidRuntime(
                "mixed dtype: input and parameters must share one dtype, or the input have 16 bits "
                f"and the parameters be float32; got input {x.dtype.name} and parameters "
                f"{sorted(d.name for d in dtypes)}"
            )

    def _pass_empty(self, x: Array) -> Array:
        """An empty batch of any dtype and number of channels: the buffers stay, gradients are 0.

        As torch multiplies it by the first weight and adds the first bias, an empty batch of
        integers comes out in their dtype, and without channels there is no first one.
        """
        dtype = x.dtype
        for parameter in (self.weight, self.bias):
            if parameter is not None and parameter.size == 0:
                raise InvalidIndex(f"an input without channels needs affine=False, got {x.shape}")
            if parameter is not None and _category(dtype) < _category(parameter.dtype):
                dtype = parameter.dtype
        settings = core.Settings((1,), Mode.BATCH, self.eps)
        y, _, self._saved = core.forward(x.real, None, None, None, settings, dtype=dtype)
        return y

    def _differentiate(self, dy: Array) -> tuple[Array, Array, Array]:
        dx, *gradients = super()._differentiate(dy)
        if dy.size == 0:
            gradients = [np.zeros(1 if p is None else p.size) for p in (self.weight, self.bias)]
        return dx, gradients[0], gradients[1]

    def _tracks(self) -> bool:
        return bool(self.track_running_stats)


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L)."""

    RANKS = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalization of (N, C, H, W)."""

    RANKS = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalization of (N, C, D, H, W)."""

    RANKS = (5,)


def _check_device(device: Any) -> None:
    if device is not None and str(device) != "cpu":
        raise InvalidRuntime(f"device must be None or 'cpu' (arrays are NumPy's), got {device!r}")


def _filled(num_features: Any, value: float, dtype: Any) -> Array:
    """A parameter of the given size, checked as torch.empty checks it."""
    sizes = num_features if isinstance(num_features, tuple | list) else (num_features,)
    for size in sizes:
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise InvalidType(f"num_features must be an int, not {type(size).__name__}: {size!r}")
        if int(size) < 0:
            raise InvalidRuntime(f"num_features must not be negative, but got {size}")
    try:
        resolved = np.dtype(np.float32) if dtype is None else as_dtype(dtype)
    except TypeError:
        raise InvalidType(f"dtype must be a NumPy dtype or its name, but got {dtype!r}") from None
    if resolved.kind not in "fc" and resolved not in FLOATING:
        raise InvalidRuntime(
            f"only floating point and complex dtypes can require gradients, got {resolved.name}"
        )
    return np.full([int(size) for size in sizes], value, resolved)


def _category(dtype: np.dtype[Any]) -> int:
    """Boolean, integer, floating, complex: what a scalar parameter can promote across."""
    return 2 if dtype in FLOATING else {"b": 0, "i": 1, "u": 1}.get(dtype.kind, 3)


def _empty_like(x: Array) -> Array:
    """An output laid out as torch lays it out: channels last stays so, all else is contiguous."""
    moved = np.moveaxis(x, 1, -1)
    if x.ndim > 3 and moved.flags.c_contiguous and not x.flags.c_contiguous:
        return np.moveaxis(np.empty(moved.shape, x.dtype), -1, 1)
    return np.empty(x.shape, x.dtype)
