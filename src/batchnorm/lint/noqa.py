"""Comments that say a finding is meant: `# noqa: BN001` for some rules, `# noqa` for all."""

from __future__ import annotations

import re

from batchnorm.lint.finding import Finding
from batchnorm.source import Source

__all__ = ["suppressed"]

_NOQA = re.compile(r"(?i)#\s*noqa(?P<codes>\s*:\s*[A-Z]+\d+(?:[\s,]+[A-Z]+\d+)*)?")
_CODE = re.compile(r"[A-Z]+\d+")


def suppressed(finding: Finding, source: Source) -> bool:
    """Whether a comment in the finding's first or last line takes it away."""
    for line in {finding.line, finding.last_line}:
        for comment in _NOQA.finditer(source.line(line)):
            codes = comment["codes"]
            if codes is None or finding.rule in _CODE.findall(codes.upper()):
                return True
    return False
