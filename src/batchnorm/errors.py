"""The errors of this package. Every text says what was given and what was expected.

A dialect raises the built-in class that its framework raises, so each class here is also one of
those: `except ValueError` and `except BatchNormError` both catch a bad momentum.
"""

from __future__ import annotations

__all__ = [
    "BatchNormError",
    "CheckpointError",
    "InvalidAttribute",
    "InvalidIndex",
    "InvalidRuntime",
    "InvalidType",
    "InvalidValue",
    "MissingPackage",
    "NotSupported",
]


class BatchNormError(Exception):
    """Root of every error that this package raises on purpose."""


class InvalidValue(BatchNormError, ValueError):
    """A value outside the range that the dialect accepts."""


class InvalidType(BatchNormError, TypeError):
    """An argument of a type that the dialect does not accept."""


class InvalidIndex(BatchNormError, IndexError):
    """An axis outside the input's rank, where the framework says IndexError."""


class InvalidAttribute(BatchNormError, AttributeError):
    """An attribute that the dialect's layer does not have."""


class InvalidRuntime(BatchNormError, RuntimeError):
    """What the framework's own kernel refuses at run time (RuntimeError)."""


class NotSupported(BatchNormError, NotImplementedError):
    """What the framework leaves unimplemented (NotImplementedError), such as integer inputs."""


class MissingPackage(BatchNormError, ImportError):
    """An optional package that isn't installed, or doesn't load, where it is needed."""


class CheckpointError(BatchNormError, ValueError):
    """A checkpoint that can't be read or written: names the file, the place and the reason."""
