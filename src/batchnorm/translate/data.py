"""The data of a proof: batches and one common state, drawn so that no mistake can hide.

Channels differ in scale from 2^-8 (where epsilon 1e-5 decides) to 2^3 and have means of their own;
gamma, beta and the running statistics are nothing special. Always the same numbers: a proof is
repeatable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchnorm.translate.departures import COUNT
from batchnorm.translate.plan import Plan
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["Data", "make_data"]

_MANY_CHANNELS = 512


@dataclass(frozen=True)
class Data:
    """Batches with the channels on axis 1, and the state by role.

    Attributes:
        state: role -> values per channel, exact in both sides' types.
        batches: how many batches were tracked before.
    """

    x: list[Array]
    dy: list[Array]
    state: dict[str, Array]
    batches: int = 3

    def batch(self, step: int, axis: int) -> tuple[Array, Array]:
        """One batch with its dy, the channels on `axis`."""
        x, dy = (np.moveaxis(part[step], 1, axis) for part in (self.x, self.dy))
        return np.ascontiguousarray(x), np.ascontiguousarray(dy)

    def shape_for(self, axis: int) -> tuple[int, ...]:
        """The shape of a batch whose channels are on `axis`."""
        return tuple(np.moveaxis(self.x[0], 1, axis).shape)

    @staticmethod
    def rows(values: Array, axis: int) -> Array:
        """Values as (channels, values per channel), in one order for every axis."""
        channels_first = np.moveaxis(values, axis, 0)
        return channels_first.reshape(channels_first.shape[0], -1)


def make_data(plan: Plan, steps: int) -> Data:
    """Draw the data for a plan."""
    random = np.random.default_rng(20150211)  # the day that the paper appeared
    channels = plan.channels
    count = COUNT if channels <= _MANY_CHANNELS else COUNT // 4
    group = plan.source.canonical["virtual_batch_size"].value
    batch = 2 * group if isinstance(group, int) and group > 0 else 8
    shape = {
        2: (count // 8 * batch, channels),
        3: (batch, channels, count // 8),
        4: (batch, channels, 8, count // 64),
        5: (batch, channels, 4, 4, count // 128),
    }.get(plan.rank, (batch, channels, *[2] * (plan.rank - 2)))
    per_channel = (1, channels, *[1] * (plan.rank - 2))
    scale = 2.0 ** random.permutation(np.linspace(-8, 3, channels))
    mean = scale * random.normal(size=channels)
    dtype, state_dtype = _dtypes(plan)

    def normal() -> Array:
        return random.normal(size=shape)

    x = [
        (normal() * scale.reshape(per_channel) + mean.reshape(per_channel)).astype(dtype)
        for _ in range(steps)
    ]
    dy = [normal().astype(dtype) for _ in range(steps)]
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
    return Data(x, dy, {role: values.astype(state_dtype) for role, values in state.items()})


def _dtypes(plan: Plan) -> tuple[np.dtype[np.generic], np.dtype[np.generic]]:
    """The data's type, and the narrowest of the types that hold the state."""
    data = as_dtype(str(plan.source.canonical["compute_dtype"].value))
    sides = [
        as_dtype(str(s.canonical["parameter_dtype"].value)) for s in (plan.source, plan.target)
    ]
    return data, min(sides, key=lambda dtype: dtype.itemsize)
