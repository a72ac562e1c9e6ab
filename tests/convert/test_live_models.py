"""Live models, and the nested files that trainers save; each framework in a process of its own."""

import subprocess
import sys

import pytest
from real_frameworks import NETS, needed, run_script


def test_torch_models_and_nested_files():
    """See `nets/live_models.py`."""
    needed("torch")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(NETS / "live_models.py")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("framework", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_live_model_is_compared_with_its_own_file_and_with_a_converted_one(framework, tmp_path):
    needed(framework)
    run_script(NETS / "live_nets.py", framework, str(tmp_path))
