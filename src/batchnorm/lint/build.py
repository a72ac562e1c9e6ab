"""Writes the rules' pages: `python -m batchnorm.lint.build docs/rules`.

`--check` writes nothing and exits with 1 where something isn't current. What stands in the folder
without the mark of a generated file, such as `measured.md`, is left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchnorm.explain.renderers import markdown
from batchnorm.lint.pages import index, page
from batchnorm.lint.rules import RULES

__all__ = ["pages"]


def pages() -> dict[str, str]:
    """All files of the folder: name -> text."""
    found = {"README.md": index(), **{f"{rule.id}.md": page(rule) for rule in RULES}}
    return {name: f"{markdown.GENERATED}\n\n{text}" for name, text in found.items()}


@click.command
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file isn't current.")
def main(folder: Path, check: bool) -> None:
    """Write the pages into a folder."""
    wanted = pages()
    here = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    generated = (name for name, text in here.items() if text.startswith(markdown.GENERATED))
    gone = [name for name in generated if name not in wanted]
    stale = [name for name, text in wanted.items() if here.get(name) != text]
    if check and (stale or gone):
        names = "\n".join(f"  {folder / name}" for name in (*stale, *gone))
        click.echo(f"not current, run `make generate`:\n{names}", err=True)
        sys.exit(1)
    for name in gone:
        (folder / name).unlink()
    for name in stale:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(wanted[name], encoding="utf-8")


if __name__ == "__main__":
    main()
