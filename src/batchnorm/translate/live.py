"""A live layer of ours as a call: its class, its present settings as arguments, its shape.

Settings changed after construction count, since the layer's attributes are read. Real layers of the
frameworks come here through `batchnorm.read`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.frameworks.keras.objects import is_object
from batchnorm.layer import Layer
from batchnorm.translate.argument import Argument, of_value
from batchnorm.translate.canonical import neutral
from batchnorm.translate.form import Form, form_of
from batchnorm.translate.reading import READERS, default_of

__all__ = ["Live", "live"]

# A built Keras layer has a name that it gave itself, and weights that the state carries over.
_NOT_SETTINGS = ("name", "weights", "device")


@dataclass(frozen=True)
class Live:
    """A layer's form and the arguments that differ from its defaults."""

    form: Form
    arguments: dict[str, Argument]
    rank: int | None
    num_features: int | None


def live(layer: Layer) -> Live:
    """Read a layer's settings."""
    form = form_of(layer)
    settings = {k: v for k, v in layer.arguments().items() if k in form.parameters}
    rank = num_features = None
    if form.dialect.is_keras and getattr(layer, "built", False):
        rank, lengths = layer._input_spec  # type: ignore[attr-defined]
        num_features = next(iter(lengths.values())) if len(lengths) == 1 else None
        axes = list(lengths)
        settings["axis"] = axes[0] if len(axes) == 1 else axes
        if settings["axis"] == rank - 1:
            settings["axis"] = -1
        if settings.get("fused") is True:  # what the automatic choice was
            settings["fused"] = None
    arguments = {}
    for name, value in settings.items():
        argument = _argument(name, value)
        if name not in _NOT_SETTINGS and (
            form.parameters[name].required or not _is_default(argument, name, form)
        ):
            arguments[name] = argument
    return Live(form, arguments, rank, num_features)


def _argument(name: str, value: Any) -> Argument:
    if is_object(value) or isinstance(value, np.ndarray):
        return Argument(name, value)  # written in the target's words, if it has any
    return of_value(value, name)


def _is_default(argument: Argument, name: str, form: Form) -> bool:
    parameter = form.parameters[name]
    found, default = neutral(), neutral()
    reader = READERS[parameter.meaning.word]
    reader(found, argument, parameter, form.dialect)
    reader(default, default_of(parameter), parameter, form.dialect)
    return all(found[slot].same(default[slot]) for slot in default if slot in found)
