"""How code names what is Keras'; both Keras dialects have this in common.

Several packages hold a Keras, and which of the two `keras` is depends on what is installed. Facts:
keras 3.15, tf_keras 2.21, tensorflow 2.21, and the layouts of older releases.
"""

from __future__ import annotations

import re

__all__ = [
    "CLASSES", "DERIVED", "FROZEN", "GIVEN", "LAYER", "PACKAGES", "ROLES", "SHARED", "inside",
    "norms", "owns",
]  # fmt: skip

_KERAS = (
    r"(?P<package>tensorflow(?:\.compat\.v[12]|\.python|\.contrib)?\.(?:python\.)?keras|tf_keras"
    r"|keras_core|keras)"
)
_INSIDE = r"(?:\.(?:src|api|_tf_keras|keras|_v[12]|legacy))*"
_MODULE = re.compile(_KERAS + r"(?P<rest>\.[\w.]+|)")

# The layers' classes, and what several of them derive from.
CLASSES = ("BatchNormalization", "SyncBatchNormalization")
# Paths of both; `name` is the class. Keras 2 has it in two versions.
LAYER = re.compile(
    _KERAS + _INSIDE + r"\.layers(?:\.normalization(?:\.\w+)?|\.normalization_v2|\.experimental)?"
    r"\.(?P<name>SyncBatchNormalization(?!V)|BatchNormalization)(?:V[12])?"
)
GIVEN = "it normalizes by the mean and variance that it is given{other}"
# Functions in a package that may be either Keras -> what is to be done.
SHARED = {
    "keras.ops.batch_normalization": GIVEN,
    "keras.src.ops.batch_normalization": GIVEN,
    "keras.backend.batch_normalization": GIVEN,
}
# The arguments of a layer that keeps its statistics and parameters as they are.
FROZEN = "trainable=False"
# What a file imports that may use it.
PACKAGES = ("keras", "tf_keras", "tensorflow", "keras_core")
# Attribute -> what it is, in the core's words where it has one.
ROLES = {
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "epsilon": "epsilon",
    "momentum": "momentum",
    "axis": "axis",
    "center": "has_beta",
    "scale": "has_gamma",
    "trainable": "trainable",
}
# Role that no attribute says -> what says it, and what is to be seen to.
DERIVED = {
    "affine": ("{}.scale", ""),
    "channels": ("{}.moving_mean.shape[0]", "moving_mean is there once the layer is built"),
}


def norms(*packages: str) -> dict[str, frozenset[str]]:
    """Layers that stand in for one -> the names that they have of those that `ROLES` is about."""
    names = frozenset({"gamma", "beta", "epsilon"})
    return {f"{p}.layers.{n}Normalization": names for p in packages for n in ("Layer", "Group")}


def inside(name: str, path: str, said: str | None) -> str | None:
    """The rest of a path behind the package of the Keras of a name; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    found = _rest_of(path, said)
    return None if found is None or found[0] != name else found[1]


def owns(name: str, path: str, said: str | None) -> bool:
    """Whether a path of `LAYER` or `FUNCTIONS` is that Keras', as the two share a package."""
    found = _rest_of(path, said)
    return found is None or found[0] == name


def _rest_of(path: str, said: str | None) -> tuple[str, str] | None:
    """Which Keras a path lies in, and what is behind its package; None for a path elsewhere.

    Args:
        path: the dotted path, as imports say it.
        said: which Keras `keras` and `tensorflow.keras` are: "tf_keras" (Keras 2), "keras"
            (Keras 3), or None: the package `keras` is Keras 3, and TensorFlow's is Keras 2.
    """
    found = _MODULE.fullmatch(path)
    return None if found is None else (_whose(found["package"], said), found["rest"])


def _whose(package: str, said: str | None) -> str:
    if package in ("tf_keras", "keras_core"):
        return "tf_keras" if package == "tf_keras" else "keras"
    if said is not None:
        return said
    return "keras" if package == "keras" else "tf_keras"
