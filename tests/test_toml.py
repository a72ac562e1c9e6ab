"""Maps, settings and pyproject files are as foreign as checkpoints: one error, nothing waits."""

import os

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.convert.mapping import read_map
from batchnorm.convert.settings import read_settings
from batchnorm.errors import BatchNormError
from batchnorm.lint.settings import from_pyproject
from batchnorm.toml import LARGEST

BAD = {
    "nested": "x = " + "[" * 3000 + "]" * 3000,
    "long number": "x = " + "1" * 9000,
    "long hexadecimal": "version = 0x" + "f" * 9000,
    "not UTF-8": b"x = '\xff'",
    "NUL": b"x = '\0'",
    "twice": "[layers]\na = 'b'\na = 'c'",
    "no TOML": "{}",
    "large": " " * (LARGEST + 1),
    "escape": "\x1b[2J = 1",
    "layers": "layers = 3",
    "odd kind": "[layers]\na = { kind = [1] }",
    "huge flatten": "[layers]\na = { flatten = [0x" + "f" * 9000 + "] }",
    "tool": "tool = 7",
    "lint": "[tool.batchnorm]\nlint = 'x'",
}


@pytest.fixture(params=[*BAD, "pipe", "device", "folder", "link to a pipe", "missing"])
def bad(request, tmp_path):
    path = tmp_path / "pyproject.toml"
    if request.param in BAD:
        content = BAD[request.param]
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    return path


def test_each_reader_ends_with_one_short_error(bad):
    for reader in (read_map, lambda path: read_settings(path, "torch")):
        with pytest.raises(BatchNormError) as caught:
            reader(bad)
        assert len(str(caught.value)) < 1000 + 3 * len(str(bad))
        assert "\x1b" not in str(caught.value)


def test_a_project_file_is_read_or_refused(bad):
    try:
        assert from_pyproject(bad.parent) == {}
    except BatchNormError as error:
        assert "pyproject.toml" in str(error)  # noqa: PT017


def test_settings_that_are_said_twice_are_refused(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("eps = 1e-3\n[default]\neps = 1e-5\n")
    for given in ("eps=1e-3,eps=1e-5", path):
        with pytest.raises(BatchNormError, match="said twice"):
            read_settings(given, "torch")
    assert read_settings("eps=1e-3,momentum=none", "torch")["default"].epsilon == 1e-3
    state = {"n.running_mean": np.zeros(2), "n.running_var": np.ones(2)}
    with pytest.raises(BatchNormError, match="expected numbers"):
        bn.inspect(state, framework="torch", settings="eps=nan")
