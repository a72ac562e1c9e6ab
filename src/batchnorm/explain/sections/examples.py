"""The code examples of the two official pages: the digits they print, ours, and the exact ones.

The printed digits are those of the pages (MindSpore 2.0's documentation), the rest is computed
here. Exact is a two-pass evaluation in float64 on the same float32 input: its error is a
billionth of the ulps of float32 that distances are given in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batchnorm.explain.page import Block, Code, Column, Paragraph, Row, Section, Table
from batchnorm.explain.sections.claims import TENSORFLOW, TORCH
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, label, say
from batchnorm.questions.question import Text

__all__ = ["EXAMPLES", "Example", "applies", "make"]

TITLE = Text("The official page's examples")
INTRO = Text(
    "What the page prints, what batchnorm computes for the same call, and the exact values; "
    "distances to the exact value are in ulps of float32."
)
PRINTED, OURS = Text("the page prints"), Text("batchnorm")
EXACT, INDEX = Text("exact"), Text("element")
PAGE_OFF, WE_OFF = Text("page, ulp"), Text("batchnorm, ulp")
LARGEST = Text("Largest distance to the page: {distance:.1e} of the largest value.")
LAYOUT = Text(
    "Both examples take one array, of shape {shape}: one with the channels on axis {a_axis}, the "
    "other on axis {b_axis}. They agree because a new layer's running statistics are the same for "
    "every channel. In training the first output is {a} for {a_side} and {b} for {b_side}."
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Example:
    """One example: the call, its input, what the page prints, and how to call our layer."""

    dialect: str
    code: str
    x: Array
    printed: Array
    arguments: dict[str, Any]
    training: bool
    epsilon: float

    def ours(self, side: Side, training: bool | None = None) -> Array:
        """What our layer gives."""
        layer = side.layer_class(**self.arguments)
        training = self.training if training is None else training
        call: Callable[..., Array] = layer  # type: ignore[assignment]
        if not side.mode_method:
            return call(self.x, training=training)
        getattr(layer, side.mode_method)(training)
        return call(self.x)

    def exact(self) -> Array:
        """The formula in float64."""
        x = self.x.astype(np.float64)
        if not self.training:  # a new layer's running statistics: mean 0, variance 1
            return np.asarray(x / np.sqrt(1 + self.epsilon))
        mean = x.mean((0, 2, 3), keepdims=True)
        var = ((x - mean) ** 2).mean((0, 2, 3), keepdims=True)
        return np.asarray((x - mean) / np.sqrt(var + self.epsilon))


STEPS = np.array(
    [[[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]], [[0.9, 1.0], [1.1, 1.2]]]], np.float32
)
PAIRS = np.array(
    [[[[1, 2], [2, 1]], [[3, 4], [4, 3]]], [[[5, 6], [6, 5]], [[7, 8], [8, 7]]]], np.float32
)


def _digits(text: str) -> Array:
    return np.array(text.split(), np.float32)


EXAMPLES: dict[tuple[str, str], tuple[Example, Example]] = {
    TORCH: (
        Example(
            TORCH[0],
            "m = nn.BatchNorm2d(num_features=3, momentum=0.1)\noutput = m(x)",
            STEPS,
            _digits(
                "-1.3411044 -0.44703478 0.4470349 1.3411044 -1.3411043 -0.44703442 "
                "0.44703496 1.3411049 -1.3411039 -0.44703427 0.44703534 1.341105"
            ),
            {"num_features": 3, "momentum": 0.1},
            True,
            1e-5,
        ),
        Example(
            TORCH[1],
            "m = nn.BatchNorm2d(num_features=3, momentum=0.9)\nm.set_train()\noutput = m(x)",
            STEPS,
            _digits(
                "-1.3411045 -0.4470348 0.44703496 1.3411045 -1.341105 -0.4470351 "
                "0.44703424 1.3411041 -1.3411034 -0.44703388 0.44703573 1.3411053"
            ),
            {"num_features": 3, "momentum": 0.9},
            True,
            1e-5,
        ),
    ),
    TENSORFLOW: (
        Example(
            TENSORFLOW[0],
            "m = tf.keras.layers.BatchNormalization(axis=3, momentum=0.1, epsilon=1e-5)\n"
            "output = m(x, training=False)",
            PAIRS,
            _digits(
                "0.999995 1.99999 1.99999 0.999995 2.999985 3.99998 3.99998 2.999985 "
                "4.999975 5.99997 5.99997 4.999975 6.9999647 7.99996 7.99996 6.9999647"
            ),
            {"axis": 3, "momentum": 0.1, "epsilon": 1e-5},
            False,
            1e-5,
        ),
        Example(
            TENSORFLOW[1],
            "m = nn.BatchNorm2d(num_features=2, momentum=0.9)\noutput = m(x)",
            PAIRS,
            _digits(
                "0.99999493 1.9999899 1.9999899 0.99999493 2.9999847 3.9999797 3.9999797 2.9999847 "
                "4.9999747 5.9999695 5.9999695 4.9999747 6.9999647 7.9999595 7.9999595 "
                "6.9999647"
            ),
            {"num_features": 2, "momentum": 0.9},
            False,
            1e-5,
        ),
    ),
}


def applies(a: Side, b: Side) -> tuple[str, str] | None:
    """The official page about these two dialects, whichever way round they are asked for."""
    for pair in EXAMPLES:
        if {a.dialect, b.dialect} == set(pair):
            return pair
    return None


def make(a: Side, b: Side, lang: Lang) -> Section | None:
    """The examples of the official page about the two, if there is one."""
    pair = applies(a, b)
    if pair is None:
        return None
    sides = {side.dialect: side for side in (a, b)}
    examples = EXAMPLES[pair]
    sections = tuple(_one(example, sides[example.dialect], a, b, lang) for example in examples)
    blocks: list[Block] = [Paragraph(say(INTRO, lang))]
    if pair == TENSORFLOW:
        blocks.append(Paragraph(_layout(examples, sides, lang)))
    return Section("examples", say(TITLE, lang), tuple(blocks), sections)


def _one(example: Example, side: Side, a: Side, b: Side, lang: Lang) -> Section:
    printed = example.printed.reshape(example.x.shape)
    ours, exact = example.ours(side), example.exact()
    rows = []
    for index in np.ndindex(*example.x.shape):
        ulp = float(np.spacing(np.float32(abs(exact[index]))))
        off = [abs(float(values[index]) - exact[index]) / ulp for values in (printed, ours)]
        rows.append(
            Row(
                (
                    f"`{list(index)}`",
                    f"`{printed[index]!s}`",
                    f"`{ours[index]!s}`",
                    f"`{exact[index]:.10f}`",
                    f"{off[0]:.1f}",
                    f"{off[1]:.1f}",
                )
            )
        )
    columns = (
        Column("element", say(INDEX, lang)),
        Column("printed", say(PRINTED, lang)),
        Column("ours", say(OURS, lang)),
        Column("exact", say(EXACT, lang)),
        Column("printed_ulp", say(PAGE_OFF, lang)),
        Column("ours_ulp", say(WE_OFF, lang)),
    )
    distance = float(np.max(np.abs(printed - ours)) / np.max(np.abs(printed)))
    return Section(
        f"example-{side.id}",
        label(side, b if side == a else a),
        (
            Code(example.code),
            Table(columns, tuple(rows)),
            Paragraph(say(LARGEST, lang, distance=distance)),
        ),
        data={"largest_distance": distance},
    )


def _layout(examples: tuple[Example, Example], sides: dict[str, Side], lang: Lang) -> str:
    one, other = examples
    first = [e.ours(sides[e.dialect], training=True).flat[0] for e in examples]
    return say(
        LAYOUT,
        lang,
        shape="×".join(map(str, one.x.shape)),
        a_axis=one.arguments["axis"],
        b_axis=1,
        a=f"`{first[0]:.4f}`",
        b=f"`{first[1]:.4f}`",
        a_side=sides[one.dialect].title,
        b_side=sides[other.dialect].title,
    )
