"""The committed pages and the table of the layers are what the sources give now."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchnorm.explain import build
from batchnorm.explain.sides import NAMES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "differences"
REGENERATE = "run: make generate"


@pytest.fixture(scope="module")
def pages():
    return build.pages()


def test_regenerating_changes_no_page(pages):
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert sorted(committed) == sorted(pages), REGENERATE
    changed = [name for name, text in pages.items() if committed[name] != text]
    assert changed == [], REGENERATE


def test_specs_are_current_and_each_id_stands_for_one_thing():
    folder = ROOT / "docs" / "spec"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    made = build.specs()
    assert sorted(committed) == sorted(made), REGENERATE
    assert [name for name, text in made.items() if committed[name] != text] == [], REGENERATE
    for text in made.values():
        ids = re.findall(r'<a id="([^"]+)">', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(ids)


def test_pages_are_deterministic(pages):
    assert build.pages() == pages


@pytest.mark.parametrize(
    ("index", "language", "other"),
    [("README.md", ".en.md", "README.zh.md"), ("README.zh.md", ".zh.md", "README.md")],
)
def test_an_index_links_every_page_of_its_language_and_the_other_index(
    pages, index, language, other
):
    linked = {name for name in pages if f"({name})" in pages[index]}
    own = {name for name in pages if name.endswith(language)} - {index}
    assert linked == own | {other}


def test_every_page_shows_what_happens_when_a_rule_is_ignored(pages):
    for name, text in pages.items():
        picture = name.replace(".md", ".svg")
        if name.endswith(".md") and not name.startswith("README"):
            assert (f"]({picture})" in text) == (picture in pages)
    drawn = {name.replace(".svg", ".md") for name in pages if name.endswith(".svg")}
    without = {name for name in pages if name.endswith(".en.md")} - drawn
    assert without == {
        f"{pair}.en.md"  # one rule for both, but for what is written or what can't be ignored
        for pair in ("mindspore-2.0-mindspore", "tf_keras-2.6-tf_keras", "tf_keras-keras")
    }


def test_every_side_and_every_pair_of_dialects_has_a_page():
    assert {name for pair in build.PAIRS for name in pair} == set(NAMES)
    dialects = [name for name in NAMES if "@" not in name]
    pairs = {frozenset(pair) for pair in build.PAIRS}
    assert all({a, b} in pairs for a in dialects for b in dialects if a != b)


@pytest.mark.parametrize(("name", "lang"), [("layers.md", "en"), ("layers.zh.md", "zh")])
def test_the_table_of_the_layers_is_current(name, lang):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert build.with_table(text, lang) == text, REGENERATE


def run(*arguments):
    return CliRunner().invoke(build.main, [str(argument) for argument in arguments])


@pytest.fixture
def layers(tmp_path):
    file = tmp_path / "layers.md"
    file.write_text("before\n<!-- dialects -->\nstale\n<!-- /dialects -->\nafter\n")
    return file


def test_a_file_keeps_what_is_around_the_table(layers):
    assert run(layers).exit_code == 0
    text = layers.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- dialects -->\n|")
    assert text.endswith("\n<!-- /dialects -->\nafter\n")
    assert "stale" not in text


def test_a_file_without_marks_is_refused(layers):
    layers.write_text("no marks")
    assert run(layers).exit_code == 2
    assert layers.read_text() == "no marks"


def test_check_writes_nothing_and_names_what_is_stale(layers, tmp_path, pages):
    folder = tmp_path / "pages"
    before = layers.read_text()
    result = run("--check", folder, layers)
    assert result.exit_code == 1
    assert "layers.md" in result.output
    assert not folder.exists()
    assert layers.read_text() == before
    assert run(folder, layers).exit_code == 0
    assert {path.name for path in folder.iterdir()} == set(pages)
    assert run("--check", folder, layers).exit_code == 0


def test_pages_of_a_former_build_go_and_other_files_stay(tmp_path):
    old, own = tmp_path / "old-pair.en.md", tmp_path / "notes.md"
    old.write_text(build.markdown.GENERATED + "\n")
    own.write_text("mine")
    assert run("--check", tmp_path).exit_code == 1
    assert run(tmp_path).exit_code == 0
    assert not old.exists()
    assert own.read_text() == "mine"
