"""Drop-path (stochastic depth) as people write it: switched off, and said."""

import types

import numpy as np
import pytest

import batchnorm as bn

torch = pytest.importorskip("torch")
nn = torch.nn
WORDS = {"en": "dropout and drop-path were off", "zh": "dropout 与 drop-path 已关闭"}


def drop_path(x, drop_prob=0.0, training=False, scale_by_keep=True):
    """As in timm."""
    if drop_prob == 0.0 or not training:
        return x
    keep_prob = 1 - drop_prob
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep_prob)
    if keep_prob > 0.0 and scale_by_keep:
        mask.div_(keep_prob)
    return x * mask


def stochastic_depth(input, p, mode, training=True):
    """As in torchvision."""
    if not training or p == 0.0:
        return input
    size = [input.shape[0] if mode == "row" else 1] + [1] * (input.ndim - 1)
    noise = torch.empty(size).bernoulli_(1 - p)
    return input * noise.div_(1 - p)


def drop_connect(inputs, p, training):
    """As in EfficientNet-PyTorch."""
    if not training:
        return inputs
    kept = torch.floor(1 - p + torch.rand([inputs.shape[0], 1, 1, 1]))
    return inputs / (1 - p) * kept


class DropPath(nn.Module):
    def forward(self, x):
        return drop_path(x, 0.5, self.training)


class StochasticDepth(nn.Module):
    def forward(self, x):
        return stochastic_depth(x, 0.5, "row", self.training)


class DropBlock2d(nn.Module):
    def forward(self, x):
        return x * (torch.rand_like(x) > 0.5) if self.training else x


class Block(nn.Module):
    """A residual block; what drops its branch is told by a subclass."""

    def __init__(self, drop=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.stem_bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop = nn.Identity() if drop is None else drop()

    def dropped(self, x):
        return self.drop(x)

    def forward(self, x):
        x = torch.relu(self.stem_bn(self.stem(x)))
        return x + self.dropped(self.bn(self.conv(x)))


class ByDropPath(Block):
    def forward(self, x):
        x = torch.relu(self.stem_bn(self.stem(x)))
        return x + drop_path(self.bn(self.conv(x)), 0.5, self.training)


class ByDropConnect(Block):
    def forward(self, x):
        x = torch.relu(self.stem_bn(self.stem(x)))
        return x + drop_connect(self.bn(self.conv(x)), p=0.5, training=self.training)


ops = None  # MindSpore's, where it is there
layers = types.ModuleType("layers")
layers.stochastic_depth = stochastic_depth


class ByModule(Block):
    def forward(self, x):
        x = torch.relu(self.stem_bn(self.stem(x)))
        y = self.bn(self.conv(x))
        return x + layers.stochastic_depth(y, 0.5, "batch", self.training)


class Hidden(Block):
    def dropped(self, x):
        return x * torch.bernoulli(torch.full((len(x), 1, 1, 1), 0.5)) if self.training else x


def batch(size=4):
    return np.random.default_rng(0).normal(0.5, 2, (size, 3, 8, 8)).astype(np.float32)


LAYERS = (DropPath, StochasticDepth, DropBlock2d)
OFF = {
    **{layer.__name__: lambda layer=layer: Block(layer) for layer in LAYERS},
    "drop_path": ByDropPath, "drop_connect": ByDropConnect, "stochastic_depth": ByModule,
}  # fmt: skip


@pytest.mark.parametrize("name", OFF)
def test_what_drops_a_branch_is_off_and_that_is_said(name):
    functions = drop_path, stochastic_depth, drop_connect, layers.stochastic_depth
    source, port = Block(), OFF[name]()
    port.load_state_dict(source.state_dict())
    seen = []
    port.register_forward_hook(lambda module, given, y: seen.append(y.detach().clone()))
    source.register_forward_hook(lambda module, given, y: seen.append(y.detach().clone()))
    for size in range(1, 5):  # a batch of one that is kept would be scaled alone
        report = bn.diagnose(source, port, batch(size), steps=2)
        assert not report.findings, f"{report}"
        assert not report.undecided
        assert all(WORDS[lang] in report.text(lang) for lang in WORDS)
    for one, other in zip(seen[1::8], seen[5::8], strict=True):  # the first training step
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert functions == (drop_path, stochastic_depth, drop_connect, layers.stochastic_depth)
    assert all(module.training for module in port.modules())


def test_random_numbers_that_nothing_switches_off_are_said():
    source, port = Block(), Hidden()
    port.load_state_dict(source.state_dict())
    for pair, said in (((source, port), "port"), ((port, source), "source"),
                       ((port, port), "source and the port")):  # fmt: skip
        report = bn.diagnose(*pair, batch(1), steps=2)
        assert not report.findings, f"{report}"
        assert [u.what for u in report.undecided] == ["what depends on chance"]
        assert f"random numbers were drawn in the {said}, by" in f"{report}"
        assert "随机数" in report.text("zh")


class ByNumpy(Block):
    """As many repositories drop a whole branch: by a generator that isn't the framework's."""

    def dropped(self, x):
        return x * (np.random.random() if self.training else 1)


class Always(Block):
    """Noise in inference too."""

    def dropped(self, x):
        return x + torch.rand(1)


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("made", [ByNumpy, Always])
def test_random_numbers_of_any_generator_are_said_and_accuse_no_layer(made, steps):
    source, port = Block(), made()
    port.load_state_dict(source.state_dict())
    for pair in ((source, port), (port, source)):
        report = bn.diagnose(*pair, batch(), steps=steps)
        assert not report.findings, f"{report}"
        said = [u.what for u in report.undecided]
        assert said == (["what depends on chance"] if steps or made is Always else []), f"{report}"
    port.bn.eps = 1e-2
    assert bn.diagnose(source, port, batch(), steps=steps).causes == ["epsilon-differs"]


def test_a_net_that_is_only_named_after_dropout_trains():
    class DropoutNet(Block):
        def forward(self, x):
            assert self.training or not self.stem_bn.training
            return super().forward(x)

    source, port = Block(), DropoutNet()
    port.load_state_dict(source.state_dict())
    assert not bn.diagnose(source, port, batch()).findings


def keras_net(keras, drop):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    y = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 1, name="conv")(x))
    return keras.Model(inputs, keras.layers.BatchNormalization(name="last")(drop(x, y)))


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_keras_layers_that_drop_a_branch(package):
    keras = pytest.importorskip(package)
    tensorflow = pytest.importorskip("tensorflow")

    class DropPath(keras.layers.Layer):
        """As in keras.applications' ConvNeXt."""

        def call(self, x, training=None):
            if not training:
                return x
            shape = (tensorflow.shape(x)[0], 1, 1, 1)
            return x / 0.5 * tensorflow.floor(0.5 + tensorflow.random.uniform(shape))

    class StochasticDepth(keras.layers.Layer):
        """As in tensorflow_addons, which adds the two branches itself."""

        def call(self, inputs, training=None):
            x, y = inputs
            if not training:
                return x + 0.5 * y
            return x + tensorflow.floor(0.5 + tensorflow.random.uniform([])) * y

    class Function(keras.layers.Layer):
        def call(self, x, training=None):
            return tensorflow.nn.dropout(x, 0.5) if training else x

    drops = {
        Function: (lambda x, y: x + y, lambda x, y: x + Function()(y)),
        DropPath: (lambda x, y: x + y, lambda x, y: x + DropPath()(y)),
        StochasticDepth: (lambda x, y: x + 0.5 * y, lambda x, y: StochasticDepth()([x, y])),
    }
    for plain, dropped in drops.values():
        source, port = keras_net(keras, plain), keras_net(keras, dropped)
        port.set_weights(source.get_weights())
        x = np.moveaxis(batch(), 1, -1)
        for pair in ((source, port), (port, source)):
            report = bn.diagnose(*pair, x)
            assert not report.findings, f"{report}"
            np.testing.assert_allclose(
                *(np.asarray(model(x, training=False)) for model in pair), rtol=1e-6, atol=1e-6
            )


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_keras_layers_that_change_images_by_chance_are_off(package):
    keras = pytest.importorskip(package)
    changes = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.2)])
    source = keras_net(keras, lambda x, y: x + y)
    port = keras_net(keras, lambda x, y: changes(x) + y)
    port.set_weights(source.get_weights())
    for pair in ((source, port), (port, source)):
        report = bn.diagnose(*pair, np.moveaxis(batch(), 1, -1))
        assert not report.findings, f"{report}"
        assert not report.undecided, f"{report}"


def test_a_generator_that_a_keras_layer_holds_is_told_and_left_as_it_was():
    keras = pytest.importorskip("keras")

    class Noisy(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x):
            return x * keras.random.uniform((1, 1, 1, 4), seed=self.seeds)

    noisy = Noisy()
    source = keras_net(keras, lambda x, y: x + y)
    port = keras_net(keras, lambda x, y: x + noisy(y))
    port.set_weights(source.get_weights())
    before = noisy.seeds.state.numpy()
    report = bn.diagnose(source, port, np.moveaxis(batch(), 1, -1))
    assert not report.findings, f"{report}"
    assert [u.what for u in report.undecided] == ["what depends on chance"], f"{report}"
    np.testing.assert_array_equal(noisy.seeds.state.numpy(), before)


DRAWN = {
    "keras": {
        "tf.random": lambda keras, tf: lambda y: y * tf.random.normal((1, 1, 1, 4)),
        "keras.random": lambda keras, tf: lambda y: y * keras.random.uniform((1, 1, 1, 4)),
        "tf.random.Generator": lambda keras, tf: (
            lambda y: y * tf.random.get_global_generator().uniform((1, 1, 1, 4))
        ),
    },
    "tf_keras": {
        "tf.random": lambda keras, tf: lambda y: y * tf.random.normal((1, 1, 1, 4)),
        "backend": lambda keras, tf: lambda y: y * keras.backend.random_uniform((1, 1, 1, 4)),
    },
}


@pytest.mark.parametrize("package", DRAWN)
def test_random_numbers_that_keras_layers_draw_are_said(package):
    keras = pytest.importorskip(package)
    tensorflow = pytest.importorskip("tensorflow")

    class Noisy(keras.layers.Layer):
        def __init__(self, drawn):
            super().__init__()
            self.drawn = drawn

        def call(self, x, training=None):
            return self.drawn(x) if training else x

    for make in DRAWN[package].values():
        source = keras_net(keras, lambda x, y: x + y)
        port = keras_net(keras, lambda x, y, make=make: x + Noisy(make(keras, tensorflow))(y))
        port.set_weights(source.get_weights())
        for pair, said in (((source, port), "port"), ((port, source), "source")):
            report = bn.diagnose(*pair, np.moveaxis(batch(), 1, -1))
            assert not report.findings, f"{report}"
            assert [u.what for u in report.undecided] == ["what depends on chance"], f"{report}"
            assert f"random numbers were drawn in the {said}, by" in f"{report}"


def test_a_function_in_a_keras_2_model_drops_nothing_and_is_as_it_was_afterwards():
    keras = pytest.importorskip("tf_keras")
    tensorflow = pytest.importorskip("tensorflow")
    source = keras_net(keras, lambda x, y: x + y)
    port = keras_net(keras, lambda x, y: x + tensorflow.nn.dropout(y, 0.5))
    port.set_weights(source.get_weights())
    x = np.moveaxis(batch(), 1, -1)
    for pair in ((source, port), (port, source)):
        report = bn.diagnose(*pair, x)
        assert not report.findings, f"{report}"
        assert not report.undecided, f"{report}"
    assert not np.allclose(port(x), source(x)), "it drops outside"


def test_a_keras_layer_that_holds_a_batch_norm_and_is_named_after_dropout():
    keras = pytest.importorskip("keras")

    class DropoutBlock(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.norm = keras.layers.BatchNormalization(name="norm")

        def call(self, x, training=False):
            return self.norm(x, training=training)

    def net():
        inputs = keras.Input((5,))
        return keras.Model(inputs, DropoutBlock()(keras.layers.Dense(4, name="dense")(inputs)))

    source, port = net(), net()
    port.set_weights(source.get_weights())
    x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    report = bn.diagnose(source, port, x)
    assert not report.findings, f"{report}"
    assert report.depth, "the batch norm was called"
    port.get_layer("block").norm.momentum = 0.01
    assert bn.diagnose(source, port, x).causes == ["momentum-inverted"]


@pytest.mark.parametrize("written", ["layer", "function", "of mindspore", "mindcv"])
def test_mindspore_cells_that_drop_a_branch(written, monkeypatch):
    mindspore = pytest.importorskip("mindspore")
    nn = mindspore.nn
    if written == "mindcv":
        made = pytest.importorskip("mindcv.models.layers.drop_path").DropPath(0.5)
    else:
        made = nn.Dropout(p=0.5) if written == "layer" else None

    class Net(nn.Cell):
        def __init__(self, drop):
            super().__init__()
            self.dense, self.norm = nn.Dense(5, 4), nn.BatchNorm1d(4)
            self.drop, self.last = drop, nn.BatchNorm1d(4)

        def construct(self, x):
            y = self.norm(self.dense(x))
            return self.last(y + (y if self.drop is None else self.drop(y)))

    class ByFunction(Net):
        def construct(self, x):
            y = self.norm(self.dense(x))
            return self.last(y + ops.dropout(y, 0.5, self.training))

    class ByModule(Net):
        def construct(self, x):
            y = self.norm(self.dense(x))
            return self.last(y + ms.ops.dropout(y, 0.5, self.training))  # noqa: F821

    name, module = ("ms", mindspore) if written == "of mindspore" else ("ops", mindspore.ops)
    monkeypatch.setitem(globals(), name, module)
    source = Net(None).set_train()
    written_in = {"function": ByFunction, "of mindspore": ByModule}.get(written, Net)
    port = written_in(made).set_train()
    mindspore.load_param_into_net(port, source.parameters_dict())
    x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    given = []
    port.register_forward_hook(lambda cell, taken, y: given.append(y.asnumpy()))
    source.register_forward_hook(lambda cell, taken, y: given.append(y.asnumpy()))
    report = bn.diagnose(source, port, x)
    assert not report.findings, f"{report}"
    np.testing.assert_array_equal(given[1], given[4])


DRAWN_BY_CELLS = {
    "a primitive": lambda ms: ms.ops.StandardNormal(),
    "ops": lambda ms: lambda shape: ms.ops.normal(shape, ms.Tensor(0.0), ms.Tensor(1.0)),
    "numpy": lambda ms: lambda shape: ms.Tensor(np.random.random(shape), ms.float32),
}


@pytest.mark.parametrize("by", DRAWN_BY_CELLS)
def test_random_numbers_that_mindspore_cells_draw_are_said(by):
    mindspore = pytest.importorskip("mindspore")
    nn, drawn = mindspore.nn, DRAWN_BY_CELLS[by](mindspore)

    class Net(nn.Cell):
        def __init__(self, noisy):
            super().__init__()
            self.dense, self.norm = nn.Dense(5, 4), nn.BatchNorm1d(4)
            self.noisy, self.last = noisy, nn.BatchNorm1d(4)

        def construct(self, x):
            y = self.norm(self.dense(x))
            return self.last(y + (drawn((8, 4)) if self.noisy and self.training else 0))

    source, port = Net(False).set_train(), Net(True).set_train()
    mindspore.load_param_into_net(port, source.parameters_dict())
    x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    for pair in ((source, port), (port, source)):
        report = bn.diagnose(*pair, x)
        assert not report.findings, f"{report}"
        assert [u.what for u in report.undecided] == ["what depends on chance"], f"{report}"
