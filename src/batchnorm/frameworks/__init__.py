"""The rooms, one per framework, and which module declares the layers of each dialect."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType

__all__ = ["DECLARATIONS", "declaration_of", "dialect_of"]

DECLARATIONS: Mapping[str, str] = {
    "torch": "torch.layers",
    "mindspore": "mindspore.layers",
    "mindspore_2_0": "mindspore.v2_0",
    "tf_keras": "keras2.layers",
    "tf_keras_2_6": "keras2.v2_6",
    "keras": "keras3.layers",
}


def declaration_of(dialect: str) -> ModuleType:
    """The module that declares a dialect's layers, by its name in `batchnorm` or with a version."""
    name = dialect.replace("@", "_").replace(".", "_")
    return importlib.import_module(f"batchnorm.frameworks.{DECLARATIONS[name]}")


def dialect_of(layer: type) -> str | None:
    """The name in `batchnorm` of the dialect whose module declares a class; None for none."""
    names = {f"batchnorm.frameworks.{module}": name for name, module in DECLARATIONS.items()}
    return names.get(layer.__module__)
