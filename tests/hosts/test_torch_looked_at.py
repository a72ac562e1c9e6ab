"""Whoever looks at a module sees torch's own, accelerated, fused or ported."""

import copy
import inspect
import pickle
import warnings

import pytest
from torch.ao.quantization import get_default_qat_qconfig_mapping, quantize_fx
from torch.overrides import TorchFunctionMode
from torch_here import away, torch, ulps

from batchnorm.hosts.torch import accelerate, port

with warnings.catch_warnings():  # torch's own, of its own deprecated functions
    warnings.simplefilter("ignore")
    import torch.fx.experimental.optimization as optimization

nn, functional = torch.nn, torch.nn.functional
HOW = {
    "accelerate": accelerate,
    "fuse": lambda model: accelerate(model, fuse=True),
    "port": lambda model: port(model, "keras"),
}
each = pytest.mark.parametrize("how", HOW)


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, image):
        return self.relu(self.norm(self.conv(image)))


def net():
    torch.manual_seed(0)
    found = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    found += nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    for norm in (found[1], found[4]):
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return found


@each
def test_signatures_and_classes_are_torchs_own(how):
    plain, ours = Stem(), HOW[how](Stem())
    for model in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        for one, other in zip(model.modules(), plain.modules(), strict=True):
            assert type(one) is type(other)
            assert inspect.signature(one.forward) == inspect.signature(other.forward)
    x = torch.randn(2, 3, 8, 8)
    assert away([ours(image=x)], [plain(image=x)]) <= ulps(torch.float32, 16)


@pytest.mark.parametrize("strict", [False, True])
@each
def test_exported_programs_name_the_inputs_and_take_shapes_by_name(how, strict):
    x = torch.randn(3, 3, 8, 8)
    plain, ours = Stem().eval(), HOW[how](Stem()).eval()
    shapes = {"image": {0: torch.export.Dim("batch", min=2, max=64)}}
    for more in ({}, {"dynamic_shapes": shapes}):
        one, other = (torch.export.export(m, (x,), strict=strict, **more) for m in (plain, ours))
        assert one.graph_signature.user_inputs == other.graph_signature.user_inputs == ("image",)
        given = torch.cat([x, x]) if more else x
        assert away([other.module()(given)], [one.module()(given)]) <= ulps(torch.float32, 16)


@each
def test_batch_norms_fold_into_convolutions(how):
    x = torch.randn(2, 3, 8, 8)
    folded = optimization.fuse(HOW[how](net()).eval())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert away([folded(x)], [net().eval()(x)]) <= 1e-5


@pytest.mark.parametrize("how", ["accelerate", "fuse"])
def test_quantization_joins_them(how):
    def joined(model):
        x = torch.randn(2, 3, 12, 12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mapping = get_default_qat_qconfig_mapping("fbgemm")
            found = quantize_fx.prepare_qat_fx(model, mapping, (x,))
        return sum("ConvBn" in type(m).__name__ for m in found.modules())

    assert joined(HOW[how](net().train())) == joined(net().train()) == 2


@each
def test_settings_set_by_exact_class_count(how):
    def initialize(model):
        for m in model.modules():
            if type(m) is nn.BatchNorm2d:
                m.eps, m.momentum = 0.5, 0.9
        return model

    x = torch.randn(2, 3, 8, 8)
    ours, plain = initialize(HOW[how](net())), initialize(net())
    assert away([ours(x)], [plain(x)]) <= ulps(torch.float32, 32)
    torch.testing.assert_close(ours[1].running_mean, plain[1].running_mean)


def test_a_synchronised_one_is_no_instance_of_torchs_and_help_says_so():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))
    ours = accelerate(model)
    assert not isinstance(ours[0], nn.SyncBatchNorm)
    assert "isinstance" in accelerate.__doc__
    again = nn.SyncBatchNorm.convert_sync_batchnorm(ours)
    assert isinstance(again[0], nn.SyncBatchNorm)


class Zero(TorchFunctionMode):
    """Replaces what torch.nn.functional.batch_norm gives."""

    calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is functional.batch_norm:
            self.calls += 1
            return torch.zeros_like(result)
        return result


@pytest.mark.parametrize("training", [True, False])
@each
def test_modes_see_one_call_each(how, training):
    ours = HOW[how](nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())).train(training)
    with Zero() as mode:
        y = ours(torch.randn(2, 4, 5, 5))
    assert mode.calls == 1
    assert not y.any()


def test_a_default_device_is_no_such_mode(monkeypatch):
    from batchnorm.hosts.torch.tensors import plain

    with torch.device("cpu"):
        assert plain(torch.ones(1))
    with Zero():
        assert not plain(torch.ones(1))


@pytest.mark.parametrize("rule", ["keras", "mindspore", "tf_keras"])
@pytest.mark.parametrize("training", [True, False])
def test_ensembles_without_statistics_normalize_by_the_batch(rule, training):
    func, x = torch.func, torch.randn(4, 3, 8, 8)
    plain = func.replace_all_batch_norm_modules_(net()).train(training)
    ours = func.replace_all_batch_norm_modules_(port(net(), rule)).train(training)
    assert away([ours(x)], [plain(x)]) <= ulps(torch.float32, 32)
    two = {k: torch.stack([v, v]) for k, v in dict(ours.named_parameters()).items()}

    def gradients(model):
        call = lambda p: func.functional_call(model, p, (x,)).sin().sum()  # noqa: E731
        return list(func.vmap(func.grad(call))(two).values())

    assert away(gradients(ours), gradients(plain)) <= 1e-4


@each
def test_a_copy_for_another_device_computes_with_its_own_tensors(how):
    """What torch.nn.DataParallel makes of each module, without the devices."""
    ours = HOW[how](nn.BatchNorm2d(3))
    replica = ours._replicate_for_data_parallel()
    replica.running_mean = torch.full((3,), 5.0)
    replica.training = False
    x = torch.randn(2, 3, 4, 4)
    replica.weight, replica.bias = (t.detach() for t in (ours.weight, ours.bias))
    torch.testing.assert_close(replica(x), (x - 5) / (1 + ours.eps) ** 0.5)
    assert float(ours.running_mean.abs().max()) == 0


@pytest.mark.filterwarnings("ignore")
@each
def test_onnx_files_are_those_of_the_plain_model(how, tmp_path):
    onnx = pytest.importorskip("onnx")

    def nodes(model):
        path = tmp_path / "model.onnx"
        torch.onnx.export(model.eval(), (torch.randn(2, 3, 8, 8),), path, dynamo=False)
        graph = onnx.load(path).graph
        return [node.op_type for node in graph.node], [value.name for value in graph.input]

    assert nodes(HOW[how](Stem())) == nodes(Stem())


def test_frozen_by_its_own_word_a_ported_one_infers_and_learns_nothing():
    model = port(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)), "keras")
    assert "semantics='keras'" in repr(model)
    model[0].trainable = False
    model(torch.randn(4, 3, 2, 2) + 5).sum().backward()
    assert float(model[0].running_mean.abs().max()) == 0
    assert model[0].weight.grad is None
    model[0].trainable = True
    model(torch.randn(4, 3, 2, 2) + 5).sum().backward()
    assert model[0].weight.grad is not None
    assert float(model[0].running_mean.abs().max()) > 0
