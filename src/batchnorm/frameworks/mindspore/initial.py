"""MindSpore's initializers as calls write them: `mindspore.common.initializer`.

They are objects of the Keras room, which has the same distributions; here are names and signatures.
Source: mindspore 2.10.0, common/initializer.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from batchnorm.frameworks.keras import initializers

__all__ = ["MAKERS", "write"]

PACKAGE = "mindspore.common.initializer"


def write(value: Any) -> str | None:
    """An initializer as a call writes it; None where there is no such one."""
    match value:
        case initializers.Zeros() | initializers.Ones():
            return json.dumps(type(value).__name__.lower())
        case initializers.Constant(value=constant) if np.ndim(constant) == 0:
            return repr(float(constant))
        case initializers.RandomNormal(mean=mean, stddev=stddev, seed=None):
            rest = f", {float(mean)!r}" if mean else ""
            return f"{PACKAGE}.Normal({float(stddev)!r}{rest})"
        case initializers.RandomUniform(minval=low, maxval=high, seed=None) if low == -high:
            return f"{PACKAGE}.Uniform({float(high)!r})"
    return None


def _normal(sigma: float = 0.01, mean: float = 0.0) -> initializers.RandomNormal:
    return initializers.RandomNormal(mean, sigma)


def _uniform(scale: float = 0.07) -> initializers.RandomUniform:
    return initializers.RandomUniform(-scale, scale)


def _tensor(values: Any) -> Any:
    return np.asarray(values, np.float32)


MAKERS: Mapping[str, Callable[..., Any]] = {
    "Zero": initializers.Zeros,
    "One": initializers.Ones,
    "Constant": initializers.Constant,
    "Normal": _normal,
    "Uniform": _uniform,
    "Tensor": _tensor,
}
"""A call's name -> what makes our object of its arguments."""
