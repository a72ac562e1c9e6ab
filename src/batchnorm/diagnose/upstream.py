"""What reaches a layer: a convolution replayed on its own input, and what lies between two layers.

A convolution's kernel, bias, stride and padding are compared with the source's, and a few of its
outputs are computed again. Between layers that were watched there is nothing with parameters:
activations, sums, pools. Where in the source a layer's input is a function of the output of an
earlier one, it must be the same function in the port. Not here: batch norms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from batchnorm.diagnose.recording import INFERENCE, Node
from batchnorm.diagnose.state import same
from batchnorm.diagnose.trace import Trace
from batchnorm.vocabulary import Array

__all__ = [
    "ACTIVATIONS",
    "Link",
    "layer_findings",
    "link_of",
    "link_text",
    "linked",
    "reordered",
    "scale_of",
]

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
    "softplus": lambda x: np.logaddexp(x, 0),
    "abs": np.abs,
}


# ------------------------------------------------------------------------- one layer by itself


def layer_findings(
    source: Node, port: Node, others: Mapping[str, Node]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Causes in a convolution or dense layer: kernel, bias, stride, padding."""
    yield from _kernel(source, port, others)
    a = np.zeros(1) if source.bias is None else source.bias
    b = np.zeros(1) if port.bias is None else port.bias
    if a.size == 1 or b.size == 1 or a.shape == b.shape:
        a, b = np.broadcast_arrays(a, b)
        if not same(a, b, 1e-5):
            held = "missing" if port.bias is None else "zero" if not b.any() else "other values"
            largest = float(np.abs(a.astype(np.float64) - b).max())
            yield "bias-differs", {"port's": held, "largest difference": largest}, ""
    if source.kind == port.kind == "convolution":
        yield from _geometry(source, port)


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
    if same(a, b, 1e-5):
        return
    if a.ndim > 2 and source.rows is None:
        space = tuple(range(2, a.ndim))
        variants = {"spatial axes exchanged": a.transpose(0, 1, *reversed(space)),
                    "spatial axes reversed": np.flip(a, space)}  # fmt: skip
        if a.shape[0] == a.shape[1]:
            variants["in and out exchanged"] = a.swapaxes(0, 1)
        variants["memory read in another order"] = a.transpose(*space, 1, 0).reshape(a.shape)
        variants["memory read in another order, back"] = a.reshape(
            *(a.shape[i] for i in space), a.shape[1], a.shape[0]
        ).transpose(len(space) + 1, len(space), *range(len(space)))
    elif a.ndim == 2 and source.rows is None:
        variants = {"memory read in another order": a.T.reshape(a.shape)}
        if a.shape[0] == a.shape[1]:
            variants["in and out exchanged"] = a.T
    else:
        variants = {}
        if a.ndim > 2:
            space = tuple(range(2, a.ndim))
            variants = {"spatial axes exchanged": a.transpose(0, 1, *reversed(space)),
                        "spatial axes reversed": np.flip(a, space)}  # fmt: skip
    for name, variant in variants.items():
        if variant.shape == b.shape and same(variant, b, 1e-5):
            yield "kernel-transposed", {"how": name}, ""
            return
    if a.ndim > 2 and a.shape[1] > 1 and same(a[:, ::-1], b, 1e-5):
        yield "channel-order", {"of": "the kernel"}, ""
        return
    for name, other in others.items():
        k = other.kernel
        if k is not None and k.shape == b.shape and same(k, b, 1e-5):
            yield "wrong-layer", {"equals": name}, ""
            return
    largest = float(np.abs(a.astype(np.float64) - b).max())
    yield "kernel-not-loaded", {"largest difference": largest}, ""


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
        kernel = source.kernel
        assert kernel is not None
        pads = [_pads(n, t, kernel.shape[2:]) for n, t in ((source, one), (port, other))]
        smaller = [min(m, n) for m, n in zip(one.shape[2:], other.shape[2:], strict=True)]
        wanted = [_effective(pads[0], one, smaller), _effective(pads[1], other, smaller)]
        shared = [[p for p in ps if p in qs] for ps, qs in zip(*wanted, strict=True)]
        if not all(shared):
            first = [[axis[0] for axis in side] for side in wanted]
            yield "padding-differs", {"port": _list(first[1]), "source": _list(first[0])}, ""


def _pads(node: Node, trace: Trace, extent: tuple[int, ...]) -> list[list[int]]:
    """What a convolution pads by itself: before and after, for each spatial axis."""
    if node.facts["padding"] != "same":
        return [list(p) for p in node.facts["padding"]]
    found = []
    steps = zip(trace.shape[2:], extent, node.facts["strides"], node.facts["dilation"], strict=True)
    for n, k, s, d in steps:
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        found.append([total // 2, total - total // 2])
    return found


def _effective(
    pads: list[list[int]], trace: Trace, sizes: list[int]
) -> list[list[tuple[int, int]]]:
    """With what has been padded before: for each axis all that the zeros at the edges allow."""
    found = []
    for axis, (before, after) in enumerate(pads):
        extra = trace.shape[2 + axis] - sizes[axis]
        low, high = trace.inner[axis] if trace.inner else (0, 0)
        splits = [n for n in range(extra + 1) if n <= low and extra - n <= high] or [0]
        middle = sorted(splits, key=lambda n: abs(2 * n - extra))
        found.append([(before + n, after + (extra - n if extra else 0)) for n in middle])
    return found


def _list(values: Any) -> str:
    return str(values).replace(" ", "")


# --------------------------------------------------------------------------- between two layers


class Link:
    """In the source, a layer's input as a function of earlier layers' outputs."""

    def __init__(self, function: str, names: tuple[str, ...]) -> None:
        self.function, self.names = function, names


def _outputs(node: Node) -> Array | None:
    call = node.call(INFERENCE)
    return None if call is None else call.y.astype(np.float64)


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
        for function, f in ACTIVATIONS.items():
            if _fits(f, y, x):
                return Link(function, (name,))
    for i, (name, y) in enumerate(same_shape):
        for other, z in same_shape[i + 1 :]:
            for function in ("nothing", "relu", "relu6"):
                if _fits(ACTIVATIONS[function], y + z, x):
                    return Link(function, (name, other))
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
    expected = ACTIVATIONS[link.function](total)
    if _close(expected, x):
        return None
    for name, f in ACTIVATIONS.items():
        if _fits(f, total, x):
            return "activation-differs", {"port": name, "source": link.function}, ""
    scaled = scale_of(x, expected)
    if scaled is not None:
        return "scale-differs", scaled, ""
    slope = _negative_slope(x, total)
    if slope is not None:
        return "activation-differs", {"port": f"leaky_relu({slope})", "source": link.function}, ""
    return reordered(x, expected) or ("input-differs", {"expected": link_text(link)}, "")


def reordered(x: Array, expected: Array) -> tuple[str, dict[str, Any], str] | None:
    """Whether the values are the expected ones in another order of channels or places."""
    if x.shape[1] > 1 and _close(x[:, ::-1], expected, 1e-4):
        return "channel-order", {}, ""
    for a, b in ((x[::-1], expected), (np.sort(x, 1), np.sort(expected, 1))):
        if _close(a, b, 1e-5):
            return "input-permuted", {}, ""
    return None


def link_text(link: Link) -> str:
    """The function in words."""
    return f"{link.function} of {' + '.join(n or 'the layer' for n in link.names)}"


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
