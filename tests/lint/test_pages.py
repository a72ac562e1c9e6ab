"""The rules' pages: complete, current, and without claims that no framework was asked about."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchnorm.lint import RULES
from batchnorm.lint.build import pages

FOLDER = Path(__file__).parents[2] / "docs" / "rules"


def test_the_committed_pages_are_current():
    done = subprocess.run(
        [sys.executable, "-m", "batchnorm.lint.build", "--check", str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_that_is_not_current_is_named_and_written(tmp_path):
    build = [sys.executable, "-m", "batchnorm.lint.build", str(tmp_path)]
    subprocess.run(build, check=True)
    (tmp_path / "BN001.md").write_text("old")
    (tmp_path / "measured.md").write_text("by hand")
    former = tmp_path / "BN099.md"
    former.write_text((tmp_path / "BN002.md").read_text())
    done = subprocess.run([*build, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "BN001.md" in done.stderr
    assert "BN099.md" in done.stderr
    subprocess.run(build, check=True)
    assert not former.exists()
    assert (tmp_path / "measured.md").read_text() == "by hand"
    assert (tmp_path / "BN001.md").read_text() == pages()["BN001.md"]


def test_ids_are_in_order_and_names_are_unique():
    assert [rule.id for rule in RULES] == [f"BN{n:03}" for n in range(1, len(RULES) + 1)]
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_page_says_what_why_how_and_shows_an_example(rule):
    heads = re.findall(r"^## (.+)$", rule.page, re.MULTILINE)
    assert heads == ["What is found", "Why it matters", "Example", "How to fix it"]
    assert rule.summary.endswith(".")


@pytest.mark.parametrize("name", sorted(pages()))
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", pages()[name]):
        if not target.startswith("https://"):
            assert (FOLDER / target).is_file(), target
