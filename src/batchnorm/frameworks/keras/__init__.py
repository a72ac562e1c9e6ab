"""What both Keras dialects share."""

from typing import Any

__all__ = ["CALLS", "FACETS"]

# What the calls of both have in common (`frameworks/calls.py`).
CALLS: dict[str, Any] = {
    "mode": ("is told the mode at each call", "bn(x, training=True) in training loops"),
    "momentum_by_hand": "set bn.momentum = 1 - 1/k before the k-th step, if it runs eagerly (a "
    "tf.function keeps the momentum that it traced); or ",
}
# Models of both run alike.
FACETS = {facet: f"{__name__}.{facet}" for facet in ("running", "tracing")}
