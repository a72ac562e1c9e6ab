"""How the arrays of one layer lie in each framework, and the one step from one to the other.

torch and MindSpore lay kernels out alike (OIHW; transposed convolution IOHW; dense OI), except
that MindSpore keeps kernels of one-dimensional convolutions with a dimension of 1 before the last.
Keras has HWIO (transposed HWOI, depthwise HWCM, dense IO). Measured with torch 2.13, MindSpore
2.10, tf_keras 2.21 and Keras 3.15. Not here: which layers belong together (`match`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from batchnorm.checkpoints import Entry
from batchnorm.convert.groups import CHANNELS_LAST, Group
from batchnorm.convert.rooms import saved
from batchnorm.errors import InvalidValue

__all__ = ["Shape", "Step", "canonical", "flattened", "matrix", "same_shape", "step", "untouched"]

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Reshape to `split`, transpose by `axes`, reshape to `shape`; `what` says it in words."""

    split: Shape
    axes: Shape
    shape: Shape
    what: str = ""

    @property
    def trivial(self) -> bool:
        """Whether values keep their order and the array its shape."""
        return not self.what

    def apply(self, entry: Entry, name: str) -> Entry:
        """The entry after the step, under its new name; nothing is loaded."""
        if list(self.axes) == sorted(self.axes) and self.shape == entry.shape:
            return entry.renamed(name)
        return entry.rearranged(name, self.split, self.axes, self.shape)

    def inverse(self, shape: Shape, what: str = "put back") -> Step:
        """The step that undoes this one; `shape` is what it began with."""
        moved = tuple(self.split[a] for a in self.axes)
        back = tuple(self.axes.index(a) for a in range(len(self.axes)))
        return Step(moved, back, shape, what if self.what else "")


def untouched(shape: Shape) -> Step:
    """The step that does nothing."""
    return Step(shape, tuple(range(len(shape))), shape)


def canonical(group: Group, role: str) -> Shape:
    """The shape that torch would give this array: what layers are matched by."""
    shape = group.members[role].shape
    if group.framework not in CHANNELS_LAST or group.kind != "kernel" or role != "weight":
        return shape
    if group.form == "embedding":
        return shape
    if group.form == "depthwise":
        *space, channels, multiplier = shape
        return (channels * multiplier, 1, *space)
    *space, inputs, outputs = shape
    return (outputs, inputs, *space)


def matrix(shape: Shape) -> Shape | None:
    """Outputs and inputs of a canonical kernel whose other axes are 1, as a dense layer has them.

    None for other kernels, and for those of one input, which may be depthwise.
    """
    plain = len(shape) >= 2 and shape[1] != 1 and all(n == 1 for n in shape[2:])
    return shape[:2] if plain else None


def flattened(a: Shape, b: Shape) -> bool:
    """Whether one of two canonical kernels is dense, with the values of the other."""
    flat, wide = sorted((a, b), key=len)
    row = math.prod(wide[1:])
    return len(flat) == 2 < len(wide) and wide[1] != 1 and flat == (wide[0], row)


def same_shape(a: Shape, b: Shape) -> bool:
    """Whether two canonical shapes are one: MindSpore's Conv1d kernels have a 1 in between."""
    if len(a) > len(b):
        a, b = b, a
    if len(a) == 3 and len(b) == 4 and b[2] == 1:
        b = (*b[:2], b[3])
    return a == b


def step(
    source: Group,
    role: str,
    framework: str,
    *,
    form: str = "",
    shape: Shape | None = None,
    flatten: Sequence[int] = (),
) -> Step:
    """The step that brings a member into the target's layout.

    Args:
        source: the layer.
        role: which of its arrays.
        framework: the target's.
        form: what kernel the target's layer has, where that is known.
        shape: the target's shape, where a template tells it.
        flatten: (C, spatial sizes) of what is flattened before this dense layer, if anything.

    Raises:
        InvalidValue: the array can't have the target's shape.
    """
    own = source.members[role].shape
    first, last = source.framework not in CHANNELS_LAST, framework in CHANNELS_LAST
    moves = source.kind == "kernel" and role == "weight" and "embedding" not in (form, source.form)
    dense = None
    if moves and shape and not flatten and "conv_transpose" not in (form, source.form):
        dense = _as_matrix(source, shape, last=last)
    if dense is not None:
        found = dense
    elif not moves or first != last:
        found = _kept(own, shape, framework, source if moves else None)
    elif first:
        found = _to_keras(own, form or source.form, shape, flatten)
    else:
        found = _from_keras(own, source.form, flatten)
        if saved(framework).WIDE or shape is not None:
            found = _with_rank(found, shape, framework)
    if shape is not None and found.shape != shape:
        raise InvalidValue(
            f"{source.label}: {role} has shape {own}, which becomes {found.shape} in {framework}, "
            f"but the template's has shape {shape}"
        )
    return found


def _as_matrix(source: Group, shape: Shape, *, last: bool) -> Step | None:
    """Between a dense kernel and that of a convolution over all that Flatten would order for it.

    Most often that is one place, its other axes being 1. None for other shapes.
    """
    first = source.framework not in CHANNELS_LAST
    given = canonical(source, "weight")
    wanted = (shape[-1], shape[-2], *shape[:-2]) if last and len(shape) > 1 else shape
    if "depthwise" in source.form or not flattened(given, wanted):
        return None
    wide = max(given, wanted, key=len)
    turned = "" if first != last else "OI → IO, " if first else "IO → OI, "
    rank = len(wide)
    split = wide if first else (*wide[2:], wide[1], wide[0])
    axes = tuple(range(rank))
    if turned:
        axes = (*axes[2:], 1, 0) if first else (rank - 1, rank - 2, *axes[: rank - 2])
    order = f", flattened values in the order {'H·W·C' if last else 'C·H·W'}"
    what = f"{turned}reshaped to {_text(shape)}{'' if matrix(wide) else order}"
    return Step(split, axes, shape, what)


def _kept(own: Shape, shape: Shape | None, framework: str, kernel: Group | None) -> Step:
    """Values stay in order; the shape may get or lose dimensions of 1."""
    if kernel is not None:
        if shape is None and kernel.form == "conv_1d" and not saved(framework).WIDE:
            shape = _without_height(own)
        return _with_rank(untouched(own), shape, framework)
    squeezed = [n for n in own if n != 1]
    if shape is not None and shape != own and squeezed == [n for n in shape if n != 1]:
        return Step(own, tuple(range(len(own))), shape, f"reshaped to {_text(shape)}")
    return untouched(own)


def _with_rank(found: Step, shape: Shape | None, framework: str) -> Step:
    """MindSpore's rank for a one-dimensional convolution, or the template's."""
    own = found.shape
    if shape is None:
        wide = saved(framework).WIDE and len(own) == 3
        shape = (*own[:2], 1, own[2]) if wide else own
    if shape == own or not same_shape(own, shape):
        return found
    what = f"{found.what}, " if found.what else ""
    return Step(found.split, found.axes, shape, f"{what}reshaped to {_text(shape)} (Conv1d)")


def _without_height(own: Shape) -> Shape:
    """The kernel of MindSpore's Conv1d as it is elsewhere."""
    return (*own[:2], own[3]) if len(own) == 4 and own[2] == 1 else own


def _to_keras(own: Shape, form: str, shape: Shape | None, flatten: Sequence[int]) -> Step:
    rank = len(own)
    if rank == 2 and flatten:
        split = (own[0], *_checked(flatten, own[1]))
        axes = (*range(2, rank + len(flatten) - 1), 1, 0)
        turned: Shape = (own[1], own[0])
        return Step(split, axes, turned, f"OI → IO, rows {_order(flatten, 'first')}")
    if form == "conv_1d" or (shape is not None and len(shape) == rank - 1):
        own = _without_height(own)
        rank = len(own)
    space = tuple(range(2, rank))
    letters = _letters(rank)
    if form == "depthwise" and rank > 2:
        channels = shape[-2] if shape is not None and len(shape) == rank else own[0]
        if own[1] != 1 or channels == 0 or own[0] % channels:
            raise InvalidValue(f"a kernel of shape {own} is not depthwise over {channels} channels")
        split = (channels, own[0] // channels, *own[2:])
        turned = (*own[2:], *split[:2])
        return Step(split, (*space, 0, 1), turned, f"CM{letters} → {letters}CM")
    turned = (*own[2:], own[1], own[0])
    return Step(own, (*space, 1, 0), turned, f"OI{letters} → {letters}IO")


def _from_keras(own: Shape, form: str, flatten: Sequence[int]) -> Step:
    rank = len(own)
    letters = _letters(rank)
    if rank == 2 and flatten:
        channels, *space = _checked(flatten, own[0])
        split = (*space, channels, own[1])
        axes = (len(split) - 1, len(split) - 2, *range(len(space)))
        return Step(split, axes, (own[1], own[0]), f"IO → OI, rows {_order(flatten, 'last')}")
    space_axes = range(rank - 2)
    if form == "depthwise":
        *space, channels, multiplier = own
        shape = (channels * multiplier, 1, *space)
        return Step(own, (rank - 2, rank - 1, *space_axes), shape, f"{letters}CM → CM{letters}")
    axes = (rank - 1, rank - 2, *space_axes)
    return Step(own, axes, tuple(own[a] for a in axes), f"{letters}IO → OI{letters}")


def _checked(flatten: Sequence[int], rows: int) -> Sequence[int]:
    if len(flatten) < 2 or math.prod(flatten) != rows:
        raise InvalidValue(
            f"flatten = {list(flatten)} has {math.prod(flatten)} values, but the dense layer takes "
            f"{rows}; give [C, H, W], the shape before Flatten"
        )
    return flatten


def _letters(rank: int) -> str:
    return {2: "", 3: "W", 4: "HW", 5: "DHW"}.get(rank, "…")


def _order(flatten: Sequence[int], now: str) -> str:
    space = "·".join(str(n) for n in flatten[1:])
    orders = [f"{flatten[0]}·{space}", f"{space}·{flatten[0]}"]
    return " → ".join(orders if now == "first" else reversed(orders))


def _text(shape: Shape) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
