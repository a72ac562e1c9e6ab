"""What README shows, and the page of the layers, is what happens."""

import contextlib
import doctest
import os
import pty
import re
import shlex
import shutil
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


def on_a_terminal(line, folder):
    """What a command prints where it is typed, and its exit code."""
    reader, writer = pty.openpty()
    given = shlex.split(line, comments=True)
    job = [sys.executable, "-c", "from batchnorm.cli import main; main()", *given]
    env = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "LANG": "C.UTF-8", "PAGER": "cat"}
    ends = {"stdin": subprocess.DEVNULL, "stdout": writer}
    with subprocess.Popen(job, **ends, env=env, cwd=folder) as process:
        os.close(writer)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(reader, 4096):
                printed += piece
    os.close(reader)
    return re.sub(r"\x1b\[[\d;]*m", "", printed.decode()), process.returncode


@pytest.mark.parametrize(("line", "shown"), CONSOLE.findall(README.read_text(encoding="utf-8")))
def test_readmes_commands_print_what_it_shows(line, shown, tmp_path):
    shutil.copytree(README.parent / "examples", tmp_path / "examples")
    text, code = on_a_terminal(line, tmp_path)
    printed, at = " ".join(text.split()), 0
    assert code == (1 if "# exit 1" in line else 0)
    for piece in (
        " ".join(piece.split()) for row in shown.splitlines() for piece in row.split("…")
    ):
        assert piece in printed[at:], printed
        at = printed.index(piece, at) + len(piece)


@pytest.mark.parametrize("name", ["layers.md", "layers.zh.md"])
def test_the_layers_give_what_their_page_prints(name):
    result = doctest.testfile(str(README.parent / "docs" / name), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0


def test_readme_has_the_two_commands_and_five_tasks_on_a_screen_and_a_half():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert "make run" in lines
    assert "make test" in lines
    assert len(lines) <= 90
    assert len(CONSOLE.findall("\n".join(lines))) == 5


def parts(name):
    """(code blocks, links that aren't to the other language) of a README."""
    text = README.with_name(name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?^```$", text, flags=re.M | re.S)
    links = re.findall(r"\]\(([^)]*)\)", text)
    return blocks, [link for link in links if not link.startswith("README")]


def english(links):
    """The same links, to the English pages."""
    return [link.replace(".zh.md", ".md") for link in links]


def test_both_languages_show_the_same_commands_and_lead_to_the_same_pages():
    (blocks, links), (own, chinese) = parts("README.md"), parts("README.zh.md")
    assert (blocks, links) == (own, english(chinese))
    assert len(blocks) > 5
    assert all((README.parent / link).exists() for link in links + chinese)
    translated = [
        link for link in links if (README.parent / link.replace(".md", ".zh.md")).exists()
    ]
    assert sorted(set(links) - set(chinese)) == sorted(set(translated) - set(chinese))
    assert "(README.zh.md)" in README.read_text(encoding="utf-8")[:200]
    assert "(README.md)" in README.with_name("README.zh.md").read_text(encoding="utf-8")[:200]
