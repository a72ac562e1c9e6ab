"""Each format holds the whole page, well-formed."""

import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len
from rich.console import Console

from batchnorm.explain import FORMATS, explain, page
from batchnorm.explain.page import (
    Code,
    Column,
    Curve,
    Page,
    Panel,
    Paragraph,
    Plot,
    Row,
    Section,
    Table,
)
from batchnorm.explain.renderers import html, markdown, svg, text
from batchnorm.explain.renderers.json import as_data

VOID = {"meta", "br", "wbr"}
AWKWARD = Page(
    "Title with `code`",
    "en",
    {"name": "a"},
    {"name": "b"},
    (
        Section(
            "one",
            "A | B < C",
            (
                Paragraph("x_1 * y_2 * `a|b` [link](#one) <b>"),
                Code("if a < b:\n    pass"),
                Table((Column("k", "K"),), (Row(("a|b\n`c|d`",), "row"),)),
                Plot("x < `y`:", "step", (Panel("a & b", (Curve("c", "<i>", (0.0, 2.0)),)),)),
            ),
        ),
    ),
)


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.requests = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.requests += [value for key, value in attrs.items() if key in ("src", "srcset")]
        assert tag not in ("link", "script", "img", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("found", [AWKWARD, None], ids=["awkward", "torch-mindspore"])
def test_html_is_balanced_has_every_anchor_and_asks_for_nothing(found, lang):
    found = found or page("torch", "mindspore", lang)
    parser = Balanced()
    document = html.render(found)
    parser.feed(document)
    parser.close()
    assert parser.open == []
    assert parser.ids == found.ids()
    assert parser.requests == []
    assert "url(" not in document
    assert "@import" not in document


def test_html_escapes():
    document = html.render(AWKWARD)
    assert "<b>" not in document
    assert "if a &lt; b:" in document
    assert "<title>Title with code</title>" in document


def test_a_plot_is_a_picture_where_there_is_one_and_numbers_elsewhere():
    assert "![x \\< y](plot.svg)" in markdown.render(AWKWARD, "plot.svg")
    assert "| `a & b`, \\<i\\> | 0 | 2 |" in markdown.render(AWKWARD)
    assert "<i>" not in html.render(AWKWARD)
    *_, block = as_data(AWKWARD)["sections"][0]["blocks"]
    assert block["panels"][0]["curves"] == [{"id": "c", "label": "<i>", "values": [0.0, 2.0]}]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_drawing_is_whole_and_tells_curves_apart_without_colours(lang):
    (plot,) = (
        block
        for section in page("torch", "keras", lang).sections
        for block in section.blocks
        if isinstance(block, Plot)
    )
    drawing = ElementTree.fromstring(svg.render(plot))
    assert drawing.get("aria-label") == plot.name
    texts = {element.text for element in drawing.iter() if element.tag.endswith("text")}
    assert {curve.label for curve in plot.panels[0].curves} <= texts
    kinds = {e.get("class") for e in drawing.iter() if (e.get("class") or "").startswith("c c")}
    assert len(kinds) == len(plot.panels[0].curves) == 4
    dashes = re.findall(r"\.c\d\{[^}]*\}", svg.STYLE)
    assert len({re.sub("stroke:[^;]*", "", dash.partition("{")[2]) for dash in dashes}) == 4


def test_html_breaks_long_names_after_dots_only():
    title = html.inline("`mindspore.nn.BatchNorm2d` at `1.5`")
    code = "<code>mindspore.<wbr>nn.<wbr>BatchNorm2d</code>"
    assert title == f"{code} at <code>1.5</code>"


def test_markdown_escapes_and_keeps_tables_whole():
    document = markdown.render(AWKWARD)
    assert "x_1 \\* y_2 \\* `a\\|b` [link](#one) \\<b\\>" in document
    assert '| <a id="row"></a>a\\|b<br>`c\\|d` |' in document
    assert "```python\nif a < b:\n    pass\n```" in document


@pytest.mark.parametrize("pair", [("torch", "mindspore"), ("tf_keras", "keras")])
def test_markdown_rows_have_as_many_cells_as_their_header(pair):
    width = 0
    for line in explain(*pair).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells in (0, width) or not width
        width = cells


def test_json_has_a_version_and_every_anchor():
    found = page("torch", "mindspore", "zh")
    data = json.loads(FORMATS["json"](found))
    assert data == json.loads(json.dumps(as_data(found)))
    assert data["schema"] == 1
    assert (data["a"]["name"], data["b"]["version"]) == ("torch", "2.10.0")

    def ids(sections):
        for section in sections:
            yield section["id"]
            for block in section["blocks"]:
                yield from (row["id"] for row in block.get("rows", []) if row["id"])
            yield from ids(section["sections"])

    assert list(ids(data["sections"])) == found.ids()


def test_json_carries_the_recorded_answers():
    data = json.loads(explain("torch", "mindspore", "json"))
    differences = next(s for s in data["sections"] if s["id"] == "differences")
    asked = [q for category in differences["sections"] for q in category["sections"]]
    (found,) = (q["data"] for q in asked if q["id"] == "weight-of-the-new-batch")
    assert found["answers"] == {"torch@2.13.0": 0.9, "mindspore@2.10.0": 0.1}


def test_text_fits_and_has_no_markup(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(text.WIDTH))
    shown = text.render(page("torch", "mindspore"))
    assert max(map(len, shown.splitlines())) <= text.WIDTH
    assert "`" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_text_loses_no_character_at_any_width(width, lang):
    found = page("torch", "keras", lang)
    out = io.StringIO()
    text.print_page(found, Console(file=out, width=width, color_system=None))
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    shown = Counter("".join(lines))
    for section in found.walk():
        for block in section.blocks:
            rows = block.rows if isinstance(block, Table) else ()
            for character in "".join(text.inline(c).plain for row in rows for c in row.cells):
                shown[character] -= not character.isspace()
    assert not [character for character, left in shown.items() if left < 0]


@pytest.mark.parametrize("width", [50, 70, 100])
def test_text_breaks_no_name_in_two(width):
    out = io.StringIO()
    found = page("torch", "mindspore")
    text.print_page(found, Console(file=out, width=width, color_system=None))
    words = set(out.getvalue().split())
    for section in found.walk():
        for block in section.blocks:
            for row in block.rows if isinstance(block, Table) else ():
                for cell in row.cells:
                    names = [word for word in text.inline(cell).plain.split() if len(word) < 40]
                    assert set(names) <= words
