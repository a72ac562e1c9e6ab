"""Live torch models and trainers' files: run by `test_live_models`, in a process of its own."""

import importlib

import numpy as np
import pytest

import batchnorm as bn


@pytest.fixture(scope="module")
def torch():
    return importlib.import_module("torch")


def net(torch):
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, eps=1e-3))
    made(torch.randn(2, 3, 8, 8))
    return made


def test_a_live_model_is_compared_with_its_converted_file(torch, tmp_path):
    model, path = net(torch), tmp_path / "b.ckpt"
    done = bn.convert(model, path)
    assert done.report.settings == {"1": {"eps": 0.001, "momentum": 0.9}}
    assert not bn.compare(model, path).differences
    with torch.no_grad():
        model[1].weight.mul_(2)
    assert [d.role for d in bn.compare(model, path).differences] == ["gamma"]


def test_bfloat16_of_a_live_model_keeps_its_bits(torch):
    model = net(torch).to(torch.bfloat16)
    found = bn.convert(model, to="mindspore").load()["0.weight"]
    assert found.dtype.name == "bfloat16"
    assert np.array_equal(found.astype(np.float32), model[0].weight.detach().float().numpy())


def test_a_trainer_s_file_with_optimizer_and_wrapper(torch, tmp_path):
    model = net(torch)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    wrapped = {f"module.{n}": v for n, v in model.state_dict().items()}
    path, target = tmp_path / "a.pth", tmp_path / "b.ckpt"
    state = {"state_dict": wrapped, "optimizer": optimizer.state_dict(), "epoch": 7, "note": "x"}
    torch.save(state, path)
    report = bn.convert(path, target).report
    assert report.exit_code == 0
    assert "took 'state_dict'" in report.notes
    assert any("'optimizer' alone" in note for note in report.notes)
    assert not bn.compare(model, target).differences
    with bn.checkpoints.read(target) as found:
        assert "1.moving_variance" in found
        assert found.extras["epoch"] == 7
    back = tmp_path / "c.pth"
    bn.convert(target, back)
    model.load_state_dict(torch.load(back, weights_only=True), strict=True)
    with bn.checkpoints.read(back) as found:
        assert found.extras["epoch"] == 7


def test_two_dictionaries_need_a_choice(torch, tmp_path):
    path = tmp_path / "a.pth"
    state = net(torch).state_dict()
    torch.save({"teacher": state, "student": state}, path)
    with pytest.raises(bn.CheckpointError, match="--group"):
        bn.inspect(path)
    assert bn.inspect(path, group="student").layers[0].layer == "1"


def test_an_unknown_object_is_an_error():
    with pytest.raises(TypeError, match="torch, MindSpore or Keras model"):
        bn.inspect(object())
