"""The Keras 2.6 variant of the Keras 2 dialect (TensorFlow 2.6), as far as it differs.

Source: the recorded behaviour of tensorflow 2.6.5 with keras 2.6.0 in tests/data (it needs Python
3.9 and can't be installed beside the rest), and what was measured of its errors.
"""

from __future__ import annotations

from typing import Any

from batchnorm.arrays import as_array, is_array
from batchnorm.errors import InvalidValue
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
        if is_array(inputs) and as_array(inputs).dtype.kind in "iub":
            raise InvalidValue(f"inputs must be floating, but their dtype is {inputs.dtype}")
        size = self.virtual_batch_size
        if is_array(inputs) and size and len(inputs) % size:
            raise InvalidValue(
                f"virtual_batch_size={size} doesn't divide the batch, in inference too"
            )
        return super().__call__(inputs, training)

    def _effective_epsilon(self) -> float:
        """What is below the smallest becomes it: 1e-5 becomes 1.001e-5."""
        if not self.fused:
            return super()._effective_epsilon()
        return float(self.epsilon) if self.epsilon > SMALLEST_EPSILON else SMALLEST_EPSILON
