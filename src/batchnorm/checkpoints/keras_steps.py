"""The calls of a Keras model, from its config: functional, sequential, nested, shared layers.

A functional model's config says of each layer on which tensors it was called (`inbound_nodes`), a
sequential's lists its layers; a nested model's own calls appear for each call of it. A subclassed
model's config says nothing. Not here: which arrays are whose (`keras_layers`). Facts: configs of
keras 3.15 and tf_keras 2.21. Where a config isn't understood, no step is given at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchnorm.checkpoints.source import Source
from batchnorm.checkpoints.steps import OUTPUT, Step

__all__ = ["config_steps"]

DEEPEST = 32
MOST = 50_000  # steps; a nested model may be called any number of times
MOST_WORK = 4 * MOST  # tensors and layers that are looked at
MOST_SIDES = 16  # numbers of one setting
LINEAR = (None, "linear")
KNOWN = (
    "axis", "data_format", "dilation_rate", "epsilon", "groups", "kernel_size", "max_value",
    "momentum", "padding", "strides",
)  # fmt: skip


class _NotUnderstood(Exception):
    """The config has a form that is unknown here."""


def config_steps(source: Source | None, config: Any, place: str = "config") -> tuple[Step, ...]:
    """The steps of a model in an order in which they can run; none if they aren't known.

    Args:
        source: the file, whose memory the steps count against; None for a live model's config.
        config: the model's, as JSON.
        place: where it stands in the file.
    """
    walk = _Walk(source, place)
    try:
        outputs = walk.model(config, "", None, 0)
    except _NotUnderstood:
        return ()
    walk.add(Step("", OUTPUT, tuple(dict.fromkeys(outputs))))
    return tuple(walk.steps)


class _Walk:
    def __init__(self, source: Source | None, place: str) -> None:
        self.source, self.place = source, place
        self.steps: list[Step] = []
        self.work = 0  # of models' calls: one may hold no step, and call another twice
        self.wirings: dict[int, _Wiring] = {}

    def add(self, step: Step) -> int:
        if self.source is not None:
            self.source.spend(768 + 4 * len(step.layer), self.place)
        if len(self.steps) >= MOST:
            raise _NotUnderstood
        self.steps.append(step)
        return len(self.steps) - 1

    def model(
        self, layer: Any, front: str, given: Sequence[int] | None, depth: int
    ) -> tuple[int, ...]:
        """Call a model on the outputs of these steps; which steps give its own outputs."""
        config = layer.get("config") if isinstance(layer, Mapping) else None
        listed = config.get("layers") if isinstance(config, Mapping) else config
        if not isinstance(listed, list) or depth > DEEPEST:
            raise _NotUnderstood
        if isinstance(config, Mapping) and "output_layers" in config:
            return self._functional(config, front, given, depth)
        if any("inbound_nodes" in one for one in listed if isinstance(one, Mapping)):
            raise _NotUnderstood  # a graph whose outputs aren't said
        self.work += 1 + len(listed)
        if self.work > MOST_WORK:
            raise _NotUnderstood
        last = tuple(given) if given is not None else (self.add(Step(front + "input", "input")),)
        for one in listed:
            if _class(one) != "InputLayer":
                last = self.call(one, front, last, depth)
        return last

    def call(self, layer: Any, front: str, inputs: tuple[int, ...], depth: int) -> tuple[int, ...]:
        """Call a layer or nested model."""
        name = front + _name(layer)
        if _is_model(layer):
            return self.model(layer, f"{name}/", inputs, depth + 1)
        return (self.add(_step(layer, name, inputs)),)

    def _functional(
        self, config: Mapping[str, Any], front: str, given: Sequence[int] | None, depth: int
    ) -> tuple[int, ...]:
        wiring = self.wirings.get(id(config))
        if wiring is None:  # once, as a model may be called any number of times
            wiring = self.wirings[id(config)] = _Wiring(config)
        self.work += wiring.size
        if (given is not None and len(wiring.entrances) != len(given)) or self.work > MOST_WORK:
            raise _NotUnderstood
        values: dict[_Call, tuple[int, ...]] = {}
        for index, (name, _, _) in enumerate(wiring.entrances):
            step = self.add(Step(front + name, "input")) if given is None else given[index]
            values[name, 0] = (step,)

        def found(tensor: _Tensor) -> int | None:
            """The step that gives a tensor; None while it has not been called."""
            outputs = values.get(wiring.origin(tensor))
            return None if outputs is None else outputs[min(tensor[2], len(outputs) - 1)]

        pending = deque(wiring.calls)
        sources: dict[_Call, list[int]] = {call: [] for call in pending}
        waiting: dict[_Call, list[_Call]] = {}  # by the call that they wait for
        while pending:
            call = pending.popleft()
            known, tensors = sources[call], wiring.calls[call]
            while len(known) < len(tensors) and (one := found(tensors[len(known)])) is not None:
                known.append(one)
            if len(known) < len(tensors):
                waiting.setdefault(wiring.origin(tensors[len(known)]), []).append(call)
                continue
            values[call] = self.call(wiring.layers[call[0]], front, tuple(known), depth)
            pending.extend(waiting.pop(call, ()))
        results = [found(end) for end in wiring.ends]
        given_back = tuple(step for step in results if step is not None)
        if waiting or len(given_back) < len(wiring.ends):
            raise _NotUnderstood
        return given_back


_Call = tuple[str, int]  # of a layer, and which of its calls
_Tensor = tuple[str, int, int]  # and which of its outputs


class _Wiring:
    """What a functional model's config says of its calls."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        listed = config["layers"]
        self.layers = {_name(one): one for one in listed}
        self.entrances = list(_tensors(config.get("input_layers"), self.layers))
        self.ends = list(_tensors(config.get("output_layers"), self.layers))
        nodes = {name: _calls(one) for name, one in self.layers.items()}
        self.calls: dict[_Call, list[_Tensor]] = {
            (name, number): list(_tensors(node, self.layers))
            for name, own in nodes.items()
            for number, node in enumerate(own)
        }
        if len(self.layers) != len(listed) or not self.ends or not all(self.calls.values()):
            raise _NotUnderstood
        taken = [tensor for tensors in self.calls.values() for tensor in tensors]
        self.size = len(taken) + len(self.ends)
        self.offsets = _offsets([*self.ends, *taken], nodes)

    def origin(self, tensor: _Tensor) -> _Call:
        """The call that a tensor comes from."""
        return tensor[0], tensor[1] - self.offsets.get(tensor[0], 0)


def _offsets(
    tensors: Sequence[tuple[str, int, int]], calls: Mapping[str, Sequence[Any]]
) -> dict[str, int]:
    """Layers whose calls are counted from 1: a nested model's first call of all was its making."""
    used: dict[str, set[int]] = {}
    for name, node, _ in tensors:
        used.setdefault(name, set()).add(node)
    return {n: 1 for n, nodes in used.items() if max(nodes) == max(len(calls[n]), 1)}


def _class(layer: Any) -> str:
    name = layer.get("class_name") if isinstance(layer, Mapping) else None
    if not isinstance(name, str):
        raise _NotUnderstood
    return name.rpartition(">")[2]


def _name(layer: Any) -> str:
    config = layer.get("config") if isinstance(layer, Mapping) else None
    name = config.get("name") if isinstance(config, Mapping) else None
    name = name if isinstance(name, str) else layer.get("name")
    if not isinstance(name, str):
        raise _NotUnderstood
    return name


def _is_model(layer: Any) -> bool:
    config = layer.get("config")
    return isinstance(config, list) or (
        isinstance(config, Mapping) and isinstance(config.get("layers"), list)
    )


def _calls(layer: Any) -> list[Any]:
    nodes = layer.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise _NotUnderstood
    return nodes


def _tensors(value: Any, layers: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Every tensor that a call names: (layer, which of its calls, which of its outputs)."""
    if isinstance(value, Mapping):
        history = value.get("config", {})
        if value.get("class_name") == "__keras_tensor__" and isinstance(history, Mapping):
            yield from _tensors(history.get("keras_history"), layers)
        else:
            for item in value.values():
                yield from _tensors(item, layers)
    elif isinstance(value, list):
        name, *place = value[:3] or [None]
        if isinstance(name, str) and len(place) == 2 and all(type(n) is int for n in place):
            if name not in layers or min(place) < 0:
                raise _NotUnderstood
            yield (name, place[0], place[1])
            value = value[3:]  # Keras 2: the call's other arguments, tensors among them
        for item in value:
            yield from _tensors(item, layers)


def _step(layer: Any, name: str, inputs: tuple[int, ...]) -> Step:
    config = layer.get("config")
    config = config if isinstance(config, Mapping) else {}
    known = {key: config[key] for key in KNOWN if isinstance(config.get(key), int | float | str)}
    for key, value in config.items():
        if key in KNOWN and isinstance(value, list):
            if len(value) > MOST_SIDES:
                raise _NotUnderstood
            known[key] = tuple(value)
    activation = config.get("activation")
    if isinstance(activation, Mapping):  # Keras 3 writes what isn't built in as an object
        inner = activation.get("config")
        activation = inner if isinstance(inner, str) else activation.get("class_name")
    if not isinstance(activation, str | None):
        raise _NotUnderstood
    if activation not in LINEAR:
        known["activation"] = activation
    build = layer.get("build_config")
    shape = build.get("input_shape") if isinstance(build, Mapping) else None
    if isinstance(shape, list) and not any(isinstance(n, list) for n in shape):
        known["rank"] = len(shape)
    inside = [one for key, one in config.items() if key != "dtype" and _is_layer(one)]
    if inside:
        known["inside"] = _class(layer)
        name = f"{name}/{_name(inside[0])}" if len(inside) == 1 else name
        return Step(name, _class(inside[0]) if len(inside) == 1 else _class(layer), inputs, known)
    return Step(name, _class(layer), inputs, known)


def _is_layer(value: Any) -> bool:
    config = value.get("config") if isinstance(value, Mapping) else None
    named = isinstance(config, Mapping) and isinstance(config.get("name"), str)
    return named and isinstance(value.get("class_name"), str)
