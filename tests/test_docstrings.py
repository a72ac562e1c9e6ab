"""What a public docstring holds: one sentence, the sections in order, an example that runs."""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import batchnorm as bn
from batchnorm import arrays, core

SECTIONS = ["Args", "Shape", "Dtypes", "State", "Raises", ">>>", "Source"]
LAYERS = {
    "torch": bn.torch.BatchNorm2d,
    "mindspore": bn.mindspore.BatchNorm2d,
    "tf_keras": bn.tf_keras.BatchNormalization,
    "keras": bn.keras.BatchNormalization,
}
OTHER_RANKS = [
    getattr(module, name)
    for module in (bn.torch, bn.mindspore)
    for name in ("BatchNorm1d", "BatchNorm3d")
]
HOSTS = {  # public functions by file; read there, so that no framework need be loaded
    "jax/layer": ["init", "apply"],
    "keras": ["layer"],
    "mpi": ["synchronize"],
    "torch/accelerate": ["accelerate", "restore"],
    "torch/module": ["module"],
    "torch/port": ["port"],
}
CORE = [getattr(core, name) for name in core.__all__]


def document(subject):
    return "    " + inspect.cleandoc(subject.__doc__).replace("\n", "\n    ")


def in_order(subject):
    text = document(subject)
    places = {name: text.find(f"\n    {name}") for name in SECTIONS}
    there = [name for name in SECTIONS if places[name] >= 0]
    assert there == sorted(there, key=places.get), f"{subject.__name__}: {there}"
    return there


def arguments_described(subject):
    """The names before the colons of the Args section."""
    text = document(subject)
    body = re.search(r"\n    Args:\n((?:        .*\n?)+)", text)
    lines = re.sub(r"\n {12}\s*", " ", body.group(1)) if body else ""
    heads = re.findall(r"^ {8}([\w, *]+):", lines, re.M)
    return [name.strip() for head in heads for name in head.split(",")]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layers_docstring_has_every_section(layer):
    assert in_order(layer) == SECTIONS
    assert layer.__doc__.splitlines()[0].endswith(".")
    assert re.search(r"^    y = \(x - mean\) / sqrt\(var \+ eps", layer.__doc__, re.M)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layers_docstring_describes_each_parameter_in_order(layer):
    described, parameters = arguments_described(layer), list(layer.PARAMETERS)
    if "keras" in layer.FRAMEWORK:  # where **kwargs stand in an order of their own
        named = [name for name, p in layer.PARAMETERS.items() if p.kind != "in **kwargs"]
        assert sorted(described) == sorted(parameters)
        assert set(described[:5]) == set(named[:5])
    else:
        assert described == parameters


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layers_docstring_names_its_state_and_the_version_it_was_verified_with(layer):
    text = " ".join(layer.__doc__.split())
    state = text[text.index("State:") : text.index("Raises:")]
    assert all(re.search(rf"\b{name}\b", state) for name in layer.STATE)
    assert layer.VERIFIED_WITH in text[text.index("Source:") :]


@pytest.mark.parametrize("layer", OTHER_RANKS, ids=lambda layer: layer.__module__ + layer.__name__)
def test_the_other_ranks_refer_to_the_one_that_says_all(layer):
    assert "all else is as in `BatchNorm2d`" in layer.__doc__
    assert {"Shape", ">>>"} <= set(in_order(layer))


@pytest.mark.parametrize("subject", CORE, ids=lambda subject: subject.__name__)
def test_the_core_says_what_it_takes(subject):
    there = in_order(subject)
    assert "Args" in there
    assert subject.__doc__.splitlines()[0].endswith((".", ":"))
    if inspect.isfunction(subject):
        assert {"Shape", "Dtypes", ">>>"} <= set(there)
    assert arguments_described(subject) == list(inspect.signature(subject).parameters)


@pytest.mark.parametrize("place", HOSTS)
def test_a_hosts_function_says_what_it_takes(place):
    tree = ast.parse((Path(bn.__file__).parent / "hosts" / f"{place}.py").read_text())
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for name in found if not name.startswith("_")} >= set(HOSTS[place])
    for name in HOSTS[place]:
        subject = SimpleNamespace(__name__=name, __doc__=ast.get_docstring(found[name]))
        assert in_order(subject) == SECTIONS, name
        assert subject.__doc__.splitlines()[0].endswith((".", ":"))
        given = found[name].args
        named = [one.arg for one in (*given.args, *given.kwonlyargs)]
        described = [one for one in arguments_described(subject) if not one.startswith("*")]
        assert described == named, name


@pytest.mark.parametrize(
    "module",
    [
        arrays,
        core.forward.__module__,
        core.reduce.__module__,
        core.merge.__module__,
        core.Running.__module__,
        core.Settings.__module__,
        bn.torch,
        bn.mindspore,
        bn.tf_keras,
        bn.keras,
    ],
    ids=str,
)
def test_examples_run(module):
    module = importlib.import_module(module) if isinstance(module, str) else module
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
