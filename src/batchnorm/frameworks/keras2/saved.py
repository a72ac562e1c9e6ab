"""How Keras 2's files name things, beside what both have in common (`keras/saved.py`)."""

from typing import Any

from batchnorm.frameworks.keras import saved

__all__ = ["FORMATS", "kernel_leaf"]

FORMATS = ("keras-h5",)


def kernel_leaf(form: str) -> str:
    """What the kernel of a layer of a form is called."""
    if form == "embedding":
        return "embeddings"
    return "depthwise_kernel" if form == "depthwise" else "kernel"


def __getattr__(name: str) -> Any:
    return getattr(saved, name)
