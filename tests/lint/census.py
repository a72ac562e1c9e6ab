"""Counts for docs/rules/measured.md: `python tests/lint/census.py FOLDER…`, one folder a package.

Prints per package the files and the findings by rule, and per framework the momenta and epsilons
that calls are given (each literal once, test files left out). Not a test.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from batchnorm.lint import Settings
from batchnorm.lint.linted import Linted
from batchnorm.lint.number import number
from batchnorm.lint.run import look_through, worth_a_look
from batchnorm.source import SourceError, find


def written(file):
    """(framework, "momentum" or "epsilon", value) for each literal that reaches a layer."""
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
        candidates = find([folder], (), worth_a_look)
        rules, sites = Counter(), Counter()
        for path in candidates.files:
            try:
                file = Linted(path, path.read_bytes())
            except SourceError as error:
                print(f"  not linted: {path.relative_to(folder)}: {error}")
                continue
            sites.update(site.framework for site in file.sites)
            for each in look_through(file, Settings())[0]:
                rules[each.rule] += 1
                print(f"  {path.relative_to(folder)}:{each.line}: {each.rule} {each.message}")
            for framework, what, value in written(file):
                values.setdefault((framework, what), Counter())[value] += 1
        counts = {"files": len(candidates.files) + candidates.others}
        counts |= {"parsed": len(candidates.files), "layers": sites, "findings": rules}
        print(json.dumps({"package": folder.name, **counts}), flush=True)
    for (framework, what), counted in sorted(values.items()):
        print(framework, what, dict(sorted(counted.items())))


if __name__ == "__main__":
    main()
