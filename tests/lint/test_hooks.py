"""The hooks that pre-commit finds in this repository: their keys, and what their commands do.

Facts: pre-commit.com, "Creating new hooks". The file's YAML is plain enough to be read line by
line, as no YAML library is among the tests' needs.
"""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from batchnorm.cli import group

MANIFEST = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"
REQUIRED = {"id", "name", "entry", "language"}
OPTIONAL = {
    *("files", "exclude", "types", "types_or", "exclude_types", "always_run", "fail_fast"),
    *("verbose", "pass_filenames", "require_serial", "description", "language_version"),
    *("minimum_pre_commit_version", "args", "stages", "additional_dependencies", "log_file"),
}
OLD = "from torch import nn\nnorm = nn.BatchNorm2d(8, momentum=0.9)\n"


def hooks():
    found = []
    for line in MANIFEST.read_text().splitlines():
        key = re.match(r"(- |  )(\w+): *(.*)", line)
        if key is None:
            assert line.startswith("    "), line  # goes on with a text
            continue
        if key[1] == "- ":
            found.append({})
        assert key[2] not in found[-1]
        found[-1][key[2]] = re.sub(r"\s+#.*", "", key[3])
    return {each["id"]: each for each in found}


def invoke(hook, *arguments):
    program, *command = shlex.split(hooks()[hook]["entry"])
    assert program == "batchnorm"
    return CliRunner().invoke(group, [*command, *map(str, arguments)])


def test_the_manifest_has_the_keys_that_pre_commit_takes():
    assert set(hooks()) == {"batchnorm-lint", "batchnorm-rewrite-check"}
    for hook in hooks().values():
        assert REQUIRED <= set(hook) <= REQUIRED | OPTIONAL
        assert hook["language"] == "python"
        assert hook["types_or"] == "[python, pyi, jupyter]"


def test_the_lint_hook_fails_for_findings_in_the_files_that_it_is_given(tmp_path):
    (tmp_path / "old.py").write_text(OLD)
    (tmp_path / "new.py").write_text("x = 1\n")
    assert invoke("batchnorm-lint", tmp_path / "new.py", tmp_path / "old.py").exit_code == 1
    assert invoke("batchnorm-lint", tmp_path / "new.py").exit_code == 0


def test_the_rewrite_hook_fails_for_what_is_left_of_the_other_framework(tmp_path):
    path = tmp_path / "old.py"
    path.write_text(OLD)
    arguments = ("--from", "torch", "--to", "mindspore", path)
    done = invoke("batchnorm-rewrite-check", *arguments)
    assert done.exit_code == 1
    assert path.read_text() == OLD
    assert invoke("batchnorm-rewrite-check", path).exit_code == 2  # it needs args
    path.write_text(OLD.replace("torch", "mindspore"))
    assert invoke("batchnorm-rewrite-check", *arguments).exit_code == 0
