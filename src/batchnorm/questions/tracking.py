"""Questions about torch's track_running_stats: what a layer without running statistics does."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import Probe, attempt, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

NO_SETTING = Text("has no such setting")


def without_statistics(subject: Subject) -> Answer:
    probe = Probe(subject, track_running_stats=False)
    return {"normalizes by": probe.normalizes_by(True), "state": list(probe.state())}


def buffers_decide(subject: Subject) -> Answer:
    probe = Probe(subject)
    probe.layer.set("track_running_stats", False)
    return {"training": probe.behaviour(True), "inference": probe.behaviour(False)}


def one_buffer(subject: Subject) -> Answer:
    def call(training: bool) -> Any:
        probe = Probe(subject)
        probe.layer.set("running_var", None)
        return probe.run(draw(), training)

    return {"training": attempt(call, True), "inference": attempt(call, False)}


def gradients_without_statistics(subject: Subject) -> Answer:
    probe = Probe(subject, track_running_stats=False)
    found = probe.run(draw(), False, np.sign(draw(seed=1))).gradients
    return {name: bool(np.abs(found[name]).max() > 0.1) for name in ("weight", "bias")}


def one_value_without_statistics(subject: Subject) -> Answer:
    probe = Probe(subject, (1, 3, 1, 1), track_running_stats=False)
    return attempt(probe.run, draw(probe.shape), False)


QUESTIONS = (
    Question(
        "layer-without-statistics",
        "modes",
        "What does a layer do that keeps no running statistics?",
        "Its checkpoint has three entries less, so nothing fills the running statistics of the "
        "other layer: they stay at mean 0 and variance 1, and inference doesn't normalize.",
        without_statistics,
        asked_of=having("tracking"),
        absent=NO_SETTING,
        item=(20,),
    ),
    Question(
        "tracking-switched-off-later",
        "modes",
        "With track_running_stats set to False after construction, what do the calls do?",
        "The existing statistics still decide in inference; only training changes. Who expects "
        "batch statistics in inference gets outputs that are off by whole standard deviations.",
        buffers_decide,
        asked_of=having("tracking"),
        absent=NO_SETTING,
        item=(23,),
    ),
    Question(
        "one-statistic-only",
        "modes",
        "What happens with a running mean but no running variance?",
        "Setting 1 of the 2 to None is no way to get batch statistics: every call "
        "fails, in training as in inference; set both to None.",
        one_buffer,
        asked_of=having("tracking"),
        absent=Text("always has both"),
        item=(23,),
    ),
    Question(
        "gradients-without-statistics",
        "modes",
        "In inference without running statistics, do weight and bias get gradients?",
        "An optimizer that holds them goes on changing them: “doesn't learn” is wrong.",
        gradients_without_statistics,
        asked_of=having("tracking"),
        absent=NO_SETTING,
        item=(22,),
    ),
    Question(
        "one-value-without-statistics",
        "modes",
        "In inference without running statistics, what do 1×C×1×1 inputs give?",
        "A model that evaluates batches of 8 fails on a last batch of 1.",
        one_value_without_statistics,
        asked_of=having("tracking"),
        absent=NO_SETTING,
        item=(27,),
    ),
)
