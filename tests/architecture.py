"""docs/architecture.svg, from the imports: `python -m tests.architecture --write`.

A box is a package or a module of `batchnorm`; an arrow says that one imports the other. Arrows that
follow from others are left out, and so are the modules that all may use.
"""

import ast
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from layered import drawing

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "batchnorm"
PAGE = ROOT / "docs" / "architecture.md"
EVERYWHERE = {
    "errors",
    "vocabulary",
    "printable",
    "reported",
    "newer_python",
    "arrays",
    "toml",
    "declaration",
}
PICTURE = PAGE.with_suffix(".svg")


def imports() -> dict[str, set[str]]:
    """Box -> the boxes that it imports; imports in functions count, those for types alone too."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own in ("__init__", "__main__"):
            continue
        found[own]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                parts = [f"{node.module}.{alias.name}" for alias in node.names]
                names = parts if node.module == "batchnorm" else [node.module]
            for name in names:
                parts = name.split(".")
                if parts[0] == "batchnorm" and len(parts) > 1 and not parts[1].startswith("_"):
                    found[own].add(parts[1])
    boxes = set(found) - EVERYWHERE
    return {box: (found[box] & boxes) - {box} for box in sorted(boxes)}


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    """All that a box imports, directly or not."""
    seen: set[str] = set()
    todo = list(edges[start])
    while todo:
        box = todo.pop()
        if box not in seen:
            seen.add(box)
            todo += edges[box]
    return seen


def picture() -> str:
    """The boxes and arrows, drawn."""
    edges = imports()
    shown = {}
    for box, others in edges.items():
        implied = set().union(*(reachable(edges, other) for other in others)) if others else set()
        shown[box] = others - implied
    said = "; ".join(f"{box} imports {', '.join(sorted(to))}" for box, to in shown.items() if to)
    return drawing(shown, said)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PICTURE.write_text(picture(), encoding="utf-8")
    else:
        print(picture())
