"""The MindSpore 2.0 variant of the MindSpore dialect (CPU), as far as it differs.

Source: mindspore 2.0.0, which `batchnorm verify` asks where `python -m tests.older_frameworks` has
made an environment for it (it needs Python 3.9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from batchnorm.computation import Computation
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.mindspore.layers import (
    BetaInit,
    GammaInit,
    MeanInit,
    VarInit,
    load_param_into_net,
)
from batchnorm.vocabulary import (
    DataFormat,
    Epsilon,
    ForcedStatistics,
    NumFeatures,
    TrainAffine,
    WeightOfRunning,
)

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "load_param_into_net"]


class BatchNorm(mindspore.BatchNorm):
    """What the three classes share: no `dtype` yet, the biased variance, `eps` checked at once."""

    VERIFIED_WITH, BRACKETS = "2.0.0", ("<", ">", "  >")

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
    ) -> None:
        inits = (gamma_init, beta_init, moving_mean_init, moving_var_init)
        super().__init__(
            num_features, eps, momentum, affine, *inits, use_batch_statistics, data_format
        )
        if not isinstance(eps, float):
            raise InvalidType(f"'eps' must be 'float', but got {type(eps).__name__!r}.")
        if eps <= 0 or eps > 1:
            raise InvalidValue(f"'eps' must be in range of (0, 1], but got {eps}.")

    @staticmethod
    def correction(count: int) -> int:
        """MindSpore 2.0 averages the biased variance, so one value per channel adds 0."""
        return 0

    def decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | str,
        training: bool,
        mask: Any = None,
        *,
        total: Callable[[int], int] | None = None,
    ) -> Computation:
        """What the layer does with an input, which must not be empty: 2.0 has no empty tensors."""
        if 0 in shape:
            raise InvalidValue(f"the input can not contain zero dimension, but got {shape}.")
        return super().decide(shape, dtype, training, mask, total=total)

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer that behaves as this one does."""
        found = super().arguments()
        del found["dtype"]
        return found


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
    ) -> None:
        inits = (gamma_init, beta_init, moving_mean_init, moving_var_init)
        super().__init__(num_features, eps, momentum, affine, *inits, use_batch_statistics)

    @property
    def bn2d(self) -> BatchNorm3d:
        """The layer that holds the parameters in MindSpore: here the layer itself."""
        return self
