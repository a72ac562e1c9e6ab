"""Environments for the frameworks' older versions, which `batchnorm verify` asks as oracles.

    python -m tests.older_frameworks FOLDER

makes one in FOLDER for each version (TensorFlow 2.6 and MindSpore 2.0, about 2 GB), unless it is
there, and prints the command that asks them. They need Python 3.9, which is looked for on the PATH
and among pyenv's; without one nothing is made, and the exit code is 2. CI doesn't need them: what
they answer is recorded in `src/batchnorm/questions/answers`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# What their own metadata leaves open, and newer releases broke.
OLDER = {
    "tf_keras@2.6": ("tensorflow-cpu==2.6.5", "protobuf<3.21"),
    "mindspore@2.0": ("mindspore==2.0.0", "numpy<1.25", "pillow<10"),
}
VERSION = "3.9"


def python() -> str | None:
    """Find a Python of the version that all of them have wheels for."""
    on_path = shutil.which(f"python{VERSION}")
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [on_path, *map(str, sorted(root.glob(f"{VERSION}.*/bin/python")))]
    for candidate in filter(None, candidates):
        asked = "import sys; print('%d.%d' % sys.version_info[:2])"
        run = subprocess.run([candidate, "-c", asked], capture_output=True, text=True, check=False)
        if run.stdout.strip() == VERSION:  # pyenv's shims answer with another, or not at all
            return candidate
    return None


def main(folder: Path) -> int:
    """Make what is missing; the exit code."""
    base = python()
    if base is None:
        print(
            f"no Python {VERSION} on the PATH or among pyenv's: {' and '.join(OLDER)} have wheels "
            f"for no later one; install it (`pyenv install {VERSION}`) and run this again",
            file=sys.stderr,
        )
        return 2
    oracles = []
    for name, packages in OLDER.items():
        made = folder / name
        ready = made / "ready"
        if not ready.exists():
            subprocess.run([base, "-m", "venv", "--clear", str(made)], check=True)
            subprocess.run([str(made / "bin" / "pip"), "install", "-q", *packages], check=True)
            ready.touch()
        oracles.append(f"--framework {name} --oracle {name}={made / 'bin' / 'python'}")
    print("batchnorm verify " + " ".join(oracles))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve()))
