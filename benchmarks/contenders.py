"""The other implementations, each as a function of the row: build, and give back a callable.

Each is called as its users call it, with two threads as ours, on tensors that share our memory
where the framework allows it; results are checked by `answers` before anything is timed. Not here:
timing (`batchnorm.measure`) and the table (`__main__.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

THREADS = 2
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_v", "3")
EPSILON = 1e-5


def parameters(case: Any) -> tuple[np.ndarray, ...]:
    """gamma, beta, running mean and variance: those of `batchnorm.measure.ours`."""
    return tuple(np.full(case.shape[1], v, np.float32) for v in (1.5, 0.5, 0.25, 2.0))


def torch_call(case: Any, x: Any, dy: Any, into: Any = None) -> Callable[[], Any]:
    """aten's native functions, which functional.batch_norm calls; `into` is a given output."""
    import torch

    torch.set_num_threads(THREADS)

    def tensor(array: np.ndarray) -> Any:
        made = torch.from_numpy(array)
        return made if case.layout == "first" else made.movedim(-1, 1)

    x, dy = tensor(x), tensor(dy)
    gamma, beta, mean, var = (torch.from_numpy(value) for value in parameters(case))
    training = case.task != "inference"
    shared = (gamma, beta, mean, var, training, 0.1, EPSILON)
    if case.task == "backward":
        _, saved_mean, saved_inv_std = torch.native_batch_norm(x, *shared)
        rest = (gamma, mean, var, saved_mean, saved_inv_std, True, EPSILON, [True, True, True])
        return lambda: torch.ops.aten.native_batch_norm_backward(dy, x, *rest)[0]
    if into is None:
        return lambda: torch.native_batch_norm(x, *shared)[0]
    out, save = tensor(into), (torch.empty(len(gamma)), torch.empty(len(gamma)))
    if not training:
        save = (torch.empty(0), torch.empty(0))
    run = torch.ops.aten.native_batch_norm.out
    return lambda: run(x, *shared, out=out, save_mean=save[0], save_invstd=save[1])[0]


def jax_call(case: Any, x: Any, dy: Any) -> Callable[[], Any]:
    """The formula under jit, as Flax writes it but with a two-pass variance."""
    import jax
    import jax.numpy as jnp

    axes = tuple(axis for axis in range(x.ndim) if axis not in case.axes)
    shape = [-1 if axis in case.axes else 1 for axis in range(x.ndim)]
    gamma, beta, mean, var = (jnp.asarray(value) for value in parameters(case))

    def normalize(x: Any, mean: Any, var: Any) -> Any:
        scale = gamma * jax.lax.rsqrt(var + EPSILON)
        return (x - mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)

    def train(x: Any) -> Any:
        return normalize(x, x.mean(axes), x.var(axes))

    x, dy = jnp.asarray(x), jnp.asarray(dy)
    if case.task == "inference":
        run = jax.jit(lambda x: normalize(x, mean, var))
        return lambda: run(x).block_until_ready()
    if case.task == "training":

        def step(x: Any) -> Any:
            m, v = x.mean(axes), x.var(axes)
            return normalize(x, m, v), 0.9 * mean + 0.1 * m, 0.9 * var + 0.1 * v

        run = jax.jit(step)
        return lambda: jax.block_until_ready(run(x))[0]
    run = jax.jit(lambda x, dy: jax.vjp(train, x)[1](dy)[0])
    return lambda: run(x, dy).block_until_ready()


def tensorflow_call(case: Any, x: Any, dy: Any) -> Callable[[], Any] | None:
    """The fused kernels, which exist on CPU for channels last (first is refused or transposed)."""
    if case.layout == "first" or x.ndim != 4:
        return None
    import tensorflow as tf

    if not getattr(tf, "_batchnorm_threads", False):
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf._batchnorm_threads = True
    x, dy = tf.constant(x), tf.constant(dy)
    gamma, beta, mean, var = (tf.constant(value) for value in parameters(case))
    if case.task == "inference":
        return lambda: (
            tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=gamma,
                offset=beta,
                mean=mean,
                variance=var,
                epsilon=EPSILON,
                is_training=False,
            ).y
        )
    empty = tf.zeros([0])
    trained = {"x": x, "scale": gamma, "offset": beta, "mean": empty, "variance": empty}
    trained["epsilon"] = EPSILON
    if case.task == "training":
        return lambda: tf.raw_ops.FusedBatchNormV3(**trained, is_training=True).y
    found = tf.raw_ops.FusedBatchNormV3(**trained, is_training=True)
    reserved = (found.reserve_space_1, found.reserve_space_2, found.reserve_space_3)
    return lambda: (
        tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=dy,
            x=x,
            scale=gamma,
            reserve_space_1=reserved[0],
            reserve_space_2=reserved[1],
            reserve_space_3=reserved[2],
            epsilon=EPSILON,
            is_training=True,
        ).x_backprop
    )


def mindspore_call(case: Any, x: Any, dy: Any) -> Callable[[], Any] | None:
    """The BatchNorm primitive; its gradient is not called by itself by users, so none here."""
    if case.layout == "last" or case.task == "backward":
        return None
    import mindspore as ms

    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    training = case.task == "training"
    run = ms.ops.BatchNorm(is_training=training, epsilon=EPSILON, momentum=0.9)
    x = ms.Tensor(x)
    gamma, beta, mean, var = (
        ms.Parameter(ms.Tensor(value), name=name)
        for name, value in zip("abcd", parameters(case), strict=True)
    )

    def call() -> Any:
        y = run(x, gamma, beta, mean, var)[0]
        ms.runtime.synchronize() if hasattr(ms, "runtime") else None
        return y

    return call


def onnxruntime_call(case: Any, x: Any, dy: Any) -> Callable[[], Any] | None:
    """BatchNormalization, inference, channels first."""
    if case.layout == "last" or case.task != "inference":
        return None
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    names = ["gamma", "beta", "mean", "var"]
    node = helper.make_node("BatchNormalization", ["x", *names], ["y"], epsilon=EPSILON)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(x.shape)) for n in "xy"]
    values = [
        numpy_helper.from_array(value, name)
        for name, value in zip(names, parameters(case), strict=True)
    ]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})[0]


CONTENDERS: dict[str, Callable[..., Callable[[], Any] | None]] = {
    "torch": torch_call,
    "jax": jax_call,
    "tensorflow": tensorflow_call,
    "mindspore": mindspore_call,
    "onnxruntime": onnxruntime_call,
}


def as_numpy(case: Any, found: Any) -> np.ndarray:
    """A contender's result in our layout."""
    name = type(found).__module__.partition(".")[0]
    if name == "torch":
        found = found if case.layout == "first" else found.movedim(1, -1)
        return found.detach().numpy()
    if name == "mindspore":
        return found.asnumpy()
    return np.asarray(found)
