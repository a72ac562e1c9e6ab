"""How code names what is Keras 2's."""

from __future__ import annotations

from batchnorm.frameworks.keras.source import (
    BASES,
    CLASSES,
    DATA_FORMAT,
    FROZEN,
    FUNCTION,
    GIVEN,
    IGNORED,
    INFERENCE,
    INNER,
    LAYER,
    PACKAGES,
    ROLES,
    SHARED,
    rest_of,
)

__all__ = [
    "BASES", "CLASSES", "DATA_FORMAT", "FROZEN", "FUNCTION", "FUNCTIONS", "HOLDER", "IGNORED",
    "INFERENCE", "INNER", "LAYER", "NETS", "NORMS", "PACKAGES", "ROLES", "SECOND_NAME", "inside",
    "owns",
]  # fmt: skip

_FUSED = "it gives the batch's statistics beside y, and moves none"
_MADE = "it makes variables where it is called, as TensorFlow 1 does: make a layer once instead"
# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = {
    **SHARED,
    "tensorflow.nn.batch_normalization": GIVEN,
    "tensorflow.nn.batch_norm_with_global_normalization": GIVEN,
    "tensorflow.compat.v1.nn.fused_batch_norm": _FUSED,
    "tensorflow.nn.fused_batch_norm": _FUSED,
    "tensorflow.layers.batch_normalization": _MADE,
    "tensorflow.compat.v1.layers.batch_normalization": _MADE,
    "tensorflow.layers.BatchNormalization": _MADE,
    "tensorflow.compat.v1.layers.BatchNormalization": _MADE,
    "tensorflow.contrib.layers.batch_norm": _MADE,
}
# Other normalizations -> the names that they have of those that `ROLES` is about.
NORMS = {
    f"{package}.layers.{name}Normalization": frozenset({"gamma", "beta", "epsilon"})
    for package in ("tf_keras", "tensorflow.keras")
    for name in ("Layer", "Group")
}
# How the paths of its layers and nets begin.
NETS = ("tf_keras.", "tensorflow.keras.")
HOLDER = "tensorflow"  # the package that has it as `keras`
SECOND_NAME = ""  # what users call its package where its own name is taken


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    found = rest_of(path, said)
    return None if found is None or found[0] != "tf_keras" else found[1]


def owns(path: str, said: str | None) -> bool:
    """Whether a path of `LAYER` or `FUNCTIONS` is this framework's, if two share a package."""
    found = rest_of(path, said)
    return found is None or found[0] == "tf_keras"
