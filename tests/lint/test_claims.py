"""What the rules and their pages say of the frameworks, asked of the installed ones.

Each framework runs in a process of its own: they misbehave together.
"""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from torch import nn as torch_nn

from batchnorm.frameworks import find
from batchnorm.lint.rules.foreign_attributes import foreign, spelled
from batchnorm.rewrite import rewrite_source

KERAS = ".layers.BatchNormalization()\nlayer.build((None, 3))\n"
MAKE = {
    "torch": "import torch\nlayer = torch.nn.BatchNorm2d(3)\n",
    "mindspore": "import mindspore\nlayer = mindspore.nn.BatchNorm2d(3)\n",
    "tf_keras": f"import tf_keras\nlayer = tf_keras{KERAS}",
    "keras": f"import keras\nlayer = keras{KERAS}",
}
X = "x = numpy.random.default_rng(0).normal(1, 2, (4, 3, 5, 5)).astype('float32')\n"
VALUES = {
    "eps": 0.5,
    "momentum": 0.5,
    "affine": False,
    "gamma_init": "zeros",
    "beta_init": "ones",
    "moving_mean_init": "ones",
    "moving_var_init": "zeros",
    "data_format": "NHWC",
}
STEP = {
    "torch": """
def step(layer):
    y = layer(torch.tensor(x)).detach().numpy()
    return [y.tolist(), layer.running_mean.tolist(), layer.running_var.tolist()]
make = lambda: torch.nn.BatchNorm2d(3)
""",
    "mindspore": """
def step(layer):
    layer.set_train()
    y = layer(mindspore.Tensor(x)).asnumpy()
    return [y.tolist(), *(p.asnumpy().tolist() for p in (layer.moving_mean, layer.moving_variance))]
make = lambda: mindspore.nn.BatchNorm2d(3)
""",
}
TRAIN = """
from mindspore import nn
class Loss(nn.Cell):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def construct(self, x):
        return self.net(x).mean()
found = {}
for mode in (mindspore.GRAPH_MODE, mindspore.PYNATIVE_MODE):
    mindspore.set_context(mode=mode)
    for way in ("cell", "function", "told"):
        net = nn.SequentialCell([nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)])
        optimizer = nn.SGD(net.trainable_params(), 0.1)
        if way == "function":
            loss, gradients = mindspore.value_and_grad(Loss(net), None, optimizer.parameters)(
                mindspore.Tensor(x))
            optimizer(gradients)
        else:
            one = nn.TrainOneStepCell(Loss(net), optimizer)
            if way == "told":
                one.set_train()
            one(mindspore.Tensor(x))
        found[f"{mode} {way}"] = net[1].moving_mean.asnumpy().tolist()
"""


@pytest.fixture
def ask(tmp_path):
    """What a framework's process finds, as JSON that `found` holds."""
    return partial(_ask, tmp_path / "program.py")


def _ask(path, framework, code):
    program = f"import json, numpy\n{X}{MAKE[framework]}{code}\nprint('\\n' + json.dumps(found))"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONWARNINGS": "ignore"}
    path.write_text(program)  # MindSpore compiles from files only
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=path.parent,  # where MindSpore leaves its dumps
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("framework", MAKE)
def test_a_layer_has_its_own_attributes_and_none_of_the_others(ask, framework):
    names = sorted(foreign(framework) | set(spelled(framework).values()))
    norms = {
        path: said
        for path, said in find(framework).room("source").NORMS.items()
        if not path.startswith("tensorflow.")  # which holds another Keras here
    }
    made = {path: f"{path}({_given(path)})" for path in norms}
    code = ", ".join(f"{path!r}: {text}" for path, text in made.items())
    found = ask(
        framework,
        f"""layers = {{{code}}}
for each in layers.values():
    if not hasattr(each, "train") and hasattr(each, "build"):
        each.build((None, 4, 4, 3))
found = {{n: hasattr(layer, n) for n in {names!r}}}
found |= {{k: [n for n in {names!r} if hasattr(v, n)] for k, v in layers.items()}}
""",
    )
    own = {path: [name for name in names if name in said] for path, said in norms.items()}
    assert found == {name: name not in foreign(framework) for name in names} | own


def _given(path):
    if path.startswith("torch.nn.Instance"):
        return "3, affine=True, track_running_stats=True"
    name = path.rpartition(".")[2]
    return {"LayerNorm": "(3,)", "GroupNorm": "1, 3", "LayerNormalization": "",
            "GroupNormalization": "3", "Identity": ""}.get(name, "3")  # fmt: skip


@pytest.mark.parametrize("framework", STEP)
def test_settings_that_are_said_to_be_ignored_later_are_and_others_are_not(ask, framework):
    said = find(framework).room("source").IGNORED
    names = [*said, *{"eps", "momentum"} - set(said)]
    values = {name: VALUES[name] for name in names}
    code = f"""{STEP[framework]}
found = {{"as made": step(make())}}
for name, value in json.loads({json.dumps(values)!r}).items():
    layer = make()
    setattr(layer, name, value)
    found[name] = step(layer)
"""
    found = ask(framework, code)
    ignored = [name for name in values if found[name] == found["as made"]]
    assert ignored == list(said)


@pytest.mark.parametrize("framework", ["mindspore", "keras", "tf_keras"])
def test_what_no_attribute_says_is_read_from_another(ask, framework):
    told = ["affine", "track_running_stats" if framework == "mindspore" else "num_features"]
    wanted, text = [], "from torch import nn\nfound = []\n"
    for name in ("BatchNorm2d", "BatchNorm3d"):
        for given in ("", ", affine=False", ", track_running_stats=False"):
            if framework == "mindspore" or "track" not in given:
                text += f"layer = nn.{name}(3{given})\n"
                text += "" if framework == "mindspore" else "layer.build((None, 3, 4, 4, 4))\n"
                text += f"found.append([{', '.join('layer.' + each for each in told)}])\n"
                layer = getattr(torch_nn, name)(3, **eval(f"dict({given[2:]})"))
                wanted.append([getattr(layer, each) for each in told])
    after = rewrite_source(text, from_="torch", to=framework).after.decode()
    assert not any(f".{each}" in after for each in told)
    assert ask(framework, after) == wanted


def test_mindspores_momentum_holds_one_minus_what_was_given(ask):
    found = ask("mindspore", "found = mindspore.nn.BatchNorm2d(3, momentum=0.75).momentum")
    assert found == 0.25


def test_a_mindspore_net_that_is_not_told_to_train_normalizes_by_its_initial_statistics(ask):
    found = ask("mindspore", TRAIN)
    still = [all(value == 0 for value in means) for means in found.values()]
    assert still == [name.split()[1] != "told" for name in found]
    assert len(found) == 6


def test_an_epsilon_of_0_8_halves_outputs_of_the_size_that_the_page_names(ask):
    code = "found = torch.nn.BatchNorm2d(3, 0.8)(torch.tensor(x - 1) / 4).std().item()"
    assert ask("torch", code) == pytest.approx(0.49, abs=0.01)


def test_kerass_epsilon_makes_outputs_5_percent_smaller_where_the_page_says_so():
    smaller = 1 - np.sqrt((0.01 + 1e-5) / (0.01 + 1e-3))
    assert smaller == pytest.approx(0.05, abs=0.005)
