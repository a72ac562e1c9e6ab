"""`batchnorm lint`: the mistakes that people make when they carry batch norms between frameworks.

Rules are in `rules`, one file each; `run` goes through files. Not here: how source is read
(`batchnorm.source`), and how it is changed (`batchnorm.rewrite`).
"""

from batchnorm.lint.finding import Finding, Problem, Report
from batchnorm.lint.rule import Rule
from batchnorm.lint.rules import RULES
from batchnorm.lint.run import lint_text
from batchnorm.lint.settings import Settings
from batchnorm.lint.whole import lint

__all__ = ["RULES", "Finding", "Problem", "Report", "Rule", "Settings", "lint", "lint_text"]
