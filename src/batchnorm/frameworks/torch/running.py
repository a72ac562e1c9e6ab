"""A live torch model run once, with chosen layers watched: inputs, outputs, gradients, state.

Every room's facet of this name has the same functions. The model is left as it was by whoever runs
it within `unchanged`. Not here: what is made of it (`diagnose`). No framework is imported: who
holds a model has done so. Facts: torch 2.13, by running it; tests/diagnose/test_running.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from batchnorm.errors import InvalidType
from batchnorm.frameworks.noise import functions_quiet, makes_noise
from batchnorm.vocabulary import Array

__all__ = [
    "CALLS",
    "descend",
    "described",
    "eager",
    "is_last",
    "one_pass",
    "parameterised",
    "run",
    "standing",
    "state",
    "unchanged",
]

CALLS = {True: "model.train()", False: "model.eval()"}  # that set the mode
Tell = Callable[[str, str, Any, Any], None]
WRAPPERS = ("DataParallel", "DistributedDataParallel")
DROPOUTS = frozenset(
    {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
)
STATE = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "num_batches_tracked": "count",
}


def eager(model: Any) -> Any:
    """The model itself, out of what compiles or replicates it.

    Raises:
        TypeError: a TorchScript module, whose layers can't be watched.
    """
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif type(model).__name__ in WRAPPERS:
            model = model.module
        else:
            break
    torch: Any = sys.modules["torch"]
    if isinstance(model, torch.jit.ScriptModule):
        raise InvalidType("a TorchScript module can't be watched: give the module it was made of")
    return model


def parameterised(model: Any) -> dict[str, Any]:
    """Batch norms, convolutions and dense layers, by path, as the model lists them."""
    return {path: inner for path, inner in model.named_modules() if _kind(inner)}


def _kind(layer: Any) -> str:
    torch: Any = sys.modules["torch"]
    nn = torch.nn
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return "batch_norm"
    frozen = any("Frozen" in c.__name__ and "Norm" in c.__name__ for c in type(layer).__mro__)
    if frozen or hasattr(type(layer), "to_layer"):
        return "batch_norm"
    if isinstance(layer, nn.modules.conv._ConvNd):
        return "transposed" if layer.transposed else "convolution"
    return "dense" if isinstance(layer, nn.Linear) else ""


def described(layer: Any) -> dict[str, Any]:
    """Its kind, and of a convolution or dense layer what it does, kernels as (out, in, ...)."""
    kind = _kind(layer)
    if kind == "batch_norm":
        return {"kind": kind}
    bias = None if layer.bias is None else _array(layer.bias)
    found: dict[str, Any] = {"kind": kind, "kernel": _array(layer.weight), "bias": bias}
    if kind != "dense":
        padding = layer.padding
        if padding == "valid":
            padding = (0,) * len(layer.kernel_size)
        found |= {
            "strides": list(layer.stride),
            "padding": padding if padding == "same" else [[n, n] for n in padding],
            "dilation": list(layer.dilation),
            "groups": layer.groups,
        }
    return found


def is_last(model: Any) -> bool | None:
    """Whether channels are the last axis of what it is given: never in torch."""
    return False


def standing(layer: Any) -> bool | None:
    """Whether it is in training as it stands."""
    return bool(layer.training)


def one_pass(layer: Any) -> bool:
    """Whether its variance is E[x^2] - E[x]^2, which loses digits."""
    return False


def state(layer: Any) -> dict[str, Array]:
    """A batch norm's parameters and statistics, by their role."""
    values = {
        STATE.get(name, name): getattr(layer, name, None)
        for name in (*STATE, *(() if hasattr(layer, "weight") else _named(layer)))
    }
    return {role: _array(value) for role, value in values.items() if value is not None}


def _named(layer: Any) -> list[str]:
    return [name for name, _ in (*layer.named_parameters(), *layer.named_buffers())]


def _seen(tensor: Any) -> Array:
    """A tensor's own memory: autograd sees to it that what a backward pass needs stays as it is."""
    plain = tensor.detach().cpu()
    return np.asarray((plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy())


def _array(tensor: Any) -> Array:
    plain = tensor.detach().cpu()
    if str(plain.dtype) == "torch.bfloat16":
        plain = plain.float()
    return np.array(plain.numpy())


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Modes, parameters, buffers and gradients afterwards as before, bit for bit."""
    torch: Any = sys.modules["torch"]
    modes = [(module, module.training) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    values = [(tensor, tensor.detach().clone()) for tensor in tensors]
    gradients = [(tensor, tensor.grad) for tensor in model.parameters()]
    attributes = [
        (module, name, value)
        for module in model.modules()
        for name, value in module._buffers.items()
    ]
    seed = torch.get_rng_state()
    for tensor, _ in gradients:
        tensor.grad = None
    try:
        yield
    finally:
        torch.set_rng_state(seed)
        with torch.no_grad():
            for module, name, value in attributes:  # a buffer that a new tensor has replaced
                module._buffers[name] = value
            for tensor, value in values:
                tensor.copy_(value)
        for tensor, gradient in gradients:
            tensor.grad = gradient
        for module, mode in modes:
            module.training = mode


def run(
    model: Any,
    batch: Any,
    layers: Mapping[str, Any],
    tell: Tell,
    *,
    training: bool | None = None,
    weigh: Callable[[list[Array]], list[Array]] | None = None,
    loss: Callable[[Any], Any] | None = None,
) -> tuple[list[Array], dict[str, dict[str, Array]]]:
    """One pass forward, and one backward where there is something to differentiate.

    Args:
        model: the model.
        batch: an array or tensor, a tuple or a mapping of them, as the model is called.
        layers: what is watched, by path.
        tell: called as tell(path, "forward", x, y) after each call of a layer, and as
            tell(path, "x", dx, None) and tell(path, "y", dy, None) in the backward pass; as
            tell(path, "mask", mask, None) before a call that is given one, and as
            tell("", "chance", ..., None) where random numbers were drawn nonetheless.
        training: the mode; None for the one that the model is in.
        weigh: from the outputs, the weights of their sum that is differentiated.
        loss: from the outputs as the model gives them, what is differentiated in its place.

    Returns:
        The outputs, and by path and role the gradients of the watched layers' parameters.
    """
    torch: Any = sys.modules["torch"]
    backward = weigh is not None or loss is not None
    if training is not None:
        model.train(training)
    for module in model.modules():
        if makes_noise(module) and not parameterised(module):
            module.training = False
    with ExitStack() as stack:
        under = _Under(tell, backward)
        for path, layer in layers.items():
            for handle in under.watch(path, layer):
                stack.callback(handle.remove)
        stack.enter_context(_functions(under))
        stack.enter_context(functions_quiet(model.modules(), "forward"))
        stack.enter_context(torch.set_grad_enabled(backward))
        given, before = _on_device(batch, model, backward), torch.get_rng_state()
        result = _called(model, given)
        if not torch.equal(before, torch.get_rng_state()):
            tell("", "chance", np.empty(0), None)
        outputs = [t for t in _tensors(result) if t.is_floating_point()]
        arrays = [_array(t) for t in outputs]
        if not backward:
            return arrays, {}
        if loss is not None:
            total = loss(result)
        else:
            assert weigh is not None
            parts = zip(outputs, weigh(arrays), strict=True)
            total = sum((t * torch.as_tensor(w).to(t)).sum() for t, w in parts)
        total.backward()
    return arrays, {path: _gradients(layer) for path, layer in layers.items()}


class _Under:
    """The watched layers whose forward is under way, the innermost last.

    A batch norm whose forward does more (timm's BatchNormAct2d: an activation, in place) has told
    what `batch_norm` has made of its own input before that.
    """

    def __init__(self, tell: Tell, backward: bool) -> None:
        self.tell, self.backward = tell, backward
        self.layers: list[tuple[str, Any]] = []
        self.told: list[bool] = []

    def watch(self, path: str, layer: Any) -> list[Any]:
        """Hooks of a layer, to be removed."""

        def before(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
            # A view has the gradient of this layer alone, where others take the same tensor.
            first = None if given else next(iter(named))
            x = given[0] if first is None else named[first]
            x = self.spied(path, x.view_as(x), "x")
            self.layers.append((path, x))
            self.told.append(False)
            return ((x, *given[1:]), named) if first is None else (given, named | {first: x})

        def after(_: Any, given: tuple[Any, ...], named: dict[str, Any], y: Any) -> None:
            if not self.told[-1]:
                self.forward(given[0] if given else next(iter(named.values())), y)
            self.layers.pop()
            self.told.pop()

        return [
            layer.register_forward_pre_hook(before, with_kwargs=True),
            layer.register_forward_hook(after, with_kwargs=True),
        ]

    def spied(self, path: str, tensor: Any, which: str) -> Any:
        """The tensor, whose gradient is told."""
        if self.backward and tensor.requires_grad:
            tensor.register_hook(lambda grad: self.tell(path, which, _seen(grad), None))
        return tensor

    def forward(self, x: Any, y: Any) -> None:
        """What the innermost layer has been given and gives."""
        path, self.told[-1] = self.layers[-1][0], True
        self.tell(path, "forward", _seen(x), _seen(y))
        self.spied(path, y, "y")

    def normalized(self, x: Any, y: Any) -> None:
        """What `batch_norm` has made of x, which may be what the innermost layer was given."""
        if self.layers and self.layers[-1][1] is x:
            self.forward(x, y)


def _gradients(layer: Any) -> dict[str, Array]:
    found = {}
    for name, role in (("weight", "gamma"), ("bias", "beta")):
        gradient = getattr(getattr(layer, name, None), "grad", None)
        if gradient is not None:
            found[role] = _array(gradient)
    return found


@contextmanager
def _functions(under: _Under) -> Iterator[None]:
    """torch.nn.functional's dropouts give their input, and its batch norms are told."""
    torch: Any = sys.modules["torch"]

    class Functions(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        LISTENS = True  # so an accelerated layer computes as it does outside

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name, named = getattr(function, "__name__", ""), kwargs or {}
            if name in DROPOUTS:
                return args[0] if args else named["input"]
            y = function(*args, **named)
            if name == "batch_norm":
                under.normalized(args[0] if args else named["input"], y)
            return y

    with Functions():
        yield


def _called(model: Any, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def _on_device(batch: Any, model: Any, backward: bool) -> Any:
    torch: Any = sys.modules["torch"]
    if isinstance(batch, Mapping):
        return {name: _on_device(value, model, backward) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple(_on_device(value, model, backward) for value in batch)
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    tensor = batch.detach() if isinstance(batch, torch.Tensor) else torch.from_numpy(batch.copy())
    if like is not None:
        tensor = tensor.to(like.device)
        if tensor.is_floating_point():
            tensor = tensor.to(like.dtype)
    if tensor.is_floating_point() and backward:
        tensor = tensor.clone().requires_grad_()  # so that every layer's input has a gradient
    return tensor


def _tensors(result: Any) -> list[Any]:
    torch: Any = sys.modules["torch"]
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, Mapping):
        return [t for value in result.values() for t in _tensors(value)]
    if isinstance(result, tuple | list):
        return [t for value in result for t in _tensors(value)]
    return []


def descend(model: Any, rate: float) -> None:
    """One step of plain gradient descent with the latest gradients, which are then dropped."""
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None and parameter.requires_grad:
                parameter -= rate * parameter.grad
            parameter.grad = None
