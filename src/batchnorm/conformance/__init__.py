"""The conformance suite: anybody's batch norm, asked whether it does as a dialect does.

`conform` takes a small adapter (`adapter.py` says what it has), puts every question of the dialect
to it and plays drawn cases on it, each beside our own layers. Not here: how questions are asked
(`questions`), how cases are drawn, played and compared (`verify`).
"""

from __future__ import annotations

from batchnorm.conformance.adapter import NotOffered
from batchnorm.conformance.report import Report, Result
from batchnorm.conformance.suite import conform
from batchnorm.conformance.vector import Vector, vectors

__all__ = ["NotOffered", "Report", "Result", "Vector", "conform", "vectors"]
