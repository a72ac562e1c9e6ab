"""Our kernel on torch's own threads, where asked for.

torch's OpenMP threads may go on spinning after an operation, on the processors that threads of ours
would need just then. `share_threads` lets torch's OpenMP runtime run our loops; results are the
same bits on any threads. Nothing calls it by itself: benchmarks/resnet50_step.py has a row with it
and one without. Not here: how many threads there are (`torch.set_num_threads`).
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
