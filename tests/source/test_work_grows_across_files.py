"""Four times as many files are at most five times the work, counted in calls of functions."""

import pytest
from test_work_grows_with_sites import visits

from batchnorm.lint import Settings, lint_text
from batchnorm.rewrite import calls, rewrite_source
from batchnorm.source import tree

HELPER = """from torch import nn


def norm(n, momentum=0.1):
    return nn.BatchNorm2d(n, momentum=momentum)
"""
NET = """from torch import nn

from {of} import {name}

a = nn.BatchNorm2d(8)
b = {name}(8, momentum=0.9)
"""


def star(folder, count):
    """Every file takes a helper from one, which another one hands on."""
    (folder / "layers.py").write_text(HELPER)
    (folder / "__init__.py").write_text("from .layers import norm\n")
    for number in range(count):
        (folder / f"net{number}.py").write_text(NET.format(of=".", name="norm"))


def chain(folder, count):
    """Every file takes the helper from the one before."""
    (folder / "net0.py").write_text(HELPER)
    for number in range(1, count):
        text = NET.format(of=f".net{number - 1}", name="norm")
        (folder / f"net{number}.py").write_text(text)


def stars(folder, count):
    """The package hands on all names of all files."""
    lines = "".join(f"from .net{number} import *\n" for number in range(count))
    (folder / "__init__.py").write_text(lines)
    for number in range(count):
        own = HELPER.replace("def norm", f"def norm{number}")
        net = NET.format(of=".", name=f"norm{(number + 1) % count}")
        (folder / f"net{number}.py").write_text(f"{own}\n\n{net}")


@pytest.mark.parametrize("layout", [star, chain, stars])
def test_work_grows_with_the_number_of_files(layout, tmp_path):
    def work(count, task):
        folder = tmp_path / str(count)
        if not folder.exists():
            folder.mkdir()
            layout(folder, count)
        for cache in (tree._names_of, calls._plan):
            cache.cache_clear()
        files = sorted(folder.glob("net*.py"))
        return visits(lambda: [task(path) for path in files])

    def linted(path):
        lint_text(path.read_bytes(), Settings(), path)

    def rewritten(path):
        rewrite_source(path.read_bytes(), from_="torch", to="mindspore", path=path)

    for task in (linted, rewritten):  # few enough that no cache forgets a file
        assert work(32, task) < 5 * work(8, task)


def test_a_helper_that_the_package_hands_on_is_followed(tmp_path):
    star(tmp_path, 1)
    path = tmp_path / "net0.py"
    found = lint_text(path.read_bytes(), Settings(), path)[0]
    assert [(each.line, each.rule) for each in found] == [(6, "BN001")]
