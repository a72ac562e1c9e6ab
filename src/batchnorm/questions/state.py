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
        Text(
            "What are the parameters and statistics called on the layer?",
            "层上的参数和统计量叫什么名字?",
        ),
        Text(
            "A checkpoint loaded by name across this difference loads 0 of its entries; a load "
            "that "
            "isn't strict says nothing.",
            "跨越这一差异按名称加载检查点,一项也加载不上;非严格的加载不会报错。",
        ),
        attribute_names,
        item=(42,),
    ),
    Question(
        "checkpoint-names-of-a-bare-layer",
        "state",
        Text(
            "Under which names, in which order, is a single layer saved?",
            "单独保存一个层时,各项的名称和顺序是什么?",
        ),
        Text(
            "The file of a bare layer lacks the net's prefix (bn1.): loaded into a net, "
            "not strictly, 0 of its entries arrive, and mean 0 and variance 1 stay without "
            "an error. The other way round MindSpore does load a net's file into a bare "
            "layer, by suffix, with strict_load=False.",
            "单独保存的层的文件没有网络中的前缀(bn1.):以非严格方式加载到网络时,一项也加载不上,"
            "均值 0、方差 1 不变,也不"
            "报错。反过来,MindSpore 用 strict_load=False 会按后缀把网络的文件加载到单独的层。",
        ),
        bare_names,
        asked_of=having("num_features"),
        absent=Text("saves models, not layers", "保存的是模型而不是层"),
        item=(42, 43),
    ),
    Question(
        "checkpoint-names-in-a-net",
        "state",
        Text(
            "Under which names, in which order, is a layer saved that a net holds as bn1?",
            "网络中名为 bn1 的层保存时,各项的名称和顺序是什么?",
        ),
        Text(
            "MindSpore's order (mean, variance, gamma, beta) isn't that of the others "
            "(gamma, beta, mean, variance): loaded by position, of 4 entries none is in "
            "its place, and all have the same shape, so nothing fails.",
            "MindSpore 的顺序(mean、variance、gamma、beta)与其他框架(gamma、beta、mean"
            "、variance)不同:按位置加载时,4 项没有一项在原位,而形状都相同,所以不报错。",
        ),
        nested_names,
        asked_of=having("num_features"),
        absent=Text(
            "by the layer in an old .h5 file, else by class and index: see "
            "[weight files](#names-in-weight-files)",
            "旧的 .h5 文件按层的名称,其他文件按类名和序号:见[权重文件](#names-in-weight-files)",
        ),
        speaks_of=tuple(record.name for record in ASKED if record.calls.statistics_first),
        item=(42, 43),
    ),
    Question(
        "order-of-weights",
        "state",
        Text(
            "In which order does the layer list its weights?",
            "层以什么顺序列出它的权重?",
        ),
        Text(
            "set_weights takes this order; given another, all 4 arrays of one shape are accepted "
            "and wrong.",
            "set_weights 按此顺序;若顺序不同,4 个形状相同的数组都会被接受,但都是错的。",
        ),
        weights_in_order,
        asked_of=KERAS,
        absent=Text("lists them by name", "按名称列出"),
        item=(43,),
    ),
    Question(
        "sixteen-bit-layer",
        "state",
        Text(
            "Which dtypes has the state of a layer built with dtype=float16?",
            "用 dtype=float16 构造的层,其状态是什么 dtype?",
        ),
        Text(
            "Running statistics in float16 have 3 digits: a change below 1/4096 is rounded away, "
            "so at "
            "momentum 0.99 a batch within 2.4 % of the old value changes nothing; above 65504 they "
            "become inf.",
            "float16 的滑动统计量只有 3 位有效数字:小于 1/4096 的变化会被舍去,"
            "所以 momentum 为 0.99 时,与旧值相差 2.4% 以内的批次毫无作用;超过 65504 则变为 inf。",
        ),
        sixteen_bit_dtypes,
        item=(47,),
    ),
    Question(
        "printed-form",
        "state",
        Text("What does repr print for 3 channels?", "3 个通道的层,repr 输出什么?"),
        Text(
            "The text is no interface: PyTorch 2.13 prints 6 arguments, MindSpore 2.10 "
            "prints 3 and the 4 entries of the state, Keras none. A test that compares "
            "printed networks breaks at a change of version.",
            "这段文本不是接口:PyTorch 2.13 打印 6 个参数,MindSpore 2.10 打印 3 个参数和 4 个状"
            "态项,Keras 一个也不打印。比较网络打印结果的测试,换版本就会失败。",
        ),
        text,
        item=(48,),
    ),
    Question(
        "printed-form-without-affine",
        "state",
        Text(
            "What does repr print for affine=False?",
            "affine=False 时,repr 输出什么?",
        ),
        Text(
            "The text needn't repeat the arguments: bias=True was given and False is printed, or "
            "affine isn't printed at all. Rebuild layers from their 8 to 11 arguments, not from "
            "it.",
            "文本不一定与参数相同:给出的是 bias=True,打印的却是 False,或者根本不打印 affine。"
            "应根据 8 到 11 个参数重建层,而不是根据文本。",
        ),
        text_without_affine,
        asked_of=having("num_features"),
        absent=Text("has no affine", "没有 affine"),
        item=(48,),
    ),
    Question(
        "loading-a-state-without-the-counter",
        "state",
        Text(
            "Is a state without num_batches_tracked loaded?",
            "没有 num_batches_tracked 的状态能否加载?",
        ),
        Text(
            "Only where the state's metadata has a version below 2, or none; else a strict load "
            "fails with 1 missing key. A converter has to add the counter.",
            "只有当状态的元数据版本低于 2 或没有版本时才可以;否则严格加载会因缺 1 个键而失败。"
            "转换工具必须补上计数器。",
        ),
        None,
        asked_of=having("count"),
        absent=Text("has no counter of batches", "没有批次计数器"),
        unrecorded=Text(
            "An experiment overwrites the state; it doesn't load files.",
            "实验直接覆盖状态,并不加载文件。",
        ),
        source=TORCH_LAYER,
        item=(44,),
    ),
    Question(
        "names-in-weight-files",
        "state",
        Text(
            "Under which names does a Keras weight file hold the layer?",
            "Keras 的权重文件中,层的各项叫什么名字?",
        ),
        Text(
            "An old .h5 file names the layer (bn1/bn1/gamma:0), .keras and .weights.h5 its class "
            "and "
            "an index (layers/batch_normalization/vars/0): with scale=False, vars/0 is beta.",
            "旧的 .h5 文件以层的名称命名(bn1/bn1/gamma:0),.keras 和 .weights.h5 以类名和序号命名"
            "(layers/batch_normalization/vars/0):scale=False 时,vars/0 是 beta。",
        ),
        None,
        asked_of=KERAS,
        absent=Text("saves by attribute names", "按属性名保存"),
        unrecorded=Text(
            "An experiment has a layer, not a model that could be saved.",
            "实验中只有层,没有可以保存的模型。",
        ),
        source="https://keras.io/2/api/models/model_saving_apis/weights_saving_and_loading",
        item=(45,),
    ),
    Question(
        "frozen-flag-in-a-checkpoint",
        "state",
        Text(
            "Does a checkpoint remember that a parameter was frozen?",
            "检查点是否记住参数被冻结?",
        ),
        Text(
            "load_checkpoint makes each entry a new Parameter, whose requires_grad is True by "
            "default: a layer of affine=False then has 4 parameters that say they train, not 0.",
            "load_checkpoint 把每一项都建成新的 Parameter,其 requires_grad 默认为 True:"
            "affine=False 的层读回后,4 个参数都显示可训练,而不是 0 个。",
        ),
        None,
        asked_of=having("train_affine"),
        absent=Text("saves arrays only", "只保存数组"),
        unrecorded=Text(
            "An experiment overwrites the state; it doesn't load files.",
            "实验直接覆盖状态,并不加载文件。",
        ),
        source=MINDSPORE + "0facad6495288342986fcb31f09435fa5723cf25/mindspore/python/mindspore/"
        "train/serialization.py",
        item=(46,),
    ),
)
