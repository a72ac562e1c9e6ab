"""Which layer of a live torch model feeds which, seen in one run on a batch.

torch tells a `TorchFunctionMode` every function that is called with tensors: those of the model's
parameters say whose call it is. What goes past it (a custom autograd function) is seen as the
module that it stands in. No framework is imported. Facts: torch 2.13, by running it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from batchnorm.checkpoints.flow import Flow
from batchnorm.checkpoints.steps import Step
from batchnorm.frameworks.torch import running

__all__ = ["steps_of"]

# Functions whose result is what they are given, for the question who feeds whom.
SAME = frozenset({
    "bfloat16", "clone", "contiguous", "cpu", "cuda", "data", "detach", "double", "float", "half",
    "to", "type", "type_as",
})  # fmt: skip


def steps_of(model: Any, batch: Any) -> tuple[Step, ...]:
    """The calls of a model's inference on a batch; the model is left as it was.

    Args:
        model: the module.
        batch: an array or tensor, a tuple or a mapping of them, as the model is called.
    """
    torch: Any = sys.modules["torch"]
    flow = _flow(model)
    seen: dict[int, Any] = {}  # what watches that a tensor's number isn't another one's

    def key(tensor: Any) -> int:
        number = id(tensor)
        if number not in seen or seen[number]() is not tensor:
            flow.forget(number)
            seen[number] = weakref.ref(tensor)
        return number

    for path, tensor in _state(model):
        flow.owns(path, key(tensor))

    def known(value: Any) -> list[int]:
        return [key(tensor) for tensor in _tensors(value)]

    class Following(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            name = getattr(function, "__name__", "")
            if name == "__get__":  # of an attribute such as x.T
                name = getattr(function.__self__, "__name__", "")
            given, made = known((args, kwargs)), known(result)
            if name == "__setitem__":
                made = given[:1]
            if name in SAME:
                flow.same(given, made)
            elif made:
                flow.call(name, given, made)
            return result

    def entered(_: Any, given: Any, named: Any) -> None:
        for number in known((given, named)):
            if not flow.knows(number):
                flow.given(number)

    def left(path: str, module: Any, given: Any, named: Any, result: Any) -> None:
        made = known(result)
        if not all(map(flow.knows, made)):
            own = known(tuple(module.parameters()))
            flow.call(type(module).__name__, [*known((given, named)), *own], made)

    inner = running.eager(model)
    outputs: list[Any] = []
    with ExitStack() as stack:
        stack.enter_context(running.unchanged(inner))
        stack.callback(inner.register_forward_pre_hook(entered, with_kwargs=True).remove)
        for path, module in inner.named_modules():
            hook = lambda m, x, k, y, path=path: left(path, m, x, k, y)  # noqa: E731
            stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        last = inner.register_forward_hook(lambda m, x, y: outputs.extend(known(y)))
        stack.callback(last.remove)
        stack.enter_context(Following())
        running.run(inner, batch, {}, lambda *_: None, training=False)
    return flow.finish(outputs)


def _flow(model: Any) -> Flow:
    classes, attributes = {}, {}
    layers = running.parameterised(model)
    for path, module in model.named_modules():
        classes[path] = type(module).__name__
        if path in layers:
            told = running.described(module)
            attributes[path] = {
                ours: tuple(told[theirs]) if isinstance(told[theirs], list) else told[theirs]
                for theirs, ours in (("strides", "strides"), ("padding", "padding"),
                                     ("dilation", "dilation_rate"), ("groups", "groups"))
                if theirs in told
            }  # fmt: skip
            if told["kind"] == "batch_norm":
                attributes[path] = {"axis": 1}
            elif "strides" in told:
                size = tuple(module.kernel_size)
                attributes[path] |= {"data_format": "channels_first", "kernel_size": size}
    return Flow(classes, attributes)


def _state(model: Any) -> Iterator[tuple[str, Any]]:
    for name, tensor in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        yield name.rpartition(".")[0], tensor


def _tensors(value: Any) -> Iterator[Any]:
    torch: Any = sys.modules["torch"]
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)
