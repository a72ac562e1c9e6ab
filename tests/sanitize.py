"""Run the kernel's tests on builds with sanitizers: `python -m tests.sanitize`.

Builds the kernel with ThreadSanitizer, then with AddressSanitizer and UndefinedBehaviorSanitizer,
each under build/sanitize/, beside a copy of the package's Python files, and runs tests/core there
with the sanitizer's runtime loaded before Python. Any report of any process is a failure. Needs
g++ (or clang++ with its shared runtimes), setarch, and a Python that has cmake, ninja, nanobind and
what the tests need, but not batchnorm itself: `make sanitize` makes one. Not here: what the tests
say; nothing is skipped but what the list below names.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "sanitize"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # cmake and ninja
REPORT = re.compile(r"WARNING: ThreadSanitizer|ERROR: \w*Sanitizer|runtime error:")
THREADED = ["tests/core/test_kernel_threads.py", "tests/core/test_kernel_overlap.py"]
TESTS = [
    *THREADED,
    "tests/core/test_kernel.py",
    "tests/core/test_results.py",
    "tests/core/test_laws.py",
    "tests/core/test_gradients.py",
    "tests/test_layer_again.py",
]
KINDS = {  # -fsanitize=…, the tests, the runtime to be loaded before Python, and its options
    "thread": (
        "thread",
        THREADED,
        "libtsan.so",
        {
            "TSAN_OPTIONS": "exitcode=66 die_after_fork=0 halt_on_error=0 "
            f"suppressions={ROOT / 'tests' / 'no_races.txt'}"
        },
    ),
    "address": (
        "address,undefined",
        TESTS,
        "libasan.so",
        {
            # Python itself never frees what lives as long as the process.
            "ASAN_OPTIONS": "detect_leaks=0 detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "halt_on_error=1 print_stacktrace=1",
        },
    ),
}


def build(kind: str, compiler: str) -> Path:
    """The folder to put on PYTHONPATH: the package with a kernel of this kind."""
    made, sanitizers = BUILD / kind, KINDS[kind][0]
    package = made / "path" / "batchnorm"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "batchnorm", package, ignore=shutil.ignore_patterns("*.so"))
    configure = ["cmake", "-S", ROOT, "-B", made, "-G", "Ninja"]
    options = [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_CXX_COMPILER={compiler}"]
    options.append(f"-DBATCHNORM_SANITIZE={sanitizers}")
    for command in ([*configure, *options], ["cmake", "--build", made]):
        tool = shutil.which(command[0], path=PATH) or command[0]
        subprocess.run(
            [tool, *command[1:]],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PATH": PATH},
        )
    for library in made.glob("_kernel*.so"):
        shutil.copy2(library, package)
    return package.parent


def revision() -> str:
    """The commit that last changed the kernel, and whether its files have changed since."""
    asked = [["log", "-1", "--format=%h"], ["status", "--porcelain"]]
    said = [
        subprocess.run(
            ["git", *of, "--", "src/kernel"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()
        for of in asked
    ]
    return f"{said[0] or 'unknown'}{', and changes since' * bool(said[1])}"


def surroundings(kind: str, compiler: str, path: Path) -> dict[str, str]:
    """The environment of a Python that gets that build, its reports going to files."""
    *_, runtime, options = KINDS[kind]
    logs = path.parent / "reports"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    preloaded = []  # with the C++ library: else AddressSanitizer doesn't find what throws
    for name in (runtime, "libstdc++.so.6"):
        asked = [compiler, f"-print-file-name={name}"]
        preloaded.append(subprocess.run(asked, capture_output=True, text=True).stdout.strip())
    return {
        **os.environ,
        **{name: f"{values} log_path={logs / 'log'}" for name, values in options.items()},
        "LD_PRELOAD": " ".join(preloaded),
        "PYTHONPATH": str(path),
        "PYTHONMALLOC": "malloc",
        "OPENBLAS_NUM_THREADS": "1",  # no threads but the kernel's own
        "BATCHNORM_SANITIZED": kind,
    }


def test(
    kind: str, environment: dict[str, str], more: list[str]
) -> subprocess.CompletedProcess[str]:
    """pytest on that build."""
    # Without address randomization: ThreadSanitizer wants its own places free.
    python = ["setarch", platform.machine(), "-R", sys.executable]
    asked = [*python, "-c", "from batchnorm import _kernel; print(_kernel.__file__)"]
    found = subprocess.run(asked, cwd=ROOT, env=environment, text=True, capture_output=True)
    if not found.stdout.startswith(environment["PYTHONPATH"]):
        sys.exit(
            f"{kind}: the kernel must come from {environment['PYTHONPATH']}, but came from "
            f"{found.stdout.strip() or found.stderr.strip()!r}: use a Python in which batchnorm "
            "is not installed, as `make sanitize` does"
        )
    return subprocess.run(
        [*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(more or KINDS[kind][1])],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def main() -> int:
    """Exit code 0: all tests pass and no sanitizer has anything to say."""
    parser = argparse.ArgumentParser(prog="python -m tests.sanitize", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one")
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--report", type=Path, help="file that gets the result as Markdown")
    parser.add_argument("tests", nargs="*", help="pytest's arguments instead of the whole list")
    given = parser.parse_args()
    version = subprocess.run([given.compiler, "--version"], capture_output=True, text=True).stdout
    lines = [
        "# Sanitizers\n",
        "Written by `python -m tests.sanitize --report docs/sanitizers.md`.\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {version.splitlines()[0]}, Python "
        f"{platform.python_version()}, {os.cpu_count()} processors; the kernel of {revision()}.\n",
        *(f"- {used}: {', '.join(tests)}" for used, tests, *_ in KINDS.values()),
        "",
        "| build | tests | reports | build (s) | tests (s) |",
        "| --- | --- | --- | --- | --- |",
    ]
    failed = False
    for kind in given.kind or KINDS:
        print(f"{kind}: building ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        path = build(kind, given.compiler)
        built = time.monotonic()
        print(f"{kind}: testing ...", file=sys.stderr, flush=True)
        done = test(kind, surroundings(kind, given.compiler, path), given.tests)
        seconds = f"{built - start:.0f} | {time.monotonic() - built:.0f}"
        texts = [log.read_text() for log in sorted((path.parent / "reports").iterdir())]
        reports = sum(len(REPORT.findall(text)) for text in texts)
        failed |= done.returncode != 0 or reports > 0
        if done.returncode != 0 or reports:
            print(*texts, done.stdout, sep="\n", file=sys.stderr)
        summary = next((s for s in reversed(done.stdout.splitlines()) if " in " in s), "none ran")
        lines.append(f"| {KINDS[kind][0]} | {summary.strip('= ')} | {reports} | {seconds} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.report:
        given.report.write_text(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
