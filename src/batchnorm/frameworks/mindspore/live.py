"""MindSpore's live cells: read as layers of ours, listed, watched while they run, written to.

Not here: finding out whose object something is (`read.py`). No framework is imported. The operators
hold what counts: MindSpore 2.10 ignores a later `eps` or `momentum` of the cell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.hosted import is_host
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.mindspore import v2_0 as mindspore_2_0
from batchnorm.layer import Layer
from batchnorm.vocabulary import Array, complement

__all__ = [
    "ACCEPTED",
    "array_of",
    "bases",
    "is_batch_norm",
    "layers_of",
    "read",
    "recalibrates",
    "run",
    "settings_of",
    "state_of",
    "to_array",
    "watched",
    "write",
]

ACCEPTED = "mindspore.nn.BatchNorm1d/2d/3d or SyncBatchNorm"
Tell = Callable[[str, Array, Any], None]
STATISTICS = ("moving_mean", "moving_variance")
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


def bases() -> tuple[type, ...]:
    """What its layers and models are instances of; nothing where it isn't loaded."""
    module = sys.modules.get("mindspore")
    return () if module is None else (module.nn.Cell,)


def _name(obj: Any) -> str | None:
    module: Any = sys.modules["mindspore"]
    return next((n for n in CLASSES if isinstance(obj, getattr(module.nn, n))), None)


def is_batch_norm(obj: Any) -> bool:
    """Whether a cell is a batch norm by its class."""
    return _name(obj) is not None


def layers_of(model: Any) -> dict[str, Any]:
    """The batch norms inside a cell, by their path; not the 2d layer inside a BatchNorm3d."""
    found = {
        path: cell
        for path, cell in model.cells_and_names()
        if is_batch_norm(cell) or is_host(cell) or _is_mints(cell)
    }
    wrapped = {id(cell.bn2d) for cell in found.values() if hasattr(cell, "bn2d")}
    return {path: cell for path, cell in found.items() if id(cell) not in wrapped}


def _is_mints(obj: Any) -> bool:
    """Whether a cell is one of mint's batch norms, which its own room reads."""
    module = sys.modules.get("mindspore.mint.nn.layer.normalization")
    return module is not None and isinstance(obj, module._BatchNorm)


def _holder(obj: Any) -> Any:
    """The cell that has the parameters: a BatchNorm3d wraps a 2d layer."""
    return getattr(obj, "bn2d", obj)


def read(obj: Any) -> Layer:
    """One layer."""
    module: Any = sys.modules["mindspore"]
    name = _name(obj)
    if name is None:
        raise InvalidType(
            f"a mindspore {type(obj).__name__} can't be read: expected {', '.join(CLASSES)}"
        )
    defined = str(type(obj).construct.__module__)
    if defined.partition(".")[0] != "mindspore":
        raise InvalidType(
            f"{type(obj).__qualname__} has a construct of its own (in {defined}), so nothing says "
            f"that it is a batch norm; read takes {ACCEPTED}"
        )
    dialect = mindspore_2_0 if str(module.__version__).startswith("2.0") else mindspore
    inner = _holder(obj)
    arrays = {key: to_array(getattr(inner, key)) for key in mindspore.BatchNorm2d.STATE}
    arguments: dict[str, Any] = {
        "num_features": inner.num_features,
        "eps": float(inner.bn_infer.epsilon),
        "momentum": _weight_of_running(float(inner.bn_train.momentum)),
        "affine": bool(inner.gamma.requires_grad),
        "use_batch_statistics": inner.use_batch_statistics,
        "dtype": arrays["gamma"].dtype.name,
    }
    if name != "BatchNorm3d":
        arguments["data_format"] = inner.format
    # SyncBatchNorm on one process computes as BatchNorm; it takes rank 2 and 4.
    layer: Layer = getattr(dialect, name.replace("Sync", "") + "2d" * (name == "SyncBatchNorm"))(
        **arguments
    )
    layer.load_state(arrays)
    layer.set_train(bool(inner.training))  # type: ignore[attr-defined]
    return layer


def _weight_of_running(factor: float) -> float:
    """The shortest momentum that MindSpore makes this factor of: 0.1 for 0.09999999999999998."""
    exact = complement(factor)
    rounded = (float(f"{exact:.{digits}g}") for digits in range(1, 18))
    return next((w for w in rounded if complement(w) == factor), exact)


def to_array(tensor: Any) -> Array:
    """A copy of a tensor's or a parameter's values."""
    return np.array(tensor.asnumpy())


def array_of(tensor: Any) -> Any:
    """A tensor's values; None for what is no tensor, or NumPy takes by itself."""
    return tensor.asnumpy() if hasattr(tensor, "asnumpy") else None


def settings_of(layer: Any) -> dict[str, float | None]:
    """Epsilon and momentum of a cell, or of one of ours, by their meaning.

    The attribute is 1 minus the number that the cell was given; of the two numbers the one with
    fewer digits is what somebody wrote.
    """
    given = 1 - layer.momentum
    if len(repr(given)) <= len(repr(layer.momentum)):
        return {"epsilon": layer.eps, "weight_of_running": given}
    return {"epsilon": layer.eps, "weight_of_batch": layer.momentum}


def state_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A model's arrays as its files name them, and what files say beside; None for no model."""
    arrays = {p.name: p.asnumpy() for _, p in model.parameters_and_names()}
    settings = {}
    for path, cell in model.cells_and_names():
        if hasattr(cell, "moving_variance") and hasattr(cell, "eps") and hasattr(cell, "momentum"):
            settings[path.removesuffix("bn2d").removesuffix(".")] = settings_of(cell)
    layers = {
        path: {"form": "conv_transpose", "groups": cell.group}
        for path, cell in model.cells_and_names()
        if type(cell).__name__.endswith("dTranspose") and hasattr(cell, "group")
    }
    return arrays, {"batchnorm": {"settings": settings}, "layers": layers}


def recalibrates(layer: Any) -> bool:
    """Whether it has running statistics that training would move."""
    if _is_mints(layer):
        return layer.running_mean is not None and bool(layer.track_running_stats)
    return _holder(layer).use_batch_statistics is not False


def run(model: Any, batch: Any) -> None:
    """The model on a batch; of a tuple or list, as data sets make them, on the first."""
    model(batch[0] if isinstance(batch, tuple | list) else batch)


@contextmanager
def watched(layers: Mapping[str, Any], tell: Tell) -> Iterator[None]:
    """A context in which each batch norm normalizes by its batch and tells its input.

    Afterwards all is as before; all other cells keep their mode. Hooks run in PyNative mode only.
    """

    def hook(path: str, _: Any, given: tuple[Any, ...]) -> None:
        tell(path, to_array(given[0]), None)

    before = []
    for layer in layers.values():
        names = ("running_mean", "running_var") if _is_mints(layer) else STATISTICS
        values = {name: to_array(getattr(_holder(layer), name)) for name in names}
        before.append((layer, bool(_holder(layer).training), values))
    handles = [
        layer.register_forward_pre_hook(partial(hook, path)) for path, layer in layers.items()
    ]
    try:
        for layer in layers.values():
            layer.set_train(True)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer, training, values in before:
            layer.set_train(training)
            write(layer, values)


def write(layer: Any, values: Mapping[str, Array]) -> None:
    """Into the parameters, in their own types."""
    module: Any = sys.modules["mindspore"]
    for name, value in values.items():
        own = getattr(_holder(layer), name)
        own.set_data(module.Tensor(value.astype(own.asnumpy().dtype)))
