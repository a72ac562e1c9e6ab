"""The machine behind all dialects: state, forward, backward. Names no framework.

A dialect subclasses `Layer`, declares its parameters and state, says in `decide` what its rules
make of an input, and lets `_compute` follow that. Attributes are the truth: what the user changes
after construction counts, and nothing keeps a second copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import get_ident
from typing import Any, ClassVar

import numpy as np

from batchnorm import core, declaration
from batchnorm.arrays import as_array, converted
from batchnorm.computation import Computation
from batchnorm.core.replicas import Replicas
from batchnorm.errors import InvalidRuntime, InvalidType, InvalidValue
from batchnorm.newer_python import Self
from batchnorm.vocabulary import Array

__all__ = ["Entry", "Layer"]


@dataclass(frozen=True)
class Entry:
    """One state entry of a dialect: its role in the core, and how a bare layer's file spells it.

    `needs` names the constructor parameters that must be true for the entry to exist.
    """

    role: str
    bare_name: str = ""
    needs: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class LatestCall:
    """What `Layer._again` needs to repeat a layer's latest call without deciding anything anew.

    A call makes a `LatestCall` and stores it as the layer's `_latest` before the call reads any
    attribute; at its end the call fills that same object, `like` last. Setting an attribute, in any
    thread, sets `_latest` to None: a `LatestCall` that is filled after that is no layer's any more.
    """

    thread: int
    like: tuple[Any, ...] | None = None  # dtype, shape and strides of x; y has the first two
    contiguous: bool = False  # whether y is in C's order while x isn't; else y has x's strides
    how: bool | None = None  # Keras' `training` argument
    gamma: Array | None = None
    beta: Array | None = None
    running: core.Running | None = None
    settings: core.Settings | None = None


RESULTS = frozenset({"gradients", "_saved", "_latest", "_gradient_dtype", "_activity_loss"})
"""Attributes that a call leaves behind; every other one is a setting or state."""


class Layer:
    """Base of every dialect's layer; not used by itself.

    Attributes:
        gradients: what the latest `backward` found, under the dialect's own parameter names.
        MASKS: whether the dialect's own layers take masks.
        built: whether the state exists; a dialect may wait for an input's shape.
        replicas: who holds the other parts of each batch; None, as always at first, for nobody.
    """

    FRAMEWORK: ClassVar[str]
    VERIFIED_WITH: ClassVar[str]
    STATE: ClassVar[Mapping[str, Entry]]
    PARAMETERS: ClassVar[Mapping[str, declaration.Parameter]]

    MASKS: ClassVar[bool] = False

    gradients: dict[str, Array]
    built: bool = True
    replicas: Replicas | None = None
    _saved: core.Saved | None = None
    _latest: LatestCall | None = None
    _ROLES: ClassVar[Mapping[str, tuple[str, ...]]]
    _REPEATS: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Only our own classes repeat calls: a user's `decide` may ask more than its attributes.
        cls._REPEATS = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        if "__init__" in vars(cls):
            cls.PARAMETERS = declaration.read(cls)
        if "STATE" in vars(cls):  # asked several times in every call
            roles = {entry.role for entry in cls.STATE.values()}
            cls._ROLES = {
                role: tuple(name for name, entry in cls.STATE.items() if entry.role == role)
                for role in roles
            }

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the attribute; unless a call left it behind, the latest call isn't repeated."""
        object.__setattr__(self, name, value)
        if name not in RESULTS:
            object.__setattr__(self, "_latest", None)

    def __delattr__(self, name: str) -> None:
        """Delete the attribute; the latest call isn't repeated."""
        object.__delattr__(self, name)
        object.__setattr__(self, "_latest", None)

    @property
    def state(self) -> dict[str, Array]:
        """A copy of every state entry, by attribute name, in the framework's order."""
        return {name: np.array(getattr(self, name)) for name in self._present()}

    def load_state(self, mapping: Mapping[str, Any]) -> None:
        """Take the values of a mapping with exactly the names that `state` has.

        Raises:
            ValueError: a name is missing or unknown, a shape differs, or a value isn't numeric.
                Nothing is changed then.
        """
        present = self._present()
        if set(mapping) != set(present):
            raise InvalidValue(
                f"load_state expected exactly the names {present}, but got {list(mapping)}: "
                f"missing {sorted(set(present) - set(mapping))}, "
                f"unknown {sorted(set(mapping) - set(present))}"
            )
        # All of them first: nothing is changed by a bad one, nor by the layer's own arrays.
        values = {name: converted(mapping[name], getattr(self, name), name) for name in present}
        for name, value in values.items():
            getattr(self, name)[...] = value

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that would make a layer with the present settings."""
        return {name: getattr(self, name) for name in self.PARAMETERS}

    def decide(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | str,
        training: bool,
        mask: Any = None,
        *,
        total: Callable[[int], int] | None = None,
    ) -> Computation:
        """What the layer does with an input: the only statement of its dialect's rules for a call.

        Nothing is computed or changed, and the layer's replicas aren't asked.

        Args:
            shape: the input's.
            dtype: the input's, or its name.
            training: whether the layer, or its caller, is training.
            mask: what the call is given as a mask, of which only the shape counts. Dialects
                without masks take one of shape (N,) or the input's without its channel axis.
            total: gives the number of values per channel in all parts of the batch from that of
                this part; None where this is the whole.

        Raises:
            Exception: whatever the dialect raises for such an input.

        >>> import batchnorm as bn
        >>> found = bn.torch.BatchNorm1d(2).decide((4, 2), "float32", training=True)
        >>> found.settings.mode.name, found.settings.correction
        ('BATCH_AND_UPDATE', 1)
        """
        raise NotImplementedError

    def ensure_built(self, shape: tuple[int, ...]) -> None:
        """Create the state for inputs of this shape where the dialect waits for one."""

    def example_shape(self) -> tuple[int, ...]:
        """The shape of some input that the layer takes, with more than one value per channel."""
        raise NotImplementedError

    def plain_arguments(self) -> dict[str, Any]:
        """The settings as JSON can hold them, without the state; `from_plain` takes them."""
        plain = (str, bool, int, float, type(None))
        return {key: value for key, value in self.arguments().items() if isinstance(value, plain)}

    @classmethod
    def from_plain(cls, arguments: Mapping[str, Any]) -> Self:
        """A new layer of the settings that `plain_arguments` gave."""
        return cls(**arguments)

    @property
    def policy(self) -> str | None:
        """The name of the layer's dtype policy, where its dialect has policies."""
        return None

    def in_policy(self, policy: str) -> Self:
        """A copy, with this dtype policy where its dialect has policies."""
        return copy.deepcopy(self)

    def applies(self, role: str) -> bool:
        """Whether a call uses the state entry of this role, where there is one."""
        return True

    def freeze(self, trainable: bool) -> None:
        """Set whether the layer trains, where its dialect's rules ask that."""

    def backward(self, dy: Any) -> Array:
        """The gradient of the input for the gradient `dy` of the output of the latest forward.

        Fills `gradients`. Uses the input array of that forward itself, so it must not have been
        changed since.

        Raises:
            RuntimeError: no forward came before.
            TypeError: `dy` is no array of real numbers.
            ValueError: `dy` has another shape than that forward's output.
        """
        if self._saved is None:
            raise InvalidRuntime("backward belongs to the latest forward, but there was none yet")
        dy = as_array(dy, "dy")
        if dy.dtype.kind == "c":
            raise InvalidType(f"dy must be real, but got dtype {dy.dtype}")
        shape = self._output_shape()
        if dy.shape != shape:
            raise InvalidValue(f"dy must have the output's shape {shape}, but got shape {dy.shape}")
        dx, dgamma, dbeta = self._differentiate(dy.reshape(self._saved.x.shape))
        self.gradients = {}
        with np.errstate(all="ignore"):
            for role, gradient in (("gamma", dgamma), ("beta", dbeta)):
                name = self._name_of(role)
                if name is not None and self._trains(role):
                    own = getattr(self, name)
                    self.gradients[name] = gradient.reshape(own.shape).astype(own.dtype)
        return dx if dx.shape == shape else dx.reshape(shape)

    def _output_shape(self) -> tuple[int, ...]:
        """The shape of the latest output; a dialect may have computed in another."""
        assert self._saved is not None
        return self._saved.x.shape

    def _differentiate(self, dy: Array) -> tuple[Array, Array, Array]:
        assert self._saved is not None
        return core.backward(self._saved, dy, self._saved.x.dtype)

    def _compute(
        self,
        x: Array,
        found: Computation,
        *,
        mask: Any = None,
        out: Array | None = None,
        how: Any = None,
    ) -> Array:
        """One pure forward of the core on this layer's state; the new state is stored.

        `found` is what the dialect has decided, and `how` what it has decided that by besides the
        attributes and x, for `_again`. With ghost batches the result is split as they are.
        """
        x, settings = found.input(x), found.settings
        weights = None if mask is None else found.weights(mask, x)
        given = self._running()
        gamma, beta = self._value("gamma"), self._value("beta")
        more: dict[str, Any] = {"weights": weights, "dtype": found.dtype, "out": out}
        more["replicas"] = self.replicas
        y, running, self._saved = core.forward(x, gamma, beta, given, settings, **more)
        if running is not None and running is not given:
            self._store(running)
        latest = self._latest
        if latest is None or latest.thread != get_ident() or latest.like is not None:
            return y
        like = (x.dtype, x.shape, x.strides)
        simple = not found.cumulative and weights is None and self.replicas is None
        simple = simple and settings.plain and isinstance(settings.epsilon, float)
        same, contiguous = like == (y.dtype, y.shape, y.strides), False
        if not same and y is out and y.dtype == x.dtype and y.shape == x.shape:
            contiguous = y.flags.c_contiguous
        if simple and (same or contiguous):
            arrays = (gamma, beta) if given is None else (gamma, beta, given.mean, given.var)
            if isinstance(how, bool | None) and self._own(arrays):
                latest.how, latest.gamma, latest.beta = how, gamma, beta
                latest.running, latest.settings, latest.contiguous = given, settings, contiguous
                latest.like = like
        return y

    def _own(self, arrays: tuple[Array | None, ...]) -> bool:
        """Whether the arrays are the layer's own state, and no setting is an array.

        Then a repeated call sees every change: one in place in a state entry, since the repeated
        call reads that entry, and one of a setting, since a setting can only be set. A copy made
        for one call, or a setting that is an array and changes in place, would be seen no more.
        """
        attributes = dict(vars(self))  # another thread may set one more
        own = {id(attributes.get(name)) for name in self.STATE}
        settings = (value for name, value in attributes.items() if name not in self.STATE)
        return all(array is None or id(array) in own for array in arrays) and not any(
            isinstance(value, np.ndarray) for value in settings
        )

    def _again(self, x: Any, how: Any = None) -> Array | None:
        """Repeat the latest call for x, if x has its dtype and strides and no attribute was set.

        None otherwise: the caller then decides as usual, and `_compute` fills a new `LatestCall`.
        """
        latest = self._latest
        if (
            latest is None
            or type(x) is not np.ndarray
            or latest.like != (x.dtype, x.shape, x.strides)  # read before what is filled before it
            or latest.how is not how
        ):
            self._latest = LatestCall(get_ident()) if self._REPEATS else None
            return None
        assert latest.settings is not None
        given = latest.running
        out = core.empty_like(x, contiguous=True) if latest.contiguous else None
        y, running, self._saved = core.forward(
            x, latest.gamma, latest.beta, given, latest.settings, out=out
        )
        if running is not given and running is not None and given is not None:
            given.mean[...], given.var[...] = running.mean, running.var
        return y

    def _joined(self, values: int) -> int:
        """A number of values, added up over all replicas: all of them must ask."""
        if self.replicas is None:
            return values
        return int(self.replicas.summed(np.array([float(values)]))[0])

    def _running(self) -> core.Running | None:
        mean, var = self._value("running_mean"), self._value("running_var")
        if mean is None or var is None:
            return None
        if "stddev" not in self._ROLES:
            return core.Running(mean, var)
        others = (self._value(role) for role in ("stddev", "renorm_mean", "renorm_stddev"))
        return core.Running(mean, var, *others)

    def _store(self, running: core.Running) -> None:
        values = {
            "running_mean": running.mean,
            "running_var": running.var,
            "stddev": running.stddev,
            "renorm_mean": running.renorm_mean,
            "renorm_stddev": running.renorm_stddev,
        }
        for role, value in values.items():
            name = self._name_of(role)
            if name is not None and value is not None:
                own = getattr(self, name)
                own[...] = value.reshape(own.shape)

    def _present(self) -> list[str]:
        return [name for name in self.STATE if getattr(self, name, None) is not None]

    def _name_of(self, role: str) -> str | None:
        """The attribute that plays a role, where the layer has it."""
        for name in self._ROLES.get(role, ()):
            if getattr(self, name, None) is not None:
                return name
        return None

    def _value(self, role: str) -> Array | None:
        name = self._name_of(role)
        if name is None or not self.applies(role):
            return None
        value = np.asarray(getattr(self, name))
        return value if value.ndim == 1 else value.ravel()

    def _trains(self, role: str) -> bool:
        """Whether a gradient is reported for the parameter of this role."""
        return True
