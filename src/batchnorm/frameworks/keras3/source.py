"""How code names what is Keras 3's, beside what both have in common (`keras/source.py`)."""

from __future__ import annotations

from functools import partial
from typing import Any

from batchnorm.frameworks.keras import source

__all__ = ["FUNCTIONS", "NETS", "NORMS", "SECOND_NAME", "inside", "owns"]

# Paths of functions and classes of batch normalization that no plan covers -> what is to be done.
FUNCTIONS = source.SHARED
NORMS = source.norms("keras")
# How the paths of its layers and nets begin.
NETS = ("keras.", "keras_core.")
SECOND_NAME = "keras3"  # what users call its package where its own name is taken
inside = partial(source.inside, "keras")
owns = partial(source.owns, "keras")


def __getattr__(name: str) -> Any:
    return getattr(source, name)
