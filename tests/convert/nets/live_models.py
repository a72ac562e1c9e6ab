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
    # Taken out of its dictionary, it is a plain model's state from then on.
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


def test_an_average_s_copy_in_one_dictionary_is_chosen_by_its_prefix(torch, tmp_path):
    path, like = tmp_path / "a.pth", tmp_path / "like.ckpt"
    state = net(torch).state_dict()
    other = {f"model_ema.{n}": v + 1 for n, v in state.items()}
    both = {**{f"model.{n}": v for n, v in state.items()}, **other}
    torch.save({"state_dict": both, "epoch": 3}, path)
    bn.convert(net(torch), like)
    report = bn.convert(path, tmp_path / "b.ckpt", like=like).report
    assert report.exit_code == 0
    assert any("take them with --group model_ema" in note for note in report.notes)
    own = bn.checkpoints.read(tmp_path / "b.ckpt").load()
    done = bn.convert(path, tmp_path / "b.ckpt", like=like, group="model_ema", force=True)
    assert done.report.exit_code == 0
    assert "took 'model_ema'" in done.report.notes
    assert all((v == own[n] + 1).all() for n, v in done.load().items() if v.dtype.kind == "f")
    with pytest.raises(bn.CheckpointError, match="neither a dictionary 'ema'"):
        bn.inspect(path, group="ema")


def test_what_trainers_nest_is_found(torch, tmp_path):
    """As timm, Lightning and YOLO save them."""
    state = net(torch).state_dict()
    optimizer = torch.optim.SGD(net(torch).parameters(), 0.1, 0.9).state_dict()
    named = {f"model.{n}": v for n, v in state.items()}
    files = {
        "timm": {"epoch": 1, "arch": "resnet18", "state_dict": state, "optimizer": optimizer,
                 "state_dict_ema": state, "version": 2, "amp_scaler": {"scale": 1.0}},
        "lightning": {"epoch": 1, "state_dict": named, "optimizer_states": [optimizer],
                      "lr_schedulers": [{"last_epoch": 1}], "callbacks": {"x": {"y": 1.0}}},
        "yolo": {"epoch": 1, "best_fitness": None, "model": state, "ema": state, "updates": 5,
                 "optimizer": None},
    }  # fmt: skip
    for name, content in files.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        report = bn.convert(path, tmp_path / f"{name}.ckpt").report
        assert report.exit_code == 0, name
        assert bn.inspect(path).layers[0].layer in ("1", "model.1"), name
        assert not bn.compare(path, tmp_path / f"{name}.ckpt").differences
