"""The committed pages and the README's table are what the sources give now."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from batchnorm.explain import build
from batchnorm.explain.sides import NAMES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "differences"
REGENERATE = "run: python -m batchnorm.explain.build docs/differences"


@pytest.fixture(scope="module")
def pages():
    return build.pages()


def test_regenerating_changes_no_page(pages):
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert sorted(committed) == sorted(pages), REGENERATE
    changed = [name for name, text in pages.items() if committed[name] != text]
    assert changed == [], REGENERATE


def test_pages_are_deterministic(pages):
    assert build.pages() == pages


def test_index_links_every_page_and_nothing_else(pages):
    index = pages["README.md"]
    linked = {name for name in pages if f"({name})" in index}
    assert linked == set(pages) - {"README.md"}


def test_every_side_and_every_pair_of_dialects_has_a_page():
    assert {name for pair in build.PAIRS for name in pair} == set(NAMES)
    dialects = [name for name in NAMES if "@" not in name]
    pairs = {frozenset(pair) for pair in build.PAIRS}
    assert all({a, b} in pairs for a in dialects for b in dialects if a != b)


def test_readme_table_is_current():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert build.readme(text) == text, "run: python -m batchnorm.explain.build --readme README.md"


def test_readme_keeps_what_is_around_the_table(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- dialects -->\nstale\n<!-- /dialects -->\nafter\n")
    result = CliRunner().invoke(build.main, ["--readme", str(file)])
    assert result.exit_code == 0, result.output
    text = file.read_text()
    assert text.startswith("before\n<!-- dialects -->\n|")
    assert text.endswith("\n<!-- /dialects -->\nafter\n")
    assert "stale" not in text


def test_readme_without_marks_is_refused(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("no marks")
    result = CliRunner().invoke(build.main, ["--readme", str(file)])
    assert result.exit_code == 2
    assert file.read_text() == "no marks"
