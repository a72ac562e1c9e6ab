"""Run by test_jax in a process of its own: the compiled kernel inside XLA's programs.

The oracles are the formulas in plain jnp, to which the kernel's absence leads, and the dialect's
NumPy layer, which computes with the same kernel.
"""

import contextlib
import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import batchnorm as bn
from batchnorm.hosts import jax as host
from batchnorm.hosts.jax import kernel, primitives

ULP = float(np.finfo(np.float32).eps)
SHAPE = (8, 3, 5, 5)


@contextlib.contextmanager
def only_formulas():
    takes = kernel.takes
    kernel.takes = lambda *_: False
    try:
        yield
    finally:
        kernel.takes = takes


def by_formulas(function, *args):
    """What plain jnp gives; traced anew."""
    with only_formulas():
        return jax.jit(lambda *now: function(*now))(*args)


def calls(function, *args):
    """How many handlers its program for this processor calls."""
    text = jax.jit(function).lower(*args).as_text()
    return text.count("@batchnorm_forward"), text.count("@batchnorm_backward")


def near(ours, oracle, digits=64 * ULP):
    assert jax.tree.structure(ours) == jax.tree.structure(oracle)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(oracle), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.array_equal(np.isfinite(a), np.isfinite(b))
        apart = np.abs(a - b)[np.isfinite(b)].max(initial=0)
        assert apart <= digits * np.abs(b)[np.isfinite(b)].max(initial=1e-3)


def drawn(*shape, seed=0, dtype=np.float32, mean=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 2 + mean, dtype)


def case(make=lambda: bn.torch.BatchNorm2d(3), shape=SHAPE, dtype=np.float32):
    """A layer's pure training step, what it is given, and the layer."""
    layer = make()
    params, state = host.init(layer, shape)
    params = {
        name: drawn(*value.shape, seed=len(name), dtype=value.dtype, mean=0.5)
        for name, value in params.items()
    }
    apply = functools.partial(host.apply, layer, training=True)
    return apply, params, state, drawn(*shape, dtype=dtype), layer


def loss_of(apply, state):
    def loss(params, x):
        y, new = apply(params, state, x)
        return (jnp.tanh(y.astype(jnp.float32)) ** 3).sum(), new

    return loss


KINDS = {
    "torch": (lambda: bn.torch.BatchNorm2d(3), SHAPE),
    "cumulative": (lambda: bn.torch.BatchNorm1d(3, momentum=None), (8, 3)),
    "no parameters": (lambda: bn.torch.BatchNorm1d(3, affine=False), (8, 3, 4)),
    "no bias": (lambda: bn.torch.BatchNorm1d(3, bias=False), (8, 3, 4)),
    "no buffers": (lambda: bn.torch.BatchNorm2d(3, track_running_stats=False), SHAPE),
    "mindspore": (lambda: bn.mindspore.BatchNorm2d(3), SHAPE),
    "fused": (lambda: bn.tf_keras.BatchNormalization(), (8, 5, 5, 3)),
    "one value": (lambda: bn.tf_keras.BatchNormalization(momentum=0.5), (1, 1, 1, 3)),
    "keras": (lambda: bn.keras.BatchNormalization(axis=1), (4, 3, 5)),
    "keras, axis 0": (lambda: bn.keras.BatchNormalization(axis=0), (4, 3, 5)),
    "two axes": (lambda: bn.tf_keras.BatchNormalization(axis=[1, 2], fused=False), (6, 2, 3, 4)),
    "one channel": (lambda: bn.keras.BatchNormalization(), (6, 4, 1)),
}
NOT_OURS = {
    "apart": (lambda: bn.tf_keras.BatchNormalization(axis=[1, 3]), (8, 2, 5, 3)),
    "ghosts": (lambda: bn.tf_keras.BatchNormalization(virtual_batch_size=2), (8, 5, 3)),
    "renorm": (lambda: bn.keras.BatchNormalization(renorm=True), (8, 5, 3)),
    "frozen": (lambda: bn.keras.BatchNormalization(trainable=False), (8, 5, 3)),
    "empty": (lambda: bn.keras.BatchNormalization(), (0, 5, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_is_two_calls_of_the_kernel_and_agrees_with_the_formulas(kind):
    apply, params, state, x, _ = case(*KINDS[kind])
    step = jax.value_and_grad(loss_of(apply, state), argnums=(0, 1), has_aux=True)
    assert calls(step, params, x) == (1, 1)
    # Of one value per channel, y is beta and nothing but rounding is left of dx and dgamma.
    near(jax.jit(step)(params, x), by_formulas(step, params, x))


@pytest.mark.parametrize("kind", NOT_OURS)
def test_what_the_kernel_does_not_take_is_left_to_the_formulas(kind):
    apply, params, state, x, _ = case(*NOT_OURS[kind])
    step = jax.grad(loss_of(apply, state), argnums=(0, 1), has_aux=True)
    assert calls(step, params, x) == (0, 0)


def test_inference_is_left_to_the_formulas():
    _, params, state, x, layer = case()
    assert calls(functools.partial(host.apply, layer, training=False), params, state, x) == (0, 0)


@pytest.mark.parametrize("mean", [0.0, 1e4, 1e6])
def test_results_have_the_bits_of_the_numpy_layer(mean):
    apply, params, state, _, layer = case()
    layer.weight[...], layer.bias[...] = params["weight"], params["bias"]
    x = np.asarray(drawn(*SHAPE, mean=mean))
    dy = np.asarray(drawn(*SHAPE, seed=1))
    y, pullback, new = jax.vjp(lambda x: apply(params, state, x), jnp.asarray(x), has_aux=True)
    assert np.array_equal(y, layer(x))
    assert np.array_equal(pullback(jnp.asarray(dy))[0], layer.backward(dy))
    assert np.array_equal(new["running_mean"], layer.running_mean)
    assert np.array_equal(new["running_var"], layer.running_var)


TYPES = {
    "torch, float16": (lambda: bn.torch.BatchNorm1d(3), "float16"),
    "torch, bfloat16": (lambda: bn.torch.BatchNorm1d(3), "bfloat16"),
    "torch, float64": (lambda: bn.torch.BatchNorm1d(3, dtype="float64"), "float64"),
    "keras, float64": (lambda: bn.keras.BatchNormalization(axis=1, dtype="float64"), "float64"),
    "keras, half": (lambda: bn.keras.BatchNormalization(axis=1, dtype="float16"), "float16"),
    "mixed": (lambda: bn.tf_keras.BatchNormalization(axis=1, dtype="mixed_float16"), "float16"),
}


@pytest.mark.parametrize("name", TYPES)
def test_other_types_pass_through_the_kernel_as_through_the_layer(name):
    make, dtype = TYPES[name]
    with jax.enable_x64(dtype == "float64"):
        layer = make()
        params, state = host.init(layer, (6, 3, 5))
        x, dy = (drawn(6, 3, 5, seed=seed, dtype=dtype) for seed in (0, 1))

        def step(x):
            y, pullback, new = jax.vjp(
                lambda x: host.apply(layer, params, state, x, training=True), x, has_aux=True
            )
            return y, new, pullback(dy)[0]

        assert calls(step, x) == (1, 1)
        y, new, dx = jax.jit(step)(x)
        given = {"training": True} if "torch" not in name else {}
        expected = layer(np.asarray(x), **given), layer.backward(np.asarray(dy))
        if "half" in name:  # in float32, which is then rounded
            near((y, dx), expected, 4 * float(jnp.finfo(dtype).eps))
        else:
            assert np.array_equal(y, expected[0])
            assert np.array_equal(dx, expected[1])
        new, kept = ({key: of[key] for key in new if "num" not in key} for of in (new, layer.state))
        near(new, kept, 2**-50 if dtype == "float64" else 4 * ULP)


@given(
    lengths=st.lists(st.integers(1, 7), min_size=2, max_size=5),
    axis=st.integers(0, 4),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_any_shape_and_axis_is_the_numpy_layers(lengths, axis, seed):
    layer = bn.keras.BatchNormalization(axis=axis % len(lengths))
    x = np.asarray(drawn(*lengths, seed=seed))
    params, state = host.init(layer, x.shape)
    y, new = host.apply(layer, params, state, x, training=True)
    assert np.array_equal(y, layer(x, training=True))
    near(new, {name: layer.state[name] for name in new}, 4 * ULP)


@pytest.mark.parametrize("wrt", ["params", "x"])
def test_gradients_of_one_argument_alone(wrt):
    apply, params, state, x, _ = case()
    step = jax.grad(loss_of(apply, state), argnums=("params", "x").index(wrt), has_aux=True)
    assert calls(step, params, x) == (1, 1)
    near(jax.jit(step)(params, x), by_formulas(step, params, x))


def derivative(kind, loss, directions):
    def only(params, x):
        return loss(params, x)[0]

    def gradient_length(params, x):
        return sum((g**2).sum() for g in jax.tree.leaves(jax.grad(only, (0, 1))(params, x)))

    return {
        "forward mode": lambda *at: jax.jvp(only, at, directions),
        "twice forward": lambda *at: jax.jvp(
            lambda *at: jax.jvp(only, at, directions)[1], at, directions
        ),
        "forward over reverse": lambda *at: jax.jvp(jax.grad(only, (0, 1)), at, directions),
        "reverse over forward": lambda *at: jax.grad(
            lambda *at: jax.jvp(only, at, directions)[1], (0, 1)
        )(*at),
        "reverse over reverse": lambda *at: jax.grad(gradient_length, (0, 1))(*at),
        "hessian": lambda *at: jax.hessian(only, 1)(*at),
        "linearized": lambda *at: jax.linearize(only, *at)[1](*directions),
        "checkpointed": lambda *at: jax.grad(jax.checkpoint(only), (0, 1))(*at),
        "scanned": lambda params, x: jax.lax.scan(
            lambda x, _: (x - 0.1 * jax.grad(only, 1)(params, x), only(params, x)), x, length=3
        ),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "forward mode",
        "twice forward",
        "forward over reverse",
        "reverse over forward",
        "reverse over reverse",
        "hessian",
        "linearized",
        "checkpointed",
        "scanned",
    ],
)
def test_every_derivative_is_that_of_the_formulas(kind):
    apply, params, state, x, _ = case(shape=(4, 3, 2, 2))
    directions = ({name: drawn(3, seed=5) for name in params}, drawn(*x.shape, seed=6))
    with jax.enable_x64(True):
        function = derivative(kind, loss_of(apply, state), directions)
        assert calls(function, params, x)[0] > 0
        near(jax.jit(function)(params, x), by_formulas(function, params, x), 512 * ULP)


@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0), (None, 2)])
def test_vmap_maps_values_and_gradients(axes):
    apply, params, state, x, _ = case()
    if axes[0] == 0:
        params = {name: jnp.stack([value, 2 * value]) for name, value in params.items()}
    if axes[1] is not None:
        x = jnp.stack([x, x**2], axes[1])
    step = jax.vmap(jax.grad(loss_of(apply, state), (0, 1), has_aux=True), in_axes=axes)
    near(jax.jit(step)(params, x), by_formulas(step, params, x))


def test_without_jit_the_kernel_computes_too():
    apply, params, state, x, _ = case()
    step = jax.value_and_grad(loss_of(apply, state), (0, 1), has_aux=True)
    expected = jax.jit(step)(params, x)
    near(step(params, x), expected, 4 * ULP)
    with jax.disable_jit():
        near(step(params, x), expected, 4 * ULP)


def devices():
    found = np.array(jax.devices())
    assert found.size == 4
    return found


@pytest.mark.parametrize("told", ["by x", "by jit"])
def test_a_batch_divided_among_devices_is_still_one_batch(told):
    apply, params, state, x, _ = case()
    step = jax.value_and_grad(loss_of(apply, state), (0, 1), has_aux=True)
    mesh = Mesh(devices(), ("batch",))
    one, many = (NamedSharding(mesh, PartitionSpec(*names)) for names in ((), ("batch",)))
    run = jax.jit(step) if told == "by x" else jax.jit(step, in_shardings=(one, many))
    given = (params, x) if told == "by jit" else jax.device_put((params, x), (one, many))
    near(run(*given), by_formulas(step, params, x))
    text = run.lower(*given).compile().as_text()
    assert "all-reduce" in text
    assert "custom-call" not in text  # it would need all of x on every device


@pytest.mark.parametrize("check_vma", [True, False])
def test_each_device_may_normalize_its_own_part(check_vma):
    apply, params, state, x, _ = case()
    mesh = Mesh(devices(), ("batch",))
    one, many = PartitionSpec(), PartitionSpec("batch")

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(one, many), out_specs=many, check_vma=check_vma
    )
    def own(params, x):
        return jax.grad(loss_of(apply, state), 1, has_aux=True)(params, x)[0]

    parts = [
        by_formulas(jax.grad(loss_of(apply, state), 1, has_aux=True), params, part)[0]
        for part in jnp.split(x, 4)
    ]
    near(jax.jit(own)(params, x), jnp.concatenate(parts))
    mapped = jax.pmap(
        jax.grad(loss_of(apply, state), 1, has_aux=True), in_axes=(None, 0), devices=list(devices())
    )
    near(mapped(params, x.reshape(4, 2, *x.shape[1:]))[0], jnp.stack(parts))


def test_a_backward_whose_forward_ran_elsewhere_takes_the_statistics_again():
    """As over several devices: the formulas leave zeros for them."""
    apply, params, state, x, _ = case()
    jaxpr = jax.make_jaxpr(functools.partial(apply, params, state))(x)
    named = next(e for e in jaxpr.eqns if e.primitive is primitives.FORWARD).params
    tensors = [*params.values(), state["running_mean"], state["running_var"]]
    _, statistics, *_ = primitives.FORWARD.bind(x, *tensors, **named)
    assert (np.asarray(statistics) != 0).any()

    @functools.partial(jax.jit, static_argnames="wrt")
    def backward(statistics, wrt):
        dy = drawn(*SHAPE, seed=7)
        return primitives.BACKWARD.bind(x, *tensors, statistics, dy, wrt=wrt, **named)

    for wrt in (("x", "gamma", "beta"), ("gamma",)):
        expected = backward(statistics, wrt)
        near(backward(jnp.zeros_like(statistics), wrt), expected, 4 * ULP)


def test_an_exported_program_needs_nothing_of_ours():
    from jax import export

    apply, params, state, x, _ = case()
    step = jax.jit(jax.value_and_grad(loss_of(apply, state), (0, 1), has_aux=True))
    exported = export.export(step, platforms=["cpu", "cuda", "tpu"])(params, x)
    assert "@batchnorm_" not in exported.mlir_module()
    near(exported.call(params, x), step(params, x))


def test_many_threads_may_run_programs_at_once():
    apply, params, state, x, _ = case(shape=(16, 3, 64, 64))
    step = jax.jit(jax.value_and_grad(loss_of(apply, state), (0, 1), has_aux=True))
    expected = step(params, x)
    found = []

    def run():
        found.extend(step(params, x) for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    for one in found:
        assert all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(expected)))


def test_a_program_that_does_not_fit_says_so():
    x = drawn(*SHAPE)

    def wrong(**changes):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        none = jax.ShapeDtypeStruct((0,), x.dtype)
        statistics = jax.ShapeDtypeStruct((4, 3, 2), jnp.uint32)
        attributes = {
            "level": kernel.LEVEL,
            "begin": np.int64(1),
            "end": np.int64(2),
            "epsilon": np.float64(1e-5),
            "factor": np.float64(0.1),
            "correction": np.float64(1),
            "guarded": np.int64(0),
        }
        empty = jnp.zeros(0)
        arguments = changes.pop("arguments", [x, *[empty] * 5])
        results = changes.pop("results", [like, none, none, statistics])
        call = jax.ffi.ffi_call("batchnorm_forward", results)
        return jax.block_until_ready(call(*arguments, **{**attributes, **changes}))

    assert len(wrong()) == 4
    for text, changes in {
        "no level v9": {"level": "v9"},
        "channel axes": {"end": np.int64(9)},
        "not float64": {"epsilon": np.float32(1)},
        "another kind": {"epsilon": "small"},
        "another number of channels": {"arguments": [x, jnp.zeros(4), *[jnp.zeros(0)] * 4]},
        "unknown type": {"arguments": [x.astype(jnp.int32), *[jnp.zeros(0)] * 5]},
        "too few": {"arguments": [x]},
        "an empty x": {"arguments": [x[:0], *[jnp.zeros(0)] * 5]},
        "unlike x": {"arguments": [x[:2], *[jnp.zeros(0)] * 5]},
    }.items():
        with pytest.raises(Exception, match=f"batchnorm's kernel in XLA: .*{text}"):
            wrong(**changes)


def test_an_xla_that_refuses_the_handlers_computes_by_the_formulas(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("incompatible with the framework's API version")

    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    kernel._registered.cache_clear()
    try:
        apply, params, state, x, _ = case()
        assert calls(apply, params, state, x) == (0, 0)
    finally:
        kernel._registered.cache_clear()
