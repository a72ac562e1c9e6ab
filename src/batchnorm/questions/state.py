"""Questions about the state: names, order, dtypes, and what the layer prints."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from batchnorm.questions.probe import KERAS, Probe
from batchnorm.questions.question import ASKED, Answer, Question, Text, having
from batchnorm.questions.subject import OurLayer, Subject

__all__ = ["QUESTIONS"]

MINDSPORE = "https://github.com/mindspore-ai/mindspore/blob/"
TORCH_LAYER = "https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/modules/batchnorm.py"
NUMBERS = {"gamma": 1.0, "beta": 2.0, "running_mean": 3.0, "running_var": 4.0}


def saved_names(probe: Probe, nested: bool) -> list[str]:
    """Give the names in a checkpoint of the layer, or of a net that holds it as `bn1`."""
    layer = probe.layer
    if not isinstance(layer, OurLayer):
        return list(layer.names(nested=nested))  # type: ignore[attr-defined]
    if hasattr(
        layer.layer, "state_dict"
    ):  # ours knows no nets: it is told the name that it has there
        return list(layer.layer.state_dict(prefix="bn1." if nested else ""))
    return list(layer.layer.parameters_dict(name="bn1" if nested else ""))


def attribute_names(subject: Subject) -> Answer:
    return sorted(Probe(subject).layer.state())


def bare_names(subject: Subject) -> Answer:
    return saved_names(Probe(subject), False)


def nested_names(subject: Subject) -> Answer:
    return saved_names(Probe(subject), True)


def weights_in_order(subject: Subject) -> Answer:
    """Fill the state with numbers and read them in the order in which the layer lists them."""
    probe = Probe(subject).put(**NUMBERS)
    words = {value: role for role, value in NUMBERS.items()}
    return [words[float(np.ravel(weight)[0])] for weight in probe.layer.get("weights")]


def sixteen_bit_dtypes(subject: Subject) -> Answer:
    state = Probe(subject, dtype=np.float16).state()
    return {role: value.dtype.name for role, value in state.items() if role != "count"}


def text(subject: Subject) -> Answer:
    own: dict[str, Any] = {"name": "bn1"} if subject.dialect in KERAS else {}
    printed = Probe(subject, **own).layer.repr()
    # Of Python's default form only the class is an answer: not its module, not the address.
    return re.sub(r"^<[\w.]*\.(\w+) object.*>$", r"<\1 object>", printed)


def text_without_affine(subject: Subject) -> Answer:
    return Probe(subject, affine=False).layer.repr()


QUESTIONS = (
    Question(
        "state-names",
        "state",
        "What are the parameters and statistics called on the layer?",
        "A checkpoint loaded by name across this difference loads 0 of its entries; a load "
        "that "
        "isn't strict says nothing.",
        attribute_names,
        item=(42,),
    ),
    Question(
        "checkpoint-names-of-a-bare-layer",
        "state",
        "Under which names, in which order, is a single layer saved?",
        "The file of a bare layer lacks the net's prefix (bn1.): loaded into a net, "
        "not strictly, 0 of its entries arrive, and mean 0 and variance 1 stay without "
        "an error. The other way round MindSpore does load a net's file into a bare "
        "layer, by suffix, with strict_load=False.",
        bare_names,
        asked_of=having("num_features"),
        absent=Text("saves models, not layers"),
        item=(42, 43),
    ),
    Question(
        "checkpoint-names-in-a-net",
        "state",
        "Under which names, in which order, is a layer saved that a net holds as bn1?",
        "MindSpore's order (mean, variance, gamma, beta) isn't that of the others "
        "(gamma, beta, mean, variance): loaded by position, of 4 entries none is in "
        "its place, and all have the same shape, so nothing fails.",
        nested_names,
        asked_of=having("num_features"),
        absent=Text(
            "by the layer in an old .h5 file, else by class and index: see "
            "[weight files](#names-in-weight-files)"
        ),
        speaks_of=tuple(record.name for record in ASKED if record.calls.statistics_first),
        item=(42, 43),
    ),
    Question(
        "order-of-weights",
        "state",
        "In which order does the layer list its weights?",
        "set_weights takes this order; given another, all 4 arrays of one shape are accepted "
        "and wrong.",
        weights_in_order,
        asked_of=KERAS,
        absent=Text("lists them by name"),
        item=(43,),
    ),
    Question(
        "sixteen-bit-layer",
        "state",
        "Which dtypes has the state of a layer built with dtype=float16?",
        "Running statistics in float16 have 3 digits: a change below 1/4096 is rounded away, "
        "so at "
        "momentum 0.99 a batch within 2.4 % of the old value changes nothing; above 65504 they "
        "become inf.",
        sixteen_bit_dtypes,
        item=(47,),
    ),
    Question(
        "printed-form",
        "state",
        "What does repr print for 3 channels?",
        "The text is no interface: PyTorch 2.13 prints 6 arguments, MindSpore 2.10 "
        "prints 3 and the 4 entries of the state, Keras none. A test that compares "
        "printed networks breaks at a change of version.",
        text,
        item=(48,),
    ),
    Question(
        "printed-form-without-affine",
        "state",
        "What does repr print for affine=False?",
        "The text needn't repeat the arguments: bias=True was given and False is printed, or "
        "affine isn't printed at all. Rebuild layers from their 8 to 11 arguments, not from "
        "it.",
        text_without_affine,
        asked_of=having("num_features"),
        absent=Text("has no affine"),
        item=(48,),
    ),
    Question(
        "loading-a-state-without-the-counter",
        "state",
        "Is a state without num_batches_tracked loaded?",
        "Only where the state's metadata has a version below 2, or none; else a strict load "
        "fails with 1 missing key. A converter has to add the counter.",
        None,
        asked_of=having("count"),
        absent=Text("has no counter of batches"),
        unrecorded=Text("An experiment overwrites the state; it doesn't load files."),
        source=TORCH_LAYER,
        item=(44,),
    ),
    Question(
        "names-in-weight-files",
        "state",
        "Under which names does a Keras weight file hold the layer?",
        "An old .h5 file names the layer (bn1/bn1/gamma:0), .keras and .weights.h5 its class "
        "and "
        "an index (layers/batch_normalization/vars/0): with scale=False, vars/0 is beta.",
        None,
        asked_of=KERAS,
        absent=Text("saves by attribute names"),
        unrecorded=Text("An experiment has a layer, not a model that could be saved."),
        source="https://keras.io/2/api/models/model_saving_apis/weights_saving_and_loading",
        item=(45,),
    ),
    Question(
        "frozen-flag-in-a-checkpoint",
        "state",
        "Does a checkpoint remember that a parameter was frozen?",
        "load_checkpoint makes each entry a new Parameter, whose requires_grad is True by "
        "default: a layer of affine=False then has 4 parameters that say they train, not 0.",
        None,
        asked_of=having("train_affine"),
        absent=Text("saves arrays only"),
        unrecorded=Text("An experiment overwrites the state; it doesn't load files."),
        source=MINDSPORE + "0facad6495288342986fcb31f09435fa5723cf25/mindspore/python/mindspore/"
        "train/serialization.py",
        item=(46,),
    ),
)
