"""The suite: docs/conformance.md as it stands, and adapters around our own layers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.conformance import NotOffered, conform
from batchnorm.errors import InvalidValue

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
COMMAND = "from batchnorm.cli import main; main()"


class Ours:
    """The smallest adapter."""

    module = bn.torch

    def construct(self, class_name, *args, **kwargs):
        return getattr(self.module, class_name)(*args, **kwargs)

    def state(self, layer):
        return layer.state

    def set_state(self, layer, state):
        layer.load_state(state)

    def forward(self, layer, x, training, **call):
        if training is not None:
            layer.train(training)
        return layer(x, **call)

    def backward(self, layer, dy):
        return layer.backward(dy), layer.gradients


class Keras(Ours):
    module = bn.keras

    def build(self, layer, shape):
        layer.build(shape)

    def forward(self, layer, x, training, **call):
        return layer(x, training=training, **call)


class Inverted(Ours):
    def construct(self, class_name, *args, **kwargs):
        if kwargs.get("momentum") is not None:
            kwargs["momentum"] = 1 - kwargs["momentum"]
        return super().construct(class_name, *args, **kwargs)


@pytest.fixture
def expected(tmp_path):
    def write(*entries):
        lines = [f"[[expected]]\n{entry}\nreason = 'known'\n" for entry in entries]
        (tmp_path / "expected.toml").write_text("\n".join(lines))
        return tmp_path / "expected.toml"

    return write


def named(report, outcome):
    return {result.name for result in report.results if result.outcome == outcome}


@pytest.mark.parametrize(("adapter", "dialect"), [(Ours(), "pytorch"), (Keras(), "keras3")])
def test_a_right_layer_conforms(adapter, dialect):
    report = conform(adapter, dialect, examples=40)
    assert report.failures == ()
    assert report.exit_code == 0
    assert report.counts["passed"] > 70
    assert any(name.startswith("case ") for name in named(report, "passed"))


def test_a_wrong_one_is_told_by_question_and_by_case():
    report = conform(Inverted(), "torch", examples=20)
    assert report.exit_code == 1
    failed = named(report, "failed")
    assert {"weight-of-the-new-batch", "running-mean-formula"} <= failed
    cases = [r for r in report.failures if r.name.startswith("case ")]
    assert cases
    assert all("state running_" in r.where or "y" in r.where for r in cases)


def test_what_was_expected_to_fail_and_does_is_no_failure(expected):
    failed = named(conform(Inverted(), "torch", examples=3), "failed")
    questions = sorted(n for n in failed if not n.startswith("case "))
    entries = [f"question = {questions}", f"case = {[int(n[5:]) for n in failed - {*questions}]}"]
    report = conform(Inverted(), "torch", examples=3, expected_failures=expected(*entries))
    assert named(report, "expected") == failed
    assert report.exit_code == 0


def test_what_was_expected_to_fail_and_passes_is_one(expected):
    file = expected("question = 'weight-of-the-new-batch'", "case = 99", "case = 0\nseed = 5")
    report = conform(Ours(), "torch", examples=1, expected_failures=file)
    assert named(report, "passed unexpectedly") == {"weight-of-the-new-batch"}
    assert report.exit_code == 1
    assert "case 99" in named(report, "not asked")


@pytest.mark.parametrize(
    "entry",
    [
        "question = 'no-such'",
        "question = ['zero-epsilon', 3]",
        "question = 'zero-epsilon'\nseed = 1",
        "case = '3'",
        "case = [1, true]",
        "x = 1",
        "case = true",
        "case = 1\nquestion = 'zero-epsilon'",
    ],
)
def test_a_file_that_means_nothing_is_refused(expected, entry):
    with pytest.raises(InvalidValue):
        conform(Ours(), "torch", examples=0, expected_failures=expected(entry))


def test_an_adapter_that_can_not_be_asked_is_refused_or_has_code_2():
    with pytest.raises(InvalidValue, match="lacks construct"):
        conform(bn, "torch")
    with pytest.raises(InvalidValue, match="known: torch"):
        conform(Ours(), "mindspore@2.0")

    class Nothing(Ours):
        def construct(self, class_name, *args, **kwargs):
            raise NotOffered("nothing")

    report = conform(Nothing(), "torch", examples=2)
    assert (report.exit_code, named(report, "passed")) == (2, set())


def test_what_the_adapter_says_may_be_lacking_is_not_compared():
    class Uncounted(Ours):
        without = ("num_batches_tracked",)

        def state(self, layer):
            return {n: v for n, v in layer.state.items() if n != "num_batches_tracked"}

        def set_state(self, layer, state):
            layer.load_state({**layer.state, **state})

    class Unsaid(Uncounted):
        without = ()

    def cases(adapter):
        failed = named(conform(adapter, "torch", examples=8), "failed")
        return {name for name in failed if name.startswith("case ")}

    assert cases(Uncounted()) == set()
    assert cases(Unsaid()) != set()


def test_an_output_that_is_no_output_fails_and_ends_nothing():
    class Silent(Ours):
        def forward(self, layer, x, training, **call):
            return np.array(None)

    report = conform(Silent(), "torch", examples=2)
    assert len(report.failures) > 20


def job(folder, *arguments):
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def run(folder, *arguments):
    return job(folder, "conformance", *arguments)


def test_the_page_does_what_it_shows(tmp_path):
    pytest.importorskip("torch")
    for name, text in re.findall(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", PAGE, re.M | re.S):
        (tmp_path / name).write_text(text, encoding="utf-8")
    right = run(tmp_path, "my_norm:Torch", "--dialect", "torch", "--json")
    report = json.loads(right.stdout)
    assert [r for r in report["results"] if r["outcome"] == "failed"] == []
    assert (right.returncode, report["command"], report["exit_code"]) == (0, "conformance", 0)
    assert report["counts"]["passed"] > 150
    shown = "{not asked} not asked, {passed} passed".format_map(report["counts"])
    assert shown in PAGE
    options = ("--dialect", "torch", "--examples", "4")
    wrong = run(tmp_path, "inverted:Inverted", *options, "--expected", "expected.toml")
    assert wrong.returncode == 1
    assert "failed: running-mean-formula: wanted True, got False" in wrong.stdout
    assert "failed: weight-of-the-new-batch" not in wrong.stdout
    written = job(tmp_path, "vectors", "--dialect", "torch", "-o", "vectors", "--examples", "20")
    assert written.stdout in PAGE
    judged = subprocess.run([sys.executable, "judge.py"], cwd=tmp_path, capture_output=True)
    assert judged.stdout.decode().strip() == "within the bounds"
    assert written.returncode == judged.returncode == 0
    absent = run(tmp_path, "no_such:thing", "--dialect", "torch")
    assert absent.returncode == 2
    assert "expected package.module:adapter" in absent.stderr
