from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

class Kernel:
    def __init__(self, level: str) -> None: ...
    def forward(
        self,
        x: Array,
        axes: tuple[int, ...],
        gamma: Array | None,
        beta: Array | None,
        running_mean: Array | None,
        running_var: Array | None,
        epsilon: float,
        factor: float,
        correction: float,
        out: Array | None,
        relu: bool,
        addend: Array | None,
    ) -> tuple[Array, Array | None, Array | None, Array] | None: ...
    def infer(
        self,
        x: Array,
        axes: tuple[int, ...],
        gamma: Array | None,
        beta: Array | None,
        mean: Array | None,
        var: Array | None,
        epsilon: float,
        out: Array | None,
        relu: bool,
        addend: Array | None,
    ) -> tuple[Array, Array] | None: ...
    def backward(
        self,
        x: Array,
        dy: Array,
        axes: tuple[int, ...],
        stats: Array,
        gamma: Array | None,
        batch: bool,
        epsilon: float,
        y: Array | None,
        out: Array | None,
        out_addend: Array | None,
    ) -> tuple[Array, Array] | None: ...
    def reduce(self, x: Array, axes: tuple[int, ...]) -> Array | None: ...
    def normalize(
        self,
        x: Array,
        axes: tuple[int, ...],
        stats: Array,
        gamma: Array | None,
        beta: Array | None,
        out: Array | None,
        relu: bool,
        addend: Array | None,
    ) -> Array | None: ...
    def reduce_gradient(
        self, x: Array, dy: Array, axes: tuple[int, ...], stats: Array
    ) -> Array | None: ...
    def input_gradient(
        self,
        x: Array,
        dy: Array,
        axes: tuple[int, ...],
        stats: Array,
        gamma: Array | None,
        constant: Array | None,
        slope: Array | None,
        out: Array | None,
    ) -> Array | None: ...
    def move(self, inputs: list[Array], out: Array | None, stream: bool) -> None: ...

class TensorTasks:
    def __init__(self, level: str, types: tuple[type, ...]) -> None: ...
    def forward(
        self,
        x: Any,
        out: Any,
        addend: Any,
        relu: bool,
        gamma: Any,
        beta: Any,
        running_mean: Any,
        running_var: Any,
        batches: Any,
        axis: int,
        batch: bool,
        least: int,
        epsilon: float,
        factor: float,
        correction: float,
    ) -> Array | None: ...
    def backward(
        self,
        x: Any,
        dy: Any,
        y: Any,
        out: Any,
        out_addend: Any,
        gamma: Any,
        dgamma: Any,
        dbeta: Any,
        stats: Array,
        axis: int,
        batch: bool,
        epsilon: float,
    ) -> bool | None: ...

def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def set_runner(address: int) -> None: ...
def available_processors() -> int: ...
def cgroup_quota(mount: str, membership: str) -> int: ...
def set_buffer_limit(bytes: int) -> None: ...
def buffers_kept() -> int: ...
def empty_like(x: Array, contiguous: bool = False) -> Array: ...
def arranged(x: Array, like: Array | None) -> Array | None: ...
def xla_handler(name: str) -> Any: ...
def bits_of(array: Any) -> Array: ...
