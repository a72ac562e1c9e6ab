"""Live torch models, and the nested files that trainers save; see `nets/live_models.py`."""

import subprocess
import sys

from real_frameworks import NETS, needed


def test_live_models_and_nested_files():
    needed("torch")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(NETS / "live_models.py")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
