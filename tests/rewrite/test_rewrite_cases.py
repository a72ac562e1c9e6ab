"""Before, after and warnings: the cases in tests/rewrite/cases, each towards each target."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from record import FOLDER, Case, read, run

CASES = [
    pytest.param(case, target, id=f"{path.stem}: {case.title}-{target}")
    for path in sorted(FOLDER.glob("*.txt"))
    for case in read(path)
    for target in case.after
]


def test_there_are_many_cases():
    assert len(CASES) >= 150
    assert len({param.id for param in CASES}) == len(CASES)


@pytest.mark.parametrize(("case", "target"), CASES)
def test_a_case_becomes_what_is_written(case, target):
    after, told = run(case, target)
    assert after == case.after[target]
    assert told == case.warnings[target]
    ast.parse(after)


@pytest.mark.parametrize(("case", "target"), CASES)
def test_rewriting_twice_changes_nothing_more(case, target):
    again = Case(case.title, case.framework, before=case.after[target])
    assert run(again, target)[0] == case.after[target]
