"""`inspect` lists layers and finds what looks wrong."""

import numpy as np
import pytest

import batchnorm as bn


def layer(**more):
    values = {"weight": np.ones(3), "bias": np.zeros(3), "running_mean": np.full(3, 0.5),
              "running_var": np.full(3, 2.0), "num_batches_tracked": np.int64(7)}  # fmt: skip
    return {f"n.{k}": v for k, v in {**values, **more}.items()}


def test_a_layer_in_order():
    found = bn.inspect(layer(), settings="eps=1e-3")
    facts = found.layers[0]
    assert (facts.layer, facts.channels, facts.batches, facts.trouble) == ("n", 3, 7, ())
    assert facts.settings == {"eps": 0.001}
    assert facts.state["running_var"] == "n.running_var"
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"running_var": np.array([1, -1, 2.0])}, "negative variance in 1 of 3"),
        ({"running_var": np.array([0, 0, 2.0])}, "zero variance in 2 of 3"),
        ({"running_mean": np.zeros(3), "running_var": np.ones(3)}, "although 7 batches"),
        ({"weight": np.array([1, np.nan, np.inf])}, "gamma: 2 of 3 values are not finite"),
        ({"num_batches_tracked": np.int64(-2)}, "-2 batches"),
    ],
)
def test_signs_of_trouble(changed, text):
    found = bn.inspect(layer(**changed))
    assert any(text in trouble for trouble in found.layers[0].trouble)
    assert found.exit_code == 1


def test_keras_config_gives_the_settings():
    held = bn.checkpoints.Checkpoint(
        {e.name: e for e in (bn.checkpoints.Entry.of(f"b/{n}", np.ones(2) * 3)
                             for n in ("moving_mean", "moving_variance"))},
        "keras", "keras",
        {"layers": {"b": {"class_name": "BatchNormalization",
                          "config": {"epsilon": 0.01, "momentum": 0.9}}}},
    )  # fmt: skip
    assert bn.inspect(held).layers[0].settings == {"momentum": 0.9, "epsilon": 0.01}


def test_our_own_layers_are_models_too():
    made = bn.mindspore.BatchNorm2d(2, eps=1e-3, momentum=0.75)
    facts = bn.inspect(made).layers[0]
    assert facts.settings == {"eps": 0.001, "momentum": 0.75}
    assert list(facts.state.values()) == ["mean", "variance", "gamma", "beta"]


def test_what_is_neither_tensor_nor_plain_value_is_named(tmp_path):
    torch = pytest.importorskip("torch")
    path, target = tmp_path / "a.pth", tmp_path / "a.ckpt"
    state = {k: torch.from_numpy(np.array(v)) for k, v in layer().items()}
    torch.save({"state_dict": state, "best": np.float64(0.5), "seen": np.arange(2)}, path)
    found = bn.inspect(path)
    assert set(found.passed_over) == {"best", "seen"}
    report = bn.convert(path, target).report
    assert any("passed over" in note and "seen" in note for note in report.notes)


def test_a_count_of_0_beside_moved_statistics_is_a_note_that_names_the_one_suspect():
    """Files converted from where nothing counts and averages have it, and so has InstanceNorm."""
    found = bn.inspect(layer(num_batches_tracked=np.int64(0)))
    assert found.exit_code == 0
    (note,) = found.notes
    assert "0 batches" in note
    assert "InstanceNorm" in note


@pytest.mark.parametrize("role", ["running_mean", "running_var"])
def test_a_running_statistic_alone_is_a_problem(role):
    found = bn.inspect({f"n.{role}": np.ones(3), "n.num_batches_tracked": np.int64(3)})
    assert found.exit_code == 1
    assert "part of a batch norm" in found.problems[0]


def test_one_file_of_several_is_said(tmp_path):
    path = tmp_path / "model-00002-of-00003.safetensors"
    bn.checkpoints.write(path, {"c.weight": np.ones((2, 2), np.float32)}, framework="torch")
    found = bn.inspect(path)
    assert found.exit_code == 1
    assert "one of 3 files" in found.problems[0]
    assert "model.safetensors.index.json" in found.problems[0]
    done = bn.convert(path, tmp_path / "a.pth")
    assert done.report.exit_code == 1
    assert not (tmp_path / "a.pth").exists()
