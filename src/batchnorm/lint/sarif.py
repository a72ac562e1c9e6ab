"""A report as SARIF 2.1.0, which code scanning services and editors read.

Facts: OASIS, Static Analysis Results Interchange Format 2.1.0 (errata 01) and its schema. A
notebook's lines are a cell's and not the file's, so that a finding in one points to the file's
first line and says the cell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batchnorm.lint.finding import Finding, Report
from batchnorm.lint.identity import STANDARD_INPUT, fingerprints, relative
from batchnorm.lint.rule import Rule
from batchnorm.lint.rules import RULES
from batchnorm.lint.settings import link

__all__ = ["sarif"]

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_ROOT = "%SRCROOT%"
_RELATIVE_LINK = re.compile(r"\[([^]]+)\]\(\w+\.md\)")
_PLACES = {rule.id: place for place, rule in enumerate(RULES)}


def sarif(report: Report, version: str, rule_url: str | None) -> dict[str, Any]:
    """The whole log: one run, with all rules, and the files that were not linted.

    Args:
        report: what was found.
        version: of this package.
        rule_url: where the rules' pages are, as `Settings` has it.
    """
    prints = fingerprints(report.findings, Path.cwd())
    run = {
        "tool": {
            "driver": {
                "name": "batchnorm",
                "version": version,
                "rules": [_rule(each, rule_url) for each in RULES],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            _ROOT: {"description": {"text": "The folder that the command ran in."}}
        },
        "invocations": [
            {
                "executionSuccessful": not report.problems,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": f"not linted: {each.message}"},
                        "locations": [{"physicalLocation": _file(each.path)}],
                    }
                    for each in report.problems
                ],
            }
        ],
        "results": [_result(*each) for each in zip(report.findings, prints, strict=True)],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule, rule_url: str | None) -> dict[str, Any]:
    page = _RELATIVE_LINK.sub(r"\1", rule.page)
    where = link(rule, rule_url)
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "help": {"text": page, "markdown": page},
        **({"helpUri": where} if where else {}),
        "defaultConfiguration": {"level": "warning"},
    }


def _result(finding: Finding, fingerprint: str) -> dict[str, Any]:
    region = {"startLine": 1}
    if not finding.cell:
        region = {
            "startLine": finding.line,
            "startColumn": finding.column,
            "endLine": finding.last_line,
            "endColumn": finding.last_column,
        }
    return {
        "ruleId": finding.rule,
        "ruleIndex": _PLACES[finding.rule],
        "level": "warning",
        "message": {"text": finding.placed_message},
        "locations": [{"physicalLocation": {**_file(finding.path), "region": region}}],
        "partialFingerprints": {"pathRuleText/v1": fingerprint},
    }


def _file(path: Path) -> dict[str, Any]:
    """A file below the folder of the run as seen from there, another one whole."""
    seen = relative(path, Path.cwd())
    below = not seen.startswith("../") and not Path(seen).is_absolute()
    if below or path == STANDARD_INPUT:
        return {"artifactLocation": {"uri": _quoted(seen), "uriBaseId": _ROOT}}
    return {"artifactLocation": {"uri": (path.parent.resolve() / path.name).as_uri()}}


def _quoted(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"))
