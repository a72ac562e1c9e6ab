"""Questions about dtypes: which inputs run, and what comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from batchnorm.questions.probe import SHAPE, Probe, draw
from batchnorm.questions.question import Answer, Question, Text, having
from batchnorm.questions.subject import Subject
from batchnorm.vocabulary import as_dtype

__all__ = ["QUESTIONS"]


def output_for(dtype: str) -> Callable[[Subject], Answer]:
    """Give the output's dtype in training, for an input of this dtype to a default layer."""

    def experiment(subject: Subject) -> Answer:
        return Probe(subject).run(draw(dtype=as_dtype(dtype))).y.dtype.name

    return experiment


def bfloat16_layer(subject: Subject) -> Answer:
    dtype = as_dtype("bfloat16")
    return Probe(subject, dtype=dtype).run(draw(dtype=dtype)).y.dtype.name


def float64_layer(subject: Subject) -> Answer:
    return Probe(subject, dtype=np.float64).run(draw(dtype=np.float64)).y.dtype.name


def sixteen_bit_statistics_move(subject: Subject) -> Answer:
    probe = Probe(subject, dtype=np.float16)
    before = probe.value("running_mean")
    probe.run(draw(dtype=np.float16) + np.float16(3))
    return bool(np.any(probe.value("running_mean") != before))


def overflow(subject: Subject) -> Answer:
    """A standard deviation of 300 is far inside float16, its square (90000) is not."""
    probe = Probe(subject, dtype=np.float16, weight_of_batch=0.9)
    x = (np.random.default_rng(0).normal(0, 300, SHAPE)).astype(np.float16)
    y = probe.run(x).y
    finite = {"output": y, "running variance": probe.value("running_var")}
    return {name: "finite" if np.isfinite(v).all() else "inf" for name, v in finite.items()}


def mixed_policy(subject: Subject) -> Answer:
    probe = Probe(subject, dtype="mixed_float16")
    y = probe.run(draw()).y
    return {"output": y.dtype.name, "gamma": probe.state()["gamma"].dtype.name}


def question(id: str, dtype: str, matters: str, item: tuple[int, ...] = ()) -> Question:
    """Make one of the questions that differ in the input's dtype."""
    asks = f"What dtype is the output for {dtype} input to a default layer in training?"
    return Question(id, "dtypes", asks, matters, output_for(dtype), item=item)


TORCH_LAYER = "https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/modules/batchnorm.py"

QUESTIONS = (
    question(
        "float64-input",
        "float64",
        "NumPy's default dtype stops one framework and is cut to float32 by another: 9 of 16 "
        "digits vanish silently.",
        (49,),
    ),
    question(
        "integer-input",
        "int32",
        "Images as 0…255 integers run in one framework and stop the other: cast them yourself.",
        (50,),
    ),
    question(
        "boolean-input",
        "bool",
        "Where bool is accepted, a mask given in place of the input by mistake runs as "
        "0 and 1: half of it true moves the statistics towards mean 0.5 and variance "
        "0.25.",
        (50,),
    ),
    question(
        "complex-input",
        "complex64",
        "Where complex numbers run, the imaginary half is dropped without an error: 1 "
        "+ 2i counts as 1.",
        (50,),
    ),
    question(
        "float16-input",
        "float16",
        "The next layer gets 16 or 32 bits: twice the memory, or 3 digits instead of 7.",
        (52,),
    ),
    question(
        "bfloat16-input",
        "bfloat16",
        "A bfloat16 network (2 to 3 digits) needs casts around each such layer where "
        "it is refused; where float32 comes out, the next layer gets 4 bytes per value "
        "instead of 2.",
        (51,),
    ),
    Question(
        "bfloat16-layer",
        "dtypes",
        "What dtype is the output of a bfloat16 layer in training, for bfloat16 input?",
        "Where it fails, keep the layer in float32 and cast: the parameters then take 4 bytes "
        "instead of 2.",
        bfloat16_layer,
        item=(51,),
    ),
    Question(
        "float64-layer",
        "dtypes",
        "What dtype is the output of a float64 layer in training, for float64 input?",
        "Where it fails or gives float32, nothing can be checked in double precision "
        "there: 7 digits are all.",
        float64_layer,
        item=(49,),
    ),
    Question(
        "float16-statistics-move",
        "dtypes",
        "Does a layer built with dtype=float16 move its running mean in training?",
        "Where the answer is no, inference divides by √(1 + ε) for ever, whatever the "
        "training saw: mean 0 and variance 1.",
        sixteen_bit_statistics_move,
        item=(53,),
    ),
    Question(
        "float16-overflow",
        "dtypes",
        "In a float16 layer, what do inputs of standard deviation 300 leave?",
        "The variance 9e4 exceeds float16's 65504: with an infinite running variance, every "
        "later inference gives 0 and only beta remains.",
        overflow,
        item=(54,),
    ),
    Question(
        "mixed-float16",
        "dtypes",
        "With dtype='mixed_float16', which dtypes have the output and gamma?",
        "The counterpart elsewhere is a float32 layer with float16 input, not a float16 layer: "
        "the statistics keep 7 digits instead of 3.",
        mixed_policy,
        asked_of=having("dtype_policy"),
        absent=Text("has no dtype policies"),
        item=(47,),
    ),
    Question(
        "arrays-and-lists-as-input",
        "dtypes",
        "Can a NumPy array or a list be given as input?",
        "Keras takes arrays; torch raises AttributeError and MindSpore TypeError: "
        "convert by torch.from_numpy or Tensor there. The layers of this package take "
        "arrays.",
        None,
        unrecorded=Text("An experiment hands each framework its own tensors."),
        source=TORCH_LAYER,
        item=(59,),
    ),
)
