"""What the difference explorer must give, from the package itself: `python tests/site/vectors.py`.

Writes `explorer_vectors.json`: drawn settings, the calls as `translate` writes them, what remains
different, and what our layers' state is after each step; numbers as float32 prints them. `--check`
exits with 1 if it isn't current.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np

from batchnorm.explain.sides import NAMES, Side
from batchnorm.frameworks import find
from batchnorm.translate import translate
from batchnorm.translate.argument import parse
from batchnorm.translate.form import form
from batchnorm.translate.plan import Side as Call

FILE = Path(__file__).with_name("explorer_vectors.json")
EACH = 3  # cases per ordered pair
NUMBERS = {
    "momentum": ("0.1", "0.9", "0.99", "0.01", "0.37", "0.0", "1.0", "1e-20", "0.9997"),
    "epsilon": ("1e-05", "0.001", "0.25", "1e-07", "1e-12"),
}
REFUSED = {"momentum": ("-0.5", "1.25"), "epsilon": ("0.0", "1.5", "-0.125")}
WORDS = {"epsilon": "epsilon", "weight_of_batch": "momentum", "weight_of_running": "momentum"}
FLAGS = {"affine", "beta_if_affine", "train_affine", "has_gamma", "has_beta", "tracking"}
OTHERS = {
    **dict.fromkeys((*FLAGS, "trainable"), ("True", "False")),
    "forced_statistics": ("None", "True", "False"),
    "channel_axis": ("1", "-1"),
    "data_format": ('"NCHW"', '"NHWC"'),
}


def settings(rng, a, b):
    """Settings as the page has them."""
    rank = rng.choice((2, 3, 4, 4, 4, 5))
    given = {}
    for name, parameter in form(find(a), rank).parameters.items():
        word = parameter.meaning.word
        if word in WORDS:
            kind = WORDS[word]
            choice = REFUSED[kind] if rng.random() < 0.1 else NUMBERS[kind]
            if word == "weight_of_batch" and rng.random() < 0.15:
                choice = ("None",)
        elif word in OTHERS and (word != "data_format" or rank == 4):
            choice = OTHERS[word]
        else:
            continue
        if rng.random() < (0.6 if word in WORDS else 0.3):
            given[name] = rng.choice(choice)
    values = [0.5, -1.25, 3.0, 0.0] if rng.random() < 0.1 else None
    return {
        **{"from": a, "to": b, "rank": rank, "given": given, "channels": rng.choice((1, 2, 3))},
        "samples": rng.choice((1, 2, 4, 8)),
        "size": rng.choice((1, 2, 3)),
        "steps": 3,
        "seed": rng.randrange(100),
        "same": rng.random() < 0.3,
        "mean": rng.choice((0.0, 0.5, -3.0)),
        "std": rng.choice((1.0, 0.25, 4.0)),
        "values": values,
        "inference": rng.random() < 0.1,
        "ignored": [t for t in ("momentum", "epsilon", "mode", "axis") if rng.random() < 0.35],
    }


def drawn(s, step):
    """The batch of a step, the channels last, as the page draws it."""
    if s["values"]:
        return np.repeat(np.float32(s["values"]), s["channels"])
    seed = s["seed"] * 1000 + (0 if s["same"] else step)
    mask = 2**32 - 1

    def uniform():
        nonlocal seed
        seed = (seed + 0x6D2B79F5) & mask
        t = ((seed ^ (seed >> 15)) * (1 | seed)) & mask
        t = ((t + (((t ^ (t >> 7)) * (61 | t)) & mask)) & mask) ^ t
        return (t ^ (t >> 14)) / 2**32

    found = []
    for i in range(s["samples"] * s["size"] ** (s["rank"] - 2) * s["channels"]):
        normal = (uniform() + uniform() + uniform() + uniform() - 2) * 1.7320508
        found.append(s["mean"] + s["std"] * 8.0 ** -(i % s["channels"]) * normal)
    return np.float32(found)


def shaped(s, step, axis):
    n, size = (len(s["values"]), 1) if s["values"] else (s["samples"], s["size"])
    x = drawn(s, step).reshape(n, *[size] * (s["rank"] - 2), s["channels"])
    return np.ascontiguousarray(np.moveaxis(x, -1, axis))


def numbers(array):
    return [float(str(v)) if np.isfinite(v) else str(v) for v in np.ravel(array)]  # as JSON can


def played(s, name, values, axis, told):
    """State after each step, the last outputs, or what was raised."""
    side, found = Side(name), {"states": [], "error": ""}
    try:
        layer = form(side.framework, s["rank"]).layer(**values)
        for step in range(s["steps"] + 1):
            training = step < s["steps"] and not s["inference"]
            call = {}
            if told and side.mode_method:
                getattr(layer, side.mode_method)(training)
            elif told:
                call["training"] = training
            with np.errstate(all="ignore"):
                y = layer(shaped(s, step, axis), **call)
            roles = {entry.role: key for key, entry in layer.STATE.items()}
            state = layer.state
            own = [numbers(state[roles[r]]) for r in ("running_mean", "running_var")
                   if roles[r] in state]  # fmt: skip
            found["states"].append(own)
        found["y"] = numbers(np.moveaxis(y, axis, -1))[:6]
    except (TypeError, ValueError, RuntimeError) as error:
        builtin = next(c for c in type(error).__mro__ if c.__module__ == "builtins")
        found["error"] = f"{builtin.__name__}: {error}"
    return found


def ignoring(s, source, target):
    """The target's arguments as somebody writes them who leaves some rules aside."""
    found, topics = dict(target.arguments), s["ignored"]
    ours, theirs = (
        next(p for p in side.form.parameters.values() if p.meaning.word.startswith("weight_of"))
        for side in (source, target)
    )
    if "momentum" in topics:
        number = s["given"].get(ours.name, repr(ours.default))
        found.pop(theirs.name, None)
        if ours.meaning != theirs.meaning and number != "None":
            found[theirs.name] = parse(number)
    dropped = {"epsilon": ("epsilon",), "axis": ("channel_axis", "data_format")}
    for topic in topics:
        for name, parameter in target.form.parameters.items():
            if parameter.meaning.word in dropped.get(topic, ()):
                found.pop(name, None)
    order = list(target.form.parameters)
    arguments = {name: found[name] for name in sorted(found, key=order.index)}
    return Call(target.form, arguments, target.canonical)


def case(s):
    """Settings and what they must give; None where the source refuses its own call."""
    source = find(s["from"])
    of = form(source, s["rank"])
    given = dict(s["given"])
    if "num_features" in of.parameters:
        given["num_features"] = str(s["channels"])
    written = Call(of, {n: parse(given[n]) for n in of.parameters if n in given}, {})
    asked = {} if "num_features" in of.parameters else {"num_features": s["channels"]}
    try:
        made = translate(written.text, from_=s["from"], to=s["to"], rank=s["rank"], **asked).plan
    except ValueError as error:
        return {"settings": s, "source": {"text": written.text, "refused": str(error)}}
    wrong = ignoring(s, made.source, made.target)
    told = "mode" not in s["ignored"]
    runs = {
        "source": played(s, s["from"], made.source.values(), made.axes[0], True),
        "right": played(s, s["to"], made.target.values(), made.axes[1], True),
        "ignored": played(s, s["to"], wrong.values(), made.axes[1], told),
    }
    texts = {"source": written.text, "right": made.target.text, "ignored": wrong.text}
    return {
        "settings": s,
        "remains": sorted(f"{d.key}, {d.kind}" for d in made.differences),
        **{side: {"text": texts[side], **runs[side]} for side in runs},
    }


def text():
    rng = random.Random(20150211)
    pairs = [(a, b) for a in NAMES for b in NAMES if a != b for _ in range(EACH)]
    cases = [json.dumps(case(settings(rng, a, b)), allow_nan=False) for a, b in pairs]
    return "[\n" + ",\n".join(cases) + "\n]\n"


if __name__ == "__main__":
    made = text()
    if "--check" in sys.argv:
        if FILE.read_text(encoding="utf-8") != made:
            sys.exit(f"not current, run `make generate`:\n  {FILE.name}")
    else:
        FILE.write_text(made, encoding="utf-8")
