"""Counts for docs/rules/measured.md: `python tests/lint/census.py FOLDER…`, one folder a package.

Prints per package the files and the findings by rule, and per framework the momenta and epsilons
that calls are given (each literal once, test files left out). Not a test.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from batchnorm.lint import Settings, lint
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import number
from batchnorm.lint.run import worth_a_look
from batchnorm.source import SourceError, find


def written(folder):
    """(framework, "momentum" or "epsilon", value) for each literal that reaches a layer."""
    for path in find([folder], (), worth_a_look).files:
        try:
            file = Linted(path, path.read_bytes())
        except SourceError:
            continue
        seen = set()
        for site in () if file.is_test else file.sites:
            for what, given in (("momentum", site.momentum), ("epsilon", site.given("epsilon"))):
                found = None if given is None else number(given, file.names)
                if found is not None and (what, found.node) not in seen:
                    seen.add((what, found.node))
                    yield site.framework, what, float(found.value)


def main():
    """Go through the folders."""
    values = {}
    for folder in map(Path, sys.argv[1:]):
        report = lint([folder], Settings(), jobs=1)
        rules = dict(sorted(Counter(each.rule for each in report.findings).items()))
        counts = {"files": report.files + report.others, "parsed": report.files}
        print(json.dumps({"package": folder.name, **counts, "findings": rules}), flush=True)
        for problem in report.problems:
            print(f"  not linted: {problem.path.relative_to(folder)}: {problem.message}")
        for each in report.findings:
            print(f"  {each.path.relative_to(folder)}:{each.line}: {each.rule} {each.message}")
        for framework, what, value in written(folder):
            values.setdefault((framework, what), Counter())[value] += 1
    for (framework, what), counted in sorted(values.items()):
        print(framework, what, dict(sorted(counted.items())))


if __name__ == "__main__":
    main()
