"""Two models, one batch, and the cause by name: why a port differs from its source.

Each batch norm of the port is replayed by the source's rule on the port's own input, so that one
layer's fault accuses no other. `diagnose` takes two live models; recordings of two environments are
compared by `compare_recordings`.
"""

from batchnorm.diagnose.comparison import compare_recordings
from batchnorm.diagnose.finding import Finding, Undecided
from batchnorm.diagnose.live import diagnose
from batchnorm.diagnose.recorder import record
from batchnorm.diagnose.recording import Recording
from batchnorm.diagnose.report import Report

__all__ = [
    "Finding",
    "Recording",
    "Report",
    "Undecided",
    "compare_recordings",
    "diagnose",
    "record",
]
