"""Builds the documentation site, in both languages: `make site`, or `python docs/site/build.py`.

MkDocs with the Material theme makes `build/site` of the pages that `pages` puts together, English
at the top and Chinese in `zh/`. The result works from a file: no server, no request. Nothing is
written here that a page already says.
"""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import jieba
from mkdocs.commands.build import build
from mkdocs.config import load_config

from pages import HERE, LANGUAGES, ROOT, navigation, pages, stage

BUILD = ROOT / "build"


def main() -> None:
    """Build both sites."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    jieba.setLogLevel(logging.WARNING)
    known = pages()
    shutil.rmtree(BUILD / "site", ignore_errors=True)
    for lang in LANGUAGES:
        folder = BUILD / "pages" / lang
        stage(folder, lang, known)
        config = load_config(
            str(HERE / "mkdocs.yml"),
            docs_dir=str(folder),
            site_dir=str(BUILD / "site" / ("" if lang == "en" else lang)),
            nav=navigation(lang, known),
            strict=True,
        )
        config.theme["language"] = lang
        config.extra["alternate"] = True  # of theme/partials/alternate.html
        build(config)
        Path(config.site_dir, "404.html").unlink()  # of a server's addresses, not of files


if __name__ == "__main__":
    sys.exit(main())
