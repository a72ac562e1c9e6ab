"""`Graph`: the layers that hold arrays, and the calls that connect them, where those are known."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from batchnorm.checkpoints.steps import OUTPUT, Step

__all__ = ["Graph", "Layer", "Origin"]

Origin: TypeAlias = Literal["names", "config", "run", "file"]
SHOWN = 12  # rows of a repr; `text` gives all


@dataclass(frozen=True)
class Layer:
    """A layer that holds arrays.

    Attributes:
        path: its name.
        kind: batch_norm, kernel, affine or single.
        form: what a kernel is, where that is known: conv, conv_transpose, depthwise, dense, …
        width: the channels (units) that it puts out; None where that can't be told.
        signature: what it shares with a layer that may be the same one: kind and shapes.
        known: attributes, as far as they are known.
        step: the name under which its calls stand, where that isn't its path.
    """

    path: str
    kind: str
    form: str = ""
    width: int | None = None
    signature: Hashable = ()
    known: Mapping[str, Any] = field(default_factory=dict)
    step: str = ""


@dataclass
class Graph:
    """A model's layers and the calls between them.

    Attributes:
        layers: in the order of execution where `steps` are known, else as they are listed.
        steps: every call, parameterless ones included; empty where only names are known.
        origin: where the structure comes from: names, config, file or run.
        order: what the order of the layers says: "model" is the model's own, "class" only that
            within one class, "none" nothing (names were sorted).
    """

    layers: list[Layer]
    steps: Sequence[Step] = ()
    origin: Origin = "names"
    order: str = "model"

    @property
    def wired(self) -> bool:
        """Whether it is known who feeds whom."""
        return bool(self.steps)

    @cached_property
    def _calls(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, step in enumerate(self.steps):
            found.setdefault(step.layer, []).append(index)
        return found

    @cached_property
    def _consumers(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.steps]
        for index, step in enumerate(self.steps):
            for source in dict.fromkeys(step.inputs):
                found[source].append(index)
        return found

    @cached_property
    def _by_name(self) -> Mapping[str, list[Layer]]:
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            found.setdefault(layer.step or layer.path, []).append(layer)
        return found

    def calls(self, layer: Layer) -> list[int]:
        """The steps that call a layer."""
        return self._calls.get(layer.step or layer.path, [])

    def consumers(self, step: int) -> list[int]:
        """The steps that take what a step puts out."""
        return self._consumers[step]

    def layers_of(self, step: int) -> list[Layer]:
        """The layers that a step calls: none for a parameterless one, two for a separable one."""
        return self._by_name.get(self.steps[step].layer, [])

    def edges(self) -> Iterator[tuple[str, str]]:
        """Names of steps: the output of the first goes into the second."""
        for step in self.steps:
            for source in step.inputs:
                yield self._label(self.steps[source]), self._label(step)

    def _label(self, step: Step) -> str:
        return step.layer or step.what

    def text(self) -> str:
        """One line per call (or per layer, where only names are known)."""
        return "\n".join([self._title(), *self._rows()])

    def _title(self) -> str:
        edges = sum(len(step.inputs) for step in self.steps)
        what = f"{edges} edges" if self.wired else "no edges"
        return f"Graph from {ORIGINS[self.origin]}: {len(self.layers)} layers, {what}"

    def _rows(self) -> list[str]:
        if not self.wired:
            return [f"  {layer.path}  {_described(layer)}" for layer in self.layers]
        rows = []
        for index, step in enumerate(self.steps):
            layers = self.layers_of(index)
            said = _described(layers[-1]) if layers else ""
            said = " ".join(part for part in (step.what, said, _settings(step)) if part)
            sources = ", ".join(self._label(self.steps[i]) for i in step.inputs)
            rows.append(f"  {self._label(step)}  {said}" + (f"  ← {sources}" if sources else ""))
        return rows

    def dot(self) -> str:
        """The graph as Graphviz text."""
        lines = ["digraph model {", "  node [shape=box];"]
        if not self.wired:
            lines += [f"  {_quoted(layer.path)};" for layer in self.layers]
        for index, step in enumerate(self.steps):
            label = _quoted("\n".join(p for p in (step.layer, step.what) if p))
            style = "" if self.layers_of(index) else ", style=rounded"
            lines.append(f"  s{index} [label={label}{style}];")
            lines += [f"  s{source} -> s{index};" for source in step.inputs]
        return "\n".join([*lines, "}"]) + "\n"

    def as_json(self) -> dict[str, Any]:
        """One object; its form is stable within a version."""
        return {
            "version": 1,
            "origin": self.origin,
            "order": self.order,
            "layers": [
                {"path": one.path, "kind": one.kind, "form": one.form, "width": one.width}
                for one in self.layers
            ],
            "steps": [
                {"layer": s.layer, "what": s.what, "inputs": list(s.inputs), "known": dict(s.known)}
                for s in self.steps
            ],
        }

    def __repr__(self) -> str:
        rows = self._rows()
        more = [f"  … and {len(rows) - SHOWN} more; print(graph.text())"] * (len(rows) > SHOWN)
        return "\n".join([self._title(), *rows[:SHOWN], *more])


ORIGINS: Mapping[Origin, str] = {
    "names": "names alone",
    "config": "the model's config",
    "file": "the file",
    "run": "a run of the model",
}


def _described(layer: Layer) -> str:
    kind = layer.form or layer.kind
    return kind if layer.width is None else f"{kind} {layer.width}"


def _settings(step: Step) -> str:
    plain = {k: v for k, v in step.known.items() if k in ("strides", "groups", "activation")}
    usual = {"strides": ((1,), (1, 1), (1, 1, 1)), "groups": (1,)}
    said = [f"{k}={v}" for k, v in plain.items() if v not in usual.get(k, ())]
    return f"({', '.join(said)})" if said and step.what != OUTPUT else ""


def _quoted(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{plain}"'
