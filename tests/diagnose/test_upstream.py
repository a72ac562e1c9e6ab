"""What lies before a batch norm, by real frameworks: each cause is told from the others."""

import numpy as np
import pytest
from built_nets import BUILD, Net, plain, torch_net

from batchnorm import frameworks
from batchnorm.diagnose import diagnose

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def found(source, port, batch, **options):
    report = diagnose(source, port, batch, **options)
    return {f.cause: f.layers for f in report.findings}, report


def net():
    return plain(shape=(4, 3, 12, 12))


def ported(to, given=None):
    pytest.importorskip(frameworks.find(to).real_package)
    model = BUILD[to](given or net())
    return model.set_train() if hasattr(model, "set_train") else model


def instead(convolution, compute):
    """A convolution that computes something else than its settings say."""
    convolution.forward = lambda x: compute(convolution, x)
    return convolution


def conv(layer, x, kernel=None, **options):
    named = {"bias": layer.bias, "stride": layer.stride, "padding": layer.padding, **options}
    return F.conv2d(x, layer.weight if kernel is None else kernel, **named)


COMPUTED = {
    "padding-differs": lambda c, x: conv(c, F.pad(x, (0, 2, 0, 2)), padding=0),
    "kernel-transposed": lambda c, x: conv(c, x, c.weight.flip(2, 3)),
    "channel-order": lambda c, x: conv(c, x.flip(1)),
    "activation-differs": lambda c, x: F.silu(conv(c, x)),
    "scale-differs": lambda c, x: conv(c, x) * 0.5,
    "bias-differs": lambda c, x: conv(c, x, bias=None),
}


@pytest.mark.parametrize("cause", COMPUTED)
def test_a_convolution_that_does_not_do_what_it_says_is_told_by_its_corners(cause):
    port = torch_net(net())
    instead(port.a.conv, COMPUTED[cause])
    causes, report = found(torch_net(net()), port, net().batch())
    assert causes == {cause: ["a.conv"]}, f"{report}"


def test_a_convolution_that_both_compute_otherwise_is_no_difference():
    models = [torch_net(net()) for _ in range(2)]
    for model in models:
        instead(model.a.conv, lambda c, x: conv(c, x, c.weight - c.weight.mean((1, 2, 3), True)))
    assert not found(*models, net().batch())[0]


def test_a_convolution_that_computes_something_unknown_is_said():
    port = torch_net(net())
    instead(port.b.conv, lambda c, x: conv(c, x, c.weight.abs()))
    causes, report = found(torch_net(net()), port, net().batch())
    assert causes == {"unexplained": ["b.conv"]}, f"{report}"


@pytest.mark.parametrize("to", ["mindspore", "keras", "tf_keras"])
@pytest.mark.parametrize("stride", [1, 3])
def test_another_stride_is_named(to, stride):
    faulty = net()
    faulty.options("b.conv")["stride"] = stride
    causes, report = found(torch_net(net()), ported(to, faulty), net().batch())
    assert causes == {"stride-differs": ["b.conv"]}, f"{report}"


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_an_activation_inside_a_convolution_is_the_one_behind_it(package):
    keras = pytest.importorskip(package)
    layers, given = keras.layers, net()
    start = layers.Input((12, 12, 3))
    x, made = start, {}
    for name, act in (("a", "silu"), ("b", "relu")):
        strides = 1 + (name == "b")
        x = layers.ZeroPadding2D(1)(x)
        made[f"{name}.conv"] = layers.Conv2D(
            8, 3, strides, activation=act, use_bias=name == "a", name=f"{name}_conv"
        )
        x = made[f"{name}.conv"](x)
        made[f"{name}.bn"] = layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, name=f"{name}_bn"
        )
        x = made[f"{name}.bn"](x)
    port = keras.Model(start, x)
    for name, layer in made.items():
        own = given.parameters[name]
        kernel = [own["kernel"].transpose(2, 3, 1, 0)] if "kernel" in own else []
        layer.set_weights([*kernel, *(v for k, v in own.items() if k != "kernel")])

    class Source(nn.Module):
        def __init__(self, function):
            super().__init__()
            whole = torch_net(given)
            self.a, self.b, self.function = whole.a, whole.b, function

        def forward(self, x):
            x = self.a.bn(self.function(self.a.conv(x)))
            return self.b.bn(torch.relu(self.b.conv(x)))

    causes, report = found(Source(F.silu), port, given.batch())
    assert not causes, f"{report}"
    causes, report = found(Source(torch.relu), port, given.batch())
    assert causes == {"activation-differs": ["a.bn"]}, f"{report}"
    assert "relu" in report.findings[0].evidence["source"]
    assert report.findings[0].evidence["port"] == "silu"


def flat(sizes=(6, 4)):
    """A convolution, a batch norm and a dense layer on all places."""
    given = Net(shape=(16, 3, *sizes))
    given.conv_bn("a", 5)
    return given


class Flat(nn.Module):
    def __init__(self, given, weight):
        super().__init__()
        whole = torch_net(given)
        self.a, self.dense, self.last = whole.a, nn.Linear(weight.shape[1], 7), nn.BatchNorm1d(7)
        with torch.no_grad():
            self.dense.weight.copy_(torch.tensor(weight))
            self.dense.bias.zero_()

    def forward(self, x):
        return self.last(self.dense(torch.relu(self.a.bn(self.a.conv(x))).flatten(1)))


def keras_flat(given, kernel, package):
    keras = pytest.importorskip(package)
    layers = keras.layers
    start = layers.Input((*given.shape[2:], 3))
    made = [layers.Conv2D(5, 3, padding="same", use_bias=False, name="a_conv"),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="a_bn"),
            layers.ReLU(), layers.Flatten(), layers.Dense(7, name="dense"),
            layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="last")]  # fmt: skip
    x = start
    for layer in made:
        x = layer(x)
    own = given.parameters
    made[0].set_weights([own["a.conv"]["kernel"].transpose(2, 3, 1, 0)])
    made[1].set_weights(list(own["a.bn"].values()))
    made[4].set_weights([kernel, np.zeros(7, np.float32)])
    return keras.Model(start, x)


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_dense_layer_behind_flatten_wants_its_columns_in_the_ports_order(package):
    given = flat()
    weight = np.float32(np.random.default_rng(1).normal(0, 0.1, (7, 5 * 6 * 4)))
    source = Flat(given, weight)
    moved = weight.reshape(7, 5, 24).swapaxes(1, 2).reshape(7, -1)
    causes, report = found(source, keras_flat(given, moved.T, package), given.batch())
    assert not causes, f"{report}"
    causes, report = found(source, keras_flat(given, weight.T, package), given.batch())
    assert causes == {"input-permuted": ["dense"]}, f"{report}"


def test_a_kernel_in_the_other_order_whose_inputs_are_not_is_transposed():
    given = flat()
    weight = np.float32(np.random.default_rng(1).normal(0, 0.1, (7, 5 * 6 * 4)))
    moved = weight.reshape(7, 5, 24).swapaxes(1, 2).reshape(7, -1)
    causes, report = found(Flat(given, weight), Flat(given, moved), given.batch())
    assert causes == {"kernel-transposed": ["dense"]}, f"{report}"


@pytest.mark.parametrize("sizes", [(6, 6), (6, 4)])
def test_axes_in_another_order(sizes):
    given = flat(sizes)

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch_net(given).a

        def forward(self, x):
            return self.a.bn(self.a.conv(x.transpose(2, 3)))

    class Plain(Turned):
        def forward(self, x):
            return self.a.bn(self.a.conv(x))

    causes, report = found(Plain(), Turned(), given.batch())
    wanted = "input-permuted" if sizes[0] == sizes[1] else "layout-differs"
    assert causes == {wanted: ["a.conv"]}, f"{report}"


def test_two_axes_of_a_volume_exchanged():
    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.bn = nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4)

        def forward(self, x):
            return self.bn(self.conv(x))

    port = Volume()
    port.forward = lambda x: Volume.forward(port, x.transpose(3, 4))
    batch = np.float32(np.random.default_rng(0).normal(size=(2, 2, 5, 8, 8)))
    assert found(Volume(), port, batch)[0] == {"input-permuted": ["conv"]}


def test_relu_and_relu6_are_both_listed_where_nothing_tells_them_apart():
    """A port's relu6 for a relu below 6 is no difference, and a silu differs from both."""
    small = net()
    small.parameters["a.bn"]["gamma"] *= np.float32(0.1)
    port = small.port()
    port.options("a.act")["function"] = "relu6"
    assert not found(torch_net(small), torch_net(port), small.batch())[0]
    port.options("a.act")["function"] = "silu"
    causes, report = found(torch_net(small), torch_net(port), small.batch())
    assert causes == {"activation-differs": ["b.conv"]}, f"{report}"
    assert report.findings[0].evidence["source"] == "relu or relu6"


def test_ways_of_turning_a_kernel_that_give_the_same_are_both_listed():
    given = net()
    kernel = given.parameters["b.conv"]["kernel"]
    kernel[:] = np.tril(np.ones((3, 3)))[None, None] * kernel[:, :, :1, :1]
    port = given.port()
    turned = np.flip(kernel, (2, 3))
    port.parameters["b.conv"]["kernel"] = turned.copy()
    assert np.array_equal(turned, kernel.swapaxes(2, 3))
    causes, report = found(torch_net(given), torch_net(port), given.batch())
    assert causes == {"kernel-transposed": ["b.conv"]}, f"{report}"
    said = {report.findings[0].evidence["how"], report.findings[0].runner_up[:21]}
    assert said == {"spatial axes exchanged", "spatial axes reversed"}


def pooled(pool):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            given = torch_net(net())
            self.a, self.b, self.pool = given.a, given.b, pool

        def forward(self, x):
            return self.b.bn(self.b.conv(self.pool(torch.relu(self.a.bn(self.a.conv(x))))))

    return Pooled()


@pytest.mark.parametrize("own", [nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 2)])
def test_a_pool_that_gives_another_size_is_named_by_the_shapes(own):
    causes, report = found(pooled(nn.MaxPool2d(3, 2, 1)), pooled(own), net().batch())
    assert causes == {"input-differs": ["b.conv"]}, f"{report}"
    assert report.findings[0].evidence["in the source"] == "(4, 8, 6, 6)"


@pytest.mark.parametrize("blank", [0, 1, 2, 3])
def test_images_with_blank_edges_are_no_padding(blank):
    """Zeros that a convolution and a layer before it would pad can't be told from the image's."""
    given = net()
    x = given.batch()
    x[:, :, :blank] = x[:, :, :, :blank] = 0
    x[:, :, -1:] = 0
    assert not found(torch_net(given), ported("keras", given), x)[0]


@pytest.mark.parametrize("pool", [None, nn.AvgPool2d(3, 2, 1)])
def test_a_model_that_prepares_its_batch_itself_is_given_another_one(pool):
    """As keras.applications' EfficientNets do, which take images of 0 to 255."""
    source, port = pooled(nn.MaxPool2d(3, 2, 1)), pooled(pool or nn.MaxPool2d(3, 2, 1))
    port.register_forward_pre_hook(lambda module, given: (given[0] / 255,))
    x = net().batch()
    causes, report = found(source, port, x * 255, source_batch=x)
    assert causes == ({} if pool is None else {"input-differs": ["b.conv"]}), f"{report}"
    assert "batches that differ" not in f"{report}"
    causes, report = found(source, port, x * 25, source_batch=x)  # which it prepares wrongly
    assert causes == {"scale-differs": ["a.conv"]}, f"{report}"
    assert "batches that differ" in f"{report}"
