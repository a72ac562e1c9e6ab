"""The data of a proof: batches and one common state, drawn so that no mistake can hide.

Channels differ in scale from 2^-8 (where epsilon 1e-5 decides) to 2^3 and have means of their own;
gamma, beta and the running statistics are nothing special. Always the same numbers: a proof is
repeatable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchnorm.translate.departures import COUNT
from batchnorm.translate.plan import Plan
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Data", "make_data", "shape_of"]


@dataclass(frozen=True)
class Data:
    """Batches with the channels on axis 1, and the state by role, exact in both sides' types.

    Attributes:
        state: role -> values per channel.
        dtypes: what the source and the target take as data.
        batches: how many batches were tracked before.
    """

    x: list[Array]
    dy: list[Array]
    state: dict[str, Array]
    dtypes: tuple[np.dtype[Any], np.dtype[Any]]
    batches: int = 3

    def batch(self, step: int, axis: int, side: int) -> tuple[Array, Array]:
        """One batch with its dy for a side (0 or 1), the channels on `axis`."""
        x, dy = (np.moveaxis(part[step], 1, axis) for part in (self.x, self.dy))
        dtype = self.dtypes[side]
        return np.ascontiguousarray(x, dtype), np.ascontiguousarray(dy, dtype)

    def shape_for(self, axis: int) -> tuple[int, ...]:
        """The shape of a batch whose channels are on `axis`."""
        return tuple(np.moveaxis(self.x[0], 1, axis).shape)

    @staticmethod
    def rows(values: Array, axis: int) -> Array:
        """Values as (channels, values per channel), in one order for every axis."""
        channels_first = np.moveaxis(values, axis, 0)
        return channels_first.reshape(channels_first.shape[0], -1)


def shape_of(plan: Plan) -> tuple[int, ...]:
    """The shape of the source's batches."""
    shape = list(_shape(plan))
    shape.insert(plan.axes[0], shape.pop(1))
    return tuple(shape)


def _shape(plan: Plan) -> tuple[int, ...]:
    channels, group = plan.channels, plan.source.canonical["virtual_batch_size"].value
    batch = 2 * group if isinstance(group, int) and group > 0 else 8
    return {
        2: (COUNT // 8 * batch, channels),
        3: (batch, channels, COUNT // 8),
        4: (batch, channels, 8, COUNT // 64),
        5: (batch, channels, 4, 4, COUNT // 128),
    }.get(plan.rank, (batch, channels, *[2] * (plan.rank - 2)))


def make_data(plan: Plan, steps: int) -> Data:
    """Draw the data for a plan."""
    random = np.random.default_rng(20150211)  # the day that the paper appeared
    channels = plan.channels
    shape = _shape(plan)
    per_channel = (1, channels, *[1] * (plan.rank - 2))
    scale = 2.0 ** random.permutation(np.linspace(-8, 3, channels))
    mean = scale * random.normal(size=channels)
    *dtypes, drawn = _dtypes(plan)

    def normal() -> Array:
        return random.normal(size=shape)

    x = [
        (normal() * scale.reshape(per_channel) + mean.reshape(per_channel)).astype(drawn)
        for _ in range(steps)
    ]
    dy = [normal().astype(drawn) for _ in range(steps)]
    stddev = scale * random.uniform(0.7, 1.5, channels)
    state = {
        "gamma": random.uniform(0.5, 2.0, channels) * random.choice([-1.0, 1.0], channels),
        "beta": random.normal(size=channels),
        "running_mean": mean + scale * random.normal(size=channels),
        "running_var": stddev**2,
        "stddev": stddev,
        "renorm_mean": mean + scale * random.normal(size=channels) / 4,
        "renorm_stddev": stddev * random.uniform(0.9, 1.1, channels),
    }
    exact = {role: values.astype(drawn) for role, values in state.items()}
    return Data(x, dy, exact, (dtypes[0], dtypes[1]))


def _dtypes(plan: Plan) -> tuple[np.dtype[Any], np.dtype[Any], np.dtype[Any]]:
    """What the source and the target are given, and the narrowest type of all: what is drawn in."""
    sides = (plan.source.canonical, plan.target.canonical)
    source, target = (as_dtype(str(side["compute_dtype"].value)) for side in sides)
    if "compute-dtype" in {difference.key for difference in plan.differences}:
        target = source  # it computes in whatever it is given
    states = [as_dtype(str(side["parameter_dtype"].value)) for side in sides]
    return source, target, min([source, target, *states], key=lambda dtype: dtype.itemsize)
