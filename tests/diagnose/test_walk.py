"""docs/diagnose.md, run as it stands."""

import re
from pathlib import Path

import pytest

from batchnorm.diagnose.causes import CAUSES
from batchnorm.diagnose.chinese import said

DOCUMENT = (Path(__file__).parents[2] / "docs" / "diagnose.md").read_text(encoding="utf-8")


def test_the_walk_prints_what_it_shows(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.S):
        exec(compile(block, "docs/diagnose.md", "exec"), names)
    printed = capsys.readouterr().out
    [shown] = re.findall(r"```text\n(.*?)```", DOCUMENT, re.S)
    away = re.compile(r"[\d.e+]+ (noises|bounds) away")  # how far is up to the processor's sums
    assert away.sub("far", printed) == away.sub("far", shown)
    assert names["report"].causes == ["padding-differs", "momentum-inverted", "epsilon-differs"]
    page = names["report"]._repr_html_()
    assert page.count("<rect") == 2
    assert "▸ cause" in page


def test_every_cause_is_listed_and_said_in_two_languages():
    for name, cause in CAUSES.items():
        assert f"| `{name}` | {cause.en} |" in DOCUMENT
        assert re.search("[\u4e00-\u9fff]", cause.zh)
        assert not cause.fix or re.search("[\u4e00-\u9fff]", said(cause.fix, "zh")), cause.fix
