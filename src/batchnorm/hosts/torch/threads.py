"""Our kernel on torch's own threads.

torch's OpenMP threads go on spinning for some milliseconds after an operation, on the very
processors that threads of ours would need just then: in a training step on two processors the
kernel took twice as long on a pool of its own (24.7 + 30.0 ms of a ResNet-50 step of 8 x 96 px,
forward and backward, against 12.2 + 17.5; torch 2.13.0, 2026-11-22). So torch's
OpenMP runtime runs our loops, as soon as this package computes a tensor: in the calling thread's
team, of as many threads as `torch.set_num_threads` says, the results being the same bits on any.
A forked child, in which an OpenMP team would hang, has our own pool again. Sanitizers that don't
know OpenMP's barriers report races: tests of theirs leave torch out.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

__all__ = ["share_threads"]


def share_threads() -> bool:
    """Let the kernel run on torch's threads; false where torch has no OpenMP that can be found."""
    try:
        from batchnorm import _kernel

        # A symbol is looked for in what the library depends on, too: the runtime it really uses.
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        start = ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
        _kernel.set_runner(start or 0)
    except (ImportError, OSError, AttributeError):
        return False
    return bool(start)
