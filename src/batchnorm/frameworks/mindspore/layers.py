"""mindspore.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d.

Source: MindSpore 2.10.0 (CPU), mindspore/nn/layer/normalization.py. Signatures, recorded
questions, calls at the edge of what is accepted and drawn cases are compared with that release by
`batchnorm verify`. Deviations: the list of `BatchNorm2d`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import numpy as np

from batchnorm import core
from batchnorm.arrays import as_array
from batchnorm.computation import Computation, mask_without_channels
from batchnorm.errors import InvalidType
from batchnorm.frameworks.mindspore import initial
from batchnorm.frameworks.mindspore.checks import check_arguments, check_call, parameter_dtype
from batchnorm.frameworks.mindspore.container import Cell, load_param_into_net
from batchnorm.layer import Entry
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

GammaInit = Annotated[initial.InitializerLike, Meaning("init", "gamma")]
BetaInit = Annotated[initial.InitializerLike, Meaning("init", "beta")]
MeanInit = Annotated[initial.InitializerLike, Meaning("init", "running_mean")]
VarInit = Annotated[initial.InitializerLike, Meaning("init", "running_var")]


class BatchNorm(Cell):
    """What the three classes share; `BatchNorm2d` describes it."""

    FRAMEWORK, VERIFIED_WITH = "mindspore", "2.10.0"
    RANKS: ClassVar[tuple[int, ...]]
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
        check_arguments(name, num_features, momentum, data_format, use_batch_statistics)
        self.num_features = num_features
        self.eps = eps
        self.momentum = complement(momentum)  # MindSpore stores the other convention's number
        self.affine = self._affine = affine  # decides once, when the parameters are made
        self.gamma_init, self.beta_init = gamma_init, beta_init
        self.moving_mean_init, self.moving_var_init = moving_mean_init, moving_var_init
        self.use_batch_statistics = use_batch_statistics
        self.format = self._format = data_format
        self.training = False
        # The operators are made here: a later `eps`, `momentum` or `format` changes nothing.
        self._operator_epsilon, self._operator_momentum = eps, momentum
        self._dtype = parameter_dtype(dtype)
        inits = (moving_mean_init, moving_var_init, gamma_init, beta_init)
        self.moving_mean, self.moving_variance, self.gamma, self.beta = (
            np.array(initial.get(init, (num_features,))((num_features,), self._dtype))
            for init in inits
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

    def construct(self, x: Any) -> Array:
        """Normalize `x` of shape (N, C, ...), or (N, ..., C) with data_format="NHWC"."""
        y = self._again(x)
        if y is not None:
            return y
        x = as_array(x)
        return self._compute(x, self.decide(x.shape, x.dtype, self.training, total=self._joined))

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
        dtype = as_dtype(dtype)
        mode = self.mode(training, self.use_batch_statistics)
        axis = 1 if self._format == "NCHW" else len(shape) - 1
        epsilon, factor = self._operator_epsilon, complement(self._operator_momentum)
        batch, name = mode is not Mode.RUNNING, type(self).__name__
        parameters = {key: getattr(self, key) for key in self.STATE}
        check_call(name, self.RANKS, shape, dtype, axis, parameters, epsilon, factor, batch)
        values = math.prod(shape) // max(shape[axis], 1)
        if batch:
            everywhere = values if total is None else total(values)
            if everywhere == 0 or self.moving_mean.dtype != np.float32:
                # Nothing moves: an empty batch (a deviation), and statistics that aren't float32,
                # whose update MindSpore's CPU kernel writes into a copy that it drops.
                mode = Mode.BATCH
        settings = core.Settings((axis,), mode, epsilon, factor, self.correction(values))
        found = Computation(settings, dtype, skips_empty=True)
        masking = None if mask is None else mask_without_channels(mask, shape, axis)
        found.masking = masking if batch else None
        return found

    def example_shape(self) -> tuple[int, ...]:
        """Two of everything but the channels."""
        shape = [2] * self.RANKS[-1]
        shape[1 if self._format == "NCHW" else -1] = self.num_features
        return tuple(shape)

    def plain_arguments(self) -> dict[str, Any]:
        """Without initial values: the state is saved as it is."""
        found = super().plain_arguments()
        return {key: value for key, value in found.items() if not key.endswith("_init")}

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer that behaves as this one does."""
        found = {name: getattr(self, name, None) for name in self.PARAMETERS}
        found |= {"eps": self._operator_epsilon, "momentum": self._operator_momentum}
        if "data_format" in found:
            found["data_format"] = self._format
        return {**found, "affine": self._affine, "dtype": self._dtype.name}


class BatchNorm2d(BatchNorm):
    """Batch normalization of (N, C, H, W), as mindspore.nn.BatchNorm2d has it.

    y = (x - mean) / sqrt(var + eps) * gamma + beta, with biased batch statistics in training
    moving_* = momentum * moving_* + (1 - momentum) * {mean, var * n / (n - 1)}, n = N * H * W

    Args:
        num_features: C, an int of at least 1.
        eps: added to the variance, a float in (0, 1]; a later change of the attribute is ignored.
        momentum: weight of the old value, 0 to 1: one minus torch's. The attribute holds one minus
            this, and a later change of it is ignored.
        affine: whether gamma and beta are trained; False keeps, applies and saves them. A later
            change is ignored, as is one of `format`, which holds data_format.
        gamma_init, beta_init, moving_mean_init, moving_var_init: a number, an array of shape
            (C,), or the name of an initializer.
        use_batch_statistics: None: batch statistics in training, moving ones in inference. True:
            batch statistics, and the moving ones move, in inference too. False: moving ones.
        data_format: "NCHW" or "NHWC".
        dtype: type of the parameters; with float16 the moving ones never move.

    Shape: (N, C, H, W), or (N, H, W, C) with data_format="NHWC"; the output is shaped alike.
    Dtypes: float16 and float32, the output has the input's; computed in float64.
    State: moving_mean (0), moving_variance (1), gamma (1), beta (0), each (C,); a bare layer saves
        the first two as `mean` and `variance`.

        `gradients` holds gamma's and beta's after `backward`; nothing with affine=False.

    Deviations: NumPy arrays and dtypes are taken where MindSpore wants its own, and nothing is
        compiled. data_format="NHWC" works; MindSpore runs it on GPU only. An empty batch leaves
        the state alone, where MindSpore reads uninitialised memory. Results are closer to the
        true ones; where float32 overflows in the variance (x about 1e20) they are those still,
        and MindSpore's are 0. A checkpoint that can't be loaded changes nothing. `affine` is an
        attribute, and BatchNorm3d has those of BatchNorm2d itself, where MindSpore's has only
        `bn2d`.

    Raises:
        TypeError: an argument, input or parameter of another type.
        ValueError: an argument out of range; an input of another rank or number of channels.

    >>> layer = BatchNorm2d(2).set_train()
    >>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    >>> print(layer(x)[0, 0].round(3))
    [[-1.342 -0.447]
     [ 0.447  1.342]]
    >>> layer.state["moving_variance"]  # unbiased: 5/3, of which a tenth enters
    array([1.0666667, 1.0666667], dtype=float32)

    Source: MindSpore 2.10.0, mindspore/nn/layer/normalization.py.
    """

    RANKS = (4,)


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L); all else is as in `BatchNorm2d`.

    Shape: (N, C) or (N, C, L); the output is shaped alike.

    >>> BatchNorm1d(2).set_train()(np.float32([[0, 1], [2, 1]])).round(3).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    RANKS = (2, 3)


class BatchNorm3d(BatchNorm):
    """Batch normalization of (N, C, D, H, W); all else is as in `BatchNorm2d`.

    Shape: (N, C, D, H, W); the output is shaped alike. There is no `data_format`.
    State: as `BatchNorm2d`, saved as `bn2d.moving_mean` and so on: MindSpore holds it inside.

    >>> list(BatchNorm3d(2).parameters_dict())
    ['bn2d.moving_mean', 'bn2d.moving_variance', 'bn2d.gamma', 'bn2d.beta']
    """

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
