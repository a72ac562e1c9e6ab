"""How far a framework's own arithmetic may put it from the exact result, for one step of a case.

Our layers keep within 4 units in the last place; a framework computes in float32 (float64 where the
layer is float64 throughout) and rounds at every operation. These bounds are what such rounding can
do, to first order but for the variance, from the framework's own formulas:

    mean    u S |x|                                  S roundings of the sums and what follows
    var     u S var + (u S |x|)²  (two passes: the mean's own error, squared, is what a variance of
            next to nothing has), u S x² more (one pass, E[x²] - E[x]²)
    x_hat   u S (K + X rho)                          K = |x| / std, X = |x_hat|, rho = |var| / std²
    dx      |gamma| |dy| / std · u S (1 + X) (1 + K + X rho), three terms
    dgamma  n |dy| u S (K + X (1 + rho))

with u the unit roundoff and S = OPERATIONS, plus SUM · √n where sums of n terms are accumulated in
the same precision: rounding errors are independent of one another, so they grow with the root of
their number (Higham and Mary 2019). Results in 16 bits may differ by one unit in the last place:
two numbers that are nearly equal can round to neighbours.

The quantities come from the data, never from the layer that is judged. Not here: what a framework
does wrong. That is a deviation.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from batchnorm.frameworks import find
from batchnorm.questions.subject import Adjustment
from batchnorm.verify.draw import Case, Data
from batchnorm.vocabulary import Array, as_dtype

__all__ = ["SUM", "arithmetic", "batch_statistics", "bounds", "compute_dtype", "roundoff"]

OPERATIONS = 8  # subtract, square, divide, add epsilon, root, reciprocal, scale, shift
SUM = 2.0  # what a sum of n terms adds, in units of √n, where it is taken in the same precision


def roundoff(dtype: Any) -> float:
    """Give the unit roundoff of a floating type: 2^-24 for float32; 0 for anything else."""
    try:
        name = as_dtype(dtype).name
    except TypeError:
        return 0.0
    digits = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}.get(name)
    return 0.0 if digits is None else 2.0**-digits


def arithmetic(case: Case) -> str:
    """Name the type that the framework computes in: float64 or float32, never less."""
    if not find(case.dialect).arithmetic.casts_integers and roundoff(case.dtype) == 0.0:
        return "float32"  # integers are not cast to the compute dtype
    name = compute_dtype(case) if find(case.dialect).is_keras else case.dtype
    return "float64" if name == "float64" else "float32"


def compute_dtype(case: Case) -> str:
    """Name the type through which a Keras layer's input and output pass."""
    dtype = case.arguments.get("dtype")
    if dtype is None:
        return "float32"
    return str(dtype).removeprefix("mixed_")


def bounds(
    case: Case,
    given: Data,
    number: int,
    before: Mapping[str, Array],
    *,
    one_pass: bool = False,
) -> dict[str, float]:
    """Bound the distance of each quantity of one step, absolutely.

    Args:
        case: the case.
        given: what the step was given.
        number: of the step, from 0.
        before: the state before it, as the real layer had it, or after it if there was none.
        one_pass: whether variance is E[x²] - E[x]² even where nothing is synchronised.

    Returns:
        By quantity: "y", "dx", "gradient of gamma" (or weight), "gradient of beta" (or bias),
        and "mean", "var" and "stddev" for the entries of the state.
    """
    own = find(case.dialect).arithmetic
    data = _measure(case, given, number, before)
    per_channel = given.x.size / max(1, math.prod(given.x.shape[a] for a in case.channel_axes))
    # Integers lie on a grid, on which roundings of a sum all go one way: their number counts.
    whole = roundoff(case.dtype) == 0.0
    growth = per_channel / 4 if whole else math.sqrt(max(per_channel, 1.0))
    steps = OPERATIONS + _sum(case, number) * growth
    weights = [m for m in _values(case, number, "momentum") if isinstance(m, int | float)]
    blend = max((abs(m) + abs(1 - m) for m in weights), default=1.0)
    u = roundoff(arithmetic(case)) * steps
    gamma, beta = _affine(case, before)
    lost = data.size**2 if one_pass or _one_pass(case) else 0.0
    off = u * (data.var + lost) + (u * data.size) ** 2  # of the variance
    k, x_hat, rho = data.size / data.std, data.deviation / data.std, off / data.std**2
    kept = _kept_roundoff(case, number, before)
    forward = u * (1 + k) + x_hat * rho
    backward = forward + 2 * kept * (k + x_hat)
    if own.keeps_input_type:  # computes y, too, from what it keeps; MindSpore doesn't
        forward = backward
    # With renorm, epsilon is inside the averaged deviation and is subtracted again.
    within = max(_epsilons(case, number)) if case.arguments.get("renorm") else 0.0
    stored = max((2 * roundoff(v.dtype) for n, v in before.items() if "stddev" in n), default=0.0)
    dy, dy_sum = _gradient(case, given)
    summed = u + (_sixteen_bit(case.dtype) if own.keeps_input_type else 0.0)
    found = {
        "y": gamma * forward + u * beta,
        "dx": 3 * gamma * dy / data.std * (1 + x_hat) * (summed * (1 + x_hat) + rho + backward),
        "gradient of gamma": dy_sum * (backward + summed * x_hat),
        "gradient of beta": dy_sum * summed,
        "mean": blend * (u + 2 * kept) * data.size,
        "var": blend * (off + (2 * kept + stored) * data.var + (u + stored) * within),
        "stddev": blend * (u * np.sqrt(data.var + within) + off / data.std),
    }
    return {quantity: float(np.max(bound)) for quantity, bound in found.items()}


class _Measured(NamedTuple):
    """Largest magnitudes, and the standard deviation (with epsilon), of each statistic.

    A statistic is that of one channel, of one ghost batch, with or without the mask, or a running
    one: a bound is what the worst of them allows, and none takes one's variance and another's
    deviation.
    """

    size: Array  # of inputs and running means
    deviation: Array  # of an input from the mean that is subtracted
    var: Array
    std: Array


def _measure(case: Case, given: Data, number: int, before: Mapping[str, Array]) -> _Measured:
    """Measure the data, with every statistic that may have been used: batch, masked, running."""
    epsilon = min(_epsilons(case, number))
    means = [_largest(value) for name, value in before.items() if name.endswith("mean")]
    size = max([_largest(given.x), *means])
    rows: list[tuple[float, float, float, float]] = []
    for values, mean, var in batch_statistics(case, given, number):
        for channel, center, spread in zip(values, mean, var, strict=True):
            deviation = 2 * size if before else _largest(channel - center)
            rows.append((size, deviation, abs(spread), math.sqrt(abs(spread + epsilon))))
    for name, value in before.items():
        found = _wide(value).ravel()
        if "stddev" in name:
            least = math.sqrt(max(epsilon, 0.0))
            rows += [(size, 2 * size, v * v, max(abs(v), least)) for v in found]
        elif "var" in name:
            rows += [(size, 2 * size, abs(v), math.sqrt(abs(v + epsilon))) for v in found]
    finite = [row for row in rows if np.isfinite(row).all()] or [(size, 2 * size, 0.0, 1.0)]
    measured = np.array(finite).T
    if case.arguments.get("renorm"):  # one's deviation by another's
        measured[:3], measured[3] = measured[:3].max(1, keepdims=True), measured[3].min()
    measured[3][measured[3] == 0] = min((s for s in measured[3] if s > 0), default=1.0)
    return _Measured(*measured)


def batch_statistics(case: Case, given: Data, number: int) -> Iterator[tuple[Array, Array, Array]]:
    """Give (values, mean, variance) by channel and ghost batch; under the mask too."""
    x, axes = _wide(given.x), case.channel_axes
    size = case.arguments.get("virtual_batch_size")
    if size and 0 not in axes and case.steps[number].training and len(x) % size == 0:
        x, axes = x.reshape(size, -1, *x.shape[1:]), (1, *(axis + 1 for axis in axes))
    weights = [np.ones(x.shape)]
    if given.mask is not None:  # also where ghost batches meet its batch axis elsewhere
        with contextlib.suppress(ValueError):  # refused, then
            weights.append(np.broadcast_to(_wide(given.mask)[..., None], x.shape))
    for weight in weights:
        rows, w = _rows(x, axes), _rows(weight, axes)
        with np.errstate(all="ignore"):
            mean = np.nan_to_num((rows * w).sum(1) / w.sum(1))
            yield rows, mean, np.nan_to_num((w * (rows - mean[:, None]) ** 2).sum(1) / w.sum(1))


def _rows(x: Array, axes: tuple[int, ...]) -> Array:
    moved = np.moveaxis(x, axes, range(len(axes)))
    channels = math.prod(moved.shape[: len(axes)])
    return moved.reshape(channels, -1) if x.size else np.zeros((channels, 0))


def _affine(case: Case, before: Mapping[str, Array]) -> tuple[float, float]:
    """Give the largest scale and shift, an adjustment's included."""
    gammas = [before[name] for name in ("weight", "gamma") if name in before]
    betas = [before[name] for name in ("bias", "beta") if name in before]
    gamma, beta = (max(map(_largest, v), default=d) for v, d in ((gammas, 1.0), (betas, 0.0)))
    adjustment = case.arguments.get("adjustment")
    if isinstance(adjustment, Adjustment):
        beta += gamma * _largest(adjustment.bias)
        gamma *= max(1.0, _largest(adjustment.scale))
    return gamma, beta


def _values(case: Case, number: int, *names: str) -> list[Any]:
    """Give every value that a setting had so far."""
    given = [case.arguments[name] for name in names if name in case.arguments]
    later = [v for step in case.steps[: number + 1] for name, v in step.changes if name in names]
    return given + later


def _gradient(case: Case, given: Data) -> tuple[float, float]:
    """Give the largest |dy|, and the largest sum of |dy| over a channel."""
    if given.dy is None:
        return 0.0, 0.0
    sums = _rows(np.abs(_wide(given.dy)), case.channel_axes).sum(1)
    return _largest(given.dy), _largest(sums)


def _kept_roundoff(case: Case, number: int, before: Mapping[str, Array]) -> float:
    """Give the roundoff of the type in which batch mean and 1/std are kept between their uses.

    PyTorch keeps them in the input's type unless float32 parameters or buffers make it a mixed
    call (aten/src/ATen/native/Normalization.cpp, `is_mixed_type`), blends running statistics of
    16 bits in 16 bits, and sums the gradient of a 16-bit output in 16 bits. MindSpore's kernel
    gives mean and 1/std in the parameters' type.
    """
    own, names = find(case.dialect).arithmetic, set(before) - {"num_batches_tracked"}
    if own.keeps_input_type:
        tracks = [True, *_values(case, number, "track_running_stats")][-1]
        if case.steps[number].training and not tracks:  # the call doesn't see the buffers
            names &= {"weight", "bias"}
        wide = {"float32", "float64"} & {before[name].dtype.name for name in names}
        return 0.0 if wide else _sixteen_bit(case.dtype)
    dtypes = {before[name].dtype.name for name in names}
    return _sixteen_bit("float16") if own.keeps_parameter_type and "float16" in dtypes else 0.0


def _sixteen_bit(dtype: str) -> float:
    return roundoff(dtype) if dtype in ("float16", "bfloat16") else 0.0


def _sum(case: Case, number: int) -> float:
    """Only PyTorch sums float32 in double (at::acc_type<float, false>), and 16 bits in float32.

    It does not where the channels are last in memory: of 32,768 values the variance is then 3e-6
    off, and 1e-7 else.
    """
    own, step = find(case.dialect).arithmetic, case.steps[number]
    last = step.layout == "channels last" and len(step.shape) > 2
    in_double = own.sums_in_double and not last and not _sixteen_bit(case.dtype)
    return 0.0 if in_double and arithmetic(case) == "float32" else SUM


def _epsilons(case: Case, number: int) -> list[float]:
    """Give every epsilon that the layer had so far, its default if it wasn't made with one."""
    given = _values(case, number, "eps", "epsilon")
    found = [e for e in given if isinstance(e, int | float) and not math.isnan(e)]
    default = 1e-3 if find(case.dialect).is_keras else 1e-5
    return found if {"eps", "epsilon"} & set(case.arguments) and found else [default, *found]


def _one_pass(case: Case) -> bool:
    """Whether the framework computes E[x²] - E[x]²: Keras does so where replicas synchronise."""
    return bool(case.arguments.get("synchronized"))


def _wide(x: Array) -> Array:
    return np.asarray((x.real if x.dtype.kind == "c" else x).astype(np.float64))


def _largest(x: Array) -> float:
    finite = np.abs(_wide(x))
    return float(finite[np.isfinite(finite)].max(initial=0.0))
