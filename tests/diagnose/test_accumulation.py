"""Gradients accumulated over a step: a batch in parts, and several backward passes."""

import re

import numpy as np
import pytest
from test_users_faults import Net, batch, loaded, trained

import batchnorm as bn

torch = pytest.importorskip("torch")
NORMS = ["bn1", "bn2"]
PARTS = ["2 call(s) with 3 samples", "1 call(s) with 6 samples"]


class InParts(Net):
    """The batch in two parts, in training and in inference."""

    always = True

    def forward(self, x):
        if not (self.training or self.always):
            return super().forward(x)
        return torch.cat([super(InParts, self).forward(part) for part in x.chunk(2)])


class TrainedInParts(InParts):
    always = False


def found(report):
    return {f.cause: f.layers for f in report.findings}


@pytest.mark.parametrize("parts", [InParts, TrainedInParts])
@pytest.mark.parametrize("side", ["source", "port"])
def test_a_batch_in_parts_has_other_statistics(parts, side):
    whole = trained(Net())
    pair = [loaded(parts(), whole), whole]
    source, port = pair if side == "source" else pair[::-1]
    report = bn.diagnose(source, port, batch())
    assert found(report) == {"batch-statistics-differ": NORMS}, f"{report}"
    expected = dict(
        zip(("source", "port"), PARTS if side == "source" else PARTS[::-1], strict=True)
    )
    assert report.findings[0].evidence == expected
    assert "调用 2 次，每次 3 个样本" in report.text("zh")


def test_a_batch_in_parts_in_both_models_is_no_difference():
    source = trained(InParts())
    report = bn.diagnose(source, loaded(InParts(), source), batch(), steps=2)
    assert not report.findings, f"{report}"
    assert not report.undecided


def test_another_fault_of_a_port_that_takes_the_batch_in_parts_is_named_too():
    source = trained(Net())
    report = bn.diagnose(source, loaded(InParts(momentum=0.9), source), batch())
    assert found(report) == {"batch-statistics-differ": NORMS, "momentum-inverted": NORMS}


def test_more_calls_of_whole_batches_are_said():
    class Both(Net):
        def forward(self, x):
            return super().forward(x) + super().forward(2 * x)

    source = trained(Net())
    report = bn.diagnose(source, loaded(Both(), source), batch())
    told = {u.what: u.layers for u in report.undecided}
    assert told["all calls of a step"] == tuple(NORMS)


def squared(y):
    return (y * y).mean()


def in_two_passes(share):
    """A loss whose own backward pass comes first, as in a loop that accumulates."""

    def loss(y):
        (share * squared(y)).backward(retain_graph=True)
        return share * squared(y)

    return loss


@pytest.mark.parametrize("side", ["source", "port"])
@pytest.mark.parametrize("steps", [1, 2])
def test_two_backward_passes_of_half_the_loss_are_one_of_the_whole(side, steps):
    source = trained(Net())
    losses = [in_two_passes(0.5), squared]
    losses = tuple(losses if side == "source" else losses[::-1])
    report = bn.diagnose(source, loaded(Net(), source), batch(), loss=losses, steps=steps)
    assert not report.findings, f"{report}"


@pytest.mark.parametrize(("side", "factor"), [("source", 0.5), ("port", 2.0)])
def test_two_backward_passes_of_the_whole_loss_are_named(side, factor):
    source = trained(Net())
    losses = [in_two_passes(1.0), squared]
    losses = tuple(losses if side == "source" else losses[::-1])
    report = bn.diagnose(source, loaded(Net(), source), batch(), loss=losses)
    assert found(report) == {"gradient-differs": ["bn2"]}, f"{report}"
    assert report.findings[0].evidence == {"of": "the loss", "times": factor}
    assert "as many batches" in report.findings[0].fix


def test_a_layer_called_twice_on_the_same_values_has_no_gradient_to_judge():
    class Both(Net):
        def forward(self, x):
            y = super().forward(x)
            return y + super().forward(x) if self.training else y

    source = trained(Net())
    assert found(bn.diagnose(source, loaded(Both(), source), batch())) == {"updated-twice": NORMS}


def test_a_recomputed_checkpoint_s_gradients_are_judged():
    from torch.utils.checkpoint import checkpoint

    class Recomputed(Net):
        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=False)

    port = Recomputed()
    port.bn1.weight.register_hook(lambda grad: 3 * grad)
    source = trained(Net())
    report = bn.diagnose(source, loaded(port, source), batch())
    assert found(report) == {"updated-twice": NORMS, "gradient-differs": ["bn1"]}, f"{report}"


@pytest.mark.parametrize("given", ["None", "a tensor of shape (6, 4, 8, 8)"])
def test_a_loss_that_gives_no_number_is_refused(given):
    source = trained(Net())
    with pytest.raises(TypeError, match=re.escape(f"loss gave {given}: expected one number")):
        bn.diagnose(source, source, batch(), loss=lambda y: None if given == "None" else y)


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_keras_model_that_takes_the_batch_in_parts(package):
    keras = pytest.importorskip(package)
    tensorflow = pytest.importorskip("tensorflow")

    class Port(keras.Model):
        def __init__(self, parts):
            super().__init__()
            self.parts = parts
            self.dense = keras.layers.Dense(4, name="dense")
            self.norm = keras.layers.BatchNormalization(name="norm")

        def call(self, x, training=False):
            parts = tensorflow.split(x, self.parts)
            done = [self.norm(self.dense(part), training=training) for part in parts]
            return tensorflow.concat(done, 0)

    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    source, port = Port(1), Port(4)
    source(x), port(x)
    port.set_weights(source.get_weights())
    assert found(bn.diagnose(source, port, x)) == {"batch-statistics-differ": ["norm"]}
    assert found(bn.diagnose(port, source, x)) == {"batch-statistics-differ": ["norm"]}


def test_a_mindspore_cell_that_takes_the_batch_in_parts():
    mindspore = pytest.importorskip("mindspore")
    nn = mindspore.nn

    class Port(nn.Cell):
        def __init__(self, parts):
            super().__init__()
            self.size = 8 // parts
            self.dense, self.norm = nn.Dense(3, 4), nn.BatchNorm1d(4)

        def construct(self, x):
            parts = [x[at : at + self.size] for at in range(0, 8, self.size)]
            return mindspore.ops.concat([self.norm(self.dense(part)) for part in parts], 0)

    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    source, port = Port(1).set_train(), Port(4).set_train()
    mindspore.load_param_into_net(port, source.parameters_dict())
    assert found(bn.diagnose(source, port, x)) == {"batch-statistics-differ": ["norm"]}
    assert found(bn.diagnose(port, source, x)) == {"batch-statistics-differ": ["norm"]}
