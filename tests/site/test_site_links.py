"""Every link of the documentation leads to a page or a file, in both languages; builds nothing."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site():
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        import pages
    finally:
        sys.path.pop(0)
    return pages


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_pages_are_put_together_and_their_links_lead_to_one_another(site, lang, tmp_path):
    known = site.pages()
    site.stage(tmp_path, lang, known)  # exits where a link leads nowhere
    for page in known[lang].values():
        text = site.FENCE.sub("", (tmp_path / page).read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s#:]+\.(?:md|svg|png))(?:#[^)\s]*)?\)", text):
            assert (tmp_path / page).parent.joinpath(target).exists(), (page, target)


def test_a_link_to_nowhere_is_named(site, tmp_path):
    known = {"en": {"README.md": "index.md"}, "zh": {}}
    with pytest.raises(SystemExit, match=r"README\.md: a link to gone\.md"):
        site._linked("see [it](gone.md)", "README.md", "en", known, tmp_path)


def test_links_to_pages_that_are_not_chinese_say_so(site, tmp_path):
    known = site.pages()
    text = "[a](BN001.md), [b](README.md), [c](README.zh.md)"
    linked = site._linked(text, "docs/rules/README.zh.md", "zh", known, tmp_path)
    english, twin, own = linked.split(", ")
    assert english == '[a](../../rules/BN001.html){hreflang="en"}'
    assert twin == "[b](../../rules/index.html)"
    assert own == "[c](README.md)"
    style = (ROOT / "docs" / "site" / "site.css").read_text(encoding="utf-8")
    assert 'a[hreflang="en"]::after { content: "（英文）"' in style


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_page_stands_in_the_navigation_once(site, lang):
    known = site.pages()
    found = re.findall(r"'([\w./@-]+\.md)'", str(site.navigation(lang, known)))
    assert sorted(found) == sorted([*known[lang].values(), *(["api.md"] if lang == "en" else [])])
