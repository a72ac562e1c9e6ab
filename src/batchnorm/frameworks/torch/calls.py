"""The calls of `torch.nn.functional.batch_norm` inside a module's forward: heard, and tried.

A class derived from torch's may do more than batch norm in its forward. Which batch norm it does is
found by running that forward and hearing the call: `listening` hears (and may answer) every one,
`tried` runs the forward of a copy on small inputs and says what it called. Not here: what is done
with it (`readers/`, `captures/`, `hosts/torch/`). Torch isn't imported: who has a module has done
so. Source: torch 2.13.0, torch/nn/functional.py and torch/overrides.py.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = [
    "RANKS",
    "FunctionCall",
    "Trial",
    "is_lazy",
    "is_listening",
    "listening",
    "mode",
    "own_forward",
    "tried",
]

RANKS = {"BatchNorm1d": 2, "BatchNorm2d": 4, "BatchNorm3d": 5}
SAMPLES = 4
"""So that halves of a batch, which some forwards take apart, have more than one value."""


class FunctionCall(NamedTuple):
    """The arguments of `torch.nn.functional.batch_norm`, in its order."""

    input: Any
    running_mean: Any
    running_var: Any
    weight: Any = None
    bias: Any = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5


@dataclass(frozen=True)
class Trial:
    """What the forward of a class does with batch norm, as its copy did it.

    Args:
        calls: whether it calls batch norm with the module's own running statistics, in training
            and in evaluation (without any, where it keeps none).
        adds: whether its result is another than that of the last of these calls.
        then_children: whether it is `act(drop(batch_norm(x)))` of its own two children, `drop`
            doing nothing.
        why: what stands against `calls`, for a message.
    """

    calls: bool
    adds: bool = False
    then_children: bool = False
    why: str = ""


def own_forward(module: Any) -> bool:
    """Whether a batch norm's class computes by a forward that isn't torch's."""
    return not str(type(module).forward.__module__).startswith(("torch.nn.", "batchnorm.hosts."))


def is_lazy(module: Any) -> bool:
    """Whether it gets its shape at its first call."""
    return type(module).__name__.startswith("Lazy")


def listening(answer: Callable[[FunctionCall, Callable[[], Any]], Any]) -> Any:
    """A context in which `answer` gets every call of batch norm, and what would compute it."""
    return mode()(answer)


def is_listening(given: Any) -> bool:
    """Whether a torch function mode leaves batch norms alone: one of ours, or a device's name."""
    return getattr(given, "LISTENS", False) is True or type(given).__name__ == "DeviceContext"


@lru_cache(maxsize=1)
def mode() -> Any:
    """The class of what `listening` gives, for whoever has torch.compile trace it."""
    torch: Any = sys.modules["torch"]
    functions = (torch.nn.functional.batch_norm, torch.batch_norm)

    class Listening(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        LISTENS = True

        def __init__(self, answer: Any) -> None:
            super().__init__()
            self.answer = answer

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func not in functions:
                return func(*args, **kwargs)
            read = FunctionCall if func is functions[0] else _of_operator
            return self.answer(read(*args, **kwargs), lambda: func(*args, **kwargs))

    return Listening


def _of_operator(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> FunctionCall:
    return FunctionCall(input, running_mean, running_var, weight, bias, training, momentum, eps)


def tried(module: Any) -> Trial:
    """Run the forward of a copy of a batch norm, in training and in evaluation.

    The module, its buffers and the state of random numbers are left as they are.
    """
    torch: Any = sys.modules["torch"]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            training, evaluation = (_tried(torch, _twin(module), mode) for mode in (True, False))
    except Exception as error:  # what a foreign forward raises may be anything
        text = " ".join(str(error).split())
        return Trial(
            False, why=f"its forward, tried on a copy, raises {type(error).__name__}: {text}"
        )
    if not (training.calls and evaluation.calls):
        when = (
            ""
            if not (training.calls or evaluation.calls)
            else (" in evaluation" if training.calls else " in training")
        )
        return Trial(
            False, why=f"its forward calls no batch norm with its running statistics{when}"
        )
    then = training.then_children and evaluation.then_children
    return Trial(True, training.adds or evaluation.adds, then)


def _twin(module: Any) -> Any:
    twin = copy.deepcopy(module)
    for inner in twin.modules():
        vars(inner).pop("forward", None)
        for name, value in vars(inner).items():
            if name.endswith("_hooks") and hasattr(value, "clear"):
                value.clear()
    tensors = [*twin.parameters(), *twin.buffers()]
    if any(t.is_meta for t in tensors):  # whose numbers, which are compared, don't exist yet
        twin.to_empty(device="cpu")
        for tensor in (*twin.parameters(), *twin.buffers()):
            tensor.fill_(1)
    return twin


def _tried(torch: Any, twin: Any, training: bool) -> Trial:
    twin.train(training)
    rank = next((RANKS[c.__name__] for c in type(twin).__mro__ if c.__name__ in RANKS), 4)
    own = next((t for t in (*twin.parameters(False), *twin.buffers(False)) if t.dim() == 1), None)
    options = {} if own is None else {"device": own.device, "dtype": own.dtype}
    shape = (SAMPLES, twin.num_features, *(2,) * (rank - 2))
    x = torch.linspace(-1, 2, SAMPLES * 2 ** (rank - 2), **options)
    x = x.view(SAMPLES, 1, *shape[2:]).expand(shape).contiguous()
    tracked = twin.running_mean is not None and (not training or twin.track_running_stats)
    heard: list[tuple[bool, Any]] = []

    def answer(call: FunctionCall, compute: Callable[[], Any]) -> Any:
        wanted = twin.running_mean if tracked else None
        y = compute()
        heard.append((call.running_mean is wanted, y.clone()))
        return y

    with listening(answer):
        result = type(twin).forward(twin, x.clone())
    found = [y for own, y in heard if own]
    if not found:
        return Trial(False)
    adds = not _alike(torch, result, found[-1])
    children = dict(twin.named_children())
    then = len(heard) == 1 and children.keys() == {"act", "drop"}
    then = then and type(children["drop"]) is torch.nn.Identity
    return Trial(True, adds, then and _alike(torch, result, children["act"](found[0].clone())))


def _alike(torch: Any, one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or one.shape != other.shape:
        return False
    return bool(torch.equal(one.nan_to_num(), other.nan_to_num()))
