"""Questions about which statistics normalize, and when the running ones move."""

from __future__ import annotations

import contextlib
from typing import Any

from batchnorm.questions.probe import KERAS, Probe, attempt, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Raised, Subject

__all__ = ["QUESTIONS"]


def new_layer(subject: Subject) -> Answer:
    """Call a layer as it comes: nobody has said a word about training."""
    probe = Probe(subject).put(running_mean=5.0, running_var=4.0)
    y = probe.layer.run(draw()).y
    return "batch" if abs(float(y.mean())) < 1e-2 else "running"


def training(subject: Subject) -> Answer:
    return Probe(subject).behaviour(True)


def inference(subject: Subject) -> Answer:
    return Probe(subject).behaviour(False)


def training_argument(subject: Subject) -> Answer:
    values: tuple[Any, ...] = (None, False, True, 0, 1, 2)
    return {str(value): argument(subject, value) for value in values}


def argument(subject: Subject, value: Any) -> Answer:
    probe = Probe(subject)
    outcome = attempt(probe.normalizes_by, value)
    return probe.normalizes_by(value) if outcome == "accepted" else outcome


def frozen(subject: Subject) -> Answer:
    """Freeze as a user of the framework does; NumPy arrays have no flag to set."""
    probe = Probe(subject)
    if probe.keras:
        probe.layer.set("trainable", False)
    for name in probe.trained:
        with contextlib.suppress(Raised):
            probe.layer.set(f"{name}.requires_grad", False)
    return probe.behaviour(True)


def forced_batch_statistics(subject: Subject) -> Answer:
    if subject.dialect in having("tracking"):
        return Probe(subject, track_running_stats=False).behaviour(False)
    return Probe(subject, use_batch_statistics=True).behaviour(False)


def forced_running_statistics(subject: Subject) -> Answer:
    return Probe(subject, use_batch_statistics=False).behaviour(True)


NO_SETTING = Text("has no such setting")


QUESTIONS = (
    Question(
        "mode-of-a-new-layer",
        "modes",
        "Which statistics normalize when a new layer is simply called?",
        "Ported without setting the mode, the layer divides by √(1 + ε) instead of normalizing "
        "(or the reverse): for x of mean 1 and standard deviation 2, y has those, not 0 and 1.",
        new_layer,
        item=(19,),
    ),
    Question(
        "training-mode",
        "modes",
        "What does a call in training do?",
        "Outputs in training agree to rounding, about 1e-6.",
        training,
        item=(20,),
    ),
    Question(
        "inference-mode",
        "modes",
        "What does a call in inference do?",
        "Outputs in inference agree as far as epsilon and the running statistics do.",
        inference,
        item=(20,),
    ),
    Question(
        "training-argument",
        "modes",
        "Which statistics normalize, by the value of the call's `training` argument?",
        "The argument decides each result: a page that marks it as not involved compares "
        "training on one side with inference on the other.",
        training_argument,
        asked_of=KERAS,
        absent=Text("takes no such argument"),
        item=(26,),
    ),
    Question(
        "frozen-layer",
        "modes",
        "With gamma and beta frozen, what does a call in training do?",
        "Fine-tuning with a frozen layer either keeps the running statistics or moves them to "
        "the new data: at weight 0.1, 65 % of the way in 10 steps (1 − 0.9¹⁰).",
        frozen,
        item=(24,),
    ),
    Question(
        "forced-batch-statistics",
        "modes",
        "In inference, what does the setting do that forces batch statistics?",
        "Where it updates, every inference changes the layer: evaluating 10 batches at "
        "weight 0.1 replaces 65 % of the running statistics (1 − 0.9¹⁰). Where it "
        "doesn't, or isn't there, they stay.",
        forced_batch_statistics,
        asked_of=having("tracking", "forced_statistics"),
        absent=NO_SETTING,
        item=(20, 21),
    ),
    Question(
        "forced-running-statistics",
        "modes",
        "In training, what does the setting do that forces running statistics?",
        "Elsewhere this takes the layer's inference mode (or freezing): carried over as "
        "training, it normalizes by the batch and moves the statistics.",
        forced_running_statistics,
        asked_of=having("forced_statistics"),
        absent=NO_SETTING,
        absent_in_keras=Text(
            "no setting of its own: `trainable=False` does it, see [frozen layers](#frozen-layer)"
        ),
        item=(20, 21),
    ),
    Question(
        "trainable-changed-after-compile",
        "modes",
        "Does a change of `trainable` after compile() count in fit()?",
        "Measured by hand: set to False between compile and the first fit, a Keras 2 "
        "layer still trains and updates, a Keras 3 layer does neither. Call compile() "
        "again.",
        None,
        asked_of=KERAS,
        absent=Text("has no compile()"),
        unrecorded=Text("An experiment calls a layer, not a model's fit()."),
        source="https://keras.io/guides/transfer_learning/",
        item=(25,),
    ),
)
