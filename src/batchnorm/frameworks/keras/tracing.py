"""Which layer of a live Keras model feeds which: by TensorFlow's graph of its inference.

TensorFlow traces the model for a batch; nothing is run, and no state moves. On another backend the
model's config says it, if it is functional or sequential. No framework is imported. Facts: tf_keras
2.21 and keras 3.15 on TensorFlow 2.21, by running them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from batchnorm.checkpoints.flow import Flow
from batchnorm.checkpoints.steps import Step
from batchnorm.errors import NotSupported
from batchnorm.frameworks.keras import running
from batchnorm.frameworks.keras.live import layers_with_weights, state_of, walk, weight_names

__all__ = ["steps_of"]

SAME = frozenset({"Cast", "Identity", "NoOp", "ReadVariableOp", "StopGradient"})


def steps_of(model: Any, batch: Any) -> tuple[Step, ...]:
    """The calls of a model's inference on a batch; the model is left as it was.

    Raises:
        NotImplementedError: a subclassed model on another backend than TensorFlow.
    """
    if running.backend_of(model) != "tensorflow":
        found = state_of(model)
        steps: tuple[Step, ...] = () if found is None else found[1].get("steps", ())
        if not steps:
            raise NotSupported(
                "a subclassed Keras model is followed on the TensorFlow backend only "
                "(KERAS_BACKEND=tensorflow)"
            )
        return steps
    tensorflow: Any = sys.modules["tensorflow"]
    given = batch[0] if isinstance(batch, tuple | list) and len(batch) == 1 else batch
    traced = tensorflow.function(lambda x: model(x, training=False)).get_concrete_function(
        tensorflow.nest.map_structure(_specified, given)
    )
    owners, flow = _owners(model)
    free = len(traced.inputs) - len(traced.captured_inputs)
    for tensor in traced.inputs[:free]:
        flow.given(tensor.name)
    for outside, tensor in zip(traced.captured_inputs, traced.inputs[free:], strict=True):
        if id(outside) in owners:
            flow.owns(owners[id(outside)], tensor.name)
    for operation in traced.graph.get_operations():
        if operation.type in ("Placeholder", "Const"):
            continue
        names = [t.name for t in operation.inputs], [t.name for t in operation.outputs]
        if operation.type in SAME:
            flow.same(*names)
        else:
            flow.call(operation.type, *names)
    return flow.finish(tensor.name for tensor in traced.outputs)


def _specified(value: Any) -> Any:
    tensorflow: Any = sys.modules["tensorflow"]
    array = np.asarray(value)
    kind = np.float32 if array.dtype == np.float64 else array.dtype
    return tensorflow.TensorSpec(array.shape, kind)


def _handle(variable: Any) -> Any:
    plain = getattr(variable, "value", variable)
    return (variable if callable(plain) else plain).handle


def _owners(model: Any) -> tuple[dict[int, str], Flow]:
    """Variable -> the layer under whose name its arrays stand in files; and a flow of these."""
    inner = {id(w): one for _, one in walk(model, "", set()) for w in one.weights}
    owners: dict[int, str] = {}
    classes: dict[str, str] = {}
    known: dict[str, Mapping[str, Any]] = {}
    for path, layer in layers_with_weights(model, ""):
        for name, variable in zip(weight_names(layer), layer.weights, strict=True):
            owner = f"{path}/{name}".rpartition("/")[0]
            owners[id(_handle(variable))] = owner
            classes[owner] = type(inner[id(variable)]).__name__
            known[owner] = dict(_said(inner[id(variable)].get_config()))
    return owners, Flow(classes, known)


def _said(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("axis", "data_format", "dilation_rate", "groups", "kernel_size", "padding",
                "strides"):  # fmt: skip
        if key in config:
            value = config[key]
            yield key, tuple(value) if isinstance(value, list | tuple) else value
