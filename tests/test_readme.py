"""What README shows is what happens."""

import doctest
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_readmes_example_gives_what_it_prints():
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 5
    assert result.failed == 0


def test_readme_has_the_two_commands():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert "make run" in lines
    assert "make test" in lines
