"""How code names what is Keras 3's."""

from __future__ import annotations

from batchnorm.frameworks.keras.source import (
    BASES,
    CLASSES,
    DATA_FORMAT,
    FROZEN,
    FUNCTION,
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

# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = SHARED
# Other normalizations -> the names that they have of those that `ROLES` is about.
NORMS = {
    f"keras.layers.{name}Normalization": frozenset({"gamma", "beta", "epsilon"})
    for name in ("Layer", "Group")
}
# How the paths of its layers and nets begin.
NETS = ("keras.", "keras_core.")
HOLDER = ""  # the package that has it as `keras`
SECOND_NAME = "keras3"  # what users call its package where its own name is taken


def inside(path: str, said: str | None) -> str | None:
    """The rest of a path behind the framework's package; None for a path elsewhere.

    `said` is which Keras `keras` is, where that is known.
    """
    found = rest_of(path, said)
    return None if found is None or found[0] != "keras" else found[1]


def owns(path: str, said: str | None) -> bool:
    """Whether a path of `LAYER` or `FUNCTIONS` is this framework's, if two share a package."""
    found = rest_of(path, said)
    return found is None or found[0] == "keras"
