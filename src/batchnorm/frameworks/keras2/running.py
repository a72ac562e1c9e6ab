"""A live model run once, with chosen layers watched: what both Kerases share (`keras`)."""

from batchnorm.frameworks.keras.running import (
    descend,
    described,
    eager,
    is_last,
    one_pass,
    parameterised,
    run,
    standing,
    state,
    unchanged,
)

__all__ = [
    "descend",
    "described",
    "eager",
    "is_last",
    "one_pass",
    "parameterised",
    "run",
    "standing",
    "state",
    "unchanged",
]
