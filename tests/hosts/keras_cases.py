"""Run by test_keras, once per backend. The oracle is the dialect's NumPy layer."""

import doctest

import keras
import numpy as np
import pytest
from keras import ops

import batchnorm as bn
from batchnorm.hosts import keras as host

BACKEND = keras.backend.backend()
ULP = float(np.finfo(np.float32).eps)
RENORM = {"renorm": True, "renorm_clipping": {"rmax": 1.1, "rmin": 0.5, "dmax": 0.1}}
LAYERS = {
    "torch": (lambda: bn.torch.BatchNorm2d(3, momentum=0.3), (8, 3, 5, 5)),
    "cumulative": (lambda: bn.torch.BatchNorm1d(3, momentum=None, bias=False), (8, 3)),
    "no buffers": (
        lambda: bn.torch.BatchNorm1d(3, affine=False, track_running_stats=False),
        (8, 3),
    ),
    "mindspore": (lambda: bn.mindspore.BatchNorm2d(3), (8, 3, 5, 5)),
    "untrained": (lambda: bn.mindspore.BatchNorm2d(3, affine=False, gamma_init=2), (8, 3, 5, 5)),
    "mindspore 2.0": (lambda: bn.mindspore_2_0.BatchNorm2d(3), (8, 3, 5, 5)),
    "fused": (lambda: bn.tf_keras.BatchNormalization(momentum=0.5), (8, 5, 5, 3)),
    "two axes": (lambda: bn.tf_keras.BatchNormalization(axis=[1, 3]), (8, 2, 5, 3)),
    "ghosts": (lambda: bn.tf_keras.BatchNormalization(virtual_batch_size=2), (8, 5, 3)),
    "tf_keras renorm": (lambda: bn.tf_keras.BatchNormalization(**RENORM), (8, 5, 3)),
    "2.6 epsilon": (lambda: bn.tf_keras_2_6.BatchNormalization(epsilon=1e-7), (8, 2, 2, 3)),
    "keras": (lambda: bn.keras.BatchNormalization(axis=1, gamma_regularizer="l2"), (8, 3, 5)),
    "keras renorm": (lambda: bn.keras.BatchNormalization(**RENORM), (8, 5, 3)),
    "half": (lambda: bn.keras.BatchNormalization(dtype="mixed_float16"), (8, 5, 3)),
}


def array(tensor):
    return ops.convert_to_numpy(getattr(tensor, "value", tensor))


def call(layer, x, training, **named):
    if "keras" in layer.FRAMEWORK:
        return layer(x, training=training, **named)
    layer.training = training
    return layer(x)


def close(ours, oracle, digits, what=""):
    oracle = np.asarray(oracle, np.float64)
    scale = np.abs(oracle).max(initial=1e-3)
    apart = np.abs(np.asarray(ours, np.float64) - oracle).max(initial=0)
    assert apart <= digits * scale, f"{what}: {apart} apart at scale {scale}"


def gradients(own, x, dy):
    """Of the input and the trained weights, by each backend's own means, and the output."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = own(x, training=True)
        weights = [w.value for w in own.trainable_variables]
        return y, tape.gradient(y, [x, *weights], output_gradients=tf.cast(dy, y.dtype))
    if BACKEND == "torch":
        x = ops.convert_to_tensor(x).requires_grad_(True)
        y = own(x, training=True)
        y.backward(ops.cast(ops.convert_to_tensor(dy), y.dtype))
        return y, [x.grad, *(w.value.grad for w in own.trainable_variables)]
    import jax

    if not own.built:
        own.build(x.shape)
    trained = [w.value for w in own.trainable_variables]
    others = [w.value for w in own.non_trainable_variables]

    def run(x, trained):
        return own.stateless_call(trained, others, x, training=True)

    y, pullback, new = jax.vjp(run, ops.convert_to_tensor(x), trained, has_aux=True)
    for variable, value in zip(own.non_trainable_variables, new, strict=True):
        variable.assign(value)
    dx, dweights = pullback(ops.cast(dy, y.dtype))
    return y, [dx, *dweights]


@pytest.mark.parametrize("name", LAYERS)
def test_steps_follow_the_numpy_layer_forward_backward_and_state(name):
    make, shape = LAYERS[name]
    layer, random = make(), np.random.default_rng(0)
    own = host.layer(layer)
    digits = 2e-3 if name == "half" else 32 * ULP
    for step in range(2):
        x = (random.normal(size=shape) * 2 + 1).astype(np.float32)
        dy = random.normal(size=shape).astype(np.float32)
        y = call(layer, x, True)
        dx = layer.backward(dy.astype(y.dtype))
        ours, (ours_dx, *dweights) = gradients(own, x, dy)
        assert array(ours).dtype == y.dtype
        close(array(ours), y, digits, "y")
        close(array(ours_dx), dx, 4 * digits, "dx")
        found = {w.name: g for w, g in zip(own.trainable_variables, dweights, strict=True)}
        assert set(found) == set(layer.gradients)
        for key, value in layer.gradients.items():
            if BACKEND != "torch" or step == 0:  # where torch adds gradients up
                close(array(found[key]), value, 4 * digits, key)
        for key, value in layer.state.items():
            close(array(getattr(own, key)), value, digits, key)
    x = random.normal(size=shape).astype(np.float32)
    close(array(own(x, training=False)), call(layer, x, False), digits, "inference")
    assert [w.name for w in own.weights if w.trainable] == list(layer.gradients)


def adjustment(shape):
    return np.linspace(0.5, 2, shape[-1]), np.arange(shape[0], dtype=float).reshape(-1, 1, 1)


def test_an_adjustment_counts_in_training():
    random = np.random.default_rng(8)
    x = random.normal(size=(4, 5, 3)).astype(np.float32)
    layer = bn.tf_keras.BatchNormalization(adjustment=adjustment)
    own = host.layer(layer)
    dy = random.normal(size=x.shape).astype(np.float32)
    y = layer(x, training=True)
    ours, (dx, dgamma, _) = gradients(own, x, dy)
    close(array(ours), y, 32 * ULP)
    close(array(dx), layer.backward(dy), 128 * ULP)
    close(array(dgamma), layer.gradients["gamma"], 128 * ULP)
    close(array(own(x)), layer(x), 32 * ULP)
    close(array(own.moving_variance), layer.moving_variance, 32 * ULP)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("make", [bn.keras.BatchNormalization, bn.tf_keras.BatchNormalization])
def test_a_policy_of_the_host_is_the_layers(make, policy):
    """Given with the host layer: as if the dialect's had been made with it."""
    if (policy, BACKEND) == ("float64", "jax"):
        pytest.skip("JAX computes in float32 unless told otherwise")
    x = np.random.default_rng(9).normal(size=(8, 5, 5, 3)).astype(np.float32)
    layer, other = make(momentum=0.5, dtype=policy), make(momentum=0.5)
    other.build(x.shape)
    other.gamma[...] = [1, 2, 3]
    layer.build(x.shape)
    layer.load_state(other.state)
    own = host.layer(other, dtype=policy)
    y = own(x, training=True)
    wanted = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == wanted.dtype.name
    close(array(ops.cast(y, "float32")), wanted, {"mixed_bfloat16": 8e-3}.get(policy, 1e-3))
    close(array(own.moving_variance), layer.moving_variance, 1e-5)
    assert bn.read(own).dtype_policy.name == policy
    again = type(own).from_config(own.get_config())
    again.build(x.shape)
    assert again.compute_dtype == own.compute_dtype == policy.removeprefix("mixed_")
    assert [w.dtype for w in again.weights] == [w.dtype for w in own.weights]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX's `fit` is compiled by it anyway")
@pytest.mark.parametrize("name", ["torch", "cumulative", "mindspore", "fused", "ghosts", "keras"])
def test_xla_computes_the_same(name):
    make, shape = LAYERS[name]
    random = np.random.default_rng(10)
    x = random.normal(size=(12, *shape[1:])).astype(np.float32)
    found = []
    for compiled in (True, False):
        keras.utils.set_random_seed(0)
        parts = [host.layer(make()), keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input(shape[1:]), *parts])
        model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=compiled)
        model.fit(x, np.zeros((12, 1)), batch_size=4, epochs=2, shuffle=False, verbose=0)
        found.append([array(w) for w in model.weights])
    for one, other in zip(*found, strict=True):
        close(one, other, 1e-4)


@pytest.mark.parametrize("name", ["cumulative", "mindspore", "fused", "ghosts", "keras renorm"])
def test_a_cloned_model_has_weights_of_its_own(name):
    make, shape = LAYERS[name]
    x = np.random.default_rng(11).normal(size=shape).astype(np.float32)
    model = keras.Sequential([keras.Input(shape[1:]), host.layer(make(), name="own")])
    model(x, training=True)
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other(x, training=True), model(x, training=True)
    for one, own in zip(other.weights, model.weights, strict=True):
        assert one is not own
        assert np.array_equal(array(one), array(own))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others know every length when they run")
@pytest.mark.parametrize(
    ("options", "shape", "text"),
    [
        ({"adjustment": adjustment}, (None, 5, 3), "adjustment is a function of the inputs' shape"),
        ({"virtual_batch_size": 2}, (None, None, 3), "ghost batches need to know all lengths"),
    ],
)
def test_what_a_graph_does_not_know_is_asked_for(options, shape, text):
    import tensorflow as tf

    own = host.layer(bn.tf_keras.BatchNormalization(**options))
    own.build((4, 5, 3))
    graph = tf.function(
        lambda x: own(x, training=True), input_signature=[tf.TensorSpec(shape)], autograph=False
    )
    with pytest.raises(ValueError, match=text):
        graph(np.zeros((4, 5, 3), np.float32))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a format of TensorFlow's")
@pytest.mark.parametrize("name", ["torch", "fused", "ghosts", "keras renorm"])
def test_an_exported_model_infers_the_same(name, tmp_path):
    import tensorflow as tf

    make, shape = LAYERS[name]
    x = np.random.default_rng(12).normal(size=shape).astype(np.float32)
    model = keras.Sequential([keras.Input(shape[1:]), host.layer(make())])
    model(x, training=True)
    model.export(tmp_path / "model", verbose=False)
    again = tf.saved_model.load(tmp_path / "model")
    close(array(again.serve(x)), array(model(x)), 8 * ULP)


@pytest.mark.parametrize("name", ["torch", "mindspore", "fused", "ghosts", "keras renorm", "half"])
def test_fit_moves_the_statistics_as_the_dialect_does(name):
    """One epoch without a step of the optimizer: what the NumPy layer sees of the same batches."""
    make, shape = LAYERS[name]
    layer, random = make(), np.random.default_rng(1)
    model = keras.Sequential(
        [keras.Input(shape[1:]), host.layer(layer), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    assert model.jit_compile == (BACKEND == "jax") or BACKEND != "jax"
    x = (random.normal(size=(24, *shape[1:])) * 3 + 1).astype(np.float32)
    model.fit(x, np.zeros((24, 1)), batch_size=8, epochs=1, shuffle=False, verbose=0)
    for start in range(0, 24, 8):
        call(layer, x[start : start + 8], True)
    for key, value in layer.state.items():
        close(array(getattr(model.layers[0], key)), value, 2e-3 if name == "half" else 1e-5, key)


@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_model_comes_back_the_same(name, tmp_path):
    make, shape = LAYERS[name]
    random = np.random.default_rng(2)
    own = host.layer(make(), name="own")
    model = keras.Sequential([keras.Input(shape[1:]), own])
    x = random.normal(size=shape).astype(np.float32)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is type(own)
    assert [w.name for w in again.weights] == [w.name for w in model.weights]
    assert np.array_equal(array(again(x)), array(model(x)))
    again(x, training=True), model(x, training=True)
    for one, other in zip(again.weights, model.weights, strict=True):
        assert np.array_equal(array(one), array(other))
    copied = type(own).from_config(own.get_config())
    assert copied.get_config() == own.get_config()
    found = bn.read(again)
    assert list(found) == ["own"]
    assert type(found["own"]) is type(make())
    for key, value in found["own"].state.items():
        assert np.array_equal(value, array(getattr(again.layers[0], key)))


def test_the_state_given_is_the_state_that_it_starts_from():
    layer = bn.mindspore.BatchNorm2d(2, moving_mean_init=3.0)
    layer.gamma[...] = [5, 6]
    own = host.layer(layer)
    own.build((None, 2, 4, 4))
    assert array(own.gamma).tolist() == [5, 6]
    assert array(own.moving_mean).tolist() == [3, 3]
    layer.gamma[...] = 0
    assert array(own.gamma).tolist() == [5, 6]


def test_frozen_is_what_the_dialect_means_by_it():
    x = np.random.default_rng(3).normal(size=(8, 3)).astype(np.float32)
    keras_, torch = host.layer(bn.keras.BatchNormalization()), host.layer(bn.torch.BatchNorm1d(3))
    for own in (keras_, torch):
        own.build(x.shape)
        own.trainable = False
        own(x, training=True)
        assert own.trainable_variables == []
    assert (array(keras_.moving_mean) == 0).all()
    assert (array(torch.running_mean) != 0).all()


def test_masks_count_where_the_dialect_knows_them():
    random = np.random.default_rng(4)
    x = random.normal(size=(6, 4, 3)).astype(np.float32)
    mask = random.random((6, 4)) < 0.5
    for make in (bn.keras.BatchNormalization, bn.tf_keras.BatchNormalization):
        layer = make(momentum=0.5)
        own = host.layer(layer)
        close(array(own(x, training=True, mask=mask)), layer(x, training=True, mask=mask), 32 * ULP)
        for key, value in layer.state.items():
            close(array(getattr(own, key)), value, 32 * ULP, key)
    torch = bn.torch.BatchNorm1d(4)
    close(array(host.layer(torch)(x, training=True, mask=mask)), torch(x), 32 * ULP)


def test_a_global_policy_counts_for_dialects_that_have_none():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        own = host.layer(bn.torch.BatchNorm1d(3))
        y = own(np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32), training=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {w.dtype for w in own.trainable_weights} == {"float32"}


def test_a_large_mean_costs_no_digits_and_a_constant_gives_beta():
    layer = bn.keras.BatchNormalization(axis=1)
    own = host.layer(layer)
    for mean in (1e2, 1e4, 1e6):
        x = np.random.default_rng(6).normal(size=(16, 3, 16, 16)) + mean
        x = x.astype(np.float32)
        close(array(own(x, training=True)), layer(x, training=True), 16 * ULP, f"mean {mean}")
    assert (array(own(np.full((4, 3, 5, 5), 7.1, np.float32), training=True)) == 0).all()


def test_recalibration_finds_the_true_statistics():
    random = np.random.default_rng(7)
    x = (random.normal(size=(20, 3, 4, 4)) * 3 + 2).astype(np.float32)
    own = host.layer(bn.torch.BatchNorm2d(3))
    model = keras.Sequential([keras.Input((3, 4, 4)), own, keras.layers.Flatten()])
    before = array(own.num_batches_tracked)
    bn.recalibrate(model, [x[:8], (x[8:], None)], progress=False)
    wide = x.astype(np.float64)
    close(array(own.running_mean), wide.mean((0, 2, 3)), 2 * ULP)
    close(array(own.running_var), wide.var((0, 2, 3), ddof=1), 2 * ULP)
    assert array(own.num_batches_tracked) == before


def test_errors_are_the_dialects_own_or_say_what_to_do():
    with pytest.raises(ValueError, match="expected 4D input"):
        host.layer(bn.torch.BatchNorm2d(3))(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match="a layer of batchnorm"):
        host.layer(keras.layers.BatchNormalization())
    with pytest.raises(ValueError, match="no layer of a dialect"):
        host.BatchNormalization("os.system", {})

    class Own(bn.torch.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match="class of its own"):
        host.layer(Own(3))


def test_examples_run():
    result = doctest.testmod(host)
    assert result.attempted > 0
    assert result.failed == 0
