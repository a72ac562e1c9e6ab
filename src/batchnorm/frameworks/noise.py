"""What makes noise in training, by the names that it has everywhere, and how it is kept quiet.

Dropout, drop-path (stochastic depth), drop-block and the like, as layers and as functions that a
layer's code calls. A room says how one of its layers is switched off. Not here: who wants it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

__all__ = ["functions_quiet", "makes_noise"]

LAYERS = ("dropout", "droppath", "dropblock", "dropconnect", "stochasticdepth", "gaussiannoise")
FUNCTIONS = frozenset(
    {"dropout", "drop_path", "drop_block_2d", "drop_block_fast_2d", "drop_connect",
     "stochastic_depth", "stateless_dropout"}
)  # fmt: skip
INNER = ("nn", "ops", "mint", "random", "functional")  # modules of a framework's that hold them


def makes_noise(layer: Any) -> bool:
    """Whether a layer's class, or one that it derives from, is named as what makes noise.

    A layer that holds others may be, and do more than that: rooms switch off what holds none.
    One that Keras 2 makes of a function's call (`tf.nn.dropout`) has its public name as a symbol.
    """
    if str(getattr(layer, "symbol", "")).rpartition(".")[2] in FUNCTIONS:
        return True
    names = [cls.__name__.lower().replace("_", "") for cls in type(layer).__mro__]
    return any(word in name for name in names for word in LAYERS)


@contextmanager
def functions_quiet(layers: Iterable[Any], method: str) -> Iterator[None]:
    """Functions of such names give their input, where layers' code calls them by name.

    By their own name (`dropout`), that of a module (`F.dropout`), or one inside it
    (`tf.nn.dropout`).

    Args:
        layers: whose code is looked at.
        method: that holds it: forward, construct, call.
    """
    codes = [vars(cls).get(method) for layer in layers for cls in type(layer).__mro__]
    names = [getattr(code, "__globals__", {}) for code in codes]
    own = {id(home): home for home in names}
    named = [m for home in own.values() for m in home.values() if isinstance(m, ModuleType)]
    homes: dict[int, dict[str, Any]] = own | {id(vars(m)): vars(m) for m in named}
    while named:
        held = vars(named.pop())
        inner = [held[name] for name in INNER if isinstance(held.get(name), ModuleType)]
        new = [m for m in inner if id(vars(m)) not in homes]
        homes |= {id(vars(m)): vars(m) for m in new}
        named += new
    with ExitStack() as stack:
        for home in homes.values():
            for name in FUNCTIONS & home.keys():
                if callable(home[name]) and not isinstance(home[name], type):
                    stack.callback(home.__setitem__, name, home[name])
                    home[name] = _given
        yield


def _given(*given: Any, **named: Any) -> Any:
    return given[0] if given else next(iter(named.values()))
