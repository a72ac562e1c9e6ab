"""docs/wrong.md: every command prints what stands below it, where its framework is installed."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "wrong.md").read_text(encoding="utf-8")
SCRIPT = re.compile(r"^```console\n\$ (\w+=\w+ )?python <<'E'\n(.*?)^E\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^```console\n\$ batchnorm ([^\n]*)\n(.*?)^```$", re.M | re.S)
# One process runs all scripts of a framework: starting it takes longer than they do.
RUNNER = """
import contextlib, io, json, sys
for script in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(script, "wrong", "exec"), {"__name__": "__main__"})
    print("@@" + json.dumps(out.getvalue()), file=sys.__stdout__, flush=True)
"""


def needs(script):
    return [name for name in re.findall(r"^(?:import|from) (\w+)", script, re.M) if name != "numpy"]


def groups():
    one = {"tensorflow": "tf_keras", "jax": "flax"}  # which end up in one process
    found = groupby(
        SCRIPT.findall(PAGE),
        key=lambda entry: (entry[0], one.get(name := max(needs(entry[1])), name)),
    )
    for (setting, framework), entries in found:
        scripts = [entry[1:] for entry in entries]
        yield pytest.param(setting.strip(), scripts, id=f"{setting}{framework}")


@pytest.mark.parametrize(("setting", "scripts"), [*groups()])
def test_the_commands_print_what_is_shown(setting, scripts):
    for name in {name for script, _ in scripts for name in needs(script)}:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} isn't installed")
    given = json.dumps([script for script, _ in scripts])
    job = [sys.executable, "-W", "ignore", "-c", RUNNER]
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env |= dict([setting.split("=")] if setting else [])
    ran = subprocess.run(job, input=given, capture_output=True, text=True, timeout=300, env=env)
    printed = [json.loads(line[2:]) for line in ran.stdout.splitlines() if line[:2] == "@@"]
    assert printed == [shown for _, shown in scripts], ran.stderr[-2000:]


def test_the_other_command_too():
    ((line, shown),) = COMMAND.findall(PAGE)
    job = [sys.executable, "-c", "from batchnorm.cli import main; main()", *line.split()]
    ran = subprocess.run(job, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0
    assert shown.strip().strip("…") in ran.stdout


def test_every_block_is_one_of_these():
    assert PAGE.count("```console") == len(SCRIPT.findall(PAGE)) + len(COMMAND.findall(PAGE)) > 15
