"""Writes the committed pages, `python -m batchnorm.explain.build docs/differences`.

With `--readme README.md` it rewrites the README's table of the dialects instead. Every pair has
one page per language, whichever way round it is asked for; versions have pages beside them.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import click

from batchnorm.explain import explain
from batchnorm.explain.overview import overview
from batchnorm.explain.page import Column, Row, Table
from batchnorm.explain.renderers import markdown
from batchnorm.explain.sides import DIALECTS, Side
from batchnorm.explain.words import LANGUAGES, Lang

__all__ = ["PAIRS", "file_name", "pages", "readme"]

PAIRS = (
    *itertools.combinations(DIALECTS, 2),
    ("torch", "mindspore@2.0"),
    ("tf_keras@2.6", "mindspore@2.0"),
    ("mindspore@2.0", "mindspore"),
    ("tf_keras@2.6", "tf_keras"),
)
MARKS = "<!-- dialects -->", "<!-- /dialects -->"
INDEX = """{generated}

# How the batch normalizations differ · 批归一化的差异

Each page has both calls, the parameter table, state names, modes, update rules, and every measured
difference with what breaks if it is ignored. `batchnorm explain A B` prints the same, in either
order and as Markdown, HTML, JSON or text.

每一页包含两个调用、参数表、状态名、模式、更新规则,以及每个实测的差异和忽视它的后果。
`batchnorm explain A B --lang zh` 打印同样的内容,顺序任意,格式可为 Markdown、HTML、JSON 或文本。

{matrix}

Versions · 版本:

{versions}
"""


def pages() -> dict[str, str]:
    """All files of the folder: name -> text."""
    found = {
        file_name(a, b, lang): explain(a, b, "md", lang) for a, b in PAIRS for lang in LANGUAGES
    }
    return {"README.md": _index(), **found}


def file_name(a: str, b: str, lang: Lang) -> str:
    """The file of a pair's page, `torch-mindspore.en.md`."""
    return f"{Side(a).id}-{Side(b).id}.{lang}.md"


def readme(text: str) -> str:
    """The README with the table between its two marks replaced."""
    start, end = MARKS
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise click.UsageError(f"expected a block between {start} and {end}")
    return f"{before}{start}\n{overview()}\n{end}{after}"


def _index() -> str:
    columns = (Column("", ""), *(Column(name, Side(name).title) for name in DIALECTS))
    rows = tuple(
        Row((Side(a).title, *(_links(a, b) if a != b else "" for b in DIALECTS))) for a in DIALECTS
    )
    versions = "\n".join(
        f"- {Side(a).versioned} · {Side(b).versioned}: {_links(a, b)}"
        for a, b in PAIRS
        if "@" in a + b
    )
    matrix = markdown.table(Table(columns, rows))
    return INDEX.format(generated=markdown.GENERATED, matrix=matrix, versions=versions)


def _links(a: str, b: str) -> str:
    pair = (a, b) if (a, b) in PAIRS else (b, a)
    named: dict[Lang, str] = {"en": "English", "zh": "中文"}
    return " · ".join(f"[{named[lang]}]({file_name(*pair, lang)})" for lang in LANGUAGES)


@click.command
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--readme", "readme_file", type=click.Path(path_type=Path, exists=True))
def main(folder: Path | None, readme_file: Path | None) -> None:
    """Write the pages into FOLDER, or the table of the dialects into the README."""
    if (folder is None) == (readme_file is None):
        raise click.UsageError("expected either FOLDER or --readme README.md")
    if readme_file is not None:
        text = readme_file.read_text(encoding="utf-8")
        readme_file.write_text(readme(text), encoding="utf-8")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
