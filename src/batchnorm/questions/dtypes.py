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


def question(id: str, dtype: str, consequence: Text, item: tuple[int, ...] = ()) -> Question:
    """Make one of the questions that differ in the input's dtype."""
    text = Text(
        f"What dtype is the output for {dtype} input to a default layer in training?",
        f"默认的层在训练时输入 {dtype},输出是什么 dtype?",
    )
    return Question(id, "dtypes", text, consequence, output_for(dtype), item=item)


TORCH_LAYER = "https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/modules/batchnorm.py"

QUESTIONS = (
    question(
        "float64-input",
        "float64",
        Text(
            "NumPy's default dtype stops one framework and is cut to float32 by another: 9 of 16 "
            "digits vanish silently.",
            "NumPy 默认的 dtype 在一个框架中报错,在另一个框架中被截成 float32:"
            "16 位有效数字悄悄丢掉 9 位。",
        ),
        (49,),
    ),
    question(
        "integer-input",
        "int32",
        Text(
            "Images as 0…255 integers run in one framework and stop the other: cast them yourself.",
            "0…255 的整数图像在一个框架中可以运行,在另一个框架中报错:请自行转换类型。",
        ),
        (50,),
    ),
    question(
        "boolean-input",
        "bool",
        Text(
            "Where bool is accepted, a mask given in place of the input by mistake runs as "
            "0 and 1: half of it true moves the statistics towards mean 0.5 and variance "
            "0.25.",
            "若接受 bool,误把掩码当作输入也会作为 0 和 1 运行:一半为真时,统计量会移向均值 0.5、"
            "方差 0.25。",
        ),
        (50,),
    ),
    question(
        "complex-input",
        "complex64",
        Text(
            "Where complex numbers run, the imaginary half is dropped without an error: 1 "
            "+ 2i counts as 1.",
            "若复数可以运行,虚部这一半会被悄悄丢掉:1 + 2i 被当作 1。",
        ),
        (50,),
    ),
    question(
        "float16-input",
        "float16",
        Text(
            "The next layer gets 16 or 32 bits: twice the memory, or 3 digits instead of 7.",
            "下一层得到 16 位或 32 位:要么两倍内存,要么 3 位而不是 7 位有效数字。",
        ),
        (52,),
    ),
    question(
        "bfloat16-input",
        "bfloat16",
        Text(
            "A bfloat16 network (2 to 3 digits) needs casts around each such layer where "
            "it is refused; where float32 comes out, the next layer gets 4 bytes per value "
            "instead of 2.",
            "若不接受 bfloat16(2 到 3 位有效数字),网络就要在每个这样的层前后转换类型;若输出为 "
            "float32,下一"
            "层每个值得到 4 字节而不是 2 字节。",
        ),
        (51,),
    ),
    Question(
        "bfloat16-layer",
        "dtypes",
        Text(
            "What dtype is the output of a bfloat16 layer in training, for bfloat16 input?",
            "bfloat16 的层在训练时输入 bfloat16,输出是什么 dtype?",
        ),
        Text(
            "Where it fails, keep the layer in float32 and cast: the parameters then take 4 bytes "
            "instead of 2.",
            "若失败,就让层保持 float32 并转换类型:参数占 4 字节而不是 2 字节。",
        ),
        bfloat16_layer,
        item=(51,),
    ),
    Question(
        "float64-layer",
        "dtypes",
        Text(
            "What dtype is the output of a float64 layer in training, for float64 input?",
            "float64 的层在训练时输入 float64,输出是什么 dtype?",
        ),
        Text(
            "Where it fails or gives float32, nothing can be checked in double precision "
            "there: 7 digits are all.",
            "若失败或得到 float32,就无法在那里用双精度核对:只有 7 位有效数字。",
        ),
        float64_layer,
        item=(49,),
    ),
    Question(
        "float16-statistics-move",
        "dtypes",
        Text(
            "Does a layer built with dtype=float16 move its running mean in training?",
            "用 dtype=float16 构造的层,训练时滑动均值会变化吗?",
        ),
        Text(
            "Where the answer is no, inference divides by √(1 + ε) for ever, whatever the "
            "training saw: mean 0 and variance 1.",
            "若回答为否,无论训练过什么,推理永远只除以 √(1 + ε):均值 0、方差 1。",
        ),
        sixteen_bit_statistics_move,
        item=(53,),
    ),
    Question(
        "float16-overflow",
        "dtypes",
        Text(
            "In a float16 layer, what do inputs of standard deviation 300 leave?",
            "float16 的层输入标准差为 300 的数据,结果如何?",
        ),
        Text(
            "The variance 9e4 exceeds float16's 65504: with an infinite running variance, every "
            "later inference gives 0 and only beta remains.",
            "方差 9e4 超过 float16 的上限 65504:滑动方差成为 inf 后,推理的输出都是 0,只剩 beta。",
        ),
        overflow,
        item=(54,),
    ),
    Question(
        "mixed-float16",
        "dtypes",
        Text(
            "With dtype='mixed_float16', which dtypes have the output and gamma?",
            "dtype='mixed_float16' 时,输出和 gamma 是什么 dtype?",
        ),
        Text(
            "The counterpart elsewhere is a float32 layer with float16 input, not a float16 layer: "
            "the statistics keep 7 digits instead of 3.",
            "在其他框架中与之对应的是输入 float16 的 float32 层,而不是 float16 层:"
            "统计量保留 7 位而不是 3 位有效数字。",
        ),
        mixed_policy,
        asked_of=having("dtype_policy"),
        absent=Text("has no dtype policies", "没有 dtype 策略"),
        item=(47,),
    ),
    Question(
        "arrays-and-lists-as-input",
        "dtypes",
        Text(
            "Can a NumPy array or a list be given as input?",
            "能否以 NumPy 数组或列表作为输入?",
        ),
        Text(
            "Keras takes arrays; torch raises AttributeError and MindSpore TypeError: "
            "convert by torch.from_numpy or Tensor there. The layers of this package take "
            "arrays.",
            "Keras 接受数组;torch 引发 AttributeError,MindSpore 引发 TypeError:应先"
            "用 torch.from_numpy 或 Tensor 转换。本包的层都接受数组。",
        ),
        None,
        unrecorded=Text(
            "An experiment hands each framework its own tensors.",
            "实验传给每个框架的都是它自己的张量。",
        ),
        source=TORCH_LAYER,
        item=(59,),
    ),
)
