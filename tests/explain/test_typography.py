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
        ("成了 0.9:10 步之后", "成了 0.9\uff1a10 步之后"),
        ("截成 float32:16 位", "截成 float32\uff1a16 位"),
        ("我们不变([依据](https://x.org))", "我们不变\uff08[依据](https://x.org)\uff09"),
        ("`b` 都在(`True`)或", "`b` 都在\uff08`True`\uff09或"),
        ("方法 `a`, `b` 设置", "方法 `a`\u3001`b` 设置"),
        ("训练, 更新", "训练\uff0c更新"),
        ("PyTorch: 否; Keras 3: 是", "PyTorch\uff1a否\uff1bKeras 3\uff1a是"),
        ("调用 compile() 之后", "调用 compile() 之后"),
        ("占 65%(1 − 0.9¹⁰)。", "占 65%\uff081 − 0.9¹⁰\uff09。"),
        ("按 (N, C, 1, 1) 输入", "按 (N, C, 1, 1) 输入"),
        ("差异(A、B (c))", "差异\uff08A、B (c)\uff09"),
        ("给出 √(1 + ε),并", "给出 √(1 + ε)\uff0c并"),
    ],
)
def test_full_width(text, expected):
    assert full_width(text) == expected
