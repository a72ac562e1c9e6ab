"""docs/guides, run as they stand: files are written, code runs, commands print what is shown."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "guides"
GUIDES = sorted(
    path.name for path in FOLDER.glob("[!R]*.md") if not path.name.endswith(".zh.md")
)  # whose Chinese pages have the same blocks: test_translated_pages.py
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
COMMAND = "from batchnorm.cli import main; main()"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with the example, where `batchnorm` and `python` are those of the test."""
    shutil.copy(ROOT / "examples" / "resnet_tiny.pth", tmp_path)
    tools = tmp_path / ".tools"
    tools.mkdir()
    for name, given in (("batchnorm", f" -c '{COMMAND}'"), ("python", "")):
        (tools / name).write_text(f"#!/bin/sh\nexec '{sys.executable}'{given} \"$@\"\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(block):
    """(line, exit code, what is shown of the output) of each command of a console block."""
    for each in re.split(r"^\$ ", block, flags=re.M)[1:]:
        line, _, output = each.partition("\n")
        line, _, code = line.partition(" # exit ")
        yield line, int(code or 0), output.splitlines()


def check(line, code, shown):
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=120)
    printed = done.stdout + done.stderr
    assert done.returncode == code, (line, printed)
    at = 0
    for piece in (piece for text in shown for piece in text.split("…") if piece):
        assert piece in printed[at:], (line, piece, printed)
        at = printed.index(piece, at) + len(piece)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_does_what_it_shows(name, place):
    text = (FOLDER / name).read_text(encoding="utf-8")
    if "import torch\n" in text:
        pytest.importorskip("torch")
    names, seen = {"__name__": "guide"}, []
    for kind, block in BLOCK.findall(text):
        file = re.match(r"# (\w+\.py)\n", block)
        if kind == "console":
            for each in commands(block):
                check(*each)
        elif file:
            (place / file[1]).write_text(block.removeprefix(file[0]), encoding="utf-8")
        else:
            assert kind == "python", kind
            exec(compile(block, name, "exec"), names)
        seen.append(kind)
    assert "console" in seen


def test_every_guide_is_linked_and_of_one_screen():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(([^)]*)\)", index)) == GUIDES
    assert len(GUIDES) == 5
    for lang in ("", ".zh"):
        assert f"(docs/guides/README{lang}.md)" in (ROOT / f"README{lang}.md").read_text("utf-8")
    for name in GUIDES:
        assert len((FOLDER / name).read_text(encoding="utf-8").splitlines()) <= 80, name


def test_what_is_shown_is_looked_for_in_order():
    [(line, code, shown)] = commands("$ echo a b c # exit 0\na…c\n")
    check(line, code, shown)
    with pytest.raises(AssertionError):
        check(line, 1, shown)
    with pytest.raises(AssertionError):
        check(line, 0, ["c…a"])
