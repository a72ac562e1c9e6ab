"""How Keras 2's files name things."""

from __future__ import annotations

from batchnorm.frameworks.keras.saved import (
    COUNTERS,
    COUNTLESS,
    FORMS,
    OBSERVERS,
    OPTIMIZER,
    OUTER,
    SLOTS,
    WRAPPERS,
)

__all__ = ["COUNTERS", "COUNTLESS", "FORMS", "OBSERVERS", "OPTIMIZER", "OUTER", "SLOTS", "WRAPPERS"]
