"""Checkpoint files as mappings from name to array: read and written without any framework.

Containers only, one file per format; what a name means is decided elsewhere. Reading runs no code
of the file, opens no other file (of an index, those in its folder that it names), and allocates at
most twice the files' size plus 64 MiB; every bad file is a `CheckpointError`. Writing replaces a
file at once or not at all.
"""

from batchnorm.checkpoints.checkpoint import Checkpoint, Entry
from batchnorm.checkpoints.detection import FORMATS
from batchnorm.checkpoints.files import detect, read, write

__all__ = ["FORMATS", "Checkpoint", "Entry", "detect", "read", "write"]
