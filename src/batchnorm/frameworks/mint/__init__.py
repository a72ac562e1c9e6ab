"""The room of MindSpore's mint: torch's words and update rule in MindSpore's cells."""

from batchnorm.frameworks.calls import Calls
from batchnorm.frameworks.framework import Framework

__all__ = ["RECORDS"]

RECORDS = (
    Framework(
        name="mint",
        title="MindSpore mint",
        versioned="MindSpore {} mint",
        version="2.10.0",
        package=__name__,
        facets={  # its models and checkpoints are MindSpore's
            "running": "batchnorm.frameworks.mindspore.running",
            "samples": "batchnorm.frameworks.mindspore.samples",
            "saved": "batchnorm.frameworks.mindspore.saved",
        },
        real_package="mindspore",
        layer="mindspore.mint.nn.BatchNorm2d",
        prefix="mint.nn.",
        namespace="mindspore",
        aliases=("mindspore.mint", "mindspore_mint", "mindspore/mint", "ms.mint"),
        places=("mindspore.mint.nn", "mint.nn", "ms.mint.nn"),
        names_of=("torch", "mindspore"),  # torch's, in MindSpore's files
        calls=Calls(
            prefixes=("mint",),
            bare=False,
            synchronized=("process_group", "track_running_stats"),
            mode=("starts in inference mode", "bn.set_train() before training"),
            mode_method="set_train",
            freeze="bn.{name}.requires_grad = False",
        ),
        easier=(
            "torch",
            "mindspore",
            "mindspore.mint.nn's layers keep torch's names, defaults and momentum, on Ascend only",
        ),
        sourced=(
            "The kernel of mindspore.mint.nn's batch norms runs on Ascend only: what is said of "
            "them is read in MindSpore 2.10.0's source (mint/nn/layer/normalization.py), not run.",
            "mindspore.mint.nn 的批归一化内核只能在 Ascend 上运行:关于它们的内容取自 "
            "MindSpore 2.10.0 的源码(mint/nn/layer/normalization.py),未经实测。",
        ),
    ),
)
