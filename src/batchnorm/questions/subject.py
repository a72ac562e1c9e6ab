"""The one interface through which questions, proofs and verification talk to a layer.

A subject is a dialect that can be asked: `Ours` here, this package's own layers, or the real
framework, `batchnorm.verify.oracle.Oracle`. Whoever asks can't tell which one answers. Not here:
what is asked (the questions), and how two answers are compared (verify).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from batchnorm.frameworks import find
from batchnorm.vocabulary import Array

__all__ = [
    "Adjustment",
    "LayerUnderTest",
    "OurLayer",
    "Ours",
    "Parameter",
    "Raised",
    "Run",
    "Subject",
    "mode_method",
]

# How each framework says which mode a layer is in. Keras has no such method: it is asked per call.


class Raised(Exception):
    """What a layer raised, the framework's or ours: a possible answer, not a failure to ask.

    Attributes:
        name: the exception's own class name.
        bases: the built-in exception classes that it is one of, nearest first (itself included).
        text: its message.
    """

    def __init__(self, name: str, bases: Sequence[str], text: str) -> None:
        super().__init__(name, tuple(bases), text)
        self.name = name
        self.bases = tuple(bases)
        self.text = text

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class Run(NamedTuple):
    """What one call gave; without a dy there is no dx and there are no gradients.

    `gradients` has the layer's own names for the parameters that train. `dx` is None too where
    the framework gives no gradient, as for an input of integers.
    """

    y: Array
    dx: Array | None
    gradients: dict[str, Array]


class Parameter(NamedTuple):
    """One parameter of a signature; `kind` is the name of an `inspect.Parameter` kind."""

    name: str
    kind: str
    default: str | None  # its repr; None where there is no default


@dataclass(frozen=True, eq=False)
class Adjustment:
    """An `adjustment` for Keras 2: a function of the input's shape that gives two constants."""

    scale: Array
    bias: Array

    def __call__(self, shape: Any) -> tuple[Array, Array]:
        """Give scale and bias, whatever the shape."""
        return self.scale, self.bias


class LayerUnderTest(Protocol):
    """One layer that can be asked; every method may raise `Raised`."""

    def run(self, x: Any, dy: Any = None, **call: Any) -> Run:
        """Call the layer once, so that its state moves once, and differentiate sum(y * dy).

        `dy` is taken in the dtype of y. `call` holds the framework's own keywords.
        """

    def state(self) -> dict[str, Array]:
        """Give parameters and statistics by the framework's attribute names, in its order."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Overwrite the state; `state` has exactly the names that `state()` gives."""

    def train(self, mode: bool) -> None:
        """Set training (True) or inference mode; TypeError for Keras, where no such mode is."""

    def build(self, shape: Sequence[int | None]) -> None:
        """Make the variables for an input shape, which only Keras' layers have to be told."""

    def get(self, name: str) -> Any:
        """Give an attribute: a plain value or an array, else its repr. Names may have dots."""

    def set(self, name: str, value: Any) -> None:
        """Set an attribute as a user would. Names may have dots."""

    def repr(self) -> str:
        """Give what repr prints."""


class Subject(Protocol):
    """A dialect that can be asked. Arguments are NumPy arrays and dtypes and plain values.

    A framework that wants its own gets its own: tensors for arrays, its dtypes for NumPy's.
    Strings, NumPy scalars, tuples and dicts (such as Keras' configurations of an initializer,
    `{"class_name": ..., "config": ...}`) arrive as they are.
    """

    @property
    def dialect(self) -> str:
        """Give torch, mindspore, tf_keras or keras."""

    @property
    def version(self) -> str:
        """Give the framework's version; for ours, the one that it was verified with."""

    @property
    def label(self) -> str:
        """Give a name for reports."""

    def layer(self, class_name: str, *args: Any, **kwargs: Any) -> LayerUnderTest:
        """Construct a layer as the framework's user does."""

    def signature(self, class_name: str, method: str) -> list[Parameter]:
        """Give the parameters of the constructor (`__init__`) or of the call (`call`)."""


class Ours:
    """Our own layers as a subject: `Ours("torch")`, `Ours("mindspore@2.0")`."""

    def __init__(self, name: str) -> None:
        self._framework = find(name)
        self.dialect = self._framework.framework
        self.label = f"batchnorm.{self._framework.name}"
        self._module = self._framework.room("layers")

    @property
    def version(self) -> str:
        """Give the version that the dialect was verified with."""
        return self._framework.version

    def layer(self, class_name: str, *args: Any, **kwargs: Any) -> OurLayer:
        """Construct one of our layers."""
        with as_raised():
            return OurLayer(self.dialect, getattr(self._module, class_name)(*args, **kwargs))

    def signature(self, class_name: str, method: str) -> list[Parameter]:
        """Give the parameters of our constructor (`__init__`) or call (`call`)."""
        with as_raised():
            layer_class = getattr(self._module, class_name)
            function = getattr(layer_class, "__call__" if method == "call" else method)
            parameters = list(inspect.signature(function).parameters.values())[1:]
        return [
            Parameter(p.name, p.kind.name, None if p.default is p.empty else repr(p.default))
            for p in parameters
        ]


class OurLayer:
    """One of our layers under test."""

    def __init__(self, dialect: str, layer: Any) -> None:
        self.dialect = dialect
        self.layer = layer

    def run(self, x: Any, dy: Any = None, **call: Any) -> Run:
        """Call forward, and backward where there is a dy."""
        with as_raised():
            y = self.layer(x, **call)
            if dy is None:
                return Run(y, None, {})
            dx = self.layer.backward(np.asarray(dy).astype(y.dtype, copy=False))
            return Run(y, dx, dict(self.layer.gradients))

    def state(self) -> dict[str, Array]:
        """Copy the layer's state."""
        with as_raised():
            return {name: np.array(value) for name, value in self.layer.state.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Overwrite the layer's state."""
        with as_raised():
            self.layer.load_state(state)

    def train(self, mode: bool) -> None:
        """Set the mode as the dialect does."""
        method = mode_method(self.dialect)
        with as_raised():
            getattr(self.layer, method)(mode)

    def build(self, shape: Sequence[int | None]) -> None:
        """Make the variables for an input shape."""
        with as_raised():
            self.layer.build(tuple(shape))

    def get(self, name: str) -> Any:
        """Give an attribute."""
        with as_raised():
            return functools.reduce(getattr, name.split("."), self.layer)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute."""
        with as_raised():
            *owners, attribute = name.split(".")
            setattr(functools.reduce(getattr, owners, self.layer), attribute, value)

    def repr(self) -> str:
        """Give what repr prints."""
        with as_raised():
            return repr(self.layer)


def mode_method(dialect: str) -> str:
    """Give the name of the method that sets a layer's mode; TypeError where there is none."""
    method = find(dialect).calls.mode_method
    if not method:
        raise TypeError(f"a {dialect} layer has no mode to set: pass training= to run instead")
    return method


def builtin_bases(error: BaseException) -> list[str]:
    """Name the built-in exception classes that an exception is one of, nearest first."""
    classes = type(error).__mro__[:-1]  # the last one is object
    return [c.__name__ for c in classes if c.__module__ == "builtins"]


@contextlib.contextmanager
def as_raised() -> Iterator[None]:
    """Turn whatever is raised inside into `Raised`, as an oracle does."""
    try:
        yield
    except Exception as error:
        raise Raised(type(error).__name__, builtin_bases(error), str(error)) from error
