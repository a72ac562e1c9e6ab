"""examples/conformance: layers of other frameworks, and what they are known to do otherwise."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchnorm.conformance import expected

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "conformance"
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w.]+:\w+)` \| (\w+) \| .*? \| (\d+) \| (\d+) \| (\d+) \|", re.M)
ROWS = ROW.findall(PAGE)
NEEDED = {"flax_linen": "flax", "flax_nnx": "flax", "equinox_batch": "equinox"}


def test_each_adapter_has_a_row_and_a_file():
    adapters = {path.stem for path in FOLDER.glob("*.py")} - {"common"}
    assert {row[0].partition(":")[0] for row in ROWS} == adapters
    assert {path.stem for path in FOLDER.glob("*.toml")} == adapters


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_as_many_are_expected_to_fail_as_the_page_says(row):
    known = expected.read(FOLDER / f"{row[0].partition(':')[0]}.toml", 0)
    assert len(known) == int(row[3])
    assert all(reason.strip() for reason in known.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_page_says_what_comes_out(row):
    name, dialect, passed, failed, unasked = row
    module = name.partition(":")[0]
    if importlib.util.find_spec(NEEDED.get(module, module.partition("_")[0])) is None:
        pytest.skip(f"what {module} adapts isn't installed")
    given = ("--dialect", dialect, "--expected", f"{module}.toml", "--examples", "30")
    job = [sys.executable, "-W", "ignore", "-c", "from batchnorm.cli import main; main()"]
    command = [*job, "conformance", name, *given]
    ran = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=900)
    assert f": {failed} expected, {unasked} not asked, {passed} passed" in ran.stdout, ran.stderr
    assert ran.returncode == 0
