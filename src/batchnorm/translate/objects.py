"""Arguments that are objects of a framework: initializers, regularizers, constraints, dtypes.

A constructor call with literal arguments, such as `keras.initializers.Constant(2.0)`, is read as
our object of that name and written again in the other framework's words. Anything else stays an
expression. Not here: what the objects do (`batchnorm.frameworks`).
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from batchnorm.declaration import Parameter
from batchnorm.errors import BatchNormError
from batchnorm.frameworks import Framework
from batchnorm.frameworks.keras import constraints, initializers, regularizers
from batchnorm.frameworks.keras.objects import KerasObject, is_object
from batchnorm.translate.argument import Argument, equal, parse

__all__ = ["STAND_INS", "quoted", "read_argument", "write_dtype", "write_init", "write_object"]

STAND_INS: Mapping[str, Any] = {
    "num_features": 6,
    "epsilon": 0.002,
    "weight_of_batch": 0.07,
    "weight_of_running": 0.93,
    "renorm_weight_of_running": 0.95,
}
"""What an expression stands as, by the meaning of its parameter; for others, the default."""

_FAMILIES = {"init": initializers, "regularizer": regularizers, "constraint": constraints}
_MODULES = {"initializers": initializers, "regularizers": regularizers, "constraints": constraints}
_DTYPES = {"half": "float16", "float": "float32", "double": "float64"}
_FLOATING = ("float16", "bfloat16", "float32", "float64")
_POLICIES = ("Policy", "DTypePolicy", "FloatDTypePolicy")


def read_argument(node: ast.expr, whole: str, parameter: Parameter, of: Framework) -> Argument:
    """Read the argument of a parameter; objects that we know become ours."""
    word = parameter.meaning.word
    default = None if parameter.required else parameter.default
    found = parse(node, whole, stand_in=STAND_INS.get(word, default))
    if found.literal:
        return found
    known: Any = None
    if word in ("parameter_dtype", "dtype_policy"):
        known = _dtype(node)
    elif word in _FAMILIES and isinstance(node, ast.Call):
        known = _object(node, word, of)
    return found if known is None else replace(found, value=known, expression="")


def write_dtype(name: str, of: Framework) -> str:
    """A dtype's name as the dialect spells it."""
    return quoted(name) if of.is_keras else f"{of.namespace}.{name}"


def write_object(argument: Argument, family: str, of: Framework) -> Argument:
    """An object of ours as a Keras dialect spells it; an expression stays."""
    value = argument.value
    if argument.expression or not is_object(value):
        return argument
    if initializers.is_plain(value):
        return replace(argument, text=quoted(type(value).__name__.lower()))
    if argument.text.startswith(("'", '"')):
        name, module = ast.literal_eval(argument.text), _MODULES[family]
        with contextlib.suppress(BatchNormError):  # a name that the target doesn't have
            if equal(module.get(name, of.framework), value):
                return argument
    return replace(argument, text=f"{of.namespace}.{family}.{_constructor(value)}")


def write_init(argument: Argument, of: Framework) -> Argument | None:
    """An initializer as a dialect spells it that has its own; None where it has no such one."""
    if argument.expression or isinstance(argument.value, np.ndarray):
        return argument
    text = of.room("initial").write(argument.value)
    return None if text is None else replace(argument, text=text)


def quoted(text: str) -> str:
    """A string literal with double quotes."""
    return json.dumps(text)


def _constructor(value: KerasObject) -> str:
    """`Name(arguments that differ from the defaults)`."""
    given: list[str] = []
    if dataclasses.is_dataclass(value):
        for place, field in enumerate(dataclasses.fields(value)):
            own = getattr(value, field.name)
            if own != field.default or initializers.is_constant(value):
                text = quoted(own) if isinstance(own, str) else repr(own)
                given.append(text if place == 0 else f"{field.name}={text}")
    return f"{type(value).__name__}({', '.join(given)})"


def _dtype(node: ast.expr) -> str | None:
    """The dtype that `torch.float64`, `np.float32` or `Policy("mixed_float16")` names."""
    if isinstance(node, ast.Call) and _last_name(node.func) in _POLICIES and len(node.args) == 1:
        (inner,) = node.args
        named = inner.value if isinstance(inner, ast.Constant) else None
        return named if isinstance(named, str) else None
    name = _last_name(node)
    name = _DTYPES.get(name, name)
    return name if isinstance(node, ast.Attribute) and name in _FLOATING else None


def _object(node: ast.Call, word: str, of: Framework) -> Any:
    name = _last_name(node.func)
    try:
        args = [ast.literal_eval(argument) for argument in node.args]
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        if None in (k.arg for k in node.keywords):
            return None
        if not of.is_keras:
            maker = of.room("initial").MAKERS.get(name)
            return maker(*args, **keywords) if maker else None
        if name in ("Constant", "constant"):  # which has no default value in Keras 3
            return initializers.Constant(*args, **keywords)
        found: Any = _FAMILIES[word].get(name, of.framework)
        if name == "l1_l2":  # Keras 2's function has other defaults than the class
            keywords = {**vars(found), **dict(zip(vars(found), args, strict=False)), **keywords}
            args = []
        return type(found)(*args, **keywords)
    except (BatchNormError, TypeError, ValueError):
        return None


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]
