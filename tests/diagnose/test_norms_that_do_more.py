"""Batch norms whose forward adds an activation, as timm's BatchNormAct2d does."""

import warnings

import numpy as np
import pytest
from built_nets import BUILD, plain, torch_net

from batchnorm.diagnose import diagnose

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class NormAct(nn.BatchNorm2d):
    """By a call of its own, and an activation in place."""

    def forward(self, x):
        if self.training:
            self.num_batches_tracked.add_(1)
        mean, var = self.running_mean, self.running_var
        x = F.batch_norm(
            x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        return self.act(x)


class AfterSuper(nn.BatchNorm2d):
    def forward(self, x):
        return self.act(super().forward(x))


class Abs(nn.Module):
    def forward(self, x):
        return x.abs_()


def net():
    return plain(shape=(4, 3, 12, 12))


def fused(kind, given=None, **acts):
    """The net, with each batch norm and the activation behind it as one layer."""
    model = torch_net(given or net())
    for name in ("a", "b"):
        part = getattr(model, name)
        layer = kind(part.bn.num_features, part.bn.eps, part.bn.momentum)
        layer.load_state_dict(part.bn.state_dict())
        layer.act = acts.get(name, nn.ReLU(inplace=True))
        part.bn = layer
    return model


@pytest.mark.parametrize("kind", [NormAct, AfterSuper])
@pytest.mark.parametrize("steps", [0, 2])
def test_what_a_norm_adds_is_no_fault_of_it(kind, steps):
    pairs = [(torch_net(net()), fused(kind)), (fused(kind), torch_net(net())),
             (fused(kind), fused(kind))]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in pairs:
            report = diagnose(*pair, net().batch(), steps=steps)
            assert not report.findings, f"{report}"
            assert not report.undecided, f"{report}"


@pytest.mark.parametrize("package", ["keras", "mindspore"])
def test_a_port_of_a_net_of_such_norms(package):
    pytest.importorskip(package)
    port = BUILD[package](net())
    port = port.set_train() if package == "mindspore" else port
    report = diagnose(fused(NormAct), port, net().batch())
    assert not report.findings, f"{report}"


@pytest.mark.parametrize("kind", [NormAct, AfterSuper])
def test_faults_of_such_a_norm_and_of_its_activation_are_told_apart(kind):
    given = net()
    port = given.port()
    port.options("b.bn")["epsilon"] = 1e-3
    report = diagnose(fused(kind), fused(kind, port, a=Abs()), given.batch())
    found = {f.cause: f.layers for f in report.findings}
    assert found == {"epsilon-differs": ["b.bn"], "activation-differs": ["b.conv"]}, f"{report}"


@pytest.mark.parametrize("used", [0, 1])
def test_a_norm_that_normalizes_twice_and_drops_one_is_updated_twice(used):
    port = torch_net(net())
    whole = port.b.bn.forward
    port.b.bn.forward = lambda x: (whole(x), whole(x))[used]
    report = diagnose(torch_net(net()), port, net().batch(), steps=2)
    assert {(f.cause, *f.layers) for f in report.findings} == {("updated-twice", "b.bn")}


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_keras_norm_with_a_call_of_its_own_is_undecided_and_accuses_nobody(package):
    keras = pytest.importorskip(package)
    tensorflow = pytest.importorskip("tensorflow")

    class Fused(keras.layers.BatchNormalization):
        def call(self, x, training=None):
            return tensorflow.nn.silu(super().call(x, training=training))

    def made(kind, activated, epsilon=1e-3):
        inputs = keras.Input((8, 8, 3))
        x = kind(name="norm", epsilon=epsilon)(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        x = x if activated else keras.layers.Activation("silu")(x)
        x = keras.layers.Conv2D(4, 3, name="conv2")(x)
        last = keras.layers.BatchNormalization(name="last", epsilon=epsilon)
        return keras.Model(inputs, last(x))

    source, port = made(keras.layers.BatchNormalization, False), made(Fused, True)
    port.set_weights(source.get_weights())
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    for pair, said in (((source, port), "silu itself"), ((port, source), "can't be read")):
        report = diagnose(*pair, x)
        assert not report.findings, f"{report}"
        assert [u.layers for u in report.undecided] == [("norm",)]
        assert said in report.undecided[0].why
    low = made(Fused, True, 1e-5)
    low.set_weights(source.get_weights())
    found = {(f.cause, *f.layers) for f in diagnose(source, low, x).findings}
    assert ("epsilon-differs", "last") in found
