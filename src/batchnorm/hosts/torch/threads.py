"""Our kernel on torch's own threads.

torch's OpenMP threads go on spinning for some milliseconds after each of its operations, on the
processors that threads of ours would need just then: a ResNet-50 step was slower with our kernel
than without. So, where torch computes with OpenMP, its runtime runs our loops too. Results are the
same bits on any threads. Not here: how many there are (`torch.set_num_threads`).
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
