"""A page as one HTML file that needs nothing else: no script, no font, no request."""

from __future__ import annotations

import re
from html import escape as quoted

from batchnorm.explain.page import Block, Code, Page, Paragraph, Plot, Row, Section, Table, spans
from batchnorm.explain.renderers import svg
from batchnorm.printable import shown_lines

__all__ = ["render"]

DOTS = re.compile(r"(?<=[a-z_])\.(?=[A-Za-z_])")
LANGUAGE_TAGS = {"en": "en", "zh": "zh-Hans"}

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #ffffff;
  --wash: #f6f8fa; --line: #d1d9e0; --link: #0756b8; --mark: #fff3bf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117;
  --wash: #161b22; --line: #3d444d; --link: #6cb0ff; --mark: #3b3000; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans CJK SC",
    "PingFang SC", "Microsoft YaHei", sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
.page { display: grid; grid-template-columns: 17rem minmax(0, 60rem); gap: 3rem;
  max-width: 84rem; margin: 0 auto; padding: 0 1.5rem; }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto;
  padding: 2rem 0; font-size: .875rem; line-height: 1.4; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav li { margin: .35rem 0; }
nav ol ol { margin-left: .9rem; font-size: .8125rem; }
nav ol ol a, nav summary { color: var(--soft); }
nav summary { cursor: pointer; }
nav details[open] > summary { color: var(--ink); }
main { padding: 2rem 0 6rem; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 1.5rem; }
:is(h1, h2, h3, h4) code { overflow-wrap: normal; }
main { min-width: 0; }
h2 { font-size: 1.4rem; margin: 3rem 0 1rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
h4 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
.anchor { margin-left: .4em; color: var(--soft); opacity: 0; }
:is(h2, h3, h4):hover .anchor, .anchor:focus { opacity: 1; }
tr:target, section:target > :first-child { background: var(--mark); }
code, pre { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { background: var(--wash); padding: .1em .3em; border-radius: .3em;
  overflow-wrap: break-word; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem;
  padding: .9rem 1rem; overflow-x: auto; }
pre code { padding: 0; background: none; overflow-wrap: normal; }
.table { overflow-x: auto; max-width: 100%; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; line-height: 1.45; }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem;
  border-bottom: 1px solid var(--line); }
th { background: var(--wash); }
tbody tr:hover { background: var(--wash); }
td { font-variant-numeric: tabular-nums; min-width: 4.5rem; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; }
@media (max-width: 60rem) { .page { display: block; } nav { position: static; max-height: none;
  padding-bottom: 0; } nav ol ol { display: none; } }
@media (max-width: 40rem) { .page { padding: 0 1rem; } h1 { font-size: 1.3rem; }
  h1 code { font-size: .8em; } td, th { min-width: 7rem; } td code { overflow-wrap: normal; } }
@media print { nav { display: none; } .page { display: block; } }
"""

DOCUMENT = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{plain}</title>
<style>{style}</style>
</head>
<body>
<div class="page">
<nav>
{contents}
</nav>
<main>
<h1>{title}</h1>
{sections}
</main>
</div>
</body>
</html>
"""


def escape(text: str) -> str:
    """Text that is no markup."""
    return quoted(shown_lines(text))


def render(page: Page) -> str:
    """The whole document."""
    return DOCUMENT.format(
        lang=LANGUAGE_TAGS[page.lang],
        title=inline(page.title),
        plain=escape("".join(span.text for span in spans(page.title))),
        style=STYLE,
        contents=_contents(page.sections),
        sections="\n".join(_section(section, 2) for section in page.sections),
    )


def inline(text: str) -> str:
    """Text with code and links."""
    found = []
    for span in spans(text):
        if span.kind == "code":
            found.append(f"<code>{_breakable(span.text)}</code>")
        elif span.kind == "link":
            found.append(f'<a href="{escape(span.target)}">{escape(span.text)}</a>')
        else:
            found.append(escape(span.text))
    return "".join(found)


def _breakable(code: str) -> str:
    """Code that may be broken after the dots of a name, and nowhere within a word."""
    return DOTS.sub(r"\g<0><wbr>", escape(code))


def _contents(sections: tuple[Section, ...], level: int = 1) -> str:
    """Nested lists; from the second level on, what lies below is folded."""
    items = []
    for section in sections:
        link = f'<a href="#{section.id}">{inline(section.title)}</a>'
        inner = f"\n{_contents(section.sections, level + 1)}\n" if section.sections else ""
        if inner and level > 1:
            items.append(f"<li><details><summary>{link}</summary>{inner}</details></li>")
        else:
            items.append(f"<li>{link}{inner}</li>")
    return "<ol>\n" + "\n".join(items) + "\n</ol>"


def _section(section: Section, level: int) -> str:
    anchor = f'<a class="anchor" href="#{section.id}" aria-hidden="true">#</a>'
    heading = f"<h{level}>{inline(section.title)}{anchor}</h{level}>"
    parts = [f'<section id="{section.id}">', heading]
    parts += [_block(block) for block in section.blocks]
    parts += [_section(inner, level + 1) for inner in section.sections]
    return "\n".join([*parts, "</section>"])


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{inline(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre><code>{escape(block.text)}</code></pre>"
    if isinstance(block, Plot):
        caption = f"<figcaption>{inline(block.title)}</figcaption>"
        return f"<figure>{caption}\n{svg.render(block)}</figure>"
    assert isinstance(block, Table)
    head = "".join(f"<th>{inline(column.title)}</th>" for column in block.columns)
    rows = "\n".join(_row(row) for row in block.rows)
    return (
        f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(row: Row) -> str:
    name = f' id="{row.id}"' if row.id else ""
    cells = ("<br>".join(map(inline, cell.splitlines())) for cell in row.cells)
    return f"<tr{name}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
