"""From a call's arguments to the canonical form: one rule per meaning that a parameter can have.

n dialects need no n² translations: a rule knows a meaning, never a framework. The one exception is
the dtype, whose rules for 16 bits are asked of the dialect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from batchnorm.declaration import Parameter
from batchnorm.errors import InvalidType
from batchnorm.frameworks import Framework
from batchnorm.frameworks.keras import constraints, initializers, policies, regularizers
from batchnorm.translate.argument import (
    Argument,
    complement,
    no_number,
    number,
    of_value,
    tight,
    whether,
)
from batchnorm.translate.canonical import Canonical, neutral
from batchnorm.translate.form import Form
from batchnorm.translate.objects import quoted
from batchnorm.vocabulary import as_dtype

__all__ = ["READERS", "default_of", "read"]


def read(form: Form, arguments: Mapping[str, Argument]) -> Canonical:
    """The canonical form of a call's arguments, defaults included."""
    found = neutral()
    for name, parameter in form.parameters.items():
        argument = arguments.get(name)
        if argument is None and not parameter.required:
            argument = default_of(parameter)
        if argument is not None:
            READERS[parameter.meaning.word](found, argument, parameter, form.dialect)
    if form.synchronized:
        found["synchronized"] = Argument("True", True)
    return found


def default_of(parameter: Parameter) -> Argument:
    """A parameter's default as an argument that nobody wrote."""
    return replace(of_value(parameter.default, parameter.name), written=False)


def _as(slot: str) -> Callable[..., None]:
    def take(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
        found[slot] = argument

    return take


def _as_of(slot: str, family: Any) -> Callable[..., None]:
    """For the meanings that say of which entry: names become objects."""

    def take(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
        value = argument.value
        if argument.literal and slot == "init" and not of.is_keras:
            arrays = isinstance(value, np.ndarray)
            value = value if arrays else of.room("initial").get(value, (1,))
        elif argument.literal and not callable(value) and not isinstance(value, np.ndarray):
            value = family.get(value, of.framework)
            if value is None and slot == "init":
                value = initializers.GlorotUniform()  # what Keras makes of no initializer
        if initializers.is_constant(value) and np.ndim(value.value) == 0:
            plain = {0.0: initializers.Zeros, 1.0: initializers.Ones}.get(float(value.value))
            value = value if plain is None else plain()
        found[f"{slot} of {parameter.meaning.of}"] = replace(argument, value=value)

    return take


def _flag(reader: Callable[..., None]) -> Callable[..., None]:
    """For what is only asked whether it is true: 1 is True."""

    def take(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
        value = argument.value
        if argument.literal and value is not None and type(value) is not bool:
            argument = replace(argument, text=str(bool(value)), value=bool(value))
        reader(found, argument, parameter, of)

    return take


def _converted(argument: Argument, of: Framework, kind: type[int] | type[float]) -> Argument:
    """A literal as a framework takes it that converts what it is given."""
    value = argument.value
    if not of.calls.converts or not argument.literal or type(value) is kind:
        return argument
    if not isinstance(value, str | float | int) or (kind is float and type(value) is int):
        return argument
    made = kind(value)
    return replace(argument, text=repr(made), value=made)


def _number(slot: str, *, complemented: bool = False, none: bool = False) -> Callable[..., None]:
    def take(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
        argument = _converted(argument, of, float)
        value = argument.value
        if not isinstance(value, int | float) and not (none and value is None):
            raise _unusable(argument, parameter, "a number")
        overflown = argument.literal and value is not None and not math.isfinite(value)
        if no_number(argument) or (overflown and not argument.text.startswith("float(")):
            raise _unusable(argument, parameter, "a finite number")
        if complemented:
            argument = complement(argument)
        elif argument.literal and isinstance(value, int) and not isinstance(value, bool):
            argument = replace(argument, text=number(float(value)), value=float(value))
        found[slot] = argument

    return take


def _num_features(
    found: Canonical, argument: Argument, parameter: Parameter, of: Framework
) -> None:
    if type(argument.value) is not int or no_number(argument):
        raise _unusable(argument, parameter, "an integer")
    found["num_features"] = argument


def _channel_axis(
    found: Canonical, argument: Argument, parameter: Parameter, of: Framework
) -> None:
    argument = _converted(argument, of, int)
    value = argument.value
    axes = value if isinstance(value, list | tuple) else [value]
    if not axes or not all(isinstance(axis, int) for axis in axes) or no_number(argument):
        raise _unusable(argument, parameter, "an axis")
    found["channel_axis"] = argument


def _unusable(argument: Argument, parameter: Parameter, expected: str) -> InvalidType:
    return InvalidType(f"{parameter.name} must be {expected} to be translated, not {argument.text}")


def _affine(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
    found["has_gamma"] = found["has_beta"] = argument


def _beta_if_affine(
    found: Canonical, argument: Argument, parameter: Parameter, of: Framework
) -> None:
    """Beta exists where gamma does and this says so."""
    affine = found["has_gamma"]
    if not argument.literal and not affine.literal:
        both = f"{tight(affine.text)} and {tight(argument.text)}"
        value = bool(affine.value) and bool(argument.value)
        found["has_beta"] = Argument(both, value, both)
    elif affine.literal and not affine.value:
        found["has_beta"] = affine
    elif argument.literal and argument.value:
        found["has_beta"] = replace(affine, written=affine.written or argument.written)
    else:
        found["has_beta"] = argument


def _tracking(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
    found["tracks"] = argument
    found["forced_statistics"] = whether(argument, "None", "True")


def _trainable(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
    found["trained"] = argument
    found["forced_statistics"] = whether(argument, "None", "False")


def _data_format(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
    if argument.literal:
        last = argument.value == "NHWC"
        found["channel_axis"] = replace(
            argument, text="-1" if last else "1", value=-1 if last else 1
        )
    else:
        text = f'-1 if {tight(argument.text)} == "NHWC" else 1'
        found["channel_axis"] = replace(argument, text=text, value=1, expression=text)


def _parameter_dtype(
    found: Canonical, argument: Argument, parameter: Parameter, of: Framework
) -> None:
    if argument.expression or argument.value is None:
        argument = replace(argument, value="float32")
    else:
        argument = replace(argument, value=as_dtype(argument.value).name)
    found["parameter_dtype"] = found["compute_dtype"] = argument


def _dtype_policy(
    found: Canonical, argument: Argument, parameter: Parameter, of: Framework
) -> None:
    if argument.expression:
        found["parameter_dtype"] = found["compute_dtype"] = replace(argument, value="float32")
        return
    policy = policies.get(argument.value, of.framework)  # type: ignore[arg-type]
    variable = policy.variable_dtype
    if of.calls.wide_parameters and variable in ("float16", "bfloat16"):
        variable = "float32"
    for slot, name in (("parameter_dtype", variable), ("compute_dtype", policy.compute_dtype)):
        found[slot] = replace(argument, text=quoted(name), value=name)


def _input_shape(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
    """A hint that names the channels, where the channel axis is known."""
    axis, shape = found["channel_axis"].value, argument.value
    if parameter.name == "input_shape" and isinstance(shape, tuple | list) and shape:
        shape = (None, *shape)
    found[f"hint {parameter.name}"] = argument
    if (
        isinstance(shape, tuple | list)
        and isinstance(axis, int)
        and -len(shape) <= axis < len(shape)
    ):
        size = shape[axis]
        if isinstance(size, int) and size > 0:
            found["num_features"] = Argument(str(size), size, written=argument.written)


def _option(found: Canonical, argument: Argument, parameter: Parameter, of: Framework) -> None:
    """A parameter without influence on batch normalization: kept where the name exists.

    Left at its default it says nothing, so nothing is lost with it.
    """
    if argument.literal and argument.value == parameter.default:
        return
    found[f"option {parameter.name}"] = argument


READERS: Mapping[str, Callable[[Canonical, Argument, Parameter, Framework], None]] = {
    "num_features": _num_features,
    "epsilon": _number("epsilon"),
    "weight_of_batch": _number("exponential_average_factor", none=True),
    "weight_of_running": _number("exponential_average_factor", complemented=True),
    "affine": _flag(_affine),
    "beta_if_affine": _flag(_beta_if_affine),
    "train_affine": _flag(_as("trained")),
    "has_gamma": _flag(_as("has_gamma")),
    "has_beta": _flag(_as("has_beta")),
    "tracking": _flag(_tracking),
    "forced_statistics": _as("forced_statistics"),
    "trainable": _trainable,
    "channel_axis": _channel_axis,
    "data_format": _data_format,
    "init": _as_of("init", initializers),
    "regularizer": _as_of("regularizer", regularizers),
    "constraint": _as_of("constraint", constraints),
    "parameter_dtype": _parameter_dtype,
    "dtype_policy": _dtype_policy,
    "device": _as("device"),
    "name": _as("name"),
    "renorm": _flag(_as("renorm")),
    "renorm_clipping": _as("renorm_clipping"),
    "renorm_weight_of_running": _number("renorm_factor", complemented=True),
    "fused": _as("fused"),
    "virtual_batch_size": _as("virtual_batch_size"),
    "adjustment": _as("adjustment"),
    "synchronized": _flag(_as("synchronized")),
    "input_shape": _input_shape,
    "initial_weights": _as("initial_weights"),
    "housekeeping": _option,
}
