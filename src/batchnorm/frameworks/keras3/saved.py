"""How Keras 3's files name things, beside what both have in common (`keras/saved.py`)."""

from typing import Any

from batchnorm.frameworks.keras import saved

__all__ = ["FORMATS", "kernel_leaf"]

FORMATS = ("keras", "keras-weights")


def kernel_leaf(form: str) -> str:
    """What the kernel of a layer of a form is called."""
    return "embeddings" if form == "embedding" else "kernel"


def __getattr__(name: str) -> Any:
    return getattr(saved, name)
