"""From the canonical form to a call's arguments: one rule per meaning that a parameter can have.

A rule gives the argument, or None for the parameter's default. It doesn't say what it could not
express: the call that was written is read again, and what comes out differently is a difference
(`losses`). So nothing can be lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from batchnorm.declaration import Parameter
from batchnorm.translate.argument import Argument, complement, of_value, tight, whether
from batchnorm.translate.canonical import NEUTRAL, SLOTS, neutral
from batchnorm.translate.form import Form
from batchnorm.translate.objects import (
    STAND_INS,
    quoted,
    write_dtype,
    write_init,
    write_object,
)
from batchnorm.translate.reading import READERS, default_of
from batchnorm.translate.task import Task, channel_position

__all__ = ["PLACEHOLDER", "WRITERS", "write"]

PLACEHOLDER = "NUM_FEATURES"
# A call of one of NumPy's integer types, which some refuse.
_NUMPY_INTEGER = re.compile(r"(np|numpy)\.u?int(p|c|\d+)?\(")
_TRUE, _FALSE = Argument("True", True, written=False), Argument("False", False)


def write(task: Task) -> dict[str, Argument]:
    """The arguments of the target's call, in its order.

    Written are those that the user wrote and those whose default would mean something else.
    """
    written: dict[str, Argument] = {}
    for name, parameter in task.target.parameters.items():
        argument = WRITERS[parameter.meaning.word](task, parameter)
        if argument is None:
            continue
        if parameter.required or argument.written or not _is_default(argument, parameter, task):
            written[name] = replace(argument, written=True)
    return written


def _is_default(argument: Argument, parameter: Parameter, task: Task) -> bool:
    found, default = neutral(), neutral()
    reader = READERS[parameter.meaning.word]
    reader(found, argument, parameter, task.target.dialect)
    reader(default, default_of(parameter), parameter, task.target.dialect)
    literal = argument.literal or argument.text == default_of(parameter).text
    return literal and all(found[slot].same(default[slot]) for slot in SLOTS)


Writer = Callable[[Task, Parameter], Argument | None]


def _from(slot: str) -> Writer:
    return lambda task, parameter: task.arguments[slot]


def _complement_of(slot: str) -> Writer:
    def give(task: Task, parameter: Parameter) -> Argument | None:
        argument = task.arguments[slot]
        return None if argument.value is None else complement(argument)

    return give


def _num_features(task: Task, parameter: Parameter) -> Argument:
    found = task.arguments["num_features"]
    if not task.target.dialect.calls.numpy_integers and _NUMPY_INTEGER.match(found.text):
        return replace(found, text=f"int({found.text})", expression=f"int({found.text})")
    if found.value is not None:
        return found
    if task.num_features is not None:
        return of_value(task.num_features)
    return Argument(PLACEHOLDER, STAND_INS["num_features"], expression=PLACEHOLDER)


def _frozen_alone(task: Task) -> Argument | None:
    """Whether gamma and beta train, if that is said apart from a frozen layer's statistics."""
    trained, forced = task.arguments["trained"], task.arguments["forced_statistics"]
    plain = all(
        task.arguments[slot].same(NEUTRAL[slot]) for slot in ("init of gamma", "init of beta")
    )
    said = "trainable" in _words(task.source) or (forced.literal and forced.value is False)
    return None if said or not plain or trained.same(_TRUE) else trained


def _has(slot: str) -> Writer:
    """Frozen at 1 and 0, gamma and beta are as good as absent."""

    def give(task: Task, parameter: Parameter) -> Argument | None:
        frozen = _frozen_alone(task)
        return task.arguments[slot] if frozen is None else frozen

    return give


def _affine(task: Task, parameter: Parameter) -> Argument:
    gamma, beta, frozen = (
        task.arguments["has_gamma"],
        task.arguments["has_beta"],
        _frozen_alone(task),
    )
    if frozen is not None:
        return frozen
    return gamma if gamma.expression or gamma.value or not beta.value else beta


def _beta_if_affine(task: Task, parameter: Parameter) -> Argument | None:
    gamma, beta = task.arguments["has_gamma"], task.arguments["has_beta"]
    if gamma.text == beta.text or _frozen_alone(task) is not None:
        return None
    return beta


def _train_affine(task: Task, parameter: Parameter) -> Argument:
    """What doesn't exist there is kept here, frozen at 1 and 0."""
    gamma, beta = task.arguments["has_gamma"], task.arguments["has_beta"]
    trained = task.arguments["trained"]
    if not trained.same(_TRUE) or trained.expression:
        return trained
    if gamma.text == beta.text:
        return gamma
    return beta if beta.value and not gamma.value else gamma


def _tracking(task: Task, parameter: Parameter) -> Argument | None:
    tracks, forced = task.arguments["tracks"], task.arguments["forced_statistics"]
    if not tracks.literal or not tracks.value:
        return tracks
    if forced.literal:
        return replace(_FALSE, written=forced.written) if forced.value is True else tracks
    said_so = any(p.meaning.word == "forced_statistics" for p in task.source.parameters.values())
    return whether(forced, "True", "False", negated=True) if said_so else tracks


def _trainable(task: Task, parameter: Parameter) -> Argument | None:
    forced, words = task.arguments["forced_statistics"], _words(task.source)
    if "trainable" in words:
        return task.arguments["trained"]
    if forced.literal:
        return replace(_FALSE, written=forced.written) if forced.value is False else None
    if "forced_statistics" in words:
        return replace(forced, text=f"{tight(forced.text)} is not False", value=True)
    return None


def _words(form: Form) -> set[str]:
    return {parameter.meaning.word for parameter in form.parameters.values()}


def _channel_axis(task: Task, parameter: Parameter) -> Argument | None:
    axis = task.arguments["channel_axis"]
    if task.data_format is not None and task.rank > 2:
        value = 1 if task.data_format == "NCHW" else -1
        axis = replace(axis, text=repr(value), value=value, expression="")
    if not task.target.dialect.calls.many_axes and isinstance(axis.value, list | tuple):
        if len(axis.value) != 1:
            return None
        return replace(axis, text=repr(axis.value[0]), value=axis.value[0])
    return axis


def _data_format(task: Task, parameter: Parameter) -> Argument | None:
    axis = task.arguments["channel_axis"]
    keep = "data_format" in _words(task.source) or task.data_format == "NHWC"
    if not keep or task.rank != 4:
        return None
    if axis.expression:
        text = f'"NHWC" if {tight(axis.text)} == -1 else "NCHW"'
        return replace(axis, text=text, value="NCHW", expression=text)
    name = "NHWC" if channel_position(axis.value, task.rank) == task.rank - 1 else "NCHW"
    return replace(axis, text=quoted(name), value=name)


def _init(task: Task, parameter: Parameter) -> Argument | None:
    argument = task.arguments[f"init of {parameter.meaning.of}"]
    of = task.target.dialect
    return write_object(argument, "initializers", of) if of.is_keras else write_init(argument, of)


def _object(family: str) -> Writer:
    def give(task: Task, parameter: Parameter) -> Argument | None:
        argument = task.arguments[str(parameter.meaning)]
        return write_object(argument, family, task.target.dialect)

    return give


def _parameter_dtype(task: Task, parameter: Parameter) -> Argument | None:
    argument, of = task.arguments["parameter_dtype"], task.target.dialect
    if argument.expression:
        return argument if task.source.dialect.framework == of.framework else None
    name = str(argument.value)
    if of.calls.dtypes and name not in of.calls.dtypes:
        return None
    return replace(argument, text=write_dtype(name, of), value=name)


def _dtype_policy(task: Task, parameter: Parameter) -> Argument | None:
    variable, compute = task.arguments["parameter_dtype"], task.arguments["compute_dtype"]
    if variable.expression:
        return variable if task.source.dialect.is_keras else None
    mixed = compute.value in ("float16", "bfloat16") and variable.value == "float32"
    name = f"mixed_{compute.value}" if mixed else str(variable.value)
    return replace(compute, text=quoted(name), value=name)


def _renorm_clipping(task: Task, parameter: Parameter) -> Argument | None:
    argument = task.arguments["renorm_clipping"]
    return argument if argument.value else None


def _option(task: Task, parameter: Parameter) -> Argument | None:
    """By its name, but for a group of processes, which is an object of its own framework."""
    source, target = task.source.dialect, task.target.dialect
    if parameter.name in target.calls.synchronized and source.framework != target.framework:
        return None
    return task.arguments.get(f"option {parameter.name}")


def _by_name(kind: str) -> Writer:
    return lambda task, parameter: task.arguments.get(f"{kind} {parameter.name}")


WRITERS: Mapping[str, Writer] = {
    "num_features": _num_features,
    "epsilon": _from("epsilon"),
    "weight_of_batch": _from("exponential_average_factor"),
    "weight_of_running": _complement_of("exponential_average_factor"),
    "affine": _affine,
    "beta_if_affine": _beta_if_affine,
    "train_affine": _train_affine,
    "has_gamma": _has("has_gamma"),
    "has_beta": _has("has_beta"),
    "tracking": _tracking,
    "forced_statistics": _from("forced_statistics"),
    "trainable": _trainable,
    "channel_axis": _channel_axis,
    "data_format": _data_format,
    "init": _init,
    "regularizer": _object("regularizers"),
    "constraint": _object("constraints"),
    "parameter_dtype": _parameter_dtype,
    "dtype_policy": _dtype_policy,
    "device": _from("device"),
    "name": _from("name"),
    "renorm": _from("renorm"),
    "renorm_clipping": _renorm_clipping,
    "renorm_weight_of_running": _complement_of("renorm_factor"),
    "fused": _from("fused"),
    "virtual_batch_size": _from("virtual_batch_size"),
    "adjustment": _from("adjustment"),
    "synchronized": _from("synchronized"),
    "input_shape": _by_name("hint"),
    "initial_weights": _from("initial_weights"),
    "housekeeping": _option,
}
