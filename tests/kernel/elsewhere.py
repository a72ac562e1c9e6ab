"""The kernel compiled for other systems by PyPI's ziglang: all sources but the bindings.

`python -m tests.kernel.elsewhere [TARGET ...]` prints what doesn't compile, with the first error.
"""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src" / "kernel"
LINUX = ("x86_64-linux-musl", "aarch64-linux-musl")  # as musl can be linked statically
TARGETS = (*LINUX, "aarch64-macos", "x86_64-macos", "x86_64-windows-gnu")
FLAGS = ["-std=gnu++17", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-O0"]
FLAGS += ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
# clang says both of what gcc builds without a word; neither changes what is computed.
FLAGS += ["-Wno-missing-field-initializers", "-Wno-ignored-attributes"]


def objects(target: str) -> list[tuple[str, Path, list[str]]]:
    """What is compiled for a target: a name, a source, more flags."""
    found = []
    for source in sorted(SOURCES.glob("*.cpp")):
        if source.stem == "bindings":
            continue
        levels = [2, 3, 4] if target.startswith("x86_64") else [2]
        if source.stem != "level":
            found.append((source.stem, source, []))
        for level in levels if source.stem == "level" else []:
            more = [f"-DBN_LEVEL={level}"]
            if target.startswith("x86_64"):
                more.append(f"-march=x86_64_v{level}")
            found.append((f"level{level}", source, more))
    return found


def zig(target: str, *arguments: object) -> str | None:
    """The compiler's first error; None where there is none."""
    command = [sys.executable, "-m", "ziglang", "c++", "-target", target, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    return (lines or [done.stderr[-300:]])[0]


def compiled(target: str, folder: Path, more: tuple[str, ...] = ()) -> dict[str, str | None]:
    """Each object of a target, in `folder`, with its first error."""

    def compile_one(one: tuple[str, Path, list[str]]) -> str | None:
        name, source, flags = one
        out = folder / f"{name}.o"
        return zig(target, *FLAGS, *flags, *more, f"-I{SOURCES}", "-c", source, "-o", out)

    with ThreadPoolExecutor(2) as pool:
        errors = pool.map(compile_one, objects(target))
    return {name: error for (name, *_), error in zip(objects(target), errors, strict=True)}


def main() -> int:
    """Compile, and say what doesn't."""
    bad = 0
    for target in sys.argv[1:] or TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            errors = compiled(target, Path(folder))
        broken = {name: error for name, error in errors.items() if error}
        bad += len(broken)
        print(f"{target}: {len(errors) - len(broken)} of {len(errors)} compile")
        for name, error in broken.items():
            print(f"  {name}: {error}")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
