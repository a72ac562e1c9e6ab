"""Notebooks: code cells as one text, and changed cells back in a file that is else untouched."""

import json
from pathlib import Path

import pytest

from batchnorm.lint.run import lint_file
from batchnorm.lint.settings import Settings
from batchnorm.rewrite import rewrite_source
from batchnorm.source import Notebook, SourceError

CELLS = [
    ["# words: nn.BatchNorm2d\n"],
    ["%matplotlib inline\n", "!pip install torch\n", "files = !ls\n", "from torch import nn"],
    ["%%bash\n", "nn.BatchNorm2d(3"],
    ["if True:\n", "    %time bn = nn.BatchNorm2d(8, momentum=0.9)  # é\n", "\n",
     "bm = nn.BatchNorm2d(8,\n", "                    momentum=0.01)\n", "nn.ReLU?"],
    "out = await nn.BatchNorm2d(4, momentum=0.8)",
    ["def broken(:\n"],
]  # fmt: skip


def notebook(indent=1, cells=CELLS, **metadata):
    kinds = ["markdown"] + ["code"] * (len(cells) - 1)
    output = {"output_type": "stream", "text": ["nn.BatchNorm2d(8, momentum=0.9)\n"]}
    made = [
        {"cell_type": kind, "source": source, "metadata": {"b": 1, "a": []}, "outputs": [output]}
        for kind, source in zip(kinds, cells, strict=True)
    ]
    content = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=indent, ensure_ascii=False).encode() + b"\n"


def sources(raw):
    return ["".join(cell["source"]) for cell in json.loads(raw)["cells"]]


def test_code_cells_are_linted_and_findings_say_their_cell():
    found, _, unread = lint_file(notebook(), Settings(), Path("net.ipynb"))
    assert [(each.cell, each.line, each.rule) for each in found] == [(5, 1, "BN001")]
    assert found[0].place.startswith("net.ipynb:cell 5:1:")
    assert [str(each.message).split(":")[0] for each in unread] == ["cell 6"]


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_only_the_changed_lines_of_changed_cells_change(indent):
    before = notebook(indent)
    after = rewrite_source(before, from_="torch", to="mindspore", path=Path("net.ipynb")).after
    was, now = sources(before), sources(after)
    assert now[1] == was[1].replace("torch import", "mindspore import")
    assert now[3] == was[3].replace("0.01", "0.99")
    assert now[4] == "out = await nn.BatchNorm2d(4, momentum=0.2)"
    assert [now[i] for i in (0, 2, 5)] == [was[i] for i in (0, 2, 5)]
    if indent is not None:
        pairs = zip(before.splitlines(), after.splitlines(), strict=True)
        assert sum(a != b for a, b in pairs) == 3
    again = rewrite_source(after, from_="torch", to="mindspore", path=Path("net.ipynb"))
    assert not again.changed


def test_what_has_no_code_of_ours_stays_byte_for_byte():
    raw = notebook()
    assert Notebook(raw).with_code(Notebook(raw).code) == raw


@pytest.mark.parametrize("name", ["R", "julia-1.10"])
def test_other_kernels_are_not_python(name):
    assert Notebook(notebook(language_info={"name": name})).code == b""


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"worksheets": []}', b"\xff"])
def test_what_is_no_notebook_is_said(raw):
    with pytest.raises(SourceError, match="is no notebook"):
        Notebook(raw)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"cells": ' + b"[" * 600 + b"]" * 600 + b"}"])
def test_a_nest_that_no_stack_takes_is_no_notebook(raw):
    with pytest.raises(SourceError, match="is no notebook"):
        Notebook(raw)


def test_a_cell_may_hold_the_lines_that_we_put_between_cells():
    layer = "x = nn.BatchNorm2d(8, momentum=0.01)"
    ours = f"# %% batchnorm: cell 7\n{layer}\npass  # %% batchnorm: line 99"
    raw = notebook(cells=[*CELLS[:4], ours, "%who\n" + ours])
    after = rewrite_source(raw, from_="torch", to="mindspore", path=Path("net.ipynb")).after
    for text, magic in zip(sources(after)[4:], ("", "%who\n"), strict=True):
        lines = ours.splitlines()
        assert text.startswith(f"{magic}{lines[0]}\nx = ")
        assert text.endswith(lines[2])
        assert "momentum=0.99" in text


def test_the_last_of_a_name_counts_and_half_a_sign_is_no_text():
    raw = notebook().replace(b'"cells": [', b'"cells": 5, "cells": [', 1)
    assert Notebook(raw).code == Notebook(notebook()).code
    found = Notebook(notebook(cells=["", "x = 1"]).replace(b"x = 1", b"x = 1 # \\ud800"))
    assert (found.code, found.unread[0][0]) == (b"", 2)
