"""Vectors: drawn cases with the exact answers, for whoever tests a layer without this package.

Each is a layer, a state, some calls, what they give exactly (80 digits, rounded once to the type
that the layer gives), and how far a layer may be from it, which `verify.tolerance` derives from
the arithmetic. docs/conformance.md says how a file is laid out. Drawn are the cases of
`verify.draw` that are batch normalization of the paper: without masks, renorm, ghost batches,
casts of the input, and calls that are refused.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.checkpoints import write
from batchnorm.conformance.exact import rounded, step
from batchnorm.errors import InvalidValue
from batchnorm.frameworks import find
from batchnorm.questions.subject import Ours, Raised, Subject
from batchnorm.verify.compare import edge
from batchnorm.verify.draw import Case, Data, Seeded, data, initial
from batchnorm.verify.tolerance import bounds, compute_dtype, roundoff
from batchnorm.verify.verification import FRAMEWORKS, draw
from batchnorm.vocabulary import Array, Mode, as_dtype

__all__ = ["Vector", "vectors"]

LEFT_OUT = ("init", "regularizer", "constraint", "initial_weights", "name", "renorm_clipping")
QUANTITY = {"running_mean": "mean", "running_var": "var"}


@dataclass(frozen=True)
class Vector:
    """One layer and what its calls give.

    Attributes:
        number: of the drawn case, with `seed`.
        arguments: of the constructor, by the dialect's names.
        steps: the mode of each call, True for training.
        arrays: "before/weight", "1/x", "1/y", "1/y/bound" and so on, as a file has them.
    """

    dialect: str
    version: str
    seed: int
    number: int
    class_name: str
    arguments: Mapping[str, Any]
    steps: tuple[bool, ...]
    arrays: Mapping[str, Array]

    @property
    def file_name(self) -> str:
        """`torch-0007.safetensors`."""
        return f"{self.dialect}-{self.number:04d}.safetensors"

    def facts(self) -> dict[str, Any]:
        """All but the arrays, as JSON."""
        names = ("dialect", "version", "seed", "number", "class_name", "arguments", "steps")
        return {"schema": 1, **{name: getattr(self, name) for name in names}}

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the file into a folder, and give its path; the same vector gives the same bytes."""
        path = Path(folder) / self.file_name
        metadata = {"safetensors": {"vector": json.dumps(self.facts(), sort_keys=True)}}
        write(path, self.arrays, metadata=metadata, force=True)
        return path

    def shares(self, subject: Subject) -> dict[str, float]:
        """Put it to a subject: place -> the largest distance, of which 1 is what the bound allows.

        What has no bound, such as a counter, has 0 where it is equal and inf where it isn't.
        """
        keras = find(self.dialect).is_keras
        arguments = dict(self.arguments)
        if not keras and "dtype" in arguments:
            arguments["dtype"] = as_dtype(arguments["dtype"])
        layer = subject.layer(self.class_name, **arguments)
        if keras:
            layer.build(self.arrays["1/x"].shape)
        layer.load_state(self.at("before"))
        found: dict[str, float] = {}
        for number, training in enumerate(self.steps, 1):
            given = self.at(str(number))
            if not keras:
                layer.train(training)
            run = layer.run(given["x"], given["dy"], **({"training": training} if keras else {}))
            got = {"y": run.y, "dx": run.dx}
            got |= {f"gradient/{name}": value for name, value in run.gradients.items()}
            got |= {f"state/{name}": value for name, value in layer.state().items()}
            for name in set(given) - {"x", "dy"}:
                if not name.endswith("/bound"):
                    bound = given.get(f"{name}/bound", np.zeros(()))
                    found[f"{number}/{name}"] = _share(got.get(name), given[name], bound)
        return found

    def at(self, place: str) -> dict[str, Array]:
        """The arrays under "before", "1" and so on, without that."""
        return {
            name.removeprefix(f"{place}/"): value
            for name, value in self.arrays.items()
            if name.startswith(f"{place}/")
        }


def _share(got: Array | None, wanted: Array, bound: Array) -> float:
    if got is None or got.dtype != wanted.dtype or got.shape != wanted.shape:
        return math.inf
    with np.errstate(all="ignore"):
        distance = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
        share = np.where(distance == 0, 0.0, distance / bound)
    return math.inf if np.isnan(share).any() else float(share.max(initial=0.0))


def vectors(dialect: str, *, examples: int = 100, seed: int = 0) -> Iterator[Vector]:
    """Draw vectors of a dialect: torch, mindspore, tf_keras or keras, by any of its names.

    Args:
        dialect: whose layers.
        examples: how many vectors.
        seed: the same seed draws the same.

    Raises:
        InvalidValue: there are no drawn cases of that dialect.

    >>> first = next(vectors("torch"))
    >>> first.class_name, first.steps, sorted(first.arrays)[-2:]
    ('BatchNorm2d', (True,), ['before/running_var', 'before/weight'])
    """
    name = find(dialect).name
    if name not in FRAMEWORKS:
        raise InvalidValue(f"{dialect} has no vectors; known: {', '.join(FRAMEWORKS)}")
    return _drawn(Ours(name), examples, seed)


def _drawn(ours: Ours, examples: int, seed: int) -> Iterator[Vector]:
    number = 0
    while examples:
        case = _plain(draw(Seeded(seed, ours.dialect, number), ours.dialect))
        found = None if case is None else _played(ours, case)
        if case is not None and found is not None:
            arguments = {
                n: v.name if isinstance(v, np.dtype) else v for n, v in case.arguments.items()
            }
            steps = tuple(bool(step.training) for step in case.steps)
            yield Vector(ours.dialect, ours.version, seed, number, case.class_name, arguments,
                         steps, found)  # fmt: skip
            examples -= 1
        number += 1


def _plain(case: Case) -> Case | None:
    """The case as a vector has it; None where it isn't of the paper."""
    meanings = find(case.dialect).layer_class.PARAMETERS
    arguments = {
        n: v for n, v in case.arguments.items() if meanings[n].meaning.word not in LEFT_OUT
    }
    odd = ("renorm", "virtual_batch_size", "adjustment", "synchronized")
    steps = case.steps
    if (
        len(case.channel_axes) > 1
        or any(arguments.get(name) for name in odd)
        or any(s.mask or s.changes or s.call or type(s.training) is not bool for s in steps)
    ):
        return None
    steps = tuple(replace(step, layout="contiguous", gradient=True) for step in steps)
    return replace(case, arguments=arguments, loaded=True, steps=steps)


def _played(ours: Ours, case: Case) -> dict[str, Array] | None:
    """The arrays; our layers only say what is decided, and of which types the results are."""
    try:
        layer = ours.layer(case.class_name, *case.positional, **case.arguments)
        if find(case.dialect).is_keras:
            layer.build(case.steps[0].shape)
        state = {name: initial(case, name, value) for name, value in layer.state().items()}
        found = {f"before/{name}": value for name, value in state.items()}
        for number in range(len(case.steps)):
            layer.load_state(state)
            answers = _step(layer, case, number, state)
            if answers is None:
                return None
            for name in state:  # what doesn't move is no more exact than it was
                place = f"state/{name}/bound"
                if place not in answers and f"{number}/{place}" in found:
                    answers[place] = found[f"{number}/{place}"]
            found |= {f"{number + 1}/{name}": value for name, value in answers.items()}
            state = {name: answers[f"state/{name}"] for name in state}
    except (Raised, ArithmeticError):  # refused, or the root of what is not positive
        return None
    return found


def _step(layer: Any, case: Case, number: int, state: dict[str, Array]) -> dict[str, Array] | None:
    given, training = data(case, number), bool(case.steps[number].training)
    own = layer.layer
    if not find(case.dialect).is_keras:
        layer.train(training)
    try:
        decided = own.decide(given.x.shape, given.x.dtype, training)
    except Exception as error:
        raise Raised(type(error).__name__, (), str(error)) from error
    per_channel = given.x.size // max(1, given.x.shape[case.channel_axes[0]])
    narrow = any(np.dtype(d) != given.x.dtype for d in (*decided.casts, decided.dtype))
    if narrow or not decided.settings.plain or decided.passes or per_channel < 2:
        return None
    named = {"training": training} if find(case.dialect).is_keras else {}
    run = layer.run(given.x, given.dy, **named)
    assert given.dy is not None
    dy = given.dy.astype(run.y.dtype)
    axis = decided.settings.channel_axes[0]
    roles = {name: type(own).STATE[name].role for name in state}
    by_role = {role: state[name] for name, role in roles.items() if role != "count"}
    results = step(_rows(given.x, axis), _rows(dy, axis), by_role, decided.settings)
    allowed = bounds(case, Data(given.x, dy, None), number, state)
    coarse = roundoff(compute_dtype(case)) if find(case.dialect).is_keras else 0.0
    answers: dict[str, Array] = {"x": np.ascontiguousarray(given.x), "dy": dy}

    def answer(name: str, exact: Array, like: Array, quantity: str, coarse: float = 0.0) -> None:
        value = rounded(exact, like.dtype).reshape(like.shape)
        answers[name] = value
        answers[f"{name}/bound"] = _up(edge(value, allowed.get(quantity, 0.0), coarse))

    answer("y", _back(results["y"], run.y, axis), run.y, "y")
    if run.dx is not None:
        answer("dx", _back(results["dx"], run.dx, axis), run.dx, "dx", coarse)
    for name, gradient in run.gradients.items():
        quantity = f"gradient of {roles[name]}"
        answer(f"gradient/{name}", results[quantity], gradient, quantity)
    moved = layer.state()
    for name, before in state.items():
        if roles[name] in results and decided.settings.mode is Mode.BATCH_AND_UPDATE:
            answer(f"state/{name}", results[roles[name]], before, QUANTITY[roles[name]])
        else:  # what doesn't move, and the counter
            answers[f"state/{name}"] = moved[name] if roles[name] == "count" else before
    return (
        answers if all(np.isfinite(v.astype(np.float64)).all() for v in answers.values()) else None
    )


def _rows(values: Array, axis: int) -> Array:
    first = np.moveaxis(values, axis, 0)
    return first.reshape(first.shape[0], -1)


def _back(rows: Array, like: Array, axis: int) -> Array:
    shape = np.moveaxis(np.empty(like.shape, bool), axis, 0).shape
    return np.moveaxis(rows.reshape(shape), 0, axis)


def _up(values: Array) -> Array:
    """The next number of 8 binary digits, so that the order of sums on a machine doesn't show."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.ceil(mantissa * 256) / 256, exponent))
