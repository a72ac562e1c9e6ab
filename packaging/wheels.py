"""Build wheels for every CPython at hand, and run the core's tests on each in a fresh environment.

`python packaging/wheels.py -o dist/` needs the packages `ziglang`, `wheel` and `auditwheel`; it
links against glibc 2.28, so that a wheel runs on any Linux since 2018 (`manylinux_2_28`). Pythons
are pyenv's and those of the PATH, from 3.10 on; `--python` names others. What each wheel is, the
oldest platform that auditwheel finds for it, and whether its tests passed, is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLIBC = "2.28"
OLDEST = (3, 10)
TESTS = ["tests/core/test_results.py", "tests/core/test_gradients.py", "tests/test_layer.py"]


def pythons() -> list[Path]:
    """One interpreter a version, the newest release of each."""
    found: dict[tuple[int, int], Path] = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = sorted(pyenv.glob("3.*/bin/python3")) if pyenv.is_dir() else []
    named = (shutil.which(f"python3.{minor}") for minor in range(10, 20))
    places += [Path(place) for place in named if place]
    for place in places:
        code = "import sys; print(*sys.version_info[:2])"
        done = subprocess.run([place, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            version = tuple(map(int, done.stdout.split()))
            if version >= OLDEST:
                found.setdefault((version[0], version[1]), place)
    return [found[version] for version in sorted(found)]


def build(python: Path, out: Path) -> Path:
    """The wheel of one interpreter, tagged for the glibc that it was linked against."""
    architecture = sysconfig.get_platform().rpartition("-")[2]
    environment = os.environ | {
        "CXX": str(ROOT / "packaging" / "zig-c++"),
        "ZIG_PYTHON": sys.executable,
        "ZIG_TARGET": f"{architecture}-linux-gnu.{GLIBC}",
    }
    tag = f"manylinux_{GLIBC.replace('.', '_')}_{architecture}"
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, str(ROOT)]
        command += [f"--config-settings=build-dir={folder}/build"]
        subprocess.run(command, check=True, env=environment)
        (built,) = Path(folder).glob("*.whl")
        retag = ["--remove", "--platform-tag", tag, str(built)]
        subprocess.run([sys.executable, "-m", "wheel", "tags", *retag], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        (tagged,) = Path(folder).glob("*.whl")
        return Path(shutil.move(tagged, out / tagged.name))


def test(python: Path, wheel: Path) -> tuple[bool, str]:
    """Install into a fresh environment without a compiler, and run the core's tests."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        subprocess.run([python, "-m", "venv", home / "v"], check=True)
        own = home / "v" / "bin" / "python"
        environment = os.environ | {"PATH": str(home / "v" / "bin")}  # no compiler, no cmake
        environment.pop("PYTHONPATH", None)
        install = [own, "-m", "pip", "install", "-q", wheel, "pytest", "hypothesis"]
        subprocess.run(install, check=True, env=environment)
        shutil.copytree(ROOT / "tests", home / "tests")
        command = [own, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *TESTS]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True,
                              check=False)  # fmt: skip
        lines = done.stdout.strip().splitlines()
        said = subprocess.run([home / "v" / "bin" / "batchnorm", "--version"], check=True,
                              capture_output=True, text=True, env=environment)  # fmt: skip
        return (
            done.returncode == 0,
            f"{lines[-1] if lines else done.stderr[-200:]}; {said.stdout.strip()}",
        )


def asked(wheel: Path) -> str:
    """The oldest platform that auditwheel finds the wheel to run on."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(re.findall(r'"(manylinux\w+)"', done.stdout)), "unknown to auditwheel")


def main() -> int:
    """Build and test them all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", type=Path, action="append", help="only this interpreter")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for python in given.python or pythons():
        wheel = build(python, given.out)
        good, told = test(python, wheel)
        failed += not good
        size = f"{wheel.stat().st_size / 2**20:.2f} MiB"
        print(f"{wheel.name}  {size}  {asked(wheel)}  {told}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
