"""Tensors of the frameworks as x, seen without a copy by core and layers; NumPy comes out."""

import json
import subprocess
import sys

import numpy as np
import pytest

import batchnorm as bn
from batchnorm.arrays import as_array
from batchnorm.errors import InvalidType

MAKE = {  # a tensor of these values, and the address of its memory
    "torch": """
import torch
t = torch.from_numpy(values.copy())
address = t.data_ptr()
""",
    "torch bfloat16": """
import torch
t = torch.from_numpy(values).to(torch.bfloat16)
address = t.data_ptr()
""",
    "torch transposed": """
import torch
t = torch.from_numpy(values.copy()).transpose(0, 2).contiguous().transpose(0, 2)
address = t.data_ptr()
""",
    "jax": """
import jax.numpy as jnp
t = jnp.asarray(values)
address = t.unsafe_buffer_pointer()
""",
    "jax bfloat16": """
import jax.numpy as jnp
t = jnp.asarray(values, jnp.bfloat16)
address = t.unsafe_buffer_pointer()
""",
    "tensorflow": """
import tensorflow as tf
t = tf.constant(values)
address = np.asarray(memoryview(t)).ctypes.data
""",
}
RUN = """
import json, sys
import numpy as np
import batchnorm as bn
from batchnorm import core
from batchnorm.arrays import as_array
from batchnorm.vocabulary import Mode
values = np.random.default_rng(0).standard_normal((6, 5, 4, 4)).astype(np.float32)
{make}
x = as_array(t)
assert x.ctypes.data == address, "copied"
before = x.tobytes()
settings = core.Settings((1,), Mode.BATCH, 1e-5)
y, _, saved = core.forward(t, None, None, None, settings)
dx = core.backward(saved, t)[0]
layers = [bn.torch.BatchNorm2d(5), bn.keras.BatchNormalization(axis=1)]
layers += [bn.tf_keras.BatchNormalization(axis=1)]
found = [y, dx, *(layer(t) for layer in layers), layers[0].backward(t)]
native = [
    core.forward(x, None, None, None, settings)[0],
    core.backward(saved, x)[0],
    *(layer(x) for layer in layers),
    layers[0].backward(x),
]
assert all(type(one) is np.ndarray for one in found)
for one, other in zip(found, native):
    assert one.dtype == other.dtype and one.tobytes() == other.tobytes()
assert x.tobytes() == before and not any(np.may_share_memory(one, x) for one in found)
print(json.dumps([str(y.dtype), np.asarray(y, float).mean(axis=(0, 2, 3)).round(1).tolist()]))
"""


@pytest.mark.parametrize("make", MAKE)
def test_a_frameworks_tensor_is_seen_without_a_copy(make):
    pytest.importorskip(make.split()[0])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN.replace("{make}", MAKE[make])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    dtype, means = json.loads(done.stdout.splitlines()[-1])
    assert dtype == ("bfloat16" if "bfloat16" in make else "float32")
    assert np.abs(means).max() == 0


class Producer:
    """An array that exports itself by DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_a_producer_of_dlpack_alone_is_enough():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.may_share_memory(as_array(Producer(x)), x)
    layer, same = bn.torch.BatchNorm1d(3), bn.torch.BatchNorm1d(3)
    np.testing.assert_array_equal(layer(Producer(x)), same(x))


class Elsewhere:
    """A tensor on another device."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert a tensor of device xpu:0")


class InAGraph:
    """A tensor that refuses to leave its framework."""

    def __dlpack__(self, **options):
        raise BufferError("Can't export tensors that require gradient")

    def __dlpack_device__(self):
        return (1, 0)


@pytest.mark.parametrize("strange", [Elsewhere(), InAGraph()], ids=["device", "graph"])
def test_what_numpy_cannot_see_is_refused_with_the_reason(strange):
    with pytest.raises(InvalidType, match=r"can't\s+see .*(xpu:0|require gradient).*dense and"):
        bn.torch.BatchNorm1d(3)(strange)
