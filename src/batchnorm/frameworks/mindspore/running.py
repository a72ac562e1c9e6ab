"""A live MindSpore cell run once in PyNative mode, with chosen layers watched.

What each function does is said in torch's facet of this name. Not here: what is made of it
(`diagnose`). No framework is imported. Facts: MindSpore 2.10 on a CPU, by running it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.noise import functions_quiet, makes_noise
from batchnorm.vocabulary import Array

__all__ = [
    "CALLS",
    "descend",
    "described",
    "eager",
    "inputs_of",
    "is_last",
    "one_pass",
    "parameterised",
    "run",
    "standing",
    "state",
    "unchanged",
]

CALLS = {True: "model.set_train(True)", False: "model.set_train(False)"}  # that set the mode
Tell = Callable[[str, str, Any, Any], None]
BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d")
TRANSPOSED = ("Conv1dTranspose", "Conv2dTranspose", "Conv3dTranspose")
STATE = {
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "gamma": "gamma",
    "beta": "beta",
}
MINT = {
    "running_mean": "running_mean",
    "running_var": "running_var",
    "weight": "gamma",
    "bias": "beta",
    "num_batches_tracked": "count",
}  # of mint's layers, which have torch's names
LATEST: dict[int, list[tuple[Any, Any]]] = {}  # of a model under way: parameters and gradients


def eager(model: Any) -> Any:
    """The cell itself, which is to be run in PyNative mode.

    Raises:
        TypeError: MindSpore is in graph mode, in which no hook is called.
    """
    module: Any = sys.modules["mindspore"]
    if module.get_context("mode") != module.PYNATIVE_MODE:
        raise InvalidType(
            "MindSpore calls no hooks in graph mode: mindspore.set_context(mode="
            "mindspore.PYNATIVE_MODE) first"
        )
    with suppress(SystemError):  # beside NumPy 2 a process's first operation may raise it, once
        module.Tensor(np.ones(2, np.float32)) + 1
    return model


def parameterised(model: Any) -> dict[str, Any]:
    """Batch norms, convolutions and dense layers, by path; not the 2d layer inside a 3d one."""
    found = {path: cell for path, cell in model.cells_and_names() if _kind(cell)}
    inner = {id(cell.bn2d) for cell in found.values() if hasattr(cell, "bn2d")}
    return {path: cell for path, cell in found.items() if id(cell) not in inner}


def _kind(layer: Any) -> str:
    kinds = {
        "batch_norm": BATCH_NORMS,
        "convolution": CONVOLUTIONS,
        "transposed": TRANSPOSED,
        "dense": ("Dense", "Linear"),
    }
    for kind, names in kinds.items():
        if any(isinstance(layer, found) for name in names for found in _classes(name)):
            return kind
    return ""


def _classes(name: str) -> list[Any]:
    """The classes of one name in nn and in mint.nn."""
    module: Any = sys.modules["mindspore"]
    rooms = (module.nn, getattr(getattr(module, "mint", None), "nn", None))
    return [getattr(room, name) for room in rooms if hasattr(room, name)]


def _is_mint(layer: Any) -> bool:
    return any(cls.__module__.startswith("mindspore.mint.") for cls in type(layer).__mro__)


def described(layer: Any) -> dict[str, Any]:
    """Its kind, and of a convolution or dense layer what it does, kernels as (out, in, ...)."""
    kind = _kind(layer)
    if kind == "batch_norm":
        return {"kind": kind}
    mint = _is_mint(layer)
    has_bias = layer.bias is not None if mint else layer.has_bias
    bias = _array(layer.bias) if has_bias else None
    kernel = _array(layer.weight)
    found: dict[str, Any] = {"kind": kind, "kernel": kernel, "bias": bias}
    if kind == "dense":
        return found
    one = type(layer).__name__.startswith("Conv1d")  # computed as (1, n) in two dimensions
    if one:
        found["kernel"] = kernel.reshape(*kernel.shape[:2], -1)
    rank = found["kernel"].ndim - 2

    def last(value: Any) -> list[int]:
        values = [value] * rank if isinstance(value, int) else list(value)
        return [int(n) for n in values[-rank:]]

    if mint:
        given = (0,) * rank if layer.padding == "valid" else layer.padding
        padding: Any = given if given == "same" else [[n, n] for n in last(given)]
    elif layer.pad_mode == "same":
        padding = "same"
    elif layer.pad_mode == "valid":
        padding = [[0, 0]] * rank
    else:
        given = layer.padding
        flat = [given] * 2 * rank if isinstance(given, int) else [int(n) for n in given]
        flat = flat[-2 * rank :]
        padding = [flat[2 * i : 2 * i + 2] for i in range(rank)]
    return found | {
        "strides": last(layer.stride),
        "padding": padding,
        "dilation": last(layer.dilation),
        "groups": int(layer.groups if mint else layer.group),
    }


def is_last(model: Any) -> bool | None:
    """Whether channels are the last axis of what it is given: on GPUs it may be."""
    formats = {getattr(cell, "data_format", "") for cell in parameterised(model).values()}
    return formats == {"NHWC"}


def standing(layer: Any) -> bool | None:
    """Whether it is in training as it stands."""
    return bool(getattr(layer, "bn2d", layer).training)


def one_pass(layer: Any) -> bool:
    """Whether its variance is E[x^2] - E[x]^2, which loses digits."""
    return False


def state(layer: Any) -> dict[str, Array]:
    """A batch norm's parameters and statistics, by their role."""
    holder = getattr(layer, "bn2d", layer)
    values = {role: getattr(holder, name, None) for name, role in _roles(layer).items()}
    return {role: _array(value) for role, value in values.items() if value is not None}


def _roles(layer: Any) -> dict[str, str]:
    return MINT if _is_mint(layer) else STATE


def _array(tensor: Any) -> Array:
    return np.array(tensor.asnumpy())


def _write(parameter: Any, value: Array) -> None:
    """Into the parameter's memory, which load_param_into_net shares with another model's."""
    module: Any = sys.modules["mindspore"]
    module.ops.assign(parameter, module.Tensor(value))


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Modes and parameters afterwards as before, bit for bit; cells keep no gradients."""
    modes = [(cell, cell.training) for _, cell in model.cells_and_names()]
    values = [(parameter, _array(parameter)) for parameter in model.get_parameters()]
    try:
        yield
    finally:
        LATEST.pop(id(model), None)
        for parameter, value in values:
            if not np.array_equal(_array(parameter), value, equal_nan=True):
                _write(parameter, value)
        for cell, mode in modes:
            cell.training = mode


def run(
    model: Any,
    batch: Any,
    layers: Mapping[str, Any],
    tell: Tell,
    *,
    training: bool | None = None,
    weigh: Callable[[list[Array]], list[Array]] | None = None,
    loss: Callable[[Any], Any] | None = None,
) -> tuple[list[Array], dict[str, dict[str, Array]]]:
    """See torch's."""
    module: Any = sys.modules["mindspore"]
    if training is not None:
        model.set_train(training)
    for _, cell in model.cells_and_names():
        if makes_noise(cell) and not parameterised(cell):
            cell.training = False
    backward = weigh is not None or loss is not None
    handles: list[Any] = []
    for path, layer in layers.items():
        handles += _watch(path, layer, tell, backward)
    given = inputs_of(batch)
    cells = [cell for _, cell in model.cells_and_names()]
    try:
        with functions_quiet(cells, "construct"):
            if not backward:
                return [_array(t) for t in _floats(_called(model, given))], {}
            return _differentiated(model, given, layers, weigh, loss, module)
    finally:
        for handle in handles:
            handle.remove()


def _differentiated(
    model: Any, given: Any, layers: Mapping[str, Any], weigh: Any, loss: Any, module: Any
) -> tuple[list[Array], dict[str, dict[str, Array]]]:
    trained = [p for p in model.get_parameters() if p.requires_grad]
    if not trained:
        return [_array(t) for t in _floats(_called(model, given))], {}
    parameters = module.ParameterTuple(trained)
    outputs: list[Any] = []

    def forward(*inputs: Any) -> Any:
        result = _called(
            model, dict(zip(given, inputs, strict=True)) if isinstance(given, dict) else inputs
        )
        outputs[:] = _floats(result)
        if loss is not None:
            return loss(result)
        weights = weigh([_array(t) for t in outputs])
        parts = zip(outputs, weights, strict=True)
        return sum((t * module.Tensor(w, t.dtype)).sum() for t, w in parts)

    inputs = tuple(given.values()) if isinstance(given, dict) else tuple(given)
    gradient = module.ops.GradOperation(get_all=True, get_by_list=True)(forward, parameters)
    found = gradient(*inputs)
    arrays = [_array(t) for t in outputs]
    LATEST[id(model)] = list(zip(trained, found[1], strict=True))
    by_id = {id(p): g for p, g in LATEST[id(model)]}
    gradients = {}
    for path, layer in layers.items():
        holder = getattr(layer, "bn2d", layer)
        names = {role: name for name, role in _roles(layer).items()}
        own = {
            role: by_id.get(id(getattr(holder, names[role], None))) for role in ("gamma", "beta")
        }
        gradients[path] = {role: _array(g) for role, g in own.items() if g is not None}
    return arrays, gradients


def _watch(path: str, layer: Any, tell: Tell, backward: bool) -> list[Any]:
    module: Any = sys.modules["mindspore"]
    inputs: list[Any] = []

    def spied(tensor: Any, which: str) -> Any:
        def told(gradient: Any) -> Any:
            tell(path, which, gradient.asnumpy(), None)
            return gradient

        return module.ops.InsertGradientOf(told)(tensor)

    def before(_: Any, given: tuple[Any, ...]) -> Any:
        inputs.append(given[0])
        if backward:
            return (spied(given[0], "x"), *given[1:])
        return None

    def after(_: Any, given: Any, y: Any) -> Any:
        x = inputs.pop()
        tell(path, "forward", x.asnumpy(), y.asnumpy())
        return spied(y, "y") if backward else None

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]


def _called(model: Any, given: Any) -> Any:
    return model(**given) if isinstance(given, dict) else model(*given)


def inputs_of(batch: Any) -> Any:
    """A batch as tensors, by name or in order."""
    module: Any = sys.modules["mindspore"]

    def tensor(value: Any) -> Any:
        if isinstance(value, module.Tensor):
            return value
        array = np.ascontiguousarray(value)
        return module.Tensor(array.astype(np.float32) if array.dtype == np.float64 else array)

    if isinstance(batch, Mapping):
        return {name: tensor(value) for name, value in batch.items()}
    return tuple(map(tensor, batch if isinstance(batch, tuple | list) else (batch,)))


def _floats(result: Any) -> list[Any]:
    module: Any = sys.modules["mindspore"]
    if isinstance(result, module.Tensor):
        return [result] if "Float" in str(result.dtype) else []
    if isinstance(result, Mapping):
        return [t for value in result.values() for t in _floats(value)]
    return [t for value in result for t in _floats(value)]


def descend(model: Any, rate: float) -> None:
    """One step of plain gradient descent with the latest gradients, which are then dropped."""
    for parameter, gradient in LATEST.pop(id(model), []):
        value = _array(parameter)
        _write(parameter, (value - rate * _array(gradient)).astype(value.dtype))
