"""The built site, file by file: nothing leads nowhere, nothing asks anybody for anything."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from built import SITE, needs_site

pytestmark = needs_site
OUTSIDE = ("http:", "https:", "mailto:", "data:", "javascript:")


class Page(HTMLParser):
    """What a page links to, what it loads, and the ids it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given.get("id"), given.get("name")}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preconnect", "preload"):
            self.loaded.append(given["href"])
        assert given.get("type") != "module"


@cache
def page(path):
    return Page(path.read_text(encoding="utf-8"))


def files():
    return sorted(SITE.rglob("*.html"))


def test_there_are_pages_in_both_languages():
    names = {path.relative_to(SITE).as_posix() for path in files()}
    assert len(names) > 60
    for name in ("index.html", "differences/torch-mindspore.html"):
        assert {name, f"zh/{name}"} <= names
    assert {"api.html", "guides/index.html", "rules/BN001.html", "diagnose.html"} <= names


def test_every_link_leads_somewhere():
    broken = []
    for path in files():
        for link in page(path).links:
            if link.startswith(OUTSIDE):
                continue
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir() or not target.exists():
                broken.append(f"{path.relative_to(SITE)}: {link}")
            elif target.name == "explorer.html" and "=" in parts.fragment:
                assert re.fullmatch(r"from=[\w@.]+&to=[\w@.]+", parts.fragment)
            elif target.suffix == ".html" and unquote(parts.fragment) not in page(target).ids:
                broken.append(f"{path.relative_to(SITE)}: {link}: no such place")
    assert not broken, "\n".join(broken[:40])


def test_pages_load_their_own_files_only():
    for path in files():
        for address in page(path).loaded:
            if not address.startswith("data:"):
                assert not re.match(r"\w+:|//", address), (path, address)
                assert (path.parent / urlsplit(address).path).exists(), (path, address)


@pytest.mark.parametrize("lang", ["", "zh"])
def test_steps_of_a_guide_are_counted_on_after_a_block(lang):
    text = (SITE / lang / "guides" / "checkpoint.html").read_text(encoding="utf-8")
    assert re.findall(r'<ol(?: start="(\d)")?>', text) == ["", "2", "3", "4"]


@pytest.mark.parametrize(("lang", "word"), [("", "momentum"), ("zh", "滑动方差")])
def test_the_search_is_a_script(lang, word):
    text = (SITE / lang / "search" / "search_index.js").read_text(encoding="utf-8")
    found = json.loads(text.removeprefix("var __index = "))["docs"]
    assert word in "".join(doc["text"] for doc in found).replace("\u200b", "")
