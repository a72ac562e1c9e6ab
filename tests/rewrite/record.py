"""The cases of rewriting as data: read them, and write anew what becomes of them.

`python tests/rewrite/record.py` after a change; the difference is read before it is committed. A
case begins with `=== title | framework`, then the source; each `--- framework` is followed by what
it becomes there, and lines with `! ` say what is told the user.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from batchnorm.rewrite import rewrite_source
from batchnorm.rewrite.report import site_lines

FOLDER = Path(__file__).parent / "cases"


@dataclass
class Case:
    title: str
    framework: str
    before: str = ""
    after: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)


def read(path):
    cases, target = [], None
    for line in path.read_text().splitlines(keepends=True):
        if line.startswith("=== "):
            title, _, framework = line[4:].strip().rpartition(" | ")
            cases.append(Case(title, framework))
            target = None
        elif line.startswith("--- "):
            target = line[4:].strip()
            cases[-1].after[target], cases[-1].warnings[target] = "", []
        elif target is None:
            cases[-1].before += line
        elif line.startswith("! "):
            cases[-1].warnings[target].append(line[2:].rstrip("\n"))
        else:
            cases[-1].after[target] += line
    return cases


def run(case, target):
    """The text after rewriting, and what is told."""
    found = rewrite_source(case.before, from_=case.framework, to=target)
    told = [line for line in site_lines("", found.sites) if ": differs: " not in line]
    return found.after.decode(), [line.removeprefix(":") for line in told]


def main():
    for path in sorted(FOLDER.glob("*.txt")):
        parts = []
        for case in read(path):
            parts.append(f"=== {case.title} | {case.framework}\n{case.before}")
            for target in case.after:
                after, told = run(case, target)
                parts.append(f"--- {target}\n{after}" + "".join(f"! {line}\n" for line in told))
        path.write_text("".join(parts))


if __name__ == "__main__":
    sys.exit(main())
