"""The first screen: the rules alone, as a page of one table; and a page cut to one topic.

Not here: what the rules say (`sections/rules`), and how pages are printed (`renderers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from batchnorm.errors import InvalidValue
from batchnorm.explain.page import Block, Page, Paragraph, Section, Table
from batchnorm.explain.sections import rules
from batchnorm.explain.sides import Side
from batchnorm.explain.typography import chinese
from batchnorm.explain.words import Lang, say
from batchnorm.questions.question import Text

__all__ = ["about", "brief"]

TITLE = Text("From {a} to {b}: what to do, worst first")
SILENT = Text("From {a} to {b}: what goes wrong without an error")
MORE = Text(
    "Measured on our layers of {b}, 100 training steps. All of it: `batchnorm explain {names} "
    "--full`; one topic: `--about {topics}`; without an error: `--silent`."
)
# Topic -> words of the ids of what a page says about it.
WORDS: Mapping[str, tuple[str, ...]] = {
    "momentum": ("momentum", "weight-of", "updates", "running-mean-formula"),
    "epsilon": ("epsilon", "-eps", "constant-channel"),
    "mode": ("mode", "training", "inference"),
    "axis": ("axis", "data_format", "channels-last", "layout", "ranks"),
    "variance": ("variance", "updates", "one-value"),
    "freezing": ("frozen", "forced", "track", "trainable", "use_batch_statistics", "freez"),
    "state": ("state", "checkpoint", "names", "counter", "weight-files", "loads"),
    "options": ("parameter", "affine", "initial", "regularizer"),
}


def brief(a: Side, b: Side, lang: Lang, *, silent: bool = False) -> Page:
    """The rules for a layer of `a` that becomes one of `b`; `silent`: those without an error."""
    found = rules.Rules(a, b, lang)
    table = rules.table(found)
    if silent:
        quiet = {f"rule-{rule.topic}" for rule in found.ranked if rule.silent}
        table = replace(table, rows=tuple(row for row in table.rows if row.id in quiet))
    title = say(SILENT if silent else TITLE, lang, a=a.versioned, b=b.versioned)
    names = f"{a.name} {b.name}"
    more = say(MORE, lang, b=b.title, names=names, topics="|".join(rules.TOPICS))
    section = Section("rules", say(rules.RULES, lang), (table, Paragraph(more)))
    page = Page(title, lang, a.facts(), b.facts(), (section,))
    return chinese(page) if lang == "zh" else page


def about(page: Page, topic: str) -> Page:
    """What a page says about one topic.

    Raises:
        ValueError: there is no such topic.
    """
    if topic not in WORDS:
        raise InvalidValue(f"there is no topic {topic!r}; known: {', '.join(WORDS)}")
    kept = (_about(section, (*WORDS[topic], f"rule-{topic}")) for section in page.sections)
    return replace(page, sections=tuple(section for section in kept if section is not None))


def _about(section: Section, words: tuple[str, ...]) -> Section | None:
    if any(word in section.id for word in words):
        return section
    blocks: list[Block] = []
    for block in section.blocks:
        if isinstance(block, Table):
            rows = tuple(row for row in block.rows if any(word in row.id for word in words))
            blocks += [replace(block, rows=rows)] if rows else []
    inner = tuple(s for s in (_about(each, words) for each in section.sections) if s is not None)
    return replace(section, blocks=tuple(blocks), sections=inner) if blocks or inner else None
