"""The other frameworks, each as a function of the row: build, and give back what is to be timed.

Each is called as its users call it, on tensors that share our memory where the framework allows it.
A row that the framework doesn't take has no calls. Each runs in a process of its own (`worker.py`),
with the number of threads that ours has. Not here: timing and the check of the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from batchnorm.cli.measure import Case

__all__ = ["FRAMEWORKS", "as_numpy", "environment"]

EPSILON = 1e-5
Calls = dict[str, Callable[[], Any]]


def environment(threads: int) -> dict[str, str]:
    """What must be set before a framework is loaded, so that all use as many threads."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "GLOG_v": "3",
    }


def parameters(case: Case) -> list[np.ndarray]:
    """gamma, beta, running mean and variance: those of `batchnorm.cli.measure.ours`."""
    return [np.full(case.shape[1], value, np.float32) for value in (1.5, 0.5, 0.25, 2.0)]


def torch_calls(case: Case, x: np.ndarray, dy: np.ndarray, threads: int) -> Calls:
    """aten's native functions, which functional.batch_norm calls; `out=` is a given output."""
    import torch

    torch.set_num_threads(threads)

    def tensor(array: np.ndarray) -> Any:
        made = torch.from_numpy(array.view(np.uint16) if case.dtype == "bfloat16" else array)
        made = made.view(torch.bfloat16) if case.dtype == "bfloat16" else made
        return made if case.layout == "first" else made.movedim(-1, 1)

    x, dy, out = tensor(x), tensor(dy), tensor(np.zeros_like(x))
    gamma, beta, mean, var = (torch.from_numpy(value) for value in parameters(case))
    training = case.task != "inference"
    shared = (gamma, beta, mean, var, training, 0.1, EPSILON)
    if case.task == "backward":
        _, saved_mean, saved_inv_std = torch.native_batch_norm(x, *shared)
        rest = (gamma, mean, var, saved_mean, saved_inv_std, True, EPSILON, [True, True, True])
        return {"torch": lambda: torch.ops.aten.native_batch_norm_backward(dy, x, *rest)[0]}
    length = len(gamma) if training else 0
    save = {"save_mean": torch.empty(length), "save_invstd": torch.empty(length)}
    run = torch.ops.aten.native_batch_norm.out
    return {
        "torch": lambda: torch.native_batch_norm(x, *shared)[0],
        "torch out=": lambda: run(x, *shared, out=out, **save)[0],
    }


def jax_calls(case: Case, x: np.ndarray, dy: np.ndarray, threads: int) -> Calls:
    """The formulas under jit, with a two-pass variance; backward from saved mean and inv_std."""
    import jax
    import jax.numpy as jnp

    axes = tuple(axis for axis in range(x.ndim) if axis not in case.axes)
    shape = [-1 if axis in case.axes else 1 for axis in range(x.ndim)]
    gamma, beta, mean, var = (jnp.asarray(value) for value in parameters(case))
    x, dy = jnp.asarray(x), jnp.asarray(dy)

    def wide(tensor: Any) -> Any:
        return tensor.astype(jnp.float32)

    def normalize(x: Any, mean: Any, var: Any) -> Any:
        scale = gamma * jax.lax.rsqrt(var + EPSILON)
        y = (wide(x) - mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)
        return y.astype(x.dtype)

    def train(x: Any) -> Any:
        m, v = wide(x).mean(axes), wide(x).var(axes)
        return normalize(x, m, v), 0.9 * mean + 0.1 * m, 0.9 * var + 0.1 * v

    def gradient(x: Any, dy: Any, m: Any, inv_std: Any) -> Any:
        x_hat = (wide(x) - m.reshape(shape)) * inv_std.reshape(shape)
        beta_gradient = wide(dy).sum(axes)
        gamma_gradient = (wide(dy) * x_hat).sum(axes)
        n = x.size // x_hat.shape[case.axes[0]]
        fit = (beta_gradient / n).reshape(shape) + x_hat * (gamma_gradient / n).reshape(shape)
        dx = (gamma * inv_std).reshape(shape) * (wide(dy) - fit)
        return dx.astype(x.dtype), gamma_gradient, beta_gradient

    if case.task == "inference":
        run = jax.jit(lambda x: normalize(x, mean, var))
        return {"jax": lambda: run(x).block_until_ready()}
    if case.task == "training":
        step = jax.jit(train)
        return {"jax": lambda: jax.block_until_ready(step(x))[0]}
    saved = wide(x).mean(axes), jax.lax.rsqrt(wide(x).var(axes) + EPSILON)
    back = jax.jit(gradient)
    return {"jax": lambda: jax.block_until_ready(back(x, dy, *saved))[0]}


def tensorflow_calls(case: Case, x: np.ndarray, dy: np.ndarray, threads: int) -> Calls:
    """The fused kernels, which exist on CPU for images with channels last."""
    if case.layout == "first" or x.ndim != 4:
        return {}
    import tensorflow as tf

    x, dy = tf.constant(x), tf.constant(dy)
    gamma, beta, mean, var = (tf.constant(value) for value in parameters(case))
    fused, gradient = tf.raw_ops.FusedBatchNormV3, tf.raw_ops.FusedBatchNormGradV3
    shared = {"x": x, "scale": gamma, "epsilon": EPSILON}
    if case.task == "inference":
        given = {"offset": beta, "mean": mean, "variance": var, "is_training": False}
        return {"tensorflow": lambda: fused(**shared, **given).y}
    empty = tf.zeros([0])
    given = {"offset": beta, "mean": empty, "variance": empty, "is_training": True}
    if case.task == "training":
        return {"tensorflow": lambda: fused(**shared, **given).y}
    found = fused(**shared, **given)
    reserved = {f"reserve_space_{i}": getattr(found, f"reserve_space_{i}") for i in (1, 2, 3)}
    return {
        "tensorflow": lambda: (
            gradient(y_backprop=dy, **shared, **reserved, is_training=True).x_backprop
        )
    }


def mindspore_calls(case: Case, x: np.ndarray, dy: np.ndarray, threads: int) -> Calls:
    """The BatchNorm primitive; its gradient is no call of its own for users, so none is timed."""
    if case.layout == "last" or case.task == "backward" or case.dtype == "bfloat16":
        return {}
    import mindspore as ms

    ms.set_context(mode=ms.PYNATIVE_MODE, device_target="CPU")
    training = case.task == "training"
    run = ms.ops.BatchNorm(is_training=training, epsilon=EPSILON, momentum=0.1)
    tensor = ms.Tensor(x)
    values = [
        ms.Parameter(ms.Tensor(value), name=name)
        for name, value in zip("abcd", parameters(case), strict=True)
    ]

    def call() -> Any:
        y = run(tensor, *values)[0]
        ms.runtime.synchronize()
        return y

    return {"mindspore": call}


def onnxruntime_calls(case: Case, x: np.ndarray, dy: np.ndarray, threads: int) -> Calls:
    """BatchNormalization, for inference with channels first in float32."""
    if case.layout == "last" or case.task != "inference" or case.dtype != "float32":
        return {}
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
    options.intra_op_num_threads = threads
    # A thread that spins while others have their turn would slow them down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(model.SerializeToString(), options, providers=providers)
    return {"onnxruntime": lambda: session.run(None, {"x": x})[0]}


FRAMEWORKS: dict[str, Callable[[Case, np.ndarray, np.ndarray, int], Calls]] = {
    "torch": torch_calls,
    "jax": jax_calls,
    "tensorflow": tensorflow_calls,
    "mindspore": mindspore_calls,
    "onnxruntime": onnxruntime_calls,
}


def as_numpy(case: Case, found: Any) -> np.ndarray:
    """A framework's result as float32 in the layout of our memory."""
    name = type(found).__module__.partition(".")[0]
    if name == "torch":
        found = found if case.layout == "first" else found.movedim(1, -1)
        return found.detach().float().numpy()
    if name == "mindspore":
        return found.asnumpy().astype(np.float32)
    return np.asarray(found).astype(np.float32)
