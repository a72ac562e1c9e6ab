"""How models are called and left: compiled ones, batches of several arrays, state afterwards."""

import numpy as np
import pytest
from built_nets import BUILD, plain, torch_net

from batchnorm import frameworks
from batchnorm.diagnose import diagnose, live
from batchnorm.errors import InvalidType, InvalidValue

torch = pytest.importorskip("torch")
nn = torch.nn


def net():
    return plain(shape=(4, 3, 8, 8))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_torch_model_is_run_eagerly():
    given = net()
    port = given.port()
    port.options("b.bn")["epsilon"] = 1e-3
    report = diagnose(
        torch.compile(torch_net(given)), torch.compile(torch_net(port)), given.batch()
    )
    assert [(f.cause, f.layers) for f in report.findings] == [("epsilon-differs", ["b.bn"])]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_module_is_refused():
    scripted = torch.jit.trace(torch_net(net()).eval(), torch.zeros(4, 3, 8, 8))
    with pytest.raises(InvalidType, match="TorchScript"):
        diagnose(torch_net(net()), scripted, net().batch())


def test_a_mindspore_model_in_graph_mode_is_refused():
    mindspore = pytest.importorskip("mindspore")
    port = BUILD["mindspore"](net())
    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        with pytest.raises(InvalidType, match="PYNATIVE_MODE"):
            diagnose(torch_net(net()), port, net().batch())
    finally:
        mindspore.set_context(mode=before)


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_call_inside_tf_function_is_run_eagerly(package):
    tensorflow = pytest.importorskip("tensorflow")
    keras = pytest.importorskip(package)

    class Compiled(keras.Model):
        def __init__(self, epsilon):
            super().__init__()
            self.dense = keras.layers.Dense(4, name="dense")
            self.norm = keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name="norm")

        @tensorflow.function
        def call(self, x, training=False):
            return self.norm(self.dense(x), training=training)

    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    source, port = Compiled(1e-3), Compiled(1e-5)
    source(x), port(x)
    port.set_weights(source.get_weights())
    report = diagnose(source, port, x)
    assert [(f.cause, f.layers) for f in report.findings] == [("epsilon-differs", ["norm"])]
    assert not tensorflow.config.functions_run_eagerly()


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(6, 2)

    def forward(self, image, numbers):
        x = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        return self.head(torch.cat([x, numbers], 1))


def two_in_keras(source, epsilon):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    image, numbers = layers.Input((5, 5, 3), name="image"), layers.Input((2,), name="numbers")
    x = layers.Conv2D(4, 1, name="conv")(image)
    x = layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name="norm")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    y = layers.Dense(2, name="head")(layers.Concatenate()([x, numbers]))
    port = keras.Model({"image": image, "numbers": numbers}, y)
    array = {k: v.numpy() for k, v in source.state_dict().items()}
    kernel = array["conv.weight"].transpose(2, 3, 1, 0)
    port.get_layer("conv").set_weights([kernel, array["conv.bias"]])
    port.get_layer("norm").set_weights(
        [array[f"norm.{n}"] for n in ("weight", "bias", "running_mean", "running_var")]
    )
    port.get_layer("head").set_weights([array["head.weight"].T, array["head.bias"]])
    return port


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_a_batch_by_name_is_carried_into_the_ports_layout(epsilon):
    draw, source = np.random.default_rng(0), Two()
    batch = {"image": draw.normal(size=(6, 3, 5, 5)).astype(np.float32),
             "numbers": draw.normal(size=(6, 2)).astype(np.float32)}  # fmt: skip
    report = diagnose(source, two_in_keras(source, epsilon), batch)
    assert report.causes == (["epsilon-differs"] if epsilon > 1e-5 else []), f"{report}"


def test_a_batch_of_several_tensors_in_order():
    image, numbers = torch.randn(6, 3, 5, 5), torch.randn(6, 2)
    port = Two()
    port.norm.momentum = 0.9
    assert diagnose(Two(), port, (image, numbers)).causes == ["momentum-inverted"]


@pytest.mark.parametrize("name", ["torch", "mindspore", "keras", "tf_keras"])
def test_a_model_is_left_as_it_was(name):
    pytest.importorskip(frameworks.find(name).real_package)
    given = net()
    port = BUILD[name](given)
    room = frameworks.find(name).room("running")
    layers = room.parameterised(port)
    if name == "mindspore":
        port.set_train()
        layers["b_bn"].set_train(False)

    def seen():
        modes = [room.standing(layer) for layer in layers.values()]
        methods = [{k for k in vars(layer) if k in ("call", "activation")} for layer in
                   layers.values()]  # fmt: skip
        filled = [vars(node.arguments).get("fill_in")
                  for at in getattr(port, "_nodes_by_depth", {}).values() for node in at
                  if hasattr(node, "arguments")]  # fmt: skip
        norms = {p: room.state(n) for p, n in layers.items() if "bn" in p}
        return modes, methods, filled, norms

    before = seen()
    diagnose(torch_net(given), port, given.batch(), steps=2)
    after = seen()
    assert after[:3] == before[:3]
    for path, state in before[3].items():
        for role, value in state.items():
            np.testing.assert_array_equal(after[3][path][role], value)


@pytest.mark.parametrize("steps", [1, 2])
def test_mindspore_models_that_share_their_parameters_memory(steps):
    mindspore = pytest.importorskip("mindspore")
    given = net()
    source, port = BUILD["mindspore"](given).set_train(), BUILD["mindspore"](given).set_train()
    mindspore.load_param_into_net(port, source.parameters_dict())  # which shares it
    before = {p.name: p.asnumpy().copy() for p in port.get_parameters()}
    assert not diagnose(source, port, given.batch(), steps=steps).findings
    for model in (source, port):
        for parameter in model.get_parameters():
            np.testing.assert_array_equal(parameter.asnumpy(), before[parameter.name])


@pytest.mark.parametrize("package", ["torch", "keras"])
def test_a_loss_that_is_summed_in_one_model_and_averaged_in_the_other(package):
    given = net()
    if package == "torch":
        port, summed, mean = torch_net(given), lambda y: (y * y).sum(), lambda y: (y * y).mean()
    else:
        tensorflow = pytest.importorskip("tensorflow")
        port, summed = BUILD["keras"](given), lambda y: (y * y).sum()

        def mean(y):
            return tensorflow.reduce_mean(tensorflow.square(y))

    report = diagnose(torch_net(given), port, given.batch(), loss=(summed, mean))
    [finding] = report.findings
    assert (finding.cause, finding.layers) == ("gradient-differs", ["c.bn"])
    assert finding.evidence == {"of": "the loss", "times": 1 / 20}
    assert "mean" in finding.fix
    assert not diagnose(torch_net(given), port, given.batch()).findings


def test_a_loss_of_a_port_with_another_fault_is_not_judged():
    given = net()
    port = given.port()
    port.parameters["classifier"]["kernel"] *= 2
    report = diagnose(torch_net(given), torch_net(port), given.batch())
    assert [(f.cause, f.layers) for f in report.findings] == [("kernel-not-loaded", ["classifier"])]


@pytest.mark.parametrize("source", ["torch", "keras"])
def test_what_keeps_freed_memory_runs_last(source, monkeypatch):
    """TensorFlow's pool would stand beside what torch takes: 3.2 GB of a ResNet-50, not 1.9."""
    pytest.importorskip("keras")
    given, order = net(), []
    pair = [BUILD[name](given) for name in ("torch", "keras")]
    whole = live.record
    monkeypatch.setattr(
        live, "record", lambda model, *x, **named: order.append(model) or whole(model, *x, **named)
    )
    batch = given.batch() if source == "torch" else np.moveaxis(given.batch(), 1, -1)
    report = diagnose(*(pair if source == "torch" else pair[::-1]), batch)
    assert report.frameworks[0] == source
    assert not report.findings
    assert order == pair


REFUSED = {
    "steps are 0 or more": {"steps": -1},
    "but got 1.5": {"steps": 1.5},
    "not 3": {"loss": 3},
    "two of them, one for each model": {"loss": (len, len, len)},
    "but got object of shape": {"batch": None},
    "but got <U1": {"batch": "x"},
    "of shape \\(0, 3, 8, 8\\)": {"batch": np.ones((0, 3, 8, 8), np.float32)},
    "but got none": {"batch": ()},
    "a diagnosis takes .* but got": {"source": "net.pth"},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_can_not_be_run_is_refused_with_what_was_expected(said):
    model = torch_net(net())
    given = {"source": model, "port": model, "batch": net().batch()} | REFUSED[said]
    with pytest.raises((InvalidType, InvalidValue), match=said):
        diagnose(**given)


def test_a_batch_that_no_finite_number_comes_of_is_undecided():
    port = net().port()
    port.options("b.bn")["epsilon"] = 1e-3
    report = diagnose(torch_net(net()), torch_net(port), net().batch() * np.float32("nan"))
    assert not report.findings, f"{report}"
    found = {u.what: u.layers for u in report.undecided}
    assert found["output, update and gradient"] == ("a.bn", "b.bn", "c.bn")


@pytest.mark.parametrize("carried", [False, True])
def test_a_model_and_a_batch_of_16_bits(carried):
    low = torch_net(net()).bfloat16()
    batch = torch.from_numpy(net().batch())
    batch = batch.bfloat16() if carried else batch
    assert not diagnose(low, low, batch).findings
    report = diagnose(torch_net(net()), low, batch)
    assert set(report.causes) == {"precision-differs"}, f"{report}"
