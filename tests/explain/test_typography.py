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
        ("名字 bn1/gamma:0 是", "名字 bn1/gamma:0 是"),
        ("差 n/(n−1);8×8 时", "差 n/(n−1)\uff1b8×8 时"),
        ("为 NaN:n 是", "为 NaN\uff1an 是"),
        ("引发 ValueError:2 个", "引发 ValueError\uff1a2 个"),
        ("[是吗?](#modes)", "[是吗\uff1f](#modes)"),
        ("是否?", "是否\uff1f"),
        ("[模式](#modes):无", "[模式](#modes)\uff1a无"),
        ("n/(n - 1)", "n/(n - 1)"),
        ("yes, no", "yes, no"),
    ],
)
def test_full_width(text, expected):
    assert full_width(text) == expected
