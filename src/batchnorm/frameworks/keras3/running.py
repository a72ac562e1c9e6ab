"""A live model run once, with chosen layers watched: what both Kerases share (`keras`)."""

from batchnorm.frameworks.keras.running import (
    CALLS,
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
    "CALLS",
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
