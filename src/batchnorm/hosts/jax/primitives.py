"""The formulas of one call as primitives of JAX, which a program for one CPU has by the kernel.

There are three: `forward`; `tangent`, which is linear in its directions; and `backward`, which is
the tangent's transpose. Their definition is the formulas themselves: these answer for forward-mode
and higher derivatives, for `vmap`, and wherever a program isn't for one CPU of this process. So
jvp, vjp, vmap and what is made of them go on working as with plain `jnp`; `jax.custom_vjp` would
end that. jax.experimental.jet finds no rule for them: it needs BATCHNORM_KERNEL=reference. Not
here: any formula (`formulas.py`), and what the kernel is given (`kernel.py`).

Facts from: jax.interpreters of JAX 0.10.2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla

from batchnorm.hosts import formulas
from batchnorm.hosts.formulas import Formula, Operations
from batchnorm.hosts.jax import kernel

__all__ = ["apply"]

LINEAR = ("x", "gamma", "beta")  # what y has derivatives by


def apply(
    ops: Operations, x: Any, state: Mapping[str, Any], formula: Formula
) -> tuple[Any, dict[str, Any]]:
    """As `formulas.apply` without weights and replicas, by the primitives where the kernel helps.

    Not inside `shard_map`, nor where shardings are part of types: there the formulas' own rules
    for both are needed.
    """
    meshes = (jax.sharding.get_abstract_mesh(), jax.typeof(x).sharding.mesh)
    alone = all(mesh.empty for mesh in meshes)
    if not alone or jax.default_backend() != "cpu" or not kernel.takes(x, formula):
        return formulas.apply(ops, x, state, formula)
    if x.dtype.name != formula.dtype:  # the kernel's result has the type of its input
        x = ops.cast(x, formula.wide)
    inner = replace(formula, dtype=x.dtype.name)
    wanted = ("gamma", "beta", "running_mean", "running_var", *["count"] * formula.cumulative)
    roles = tuple(role for role in wanted if role in state)
    tensors = [jnp.asarray(state[role]) for role in roles]
    y, _, *new = FORWARD.bind(x, *tensors, ops=ops, roles=roles, formula=inner)
    return ops.cast(y, formula.dtype), dict(zip(("running_mean", "running_var"), new, strict=False))


def _forward(
    x: Any, *tensors: Any, ops: Operations, roles: tuple[str, ...], formula: Formula
) -> list[Any]:
    """y, zeros for the kernel's statistics, and the new running ones."""
    y, new = formulas.apply(ops, x, dict(zip(roles, tensors, strict=True)), formula)
    nothing = jnp.zeros(kernel.statistics_shape(x, formula), jnp.uint32)
    return [y, nothing, *(value.reshape(-1) for value in new.values())]


def _tangent(x: Any, *others: Any, wrt: tuple[str, ...], **named: Any) -> list[Any]:
    """The change of y: others are the tensors, the statistics and a direction for each of `wrt`."""
    number = len(named["roles"])
    y, values = _result(wrt, x, others[:number], **named)
    return [jax.jvp(y, values, list(others[number + 1 :]))[1]]


def _backward(x: Any, *others: Any, wrt: tuple[str, ...], **named: Any) -> list[Any]:
    """The gradients of `wrt`: others are the tensors, the statistics and dy."""
    y, values = _result(wrt, x, others[: len(named["roles"])], **named)
    return list(jax.vjp(y, *values)[1](others[-1]))


def _result(wrt: tuple[str, ...], x: Any, tensors: Any, **named: Any) -> Any:
    """y as a function of `wrt`, and their values."""
    values = dict(zip(("x", *named["roles"]), (x, *tensors), strict=True))

    def y(*linear: Any) -> Any:
        return _forward(*(values | dict(zip(wrt, linear, strict=True))).values(), **named)[0]

    return y, [values[role] for role in wrt]


def _primitive(name: str, definition: Callable[..., Any], by_kernel: Any = None) -> Primitive:
    made = Primitive(f"batchnorm_{name}")
    made.multiple_results = True
    made.def_impl(functools.partial(xla.apply_primitive, made))
    mlir.register_lowering(made, mlir.lower_fun(definition))
    if by_kernel is not None:

        def lower(ctx: Any, *args: Any, **named: Any) -> Any:
            if not _is_for_one_cpu(ctx):
                return mlir.lower_fun(definition)(ctx, *args, **named)
            del named["ops"]
            return mlir.lower_fun(by_kernel)(ctx, *args, **named)

        mlir.register_lowering(made, lower, platform="cpu")

    def batched(args: Any, axes: Any, **named: Any) -> Any:
        results = jax.vmap(functools.partial(definition, **named), in_axes=axes)(*args)
        return results, [0] * len(results)

    def moved(primals: Any, tangents: Any, **named: Any) -> Any:
        moving = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero)]

        def run(*values: Any) -> Any:
            now = dict(enumerate(primals)) | dict(zip(moving, values, strict=True))
            return definition(*now.values(), **named)

        return jax.jvp(run, [primals[i] for i in moving], [tangents[i] for i in moving])

    batching.primitive_batchers[made] = batched
    ad.primitive_jvps[made] = moved
    return made


def _is_for_one_cpu(ctx: Any) -> bool:
    """Not over several devices, which XLA couldn't divide a handler among; not to be exported."""
    module = ctx.module_context
    alone = getattr(module.axis_context, "num_devices", None) == 1
    return alone and not module.lowering_parameters.for_export


FORWARD = _primitive("forward", _forward, kernel.forward)
TANGENT = _primitive("tangent", _tangent)
BACKWARD = _primitive("backward", _backward, kernel.backward)


def _like(x: Any) -> Any:
    return jax.core.ShapedArray(x.shape, x.dtype)


@FORWARD.def_abstract_eval
def _forward_shapes(x: Any, *_: Any, roles: tuple[str, ...], formula: Formula, **__: Any) -> Any:
    new = jax.core.ShapedArray((kernel.channels(x, formula),), np.dtype(formula.wide))
    statistics = kernel.statistics_shape(x, formula)
    shapes = [_like(x), jax.core.ShapedArray(statistics, np.dtype(np.uint32))]
    return [*shapes, new, new] if kernel.moves(roles, formula) else shapes


@TANGENT.def_abstract_eval
def _tangent_shapes(x: Any, *_: Any, **__: Any) -> Any:
    return [_like(x)]


@BACKWARD.def_abstract_eval
def _backward_shapes(
    *args: Any, wrt: tuple[str, ...], roles: tuple[str, ...], **_: Any
) -> list[Any]:
    given = dict(zip(("x", *roles), args, strict=False))
    return [_like(given[role]) for role in wrt]


def _forward_moved(primals: Any, tangents: Any, **named: Any) -> Any:
    results = FORWARD.bind(*primals, **named)
    given = dict(zip(("x", *named["roles"]), tangents, strict=True))
    directions = {
        role: given[role]
        for role in LINEAR
        if role in given and not isinstance(given[role], ad.Zero)
    }
    changes = [ad.Zero(jax.typeof(result).to_tangent_aval()) for result in results]
    if directions:
        args = (*primals, results[1], *directions.values())
        (changes[0],) = TANGENT.bind(*args, wrt=tuple(directions), **named)
    return results, changes


def _tangent_transposed(changes: Any, *args: Any, wrt: tuple[str, ...], **named: Any) -> Any:
    (dy,) = changes
    residuals, directions = args[: -len(wrt)], dict(zip(wrt, args[-len(wrt) :], strict=True))
    asked = tuple(role for role in wrt if ad.is_undefined_primal(directions[role]))
    if isinstance(dy, ad.Zero):
        return [None] * len(args)
    found = dict(zip(asked, BACKWARD.bind(*residuals, dy, wrt=asked, **named), strict=True))
    return [*([None] * len(residuals)), *(found.get(role) for role in wrt)]


ad.primitive_jvps[FORWARD] = _forward_moved
ad.primitive_transposes[TANGENT] = _tangent_transposed
