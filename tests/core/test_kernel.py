"""Every level of the compiled kernel against the reference, on any layout, type and memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from levels import use

from batchnorm import core
from batchnorm.core import kernel, reference
from batchnorm.core.forward import backward, forward
from batchnorm.errors import BatchNormError, InvalidValue
from batchnorm.vocabulary import Mode, as_dtype

pytestmark = pytest.mark.skipif(
    len(kernel.IMPLEMENTATIONS) == 1, reason="BATCHNORM_KERNEL=reference is all that is asked for"
)
LEVELS = [name for name in kernel.IMPLEMENTATIONS if name != "reference"]
# Half a step of the type, and the float arithmetic in between: of the largest result.
BOUNDS = {"float32": 3e-7, "float64": 1e-14, "float16": 6e-4, "bfloat16": 5e-3}
SHAPES = {
    "images": ((8, 16, 8, 8), (1,)),
    "short rows": ((33, 70, 7, 7), (1,)),
    "rows of 14x14": ((9, 20, 14, 14), (1,)),
    "very short rows": ((40, 5, 3), (1,)),
    "rows of one step": ((37, 61, 4, 4), (1,)),
    "few rows of each": ((3, 90, 5, 5), (1,)),
    "few values of each": ((3, 75, 2, 5), (1,)),
    "three values of each": ((1, 37, 3), (1,)),
    "long rows": ((2, 3, 200, 201), (1,)),
    "one channel": ((31, 1, 9), (1,)),
    "features": ((1000, 33), (1,)),
    "many features": ((70, 1030), (1,)),
    "channels last": ((5, 6, 7, 19), (3,)),
    "few channels last": ((9, 11, 13, 3), (3,)),
    "two channel axes": ((3, 4, 50), (0, 1)),
    "one value each": ((1, 6), (1,)),
    "no other axis": ((64,), (0,)),
}


@pytest.fixture(params=LEVELS)
def level(request, monkeypatch):
    """The core's whole tasks and halves on one level."""
    use(monkeypatch, kernel.IMPLEMENTATIONS[request.param])
    return request.param


def data(shape, dtype, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape) * 2 + 3
    return values.astype(as_dtype(dtype))


def parameters(shape, axes, seed=1):
    channels = int(np.prod([shape[axis] for axis in axes]))
    draw = np.random.default_rng(seed)
    gamma, beta = draw.standard_normal((2, channels)).astype(np.float32)
    running = core.Running(beta.copy(), np.abs(gamma) + np.float32(0.1))
    return gamma, beta, running


def everything(x, dy, axes, mode=Mode.BATCH_AND_UPDATE, **more):
    gamma, beta, running = parameters(x.shape, axes)
    settings = core.Settings(axes, mode, 1e-5, 0.1, 1)
    y, running, saved = forward(x, gamma, beta, running, settings, **more)
    dx, dgamma, dbeta = backward(saved, dy)
    return [y, running.mean, running.var, dx, dgamma, dbeta]


def close(found, expected, dtype, scale=1.0):
    for ours, truth in zip(found, expected, strict=True):
        ours, truth = np.asarray(ours, np.float64), np.asarray(truth, np.float64)
        assert ours.shape == truth.shape
        largest = np.abs(truth[np.isfinite(truth)]).max(initial=1e-30)
        np.testing.assert_allclose(ours, truth, rtol=0, atol=BOUNDS[dtype] * scale * largest)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_whole_tasks_agree_with_the_reference(level, shape, dtype, mode, monkeypatch):
    shape, axes = SHAPES[shape]
    x, dy = data(shape, dtype), data(shape, dtype, 5)
    found = everything(x, dy, axes, mode)
    use(monkeypatch, reference)
    close(found, everything(x, dy, axes, mode), dtype, 4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 16, 300, 300), 1), ((31, 121, 143, 3), 3), ((14001, 333), 1)]
)
def test_tensors_larger_than_a_cache_agree_with_the_reference(
    level, shape, axis, dtype, monkeypatch
):
    x, dy = data(shape, dtype), data(shape, dtype, 5)
    found = everything(x, dy, (axis,))
    use(monkeypatch, reference)
    close(found, everything(x, dy, (axis,)), dtype, 4)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_halves_agree_with_the_reference(level, shape, dtype):
    shape, axes = SHAPES[shape]
    own, x, dy = kernel.IMPLEMENTATIONS[level], data(shape, dtype), data(shape, dtype, 5)
    moments, truth = own.reduce(x, axes), reference.reduce(x, axes)
    # Eight values of 16 bits at a time are summed in float: docs/accuracy.md's bound.
    rounding = 2.0**-21 if x.dtype.itemsize == 2 else 1e-13
    size = np.maximum(np.sqrt(truth.variance()), np.abs(truth.mean))
    np.testing.assert_array_equal(moments.count, truth.count)
    np.testing.assert_allclose(moments.m2, truth.m2, rtol=rounding)
    assert (np.abs(moments.mean - truth.mean) <= rounding * size).all()
    stats = (truth.mean, truth.residual, 1 / np.sqrt(truth.variance() + 1e-3))
    wide = stats[0] * 0 + 1.5
    results = []
    for one in (own, reference):
        y = one.normalize(x, axes, *stats, wide, -wide, np.empty(shape, x.dtype))
        sums = one.reduce_gradient(x, dy, axes, *stats)
        means = [total / truth.count for total in sums]
        rest = (wide, *means, None, np.empty(shape, x.dtype))
        results.append([y, *sums, one.input_gradient(x, dy, axes, *stats, *rest)])
    close(*results, dtype, 4)


@pytest.mark.parametrize("addend", [False, True])
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    "shape", ["short rows", "features", "images", "long rows", "few values of each"]
)
def test_relu_and_addend_are_those_of_the_reference(level, shape, dtype, addend, monkeypatch):
    shape, axes = SHAPES[shape]
    x, dy = data(shape, dtype), data(shape, dtype, 5)
    other = data(shape, dtype, 6) if addend else None
    gamma, beta, running = parameters(shape, axes)
    settings = core.Settings(axes, Mode.BATCH, 1e-5)
    results = []
    y = None
    for implementation in (kernel.IMPLEMENTATIONS[level], reference):
        use(monkeypatch, implementation)
        y_own, _, saved = forward(x, gamma, beta, running, settings, addend=other, relu=True)
        y = y_own if y is None else y
        saved.y[...] = y  # one mask for both: values beside 0 may fall on either side
        kept = np.empty_like(dy)
        dx, dgamma, dbeta = backward(saved, dy, out_addend=kept)
        results.append([y_own, dx, dgamma, dbeta, kept])
        assert (kept == np.where(y > 0, dy, 0).astype(dy.dtype)).all()
    close(*results, dtype, 8)


@pytest.mark.skipif(not {"v3", "v4"} <= set(LEVELS), reason="needs a processor with AVX-512")
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_avx2_and_avx512_give_the_same_bits(shape, dtype, monkeypatch):
    shape, axes = SHAPES[shape]
    x, dy = data(shape, dtype), data(shape, dtype, 5)
    results = []
    for name in ("v3", "v4"):
        use(monkeypatch, kernel.IMPLEMENTATIONS[name])
        results.append([array.tobytes() for array in everything(x, dy, axes)])
    assert results[0] == results[1]


def strange(x):
    """The same values in memory that the loops don't take as it is."""
    yield "fortran", np.asfortranarray(x)
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    yield "reversed", np.ascontiguousarray(x[::-1])[::-1]
    yield "sliced", np.repeat(x, 2, axis=-1)[..., ::2]
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:]
    unaligned = raw.view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    yield "unaligned", unaligned
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    yield "channels last in memory", np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_any_memory_of_the_same_values(level, dtype):
    x, dy = data((6, 5, 4, 9), dtype), data((6, 5, 4, 9), dtype, 5)
    expected = everything(x, dy, (1,))
    for (name, odd_x), (_, odd_dy) in zip(strange(x), strange(dy), strict=True):
        before = odd_x.tobytes()
        for pair in ((odd_x, odd_dy), (odd_x, dy), (x, odd_dy)):
            close(everything(*pair, (1,)), expected, dtype, 4)
        assert odd_x.tobytes() == before, name


def test_a_channel_repeated_by_stride_0(level):
    x = np.broadcast_to(data((4, 1, 6), "float32"), (4, 3, 6))
    y = everything(x, x, (1,))[0]
    expected = everything(np.ascontiguousarray(x), np.ascontiguousarray(x), (1,))[0]
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_out_of_any_memory_becomes_the_result(level):
    x = data((6, 5, 4, 9), "float32")
    expected = everything(x, x, (1,))[0]
    for _, out in strange(np.zeros_like(x)):
        if out.flags.writeable:
            y = everything(x, x, (1,), out=out)[0]
            assert y is out
            np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_other_orders_of_axes_give_the_contiguous_bits(level, dtype):
    """A whole task on a copy: x, dy and out each in any order of axes, dense or not."""
    draw = np.random.default_rng(3)
    for _ in range(25):
        shape = tuple(int(n) for n in draw.integers(1, 20, draw.integers(2, 6)))
        x, dy = data(shape, dtype, 1), data(shape, dtype, 2)
        gamma, beta, running = parameters(shape, (1,))
        settings = core.Settings((1,), Mode.BATCH_AND_UPDATE, 1e-3, 0.1, 1)
        given = (gamma, beta, running, settings)

        def shuffled(array, full=None, shape=shape):
            order = draw.permutation(len(shape))
            back = np.argsort(order)
            big = np.zeros([shape[d] + int(draw.integers(3)) for d in order], array.dtype)
            found = big if full is None else big[tuple(slice(shape[d]) for d in order)].copy()
            found = found[tuple(slice(shape[d]) for d in order)].transpose(back)
            found[...] = array
            return found

        wanted, _, saved = forward(x, *given)
        out = shuffled(x, full=True)
        odd = shuffled(x)
        if odd.strides != out.strides and not odd.flags.c_contiguous:
            y, _, again = forward(odd, *given, out=np.empty(shape, x.dtype))
            assert y.tobytes() == wanted.tobytes()
            assert again.x is odd
        y, _, again = forward(odd, *given, out=out)
        assert y is out
        close([y], [wanted], dtype, 4)
        close(backward(again, shuffled(dy)), backward(saved, dy), dtype, 8)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("shape", [(3100, 370), (1100, 62, 30), (9, 900, 19, 14), (13, 180, 57, 9)])
def test_results_around_the_caches_have_the_same_bits(level, dtype, shape):
    """Large results bypass the caches by whole lines; those of one image each don't."""
    x = data(shape, dtype)
    gamma, beta, running = parameters(shape, (1,))
    given = (gamma, beta, running, core.Settings((1,), Mode.RUNNING, 1e-3))
    wanted = np.concatenate([forward(x[n : n + 1], *given)[0] for n in range(shape[0])])
    memory = np.zeros(x.size + 64, x.dtype)
    for start in (0, 1, 7, 24, 33):
        out = memory[start : start + x.size].reshape(shape)
        assert forward(x, *given, out=out)[0].tobytes() == wanted.tobytes()
        assert not memory[:start].any()
        assert not memory[start + x.size :].any()
        memory[...] = 0


def test_an_overlapping_or_read_only_out_is_an_error(level):
    memory = data((7, 5, 6), "float32")
    with pytest.raises(InvalidValue, match="shares memory"):
        everything(memory, memory, (1,), out=memory.reshape(7, 6, 5).swapaxes(1, 2))
    with pytest.raises(InvalidValue, match="shares memory"):
        everything(memory[:-1], memory[1:], (1,), out=memory[1:])
    frozen = np.zeros((7, 5, 6), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        everything(memory, memory, (1,), out=frozen)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", ["short rows", "many features", "long rows"])
def test_non_finite_values_stay_in_their_channel(level, shape, bad):
    shape, axes = SHAPES[shape]
    x, dy = data(shape, "float32"), data(shape, "float32", 5)
    expected = everything(x, dy, axes)
    x[(0, 1, *[0] * (len(shape) - 2))] = bad
    for ours, truth in zip(everything(x, dy, axes), expected, strict=True):
        channel_axis = 1 if ours.ndim > 1 else 0
        others = np.delete(ours, 1, channel_axis)
        assert others.tobytes() == np.delete(truth, 1, channel_axis).tobytes()
    mean = everything(x, dy, axes)[1][1]
    assert np.isnan(mean) if np.isnan(bad) else mean == bad


def test_a_huge_channel_leaves_its_neighbours_bits_alone(level):
    for shape, axes in (((9, 40), (1,)), ((9, 40, 7), (1,))):
        x = data(shape, "float32")
        expected = everything(x, x, axes)[0]
        x[:, 3] *= np.float32(1e37)
        y = everything(x, x, axes)[0]
        assert np.isfinite(y).all()
        assert np.delete(y, 3, 1).tobytes() == np.delete(expected, 3, 1).tobytes()


@pytest.mark.parametrize("value", [0.1, -3e38, 1e-45, 16777217.0])
@pytest.mark.parametrize("shape", ["short rows", "features", "long rows", "images"])
def test_a_constant_channel_is_beta(level, shape, value):
    shape, axes = SHAPES[shape]
    x = np.full(shape, value, np.float32)
    gamma, beta, _ = parameters(shape, axes)
    y, _, saved = forward(x, gamma, beta, None, core.Settings(axes, Mode.BATCH, 1e-5))
    assert (np.moveaxis(y, 1, -1) == beta).all()
    assert (saved.residual == 0).all()


def test_subnormals_are_kept_with_the_flush_flags_set(level):
    code = (
        "import ctypes, ctypes.util, numpy as np\n"
        "from batchnorm import core\n"
        "from batchnorm.vocabulary import Mode\n"
        "m = ctypes.CDLL(ctypes.util.find_library('m'))\n"
        "env = ctypes.create_string_buffer(32)\n"
        "m.fegetenv(env)\n"
        "word = int.from_bytes(env.raw[28:32], 'little') | 0x8040\n"
        "flush = env.raw[:28] + word.to_bytes(4, 'little')\n"
        "x = np.full((64, 2), 3e-45, np.float32); x[::2] = 0\n"
        "m.fesetenv(flush)\n"
        "y = core.forward(x, None, None, None, core.Settings((1,), Mode.BATCH, 0.0))[0]\n"
        "m.fesetenv(env)\n"
        "print(sorted(set(y.ravel().tolist())))\n"
    )
    environment = {**os.environ, "BATCHNORM_KERNEL": level}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[-1.0, 1.0]\n"


def test_the_yardstick_takes_memory_of_any_alignment(level):
    x = data((1000,), "float32")
    memory = np.zeros(1003, np.float32)
    for start in range(4):
        out = memory[start : start + 1000]
        kernel.IMPLEMENTATIONS[level]._kernel.move([x], out, True)
        np.testing.assert_array_equal(out[:960], x[:960])


def test_an_unknown_kernel_is_refused():
    with pytest.raises(BatchNormError, match=r"must be one of .*'reference'"):
        kernel.choose("v9")


@pytest.mark.parametrize("name", kernel.IMPLEMENTATIONS)
def test_the_environment_chooses(name):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from batchnorm.core import kernel\n"
            "print(next(n for n, i in kernel.IMPLEMENTATIONS.items() if i is kernel.chosen))",
        ],
        env={**os.environ, "BATCHNORM_KERNEL": name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == name
