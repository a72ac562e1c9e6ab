"""Which layer of a live MindSpore cell feeds which: by its graph, as MindSpore itself exports it.

MindSpore compiles the cell for a batch and writes MindIR into a temporary folder, in either mode of
execution; nothing is run. No framework is imported. Facts: MindSpore 2.10, by running it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from batchnorm.checkpoints.flow import Flow
from batchnorm.checkpoints.steps import Step
from batchnorm.errors import NotSupported
from batchnorm.frameworks.mindspore import running
from batchnorm.frameworks.mindspore.saved import INNER

__all__ = ["steps_of"]

SAME = frozenset({"Cast", "Depend", "Identity", "Load", "MakeTuple", "TupleGetItem"})
FIRST = frozenset({"Depend", "Load"})  # whose other inputs order the calls, and are no data


def steps_of(model: Any, batch: Any) -> tuple[Step, ...]:
    """The calls of a cell's inference on a batch; the cell is left as it was.

    Raises:
        NotImplementedError: the cell has branches or loops that depend on what it is given.
    """
    module: Any = sys.modules["mindspore"]
    given = running.inputs_of(batch)
    values = list(given.values()) if isinstance(given, dict) else list(given)
    with tempfile.TemporaryDirectory() as folder, running.unchanged(model):
        model.set_train(False)
        module.export(model, *values, file_name=str(Path(folder) / "cell"), file_format="MINDIR")
        found: Any = sys.modules["mindspore.train.mind_ir_pb2"].ModelProto()
        found.ParseFromString((Path(folder) / "cell.mindir").read_bytes())
    if found.functions:
        raise NotSupported(
            "the cell has branches or loops that depend on what it is given, which aren't followed"
        )
    return _walked(found.graph, _flow(model))


def _flow(model: Any) -> Flow:
    classes = {path: type(cell).__name__ for path, cell in model.cells_and_names()}
    known: dict[str, dict[str, Any]] = {}
    for path, cell in running.parameterised(model).items():
        told = running.described(cell)
        names = ("strides", "padding", "groups", "dilation")
        known[path] = {name: _plain(told[name]) for name in names if name in told}
        if told["kind"] == "batch_norm":
            known[path] = {"axis": 1}
        elif "strides" in told:
            known[path]["dilation_rate"] = known[path].pop("dilation")
            size = told["kernel"].shape[2:]
            known[path] |= {"data_format": "channels_first", "kernel_size": size}
    return Flow(classes, known)


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _walked(graph: Any, flow: Flow) -> tuple[Step, ...]:
    front = f"{graph.name}:"
    for parameter in graph.parameter:
        path = parameter.name.removeprefix(front).rpartition(".")[0]
        flow.owns(path.removesuffix(INNER).removesuffix(".") if INNER else path, parameter.name)
    for value in graph.input:
        flow.given(value.name)
    for node in graph.node:
        what = node.op_type.removeprefix("REF::").partition(":")[0]
        if what in ("Constant", "UpdateState"):
            continue
        inputs = list(node.input[:1] if what in FIRST else node.input)
        if what in SAME:
            flow.same(inputs, list(node.output))
        else:
            flow.call(what, inputs, list(node.output))
    return flow.finish(value.name for value in graph.output)
