"""What a dialect does with a call of torch's own modules: the core's settings, asked of `decide`.

Asked is a layer of the dialect with the module's settings, once for each; torch.compile takes the
answer for a constant of its graph. Not here: any rule, and layers that are modules themselves
(`dialect_module.py`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from batchnorm import core
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.frameworks import find
from batchnorm.frameworks.torch import layers as torch_dialect
from batchnorm.hosts.new_layer import new_layer

__all__ = ["check", "is_torchs", "of_another", "of_torch", "settings"]


def is_torchs(semantics: str) -> bool:
    """Whether a dialect's rule is torch's own."""
    return issubclass(find(semantics).layer_class, torch_dialect.BatchNorm)


def check(semantics: str, rank: int, epsilon: Any, factor: Any, tracking: bool) -> None:
    """Refuse what the dialect refuses, or can't express.

    Raises:
        ValueError: a momentum of None, no running statistics, a setting out of the dialect's range.
    """
    if factor is None:
        raise InvalidValue(
            f"momentum=None, the mean over all batches, has no counterpart in {semantics}: give "
            "the batch norm a number as momentum first"
        )
    if not tracking:
        raise InvalidValue(
            f"track_running_stats=False has no counterpart in {semantics}, which always keeps "
            "running statistics"
        )
    if not isinstance(epsilon, int | float) or not isinstance(factor, int | float):
        raise InvalidValue(f"eps and momentum must be numbers, but are {epsilon!r} and {factor!r}")
    of_another(semantics, rank, 2, float(epsilon), float(factor), True, True, False)


def settings(semantics: str, *asked: Any) -> core.Settings:
    """As `of_torch`, or `of_another`; torch.compile takes the answer for a constant of its graph.

    A setting that is changed later is another constant, and another graph.
    """
    if torch.compiler.is_compiling():
        # Of a slice torch.compile knows the numbers, and makes a graph for each.
        return core.Settings((1,), *_numbers(semantics, *map(slice, asked)))
    return of_torch(*asked) if semantics == "torch" else of_another(semantics, *asked)


@lru_cache(maxsize=256)
def of_torch(
    training: bool, tracking: bool, buffers: bool, epsilon: float, factor: float
) -> core.Settings:
    """The settings of torch's own call; `buffers` says whether there are running statistics."""
    layer = torch_dialect.BatchNorm2d(1, epsilon, factor)
    layer.track_running_stats = tracking
    if not buffers:
        layer.running_mean = layer.running_var = None
    return layer.decide((2, 1, 1, 1), "float32", training).settings


@lru_cache(maxsize=1024)
def of_another(
    semantics: str,
    rank: int,
    values: int,
    epsilon: float,
    factor: float,
    training: bool,
    trainable: bool,
    wide: bool,
) -> core.Settings:
    """The settings of another dialect's call on (N, C, ...).

    `values` is the number of values per channel, 2 for more; `factor` the weight of the new batch;
    `wide` says whether the input is float64.
    """
    layer = new_layer(find(semantics), rank, 1, epsilon, factor, trainable=trainable)
    if wide and layer.policy is not None:
        layer = layer.in_policy("float64")
    shape = (values, 1, *(1,) * (rank - 2))
    found = layer.decide(shape, layer.policy or "float32", training).settings
    if found.channel_axes != (1,):
        raise InvalidValue(f"{semantics} has no batch norm for channels in the second axis")
    return found


def _numbers(semantics: str, *asked: slice) -> Any:
    """What a graph holds of an answer."""
    given = [each.stop for each in asked]
    found = of_torch(*given) if semantics == "torch" else of_another(semantics, *given)
    factor = found.exponential_average_factor
    return found.mode, found.epsilon, factor, found.correction, None, found.count_offset


@torch.compiler.substitute_in_graph(_numbers, can_constant_fold_through=True)
def _traced(semantics: str, *asked: slice) -> Any:
    """Never traced: all that is asked is constant, so torch.compile runs `_numbers` itself."""
    raise InvalidType("settings must be plain numbers")
