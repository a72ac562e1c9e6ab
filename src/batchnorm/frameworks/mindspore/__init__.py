"""MindSpore's room: `mindspore.nn`, in 2.10 and in 2.0."""

from dataclasses import replace

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
