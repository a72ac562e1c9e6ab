"""Dialect layers inside the frameworks that people train with: `torch`, `keras` and `jax`.

Each submodule imports its framework, so each is imported when it is first asked for.
"""

import importlib
from types import ModuleType

_LATER = ("jax", "keras", "torch")


def __getattr__(name: str) -> ModuleType:
    """Import a host when it is first asked for."""
    if name in _LATER:
        return importlib.import_module(f"batchnorm.hosts.{name}")
    raise AttributeError(f"module 'batchnorm.hosts' has no attribute {name!r}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
