"""mindspore.mint.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d.

Source: MindSpore 2.10.0, mindspore/mint/nn/layer/normalization.py, which says of itself that it is
adapted from torch's. It computes by torch's rule (`frameworks/torch/layers.py`), and is a cell of
MindSpore: it starts in inference mode. Its kernel runs on Ascend only, so signature, state, names,
printing and errors before the kernel are tested against the installed release, and the numbers
rest on the source. Deviations: the list of `BatchNorm2d`.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from batchnorm.arrays import is_array
from batchnorm.errors import InvalidAttribute, InvalidType, InvalidValue
from batchnorm.frameworks.torch import layers as torch
from batchnorm.frameworks.torch.checks import new_parameter
from batchnorm.layer import Entry
from batchnorm.newer_python import Self
from batchnorm.vocabulary import (
    Affine,
    Array,
    Epsilon,
    NumFeatures,
    ParameterDtype,
    Tracking,
    WeightOfBatch,
)

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class Absent:
    """A method of torch's modules that a cell hasn't."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type) -> NoReturn:
        raise InvalidAttribute(f"The {owner.__name__!r} object has no attribute {self.name!r}.")


class BatchNorm(torch.BatchNorm):
    """What the three classes share; `BatchNorm2d` describes it."""

    FRAMEWORK, VERIFIED_WITH = "mint", "2.10.0"
    INNER: ClassVar[str] = ""
    STATE = {**torch.BatchNorm.STATE, "bias": Entry("beta", needs=("affine",))}
    train, eval, state_dict, load_state_dict = Absent(), Absent(), Absent(), Absent()

    def __init__(
        self,
        num_features: NumFeatures,
        eps: Epsilon = 1e-5,
        momentum: WeightOfBatch = 0.1,
        affine: Affine = True,
        track_running_stats: Tracking = True,
        dtype: ParameterDtype = None,
    ) -> None:
        if isinstance(num_features, int) and num_features < 0:
            raise InvalidValue(f"num_features must not be negative, but got {num_features}")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.training = False
        # Parameters of any dtype are made: the kernel is what refuses.
        one, zero = (new_parameter(num_features, v, dtype, trained=False) for v in (1, 0))
        self.weight, self.bias = (one, zero) if affine else (None, None)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean, self.running_var = zero.copy(), one.copy()
            self.num_batches_tracked = new_parameter((), 0, "int64", trained=False)
        self.gradients = {}

    def set_train(self, mode: bool = True) -> Self:
        """Training or inference; a new layer is in inference mode."""
        self.training = mode  # MindSpore takes anything; what counts is whether it is true
        return self

    def __call__(self, input: Any) -> Array:
        """Normalize `input`, as `construct` does."""
        return self.construct(input)

    def construct(self, input: Any) -> Array:
        """Normalize `input` of shape (N, C, ...); in training the buffers and the counter move."""
        if not is_array(input):
            raise InvalidType(f"the input must be an array, but got {type(input)}")
        return self.forward(input)

    def parameters_dict(self, recurse: bool = True, *, name: str = "") -> dict[str, Array]:
        """The layer's own arrays (not copies) as a checkpoint spells them, as `name` of a net."""
        front = f"{name}." if name else ""
        return {front + own: getattr(self, own) for own in self._present()}

    def trainable_params(self, recurse: bool = True) -> list[str]:
        """Names of the parameters that an optimizer gets."""
        return [own for own in ("weight", "bias") if getattr(self, own) is not None]

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer with the present settings."""
        found = super().arguments()
        return {name: found[name] for name in self.PARAMETERS}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_features={self.num_features}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats})"
        )


class BatchNorm2d(BatchNorm):
    """Batch normalization of (N, C, H, W), as mindspore.mint.nn.BatchNorm2d has it.

    y = (x - mean) / sqrt(var + eps) * weight + bias, with biased batch statistics in training
    running_* = (1 - momentum) * running_* + momentum * {mean, var * n / (n - 1)}, n = N * H * W

    Args:
        num_features: C, an int of at least 0.
        eps: added to the variance, above 0 in training, at least 0 in inference.
        momentum: weight of the new batch, any float; None makes running_* the mean over batches.
        affine: whether weight and bias exist.
        track_running_stats: whether buffers exist; without them batch statistics normalize in
            inference too. Set later, it decides in training only: in inference the buffers do.
        dtype: type of parameters and buffers, None for float32.

    Shape: (N, C, H, W); the output is shaped alike.
    Dtypes: float16, bfloat16 and float32, as the parameters have; a 16-bit input may have float32
        parameters. The output has the input's; computed in float64.
    State: weight (1), bias (0), running_mean (0), running_var (1), each (C,), and
        num_batches_tracked (0), an int64. `gradients` holds weight's and bias's after `backward`.

    Deviations: NumPy arrays, dtypes and names of dtypes are taken where MindSpore wants its own.
        What Ascend's kernel refuses isn't known here: refused is what torch refuses, one value
        per channel in training among it; float64 works. Neither is its rounding.

    Raises:
        ValueError: an input of another rank, one value per channel in training, eps out of range.
        RuntimeError: another number of channels, mixed dtypes, one of the two buffers missing.
        NotImplementedError: an input that isn't floating.
        TypeError: an input that is no array; num_features, dtype or momentum of another type.

    >>> layer = BatchNorm2d(2).set_train()
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> print(layer(x)[0, 0].round(3))
    [[-1.342 -0.447]
     [ 0.447  1.342]]
    >>> layer.state["running_var"]  # unbiased: 5/3, of which a tenth enters
    array([1.0666667, 1.0666667], dtype=float32)

    Source: MindSpore 2.10.0, mindspore/mint/nn/layer/normalization.py.
    """

    RANKS = (4,)


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L); all else is as in `BatchNorm2d`.

    Shape: (N, C) or (N, C, L); the output is shaped alike.

    >>> print(BatchNorm1d(2).set_train()(np.float32([[0, 1], [2, 1]])).round(3))
    [[-1.  0.]
     [ 1.  0.]]
    """

    RANKS = (2, 3)


class BatchNorm3d(BatchNorm):
    """Batch normalization of (N, C, D, H, W); all else is as in `BatchNorm2d`.

    Shape: (N, C, D, H, W); the output is shaped alike.

    >>> BatchNorm3d(2)(np.zeros((4, 2, 3, 5, 5), np.float32)).shape
    (4, 2, 3, 5, 5)
    """

    RANKS = (5,)
