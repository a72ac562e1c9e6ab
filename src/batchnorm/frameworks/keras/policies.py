"""Dtype policies: which dtype a Keras layer computes in, and which its variables have.

Not here: what a layer does with them (16-bit layers of Keras 2 keep float32 parameters, and both
compute in float32): that is the dialects' rule.

Facts: tf_keras 2.21.0 (src/mixed_precision/policy.py), keras 3.15.1 (src/dtype_policies) on
TensorFlow, compared in tests/frameworks. Listed deviations:
- There is no global policy: None means float32.
- A dtype that no array can have here (string, quantized and float8 ones) is refused, as bad names
  are; TensorFlow's own numbers for dtypes (`dtype=1`) too, except those that count as none (0).
- Keras 3's quantized policies ("int8_from_float32") and policy maps are refused with `ValueError`.
- Keras 3 keeps the name of an unknown policy class and fails at build; here it fails at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from batchnorm.errors import InvalidAttribute, InvalidType, InvalidValue
from batchnorm.frameworks.keras.objects import Dialect, described

__all__ = ["Policy", "PolicyLike", "get", "serialize"]


@dataclass(frozen=True)
class Policy:
    """A dtype policy.

    Args:
        name: as given to the layer, such as "mixed_float16".
        compute_dtype: name of the dtype in which a layer computes and which its output has.
        variable_dtype: name of the dtype of its variables.
        class_name: what Keras 3 calls its class.
    """

    name: str
    compute_dtype: str
    variable_dtype: str
    class_name: str = field(default="DTypePolicy", compare=False, repr=False)


PolicyLike: TypeAlias = str | np.dtype[Any] | type[Any] | Policy | Mapping[str, Any] | None
"""What a Keras layer takes as its dtype."""

_DTYPES = frozenset(
    {"bfloat16", "bool", "complex64", "complex128", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_ALIASES: Mapping[Dialect, Mapping[str, str]] = {
    "tf_keras": {"half": "float16", "float": "float32", "double": "float64"},
    "keras": {"int": "int64"},
}
_PYTHON: Mapping[Dialect, Mapping[type, str]] = {
    "tf_keras": {float: "float32", bool: "bool"},
    "keras": {float: "float32", bool: "bool", int: "int64", complex: "complex128"},
}
_CLASSES: Mapping[Dialect, tuple[str, ...]] = {
    "tf_keras": ("Policy", "PolicyV1"),
    "keras": ("DTypePolicy", "FloatDTypePolicy"),
}
_EXPECTED = (
    "Expected 'mixed_float16', 'mixed_bfloat16', a policy, or a dtype or its name, one of "
    f"{', '.join(sorted(_DTYPES))}."
)
_QUANTIZED = ("int8", "float8", "int4", "gptq", "awq")


def get(identifier: PolicyLike, dialect: Dialect) -> Policy:
    """The policy that a layer's `dtype` argument stands for.

    Args:
        identifier: a dtype or its name, "mixed_float16", "mixed_bfloat16", a policy (Keras' own
            too), a dictionary as `serialize` writes it, or None for float32.
        dialect: "tf_keras" or "keras".

    Raises:
        TypeError: no dtype in Keras 2, or a dictionary with bad arguments.
        ValueError: no dtype in Keras 3, or a dictionary without class_name.
        AttributeError: a dictionary of a class that is no policy.

    >>> get("mixed_float16", "keras")
    Policy(name='mixed_float16', compute_dtype='float16', variable_dtype='float32')
    >>> get(np.float64, "tf_keras").variable_dtype
    'float64'
    """
    if isinstance(identifier, Policy):
        return identifier
    if isinstance(identifier, Mapping):
        return _read(identifier, dialect)
    nothing = isinstance(identifier, str | int | float | list | tuple) and not identifier
    if identifier is None or (nothing and dialect == "tf_keras"):
        return Policy("float32", "float32", "float32")
    error = InvalidType if dialect == "tf_keras" else InvalidValue
    if not isinstance(identifier, str):
        return _parse(_name_of(identifier, dialect), dialect, error)
    if dialect == "keras":
        if identifier.startswith(_QUANTIZED):
            raise error(f"Quantized policies such as {identifier!r} are not supported. {_EXPECTED}")
        return _parse(identifier, dialect, error)
    return _parse(_ALIASES[dialect].get(identifier, identifier), dialect, error)


def serialize(policy: Policy, dialect: Dialect) -> Any:
    """What the dialect's `get_config()` holds for a policy.

    >>> serialize(get("float16", "tf_keras"), "tf_keras")
    'float16'
    >>> serialize(get("float16", "keras"), "keras")["config"]
    {'name': 'float16'}
    """
    if dialect == "keras":
        return described("keras", policy.class_name, {"name": policy.name})
    if policy.compute_dtype == policy.variable_dtype:
        return policy.name
    return described("keras.mixed_precision", "Policy", {"name": policy.name})


def _parse(name: str, dialect: Dialect, error: type[Exception]) -> Policy:
    if name in ("mixed_float16", "mixed_bfloat16"):
        return Policy(name, name.removeprefix("mixed_"), "float32")
    dtype = _ALIASES[dialect].get(name, name)
    if dialect == "keras" and ("torch" in name or "jax.numpy" in name):
        dtype = name.rpartition(".")[2]
    if dtype not in _DTYPES:
        raise error(f"Cannot interpret {name!r} as the dtype of a layer. {_EXPECTED}")
    return Policy(name, dtype, dtype)


def _name_of(identifier: object, dialect: Dialect) -> str:
    if isinstance(identifier, type):
        if issubclass(identifier, np.generic):
            with contextlib.suppress(TypeError):  # NumPy's abstract types
                return np.dtype(identifier).name
        return _PYTHON[dialect].get(identifier, identifier.__name__)
    name = getattr(identifier, "name", None)
    if isinstance(name, str):
        return name
    text = str(identifier)  # torch.float32 and such
    return text.rpartition(".")[2] if text.startswith(("torch.", "jax.numpy.")) else text


def _read(config: Mapping[str, Any], dialect: Dialect) -> Policy:
    if "class_name" not in config:
        raise InvalidValue(
            f"Unknown dtype policy config {dict(config)!r}: expected the keys class_name and "
            "config, as get_config() writes them."
        )
    class_name, inner = config["class_name"], config.get("config") or {}
    if config.get("module", "") is None:
        raise InvalidType(f"The dtype policy {class_name!r} has no module: pass a policy instead.")
    if class_name not in _CLASSES[dialect]:
        raise InvalidAttribute(
            f"{class_name!r} is no dtype policy here: {dialect} has "
            f"{' and '.join(_CLASSES[dialect])}."
        )
    # TensorFlow 2.3 and before wrote a loss_scale, which Keras 2 drops.
    dropped = {"loss_scale"} if dialect == "tf_keras" else set[str]()
    arguments = {key: value for key, value in inner.items() if key not in dropped}
    if dialect == "keras" and arguments.get("name") is None:
        arguments["name"] = "float32"
    if arguments.keys() != {"name"} or not isinstance(arguments["name"], str):
        raise InvalidType(
            "The dtype policy's config must be a name, as in {'name': 'mixed_float16'}, but got "
            f"{inner!r}."
        )
    policy = _parse(arguments["name"], dialect, InvalidValue)
    return replace(policy, class_name=class_name) if dialect == "keras" else policy
