"""`lint --fix`: what it writes, what it leaves to people, and how files are replaced."""

import json
import os
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchnorm.cli import group
from batchnorm.lint import RULES, Settings, lint_text
from batchnorm.lint.fixes import fixed

HEAD = "from functools import partial\nimport mindspore.nn as nn\nimport torch\n"


def cases():
    for file in sorted((Path(__file__).parent / "cases").glob("*.txt")):
        for part in re.split(r"^=== .+\n", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
            yield pytest.param(part, id=f"{file.stem}: {part.splitlines()[-1][:40]}")


def run(*arguments, stdin=None):
    return CliRunner().invoke(group, ["lint", *map(str, arguments)], input=stdin)


@pytest.fixture
def fix(tmp_path):
    def one(code, head=HEAD):
        path = tmp_path / "net.py"
        path.write_text(head + code + "\n", encoding="utf-8")
        done = run(path, "--fix", "--select", "BN001")
        return path.read_text(encoding="utf-8").removeprefix(head).removesuffix("\n"), done

    return one


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nn.BatchNorm2d(8, momentum=0.1)", "nn.BatchNorm2d(8, momentum=0.9)"),
        ("nn.BatchNorm2d(8, 1e-5, 0.03)", "nn.BatchNorm2d(8, 1e-5, 0.97)"),
        ("nn.BatchNorm2d(8, momentum=.1)", "nn.BatchNorm2d(8, momentum=0.9)"),
        ("nn.BatchNorm2d(8, momentum=1e-3)", "nn.BatchNorm2d(8, momentum=0.999)"),
        ("nn.BatchNorm2d(8, momentum=(0.1))", "nn.BatchNorm2d(8, momentum=(0.9))"),
        ("partial(nn.BatchNorm2d, momentum=0.1)", "partial(nn.BatchNorm2d, momentum=0.9)"),
        ("torch.nn.BatchNorm1d(8, momentum=0.99)", "torch.nn.BatchNorm1d(8, momentum=0.01)"),
        (
            "torch.nn.functional.batch_norm(x, m, v, momentum=0.9)",
            "torch.nn.functional.batch_norm(x, m, v, momentum=0.1)",
        ),
        (
            "[nn.BatchNorm2d(8, momentum=0.1), nn.BatchNorm2d(8, momentum=0.2)]",
            "[nn.BatchNorm2d(8, momentum=0.9), nn.BatchNorm2d(8, momentum=0.8)]",
        ),
        (
            "é = nn.BatchNorm2d(8,  # 0.1\n    momentum=0.1,  # torch's 0.1\n)",
            "é = nn.BatchNorm2d(8,  # 0.1\n    momentum=0.9,  # torch's 0.1\n)",
        ),
    ],
)
def test_a_momentum_in_the_layers_own_call_becomes_one_minus_it(fix, before, after):
    text, done = fix(before)
    assert text == after
    assert done.exit_code == 0, done.output
    again, done = fix(after)
    assert again == after
    assert "fixed" not in done.stdout


PORT = "# batchnorm: ported-from torch\nimport keras\nL = keras.layers.BatchNormalization\n"
BOTH = "epsilon=1e-05, momentum=0.9"
LINES = BOTH.replace(", ", ",\n    ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("L()", f"L({BOTH})"),
        ("L(axis=-1)", f"L(axis=-1, {BOTH})"),
        ("L(axis=-1, )", f"L(axis=-1, {BOTH}, )"),
        ("L(  # why, (so)\n)", f"L({BOTH}  # why, (so)\n)"),
        ("L(\n    axis=-1,  # é\n)", f"L(\n    axis=-1,  # é\n    {LINES},\n)"),
        ("L(name='é,(')", f"L(name='é,(', {BOTH})"),
        ("L(\f\n# \u2028\naxis=-1)", "L(\f\n# \u2028\naxis=-1,\nepsilon=1e-05,\nmomentum=0.9)"),
        ("L(name='''a\n é(\n''')", f"L(name='''a\n é(\n''', {BOTH})"),
        ("x = f'{L()}'; L()", f"x = f'{{L()}}'; L({BOTH})"),
        ("L(axis=(-1))", f"L(axis=(-1), {BOTH})"),
        ("L(momentum=0.9)", "L(momentum=0.9, epsilon=1e-05)"),
        ("L()(L()(x))", f"L({BOTH})(L({BOTH})(x))"),
        ("L(momentum=0.1)", "L(momentum=0.9, epsilon=1e-05)"),
        ("L(-1, 0.9, 1e-5)", "L(-1, 0.9, 1e-5)"),
        ("L(**unknown)", "L(**unknown)"),
    ],
)
def test_defaults_of_the_ports_source_are_written_out(tmp_path, before, after):
    path = tmp_path / "net.py"
    path.write_text(PORT + before + "\n", encoding="utf-8")
    done = run(path, "--fix", "--select", "BN003,BN001", "--json")
    assert path.read_text(encoding="utf-8") == PORT + after + "\n"
    left = int("L()" in after)  # inside of an f-string
    assert len(json.loads(done.stdout)["findings"]) == left
    assert run(path, "--select", "BN003,BN001").exit_code == left


def test_defaults_are_written_out_by_the_option_as_well(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(PORT.partition("\n")[2] + "L()\n")
    assert "fixed" not in run(path, "--fix").stdout
    run(path, "--fix", "--ported-from", "torch")
    assert path.read_text().endswith(f"L({BOTH})\n")


@pytest.mark.parametrize(
    "code",
    [
        "M = 0.1\na = nn.BatchNorm2d(8, momentum=M)",
        "def make(n, m=0.1):\n    return nn.BatchNorm2d(n, momentum=m)",
        "def make(n, m):\n    return nn.BatchNorm2d(n, momentum=m), m\nmake(8, 0.1)",
        "d = dict(momentum=0.1)\na = nn.BatchNorm2d(8, **d)\nb = torch.nn.BatchNorm2d(8, **d)",
        "nn.BatchNorm2d(8, **{'momentum': 0.1})",
        "nn.BatchNorm2d(8, momentum=0.1 if torch else 0.9)",
        "nn.BatchNorm2d(8, momentum=1 - 0.9)",
        "nn.BatchNorm2d(8, momentum=1e-40)",
        "cls = nn.BatchNorm2d if torch else nn.InstanceNorm2d\ncls(8, momentum=0.1)",
        "p.add_argument('--m', default=0.1)\na = p.parse_args()\nnn.BatchNorm2d(8, momentum=a.m)",
    ],
)
def test_a_number_that_others_may_read_is_left_and_found(fix, code):
    text, done = fix(code)
    assert text == code
    assert done.exit_code == 1
    assert "BN001" in done.stdout
    assert "fixed" not in done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "nn.BatchNorm2d(8, momentum=0.1)  # noqa: BN001",
        "nn.BatchNorm2d(8, momentum=0.9)",
        "nn.BatchNorm2d(8, momentum=0.5)",
    ],
)
def test_what_is_no_finding_stays(fix, code):
    assert fix(code)[0] == code


def test_only_the_findings_that_are_told_are_fixed(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(code := HEAD + "nn.BatchNorm2d(8, momentum=0.1)\n")
    run(path, "--write-baseline", tmp_path / "known.json")
    assert run(path, "--fix", "--baseline", tmp_path / "known.json").exit_code == 0
    assert run(path, "--fix", "--ignore", "BN001").exit_code == 0
    assert path.read_text() == code


def test_what_is_left_is_told_where_it_is_afterwards(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(HEAD + "nn.BatchNorm2d(8, momentum=0.01, eps=0.8), 1\nx = 1\n")
    done = run(path, "--fix", "--json")
    content = json.loads(done.stdout)
    (left,) = content["findings"]
    assert (content["fixed"], left["rule"], done.exit_code) == (1, "BN012", 1)
    (again,) = json.loads(run(path, "--json").stdout)["findings"]
    assert again == left
    path.write_text(HEAD + "nn.BatchNorm2d(8, momentum=0.001, eps=0.8)\n")
    assert run(path, "--fix").stdout.splitlines()[-1].endswith("in 1 file; 1 fixed.")


def test_a_diff_changes_nothing_and_is_what_fix_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.py"
    path.write_text(code := HEAD + "nn.BatchNorm2d(8, momentum=0.1)\nM = 0.1\n")
    done = run("net.py", "--fix", "--diff")
    assert done.exit_code == 1
    assert path.read_text() == code
    assert done.stdout.splitlines()[:2] == ["--- a/net.py", "+++ b/net.py"]
    minus, plus = [line for line in done.stdout.splitlines()[3:] if line[0] in "+-"]
    assert minus == "-nn.BatchNorm2d(8, momentum=0.1)"
    assert plus == "+nn.BatchNorm2d(8, momentum=0.9)"
    assert "BN001" in done.stderr
    assert done.stderr.endswith("--fix would fix 1 of them.\n")
    run("net.py", "--fix")
    assert run("net.py", "--fix", "--diff").stdout == ""


@pytest.mark.parametrize(
    ("encoding", "newline"), [("utf-8-sig", "\n"), ("latin-1", "\r\n"), ("utf-8", "\r")]
)
def test_all_else_stays_byte_for_byte(tmp_path, encoding, newline):
    path = tmp_path / "net.py"
    head = "# coding: latin-1\n" if encoding == "latin-1" else ""
    code = head + HEAD + "é = nn.BatchNorm2d(8, momentum=0.1)\t# é  \n\n"
    before = code.replace("\n", newline).encode(encoding)
    path.write_bytes(before)
    run(path, "--fix")
    expected = code.replace("=0.1)", "=0.9)").replace("\n", newline).encode(encoding)
    assert path.read_bytes() == expected != before


def test_a_notebooks_cell_is_fixed_and_its_outputs_stay(tmp_path):
    path = tmp_path / "net.ipynb"
    cells = [["%matplotlib inline\n", "import mindspore.nn as nn\n"],
             ["x = 1\n", "nn.BatchNorm2d(8, momentum=0.1)"]]  # fmt: skip
    made = [{"cell_type": "code", "source": s, "outputs": [{"text": "momentum=0.1"}],
             "metadata": {}} for s in cells]  # fmt: skip
    content = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content, indent=1))
    before = path.read_text()
    done = run(path, "--fix")
    assert done.exit_code == 0, done.output
    assert path.read_text() == before.replace("(8, momentum=0.1)", "(8, momentum=0.9)")


@pytest.mark.skipif(os.name == "nt", reason="file modes and links")
def test_permissions_and_links_stay_and_nothing_else_is_left_in_the_folder(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(HEAD + "nn.BatchNorm2d(8, momentum=0.1)\n")
    path.chmod(0o751)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "link.py").symlink_to(path)
    run(tmp_path / "links" / "link.py", "--fix")
    assert "momentum=0.9" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert (tmp_path / "links" / "link.py").is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"net.py", "links"}


def pairs(name):
    text = (Path(__file__).parent / "fixes" / name).read_text(encoding="utf-8")
    for part in text.split("=== ")[1:]:
        rule, _, code = part.partition("\n")
        yield pytest.param(rule, *code.split("--- becomes\n"))


@pytest.mark.parametrize(("rule", "before", "after"), [*pairs("one_answer.txt")])
def test_what_has_one_right_answer_is_written(tmp_path, rule, before, after):
    path = tmp_path / "net.py"
    path.write_text(before, encoding="utf-8")
    assert run(path, "--fix", "--select", rule).exit_code == 0
    assert path.read_text(encoding="utf-8") == after


@pytest.mark.parametrize(("rule", "before", "after"), [*pairs("likely.txt")])
def test_what_is_only_likely_is_written_when_that_is_asked(tmp_path, rule, before, after):
    path = tmp_path / "net.py"
    path.write_text(before)
    found = json.loads(run(path, "--fix", "--select", rule, "--json").stdout)["findings"]
    assert {each["fix"] for each in found} == {"unsafe"}
    assert path.read_text() == before
    assert run(path, "--fix", "--unsafe-fixes", "--select", rule).exit_code == 0
    assert path.read_text() == after


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("BN001", "M = 0.1\nnn.BatchNorm2d(8, momentum=M)\ntorch.nn.BatchNorm2d(8, momentum=M)"),
        ("BN002", "nn.BatchNorm2d(8, momentum=1)"),
        ("BN004", "C(data_format='NHWC'); nn.BatchNorm2d(8)"),
        ("BN005", "n = nn.BatchNorm2d(8)\nn.num_batches_tracked"),
        ("BN005", "n = nn.BatchNorm2d(8)\nf'{n.weight}'"),
        ("BN008", "[p for n, p in net.named_parameters() if 'bn' in n]"),
        ("BN011", "n = nn.BatchNorm2d(8)\nn.momentum = 0.9"),
        ("BN012", "nn.BatchNorm2d(c, c)"),
        ("BN013", "nn.BatchNorm2d(8, track_running_stats=False)"),
        ("BN013", "nn.BatchNorm2d(8, eps=1e-3, epsilon=1e-3)"),
    ],
)
def test_what_people_must_decide_has_no_fix(tmp_path, rule, code):
    path = tmp_path / "net.py"
    path.write_text(f"{HEAD}{code}\n")
    done = run(path, "--fix", "--unsafe-fixes", "--select", rule, "--json")
    assert {each["fix"] for each in json.loads(done.stdout)["findings"]} == {None}
    assert path.read_text() == f"{HEAD}{code}\n"


@pytest.mark.parametrize("rule", [r for r in RULES if r.fix], ids=lambda rule: rule.id)
def test_the_example_on_a_rules_page_becomes_the_corrected_one(rule):
    wrong, right = re.findall(r"```python\n(.*?)```", rule.page, re.DOTALL)
    done = fixed(wrong.encode(), Path("net.py"), Settings(), unsafe=True)
    assert (done.after.decode(), done.left) == (right, ())


@pytest.mark.parametrize("case", [*cases()])
def test_a_fixed_file_has_no_more_to_fix_and_nothing_new(case):
    code = re.sub(r"  # <- BN.*", "", case).encode()
    before = lint_text(code, Settings(), Path("net.py"))[0]
    done = fixed(code, Path("net.py"), Settings(), unsafe=True)
    assert not any(each.fix for each in done.left)
    assert len(done.left) <= len(before)
    again = fixed(done.after, Path("net.py"), Settings(), unsafe=True)
    assert (again.after, again.count) == (done.after, 0)


@pytest.mark.parametrize(
    "options",
    [
        ["--diff"],
        ["--unsafe-fixes"],
        ["--fix", "--write-baseline", "x.json"],
        ["--fix", "--format", "sarif"],
        ["--fix", "--diff", "--json"],
    ],
)
def test_refuses_what_can_not_be_told(tmp_path, options):
    (tmp_path / "net.py").write_text("x = 1\n")
    assert run(tmp_path, *options).exit_code == 2
    assert run("-", "--fix", stdin="").exit_code == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_arguments_are_added_whatever_ends_the_lines(tmp_path, newline):
    path = tmp_path / "net.py"
    code = PORT + "L(\n    axis=-1,  # é\n)\n"
    path.write_bytes(code.replace("\n", newline).encode())
    run(path, "--fix")
    expected = code.replace("# é", f"# é\n    {LINES},").replace("\n", newline)
    assert path.read_bytes() == expected.encode()


def test_two_fixes_of_a_line_move_what_follows(tmp_path):
    path = tmp_path / "net.py"
    code = PORT + "L(), L(momentum=0.1), L(momentum=0.0)\n"
    path.write_text(code)
    left = json.loads(run(path, "--fix", "--json").stdout)["findings"]
    assert {each["rule"] for each in left} == {"BN002"}
    assert left == json.loads(run(path, "--json").stdout)["findings"]
