"""The real frameworks as subjects: each answers from a worker process of its own.

So frameworks can't disturb one another, may live in other environments, and may crash or hang:
the asker gets an exception. `worker.py` is the other end; this file knows no framework.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find as find_framework
from batchnorm.frameworks import real
from batchnorm.questions.question import ASKED
from batchnorm.questions.subject import Adjustment, Parameter, Raised, Run, mode_method
from batchnorm.verify import worker
from batchnorm.verify.process import Crashed, Hung, NotInstalled, OracleError, Process
from batchnorm.vocabulary import Array

__all__ = [
    "FRAMEWORKS",
    "Crashed",
    "Found",
    "Hung",
    "NotInstalled",
    "Oracle",
    "OracleError",
    "OracleLayer",
    "find",
    "named",
    "parse_oracle",
]

FRAMEWORKS = tuple(name for record in ASKED for name in (record.name, *record.backends))


class Oracle:
    """A real framework as a subject: `with Oracle("torch") as oracle: ...`.

    Args:
        framework: one of `FRAMEWORKS`, or a dialect that another package brings; "keras" is Keras 3
            on TensorFlow, "keras/torch" on torch.
        python: the Python that runs the worker, whose environment holds the framework.
        timeout: seconds that one answer may take.
        start_timeout: seconds that starting Python and importing the framework may take.
        restart: whether the first use after a crash starts a new worker. Layers of the old one
            stay lost: they raise `Crashed`.

    Raises:
        NotInstalled: the environment doesn't hold the framework.
        Crashed: the worker died; the text has the signal or exit code and its last words.
        Hung: it didn't answer in time.
    """

    def __init__(
        self,
        framework: str,
        python: str = sys.executable,
        *,
        timeout: float = 120.0,
        start_timeout: float = 300.0,
        restart: bool = False,
    ) -> None:
        self.framework = named(framework)
        self.python = python
        self.timeout = timeout
        self.start_timeout = start_timeout
        self.restart = restart
        self.hello: dict[str, Any] = {}  # dialect, version, python, packages (name -> version)
        self._process: Process | None = None
        self._numbers = itertools.count()

    @property
    def dialect(self) -> str:
        """Give torch, mindspore, tf_keras or keras."""
        return self.framework.partition("/")[0]

    @property
    def version(self) -> str:
        """Give the framework's version."""
        return str(self.hello["version"])

    @property
    def label(self) -> str:
        """Give framework and version, such as "keras/jax 3.15.1"."""
        return f"{self.framework} {self.version}"

    @property
    def pid(self) -> int:
        """Give the worker's process id."""
        return self._ready().process.pid

    def layer(self, class_name: str, *args: Any, **kwargs: Any) -> OracleLayer:
        """Construct one of the framework's layers."""
        ready, number = self._ready(), next(self._numbers)
        if ready.dropped:
            ready.ask("drop", layers=[ready.dropped.pop() for _ in range(len(ready.dropped))])
        packed = {name: _pack(value) for name, value in kwargs.items()}
        ready.ask(
            "construct", layer=number, class_name=class_name, args=_pack(list(args)), kwargs=packed
        )
        return OracleLayer(self.dialect, ready, number)

    def signature(self, class_name: str, method: str) -> list[Parameter]:
        """Give the parameters of the constructor (`__init__`) or of the call (`call`)."""
        found: list[Parameter] = self._ready().ask(
            "signature", read=_parameters, class_name=class_name, method=method
        )
        return found

    def start(self) -> Oracle:
        """Start the worker and wait until the framework is imported."""
        self.close()
        self._process = Process(self.framework, self.python, self.timeout, _arguments(self.dialect))
        try:
            self.hello = self._process.ask("hello", timeout=self.start_timeout, read=_hello)
        except Raised as error:
            self.close()
            kind = NotInstalled if error.name == "ModuleNotFoundError" else OracleError
            raise kind(f"{self.framework} can't be imported by {self.python}: {error}") from None
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.close()
        self._process = None

    def __enter__(self) -> Oracle:
        return self.start() if self._process is None else self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> Process:
        if self._process is None:
            raise OracleError(f"the {self.framework} oracle is not started: use it in a `with`")
        if self._process.failure is not None and self.restart:
            self.start()
        return self._process


class OracleLayer:
    """A framework's own layer under test, in the worker."""

    def __init__(self, dialect: str, process: Process, number: int) -> None:
        self._dialect = dialect
        self._process = process
        self._number = number
        weakref.finalize(self, process.dropped.append, number).atexit = False

    def run(self, x: Any, dy: Any = None, **call: Any) -> Run:
        """Call the layer once, and differentiate sum(y * dy) where there is a dy."""
        packed = {name: _pack(value) for name, value in call.items()}
        dy = None if dy is None else _pack(np.asarray(dy))
        found: Run = self._ask("run", lambda a: Run(*a), x=_pack(np.asarray(x)), dy=dy, call=packed)
        return found

    def state(self) -> dict[str, Array]:
        """Give parameters and statistics by attribute name."""
        found: dict[str, Array] = self._ask("state", dict)
        return found

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Overwrite the state; `state` has exactly the names that `state()` gives."""
        arrays = {name: np.asarray(value) for name, value in state.items()}
        self._ask("load_state", state=_pack(arrays))

    def train(self, mode: bool) -> None:
        """Set training (True) or inference mode; TypeError for Keras."""
        mode_method(self._dialect)
        self._ask("train", mode=mode)

    def build(self, shape: Sequence[int | None]) -> None:
        """Make a Keras layer's variables for an input shape."""
        self._ask("build", shape=list(shape))

    def get(self, name: str) -> Any:
        """Give an attribute: a plain value or an array, else its repr."""
        return self._ask("get", name=name)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute."""
        self._ask("set", name=name, value=_pack(value))

    def repr(self) -> str:
        """Give what repr prints."""
        found: str = self._ask("repr", str)
        return found

    def names(self, *, nested: bool = False) -> list[str]:
        """Give the names that the framework saves: of the layer, or of a net with it as `bn1`."""
        found: list[str] = self._ask("names", list, nested=nested)
        return found

    def trainable(self) -> list[str]:
        """Give the attribute names of what the framework counts as trainable."""
        found: list[str] = self._ask("trainable", list)
        return found

    def _ask(
        self, operation: str, read: Callable[[Any], Any] = lambda answer: answer, **arguments: Any
    ) -> Any:
        return self._process.ask(operation, read=read, layer=self._number, **arguments)


def _hello(answer: Any) -> dict[str, Any]:
    """What a worker says first, which shows whether it is one."""
    texts = [answer[name] for name in ("dialect", "version", "python")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(answer["packages"], dict):
        raise TypeError("no worker of this package")
    return dict(answer)


def _parameters(answer: Any) -> list[Parameter]:
    return [Parameter(*parameter) for parameter in answer]


class Found(NamedTuple):
    """The oracles that `find` started, and why others are missing."""

    oracles: list[Oracle]
    missing: dict[str, OracleError]


@contextlib.contextmanager
def find(
    frameworks: Iterable[str] = tuple(record.name for record in ASKED),
    overrides: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Found]:
    """Start an oracle for every framework that can be imported; the end of the `with` ends them.

    Args:
        frameworks: the names to look for.
        overrides: name -> Python, for frameworks that live in another environment.
        settings: what else `Oracle` takes.

    Raises:
        OracleError: a framework isn't where `overrides` says.
    """
    overrides = {named(name): python for name, python in (overrides or {}).items()}
    found = Found([], {})
    with contextlib.ExitStack() as started:
        for name in dict.fromkeys([*map(named, frameworks), *overrides]):
            oracle = Oracle(name, overrides.get(name, sys.executable), **settings)
            try:
                found.oracles.append(started.enter_context(oracle))
            except OracleError as error:
                if name in overrides:
                    raise
                found.missing[name] = error
        yield found


def parse_oracle(text: str) -> tuple[str, str]:
    """Read "mindspore=/path/to/python" as framework and Python."""
    name, _, python = text.partition("=")
    framework = reason = ""
    try:
        framework = named(name)
    except InvalidValue as error:
        reason = f": {error}"
    if not framework or not python:
        raise InvalidValue(
            f"an oracle is given as FRAMEWORK=PYTHON with a framework of {', '.join(FRAMEWORKS)}, "
            f"such as mindspore=/path/to/python; but got {text!r}{reason}"
        )
    return framework, str(Path(python).expanduser())


def named(name: str) -> str:
    """The oracle of a framework's name, with the backend behind / if it has one: "Keras 3/jax".

    Which version answers is said by the environment that it runs in.

    Raises:
        ValueError: no framework, or one that no worker here runs.
    """
    name, slash, backend = name.partition("/")
    record = find_framework(name)
    found = record.framework + slash + backend.lower()
    if record.sourced:
        raise InvalidValue(f"there is nothing to compare {record.name} with: {record.sourced[0]}")
    own = (record.framework, *record.backends)
    if found not in own:
        raise InvalidValue(f"no oracle runs {found!r}; expected one of {', '.join(own)}")
    return found


def _arguments(dialect: str) -> list[str]:
    """What a worker is told: the room's oracle, or whose layers of NumPy it shall ask."""
    record = find_framework(dialect)
    if record.brings("oracle"):
        return [record.module_of("oracle")]
    layers = {
        "package": record.real_package,
        "layers": record.layer.rpartition(".")[0],
        "version": record.version,
        "mode_method": record.calls.mode_method,
        "variable_names": list(record.layer_class.STATE),
    }
    return [real.__name__, json.dumps(layers)]


def _pack(value: Any) -> Any:
    """Write a value for the worker."""
    if isinstance(value, Adjustment):
        arrays = {"scale": np.asarray(value.scale), "bias": np.asarray(value.bias)}
        return {"$adjustment": worker.pack(arrays)}
    return worker.pack(value)
