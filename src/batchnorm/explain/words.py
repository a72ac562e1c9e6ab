"""The two languages of a page.

Sentences stand where they are used, as `Text`, their Chinese in `questions/zh.toml`; here is only
what several sections share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from batchnorm.errors import InvalidValue
from batchnorm.explain.sides import Side
from batchnorm.questions.question import Text, chinese
from batchnorm.vocabulary import GLOSSARY, Meaning, Mode

__all__ = ["LANGUAGES", "ONLY", "Lang", "as_is", "gloss", "label", "language", "mode_words", "say"]

Lang: TypeAlias = Literal["en", "zh"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)


ONLY = Text("{side} only: {gloss}")
GLOSS_OF = Text("{gloss} ({of})")

MODES: Mapping[Mode, tuple[Text, Text]] = {  # normalizes by, updates
    Mode.BATCH_AND_UPDATE: (Text("batch statistics"), Text("yes")),
    Mode.BATCH: (Text("batch statistics"), Text("no")),
    Mode.RUNNING: (Text("running statistics"), Text("no")),
}


def language(lang: str) -> Lang:
    """The language of that name.

    Raises:
        ValueError: there is none.
    """
    for known in LANGUAGES:
        if lang == known:
            return known
    raise InvalidValue(f"there is no page in language {lang!r}; known: {', '.join(LANGUAGES)}")


def say(text: Text, lang: Lang, **values: object) -> str:
    """The sentence in one language, with values in its braces."""
    return as_is(text, lang).format(**values)


def as_is(text: Text, lang: Lang) -> str:
    """A text that is no template: its braces are its own."""
    return text.zh if lang == "zh" else text.en


def gloss(meaning: Meaning, lang: Lang) -> str:
    """What a parameter of this meaning says."""
    word = chinese("glossary")[meaning.word] if lang == "zh" else GLOSSARY[meaning.word]
    return say(GLOSS_OF, lang, gloss=word, of=meaning.of) if meaning.of else word


def mode_words(mode: Mode, lang: Lang) -> tuple[str, str]:
    """Which statistics normalize, and whether the running ones move."""
    used, updated = MODES[mode]
    return say(used, lang), say(updated, lang)


def label(side: Side, other: Side) -> str:
    """How a page calls a side: with its version where both are versions of one framework."""
    return side.versioned if side.title == other.title else side.title
