"""MindSpore's live layers as layers of ours.

Not here: finding out whose object something is (`read.py`). No framework is imported. The operators
hold what counts: MindSpore 2.10 ignores a later `eps` or `momentum` of the cell.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.mindspore import layers as mindspore
from batchnorm.frameworks.mindspore import v2_0 as mindspore_2_0
from batchnorm.layer import Layer
from batchnorm.readers.host import is_host
from batchnorm.vocabulary import complement

__all__ = ["ACCEPTED", "holder", "is_batch_norm", "is_cell", "layers_of", "read"]

ACCEPTED = "mindspore.nn.BatchNorm1d/2d/3d or SyncBatchNorm"
CLASSES = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


def is_cell(obj: Any) -> bool:
    """Whether it is a mindspore.nn.Cell."""
    module = sys.modules.get("mindspore")
    return module is not None and isinstance(obj, module.nn.Cell)


def _name(obj: Any) -> str | None:
    module: Any = sys.modules["mindspore"]
    return next((n for n in CLASSES if isinstance(obj, getattr(module.nn, n))), None)


def is_batch_norm(obj: Any) -> bool:
    """Whether a cell is a batch norm by its class."""
    return _name(obj) is not None


def layers_of(model: Any) -> dict[str, Any]:
    """The batch norms inside a cell, by their path; not the 2d layer inside a BatchNorm3d."""
    found = {
        path: cell for path, cell in model.cells_and_names() if is_batch_norm(cell) or is_host(cell)
    }
    wrapped = {id(cell.bn2d) for cell in found.values() if hasattr(cell, "bn2d")}
    return {path: cell for path, cell in found.items() if id(cell) not in wrapped}


def holder(obj: Any) -> Any:
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
    inner = holder(obj)
    arrays = {key: np.array(getattr(inner, key).asnumpy()) for key in mindspore.BatchNorm2d.STATE}
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
