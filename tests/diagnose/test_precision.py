"""Fewer digits than the source has: in what was loaded, and in what a layer computes."""

import numpy as np
import pytest
from built_nets import BUILD, plain, torch_net

from batchnorm import frameworks
from batchnorm.diagnose import diagnose

torch = pytest.importorskip("torch")
ml_dtypes = pytest.importorskip("ml_dtypes")


def lost(net, name):
    """As a checkpoint of 16 bits leaves its values."""
    dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[name]
    port = net.port()
    for values in port.parameters.values():
        values.update({k: v.astype(dtype).astype(np.float32) for k, v in values.items()})
    return port


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("to", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_checkpoint_of_16_bits_is_one_cause_and_not_weights_that_were_not_loaded(to, name):
    pytest.importorskip(frameworks.find(to).real_package)
    net = plain(shape=(4, 3, 12, 12))
    port = BUILD[to](lost(net, name))
    report = diagnose(torch_net(net), port.set_train() if to == "mindspore" else port, net.batch())
    [finding] = report.findings
    assert finding.cause == "precision-differs", f"{report}"
    assert finding.evidence == {"loaded as": name}
    assert set(finding.layers) == set(net.parameters)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_layer_that_computes_with_16_bits_is_named_once(name):
    net = plain(shape=(4, 3, 12, 12))
    port, dtype = torch_net(net), getattr(torch, name)
    whole = type(port.b.bn).forward

    def low(x):
        return whole(port.b.bn, x.to(dtype).float()).to(dtype).float()

    port.b.bn.forward = low
    report = diagnose(torch_net(net), port, net.batch(), steps=2)
    assert [(f.cause, f.layers) for f in report.findings] == [("precision-differs", ["b.bn"])]


def test_another_formula_is_not_taken_for_fewer_digits():
    """Epsilon outside the root changes as little as 16 bits do."""
    net = plain(shape=(4, 3, 12, 12))
    port = torch_net(net)
    norm = port.b.bn

    def outside(x):
        axes, shape = (0, 2, 3), (1, -1, 1, 1)
        mean, var = norm.running_mean, norm.running_var
        if norm.training:
            mean, var = x.mean(axes), x.var(axes, unbiased=False)
        x = (x - mean.view(shape)) / (var.view(shape).sqrt() + 1e-3)
        return x * norm.weight.view(shape) + norm.bias.view(shape)

    norm.forward = outside
    report = diagnose(torch_net(net), port, net.batch())
    assert set(report.causes) == {"unexplained", "not-updated"}, f"{report}"
    assert {name for f in report.findings for name in f.layers} == {"b.bn"}
