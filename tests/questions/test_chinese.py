"""The Chinese of what is said stands in one file: nothing missing, nothing left over."""

import ast
import re
from pathlib import Path

import pytest

from batchnorm.questions import QUESTIONS
from batchnorm.questions.question import Text, chinese

ROOT = Path(__file__).parents[2] / "src" / "batchnorm"


def english():
    """Every text whose Chinese isn't given where it stands."""
    for path in sorted([*(ROOT / "questions").glob("*.py"), *(ROOT / "explain").rglob("*.py")]):
        if path.parent.name == "renderers":  # a terminal's Text
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Text":
                continue
            if len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value
    for question in QUESTIONS:
        yield from (question.asks, question.matters)


def test_every_text_has_its_chinese_and_no_other_is_there():
    assert set(english()) == set(chinese("texts"))


def test_no_value_is_lost_in_translation():
    written = set(english()) - {text for q in QUESTIONS for text in (q.asks, q.matters)}
    for text in written:
        braces = [set(re.findall(r"\{.*?\}", one)) for one in (text, Text(text).zh)]
        assert braces[0] <= braces[1], text


def test_a_text_that_nobody_has_translated_is_an_error():
    with pytest.raises(KeyError):
        _ = Text("nobody has translated this").zh
    assert Text("given", "给定").zh == "给定"
