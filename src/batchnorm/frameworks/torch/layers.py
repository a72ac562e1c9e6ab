"""torch.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d.

Source: PyTorch 2.13.0, torch/nn/modules/batchnorm.py and torch/nn/functional.py. Signatures,
recorded questions, calls at the edge of what is accepted and drawn cases are compared with that
release by `batchnorm verify`. Deviations: the list of `BatchNorm2d`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from batchnorm import core
from batchnorm.arrays import as_array, is_array
from batchnorm.computation import Computation, mask_without_channels
from batchnorm.errors import InvalidAttribute, InvalidIndex, InvalidValue
from batchnorm.frameworks.torch.checks import (
    FLOATING,
    check_arrays,
    check_call,
    check_device,
    empty_like,
    new_parameter,
)
from batchnorm.frameworks.torch.container import Module
from batchnorm.layer import Entry
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


class BatchNorm(Module):
    """What the three classes share; `BatchNorm2d` describes it."""

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
        check_device(device)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.training = True
        self.weight = new_parameter(num_features, 1, dtype) if affine else None
        self.bias = new_parameter(num_features, 0, dtype) if affine and bias else None
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean = new_parameter(num_features, 0, dtype, trained=False)
            self.running_var = new_parameter(num_features, 1, dtype, trained=False)
            self.num_batches_tracked = np.array(0, np.int64)
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

    def forward(self, input: Any) -> Array:
        """Normalize `input` of shape (N, C, ...); in training the buffers and the counter move."""
        y = self._again(input)
        if y is not None:
            self._count()
            return y
        if not is_array(input):
            raise InvalidAttribute(f"expected an array, but got {type(input).__name__!r} object")
        x = as_array(input)
        self._check_rank(x.ndim)
        try:
            found = self.decide(x.shape, x.dtype, self.training, total=self._joined)
        finally:  # also when the call is refused, as in torch
            self._count()
        if found.passes:
            return self._pass_empty(x, found)
        return self._compute(x, found, out=empty_like(x))

    def decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | str,
        training: bool,
        mask: Any = None,
        *,
        total: Callable[[int], int] | None = None,
    ) -> Computation:
        """What the layer does with an input; see `Layer.decide`. A mask leaves values out."""
        self._check_rank(len(shape))
        dtype = as_dtype(dtype)
        has_mean, has_var = self.running_mean is not None, self.running_var is not None
        mode = self.mode(training, bool(self.track_running_stats), has_mean or has_var)
        batch = mode is not Mode.RUNNING
        tracked = self.num_batches_tracked if training and self.track_running_stats else None
        factor = 0.0 if self.momentum is None else self.momentum
        if tracked is not None and self.momentum is None:  # cumulative average over batches
            factor = 1.0 / (float(tracked) + 1.0)
        values = shape[0] * math.prod(shape[2:])
        if batch and total is not None:
            values = total(values)
        check_call(shape, values, self.eps, factor, batch)
        if 0 in shape and (values == 0 or shape[1] == 0):
            settings = core.Settings((1,), Mode.BATCH, self.eps)
            found = Computation(settings, self._promoted(dtype, shape), passes=True)
            found.counts = tracked is not None
            return found
        used = not training or self.track_running_stats
        buffers = {"running_mean": self.running_mean, "running_var": self.running_var}
        parameters = {"weight": self.weight, "bias": self.bias}
        check_arrays(shape, dtype, buffers if used else {}, parameters, training)
        settings = core.Settings((1,), mode, self.eps, factor, self.correction())
        found = Computation(settings, dtype, skips_empty=True, counts=tracked is not None)
        found.cumulative = self.momentum is None and self.num_batches_tracked is not None
        masking = None if mask is None else mask_without_channels(mask, shape, 1)
        found.masking = masking if batch else None
        return found

    def example_shape(self) -> tuple[int, ...]:
        """Two of everything but the channels."""
        rank = self.RANKS[-1]
        return (2, self.num_features, *[2] * (rank - 2))

    def _check_rank(self, rank: int) -> None:
        if rank not in self.RANKS:  # before anything is counted
            expected = " or ".join(f"{rank}D" for rank in self.RANKS)
            raise InvalidValue(f"expected {expected} input (got {rank}D input)")

    def _count(self) -> None:
        """One batch more."""
        if not self.training or not self.track_running_stats or self.num_batches_tracked is None:
            return
        if isinstance(self.num_batches_tracked, np.ndarray):
            self.num_batches_tracked[...] += 1
        else:  # a number that the user has set
            self.num_batches_tracked += 1

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches tracked."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean[...], self.running_var[...] = 0, 1
        if self.num_batches_tracked is not None:
            self.num_batches_tracked[...] = 0

    def reset_parameters(self) -> None:
        """What `reset_running_stats` does, and weight 1, bias 0."""
        self.reset_running_stats()
        for parameter, value in ((self.weight, 1), (self.bias, 0)):
            if parameter is not None:
                parameter[...] = value

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

    def _pass_empty(self, x: Array, found: Computation) -> Array:
        """An empty batch of any dtype and number of channels: the buffers stay, gradients are 0."""
        settings, dtype = found.settings, found.dtype
        y, _, self._saved = core.forward(x.real, None, None, None, settings, dtype=dtype)
        return y

    def _promoted(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.dtype[Any]:
        """The type of an empty batch's result.

        As torch multiplies it by the first weight and adds the first bias, an empty batch of
        integers comes out in their dtype, and without channels there is no first one.
        """
        for parameter in (self.weight, self.bias):
            if parameter is not None and parameter.size == 0:
                raise InvalidIndex(f"an input without channels needs affine=False, got {shape}")
            if parameter is not None and _category(dtype) < _category(parameter.dtype):
                dtype = parameter.dtype
        return dtype

    def _differentiate(self, dy: Array) -> tuple[Array, Array, Array]:
        dx, *gradients = super()._differentiate(dy)
        if dy.size == 0:
            gradients = [np.zeros(1 if p is None else p.size) for p in (self.weight, self.bias)]
        return dx, gradients[0], gradients[1]


class BatchNorm2d(BatchNorm):
    """Batch normalization of (N, C, H, W), as torch.nn.BatchNorm2d has it.

    y = (x - mean) / sqrt(var + eps) * weight + bias, with biased batch statistics in training
    running_* = (1 - momentum) * running_* + momentum * {mean, var * n / (n - 1)}, n = N * H * W

    Args:
        num_features: C, an int of at least 0.
        eps: added to the variance, above 0 in training, at least 0 in evaluation.
        momentum: weight of the new batch, any float; None makes running_* the mean over batches.
        affine: whether weight and bias exist.
        track_running_stats: whether buffers exist; without them batch statistics normalize in
            evaluation too. Set later, it decides in training only: in evaluation the buffers do.
        device: None or "cpu".
        dtype: floating type of parameters and buffers, None for float32.
        bias: whether bias exists, where weight does.

    Shape: (N, C, H, W); the output is shaped and laid out alike.
    Dtypes: float16, bfloat16, float32, float64, as the parameters have; a 16-bit input may have
        float32 parameters. The output has the input's; computed in float64.
    State: weight (1), bias (0), running_mean (0), running_var (1), each (C,), and
        num_batches_tracked (0), an int64. `gradients` holds weight's and bias's after `backward`.

    Deviations: NumPy arrays, dtypes and names of dtypes are taken where torch wants its own, and
        the one device is "cpu". Results are closer to the true ones; where float32 overflows in
        the variance (x about 1e20) they are those still, and torch's are 0. A state_dict that
        can't be loaded changes nothing, and state_dict takes keywords only.

    Raises:
        ValueError: an input of another rank, one value per channel in training, eps out of range.
        RuntimeError: another number of channels, mixed dtypes, one of the two buffers missing.
        NotImplementedError: an input that isn't floating.
        AttributeError: an input that is no array.
        TypeError: num_features, dtype or momentum of another type.

    >>> layer = BatchNorm2d(2)
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> print(layer(x)[0, 0].round(3))
    [[-1.342 -0.447]
     [ 0.447  1.342]]
    >>> layer.state["running_var"]  # unbiased: 5/3, of which a tenth enters
    array([1.0666667, 1.0666667], dtype=float32)

    Source: PyTorch 2.13.0, torch/nn/modules/batchnorm.py.
    """

    RANKS = (4,)


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L); all else is as in `BatchNorm2d`.

    Shape: (N, C) or (N, C, L); the output is shaped alike.

    >>> print(BatchNorm1d(2)(np.float32([[0, 1], [2, 1]])).round(3))
    [[-1.  0.]
     [ 1.  0.]]
    """

    RANKS = (2, 3)


class BatchNorm3d(BatchNorm):
    """Batch normalization of (N, C, D, H, W); all else is as in `BatchNorm2d`.

    Shape: (N, C, D, H, W); the output is shaped and laid out alike.

    >>> BatchNorm3d(2)(np.zeros((4, 2, 3, 5, 5), np.float32)).shape
    (4, 2, 3, 5, 5)
    """

    RANKS = (5,)


def _category(dtype: np.dtype[Any]) -> int:
    """Boolean, integer, floating, complex: what a scalar parameter can promote across."""
    return 2 if dtype in FLOATING else {"b": 0, "i": 1, "u": 1}.get(dtype.kind, 3)
