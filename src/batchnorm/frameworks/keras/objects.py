"""What the argument objects of both Keras dialects share: names, how they are read and written.

Initializers, regularizers and constraints are given to a layer by name, by dictionary or as an
object, and its `get_config()` writes them back as dictionaries. The rules are the same for the
three families and differ between Keras 2 and Keras 3: they stand here once. This file is no
registry for classes of the user's own, which are taken and written but not found by name.

Facts: measured with tf_keras 2.21.0 and keras 3.15.1 (tests/frameworks asks both); source
tf_keras/src/saving/{serialization_lib,legacy/serialization}.py, keras/src/saving/
serialization_lib.py. Listed deviations of all families:
- A Keras 2 layer keeps an unknown regularizer's name, a dictionary's unknown class and a class in
  place of an object, and fails when it calls them. Here the same exception class comes at once.
- A lambda is refused when it is written: the frameworks write its byte code, which neither reads.
- `KeyError` for a Constant without value in Keras 3 is `ValueError` here.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeGuard, TypeVar

import numpy as np

from batchnorm.errors import InvalidAttribute, InvalidType, InvalidValue

__all__ = ["Dialect", "Family", "KerasObject", "described", "is_object", "names_of"]

Dialect: TypeAlias = Literal["tf_keras", "keras"]
T = TypeVar("T", bound="KerasObject")


class KerasObject:
    """What a class name and constructor arguments describe; subclasses are dataclasses."""

    MODULE: ClassVar[str]
    """The public module that both frameworks write."""
    KERAS_3_ONLY: ClassVar[frozenset[str]] = frozenset()
    """Constructor parameters that Keras 2 does not have."""
    KERAS_2_DROPS: ClassVar[frozenset[str]] = frozenset()
    """Keys in old configurations that Keras 2 ignores."""

    @classmethod
    def parameters(cls, dialect: Dialect) -> tuple[str, ...]:
        """The names of the constructor's parameters in a dialect."""
        fields: tuple[dataclasses.Field[Any], ...] = ()
        if dataclasses.is_dataclass(cls):
            fields = dataclasses.fields(cls)
        left_out = cls.KERAS_3_ONLY if dialect == "tf_keras" else frozenset[str]()
        return tuple(field.name for field in fields if field.name not in left_out)

    def config_for(self, dialect: Dialect) -> dict[str, Any]:
        """The arguments as the dialect's `get_config()` gives them."""
        return {name: getattr(self, name) for name in self.parameters(dialect)}

    def get_config(self) -> dict[str, Any]:
        """The arguments as Keras 3's `get_config()` gives them; a subclass may override it."""
        return self.config_for("keras")

    @classmethod
    def read(cls: type[T], config: Mapping[str, Any], dialect: Dialect) -> T:
        """Build the object from the arguments that a dialect wrote."""
        dropped = cls.KERAS_2_DROPS if dialect == "tf_keras" else frozenset[str]()
        arguments = {key: value for key, value in config.items() if key not in dropped}
        if unknown := arguments.keys() - set(cls.parameters(dialect)):
            known = ", ".join(cls.parameters(dialect)) or "no argument"
            raise InvalidType(
                f"{cls.__name__} got {', '.join(map(repr, sorted(unknown)))}, which {dialect} "
                f"does not take; its configuration may hold {known}."
            )
        return cls(**arguments)

    @classmethod
    def from_config(cls: type[T], config: Mapping[str, Any]) -> T:
        """Build the object from what `get_config()` gave."""
        return cls.read(config, "keras")

    def check(self, dialect: Dialect) -> None:
        """Refuse what this dialect refuses and the other accepts."""
        given = [name for name in self.KERAS_3_ONLY if getattr(self, name) is not None]
        if dialect == "tf_keras" and given:
            raise InvalidType(
                f"{type(self).__name__} of Keras 2 has no {', '.join(sorted(given))}: leave it out."
            )


def is_object(value: Any) -> TypeGuard[KerasObject]:
    """Whether a value is one of our initializers, regularizers or constraints."""
    return isinstance(value, KerasObject)


def names_of(classes: Iterable[type[T]]) -> dict[str, type[T]]:
    """Each class under its name and, as both frameworks do, in snake case (`l1l2` for L1L2)."""
    names = {cls.__name__: cls for cls in classes}
    return names | {re.sub("(?<=[a-z])(?=[A-Z])", "_", n).lower(): c for n, c in names.items()}


def described(module: str, class_name: str, config: Any, registered: str | None = None) -> Any:
    """The dictionary in which both frameworks describe an object."""
    return {
        "module": None if module == "__main__" else module,
        "class_name": class_name,
        "config": config,
        "registered_name": registered,
    }


def _plain(value: Any) -> Any:
    """Values as JSON can hold them, arrays as the frameworks' `__numpy__` dictionary."""
    if isinstance(value, np.ndarray) and value.ndim:
        inner = {"value": value.tolist(), "dtype": value.dtype.name}
        return {"class_name": "__numpy__", "config": inner}
    if isinstance(value, np.ndarray | np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


@dataclasses.dataclass(frozen=True)
class Family(Generic[T]):
    """One family of objects: its names in each dialect, and the rules for reading and writing."""

    kind: str
    names: Mapping[Dialect, Mapping[str, type[T]]]
    defaults: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    """Names that carry arguments of their own (Keras 2's `l1_l2`)."""

    def get(self, identifier: object, dialect: Dialect) -> T | Callable[..., Any] | None:
        """The object that a layer's argument stands for; None stays None.

        Args:
            identifier: a name, a dictionary as `serialize` writes it, an object or its class, or a
                function.
            dialect: "tf_keras" or "keras".

        Raises:
            ValueError: an unknown name, or nothing that the dialect takes.
            TypeError: a dictionary with arguments that the class doesn't have; in Keras 2 an
                unknown regularizer, and a class.
            AttributeError: an old Keras 2 dictionary whose config is no dictionary.
        """
        if identifier is None:
            return None
        if isinstance(identifier, Mapping):
            return self._read(identifier, dialect)
        if isinstance(identifier, str):
            return self._named(identifier, {}, dialect, later=self.kind == "regularizer")
        if isinstance(identifier, type):
            identifier = self._instance(identifier, dialect)
        if isinstance(identifier, KerasObject):
            identifier.check(dialect)
        if callable(identifier):
            return identifier
        raise InvalidValue(
            f"Could not interpret {self.kind} identifier: {identifier!r}. Expected a name, a "
            "dictionary with class_name and config, an object, a callable or None."
        )

    def serialize(self, obj: Any, dialect: Dialect) -> Any:
        """What the dialect's `get_config()` holds for this object."""
        if obj is None:
            return None
        cls = type(obj)
        own = isinstance(obj, KerasObject) and cls.get_config is KerasObject.get_config
        if own and cls in self.names[dialect].values():
            return described(obj.MODULE, cls.__name__, _plain(obj.config_for(dialect)))
        name = getattr(obj, "__name__", None)
        if name == "<lambda>":
            raise InvalidType(
                f"The {self.kind} is a lambda, which a configuration can't describe without its "
                "byte code. Expected a named function or an object: define it with `def`."
            )
        if hasattr(obj, "get_config") and not isinstance(obj, type):
            config = _plain(obj.config_for(dialect) if own else obj.get_config())
        elif name is not None:
            config = name
        else:
            raise InvalidType(
                f"Cannot serialize the {self.kind} {obj!r} of type {cls.__name__}. Expected a "
                "function or an object with get_config(): give its class that method."
            )
        return described(cls.__module__, cls.__name__, config, cls.__name__)

    def _instance(self, cls: type, dialect: Dialect) -> object:
        if dialect == "keras" or self.kind == "initializer":
            return cls()
        if issubclass(cls, KerasObject):
            raise InvalidType(
                f"The {self.kind} is the class {cls.__name__}; Keras 2 expects an object: "
                f"write {cls.__name__}()."
            )
        return cls

    def _named(self, name: object, config: Any, dialect: Dialect, *, later: bool) -> T:
        cls = self.names[dialect].get(name) if isinstance(name, str) else None
        if cls is None or not isinstance(name, str):
            known = self.names[dialect]
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            classes = ", ".join(sorted({cls.__name__ for cls in known.values()}))
            # Keras 2 keeps such a name and fails where it calls it: TypeError, `str` not callable.
            error = InvalidType if later and dialect == "tf_keras" else InvalidValue
            raise error(f"Unknown {self.kind}: {name!r}; {hint}{dialect} has {classes}.")
        obj = cls.read({**self.defaults.get(name, {}), **config}, dialect)
        obj.check(dialect)
        return obj

    def _read(self, config: Mapping[str, Any], dialect: Dialect) -> T:
        # Keras 2 tells its old format, which had no module, from the new one by that key.
        old = dialect == "tf_keras" and "module" not in config
        if "class_name" not in config or (old and "config" not in config):
            raise InvalidValue(
                f"Improper {self.kind} config {dict(config)!r}: expected the keys class_name and "
                "config, as get_config() writes them."
            )
        if config.get("module", "") is None:
            raise InvalidType(
                f"The {self.kind} {config['class_name']!r} has no module: it was a class of the "
                "writing program. Pass an object of that class instead."
            )
        inner = config.get("config")
        if inner is None and not old:
            inner = {}
        if not isinstance(inner, Mapping):
            error = InvalidAttribute if old and not isinstance(inner, list) else InvalidType
            raise error(
                f"Expected the {self.kind} {config['class_name']!r} to have a dictionary as its "
                f"config, but got {inner!r}."
            )
        return self._named(config["class_name"], inner, dialect, later=not old)
