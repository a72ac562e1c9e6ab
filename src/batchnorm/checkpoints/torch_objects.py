"""What a PyTorch pickle is made of: storages, and tensors as views of them.

Shared by the zip format and the legacy stream. The table of names is closed; each becomes a plain
record here. Facts: torch 2.13 `_utils.py`, `serialization.py`, `_weights_only_unpickler.py`, and
files written by it (tests/data/checkpoints).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.pickle_stream import (
    Dictionary,
    Global,
    Instance,
    Opaque,
    Rebuilder,
)
from batchnorm.checkpoints.source import Source, quoted

__all__ = ["DTYPES", "STORAGES", "StorageRecord", "TensorRecord", "rebuilders", "storage_record"]

# dtype name -> NumPy type; and the storage class that carries it, where one exists.
DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("f4"), "float64": np.dtype("f8"), "float16": np.dtype("f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16), "int64": np.dtype("i8"), "int32": np.dtype("i4"),
    "int16": np.dtype("i2"), "int8": np.dtype("i1"), "uint8": np.dtype("u1"),
    "uint16": np.dtype("u2"), "uint32": np.dtype("u4"), "uint64": np.dtype("u8"),
    "bool": np.dtype("?"), "complex64": np.dtype("c8"), "complex128": np.dtype("c16"),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8_e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
}  # fmt: skip
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
# Names that carry data of no use here; what they hold is skipped and named in the metadata.
CARRIERS = (
    "argparse.Namespace", "builtins.bytearray", "builtins.complex", "builtins.slice",
    "builtins.range", "builtins.object", "builtins.getattr", "_codecs.encode", "collections.deque",
    "functools.partial", "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
    "datetime.date", "datetime.datetime", "datetime.timedelta", "numpy.dtype", "numpy.ndarray",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath",
    "torch.device", "torch.Generator", "torch.serialization._get_layout",
    "torch.per_tensor_affine", "torch.per_channel_affine", "types.SimpleNamespace",
)  # fmt: skip
QUANTISED = ("QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage")
OTHER_TYPES = ("complex32", "float4_e2m1fn_x2", "qint8", "quint8", "qint32", "quint4x2", "quint2x4")
DEQUANTISED = "quantised; save `tensor.dequantize()`, or the model before it was quantised"
REFUSED = {  # tensors that would be lost in silence if they were skipped
    "torch._utils._rebuild_qtensor": DEQUANTISED,
    "torch._utils._rebuild_sparse_tensor": "sparse; save `tensor.to_dense()`",
    "torch._utils._rebuild_nested_tensor": "nested; save `tensor.unbind()`",
    "torch._utils._rebuild_meta_tensor_no_storage": "on the meta device, so it has no values",
    "torch._utils._rebuild_wrapper_subclass": "a tensor in parts or of a class of its own. Of a "
    "DTensor, save `tensor.full_tensor()`, of a sharded model "
    "`get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))` "
    "(torch.distributed.checkpoint.state_dict); of others, `tensor.dequantize()`",
    "torch._utils._rebuild_device_tensor_from_numpy": "of another device; save `tensor.cpu()`",
}


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A storage as the pickle names it: its bytes are found elsewhere in the file."""

    key: str
    dtype: np.dtype[Any]
    numel: int
    offset: int = 0  # elements before this view of an older storage begins


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A view of a storage; offset, shape and strides in elements."""

    storage: StorageRecord
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def rebuilders(source: Source) -> dict[str, Rebuilder]:
    """Every name that a pickle may hold, and what it becomes."""
    table: dict[str, Rebuilder] = {name: _opaque(name) for name in CARRIERS}
    for name, advice in REFUSED.items():
        table[name] = _refusing(source, name, advice)
    for name in (*DTYPES, *OTHER_TYPES):
        table[f"torch.{name}"] = _not_called
    for name in (*STORAGES, *QUANTISED):
        for module in ("torch", "torch.cuda", "torch.storage"):
            table[f"{module}.{name}"] = _not_called
    for name in ("collections.OrderedDict", "collections.Counter", "builtins.dict"):
        table[name] = lambda arguments: _dictionary(source, arguments)
    for name in ("builtins.set", "builtins.frozenset"):
        table[name] = _set(name)
    table["copyreg._reconstructor"] = _reconstructed
    table["collections.defaultdict"] = lambda arguments: Dictionary()
    for name in ("builtins.list", "builtins.int", "builtins.float", "builtins.str", "torch.Tensor"):
        table[name] = _not_called  # the default of a defaultdict, a tensor's class
    for name in [name for name in table if name.startswith("builtins.")]:
        table[f"__builtin__{name.removeprefix('builtins')}"] = table[name]  # up to protocol 2
    table["torch.Size"] = lambda arguments: _size(source, arguments)
    table["torch.nn.parameter.Parameter"] = lambda arguments: _tensor(source, arguments[0])
    table["torch.nn.parameter.Buffer"] = table["torch.nn.parameter.Parameter"]
    table["torch._utils._rebuild_parameter"] = table["torch.nn.parameter.Parameter"]
    table["torch._utils._rebuild_parameter_with_state"] = table["torch.nn.parameter.Parameter"]
    table["torch._utils._rebuild_tensor"] = lambda a: _view(source, *a[:4])
    table["torch._utils._rebuild_tensor_v2"] = lambda a: _view(source, *a[:4], flags=a[6:])
    table["torch._utils._rebuild_tensor_v3"] = lambda a: _view(
        source, *a[:4], kind=a[6], flags=a[7:]
    )

    def from_type(arguments: tuple[Any, ...]) -> Any:
        function, _, inner = arguments[:3]
        if type(function) is not Global or not function.name.startswith("torch._utils._rebuild"):
            source.fail("pickle", "a tensor that is rebuilt by an unknown function")
        return table[function.name](inner)

    table["torch._tensor._rebuild_from_type_v2"] = from_type
    return table


def storage_record(source: Source, operand: Any) -> StorageRecord:
    """The storage that a persistent id names: ('storage', class, key, device, numel[, view])."""
    if (
        type(operand) is not tuple
        or not 5 <= len(operand) <= 6
        or operand[0] not in ("storage", b"storage")
    ):
        source.fail("pickle", "a persistent id that is not a storage")
    kind, key, _, numel = operand[1:5]
    if type(kind) is not Global or type(key) is not str or type(numel) is not int or numel < 0:
        source.fail("pickle", "a storage whose class, key or size is not one")
    name = kind.name.rpartition(".")[2]
    if name in QUANTISED:
        source.fail("pickle", f"holds torch.{name}: {DEQUANTISED}")
    if name not in STORAGES:
        source.fail("pickle", f"{quoted(kind.name)} is not a storage class that can be read")
    view = operand[5] if len(operand) == 6 else None
    offset = 0
    if view is not None:
        if type(view) is not tuple or len(view) != 3 or type(view[1]) is not int or view[1] < 0:
            source.fail("pickle", "a storage view that is not (key, offset, size)")
        offset = view[1]
    return StorageRecord(key, DTYPES[STORAGES[name]], numel, offset)


def _opaque(name: str) -> Rebuilder:
    return lambda arguments: Opaque(name)


def _set(name: str) -> Rebuilder:
    """A set, of which the texts are kept: a module's names of what it doesn't save."""

    def made(arguments: tuple[Any, ...]) -> Opaque:
        items = arguments[0] if arguments else []
        return Opaque(name, (item for item in items if isinstance(item, str)))

    return made


def _reconstructed(arguments: tuple[Any, ...]) -> Instance:
    """An object of a class, as pickles of protocols 0 and 1 make one."""
    if type(arguments[0]) is not Global:
        raise TypeError
    return Instance(arguments[0].name)


def _not_called(arguments: tuple[Any, ...]) -> Any:
    raise TypeError


def _dictionary(source: Source, arguments: tuple[Any, ...]) -> Dictionary:
    result = Dictionary()  # Counter is given a dict, Python 2's OrderedDict a list of pairs
    given = arguments[0] if arguments else ()
    source.spend(128 * len(given), "pickle")  # one list can be the argument of many calls
    for key, value in given.items() if type(given) is Dictionary else given:
        result.put(key, value)
    result.odd.update(given.odd if type(given) is Dictionary else {})
    return result


def _size(source: Source, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    source.spend(8 * len(arguments[0]), "pickle")
    return tuple(arguments[0])


def _refusing(source: Source, name: str, advice: str) -> Rebuilder:
    return lambda arguments: source.fail("pickle", f"holds {name}: {advice}")


def _tensor(source: Source, value: Any) -> Any:
    if not isinstance(value, TensorRecord | Opaque):
        source.fail("pickle", "a parameter without a tensor")
    return value


def _view(
    source: Source,
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    *,
    kind: Any = None,
    flags: tuple[Any, ...] = (),
) -> Any:
    if type(storage) is not StorageRecord or type(shape) is not tuple or type(strides) is not tuple:
        source.fail("pickle", "a tensor without storage, shape and strides")
    if len(shape) != len(strides) or len(shape) > 64:
        source.fail("pickle", f"a tensor of {len(shape)} dimensions and {len(strides)} strides")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        source.fail("pickle", "a tensor whose offset, shape or strides are not plain numbers")
    if any(type(f) is Dictionary and f for f in flags):
        source.fail(
            "pickle",
            "a conjugated or negated view; save `tensor.resolve_conj().resolve_neg()` instead",
        )
    dtype = storage.dtype
    if kind is not None:
        name = kind.name.rpartition(".")[2] if type(kind) is Global else ""
        if name not in DTYPES:
            source.fail("pickle", f"tensor type {quoted(name)} has no NumPy counterpart")
        dtype = DTYPES[name]
    return TensorRecord(storage, dtype, offset, shape, strides)
