"""Drawn cases: settings, shapes, dtypes, modes and data that a layer is put to, from a seed.

A case is plain data, and the same case can be played on the real layer and on ours (`play.py`).
Here is what all dialects share; which settings each can draw stands in `draw_keras.py`, and for
the others in their rooms (`samples.py`, drawn by `draw_features.py`). Who chooses is left open by
`Chooser`: a seed for the command, hypothesis for the tests (it shrinks towards the first of the
options).

The data are tame, |mean| / std at most 10 per channel: there the frameworks can be agreed with.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from batchnorm.frameworks import find
from batchnorm.questions.subject import Adjustment
from batchnorm.vocabulary import Array, as_dtype

__all__ = [
    "BATCH",
    "LAYOUTS",
    "SIZES",
    "Case",
    "Chooser",
    "Data",
    "Seeded",
    "Step",
    "changes",
    "data",
    "initial",
    "sized",
    "some",
]

T = TypeVar("T")

LAYOUTS = ("contiguous", "contiguous", "channels last", "strided", "reversed", "read-only")
SIZES = (3, 2, 4, 8, 1, 5)
BATCH = (*SIZES, *SIZES, *SIZES, 0)
MAX_RATIO = 8.0  # of mean and std; a sample's own ratio stays below 10


class Chooser(Protocol):
    """Whoever decides: one of the options, the first being the plainest."""

    def of(self, options: Sequence[T]) -> T:
        """Choose one."""


class Seeded:
    """A chooser that a seed drives: the same seed, the same choices."""

    def __init__(self, *seed: object) -> None:
        self._random = random.Random("/".join(map(str, seed)))

    def of(self, options: Sequence[T]) -> T:
        """Choose one, all alike."""
        return self._random.choice(options)


@dataclass(frozen=True)
class Step:
    """One call of the layer.

    Attributes:
        shape: of the input.
        training: the mode that torch and MindSpore are set to; what Keras gets as `training`.
        changes: attributes set before the call, in order.
        mask: "" for none, else what it holds: "some", "all", "none" or "weights"; or how it
            doesn't fit: "another length", "a dimension more".
        layout: how the input lies in memory.
        gradient: whether the call is differentiated.
        call: further keywords of the call.
    """

    shape: tuple[int, ...]
    training: Any = True
    changes: tuple[tuple[str, Any], ...] = ()
    mask: str = ""
    layout: str = "contiguous"
    gradient: bool = True
    call: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Case:
    """One layer and what is done with it.

    Attributes:
        arguments: of the constructor, by name; `positional` come before them.
        dtype: of the input.
        channel_axes: of the input, counted from 0; what the tolerance needs to know.
        loaded: whether a random state is loaded before the first step.
        seed: of the data and of that state.
        name: of a case that isn't drawn, such as a bad call of a table.
        state: what is loaded, where that isn't drawn.
    """

    dialect: str
    class_name: str
    arguments: Mapping[str, Any]
    dtype: str
    channel_axes: tuple[int, ...]
    steps: tuple[Step, ...]
    loaded: bool = False
    seed: int = 0
    positional: tuple[Any, ...] = ()
    name: str = field(default="", compare=False)
    state: Mapping[str, Array] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        given = [repr(value) for value in self.positional]
        given += [f"{name}={_show(value)}" for name, value in self.arguments.items()]
        head = f"{self.class_name}({', '.join(given)})"
        return f"{head} on {self.dtype}, seed {self.seed}: " + "; ".join(map(_describe, self.steps))


class Data(NamedTuple):
    """What one step is given."""

    x: Array
    dy: Array | None
    mask: Array | None


def sized(dialect: str, channels: int) -> dict[str, Any]:
    """The argument that tells a layer its number of channels, where its dialect has one."""
    parameters = find(dialect).layer_class.PARAMETERS
    return {n: channels for n, p in parameters.items() if p.meaning.word == "num_features"}


def some(choose: Chooser, table: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Choose a value for some of the parameters; the others keep their defaults."""
    chosen = {}
    for name, values in table.items():
        if choose.of((False, False, True)):
            chosen[name] = choose.of(values)
    return chosen


def changes(choose: Chooser, table: Mapping[str, Sequence[Any]]) -> tuple[tuple[str, Any], ...]:
    """Choose an attribute that changes before a step: mostly none."""
    if choose.of((False,) * 4 + (True,)):
        name = choose.of(tuple(table))
        return ((name, choose.of(table[name])),)
    return ()


def data(case: Case, number: int) -> Data:
    """Make the input, the gradient of the output and the mask of one step."""
    step = case.steps[number]
    rng = np.random.default_rng([case.seed, number])
    channels = [n if axis in case.channel_axes else 1 for axis, n in enumerate(step.shape)]
    std = rng.uniform(0.5, 2.0, channels)
    mean = std * rng.uniform(-MAX_RATIO, MAX_RATIO, channels)
    x = mean + std * rng.standard_normal(step.shape).clip(-3, 3)
    dtype = as_dtype(case.dtype)
    # A complex input has an imaginary part, so that it shows whether that is dropped.
    x = x + 1j if dtype.kind == "c" else x
    dy = rng.standard_normal(step.shape).astype(np.float32) if step.gradient else None
    return Data(_laid_out(_cast(x, dtype), step.layout), dy, _mask(step, rng))


def initial(case: Case, name: str, like: Array) -> Array:
    """Make a value for one state entry: the same for the same name, whoever asks."""
    if name in case.state:
        return case.state[name]
    if like.dtype.kind in "iu":
        return np.full(like.shape, case.seed % 12, like.dtype)
    rng = np.random.default_rng([case.seed, zlib.crc32(name.encode())])
    if "var" in name or "stddev" in name:
        return rng.uniform(0.5, 2.0, like.shape).astype(like.dtype)
    centre = 1.0 if name in ("weight", "gamma") else 0.0
    return (centre + rng.uniform(-1.5, 1.5, like.shape)).astype(like.dtype)


def _cast(x: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "u":
        x = np.abs(x)
    with np.errstate(all="ignore"):
        x = 10 * x if dtype.kind in "iu" else x > 0 if dtype.kind == "b" else x
        return x.astype(dtype)


def _laid_out(x: Array, layout: str) -> Array:
    """The same values, lying otherwise in memory."""
    if layout == "channels last" and x.ndim > 2:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    if layout == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1])[::-1]
    if layout == "read-only":
        x = x.copy()
        x.flags.writeable = False
    return x


def _mask(step: Step, rng: np.random.Generator) -> Array | None:
    shape = step.shape[:-1]
    makers: dict[str, Callable[[], Array | None]] = {
        "": lambda: None,
        "some": lambda: rng.uniform(size=shape) < 0.7,
        "all": lambda: np.ones(shape, bool),
        "none": lambda: np.zeros(shape, bool),
        "another length": lambda: np.ones([n + 1 for n in shape], bool),
        "a dimension more": lambda: np.ones(step.shape, bool),
        "weights": lambda: rng.choice([0, 0.5, 1, 2], shape).astype(np.float32),
    }
    return makers[step.mask]()


def _show(value: Any) -> str:
    if isinstance(value, Adjustment):
        return f"Adjustment of shape {np.shape(value.scale)}"
    return f"array({value.tolist()})" if isinstance(value, np.ndarray) else repr(value)


def _describe(step: Step) -> str:
    words = [f"{name} = {value!r}" for name, value in step.changes]
    words += [str(step.shape), f"training={step.training!r}"]
    words += [f"mask {step.mask!r}"] if step.mask else []
    words += [f"{name}={value!r}" for name, value in step.call]
    words += [step.layout] if step.layout != "contiguous" else []
    return " ".join(words)
