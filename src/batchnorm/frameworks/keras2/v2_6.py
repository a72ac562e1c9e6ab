"""The Keras 2.6 variant of the Keras 2 dialect (TensorFlow 2.6), as far as it differs.

Source: the recorded behaviour of tensorflow 2.6.5 with keras 2.6.0 in tests/data (it needs Python
3.9 and can't be installed beside the rest), and what was measured of its errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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
from batchnorm.frameworks.keras2 import layers as tf_keras
from batchnorm.frameworks.keras2.options import Options
from batchnorm.newer_python import Unpack
from batchnorm.vocabulary import (
    Array,
    ChannelAxes,
    Epsilon,
    HasBeta,
    HasGamma,
    WeightOfRunning,
)

__all__ = ["SMALLEST_EPSILON", "BatchNormalization"]

SMALLEST_EPSILON = 1.001e-5  # cuDNN's minimum, which TensorFlow 2.6 applies on CPU too


class BatchNormalization(tf_keras.BatchNormalization):
    """Batch normalization as TensorFlow 2.6 has it: no `synchronized`, no mask, clamped epsilon."""

    VERIFIED_WITH = "2.6.0"

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
        **kwargs: Unpack[Options],
    ) -> None:
        if isinstance(axis, tuple):
            raise InvalidValue(f"'axis' must be an int or a list of ints, but got {axis!r}")
        super().__init__(
            axis,
            momentum,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            moving_mean_initializer,
            moving_variance_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )

    def __call__(  # type: ignore[override]  # 2.6 has no mask: what is missing is the difference
        self, inputs: Any, training: Any = None
    ) -> Array:
        """Normalize `inputs` of a floating or complex dtype; there is no mask yet."""
        return super().__call__(inputs, training)

    def decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | str,
        training: bool,
        mask: Any = None,
        *,
        total: Callable[[int], int] | None = None,
    ) -> Computation:
        """What the layer does with an input, without any mask; see `Layer.decide`."""
        if mask is not None:
            raise InvalidType("TensorFlow 2.6's layer takes no mask, which came with 2.11")
        return super().decide(shape, dtype, training, total=total)

    def _check_inputs(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if dtype.kind in "iub":
            raise InvalidValue(f"inputs must be floating, but their dtype is {dtype}")
        size = self.virtual_batch_size
        if size and shape and shape[0] % size:
            raise InvalidValue(
                f"virtual_batch_size={size} doesn't divide the batch, in inference too"
            )

    def _effective_epsilon(self) -> float:
        """What is below the smallest becomes it: 1e-5 becomes 1.001e-5."""
        if not self.fused:
            return super()._effective_epsilon()
        return float(self.epsilon) if self.epsilon > SMALLEST_EPSILON else SMALLEST_EPSILON
