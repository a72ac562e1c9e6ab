"""What a new user tried, and what went wrong then."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import batchnorm
from batchnorm.cli import group
from batchnorm.translate.translation import translate


def found(call, source, target, **options):
    return translate(call, from_=source, to=target, **options)


def named(translation):
    return {difference.key: difference for difference in translation.differences}


def run(*arguments, columns="100"):
    return CliRunner().invoke(group, ["translate", *arguments], env={"COLUMNS": columns})


@pytest.mark.parametrize("size", ["2048", "1000000000"])
def test_a_proof_is_no_larger_than_it_needs_to_be(size):
    made = found(f"nn.BatchNorm2d({size})", "torch", "mindspore")
    started = time.process_time()
    assert made.text.startswith(f"nn.BatchNorm2d({size}")
    assert made.status == "equal"
    assert made.proof.stand_ins == {size: 64}
    assert made.proof.shape == (8, 64, 8, 8)
    assert time.process_time() - started < 2


def test_a_live_layer_keeps_its_own_number_of_channels():
    layer = batchnorm.torch.BatchNorm2d(100)
    assert translate(layer, to="keras").layer().state["moving_mean"].shape == (100,)
    assert translate(layer, to="mindspore").layer().state["moving_mean"].shape == (100,)


def test_huge_groups_are_not_run():
    call = "BatchNormalization(1, virtual_batch_size=1000000000)"
    assert "too much memory" in found(call, "tf_keras", "tf_keras@2.6").proof.skipped


@pytest.mark.parametrize("prefix", ["mint.nn", "mindspore.mint.nn", "ms.mint.nn"])
def test_mint_is_not_mindspores_nn(prefix):
    call = f"{prefix}.BatchNorm2d(3, momentum=0.2)"
    assert "momentum=0.8" in found(call, None, "keras").text
    with pytest.raises(ValueError, match="says mint, but the call is read as mindspore"):
        found(call, "mindspore", "keras")


def test_layers_of_other_libraries_are_refused():
    with pytest.raises(ValueError, match="paddle has batch norms of its own"):
        found("paddle.nn.BatchNorm2d(3)", "torch", "keras")


def test_a_lost_cumulative_average_says_what_works_where():
    call = "nn.BatchNorm2d(3, momentum=None)"
    lost = named(found(call, "torch", "mindspore"))["cumulative-average"]
    assert "no effect in mindspore" in lost.remedy
    assert lost.size == pytest.approx(9)
    assert "1 - 1/k" in named(found(call, "torch", "keras"))["cumulative-average"].remedy


@pytest.mark.parametrize("target", ["mindspore", "tf_keras", "keras"])
def test_an_average_that_is_not_kept_is_not_lost(target):
    made = found("nn.BatchNorm2d(3, momentum=None, track_running_stats=False)", "torch", target)
    assert "cumulative-average" not in named(made)
    assert made.proof.holds, made.proof


def test_virtual_batches_are_said_to_be_strided():
    made = found("BatchNormalization(1, virtual_batch_size=2)", "tf_keras", "torch")
    assert "x[g::k]" in named(made)["virtual-batch-size"].remedy
    assert "once per batch" in named(made)["virtual-batch-size"].remedy


def test_what_virtual_batches_are_said_to_be_is_what_they_are():
    random = np.random.default_rng(1)
    x = random.normal(size=(8, 3)).astype(np.float32)
    layer = batchnorm.tf_keras.BatchNormalization(virtual_batch_size=2, momentum=0.0)
    y = layer(x, training=True)
    plain = batchnorm.tf_keras.BatchNormalization(momentum=0.0)
    k, means = 8 // 2, []
    for g in range(k):
        np.testing.assert_allclose(y[g::k], plain(x[g::k], training=True), rtol=1e-5)
        means.append(plain.state["moving_mean"])
    moving = layer.state["moving_mean"].ravel()
    np.testing.assert_allclose(moving, np.mean(means, axis=0).ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "source", "target"),
    [
        ("nn.BatchNorm2d(3, use_batch_statistics=False)", "mindspore", "keras"),
        ("BatchNormalization(1, trainable=False)", "keras", "torch"),
        ("nn.BatchNorm2d(3, track_running_stats=False)", "torch", "keras"),
    ],
)
def test_modes_are_no_matter_where_they_decide_nothing(call, source, target):
    assert "mode" not in named(found(call, source, target))


def test_strict_agrees_with_what_is_named():
    done = run("nn.BatchNorm2d(64)", "--from", "mindspore", "--to", "tf_keras", "--strict")
    assert done.exit_code == 0
    assert done.stdout.rstrip().endswith("equal")
    wide = found("nn.BatchNorm2d(3, dtype=torch.float64)", "torch", "tf_keras")
    assert "float32-momentum" in named(wide)
    assert wide.status == "predicted"


def test_what_is_true_is_written_true():
    made = found("nn.BatchNorm2d(3, affine=1)", "torch", "mindspore")
    assert made.text == "nn.BatchNorm2d(3, eps=1e-05, momentum=0.9, affine=True)".replace(
        "eps=1e-05, momentum=0.9, ", ""
    )
    assert not set(named(made)) - {"mode"}
    assert "affine=False" in found("nn.BatchNorm2d(3, affine=0)", "torch", "mindspore").text


def test_keras_3_converts_its_numbers():
    made = found("BatchNormalization(axis='1', momentum='0.9', epsilon='1e-3')", "keras", "torch")
    assert made.text == "nn.BatchNorm2d(NUM_FEATURES, eps=0.001, momentum=0.1)"
    assert made.plan.axes == (1, 1)
    assert found("BatchNormalization(axis=1.7)", "keras", "torch").plan.axes == (1, 1)
    with pytest.raises(ValueError, match="keras itself refuses"):
        found("BatchNormalization(momentum='x')", "keras", "torch")


def test_numpy_integers_are_wrapped_for_mindspore():
    made = found("nn.BatchNorm2d(np.int64(3))", "torch", "mindspore")
    assert made.text == "nn.BatchNorm2d(int(np.int64(3)))"
    assert made.status == "equal"


def test_what_the_target_refuses_when_it_runs_is_a_difference():
    refused = named(found("nn.BatchNorm2d(3, eps=0)", "torch", "mindspore"))["refused"]
    assert refused.kind == "inexpressible"
    assert "eps" in refused.text


def test_synchronization_says_where_it_runs_and_among_whom():
    made = named(found("nn.SyncBatchNorm(3, process_group=g)", "torch", "keras"))
    assert made["process-group"].kind == "inexpressible"
    assert "tensorflow" in made["backend"].remedy


CALLS = [
    ("nn.BatchNorm2d(64, device='cuda')", "torch"),
    ("nn.BatchNorm2d(3, momentum=None, dtype=torch.float64, track_running_stats=t)", "torch"),
    ("nn.SyncBatchNorm(3, process_group=g)", "torch"),
    ("nn.BatchNorm2d(3, gamma_init='normal', use_batch_statistics=u, affine=a)", "mindspore"),
    ("BatchNormalization([1, 2], name='a', input_shape=(3, 4, 5))", "tf_keras"),
    ("BatchNormalization(1, renorm=True, gamma_regularizer='l2')", "keras"),
    ("BatchNormalization(1, virtual_batch_size=2, weights=w, fused=False)", "tf_keras"),
    ("BatchNormalization(1, adjustment=f, beta_constraint='non_neg')", "tf_keras"),
]


@pytest.mark.parametrize(("call", "source"), CALLS)
@pytest.mark.parametrize("target", ["torch", "mindspore", "tf_keras", "keras"])
def test_no_template_is_left_and_every_loss_has_a_remedy(call, source, target):
    if source == target:
        return
    for difference in found(call, source, target).differences:
        assert "{" not in difference.text + difference.remedy
        assert difference.remedy or difference.kind != "inexpressible", difference


def test_deep_expressions_are_refused_with_a_text():
    for deep in (
        "+".join(["x"] * 3000),
        "-" * 3000 + "x",
        "f(" * 90 + "x" + ")" * 90 + ".a" * 5000,
    ):
        with pytest.raises(ValueError, match=r"nested too deeply|does not parse"):
            found(f"nn.BatchNorm2d(3, momentum={deep})", "torch", "keras")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_nobody_takes_ends_without_a_traceback():
    code = "from batchnorm.cli import main; main()"
    command = [sys.executable, "-c", code, "translate", CALLS[0][0], "--to", "keras", "--from"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, "torch"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*command, "torch"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_flag_must_be_right_for_each_of_its_values():
    made = found("nn.BatchNorm2d(3, use_batch_statistics=flag)", "mindspore", "torch")
    assert made.exit_code() == 1
    assert any("for flag = False" in d.text and d.key == "flag" for d in made.differences)
    made = found("nn.BatchNorm2d(3, affine=flag)", "torch", "mindspore")
    assert made.exit_code() == 0
    assert len(made.plan.cases) == 2
    made = found("nn.BatchNorm2d(3, bias=flag)", "torch", "mindspore")
    assert made.exit_code() == 1


@pytest.mark.parametrize(
    ("call", "source", "target", "options"),
    [
        ("nn.BatchNorm2d(3)", "torch", "keras", {"num_features": 4}),
        ("nn.BatchNorm2d(3)", "torch", "torch", {}),
        ("BatchNormalization()", "keras@2", "tf_keras", {}),
        ("nn.BatchNorm2d(3, momentum=1e400)", "torch", "keras", {}),
        ("nn.BatchNorm2d(3, momentum=lambda: 1)", "torch", "keras", {}),
        ("nn.BatchNorm2d([c for c in d])", "torch", "keras", {}),
    ],
)
def test_what_makes_no_sense_is_refused(call, source, target, options):
    with pytest.raises((ValueError, TypeError)):
        found(call, source, target, **options)


def test_many_digits_of_a_float_are_that_float():
    call = "nn.BatchNorm2d(3, momentum=0.1000000000000000055511151231257827)"
    assert "momentum=0.9," in found(call, "torch", "keras").text


@pytest.mark.parametrize("columns", ["80", "60", "40"])
def test_names_are_never_broken(columns):
    done = run("nn.BatchNorm2d(64)", "--from", "torch", "--to", "mindspore", columns=columns)
    for name in ("bn1.num_batches_tracked", "bn1.moving_variance", "running_var after inference"):
        assert name in done.stdout
    assert "…" not in done.stdout


def test_json_has_the_numbers_of_one_place():
    done = run("nn.BatchNorm2d(64)", "--from", "torch", "--to", "keras", "--json")
    for row in json.loads(done.stdout)["translations"][0]["proof"]["rows"]:
        left = abs(row["difference"] - row["predicted"])
        assert left == pytest.approx(row["share"] * row["bound"], rel=1e-9)


def test_subpackages_are_there_when_asked_for():
    code = "import batchnorm as bn; print(bn.translate.translate, bn.explain.page, bn.verify)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        batchnorm.nothing  # noqa: B018


def test_the_smallest_epsilon_in_force_is_what_is_written():
    made = found("BatchNormalization(1, epsilon=1e-7)", "tf_keras@2.6", "torch")
    assert "eps=1.001e-05" in made.text
    assert "epsilon-clamp" not in named(made)
    assert made.status == "equal"
    made = found("BatchNormalization(1, epsilon=e)", "tf_keras@2.6", "torch")
    assert "eps=max(e, 1.001e-05)" in made.text
    made = found("BatchNormalization(1, epsilon=1e-7)", "tf_keras@2.6", "torch", rank=2)
    assert "eps=1e-7" in made.text


def test_the_only_loss_has_its_measured_size():
    for call, source in (
        ("BatchNormalization(1, renorm=True)", "keras"),
        ("nn.BatchNorm2d(3, use_batch_statistics=False)", "mindspore"),
    ):
        done = run(call, "--from", source, "--to", "torch", "--json")
        (one,) = json.loads(done.stdout)["translations"]
        lost = [d for d in one["differences"] if d["kind"] == "inexpressible"]
        assert [0.01 < (d["size"] or 0) < 100 for d in lost] == [True], lost
