"""Vectors: the same bytes again, and our layers and the real frameworks within their bounds."""

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal, localcontext

import numpy as np
import pytest

from batchnorm import checkpoints
from batchnorm.conformance import vectors
from batchnorm.conformance.exact import CONTEXT, decimals, rounded
from batchnorm.errors import InvalidValue
from batchnorm.questions.subject import Ours

COMMAND = "from batchnorm.cli import main; main()"
DIALECTS = ("torch", "mindspore", "tf_keras", "keras")


def written(folder, *arguments, **environment):
    job = [sys.executable, "-c", COMMAND, "vectors", "-o", str(folder), *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(job, capture_output=True, text=True, timeout=300, env=env, check=True)


def digests(folder):
    files = sorted(folder.iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_two_runs_write_the_same_bytes_whatever_computes(tmp_path):
    options = ("--dialect", "torch", "--examples", "12")
    written(tmp_path / "a", *options)
    said = written(tmp_path / "b", *options, "--json", BATCHNORM_KERNEL="reference")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(digests(tmp_path / "a")) == 12
    report = json.loads(said.stdout)
    assert report["command"] == "vectors"
    assert [each["file"] for each in report["files"]] == sorted(digests(tmp_path / "b"))
    written(tmp_path / "c", *options, "--seed", "1")
    assert not {*digests(tmp_path / "c").values()} & {*digests(tmp_path / "a").values()}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_our_layers_lie_within_the_bounds(dialect):
    drawn = list(vectors(dialect, examples=25))
    assert len(drawn) == 25
    shares = [vector.shares(Ours(dialect)) for vector in drawn]
    assert max(max(share.values()) for share in shares) <= 1
    assert any(len(set(vector.steps)) == 2 for vector in drawn)
    assert {True, False} == {step for vector in drawn for step in vector.steps}


def test_a_wrong_layer_lies_outside():
    class Wrong(Ours):
        def layer(self, class_name, *args, **kwargs):
            return super().layer(class_name, *args, **{**kwargs, "momentum": 0.9})

    outside = set()
    for vector in vectors("torch", examples=12):
        if vector.arguments.get("momentum", 0.1) == 0.1:
            shares = vector.shares(Wrong("torch"))
            outside |= {place for place, share in shares.items() if share > 1}
    assert "1/state/running_mean" in outside
    assert all("state/running_" in place or "/y" in place for place in outside)


def test_a_file_holds_what_the_vector_holds(tmp_path):
    vector = next(iter(vectors("keras")))
    held = checkpoints.read(vector.save(tmp_path))
    facts = json.loads(held.metadata["safetensors"]["vector"])
    assert facts == json.loads(json.dumps(vector.facts()))
    assert facts["schema"] == 1
    for name, value in held.load().items():
        assert value.dtype == vector.arrays[name].dtype
        assert np.array_equal(value, vector.arrays[name])


def test_what_has_no_drawn_cases_has_no_vectors():
    with pytest.raises(InvalidValue, match="known: torch"):
        vectors("mint")


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_decimals_are_rounded_once(dtype):
    one = np.ones(1, dtype)
    above = np.nextafter(one, one + 1)
    with localcontext(CONTEXT):
        middle = (decimals(one) + decimals(above)) / 2
        assert rounded(middle, dtype) == one  # to even
        assert rounded(middle + Decimal("1e-40"), dtype) == above
        assert rounded(middle - Decimal("1e-40"), dtype) == one
