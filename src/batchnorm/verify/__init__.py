"""The real frameworks as oracles, and the comparison of our layers with them.

>>> from batchnorm.verify import verify
>>> report = verify(frameworks=["torch"], examples=20)  # doctest: +SKIP
>>> report.equal  # doctest: +SKIP
True
"""

from batchnorm.verify.report import Finding, Report, Row
from batchnorm.verify.verification import FRAMEWORKS, verify

__all__ = ["FRAMEWORKS", "Finding", "Report", "Row", "verify"]
