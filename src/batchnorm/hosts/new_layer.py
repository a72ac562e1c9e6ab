"""A new layer of any dialect for (N, C, ...), its parameters given by what they mean: `new_layer`.

Not here: which values those are, and any dialect's names for them (its declaration).
"""

from __future__ import annotations

from typing import Any

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks import Framework
from batchnorm.layer import Layer
from batchnorm.vocabulary import complement

__all__ = ["new_layer"]

WIDE = ("float32", "float64")


def new_layer(
    record: Framework,
    rank: int,
    channels: int,
    epsilon: float,
    factor: float,
    *,
    gamma: bool = True,
    beta: bool = True,
    trained: bool = True,
    trainable: bool = True,
    dtype: str = "float32",
) -> Layer:
    """A new layer of a dialect for (N, C, ...), its parameters given by what they mean.

    `factor` is the weight of the new batch, `trained` whether gamma and beta are trained where the
    dialect says that when it makes them, `dtype` the state's.

    Raises:
        TypeError: the dialect's layers have float32 state only.
        ValueError: the dialect has no batch norm for this rank.
    """
    values = {
        "num_features": channels,
        "epsilon": epsilon,
        "weight_of_batch": factor,
        "weight_of_running": complement(factor),
        "channel_axis": 1,
        "affine": gamma or beta,
        "train_affine": trained,
        "has_gamma": gamma,
        "has_beta": beta,
        "beta_if_affine": beta,
        "trainable": trainable,
        "parameter_dtype": dtype,
        "dtype_policy": dtype if dtype in WIDE else f"mixed_{dtype}",
    }
    kind = _class(record, rank)
    words = {p.meaning.word for p in kind.PARAMETERS.values()}
    if dtype != "float32" and not words & {"parameter_dtype", "dtype_policy"}:
        raise InvalidType(f"{record.name}'s layers have float32 state, but this one's is {dtype}")
    given = ((p.name, p.meaning.word) for p in kind.PARAMETERS.values())
    layer: Layer = kind(**{name: values[word] for name, word in given if word in values})
    layer.ensure_built((2, channels, *(2,) * (rank - 2)))
    return layer


def _class(record: Framework, rank: int) -> Any:
    declared = record.room("layers")
    for name in declared.__all__:
        kind = getattr(declared, name)
        layer = isinstance(kind, type) and issubclass(kind, Layer)
        if layer and rank in getattr(kind, "RANKS", (rank,)):
            return kind
    raise InvalidValue(f"{record.title} has no batch norm for inputs of {rank} dimensions")
