"""Which frameworks there are: one room each, and those that other packages bring.

A room holds all that is known of a framework: its record here in the list, and one module per
facet (`framework.py`). No other file of this package names a framework. Another package adds one
by an entry point of the group `batchnorm.frameworks` that gives a record, or several.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from batchnorm.frameworks import keras2, keras3, mindspore, mint, torch
from batchnorm.frameworks.framework import FACETS, Framework
from batchnorm.frameworks.names import resolve

__all__ = [
    "FACETS",
    "GROUP",
    "OWN",
    "ROOMS",
    "Framework",
    "current",
    "declaration_of",
    "dialect_of",
    "find",
    "known",
    "of",
]

GROUP = "batchnorm.frameworks"
ROOMS = (torch, mindspore, keras2, keras3, mint)
# The newest of each first.
OWN = tuple(sorted((r for room in ROOMS for r in room.RECORDS), key=lambda record: record.older))


@cache
def known() -> tuple[Framework, ...]:
    """All frameworks: those that a name without a version means first, then older versions.

    Another package's record that doesn't load, or that takes a name that is taken, is left out
    with a warning.
    """
    found = list(OWN)
    for entry in entry_points(group=GROUP):
        for record in _brought(entry):
            taken = next((each.name for each in found if each.name == record.name), None)
            if taken is not None:
                warnings.warn(f"{_text(entry)}: {taken!r} is known already", stacklevel=2)
            else:
                found.append(record)
    return tuple(sorted(found, key=lambda record: record.older))


def current() -> tuple[Framework, ...]:
    """The frameworks in the versions that a name without a version means."""
    return tuple(record for record in known() if not record.older)


def find(name: str | Framework) -> Framework:
    """The framework that a name means, as a user writes it.

    Args:
        name: a name (`torch`, `tf_keras`), an alias (`PyTorch`, `tf.keras`, `ms`), either with a
            version (`mindspore@2.0`, `keras@2`, `Keras 3`), or a layer's path
            (`torch.nn.BatchNorm1d`). A record is given back.

    Raises:
        ValueError: no framework, or not in that version; says which there are.

    >>> find("PyTorch").name, find("keras2").name, find("mindspore@2.0").module
    ('torch', 'tf_keras', 'mindspore_2_0')
    """
    return name if isinstance(name, Framework) else resolve(name, known())


def of(layer: type) -> Framework | None:
    """The framework whose declaration a class stands in; None for none."""
    found = (r for r in known() if r.module_of("layers") == layer.__module__)
    return next(found, None)


def declaration_of(dialect: str) -> ModuleType:
    """The module that declares a framework's layers, by any of its names."""
    return find(dialect).room("layers")


def dialect_of(layer: type) -> str | None:
    """The name in `batchnorm` of the framework whose module declares a class; None for none."""
    found = of(layer)
    return None if found is None else found.module


def _brought(entry: EntryPoint) -> tuple[Framework, ...]:
    """What another package's entry point gives: a record or several."""
    try:
        given = entry.load()
    except Exception as error:
        warnings.warn(f"{_text(entry)}: {type(error).__name__}: {error}", stacklevel=3)
        return ()
    records = (given,) if isinstance(given, Framework) else given
    if isinstance(records, tuple | list) and all(isinstance(r, Framework) for r in records):
        return tuple(records)
    warnings.warn(f"{_text(entry)}: {given!r} is no record of a framework", stacklevel=3)
    return ()


def _text(entry: EntryPoint) -> str:
    return f"entry point {entry.name!r} of the group {GROUP!r} ({entry.value}) is left out"
