"""What reaches a layer: a convolution replayed on its own input, and what lies between two layers.

A convolution's kernel, bias, stride and padding are compared with the source's, and a few of its
outputs are computed again. Between layers that were watched there is nothing with parameters:
activations, sums, pools. Where in the source a layer's input is a function of the output of an
earlier one, it must be the same function in the port. Not here: batch norms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from batchnorm.diagnose.corner import FAR, computed_otherwise, kernel_variants, off, pads_of
from batchnorm.diagnose.recording import INFERENCE, Node, Rule
from batchnorm.diagnose.replay import Hypothesis, Replay, distance
from batchnorm.diagnose.state import rounded_as, same
from batchnorm.diagnose.trace import Trace
from batchnorm.vocabulary import Array

__all__ = [
    "ACTIVATIONS",
    "Link",
    "adds",
    "carried_order",
    "layer_findings",
    "link_of",
    "link_text",
    "linked",
    "reordered",
    "scale_of",
    "turned",
]

MOST_PADDING = 256  # on one side, of what a file says
CLOSE = 1e-4  # of a layer's input, relative to its largest value: rounding of what comes before


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[float])(x))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "nothing": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu(0.01)": lambda x: np.where(x > 0, x, 0.01 * x),
    "leaky_relu(0.1)": lambda x: np.where(x > 0, x, 0.1 * x),
    "leaky_relu(0.2)": lambda x: np.where(x > 0, x, 0.2 * x),
    "leaky_relu(0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu(tanh)": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "abs": np.abs,
}


# ------------------------------------------------------------------------- one layer by itself


def layer_findings(
    source: Node, port: Node, others: Mapping[str, Node]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Causes in a convolution or dense layer: kernel, bias, stride, padding, what it computes."""
    found = [*_kernel(source, port, others)]
    a = np.zeros(1) if source.bias is None else source.bias
    b = np.zeros(1) if port.bias is None else port.bias
    if a.size == 1 or b.size == 1 or a.shape == b.shape:
        a, b = np.broadcast_arrays(a, b)
        if lost := "" if same(a, b, 1e-5) else rounded_as(a, b):
            found.append(("precision-differs", {"loaded as": lost}, ""))
        elif not same(a, b, 1e-5):
            held = "missing" if port.bias is None else "zero" if not b.any() else "other values"
            largest = float(np.abs(a.astype(np.float64) - b).max())
            found.append(("bias-differs", {"port's": held, "largest difference": largest}, ""))
    if source.kind == port.kind == "convolution":
        found += _geometry(source, port)
        found += _computed(source, port)
    yield from found


def adds(replay: Replay, rule: Rule) -> str:
    """Which activation a batch norm's own class applies to what the rule gives; "" for none."""
    h = Hypothesis.of(rule)
    if not replay.able(h):
        return ""
    y, bound = replay.output(h)
    fitting = [name for name, f in ACTIVATIONS.items() if distance(replay.y, f(y), 2 * bound) <= 1]
    return " or ".join(fitting)


def _kernel(
    source: Node, port: Node, others: Mapping[str, Node]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    a, b = source.kernel, port.kernel
    if a is None or b is None:
        return
    if a.size != b.size and min(a.ndim, b.ndim) > 2:
        sizes = {"port": "x".join(map(str, b.shape)), "source": "x".join(map(str, a.shape))}
        yield "kernel-not-loaded", {"shapes": f"{sizes['port']} for {sizes['source']}"}, ""
        return
    if a.shape != b.shape:
        a, b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
        if a.shape != b.shape:
            return
    if same(a, b, 1e-5) or carried_order(source, port) is not None:
        return
    if lost := rounded_as(a, b):
        yield "precision-differs", {"loaded as": lost}, ""
        return
    if (columns := _moved(a, b)) is not None:
        yield "kernel-transposed", {"how": f"columns as of {columns} channels, last"}, ""
        return
    variants = kernel_variants(a, source.rows is None)
    fitting = [n for n, v in variants.items() if v.shape == b.shape and same(v, b, 1e-5)]
    turned = [name for name in fitting if name != "input channels reversed"]
    if turned:
        more = f"{fitting[-1]} fits as well" if len(fitting) > 1 else ""
        yield "kernel-transposed", {"how": turned[0]}, more
        return
    if fitting:
        yield "channel-order", {"of": "the kernel"}, ""
        return
    for name, other in others.items():
        k = other.kernel
        if k is not None and k.shape == b.shape and same(k, b, 1e-5):
            yield "wrong-layer", {"equals": name}, ""
            return
    largest = float(np.abs(a.astype(np.float64) - b).max())
    yield "kernel-not-loaded", {"largest difference": largest}, ""


def _columns(count: int, channels: int) -> Array:
    """Where each column of a dense layer behind channels-last places stands, channels first."""
    return np.arange(count).reshape(channels, -1).T.ravel()


def _moved(a: Array, b: Array) -> int | None:
    """Of how many channels b's columns are a's with the channels last; None where they aren't."""
    if a.ndim != 2 or a.shape != b.shape:
        return None
    n = a.shape[1]
    for channels in (c for c in range(2, n) if n % c == 0):
        order = _columns(n, channels)
        if same(a[:1, order], b[:1], 1e-5) and same(a[:, order], b, 1e-5):
            return channels
    return None


def carried_order(source: Node, port: Node) -> Array | None:
    """How a dense layer's inputs are permuted, where its kernel has been permuted with them.

    That is right where one model flattens channels first and the other channels last.
    """
    one, other = source.call(INFERENCE), port.call(INFERENCE)
    a, b = source.kernel, port.kernel
    if a is None or b is None or a.ndim != 2 or one is None or other is None:
        return None
    if one.x.shape != other.x.shape or one.x.shape[1:] != a.shape[1:]:
        return None
    channels = _moved(a, b)
    if channels is None or same(a, b, 1e-5):
        return None
    order = _columns(a.shape[1], channels)
    x, own = one.x.astype(np.float64), other.x.astype(np.float64)
    return order if np.abs(x[:, order] - own).sum() < np.abs(x - own).sum() else None


def _geometry(source: Node, port: Node) -> Iterator[tuple[str, dict[str, Any], str]]:
    one, other = source.call(INFERENCE), port.call(INFERENCE)
    a, b = source.facts, port.facts
    if a["strides"] != b["strides"]:
        evidence = {"port": _list(b["strides"]), "source": _list(a["strides"])}
        yield "stride-differs", evidence, ""
    elif a["dilation"] != b["dilation"] or a["groups"] != b["groups"]:
        evidence = {k: f"{b[k]} for {a[k]}" for k in ("dilation", "groups") if a[k] != b[k]}
        yield "kernel-not-loaded", evidence, ""
    elif one is not None and other is not None and one.corners and other.corners:
        pads = [pads_of(n, t) for n, t in ((source, one), (port, other))]
        padded = one.inner_shape[2:] == other.inner_shape[2:]
        wanted = [_effective(p, t, padded) for p, t in zip(pads, (one, other), strict=True)]
        shared = [[p for p in ps if p in qs] for ps, qs in zip(*wanted, strict=True)]
        if not all(shared):
            first = [[axis[0] for axis in side] for side in wanted]
            yield "padding-differs", {"port": _list(first[1]), "source": _list(first[0])}, ""


def _computed(source: Node, port: Node) -> Iterator[tuple[str, dict[str, Any], str]]:
    """What the port's convolution computes besides what its settings say, as the source's does."""
    one, other = source.call(INFERENCE), port.call(INFERENCE)
    if one is None or other is None or computed_otherwise(source, one)[1]:
        return  # a source of its own ways can't be followed
    fitting, parts = computed_otherwise(port, other)
    if not parts:
        return
    if fitting:
        others = [" and ".join(cause for cause, _ in found) for found in fitting[1:2]]
        runner = f"{others[0]} fits as well" if others else ""
        yield from ((cause, evidence, runner) for cause, evidence in fitting[0])
        return
    y, expected = (
        np.concatenate([p[i].reshape(len(p[i]), -1) for p in parts], 1).T for i in (0, 1)
    )
    functions = [name for name, f in ACTIVATIONS.items() if _close(f(expected), y, 1e-4)]
    if functions:
        yield "activation-differs", {"port": " or ".join(functions), "source": "nothing"}, ""
    elif (scaled := scale_of(y, expected)) is not None:
        yield "scale-differs", {"its output": "", **scaled}, ""
    elif off(parts) > FAR:
        yield "unexplained", {"what": "outputs at its corners", "distance": off(parts)}, ""


def _effective(pads: list[list[int]], trace: Trace, padded: bool) -> list[list[tuple[int, int]]]:
    """With what has been padded before: for each axis all that the zeros at the edges allow.

    Args:
        pads: the convolution's own.
        trace: of its call.
        padded: whether all zeros at the edges are known to have been padded.
    """
    found = []
    for (before, after), (low, high) in zip(pads, trace.inner or [(0, 0)] * len(pads), strict=True):
        low, high = min(low, MOST_PADDING), min(high, MOST_PADDING)
        splits = itertools.product(range(low + 1), range(high + 1))
        likely = sorted(splits, key=lambda split: abs(split[0] - split[1]))
        chosen = [(low, high)] if padded else likely
        found.append([(before + n, after + m) for n, m in chosen])
    return found


def _list(values: Any) -> str:
    return str(values).replace(" ", "")


# --------------------------------------------------------------------------- between two layers


class Link:
    """In the source, a layer's input as a function of earlier layers' outputs.

    Args:
        functions: all that fit the source's values: relu and relu6 where none is above 6.
        names: of the layers.
    """

    def __init__(self, functions: list[str], names: tuple[str, ...]) -> None:
        self.functions, self.names = functions, names


def link_of(
    x: Array, shape: tuple[int, ...], before: list[tuple[str, tuple[int, ...], Array]]
) -> Link | None:
    """Find what function of which of the values before `x` is; None where nothing fits.

    Args:
        x: values at a layer's places.
        shape: of its input.
        before: name, shape and values of what came before, the latest first.
    """
    same_shape = [(name, y) for name, s, y in before if s == shape][:8]
    for name, y in same_shape:
        functions = [function for function, f in ACTIVATIONS.items() if _fits(f, y, x)]
        if functions:
            return Link(functions, (name,))
    for i, (name, y) in enumerate(same_shape):
        for other, z in same_shape[i + 1 :]:
            functions = [f for f in ("nothing", "relu", "relu6") if _fits(ACTIVATIONS[f], y + z, x)]
            if functions:
                return Link(functions, (name, other))
    return None


def _close(a: Array, b: Array, close: float = 2e-6) -> bool:
    size = float(np.abs(b).max(initial=0.0)) + 1e-30
    return bool(np.abs(a - b).max(initial=0.0) <= close * size)


def _fits(f: Callable[[Array], Array], y: Array, x: Array) -> bool:
    """Whether x is f(y); looked at in a few places first."""
    size = float(np.abs(x).max(initial=0.0)) + 1e-30
    few = np.abs(f(y[:1]) - x[:1]).max(initial=0.0) <= 2e-6 * size
    return bool(few) and _close(f(y), x)


def linked(
    link: Link, x: Array, values: Mapping[str, Array]
) -> tuple[str, dict[str, Any], str] | None:
    """What of a port's input isn't the source's function of the port's own values before.

    Returns:
        A cause, evidence and the runner-up; None where nothing differs or nothing can be told.
    """
    if any(name not in values or values[name].shape != x.shape for name in link.names):
        return None
    total = np.sum([values[name] for name in link.names], axis=0)
    if not (np.isfinite(total).all() and np.isfinite(x).all()):
        return None
    if any(_close(ACTIVATIONS[function](total), x) for function in link.functions):
        return None
    expected = ACTIVATIONS[link.functions[0]](total)
    wanted = " or ".join(link.functions)
    fitting = [name for name, f in ACTIVATIONS.items() if _fits(f, total, x)]
    if fitting:
        return "activation-differs", {"port": " or ".join(fitting), "source": wanted}, ""
    if lost := rounded_as(expected, x):
        return "precision-differs", {"as of": lost}, ""
    scaled = scale_of(x, expected)
    if scaled is not None:
        return "scale-differs", scaled, ""
    slope = _negative_slope(x, total)
    if slope is not None:
        return "activation-differs", {"port": f"leaky_relu({slope})", "source": wanted}, ""
    return reordered(x, expected) or ("input-differs", {"expected": link_text(link)}, "")


def reordered(
    x: Array, expected: Array, close: float = 0.0
) -> tuple[str, dict[str, Any], str] | None:
    """Whether the values are the expected ones in another order of channels or places.

    Args:
        x: the port's.
        expected: the source's.
        close: how far off they may be, of the largest, by what differs before.
    """
    if x.shape[1] > 1 and _close(x[:, ::-1], expected, max(close, 1e-4)):
        return "channel-order", {}, ""
    for a, b in ((x[::-1], expected), (np.sort(x, 1), np.sort(expected, 1))):
        if _close(a, b, max(close, 1e-5)):
            return "input-permuted", {}, ""
    return None


def turned(one: Trace, other: Trace) -> tuple[str, dict[str, Any], str] | None:
    """Whether a port's convolution is given the source's input with its spatial axes turned."""
    if not one.corners or not other.corners or one.x.ndim != 2:
        return None
    first, last = one.corners[0].x.astype(np.float64), other.corners[-1].x.astype(np.float64)
    space = tuple(range(1, first.ndim))
    near = other.corners[0].x.astype(np.float64)
    variants = [("spatial axes exchanged", first.transpose(0, *order), near)
                for order in itertools.permutations(space) if order != space]  # fmt: skip
    for name, expected, own in [*variants, ("spatial axes reversed", np.flip(first, space), last)]:
        if space and expected.shape == own.shape and _close(own, expected, 1e-4):
            return "input-permuted", {"how": name}, ""
    return None


def link_text(link: Link) -> str:
    """The function in words."""
    names = " + ".join(name or "the layer" for name in link.names)
    return names if link.functions == ["nothing"] else f"{' or '.join(link.functions)} of {names}"


def _negative_slope(x: Array, y: Array) -> float | None:
    below = y < 0
    if not below.any() or not _close(np.where(below, 0, x), np.where(below, 0, y)):
        return None
    slope = float(np.median(x[below] / y[below]))
    return float(f"{slope:.3g}") if _close(np.where(below, slope * y, y), x, 1e-5) else None


def scale_of(x: Array, expected: Array) -> dict[str, Any] | None:
    """x = a * expected + b, the same for all or for each channel; None where it isn't so."""
    flat, wanted = x.ravel(), expected.ravel()
    spread = wanted - wanted.mean()
    power = float((spread**2).sum())
    if power == 0:
        return None
    a = float((spread * (flat - flat.mean())).sum() / power)
    b = float(flat.mean() - a * wanted.mean())
    if abs(a) > 1e-12 and _close(a * expected + b, x, 1e-5):
        shift = {} if abs(b) <= 1e-5 * np.abs(x).max() else {"and plus": float(f"{b:.4g}")}
        return {"times": float(f"{a:.4g}"), **shift}
    if x.shape[0] >= 4:
        centred = expected - expected.mean(0)
        with np.errstate(all="ignore"):
            each = (centred * (x - x.mean(0))).sum(0) / (centred**2).sum(0)
        shift_each = x.mean(0) - each * expected.mean(0)
        if np.isfinite(each).all() and _close(each * expected + shift_each, x, 1e-5):
            return {"times, by channel": _list([float(f"{v:.4g}") for v in each[:4]])}
    return None
