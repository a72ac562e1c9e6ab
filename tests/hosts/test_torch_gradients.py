"""First and second derivatives of the torch host, by torch's own gradcheck, in every mode."""

import pytest
from torch_here import torch

import batchnorm as bn
from batchnorm.hosts.torch import accelerate, module, normalize, port

nn = torch.nn
KERAS_2 = bn.tf_keras.BatchNormalization


def built(layer, shape):
    layer.build(shape)
    return layer


def torchs(training=True, **settings):
    return accelerate(nn.BatchNorm2d(3, **settings)).train(training)


def keras(shape=(4, 2, 2, 3), layer=KERAS_2, **settings):
    return module(built(layer(dtype="float64", **settings), shape))


CASES = {
    "training": lambda: torchs(),
    "evaluation": lambda: torchs(False),
    "no gamma": lambda: torchs(affine=False),
    "no beta": lambda: torchs(bias=False),
    "no buffers": lambda: torchs(track_running_stats=False),
    "no buffers, evaluation": lambda: torchs(False, track_running_stats=False),
    "cumulative": lambda: torchs(momentum=None),
    "ported": lambda: port(nn.BatchNorm2d(3), "tf_keras"),
    "Keras 2, channels last": keras,
    "Keras 2, several axes": lambda: keras((4, 3, 2, 2), axis=[1, 3]),
    "Keras 2, ghost batches": lambda: keras(virtual_batch_size=2),
    "Keras 2, adjusted": lambda: keras(adjustment=lambda shape: (1.5, 0.25)),
    "Keras 2, frozen": lambda: keras(trainable=False),
    "Keras 3": lambda: keras((4, 3, 2, 2), bn.keras.BatchNormalization, axis=1),
    # Within bounds r and d are constants of x, as they are to the gradient.
    "Keras 3, renorm": lambda: keras(
        layer=bn.keras.BatchNormalization,
        renorm=True,
        renorm_clipping={"rmin": 0.5, "rmax": 0.5, "dmax": 0.0},
    ),
}


def prepared(name):
    torch.manual_seed(5)
    made = CASES[name]().double()
    shape = (4, 2, 2, 3) if name.startswith("Keras 2") or "renorm" in name else (4, 3, 2, 2)
    if "several" in name:
        shape = (4, 3, 2, 2)
    parameters = dict(made.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_()
        parameter.data.uniform_(0.5, 1.5)
    for buffer in made.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    if name == "Keras 2, frozen":
        made.trainable = False
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def run(x, *values, **named):
        own = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(made, own, (x,), named)

    return run, (x, *parameters.values())


@pytest.mark.parametrize("engine", ["kernel", "torch"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_and_their_gradients_are_right(name, engine, monkeypatch):
    if engine == "torch":  # what other devices get
        monkeypatch.setattr(normalize, "takes", lambda x, empty=False: False)
    run, inputs = prepared(name)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("name", ["training", "evaluation"])
def test_with_a_relu_and_an_addition_too(name):
    run, inputs = prepared(name)
    addend = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)

    def fused(addend, *given):
        return run(*given, addend=addend, relu=True)

    assert torch.autograd.gradcheck(fused, (addend, *inputs))
    assert torch.autograd.gradgradcheck(fused, (addend, *inputs))
    assert torch.autograd.gradgradcheck(lambda *given: run(*given, relu=True), inputs)


@pytest.mark.parametrize("training", [True, False])
def test_a_third_derivative_is_right(training):
    """torch's own isn't (2.13): it takes the statistics for constants there."""
    torch.manual_seed(2)
    ours = torchs(training, affine=False).double()
    x = torch.randn(3, 3, 2, 1, dtype=torch.float64, requires_grad=True)

    def second(x):
        (slope,) = torch.autograd.grad((ours(x) ** 3).sum(), x, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(second, (x,))


@pytest.mark.parametrize("layout", ["transposed", "channels last"])
def test_gradients_of_a_batch_in_another_layout_are_right(layout):
    run, (x, *parameters) = prepared("training")

    def laid_out(x, *values):
        if layout == "transposed":
            return run(x.transpose(2, 3), *values)
        return run(x.to(memory_format=torch.channels_last), *values)

    assert torch.autograd.gradcheck(laid_out, (x, *parameters))
    assert torch.autograd.gradgradcheck(laid_out, (x, *parameters))


def test_only_the_wanted_gradients_are_given():
    ours = torchs()
    x = torch.randn(2, 3, 2, 2)
    ours(x).sum().backward()
    assert x.grad is None
    ours.weight.requires_grad_(False)
    ours.zero_grad()
    ours(x).sum().backward()
    assert ours.weight.grad is None
    assert ours.bias.grad is not None
