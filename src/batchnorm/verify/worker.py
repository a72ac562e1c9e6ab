"""One real framework, answering questions over a pipe: `python worker.py NAME MODULE [LAYERS]`.

This file is run by its path, in whatever environment holds the framework: Python 3.9 or newer
and NumPy are all it needs beside it, and `batchnorm` is not installed there. MODULE, the room's
`oracle.py`, builds, calls and reads the framework's own layers; where a dialect brings none, LAYERS
says as JSON what `frameworks/real.py` needs to do that with layers of NumPy. `oracle.py` is the
other end.

A request is one JSON line on standard input, `{"op": a method of Session, ...its arguments}`. An
answer is one JSON line on what was standard output at the start: `{"answer": ...}`, or, for what
the framework raised, `{"raised": [class, built-in bases, text]}`. Whatever a framework prints
goes to standard error. End of input ends the worker with exit code 0, a request that it can't
read with exit code 2.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import os
import platform
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

with contextlib.suppress(ImportError):  # it teaches NumPy bfloat16, which is refused without it
    import ml_dtypes  # noqa: F401

PACKAGE = Path(__file__).resolve().parents[1]
# A call that hangs must not outlive the parent by more.
SECONDS_AFTER_END_OF_INPUT = 60.0
# Recorded answers are those of the CPU, must not depend on how many it has, and are not log lines.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GLOG_v": "3",
}


class BadRequest(Exception):
    """A request that this worker can't read: the fault of whoever sent it."""


# The wire. JSON's own values pass as they are (Python's JSON carries NaN and infinities too), the
# rest as an object with one key that starts with "$".


def pack(value: Any) -> Any:
    """Write a value as JSON can carry it; an array keeps its dtype, shape and order of axes."""
    if isinstance(value, np.ndarray):
        return {"$array": _pack_array(value)}
    if isinstance(value, np.generic):
        return {"$scalar": _pack_array(np.asarray(value))}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"$dtype": np.dtype(value).name}
    if isinstance(value, tuple):
        return {"$tuple": [pack(item) for item in value]}
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        if any(not isinstance(key, str) or key.startswith("$") for key in value):
            raise TypeError(f"a dict that travels has plain strings as keys, but got {value!r}")
        return {key: pack(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"arrays, dtypes and plain Python values can travel, but got {value!r}")


def unpack(value: Any, framework: Any = None) -> Any:
    """Read what `pack` wrote; given a framework, arrays and dtypes become its own objects."""
    if isinstance(value, list):
        return [unpack(item, framework) for item in value]
    if not isinstance(value, dict) or not value:
        return value
    tag, content = next(iter(value.items()))
    if not tag.startswith("$"):
        return {key: unpack(item, framework) for key, item in value.items()}
    if tag == "$array":
        array = _unpack_array(content)
        return array if framework is None else framework.tensor(array)
    if tag == "$scalar":
        return _unpack_array(content)[()]
    if tag == "$dtype":
        return np.dtype(content) if framework is None else framework.dtype(content)
    if tag == "$tuple":
        return tuple(unpack(item, framework) for item in content)
    if tag == "$adjustment":  # Keras 2's: a function that gives the same two arrays every time
        constants = tuple(unpack(content[name], framework) for name in ("scale", "bias"))
        return lambda shape: constants
    raise ValueError(f"unknown tag {tag!r}")


def _pack_array(array: np.ndarray[Any, Any]) -> list[Any]:
    if array.dtype.kind not in "biufcV" or array.dtype.names or array.dtype.hasobject:
        raise TypeError(f"arrays of numbers can travel, but got dtype {array.dtype}")
    order = list(range(array.ndim))
    by_stride = sorted(order, key=lambda axis: -array.strides[axis])
    if not array.flags.c_contiguous and array.transpose(by_stride).flags.c_contiguous:
        order = by_stride  # such as channels last, which some frameworks pass on to y
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    data = base64.b64encode(native.transpose(order).tobytes()).decode("ascii")
    return [array.dtype.name, list(array.shape), order, data]


def _unpack_array(content: Any) -> Any:
    name, shape, order, data = content
    flat = np.frombuffer(bytearray(base64.b64decode(data)), np.dtype(name))
    return flat.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


class Alone:
    """Finds modules of this package, and nothing of what its packages' own files import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        place = PACKAGE.parent.joinpath(*name.split("."))
        if name.partition(".")[0] != PACKAGE.name:
            return None
        if place.is_dir():
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        return importlib.util.spec_from_file_location(name, place.with_suffix(".py"))


def load(module: str) -> Any:
    """Import a room's oracle; of this package nothing else, which is not to be found later."""
    if module.partition(".")[0] != PACKAGE.name:
        return importlib.import_module(module)
    before, finder = set(sys.modules), Alone()
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(module)
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == PACKAGE.name:
                del sys.modules[name]


class Session:
    """One framework, the layers made so far (by number), and what can be asked of them."""

    def __init__(self, framework: Any) -> None:
        self.framework = framework
        self.layers: dict[int, Any] = {}
        self.recipes: dict[int, Callable[..., Any]] = {}

    def hello(self) -> Any:
        names = ("numpy", *self.framework.packages)
        return {
            "dialect": self.framework.dialect,
            "version": self.framework.version,
            "python": platform.python_version(),
            "packages": {
                name: getattr(importlib.import_module(name), "__version__", "") for name in names
            },
        }

    def signature(self, class_name: str, method: str) -> Any:
        name = self.framework.call_method if method == "call" else method
        function = getattr(getattr(self.framework.layers, class_name), name)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        return [
            (p.name, p.kind.name, None if p.default is p.empty else repr(p.default))
            for p in parameters
        ]

    def construct(self, layer: int, class_name: str, args: Any, kwargs: Any) -> None:
        layer_class = getattr(self.framework.layers, class_name)
        args, kwargs = unpack(args, self.framework), unpack(kwargs, self.framework)
        self.recipes[layer] = lambda **more: layer_class(*args, **{**kwargs, **more})
        self.layers[layer] = self.recipes[layer]()

    def drop(self, layers: list[int]) -> None:
        for number in layers:
            self.layers.pop(number, None)
            self.recipes.pop(number, None)

    def build(self, layer: int, shape: Any) -> None:
        self.layers[layer].build(tuple(shape))

    def run(self, layer: int, x: Any, dy: Any, call: Any) -> Any:
        call = unpack(call, self.framework)
        results = self.framework.run(self.layers[layer], unpack(x), unpack(dy), call)
        return tuple(map(self.framework.plain, results))

    def state(self, layer: int) -> Any:
        return self.framework.plain(self.framework.variables(self.layers[layer]))

    def load_state(self, layer: int, state: Any) -> None:
        variables, values = self.framework.variables(self.layers[layer]), unpack(state)
        if set(variables) != set(values):
            raise ValueError(f"expected exactly {list(variables)}, but got {list(values)}")
        for name, value in values.items():  # torch would broadcast, MindSpore change the shape
            shape = tuple(variables[name].shape)
            if shape != value.shape:
                raise ValueError(f"expected {name} of shape {shape}, but got shape {value.shape}")
        for name, value in values.items():
            self.framework.assign(variables[name], value)

    def train(self, layer: int, mode: bool) -> None:
        getattr(self.layers[layer], self.framework.mode_method)(mode)

    def get(self, layer: int, name: str) -> Any:
        value = functools.reduce(getattr, name.split("."), self.layers[layer])
        return self.framework.plain(value)

    def set(self, layer: int, name: str, value: Any) -> None:
        *owners, attribute = name.split(".")
        owner = functools.reduce(getattr, owners, self.layers[layer])
        setattr(owner, attribute, unpack(value, self.framework))

    def repr(self, layer: int) -> str:
        return str(self.framework.show(self.layers[layer]))

    def names(self, layer: int, nested: bool) -> Any:
        of = self.layers[layer]
        return self.framework.saved_names(
            self.framework.nested(self.recipes[layer], of) if nested else of
        )

    def trainable(self, layer: int) -> Any:
        trainable = {id(variable) for variable in self.framework.trainable(self.layers[layer])}
        variables = self.framework.variables(self.layers[layer])
        return [name for name, variable in variables.items() if id(variable) in trainable]


OPERATIONS = {name: value for name, value in vars(Session).items() if not name.startswith("_")}


def read_request(line: bytes) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Find the operation that a line names, and check that its arguments fit."""
    try:
        arguments = json.loads(line)
        operation = OPERATIONS[arguments.pop("op")]
        inspect.signature(operation).bind(None, **arguments)
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise BadRequest(f"{type(error).__name__}: {error}") from error
    return operation, arguments


def describe(error: Exception) -> list[Any]:
    """Give an exception's class, the built-in exceptions that it is one of, and its text."""
    bases = [c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"]
    return [type(error).__name__, bases[:-1], str(error)]  # the last one is object


def read_lines(stream: Any, lines: queue.SimpleQueue[bytes]) -> None:
    """Pass lines on until the input ends; see that the process then ends too."""
    for line in stream:
        lines.put(line)
    lines.put(b"")
    time.sleep(SECONDS_AFTER_END_OF_INPUT)
    os._exit(3)


def framework(name: str, module: str, layers: str) -> Any:
    """What `Session` asks: a room's own, or layers of NumPy that another package has."""
    found = load(module)
    return found.Layers(name, **json.loads(layers)) if layers else found.ORACLES[name]()


def main(name: str, module: str, layers: str = "") -> None:
    """Answer requests about one framework until the input ends."""
    os.environ.update(ENVIRONMENT)
    # Python puts a script's folder first on its path: here, this package's other modules.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    # Nothing but this function may read the requests or write among the answers.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(requests, lines), daemon=True).start()
    session = None
    for line in iter(lines.get, b""):
        operation, arguments = read_request(line)
        try:
            session = session or Session(framework(name, module, layers))
            answer = {"answer": pack(operation(session, **arguments))}
        except Exception as error:
            answer = {"raised": describe(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    code = 0
    try:
        main(*sys.argv[1:])
    except BadRequest as error:
        print(f"a request that can't be read: {error}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # whoever asked is gone
        pass
    sys.stderr.flush()
    os._exit(code)  # at once: frameworks have been seen to crash while they are taken down
