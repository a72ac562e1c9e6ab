"""torch → X → torch gives the same program back, up to defaults that were written out."""

import ast

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchnorm.frameworks import find
from batchnorm.rewrite import rewrite_source
from batchnorm.translate import complement, forms, make_plan
from batchnorm.translate.argument import parse
from batchnorm.translate.call import bind

FACTOR = "exponential_average_factor"
NUMBERS = st.sampled_from(
    ["0.1", "1e-3", "1e-5", "0.01", "0.0003", "1 - 0.9997", "eps", "cfg.x", "a or b", "1 - d",
     "m if m else 0.1", "0.25"]
)  # fmt: skip
COUNTS = st.sampled_from(["64", "c", "int(w * 8)", "planes * 4"])
FLAGS = st.sampled_from(["True", "False"])
IMPORTS = st.sampled_from([
    ("from torch import nn", "nn."), ("import torch", "torch.nn."), ("import torch.nn as N", "N."),
    ("from torch.nn import {}", ""),
])  # fmt: skip
SHAPES = st.sampled_from(
    ["bn = {}", "net = [{}]  # kept", "def f(c):\n    return {}", "self.bn = {}"]
)


@st.composite
def programs(draw):
    """A program with one call, and the call's class and arguments."""
    statement, prefix = draw(IMPORTS)
    name = draw(st.sampled_from(["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]))
    order = ["eps", "momentum", "affine"]
    texts = [draw(NUMBERS), draw(NUMBERS), draw(FLAGS)]
    positional = draw(st.integers(0, 2))
    arguments = [draw(COUNTS), *texts[:positional]]
    rest = [f"{n}={t}" for n, t in zip(order[positional:], texts[positional:], strict=True)]
    arguments += [text for text in rest if draw(st.booleans())]
    shape = draw(SHAPES).format(f"{prefix}{name}({', '.join(arguments)})")
    return f"{statement.format(name)}\n\n{shape}\n"


def call_in(text):
    """The batch norm's class and canonical arguments in a program."""
    for node in ast.walk(ast.parse(text)):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if "BatchNorm" in name:
            form = forms(find("torch"))[name]
            named = {k.arg: k.value for k in node.keywords}
            return form, bind(form, node.args, named, text)
    raise AssertionError(text)


def meaning(text, counted=True):
    """What a program's call says, and the rest of the program with the call taken out."""
    form, arguments = call_in(text)
    canonical = make_plan(form, arguments, find("mindspore")).source.canonical
    if not counted:
        canonical = {k: v for k, v in canonical.items() if k != "num_features"}
    return form.class_name.removeprefix("Lazy"), {k: v.text for k, v in canonical.items()}


def there_and_back(text, other):
    there = rewrite_source(text, from_="torch", to=other)
    assume(not any(site.left for site in there.sites))
    assert "torch" not in there.after.decode()
    back = rewrite_source(there.after, from_=other, to="torch")
    assert not any(site.left for site in back.sites)
    return back.after.decode()


def same(first, second):
    """Whether two canonical arguments are equal: numbers in decimal, expressions as code."""
    assert first.keys() == second.keys()
    for slot, text in first.items():
        ours, theirs = (complement(complement(parse(t))) if slot == FACTOR else parse(t)
                        for t in (text, second[slot]))  # fmt: skip
        assert ours.same(theirs), (slot, text, second[slot])


@settings(max_examples=60, deadline=None)
@given(programs())
def test_through_mindspore(text):
    back = there_and_back(text, "mindspore")
    (name, ours), (again, theirs) = meaning(text), meaning(back)
    assert name == again
    same(ours, theirs)


@settings(max_examples=40, deadline=None)
@given(programs(), st.sampled_from(["keras", "tf_keras"]))
def test_through_keras_which_names_no_channels_and_no_rank(text, other):
    """What comes back is the lazy class, for the rank that is said; all else is the same."""
    rank = {"1": 3, "2": 4, "3": 5}[call_in(text)[0].class_name[-2]]
    there = rewrite_source(text, from_="torch", to=other)
    assume(not any(site.left for site in there.sites))
    back = rewrite_source(there.after, from_=other, to="torch", rank=rank).after.decode()
    assert call_in(back)[0].lazy
    (name, ours), (again, theirs) = meaning(text, False), meaning(back, False)
    assert name == again
    same(ours, theirs)


def test_the_channels_come_back_through_keras_where_the_code_says_them():
    text = (
        "from torch import nn\n\nnet = nn.Sequential(\n    nn.Conv2d(3, 64, 3),\n"
        "    nn.BatchNorm2d(64, momentum=0.01),\n)\n"
    )
    there = rewrite_source(text, from_="torch", to="keras")
    back = rewrite_source(there.after, from_="keras", to="torch")
    assert back.after.decode() == text.replace("momentum=0.01", "momentum=0.01, eps=1e-05")
