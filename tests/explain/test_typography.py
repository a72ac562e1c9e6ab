"""Which marks become full-width in Chinese text."""

import pytest

from batchnorm.explain.typography import full_width


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("权重,即 1 - x", "权重\uff0c即 1 - x"),
        ("方法 `f(a,b)`,见", "方法 `f(a,b)`\uff0c见"),
        ("轴(一个)", "轴\uff08一个\uff09"),
        ("为 0.5,2 时", "为 0.5,2 时"),
        ("形状 (2, 3)", "形状 (2, 3)"),
        ("是否?", "是否\uff1f"),
        ("[模式](#modes):无", "[模式](#modes)\uff1a无"),
        ("n/(n - 1)", "n/(n - 1)"),
        ("yes, no", "yes, no"),
    ],
)
def test_full_width(text, expected):
    assert full_width(text) == expected
