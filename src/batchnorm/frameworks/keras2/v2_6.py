"""The Keras 2.6 variant of the Keras 2 dialect (TensorFlow 2.6), as far as it differs.

Source: tensorflow 2.6.5 with keras 2.6.0, which `batchnorm verify` asks where
`python -m tests.older_frameworks` has made an environment for it (it needs Python 3.9).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        if "synchronized" in kwargs:
            raise InvalidType("Keyword argument not understood: 'synchronized' came with 2.12")
        self._axis_is_tuple = isinstance(axis, tuple)
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

    def build(self, input_shape: Sequence[int]) -> None:
        """Create the state; 2.6 writes resolved axes into its list before it looks at them."""
        rank, axes = len(input_shape), [self.axis] if isinstance(self.axis, int) else self.axis
        if self._axis_is_tuple:
            if any(axis < 0 for axis in axes):
                raise InvalidType(f"a negative axis must be in a list, but got {tuple(axes)}")
            self.fused = rank in (4, 5) if self.fused is None else self.fused
            if self.fused:
                raise InvalidValue(f"the fused kernel takes no tuple, but got axis={tuple(axes)}")
        elif rank:
            self.axis = [axis + rank if axis < 0 else axis for axis in axes]
            if any(not 0 <= axis < rank for axis in self.axis):
                raise InvalidValue(f"'axis' must lie within rank {rank}, but got {axes}")
        super().build(input_shape)

    def _decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        training: bool,
        mask: Any,
        total: Callable[[int], int] | None,
    ) -> Computation:
        if dtype.kind in ("iubc" if self.fused else "iub"):
            raise InvalidValue(f"inputs must be floating, but their dtype is {dtype}")
        size = self.virtual_batch_size
        if size and (not isinstance(size, int) or shape[0] % size):
            raise InvalidValue(
                f"virtual_batch_size={size} doesn't divide the batch, in inference too"
            )
        if self.fused and self.compute_dtype == "bfloat16":
            raise InvalidValue("2.6's fused kernel gives nothing in bfloat16: write fused=False")
        return super()._decide(shape, dtype, training, mask, total)

    def _effective_epsilon(self) -> float:
        """What is below the smallest becomes it: 1e-5 becomes 1.001e-5."""
        if not self.fused:
            return super()._effective_epsilon()
        return float(self.epsilon) if self.epsilon > SMALLEST_EPSILON else SMALLEST_EPSILON
