"""Converting takes the same little memory whatever the file's size: 1 GiB once, less per format."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
HERE = Path(__file__).parent
GIB = 1024  # MiB
MIB, MOST = 240, 220  # less than one of the files, and far below the 300 that are promised
SUFFIXES = [".pth", ".ckpt", ".npz", ".h5", ".weights.h5", ".safetensors"]


def measured(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src")}
    run = subprocess.run(
        [sys.executable, HERE / "measuring.py", *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "x.safetensors"
    measured("make", path, MIB)
    yield path
    path.unlink()


def test_a_file_of_1_gib_converts_in_300_mib(tmp_path):
    source, target = tmp_path / "x.safetensors", tmp_path / "y.ckpt"
    measured("make", source, GIB)
    peak = measured(source, target)["peak MiB"]
    assert target.stat().st_size >= (GIB - 1) << 20
    source.unlink()
    target.unlink()
    assert peak < 300


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_large_file_streams_into_every_format_and_back(suffix, large):
    target, back = large.with_name(f"y{suffix}"), large.with_name("z.safetensors")
    there = measured(large, target)
    again = measured(target, back)
    assert target.stat().st_size >= (MIB - 1) << 20
    assert back.stat().st_size == large.stat().st_size
    target.unlink()
    back.unlink()
    assert max(there["peak MiB"], again["peak MiB"]) < MOST


def test_large_arrays_are_transposed_in_the_same_memory(large):
    target = large.with_name("t.pth")
    peak = measured(large, target, "transposed")["peak MiB"]
    target.unlink()
    assert peak < MOST


def test_one_large_compressed_array_is_transposed_in_the_same_memory(tmp_path):
    source, target = tmp_path / "x.npz", tmp_path / "y.pth"
    measured("compress", source, MIB)
    assert measured(source, target, "transposed")["peak MiB"] < MOST
    assert target.stat().st_size >= MIB << 20
    source.unlink()
    target.unlink()
