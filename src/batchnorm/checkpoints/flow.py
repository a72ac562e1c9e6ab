"""`Flow`: the operations of one run, one by one, become the steps of a model.

An operation on parameters alone (a cast, a transpose, a weight's standardization) makes what is
still its layer's; one that takes data beside parameters is a call of their layer, and several in a
row of one layer are one call. All else is a step without arrays. Who sees the operations, and what
a value's key is, is the framework's matter (`frameworks/<room>/tracing.py`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from batchnorm.checkpoints.steps import OUTPUT, Step

__all__ = ["Flow"]


class Flow:
    """What has run so far.

    Attributes:
        classes: layer -> its class.
        known: layer -> its attributes, see `Step.known`.
        steps: the calls so far.
    """

    def __init__(
        self, classes: Mapping[str, str], known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.classes, self.known = classes, known or {}
        self.steps: list[Step] = []
        self._owner: dict[Hashable, str] = {}
        self._place: dict[Hashable, tuple[int, ...]] = {}

    def owns(self, layer: str, key: Hashable) -> None:
        """A value is a layer's parameter."""
        self._owner.setdefault(key, layer)

    def given(self, key: Hashable, name: str = "input") -> None:
        """A value comes from outside."""
        self._place[key] = (self._add(Step(name, "input")),)

    def knows(self, key: Hashable) -> bool:
        """Whether a value is data that was seen."""
        return key in self._place

    def forget(self, key: Hashable) -> None:
        """A value is gone, and its key may be another's."""
        self._place.pop(key, None)
        self._owner.pop(key, None)

    def same(self, inputs: Iterable[Hashable], outputs: Iterable[Hashable]) -> None:
        """An operation that puts out what it is given: a cast, a copy, a tuple, an item of one."""
        places = self._places(inputs)
        owner = next((self._owner[key] for key in inputs if key in self._owner), None)
        for key in outputs:
            self.forget(key)
            if places:
                self._place[key] = places
            elif owner is not None:
                self._owner[key] = owner

    def call(self, what: str, inputs: Iterable[Hashable], outputs: Iterable[Hashable]) -> None:
        """An operation."""
        inputs = list(inputs)
        places = self._places(inputs)
        if not places:
            self.same(inputs, outputs)
            return
        owners = [self._owner[key] for key in inputs if key in self._owner]
        layer = owners[0] if owners else ""
        last = {self.steps[place].layer for place in places}
        if layer and len(places) == 1 and last == {layer}:
            place = places[0]  # a bias, or one more part of a norm
        else:
            if layer:
                what = self.classes.get(layer, what)
            place = self._add(Step(layer, what, places, self.known.get(layer, {}) if layer else {}))
        for key in outputs:
            self.forget(key)
            self._place[key] = (place,)

    def finish(self, outputs: Iterable[Hashable]) -> tuple[Step, ...]:
        """All steps, the last of which is the model's result."""
        self._add(Step("", OUTPUT, self._places(outputs)))
        return tuple(self.steps)

    def _places(self, keys: Iterable[Hashable]) -> tuple[int, ...]:
        found = (place for key in keys for place in self._place.get(key, ()))
        return tuple(dict.fromkeys(found))

    def _add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1
