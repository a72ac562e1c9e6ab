"""The plot of what happens to the running statistics when a rule is ignored, beside the right port.

Not here: the trainings that it shows, which the rules' harms are computed from (`rules`).
"""

from __future__ import annotations

import numpy as np

from batchnorm.explain.page import Curve, Panel, Plot
from batchnorm.explain.sections.rules import SCALES, Rules, Training
from batchnorm.explain.sections.states import entries
from batchnorm.explain.words import Lang, label, say
from batchnorm.questions.question import Text

__all__ = ["plot"]

SHOWN = 40  # steps
CHANNEL = SCALES.index(0.5)
TITLE = Text(
    "The statistics of a {b} layer over {steps} training steps, ported as told and with one rule "
    "ignored:"
)
FOLLOWED, IGNORED = Text("as told"), Text("{topic} ignored")
STEP = Text("step")


def plot(rules: Rules) -> Plot | None:
    """The running mean and variance; None where no rule that can be ignored changes them."""
    lang = rules.lang
    found = [("followed", say(FOLLOWED, lang), rules.followed)]
    for rule in rules.ranked:
        if rule.ignored is not None and not _same(rule.ignored, rules.followed):
            found.append((rule.topic, _ignored(rule.name(lang), lang), rule.ignored))
    if len(found) == 1:
        return None
    names = entries(rules.b)
    panels = tuple(
        Panel(names[role][1], tuple(_curve(*one, place) for one in found))
        for place, role in enumerate(("running_mean", "running_var"))
    )
    title = say(TITLE, lang, b=label(rules.b, rules.a), steps=SHOWN)
    return Plot(title, say(STEP, lang), panels)


def _ignored(topic: str, lang: Lang) -> str:
    text = say(IGNORED, lang, topic=topic)
    return text.replace("略m", "略 m")  # a blank between Chinese and Latin


def _curve(topic: str, name: str, training: Training, place: int) -> Curve:
    """From the new layer's value, 0 or 1, on."""
    values = (float(state[place][CHANNEL]) for state in training.states[:SHOWN])
    return Curve(topic, name, (float(place), *values))


def _same(one: Training, other: Training) -> bool:
    pairs = zip(one.states[:SHOWN], other.states[:SHOWN], strict=True)
    return all(np.allclose(a, b, rtol=1e-4) for a, b in pairs)
