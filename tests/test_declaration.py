"""A dialect's class read as its declaration, and what is refused when the class is created."""

import inspect
from typing import Annotated, Any, TypedDict

import pytest

import batchnorm as bn
from batchnorm import declaration
from batchnorm.layer import Layer
from batchnorm.newer_python import Unpack
from batchnorm.vocabulary import Epsilon, Meaning, NumFeatures, Tracking, WeightOfBatch

LAYERS = [
    *(getattr(module, name) for module in (bn.torch, bn.mindspore, bn.mindspore_2_0)
      for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")),
    bn.tf_keras.BatchNormalization,
    bn.tf_keras_2_6.BatchNormalization,
    bn.keras.BatchNormalization,
]  # fmt: skip
EVERY = pytest.mark.parametrize("layer", LAYERS, ids=lambda x: f"{x.__module__}.{x.__name__}")
ROLES = {"gamma", "beta", "running_mean", "running_var", "count", "stddev", "renorm_mean",
         "renorm_stddev"}  # fmt: skip


class Options(TypedDict, total=False):
    trainable: Annotated[bool, Meaning("trainable")]
    name: Annotated[str | None, Meaning("name")]


def test_names_kinds_defaults_and_meanings_are_read():
    class Toy(Layer):
        KWARGS_DEFAULTS = {"trainable": True}

        def __init__(
            self,
            channels: NumFeatures,
            eps: Epsilon = 1e-5,
            *,
            track: Tracking = False,
            **kwargs: Unpack[Options],
        ) -> None: ...

    channels, eps, track, trainable, name = Toy.PARAMETERS.values()
    assert channels.required
    assert (eps.name, eps.kind, eps.default) == ("eps", "positional or keyword", 1e-5)
    assert eps.meaning == Meaning("epsilon")
    assert not eps.required
    assert (track.kind, track.default) == ("keyword-only", False)
    assert (trainable.kind, trainable.default) == ("in **kwargs", True)
    assert (name.kind, name.default) == ("in **kwargs", None)


@pytest.mark.parametrize(
    ("annotation", "count"),
    [
        (float, 0),
        (Any, 0),
        (inspect.Parameter.empty, 0),
        (WeightOfBatch | None, 0),  # the meaning is lost inside a union
        (Annotated[float, "epsilon"], 0),
        (Annotated[float, Meaning("epsilon"), Meaning("name")], 2),
    ],
)
def test_a_parameter_without_exactly_one_meaning_is_refused_with_the_class(annotation, count):
    def init(self, eps=1e-5):
        pass

    if annotation is not inspect.Parameter.empty:
        init.__annotations__["eps"] = annotation
    with pytest.raises(TypeError, match=rf"Toy: parameter 'eps' .* carries {count} meanings"):
        type("Toy", (Layer,), {"__init__": init})


def test_an_option_without_a_meaning_is_refused_too():
    class Bad(TypedDict, total=False):
        depth: int

    def init(self, **kwargs):
        pass

    init.__annotations__["kwargs"] = Unpack[Bad]
    with pytest.raises(TypeError, match="'depth'"):
        type("Toy", (Layer,), {"__init__": init})


@EVERY
def test_parameters_are_those_of_the_signature(layer):
    signature = list(inspect.signature(layer).parameters.values())
    named = [p for p in layer.PARAMETERS.values() if p.kind != "in **kwargs"]
    assert [p.name for p in named] == [p.name for p in signature if p.kind is not p.VAR_KEYWORD]
    for ours, real in zip(named, signature, strict=False):
        assert ours.default is real.default
        assert (ours.kind == "keyword-only") == (real.kind is real.KEYWORD_ONLY)
    assert (len(named) < len(layer.PARAMETERS)) == ("keras" in layer.FRAMEWORK)


@EVERY
def test_a_meaning_stands_for_one_parameter(layer):
    """But for what has no influence: of hints and housekeeping there may be several."""
    meanings = [str(p.meaning) for p in layer.PARAMETERS.values()]
    several = {m for m in meanings if meanings.count(m) > 1}
    assert several <= {"housekeeping", "input_shape"}


@EVERY
def test_state_entries_play_known_roles_and_need_known_parameters(layer):
    roles = [entry.role for entry in layer.STATE.values()]
    assert set(roles) <= ROLES
    assert len(set(roles)) == len(roles)
    for entry in layer.STATE.values():
        assert set(entry.needs) <= set(layer.PARAMETERS)


@EVERY
def test_defaults_in_kwargs_are_those_a_new_layer_has(layer):
    made = layer(**{name: 3 for name, p in layer.PARAMETERS.items() if p.required})
    for name, parameter in layer.PARAMETERS.items():
        if parameter.kind == "in **kwargs" and parameter.meaning.word not in (
            "name", "dtype_policy", "fused", "renorm_clipping", "initial_weights"):  # fmt: skip
            assert getattr(made, name, None) == parameter.default, name


def test_reading_again_gives_the_same():
    for layer in LAYERS:
        assert declaration.read(layer) == layer.PARAMETERS
