"""The commands of `examples/README.md`, in seconds."""

import re
from pathlib import Path

import pytest

from batchnorm.cli import main

ROOT = Path(__file__).parents[2]


def test_the_example_s_commands_end_with_0(tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ batchnorm ([^#\n]*)", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command.split())
        assert (ended.value.code or 0) == 0, command
    assert "0 different" in capsys.readouterr().out
