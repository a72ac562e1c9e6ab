"""Our kernel under torch's autograd: eager tensors in the CPU's memory, forward and twice back.

Memory is shared, not copied; what torch would lay out otherwise is copied for each pass, and only
the tensor itself is kept for the backward. Not here: which
calls can be taken (`normalize.py`), and the operators that torch.compile sees (`operators.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from batchnorm import core
from batchnorm.hosts.torch import tasks
from batchnorm.hosts.torch.kernel_call import KernelCall
from batchnorm.hosts.torch.second_gradient import Normalized, first_gradient, second_gradient
from batchnorm.hosts.torch.tensors import array_of, dense, laid_out_as, tensor_of, vector_of
from batchnorm.hosts.torch.threads import share_threads
from batchnorm.vocabulary import Array

__all__ = ["Normalize", "forward"]

share_threads()  # whoever computes tensors with the kernel does so between torch's own operations


def forward(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, addend: Tensor | None, call: KernelCall
) -> Tensor:
    """As `core.forward`, of all processes together where the call has some."""
    x = dense(x)
    y = tasks.forward(x, gamma, beta, addend, call)
    if y is not None:
        return y
    if call.batches is not None:
        call.batches.add_(1)
    given = call.running()
    values = array_of(x)
    result, running, saved = core.forward(
        values,
        vector_of(gamma),
        vector_of(beta),
        given,
        call.settings,
        out=call.result(values),
        addend=None if addend is None else array_of(laid_out_as(x, addend)),
        relu=call.relu,
        replicas=call.processes,
    )
    if running is not given:
        call.move(running)
    call.stats, call.count = saved.stats, saved.count
    return tensor_of(result)


class Normalize(Function):
    """relu(batch_norm(x) + addend) of one `KernelCall`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        addend: Any,
        call: KernelCall,
    ) -> Tensor:
        """As `forward`, unless that is done."""
        y, call.y = call.y, None
        if y is None:
            y = forward(x, gamma, beta, addend, call)
        ctx.call = call
        # Of beta and the addend nothing but this is needed: others may change them meanwhile.
        ctx.beta = None if beta is None else (beta.dtype, beta.shape)
        ctx.save_for_backward(x, gamma, y if call.relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        """The four gradients, which can be differentiated again."""
        x, gamma, y = ctx.saved_tensors
        call, needs = ctx.call, ctx.needs_input_grad
        if torch._C._functorch.is_legacy_batchedtensor(dy):  # autograd.grad's is_grads_batched
            passed = dy if y is None else dy * (y > 0)
            dx, dgamma, dbeta = first_gradient(x, passed, gamma, _normalized(call))
            dx, daddend = dx.to(x.dtype), passed
        else:
            found = None
            if not torch.is_grad_enabled():
                found = tasks.backward(dy, dense(x), gamma, y, needs, call)
            dx, dgamma, dbeta, daddend = found or Gradient.apply(dy, x, gamma, y, call)
        return (
            dx if needs[0] else None,
            _as(dgamma, gamma.dtype, gamma.shape) if needs[1] else None,
            _as(dbeta, *ctx.beta) if needs[2] else None,
            daddend if needs[3] else None,
            None,
        )


class Gradient(Function):
    """The gradients of x, gamma, beta and the addend as a function of their own."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, gamma: Tensor | None, y: Tensor | None, call: KernelCall
    ) -> Any:
        """As `core.backward`."""
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(dy, x, gamma, y)
        x = dense(x)
        daddend = torch.empty_like(x) if call.addend else None
        dx, dgamma, dbeta = _arrays(call, x, gamma, laid_out_as(x, dy), y, daddend)
        return dx, torch.from_numpy(dgamma), torch.from_numpy(dbeta), daddend

    @staticmethod
    def backward(ctx: Any, of_dx: Any, of_dgamma: Any, of_dbeta: Any, of_daddend: Any) -> Any:
        """As `second_gradient`; a ReLU is a constant mask on dy."""
        dy, x, gamma, y = ctx.saved_tensors
        passed = dy if y is None else dy * (y > 0)
        given = (of_dx, of_dgamma, of_dbeta)
        of_g, of_x, of_gamma = second_gradient(x, passed, gamma, _normalized(ctx.call), *given)
        if of_daddend is not None:
            of_g = of_g + of_daddend
        of_dy = of_g if y is None else of_g * (y > 0)
        own = None if gamma is None else _as(of_gamma, gamma.dtype, gamma.shape)
        return of_dy.to(dy.dtype), of_x.to(x.dtype), own, None, None


def _arrays(
    call: KernelCall,
    x: Tensor,
    gamma: Tensor | None,
    dy: Tensor,
    y: Tensor | None,
    daddend: Tensor | None,
) -> tuple[Tensor, Array, Array]:
    """dx, dgamma and dbeta; `daddend` gets what the ReLU let through."""
    assert call.stats is not None
    values = array_of(x)
    saved = core.Saved(
        values,
        call.settings,
        vector_of(gamma),
        call.stats,
        call.count,
        y=None if y is None else array_of(y),
        replicas=call.processes,
    )
    masked = None if daddend is None else array_of(daddend)
    result = call.result(values)
    dx, dgamma, dbeta = core.backward(saved, array_of(dy), out=result, out_addend=masked)
    return tensor_of(dx), np.ascontiguousarray(dgamma), np.ascontiguousarray(dbeta)


def _normalized(call: KernelCall) -> Normalized:
    assert call.stats is not None
    rows = torch.from_numpy(np.asarray(call.stats[:3]))
    total = (lambda t: t) if call.processes is None else call.processes.total
    axes, epsilon = call.settings.channel_axes, call.settings.epsilon
    return Normalized(rows[0], rows[1], rows[2], _count(call.count), axes, epsilon, total)


def _as(gradient: Tensor, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    if gradient.dtype is dtype and gradient.shape == shape:
        return gradient
    return gradient.to(dtype).reshape(shape)


def _count(count: Any) -> float | None:
    return None if count is None else float(np.max(np.asarray(count), initial=0.0))
