"""The result of a translation, and `translate`, which makes it from a call or from a live layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from batchnorm.frameworks import Framework, current
from batchnorm.frameworks import find as find_framework
from batchnorm.layer import Layer
from batchnorm.printable import first_lines
from batchnorm.read import read_layer
from batchnorm.reported import Reported
from batchnorm.translate.call import TOO_DEEP, CallError, parse_call
from batchnorm.translate.difference import Difference
from batchnorm.translate.form import Form
from batchnorm.translate.live import live
from batchnorm.translate.plan import Plan, make_plan
from batchnorm.translate.proof import Proof, prove
from batchnorm.translate.state import StateName, carry, names_side_by_side

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Translation", "translate"]


@dataclass(frozen=True, repr=False)
class Translation(Reported):
    """A call in another framework's words.

    Attributes:
        plan: how it was made: both sides' arguments and what they mean.
        given: the live layer that was translated, if it was one.
        inferred: how the source's dialect was found, where nobody named it.
    """

    plan: Plan
    given: Layer | None = None
    inferred: str = ""

    def __repr__(self) -> str:
        """The call and what differs; the proof, which takes its time, is in `str`."""
        lines = [self.text]
        for difference in self.differences:
            lines += wrap(difference.text, 80, initial_indent="  ", subsequent_indent="    ")
        return first_lines(lines, "print it for the names of the state and the proof")

    def print(self, console: Console) -> None:
        """Print the call, names of the state, differences and the proof."""
        from batchnorm.translate.report import print_translation

        print_translation(self, console)

    def as_json(self) -> dict[str, Any]:
        """All of that as plain data."""
        from batchnorm.translate.report import as_data

        return as_data(self)

    @property
    def text(self) -> str:
        """The target's call."""
        return self.plan.target.text

    @property
    def lazy(self) -> str | None:
        """torch's form that finds the number of channels by itself, where none is known."""
        return self.plan.lazy

    @property
    def arguments(self) -> dict[str, Any]:
        """The target's arguments as values; stand-ins for what is no literal."""
        return {name: a.value for name, a in self.plan.target.arguments.items()}

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What remains different."""
        return self.plan.differences

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the frameworks: an easier target, what is told by its source."""
        source, target = (side.form.dialect for side in (self.plan.source, self.plan.target))
        pair = (source.framework, target.framework)
        found = [
            f"easier: {record.easier[2]} (--to {record.name})"
            for record in current()
            if record.easier and record.easier[:2] == pair
        ]
        return (*found, *(side.sourced[0] for side in (source, target) if side.sourced))

    def size_of(self, difference: Difference) -> float | None:
        """How much a difference matters: as computed, or measured where it is the only loss."""
        lost = [d for d in self.differences if d.kind == "inexpressible"]
        if difference.size is not None or lost != [difference]:
            return difference.size
        rows = [row for row in self.proof.rows if not row.equal and row.scale > 0]
        return max((row.largest / row.scale for row in rows), default=None)

    @cached_property
    def state(self) -> list[StateName]:
        """The state names side by side; none where the target refuses the call."""
        if "refused" in {difference.key for difference in self.differences}:
            return []
        size = (self.plan.rank, self.plan.channels)
        return names_side_by_side(self.plan.source.built(*size), self.plan.target.built(*size))

    @cached_property
    def proof(self) -> Proof:
        """Both sides run and compared; made when first asked for."""
        return prove(self.plan)

    @cached_property
    def _case_proofs(self) -> list[Proof]:
        """For each value of a flag that is an expression."""
        return [prove(case) for case in self.plan.cases]

    def layer(self) -> Layer:
        """Our layer of the target dialect, with the state and mode of the layer translated."""
        layer = self.plan.target.built(self.plan.rank, self._channels)
        if self.given is not None:
            carry(self.given, layer)
            if hasattr(self.given, "training") and hasattr(layer, "training"):
                layer.training = self.given.training
        return layer

    @property
    def _channels(self) -> int:
        if self.given is not None and self.given.state:
            return max(value.size for value in self.given.state.values())
        return self.plan.num_features

    @property
    def status(self) -> Literal["equal", "predicted", "different"]:
        """Equal, different only as predicted, or different in what can't be said or explained."""
        cases = self.plan.cases
        kinds = {d.kind for plan in (self.plan, *cases) for d in plan.differences}
        proofs = (self.proof, *self._case_proofs)
        if "inexpressible" in kinds or not all(proof.holds for proof in proofs):
            return "different"
        equal = all(proof.equal for proof in proofs)
        return "equal" if equal and "predicted" not in kinds else "predicted"

    def exit_code(self, *, strict: bool = False) -> int:
        """0 for equal or different only as predicted (with `strict`, for equal), else 1."""
        return int(self.status == "different" or (strict and self.status == "predicted"))


def translate(
    source: Any,
    *,
    to: str,
    from_: str | None = None,
    num_features: int | None = None,
    rank: int | None = None,
    data_format: str | None = None,
) -> Translation:
    """Write a batch-norm layer of one framework in another's words.

    Args:
        source: a call as text, such as "nn.BatchNorm2d(64, momentum=0.01)", which is parsed and
            never evaluated; or a layer, ours or a real framework's, whose state is carried along.
        to: the target: "torch", "mindspore", "tf_keras", "keras", or with a version,
            "mindspore@2.0", "tf_keras@2.6".
        from_: the source's framework, where the call doesn't say it.
        num_features: the number of channels, which a Keras call doesn't name.
        rank: of the inputs, where the class doesn't say it; 4 if None.
        data_format: "NHWC" to keep channels last for MindSpore on GPU.

    Raises:
        ValueError: the call can't be read, its own framework refuses it, it is of the target's
            dialect already, or names the number of channels that `num_features` gives again.
        TypeError: `source` is neither a call nor a layer.

    >>> found = translate("nn.BatchNorm2d(64, eps=0.001, momentum=0.01)", from_="torch", to="keras")
    >>> print(found.text)
    keras.layers.BatchNormalization(axis=1, momentum=0.99, epsilon=0.001)
    """
    target = find_framework(to)
    if isinstance(source, str):
        try:
            call = parse_call(source, None if from_ is None else find_framework(from_), target)
            _check(call.form, target, num_features)
            made = make_plan(
                call.form,
                call.arguments,
                target,
                rank=rank,
                num_features=num_features,
                data_format=data_format,
            )
        except RecursionError:
            raise TOO_DEEP from None
        return Translation(made, None, call.inferred)
    layer = source if isinstance(source, Layer) else read_layer(source)
    known = live(layer)
    made = make_plan(
        known.form,
        known.arguments,
        target,
        rank=known.rank or rank,
        num_features=known.num_features or num_features,
        data_format=data_format,
    )
    return Translation(made, layer)


def _check(source: Form, target: Framework, num_features: int | None) -> None:
    if source.dialect == target:
        raise CallError(
            f"the call and the target are both {target.name}; expected two dialects or two "
            "versions of one"
        )
    if num_features is not None and "num_features" in source.parameters:
        raise CallError(
            f"num_features={num_features} was given, but {source.class_name} of "
            f"{source.dialect.name} names its number of channels itself: leave one out"
        )
