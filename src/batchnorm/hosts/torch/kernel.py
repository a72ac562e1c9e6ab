"""Our kernel under torch's autograd: eager tensors in the CPU's memory, forward and twice back.

Memory is shared, not copied; what torch would lay out otherwise is copied first. Not here: which
calls can be taken (`normalize.py`), and the operators that torch.compile sees (`operators.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from batchnorm import core
from batchnorm.hosts.torch.processes import Processes
from batchnorm.hosts.torch.second_gradient import Normalized, first_gradient, second_gradient
from batchnorm.hosts.torch.tensors import array_of, laid_out_as, tensor_of, vector_of
from batchnorm.vocabulary import Array

__all__ = ["Call", "Normalize"]


class Call:
    """What a forward is done with besides tensors that have gradients, and what it leaves.

    `mean` and `var` are the module's own buffers; the forward moves them in place. `addend` says
    whether there is one, which needs `relu`; neither is there with several processes.
    """

    __slots__ = ("addend", "count", "mean", "processes", "relu", "settings", "stats", "var")

    def __init__(
        self,
        settings: core.Settings,
        mean: Tensor | None,
        var: Tensor | None,
        relu: bool,
        addend: bool,
        processes: Processes | None,
    ) -> None:
        self.settings, self.mean, self.var = settings, mean, var
        self.relu, self.addend, self.processes = relu, addend, processes
        self.stats: Array | None = None
        self.count: Any = None

    def running(self) -> core.Running | None:
        """The buffers as the core takes them."""
        if self.mean is None or self.var is None:
            return None
        return core.Running(_buffer(self.mean), _buffer(self.var))

    def result(self, x: Array) -> Array | None:
        """Memory laid out as x; alone, the kernel finds its own."""
        return None if self.processes is None else core.empty_like(x)

    def move(self, running: core.Running | None) -> None:
        """Store what the core gave in the buffers."""
        if running is not None and self.mean is not None and self.var is not None:
            for own, value in ((self.mean, running.mean), (self.var, running.var)):
                own.copy_(torch.from_numpy(value).reshape(own.shape))


class Normalize(Function):
    """relu(batch_norm(x) + addend) of one `Call`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor | None, beta: Tensor | None, addend: Any, call: Call
    ) -> Tensor:
        """As `core.forward` for a dense x, of all processes together where the call has some."""
        given = call.running()
        other = None if addend is None else array_of(laid_out_as(x, addend))
        values = array_of(x)
        y, running, saved = core.forward(
            values,
            vector_of(gamma),
            vector_of(beta),
            given,
            call.settings,
            out=call.result(values),
            addend=other,
            relu=call.relu,
            replicas=call.processes,
        )
        if running is not given:
            call.move(running)
        call.stats, call.count = saved.stats, saved.count
        result = tensor_of(y)
        ctx.call = call
        ctx.save_for_backward(x, gamma, beta, addend, result if call.relu else None)
        return result

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        """The four gradients, which can be differentiated again."""
        x, gamma, beta, addend, y = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch._C._functorch.is_legacy_batchedtensor(dy):  # autograd.grad's is_grads_batched
            passed = dy if y is None else dy * (y > 0)
            dx, dgamma, dbeta = first_gradient(x, passed, gamma, _normalized(ctx.call))
            dx, daddend = dx.to(x.dtype), passed
        else:
            dx, dgamma, dbeta, daddend = Gradient.apply(dy, x, gamma, y, ctx.call)
        return (
            dx if needs[0] else None,
            _as(dgamma, gamma) if needs[1] else None,
            _as(dbeta, beta) if needs[2] else None,
            daddend.to(addend.dtype) if needs[3] else None,
            None,
        )


class Gradient(Function):
    """The gradients of x, gamma, beta and the addend as a function of their own."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, gamma: Tensor | None, y: Tensor | None, call: Call
    ) -> Any:
        """As `core.backward`."""
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(dy, x, gamma, y)
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
        own = None if gamma is None else _as(of_gamma, gamma)
        return of_dy.to(dy.dtype), of_x.to(x.dtype), own, None, None


def _arrays(
    call: Call,
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


def _normalized(call: Call) -> Normalized:
    assert call.stats is not None
    rows = torch.from_numpy(np.asarray(call.stats[:3]))
    total = (lambda t: t) if call.processes is None else call.processes.total
    axes, epsilon = call.settings.channel_axes, call.settings.epsilon
    return Normalized(rows[0], rows[1], rows[2], _count(call.count), axes, epsilon, total)


def _buffer(tensor: Tensor) -> Array:
    """A buffer whose new value is rounded once: of 16 bits, in float64 until it is stored."""
    narrow = tensor.dtype not in (torch.float32, torch.float64)
    wide = tensor.detach().to(torch.float64) if narrow else tensor.detach()
    return np.asarray(wide.reshape(-1).numpy())


def _as(gradient: Tensor, parameter: Tensor) -> Tensor:
    return gradient.to(parameter.dtype).reshape(parameter.shape)


def _count(count: Any) -> float | None:
    return None if count is None else float(np.max(np.asarray(count), initial=0.0))
