"""Pictures of the site to look at: `python tests/site/screenshots.py FOLDER [PAGE...]`.

Each page at 1280 and 390 pixels, light and dark, in both languages, as far as it exists; without
pages, a choice of them.
"""

import sys
import tempfile
from pathlib import Path

from browser import browser, troubles

SITE = Path(__file__).parents[2] / "build" / "site"
PAGES = ("index.html", "explorer.html", "differences/torch-mindspore.html")


def main(folder, pages):
    folder.mkdir(parents=True, exist_ok=True)
    for width in (1280, 390):
        for dark in (False, True):
            with (
                tempfile.TemporaryDirectory() as profile,
                browser(profile, width, 1400, dark) as driver,
            ):
                for page in (f"{zh}{page}" for page in pages for zh in ("", "zh/")):
                    name, _, fragment = page.partition("#")
                    if (SITE / name).exists():
                        driver.get("about:blank")
                        driver.get((SITE / name).as_uri() + (f"#{fragment}" if fragment else ""))
                        stem = name.replace("/", "-").removesuffix(".html")
                        path = folder / f"{stem}-{width}-{'dark' if dark else 'light'}.png"
                        driver.save_screenshot(str(path))
                        print(path, *troubles(driver))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or PAGES)
