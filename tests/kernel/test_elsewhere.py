"""The kernel on systems that aren't at hand: it compiles for each, and ARM has AVX2's bits."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from elsewhere import LINUX, SOURCES, TARGETS, compiled, zig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="needs ziglang (the test extra)"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The objects of each target, compiled once, and what went wrong."""
    found = {}

    def build(target):
        if target not in found:
            folder = tmp_path_factory.mktemp(target)
            found[target] = folder, compiled(target, folder)
        return found[target]

    return build


@pytest.mark.parametrize("target", TARGETS)
def test_every_source_compiles(built, target):
    _, errors = built(target)
    assert not {name: error for name, error in errors.items() if error}
    assert len(errors) >= 9


def lines(program, *arguments, emulator=()):
    done = subprocess.run(
        [*emulator, program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_arm_has_the_bits_of_avx2(built):
    """Means, variances, results and gradients of some 340 tensors; subnormals are kept."""
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None and not os.environ.get("CI"):
        pytest.skip("needs qemu-user (Debian)")
    assert emulator, "CI installs qemu-user"
    programs = {}
    for target in LINUX:
        folder, _ = built(target)
        programs[target] = folder / "bits"
        source = Path(__file__).parent / "bits.cpp"
        more = ["-std=gnu++17", f"-I{SOURCES}", "-static"]
        error = zig(target, *more, source, *folder.glob("*.o"), "-o", programs[target])
        assert error is None
    avx2 = lines(programs[LINUX[0]], "v3", "2")
    neon = lines(programs[LINUX[1]], "neon", "2", emulator=[emulator])
    assert len(neon) > 300
    assert neon[-1] == "subnormals kept"
    assert neon == avx2
    assert lines(programs[LINUX[0]], "v2") != avx2  # what rounds twice is seen
