"""The whole verification with stand-ins for the frameworks, and the command around it."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
from click.testing import CliRunner

import batchnorm as bn
from batchnorm.cli import verify as cli
from batchnorm.errors import InvalidType, InvalidValue
from batchnorm.questions.subject import Ours
from batchnorm.verify import Report, Row, verification, verify
from batchnorm.verify.compare import Disagreement
from batchnorm.verify.oracle import Crashed, Found, NotInstalled
from batchnorm.verify.report import SCHEMA, Finding


class StandIn(Ours):
    """Our own layers in the place of a framework's; they may crash after so many layers."""

    def __init__(self, framework, version, layers=10**9):
        super().__init__(framework)
        self.framework, self.left = framework, layers
        self._version = version

    version = property(lambda self: self._version)

    def layer(self, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise Crashed("the worker died of SIGSEGV")
        return super().layer(*args, **kwargs)

    def close(self):
        pass


@pytest.fixture
def stand_in(monkeypatch):
    """Let `find` find what a test says, and give the list for it."""
    found = Found([], {"keras": NotInstalled("no keras here")})
    monkeypatch.setattr(verification, "find", lambda *args, **kwargs: nullcontext(found))
    return found.oracles


def test_equal_layers_give_equal_rows(stand_in):
    stand_in.append(StandIn("torch", "2.13.0"))
    told = []
    report = verify(examples=10, progress=lambda *what: told.append(what))
    assert [row.result for row in report.rows] == ["equal"] * 4
    assert [row.what for row in report.rows][0::3] == ["signatures", "drawn cases"]
    assert report.equal
    assert report.missing == {"keras": "no keras here"}
    assert told[-1] == ("torch", "drawn cases", 10)
    assert all(row.compared > 9 for row in report.rows)


def test_a_deviation_that_is_gone_is_stale_for_its_version_only(stand_in):
    stand_in.append(StandIn("torch", "2.13.0"))
    stale = verify(examples=0).stale
    assert any("constant-channel" in deviation.names for deviation in stale)
    assert {deviation.dialect for deviation in stale} == {"torch"}
    stand_in[:] = [StandIn("torch", "9.9.9")]
    assert verify(examples=0).stale == ()


def test_a_crash_is_a_row_and_the_rest_goes_on(stand_in):
    stand_in += [StandIn("torch", "2.13.0", layers=200), StandIn("mindspore", "2.10.0")]
    report = verify(examples=5)
    by_framework = {f: [r for r in report.rows if r.framework == f] for f in ("torch", "mindspore")}
    assert [row.crash for row in by_framework["torch"]][-1].startswith("the worker died of SIGSEGV")
    assert by_framework["torch"][0].result == "equal"  # its signatures
    assert {row.result for row in by_framework["mindspore"]} == {"equal"}
    assert not report.equal


def test_a_disagreement_that_is_not_listed_counts(stand_in, monkeypatch):
    class Wrong(StandIn):
        def layer(self, class_name, *args, **kwargs):
            layer = super().layer(class_name, *args, **kwargs)
            layer.layer.correction = lambda *_: 0
            return layer

    stand_in.append(Wrong("torch", "2.13.0"))
    report = verify(examples=30)
    assert not report.equal
    assert any("running_var" in f.disagreement.where for f in report.findings)
    assert any(f.subject == "running-variance-denominator" for f in report.findings)


def test_the_variant_of_an_old_version_is_compared():
    assert verification.ours_of(StandIn("mindspore", "2.0.0")).label == "batchnorm.mindspore@2.0"
    assert verification.ours_of(StandIn("tf_keras", "2.6.0")).label == "batchnorm.tf_keras@2.6"
    assert verification.ours_of(StandIn("tf_keras", "2.21.0")).label == "batchnorm.tf_keras"


def layers():
    changed = bn.torch.BatchNorm2d(3, momentum=None)
    changed.eps = 0.5
    changed(np.ones((2, 3, 4, 4), np.float32))
    half = bn.torch.BatchNorm1d(2, affine=False)
    half.running_mean = half.running_var = None
    ghost = bn.tf_keras.BatchNormalization(axis=1, virtual_batch_size=2)
    ghost.build((4, 3, 2))
    pair = bn.tf_keras.BatchNormalization(axis=[1, 2], renorm=True)
    pair.build((4, 3, 2))
    mixed = bn.keras.BatchNormalization(dtype="mixed_float16", trainable=False)
    return [
        changed,
        half,
        bn.mindspore.BatchNorm3d(2, gamma_init=2, dtype="float16"),
        ghost,
        pair,
        mixed,
    ]


@pytest.mark.parametrize(
    "layer",
    layers(),
    ids=["torch changed", "torch no buffers", "mindspore 3d", "ghost", "two axes", "mixed"],
)
def test_one_layer_is_compared_with_its_settings_and_state(stand_in, layer):
    stand_in.append(StandIn(layer.FRAMEWORK, layer.VERIFIED_WITH))
    before = layer.state if getattr(layer, "built", True) else {}
    report = verify(layer, examples=15)
    (row,) = report.rows
    assert (row.compared, row.result) == (15, "equal")
    assert row.raised < 12
    for name, value in before.items():
        np.testing.assert_array_equal(layer.state[name], value)  # it was not called itself


def test_state_of_the_given_layer_is_what_counts(stand_in):
    layer = bn.torch.BatchNorm2d(2)
    layer.weight[...] = 7
    case = next(verification.live_cases(layer, 1, 0))
    np.testing.assert_array_equal(case.state["weight"], [7, 7])
    assert case.loaded


def test_what_cannot_be_verified_is_refused(stand_in):
    with pytest.raises(InvalidType, match="read takes"):
        verify(object())
    adjusted = bn.tf_keras.BatchNormalization(adjustment=lambda shape: (1.0, 0.0))
    stand_in.append(StandIn("tf_keras", "2.21.0"))
    with pytest.raises(InvalidValue, match="adjustment"):
        verify(adjusted, examples=1)


# The command.


def reported(*rows, missing=()):
    return Report(rows, dict.fromkeys(missing, "not there"), (), 3, 7)


def row(*findings, crash=""):
    return Row("torch", "2.13.0", "drawn cases", 7, 1, None, list(findings), crash)


FOUND = Finding("torch", "2.13.0", "drawn", "a case", Disagreement("step 1: y", "1", "2"), None)
STALE = verification.deviations.read()[0]
LISTED = Finding("torch", "2.13.0", "call", "c", Disagreement("step 1: y", "1", "2"), STALE)


def run(monkeypatch, report, *arguments):
    seen = {}
    monkeypatch.setattr(cli, "verify", lambda **given: seen.update(given) or report)
    return CliRunner().invoke(cli.command, list(arguments)), seen


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (reported(row()), 0),
        (reported(row(LISTED)), 0),
        (reported(row(FOUND)), 1),
        (reported(row(crash="died")), 1),
        (reported(missing=["torch", "keras"]), 2),
    ],
)
def test_the_exit_code_says_what_was_found(monkeypatch, report, code):
    result, _ = run(monkeypatch, report)
    assert result.exit_code == code
    assert ("pip install" in result.output) == (code == 2)


def test_a_framework_that_was_asked_for_must_be_there(monkeypatch):
    report = reported(row(), missing=["keras"])
    assert run(monkeypatch, report)[0].exit_code == 0
    result, seen = run(monkeypatch, report, "--framework", "torch", "--framework", "keras")
    assert result.exit_code == 2
    assert "keras not found" in result.output
    assert seen["frameworks"] == ("torch", "keras")


def test_stale_deviations_fail_under_strict(monkeypatch):
    report = Report((row(),), {}, (STALE,), 0, 1)
    assert run(monkeypatch, report)[0].exit_code == 0
    result, _ = run(monkeypatch, report, "--strict")
    assert result.exit_code == 1
    assert "gone" in result.output


def test_json_has_a_version_and_everything(monkeypatch):
    result, seen = run(
        monkeypatch, reported(row(FOUND, LISTED)), "--json", "--examples", "7", "--seed", "3"
    )
    content = json.loads(result.stdout)
    assert content["schema"] == SCHEMA
    assert (content["seed"], content["examples"], content["equal"]) == (3, 7, False)
    assert content["rows"][0]["unlisted"] == content["rows"][0]["listed"] == 1
    first, second = content["disagreements"]
    assert (first["where"], first["theirs"], first["ours"]) == ("step 1: y", "1", "2")
    assert first["deviation"] is None
    assert second["link"].startswith("https://")
    assert (seen["examples"], seen["seed"]) == (7, 3)


def test_the_table_shows_what_differs_and_why_something_may(monkeypatch):
    result, _ = run(monkeypatch, reported(row(FOUND, LISTED), missing=["keras"]), "-v")
    for text in ("1 differ", "theirs: 1", "ours:   2", "listed:", "not found", "drawn cases"):
        assert text in result.output


def test_options_reach_the_verification(monkeypatch, tmp_path):
    folder = str(tmp_path)
    _, seen = run(
        monkeypatch, reported(row()), "--oracle", "torch=/a/python", "--record", "--answers", folder
    )
    assert seen["oracles"] == {"torch": "/a/python"}
    assert seen["record"] == tmp_path
    _, seen = run(monkeypatch, reported(row()), "--record")
    assert seen["record"] is True
    result, _ = run(monkeypatch, reported(row()), "--answers", folder)
    assert isinstance(result.exception, InvalidValue)


def test_answers_are_recorded_where_asked(stand_in, tmp_path):
    stand_in.append(StandIn("torch", "2.13.0"))
    verify(examples=0, record=tmp_path)
    content = json.loads((tmp_path / "torch@2.13.0.json").read_text(encoding="utf-8"))
    assert (content["framework"], content["version"]) == ("torch", "2.13.0")
    assert content["answers"]["running-variance-denominator"] == "unbiased"


def test_forever_draws_fresh_seeds_until_stopped_and_prints_those_that_fail(monkeypatch):
    found = Found([StandIn("torch", "2.13.0"), StandIn("keras", "3.15.1", layers=40)], {})
    monkeypatch.setattr(cli, "find_oracles", lambda *args, **kwargs: nullcontext(found))
    seeds = []

    def stopping(*args):
        for seed, row in verification.draw_on(*args):
            seeds.append(seed)
            yield seed, row
            if len(seeds) == 6:
                raise KeyboardInterrupt

    monkeypatch.setattr(cli, "draw_on", stopping)
    result = CliRunner().invoke(cli.command, ["--forever", "--examples", "15", "--seed", "5"])
    assert seeds == [5, 5, 6, 6, 7, 7]
    assert result.exit_code == 1
    assert "seed 5 fails" not in result.output
    assert (
        "seed 7 fails: batchnorm verify --framework keras --examples 15 --seed 7" in result.output
    )
    assert "stopped at seed 7" in result.output


def test_forever_starts_at_a_fresh_seed_and_refuses_what_belongs_to_a_report(monkeypatch):
    found = Found([StandIn("torch", "2.13.0")], {})
    monkeypatch.setattr(cli, "find_oracles", lambda *args, **kwargs: nullcontext(found))
    seeds = []

    def one(found, seeds_, examples, told):
        seeds.append(next(iter(seeds_)))
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(cli, "draw_on", one)
    codes = {CliRunner().invoke(cli.command, ["--forever"]).exit_code for _ in range(3)}
    assert codes == {0}
    assert len(set(seeds)) == 3
    refused = CliRunner().invoke(cli.command, ["--forever", "--json"])
    assert isinstance(refused.exception, InvalidValue)


def test_forever_needs_somebody_to_ask(monkeypatch):
    found = Found([], {"keras": NotInstalled("no keras here")})
    monkeypatch.setattr(cli, "find_oracles", lambda *args, **kwargs: nullcontext(found))
    result = CliRunner().invoke(cli.command, ["--forever"])
    assert result.exit_code == 2
    assert "keras not found" in result.output
