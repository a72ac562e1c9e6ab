"""The two calls in full, from the real signatures of both sides."""

from __future__ import annotations

import inspect
import sys

from batchnorm.explain.page import Code, Paragraph, Section
from batchnorm.explain.sides import Side
from batchnorm.explain.words import Lang, say
from batchnorm.questions.question import Text

__all__ = ["make", "signature"]

TITLE = Text("The two calls")
CAPTION = Text("`{path}`, {version}:")
SIBLING = Text("`{name}` is the same layer for inputs of rank {ranks}{without}.")
WITHOUT = Text(", without {names}")


def make(a: Side, b: Side, lang: Lang) -> Section:
    """Both signatures, constructor and call, and the layers for other ranks."""
    blocks: list[Paragraph | Code] = []
    for side in (a, b):
        blocks.append(Paragraph(say(CAPTION, lang, path=side.path, version=side.versioned)))
        blocks.append(Code(signature(side)))
        if siblings := _siblings(side, lang):
            blocks.append(Paragraph(siblings))
    return Section("calls", say(TITLE, lang), tuple(blocks))


def signature(side: Side) -> str:
    """The constructor and the call, as one would write them."""
    lines = [f"class {side.path}("]
    previous = "positional or keyword"
    for parameter in side.parameters.values():
        if parameter.kind != previous:
            marks = {"keyword-only": "    *,", "in **kwargs": "    **kwargs:"}
            lines.append(marks[parameter.kind])
            previous = parameter.kind
        default = "" if parameter.required else f"={parameter.default!r}"
        indent = "        " if parameter.kind == "in **kwargs" else "    "
        lines.append(f"{indent}{parameter.name}{default},")
    call = ", ".join(
        name + ("" if p.default is inspect.Parameter.empty else f"={p.default!r}")
        for name, p in side.call_parameters.items()
    )
    return "\n".join([*lines, f")({call})"])


def _siblings(side: Side, lang: Lang) -> str:
    """The classes for other ranks, and which parameters they lack."""
    module = sys.modules[side.layer_class.__module__]
    sentences = []
    for name in module.__all__:
        sibling = getattr(module, name)
        ranks = getattr(sibling, "RANKS", None)
        if ranks is None or sibling is side.layer_class:
            continue
        lacking = [f"`{own}`" for own in side.parameters if own not in sibling.PARAMETERS]
        without = say(WITHOUT, lang, names=", ".join(lacking)) if lacking else ""
        joined = {"en": " or ", "zh": " 或 "}[lang].join(map(str, ranks))
        sentences.append(say(SIBLING, lang, name=name, ranks=joined, without=without))
    return {"en": " ", "zh": ""}[lang].join(sentences)
