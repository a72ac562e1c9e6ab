"""Batch normalization exactly as PyTorch, MindSpore and Keras define it, and the bridge between.

`torch`, `mindspore`, `tf_keras` and `keras` hold each framework's layers, in NumPy; no framework is
needed or loaded. `read` takes a framework's own live layer. What the command `batchnorm` does is
done by functions of the same names and words: `explain`, `translate`, `convert`, `inspect`,
`compare`, `diagnose`, `lint`, `rewrite`, `verify`. Each is loaded when it is first asked for.
"""

import functools
import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchnorm import checkpoints, core, hosts
    from batchnorm.convert.compare import compare
    from batchnorm.convert.conversion import convert
    from batchnorm.convert.fold import fold, unfold
    from batchnorm.convert.inspect import inspect
    from batchnorm.convert.structure import graph
    from batchnorm.core.threads import get_num_threads, set_num_threads
    from batchnorm.diagnose import diagnose
    from batchnorm.errors import BatchNormError, CheckpointError
    from batchnorm.explain import explain
    from batchnorm.frameworks.keras2 import layers as tf_keras
    from batchnorm.frameworks.keras2 import v2_6 as tf_keras_2_6
    from batchnorm.frameworks.keras3 import layers as keras
    from batchnorm.frameworks.mindspore import layers as mindspore
    from batchnorm.frameworks.mindspore import v2_0 as mindspore_2_0
    from batchnorm.frameworks.mint import layers as mint
    from batchnorm.frameworks.torch import layers as torch
    from batchnorm.lint import lint
    from batchnorm.read import read
    from batchnorm.recalibrate import recalibrate
    from batchnorm.rewrite import rewrite
    from batchnorm.translate import translate
    from batchnorm.verify import verify

__all__ = [
    "BatchNormError",
    "CheckpointError",
    "checkpoints",
    "compare",
    "convert",
    "core",
    "diagnose",
    "explain",
    "fold",
    "get_num_threads",
    "graph",
    "hosts",
    "inspect",
    "keras",
    "lint",
    "mindspore",
    "mindspore_2_0",
    "mint",
    "read",
    "recalibrate",
    "rewrite",
    "set_num_threads",
    "tf_keras",
    "tf_keras_2_6",
    "torch",
    "translate",
    "unfold",
    "verify",
]
__version__ = "0.1.0"

_FUNCTIONS = {  # and classes: the module that each is taken from
    "BatchNormError": "errors",
    "CheckpointError": "errors",
    "compare": "convert",
    "convert": "convert",
    "diagnose": "diagnose",
    "explain": "explain",
    "fold": "convert",
    "get_num_threads": "core.threads",
    "graph": "convert",
    "inspect": "convert",
    "lint": "lint",
    "read": "read",
    "recalibrate": "recalibrate",
    "rewrite": "rewrite",
    "set_num_threads": "core.threads",
    "translate": "translate",
    "unfold": "convert",
    "verify": "verify",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for."""
    if name in _FUNCTIONS:
        found = _function(name)
    elif name.startswith("_"):
        raise AttributeError(f"module 'batchnorm' has no attribute {name!r}", name=name, obj=None)
    elif importlib.util.find_spec(f"batchnorm.{name}") is not None:
        found = importlib.import_module(f"batchnorm.{name}")
    else:
        found = _layers(name)
    globals()[name] = found
    return found


def _layers(name: str) -> ModuleType:
    """The layers of the framework that has this name here; other packages' too."""
    from batchnorm.frameworks import known

    for record in known():
        if record.module == name:
            return record.room("layers")
    raise AttributeError(f"module 'batchnorm' has no attribute {name!r}", name=name, obj=None)


def _function(name: str) -> Any:
    """A function; what its subpackage gives beside it are attributes of it, as of a module."""
    module = importlib.import_module(f"batchnorm.{_FUNCTIONS[name]}")
    found = getattr(module, name)
    if _FUNCTIONS[name] != name:
        return found

    @functools.wraps(found)
    def old(*args: Any, **named: Any) -> Any:
        text = f"batchnorm.{name}.{name} is batchnorm.{name} now"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return found(*args, **named)

    for other in module.__all__:
        setattr(found, other, old if other == name else getattr(module, other))
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})


class _Package(ModuleType):
    """The package, in which a function isn't hidden by the subpackage that has its name."""

    def __setattr__(self, name: str, value: Any) -> None:
        hides = name in _FUNCTIONS and isinstance(value, ModuleType)  # by the import system
        if not hides:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
