"""The causes that a diagnosis can name: one record each, with stable ids.

Not here: how one is found (`state.py`, `output.py`, `update.py`, `gradient.py`, `upstream.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CAUSES", "Cause"]


@dataclass(frozen=True)
class Cause:
    """A cause in words.

    Args:
        en: what it is, in English.
        zh: in Chinese.
        fix: what to do, in English; "" where the finding writes it itself.
        rule: the lint rule that finds it in source code, "" for none.
    """

    en: str
    zh: str
    fix: str = ""
    rule: str = ""


CAUSES: Mapping[str, Cause] = {
    "momentum-inverted": Cause(
        "momentum means the opposite in the port: the running statistics move by 1 - factor",
        "移植模型的 momentum 含义相反：滑动统计量按 1 - factor 更新",
    ),
    "momentum-differs": Cause(
        "the running statistics move by another factor than in the source",
        "滑动统计量的更新系数与源模型不同",
    ),
    "epsilon-differs": Cause(
        "another epsilon is added to the variance", "加到方差上的 epsilon 不同"
    ),
    "statistics-not-loaded": Cause(
        "the running statistics are not the source's", "滑动统计量不是源模型的值（未加载）",
        "load the source's running mean and variance into these layers",
    ),
    "affine-not-loaded": Cause(
        "gamma and beta are not the source's", "gamma 和 beta 不是源模型的值（未加载）",
        "load the source's gamma and beta into these layers",
    ),
    "mean-variance-swapped": Cause(
        "running mean and variance are in each other's place", "滑动均值与方差互换了位置",
        "load the mean as the mean and the variance as the variance",
    ),
    "gamma-beta-swapped": Cause(
        "gamma and beta are in each other's place", "gamma 与 beta 互换了位置",
        "load gamma as gamma and beta as beta",
    ),
    "wrong-layer": Cause(
        "the values are another layer's of the source", "值来自源模型的另一层",
        "exchange the layers' values, or correct their names",
    ),
    "channels-permuted": Cause(
        "the values are the source's in another order of channels", "通道顺序被打乱",
        "load the values in the source's order of channels",
    ),
    "variance-shifted": Cause(
        "a constant has been added to the running variance", "滑动方差被加上了一个常数",
        "load the variance itself: epsilon is added by the layer",
    ),
    "variance-is-std": Cause(
        "the running variance holds the standard deviation", "滑动方差中存的是标准差",
        "square the values: the layer takes the root itself",
    ),
    "denominator-differs": Cause(
        "the running variance has another denominator (n or n - 1) than the dialect's own",
        "滑动方差的分母（n 或 n-1）与该框架自身的不同",
        "take the framework's own batch norm, or multiply what enters by the factor n / (n - 1)",
    ),
    "mode-differs": Cause(
        "batch statistics normalize in one model and running statistics in the other",
        "一个模型用批统计量归一化，另一个用滑动统计量",
    ),
    "batch-statistics-differ": Cause(
        "renorm, ghost batches, a mask or a batch in parts (gradient accumulation) change the "
        "batch's statistics in one of the models only",
        "只有一个模型用 renorm、虚拟批（ghost batch）、掩码或分批（梯度累积）改变批统计量",
        "give the layer what the source's has of these, and as many samples in a call",
    ),
    "not-updated": Cause(
        "the running statistics stay as they are in training", "训练时滑动统计量没有更新",
        "let the layer keep the statistics that it computes (an update that is dropped, or never "
        "run)",
    ),
    "updated-twice": Cause(
        "the running statistics are updated twice in one step", "一步内滑动统计量更新了两次",
        "call the layer once in a step (a recomputed checkpoint, or two forward passes, move it "
        "twice)",
    ),
    "axis-differs": Cause(
        "another axis is normalized than that of the channels", "归一化的轴不是通道轴"
    ),
    "affine-missing": Cause(
        "gamma or beta doesn't apply in the port", "移植模型中 gamma 或 beta 不起作用"
    ),
    "layout-differs": Cause(
        "the axes are in another order than in the source", "张量布局与源模型不同",
        "transpose the batch to the layout that the port expects",
    ),
    "gradient-differs": Cause("the gradient differs", "梯度不同"),
    "synchronization-differs": Cause(
        "the statistics are those of one process in one model and of all in the other",
        "一个模型只用单进程统计量，另一个用所有进程的",
        "synchronize the layer's statistics as the source does, or take its plain class",
    ),
    "precision-differs": Cause("the values have another precision", "数值精度不同"),
    "input-differs": Cause(
        "what reaches the layer differs, from a cause between it and the layers before",
        "到达该层的输入不同，原因在它与前面的层之间",
    ),
    "padding-differs": Cause("the padding differs", "填充方式不同"),
    "stride-differs": Cause("the stride differs", "步长不同"),
    "kernel-not-loaded": Cause(
        "the kernel is not the source's", "卷积核不是源模型的值（未加载）",
        "load the source's kernel into these layers",
    ),
    "kernel-transposed": Cause(
        "the kernel's axes are in another order", "卷积核的轴顺序不同（被转置）",
        "transpose the kernel when it is carried over",
    ),
    "bias-differs": Cause(
        "the bias is not the source's", "偏置不是源模型的值", "load the source's bias"
    ),
    "activation-differs": Cause("another function is applied before the layer", "激活函数不同"),
    "scale-differs": Cause("the values are scaled or shifted", "数值被缩放或平移"),
    "channel-order": Cause(
        "the channels come in reverse (RGB and BGR)", "通道顺序相反（RGB 与 BGR）"
    ),
    "input-permuted": Cause("the values come in another order", "输入值的顺序不同"),
    "unexplained": Cause(
        "the layer computes something else than the source's rule, and no known cause fits",
        "该层的计算与源模型规则不符，且没有已知原因能解释",
    ),
}  # fmt: skip
