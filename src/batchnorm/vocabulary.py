"""The closed set of meanings that a parameter of a batch-norm layer can have: the glossary in code.

A dialect annotates each parameter of its real signature with one of these meanings, and everything
that must know what the parameter means (translation, difference tables, documentation) reads it
from there. Not here: any framework's names, defaults or rules; those are the dialects'.

The words follow the field: gamma, beta, epsilon (Ioffe and Szegedy 2015, ONNX),
exponential_average_factor (cuDNN), correction (Python array API).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "GLOSSARY",
    "Adjust",
    "Adjustment",
    "Affine",
    "Array",
    "BetaIfAffine",
    "ChannelAxes",
    "ChannelAxis",
    "DataFormat",
    "Device",
    "Epsilon",
    "ForcedStatistics",
    "Fused",
    "HasBeta",
    "HasGamma",
    "Housekeeping",
    "InitialWeights",
    "Meaning",
    "Mode",
    "Name",
    "NumFeatures",
    "ParameterDtype",
    "Renorm",
    "RenormClipping",
    "RenormWeightOfRunning",
    "ShapeHint",
    "SizeHint",
    "Statistics",
    "Synchronized",
    "Tracking",
    "TrainAffine",
    "Trainable",
    "VirtualBatchSize",
    "WeightOfBatch",
    "WeightOfRunning",
    "as_dtype",
    "complement",
]

Array: TypeAlias = npt.NDArray[Any]


class Mode(enum.Enum):
    """Which statistics normalize, and whether the running ones move."""

    BATCH_AND_UPDATE = "batch statistics, running statistics updated"
    BATCH = "batch statistics, no update"
    RUNNING = "running statistics, no update"


class Statistics(enum.Enum):
    """What a layer's settings say about the mode, before it is known whether it trains."""

    BY_MODE = "batch statistics in training, running statistics in inference"
    BATCH_WITHOUT_STATE = "batch statistics always, no running statistics kept"
    BATCH_AND_UPDATE = "batch statistics always, running statistics updated always"
    RUNNING = "running statistics always, never updated"


@dataclass(frozen=True)
class Meaning:
    """What a parameter means: a word of the glossary, and of which state entry it says that."""

    word: str
    of: str = ""

    def __post_init__(self) -> None:
        if self.word not in GLOSSARY:
            raise ValueError(f"{self.word!r} is no word of the glossary; known: {sorted(GLOSSARY)}")

    def __str__(self) -> str:
        return f"{self.word} of {self.of}" if self.of else self.word


GLOSSARY: Mapping[str, str] = {
    "num_features": "number of channels C, an integer",
    "epsilon": "stabiliser added to the variance: y = (x - mean) / sqrt(var + epsilon)",
    "weight_of_batch": "momentum as the weight of the new batch: the exponential_average_factor",
    "weight_of_running": "momentum as the weight of the old value: 1 - exponential_average_factor",
    "affine": "whether gamma and beta exist and are trained",
    "beta_if_affine": "whether beta exists, where gamma does",
    "train_affine": "whether gamma and beta are trained; both exist and apply in any case",
    "has_gamma": "whether gamma exists",
    "has_beta": "whether beta exists",
    "tracking": "whether running statistics are kept; if not, batch statistics always normalize",
    "forced_statistics": "batch statistics always (True), running always (False), by mode (None)",
    "trainable": "whether the layer trains; if not, running statistics normalize in any mode",
    "channel_axis": "axis (or axes) that keep a statistic of their own",
    "data_format": "channel axis by name: NCHW or NHWC",
    "init": "initial value of a state entry: a name, a number, an array or an initializer",
    "regularizer": "penalty that the training loss gets for a parameter",
    "constraint": "projection that the optimizer applies to a parameter after a step",
    "parameter_dtype": "type of gamma, beta and the running statistics",
    "dtype_policy": "compute and parameter dtype, together",
    "device": "where the parameters live",
    "name": "the layer's name",
    "renorm": "whether batch renormalization corrects the batch statistics (Ioffe 2017)",
    "renorm_clipping": "bounds of renorm's r and d",
    "renorm_weight_of_running": "weight of the old value in renorm's own averages",
    "fused": "whether the fused kernel is used: True, False, or None for the automatic choice",
    "virtual_batch_size": "samples per ghost batch, each normalized by its own statistics",
    "adjustment": "function from the input's shape to a (scale, bias) put on the normalized values",
    "synchronized": "whether batch statistics are those of all replicas together",
    "input_shape": "a hint of the input's shape, which this layer needs for nothing else",
    "initial_weights": "values that the state gets when it is built",
    "housekeeping": "an option of the base class without influence on batch normalization",
}

Adjust: TypeAlias = Callable[[tuple[int, ...]], tuple[Array | float, Array | float]]

NumFeatures = Annotated[int, Meaning("num_features")]
Epsilon = Annotated[float, Meaning("epsilon")]
WeightOfBatch = Annotated[float | None, Meaning("weight_of_batch")]
WeightOfRunning = Annotated[float, Meaning("weight_of_running")]
Affine = Annotated[bool, Meaning("affine")]
BetaIfAffine = Annotated[bool, Meaning("beta_if_affine")]
TrainAffine = Annotated[bool, Meaning("train_affine")]
HasGamma = Annotated[bool, Meaning("has_gamma")]
HasBeta = Annotated[bool, Meaning("has_beta")]
Tracking = Annotated[bool, Meaning("tracking")]
ForcedStatistics = Annotated[bool | None, Meaning("forced_statistics")]
Trainable = Annotated[bool, Meaning("trainable")]
ChannelAxis = Annotated[int, Meaning("channel_axis")]
ChannelAxes = Annotated[int | Sequence[int], Meaning("channel_axis")]
DataFormat = Annotated[str, Meaning("data_format")]
ParameterDtype = Annotated[npt.DTypeLike | None, Meaning("parameter_dtype")]
Device = Annotated[str | None, Meaning("device")]
Name = Annotated[str | None, Meaning("name")]
Renorm = Annotated[bool, Meaning("renorm")]
RenormClipping = Annotated[Mapping[str, float] | None, Meaning("renorm_clipping")]
RenormWeightOfRunning = Annotated[float, Meaning("renorm_weight_of_running")]
Fused = Annotated[bool | None, Meaning("fused")]
VirtualBatchSize = Annotated[int | None, Meaning("virtual_batch_size")]
Adjustment = Annotated[Adjust | None, Meaning("adjustment")]
Synchronized = Annotated[bool, Meaning("synchronized")]
ShapeHint = Annotated[Sequence[int | None] | None, Meaning("input_shape")]
SizeHint = Annotated[int | None, Meaning("input_shape")]
InitialWeights = Annotated[Sequence[Any] | None, Meaning("initial_weights")]
Housekeeping = Annotated[Any, Meaning("housekeeping")]


def complement(weight: float) -> float:
    """The other convention's momentum: 1 - weight, in binary, as the frameworks compute it."""
    return 1.0 - weight


def as_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """NumPy's dtype, bfloat16 (of `ml_dtypes`) included, which NumPy doesn't know by name."""
    import ml_dtypes

    found: np.dtype[Any]
    if isinstance(dtype, str) and dtype == "bfloat16":
        found = np.dtype(ml_dtypes.bfloat16)
    else:
        found = np.dtype(dtype)
    return found
