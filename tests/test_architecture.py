"""docs/architecture.md: its picture is the imports', no arrow runs back, its files are there."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import architecture


def test_the_picture_is_what_the_imports_say():
    assert architecture.picture() == architecture.PICTURE.read_text(encoding="utf-8")
    assert "](architecture.svg)" in architecture.PAGE.read_text(encoding="utf-8")


def test_no_arrow_runs_back():
    edges = architecture.imports()
    assert not {box for box in edges if box in architecture.reachable(edges, box)}
    assert len(edges) > 15


def test_the_files_that_contributors_are_told_of_are_there():
    text = (architecture.PAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([\w/<>]+\.(?:py|toml|txt))`", text))
    assert len(told) > 8
    root = architecture.PACKAGE.parents[1]
    rooms = list((architecture.PACKAGE / "frameworks").iterdir())
    for name in told:
        places = (root, architecture.PACKAGE, *rooms)
        own = name.replace("<name>", "torch")
        assert any((place / own).is_file() for place in places), name


def test_the_files_of_the_walks_are_there():
    text = architecture.PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text)) - {"container.py", "live.py", "running.py"}
    named -= {
        "saved.py",
        "source.py",
        "samples.py",
        "theory.py",
        "layers.py",
        "reference.py",
        "kernel.py",
    }
    for name in named:
        assert (architecture.PACKAGE / name).is_file(), name
