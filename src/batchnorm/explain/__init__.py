"""Difference pages: how two frameworks' batch normalizations differ, generated from what is known.

`compose` makes a page's data from the declarations and the recorded answers, `renderers` print it.
No sentence about a framework is written here that could be generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from batchnorm.errors import InvalidValue
from batchnorm.explain.brief import about as cut
from batchnorm.explain.brief import brief as first_screen
from batchnorm.explain.compose import compose
from batchnorm.explain.page import Page
from batchnorm.explain.renderers import html, json, markdown, text
from batchnorm.explain.renderers.screen import print_screen
from batchnorm.explain.sides import Side, resolve
from batchnorm.explain.words import language
from batchnorm.reported import printed

__all__ = ["FORMATS", "Explanation", "brief", "explain", "page"]

FORMATS: Mapping[str, Callable[[Page], str]] = {
    "md": markdown.render,
    "json": json.render,
    "html": html.render,
    "text": text.render,
}


class Explanation(str):
    """A page's text, which shows the first screen where it is evaluated."""

    sides: tuple[str, str, str]

    def __repr__(self) -> str:
        return printed(lambda console: print_screen(brief(*self.sides), console))

    def _repr_html_(self) -> str:
        return html.render(page(*self.sides))

    def to_json(self) -> str:
        """The whole page as JSON text."""
        return json.render(page(*self.sides))


def explain(a: str, b: str, format: str = "md", lang: str = "en") -> Explanation:
    """How the batch normalizations of two frameworks differ, as a page; its repr is one screen.

    Args:
        a: torch, mindspore, tf_keras or keras, with a version where it matters: `mindspore@2.0`.
        b: the same, for the other side.
        format: md, json, html or text.
        lang: en or zh.

    Raises:
        ValueError: an unknown dialect, version, format or language, or twice the same side.

    >>> "momentum" in explain("torch", "keras", format="text")
    True
    """
    if format not in FORMATS:
        raise InvalidValue(f"there is no format {format!r}; known: {', '.join(FORMATS)}")
    found = Explanation(FORMATS[format](page(a, b, lang)))
    found.sides = (a, b, lang)
    return found


def page(a: str, b: str, lang: str = "en", about: str | None = None) -> Page:
    """The same page as data; `about` cuts it to one topic, such as "momentum"."""
    found = compose(*_sides(a, b), language(lang))
    return found if about is None else cut(found, about)


def brief(a: str, b: str, lang: str = "en", *, silent: bool = False) -> Page:
    """The first screen: the rules alone, worst first; `silent`: those that raise no error."""
    return first_screen(*_sides(a, b), language(lang), silent=silent)


def _sides(a: str, b: str) -> tuple[Side, Side]:
    sides = resolve(a), resolve(b)
    if sides[0] == sides[1]:
        raise InvalidValue(
            f"{a!r} and {b!r} are the same; expected two dialects or two versions of one"
        )
    return sides
