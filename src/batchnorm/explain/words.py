"""The two languages of a page, and the glossary's words in the second one.

Sentences stand where they are used, as `Text`; here is only what several sections share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from batchnorm.errors import InvalidValue
from batchnorm.explain.sides import Side
from batchnorm.questions.question import Text
from batchnorm.vocabulary import GLOSSARY, Meaning, Mode

__all__ = ["LANGUAGES", "ONLY", "Lang", "as_is", "gloss", "label", "language", "mode_words", "say"]

Lang: TypeAlias = Literal["en", "zh"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)

CHINESE: Mapping[str, str] = {
    "num_features": "通道数 C,整数",
    "epsilon": "加在方差上的稳定项:y = (x - mean) / sqrt(var + epsilon)",
    "weight_of_batch": "momentum 是新批次的权重,即 exponential_average_factor",
    "weight_of_running": "momentum 是旧值的权重,即 1 - exponential_average_factor",
    "affine": "gamma 和 beta 是否存在并参与训练",
    "beta_if_affine": "在 gamma 存在时,beta 是否也存在",
    "train_affine": "gamma 和 beta 是否参与训练;两者始终存在并始终起作用",
    "has_gamma": "gamma 是否存在",
    "has_beta": "beta 是否存在",
    "tracking": "是否保存滑动统计量;不保存时始终用批统计量归一化",
    "forced_statistics": "始终用批统计量(True)、始终用滑动统计量(False)、由模式决定(None)",
    "trainable": "该层是否训练;不训练时任何模式下都用滑动统计量归一化",
    "channel_axis": "各自保留统计量的轴(一个或多个)",
    "data_format": "用名字指定通道轴:NCHW 或 NHWC",
    "init": "状态项的初始值:名字、数、数组或初始化器",
    "regularizer": "训练损失为该参数附加的惩罚项",
    "constraint": "优化器每步之后对该参数做的投影",
    "parameter_dtype": "gamma、beta 和滑动统计量的类型",
    "dtype_policy": "计算类型与参数类型,一并指定",
    "device": "参数所在的设备",
    "name": "该层的名字",
    "renorm": "是否用 batch renormalization(Ioffe 2017)修正批统计量",
    "renorm_clipping": "renorm 中 r 和 d 的界限",
    "renorm_weight_of_running": "renorm 自身平均值中旧值的权重",
    "fused": "是否使用融合算子:True、False,None 为自动选择",
    "virtual_batch_size": "每个虚拟批次的样本数,各用自己的统计量归一化",
    "adjustment": "由输入形状给出 (scale, bias) 的函数,作用于归一化后的值",
    "synchronized": "批统计量是否由所有副本共同得出",
    "input_shape": "输入形状的提示,本层并不需要",
    "initial_weights": "建立状态时写入的值",
    "housekeeping": "基类的选项,对批归一化没有影响",
}

ONLY = Text("{side} only: {gloss}", "仅 {side} 有:{gloss}")
GLOSS_OF = Text("{gloss} ({of})", "{gloss}({of})")

MODES: Mapping[Mode, tuple[Text, Text]] = {  # normalizes by, updates
    Mode.BATCH_AND_UPDATE: (Text("batch statistics", "批统计量"), Text("yes", "是")),
    Mode.BATCH: (Text("batch statistics", "批统计量"), Text("no", "否")),
    Mode.RUNNING: (Text("running statistics", "滑动统计量"), Text("no", "否")),
}


def language(lang: str) -> Lang:
    """The language of that name.

    Raises:
        ValueError: there is none.
    """
    for known in LANGUAGES:
        if lang == known:
            return known
    raise InvalidValue(f"there is no page in language {lang!r}; known: {', '.join(LANGUAGES)}")


def say(text: Text, lang: Lang, **values: object) -> str:
    """The sentence in one language, with values in its braces."""
    return as_is(text, lang).format(**values)


def as_is(text: Text, lang: Lang) -> str:
    """A text that is no template: its braces are its own."""
    return text.zh if lang == "zh" else text.en


def gloss(meaning: Meaning, lang: Lang) -> str:
    """What a parameter of this meaning says."""
    word = CHINESE[meaning.word] if lang == "zh" else GLOSSARY[meaning.word]
    return say(GLOSS_OF, lang, gloss=word, of=meaning.of) if meaning.of else word


def mode_words(mode: Mode, lang: Lang) -> tuple[str, str]:
    """Which statistics normalize, and whether the running ones move."""
    used, updated = MODES[mode]
    return say(used, lang), say(updated, lang)


def label(side: Side, other: Side) -> str:
    """How a page calls a side: with its version where both are versions of one framework."""
    return side.versioned if side.title == other.title else side.title
