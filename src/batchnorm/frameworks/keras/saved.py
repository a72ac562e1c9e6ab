"""How Keras's files name things beside a model's layers; both Keras dialects have this in common.

Facts: keras 3.15 and tf_keras 2.21, files of both (tests/data/checkpoints). Layers have names of
their own, so nothing wraps them, and a `.keras` file keeps other objects in groups of their own.
"""

from __future__ import annotations

__all__ = ["COUNTERS", "COUNTLESS", "FORMS", "OBSERVERS", "OPTIMIZER", "OUTER", "SLOTS", "WRAPPERS"]

WRAPPERS: tuple[str, ...] = ()
OUTER: tuple[str, ...] = ()
COUNTERS: tuple[str, ...] = ()
OBSERVERS: tuple[str, ...] = ()
OPTIMIZER = ("optimizer", "optimizer_weights", "metrics", "loss")
SLOTS: tuple[str, ...] = ()
# What a class says of its kernel.
FORMS = {
    "Dense": "dense",
    "Embedding": "embedding",
    **{f"Conv{n}D": "conv" for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": "conv_transpose" for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": "depthwise" for n in (1, 2)},
}
COUNTLESS: tuple[str, ...] = ()
