"""What README shows is what happens."""

import doctest
import re
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


def parts(name):
    """(code blocks, links that aren't to the other language) of a README."""
    text = README.with_name(name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?^```$", text, flags=re.M | re.S)
    links = re.findall(r"\]\(([^)]*)\)", text)
    return blocks, [link for link in links if not link.startswith("README")]


def test_both_languages_show_the_same_commands_and_lead_to_the_same_pages():
    english, chinese = parts("README.md"), parts("README.zh.md")
    assert english == chinese
    assert len(english[0]) > 5
    assert all((README.parent / link).exists() for link in english[1])
    assert "(README.zh.md)" in README.read_text(encoding="utf-8")[:200]
    assert "(README.md)" in README.with_name("README.zh.md").read_text(encoding="utf-8")[:200]
