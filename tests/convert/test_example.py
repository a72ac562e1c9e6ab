"""The commands of `examples/README.md`, and that its recordings are those of its models."""

import re
import shutil
from pathlib import Path

import pytest

from batchnorm.cli import main

ROOT = Path(__file__).parents[2]
PARTS = (ROOT / "examples" / "README.md").read_text(encoding="utf-8").split("\n## ")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)


def ended(part):
    """The exit code of each command of a part; Python's run no command of ours and have None."""
    for line in re.findall(r"^\$ ([^#\n]*)", part, re.MULTILINE):
        tool, _, rest = line.partition(" ")
        if tool == "python":
            exec(compile(Path(rest.strip()).read_text(), rest.strip(), "exec"), scripted(rest))
            continue
        with pytest.raises(SystemExit) as end:
            main(rest.split())
        yield end.value.code or 0


def scripted(name):
    return {"__name__": "__main__", "__file__": str(Path(name.strip()).resolve())}


def test_the_example_s_commands_end_with_0(capsys):
    assert list(ended(PARTS[0])) == [0] * 5
    assert "0 different" in capsys.readouterr().out


def test_the_broken_port_s_commands_find_its_faults(monkeypatch, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("mindspore")
    here, _, there = PARTS[1].partition("With both frameworks installed")
    assert list(ended(here)) == [1, 1]
    kept = capsys.readouterr().out.partition("\nport differs")[2]
    monkeypatch.chdir("examples/port")
    assert list(ended(there)) == [0, 0, 0, 1]
    fresh = capsys.readouterr().out.partition("\nport differs")[2]
    faults = ("padding-differs", "mode-differs", "momentum-inverted")
    assert all(fault in text for fault in faults for text in (kept, fresh))
    assert causes(kept) == causes(fresh)


def causes(text):
    return re.findall(r"^ +\d+ +(\S+) +(.+)$", text, re.MULTILINE)
