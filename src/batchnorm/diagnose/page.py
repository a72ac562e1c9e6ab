"""The report as a page: stub until drawn."""

from __future__ import annotations

from typing import Any

__all__ = ["page"]


def page(report: Any) -> str:
    """The report."""
    return f"<pre>{report.text()}</pre>"
