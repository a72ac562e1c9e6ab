"""The site's pages in one place: the repository's Markdown files, whose links keep leading there.

English pages and Chinese ones get a folder each. Needs nothing that makes a site (`build`), so the
tests hold every link of the documentation without it.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from api import api
from batchnorm.explain.build import PAIRS, file_name
from batchnorm.explain.sides import NAMES, Side
from batchnorm.lint.rules import RULES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LANGUAGES = ("en", "zh")
LINK = re.compile(r"\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
HAN_LINE = re.compile("(?<=[\u3001\u3002\u4e00-\u9fff\uff00-\uffef])\n(?=[\\[\u4e00-\u9fff\uff08])")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
EXPLORER = ("facts", "texts", "page")
ASSETS = ("iframe-worker.js", "site.css", "explorer.js", *(f"explorer.{n}.js" for n in EXPLORER))
EXPLORE = {
    "en": "Try the two with numbers of your own in the difference explorer",
    "zh": "在差异浏览器中用自己的数值比较两者",
}
TITLES = {
    "en": {
        "guides": "Guides",
        "differences": "Differences",
        "rules": "Lint rules",
        "spec": "Specifications",
        "reference": "Reference",
        "project": "Project",
    },
    "zh": {
        "guides": "指南",
        "differences": "差异",
        "rules": "检查规则",
        "spec": "规范",
        "reference": "参考",
        "english": "英文页面",
    },
}
REFERENCE = (
    *(
        "examples",
        "layers",
        "checkpoints",
        "diagnose",
        "source",
        "rewrite",
        "hosts",
        "json",
        "conformance",
    ),
    *("wrong", "accuracy", "speed", "platforms", "sanitizers"),
)
PROJECT = ("architecture", "adding-a-dialect", "contributing", "changelog")


def pages() -> dict[str, dict[str, str]]:
    """Language -> file in the repository -> page of that language's site."""
    english = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
    english |= {"CHANGELOG.md": "changelog.md", "docs/site/explorer.en.md": "explorer.md"}
    chinese = {"README.zh.md": "index.md", "docs/site/explorer.zh.md": "explorer.md"}
    english["examples/README.md"] = chinese["examples/README.zh.md"] = "examples.md"
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        english[path.relative_to(ROOT).as_posix()] = f"results/{path.name}"
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").as_posix()
        if name.startswith("site/"):
            continue
        if name.endswith(".zh.md"):
            chinese[f"docs/{name}"] = name.replace(".zh.md", ".md")
        else:
            english[f"docs/{name}"] = name.replace(".en.md", ".md")
    return {"en": english, "zh": chinese}


def stage(folder: Path, lang: str, known: dict[str, dict[str, str]]) -> None:
    """Fill a folder with all pages of one language, their links made right, and what they show."""
    compared = {f"docs/differences/{file_name(*pair, lang)}": pair for pair in PAIRS}
    shutil.rmtree(folder, ignore_errors=True)
    for source, page in known[lang].items():
        path = folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / source).read_text(encoding="utf-8")
        other = next((to for to in LANGUAGES if to != lang), lang)
        twin = page if page in known[other].values() else "index.md"
        front = f"---\nother: {_from_to(lang, page, other, twin)}\n---\n\n"
        text = _linked(text, source, lang, known, folder)
        if source in compared:
            asked = "#from={}&to={}".format(*compared[source])
            link = f"[{EXPLORE[lang]}](../explorer.md{asked})"
            text = re.sub(r"^# .*", rf"\g<0>\n\n{link}", text, count=1, flags=re.M)
        path.write_text(front + text, encoding="utf-8")
    for name in ASSETS:
        target = folder / "assets" / "site" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / name, target)
    if lang == "en":
        (folder / "api.md").write_text(api(), encoding="utf-8")


def _linked(
    text: str, source: str, lang: str, known: dict[str, dict[str, str]], folder: Path
) -> str:
    """A page's text, in which links lead to pages of the site; other files are copied beside it."""

    def link(found: re.Match[str]) -> str:
        target, anchor = found["target"], found["anchor"] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(str(PurePosixPath(source).parent / target))
        page = known[lang][source]
        if (ROOT / path).is_dir():  # of which a site shows the first page
            inside = sorted(own for own in known[lang] if own.startswith(f"{path}/"))
            path = next((own for own in inside if own.endswith("/README.md")), [*inside, path][0])
        if path in known[lang]:
            to = posixpath.relpath(known[lang][path], PurePosixPath(page).parent)
            return f"]({to}{anchor})"
        for other in LANGUAGES:
            if path in known[other]:
                to = known[other][path]
                mark = "" if to == page else f'{{hreflang="{other}"}}'  # the list of its languages
                return f"]({_from_to(lang, page, other, to)}{anchor}){mark}"
        if path.startswith("..") or not (ROOT / path).is_file():
            raise SystemExit(f"{source}: a link to {target}, which is no file of the repository")
        copied = folder / "files" / path
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copied)
        return f"]({os.path.relpath(copied, (folder / page).parent)}{anchor})"

    # Code stays as it is; a line's end between Chinese characters is no blank.
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(link, HAN_LINE.sub("", text[end : fence.start()])), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(link, HAN_LINE.sub("", text[end:]))])


def _from_to(lang: str, page: str, other: str, target: str) -> str:
    """The relative address of another language's page, as the browser sees both."""
    places = {"en": "", "zh": "zh/"}
    start, end = places[lang] + page, places[other] + target
    end = re.sub(r"(README|index)\.md$", "index.html", end)
    return posixpath.relpath(re.sub(r"\.md$", ".html", end), PurePosixPath(start).parent)


def navigation(lang: str, known: dict[str, dict[str, str]]) -> list[Any]:
    """What stands at the left: the pages that are there, in an order to read them."""
    own, titles = set(known[lang].values()), TITLES[lang]
    pairs: list[Any] = ["differences/README.md"]
    for a, b in PAIRS:
        page = "differences/" + file_name(a, b, "en").replace(".en.md", ".md")
        pairs.append({f"{Side(a).versioned} – {Side(b).versioned}": page})

    def folder(name: str) -> dict[str, list[Any]]:
        inside = sorted(page for page in own if page.startswith(f"{name}/"))
        inside.sort(key=lambda page: not page.endswith("README.md"))
        return {titles[name]: [_titled(page) for page in inside]}

    reference: list[Any] = [f"{name}.md" for name in REFERENCE if f"{name}.md" in own]
    sections = ["index.md", "explorer.md", folder("guides"), {titles["differences"]: pairs}]
    sections += [folder("spec"), folder("rules"), {titles["reference"]: reference}]
    if lang == "zh":
        english = {
            "检查规则的页面": "rules/README.md",
            "Python": "api.md",
            "符合性测试": "conformance.md",
        }
        there = [{n: _from_to("zh", "index.md", "en", page)} for n, page in english.items()]
        sections.append({titles["english"]: there})
    else:
        reference += ["api.md", *sorted(page for page in own if page.startswith("results/"))]
        sections.append({titles["project"]: [f"{name}.md" for name in PROJECT]})
    reference += _unlisted(own, sections)
    return [each for each in sections if isinstance(each, str) or any(each.values())]


def _titled(page: str) -> Any:
    """A page with the name that it has in the list, where that isn't its heading."""
    name = PurePosixPath(page).stem
    if page.startswith("spec/"):
        return {next(Side(side).versioned for side in NAMES if Side(side).id == name): page}
    return next(({f"{name} {rule.name}": page} for rule in RULES if rule.id == name), page)


def _unlisted(own: set[str], sections: list[Any]) -> list[str]:
    """The pages that no section has yet, such as those that are newer than these lists."""
    inside = [page for each in sections if isinstance(each, dict) for page in each.values()]
    listed = [page for pages in inside for page in pages]
    names = {page if isinstance(page, str) else next(iter(page.values())) for page in listed}
    return sorted(own - names - {each for each in sections if isinstance(each, str)})
