"""The compiled kernel inside XLA's programs on the CPU, where batch statistics normalize.

The forward and the backward of one call are handlers of the kernel (`src/kernel/xla_ffi.cpp`),
which XLA calls through its foreign function interface. Not here: how JAX differentiates, maps and
compiles them (`primitives.py`), and any formula.

Facts from: jax.ffi of JAX 0.10.2, and of 0.6.0, 0.8.0 and 0.9.0.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from batchnorm.core import kernel
from batchnorm.hosts.formulas import Formula
from batchnorm.vocabulary import Mode

__all__ = ["backward", "channels", "forward", "moves", "statistics_shape", "takes"]

TYPES = {"float16", "bfloat16", "float32", "float64"}


def _level() -> str | None:
    """The chosen implementation as the handlers name it; None for NumPy's."""
    name = next(name for name, one in kernel.IMPLEMENTATIONS.items() if one is kernel.chosen)
    return None if name == "reference" else name


LEVEL = _level()


def takes(x: Any, formula: Formula) -> bool:
    """Whether the handlers compute this; with running statistics XLA's own loops do it as well."""
    settings = formula.settings
    first, last = min(settings.channel_axes), max(settings.channel_axes)
    return (
        LEVEL is not None
        and settings.mode is not Mode.RUNNING
        and settings.plain
        and formula.split is None
        and x.size > 0
        and {x.dtype.name, formula.dtype} <= TYPES
        and settings.channel_axes == tuple(range(first, last + 1))
        and _registered()
    )


def channels(x: Any, formula: Formula) -> int:
    """How many there are."""
    return int(np.prod([x.shape[axis] for axis in formula.settings.channel_axes]))


def moves(roles: Sequence[str], formula: Formula) -> bool:
    """Whether there are new running statistics."""
    return formula.settings.mode is Mode.BATCH_AND_UPDATE and "running_mean" in roles


def statistics_shape(x: Any, formula: Formula) -> tuple[int, ...]:
    """What `forward` leaves to `backward`: uint32, that is doubles, which not all programs have."""
    return (4, channels(x, formula), 2)


def forward(x: Any, *tensors: Any, roles: tuple[str, ...], formula: Formula) -> list[Any]:
    """y, the statistics, and the new running ones where they move."""
    state, moving, settings = _state(roles, tensors), moves(roles, formula), formula.settings
    old = ("running_mean", "running_var") if moving else ("", "")
    count = "count" if formula.cumulative else ""
    new = jax.ShapeDtypeStruct((channels(x, formula) if moving else 0,), formula.wide)
    statistics = jax.ShapeDtypeStruct(statistics_shape(x, formula), jnp.uint32)
    y, mean, var, found = _call(
        "forward",
        [jax.ShapeDtypeStruct(x.shape, x.dtype), new, new, statistics],
        [x, *_vectors(formula, state, "gamma", "beta", *old, count)],
        formula,
        factor=np.float64(settings.exponential_average_factor),
        correction=np.float64(settings.correction),
        guarded=np.int64(formula.guarded),
    )
    return [y, found, mean, var] if moving else [y, found]


def backward(
    x: Any, *others: Any, wrt: tuple[str, ...], roles: tuple[str, ...], formula: Formula
) -> list[Any]:
    """The gradients of `wrt`: others are the tensors, the forward's statistics, and dy."""
    *tensors, statistics, dy = others
    state = _state(roles, tensors)
    results = [jax.ShapeDtypeStruct(x.shape if "x" in wrt else (0,), x.dtype)]
    for role in ("gamma", "beta"):
        length = channels(x, formula) if role in wrt else 0
        results.append(jax.ShapeDtypeStruct((length,), formula.wide))
    arguments = [x, dy, *_vectors(formula, state, "gamma"), statistics]
    found = _call("backward", results, arguments, formula)
    made = dict(zip(("x", "gamma", "beta"), found, strict=True))
    like = state | {"x": x}
    return [made[role].reshape(like[role].shape).astype(like[role].dtype) for role in wrt]


def _state(roles: tuple[str, ...], tensors: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(roles, tensors, strict=True))


def _vectors(formula: Formula, state: Mapping[str, Any], *roles: str) -> list[Any]:
    """Flat, in the type to compute in; of length 0 where there is none."""
    none = jnp.zeros(0, formula.wide)
    return [state[r].reshape(-1).astype(formula.wide) if r in state else none for r in roles]


def _call(
    name: str, results: Sequence[Any], arguments: Sequence[Any], formula: Formula, **named: Any
) -> Any:
    axes = formula.settings.channel_axes
    return jax.ffi.ffi_call(_target(name), results)(
        *arguments,
        level=LEVEL,
        begin=np.int64(axes[0]),
        end=np.int64(axes[-1] + 1),
        epsilon=np.float64(formula.settings.epsilon),
        **named,
    )


def _target(name: str) -> str:
    return f"batchnorm_{name}"


@functools.cache
def _registered() -> bool:
    """Whether this XLA knows the handlers; it refuses them where versions don't meet."""
    try:
        from batchnorm import _kernel

        for name in ("forward", "backward"):
            jax.ffi.register_ffi_target(_target(name), _kernel.xla_handler(name), platform="cpu")
    except (ImportError, RuntimeError, ValueError):  # or there is none
        return False
    return True
