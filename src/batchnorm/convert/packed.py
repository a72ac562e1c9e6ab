"""Small arrays inside JSON metadata, bit for bit: `[dtype, shape, base64 of the values]`.

For what a target has no place for and a way back needs: the statistics of folded layers, Keras's
renorm state. Not for kernels: metadata are read whole.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from typing import Any

import numpy as np

from batchnorm.checkpoints import Entry
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["packed", "unpacked"]


def packed(entry: Entry) -> list[Any]:
    """An array as JSON, little-endian."""
    values = np.ascontiguousarray(entry.load())
    if sys.byteorder == "big":
        values = values.byteswap()
    return [str(entry.dtype), list(entry.shape), base64.b64encode(values.tobytes()).decode()]


def unpacked(given: Any) -> Array:
    """The array again.

    Raises:
        ValueError: it isn't what `packed` makes.
    """
    try:
        dtype, shape, data = given
        kind = as_dtype(str(dtype))
        sizes = [int(n) for n in shape]
        raw = base64.b64decode(data, validate=True)
        if min(sizes, default=0) < 0 or len(raw) != math.prod(sizes) * kind.itemsize:
            raise ValueError(f"{len(raw)} bytes are no {dtype} of shape {sizes}")
        values = np.frombuffer(raw, kind).reshape(sizes)
    except (TypeError, binascii.Error) as error:
        raise ValueError(str(error)) from error
    return values.byteswap() if sys.byteorder == "big" else values.copy()
