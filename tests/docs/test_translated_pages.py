"""Chinese pages that are written by hand say what the English ones say, as far as signs can tell.

Their code is the English page's, which tests run; every number, name and link of it stands in them.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from batchnorm.diagnose.causes import CAUSES

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = ("differences", "spec", "site")
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.zh.md")
    if page.relative_to(DOCS).parts[0] not in GENERATED
)
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]*)\)")
MEASURED = "## What is tested"  # of diagnose.md, to which the Chinese page leads


def facts(text):
    """Names, links (to English pages) and numbers in a page's prose, and how often."""
    prose = re.sub(r"<!--.*?-->", "", FENCE.sub("", text))
    links = [link.replace(".zh.md", ".md") for link in LINK.findall(prose)]
    plain = LINK.sub("", CODE.sub("", prose))
    numbers = re.findall(r"\d(?:[\d,.]*\d)?", plain)
    return Counter(CODE.findall(prose)), Counter(links), Counter(numbers)


@pytest.mark.parametrize("name", PAGES)
def test_a_chinese_page_has_all_of_the_english_one(name):
    chinese = (DOCS / name).read_text(encoding="utf-8")
    english = (DOCS / name.replace(".zh.md", ".md")).read_text(encoding="utf-8")
    english = english.partition(MEASURED)[0]
    assert FENCE.findall(chinese) == FENCE.findall(english)
    assert len(re.findall(r"^#+ ", chinese, re.M)) == len(re.findall(r"^#+ ", english, re.M))
    for there, here in zip(facts(english), facts(chinese), strict=True):
        assert not there - here


@pytest.mark.parametrize("name", PAGES)
def test_its_links_lead_to_chinese_pages_where_there_are_any(name):
    for link in LINK.findall(FENCE.sub("", (DOCS / name).read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = (DOCS / name).parent / path
        assert target.exists(), link
        if not anchor and path.endswith(".md") and not path.endswith(".zh.md"):
            assert not target.with_suffix(".zh.md").exists(), link


def test_who_ports_finds_guides_checkpoints_and_diagnosis_in_chinese():
    guides = {f"guides/{page.name}" for page in (DOCS / "guides").glob("*.md")}
    english = {name for name in guides if not name.endswith(".zh.md")}
    english |= {"checkpoints.md", "diagnose.md", "layers.md", "source.md", "rules/README.md"}
    assert {name.replace(".md", ".zh.md") for name in english} <= set(PAGES)


def test_the_causes_are_said_as_the_program_says_them():
    text = (DOCS / "diagnose.zh.md").read_text(encoding="utf-8")
    for name, cause in CAUSES.items():
        assert f"| `{name}` | {cause.zh} |" in text
