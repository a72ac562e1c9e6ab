"""The page of what is public in Python, made from signatures and docstrings.

The docstrings have sections of their own (Shape, Dtypes, Deviations) and formulas, which Markdown
would take for emphasis: so they are taken apart here, and what is text is escaped.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import batchnorm as bn
from batchnorm.explain.renderers.markdown import inline
from batchnorm.frameworks import OWN

__all__ = ["api"]

SECTION = re.compile(r"(?P<title>[A-Z][a-z]+):(?: (?P<text>.*))?$")
ITEM = re.compile(r"(?P<names>[\w*, .]+): (?P<text>.*)$")


def api() -> str:
    """The page: functions first, then the layers of each framework."""
    lines = ["# Python", *_doc(bn.__doc__ or "")]
    for name in bn.__all__:
        found = getattr(bn, name)
        if callable(found):
            lines += _entry(f"bn.{name}", found)
    for record in OWN:
        module = record.room("layers")
        lines += [f"## bn.{record.module}", f"{record.versioned.format(record.version)}:"]
        for name in module.__all__:
            if name.startswith("BatchNorm"):
                lines += _entry(f"bn.{record.module}.{name}", getattr(module, name))
    return "\n\n".join(lines) + "\n"


def _entry(name: str, found: Any) -> Iterator[str]:
    kind = "class " if inspect.isclass(found) else ""
    yield f"{'###' if name.count('.') > 1 else '##'} {name}"
    if not (inspect.isclass(found) and issubclass(found, Exception)):
        yield f"```python\n{kind}{name}{_signature(found)}\n```"
    yield from _doc(inspect.getdoc(found) or "")


def _signature(found: Any) -> str:
    """Names and defaults, without annotations, on lines that fit a page."""
    signature = inspect.signature(found)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    if len(text) < 70:
        return text
    return text.replace("(", "(\n    ", 1).replace(", ", ",\n    ").removesuffix(")") + ",\n)"


def _doc(text: str) -> Iterator[str]:
    """Paragraphs, lists of arguments and examples."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = block.splitlines()
        while lines:
            size = next((i for i, s in enumerate(lines) if i and SECTION.match(s)), len(lines))
            yield from _block(lines[:size])
            lines = lines[size:]


def _block(lines: list[str]) -> Iterator[str]:
    heading = SECTION.match(lines[0])
    if any(line.lstrip().startswith(">>>") for line in lines):
        if heading:
            lines = lines[1:]
        yield "```pycon\n" + inspect.cleandoc("\n".join(["", *lines])) + "\n```"
    elif heading:
        yield f"**{heading['title']}**"
        yield from (
            _items(lines[1:]) if heading["text"] is None else _items([heading["text"], *lines[1:]])
        )
    elif all(re.search(r" = ", line) or line.startswith("  ") for line in lines):
        yield "```text\n" + "\n".join(lines) + "\n```"
    else:
        yield inline(" ".join(lines))


def _items(lines: list[str]) -> Iterator[str]:
    """Lines of a section: those that name something become a list."""
    base = min((len(s) - len(s.lstrip()) for s in lines[1:] if s.strip()), default=0)
    found: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines):
        own = line if number == 0 else line[base:]
        item = ITEM.match(own.strip()) if not own.startswith(" ") or number == 0 else None
        if item and " " not in item["names"].replace(", ", ""):
            found.append((item["names"], [item["text"]]))
        elif found:
            found[-1][1].append(line)
        else:
            found.append(("", [line]))
    named = [
        f"- `{names}`: {inline(' '.join(text))}" if names else inline(" ".join(text))
        for names, text in found
    ]
    yield "\n".join(named)


if __name__ == "__main__":
    print(api())
