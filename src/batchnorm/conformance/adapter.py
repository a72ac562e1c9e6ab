"""An adapter as a subject: what a stranger's few functions must be to be asked like any layer.

An adapter is an object or a module with `construct`, `set_state`, `state`, `forward` and
`backward`, and perhaps `build`, `get`, `set`, `repr`, `names` and `signature`: docs/conformance.md.
What it raises is an answer. Not here: what is asked.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.frameworks import find
from batchnorm.questions.subject import Parameter, Raised, Run
from batchnorm.vocabulary import Array

__all__ = ["NEEDED", "Adapted", "AdaptedLayer", "NotOffered", "load"]

NEEDED = ("construct", "set_state", "state", "forward", "backward")


class NotOffered(BatchNormError):
    """An adapter, or what it adapts, doesn't have what a question needs: it is not asked."""


class Adapted:
    """An adapter as a subject of a dialect."""

    def __init__(self, adapter: Any, dialect: str) -> None:
        missing = [name for name in NEEDED if not callable(getattr(adapter, name, None))]
        if missing:
            raise InvalidValue(
                f"an adapter has the functions {', '.join(NEEDED)}; this one, {adapter!r}, lacks "
                f"{', '.join(missing)} (docs/conformance.md)"
            )
        self.adapter = adapter
        self.dialect = dialect
        self.label = getattr(adapter, "__name__", type(adapter).__name__)

    @property
    def version(self) -> str:
        """Give what the adapter says of itself."""
        return str(getattr(self.adapter, "version", ""))

    def layer(self, class_name: str, *args: Any, **kwargs: Any) -> AdaptedLayer:
        """Construct a layer."""
        made = called(self.adapter, "construct", class_name, *args, **kwargs)
        return AdaptedLayer(self.adapter, self.dialect, made)

    def signature(self, class_name: str, method: str) -> list[Parameter]:
        """Give the parameters: (name, kind, default's repr or None) each."""
        found = called(self.adapter, "signature", class_name, method)
        return [Parameter(*parameter) for parameter in found]


class AdaptedLayer:
    """A layer that an adapter made."""

    def __init__(self, adapter: Any, dialect: str, layer: Any) -> None:
        self.adapter = adapter
        self.dialect = dialect
        self.layer = layer
        self.training: Any = None

    def run(self, x: Any, dy: Any = None, **call: Any) -> Run:
        """Call forward, and backward where there is a dy."""
        training = call.pop("training", self.training)
        y = np.asarray(called(self.adapter, "forward", self.layer, x, training, **call))
        if dy is None:
            return Run(y, None, {})
        dy = np.asarray(dy).astype(y.dtype, copy=False)
        dx, gradients = called(self.adapter, "backward", self.layer, dy)
        return Run(y, dx, dict(gradients))

    def state(self) -> dict[str, Array]:
        """Copy the layer's state."""
        found = called(self.adapter, "state", self.layer)
        return {name: np.array(value) for name, value in found.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Overwrite the layer's state."""
        called(self.adapter, "set_state", self.layer, dict(state))

    def train(self, mode: bool) -> None:
        """Remember the mode, which the next forward is given; Keras is told at each call."""
        if not find(self.dialect).calls.mode_method:
            raise TypeError(f"a {self.dialect} layer has no mode to set: pass training= to run")
        self.training = mode

    def build(self, shape: Sequence[int | None]) -> None:
        """Make the variables for an input shape, where the adapter has to be told."""
        if hasattr(self.adapter, "build"):
            called(self.adapter, "build", self.layer, tuple(shape))

    def get(self, name: str) -> Any:
        """Give an attribute."""
        return called(self.adapter, "get", self.layer, name)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute."""
        called(self.adapter, "set", self.layer, name, value)

    def names(self, nested: bool) -> list[str]:
        """Give the names in a checkpoint of the layer, or of a net that holds it as `bn1`."""
        return list(called(self.adapter, "names", self.layer, nested))

    def repr(self) -> str:
        """Give what repr prints."""
        return str(called(self.adapter, "repr", self.layer))


def called(adapter: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Call one function; what it raises is an answer, but for `NotOffered`."""
    function = getattr(adapter, name, None)
    if function is None:
        raise NotOffered(f"the adapter has no {name}")
    try:
        return function(*args, **kwargs)
    except NotOffered:
        raise
    except Exception as error:
        bases = [c.__name__ for c in type(error).__mro__[:-1] if c.__module__ == "builtins"]
        raise Raised(type(error).__name__, bases, str(error)) from error


def load(name: str) -> Any:
    """Import `package.module:adapter`; with no `:adapter` the module is one.

    Raises:
        InvalidValue: it can't be imported, or isn't there.
    """
    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:  # as `python -m` has it
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
        return found() if isinstance(found, type) else found
    except Exception as error:
        dotted = module.removesuffix(".py").replace("/", ".")
        hint = f"; {dotted}:{attribute}?" if dotted != module else ""
        raise InvalidValue(
            f"expected package.module:adapter that can be imported from here, but {name!r} gives "
            f"{type(error).__name__}: {error}{hint}"
        ) from error
