"""The MindSpore 2.0 variant of the MindSpore dialect (CPU), as far as it differs.

Source: the recorded behaviour of mindspore 2.0.0 in tests/data (it needs Python 3.9 and can't be
installed beside the rest), and its mindspore/ccsrc/plugin/device/cpu/kernel/mkldnn.
"""

from __future__ import annotations

from batchnorm.dialects import mindspore
from batchnorm.dialects.mindspore import load_param_into_net

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "load_param_into_net"]


class _Version:
    VERIFIED_WITH = "2.0.0"

    @staticmethod
    def correction(count: int) -> int:
        """MindSpore 2.0 averages the biased variance, so one value per channel adds 0."""
        return 0


class BatchNorm1d(_Version, mindspore.BatchNorm1d):
    """Batch normalization of (N, C) or (N, C, L)."""


class BatchNorm2d(_Version, mindspore.BatchNorm2d):
    """Batch normalization of (N, C, H, W)."""


class BatchNorm3d(_Version, mindspore.BatchNorm3d):
    """Batch normalization of (N, C, D, H, W)."""
