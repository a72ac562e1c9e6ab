"""`batchnorm translate`: what it prints, and how it exits."""

import json

import pytest
from click.testing import CliRunner

from batchnorm.cli import group, main

CALL = "nn.BatchNorm2d(64, eps=0.001, momentum=0.01)"


def run(*arguments, stdin=None):
    return CliRunner().invoke(group, ["translate", *arguments], input=stdin, env={"COLUMNS": "100"})


def test_the_call_comes_first_on_a_line_of_its_own():
    done = run(CALL, "--from", "torch", "--to", "keras")
    lines = done.stdout.splitlines()
    assert lines[0] == "keras.layers.BatchNormalization(axis=1, momentum=0.99, epsilon=0.001)"
    assert lines[1] == ""
    assert done.exit_code == 0


def test_a_long_call_is_not_broken():
    call = f"BatchNormalization(1, momentum={'very_long_name_' * 10})"
    done = run(call, "--from", "keras", "--to", "torch")
    assert len(done.stdout.splitlines()[0]) > 150


def test_state_names_differences_and_proof_follow():
    done = run(CALL, "--from", "torch", "--to", "mindspore@2.0")
    for words in (
        "bn1.moving_variance / variance",
        "running-variance-denominator",
        "2.0e-03 less at n = 8×8×8",
        "5 training steps and one inference on 8×64×8×8",
        "running_var after training",
        "different only as predicted",
    ):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("call", "source", "target", "options", "code"),
    [
        (CALL, "torch", "mindspore", [], 0),
        (CALL, "torch", "mindspore", ["--strict"], 0),
        (CALL, "torch", "keras", [], 0),
        (CALL, "torch", "keras", ["--strict"], 1),
        ("nn.BatchNorm2d(64, momentum=None)", "torch", "keras", [], 1),
        ("BatchNormalization(1, epsilon=-1e-5)", "keras", "torch", [], 1),
        ("nn.BatchNorm2d(64, gama_init=1)", "mindspore", "keras", [], 2),
        ("nn.BatchNorm2d(64, momentum=2)", "mindspore", "keras", [], 2),
        ("nn.BatchNorm2d(64", "torch", "keras", [], 2),
        (CALL, "torhc", "keras", [], 2),
    ],
)
def test_exit_codes(call, source, target, options, code, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["translate", call, "--from", source, "--to", target, *options])
    assert stopped.value.code == code
    assert bool(capsys.readouterr().err) is (code == 2)


def test_a_missing_target_is_a_usage_error():
    assert run(CALL, "--from", "torch").exit_code == 2
    assert run(CALL, "--from", "torch", "--to", "keras", "--rank", "9").exit_code == 2


def test_json_is_one_object_with_a_version():
    done = run(CALL, "--from", "torch", "--to", "keras", "--json")
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["schema"] == 1
    assert found["exit_code"] == 0
    assert found["source"] == {
        "call": "nn.BatchNorm2d(64, eps=0.001, momentum=0.01)",
        "dialect": "torch",
        "class": "BatchNorm2d",
        "inferred_from": None,
    }
    (one,) = found["translations"]
    assert set(one) == {
        *("to", "call", "lazy_call", "class", "arguments", "rank", "channel_axis"),
        *("state", "notes", "differences", "proof", "real_proof", "status"),
    }
    assert one["arguments"] == {"axis": "1", "momentum": "0.99", "epsilon": "0.001"}
    assert one["status"] == "predicted"
    assert one["differences"][0]["reference"] == "running-variance-denominator"
    row = next(r for r in one["proof"]["rows"] if r["name"] == "running_var after training")
    left = abs(row["difference"] - row["predicted"])
    assert left == pytest.approx(row["share"] * row["bound"], rel=1e-6)
    assert row["largest"] >= row["difference"]
    assert row["holds"]
    assert not row["equal"]


def test_all_is_every_other_framework():
    done = run(CALL, "--from", "torch", "--to", "all", "--json")
    found = json.loads(done.stdout)
    assert [t["to"] for t in found["translations"]] == ["mindspore", "tf_keras", "keras", "mint"]
    done = run("nn.BatchNorm2d(3, gamma_init=2)", "--to", "all", "--quiet")
    assert done.exit_code == 1
    names = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert names == ["torch", "tf_keras", "keras", "mint"]


def test_quiet_prints_the_call_alone():
    done = run(CALL, "--from", "torch", "--to", "mindspore", "-q")
    assert done.stdout == "nn.BatchNorm2d(64, eps=0.001, momentum=0.99)\n"


def test_a_dash_reads_the_call_from_standard_input():
    done = run("-", "--from", "torch", "--to", "mindspore", "-q", stdin=f"  {CALL}\n")
    assert done.stdout == "nn.BatchNorm2d(64, eps=0.001, momentum=0.99)\n"


def test_keras_calls_take_a_number_of_channels_and_a_rank():
    done = run("BatchNormalization()", "--from", "keras", "--to", "torch")
    first, second = done.stdout.splitlines()[:2]
    assert first == "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.01)"
    assert second.startswith("nn.LazyBatchNorm2d(eps=0.001, momentum=0.01)")
    options = ["--num-features", "64", "--rank", "2", "-q"]
    done = run("BatchNormalization()", "--from", "keras", "--to", "torch", *options)
    assert done.stdout == "nn.BatchNorm1d(64, eps=0.001, momentum=0.01)\n"


def test_stand_ins_are_named():
    done = run("nn.BatchNorm2d(c, momentum=m if m else 0.1)", "--from", "torch", "--to", "keras")
    assert "momentum=1 - (m if m else 0.1)" in done.stdout
    assert "`m if m else 0.1` stands as 0.07" in done.stdout


def test_how_the_framework_was_told_is_said():
    done = run("torch.nn.BatchNorm2d(3)", "--to", "keras")
    assert "read as torch, by the prefix 'torch.nn'" in done.stdout


def test_a_side_that_raises_is_shown():
    done = run("BatchNormalization(1, epsilon=-1e-5)", "--from", "keras", "--to", "torch")
    assert "problem: batchnorm.torch raised" in done.stdout
    assert done.exit_code == 1


def test_a_version_that_is_only_recorded_can_not_be_run_for_real(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["translate", CALL, "--from", "torch", "--to", "mindspore@2.0", "--real"])
    assert stopped.value.code == 2
    assert "leave --real out" in capsys.readouterr().err
