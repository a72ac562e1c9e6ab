"""A live Keras model, 2 or 3, run once eagerly, with chosen layers watched.

What each function does is said in torch's facet of this name; of Keras 3 on another backend than
TensorFlow only the forward passes are told. A layer's `call` is wrapped, so what goes on inside
the layer's `__call__` before it (casts) has been done. Not here: what is made of it (`diagnose`).
No framework is imported. Facts: tf_keras 2.21 and keras 3.15, by running them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np

from batchnorm.frameworks.keras.functional import released
from batchnorm.frameworks.keras.live import walk
from batchnorm.frameworks.keras.saved import STATE
from batchnorm.frameworks.noise import functions_quiet, makes_noise
from batchnorm.vocabulary import Array

__all__ = [
    "CALLS",
    "KEEPS_MEMORY",
    "backend_of",
    "descend",
    "described",
    "eager",
    "is_last",
    "one_pass",
    "parameterised",
    "run",
    "standing",
    "state",
    "unchanged",
]

CALLS = {
    True: "model(x, training=True), layer.trainable = True",
    False: "training=False",
}  # that set the mode
KEEPS_MEMORY = True  # TensorFlow's pool (oneDNN) holds what has been freed
Tell = Callable[[str, str, Any, Any], None]
LATEST: dict[int, list[tuple[Any, Any]]] = {}  # of a model under way: variables and gradients


def eager(model: Any) -> Any:
    """The model itself: its layers are called one by one, whatever it was compiled for."""
    return model


def parameterised(model: Any) -> dict[str, Any]:
    """Batch norms, convolutions and dense layers by name, those of inner models after a slash."""
    return {path: layer for path, layer in walk(model, "", set()) if _kind(layer)}


def _kind(layer: Any) -> str:
    names = {c.__name__ for c in type(layer).__mro__}
    if names & {"BatchNormalization", "BatchNormalizationBase"} or hasattr(layer, "to_layer"):
        return "batch_norm"
    if any("Conv" in name and "Transpose" in name for name in names):
        return "transposed"
    if names & {"SeparableConv1D", "SeparableConv2D", "SeparableConv"}:
        return "other"
    if names & {"BaseConv", "Conv", "BaseDepthwiseConv", "DepthwiseConv2D", "DepthwiseConv"}:
        return "convolution"
    return "dense" if "Dense" in names else ""


def described(layer: Any) -> dict[str, Any]:
    """Its kind, and of a convolution or dense layer what it does, kernels as (out, in, ...)."""
    kind = _kind(layer)
    if kind == "batch_norm" or kind == "other":
        return {"kind": kind}
    deep = any("Depthwise" in c.__name__ for c in type(layer).__mro__)
    variable = getattr(layer, "depthwise_kernel", None) if deep else None
    kernel = _array(layer.kernel if variable is None else variable)
    bias = _array(layer.bias) if getattr(layer, "bias", None) is not None else None
    if kind == "dense":
        return {"kind": kind, "kernel": kernel.T, "bias": bias}
    rank = kernel.ndim - 2
    space = tuple(range(rank))
    if deep:
        channels, multiplier = kernel.shape[-2:]
        kernel = kernel.transpose(rank, rank + 1, *space)
        kernel = kernel.reshape(channels * multiplier, 1, *kernel.shape[2:])
        groups = channels
    else:
        kernel = kernel.transpose(rank + 1, rank, *space)
        groups = layer.groups
    padding: Any = "same" if layer.padding == "same" else [[0, 0]] * rank
    if layer.padding == "causal":
        padding = [[(kernel.shape[2] - 1) * int(layer.dilation_rate[0]), 0]]

    def listed(value: Any) -> list[int]:
        return [int(n) for n in ([value] * rank if isinstance(value, int) else value)]

    return {
        "kind": kind,
        "kernel": np.ascontiguousarray(kernel),
        "bias": bias,
        "strides": listed(layer.strides),
        "padding": padding,
        "dilation": listed(layer.dilation_rate),
        "groups": int(groups),
    }


def is_last(model: Any) -> bool | None:
    """Whether channels are the last axis, as its convolutions say; None where there are none."""
    formats = [getattr(layer, "data_format", None) for layer in parameterised(model).values()]
    known = [text for text in formats if text is not None]
    return known[0] == "channels_last" if known else None


def standing(layer: Any) -> bool | None:
    """None: Keras' mode is said in each call."""
    return None


def one_pass(layer: Any) -> bool:
    """Whether its variance is E[x^2] - E[x]^2, which loses digits."""
    return bool(getattr(layer, "synchronized", False)) or backend_of(layer) == "torch"


def backend_of(layer: Any) -> str:
    """On which backend a layer or model computes: tensorflow, torch, jax."""
    if type(layer).__mro__[-2].__module__.startswith("keras.src.backend"):
        return str(sys.modules["keras"].config.backend())
    module = sys.modules.get("keras")
    roots = {c.__module__.partition(".")[0] for c in type(layer).__mro__}
    if module is not None and "keras" in roots and hasattr(module, "config"):
        return str(module.config.backend())
    return "tensorflow"


def state(layer: Any) -> dict[str, Array]:
    """A batch norm's parameters and statistics, by their role."""
    values = {role: getattr(layer, name, None) for name, role in STATE.items()}
    return {role: _array(v).ravel() for role, v in values.items() if v is not None}


def _array(value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "value") and not callable(value.value):
        return _array(value.value)
    return np.array(value.numpy() if hasattr(value, "numpy") else value)


def _seen(tensor: Any) -> Array:
    """A tensor's own memory, which nobody writes to."""
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor)


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Variables, seeds among them, afterwards as before, bit for bit."""
    weights = list(model.variables)
    values = [_array(weight) for weight in weights]
    try:
        yield
    finally:
        LATEST.pop(id(model), None)
        for weight, value in zip(weights, values, strict=True):
            if not np.array_equal(_array(weight), value, equal_nan=True):
                weight.assign(value)


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
    backward = (weigh is not None or loss is not None) and backend_of(model) == "tensorflow"
    named = {} if training is None else {"training": training}
    given = batch
    if isinstance(given, tuple | list) and len(given) == 1:
        given = given[0]
    with ExitStack() as stack:
        stack.enter_context(_eagerly(model))
        for path, layer in layers.items():
            stack.enter_context(_watched(path, layer, tell, backward))
        inner = [layer for _, layer in walk(model, "", set())]
        stack.enter_context(functions_quiet([model, *inner], "call"))
        for layer in inner:
            if (makes_noise(layer) or _augments(layer)) and not parameterised(layer):
                stack.enter_context(_off(layer))
            stack.enter_context(released(layer))
        seeds = _seeds(model)

        def called() -> Any:
            result = model(given, **named)
            if not all(map(np.array_equal, seeds, _seeds(model))):
                tell("", "chance", np.empty(0), None)
            return result

        if not backward:
            return [_array(t) for t in _tensors(called())], {}
        tensorflow: Any = sys.modules["tensorflow"]
        with tensorflow.GradientTape() as tape:
            result = called()
            outputs = _tensors(result)
            arrays = [_array(t) for t in outputs]
            if loss is not None:
                total = loss(result)
            else:
                assert weigh is not None
                parts = zip(outputs, weigh(arrays), strict=True)
                total = sum(
                    tensorflow.reduce_sum(t * w.astype(t.dtype.as_numpy_dtype)) for t, w in parts
                )
        trained = list(model.trainable_variables)
        found = tape.gradient(
            total,
            [
                getattr(v, "value", v) if not callable(getattr(v, "value", None)) else v
                for v in trained
            ],
        )
    LATEST[id(model)] = list(zip(trained, found, strict=True))
    by_id = {id(v): g for v, g in LATEST[id(model)] if g is not None}
    gradients = {}
    for path, layer in layers.items():
        own = {role: by_id.get(id(getattr(layer, role, None))) for role in ("gamma", "beta")}
        gradients[path] = {r: _array(g).ravel() for r, g in own.items() if g is not None}
    return arrays, gradients


@contextmanager
def _eagerly(model: Any) -> Iterator[None]:
    """What is a `tf.function` inside the model runs as it is written."""
    config: Any = getattr(sys.modules.get("tensorflow"), "config", None)
    if config is None or backend_of(model) != "tensorflow" or config.functions_run_eagerly():
        yield
        return
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(False)


@contextmanager
def _watched(path: str, layer: Any, tell: Tell, backward: bool) -> Iterator[None]:
    own = layer.call

    def spied(tensor: Any, which: str) -> Any:
        tensorflow: Any = sys.modules["tensorflow"]

        @tensorflow.custom_gradient  # type: ignore[untyped-decorator]
        def same(x: Any) -> Any:
            def gradient(dy: Any) -> Any:
                tell(path, which, _seen(dy), None)
                return dy

            return tensorflow.identity(x), gradient

        return same(tensor)

    def call(x: Any, *given: Any, **named: Any) -> Any:
        if named.get("mask") is not None and not isinstance(named["mask"], list):
            tell(path, "mask", _seen(named["mask"]), None)
        if backward:
            x = spied(x, "x")
        if backward and _kind(layer) == "batch_norm":
            y = _again(layer, lambda x: own(x, *given, **named))(x)
        else:
            y = own(x, *given, **named)
        # Without the activation that a convolution or dense layer applies itself.
        tell(path, "forward", _seen(x), _seen(inner.pop() if inner else y))
        return spied(y, "y") if backward else y

    activation: Any = getattr(layer, "activation", None)
    inner: list[Any] = []

    def activated(x: Any) -> Any:
        inner.append(x)
        return activation(x)

    if callable(activation):
        layer.activation = activated
    try:
        with _called(layer, call):
            yield
    finally:
        if callable(activation):
            layer.activation = activation


@contextmanager
def _called(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Another `call` in a layer's place, which may be its own: one that is made of a function."""
    own = vars(layer).get("call")
    layer.call = call
    try:
        yield
    finally:
        if own is None:
            vars(layer).pop("call", None)
        else:
            layer.call = own


def _again(layer: Any, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A layer's call that is computed once more in the backward pass: a tape would keep each step.

    The second time finds the state that the first one did, and leaves the state as it is.
    """
    tensorflow: Any = sys.modules["tensorflow"]
    found: list[Any] = []

    def call(x: Any) -> Any:
        if not found:
            found.extend((weight, _array(weight)) for weight in layer.non_trainable_weights)
            return compute(x)
        now = [_array(weight) for weight, _ in found]
        for weight, value in found:
            weight.assign(value)
        y = compute(x)
        for (weight, _), value in zip(found, now, strict=True):
            weight.assign(value)
        return y

    again: Callable[[Any], Any] = tensorflow.recompute_grad(call)
    return again


def _seeds(model: Any) -> list[Array]:
    """Of Keras 3's generators of random numbers that layers hold."""
    return [_array(v) for v in model.variables if "seed_generator" in v.name]


def _augments(layer: Any) -> bool:
    """Whether it changes images by chance, in training alone: `RandomFlip` and its like."""
    named = type(layer).__name__.startswith("Random")
    return named and "training" in inspect.signature(layer.call).parameters


def _off(layer: Any) -> AbstractContextManager[None]:
    """A layer that makes noise is called as in inference; what can't be so gives its input."""
    own = layer.call
    switched = "training" in inspect.signature(own).parameters

    def call(x: Any, *given: Any, **named: Any) -> Any:
        return own(x, training=False) if switched else x

    return _called(layer, call)


def _tensors(result: Any) -> list[Any]:
    if isinstance(result, Mapping):
        return [t for value in result.values() for t in _tensors(value)]
    if isinstance(result, tuple | list):
        return [t for value in result for t in _tensors(value)]
    return [result]


def descend(model: Any, rate: float) -> None:
    """One step of plain gradient descent with the latest gradients, which are then dropped."""
    for variable, gradient in LATEST.pop(id(model), []):
        if gradient is not None:
            value = _array(variable)
            variable.assign((value - rate * _array(gradient)).astype(value.dtype))
