"""What the difference explorer knows of the frameworks: `python docs/site/facts.py` writes it.

`explorer.facts.js` is made from the declarations, from the theory that proofs rest on, and by
asking the layers themselves what they refuse; nothing in it is typed by hand. It is a script and
no JSON file, as a page that is opened from a file can't fetch one. `--check` exits with 1 if it
isn't current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from batchnorm.explain.build import PAIRS, file_name
from batchnorm.explain.sections.modes import cases, starts_in_training
from batchnorm.explain.sections.updates import corrections
from batchnorm.explain.sides import NAMES, Side
from batchnorm.translate.argument import of_value
from batchnorm.translate.canonical import neutral
from batchnorm.translate.facts import facts
from batchnorm.translate.form import Form, form

FILE = Path(__file__).with_name("explorer.facts.js")
RANKS = (2, 3, 4, 5)
# What can be set; the rest of the parameters stays at its default.
WORDS = {
    *("num_features", "epsilon", "weight_of_batch", "weight_of_running", "affine"),
    *("beta_if_affine", "train_affine", "has_gamma", "has_beta", "tracking"),
    *("forced_statistics", "trainable", "channel_axis", "data_format"),
}
# Values that some frameworks refuse, a kind of value each.
PROBES: dict[str, dict[str, Any]] = {
    "momentum": {"negative": -0.5, "above 1": 1.5},
    "epsilon": {"negative": -0.25, "zero": 0.0, "above 1": 1.5},
}
MANY = 8  # values per channel


def found() -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    return {
        "order": list(NAMES),
        "dialects": {name: _dialect(Side(name)) for name in NAMES},
        "pages": {
            f"{a} {b}": "differences/" + file_name(a, b, "en").replace(".en.md", ".html")
            for a, b in PAIRS
        },
    }


def _dialect(side: Side) -> dict[str, Any]:
    calls = side.framework.calls
    return {
        "title": side.versioned,
        "prefix": side.framework.prefix,
        "mode_method": side.mode_method,
        "starts_in_training": starts_in_training(side),
        "told_how": calls.mode[0],
        "freeze": calls.freeze,
        "checks_when_called": calls.checks_when_called,
        "state": {entry.role: name for name, entry in side.layer_class.STATE.items()},
        "initial": _initial(side),
        "modes": [[values, mode.name] for values, mode in cases(side)],
        "classes": {str(rank): form(side.framework, rank).class_name for rank in RANKS},
        "parameters": _parameters({rank: form(side.framework, rank) for rank in RANKS}),
        "rules": _rules({rank: form(side.framework, rank) for rank in RANKS}),
        "limits": {**{word: _limits(side, word) for word in PROBES}, "one value": _one(side)},
    }


def _initial(side: Side) -> dict[str, float]:
    layer = side.layer()
    layer.ensure_built((3, 3, 3, 3))
    entries = side.layer_class.STATE
    return {entries[name].role: float(np.ravel(v)[0]) for name, v in layer.state.items()}


def _parameters(of: dict[int, Form]) -> list[dict[str, Any]]:
    """What can be set, in the signature's order; with its ranks where not all have it."""
    found: dict[str, dict[str, Any]] = {}
    for rank, each in of.items():
        for name, parameter in each.parameters.items():
            if parameter.meaning.word in WORDS:
                known = found.setdefault(name, {"name": name, "word": parameter.meaning.word})
                known.setdefault("ranks", []).append(rank)
                if not parameter.required:
                    known["default"] = of_value(parameter.default).text
    for known in found.values():
        if known["ranks"] == list(of):
            del known["ranks"]
    return list(found.values())


def _rules(of: dict[int, Form]) -> dict[str, dict[str, Any]]:
    """What is computed with: "other", and by "rank axis" where it is something else."""
    found: dict[str, dict[str, Any]] = {}
    for rank, each in of.items():
        for axis in (1, -1):
            arguments = {**neutral(), "channel_axis": of_value(axis)}
            known = facts(each.dialect, arguments, rank)
            rule = {
                "correction": known.correction,
                "correction_of_one": _of_one(Side(each.dialect.name), known.correction),
                "rounds_factor": known.rounds_factor,
                "epsilon_floor": known.epsilon_floor,
            }
            if rule != found.setdefault("other", rule):
                found[f"{rank} {axis}"] = rule
    return found


def _of_one(side: Side, usual: int) -> int:
    """The c of n - c for n = 1, in the case that has `usual` otherwise."""
    many, one = corrections(side), corrections(side, count=1)
    return next(c for (_, c), (_, known) in zip(one, many, strict=True) if known == usual)


def _limits(side: Side, word: str) -> dict[str, dict[str, str]]:
    """Kind of value -> where it is refused -> how; only what is refused."""
    words = (word,) if word == "epsilon" else ("weight_of_batch", "weight_of_running")
    parameter = side.named(*words)
    assert parameter is not None
    asked = {
        kind: dict(_refusals(side, MANY, **{parameter.name: value}))
        for kind, value in PROBES[word].items()
    }
    return {kind: refused for kind, refused in asked.items() if refused}


def _one(side: Side) -> dict[str, str]:
    return dict(_refusals(side, 1))


def _refusals(side: Side, values: int, **arguments: Any) -> Iterator[tuple[str, str]]:
    """Where a layer raises for inputs with so many values per channel, and what it says."""
    axis = side.named("channel_axis")
    if axis is not None:
        arguments[axis.name] = 1
    x = np.arange(2.0 * values, dtype=np.float32).reshape(1, 2, 1, values)
    for when, training in (("training", True), ("inference", False)):
        try:
            layer = side.layer(2, **arguments)
        except (TypeError, ValueError) as error:
            yield "construction", _said(error)
            return
        try:
            with np.errstate(all="ignore"):
                if side.mode_method:
                    getattr(layer, side.mode_method)(training)
                    layer(x)
                else:
                    layer(x, training=training)
        except (TypeError, ValueError) as error:
            yield when, _said(error)


def _said(error: Exception) -> str:
    """The error as Python prints it, by the class that the frameworks raise."""
    builtin = next(c for c in type(error).__mro__ if c.__module__ == "builtins")
    return f"{builtin.__name__}: {error}"


def _written(value: Any, margin: str = "") -> str:
    """JSON with what fits into a line on one."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(margin + line) <= 100 or not isinstance(value, (dict, list)):
        return line
    inner = margin + " "
    if isinstance(value, list):
        parts = [_written(each, inner) for each in value]
        return f"[\n{inner}" + f",\n{inner}".join(parts) + f"\n{margin}]"
    parts = [f"{json.dumps(key)}: {_written(each, inner)}" for key, each in value.items()]
    return f"{{\n{inner}" + f",\n{inner}".join(parts) + f"\n{margin}}}"


def text() -> str:
    """The script."""
    given = _written(found())
    head = "// Generated by `make generate`; edit docs/site/facts.py instead."
    return f"{head}\nglobalThis.BATCHNORM_FACTS = {given};\n"


if __name__ == "__main__":
    made = text()
    if "--check" in sys.argv:
        if not FILE.exists() or FILE.read_text(encoding="utf-8") != made:
            sys.exit(f"not current, run `make generate`:\n  {FILE.name}")
    else:
        FILE.write_text(made, encoding="utf-8")
