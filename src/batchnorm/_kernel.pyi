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
    ) -> tuple[Array, Array, bool] | None: ...
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

class Addresses:
    def __init__(self, level: str) -> None: ...
    def forward(
        self,
        element: int,
        outer: int,
        channels: int,
        inner: int,
        x: int,
        out: int,
        addend: int,
        relu: bool,
        gamma: int,
        beta: int,
        running_mean: int,
        running_var: int,
        batches: int,
        epsilon: float,
        factor: float,
        correction: float,
        /,
    ) -> Array: ...
    def infer(
        self,
        element: int,
        outer: int,
        channels: int,
        inner: int,
        x: int,
        out: int,
        addend: int,
        relu: bool,
        gamma: int,
        beta: int,
        mean: int,
        var: int,
        epsilon: float,
        /,
    ) -> Array: ...
    def backward(
        self,
        element: int,
        outer: int,
        channels: int,
        inner: int,
        x: int,
        dy: int,
        y: int,
        out: int,
        out_addend: int,
        gamma: int,
        dgamma: int,
        dbeta: int,
        stats: Array,
        batch: bool,
        epsilon: float,
        /,
    ) -> bool: ...

def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def set_runner(address: int) -> None: ...
def available_processors() -> int: ...
def cgroup_quota(mount: str, membership: str) -> int: ...
def set_buffer_limit(bytes: int) -> None: ...
def buffers_kept() -> int: ...
def empty_like(x: Array) -> Array: ...
def xla_handler(name: str) -> Any: ...
def bits_of(array: Any) -> Array: ...
