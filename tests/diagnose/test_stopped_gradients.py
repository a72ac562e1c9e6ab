"""A gradient that stops in one model: named at the layer behind which it stops."""

import pytest
from built_nets import BUILD, plain, torch_net

from batchnorm.diagnose import diagnose

torch = pytest.importorskip("torch")


def net():
    return plain(shape=(4, 3, 12, 12))


def stopped(layer):
    port = torch_net(net())
    layer = port.get_submodule(layer)
    layer.register_forward_hook(lambda module, given, y: y.detach())
    return port


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("layer", ["a.bn", "b.bn"])
def test_a_detached_output_is_named_once_in_either_model(layer, steps):
    plain_net = torch_net(net())
    for pair, where in (((plain_net, stopped(layer)), "the source only"),
                        ((stopped(layer), plain_net), "the port only")):  # fmt: skip
        report = diagnose(*pair, net().batch(), steps=steps)
        [finding] = report.findings
        assert (finding.cause, finding.layers) == ("gradient-differs", [layer]), f"{report}"
        assert finding.evidence == {"a gradient reaches it in": where}


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_stopped_gradient_in_keras(package):
    pytest.importorskip(package)
    tensorflow = pytest.importorskip("tensorflow")
    port = BUILD[package](net())
    layer = next(layer for layer in port.layers if layer.name == "b_bn")
    whole = layer.call
    layer.call = stops = lambda x, **named: tensorflow.stop_gradient(whole(x, **named))
    report = diagnose(torch_net(net()), port, net().batch())
    assert {(f.cause, *f.layers) for f in report.findings} == {("gradient-differs", "b.bn")}
    assert layer.call is stops, "a call of the layer's own is its own afterwards"


def test_layers_that_need_no_gradient_are_no_difference():
    """TensorFlow differentiates by what is trained, torch by a batch that asks for it too."""
    pytest.importorskip("keras")
    source, port = torch_net(net()), BUILD["keras"](net())
    for layer in (source.a.conv, source.a.bn):
        layer.requires_grad_(False)
    for layer in port.layers:
        layer.trainable = not layer.name.startswith("a_")
    report = diagnose(source, port, net().batch())
    assert [(f.cause, f.layers) for f in report.findings] == [("mode-differs", ["a.bn"])]
