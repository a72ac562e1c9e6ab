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
        Text(
            "Does the layer take channels-last data (NHWC) on a CPU?",
            "在 CPU 上,层能否处理通道在后(NHWC)的数据?",
        ),
        Text(
            "Where it doesn't, code written for a GPU fails when the layer is constructed on a "
            "CPU; "
            "transposing costs 2 copies of the data.",
            "若不能,为 GPU 编写的代码在 CPU 上构造层时就会失败;转置要付出 2 次数据复制。",
        ),
        channels_last,
        asked_of=having("data_format", "channel_axis"),
        absent=Text(
            "has no such parameter: the layout is a matter of strides",
            "没有这个参数:布局由步长决定",
        ),
        item=(39,),
    ),
    Question(
        "memory-order-of-the-output",
        "devices",
        Text(
            "For x of shape N×C×H×W with adjacent channels in memory, which order has y?",
            "输入 x 的形状为 N×C×H×W 而内存中通道相邻时,y 的内存顺序是什么?",
        ),
        Text(
            "Where the order isn't kept, y.view or a raw pointer reads other numbers, and a "
            "network "
            "that was sped up by channels last pays 1 copy per layer.",
            "若不保持顺序,按原始指针读取会得到别的数,而靠通道在后加速的网络每层要多付 1 次复制。",
        ),
        memory_order,
        item=(60,),
    ),
    Question(
        "synchronized-on-one-process",
        "devices",
        Text(
            "Does the synchronized layer run in a single process on a CPU?",
            "同步的层能否在 CPU 上单进程运行?",
        ),
        Text(
            "Where it doesn't, a script for 8 devices can't be debugged on 1 without replacing the "
            "layer.",
            "若不能,为 8 个设备编写的脚本不替换该层就无法在 1 个设备上调试。",
        ),
        one_process,
        item=(64,),
    ),
    Question(
        "running-variance-denominator-on-devices",
        "devices",
        Text(
            "Does the variance that enters the running one depend on the device?",
            "进入滑动方差的批次方差是否取决于设备?",
        ),
        Text(
            "MindSpore's GPU kernel hands the update to cuDNN, which takes the unbiased variance; "
            "2.0 on a CPU takes the biased one. Trained there and here, the running variances "
            "differ by n/(n−1): 2.0e-3 at 8×8×8.",
            "MindSpore 的 GPU 内核把更新交给 cuDNN,后者用无偏方差;2.0 版在 CPU 上用有偏方差。"
            "两处训练的滑动方差相差 n/(n−1):8×8×8 时为 2.0e-3。",
        ),
        None,
        unrecorded=Text(
            "Neither a GPU nor an Ascend device is at hand.", "手头没有 GPU 和 Ascend 设备。"
        ),
        source=MINDSPORE + "b81d93bbd73f9ade32ab71f851819b7761040f1c/mindspore/ccsrc/plugin/"
        "device/gpu/kernel/nn/batch_norm_gpu_kernel.cc",
        item=(3, 39),
    ),
    Question(
        "replicas-without-synchronization",
        "devices",
        Text(
            "Without synchronization, whose running statistics are kept with several replicas?",
            "多个副本之间不同步时,保留的是谁的滑动统计量?",
        ),
        Text(
            "Measured by hand on 2 CPU replicas: tf_keras 2.21.0 keeps the replicas' average, "
            "Keras "
            "3.15.1 those of replica 0, which saw 1/2 of the data; in torch each process has its "
            "own.",
            "在 2 个 CPU 副本上手工测得:tf_keras 2.21.0 保留各副本的平均,"
            "Keras 3.15.1 保留副本 0 的(只见过一半数据);torch 的每个进程各有一份。",
        ),
        None,
        unrecorded=Text(
            "An experiment runs in one process, on one device.", "实验在单进程、单设备上运行。"
        ),
        source=KERAS_LAYER,
        item=(17,),
    ),
    Question(
        "replicas-with-synchronization",
        "devices",
        Text(
            "With synchronization, which variance of the whole batch is averaged?",
            "同步时,平均的是整个批次的哪种方差?",
        ),
        Text(
            "Measured by hand on 2 CPU replicas: Keras 2 and 3 average the biased variance of the "
            "global batch; without synchronization Keras 2 averages unbiased ones. The factor is "
            "n/(n−1): 2.0e-3 at 8×8×8.",
            "在 2 个 CPU 副本上手工测得:Keras 2 和 3 平均的是全局批次的有偏方差;"
            "不同步时 Keras 2 平均的是无偏方差。相差因子 n/(n−1):8×8×8 时为 2.0e-3。",
        ),
        None,
        unrecorded=Text(
            "An experiment runs in one process, on one device.", "实验在单进程、单设备上运行。"
        ),
        source="https://github.com/keras-team/tf-keras/blob/v2.21.0/"
        "tf_keras/src/layers/normalization/batch_normalization.py",
        item=(18,),
    ),
    Question(
        "export-to-onnx-in-training-mode",
        "devices",
        Text(
            "Which variance does ONNX's BatchNormalization average with training_mode=1?",
            "training_mode=1 时,ONNX 的 BatchNormalization 平均的是哪种方差?",
        ),
        Text(
            "The biased one: a layer that averages the unbiased variance, exported for further "
            "training, goes on with running variances smaller by (n−1)/n, 2.0e-3 at 8×8×8.",
            "有偏方差:平均无偏方差的层导出后若继续训练,滑动方差会缩小为 (n−1)/n,"
            "8×8×8 时差 2.0e-3。",
        ),
        None,
        unrecorded=Text(
            "ONNX is a file format: no layer of it can be called.",
            "ONNX 是文件格式,没有可调用的层。",
        ),
        source="https://onnx.ai/onnx/operators/onnx__BatchNormalization.html",
        item=(65,),
    ),
)
