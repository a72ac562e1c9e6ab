"""Questions about layouts, devices, several processes and export.

Most can't be put to a layer in one process on one CPU: they say why, and link to the source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, SHAPE, Probe, attempt, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject

__all__ = ["QUESTIONS"]

MINDSPORE = "https://github.com/mindspore-ai/mindspore/blob/"
KERAS_LAYER = (
    "https://github.com/keras-team/keras/blob/v3.15.1/"
    "keras/src/layers/normalization/batch_normalization.py"
)


def channels_last(subject: Subject) -> Answer:
    """Run the dialect's own way to say that the channels come last."""
    shape = (4, 2, 5, 3)
    own: dict[str, Any] = (
        {"axis": -1} if subject.dialect in KERAS else {"axis": 3, "data_format": "NHWC"}
    )

    def call() -> None:
        Probe(subject, shape, **own).run(draw(shape))

    return attempt(call)


def memory_order(subject: Subject) -> Answer:
    """Give x in channels-last memory order, and look at y's."""
    x = np.moveaxis(np.ascontiguousarray(np.moveaxis(draw(SHAPE), 1, -1)), -1, 1)
    y = Probe(subject).run(x).y
    return "channels last" if np.moveaxis(y, 1, -1).flags.c_contiguous else "channels first"


def one_process(subject: Subject) -> Answer:
    if subject.dialect in KERAS:
        return attempt(lambda: Probe(subject, synchronized=True).run(draw()))
    return attempt(lambda: subject.layer("SyncBatchNorm", 3).run(draw()))


QUESTIONS = (
    Question(
        "channels-last-on-cpu",
        "devices",
        "Does the layer take channels-last data (NHWC) on a CPU?",
        "Where it doesn't, code written for a GPU fails when the layer is constructed on a "
        "CPU; "
        "transposing costs 2 copies of the data.",
        channels_last,
        asked_of=having("data_format", "channel_axis"),
        absent=Text("has no such parameter: the layout is a matter of strides"),
        item=(39,),
    ),
    Question(
        "memory-order-of-the-output",
        "devices",
        "For x of shape N×C×H×W with adjacent channels in memory, which order has y?",
        "Where the order isn't kept, y.view or a raw pointer reads other numbers, and a "
        "network "
        "that was sped up by channels last pays 1 copy per layer.",
        memory_order,
        item=(60,),
    ),
    Question(
        "synchronized-on-one-process",
        "devices",
        "Does the synchronized layer run in a single process on a CPU?",
        "Where it doesn't, a script for 8 devices can't be debugged on 1 without replacing the "
        "layer.",
        one_process,
        item=(64,),
    ),
    Question(
        "running-variance-denominator-on-devices",
        "devices",
        "Does the variance that enters the running one depend on the device?",
        "MindSpore's GPU kernel hands the update to cuDNN, which takes the unbiased variance; "
        "2.0 on a CPU takes the biased one. Trained there and here, the running variances "
        "differ by n/(n−1): 2.0e-3 at 8×8×8.",
        None,
        unrecorded=Text("Neither a GPU nor an Ascend device is at hand."),
        source=MINDSPORE + "b81d93bbd73f9ade32ab71f851819b7761040f1c/mindspore/ccsrc/plugin/"
        "device/gpu/kernel/nn/batch_norm_gpu_kernel.cc",
        item=(3, 39),
    ),
    Question(
        "replicas-without-synchronization",
        "devices",
        "Without synchronization, whose running statistics are kept with several replicas?",
        "Measured by hand on 2 CPU replicas: tf_keras 2.21.0 keeps the replicas' average, "
        "Keras "
        "3.15.1 those of replica 0, which saw 1/2 of the data; in torch each process has its "
        "own.",
        None,
        unrecorded=Text("An experiment runs in one process, on one device."),
        source=KERAS_LAYER,
        item=(17,),
    ),
    Question(
        "replicas-with-synchronization",
        "devices",
        "With synchronization, which variance of the whole batch is averaged?",
        "Measured by hand on 2 CPU replicas: Keras 2 and 3 average the biased variance of the "
        "global batch; without synchronization Keras 2 averages unbiased ones. The factor is "
        "n/(n−1): 2.0e-3 at 8×8×8.",
        None,
        unrecorded=Text("An experiment runs in one process, on one device."),
        source="https://github.com/keras-team/tf-keras/blob/v2.21.0/"
        "tf_keras/src/layers/normalization/batch_normalization.py",
        item=(18,),
    ),
    Question(
        "export-to-onnx-in-training-mode",
        "devices",
        "Which variance does ONNX's BatchNormalization average with training_mode=1?",
        "The biased one: a layer that averages the unbiased variance, exported for further "
        "training, goes on with running variances smaller by (n−1)/n, 2.0e-3 at 8×8×8.",
        None,
        unrecorded=Text("ONNX is a file format: no layer of it can be called."),
        source="https://onnx.ai/onnx/operators/onnx__BatchNormalization.html",
        item=(65,),
    ),
)
