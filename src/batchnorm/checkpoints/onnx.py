"""An `.onnx` model as a checkpoint: its arrays under torch's names, its layers' facts, its calls.

ONNX keeps shapes as torch does (outputs first) and names arrays as its exporter likes; torch's
keeps `layer.weight` where no constant was folded. Otherwise a layer has its node's name. Epsilon
and momentum are those of the nodes; ONNX's momentum weighs the running statistics, torch's the
batch. Facts: the operators' page of onnx.ai (BatchNormalization 15, Conv, Gemm), files that torch
2.13 exports. Refused: arrays in files beside it, quantized or sparse ones, statistics that are
computed. Not here: the messages (`onnx_messages`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import ml_dtypes
import numpy as np

from batchnorm.checkpoints.checkpoint import Checkpoint, Entry, collected
from batchnorm.checkpoints.onnx_messages import Node, Parts, Tensor, parts_of
from batchnorm.checkpoints.source import Source, checked_name, quoted
from batchnorm.checkpoints.steps import OUTPUT, Step
from batchnorm.checkpoints.storage import FileStorage
from batchnorm.checkpoints.strided import Strided

__all__ = ["read"]

RAW = 9
# Type -> NumPy's, and the field that holds its values where raw_data doesn't.
DTYPES: Mapping[int, tuple[np.dtype[Any], int]] = {
    1: (np.dtype("f4"), 4), 11: (np.dtype("f8"), 10), 10: (np.dtype("f2"), 0),
    16: (np.dtype(ml_dtypes.bfloat16), 0),
}  # fmt: skip
KERNELS = {"Conv": "conv", "ConvTranspose": "conv_transpose", "Gemm": "dense", "MatMul": "dense"}
NORM = "BatchNormalization"
QUANTIZED = (
    "ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
)  # fmt: skip
NORM_LEAVES = ("weight", "bias", "running_mean", "running_var")
KNOWN = {"strides": "strides", "group": "groups", "kernel_shape": "kernel_size"}
ONE_FILE = "`onnx.save(onnx.load(path), 'one.onnx')` writes one file"
FOLDED = (
    ": exporters fold them into the layers before them; `torch.onnx.export(model, x, path, "
    "dynamo=False, do_constant_folding=False)` keeps them, or convert the checkpoint that the file "
    "was exported from"
)


def read(source: Source) -> Checkpoint:
    """The arrays of a model, in the order of its nodes; those that no layer takes follow."""
    model = _Model(source, parts_of(source))
    model.walk()
    if not model.entries:
        source.fail("graph", "holds no arrays of real numbers")
    return Checkpoint(
        entries=collected(source, model.entries),
        format="onnx",
        framework="torch",
        metadata={
            "layers": model.layers,
            "onnx": {"producer": model.parts.producer, "no_batch_norms": FOLDED},
            "torch": {"skipped": model.inner},
        },
        path=source.path,
        source=source,
        steps=tuple(model.steps),
    )


class _Model:
    def __init__(self, source: Source, parts: Parts) -> None:
        self.source, self.parts = source, parts
        if parts.sparse:
            source.fail("graph", "holds sparse arrays, which can't be read")
        self.arrays: dict[str, Tensor] = {}
        for tensor in parts.tensors:
            if tensor.name in self.arrays:
                source.fail(f"array {quoted(tensor.name)}", "is there twice; the file is damaged")
            self.arrays[tensor.name] = tensor
        self.stored = dict(self.arrays)
        self.used: set[str] = set()
        self.paths: dict[str, tuple[str, ...]] = {}
        self.named: dict[tuple[str, tuple[str, ...]], str] = {}  # by what it would be
        self.numbers: dict[str, int] = {}
        self.entries: list[Entry] = []
        self.layers: dict[str, Any] = {}
        self.steps: list[Step] = []
        self.turned: dict[str, str] = {}  # a transposed matrix -> the stored one
        self.inner: dict[str, str] = {}
        self.place: dict[str, int] = {}  # tensor -> the step that puts it out

    def walk(self) -> None:
        """All nodes, in the file's order, which is one in which they can run."""
        for name in self.parts.inputs:
            if name not in self.arrays:
                self.place[name] = len(self.steps)
                self.steps.append(Step(name, "input"))
        for node in self.parts.nodes:
            if node.inner:
                self.inner[node.name or node.what] = f"{node.what}, with a graph of its own"
            if node.what == "Constant" and "value" in node.tensors and node.outputs:
                self.arrays[node.outputs[0]] = node.tensors["value"]
                continue
            if node.what == "Identity" and node.inputs and node.inputs[0] in self.arrays:
                self.arrays.update(dict.fromkeys(node.outputs, self.arrays[node.inputs[0]]))
                self.used.add(node.inputs[0])
                continue
            perm = node.numbers.get("perm") if node.what == "Transpose" else None
            if perm == (1, 0) and node.inputs and node.inputs[0] in self.arrays:
                self.turned.update(dict.fromkeys(node.outputs, node.inputs[0]))
                continue
            self._call(node, self._layer(node))
            if node.what in QUANTIZED and any(
                len(self.arrays[name].dims) > 1 for name in node.inputs if name in self.arrays
            ):
                source = self.source
                source.fail(f"node {quoted(node.name)}", "is quantized; give the model before that")
        result = [self.place[name] for name in self.parts.outputs if name in self.place]
        self.steps.append(Step("", OUTPUT, tuple(dict.fromkeys(result))))
        if self.inner:  # a loop's or a branch's own nodes aren't followed
            self.steps = []
        for name, tensor in self.stored.items():
            if name not in self.used and tensor.kind in DTYPES:
                self.entries.append(self._entry(name, tensor))

    def _call(self, node: Node, layer: str) -> None:
        inputs = [self.place[name] for name in node.inputs if name in self.place]
        known: dict[str, Any] = {KNOWN[k]: v for k, v in node.numbers.items() if k in KNOWN}
        if node.what in ("Conv", "ConvTranspose"):
            known["data_format"] = "channels_first"
        if node.what == "Gemm":
            known["kernel_size"] = ()  # takes and gives two axes, where MatMul may have more
        if node.what == NORM:
            known["axis"] = 1
        for name in node.outputs:
            self.place[name] = len(self.steps)
        called = layer or node.name or node.what
        if not layer and called in self.paths:
            called = f"{node.what} {called}"
        self.steps.append(Step(called, node.what, tuple(dict.fromkeys(inputs)), known))

    def _layer(self, node: Node) -> str:
        """The layer that a node is, if it has arrays; adds these."""
        leaves: tuple[str, ...]
        stored = self.turned.get(node.inputs[1], "") if node.inputs[1:] else ""
        if stored and node.what == "MatMul":
            node.inputs[1] = stored
        if node.what == NORM:
            names, leaves = node.inputs[1:5], NORM_LEAVES
            missing = [name for name in names if name not in self.arrays]
            if missing or len(names) < len(leaves):
                self.source.fail(
                    f"node {quoted(node.name)}",
                    f"takes {', '.join(map(quoted, missing)) or 'too few arrays'}, which the file "
                    "doesn't hold as plain arrays",
                )
        elif node.what in KERNELS and node.inputs[1:2] and node.inputs[1] in self.arrays:
            names, leaves = node.inputs[1:3], ("weight", "bias")
            names = [name for name in names if name in self.arrays]
            if len(self.arrays[names[0]].dims) < 2:
                return ""
        else:
            return ""
        if any(node.numbers.get(word, 1) != 1 for word in ("alpha", "beta")):
            self.source.fail(
                f"node {quoted(node.name)}", "scales its matrix or bias by alpha or beta; write "
                "the factor into the arrays and set it to 1",
            )  # fmt: skip
        path = self._path(node, names, leaves)
        if path in self.paths:
            return path  # called again
        self.paths[path] = tuple(names)
        self.used.update(names)
        for name, leaf in zip(names, leaves, strict=False):
            entry = self._entry(f"{path}.{leaf}", self.arrays[name])
            turned = (
                not stored
                if node.what == "MatMul"
                else not node.numbers.get("transB", node.what != "Gemm")
            )
            if leaf == "weight" and turned and KERNELS.get(node.what) == "dense":
                if len(entry.shape) != 2:
                    self.source.fail(f"node {quoted(node.name)}", "multiplies by no matrix")
                entry = entry.rearranged(entry.name, entry.shape, (1, 0), entry.shape[::-1])
            self.entries.append(entry)
        self.layers[path] = self._facts(node)
        return path

    def _facts(self, node: Node) -> dict[str, Any]:
        if node.what != NORM:
            return {"form": KERNELS[node.what], "groups": node.numbers.get("group", 1)}
        values = [node.numbers.get(n, v) for n, v in (("epsilon", 1e-5), ("momentum", 0.9))]
        if not all(isinstance(value, float) and math.isfinite(value) for value in values):
            self.source.fail(f"node {quoted(node.name)}", "has no number as epsilon or momentum")
        epsilon, momentum = _decimal(values[0]), 1 - _decimal(values[1])
        return {"config": {"eps": float(epsilon), "momentum": float(momentum)}}

    def _path(self, node: Node, names: list[str], leaves: tuple[str, ...]) -> str:
        """The names' common beginning, if they end as torch's do; else the node's scope."""
        owners = {n.removesuffix(f".{leaf}") if n.endswith(f".{leaf}") else "" for n, leaf in
                  zip(names, leaves, strict=False)}  # fmt: skip
        if len(owners) == 1 and (owner := owners.pop()):
            path = owner
        else:
            path = _scope(node) or names[0].replace("/", ".")
        given = (path, tuple(names))
        while given not in self.named:  # nobody counts one name twice
            number = self.numbers[path] = self.numbers.get(path, 0) + 1
            called = path if number == 1 else f"{path}_{number}"
            if self.paths.get(called, given[1]) == given[1]:
                self.named[given] = checked_name(self.source, called)
        return self.named[given]

    def _entry(self, name: str, tensor: Tensor) -> Entry:
        place = f"array {quoted(tensor.name or name)}"
        checked_name(self.source, name)
        if tensor.external:
            self.source.fail(place, f"lies in another file; {ONE_FILE}")
        if tensor.kind not in DTYPES:
            self.source.fail(place, f"has type {tensor.kind}, which is no plain real number")
        dtype, own = DTYPES[tensor.kind]
        held = [k for k, (_, size) in tensor.content.items() if size]
        if len(held) > 1 or (held and held[0] not in (RAW, own)):
            self.source.fail(place, f"has its values as numbers of another type; {ONE_FILE}")
        extent = tensor.content.get(held[0] if held else RAW, (0, 0))
        dims = tuple(tensor.dims)
        if math.prod(dims) * dtype.itemsize != extent[1]:
            self.source.fail(place, f"shape {quoted(dims)[1:-1]} doesn't take {extent[1]} bytes")
        storage = FileStorage(self.source, [extent], place)
        swapped = sys.byteorder == "big"
        return Entry(name, Strided.contiguous(storage, dtype, dims, place, swapped=swapped))


def _decimal(value: Any) -> Decimal:
    """The number that was meant by a float of four bytes: 0.001, not 0.0010000000474974513."""
    return Decimal(str(np.float32(value)))


def _scope(node: Node) -> str:
    """`/layer1/layer1.0/bn1/BatchNormalization` is layer1.0.bn1; a plain name is itself."""
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1 and parts[-1].rstrip("_0123456789") == node.what:
        parts.pop()
    scopes: list[str] = []
    for part in parts:
        if scopes and part.startswith(f"{scopes[-1]}."):
            scopes.pop()
        scopes.append(part)
    return ".".join(scopes)
