"""The Keras 2.6 variant of the Keras 2 dialect (TensorFlow 2.6), as far as it differs.

Source: the recorded behaviour of tensorflow 2.6.5 with keras 2.6.0 in tests/data (it needs Python
3.9 and can't be installed beside the rest).
"""

from __future__ import annotations

from batchnorm.dialects import tf_keras

__all__ = ["BatchNormalization"]


class BatchNormalization(tf_keras.BatchNormalization):
    """Batch normalization as TensorFlow 2.6 has it: the fused kernel clamps epsilon from below."""

    VERIFIED_WITH = "2.6.0"

    def _effective_epsilon(self) -> float:
        """cuDNN's minimum, which TensorFlow 2.6 applies on CPU too: 1e-5 becomes 1.001e-5."""
        if not self.fused:
            return super()._effective_epsilon()
        return float(self.epsilon) if self.epsilon > 1.001e-5 else 1.001e-5
