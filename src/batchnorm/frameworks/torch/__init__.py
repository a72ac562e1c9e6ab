"""PyTorch's room."""

from batchnorm.frameworks.arithmetic import Arithmetic
from batchnorm.frameworks.calls import Calls
from batchnorm.frameworks.framework import Framework

__all__ = ["RECORDS"]

RECORDS = (
    Framework(
        name="torch",
        title="PyTorch",
        versioned="PyTorch {}",
        version="2.13.0",
        package=__name__,
        real_package="torch",
        layer="torch.nn.BatchNorm2d",
        prefix="nn.",
        namespace="torch",
        aliases=("pytorch",),
        places=("torch.nn", "torch.nn.modules.batchnorm"),
        arithmetic=Arithmetic(keeps_input_type=True, sums_in_double=True),
        calls=Calls(
            prefixes=("torch",),
            lazy=True,
            gradient_flags=True,
            synchronized=("process_group", "track_running_stats"),
            mode=("starts in training mode", "bn.eval() for inference, bn.train() to go back"),
            mode_method="train",
            freeze="bn.{name}.requires_grad_(False)",
            fill={
                "Zeros": "nn.init.zeros_({name})",
                "Ones": "nn.init.ones_({name})",
                "Constant": "nn.init.constant_({name}, {value!r})",
                "RandomNormal": "nn.init.normal_({name}, {mean!r}, {stddev!r})",
                "RandomUniform": "nn.init.uniform_({name}, {minval!r}, {maxval!r})",
                "": "fill {name} after construction",
            },
        ),
    ),
)
