"""10,000 seeded mutations of each format; `python -m tests.checkpoints.fuzz` runs more."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
SPECIFICATION = importlib.util.spec_from_file_location("fuzz", Path(__file__).with_name("fuzz.py"))
fuzz = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(fuzz)


@pytest.mark.parametrize("kind", fuzz.SEEDS)
def test_damaged_files_are_refused_or_read_and_nothing_else(kind):
    result = fuzz.run(kind, 10_000, seed=20240229)
    assert result["findings"] == []
    assert sum(result["outcomes"].values()) == 10_000
    assert result["outcomes"]["refused"] > 1000
    assert result["outcomes"]["read"] > 100  # else the mutations are too coarse to test much
