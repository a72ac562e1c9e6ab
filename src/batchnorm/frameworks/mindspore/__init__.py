"""MindSpore's room: `mindspore.nn`, in 2.10 and in 2.0."""

from dataclasses import replace

from batchnorm.frameworks.arithmetic import Arithmetic
from batchnorm.frameworks.calls import Calls
from batchnorm.frameworks.framework import Framework

__all__ = ["RECORDS"]

_MINDSPORE = Framework(
    name="mindspore",
    title="MindSpore",
    versioned="MindSpore {}",
    version="2.10.0",
    package=__name__,
    real_package="mindspore",
    layer="mindspore.nn.BatchNorm2d",
    prefix="nn.",
    namespace="mindspore",
    aliases=("ms",),
    places=("mindspore.nn", "mindspore.nn.layer", "mindspore.nn.layer.normalization", "ms.nn"),
    arithmetic=Arithmetic(keeps_parameter_type=True),
    calls=Calls(
        prefixes=("mindspore", "ms"),
        synchronized=("process_groups", "use_batch_statistics"),
        mode=("starts in inference mode", "bn.set_train() before training"),
        mode_method="set_train",
        momentum_by_hand="a momentum that is changed later has no effect in mindspore: ",
        freeze="bn.{name}.requires_grad = False",
        channels_last='; or, on GPU only, data_format="NHWC" (--data-format NHWC)',
        numpy_integers=False,
        statistics_first=True,
        dtypes=("float16", "float32"),  # with others it constructs, and never runs
        checks_when_called=True,  # the operator refuses more than the cell
    ),
)
RECORDS = (
    _MINDSPORE,
    replace(
        _MINDSPORE,
        name="mindspore@2.0",
        version="2.0.0",
        facets={"layers": f"{__name__}.v2_0"},
        absent=frozenset({"dtype"}),  # came later: measured, see v2_0.py
    ),
)
