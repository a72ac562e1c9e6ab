"""Whole models against ports in another framework: each fault is named, on its layer, alone."""

import faults
import numpy as np
import pytest
from built_nets import BUILD, mobile, resnet, torch_net, vgg

from batchnorm import frameworks
from batchnorm.diagnose import diagnose

PORTS = ("mindspore", "keras")


def port_of(net, name):
    pytest.importorskip(frameworks.find(name).real_package)
    model = BUILD[name](net)
    if hasattr(model, "set_train"):
        model.set_train()
    return model


def spelled(name):
    return name


def diagnosed(make, faulty, to, steps=1):
    net = make()
    source = torch_net(net)
    port, expected = net.port(), []
    for fault, layer in faulty:
        cause, *layers = getattr(faults, fault)(port, layer)
        expected.append((cause, layers))
    batch = net.batch()
    return diagnose(source, port_of(port, to), batch, steps=steps), expected


def check(report, expected):
    found = [(f.cause, sorted(f.layers)) for f in report.findings]
    wanted = [(cause, sorted(layers)) for cause, layers in expected]
    assert sorted(found) == sorted(wanted), f"{report}"
    assert report.exit_code == bool(expected)


RESNET = [
    [("momentum_inverted", "stem.bn")],
    [("epsilon_differs", "layer1.0.bn")],
    [("padding_differs", "layer1.0.conv")],
    [("wrong_layer", "layer1.0.bn")],
    [("kernel_transposed", "layer0.1.conv"), ("statistics_not_loaded", "layer2.1.bn")],
    [("mean_variance_swapped", "layer1.down.bn")],
    [("channel_order", None), ("variance_shifted", "layer2.0.bn")],
    [("activation_differs", "layer0.0.act"), ("gamma_beta_swapped", "layer2.1.bn")],
]
MOBILE = [
    [("momentum_differs", "b0.deep.bn")],
    [("variance_is_std", "b1.expand.bn")],
    [("padding_differs", "b1.deep.conv")],
    [("padding_differs", "stem.conv"), ("momentum_inverted", "b2.project.bn")],
    [("channels_permuted", "b1.deep.bn")],
    [("kernel_not_loaded", "b2.deep.conv")],
    [("affine_not_loaded", "b0.project.bn"), ("epsilon_differs", "b2.expand.bn")],
    [("activation_differs", "b1.deep.act")],
]
VGG = [
    [("bias_differs", "a.conv")],
    [("scale_differs", None)],
    [("channel_order", None), ("bias_differs", "c.conv")],
    [("statistics_not_loaded", "b.bn"), ("momentum_inverted", "d.bn")],
    [("gamma_beta_swapped", "c.bn")],
    [("epsilon_differs", "a.bn"), ("kernel_transposed", "d.conv")],
    [("kernel_not_loaded", "classifier")],
    [("activation_differs", "a.act"), ("variance_shifted", "b.bn")],
]
CASES = [
    (make, faulty) for make, all_of in ((resnet, RESNET), (mobile, MOBILE), (vgg, VGG))
    for faulty in all_of
]  # fmt: skip


@pytest.mark.parametrize("to", PORTS)
@pytest.mark.parametrize(
    ("make", "faulty"),
    CASES,
    ids=lambda v: v.__name__ if callable(v) else "+".join(f for f, _ in v),
)
def test_faults_are_named_alone_and_in_pairs(make, faulty, to):
    check(*diagnosed(make, faulty, to))


@pytest.mark.parametrize("to", PORTS)
@pytest.mark.parametrize(("make", "faulty"), CASES[::4])
def test_faults_are_named_by_inference_alone_where_they_show_there(make, faulty, to):
    report, expected = diagnosed(make, faulty, to, steps=0)
    check(report, [each for each in expected if "momentum" not in each[0]])


@pytest.mark.parametrize(("make", "faulty"), CASES[1::3])
def test_faults_are_named_alone_over_three_steps(make, faulty):
    to = PORTS[CASES.index((make, faulty)) % 2]
    check(*diagnosed(make, faulty, to, steps=3))


@pytest.mark.parametrize("to", PORTS)
@pytest.mark.parametrize("make", [resnet, mobile, vgg], ids=lambda make: make.__name__)
def test_a_faultless_port_has_no_finding_in_three_steps(make, to):
    check(*diagnosed(make, [], to, steps=3))


def test_the_models_are_left_as_they_were():
    import torch

    net = vgg()
    source = torch_net(net)
    source.eval()
    source.a.conv.weight.grad = torch.ones_like(source.a.conv.weight)
    before = {k: v.clone() for k, v in source.state_dict().items()}
    port = torch_net(net)
    diagnose(source, port, net.batch(), steps=2)
    for name, value in source.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not source.training
    assert port.training
    assert (source.a.conv.weight.grad == 1).all()
    assert port.a.conv.weight.grad is None
    np.testing.assert_array_equal(net.batch(), net.batch())
