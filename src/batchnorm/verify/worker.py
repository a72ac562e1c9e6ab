"""One real framework, answering questions over a pipe: `python worker.py FRAMEWORK`.

This file is run by its path, in whatever environment holds the framework: Python 3.9 or newer
and NumPy are all it needs beside it, and `batchnorm` is not installed there. So it is one file,
and imports nothing of this package. It holds no opinion about batch normalization: it builds the
framework's own layers, calls them, and reports what they did. `oracle.py` is the other end.

A request is one JSON line on standard input, `{"op": a method of Session, ...its arguments}`. An
answer is one JSON line on what was standard output at the start: `{"answer": ...}`, or, for what
the framework raised, `{"raised": [class, built-in bases, text]}`. Whatever a framework prints
goes to standard error. End of input ends the worker with exit code 0, a request that it can't
read with exit code 2.
"""

# ruff: noqa: B905 (Python 3.9 has no zip(strict=))
from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import inspect
import json
import os
import platform
import queue
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

with contextlib.suppress(ImportError):  # it teaches NumPy bfloat16, which is refused without it
    import ml_dtypes  # noqa: F401

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


# The frameworks. Each imports its modules when it is built, never before.


class Framework:
    """What the frameworks have in common.

    Each further has `dtype(name)` and `tensor(array)`, which give the framework's own objects,
    `array(tensor)`, `assign(variable, array)`, `trainable(layer)` (variables), `saved_names(of)`
    a layer or net, `nested(make, layer)` (a net whose `bn1` is made as the layer was), and
    `run(layer, x, dy, call)`: one call of the layer, giving y and the gradients of sum(y * dy).
    """

    packages: tuple[str, ...]
    variable_names: tuple[str, ...]

    def variables(self, layer: Any) -> dict[str, Any]:
        """Give the variables that exist, parameters and statistics, by attribute, in order."""
        found = {name: getattr(layer, name, None) for name in self.variable_names}
        return {name: variable for name, variable in found.items() if variable is not None}

    def plain(self, value: Any) -> Any:
        """Turn a value that the framework gave into one that can travel, else into its repr."""
        if value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray)):
            return value
        if isinstance(value, dict):
            return {str(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.plain(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return self.array(value)  # type: ignore[attr-defined]
        return show(value)


def show(value: Any) -> str:
    """Give a value's repr without the address that a default repr ends with: it is no answer."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class Torch(Framework):
    """PyTorch."""

    dialect, packages = "torch", ("torch",)
    call_method, mode_method = "forward", "train"
    variable_names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.torch.manual_seed(0)
        self.layers, self.version = self.torch.nn, self.torch.__version__.split("+")[0]

    def dtype(self, name: str) -> Any:
        return getattr(self.torch, name)

    def tensor(self, array: Any) -> Any:
        if array.dtype.name == "bfloat16":  # from_numpy doesn't know it
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def array(self, tensor: Any) -> Any:
        tensor = tensor.detach()
        if tensor.dtype == self.torch.bfloat16:
            return tensor.view(self.torch.int16).numpy().view("bfloat16")
        return tensor.numpy()

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        own = {n: p for n, p in layer.named_parameters(recurse=False) if p.requires_grad}
        return self.differentiate(lambda x: layer(x, **call), x, dy, own)

    def differentiate(self, forward: Any, x: Any, dy: Any, parameters: Any) -> Any:
        """Give y of one call and, where there is a dy, dx and the parameters' gradients."""
        x = self.tensor(x)
        if dy is None:
            return forward(x), None, {}
        x.requires_grad_(x.is_floating_point() or x.is_complex())
        y, wanted = forward(x), {**parameters, **({"x": x} if x.requires_grad else {})}
        if not wanted:
            return y, None, {}
        dy = self.tensor(dy).to(y.dtype)
        found = self.torch.autograd.grad(y, list(wanted.values()), dy, allow_unused=True)
        gradients = dict(zip(wanted, found))
        return y, gradients.pop("x", None), gradients

    def assign(self, variable: Any, array: Any) -> None:
        with self.torch.no_grad():
            variable.copy_(self.tensor(array))

    def trainable(self, layer: Any) -> Any:
        return [parameter for parameter in layer.parameters() if parameter.requires_grad]

    def saved_names(self, of: Any) -> list[str]:
        return list(of.state_dict())

    def nested(self, make: Any, layer: Any) -> Any:
        net = self.layers.Module()
        net.bn1 = make()
        return net


class MindSpore(Framework):
    """MindSpore in PyNative mode."""

    dialect, packages = "mindspore", ("mindspore",)
    call_method, mode_method = "construct", "set_train"
    variable_names = ("moving_mean", "moving_variance", "gamma", "beta")

    def __init__(self) -> None:
        self.mindspore: Any = importlib.import_module("mindspore")
        self.mindspore.set_context(mode=self.mindspore.PYNATIVE_MODE, device_target="CPU")
        self.mindspore.set_seed(0)
        self.layers, self.version = self.mindspore.nn, self.mindspore.__version__
        # Under NumPy 2.4 the first eager operation of a process can raise SystemError, once.
        with contextlib.suppress(SystemError):
            self.tensor(np.ones(1, np.float32)) + 1

    def dtype(self, name: str) -> Any:
        return getattr(self.mindspore, "bool_" if name == "bool" else name)

    def tensor(self, array: Any) -> Any:
        if array.dtype.name == "bfloat16":  # Tensor doesn't know it
            return self.mindspore.Tensor(array.astype(np.float32), self.mindspore.bfloat16)
        return self.mindspore.Tensor(np.ascontiguousarray(array).reshape(array.shape))

    def array(self, tensor: Any) -> Any:
        if str(tensor.dtype) == "BFloat16":
            return tensor.astype(self.mindspore.float32).asnumpy().astype("bfloat16")
        return tensor.asnumpy()

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        x = self.tensor(x)
        if dy is None:
            return layer(x, **call), None, {}
        dy = self.tensor(dy)

        def forward(x: Any) -> Any:
            y = layer(x, **call)
            return (y * dy.astype(y.dtype)).sum(), y

        # Trainable parameters only: the gradient of another is uninitialised memory.
        wanted = {name: v for name, v in self.variables(layer).items() if v.requires_grad}
        weights = list(wanted.values()) or None
        both = self.mindspore.value_and_grad(forward, 0, weights, has_aux=True)
        (_, y), found = both(x)
        dx, gradients = found if weights else (found, ())
        return y, dx, dict(zip(wanted, gradients))

    def variables(self, layer: Any) -> dict[str, Any]:
        return super().variables(getattr(layer, "bn2d", layer))  # BatchNorm3d wraps a 2d layer

    def assign(self, variable: Any, array: Any) -> None:
        variable.set_data(self.tensor(array).astype(variable.dtype))

    def trainable(self, layer: Any) -> Any:
        return layer.trainable_params()

    def saved_names(self, of: Any) -> list[str]:
        return [parameter.name for parameter in of.get_parameters()]

    def nested(self, make: Any, layer: Any) -> Any:
        net = self.layers.Cell()
        net.bn1 = make()
        return net


class TfKeras(Framework):
    """Keras 2: the package tf_keras, or the tf.keras of a TensorFlow that still is Keras 2."""

    dialect, call_method = "tf_keras", "call"
    packages: tuple[str, ...] = ("tensorflow",)
    variable_names = (
        *("gamma", "beta", "moving_mean", "moving_variance"),
        *("moving_stddev", "renorm_mean", "renorm_stddev"),
    )

    def __init__(self) -> None:
        self.tf: Any = importlib.import_module("tensorflow")
        try:
            self.keras: Any = importlib.import_module("tf_keras")
        except ModuleNotFoundError:
            self.keras = self.tf.keras
        self.layers, self.version = self.keras.layers, self.keras.__version__
        if not self.version.startswith("2."):
            raise ModuleNotFoundError(f"no tf_keras, and tf.keras is Keras {self.version}, not 2")
        self.tf.random.set_seed(0)

    def dtype(self, name: str) -> Any:
        return name

    def tensor(self, array: Any) -> Any:
        return self.tf.constant(array)

    def array(self, tensor: Any) -> Any:
        return tensor.numpy()

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        x = self.tensor(x)
        if dy is None:
            return layer(x, **call), None, {}
        with self.tf.GradientTape() as tape:
            for watched in [x, *self.parameters(layer).values()]:  # a frozen layer's too
                if watched.dtype.is_floating or watched.dtype.is_complex:
                    tape.watch(watched)
            y = layer(x, **call)
        wanted = self.parameters(layer)
        dy = self.tf.cast(self.tensor(dy), y.dtype)
        dx, *gradients = tape.gradient(y, [x, *wanted.values()], output_gradients=dy)
        return y, dx, dict(zip(wanted, gradients))

    def parameters(self, layer: Any) -> dict[str, Any]:
        """Give gamma and beta, where they exist, as the tensor library differentiates them."""
        found = self.variables(layer)
        return {name: found[name] for name in ("gamma", "beta") if name in found}

    def assign(self, variable: Any, array: Any) -> None:
        variable.assign(self.tf.cast(self.tensor(array), variable.dtype))

    def trainable(self, layer: Any) -> Any:
        return layer.trainable_weights

    def saved_names(self, of: Any) -> list[str]:
        return [variable.name for variable in of.weights]

    def nested(self, make: Any, layer: Any) -> Any:
        # In Keras a layer has its name of itself: the attribute that holds it plays no part.
        if not layer.built:
            raise ValueError("expected a built layer, but this one has not seen a shape: build it")
        shape = [layer.input_spec.axes.get(axis, 2) for axis in range(layer.input_spec.ndim)]
        return self.keras.Sequential([self.layers.InputLayer(shape[1:]), make(name="bn1")])


class Keras(TfKeras):
    """Keras 3 on TensorFlow."""

    dialect = "keras"
    packages = ("tensorflow", "keras")

    def __init__(self) -> None:
        os.environ["KERAS_BACKEND"] = self.packages[0]
        self.tf = self.backend = importlib.import_module(self.packages[0])
        self.keras = importlib.import_module("keras")
        self.layers, self.version = self.keras.layers, self.keras.__version__
        if self.version.startswith("2."):
            raise ModuleNotFoundError(f"keras is Keras {self.version}, not 3")
        self.keras.utils.set_random_seed(0)

    def array(self, tensor: Any) -> Any:
        if self.packages[0] == "tensorflow" and len(tensor.shape) == 0:  # Keras fails on bfloat16
            return np.asarray(tensor.numpy())
        return np.asarray(self.keras.ops.convert_to_numpy(tensor))

    def run(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        # What is made during the call comes too late: a frozen layer's parameters to be watched,
        # and everything for what the other backends differentiate.
        if dy is not None and not layer.built:
            layer.build(x.shape)
        return self.differentiate(layer, x, dy, call)

    def differentiate(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        """Call a layer that is built, if there is a dy."""
        return super().run(layer, x, dy, call)

    def parameters(self, layer: Any) -> dict[str, Any]:
        return {name: variable.value for name, variable in super().parameters(layer).items()}

    def assign(self, variable: Any, array: Any) -> None:
        variable.assign(array)

    def saved_names(self, of: Any) -> list[str]:
        return [variable.path for variable in of.weights]


class KerasOnTorch(Keras):
    """Keras 3 on PyTorch."""

    packages = ("torch", "keras")

    def __init__(self) -> None:
        super().__init__()
        self.torch = Torch()

    def tensor(self, array: Any) -> Any:
        return self.torch.tensor(array)

    def differentiate(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        parameters = self.parameters(layer) if layer.built else {}
        for parameter in parameters.values():  # a frozen layer's too
            parameter.requires_grad_(True)
        return self.torch.differentiate(lambda x: layer(x, **call), x, dy, parameters)


class KerasOnJax(Keras):
    """Keras 3 on JAX."""

    packages = ("jax", "keras")

    def tensor(self, array: Any) -> Any:
        return self.backend.numpy.asarray(array)

    def differentiate(self, layer: Any, x: Any, dy: Any, call: Any) -> Any:
        if dy is None:
            return layer(self.tensor(x), **call), None, {}
        own = self.parameters(layer)
        others = [v for name, v in self.variables(layer).items() if name not in own]

        def forward(own: Any, x: Any) -> Any:
            given = [(getattr(layer, name), value) for name, value in own.items()]
            with self.keras.StatelessScope(state_mapping=given) as scope:
                y = layer(x, **call)
            return y, [scope.get_current_value(variable) for variable in others]

        y, pull_back, updated = self.backend.vjp(forward, own, self.tensor(x), has_aux=True)
        for variable, value in zip(others, updated):
            if value is not None:
                variable.assign(value)
        gradients, dx = pull_back(self.tensor(dy).astype(y.dtype))
        dx = None if dx.dtype == self.backend.dtypes.float0 else dx
        return y, dx, {name: gradients[name] for name in own}  # JAX has sorted them


FRAMEWORKS: dict[str, Callable[[], Any]] = {
    "torch": Torch,
    "mindspore": MindSpore,
    "tf_keras": TfKeras,
    "keras": Keras,
    "keras/torch": KerasOnTorch,
    "keras/jax": KerasOnJax,
}


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
            "packages": {name: importlib.import_module(name).__version__ for name in names},
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
        return show(self.layers[layer])

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


def main(name: str) -> None:
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
            session = session or Session(FRAMEWORKS[name]())
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
