"""What MindSpore refuses, at construction and at the call, in its order.

Source: MindSpore 2.10.0 (CPU), mindspore/nn/layer/normalization.py and the checks of its operator.
Not here: what the layer does with what is accepted (`mindspore.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["check_arguments", "check_call", "parameter_dtype"]

RUNNABLE = (np.dtype(np.float16), np.dtype(np.float32))


def check_arguments(
    name: str, num_features: Any, momentum: Any, data_format: Any, use_batch_statistics: Any
) -> None:
    """What the constructor of the class called `name` checks; epsilon is checked at the call."""
    if type(num_features) is not int:
        got = type(num_features).__name__
        raise InvalidType(f"For {name!r}, 'num_features' should be 'int', but got {got!r}.")
    if num_features < 1:
        raise InvalidValue(
            f"For {name!r}, 'num_features' must be at least 1, but got {num_features}."
        )
    array = isinstance(momentum, np.ndarray) and momentum.ndim == 0
    plain = isinstance(momentum, int | float | np.number)
    if not (momentum.dtype.kind in "biuf" if array else plain):
        raise InvalidType(
            f"For {name!r}, 'momentum' must be a number in range [0, 1], but got {momentum!r}."
        )
    if momentum < 0 or momentum > 1:
        raise InvalidValue(
            f"For {name!r}, 'momentum' must be a number in range [0, 1], but got {momentum}."
        )
    if data_format not in ("NCHW", "NHWC"):
        raise InvalidValue(
            f"For {name!r}, 'data_format' must be 'NCHW' or 'NHWC', but got {data_format!r}."
        )
    if use_batch_statistics is not None and not isinstance(use_batch_statistics, bool):
        raise InvalidValue(
            f"For {name!r}, 'use_batch_statistics' must be a boolean value or None, "
            f"but got {use_batch_statistics!r}."
        )


def parameter_dtype(dtype: Any) -> np.dtype[Any]:
    """The type of the parameters, named or given as NumPy's."""
    if dtype is None:
        raise InvalidValue("'dtype' must have a value: a NumPy dtype or its name, but got None.")
    try:
        return as_dtype(dtype)
    except TypeError:
        raise InvalidType(f"'dtype' must be a dtype or its name, but got {dtype!r}.") from None


def check_call(
    name: str,
    ranks: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axis: int,
    parameters: dict[str, Array],
    epsilon: Any,
    weight_of_batch: Any,
    batch: bool,
) -> None:
    """What a call checks; `batch` says whether batch statistics will normalize."""
    if len(shape) not in ranks:
        expected = " or ".join(str(rank) for rank in ranks)
        raise InvalidValue(f"For {name!r}, the input must have {expected} dims, got {len(shape)}.")
    if not isinstance(epsilon, float):
        got = type(epsilon).__name__
        raise InvalidType(f"For {name!r}, 'eps' must be float, but got {got}.")
    if batch and not isinstance(weight_of_batch, float):
        got = type(weight_of_batch).__name__
        raise InvalidType(f"For {name!r}, 'momentum' must be float, not {got}.")
    dtypes = {key: parameter.dtype.name for key, parameter in parameters.items()}
    if batch:  # a parameter that is written can't be converted, so these pairs come first
        _check_one_dtype(name, {key: dtypes[key] for key in ("gamma", "beta")})
        _check_one_dtype(name, {key: dtypes[key] for key in ("moving_mean", "moving_variance")})
    if not 2.0**-150 < epsilon <= 1 + 2.0**-24:  # rounded to float32, in (0, 1]
        raise InvalidValue(f"For {name!r}, 'eps' must be in (0, 1] (float32), but got {epsilon}.")
    if batch and weight_of_batch != weight_of_batch:
        raise InvalidValue(
            f"For {name!r}, 'momentum' must be in [0, 1], but got {weight_of_batch}."
        )
    channels = parameters["gamma"].size
    if shape[axis] != channels:
        raise InvalidValue(
            f"For {name!r}, 'num_features' is {channels}, but the input has "
            f"{shape[axis]} channels (axis {axis} of shape {shape})."
        )
    _check_one_dtype(name, dtypes)
    for key, given in (("x", dtype), ("gamma", parameters["gamma"].dtype)):
        if given not in RUNNABLE:
            raise InvalidType(
                f"For {name!r}, {key!r} must be float16 or float32, but got {given.name}."
            )


def _check_one_dtype(name: str, dtypes: dict[str, str]) -> None:
    if len(set(dtypes.values())) > 1:
        raise InvalidType(
            f"For {name!r}, parameters must share one dtype, but got {dtypes}: an array as initial "
            "value keeps its own, whatever 'dtype' says."
        )
