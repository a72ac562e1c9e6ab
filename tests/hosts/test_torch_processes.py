"""Several processes that share a batch against one process that has it whole."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch_process
from torch_here import torch

SCRIPT = Path(torch_process.__file__)
SIZES = {2: [5, 2], 4: [3, 1, 0, 4]}


def launch(folder, output, sizes):
    command = [sys.executable, str(SCRIPT)]
    rest = [str(folder / "meeting"), str(output), *map(str, sizes)]
    return [
        subprocess.Popen(
            [*command, str(rank), *rest],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(len(sizes))
    ]


def ended(processes, timeout=300):
    """Exit codes and output; nobody is left behind."""
    try:
        texts = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], texts


@pytest.fixture(scope="module", params=SIZES)
def parts(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"of{request.param}")
    sizes = SIZES[request.param]
    codes, texts = ended(launch(folder, folder / "part", sizes))
    assert codes == [0] * len(sizes), "\n".join(texts)[-3000:]
    return folder, sizes


@pytest.mark.parametrize("name", torch_process.CASES)
def test_processes_together_are_one_with_the_joined_batch(name, parts):
    folder, sizes = parts
    number = list(torch_process.CASES).index(name)
    found = [dict(np.load(folder / f"part-{rank}-{number}.npz")) for rank in range(len(sizes))]
    whole = slice(0, sum(sizes))
    wanted = torch_process.computed(name, whole, torch_process.batch(name, sum(sizes)), False)
    assert all(set(part) == set(wanted) for part in found)
    for key, expected in wanted.items():
        if key.startswith("part"):
            joined = np.concatenate([part[key] for part in found])
        elif key.startswith("sum"):
            joined = sum(part[key] for part in found)
        else:
            joined = found[0][key]
            assert all(np.array_equal(part[key], joined) for part in found), key
        scale = max(1e-3, float(np.abs(expected).max()))
        # A sum of parts is rounded once more for each; all else is a float64 rounded once.
        assert np.abs(joined - expected).max() <= 4e-7 * scale * len(sizes), key


def test_under_distributed_data_parallel(parts):
    folder, sizes = parts
    if min(sizes) == 0:
        pytest.skip("DistributedDataParallel takes no empty batches through a convolution")
    torch.manual_seed(0)
    net = torch_process.parallel_net()
    x, dy, _ = (torch.from_numpy(a) for a in torch_process.batch("torch", sum(sizes)))
    net(x).backward(dy)
    for rank in range(len(sizes)):
        found = np.load(folder / f"part-{rank}-ddp.npz")
        for name, parameter in net.named_parameters():
            wanted = parameter.grad.numpy() / len(sizes)
            scale = max(1.0, np.abs(wanted).max())
            assert np.abs(found[name] - wanted).max() <= 2e-5 * scale, name


def test_when_one_dies_the_others_fail_with_the_engines_error(tmp_path):
    start = time.monotonic()
    codes, texts = ended(launch(tmp_path, "die", [2, 2]), timeout=120)
    assert codes == [0, 7], "\n".join(texts)[-3000:]
    assert "engine:" in texts[0]
    assert time.monotonic() - start < 100
