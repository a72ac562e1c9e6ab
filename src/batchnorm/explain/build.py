"""Writes what is committed: `python -m batchnorm.explain.build docs/differences docs/layers.md`.

A folder gets the pages of pairs, or one per dialect where it is called `spec`; a file the table of
the dialects between its two marks, in Chinese where it is called `.zh.md`. `--check` writes nothing
and exits with 1 where something isn't current. Every pair of dialects has one page per language,
whichever way round it is asked for; versions have pages beside them.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import click

from batchnorm.explain import page, spec
from batchnorm.explain.overview import overview
from batchnorm.explain.page import Column, Page, Plot, Row, Table
from batchnorm.explain.renderers import markdown, svg
from batchnorm.explain.sections.claims import FILES, VERSIONS
from batchnorm.explain.sides import NAMES, NEWEST, Side
from batchnorm.explain.words import LANGUAGES, Lang

__all__ = ["PAIRS", "file_name", "pages", "specs", "with_table"]

_VERSION_OF = {Side(name).dialect: name for name in VERSIONS}
# The newest of each; what MindSpore's own pages compare; each older version with the newest.
PAIRS: tuple[tuple[str, ...], ...] = (
    *itertools.combinations(NEWEST, 2),
    *(tuple(_VERSION_OF.get(name, name) for name in pair) for pair in FILES),
    *((name, Side(name).dialect) for name in NAMES if name not in NEWEST),
)
MARKS = "<!-- dialects -->", "<!-- /dialects -->"
INDEX = {
    "en": """{generated}

# How the batch normalizations differ

[中文](README.zh.md)

Each page has both calls, the parameter table, state names, modes, update rules, and every measured
difference with what breaks if it is ignored. `batchnorm explain A B` prints the same, in either
order and as Markdown, HTML, JSON or text.

{matrix}

Versions:

{versions}
""",
    "zh": """{generated}

# 批归一化的差异

[English](README.md)

每一页包含两个调用、参数表、状态名、模式、更新规则，以及每个实测的差异和忽视它的后果。
`batchnorm explain A B --lang zh` 打印同样的内容，顺序任意，格式可为 Markdown、HTML、JSON 或文本。

{matrix}

版本：

{versions}
""",
}
LINKED = {"en": "differences", "zh": "差异"}


def pages() -> dict[str, str]:
    """All files of the folder: name -> text."""
    found = {"README.md": _index("en"), "README.zh.md": _index("zh")}
    for a, b in PAIRS:
        for lang in LANGUAGES:
            found |= _files(file_name(a, b, lang), page(a, b, lang))
    return found


def _files(name: str, of: Page) -> dict[str, str]:
    """A page, and its plot beside it."""
    picture = name.replace(".md", ".svg")
    found = {name: f"{markdown.GENERATED}\n\n{markdown.render(of, picture)}"}
    for block in (block for section in of.walk() for block in section.blocks):
        if isinstance(block, Plot):
            found[picture] = svg.render(block)
    return found


def specs() -> dict[str, str]:
    """A page for each dialect, in both languages: name -> text."""
    found: dict[str, str] = {}
    for name in NAMES:
        for lang in LANGUAGES:
            file = f"{Side(name).id}{'.zh' if lang == 'zh' else ''}.md"
            found |= _files(file, spec.compose(Side(name), lang))
    return found


def file_name(a: str, b: str, lang: Lang) -> str:
    """The file of a pair's page, `torch-mindspore.en.md`."""
    return f"{Side(a).id}-{Side(b).id}.{lang}.md"


def with_table(text: str, lang: Lang = "en") -> str:
    """A file's text with the table of the dialects between its two marks replaced."""
    start, end = MARKS
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise click.UsageError(f"expected a block between {start} and {end}")
    return f"{before}{start}\n{overview(lang)}\n{end}{after}"


def _index(lang: Lang) -> str:
    columns = (Column("", ""), *(Column(name, Side(name).title) for name in NEWEST))
    rows = tuple(
        Row((Side(a).title, *(_link(a, b, lang) if a != b else "" for b in NEWEST))) for a in NEWEST
    )
    versions = "\n".join(
        f"- [{Side(a).versioned} · {Side(b).versioned}]({file_name(a, b, lang)})"
        for a, b in PAIRS
        if "@" in a + b
    )
    matrix = markdown.table(Table(columns, rows))
    return INDEX[lang].format(generated=markdown.GENERATED, matrix=matrix, versions=versions)


def _link(a: str, b: str, lang: Lang) -> str:
    pair = (a, b) if (a, b) in PAIRS else (b, a)
    return f"[{LINKED[lang]}]({file_name(*pair, lang)})"


@click.command
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file isn't current.")
def main(paths: tuple[Path, ...], check: bool) -> None:
    """Write the pages into a folder, and the table of the dialects into a file."""
    wanted: dict[Path, str | None] = {}
    for path in paths:
        wanted |= _file(path) if path.is_file() else _folder(path)
    stale = [path for path, text in wanted.items() if _current(path) != text]
    if check and stale:
        names = "\n".join(f"  {path}" for path in stale)
        click.echo(f"not current, run `make generate`:\n{names}", err=True)
        sys.exit(1)
    for path in stale:
        text = wanted[path]
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _file(path: Path) -> dict[Path, str | None]:
    lang: Lang = "zh" if path.suffixes[-2:] == [".zh", ".md"] else "en"
    return {path: with_table(path.read_text(encoding="utf-8"), lang)}


def _folder(folder: Path) -> dict[Path, str | None]:
    """The pages, and None for those that a former build has left there; of specs where it is so."""
    made = specs() if folder.name == "spec" else pages()
    found: dict[Path, str | None] = {
        path: None
        for path in (*folder.glob("*.md"), *folder.glob("*.svg"))
        if path.read_text(encoding="utf-8").startswith(markdown.GENERATED)
    }
    return found | {folder / name: text for name, text in made.items()}


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
