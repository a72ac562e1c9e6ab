"""Batch normalization inside PyTorch: any dialect's layer as a module, at our kernel's speed.

`module` makes a torch.nn.Module of a dialect layer; `accelerate` lets a model's own batch norms
compute with our kernel; `port` gives them another dialect's rule; `restore` undoes both. Written
for and tested with PyTorch 2.13.0.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"batchnorm.hosts.torch needs PyTorch, which can't be imported here ({error}): install it "
        "with `pip install torch`"
    ) from error

from batchnorm.hosts.torch.accelerate import accelerate, restore
from batchnorm.hosts.torch.module import module
from batchnorm.hosts.torch.port import port

__all__ = ["accelerate", "module", "port", "restore"]
