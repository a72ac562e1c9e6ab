"""What README shows is what happens."""

import contextlib
import doctest
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from batchnorm.cli import group

README = Path(__file__).parents[1] / "README.md"
LINES = re.findall(r"^(?:\$ )?batchnorm (.+)$", README.read_text(encoding="utf-8"), re.M)
CONSOLE = re.compile(r"^```console\n\$ batchnorm ([^\n]+)\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize("line", LINES)
def test_readmes_commands_have_their_options(line):
    name, *given = shlex.split(line, comments=True)
    command = group.get_command(None, name)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in given if word.startswith("-")} <= known
    takes = [p for p in command.params if p.param_type_name == "argument"]
    assert takes
    assert len(given) >= len(takes)


def on_a_terminal(line):
    """What a command prints where it is typed, and its exit code."""
    reader, writer = pty.openpty()
    job = [sys.executable, "-c", "from batchnorm.cli import main; main()", *shlex.split(line)]
    env = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "LANG": "C.UTF-8", "PAGER": "cat"}
    with subprocess.Popen(job, stdin=subprocess.DEVNULL, stdout=writer, env=env) as process:
        os.close(writer)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(reader, 4096):
                printed += piece
    os.close(reader)
    return re.sub(r"\x1b\[[\d;]*m", "", printed.decode()), process.returncode


@pytest.mark.parametrize(("line", "shown"), CONSOLE.findall(README.read_text(encoding="utf-8")))
def test_readmes_commands_print_what_it_shows(line, shown):
    text, code = on_a_terminal(line)
    printed, at = " ".join(text.split()), 0
    assert code == 0
    for piece in (
        " ".join(piece.split()) for row in shown.splitlines() for piece in row.split("…")
    ):
        assert piece in printed[at:], printed
        at = printed.index(piece, at) + len(piece)


def test_readmes_example_gives_what_it_prints():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0


def test_readme_has_the_two_commands():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert "make run" in lines
    assert "make test" in lines


def parts(name):
    """(code blocks, links that aren't to the other language) of a README."""
    text = README.with_name(name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?^```$", text, flags=re.M | re.S)
    links = re.findall(r"\]\(([^)]*)\)", text)
    return blocks, [link for link in links if not link.startswith("README")]


def test_both_languages_show_the_same_commands_and_lead_to_the_same_pages():
    english, chinese = parts("README.md"), parts("README.zh.md")
    assert english == chinese
    assert len(english[0]) > 5
    assert all((README.parent / link).exists() for link in english[1])
    assert "(README.zh.md)" in README.read_text(encoding="utf-8")[:200]
    assert "(README.md)" in README.with_name("README.zh.md").read_text(encoding="utf-8")[:200]
