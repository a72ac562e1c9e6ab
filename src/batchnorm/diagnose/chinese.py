"""What a report says in English, in Chinese: evidence, fixes and what can't be told.

Not here: the causes themselves (`causes.py`) and the report's frame (`report.py`).
"""

from __future__ import annotations

import re

__all__ = ["said"]

CHINESE = {
    # evidence
    "port": "移植模型",
    "source": "源模型",
    "port's": "移植模型的",
    "source's": "源模型的",
    "port's statistics": "移植模型的统计量",
    "port moves by": "移植模型的更新系数",
    "port stands in": "移植模型处于",
    "source in": "源模型处于",
    "port keeps": "移植模型保存",
    "no running statistics": "没有滑动统计量",
    "training": "训练模式",
    "inference": "推理模式",
    "batch statistics": "批统计量",
    "running statistics": "滑动统计量",
    "values": "数值",
    "they are": "现为",
    "as in a new layer": "与新建的层相同",
    "neither the source's nor a new layer's": "既不是源模型的，也不是新建层的",
    "largest difference": "最大差异",
    "distance": "距离",
    "in units of": "单位",
    "the bound": "误差界",
    "equals": "等于",
    "by": "相差",
    "channels": "通道数",
    "missing": "缺少",
    "zero": "零",
    "other values": "其他数值",
    "isn't added": "没有加上",
    "doesn't apply": "不起作用",
    "of": "关于",
    "the input": "输入",
    "the kernel": "卷积核",
    "the loss": "损失",
    "the batch": "批数据",
    "the layer": "该层",
    "both models'": "两个模型的",
    "the source's": "源模型的",
    "the port's": "移植模型的",
    "running_mean": "滑动均值",
    "running_var": "滑动方差",
    "denominator": "分母",
    "the source's rule": "源模型的规则",
    "variance by n - 1": "方差除以 n - 1",
    "its output": "它的输出",
    "state holds the variance times": "状态中的方差乘了",
    "n / (n - 1) - 1 times": "n / (n - 1) - 1 的倍数",
    "goes": "梯度",
    "through the batch statistics": "经过批统计量",
    "not through the batch statistics": "不经过批统计量",
    "no gradient of": "没有梯度",
    "times": "倍数",
    "and plus": "再加上",
    "times, by channel": "各通道的倍数",
    "how": "方式",
    "computes with": "实际计算用",
    "computes with, in front": "实际在前面填充",
    "says": "设置为",
    "spatial axes exchanged": "空间轴互换",
    "spatial axes reversed": "空间轴反转",
    "in and out exchanged": "输入与输出互换",
    "input channels reversed": "输入通道反转",
    "after": "位于其后",
    "expected": "应为",
    "places": "位置",
    "what": "内容",
    "update of the mean": "均值的更新",
    "update of the variance": "方差的更新",
    "outputs at its corners": "角上的输出",
    "dropped": "被丢弃",
    "between two steps": "两步之间",
    "as of": "相当于",
    "loaded as": "加载前的精度",
    "a gradient reaches it in": "有梯度到达的是",
    "the source only": "仅源模型",
    "the port only": "仅移植模型",
    "shapes": "形状",
    "axis": "轴",
    "channels are axis": "通道所在的轴",
    "normalized by": "归一化用",
    "nothing": "无",
    "none": "无",
    "renorm": "renorm",
    "ghost batches": "虚拟批（ghost batch）",
    "a mask": "掩码",
    "of each process alone": "各进程自己的",
    # what can't be told
    "what reaches the layer": "到达该层的输入",
    "a difference comes in from before, and what lies between isn't known":
        "差异来自前面，而两层之间是什么并不清楚",
    "what reaches the first layers": "到达最前面各层的输入",
    "the two models were given batches that differ": "两个模型得到的批数据不同",
    "momentum": "momentum",
    "the batch's means are the running ones": "批均值与滑动均值相同",
    "everything": "全部",
    "the layer is called in one of the models only": "只有一个模型调用了该层",
    "update and gradient": "更新与梯度",
    "the port's values have fewer digits": "移植模型的数值位数较少",
    "output, update and gradient in training": "训练时的输出、更新与梯度",
    "output, update and gradient": "输出、更新与梯度",
    "no number reaches it that is finite": "到达该层的没有有限的数",
    "pairing": "层的对应",
    "all calls of a step": "一步内的全部调用",
    "what depends on chance": "取决于随机数的内容",
    # what to do
    "load the source's running mean and variance into these layers":
        "把源模型的滑动均值和方差加载到这些层",
    "load the source's gamma and beta into these layers": "把源模型的 gamma 和 beta 加载到这些层",
    "load the mean as the mean and the variance as the variance": "均值作均值、方差作方差加载",
    "load gamma as gamma and beta as beta": "gamma 作 gamma、beta 作 beta 加载",
    "exchange the layers' values, or correct their names": "互换这些层的数值，或改正名称",
    "load the values in the source's order of channels": "按源模型的通道顺序加载",
    "load the variance itself: epsilon is added by the layer": "加载方差本身：epsilon 由该层加上",
    "square the values: the layer takes the root itself": "取平方：该层自己开方",
    "take the framework's own batch norm, or multiply what enters by the factor n / (n - 1)":
        "使用框架自带的批归一化，或把进入的方差乘以 n / (n - 1)",
    "give the layer what the source's has of these, and as many samples in a call":
        "让该层与源模型的设置一致，每次调用的样本数也一致",
    "let the layer keep the statistics that it computes (an update that is dropped, or never run)":
        "让该层保留它算出的统计量（更新被丢弃或从未执行）",
    "call the layer once in a step (a recomputed checkpoint, or two forward passes, move it twice)":
        "每步只调用该层一次（重计算或两次前向会更新两次）",
    "transpose the batch to the layout that the port expects": "把批数据转置为移植模型要求的布局",
    "synchronize the layer's statistics as the source does, or take its plain class":
        "像源模型那样同步统计量，或使用不同步的类",
    "load the source's kernel into these layers": "把源模型的卷积核加载到这些层",
    "transpose the kernel when it is carried over": "移植时转置卷积核",
    "load the source's bias": "加载源模型的偏置",
    "reduce the loss alike: both a mean or both a sum, over as many batches":
        "两边以同样方式归约损失：都取平均或都求和，且累积的批数相同",
    "leave the scaling out, or do it on both sides": "去掉缩放，或两边都做",
}  # fmt: skip
# Sentences with numbers or names in them; what stands in a gap is said in Chinese too.
PATTERNS = {
    r"(.+) \((\d+) layers\)": "{0}（{1} 层）",
    r"running variance by (.+) in the port and by (.+) in the source":
        "滑动方差在移植模型中除以 {0}，在源模型中除以 {1}",
    r"(.+), (\S+) noises away": "{0}，相距 {1} 倍噪声",
    r"(.+), (\S+) bounds away": "{0}，相距 {1} 倍误差界",
    r"(.+) fits as well": "{0} 同样符合",
    r"as in the source: (.*)": "与源模型相同：{0}",
    r"n = (\d+): its effect is (\S+), below the noise": "n = {0}：其影响为 {1}，低于噪声",
    r"of (\d+) large kernels all but some outputs' rows and sums":
        "{0} 个大卷积核只记录了部分输出的行以及各行之和",
    r"no layer of the other model was found for these of the (.+); name it in a map":
        "{0}的这些层在另一个模型中没有找到对应的层；请在映射文件中写明",
    r"the source's rule can't be read: (.+)": "无法读取源模型的规则：{0}",
    r"the layer applies (.+) itself": "该层自己应用 {0}",
    r"(.+): nothing is kept by which it could be replayed": "{0}：没有记录可供重放的数据",
    r"(both models'|the source's|the port's) statistics are those of all processes, .+":
        "{0}统计量来自所有进程，只有两边同样多进程的全部记录才能判断：`batchnorm record --rank`",
    r"of all (\d+) processes": "全部 {0} 个进程的",
    r"columns as of (\d+) channels, last": "各列按 {0} 个通道排在最后的顺序",
    r"step (\d+)": "第 {0} 步",
    r"random numbers were drawn in the (.+), by what no switch turns off":
        "{0}取了随机数，来自没有开关可关的代码",
    r"(source|port) and the (source|port)": "{0}和{1}",
    r"(\d+ call\(s\) .+) in the port and (\d+ call\(s\) .+) in the source":
        "移植模型{0}，源模型{1}",
    r"(\d+) call\(s\) with (\d+) samples": "调用 {0} 次，每次 {1} 个样本",
    r"(\d+) of (\d+)": "{1} 个中的 {0} 个",
    r"without (gamma|beta)": "没有 {0}",
    r"the input of (\S+)": "{0} 的输入",
    r"(\S+(?: or \S+)*) of (.+)": "{1} 的 {0}",
    r"(.+) \+ (.+)": "{0} + {1}",
    r"(.+) and (.+)": "{0} 和 {1}",
    r"(.+) or (.+)": "{0} 或 {1}",
}  # fmt: skip


def said(text: str, lang: str) -> str:
    """A phrase in a language; in English what has no Chinese.

    >>> said("training", "zh"), said("momentum=0.1", "zh")
    ('训练模式', 'momentum=0.1')
    >>> said("epsilon 0.001 and running statistics, 12.5 bounds away", "zh")
    'epsilon 0.001 和 滑动统计量，相距 12.5 倍误差界'
    """
    if lang != "zh" or text in CHINESE:
        return CHINESE[text] if lang == "zh" else text
    for pattern, sentence in PATTERNS.items():
        if (found := re.fullmatch(pattern, text)) is not None:
            return sentence.format(*(said(part or "", lang) for part in found.groups()))
    return text
