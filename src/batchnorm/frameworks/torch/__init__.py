"""PyTorch's room."""

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
    ),
)
