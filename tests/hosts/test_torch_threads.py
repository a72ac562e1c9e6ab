"""The kernel on torch's own threads: the same bits, and no hanging after a fork."""

import subprocess
import sys

import numpy as np
import pytest
from torch_here import torch

from batchnorm import _kernel, core
from batchnorm.hosts.torch.threads import share_threads
from batchnorm.vocabulary import Mode

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="torch has another OpenMP there"
)

FORKED = """
import os, signal
import numpy as np, torch
import batchnorm as bn
from batchnorm.hosts.torch.threads import share_threads
assert share_threads()
torch.set_num_threads(2)
torch.ones(2000, 2000) @ torch.ones(2000, 2000)  # its threads have run
net = bn.hosts.torch.accelerate(torch.nn.BatchNorm2d(64))
x = torch.randn(32, 64, 28, 28)
wanted = net(x).detach().numpy()
child = os.fork()
if child == 0:
    signal.alarm(20)
    found = bn.torch.BatchNorm2d(64)(x.numpy())
    os._exit(0 if np.array_equal(found, wanted) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def results():
    x = np.random.default_rng(0).normal(3, 2, (16, 32, 28, 28)).astype(np.float32)
    settings = core.Settings((1,), Mode.BATCH, 1e-5)
    y, _, saved = core.forward(x, None, None, None, settings)
    return [y, *core.backward(saved, x)]


def test_torchs_threads_give_the_same_bits_as_ours():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert share_threads()
        theirs = results()
        _kernel.set_runner(0)
        ours = results()
    finally:
        torch.set_num_threads(threads)
        share_threads()
    assert all(np.array_equal(a, b) for a, b in zip(theirs, ours, strict=True))


def test_a_forked_child_computes():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["0"], done.stderr[-2000:]
