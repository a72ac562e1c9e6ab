"""The rules on cases that can be read: `cases/BN001.txt` has one case after another.

`# <- BN001: text` in a line expects that finding there, with this text in its message. All rules
run on every case, and what isn't expected fails, so every case is a negative example of the others.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchnorm.lint import RULES, Settings, lint_text
from batchnorm.source import SourceError

FILES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
CASE = re.compile(r"^=== (.+)\n", re.MULTILINE)
EXPECTED = re.compile(r"  # <- (BN\d+)(?:: (.+))?$")


def cases():
    for file in FILES:
        _, *parts = CASE.split(file.read_text(encoding="utf-8"))
        for name, code in zip(parts[::2], parts[1::2], strict=True):
            yield pytest.param(file.stem, name, code, id=f"{file.stem}: {name}")


@pytest.mark.parametrize(("rule", "name", "code"), [*cases()])
def test_finds_what_the_case_says_and_nothing_else(rule, name, code):
    lines = code.splitlines()
    expected = {}
    for number, line in enumerate(lines, 1):
        mark = EXPECTED.search(line)
        if mark is not None:
            expected[number, mark[1]] = mark[2] or ""
    assert {code for _, code in expected} <= {rule}
    assert bool(expected) != name.startswith("not: ")

    plain = "\n".join(EXPECTED.sub("", line) for line in lines)
    findings, _ = lint_text(plain.encode(), Settings())

    assert {(each.line, each.rule) for each in findings} == expected.keys(), findings
    for each in findings:
        assert expected[each.line, each.rule] in each.message


@pytest.mark.parametrize("name", ["test_layers.py", "layers_test.py"])
def test_odd_numbers_are_for_tests_to_use(name):
    code = b"from torch import nn\nnn.BatchNorm2d(3, 0.8, momentum=1).gamma\n"
    found = {each.rule for each in lint_text(code, Settings(), Path(name))[0]}
    assert found == {"BN005"}
    assert len(lint_text(code, Settings(), Path("layers.py"))[0]) == 3


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_several_cases_of_both_kinds(rule):
    names = [case.values[1] for case in cases() if case.values[0] == rule.id]
    negative = [name for name in names if name.startswith("not: ")]
    assert len(negative) >= 4
    assert len(names) - len(negative) >= 2


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_example_on_a_rules_page_is_found_and_the_corrected_one_is_not(rule):
    blocks = re.findall(r"```python\n(.*?)```", rule.page, re.DOTALL)
    found = [[each.rule for each in lint_text(block.encode(), Settings())[0]] for block in blocks]
    assert set(found[0]) == {rule.id}
    assert found[-1] == []


TRAIN = """from mindspore import nn
from src.net import Net
from src.loss import Loss
net = Net()
step = nn.TrainOneStepCell(Loss(net), nn.SGD(net.trainable_params()))
for batch in batches:
    step(batch)
"""


@pytest.mark.parametrize(
    ("net", "loss", "found"),
    [("nn.BatchNorm2d(3)", "", ["BN007"]), ("nn.LayerNorm(3)", "nn.BatchNorm2d(3)", [])],
)
def test_only_the_net_that_is_trained_has_to_have_batch_norms(tmp_path, net, loss, found):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "net.py").write_text(net)
    (tmp_path / "src" / "loss.py").write_text(loss)
    findings, _ = lint_text(TRAIN.encode(), Settings(), tmp_path / "train.py")
    assert [each.rule for each in findings] == found


CODE = [case.values[2] for case in cases()]


@given(st.sampled_from(CODE), st.sampled_from(CODE), st.integers(0, 30), st.integers(0, 30))
def test_code_cut_anywhere_is_looked_through_or_refused(first, second, start, end):
    lines = (first + second).splitlines()[start : len(first) + end]
    try:
        findings, _ = lint_text("\n".join(lines).encode(), Settings())
    except SourceError:
        return
    assert all(1 <= each.line <= len(lines) and each.column >= 1 for each in findings)


@given(st.sampled_from(CODE), st.integers(1, 3))
def test_blank_lines_and_indentation_move_findings_and_change_nothing_else(code, depth):
    plain, _ = lint_text(code.encode(), Settings())
    moved = "\n".join(["if True:", *("    " + line for line in code.splitlines())])
    moved = "\n" * depth + moved + "\n"
    found, _ = lint_text(moved.encode(), Settings())
    at = [(each.rule, each.line - depth - 1, each.column - 4) for each in found]
    assert at == [(each.rule, each.line, each.column) for each in plain]


OTHERS = {
    "settings.py": "MOMENTUM = 0.1\nclass Config:\n    momentum = 0.1\n",
    "layers.py": "from mindspore import nn\nBN = nn.BatchNorm2d\n"
    "def norm(c, momentum):\n    return BN(c, momentum=momentum)\n",
    "backend.py": "from tensorflow import keras\n",
    "options.py": "import argparse\nparser = argparse.ArgumentParser()\n"
    "parser.add_argument('--bn-momentum', default=0.1)\n"
    "def read():\n    return parser.parse_args()\nargs = read()\n",
}
HEAD = "from mindspore import nn\nimport settings, layers, backend\n"


@pytest.mark.parametrize(
    "code",
    [
        "from settings import MOMENTUM\nnn.BatchNorm2d(3, momentum=MOMENTUM)",
        "nn.BatchNorm2d(3, momentum=settings.MOMENTUM)",
        "nn.BatchNorm2d(3, momentum=settings.Config.momentum)",
        "from settings import Config\nc = Config()\nnn.BatchNorm2d(3, momentum=c.momentum)",
        "layers.norm(3, momentum=0.1)",
        "from layers import norm\nnorm(3, 0.1)",
        "from layers import BN\nBN(3, momentum=0.1)",
        "from backend import keras\nkeras.layers.BatchNormalization(momentum=0.1)",
        "from options import parser\na = parser.parse_args()\n"
        "nn.BatchNorm2d(3, momentum=a.bn_momentum)",
        "from options import read\nargs = read()\nnn.BatchNorm2d(3, momentum=args.bn_momentum)",
        "from options import args\nnn.BatchNorm2d(3, momentum=args.bn_momentum)",
        "def net(args):\n    return nn.BatchNorm2d(3, momentum=args.bn_momentum)",
    ],
)
def test_numbers_and_layers_are_followed_into_the_tree_s_other_files(tmp_path, code):
    for name, text in OTHERS.items():
        (tmp_path / name).write_text(text)
    found, _ = lint_text(f"{HEAD}{code}\n".encode(), Settings(), tmp_path / "net.py")
    assert [each.rule for each in found] == ["BN001"]


@pytest.mark.parametrize(
    "code",
    [
        "import argparse\nargs = argparse.ArgumentParser().parse_args()\n"
        "nn.BatchNorm2d(3, momentum=args.bn_momentum)",  # whose parser stands here
        "def net(args):\n    return nn.BatchNorm2d(3, momentum=args.rate)",  # of two parsers
        "def net(m):\n    return nn.BatchNorm2d(3, momentum=m.bn_momentum)",
    ],
)
def test_a_parser_of_another_file_counts_where_it_is_the_only_one(tmp_path, code):
    parser = "p.add_argument('--bn-momentum', default=0.1)\np.add_argument('--rate', default=0.1)\n"
    (tmp_path / "a.py").write_text(parser)
    (tmp_path / "b.py").write_text(parser.replace("bn-momentum", "other-momentum"))
    found, _ = lint_text(f"{HEAD}{code}\n".encode(), Settings(), tmp_path / "net.py")
    assert found == []
