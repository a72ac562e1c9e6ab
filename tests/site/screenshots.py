"""Pictures of the site to look at: `python tests/site/screenshots.py FOLDER [PAGE...]`.

Each page at 1280 and 390 pixels, light and dark, in both languages, as far as it exists; without
pages, a choice of them; with `all`, every page, what it requests and complains of, and whether it
is wider than the window.
"""

import base64
import sys
import tempfile
from pathlib import Path

from browser import browser, troubles

SITE = Path(__file__).parents[2] / "build" / "site"
LONGEST = 3200  # pixels
PAGES = ("index.html", "explorer.html", "differences/torch-mindspore.html")


def clip(driver, width):
    """The page down to its end, or as far as a picture is still looked at."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    return {"x": 0, "y": 0, "width": width, "height": min(height, LONGEST), "scale": 1}


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
                        made = driver.execute_cdp_cmd(
                            "Page.captureScreenshot",
                            {"captureBeyondViewport": True, "clip": clip(driver, width)},
                        )
                        path.write_bytes(base64.b64decode(made["data"]))
                        wide = driver.execute_script("return document.documentElement.scrollWidth")
                        over = [f"{wide} pixels wide"] if wide > width else []
                        print(path.name, *troubles(driver), *over)


if __name__ == "__main__":
    pages = sys.argv[2:] or PAGES
    if pages == ["all"]:
        found = (path.relative_to(SITE).as_posix() for path in sorted(SITE.rglob("*.html")))
        pages = [page for page in found if not page.startswith("zh/")]
    main(Path(sys.argv[1]), pages)
